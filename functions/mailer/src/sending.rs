//! One attempt to send a mail: what may be against it is looked at, the template filled, the provider asked.

use domain::facts::mailer::MessageTold;
use domain::mail::{Address, FailureReason, Happening, Locale, Verdict, verdict};
use event::Event;
use guest::http::{Failure, Response};
use guest::sql::Purpose;
use guest::{Code, Db, Problem, now_ms, payload};

use crate::provider::{Mail, Provider};
use crate::store::{self, MessageRow, Recipient};

/// How long nothing is sent after the provider refused us as such; then one mail tries again.
const CLOSED_MS: i64 = 60_000;
const RETRY_AFTER_MAX_S: u32 = 300;

/// What became of an attempt.
pub struct Tried {
    pub happening: Happening,
    /// The provider's, if it was asked.
    pub status: Option<u16>,
}

impl From<Happening> for Tried {
    fn from(happening: Happening) -> Self {
        Tried { happening, status: None }
    }
}

/// Sends the mail that an event asks for, if it is still to be sent. A failure of the provider is ours: the bridge asks
/// again, and again, until the mail's time is over.
pub async fn attempt(db: &Db, event: &Event) -> Result<Option<Tried>, Problem> {
    let told: MessageTold = payload(event)?;
    let Some(message) = store::queued(db, &told.message).await? else { return Ok(None) };
    let recipient = store::recipient(db, &message.user).await?;
    let Some(recipient) = recipient.filter(|recipient| recipient.email.is_some()) else { return Ok(None) };
    if let Some(hindrance) = hindrance(db, &message, &recipient).await? {
        return Ok(Some(hindrance.into()));
    }
    match mail(&message, &recipient) {
        Ok(mail) => send(db, &mail).await.map(Some),
        Err(reason) => Ok(Some(Happening::Hindered(reason).into())),
    }
}

async fn hindrance(db: &Db, message: &MessageRow, recipient: &Recipient) -> Result<Option<Happening>, Problem> {
    let email = recipient.email.as_deref().unwrap_or_default().to_ascii_lowercase();
    let suppressed = store::is_suppressed(db, &email).await?;
    let wanted = store::is_wanted(db, &message.user, message.message.template.category()).await?;
    Ok(message.message.hindrance(now_ms(), suppressed, wanted))
}

fn mail(message: &MessageRow, recipient: &Recipient) -> Result<Mail, FailureReason> {
    let email = recipient.email.as_deref().unwrap_or_default();
    let to = Address::parse(email).map_err(|_| FailureReason::AddressInvalid)?;
    let content = message.message.template.render(Locale::nearest(&recipient.locale), &message.data);
    Ok(Mail { id: message.id.clone(), to, content: content.map_err(|_| FailureReason::ContentInvalid)? })
}

async fn send(db: &Db, mail: &Mail) -> Result<Tried, Problem> {
    let closed_until_ms = store::closed_until_ms(db).await?;
    if closed_until_ms > now_ms() {
        return Err(closed((closed_until_ms - now_ms()) / 1_000 + 1));
    }
    let provider = Provider::configured().await?;
    let response = match provider.send(mail).await {
        Ok(response) => response,
        Err(failure) => return Err(unanswered(db, mail, &failure).await?),
    };
    let tried = |happening| Tried { happening, status: Some(response.status) };
    match verdict(response.status) {
        Verdict::Accepted => Ok(tried(Happening::Accepted)),
        Verdict::Refused => Ok(tried(Happening::Hindered(FailureReason::ProviderRefused))),
        Verdict::Later => Err(later(db, mail, &response).await?),
        Verdict::Closed => Err(close(db, mail, &response).await?),
    }
}

async fn later(db: &Db, mail: &Mail, response: &Response) -> Result<Problem, Problem> {
    log(db, mail, Some(response.status), None).await?;
    let asked = response.header("retry-after").and_then(|text| text.trim().parse().ok()).unwrap_or(1);
    let problem = Problem::new(Code::ProviderUnavailable, format!("the mail provider said {}", response.status));
    Ok(problem.retry_after_s(asked.min(RETRY_AFTER_MAX_S)))
}

async fn unanswered(db: &Db, mail: &Mail, failure: &Failure) -> Result<Problem, Problem> {
    log(db, mail, None, None).await?;
    Ok(failure.as_problem(Code::ProviderUnavailable))
}

/// Our key or the provider's address is wrong: no mail is to blame, and the provider is left alone for a while.
async fn close(db: &Db, mail: &Mail, response: &Response) -> Result<Problem, Problem> {
    log(db, mail, Some(response.status), Some(now_ms() + CLOSED_MS)).await?;
    Ok(closed(CLOSED_MS / 1_000))
}

/// An attempt that ends in a failure leaves nothing of the handler's transaction, so it is logged in one of its own.
async fn log(db: &Db, mail: &Mail, status: Option<u16>, closed_until_ms: Option<i64>) -> Result<(), Problem> {
    let tx = db.begin(Purpose::Bookkeeping).await?;
    store::log_attempt(&tx, &mail.id, status).await?;
    if let Some(until_ms) = closed_until_ms {
        store::close_channel(&tx, until_ms).await?;
    }
    tx.commit().await
}

fn closed(seconds: i64) -> Problem {
    let problem = Problem::new(Code::Paused, "the mail provider refuses us; correct mail_url or mail_api_key");
    problem.retry_after_s(seconds.clamp(1, i64::from(RETRY_AFTER_MAX_S)) as u32)
}
