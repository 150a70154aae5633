//! Kafka protocol binding 1.0.2: a record's headers and value come in, an event goes out, and back.

use bytes::Bytes;

use crate::{Collector, Event, Malformed, STRUCTURED_JSON, essence, is_cloudevents_media_type, json};

const PREFIX: &str = "ce_";

/// One header of a record: Kafka allows a name many times and any bytes, or none, as its value.
pub type Header = (String, Option<Bytes>);

/// Whether a record is an event already: by its `ce_` headers (binary) or its content type (structured).
pub fn is_event(headers: &[Header]) -> bool {
    text(headers, "content-type").is_some_and(is_cloudevents_media_type) || find(headers, "ce_specversion").is_some()
}

/// The event in a record. A value of `None` (a tombstone) is an event without data.
pub fn decode(headers: &[Header], value: Option<Bytes>) -> Result<Event, Malformed> {
    let content_type = text(headers, "content-type");
    let Some(kind) = content_type.filter(|kind| is_cloudevents_media_type(kind)) else {
        return decode_binary(headers, content_type, value);
    };
    if !essence(kind).eq_ignore_ascii_case(STRUCTURED_JSON) {
        return Err(Malformed::Format(essence(kind).to_owned()));
    }
    json::decode_one(&value.unwrap_or_default())
}

fn decode_binary(headers: &[Header], content_type: Option<&str>, value: Option<Bytes>) -> Result<Event, Malformed> {
    let mut collector = Collector::default();
    for (name, value) in headers {
        let Some(attribute) = strip_prefix_ignoring_case(name) else { continue };
        let value = value.as_deref().unwrap_or_default();
        let Ok(value) = std::str::from_utf8(value) else {
            return Err(Malformed::Attribute { name: attribute, reason: "its value is not UTF-8" });
        };
        collector.set(&attribute, value.to_owned())?;
    }
    collector.datacontenttype = content_type.map(str::to_owned);
    collector.finish(value)
}

/// Headers and value of an event in binary mode.
pub fn encode(event: &Event) -> (Vec<Header>, Option<Bytes>) {
    let mut headers: Vec<Header> = event
        .attributes()
        .map(|(name, value)| ([PREFIX, name].concat(), Some(Bytes::copy_from_slice(value.as_bytes()))))
        .collect();
    if let Some(kind) = &event.datacontenttype {
        headers.push(("content-type".into(), Some(Bytes::copy_from_slice(kind.as_bytes()))));
    }
    (headers, event.data.clone())
}

fn find<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    let (_, value) = headers.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))?;
    value.as_deref()
}

fn text<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    std::str::from_utf8(find(headers, name)?).ok()
}

fn strip_prefix_ignoring_case(name: &str) -> Option<String> {
    let head = name.get(..PREFIX.len())?;
    head.eq_ignore_ascii_case(PREFIX).then(|| name[PREFIX.len()..].to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn headers(pairs: &[(&str, &'static [u8])]) -> Vec<Header> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Some(Bytes::from_static(value)))).collect()
    }

    // promise: BRIDGE: a record that is an event keeps its attributes
    #[test]
    fn an_event_survives_a_record() {
        let (headers, value) = encode(&sample());
        assert!(is_event(&headers));
        assert_eq!(decode(&headers, value), Ok(sample()));
    }

    #[test]
    fn a_structured_record_is_recognised_by_its_content_type_in_any_case() {
        let headers = headers(&[("Content-Type", b"Application/CloudEvents+json; charset=UTF-8")]);
        assert!(is_event(&headers));
        assert_eq!(decode(&headers, Some(json::encode_one(&sample()).into())), Ok(sample()));
    }

    // promise: BRIDGE: a tombstone is an event without data
    #[test]
    fn a_tombstone_is_an_event_without_data() {
        let (headers, _) = encode(&sample());
        assert_eq!(decode(&headers, None).unwrap().data, None);
    }

    #[test]
    fn a_header_that_is_not_utf8_is_malformed_and_no_panic() {
        let headers = headers(&[("ce_specversion", b"1.0"), ("ce_id", b"\xff")]);
        assert!(matches!(decode(&headers, None), Err(Malformed::Attribute { .. })));
    }

    #[test]
    fn a_plain_record_is_no_event() {
        assert!(!is_event(&headers(&[("content-type", b"application/json")])));
    }
}
