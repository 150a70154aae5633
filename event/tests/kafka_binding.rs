//! The CloudEvents project's conformance cases for Kafka (cloudevents/conformance, `features/kafka-protocol-binding.feature`), and
//! the sentences of the Kafka protocol binding 1.0.2 that have none there. docs/conformance.md lists them.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use event::kafka::{Header, decode, encode, is_event};
use event::{Event, Malformed};

fn headers(pairs: &[(&str, &'static str)]) -> Vec<Header> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Some(Bytes::from_static(value.as_bytes())))).collect()
}

fn assert_some_event(event: &Event) {
    let expected = [
        ("id", "1234-1234-1234"),
        ("specversion", "1.0"),
        ("type", "com.example.someevent"),
        ("source", "/mycontext/subcontext"),
        ("time", "2018-04-05T03:56:24Z"),
        ("datacontenttype", "application/json"),
    ];
    for (name, value) in expected {
        assert_eq!(event.attribute(name), Some(value), "{name}");
    }
    let data: serde_json::Value = serde_json::from_slice(event.data.as_deref().unwrap()).unwrap();
    assert_eq!(data, serde_json::json!({"message": "Hello World!"}));
}

const SOME_EVENT: [(&str, &str); 6] = [
    ("ce_specversion", "1.0"),
    ("ce_id", "1234-1234-1234"),
    ("ce_type", "com.example.someevent"),
    ("ce_source", "/mycontext/subcontext"),
    ("ce_time", "2018-04-05T03:56:24Z"),
    ("content-type", "application/json"),
];
const STRUCTURED: &str = r#"{ "specversion": "1.0", "type": "com.example.someevent", "time": "2018-04-05T03:56:24Z",
    "id": "1234-1234-1234", "source": "/mycontext/subcontext", "datacontenttype": "application/json",
    "data": { "message": "Hello World!" } }"#;

// promise: BRIDGE: the CloudEvents project's conformance cases for HTTP and Kafka hold
#[test]
fn binary_content_mode() {
    let body = Bytes::from_static(b"{\"message\": \"Hello World!\"}");
    assert_some_event(&decode(&headers(&SOME_EVENT), Some(body)).unwrap());
}

#[test]
fn structured_content_mode() {
    for content_type in ["application/cloudevents+json", "application/cloudevents+json; charset=utf-8"] {
        let headers = headers(&[("content-type", content_type)]);
        assert!(is_event(&headers));
        assert_some_event(&decode(&headers, Some(Bytes::from_static(STRUCTURED.as_bytes()))).unwrap());
    }
}

#[test]
fn every_attribute_has_a_header_of_its_own_in_utf8() {
    let mut event = Event::new("1", "/s", "t");
    event.subject = Some("Ünï → 100 %".into());
    event.extensions.insert("partitionkey".into(), "p".into());
    let (headers, _) = encode(&event);
    let header = |name| headers.iter().find(|(other, _)| other == name).and_then(|(_, value)| value.clone());
    assert_eq!(header("ce_subject"), Some(Bytes::from("Ünï → 100 %")), "nothing is percent-encoded in a record");
    assert_eq!(header("ce_partitionkey"), Some(Bytes::from_static(b"p")));
    assert_eq!(header("content-type"), None);
    assert_eq!(decode(&headers, None), Ok(event));
}

#[test]
fn data_is_the_value_byte_for_byte_and_no_data_is_no_value() {
    let mut event = Event::new("1", "/s", "t");
    assert_eq!(encode(&event).1, None);
    event.data = Some(Bytes::new());
    assert_eq!(encode(&event).1, Some(Bytes::new()), "empty data is data");
    event.data = Some(Bytes::from_static(b"\x00\xff"));
    let (headers, value) = encode(&event);
    assert_eq!(decode(&headers, value), Ok(event));
}

#[test]
fn a_structured_record_whose_value_is_gone_is_no_event() {
    let headers = headers(&[("content-type", "application/cloudevents+json")]);
    assert!(matches!(decode(&headers, None), Err(Malformed::Json(_))));
}

#[test]
fn a_structured_event_keeps_its_own_attributes_beside_any_headers() {
    let headers = headers(&[("content-type", "application/cloudevents+json"), ("ce_id", "another")]);
    assert_some_event(&decode(&headers, Some(Bytes::from_static(STRUCTURED.as_bytes()))).unwrap());
}

#[test]
fn each_required_attribute_is_required() {
    for name in ["id", "source", "type", "specversion"] {
        let mut headers = headers(&SOME_EVENT);
        headers.retain(|(header, _)| header != &format!("ce_{name}"));
        assert!(matches!(decode(&headers, None), Err(Malformed::Missing(missing)) if missing == name), "{name}");
    }
}
