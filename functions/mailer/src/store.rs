//! The mailer's SQL about mails: recipients, messages, attempts, the channel. Wishes stand in [`wishes`].

mod wishes;

use domain::facts::core::UserRegistered;
use domain::mail::{FailureReason, Message, State, Template};
use guest::{Db, Problem, Row, Tx, new_id, now_ms, params};
use serde_json::Value;

pub use wishes::{is_suppressed, is_wanted, prefer, suppress, suppressions, unsuppress};

/// Whom we can write to.
pub struct Recipient {
    /// `None` once the user was erased.
    pub email: Option<String>,
    pub locale: String,
}

/// One mail.
pub struct MessageRow {
    pub id: String,
    pub user: String,
    pub message: Message,
    /// Fills the template.
    pub data: Value,
    pub created_at_ms: i64,
    pub version: i64,
}

const MESSAGE: &str =
    "SELECT id, user_id, template, data, state, reason, created_at_ms, expires_at_ms, version FROM message";
/// The one channel that there is.
const MAIL: &str = "mail";

/// Taken from a higher sequence only; so an erased user stays erased.
pub async fn take_recipient(tx: &Tx<'_>, user: &UserRegistered, sequence: i64) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO recipient (user_id, email, locale, sequence) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id) DO UPDATE SET email = excluded.email, locale = excluded.locale,
         sequence = excluded.sequence WHERE excluded.sequence > recipient.sequence",
        params![&user.user, &user.email, &user.locale, sequence],
    )
    .await?;
    Ok(())
}

pub async fn recipient(db: &Db, user: &str) -> Result<Option<Recipient>, Problem> {
    let row = db.row("SELECT email, locale FROM recipient WHERE user_id = $1", params![user]).await?;
    row.map(|row| Ok(Recipient { email: row.get("email")?, locale: row.get("locale")? })).transpose()
}

/// Forgets the address wherever it stands, and what the user's mails said.
pub async fn erase(tx: &Tx<'_>, user: &str, sequence: i64) -> Result<(), Problem> {
    if let Some(Recipient { email: Some(email), .. }) = recipient(tx, user).await? {
        unsuppress(tx, &email.to_ascii_lowercase()).await?;
    }
    tx.execute(
        "INSERT INTO recipient (user_id, email, locale, sequence) VALUES ($1, NULL, '', $2)
         ON CONFLICT (user_id) DO UPDATE SET email = NULL, locale = '', sequence = excluded.sequence",
        params![user, sequence],
    )
    .await?;
    tx.execute("UPDATE message SET data = '{}', version = version + 1 WHERE user_id = $1", params![user]).await?;
    tx.execute("DELETE FROM preference WHERE user_id = $1", params![user]).await?;
    Ok(())
}

/// Whether it is a new one.
pub async fn insert_message(tx: &Tx<'_>, row: &MessageRow) -> Result<bool, Problem> {
    let inserted = tx
        .execute(
            "INSERT INTO message (id, user_id, template, template_version, data, state, reason, created_at_ms,
             expires_at_ms, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
            params![
                &row.id,
                &row.user,
                row.message.template.key(),
                row.message.template.version(),
                row.data.to_string(),
                row.message.state.key(),
                row.message.state.reason().map(FailureReason::key),
                row.created_at_ms,
                row.message.expires_at_ms,
                row.version,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

pub async fn save_message(tx: &Tx<'_>, row: &MessageRow) -> Result<(), Problem> {
    tx.execute_one(
        "UPDATE message SET state = $1, reason = $2, version = version + 1 WHERE id = $3 AND version = $4",
        params![row.message.state.key(), row.message.state.reason().map(FailureReason::key), &row.id, row.version],
    )
    .await
}

pub async fn message(db: &Db, id: &str) -> Result<Option<MessageRow>, Problem> {
    let row = db.row(&format!("{MESSAGE} WHERE id = $1"), params![id]).await?;
    row.as_ref().map(message_row).transpose()
}

/// The message if it is still to be sent.
pub async fn queued(db: &Db, id: &str) -> Result<Option<MessageRow>, Problem> {
    Ok(message(db, id).await?.filter(|row| row.message.state == State::Queued))
}

/// What waits although the user's address is known.
pub async fn awaited(db: &Db, limit: i64) -> Result<Vec<MessageRow>, Problem> {
    let condition = "WHERE state = 'waiting' AND EXISTS
         (SELECT 1 FROM recipient WHERE recipient.user_id = message.user_id AND recipient.email IS NOT NULL)
         ORDER BY created_at_ms, id LIMIT $1";
    messages(db, condition, params![limit]).await
}

/// What is not sent yet although the user was erased.
pub async fn orphaned(db: &Db, limit: i64) -> Result<Vec<MessageRow>, Problem> {
    let condition = "WHERE state IN ('waiting', 'queued') AND EXISTS
         (SELECT 1 FROM recipient WHERE recipient.user_id = message.user_id AND recipient.email IS NULL)
         ORDER BY created_at_ms, id LIMIT $1";
    messages(db, condition, params![limit]).await
}

/// What waits for the user's address.
pub async fn waiting_of(db: &Db, user: &str, limit: i64) -> Result<Vec<MessageRow>, Problem> {
    let condition = "WHERE user_id = $1 AND state = 'waiting' ORDER BY created_at_ms, id LIMIT $2";
    messages(db, condition, params![user, limit]).await
}

/// What is not sent yet.
pub async fn open_of(db: &Db, user: &str, limit: i64) -> Result<Vec<MessageRow>, Problem> {
    let condition = "WHERE user_id = $1 AND state IN ('waiting', 'queued') ORDER BY created_at_ms, id LIMIT $2";
    messages(db, condition, params![user, limit]).await
}

/// What waited longer than it is of use, and what is queued still after an instant when it cannot be on its way any more.
pub async fn late(db: &Db, now_ms: i64, queued_before_ms: i64, limit: i64) -> Result<Vec<MessageRow>, Problem> {
    let condition = "WHERE state = 'waiting' AND expires_at_ms <= $1 OR state = 'queued' AND expires_at_ms <= $2
         ORDER BY expires_at_ms, id LIMIT $3";
    messages(db, condition, params![now_ms, queued_before_ms, limit]).await
}

/// When the next waiting message is late.
pub async fn next_expiry_ms(db: &Db) -> Result<Option<i64>, Problem> {
    let sql = "SELECT MIN(expires_at_ms) AS next_ms FROM message WHERE state = 'waiting'";
    db.one(sql, params![]).await?.get("next_ms")
}

/// A page of a user's messages, the newest first, behind one that was seen.
pub async fn newest(db: &Db, user: &str, after: Option<&MessageRow>, limit: i64) -> Result<Vec<MessageRow>, Problem> {
    let order = "ORDER BY created_at_ms DESC, id DESC LIMIT";
    match after {
        None => messages(db, &format!("WHERE user_id = $1 {order} $2"), params![user, limit]).await,
        Some(seen) => {
            let condition = format!("WHERE user_id = $1 AND (created_at_ms, id) < ($2, $3) {order} $4");
            messages(db, &condition, params![user, seen.created_at_ms, &seen.id, limit]).await
        }
    }
}

pub async fn log_attempt(tx: &Tx<'_>, message: &str, status: Option<u16>) -> Result<(), Problem> {
    tx.execute_one(
        "INSERT INTO attempt (id, message, at_ms, status) VALUES ($1, $2, $3, $4)",
        params![new_id("att"), message, now_ms(), status.map(i64::from)],
    )
    .await
}

/// Zero while the provider takes mails from us.
pub async fn closed_until_ms(db: &Db) -> Result<i64, Problem> {
    let row = db.row("SELECT closed_until_ms FROM channel WHERE name = $1", params![MAIL]).await?;
    row.map_or(Ok(0), |row| row.get("closed_until_ms"))
}

pub async fn close_channel(tx: &Tx<'_>, until_ms: i64) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO channel (name, closed_until_ms) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET closed_until_ms = excluded.closed_until_ms",
        params![MAIL, until_ms],
    )
    .await?;
    Ok(())
}

async fn messages(db: &Db, condition: &str, params: &[guest::Value]) -> Result<Vec<MessageRow>, Problem> {
    db.rows(&format!("{MESSAGE} {condition}"), params).await?.iter().map(message_row).collect()
}

fn message_row(row: &Row) -> Result<MessageRow, Problem> {
    let (template, state): (String, String) = (row.get("template")?, row.get("state")?);
    let (data, reason): (String, Option<String>) = (row.get("data")?, row.get("reason")?);
    let broken = || Problem::internal("the row is no message");
    let message = Message {
        template: Template::parse(&template).ok_or_else(broken)?,
        expires_at_ms: row.get("expires_at_ms")?,
        state: State::parse(&state, reason.as_deref()).ok_or_else(broken)?,
    };
    Ok(MessageRow {
        id: row.get("id")?,
        user: row.get("user_id")?,
        message,
        data: serde_json::from_str(&data).map_err(|_| broken())?,
        created_at_ms: row.get("created_at_ms")?,
        version: row.get("version")?,
    })
}
