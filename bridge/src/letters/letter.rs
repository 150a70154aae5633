//! What stands in a dead-letter topic: letters, and orders to deliver one of them again. An order is a copy of its letter with a
//! few headers more, so that one record is at once the mark that the letter is no longer open and everything that its source needs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::dead_letter::FIRST_HEADER;
use crate::log::{Header, NewRecord, Partition, Record};

/// On an order: the offset of its letter, in the same partition.
const ORDER_OF: &str = "tillredriveof";
/// On an order, and on a record that was ordered: how often that happened.
pub const LOOPS: &str = "tillredrives";

/// A record of a dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Letter(Box<Letter>),
    Order(Order),
    /// Nothing of ours.
    Foreign,
}

/// A record that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where the letter itself stands.
    pub partition: Partition,
    pub offset: i64,
    /// The source that gave up, its sink, and what that said.
    pub source: String,
    pub sink: String,
    pub code: u16,
    pub data: Bytes,
    pub attempts: u32,
    pub given_up_ms: i64,
    /// How often it was delivered again by an order.
    pub loops: u32,
    /// The record as it was read.
    pub original: Record,
    /// The letter's own headers, for its order.
    headers: Vec<Header>,
}

/// What a person has ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub letter_offset: i64,
    pub source: String,
    /// The record that the source gave up, with the count of its loops.
    pub record: Record,
}

impl Entry {
    pub fn read(record: Record) -> Entry {
        let Some(letter) = letter(record) else { return Entry::Foreign };
        let Some(letter_offset) = number(&letter.headers, ORDER_OF) else { return Entry::Letter(Box::new(letter)) };
        let mut record = letter.original;
        let loops = number(&letter.headers, LOOPS).unwrap_or(1_u32);
        record.headers.retain(|(name, _)| name != LOOPS);
        record.headers.push((LOOPS.into(), Some(loops.to_string().into())));
        Entry::Order(Order { letter_offset, source: letter.source, record })
    }

    /// Whether a record of a dead-letter topic is an order, without looking further.
    pub fn is_order(record: &Record) -> bool {
        let tail = record.headers.iter().rposition(|(name, _)| name == FIRST_HEADER);
        tail.is_some_and(|at| record.headers[at..].iter().any(|(name, _)| name == ORDER_OF))
    }
}

impl Letter {
    /// The record that orders this letter: same topic, same partition, so that it comes after it.
    pub fn order(&self) -> NewRecord {
        let mut headers = self.original.headers.clone();
        headers.extend(self.headers.iter().cloned());
        headers.push((ORDER_OF.into(), Some(self.offset.to_string().into())));
        headers.push((LOOPS.into(), Some((self.loops + 1).to_string().into())));
        NewRecord {
            topic: self.partition.topic.to_string(),
            partition: Some(self.partition.number),
            key: self.original.key.clone(),
            headers,
            value: self.original.value.clone(),
            timestamp_ms: None,
        }
    }
}

/// The letter's own headers are the last block: what is before it was the record's, even if that was a letter itself.
fn letter(record: Record) -> Option<Letter> {
    let mut original = record;
    let at = original.headers.iter().rposition(|(name, _)| name == FIRST_HEADER)?;
    let headers = original.headers.split_off(at);
    let (partition, offset) = (original.partition, original.offset);
    original.partition = Partition::new(text(&headers, "tilltopic")?, number(&headers, "tillpartition")?);
    original.offset = number(&headers, "tilloffset")?;
    original.timestamp_ms = number(&headers, "tillrecordtime").filter(|ms| *ms > 0);
    Some(Letter {
        partition,
        offset,
        source: text(&headers, "tillsource")?.to_owned(),
        sink: text(&headers, FIRST_HEADER)?.to_owned(),
        code: number(&headers, "knativeerrorcode").unwrap_or(0),
        data: BASE64.decode(text(&headers, "knativeerrordata").unwrap_or_default()).unwrap_or_default().into(),
        attempts: number(&headers, "tillattempts").unwrap_or(0),
        given_up_ms: number(&headers, "tillgivenuptime").unwrap_or(0),
        loops: number(&original.headers, LOOPS).unwrap_or(0),
        original,
        headers,
    })
}

fn text<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(other, _)| other == name)?;
    std::str::from_utf8(value.as_deref()?).ok()
}

fn number<T: std::str::FromStr>(headers: &[Header], name: &str) -> Option<T> {
    text(headers, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::{Reason, record_of};
    use crate::testing;

    /// The record that a written one becomes.
    pub fn stored(written: NewRecord, offset: i64) -> Record {
        let partition = Partition::new(written.topic, written.partition.unwrap_or(1));
        let NewRecord { key, headers, value, .. } = written;
        Record { partition, offset, timestamp_ms: Some(9), key, headers, value }
    }

    fn given_up(record: &Record) -> NewRecord {
        record_of("dead", &testing::source(""), record, 3, &Reason { code: 422, data: "no".into() }, 1_000)
    }

    fn letter(record: Record) -> Letter {
        let Entry::Letter(letter) = Entry::read(record) else { panic!("no letter") };
        *letter
    }

    fn original() -> Record {
        let mut record = testing::record("orders", 2, 9);
        record.key = Some(Bytes::from_static(b"\xff"));
        record.timestamp_ms = Some(500);
        record.headers = vec![("twice".into(), None), ("twice".into(), Some("2".into()))];
        record
    }

    #[test]
    fn an_order_gives_the_record_back_as_it_was_and_counts() {
        let written = letter(stored(given_up(&original()), 40));
        assert_eq!((written.source.as_str(), written.code, &written.data), ("s", 422, &Bytes::from_static(b"no")));
        assert_eq!((&written.original, written.loops, written.offset), (&original(), 0, 40));
        let ordered = stored(written.order(), 41);
        assert!(Entry::is_order(&ordered));
        let Entry::Order(order) = Entry::read(ordered) else { panic!("no order") };
        assert_eq!((order.letter_offset, order.source.as_str()), (40, "s"));
        assert_eq!((&order.record.partition, order.record.offset), (&Partition::new("orders", 2), 9));
        let again = letter(stored(given_up(&order.record), 42));
        assert_eq!((again.loops, again.original.offset), (1, 9));
        let Entry::Order(order) = Entry::read(stored(again.order(), 43)) else { panic!("no order") };
        let count = |record: &Record| record.headers.iter().filter(|(name, _)| name == LOOPS).count();
        assert_eq!((letter(stored(given_up(&order.record), 44)).loops, count(&order.record)), (2, 1));
    }

    #[test]
    fn a_letter_of_a_letter_is_the_last_one() {
        let inner = stored(given_up(&original()), 7);
        let outer = letter(stored(given_up(&inner), 8));
        assert_eq!((&*outer.original.partition.topic, outer.original.offset), ("dead", 7));
        assert_eq!(outer.original.headers, inner.headers);
        // A record may claim to be an order as long as it likes: only the bridge's own block counts.
        let mut liar = original();
        liar.headers.push((ORDER_OF.into(), Some("1".into())));
        assert!(!Entry::is_order(&stored(given_up(&liar), 9)));
    }

    #[test]
    fn what_is_none_of_ours_is_foreign() {
        assert_eq!(Entry::read(original()), Entry::Foreign);
        let mut broken = stored(given_up(&original()), 1);
        broken.headers.retain(|(name, _)| name != "tilloffset");
        assert_eq!(Entry::read(broken), Entry::Foreign);
    }
}
