//! Events that were handled. An event's (source, id) comes in; the reply that it had goes out.

use event::Event;

use crate::clock::now_ms;
use crate::outcome::Outcome;
use crate::params;
use crate::problem::Problem;
use crate::sql::{Db, Purpose, Tx};

/// DOMAIN.md, "Events": stored replies last 30 days. The ids outlive the topics' retention.
const REPLY_LASTS_MS: i64 = 30 * 24 * 3_600 * 1_000;
/// How many old replies one wake forgets.
const FORGET_MAX: i64 = 200;
/// After what time a wake is asked for while older ones are left.
const FORGET_AGAIN_MS: i64 = 1_000;

/// What an event was answered with, if it was handled.
pub async fn find(db: &Db, event: &Event) -> Result<Option<Outcome>, Problem> {
    let sql = "SELECT reply, wake_at_ms FROM guest_inbox WHERE source = $1 AND id = $2";
    let Some(row) = db.row(sql, params![&event.source, &event.id]).await? else { return Ok(None) };
    Ok(Some(Outcome::of_event(row.get("reply")?, row.get("wake_at_ms")?)))
}

/// Remembers an event in the transaction of its effect. Two deliveries at once meet at the primary key: one of them runs
/// again and finds the other's reply.
pub async fn keep(tx: &Tx<'_>, event: &Event, outcome: &Outcome) -> Result<(), Problem> {
    let sql = "INSERT INTO guest_inbox (source, id, reply, wake_at_ms, handled_at_ms)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source, id) DO NOTHING";
    let reply = (!outcome.body.is_empty()).then(|| String::from_utf8_lossy(&outcome.body).into_owned());
    tx.execute_one(sql, params![&event.source, &event.id, reply, outcome.wake_at_ms, now_ms()]).await
}

/// Forgets replies that are too old to be asked for, but not that the events were handled. When some may be left, the
/// instant at which to go on.
pub async fn forget_old(db: &Db) -> Result<Option<i64>, Problem> {
    let before_ms = now_ms() - REPLY_LASTS_MS;
    let old = "SELECT 1 AS found FROM guest_inbox WHERE reply IS NOT NULL AND handled_at_ms < $1 LIMIT 1";
    if db.row(old, params![before_ms]).await?.is_none() {
        return Ok(None);
    }
    let tx = db.begin(Purpose::Bookkeeping).await?;
    let sql = "UPDATE guest_inbox SET reply = NULL WHERE (source, id) IN (
        SELECT source, id FROM guest_inbox WHERE reply IS NOT NULL AND handled_at_ms < $1 LIMIT $2)";
    let forgotten = tx.execute(sql, params![before_ms, FORGET_MAX]).await?;
    tx.commit().await?;
    Ok((forgotten >= FORGET_MAX as u64).then(|| now_ms() + FORGET_AGAIN_MS))
}
