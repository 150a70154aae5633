//! The mail provider, one of a closed set: a rendered mail goes out over HTTP, the provider's answer comes back.

use domain::mail::template::Content;
use domain::mail::{Address, Mailbox, message_id_header};
use guest::http::{self, Failure, Request, Response};
use guest::{Problem, variable};
use serde_json::json;

const PROVIDER_TIMEOUT_MS: u64 = 10_000;
const RESEND_URL: &str = "https://api.resend.com";

/// A mail that is ready.
pub struct Mail {
    /// The message's id, which is the provider's idempotency key as well.
    pub id: String,
    pub to: Address,
    pub content: Content,
}

/// Where mails go, by the function's variables.
pub struct Provider {
    api: Api,
    url: String,
    key: String,
    from: Mailbox,
}

/// Whose HTTP API is spoken.
enum Api {
    /// Of development. It has no idempotency of its own; our mailbox keeps each `Message-ID` once.
    Mailpit,
    Resend,
}

impl Provider {
    /// Reads `mail_provider`, `mail_url`, `mail_api_key` and `mail_from`.
    pub async fn configured() -> Result<Self, Problem> {
        let api = match variable("mail_provider").await?.as_str() {
            "mailpit" => Api::Mailpit,
            "resend" => Api::Resend,
            other => return Err(Problem::internal(format!("mail_provider is `{other}`; use mailpit or resend"))),
        };
        let from = Mailbox::parse(&variable("mail_from").await?);
        let from = from.map_err(|refusal| Problem::internal(format!("mail_from: {refusal}")))?;
        let url = variable("mail_url").await?.trim_end_matches('/').to_owned();
        Ok(Provider { api, url, key: variable("mail_api_key").await?, from })
    }

    /// Hands a mail over, once.
    pub async fn send(&self, mail: &Mail) -> Result<Response, Failure> {
        let request = match self.api {
            Api::Mailpit => self.mailpit(mail),
            Api::Resend => self.resend(mail),
        };
        let request = request.header("idempotency-key", &mail.id).timeout_ms(PROVIDER_TIMEOUT_MS);
        if self.key.is_empty() {
            return request.send().await;
        }
        request.header("authorization", &format!("Bearer {}", self.key)).send().await
    }

    fn mailpit(&self, mail: &Mail) -> Request {
        http::post(format!("{}/api/v1/send", self.url)).json(&json!({
            "From": { "Email": self.from.address.as_str(), "Name": self.from.name },
            "To": [{ "Email": mail.to.as_str() }],
            "Subject": mail.content.subject.as_str(),
            "Text": mail.content.text,
            "HTML": mail.content.html,
            "Headers": { "Message-ID": message_id_header(&mail.id, &self.from.address) },
        }))
    }

    fn resend(&self, mail: &Mail) -> Request {
        let url = if self.url.is_empty() { RESEND_URL } else { &self.url };
        http::post(format!("{url}/emails")).json(&json!({
            "from": self.from.to_string(),
            "to": [mail.to.as_str()],
            "subject": mail.content.subject.as_str(),
            "text": mail.content.text,
            "html": mail.content.html,
            "headers": { "Message-ID": message_id_header(&mail.id, &self.from.address) },
        }))
    }
}
