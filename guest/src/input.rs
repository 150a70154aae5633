//! What a function is entered with: a client's command, an event or a wake.

use std::collections::BTreeMap;

use ::http::{HeaderMap, Method};
use bytes::Bytes;
use event::Event;
use serde::de::DeserializeOwned;

use crate::identity::Principal;
use crate::problem::{Code, Problem};

/// Who tells facts in this house.
const FUNCTIONS: [&str; 6] = ["admin", "core", "cron", "mailer", "payment", "webhook"];

/// One of the three ways in.
#[derive(Debug, Clone)]
pub enum Input {
    /// A client's request, which may be refused.
    Command(Command),
    /// A fact from the bridge.
    Event(Event),
    /// The bridge's call at the instant that this function asked for, at the bridge's start, or hourly.
    Wake,
}

/// Who may enter by a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A client with a valid token. The usual case.
    Client,
    /// As `Client`, and the command moves money: it needs an `Idempotency-Key` and takes effect once per key.
    Money,
    /// Anybody; the function proves the caller itself (a provider's signature, a token in the path).
    Open,
}

/// A client's request.
#[derive(Debug, Clone)]
pub struct Command {
    /// `GET`, `POST`, …
    pub method: Method,
    /// The segments after `/{function}`, percent-decoded: `["v1", "invoices", "inv_…"]`.
    pub path: Vec<String>,
    /// Query parameters, decoded; the last of a name counts.
    pub query: BTreeMap<String, String>,
    /// As they came; a webhook's signature stands there.
    pub headers: HeaderMap,
    /// As it came, at most [`crate::BODY_BYTES_MAX`].
    pub body: Bytes,
    /// Who calls; `None` behind an open door only.
    pub principal: Option<Principal>,
}

impl Command {
    /// Method and segments, made to be matched: `("GET", ["v1", "invoices", id])`.
    pub fn route(&self) -> (&str, Vec<&str>) {
        (self.method.as_str(), self.path.iter().map(String::as_str).collect())
    }

    /// The body as JSON of a type; anything else is a `validation` refusal that says where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| Problem::validation(format!("the body: {error}")))
    }

    /// A query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A query parameter that is a whole number within bounds; `default` where it is absent.
    pub fn query_number(&self, name: &str, default: i64, range: std::ops::RangeInclusive<i64>) -> Result<i64, Problem> {
        let Some(text) = self.query(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            Problem::validation(format!("`{name}` is a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Who calls, or 401.
    pub fn principal(&self) -> Result<&Principal, Problem> {
        self.principal.as_ref().ok_or_else(|| Problem::new(Code::Unauthenticated, "bring a bearer token"))
    }
}

/// A type begins with the function that may say it: whoever else says it is forging. Types that begin otherwise are
/// nobody's of the house, and anybody's to say.
pub(crate) fn refuse_forged(event: &Event, function: &str) -> Result<(), Problem> {
    let teller = event.kind.split('.').next().unwrap_or_default();
    let is_ours = teller == function || FUNCTIONS.contains(&teller);
    if is_ours && event.source != format!("/till/{teller}") {
        return Err(Problem::validation(format!("{} is not for {} to say", event.kind, event.source)));
    }
    Ok(())
}

/// The event's data as JSON of a type; anything else is a `validation` refusal.
pub fn payload<T: DeserializeOwned>(event: &Event) -> Result<T, Problem> {
    let data = event.data.as_deref().unwrap_or_default();
    serde_json::from_slice(data).map_err(|error| Problem::validation(format!("the data of {}: {error}", event.kind)))
}

/// The event's subject: the aggregate that it is about.
pub fn subject(event: &Event) -> Result<&str, Problem> {
    event.subject.as_deref().ok_or_else(|| Problem::validation(format!("{} has no subject", event.kind)))
}

/// The event's `sequence`, counted per subject from 1. State is taken only from a higher one than the last.
pub fn sequence(event: &Event) -> Result<i64, Problem> {
    let sequence = event.extensions.get("sequence").and_then(|text| text.parse().ok());
    sequence.ok_or_else(|| Problem::validation(format!("{} has no sequence", event.kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(query: &[(&str, &str)], body: &'static str) -> Command {
        Command {
            method: Method::GET,
            path: vec!["v1".into(), "things".into()],
            query: query.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            principal: None,
        }
    }

    #[test]
    fn a_command_is_matched_by_method_and_segments() {
        let command = command(&[], "");
        let (method, path) = command.route();
        assert!(matches!((method, path.as_slice()), ("GET", ["v1", "things"])));
    }

    #[test]
    fn a_body_of_another_shape_is_refused_with_the_place() {
        let problem = command(&[], "{\"n\": 1").json::<BTreeMap<String, i64>>().expect_err("half an object");
        assert_eq!(problem.code, Code::Validation);
        assert!(problem.detail.contains("line 1"), "{}", problem.detail);
    }

    #[test]
    fn a_number_in_the_query_has_bounds() {
        let limit = |text| command(&[("limit", text)], "").query_number("limit", 50, 1..=100);
        assert_eq!(command(&[], "").query_number("limit", 50, 1..=100), Ok(50));
        assert_eq!(limit("100"), Ok(100));
        for wrong in ["0", "101", "-1", "1.5", "x", ""] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fact_is_heard_from_its_own_function_only() {
        let check =
            |source, kind| refuse_forged(&Event::new("1", source, kind), "loyalty").map_err(|problem| problem.code);
        assert_eq!(check("/till/payment", "payment.deposit.confirmed"), Ok(()));
        assert_eq!(check("/till/loyalty", "loyalty.point.given"), Ok(()));
        for source in ["/till/core", "/till/payment/", "/me", "payment"] {
            assert_eq!(check(source, "payment.deposit.confirmed"), Err(Code::Validation), "{source}");
        }
        assert_eq!(check("/me", "loyalty.point.given"), Err(Code::Validation));
        for kind in ["dev.till.wake", "dev.knative.sources.ping", "com.example.order", "payments.x.y"] {
            assert_eq!(check("/till/bridge/wakes/core", kind), Ok(()), "{kind}");
        }
    }

    #[test]
    fn an_event_without_subject_or_sequence_is_refused() {
        let event = Event::new("1", "/a", "b");
        assert!(subject(&event).is_err() && sequence(&event).is_err());
        assert!(payload::<serde_json::Value>(&event).is_err());
    }
}
