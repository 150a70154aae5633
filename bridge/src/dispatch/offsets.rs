//! How far a partition is settled. Offsets come in as they are read and as they are settled, and the safe offset comes out,
//! with what must be known beyond it.

use std::collections::BTreeSet;

use super::metadata::{self, Beyond};

/// The book of one partition.
#[derive(Debug)]
pub struct Offsets {
    /// Everything below was read, or does not exist.
    position: i64,
    /// Read and not settled.
    open: BTreeSet<i64>,
    /// What an earlier process settled at and above `position`, as (first, end).
    settled_ahead: Vec<(i64, i64)>,
    /// Attempts that an earlier process counted at and above `position`.
    attempts_ahead: Vec<(i64, u32)>,
    /// Nothing was delivered and settled from here on.
    done_to: i64,
    dirty: bool,
}

/// What a record is when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// To be delivered; it failed so often before.
    New { attempts: u32 },
    /// Settled by an earlier process, or read before.
    Known,
}

impl Offsets {
    /// A partition that is read from `next` on, with the metadata of the last commit.
    pub fn new(next: i64, metadata: Option<&str>) -> Self {
        let Beyond { settled, attempts } = metadata::decode(next, metadata.unwrap_or_default());
        Offsets {
            position: next,
            open: BTreeSet::new(),
            done_to: settled.last().map_or(next, |(_, end)| *end),
            settled_ahead: settled,
            attempts_ahead: attempts,
            dirty: false,
        }
    }

    /// A record was read. Offsets that were passed over (markers, compaction) count as settled.
    pub fn admit(&mut self, offset: i64) -> Admission {
        if offset < self.position {
            return Admission::Known;
        }
        let settled = self.settled_ahead.iter().any(|&(first, end)| first <= offset && offset < end);
        let attempts = self.attempts_ahead.iter().find(|(at, _)| *at == offset).map_or(0, |(_, attempts)| *attempts);
        if !settled {
            self.open.insert(offset);
        }
        self.advance(offset + 1);
        if settled { Admission::Known } else { Admission::New { attempts } }
    }

    /// The partition has nothing below `next` that was not handed out.
    pub fn advance(&mut self, next: i64) {
        if next <= self.position {
            return;
        }
        self.position = next;
        self.dirty = true;
        self.settled_ahead.retain_mut(|(first, end)| {
            *first = (*first).max(next);
            first < end
        });
        self.attempts_ahead.retain(|(offset, _)| *offset >= next);
    }

    /// A record is settled. Answers whether it was open.
    pub fn settle(&mut self, offset: i64) -> bool {
        let was_open = self.settle_committed(offset);
        self.dirty |= was_open;
        was_open
    }

    /// A record is settled that the last commit counted already.
    pub fn settle_committed(&mut self, offset: i64) -> bool {
        let was_open = self.open.remove(&offset);
        if was_open {
            self.done_to = self.done_to.max(offset + 1);
        }
        was_open
    }

    /// The next offset that may be committed: everything below is settled.
    pub fn safe(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.position)
    }

    /// How far apart offsets are of which the metadata tells.
    pub fn span(&self) -> u64 {
        self.position.max(self.done_to).abs_diff(self.safe())
    }

    /// Whether a commit would say something new.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Something that the metadata tells has changed, or a commit has failed.
    pub fn touch(&mut self) {
        self.dirty = true;
    }

    /// A commit with everything that is true now has begun.
    pub fn clean(&mut self) {
        self.dirty = false;
    }

    /// The safe offset and what is beyond it, as if the offsets of `also` were settled; `attempts` are those of open records.
    pub fn outlook(&self, also: &BTreeSet<i64>, attempts: impl Fn(i64) -> u32) -> (i64, Beyond) {
        let mut open = self.open.iter().copied().filter(|offset| !also.contains(offset));
        let mut beyond = Beyond::default();
        let Some(safe) = open.next() else {
            let safe = self.position;
            return self.with_ahead(safe, beyond);
        };
        let mut end_of_open = safe;
        for offset in std::iter::once(safe).chain(open) {
            if offset > end_of_open {
                beyond.settled.push((end_of_open, offset));
            }
            end_of_open = offset + 1;
            let tried = attempts(offset);
            if tried > 0 {
                beyond.attempts.push((offset, tried));
            }
        }
        if end_of_open < self.position {
            beyond.settled.push((end_of_open, self.position));
        }
        self.with_ahead(safe, beyond)
    }

    /// As [`Offsets::outlook`], without what nobody has to know: gaps, and records that the source does not want, after the last
    /// record that was delivered and settled.
    pub fn outlook_trimmed(&self, also: &BTreeSet<i64>, attempts: impl Fn(i64) -> u32) -> (i64, Beyond) {
        let (safe, mut beyond) = self.outlook(also, attempts);
        let done_to = also.last().map_or(self.done_to, |last| self.done_to.max(last + 1));
        beyond.settled.retain_mut(|(first, end)| {
            *end = (*end).min(done_to);
            first < end
        });
        (safe, beyond)
    }

    fn with_ahead(&self, mut safe: i64, mut beyond: Beyond) -> (i64, Beyond) {
        for &(first, end) in &self.settled_ahead {
            match beyond.settled.last_mut() {
                Some(last) if last.1 == first => last.1 = end,
                _ if first == safe => safe = end,
                _ => beyond.settled.push((first, end)),
            }
        }
        beyond.attempts.extend(self.attempts_ahead.iter().filter(|(offset, _)| *offset >= safe));
        (safe, beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(offsets: &Offsets) -> (i64, Beyond) {
        offsets.outlook(&BTreeSet::new(), |_| 0)
    }

    #[test]
    fn the_safe_offset_is_the_lowest_open_one() {
        let mut offsets = Offsets::new(10, None);
        for offset in [10, 11, 12] {
            assert_eq!(offsets.admit(offset), Admission::New { attempts: 0 });
        }
        offsets.settle(11);
        assert_eq!(offsets.safe(), 10);
        offsets.settle(10);
        assert_eq!(offsets.safe(), 12);
        offsets.settle(12);
        assert_eq!(offsets.safe(), 13);
    }

    // promise: BRIDGE: offset gaps (markers, compaction) count as settled
    #[test]
    fn gaps_count_as_settled() {
        let mut offsets = Offsets::new(0, None);
        offsets.admit(5);
        assert_eq!(offsets.safe(), 5);
        offsets.settle(5);
        offsets.advance(9);
        assert_eq!(offsets.safe(), 9);
    }

    #[test]
    fn what_nobody_has_to_know_is_not_told() {
        let mut offsets = Offsets::new(0, None);
        for offset in [0, 2, 5] {
            offsets.admit(offset);
        }
        offsets.advance(900);
        let told = |offsets: &Offsets| offsets.outlook_trimmed(&BTreeSet::new(), |_| 0).1.settled;
        assert_eq!(told(&offsets), []);
        offsets.settle(2);
        assert_eq!(told(&offsets), [(1, 3)]);
    }

    // promise: BRIDGE: attempt counts, and which records beyond the safe offset are settled, survive a restart in the commit's metadata
    #[test]
    fn done_stays_done_after_a_restart() {
        let mut before = Offsets::new(0, None);
        for offset in 0..6 {
            before.admit(offset);
        }
        for offset in [1, 2, 4] {
            before.settle(offset);
        }
        let (safe, beyond) = before.outlook(&BTreeSet::new(), |offset| u32::from(offset == 3) * 7);
        let text = metadata::encode(safe, &beyond, metadata::BYTES_MAX);

        let mut after = Offsets::new(safe, Some(&text));
        let seen: Vec<Admission> = (0..6).map(|offset| after.admit(offset)).collect();
        let fresh = Admission::New { attempts: 0 };
        let tried = Admission::New { attempts: 7 };
        assert_eq!(seen, [fresh, Admission::Known, Admission::Known, tried, Admission::Known, fresh]);
    }

    #[test]
    fn what_an_earlier_process_settled_is_told_again_until_it_is_passed() {
        let text = metadata::encode(0, &Beyond { settled: vec![(3, 5)], attempts: vec![(6, 2)] }, metadata::BYTES_MAX);
        let mut offsets = Offsets::new(0, Some(&text));
        offsets.admit(0);
        assert_eq!(outlook(&offsets), (0, Beyond { settled: vec![(3, 5)], attempts: vec![(6, 2)] }));
        for offset in 1..4 {
            offsets.admit(offset);
        }
        assert_eq!(outlook(&offsets).1.settled, vec![(3, 5)]);
        for offset in 0..3 {
            offsets.settle(offset);
        }
        assert_eq!(outlook(&offsets), (5, Beyond { settled: vec![], attempts: vec![(6, 2)] }));
    }

    #[test]
    fn records_about_to_be_settled_can_be_counted_in_advance() {
        let mut offsets = Offsets::new(0, None);
        for offset in 0..3 {
            offsets.admit(offset);
        }
        assert_eq!(offsets.outlook(&BTreeSet::from([0, 1]), |_| 0).0, 2);
        assert_eq!(offsets.safe(), 0);
    }
}
