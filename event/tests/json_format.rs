//! The sentences of the JSON event format 1.0.2 about attributes and data. docs/conformance.md lists them.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use event::http::{decode, encode_structured};
use event::{Event, Malformed};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};

/// An event with more members.
fn read(members: &str) -> Result<Event, Malformed> {
    let body = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{members}}}"#);
    let kind = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json"))]);
    decode(&kind, body.into()).map(|mut events| events.remove(0))
}

fn written(event: &Event) -> serde_json::Value {
    serde_json::from_slice(&encode_structured(event).1).unwrap()
}

fn check_data(members: &str, content_type: Option<&str>, data: Option<&'static [u8]>) {
    let event = read(members).unwrap();
    assert_eq!(event.datacontenttype.as_deref(), content_type, "{members}");
    assert_eq!(event.data, data.map(Bytes::from_static), "{members}");
}

// promise: BRIDGE: the CloudEvents project's conformance cases for HTTP and Kafka hold
#[test]
fn booleans_and_integers_are_attributes_and_other_values_are_not() {
    let event = read(r#""b":true,"n":-5,"s":"x""#).unwrap();
    assert_eq!(
        [event.attribute("b"), event.attribute("n"), event.attribute("s")],
        [Some("true"), Some("-5"), Some("x")]
    );
    for members in [r#""x":1.5"#, r#""x":1e3"#, r#""x":{}"#, r#""x":[]"#] {
        assert!(matches!(read(members), Err(Malformed::Attribute { .. })), "{members}");
    }
}

#[test]
fn an_attribute_that_is_null_is_absent() {
    let event = read(r#""subject":null,"unset":null"#).unwrap();
    assert_eq!((event.subject, event.extensions.len()), (None, 0));
}

#[test]
fn json_data_is_a_json_value_and_never_a_document_in_a_string() {
    check_data(
        r#""datacontenttype":"application/json","data":{"a":1.50}"#,
        Some("application/json"),
        Some(b"{\"a\":1.50}"),
    );
    check_data(r#""datacontenttype":"a/b+json","data":"{\"a\":1}""#, Some("a/b+json"), Some(br#""{\"a\":1}""#));
    let mut event = Event::new("1", "/s", "t");
    event.datacontenttype = Some("application/json".into());
    event.data = Some(Bytes::from_static(b"{\"a\":[1]}"));
    assert_eq!(written(&event)["data"], serde_json::json!({"a": [1]}));
}

#[test]
fn data_without_a_type_is_json_and_says_so_from_then_on() {
    check_data(r#""data":"I'm just a string""#, Some("application/json"), Some(b"\"I'm just a string\""));
}

#[test]
fn data_that_is_null_differs_from_no_data() {
    check_data(r#""datacontenttype":"application/json","data":null"#, Some("application/json"), Some(b"null"));
    check_data(r#""datacontenttype":"application/json""#, Some("application/json"), None);
    let event = read(r#""data":null"#).unwrap();
    assert!(written(&event).as_object().unwrap().contains_key("data"));
    assert!(!written(&Event::new("1", "/s", "t")).as_object().unwrap().contains_key("data"));
}

#[test]
fn data_of_another_type_is_its_text() {
    let members = r#""datacontenttype":"application/xml","data":"<much wow=\"xml\"/>""#;
    check_data(members, Some("application/xml"), Some(b"<much wow=\"xml\"/>"));
}

#[test]
fn binary_data_is_base64_and_nothing_is_assumed_of_it() {
    check_data(r#""data_base64":"MS41""#, None, Some(b"1.5"));
    let mut event = Event::new("1", "/s", "t");
    event.datacontenttype = Some("application/octet-stream".into());
    event.data = Some(Bytes::from_static(b"\xff\x00"));
    let written = written(&event);
    assert_eq!((written["data_base64"].as_str(), written.get("data")), (Some("/wA="), None));
}

#[test]
fn data_and_data_base64_exclude_each_other() {
    assert!(matches!(read(r#""data":1,"data_base64":"""#), Err(Malformed::Json(_))));
}
