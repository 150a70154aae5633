//! HTTP protocol binding 1.0.2: binary, structured and batched mode. Headers and a body come in, events go out, and back.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::{
    BATCH_JSON, Collector, Event, Malformed, STRUCTURED_JSON, essence, is_cloudevents_media_type, json, percent,
};

/// What the name of an attribute begins with as a header, in binary mode.
pub const PREFIX: &str = "ce-";
/// Attributes that are written as headers. A map of headers panics when it is full, long after any server has refused them.
const HEADERS_MAX: usize = 1_024;

/// Whether headers announce an event in any of the three modes.
pub fn is_event(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(is_cloudevents_media_type) || headers.contains_key("ce-specversion")
}

/// The events of a request or response, whatever its mode. An empty batch is no event.
pub fn decode(headers: &HeaderMap, body: Bytes) -> Result<Vec<Event>, Malformed> {
    let content_type = content_type(headers).unwrap_or_default();
    if !is_cloudevents_media_type(content_type) {
        return Ok(vec![decode_binary(headers, body)?]);
    }
    let kind = essence(content_type);
    if kind.eq_ignore_ascii_case(BATCH_JSON) {
        json::decode_batch(&body)
    } else if kind.eq_ignore_ascii_case(STRUCTURED_JSON) {
        Ok(vec![json::decode_one(&body)?])
    } else {
        Err(Malformed::Format(kind.to_owned()))
    }
}

/// One event in binary mode: attributes as `ce-` headers, data as the body. An empty body is an event without data.
fn decode_binary(headers: &HeaderMap, body: Bytes) -> Result<Event, Malformed> {
    let mut collector = Collector::default();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        let Some(value) = std::str::from_utf8(value.as_bytes()).ok().and_then(percent::decode) else {
            return Err(Malformed::Attribute { name: attribute.to_owned(), reason: "its value is not UTF-8" });
        };
        collector.set(attribute, value)?;
    }
    collector.datacontenttype = content_type(headers).map(str::to_owned);
    collector.finish((!body.is_empty()).then_some(body))
}

/// The attributes of binary mode as headers, percent-encoded: names without their [`PREFIX`], and without the content type. An
/// event of thousands of extensions loses those that no server would take.
pub fn binary_attributes(event: &Event) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    event.attributes().take(HEADERS_MAX).map(|(name, value)| (name, percent::encode(value)))
}

/// Headers and body of one event in binary mode.
pub fn encode_binary(event: &Event) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::with_capacity(24);
    for (name, value) in binary_attributes(event) {
        let value = HeaderValue::from_str(&value).expect("percent-encoding leaves visible ASCII only");
        if let Ok(name) = HeaderName::from_bytes([PREFIX, name].concat().as_bytes()) {
            headers.insert(name, value);
        }
    }
    if let Some(kind) = event.datacontenttype.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok()) {
        headers.insert(CONTENT_TYPE, kind);
    }
    (headers, event.data.clone().unwrap_or_default())
}

/// Headers and body of one event in structured mode.
pub fn encode_structured(event: &Event) -> (HeaderMap, Bytes) {
    (json_headers(STRUCTURED_JSON), json::encode_one(event).into())
}

/// Headers and body of a batch.
pub fn encode_batch(events: &[Event]) -> (HeaderMap, Bytes) {
    (json_headers(BATCH_JSON), json::encode_batch(events).into())
}

fn json_headers(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn an_event_survives_each_mode_of_http() {
        let event = sample();
        for (headers, body) in
            [encode_binary(&event), encode_structured(&event), encode_batch(std::slice::from_ref(&event))]
        {
            assert!(is_event(&headers));
            assert_eq!(decode(&headers, body), Ok(vec![event.clone()]));
        }
    }

    #[test]
    fn non_ascii_attributes_travel_percent_encoded() {
        let mut event = sample();
        event.subject = Some("Ünï → 100 %".into());
        let (headers, body) = encode_binary(&event);
        assert!(headers["ce-subject"].to_str().is_ok());
        assert_eq!(decode(&headers, body), Ok(vec![event]));
    }

    #[test]
    fn any_number_of_extensions_is_encoded_without_a_panic_and_refused_at_the_door() {
        let mut event = sample();
        event.extensions.extend((0..30_000).map(|n| (format!("x{n}"), String::new())));
        let (mut headers, body) = encode_binary(&event);
        headers.insert("traceparent", HeaderValue::from_static("there is room for more"));
        assert!(matches!(decode(&headers, body), Err(Malformed::Attribute { .. })));
        let (headers, body) = encode_structured(&event);
        assert!(matches!(decode(&headers, body), Err(Malformed::Attribute { .. })));
    }

    #[test]
    fn a_plain_request_is_no_event() {
        assert!(!is_event(&HeaderMap::new()));
        assert_eq!(decode(&HeaderMap::new(), Bytes::new()), Err(Malformed::Missing("specversion")));
    }

    #[test]
    fn an_unknown_event_format_is_named() {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+avro"))]);
        assert_eq!(decode(&headers, Bytes::new()), Err(Malformed::Format("application/cloudevents+avro".into())));
    }

    #[test]
    fn the_content_type_is_recognised_in_any_case() {
        let (_, body) = encode_structured(&sample());
        let value = HeaderValue::from_static("Application/CloudEvents+JSON; charset=utf-8");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
        assert_eq!(decode(&headers, body), Ok(vec![sample()]));
    }
}
