//! From a request's headers and body to the records to be written: every event is checked before any is written.

use bytes::Bytes;
use event::Event;
use http::HeaderMap;
use jiff::Timestamp;

use super::answer::Refusal;
use crate::log::NewRecord;
use crate::reply;

/// What a push asks for.
pub(super) struct Push {
    pub records: Vec<NewRecord>,
    pub wake_at: Option<Timestamp>,
}

impl Push {
    pub(super) fn parse(
        topic: &str,
        headers: &HeaderMap,
        body: Bytes,
        event_bytes_max: usize,
    ) -> Result<Push, Refusal> {
        let wake_at = wake_at(headers)?;
        let events =
            event::http::decode(headers, body).map_err(|malformed| Refusal::Malformed(malformed.to_string()))?;
        let records = events.iter().map(|event| record(topic, event, event_bytes_max)).collect::<Result<_, _>>()?;
        Ok(Push { records, wake_at })
    }
}

fn wake_at(headers: &HeaderMap) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = headers.get("wake-at") else { return Ok(None) };
    let instant = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    instant.map(Some).ok_or_else(|| Refusal::Malformed("Wake-At is not an instant of RFC 3339".into()))
}

/// A topic takes the facts of its own function only, so that nobody speaks in another's name.
fn record(topic: &str, event: &Event, bytes_max: usize) -> Result<NewRecord, Refusal> {
    let own = event.kind.strip_prefix(topic).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'));
    if !own {
        let reason = format!("the type `{}` of event `{}` does not begin with `{topic}.`", event.kind, event.id);
        return Err(Refusal::Forbidden(reason));
    }
    let record = reply::new_record(topic, event);
    let size = record.size();
    if size > bytes_max {
        return Err(Refusal::TooLarge(format!("event `{}` has {size} bytes; {bytes_max} are taken", event.id)));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(event: &Event) -> Result<NewRecord, Refusal> {
        let (headers, body) = event::http::encode_binary(event);
        Push::parse("payment", &headers, body, 1_000).map(|mut push| push.records.remove(0))
    }

    fn paid() -> Event {
        let mut event = Event::new("1", "/till/payment", "payment.invoice.paid");
        event.subject = Some("inv_1".into());
        event
    }

    #[test]
    fn the_key_is_the_partitionkey_else_the_subject() {
        assert_eq!(parse(&paid()).unwrap().key, Some(Bytes::from_static(b"inv_1")));
        let mut event = paid();
        event.extensions.insert("partitionkey".into(), "p".into());
        assert_eq!(parse(&event).unwrap().key, Some(Bytes::from_static(b"p")));
        event.extensions.clear();
        event.subject = None;
        assert_eq!(parse(&event).unwrap().key, None);
    }

    #[test]
    fn a_type_of_another_function_is_forbidden() {
        for kind in ["core.invoice.paid", "payment", "payment.", "paymentx.paid", "Payment.invoice.paid"] {
            let refused = parse(&Event { kind: kind.into(), ..paid() });
            assert!(matches!(refused, Err(Refusal::Forbidden(_))), "{kind}: {refused:?}");
        }
    }

    #[test]
    fn an_event_above_the_bound_is_named() {
        let event = Event { data: Some(vec![b'x'; 1_000].into()), ..paid() };
        let Err(Refusal::TooLarge(reason)) = parse(&event) else { panic!("it was taken") };
        assert!(reason.contains("event `1`"), "{reason}");
    }

    #[test]
    fn wake_at_is_an_instant_or_refused() {
        let headers = |text: &'static str| HeaderMap::from_iter([("wake-at".parse().unwrap(), text.parse().unwrap())]);
        assert_eq!(wake_at(&headers("2026-01-02T03:04:05Z")), Ok(Some("2026-01-02T03:04:05Z".parse().unwrap())));
        assert!(wake_at(&headers("tomorrow")).is_err());
        assert_eq!(wake_at(&HeaderMap::new()), Ok(None));
    }
}
