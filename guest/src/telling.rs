//! A fact becomes an event: its id, source and sequence, and where it comes from.

use event::Event;

use crate::answer::Fact;
use crate::clock::{derived_uuid, rfc3339};
use crate::problem::{Code, Problem};

/// An event above this is refused before the commit (DOMAIN.md, "Events"): as a record, with its key and headers, it has
/// to stay within the 256 KiB that the bridge takes.
pub const EVENT_BYTES_MAX: usize = 255 * 1024;

/// What the events of one unit of work have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who says so.
    pub function: &'static str,
    /// Raised by a restore from backup, so that new facts never reuse old ids.
    pub epoch: String,
    /// The same for everything that follows from one beginning.
    pub correlation: String,
    /// The id of the event that was heard.
    pub causation: Option<String>,
    /// W3C Trace Context.
    pub traceparent: Option<String>,
}

impl Origin {
    /// The event of a fact, which is the `sequence`-th of its subject.
    pub fn event(&self, fact: &Fact, sequence: i64, now_ms: i64) -> Event {
        let mut event = Event::new(self.id(fact, sequence), format!("/till/{}", self.function), &fact.kind);
        event.subject = Some(fact.subject.clone());
        event.time = Some(rfc3339(now_ms));
        event.datacontenttype = Some("application/json".to_owned());
        event.data = Some(fact.data.clone());
        let extensions = [
            ("sequence", Some(sequence.to_string())),
            ("correlationid", Some(self.correlation.clone())),
            ("causationid", self.causation.clone()),
            ("traceparent", self.traceparent.clone()),
        ];
        event.extensions = extensions.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        event
    }

    fn id(&self, fact: &Fact, sequence: i64) -> String {
        let sequence = fact.identity.clone().unwrap_or_else(|| sequence.to_string());
        derived_uuid(&[&self.epoch, &fact.kind, &fact.subject, &sequence]).to_string()
    }
}

/// Whether a text is a `traceparent` of W3C Trace Context, level 1: what clients bring goes into every event that follows.
pub fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_something = |part: &str| part.bytes().any(|byte| byte != b'0');
    match parts.as_slice() {
        [version, trace, parent, flags] => {
            [version.len(), trace.len(), parent.len(), flags.len()] == [2, 32, 16, 2]
                && parts.iter().all(|part| is_hex(part))
                && *version != "ff"
                && is_something(trace)
                && is_something(parent)
        }
        _ => false,
    }
}

/// The event as the JSON that is stored and sent, within its bound.
pub fn encode(event: &Event) -> Result<String, Problem> {
    let (_, body) = event::http::encode_structured(event);
    if body.len() > EVENT_BYTES_MAX {
        let detail = format!("{} of {} would be an event of {} bytes", event.kind, subject(event), body.len());
        return Err(Problem::new(Code::EventTooLarge, detail));
    }
    String::from_utf8(body.into()).map_err(|_| Problem::internal("an event's JSON is not UTF-8"))
}

fn subject(event: &Event) -> &str {
    event.subject.as_deref().unwrap_or_default()
}

/// A batch of events that are JSON already.
pub fn batch<'a>(events: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", events.into_iter().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(epoch: &str) -> Origin {
        Origin {
            function: "core",
            epoch: epoch.into(),
            correlation: "c".into(),
            causation: Some("e".into()),
            traceparent: None,
        }
    }

    fn fact() -> Fact {
        Fact::new("core.transfer.posted", "tr_1", &serde_json::json!({ "n": 1 }))
    }

    // promise: DOMAIN: an event's id is the UUIDv5 of epoch, type, subject and sequence
    #[test]
    fn an_id_is_derived_from_epoch_type_subject_and_sequence() {
        let id = |epoch: &str, kind: &str, subject: &str, sequence| {
            origin(epoch).event(&Fact::new(kind, subject, &()), sequence, 0).id
        };
        let one = id("1", "core.transfer.posted", "tr_1", 1);
        // By another implementation of RFC 9562: the name is `1:120:core.transfer.posted4:tr_11:1` in the OID's space.
        assert_eq!(one, "41122052-7dfc-5aca-8dc5-2ace67371532");
        assert_ne!(id("2", "core.transfer.posted", "tr_1", 1), one);
        assert_ne!(id("1", "core.transfer.voided", "tr_1", 1), one);
        assert_ne!(id("1", "core.transfer.posted", "tr_2", 1), one);
        assert_ne!(id("1", "core.transfer.posted", "tr_1", 2), one);
    }

    #[test]
    fn a_fact_with_an_identity_of_its_own_is_the_same_whenever_it_is_told() {
        let id = |sequence| origin("1").event(&fact().identified_by("noon"), sequence, 0).id;
        assert_eq!(id(1), id(2));
    }

    #[test]
    fn only_a_traceparent_of_w3c_is_passed_on() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        assert!(is_traceparent(&format!("00-{trace}-{parent}-01")));
        for wrong in [
            String::new(),
            "x".repeat(55),
            format!("00-{trace}-{parent}"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}-{parent}-01-extra"),
        ] {
            assert!(!is_traceparent(&wrong), "{wrong}");
        }
    }

    #[test]
    fn an_event_says_where_it_comes_from() {
        let event = origin("1").event(&fact(), 7, 0);
        assert_eq!((event.source.as_str(), event.subject.as_deref()), ("/till/core", Some("tr_1")));
        assert_eq!(event.attribute("sequence"), Some("7"));
        assert_eq!(event.attribute("correlationid"), Some("c"));
        assert_eq!(event.attribute("causationid"), Some("e"));
        assert_eq!(event.attribute("traceparent"), None);
    }

    // promise: DOMAIN: an event above 256 KiB is refused before the commit
    #[test]
    fn an_event_that_nobody_would_take_is_refused() {
        let fact = Fact::new("core.transfer.posted", "tr_1", &"x".repeat(EVENT_BYTES_MAX));
        let event = origin("1").event(&fact, 1, 0);
        assert_eq!(encode(&event).map_err(|problem| problem.code), Err(Code::EventTooLarge));
    }

    #[test]
    fn a_batch_of_stored_events_is_a_batch() {
        let event = origin("1").event(&fact(), 1, 0);
        let json = encode(&event).expect("small");
        let headers = event::http::encode_batch(&[]).0;
        let decoded = event::http::decode(&headers, batch([json.as_str(), json.as_str()]).into());
        assert_eq!(decoded, Ok(vec![event.clone(), event]));
        assert_eq!(batch([]), "[]");
    }
}
