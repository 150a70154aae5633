//! What is kept of an event: an [`Event`] goes in, its kind, subject and time come out, and never its payload.

use std::collections::BTreeMap;
use std::fmt;

use event::Event;
use guest::Problem;
use serde::{Serialize, Serializer};

/// Rows among which the count of one kind is divided.
const SHARES: i64 = 16;

/// An event in short.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Where the next page begins.
    pub cursor: Cursor,
    /// Who told it.
    pub source: String,
    /// Unique together with `source`.
    pub id: String,
    /// `function.aggregate.fact`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The aggregate's id.
    pub subject: Option<String>,
    /// When it happened, as its teller says.
    pub time: Option<String>,
}

/// A place in the list of events: when one was heard, and its id. In text `{milliseconds}-{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub heard_at_ms: i64,
    pub id: String,
}

/// The last fact about an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// `function.aggregate`
    pub aggregate: String,
    pub subject: String,
    pub fact: String,
    pub sequence: i64,
}

/// How often a kind was told.
#[derive(Debug, Clone, Serialize)]
pub struct Kind {
    #[serde(rename = "type")]
    pub kind: String,
    pub count: i64,
    /// When the first was heard, RFC 3339.
    pub first: String,
    /// When the last was heard.
    pub last: String,
}

impl Summary {
    pub fn of(event: &Event, now_ms: i64) -> Self {
        Summary {
            cursor: Cursor { heard_at_ms: now_ms, id: event.id.clone() },
            source: event.source.clone(),
            id: event.id.clone(),
            kind: event.kind.clone(),
            subject: event.subject.clone(),
            time: event.time.clone(),
        }
    }

    /// The row of the count that this event goes to: the same for the same id.
    pub fn share(&self) -> i64 {
        self.id.bytes().fold(0, |share, byte| (share * 31 + i64::from(byte)) % SHARES)
    }

    /// How its aggregate stands after it; `None` for what is no fact about an aggregate.
    pub fn standing(&self, event: &Event) -> Option<Standing> {
        let (aggregate, fact) = self.kind.rsplit_once('.')?;
        Some(Standing {
            aggregate: aggregate.to_owned(),
            subject: self.subject.clone()?,
            fact: fact.to_owned(),
            sequence: guest::sequence(event).ok()?,
        })
    }
}

/// How much each function told: the first word of a kind is its function.
pub fn by_function(kinds: &[Kind]) -> BTreeMap<&str, i64> {
    let mut functions = BTreeMap::new();
    for kind in kinds {
        let function = kind.kind.split('.').next().unwrap_or_default();
        *functions.entry(function).or_default() += kind.count;
    }
    functions
}

impl Cursor {
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let parts = text.split_once('-').and_then(|(at, id)| Some((at.parse().ok()?, id)));
        let (heard_at_ms, id) = parts.ok_or_else(|| Problem::validation("`after` is the `cursor` of an event"))?;
        Ok(Cursor { heard_at_ms, id: id.to_owned() })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.heard_at_ms, self.id)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(sequence: &str) -> Event {
        let mut event = Event::new("id-1", "/till/payment", "payment.invoice.paid");
        event.subject = Some("inv_1".into());
        event.extensions.insert("sequence".into(), sequence.into());
        event
    }

    #[test]
    fn a_fact_says_how_its_aggregate_stands() {
        let event = fact("7");
        let standing = Summary::of(&event, 1).standing(&event).expect("a fact about an aggregate");
        let expected =
            Standing { aggregate: "payment.invoice".into(), subject: "inv_1".into(), fact: "paid".into(), sequence: 7 };
        assert_eq!(standing, expected);
    }

    #[test]
    fn what_is_no_fact_about_an_aggregate_stands_nowhere() {
        let mut event = fact("x");
        assert_eq!(Summary::of(&event, 1).standing(&event), None);
        event.extensions.insert("sequence".into(), "1".into());
        event.subject = None;
        assert_eq!(Summary::of(&event, 1).standing(&event), None);
    }

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor { heard_at_ms: 17, id: "a-b-c".into() };
        assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        for text in ["", "17", "x-a", "-a"] {
            assert!(Cursor::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_of_kinds_add_up_to_their_functions() {
        let kind = |kind: &str, count| Kind { kind: kind.into(), count, first: String::new(), last: String::new() };
        let kinds = [kind("core.user.registered", 2), kind("payment.invoice.paid", 1), kind("core.transfer.posted", 3)];
        assert_eq!(by_function(&kinds), BTreeMap::from([("core", 5), ("payment", 1)]));
    }
}
