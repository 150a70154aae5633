//! The CloudEvents project's conformance cases for HTTP (cloudevents/conformance, `features/http-protocol-binding.feature` and
//! `yaml/`), and the sentences of the HTTP protocol binding 1.0.2 that have none there. docs/conformance.md lists them.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use event::http::{decode, encode_batch, encode_binary, encode_structured, is_event};
use event::{Event, Malformed};
use http::{HeaderMap, HeaderName, HeaderValue};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    pairs.iter().map(header).collect()
}

/// The event of the feature file, in headers.
fn some_event(content_type: &str) -> HeaderMap {
    headers(&[
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.someevent"),
        ("ce-time", "2018-04-05T03:56:24Z"),
        ("ce-id", "1234-1234-1234"),
        ("ce-source", "/mycontext/subcontext"),
        ("Content-Type", content_type),
    ])
}

/// The same with a subject, as it stands in its header.
fn about(subject: &str) -> HeaderMap {
    let mut all = some_event("text/plain");
    all.extend(headers(&[("ce-subject", subject)]));
    all
}

fn one(headers: &HeaderMap, body: &'static str) -> Event {
    let mut events = decode(headers, Bytes::from_static(body.as_bytes())).unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn assert_some_event(event: &Event, content_type: &str) {
    let expected = [
        ("id", "1234-1234-1234"),
        ("specversion", "1.0"),
        ("type", "com.example.someevent"),
        ("source", "/mycontext/subcontext"),
        ("time", "2018-04-05T03:56:24Z"),
        ("datacontenttype", content_type),
    ];
    for (name, value) in expected {
        assert_eq!(event.attribute(name), Some(value), "{name}");
    }
    let data: serde_json::Value = serde_json::from_slice(event.data.as_deref().unwrap()).unwrap();
    assert_eq!(data, serde_json::json!({"message": "Hello World!"}));
}

const BODY: &str = "{\n    \"message\": \"Hello World!\"\n}\n";
const STRUCTURED: &str = r#"{ "specversion": "1.0", "type": "com.example.someevent", "time": "2018-04-05T03:56:24Z",
    "id": "1234-1234-1234", "source": "/mycontext/subcontext", "datacontenttype": "application/json",
    "data": { "message": "Hello World!" } }"#;

// promise: BRIDGE: the CloudEvents project's conformance cases for HTTP and Kafka hold
#[test]
fn binary_content_mode() {
    for content_type in ["application/json", "application/json; charset=utf-8"] {
        assert_some_event(&one(&some_event(content_type), BODY), content_type);
    }
}

#[test]
fn structured_content_mode() {
    for content_type in ["application/cloudevents+json", "application/cloudevents+json; charset=utf-8"] {
        assert_some_event(&one(&headers(&[("content-type", content_type)]), STRUCTURED), "application/json");
    }
}

#[test]
fn batched_content_mode() {
    let content_type = [("content-type", "application/cloudevents-batch+json; charset=UTF-8")];
    let body = Bytes::from(format!("[{STRUCTURED},{STRUCTURED}]"));
    let events = decode(&headers(&content_type), body).unwrap();
    assert_eq!(events.len(), 2);
    events.iter().for_each(|event| assert_some_event(event, "application/json"));
    assert_eq!(decode(&headers(&content_type), Bytes::from_static(b"[]")), Ok(vec![]));
}

/// The events of `yaml/v1.0/v1_minimum.yaml`: each type of content comes out of each mode as it went in.
#[test]
fn content_of_every_type_survives_every_mode() {
    let samples = [
        ("text/plain; charset=us-ascii", "Hello, World!\n"),
        ("text/plain; charset=utf-8", "Hello, 🌎!\n"),
        ("application/json; charset=utf-8", "\"Hello, 🌎!\""),
        ("application/json; charset=utf-8", "{\"msg\":\"Hello, 🌎!\"}"),
        ("application/json; charset=utf-8", "[\"Hello\",\"🌎!\"]"),
        ("application/xml; charset=utf-8", "<msg>Hello, 🌎!</msg>\n"),
    ];
    for (number, (content_type, data)) in samples.into_iter().enumerate() {
        let mut event = Event::new(format!("conformance-{number}"), "//github.com/cloudevents/yaml", "io.minimum");
        event.datacontenttype = Some(content_type.into());
        event.data = Some(Bytes::from_static(data.as_bytes()));
        for (headers, body) in
            [encode_binary(&event), encode_structured(&event), encode_batch(std::slice::from_ref(&event))]
        {
            assert_eq!(decode(&headers, body), Ok(vec![event.clone()]));
        }
    }
}

/// The events of `yaml/v1.yaml`: extensions are attributes like any other, and a header without `ce-` is none.
#[test]
fn extensions_are_attributes_and_other_headers_are_not() {
    let mut head = some_event("application/json");
    head.extend(headers(&[
        ("ce-comexampleextension1", "value"),
        ("ce-comexampleextension2", "{\"othervalue\": 5}"),
        ("user-agent", "foo"),
    ]));
    let event = one(&head, BODY);
    assert_eq!(event.attribute("comexampleextension1"), Some("value"));
    assert_eq!(event.attribute("comexampleextension2"), Some("{\"othervalue\": 5}"));
    assert_eq!(event.attribute("useragent"), None);
    let (head, _) = encode_binary(&event);
    assert_eq!(head["ce-comexampleextension2"], "{%22othervalue%22:%205}");
}

#[test]
fn every_attribute_has_a_header_of_its_own() {
    let mut event = Event::new("1", "/s", "t");
    event.subject = Some("a".into());
    event.time = Some("2018-04-05T03:56:24Z".into());
    event.dataschema = Some("http://schema".into());
    event.datacontenttype = Some("text/plain".into());
    event.extensions.insert("sequence".into(), "7".into());
    let (headers, _) = encode_binary(&event);
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = ["ce-dataschema", "ce-id", "ce-sequence", "ce-source", "ce-specversion", "ce-subject", "ce-time"];
    assert_eq!(names, [expected.as_slice(), ["ce-type", "content-type"].as_slice()].concat());
}

#[test]
fn header_names_are_read_in_any_case() {
    let head =
        headers(&[("CE-SpecVersion", "1.0"), ("Ce-Id", "1"), ("CE-SOURCE", "/s"), ("ce-Type", "t"), ("Ce-X", "y")]);
    assert_eq!(one(&head, "").attribute("x"), Some("y"));
}

#[test]
fn the_media_type_is_the_content_type_and_never_a_header_of_its_own() {
    let mut head = some_event("application/json");
    head.insert("ce-datacontenttype", HeaderValue::from_static("text/plain"));
    let event = one(&head, BODY);
    assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
    assert!(!encode_binary(&event).0.contains_key("ce-datacontenttype"));
}

#[test]
fn data_is_the_body_byte_for_byte() {
    let mut event = Event::new("1", "/s", "t");
    event.data = Some((0..=255).collect::<Vec<u8>>().into());
    let (headers, body) = encode_binary(&event);
    assert_eq!(Some(body), event.data);
    assert!(!headers.contains_key("content-type"), "no type is made up");
}

#[test]
fn values_are_percent_encoded_as_the_binding_says() {
    let encoded = |value: &str| {
        let mut event = Event::new("1", "/s", "t");
        event.subject = Some(value.into());
        encode_binary(&event).0["ce-subject"].to_str().unwrap().to_owned()
    };
    assert_eq!(encoded("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
    assert_eq!(encoded("\"100%\""), "%22100%25%22");
    assert_eq!(encoded("a\tb\u{7f}\u{9f}"), "a%09b%7F%C2%9F");
    let printable: String = (0x21_u8..=0x7e).map(char::from).filter(|c| !['"', '%'].contains(c)).collect();
    assert_eq!(encoded(&printable), printable);
}

#[test]
fn values_are_decoded_once_in_either_case_and_needless_encoding_is_accepted() {
    let decoded = |value| one(&about(value), "").subject.unwrap();
    assert_eq!(decoded("%e2%82%ac"), "€");
    assert_eq!(decoded("%41%42c"), "ABc");
    assert_eq!(decoded("%2525"), "%25");
    assert_eq!(decoded("100%"), "100%");
}

#[test]
fn quoted_values_of_older_senders_are_understood() {
    let decoded = |value| one(&about(value), "").subject.unwrap();
    assert_eq!(decoded(r#""a b""#), "a b");
    assert_eq!(decoded(r#""say \"%41\" \\""#), r#"say "A" \"#);
}

#[test]
fn values_that_are_no_utf8_are_rejected() {
    for value in ["%C0%A0", "%ff", "%E2%82"] {
        assert!(matches!(decode(&about(value), Bytes::new()), Err(Malformed::Attribute { .. })), "{value}");
    }
}

#[test]
fn an_unknown_format_and_a_version_that_is_not_1_0_are_told() {
    let avro = headers(&[("content-type", "application/cloudevents+avro")]);
    assert!(is_event(&avro));
    assert!(matches!(decode(&avro, Bytes::new()), Err(Malformed::Format(_))));
    let mut head = some_event("a/b");
    head.insert("ce-specversion", HeaderValue::from_static("0.3"));
    assert_eq!(decode(&head, Bytes::new()), Err(Malformed::SpecVersion("0.3".into())));
}

#[test]
fn each_required_attribute_is_required() {
    for name in ["id", "source", "type", "specversion"] {
        let mut head = some_event("a/b");
        head.remove(format!("ce-{name}"));
        assert!(matches!(decode(&head, Bytes::new()), Err(Malformed::Missing(missing)) if missing == name), "{name}");
    }
}

#[test]
fn no_attribute_may_be_called_data() {
    let mut head = some_event("a/b");
    head.insert("ce-data", HeaderValue::from_static("x"));
    assert!(matches!(decode(&head, Bytes::new()), Err(Malformed::Attribute { .. })));
}
