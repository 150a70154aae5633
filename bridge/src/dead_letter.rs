//! A dead letter: the record as it was, bytes, key and headers, and beside it why it was given up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::answer::Outcome;
use crate::config::Source;
use crate::log::{NewRecord, Record};

/// How much of the sink's answer is kept.
const DATA_BYTES_MAX: usize = 1_024;

/// Where the bridge's own headers begin.
pub const FIRST_HEADER: &str = "knativeerrordest";

/// Why a record was given up.
#[derive(Debug, Clone, Default)]
pub struct Reason {
    pub code: u16,
    pub data: Bytes,
}

impl Reason {
    pub fn of(outcome: &Outcome) -> Self {
        Reason { code: outcome.code(), data: outcome.data() }
    }
}

/// Knative's extensions of a dead letter: who refused it, and how.
pub fn extensions(source: &Source, reason: &Reason) -> [(String, String); 3] {
    [
        (FIRST_HEADER.into(), source.sink.shown()),
        ("knativeerrorcode".into(), reason.code.to_string()),
        ("knativeerrordata".into(), BASE64.encode(reason.data.get(..DATA_BYTES_MAX).unwrap_or(&reason.data))),
    ]
}

/// The record for `topic`. `now_ms` is when it was given up.
pub fn record_of(
    topic: &str,
    source: &Source,
    record: &Record,
    attempts: u32,
    reason: &Reason,
    now_ms: i64,
) -> NewRecord {
    let mut headers = record.headers.clone();
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), Some(value.into())));
    for (name, value) in extensions(source, reason) {
        add(&name, value);
    }
    add("tillattempts", attempts.to_string());
    add("tillrecordtime", record.timestamp_ms.unwrap_or_default().to_string());
    add("tillgivenuptime", now_ms.to_string());
    add("tilltopic", record.partition.topic.to_string());
    add("tillpartition", record.partition.number.to_string());
    add("tilloffset", record.offset.to_string());
    add("tillsource", source.name.clone());
    NewRecord {
        topic: topic.to_owned(),
        partition: None,
        key: record.key.clone(),
        headers,
        value: record.value.clone(),
        timestamp_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    // promise: BRIDGE: a dead letter is the original bytes, key and headers plus why it was given up
    #[test]
    fn a_dead_letter_is_the_original_and_the_reason() {
        let mut record = testing::record("orders", 2, 9);
        record.key = Some(Bytes::from_static(b"\xff"));
        record.headers = vec![("twice".into(), None), ("twice".into(), Some("2".into()))];
        record.value = None;
        let reason = Reason::of(&Outcome::Answer(http::Response::builder().status(422).body("no".into()).unwrap()));
        let letter = record_of("dead", &testing::source(""), &record, 3, &reason, 1_000);
        assert_eq!((letter.topic.as_str(), &letter.key, &letter.value), ("dead", &record.key, &None));
        assert!(letter.headers.starts_with(&record.headers));
        let header = |name: &str| {
            let found = letter.headers.iter().find(|(other, _)| other == name).and_then(|(_, value)| value.clone());
            String::from_utf8(found.unwrap().to_vec()).unwrap()
        };
        assert_eq!([header("knativeerrorcode"), header("knativeerrordata")], ["422", "bm8="]);
        assert_eq!([header("tilltopic"), header("tillpartition"), header("tilloffset")], ["orders", "2", "9"]);
        assert_eq!([header("tillattempts"), header("tillsource")], ["3", "s"]);
    }

    #[test]
    fn at_most_1024_bytes_of_the_answer_are_kept() {
        let reason = Reason::of(&Outcome::Lost("x".repeat(5_000)));
        let letter = record_of("dead", &testing::source(""), &testing::record("orders", 2, 9), 1, &reason, 0);
        let data =
            letter.headers.iter().find(|(name, _)| name == "knativeerrordata").and_then(|(_, data)| data.clone());
        assert_eq!(BASE64.decode(data.unwrap()).unwrap().len(), DATA_BYTES_MAX);
    }
}
