//! The SQL of schedules and their runs.

use domain::schedule::Definition;
use guest::{Db, Problem, Row, Tx, params};
use serde::Serialize;

/// A schedule as it is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    pub id: String,
    pub definition: Definition,
    /// Everything until this instant was looked at; 0 before the first look.
    pub handled_until_ms: i64,
    pub due_at_ms: i64,
    pub version: i64,
}

impl Kept {
    /// Nobody has looked at it yet: what lies before is not missed.
    pub fn is_new(&self) -> bool {
        self.handled_until_ms == 0
    }
}

/// A run that was claimed.
#[derive(Debug, Serialize)]
pub struct Run {
    pub scheduled_at_ms: i64,
    pub claimed_at_ms: i64,
    pub by_hand: bool,
}

pub async fn load(db: &Db, id: &str) -> Result<Kept, Problem> {
    let sql = "SELECT id, cron, timezone, catch_up, payload, handled_until_ms, due_at_ms, version
        FROM schedule WHERE id = $1";
    kept(&db.row(sql, params![id]).await?.ok_or_else(|| Problem::not_found("such schedule"))?)
}

pub async fn all(db: &Db) -> Result<Vec<Kept>, Problem> {
    let sql = "SELECT id, cron, timezone, catch_up, payload, handled_until_ms, due_at_ms, version
        FROM schedule ORDER BY id";
    db.rows(sql, &[]).await?.iter().map(kept).collect()
}

pub async fn due(db: &Db, now_ms: i64, limit: i64) -> Result<Vec<Kept>, Problem> {
    let sql = "SELECT id, cron, timezone, catch_up, payload, handled_until_ms, due_at_ms, version
        FROM schedule WHERE due_at_ms <= $1 ORDER BY due_at_ms, id LIMIT $2";
    db.rows(sql, params![now_ms, limit]).await?.iter().map(kept).collect()
}

pub async fn earliest_due(db: &Db) -> Result<Option<i64>, Problem> {
    db.one("SELECT MIN(due_at_ms) AS due_at_ms FROM schedule", &[]).await?.get("due_at_ms")
}

/// Keeps what a tick changes, unless somebody was faster.
pub async fn save(tx: &Tx<'_>, kept: &Kept) -> Result<(), Problem> {
    let sql = "UPDATE schedule SET handled_until_ms = $1, due_at_ms = $2, version = version + 1
        WHERE id = $3 AND version = $4";
    tx.execute_one(sql, params![kept.handled_until_ms, kept.due_at_ms, &kept.id, kept.version]).await
}

pub async fn put(tx: &Tx<'_>, kept: &Kept) -> Result<(), Problem> {
    let sql = "INSERT INTO schedule (id, cron, timezone, catch_up, payload, handled_until_ms, due_at_ms, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 1)
        ON CONFLICT (id) DO UPDATE SET cron = excluded.cron, timezone = excluded.timezone,
            catch_up = excluded.catch_up, payload = excluded.payload, handled_until_ms = excluded.handled_until_ms,
            due_at_ms = excluded.due_at_ms, version = schedule.version + 1";
    let definition = &kept.definition;
    let (catch_up, payload) = (json(&definition.catch_up)?, json(&definition.payload)?);
    let Kept { id, handled_until_ms, due_at_ms, .. } = kept;
    let params = params![id, &definition.cron, &definition.timezone, catch_up, payload, *handled_until_ms, *due_at_ms];
    tx.execute_one(sql, params).await
}

pub async fn delete(tx: &Tx<'_>, id: &str) -> Result<(), Problem> {
    tx.execute_one("DELETE FROM schedule WHERE id = $1", params![id]).await
}

/// Claims a run. `false`: it was claimed before.
pub async fn claim(
    tx: &Tx<'_>,
    schedule: &str,
    scheduled_at_ms: i64,
    now_ms: i64,
    by_hand: bool,
) -> Result<bool, Problem> {
    let sql = "INSERT INTO run (schedule, scheduled_at_ms, claimed_at_ms, by_hand) VALUES ($1, $2, $3, $4)
        ON CONFLICT (schedule, scheduled_at_ms) DO NOTHING";
    Ok(tx.execute(sql, params![schedule, scheduled_at_ms, now_ms, by_hand]).await? == 1)
}

pub async fn runs(db: &Db, schedule: &str, limit: i64) -> Result<Vec<Run>, Problem> {
    let sql = "SELECT scheduled_at_ms, claimed_at_ms, by_hand FROM run WHERE schedule = $1
        ORDER BY scheduled_at_ms DESC LIMIT $2";
    let run = |row: &Row| {
        Ok(Run {
            scheduled_at_ms: row.get("scheduled_at_ms")?,
            claimed_at_ms: row.get("claimed_at_ms")?,
            by_hand: row.get("by_hand")?,
        })
    };
    db.rows(sql, params![schedule, limit]).await?.iter().map(run).collect()
}

fn kept(row: &Row) -> Result<Kept, Problem> {
    let definition = Definition {
        cron: row.get("cron")?,
        timezone: row.get("timezone")?,
        catch_up: parse(&row.get::<String>("catch_up")?)?,
        payload: parse(&row.get::<String>("payload")?)?,
    };
    Ok(Kept {
        id: row.get("id")?,
        definition,
        handled_until_ms: row.get("handled_until_ms")?,
        due_at_ms: row.get("due_at_ms")?,
        version: row.get("version")?,
    })
}

fn json(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|error| Problem::internal(error.to_string()))
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| Problem::internal(format!("a stored schedule: {error}")))
}
