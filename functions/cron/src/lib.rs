//! The cron function: schedules. Operators come in and keep them; a wake, or any event as a tick, comes in and claims what
//! is due; `cron.schedule.due` goes out, and the wish to be woken at the next due instant.
//!
//! It is entered any number of times, concurrently: a run is claimed by a unique insert.

mod schedules;
mod store;

use guest::{Answer, Command, Db, Function, Input, Problem, Role, Tx};

struct Cron;

impl Function for Cron {
    const NAME: &'static str = "cron";
    const MIGRATIONS: &'static [&'static str] = &[include_str!("../migrations/001.sql")];
    type Gathered = ();

    async fn gather(&self, _db: &Db, _input: &Input) -> Result<(), Problem> {
        Ok(())
    }

    async fn handle(&self, tx: &Tx<'_>, input: &Input, _gathered: &()) -> Result<Answer, Problem> {
        match input {
            Input::Command(command) => obey(tx, command).await,
            Input::Event(_) | Input::Wake => schedules::tick(tx, guest::now_ms()).await,
        }
    }
}

#[spin_sdk::http_service]
async fn handle(request: spin_sdk::http::Request) -> impl spin_sdk::http::IntoResponse {
    guest::serve(Cron, request).await
}

async fn obey(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    command.principal()?.require_any(&[Role::Operator, Role::Admin])?;
    let now_ms = guest::now_ms();
    let (method, path) = command.route();
    match (method, path.as_slice()) {
        ("GET", ["v1", "schedules"]) => schedules::list(tx).await,
        ("GET", ["v1", "schedules", id]) => schedules::show(tx, id).await,
        ("PUT", ["v1", "schedules", id]) => schedules::put(tx, id, command.json()?, now_ms).await,
        ("DELETE", ["v1", "schedules", id]) => schedules::delete(tx, id).await,
        ("POST", ["v1", "schedules", id, "run"]) => schedules::run(tx, id, now_ms).await,
        ("GET", ["v1", "schedules", id, "runs"]) => {
            schedules::runs(tx, id, command.query_number("limit", 20, 1..=100)?).await
        }
        _ => Err(Problem::no_route()),
    }
}
