//! How a source hears of orders: it reads its dead-letter topic beside its own, takes what is addressed to it, and leaves the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::letter::{Entry, Order};
use crate::config::{Config, Source};
use crate::log::{Partition, Record};

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

/// Letters of a partition whose orders are remembered.
const HEARD_MAX: usize = 4_096;

/// Which letters were ordered, so that a second order, written by another bridge at the same moment, delivers nothing.
#[derive(Debug, Default)]
pub struct Heard(BTreeMap<Partition, BTreeMap<i64, i64>>);

impl Heard {
    /// Whether the order at this offset is the first that was heard of its letter. It may be read again after a rebalance.
    pub fn is_first(&mut self, partition: &Partition, letter: i64, order: i64) -> bool {
        let heard = self.0.entry(partition.clone()).or_default();
        let first = *heard.entry(letter).and_modify(|first| *first = order.min(*first)).or_insert(order);
        if heard.len() > HEARD_MAX {
            heard.pop_first();
        }
        first == order
    }
}

/// What a record is to a source.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// From a topic that it reads.
    Ordinary(Record),
    /// Given up once, and ordered again.
    Ordered(Box<Order>),
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
            Entry::Order(order) if is_own && order.source == self.source => Arrival::Ordered(Box::new(order)),
            Entry::Order(_) | Entry::Letter(_) | Entry::Foreign => Arrival::Others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // promise: BRIDGE: two orders of one letter, given at the same moment, deliver it once
    #[test]
    fn the_first_order_of_a_letter_counts_however_often_it_is_read() {
        let (mut heard, one, two) = (Heard::default(), Partition::new("dead", 0), Partition::new("dead", 1));
        assert!(heard.is_first(&one, 5, 10) && heard.is_first(&two, 5, 11) && heard.is_first(&one, 6, 11));
        assert!(!heard.is_first(&one, 5, 12), "a second one");
        assert!(heard.is_first(&one, 5, 10) && heard.is_first(&one, 6, 11), "the same after a rebalance");
        assert!((0..2 * HEARD_MAX as i64).all(|letter| heard.is_first(&one, letter + 20, letter + 9_000)));
        assert_eq!(heard.0[&one].len(), HEARD_MAX);
    }
}
