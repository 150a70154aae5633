//! The mailer function: facts about users and invoices become mails; each is written in one transaction and sent when the
//! function hears its own `mailer.message.queued`.
//!
//! Between the provider's yes and our commit the power may fail: then the mail is sent again with the same idempotency key
//! and the same `Message-ID`, by which providers (and the mailbox of development) know that they have it.

mod feed;
mod messages;
mod provider;
mod sending;
mod store;
mod wishes;

use domain::facts::core::USER_REGISTERED;
use domain::facts::mailer::MESSAGE_QUEUED;
use domain::facts::payment::{INVOICE_EXPIRED, INVOICE_PAID, INVOICE_PROCESSING};
use domain::facts::webhook::ENDPOINT_DISABLED;
use domain::mail::Template;
use event::Event;
use guest::{Answer, Command, Db, Function, Input, Problem, Tx};
use sending::Tried;

/// Told by core when a user's data are to be forgotten; subject: the user.
const USER_ERASED: &str = "core.user.erased";

struct Mailer;

impl Function for Mailer {
    const NAME: &'static str = "mailer";
    const MIGRATIONS: &'static [&'static str] = &[include_str!("../migrations/001.sql")];
    /// What became of the mail that an event asks to send; `None` where there is none to send.
    type Gathered = Option<Tried>;

    async fn gather(&self, db: &Db, input: &Input) -> Result<Option<Tried>, Problem> {
        match input {
            Input::Event(event) if event.kind == MESSAGE_QUEUED => sending::attempt(db, event).await,
            _ => Ok(None),
        }
    }

    async fn handle(&self, tx: &Tx<'_>, input: &Input, tried: &Option<Tried>) -> Result<Answer, Problem> {
        match input {
            Input::Command(command) => obey(tx, command).await,
            Input::Event(event) => hear(tx, event, tried.as_ref()).await,
            Input::Wake => messages::tidy(tx).await,
        }
    }
}

#[spin_sdk::http_service]
async fn handle(request: spin_sdk::http::Request) -> impl spin_sdk::http::IntoResponse {
    guest::serve(Mailer, request).await
}

async fn hear(tx: &Tx<'_>, event: &Event, tried: Option<&Tried>) -> Result<Answer, Problem> {
    match event.kind.as_str() {
        USER_REGISTERED => messages::user_registered(tx, event).await,
        USER_ERASED => messages::user_erased(tx, event).await,
        INVOICE_PROCESSING => messages::invoice(tx, event, Template::InvoiceProcessing).await,
        INVOICE_PAID => messages::invoice(tx, event, Template::InvoicePaid).await,
        INVOICE_EXPIRED => messages::invoice(tx, event, Template::InvoiceExpired).await,
        ENDPOINT_DISABLED => messages::endpoint_disabled(tx, event).await,
        MESSAGE_QUEUED => messages::record(tx, event, tried).await,
        _ => Ok(Answer::no_content()),
    }
}

async fn obey(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    let principal = command.principal()?;
    let (method, path) = command.route();
    match (method, path.as_slice()) {
        ("GET", ["v1", "preferences"]) => wishes::preferences(tx, principal).await,
        ("PUT", ["v1", "preferences"]) => wishes::prefer(tx, principal, command.json()?).await,
        ("GET", ["v1", "suppressions"]) => wishes::suppressions(tx, principal, command).await,
        ("POST", ["v1", "suppressions"]) => wishes::suppress(tx, principal, command.json()?).await,
        ("DELETE", ["v1", "suppressions", email]) => wishes::unsuppress(tx, principal, email).await,
        ("GET", ["v1", "notifications"]) => feed::notifications(tx, principal, command).await,
        _ => Err(Problem::no_route()),
    }
}
