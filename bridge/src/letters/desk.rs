//! Where people ask for dead letters and order them to be delivered again. One request at a time reads; each is bounded in records,
//! bytes and time, and answers a cursor to go on from.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};

use super::books::{Books, Ends};
use super::letter::{Entry, Letter};
use super::query::{Filter, Place, Which};
use super::told::{Page, everything, line};
use super::{REQUEST_TIMEOUT, Refusal};
use crate::log::{Log, Partition, Record, Stretch};
use crate::metrics::Metrics;

/// Records that one page looks at, letters and bytes that it holds.
const LOOK_MAX: usize = 100_000;
pub const LETTERS_MAX: usize = 500;
const BYTES_MAX: usize = 8 << 20;
const WAIT: Duration = Duration::from_secs(5);

/// A source whose letters can be redriven.
pub struct Addressee {
    pub letters_topic: Option<String>,
    /// The group that hears of its orders.
    pub group: String,
    pub metrics: Rc<Metrics>,
}

pub struct Desk {
    pub log: Log,
    /// By name.
    pub sources: BTreeMap<String, Addressee>,
    books: Arc<Mutex<Books>>,
}

/// Letters that are looked for.
pub(super) struct Search<'a> {
    pub filter: &'a Filter,
    pub which: Which,
    pub limit: usize,
    pub from: Option<Place>,
    /// What stands behind them is not looked at.
    pub ends: Option<Ends>,
    pub deadline: Instant,
}

/// Letters that were found, and how far the look came.
pub(super) struct Found {
    pub letters: Vec<Letter>,
    pub next: Option<Place>,
}

impl Desk {
    pub fn new(log: Log, sources: BTreeMap<String, Addressee>) -> Self {
        Desk { log, sources, books: Arc::default() }
    }

    /// A page of letters, the oldest of a partition first.
    pub async fn list(
        &self,
        filter: &Filter,
        which: Which,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page, Refusal> {
        let from = cursor.map(str::parse).transpose().map_err(Refusal::Malformed)?;
        let limit = bounded("limit", limit, LETTERS_MAX)?;
        let (deadline, mut books) = (Instant::now() + REQUEST_TIMEOUT, self.books().await?);
        books.refresh(&self.log, &self.topics(), REQUEST_TIMEOUT).await?;
        let found = self.find(&books, Search { filter, which, limit, from, ends: None, deadline }).await?;
        let letters = found.letters.iter().map(|letter| line(letter, is_open(&books, letter))).collect();
        Ok(Page { letters, cursor: found.next.map(|place| place.to_string()) })
    }

    /// One letter with everything about it.
    pub async fn show(&self, place: Place) -> Result<serde_json::Value, Refusal> {
        let mut books = self.books().await?;
        books.refresh(&self.log, &self.topics(), REQUEST_TIMEOUT).await?;
        let span = books.get(&place.partition).and_then(|book| book.span);
        let there = span.is_some_and(|span| (span.start..span.end).contains(&place.offset));
        let letter = if there { self.read(&place).await? } else { None };
        let letter = letter.ok_or(Refusal::NoSuchLetter(place))?;
        Ok(everything(&letter, is_open(&books, &letter)))
    }

    pub(super) async fn books(&self) -> Result<MutexGuard<'_, Books>, Refusal> {
        tokio::time::timeout(WAIT, self.books.lock()).await.map_err(|_| Refusal::Busy)
    }

    pub(super) fn topics(&self) -> BTreeSet<String> {
        self.sources.values().filter_map(|source| source.letters_topic.clone()).collect()
    }

    pub(super) async fn find(&self, books: &Books, asked: Search<'_>) -> Result<Found, Refusal> {
        let Search { filter, which, limit, from, ends, deadline } = asked;
        let mut look = Look { filter: filter.clone(), ends, which, limit, looked: 0, bytes: 0, found: Vec::new() };
        for partition in books.from(from.as_ref().map(|place| &place.partition)) {
            let asked = from.as_ref().filter(|place| place.partition == partition).map_or(0, |place| place.offset);
            let Some(begin) = look.begin(books, &partition, asked) else { continue };
            let left = deadline.saturating_duration_since(Instant::now());
            if look.is_full() || left.is_zero() {
                return Ok(Found { letters: look.found, next: Some(Place { partition, offset: begin }) });
            }
            let open = books.get(&partition).map(|book| Arc::clone(&book.open)).unwrap_or_default();
            let take = move |look: &mut Look, record| look.take(record, &open);
            let stretch = Stretch { partition: partition.clone(), from: begin, limit: left };
            let scanned = self.log.scan(stretch, look, take).await?;
            look = scanned.gathered;
            if !scanned.ended && look.begin(books, &partition, scanned.next).is_some() {
                return Ok(Found { letters: look.found, next: Some(Place { partition, offset: scanned.next }) });
            }
        }
        Ok(Found { letters: look.found, next: None })
    }

    async fn read(&self, place: &Place) -> Result<Option<Letter>, Refusal> {
        let take = |found: &mut Option<Record>, record| {
            *found = Some(record);
            false
        };
        let stretch = Stretch { partition: place.partition.clone(), from: place.offset, limit: REQUEST_TIMEOUT };
        let scanned = self.log.scan(stretch, None, take).await?;
        let found = scanned.gathered.filter(|record| record.offset == place.offset).map(Entry::read);
        Ok(found.and_then(|entry| match entry {
            Entry::Letter(letter) => Some(*letter),
            Entry::Order(_) | Entry::Foreign => None,
        }))
    }
}

/// A look through partitions for letters.
struct Look {
    filter: Filter,
    ends: Option<Ends>,
    which: Which,
    limit: usize,
    looked: usize,
    bytes: usize,
    found: Vec<Letter>,
}

impl Look {
    fn is_full(&self) -> bool {
        self.found.len() >= self.limit || self.bytes >= BYTES_MAX || self.looked >= LOOK_MAX
    }

    /// The first offset from `from` on that is worth reading; `None` when nothing is.
    fn begin(&self, books: &Books, partition: &Partition, from: i64) -> Option<i64> {
        let book = books.get(partition)?;
        let span = book.span?;
        let end = self.ends.as_ref().map_or(span.end, |ends| ends.of(partition).min(span.end));
        let from = match &self.filter.ids {
            Some(ids) => next_of(ids, partition, from)?,
            None => from.max(span.start),
        };
        match self.which {
            Which::Open => book.open.range(from..).next().copied().filter(|letter| *letter < end),
            Which::Redriven | Which::All => (from < end).then_some(from),
        }
    }

    /// Answers whether there is room for more.
    fn take(&mut self, record: Record, open: &BTreeSet<i64>) -> bool {
        self.looked += 1;
        let (offset, bytes) = (record.offset, record.size());
        let is_last = self.ends.as_ref().is_some_and(|ends| offset + 1 >= ends.of(&record.partition))
            || self.filter.ids.as_ref().is_some_and(|ids| next_of(ids, &record.partition, offset + 1).is_none());
        let wanted = match self.which {
            Which::Open => open.contains(&offset),
            Which::Redriven => !open.contains(&offset),
            Which::All => true,
        };
        if wanted
            && let Entry::Letter(letter) = Entry::read(record)
            && self.filter.matches(&letter)
        {
            self.bytes += bytes;
            self.found.push(*letter);
        }
        !self.is_full() && !is_last
    }
}

/// The first of these places in a partition from an offset on.
fn next_of(ids: &BTreeSet<Place>, partition: &Partition, from: i64) -> Option<i64> {
    let from = Place { partition: partition.clone(), offset: from };
    ids.range(from..).next().filter(|place| place.partition == *partition).map(|place| place.offset)
}

fn is_open(books: &Books, letter: &Letter) -> bool {
    books.get(&letter.partition).is_some_and(|book| book.open.contains(&letter.offset))
}

pub fn bounded(name: &str, value: usize, max: usize) -> Result<usize, Refusal> {
    let wrong = || Refusal::Malformed(format!("`{name}` must be from 1 to {max}"));
    (1..=max).contains(&value).then_some(value).ok_or_else(wrong)
}
