//! What the sink sees: a record becomes an event, and an event becomes the headers and the body of one request.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use event::Event;
use http::header::CONTENT_TYPE;

use crate::config::{KeyType, Source};
use crate::http::Fields;
use crate::letters;
use crate::log::Record;
use crate::nest;

/// Header fields and body of one `POST`, without its token.
#[derive(Debug, Clone)]
pub struct Request {
    pub fields: Fields,
    pub body: Bytes,
}

/// The event of a record. One that is no CloudEvent, or a malformed one, is wrapped: bad bytes never stop a partition.
pub fn event_of(source: &Source, record: &Record) -> Event {
    let decoded = event::kafka::is_event(&record.headers)
        .then(|| event::kafka::decode(&record.headers, record.value.clone()).ok())
        .flatten();
    let mut event = decoded.unwrap_or_else(|| wrapped(source, record));
    event.extensions.insert("knativekafkapartition".into(), record.partition.number.to_string());
    event.extensions.insert("knativekafkaoffset".into(), record.offset.to_string());
    event.extensions.extend(source.extensions.clone());
    event
}

/// The request that carries an event. `prefer_reply` asks for an answer that is an event.
pub fn request_of(event: &Event, structured: bool, prefer_reply: bool) -> Request {
    let mut fields = Fields::with_room();
    let body = if structured { write_structured(event, &mut fields) } else { write_binary(event, &mut fields) };
    match event.extensions.get("traceparent") {
        Some(trace) => fields.add("traceparent", trace),
        None => fields.add("traceparent", &begun_trace(event)),
    }
    if prefer_reply {
        fields.add("prefer", "reply");
    }
    Request { fields, body }
}

fn write_structured(event: &Event, fields: &mut Fields) -> Bytes {
    fields.add(CONTENT_TYPE.as_str(), event::STRUCTURED_JSON);
    let (_, body) = event::http::encode_structured(event);
    body
}

fn write_binary(event: &Event, fields: &mut Fields) -> Bytes {
    for (name, value) in event::http::binary_attributes(event) {
        fields.add_prefixed(event::http::PREFIX, name, &value);
    }
    if let Some(kind) = &event.datacontenttype {
        fields.add(CONTENT_TYPE.as_str(), kind);
    }
    event.data.clone().unwrap_or_default()
}

/// The trace that an event is in, or that begins with it.
pub fn traceparent(event: &Event) -> String {
    event.extensions.get("traceparent").cloned().unwrap_or_else(|| begun_trace(event))
}

/// A trace of its own, the same for every attempt.
fn begun_trace(event: &Event) -> String {
    let mut hasher = DefaultHasher::new();
    (&event.source, &event.id).hash(&mut hasher);
    let first = hasher.finish();
    first.hash(&mut hasher);
    // Never zero, which is no id. Another build of the bridge may hash differently: then a retry begins a trace of its own.
    let last = hasher.finish().max(1);
    format!("00-{first:016x}{last:016x}-{last:016x}-01")
}

fn wrapped(source: &Source, record: &Record) -> Event {
    let (partition, offset) = (record.partition.number, record.offset);
    let origin =
        format!("/apis/v1/namespaces/{}/kafkasources/{}#{}", source.namespace, source.name, record.partition.topic);
    let mut event = Event::new(format!("partition:{partition}/offset:{offset}"), origin, "dev.knative.kafka.event");
    event.subject = Some(format!("partition:{partition}#{offset}"));
    event.time =
        record.timestamp_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).map(|time| time.to_string());
    event.data = record.value.clone();
    event.datacontenttype = nest::content_type(&record.headers, record.value.as_ref()).map(str::to_owned);
    if let Some(key) = &record.key {
        let key = key_text(source.key_type, key);
        event.extensions.insert("partitionkey".into(), key.clone());
        event.extensions.insert("key".into(), key);
    }
    // Kafka allows any number of headers, and a call does not.
    let headers = record.headers.iter().filter(|(name, _)| name != letters::LOOPS);
    for (name, value) in headers.take(event::EXTENSIONS_MAX) {
        wrap_header(&mut event, name, value.as_deref().unwrap_or_default());
    }
    event
}

fn wrap_header(event: &mut Event, name: &str, value: &[u8]) {
    let text = text_or_base64(value);
    if name.eq_ignore_ascii_case("content-type") {
        // A malformed event is data like any other: the sink must not take it for a structured one.
        event.datacontenttype = (!event::is_cloudevents_media_type(&text)).then_some(text);
        return;
    }
    if name.eq_ignore_ascii_case("traceparent") {
        event.extensions.insert("traceparent".into(), text.clone());
    }
    let suffix: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    event.extensions.insert(format!("kafkaheader{suffix}"), text);
}

fn key_text(kind: KeyType, key: &[u8]) -> String {
    let number = |text: Option<String>| text.unwrap_or_else(|| text_or_base64(key));
    match kind {
        KeyType::String => text_or_base64(key),
        KeyType::ByteArray => BASE64.encode(key),
        KeyType::Int => number(int(key).map(|value| value.to_string())),
        KeyType::Float => number(float(key).map(|value| value.to_string())),
    }
}

/// Big-endian of 1, 2, 4 or 8 bytes, as Kafka's own serializers write.
fn int(key: &[u8]) -> Option<i64> {
    match key {
        [byte] => Some(i64::from(*byte as i8)),
        key => (key.try_into().map(|bytes| i64::from(i16::from_be_bytes(bytes))))
            .or_else(|_| key.try_into().map(|bytes| i64::from(i32::from_be_bytes(bytes))))
            .or_else(|_| key.try_into().map(i64::from_be_bytes))
            .ok(),
    }
}

fn float(key: &[u8]) -> Option<f64> {
    let single = key.try_into().map(|bytes| f64::from(f32::from_be_bytes(bytes)));
    single.or_else(|_| key.try_into().map(f64::from_be_bytes)).ok()
}

/// Attributes are text: bytes that are none travel as base64.
fn text_or_base64(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| BASE64.encode(bytes), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{record, source};

    // promise: BRIDGE: a record that is no event becomes a dev.knative.kafka.event
    #[test]
    fn a_plain_record_becomes_a_knative_kafka_event() {
        let mut record = record("orders", 3, 17);
        record.key = Some("k".into());
        record.value = Some("{}".into());
        record.timestamp_ms = Some(1_000);
        record.headers =
            vec![("X-Shop_Id".into(), Some("7".into())), ("Content-Type".into(), Some("application/json".into()))];
        let event = event_of(&source(""), &record);
        assert_eq!((event.kind.as_str(), event.id.as_str()), ("dev.knative.kafka.event", "partition:3/offset:17"));
        assert_eq!(event.source, "/apis/v1/namespaces/default/kafkasources/s#orders");
        assert_eq!(event.subject.as_deref(), Some("partition:3#17"));
        assert_eq!(event.time.as_deref(), Some("1970-01-01T00:00:01Z"));
        assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
        let expected = [("key", "k"), ("partitionkey", "k"), ("kafkaheaderxshopid", "7"), ("knativekafkaoffset", "17")];
        for (name, value) in expected {
            assert_eq!(event.attribute(name), Some(value), "{name}");
        }
    }

    #[test]
    fn an_event_keeps_its_attributes_and_tells_where_it_lay() {
        let mut original = Event::new("1", "/s", "a.b.c");
        original.extensions.insert("traceparent".into(), "00-aa-bb-01".into());
        let mut record = record("t", 0, 5);
        (record.headers, record.value) = event::kafka::encode(&original);
        let event = event_of(&source("  ceOverrides: { extensions: { colour: red } }\n"), &record);
        assert_eq!((event.kind.as_str(), event.id.as_str()), ("a.b.c", "1"));
        assert_eq!(event.attribute("knativekafkapartition"), Some("0"));
        assert_eq!(event.attribute("colour"), Some("red"));
        assert_eq!(request_of(&event, false, true).fields.get("traceparent"), Some("00-aa-bb-01"));
    }

    // promise: BRIDGE: bad bytes (non-UTF-8 keys and headers, 1 MiB values, malformed CloudEvents) never stop a partition
    #[test]
    fn bad_bytes_are_wrapped_and_never_fail() {
        let mut record = record("t", 0, 5);
        record.key = Some(Bytes::from_static(b"\xff\xfe"));
        record.headers = vec![
            ("ce_specversion".into(), Some("1.0".into())),
            ("ce_id".into(), Some(Bytes::from_static(b"\xff"))),
            ("\u{fc}mlaut".into(), None),
        ];
        let event = event_of(&source(""), &record);
        assert_eq!(event.kind, "dev.knative.kafka.event");
        assert_eq!(event.attribute("key"), Some("//4="));
        assert_eq!(event.data, None);
        assert!(request_of(&event, false, false).fields.get("ce-kafkaheaderceid").is_some());
    }

    #[test]
    fn a_malformed_structured_event_is_not_passed_on_as_one() {
        let mut record = record("t", 0, 5);
        record.headers = vec![("Content-Type".into(), Some("application/CloudEvents+json".into()))];
        record.value = Some("{".into());
        let event = event_of(&source(""), &record);
        assert_eq!((event.kind.as_str(), event.datacontenttype.as_deref()), ("dev.knative.kafka.event", None));
        assert!(request_of(&event, false, false).fields.get("content-type").is_none());
    }

    #[test]
    fn a_record_of_very_many_headers_becomes_a_call() {
        let mut record = record("t", 0, 5);
        record.headers = (0..30_000).map(|n| (format!("h{n}"), None)).collect();
        let request = request_of(&event_of(&source(""), &record), false, true);
        assert!(request.fields.get("prefer").is_some() && request.fields.iter().count() < 300);
    }

    #[test]
    fn keys_are_read_by_the_type_of_the_label() {
        assert_eq!(key_text(KeyType::Int, &7_i32.to_be_bytes()), "7");
        assert_eq!(key_text(KeyType::Int, &(-7_i64).to_be_bytes()), "-7");
        assert_eq!(key_text(KeyType::Float, &1.5_f32.to_be_bytes()), "1.5");
        assert_eq!(key_text(KeyType::Int, b"abc"), "abc");
        assert_eq!(key_text(KeyType::ByteArray, b"abc"), "YWJj");
    }

    // promise: BRIDGE: Prefer: reply stands only where replies are used
    #[test]
    fn prefer_reply_stands_only_where_replies_are_used() {
        let event = Event::new("1", "/s", "t");
        assert_eq!(request_of(&event, false, true).fields.get("prefer"), Some("reply"));
        assert!(request_of(&event, true, false).fields.get("prefer").is_none());
    }

    // promise: BRIDGE: a trace is passed on or begun
    #[test]
    fn a_trace_is_begun_and_stays_the_same_over_attempts() {
        let event = Event::new("1", "/s", "t");
        let trace = |event| request_of(event, false, false).fields.get("traceparent").unwrap().to_owned();
        assert_eq!(trace(&event), trace(&event));
        assert_eq!(trace(&event).len(), 55);
    }
}
