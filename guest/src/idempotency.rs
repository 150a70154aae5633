//! Commands that were obeyed under an `Idempotency-Key` (Stripe; IETF draft-07). A key and a request come in; the answer
//! that they had goes out, or the refusal that the key belongs to another request.

use ::http::StatusCode;
use sha2::{Digest, Sha256};

use crate::clock::now_ms;
use crate::input::{Command, Door};
use crate::outcome::Outcome;
use crate::params;
use crate::problem::{Code, Problem};
use crate::sql::{Db, Tx};

const KEY_CHARACTERS_MAX: usize = 255;

/// A client's key, and what it was used with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    principal: String,
    key: String,
    fingerprint: String,
}

/// The key of a command whose door asks for one.
pub fn key(door: Door, command: &Command) -> Result<Option<Key>, Problem> {
    if door != Door::Money {
        return Ok(None);
    }
    let principal = command.principal()?.id.clone();
    let key = command.header("idempotency-key").unwrap_or_default().trim();
    if key.is_empty() {
        return Err(Problem::new(Code::IdempotencyKeyMissing, "this command needs the header Idempotency-Key"));
    }
    if key.len() > KEY_CHARACTERS_MAX {
        return Err(Problem::validation(format!("an Idempotency-Key has at most {KEY_CHARACTERS_MAX} characters")));
    }
    Ok(Some(Key { principal, key: key.to_owned(), fingerprint: fingerprint(command) }))
}

/// What makes a request the same one: method, path, query and body, byte for byte.
fn fingerprint(command: &Command) -> String {
    let mut hash = Sha256::new();
    let query = command.query.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let parts = std::iter::once(command.method.as_str().as_bytes()).chain(command.path.iter().map(String::as_bytes));
    for part in parts.chain(query).chain([command.body.as_ref()]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the key was answered with, if it was used.
pub async fn find(db: &Db, key: &Key) -> Result<Option<Outcome>, Problem> {
    let sql = "SELECT fingerprint, status, content_type, body FROM guest_idempotency WHERE principal = $1 AND key = $2";
    let Some(row) = db.row(sql, params![&key.principal, &key.key]).await? else { return Ok(None) };
    key.is_of(&row.get::<String>("fingerprint")?)?;
    let status = u16::try_from(row.get::<i64>("status")?).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or_else(|| Problem::internal("a stored status is none"))?;
    Ok(Some(Outcome::replayed(status, row.get("content_type")?, row.get("body")?)))
}

/// Remembers an answer in the transaction of its effect. Two requests at once meet at the primary key: one of them runs
/// again and finds the other's answer.
pub async fn keep(tx: &Tx<'_>, key: &Key, outcome: &Outcome) -> Result<(), Problem> {
    let sql = "INSERT INTO guest_idempotency (principal, key, fingerprint, status, content_type, body, stored_at_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (principal, key) DO NOTHING";
    let body = String::from_utf8_lossy(&outcome.body);
    let status = i64::from(outcome.status.as_u16());
    let params =
        params![&key.principal, &key.key, &key.fingerprint, status, &outcome.content_type, body.into_owned(), now_ms()];
    tx.execute_one(sql, params).await
}

impl Key {
    fn is_of(&self, fingerprint: &str) -> Result<(), Problem> {
        if self.fingerprint == fingerprint {
            return Ok(());
        }
        Err(Problem::new(Code::IdempotencyKeyReused, "this Idempotency-Key was used with another request"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Principal;
    use ::http::{HeaderMap, HeaderValue, Method};

    fn command(key: Option<&str>, body: &'static str) -> Command {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            headers.insert("idempotency-key", HeaderValue::from_str(key).expect("a header's value"));
        }
        Command {
            method: Method::POST,
            path: vec!["v1".into(), "transfers".into()],
            query: Default::default(),
            headers,
            body: body.into(),
            principal: Some(Principal { id: "usr_1".into(), roles: vec![] }),
        }
    }

    fn code(outcome: Result<Option<Key>, Problem>) -> Option<Code> {
        outcome.err().map(|problem| problem.code)
    }

    // promise: DOMAIN: a money command without Idempotency-Key is refused
    #[test]
    fn a_money_command_needs_a_key() {
        assert_eq!(code(key(Door::Money, &command(None, ""))), Some(Code::IdempotencyKeyMissing));
        assert_eq!(code(key(Door::Money, &command(Some(" "), ""))), Some(Code::IdempotencyKeyMissing));
        assert_eq!(key(Door::Client, &command(None, "")), Ok(None));
    }

    #[test]
    fn a_key_has_at_most_255_characters() {
        assert!(key(Door::Money, &command(Some(&"k".repeat(255)), "")).is_ok());
        assert_eq!(code(key(Door::Money, &command(Some(&"k".repeat(256)), ""))), Some(Code::Validation));
    }

    // promise: DOMAIN: an Idempotency-Key used with another request is refused
    #[test]
    fn a_key_belongs_to_one_request() {
        let of = |body| key(Door::Money, &command(Some("k"), body)).ok().flatten().expect("a key");
        assert!(of("a").is_of(&of("a").fingerprint).is_ok());
        let reused = of("a").is_of(&of("b").fingerprint).expect_err("another body");
        assert_eq!(reused.code, Code::IdempotencyKeyReused);
    }
}
