//! Replies become records: each event is checked (type, size, topic) before anything is written.

use std::collections::BTreeMap;

use bytes::Bytes;
use event::Event;

use crate::config::Reply;
use crate::log::{Header, NewRecord};

/// The largest record that a reply may become, headers and key included.
pub const BYTES_MAX: usize = 256 * 1024;

/// The records of a reply, or why it can never be written. `topics` are those that exist.
pub fn records_of(reply: &Reply, events: &[Event], topics: &BTreeMap<String, i32>) -> Result<Vec<NewRecord>, String> {
    events.iter().map(|event| record_of(reply, event, topics)).collect()
}

/// Whether a topic is named that is not in `topics`, so that they should be looked up again.
pub fn names_unknown_topic(reply: &Reply, events: &[Event], topics: &BTreeMap<String, i32>) -> bool {
    events.iter().any(|event| topic_of(reply, event).is_some_and(|topic| !topics.contains_key(topic)))
}

fn record_of(reply: &Reply, event: &Event, topics: &BTreeMap<String, i32>) -> Result<NewRecord, String> {
    let types = reply.types();
    if !types.is_empty() && !types.iter().any(|prefix| event.kind.starts_with(prefix.as_str())) {
        return Err(format!("the reply holds an event of type `{}`, and only {} may be", event.kind, types.join(", ")));
    }
    let topic = topic_of(reply, event).ok_or("the reply's type names no topic")?;
    if !topics.contains_key(topic) {
        return Err(format!("the reply's topic `{topic}` does not exist"));
    }
    let record = new_record(topic, event);
    match size(&record) {
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

fn size(record: &NewRecord) -> usize {
    let header = |(name, value): &Header| name.len() + value.as_ref().map_or(0, Bytes::len);
    let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    bytes(&record.key) + bytes(&record.value) + record.headers.iter().map(header).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> BTreeMap<String, i32> {
        BTreeMap::from([("core".to_owned(), 6), ("payment".to_owned(), 6)])
    }

    fn by_type() -> Reply {
        Reply::ByType { types: vec!["core.".into()] }
    }

    // promise: BRIDGE: replies by type go to the topic that is the first segment of their type
    #[test]
    fn a_reply_goes_to_the_topic_of_its_type_keyed_by_its_subject() {
        let mut event = Event::new("1", "/till/core", "core.user.registered");
        event.subject = Some("u1".into());
        let records = records_of(&by_type(), &[event.clone()], &topics()).unwrap();
        assert_eq!((records[0].topic.as_str(), records[0].key.as_deref()), ("core", Some(b"u1".as_slice())));
        event.extensions.insert("partitionkey".into(), "p".into());
        assert_eq!(records_of(&by_type(), &[event], &topics()).unwrap()[0].key.as_deref(), Some(b"p".as_slice()));
    }

    // promise: BRIDGE: a reply's size, topic and type are checked before it is written
    #[test]
    fn what_may_not_be_written_is_told_before_it_is() {
        let check = |event: &Event, expected: &str| {
            let error = records_of(&by_type(), std::slice::from_ref(event), &topics()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&Event::new("1", "/s", "payment.deposit.confirmed"), "payment.deposit.confirmed");
        check(&Event::new("1", "/s", ""), "only core.");
        let mut large = Event::new("1", "/s", "core.x");
        large.data = Some(vec![0; BYTES_MAX].into());
        check(&large, "bytes");
        let anywhere = Reply::Topic { topic: "nowhere".into(), types: vec![] };
        assert!(records_of(&anywhere, &[Event::new("1", "/s", "t")], &topics()).unwrap_err().contains("`nowhere`"));
    }

    #[test]
    fn one_bad_event_keeps_the_whole_reply_back() {
        let events = [Event::new("1", "/s", "core.a"), Event::new("2", "/s", "other.b")];
        assert!(records_of(&by_type(), &events, &topics()).is_err());
    }
}
