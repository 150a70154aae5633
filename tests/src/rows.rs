//! What the functions of a house on SQLite have written down: the rows of every table, to see that a refusal left nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use till::Error;
use till::data::FUNCTIONS;
use till::until::until;

use crate::house::House;

/// Rows by table, as `function.table`.
pub type Rows = BTreeMap<String, i64>;

const PATIENCE: Duration = Duration::from_secs(30);

/// The rows when everything that was told has been heard: every function has been woken, which makes its tables, no record
/// waits, and no function has anything left to push.
pub async fn at_rest(house: &House) -> Result<Rows, Error> {
    until("a house at rest", PATIENCE, async || {
        let before = count(house);
        let bridge = house.visitor.bridge_metrics().await?;
        let woken = FUNCTIONS.iter().all(|function| bridge.sum("till_wakes_total", &[("sink", function)]) > 0.0);
        let waits = bridge.sum("till_lag", &[]) + bridge.sum("till_in_flight", &[]);
        let unsent: i64 =
            before.iter().filter(|(table, _)| table.ends_with(".guest_outbox")).map(|(_, rows)| rows).sum();
        Ok((woken && waits == 0.0 && unsent == 0 && count(house) == before).then_some(before))
    })
    .await
}

fn count(house: &House) -> Rows {
    FUNCTIONS.iter().flat_map(|function| of(house, function)).collect()
}

/// None before the function's first use.
fn of(house: &House, function: &str) -> Vec<(String, i64)> {
    let file = house.data.path(&format!("data/{function}.db"));
    let Ok(db) = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY) else { return Vec::new() };
    db.busy_timeout(PATIENCE).expect("SQLite can wait");
    let mut tables =
        db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").expect("a database has a schema");
    let names: Vec<String> =
        tables.query_map([], |row| row.get(0)).and_then(Iterator::collect).expect("a schema can be read");
    let rows = |name: &String| db.query_row(&format!("SELECT COUNT(*) FROM {name}"), [], |row| row.get(0));
    // A refusal is kept under its idempotency key, because a repeat gets the same answer: that is no trace of the command.
    let names = names.iter().filter(|name| *name != "guest_idempotency");
    names.map(|name| (format!("{function}.{name}"), rows(name).expect("a table can be counted"))).collect()
}
