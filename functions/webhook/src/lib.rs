//! The webhook function: merchants name endpoints; facts about their invoices become signed deliveries to these.
//!
//! An invoice's fact becomes a delivery and the event that orders its first attempt. Hearing it, the function sends
//! (outside of any transaction) and records what came of it. What failed waits in a row with its due time; a wake orders
//! the next attempt by an event again. So each attempt runs in the bridge's lane of its delivery: there is one at a time.
//! An endpoint that hangs holds one of the source's places for as long as an attempt may take; the others wait only
//! while all of them are held.

mod attempt;
mod deliveries;
mod endpoints;
mod random;
mod store;

use domain::delivery::Outcome;
use domain::facts::webhook::{DELIVERY_CREATED, DELIVERY_DUE};
use event::Event;
use guest::{Answer, Command, Db, Function, Input, Problem, Role, Tx};

struct Webhook;

impl Function for Webhook {
    const NAME: &'static str = "webhook";
    const MIGRATIONS: &'static [&'static str] = &[include_str!("../migrations/001.sql")];
    /// What the attempt brought that an event orders; `None` where none was made.
    type Gathered = Option<Outcome>;

    async fn gather(&self, db: &Db, input: &Input) -> Result<Option<Outcome>, Problem> {
        match input {
            Input::Event(event) if orders_attempt(event) => attempt::make(db, event).await,
            _ => Ok(None),
        }
    }

    async fn handle(&self, tx: &Tx<'_>, input: &Input, outcome: &Option<Outcome>) -> Result<Answer, Problem> {
        match input {
            Input::Command(command) => obey(tx, command).await,
            Input::Event(event) if orders_attempt(event) => deliveries::record(tx, event, outcome.as_ref()).await,
            Input::Event(event) if event.kind.starts_with("payment.invoice.") => deliveries::create(tx, event).await,
            Input::Event(_) => Ok(Answer::no_content()),
            Input::Wake => deliveries::call_due(tx).await,
        }
    }
}

#[spin_sdk::http_service]
async fn handle(request: spin_sdk::http::Request) -> impl spin_sdk::http::IntoResponse {
    guest::serve(Webhook, request).await
}

fn orders_attempt(event: &Event) -> bool {
    [DELIVERY_CREATED, DELIVERY_DUE].contains(&event.kind.as_str())
}

async fn obey(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    let principal = command.principal()?;
    principal.require(Role::Merchant)?;
    let merchant = principal.id.as_str();
    let (method, path) = command.route();
    match (method, path.as_slice()) {
        ("POST", ["v1", "endpoints"]) => endpoints::create(tx, merchant, command.json()?).await,
        ("GET", ["v1", "endpoints"]) => endpoints::list(tx, merchant).await,
        ("GET", ["v1", "endpoints", id]) => endpoints::show(tx, merchant, id).await,
        ("PATCH", ["v1", "endpoints", id]) => endpoints::change(tx, merchant, id, command.json()?).await,
        ("DELETE", ["v1", "endpoints", id]) => endpoints::delete(tx, merchant, id).await,
        ("GET", ["v1", "endpoints", id, "deliveries"]) => deliveries::list(tx, merchant, id, command).await,
        ("POST", ["v1", "deliveries", id, "retry"]) => deliveries::retry(tx, merchant, id).await,
        _ => Err(Problem::no_route()),
    }
}
