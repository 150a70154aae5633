//! What would become of a record: whether a source wants it, in which lane it would run, and the request that it would be.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use event::Event;
use serde::Deserialize;
use serde_json::Value;

use crate::config::{Reply, Source};
use crate::dispatch::Ordering;
use crate::http::Fields;
use crate::log::{Partition, Record};
use crate::request;

/// The answer for a person.
#[derive(Debug, Clone)]
pub struct Explanation {
    pub source: String,
    pub event: Event,
    /// Whether the source's filters let it through.
    pub wanted: bool,
    /// Which records it would wait for.
    pub lane: String,
    pub url: String,
    /// Without its token.
    pub fields: Fields,
    pub body: bytes::Bytes,
}

/// A record as people write it down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    topic: String,
    #[serde(default)]
    partition: i32,
    #[serde(default)]
    offset: i64,
    key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    value: Option<Value>,
}

/// The record in a JSON text: {"topic", "key", "headers": {…}, "value"}. A value that is no text is sent as JSON.
pub fn written(text: &str) -> Result<Record, String> {
    let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let bytes = |value: Value| match value {
        Value::String(text) => Bytes::from(text),
        other => Bytes::from(other.to_string()),
    };
    Ok(Record {
        partition: Partition::new(written.topic, written.partition),
        offset: written.offset,
        timestamp_ms: None,
        key: written.key.map(Bytes::from),
        headers: written.headers.into_iter().map(|(name, value)| (name, Some(Bytes::from(value)))).collect(),
        value: written.value.map(bytes),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.wanted {
            return writeln!(out, "{}: its filters leave it out", self.source);
        }
        writeln!(out, "{}: waits for {}\nPOST {}", self.source, self.lane, self.url)?;
        writeln!(out, "{}\n{}", self.fields, String::from_utf8_lossy(&self.body))
    }
}

/// The request that `record` becomes for `source`; `None` when the source does not hear its topic.
pub fn explain(source: &Source, record: &Record) -> Option<Explanation> {
    if !source.topics.iter().any(|topic| **topic == *record.partition.topic) {
        return None;
    }
    let event = request::event_of(source, record);
    let request = request::request_of(&event, source.delivery.structured, source.reply != Reply::None);
    Some(Explanation {
        source: source.name.clone(),
        wanted: source.filter.accepts(&event),
        lane: lane(source.ordering, record),
        url: source.sink.shown(),
        fields: request.fields,
        body: request.body,
        event,
    })
}

fn lane(ordering: Ordering, record: &Record) -> String {
    match (ordering, &record.key) {
        (Ordering::Partition, _) => format!("all records of {}", record.partition),
        (Ordering::Key, Some(key)) => format!("the records of {} with key {}", record.partition, key.escape_ascii()),
        (Ordering::Key, None) | (Ordering::None, _) => "of its own".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_record_is_explained_as_the_request_that_it_becomes() {
        let mut record = testing::record("t", 1, 2);
        record.key = Some("k\u{0}".into());
        let told = explain(&testing::source("  filters: [{ exact: { type: other } }]\n"), &record).unwrap();
        assert!(!told.wanted);
        assert_eq!(told.lane, "the records of t/1 with key k\\x00");
        assert_eq!(
            (told.url.as_str(), told.fields.get("ce-type")),
            ("http://127.0.0.1:9/", Some("dev.knative.kafka.event"))
        );
    }

    // promise: BRIDGE: explain shows the request that a record would become
    #[test]
    fn a_written_record_is_told_as_its_request() {
        let record = written(r#"{"topic": "t", "key": "k", "headers": {"X-A": "ä"}, "value": {"n": 1.50}}"#).unwrap();
        let told = explain(&testing::source(""), &record).unwrap().to_string();
        for line in [
            "s: waits for the records of t/0 with key k",
            "POST http://127.0.0.1:9/",
            "ce-type: dev.knative.kafka.event",
            "ce-kafkaheaderxa: %C3%A4",
            "{\"n\":1.5}",
        ] {
            assert!(told.lines().any(|other| other == line), "{line} is not in\n{told}");
        }
        let left_out = explain(&testing::source("  filters: [{ exact: { type: other } }]\n"), &record);
        assert_eq!(left_out.unwrap().to_string(), "s: its filters leave it out\n");
    }

    #[test]
    fn a_record_that_is_written_wrongly_is_refused() {
        for (text, word) in [("{}", "topic"), (r#"{"topic": "t", "colour": 1}"#, "colour"), ("", "EOF")] {
            assert!(written(text).unwrap_err().contains(word), "{text}");
        }
    }
}
