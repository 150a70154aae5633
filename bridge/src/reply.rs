//! Replies become records: type and size of each event are checked before anything is written. The log checks its topic, since it
//! alone can tell a topic that is missing from a log that is away.

use bytes::Bytes;
use event::Event;

use crate::config::Reply;
use crate::log::NewRecord;

/// The largest record that a reply may become, headers and key included.
pub const BYTES_MAX: usize = 256 * 1024;

/// The records of a reply, or why it can never be written.
pub fn records_of(reply: &Reply, events: &[Event]) -> Result<Vec<NewRecord>, String> {
    events.iter().map(|event| record_of(reply, event)).collect()
}

/// A reply that is in no trace of its own goes on in its request's.
pub fn continue_trace(events: &mut [Event], traceparent: &str) {
    for event in events.iter_mut().filter(|event| !event.extensions.contains_key("traceparent")) {
        event.extensions.insert("traceparent".into(), traceparent.to_owned());
    }
}

fn record_of(reply: &Reply, event: &Event) -> Result<NewRecord, String> {
    let types = reply.types();
    if !types.is_empty() && !types.iter().any(|prefix| event.kind.starts_with(prefix.as_str())) {
        return Err(format!("the reply holds an event of type `{}`, and only {} may be", event.kind, types.join(", ")));
    }
    let topic = topic_of(reply, event).ok_or("the reply's type names no topic")?;
    let record = new_record(topic, event);
    match record.size() {
        size if size > BYTES_MAX => {
            Err(format!("the reply `{}` has {size} bytes, and {BYTES_MAX} are allowed", event.id))
        }
        _ => Ok(record),
    }
}

/// The first segment of the type names the topic, unless the source names one.
fn topic_of<'a>(reply: &'a Reply, event: &'a Event) -> Option<&'a str> {
    match reply {
        Reply::None => None,
        Reply::ByType { .. } => event.kind.split('.').next().filter(|topic| !topic.is_empty()),
        Reply::Topic { topic, .. } => Some(topic),
    }
}

/// The record of an event: keyed by its `partitionkey`, else by its subject.
pub fn new_record(topic: &str, event: &Event) -> NewRecord {
    let key = event.extensions.get("partitionkey").or(event.subject.as_ref());
    let (headers, value) = event::kafka::encode(event);
    NewRecord {
        topic: topic.to_owned(),
        partition: None,
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        headers,
        value,
        timestamp_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_type() -> Reply {
        Reply::ByType { types: vec!["core.".into()] }
    }

    // promise: BRIDGE: replies by type go to the topic that is the first segment of their type
    #[test]
    fn a_reply_goes_to_the_topic_of_its_type_keyed_by_its_subject() {
        let mut event = Event::new("1", "/till/core", "core.user.registered");
        event.subject = Some("u1".into());
        let records = records_of(&by_type(), &[event.clone()]).unwrap();
        assert_eq!((records[0].topic.as_str(), records[0].key.as_deref()), ("core", Some(b"u1".as_slice())));
        event.extensions.insert("partitionkey".into(), "p".into());
        assert_eq!(records_of(&by_type(), &[event]).unwrap()[0].key.as_deref(), Some(b"p".as_slice()));
    }

    // promise: BRIDGE: a reply's size, topic and type are checked before it is written
    #[test]
    fn what_may_not_be_written_is_told_before_it_is() {
        let check = |event: &Event, expected: &str| {
            let error = records_of(&by_type(), std::slice::from_ref(event)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&Event::new("1", "/s", "payment.deposit.confirmed"), "payment.deposit.confirmed");
        check(&Event::new("1", "/s", ""), "only core.");
        let mut large = Event::new("1", "/s", "core.x");
        large.data = Some(vec![0; BYTES_MAX].into());
        check(&large, "bytes");
    }

    #[test]
    fn one_bad_event_keeps_the_whole_reply_back() {
        let events = [Event::new("1", "/s", "core.a"), Event::new("2", "/s", "other.b")];
        assert!(records_of(&by_type(), &events).is_err());
    }
}
