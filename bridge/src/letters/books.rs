//! Which letters are open. A dead-letter topic only grows, and an order stands behind its letter in the same partition: so what is
//! open is what was read to the end less what was ordered. It is read once a process, and from then on only what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Refusal;
use super::letter::Entry;
use crate::log::{Log, Partition, Record, Span, Stretch};

/// Open letters that are known at a time, all topics together: 16 MiB.
const OPEN_MAX: usize = 1_000_000;

/// One book a partition.
#[derive(Debug, Default)]
pub struct Books(BTreeMap<Partition, Book>);

/// What is open in a partition, as far as it was read.
#[derive(Debug, Clone, Default)]
pub struct Book {
    pub open: Arc<BTreeSet<i64>>,
    read_to: i64,
    pub span: Option<Span>,
}

/// How far each partition with open letters was written at some time. Its text is `topic/partition=end,…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends(BTreeMap<Partition, i64>);

impl Ends {
    /// Everything in a partition that is not among them came later.
    pub fn of(&self, partition: &Partition) -> i64 {
        self.0.get(partition).copied().unwrap_or(0)
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (partition, end)) in self.0.iter().enumerate() {
            write!(out, "{}{partition}={end}", if at > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Ends {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let one = |text: &str| {
            let (place, end) = text.split_once('=')?;
            let (topic, number) = place.rsplit_once('/')?;
            Some((Partition::new(topic, number.parse().ok()?), end.parse().ok()?))
        };
        text.split(',').map(one).collect::<Option<_>>().map(Ends).ok_or(())
    }
}

impl Books {
    /// Where they end now.
    pub fn ends(&self) -> Ends {
        let with_letters = self.0.iter().filter(|(_, book)| !book.open.is_empty());
        Ends(with_letters.map(|(partition, book)| (partition.clone(), book.read_to)).collect())
    }

    /// Reads what is new in these topics, within `limit`.
    pub async fn refresh(&mut self, log: &Log, topics: &BTreeSet<String>, limit: Duration) -> Result<(), Refusal> {
        let deadline = Instant::now() + limit;
        let counts = log.topics().await?;
        let each = topics.iter().filter_map(|topic| Some((topic, *counts.get(topic)?)));
        let partitions: Vec<Partition> = each
            .flat_map(|(topic, count)| (0..count).map(move |number| Partition::new(topic.as_str(), number)))
            .collect();
        let spans = log.spans(partitions).await?;
        self.0.retain(|partition, _| spans.contains_key(partition));
        for (partition, span) in spans {
            let others = self.open() - self.0.get(&partition).map_or(0, |book| book.open.len());
            let book = self.0.entry(partition.clone()).or_default();
            book.begin(span);
            while book.read_to < span.end {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() || !book.read_on(log, &partition, left, OPEN_MAX.saturating_sub(others)).await? {
                    break;
                }
            }
        }
        self.complete()
    }

    fn open(&self) -> usize {
        self.0.values().map(|book| book.open.len()).sum()
    }

    fn complete(&self) -> Result<(), Refusal> {
        if self.open() > OPEN_MAX {
            return Err(Refusal::TooMany(OPEN_MAX));
        }
        let (read, end) = self.0.values().fold((0, 0), |(read, end), book| (read + book.read(), end + book.length()));
        if read < end { Err(Refusal::StillReading { read, end }) } else { Ok(()) }
    }

    pub fn get(&self, partition: &Partition) -> Option<&Book> {
        self.0.get(partition)
    }

    /// Every partition from this one on, in order.
    pub fn from(&self, partition: Option<&Partition>) -> Vec<Partition> {
        self.0.keys().filter(|key| partition.is_none_or(|from| *key >= from)).cloned().collect()
    }
}

impl Book {
    /// What the log has let go of is not open, and a topic that was made anew begins anew.
    fn begin(&mut self, span: Span) {
        if span.end < self.read_to {
            *self = Book::default();
        }
        self.read_to = self.read_to.max(span.start);
        if self.open.first().is_some_and(|first| *first < span.start) {
            let open = Arc::make_mut(&mut self.open);
            *open = open.split_off(&span.start);
        }
        self.span = Some(span);
    }

    /// Answers whether there is more to be read. What breaks it off leaves an empty book, and not a wrong one.
    async fn read_on(
        &mut self,
        log: &Log,
        partition: &Partition,
        limit: Duration,
        room: usize,
    ) -> Result<bool, Refusal> {
        let Book { open, read_to, span } = std::mem::take(self);
        let take = move |open: &mut Arc<BTreeSet<i64>>, record: Record| {
            let offset = record.offset;
            match Entry::read(record) {
                Entry::Letter(_) => drop(Arc::make_mut(open).insert(offset)),
                Entry::Order(order) => drop(Arc::make_mut(open).remove(&order.letter_offset)),
                Entry::Foreign => {}
            }
            open.len() <= room
        };
        let stretch = Stretch { partition: partition.clone(), from: read_to, limit };
        let scanned = log.scan(stretch, open, take).await?;
        // What follows the end that was read (an open transaction) is not there yet.
        let end = |span: Span| if scanned.ended { Span { end: scanned.next.min(span.end), ..span } } else { span };
        *self = Book { open: scanned.gathered, read_to: scanned.next, span: span.map(end) };
        Ok(!scanned.ended && self.open.len() <= room)
    }

    fn read(&self) -> i64 {
        self.span.map_or(0, |span| self.read_to.min(span.end) - span.start)
    }

    fn length(&self) -> i64 {
        self.span.map_or(0, |span| span.end - span.start)
    }
}
