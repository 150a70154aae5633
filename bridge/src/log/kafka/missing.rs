//! Topics that a group reads and that are not there: looked for again and again, until they are and the group has shared them out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataTopic;

use super::client::Client;

const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// A topic that has been there for so long is shared out: the group looks for new ones every five seconds.
const SHARED_OUT: Duration = Duration::from_secs(7);

pub(super) struct Missing {
    /// Since when they are there.
    topics: BTreeMap<String, Option<Instant>>,
    looked: Instant,
}

impl Missing {
    pub(super) fn new() -> Self {
        Missing { topics: BTreeMap::new(), looked: Instant::now() }
    }

    pub(super) fn add(&mut self, topic: String) {
        self.topics.insert(topic, None);
    }

    /// A partition of it was assigned, which says more.
    pub(super) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Those that are there, and of which we were given nothing.
    pub(super) fn look(&mut self, consumer: &BaseConsumer<Client>) -> Vec<String> {
        if self.topics.is_empty() || self.looked.elapsed() < LOOK_INTERVAL {
            return Vec::new();
        }
        self.looked = Instant::now();
        for (topic, since) in &mut self.topics {
            let Ok(metadata) = consumer.fetch_metadata(Some(topic), LOOK_TIMEOUT) else { break };
            let found = metadata.topics().first().is_some_and(is_there);
            *since = found.then(|| since.unwrap_or(self.looked));
        }
        let is_shared_out = |since: &mut Option<Instant>| since.is_some_and(|since| since.elapsed() > SHARED_OUT);
        self.topics.extract_if(.., |_, since| is_shared_out(since)).map(|(topic, _)| topic).collect()
    }
}

fn is_there(topic: &MetadataTopic) -> bool {
    topic.error().is_none() && !topic.partitions().is_empty()
}
