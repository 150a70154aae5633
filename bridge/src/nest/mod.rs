//! NestJS callers: whether the sender of a record waits for an answer and where, and the records that answer it.
//!
//! The headers are those of Nest's Kafka transport. Spring's request and reply uses the same names, and is understood as well.

mod said;

use bytes::Bytes;
pub use said::{Said, Unusable, said};
use serde_json::{Value, json};

use crate::dead_letter::Reason;
use crate::log::{Header, NewRecord};
use crate::reply::BYTES_MAX;

const CORRELATION_ID: &str = "kafka_correlationId";
const REPLY_TOPIC: &str = "kafka_replyTopic";
const REPLY_PARTITION: &str = "kafka_replyPartition";
const IS_DISPOSED: &str = "kafka_nest-is-disposed";
const ERR: &str = "kafka_nest-err";

/// A longer one is nobody's.
const CORRELATION_ID_BYTES_MAX: usize = 1_024;
/// How much of what a sink said about a failure its caller hears.
const PROBLEM_BYTES_MAX: usize = 16 * 1_024;
const MESSAGE_CHARS_MAX: usize = 1_024;

/// The topics that an answer may go to if nothing else is said: those of Nest's own convention.
pub fn default_topics() -> Vec<String> {
    vec!["*.reply".into()]
}

/// Somebody who waits, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    topic: String,
    partition: Option<i32>,
    correlation_id: Bytes,
}

/// Why a caller waits in vain: a word for the log, which quotes nothing of the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    #[error("the answer's topic is not among reply.topics")]
    Topic,
    #[error("the answer's partition is no number")]
    Partition,
    #[error("the correlation id has {0} bytes")]
    CorrelationId(usize),
}

/// Whether a record asks for an answer. With one of the two headers alone it is an event, as for Nest's own servers.
pub fn is_request(headers: &[Header]) -> bool {
    header(headers, CORRELATION_ID).is_some() && header(headers, REPLY_TOPIC).is_some()
}

/// Who waits for the answer to a record. `topics` are the patterns of where it may be awaited.
pub fn caller(headers: &[Header], topics: &[String]) -> Option<Result<Caller, Unreachable>> {
    if topics.is_empty() {
        return None;
    }
    let (correlation_id, topic) = (header(headers, CORRELATION_ID)?, header(headers, REPLY_TOPIC)?);
    Some(reachable(correlation_id, topic, header(headers, REPLY_PARTITION), topics))
}

fn reachable(
    correlation_id: &Bytes,
    topic: &Bytes,
    partition: Option<&Bytes>,
    topics: &[String],
) -> Result<Caller, Unreachable> {
    if correlation_id.len() > CORRELATION_ID_BYTES_MAX {
        return Err(Unreachable::CorrelationId(correlation_id.len()));
    }
    let allowed = |topic: &&str| topics.iter().any(|pattern| matches(pattern, topic));
    let name = std::str::from_utf8(topic).ok().filter(allowed).ok_or(Unreachable::Topic)?;
    let number = |bytes: &Bytes| partition_number(bytes).ok_or(Unreachable::Partition);
    let partition = partition.map(number).transpose()?;
    Ok(Caller { topic: name.to_owned(), partition, correlation_id: correlation_id.clone() })
}

/// The last of a name counts; an empty one is none, as in JavaScript.
fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a Bytes> {
    let found = headers.iter().rev().find(|(other, _)| other == name)?;
    found.1.as_ref().filter(|value| !value.is_empty())
}

/// Decimal digits as Nest writes it, or four bytes as Spring does.
fn partition_number(bytes: &[u8]) -> Option<i32> {
    let decimal = std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = match decimal {
        Some(text) => text.parse().ok()?,
        None => i32::from_be_bytes(bytes.try_into().ok()?),
    };
    (number >= 0).then_some(number)
}

/// `*` stands for any text, also for none.
fn matches(pattern: &str, topic: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == topic };
    let Some(mut left) = topic.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(tail)
}

impl Caller {
    /// The records that carry the answer: one a value, the last of which says that it is the last. One that is too long is a
    /// failure that the caller hears of.
    pub fn answers(&self, mut values: Vec<Option<Bytes>>) -> Vec<NewRecord> {
        if values.is_empty() {
            values.push(None);
        }
        let mut records: Vec<NewRecord> = values.into_iter().map(|value| self.record(value)).collect();
        if let Some(size) = records.iter().map(NewRecord::size).find(|size| *size > BYTES_MAX) {
            let text = format!("the answer has {size} bytes, and {BYTES_MAX} are allowed");
            return vec![self.failure(&Reason { code: 0, data: text.into() })];
        }
        if let Some(last) = records.last_mut() {
            dispose(last);
        }
        records
    }

    /// The record that tells a refusal or a failure.
    pub fn failure(&self, reason: &Reason) -> NewRecord {
        let mut record = self.record(None);
        record.headers.push((ERR.into(), Some(error_of(reason).to_string().into())));
        dispose(&mut record);
        record
    }

    fn record(&self, value: Option<Bytes>) -> NewRecord {
        NewRecord {
            topic: self.topic.clone(),
            partition: self.partition,
            key: None,
            headers: vec![(CORRELATION_ID.into(), Some(self.correlation_id.clone()))],
            value,
            timestamp_ms: None,
        }
    }
}

fn dispose(record: &mut NewRecord) {
    record.headers.push((IS_DISPOSED.into(), Some(Bytes::from_static(&[0]))));
}

/// The shape of Nest's own errors. `statusCode` beside `message` is what its gateways answer HTTP with.
fn error_of(reason: &Reason) -> Value {
    let status = match reason.code {
        0 => 503,
        code @ 400..=599 => code,
        _ => 502,
    };
    let said = serde_json::from_slice::<Value>(&reason.data).ok().filter(Value::is_object);
    let mut error = json!({ "status": "error", "statusCode": status, "message": message(reason, said.as_ref()) });
    if let Some(said) = said.filter(|_| reason.data.len() <= PROBLEM_BYTES_MAX) {
        error["problem"] = said;
    }
    error
}

fn message(reason: &Reason, said: Option<&Value>) -> String {
    let told = said.and_then(|said| ["message", "detail", "title"].iter().find_map(|name| said[name].as_str()));
    let plain = || String::from_utf8_lossy(&reason.data).into_owned();
    let text = told.map_or_else(plain, str::to_owned);
    if text.is_empty() {
        let known = http::StatusCode::from_u16(reason.code).ok().and_then(|status| status.canonical_reason());
        return known.unwrap_or("the sink did not say why").to_owned();
    }
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

/// The type of a request's body. Nest's senders tell none, and read objects and arrays as JSON.
pub fn content_type(headers: &[Header], value: Option<&Bytes>) -> Option<&'static str> {
    let is_json = value.and_then(|value| value.first()).is_some_and(|first| b"{[".contains(first));
    (is_json && is_request(headers)).then_some("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &[u8])]) -> Vec<Header> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Some(Bytes::copy_from_slice(value)))).collect()
    }

    fn request(topic: &[u8], partition: &[u8]) -> Vec<Header> {
        headers(&[(CORRELATION_ID, b"\xff7"), (REPLY_TOPIC, topic), (REPLY_PARTITION, partition)])
    }

    fn called(headers: &[Header]) -> Option<Result<Caller, Unreachable>> {
        caller(headers, &default_topics())
    }

    fn somebody() -> Caller {
        called(&request(b"sum.reply", b"2")).unwrap().unwrap()
    }

    fn told(record: &NewRecord, name: &str) -> Option<Bytes> {
        header(&record.headers, name).cloned()
    }

    #[test]
    fn a_request_has_both_headers_and_an_event_has_not() {
        assert!(called(&request(b"sum.reply", b"0")).unwrap().is_ok());
        for event in [
            headers(&[(CORRELATION_ID, b"1")]),
            headers(&[(REPLY_TOPIC, b"sum.reply")]),
            headers(&[(CORRELATION_ID, b""), (REPLY_TOPIC, b"sum.reply")]),
            vec![(CORRELATION_ID.into(), None), (REPLY_TOPIC.into(), Some("sum.reply".into()))],
            Vec::new(),
        ] {
            assert_eq!(called(&event), None, "{event:?}");
        }
        assert_eq!(caller(&request(b"sum.reply", b"0"), &[]), None, "where no topic is allowed nobody is answered");
    }

    #[test]
    fn what_a_caller_says_of_its_place_is_checked() {
        for topic in [b"payment".as_slice(), b".replys", b"\xff.reply", b"sum.reply2"] {
            assert!(matches!(called(&request(topic, b"0")), Some(Err(Unreachable::Topic))), "{topic:?}");
        }
        for partition in [b"-1".as_slice(), b"1.0", b"99999999999", b"abc", b" 1", b"\xff\xff\xff\xff"] {
            let found = called(&request(b"a.reply", partition));
            assert!(matches!(found, Some(Err(Unreachable::Partition))), "{partition:?}");
        }
        let long = headers(&[(CORRELATION_ID, &[b'x'; 1_025]), (REPLY_TOPIC, b"a.reply")]);
        assert_eq!(called(&long), Some(Err(Unreachable::CorrelationId(1_025))));
    }

    #[test]
    fn a_partition_is_decimal_or_four_bytes() {
        for (bytes, expected) in [(b"0".as_slice(), 0), (b"17", 17), (b"0017", 17), (&[0, 0, 1, 2], 258)] {
            assert_eq!(partition_number(bytes), Some(expected), "{bytes:?}");
        }
        let without = headers(&[(CORRELATION_ID, b"1"), (REPLY_TOPIC, b"a.reply")]);
        assert_eq!(called(&without).unwrap().unwrap().partition, None);
    }

    #[test]
    fn a_pattern_matches_by_its_stars() {
        for (pattern, topic, expected) in [
            ("*.reply", "a.b.reply", true),
            ("*.reply", ".reply", true),
            ("*.reply", "reply", false),
            ("a.*.reply", "a.reply", false),
            ("a.*.reply", "a.b.reply", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("answers", "answers", true),
            ("answers", "answers2", false),
            ("*", "anything", true),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn the_last_of_the_answers_says_that_it_is_the_last() {
        let records = somebody().answers(vec![Some("1".into()), None]);
        assert_eq!(records.len(), 2);
        for record in &records {
            assert_eq!((record.topic.as_str(), record.partition, &record.key), ("sum.reply", Some(2), &None));
            assert_eq!(told(record, CORRELATION_ID), Some(Bytes::from_static(b"\xff7")), "byte for byte");
        }
        assert_eq!((told(&records[0], IS_DISPOSED), told(&records[1], IS_DISPOSED)), (None, Some(vec![0].into())));
        assert_eq!((records[0].value.clone(), records[1].value.clone()), (Some("1".into()), None));
        assert_eq!(somebody().answers(Vec::new()).len(), 1, "nothing is an answer, too");
    }

    #[test]
    fn an_answer_that_is_too_long_is_a_failure_that_the_caller_hears_of() {
        let records = somebody().answers(vec![Some("1".into()), Some(vec![0; BYTES_MAX].into())]);
        assert_eq!((records.len(), &records[0].value), (1, &None));
        let error: Value = serde_json::from_slice(&told(&records[0], ERR).unwrap()).unwrap();
        assert_eq!(error["statusCode"], 503);
        assert!(error["message"].as_str().unwrap().contains("262144 are allowed"), "{error}");
    }

    #[test]
    fn a_failure_has_the_shape_of_nests_own_errors() {
        let check = |code, data: &'static str, expected: Value| {
            let record = somebody().failure(&Reason { code, data: Bytes::from_static(data.as_bytes()) });
            let error: Value = serde_json::from_slice(&told(&record, ERR).unwrap()).unwrap();
            assert_eq!(error, expected);
            assert_eq!((record.value.clone(), told(&record, IS_DISPOSED)), (None, Some(vec![0].into())));
        };
        check(422, "no", json!({ "status": "error", "statusCode": 422, "message": "no" }));
        check(404, "", json!({ "status": "error", "statusCode": 404, "message": "Not Found" }));
        check(
            0,
            "connection refused",
            json!({ "status": "error", "statusCode": 503, "message": "connection refused" }),
        );
        check(200, "?", json!({ "status": "error", "statusCode": 502, "message": "?" }));
        let problem = json!({ "title": "Bad", "detail": "too much", "status": 409 });
        check(
            409,
            r#"{"title":"Bad","detail":"too much","status":409}"#,
            json!({ "status": "error", "statusCode": 409, "message": "too much", "problem": problem }),
        );
    }

    #[test]
    fn the_body_of_a_request_is_json_where_nest_would_read_it_as_json() {
        let (request, body) = (request(b"a.reply", b"0"), Bytes::from_static(b"[1,2]"));
        assert_eq!(content_type(&request, Some(&body)), Some("application/json"));
        assert_eq!(content_type(&request, Some(&"text".into())), None);
        assert_eq!(content_type(&[], Some(&body)), None);
        assert_eq!(content_type(&request, None), None);
    }
}
