//! One attempt of a delivery: the stored bytes are signed and posted, and what the endpoint said comes back.

use domain::delivery::{Outcome, schedule};
use domain::facts::webhook::DeliveryTold;
use event::Event;
use guest::http::{self, Failure, Response};
use guest::{Db, Problem, now_ms, payload};

use crate::endpoints;
use crate::store::{self, Letter};

/// Long enough for a merchant that writes the event down and works on it later; others wait for a place meanwhile.
const ATTEMPT_TIMEOUT_MS: u64 = 5_000;

/// Makes the attempt that an event orders. `None` where it was made already, or where the endpoint is gone or disabled.
pub async fn make(db: &Db, event: &Event) -> Result<Option<Outcome>, Problem> {
    let told: DeliveryTold = payload(event)?;
    let Some(letter) = store::letter(db, &told.delivery, told.attempts).await? else { return Ok(None) };
    // Checked again, because the house may have moved.
    let outcome = match endpoints::address(&letter.url).await? {
        Ok(address) => outcome(post(&letter, address.as_str()).await),
        Err(_) => Outcome::Unreachable,
    };
    Ok(Some(outcome))
}

/// Posts by Standard Webhooks: the id is the same over all attempts, the timestamp is the attempt's.
async fn post(letter: &Letter, url: &str) -> Result<Response, Failure> {
    let timestamp_s = now_ms() / 1_000;
    http::post(url)
        .header("content-type", "application/json")
        // Said, because many a merchant's server cannot read a chunked body.
        .header("content-length", &letter.body.len().to_string())
        .header("user-agent", "Till-Webhooks/1")
        .header("webhook-id", &letter.id)
        .header("webhook-timestamp", &timestamp_s.to_string())
        .header("webhook-signature", &letter.secret.sign(&letter.id, timestamp_s, letter.body.as_bytes()))
        .body(letter.body.clone())
        .timeout_ms(ATTEMPT_TIMEOUT_MS)
        .without_response_body()
        .send()
        .await
}

fn outcome(answer: Result<Response, Failure>) -> Outcome {
    let Ok(response) = answer else { return Outcome::Unreachable };
    let retry_after_ms = response.header("retry-after").and_then(|text| schedule::retry_after_ms(text, now_ms()));
    Outcome::Answered { status: response.status, retry_after_ms }
}
