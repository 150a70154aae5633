//! The JSON event format 1.0: one structured event, or an array of them. Data that is JSON keeps its bytes, digit for digit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::{Collector, Event, Malformed, is_json_media_type};

/// What `data` is where nothing else is said.
const JSON: &str = "application/json";

/// The members of one structured event, each still in its own JSON text.
type Members<'a> = BTreeMap<String, &'a RawValue>;

pub fn decode_one(body: &[u8]) -> Result<Event, Malformed> {
    event(serde_json::from_slice(body).map_err(json)?)
}

pub fn decode_batch(body: &[u8]) -> Result<Vec<Event>, Malformed> {
    let members: Vec<Members> = serde_json::from_slice(body).map_err(json)?;
    members.into_iter().map(event).collect()
}

pub fn encode_one(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + event.data.as_ref().map_or(0, Bytes::len));
    write(event, &mut out);
    out
}

pub fn encode_batch(events: &[Event]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (position, event) in events.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(event, &mut out);
    }
    out.push(b']');
    out
}

fn json(error: serde_json::Error) -> Malformed {
    Malformed::Json(error.to_string())
}

fn event(members: Members) -> Result<Event, Malformed> {
    let mut collector = Collector::default();
    for (name, value) in &members {
        if name != "data" && name != "data_base64" && value.get() != "null" {
            collector.set(name, attribute(name, value)?)?;
        }
    }
    let data = match (members.get("data"), members.get("data_base64")) {
        (Some(_), Some(_)) => return Err(Malformed::Json("both `data` and `data_base64` are present".into())),
        (Some(value), None) => data(value, collector.datacontenttype.get_or_insert_with(|| JSON.to_owned()))?,
        (None, Some(value)) => Some(binary(value)?),
        (None, None) => None,
    };
    collector.finish(data)
}

/// Strings, booleans and integers are the JSON forms of attribute values (JSON format 1.0, section 2.2).
fn attribute(name: &str, value: &RawValue) -> Result<String, Malformed> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map_err(json),
        Some(b't' | b'f') => Ok(text.to_owned()),
        Some(b'-' | b'0'..=b'9') if text.parse::<i64>().is_ok() => Ok(text.to_owned()),
        _ => {
            Err(Malformed::Attribute { name: name.to_owned(), reason: "it must be a string, a boolean or an integer" })
        }
    }
}

/// A JSON string under a content type that is not JSON is the text itself (section 3.1). JSON's null is data where JSON is.
fn data(value: &RawValue, content_type: &str) -> Result<Option<Bytes>, Malformed> {
    let (text, json_data) = (value.get(), is_json_media_type(content_type));
    if !json_data && text.starts_with('"') {
        let plain: String = serde_json::from_str(text).map_err(json)?;
        return Ok(Some(plain.into()));
    }
    Ok((json_data || text != "null").then(|| Bytes::copy_from_slice(text.as_bytes())))
}

fn binary(value: &RawValue) -> Result<Bytes, Malformed> {
    let text = String::deserialize(value).map_err(json)?;
    BASE64.decode(text).map(Bytes::from).map_err(|error| Malformed::Json(format!("data_base64: {error}")))
}

fn write(event: &Event, out: &mut Vec<u8>) {
    out.push(b'{');
    let content_type = event.datacontenttype.as_deref().map(|value| ("datacontenttype", value));
    for (position, (name, value)) in event.attributes().chain(content_type).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        serde_json::to_writer(&mut *out, value).expect("a string becomes JSON in memory");
    }
    if let Some(data) = &event.data {
        write_data(event, data, out);
    }
    out.push(b'}');
}

fn write_data(event: &Event, data: &[u8], out: &mut Vec<u8>) {
    let json = event.datacontenttype.as_deref().is_none_or(is_json_media_type);
    if json && serde_json::from_slice::<&RawValue>(data).is_ok() {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data);
        return;
    }
    out.extend_from_slice(format!(",\"data_base64\":\"{}\"", BASE64.encode(data)).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_structured_event_keeps_its_data_digit_for_digit() {
        let event = sample();
        assert_eq!(decode_one(&encode_one(&event)), Ok(event));
    }

    #[test]
    fn binary_data_passes_through_structured_json() {
        let mut event = sample();
        event.data = Some(Bytes::from_static(b"\xff\x00"));
        event.datacontenttype = Some("application/octet-stream".into());
        assert_eq!(decode_one(&encode_one(&event)), Ok(event));
    }

    #[test]
    fn a_batch_keeps_its_order() {
        let (mut first, second) = (sample(), sample());
        first.id = "id-0".into();
        let events = vec![first, second];
        assert_eq!(decode_batch(&encode_batch(&events)), Ok(events));
    }

    #[test]
    fn a_batch_with_one_bad_event_is_refused_whole() {
        let body = br#"[{"specversion":"1.0","id":"1","source":"s","type":"t"},{"specversion":"1.0"}]"#;
        assert_eq!(decode_batch(body), Err(Malformed::Missing("id")));
    }

    #[test]
    fn malformed_structured_events_say_what_is_wrong() {
        let check = |body: &str, expected: &str| {
            let error = decode_one(body.as_bytes()).expect_err(body).to_string();
            assert!(error.contains(expected), "{body} said {error}");
        };
        check("{", "not valid JSON");
        check("[]", "not valid JSON");
        check(r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "only 1.0");
        check(r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "`id`");
        check(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","Bad_Name":"x"}"#, "Bad_Name");
        check(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","ext":{}}"#, "ext");
        check(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":""}"#, "both");
        check(r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"*"}"#, "data_base64");
    }

    #[test]
    fn a_text_string_under_a_text_content_type_is_the_text() {
        let body =
            br#"{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/plain","data":"hi"}"#;
        assert_eq!(decode_one(body).unwrap().data, Some(Bytes::from_static(b"hi")));
    }
}
