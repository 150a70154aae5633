//! The core function: users, and the ledger of what they hold. Registrations and facts about deposits come in, transfers
//! and their facts go out.

mod credits;
mod ledger;
mod proof;
mod store;
mod users;

use domain::facts::cron::SCHEDULE_DUE;
use domain::facts::payment;
use guest::{Answer, Command, Db, Function, Input, Problem, Tx};

/// The schedule whose runs prove the ledger.
const LEDGER_PROOF: &str = "ledger-proof";

struct Core;

impl Function for Core {
    const NAME: &'static str = "core";
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
    guest::serve(Core, request).await
}

async fn obey(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    let (method, path) = command.route();
    match (method, path.as_slice()) {
        ("POST", ["v1", "users"]) => users::register(tx, command).await,
        ("GET", ["v1", "me", "balances"]) => ledger::balances(tx, command).await,
        ("GET", ["v1", "me", "statement"]) => ledger::statement(tx, command).await,
        ("GET", ["v1", "verify"]) => proof::show(tx, command).await,
        _ => Err(Problem::no_route()),
    }
}

async fn hear(tx: &Tx<'_>, event: &event::Event) -> Result<Answer, Problem> {
    match event.kind.as_str() {
        payment::DEPOSIT_DETECTED
        | payment::DEPOSIT_CONFIRMED
        | payment::DEPOSIT_ORPHANED
        | payment::DEPOSIT_REVERTED => credits::deposit(tx, event).await,
        SCHEDULE_DUE if event.subject.as_deref() == Some(LEDGER_PROOF) => proof::tell(tx).await,
        _ => Ok(Answer::no_content()),
    }
}
