//! The merchant: an endpoint for webhooks that verifies them by Standard Webhooks, keeps what it heard, and can be told to
//! fail. `PUT /secrets/{name}` tells it a secret, hooks come to `/hooks/{name}`, `GET /received` shows them, and
//! `PUT /behaviour` says how the next ones are answered.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use super::journal::Journal;
use super::serve::{self, Ask, Door, Say};
use crate::Error;

/// How far a webhook's timestamp may stand from the clock, as Standard Webhooks recommends.
const TOLERANCE_S: i64 = 5 * 60;

/// The stand-in of a merchant's shop.
#[derive(Debug)]
pub struct Merchant(Mutex<Shop>);

#[derive(Debug)]
struct Shop {
    journal: Journal,
    secrets: HashMap<String, String>,
    received: Vec<Hook>,
    behaviour: Behaviour,
}

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Secret { endpoint: String, secret: String },
    Hook(Hook),
}

/// One webhook as it came in.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hook {
    endpoint: String,
    id: String,
    timestamp: String,
    verified: bool,
    /// Why it does not verify; empty when it does.
    reason: String,
    body: Value,
    received: String,
    /// What it was answered with.
    answered: u16,
}

/// How the next webhooks are answered: `times` of them with `status`, then 204 again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behaviour {
    status: u16,
    times: u32,
    #[serde(default)]
    retry_after: Option<u32>,
}

impl Merchant {
    /// Opens the shop with the secrets and webhooks of before.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (journal, entries) = Journal::open::<Entry>(path)?;
        let mut shop = Shop { journal, secrets: HashMap::new(), received: Vec::new(), behaviour: Behaviour::default() };
        entries.into_iter().for_each(|entry| shop.remember(entry));
        Ok(Merchant(Mutex::new(shop)))
    }
}

impl Door for Merchant {
    fn answer(&self, ask: Ask) -> Say {
        let mut shop = self.0.lock().expect("no holder of the lock panics");
        let (room, name) = ask.path[1..].split_once('/').unwrap_or((&ask.path[1..], ""));
        match (&ask.method, room) {
            (&Method::POST, "hooks") => shop.hook(name, &ask),
            (&Method::PUT, "secrets") => shop.learn(name, &ask),
            (&Method::GET, "received") => shop.show(&ask),
            (&Method::PUT, "behaviour") => shop.behave(&ask),
            _ => serve::status(StatusCode::NOT_FOUND),
        }
    }
}

impl Shop {
    fn hook(&mut self, endpoint: &str, ask: &Ask) -> Say {
        let verdict = self.verify(endpoint, ask, jiff::Timestamp::now().as_second());
        let (status, retry_after) = self.next_status(verdict.is_ok());
        let hook = Hook {
            endpoint: endpoint.to_owned(),
            id: ask.header("webhook-id").to_owned(),
            timestamp: ask.header("webhook-timestamp").to_owned(),
            verified: verdict.is_ok(),
            reason: verdict.err().unwrap_or_default().to_owned(),
            body: ask.json(),
            received: jiff::Timestamp::now().to_string(),
            answered: status.as_u16(),
        };
        if self.keep(Entry::Hook(hook)).is_err() {
            return serve::status(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let mut say = serve::status(status);
        if let Some(seconds) = retry_after {
            say.headers_mut().insert("retry-after", seconds.into());
        }
        say
    }

    fn verify(&self, endpoint: &str, ask: &Ask, now: i64) -> Result<(), &'static str> {
        let secret = self.secrets.get(endpoint).ok_or("no secret is known for this endpoint")?;
        let (id, timestamp) = (ask.header("webhook-id"), ask.header("webhook-timestamp"));
        let sent: i64 = timestamp.parse().map_err(|_| "webhook-timestamp is no number")?;
        if (now - sent).abs() > TOLERANCE_S {
            return Err("webhook-timestamp is too far from the clock");
        }
        if id.is_empty() {
            return Err("webhook-id is missing");
        }
        signed_by(secret, &format!("{id}.{timestamp}."), &ask.body, ask.header("webhook-signature"))
    }

    fn next_status(&mut self, verified: bool) -> (StatusCode, Option<u32>) {
        if self.behaviour.times > 0 {
            self.behaviour.times -= 1;
            let status = StatusCode::from_u16(self.behaviour.status).expect("a behaviour's status was checked");
            return (status, self.behaviour.retry_after);
        }
        (if verified { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }, None)
    }

    fn learn(&mut self, endpoint: &str, ask: &Ask) -> Say {
        let Some(secret) = ask.json()["secret"].as_str().map(str::to_owned) else {
            return serve::json(StatusCode::BAD_REQUEST, &json!({ "error": "say {\"secret\": \"whsec_…\"}" }));
        };
        match self.keep(Entry::Secret { endpoint: endpoint.to_owned(), secret }) {
            Ok(()) => serve::status(StatusCode::NO_CONTENT),
            Err(_) => serve::status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    fn show(&self, ask: &Ask) -> Say {
        let wanted = ask.query("endpoint");
        let hooks: Vec<&Hook> =
            self.received.iter().filter(|hook| wanted.is_none_or(|name| hook.endpoint == name)).collect();
        serve::json(StatusCode::OK, &json!({ "total": hooks.len(), "received": hooks }))
    }

    fn behave(&mut self, ask: &Ask) -> Say {
        match serde_json::from_slice::<Behaviour>(&ask.body) {
            Ok(behaviour) if StatusCode::from_u16(behaviour.status).is_ok() => {
                self.behaviour = behaviour;
                serve::status(StatusCode::NO_CONTENT)
            }
            _ => serve::json(StatusCode::BAD_REQUEST, &json!({ "error": "say {\"status\": 503, \"times\": 2}" })),
        }
    }

    fn keep(&mut self, entry: Entry) -> Result<(), Error> {
        self.journal.append(&entry)?;
        self.remember(entry);
        Ok(())
    }

    fn remember(&mut self, entry: Entry) {
        match entry {
            Entry::Secret { endpoint, secret } => drop(self.secrets.insert(endpoint, secret)),
            Entry::Hook(hook) => self.received.push(hook),
        }
    }
}

/// Standard Webhooks: one of the signatures (several while a secret is rotated) is `v1,base64(HMAC-SHA256(…))`.
fn signed_by(secret: &str, prefix: &str, body: &[u8], signatures: &str) -> Result<(), &'static str> {
    let secret = secret.strip_prefix("whsec_").unwrap_or(secret);
    let secret = BASE64_STANDARD.decode(secret).map_err(|_| "the secret is not base64")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("HMAC takes a key of any length");
    mac.update(prefix.as_bytes());
    mac.update(body);
    let good = signatures
        .split(' ')
        .filter_map(|signature| BASE64_STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|signature| mac.clone().verify_slice(&signature).is_ok());
    good.then_some(()).ok_or("no signature of this body by this secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn hook(body: &'static str) -> Ask {
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap());
        headers.insert("webhook-timestamp", "1614265330".parse().unwrap());
        headers.insert("webhook-signature", SIGNATURE.parse().unwrap());
        Ask { method: Method::POST, path: "/hooks/shop".to_owned(), query: String::new(), headers, body: body.into() }
    }

    fn shop(folder: &Path) -> Shop {
        let mut shop = Merchant::open(&folder.join("merchant.jsonl")).unwrap().0.into_inner().unwrap();
        shop.keep(Entry::Secret { endpoint: "shop".to_owned(), secret: SECRET.to_owned() }).unwrap();
        shop
    }

    #[test]
    fn the_vector_of_standard_webhooks_verifies() {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(folder.path());
        assert_eq!(shop.verify("shop", &hook("{\"test\": 2432232314}"), 1614265331), Ok(()));
    }

    #[test]
    fn a_changed_body_an_old_timestamp_and_an_unknown_endpoint_do_not_verify() {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(folder.path());
        let check = |endpoint, body, now| shop.verify(endpoint, &hook(body), now).unwrap_err();
        assert_eq!(check("shop", "{\"test\": 1}", 1614265331), "no signature of this body by this secret");
        assert_eq!(check("shop", "{\"test\": 2432232314}", 1614269999), "webhook-timestamp is too far from the clock");
        assert_eq!(check("other", "{\"test\": 2432232314}", 1614265331), "no secret is known for this endpoint");
    }

    #[test]
    fn it_fails_as_often_as_it_is_told_and_remembers_what_it_heard() {
        let folder = tempfile::tempdir().unwrap();
        let mut shop = shop(folder.path());
        shop.behaviour = Behaviour { status: 503, times: 2, retry_after: None };
        let answers: Vec<u16> = (0..3).map(|_| shop.hook("shop", &hook("{}")).status().as_u16()).collect();
        assert_eq!(answers, [503, 503, 401]);
        let again = Merchant::open(&folder.path().join("merchant.jsonl")).unwrap().0.into_inner().unwrap();
        assert_eq!(again.received.len(), 3);
        assert_eq!(again.secrets["shop"], SECRET);
    }
}
