//! How a source hears of orders: it reads its dead-letter topic beside its own, takes what is addressed to it, and leaves the rest.

use std::collections::BTreeSet;

use super::letter::Entry;
use crate::config::{Config, Source};
use crate::log::Record;

/// The dead-letter topics as one source sees them.
#[derive(Debug, Clone, Default)]
pub struct Post {
    source: String,
    /// The topic that its own orders come in.
    own: Option<String>,
    /// Its own among them, if it is no ordinary topic of the source.
    letters: BTreeSet<String>,
    ordinary: BTreeSet<String>,
}

/// What a record is to a source.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// From a topic that it reads.
    Ordinary(Record),
    /// Given up once, and ordered again.
    Ordered(Record),
    /// Somebody else's letter or order.
    Others,
}

impl Post {
    /// Orders are heard only where they can be given: with the operating API.
    pub fn of(source: &Source, config: &Config) -> Post {
        let own = config.api_token.as_ref().and_then(|_| config.dead_letter_topic(source));
        let letters = config.sources.iter().filter_map(|source| config.dead_letter_topic(source)).collect();
        Post { source: source.name.clone(), own, letters, ordinary: source.topics.iter().cloned().collect() }
    }

    /// Everything that the source reads.
    pub fn topics(&self) -> BTreeSet<&str> {
        self.ordinary.iter().chain(&self.own).map(String::as_str).collect()
    }

    /// The topic that its orders come in: an old one is none to be heard, a new one is written when its group has begun to read.
    pub fn orders_topic(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// Nobody else's order is delivered, whoever reads the topic.
    pub fn sort(&self, record: Record) -> Arrival {
        if !self.letters.contains(&*record.partition.topic) {
            return Arrival::Ordinary(record);
        }
        let is_own = self.own.as_deref() == Some(&*record.partition.topic);
        if !Entry::is_order(&record) {
            let read = self.ordinary.contains(&*record.partition.topic);
            return if read { Arrival::Ordinary(record) } else { Arrival::Others };
        }
        match Entry::read(record) {
            Entry::Order(order) if is_own && order.source == self.source => Arrival::Ordered(order.record),
            Entry::Order(_) | Entry::Letter(_) | Entry::Foreign => Arrival::Others,
        }
    }
}
