//! What would become of a record: whether a source wants it, in which lane it would run, and the request that it would be.

use event::Event;

use crate::config::{Reply, Source};
use crate::dispatch::Ordering;
use crate::log::Record;
use crate::request;

/// The answer for a person.
#[derive(Debug, Clone)]
pub struct Explanation {
    pub event: Event,
    /// Whether the source's filters let it through.
    pub wanted: bool,
    /// Which records it would wait for.
    pub lane: String,
    pub url: String,
    /// Without its token.
    pub headers: http::HeaderMap,
    pub body: bytes::Bytes,
}

/// The request that `record` becomes for `source`.
pub fn explain(source: &Source, record: &Record) -> Explanation {
    let event = request::event_of(source, record);
    let request = request::request_of(&event, source.delivery.structured, source.reply != Reply::None);
    Explanation {
        wanted: source.filter.accepts(&event),
        lane: lane(source.ordering, record),
        url: source.sink.url.to_string(),
        headers: request.headers,
        body: request.body,
        event,
    }
}

fn lane(ordering: Ordering, record: &Record) -> String {
    match (ordering, &record.key) {
        (Ordering::Partition, _) => format!("all records of {}", record.partition),
        (Ordering::Key, Some(key)) => format!("the records of {} with key {}", record.partition, key.escape_ascii()),
        (Ordering::Key, None) | (Ordering::None, _) => "of its own".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_record_is_explained_as_the_request_that_it_becomes() {
        let mut record = testing::record("t", 1, 2);
        record.key = Some("k\u{0}".into());
        let told = explain(&testing::source("  filters: [{ exact: { type: other } }]\n"), &record);
        assert!(!told.wanted);
        assert_eq!(told.lane, "the records of t/1 with key k\\x00");
        assert_eq!(
            (told.url.as_str(), &told.headers["ce-type"]),
            ("http://127.0.0.1:9/", &"dev.knative.kafka.event".parse().unwrap())
        );
    }
}
