//! The admin function: whatever the other functions tell is noted in short; people read what happened and how things stand.

mod store;
mod summary;

use event::Event;
use guest::{Answer, Command, Db, Function, Input, Principal, Problem, Role, Tx};
use serde_json::json;
use summary::Summary;

struct Admin;

/// Who may look.
const VIEWERS: [Role; 4] = [Role::Viewer, Role::Operator, Role::Approver, Role::Admin];
const LAST_EVENTS: i64 = 20;
const PAGE_DEFAULT: i64 = 50;
const PAGE_MAX: i64 = 200;

impl Function for Admin {
    const NAME: &'static str = "admin";
    const MIGRATIONS: &'static [&'static str] = &[include_str!("../migrations/001.sql")];
    type Gathered = ();

    async fn gather(&self, _db: &Db, _input: &Input) -> Result<(), Problem> {
        Ok(())
    }

    async fn handle(&self, tx: &Tx<'_>, input: &Input, _gathered: &()) -> Result<Answer, Problem> {
        match input {
            Input::Command(command) => obey(tx, command).await,
            Input::Event(event) => hear(tx, event).await,
            Input::Wake => Ok(Answer::no_content()),
        }
    }
}

#[spin_sdk::http_service]
async fn handle(request: spin_sdk::http::Request) -> impl spin_sdk::http::IntoResponse {
    guest::serve(Admin, request).await
}

/// Notes an event that another function told.
async fn hear(tx: &Tx<'_>, event: &Event) -> Result<Answer, Problem> {
    let summary = Summary::of(event, guest::now_ms());
    store::note(tx, &summary).await?;
    store::count(tx, &summary).await?;
    if let Some(standing) = summary.standing(event) {
        store::stand(tx, &standing).await?;
    }
    Ok(Answer::no_content())
}

async fn obey(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    let principal: &Principal = command.principal()?;
    principal.require_any(&VIEWERS)?;
    let (method, path) = command.route();
    match (method, path.as_slice()) {
        ("GET", ["v1", "overview"]) => overview(tx).await,
        ("GET", ["v1", "events"]) => events(tx, command).await,
        _ => Err(Problem::no_route()),
    }
}

/// What each function told, how invoices, mails and deliveries stand, and what came last.
async fn overview(tx: &Tx<'_>) -> Result<Answer, Problem> {
    let kinds = store::kinds(tx).await?;
    Ok(Answer::ok(&json!({
        "functions": summary::by_function(&kinds),
        "types": kinds,
        "invoices": store::by_fact(tx, "payment.invoice").await?,
        "mails": store::by_fact(tx, "mailer.message").await?,
        "deliveries": store::by_fact(tx, "webhook.delivery").await?,
        "last_events": store::newest(tx, None, LAST_EVENTS).await?,
    })))
}

/// The newest events first; `after` is the `cursor` of the last one that was seen.
async fn events(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    let limit = command.query_number("limit", PAGE_DEFAULT, 1..=PAGE_MAX)?;
    let after = command.query("after").map(summary::Cursor::parse).transpose()?;
    let events = store::newest(tx, after, limit).await?;
    Ok(Answer::ok(&json!({ "events": events })))
}
