//! One partition of the log with what survives a crash, and the book of what became of each of its records.

use super::super::*;

/// A record as the machine hands it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub slot: Slot,
    /// Whose lanes it takes: it is a guest where this is another partition.
    pub home: Slot,
    /// Its place on the shelf: offsets have gaps.
    pub index: usize,
    pub offset: i64,
    pub key: Option<u64>,
    pub bytes: usize,
    /// Its sender waits for an answer.
    pub awaited: bool,
    pub wanted: bool,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fate {
    /// As far as sink and log know.
    pub settled: bool,
    /// A commit in the log tells that it is.
    pub durable: bool,
    /// Attempts that were counted, as the machine should know.
    pub attempts: u32,
    /// Attempts that a commit in the log tells.
    pub told: u32,
    /// The sink asked for time until then.
    pub not_before: Millis,
    /// How often a person let it try once more after it was stopped.
    pub let_go: u32,
}

pub struct Shelf {
    pub records: Vec<Sample>,
    pub fates: Vec<Fate>,
    pub end: i64,
    pub committed: (i64, String),
    /// `None` while the partition is not ours.
    pub reader: Option<Reader>,
    /// Every wanted record before is settled.
    settled_to: usize,
    /// The last commit was beyond every record before.
    committed_to: usize,
    /// No record from here on was ever read.
    known_to: usize,
}

#[derive(Debug)]
pub struct Reader {
    /// The index of the next record.
    pub at: usize,
    pub paused: bool,
    /// Records that still come before the log hears of a pause.
    pub late: usize,
    pub leaving: bool,
}

impl Shelf {
    /// One of `slots` partitions. Some hold records that belong into the lanes of others.
    pub fn new(slot: Slot, slots: u32, chance: &mut fastrand::Rng) -> Self {
        let guests = [0, 0, 3, 9][chance.usize(..4)];
        let (mut records, mut end) = (Vec::new(), chance.i64(0..3) * chance.i64(0..1 << 40));
        let start = end;
        let gaps = chance.u8(..10);
        for index in 0..chance.usize(0..500) {
            end += if chance.u8(..10) < gaps { chance.i64(1..6) } else { 0 };
            let key = (chance.u8(..5) > 0).then(|| chance.u64(..12));
            let (bytes, awaited, wanted) = (chance.usize(..100), chance.u8(..5) == 0, chance.u8(..6) > 0);
            let home = if chance.u8(..10) < guests { Slot(chance.u32(..slots)) } else { slot };
            records.push(Sample { slot, home, index, offset: end, key, bytes, awaited, wanted });
            end += 1;
        }
        Shelf {
            fates: vec![Fate::default(); records.len()],
            records,
            end: end + chance.i64(0..3),
            committed: (start, String::new()),
            reader: None,
            settled_to: 0,
            committed_to: 0,
            known_to: 0,
        }
    }

    /// A reader begins where the last commit says.
    pub fn open(&mut self, retries_max: Option<u32>) {
        let at = self.records.partition_point(|record| record.offset < self.committed.0);
        self.reader = Some(Reader { at, paused: false, late: 0, leaving: false });
        for fate in &mut self.fates[at..] {
            fate.attempts = fate.told.min(retries_max.unwrap_or(u32::MAX));
        }
    }

    /// The reader is gone. What was settled and not committed is delivered again, as promised: at least once.
    pub fn close(&mut self) {
        self.reader = None;
        for fate in &mut self.fates[self.committed_to..] {
            (fate.settled, fate.not_before, fate.let_go) = (fate.durable, 0, 0);
        }
        self.settled_to = self.settled_to.min(self.committed_to);
    }

    pub fn is_leaving(&self) -> bool {
        self.reader.as_ref().is_none_or(|reader| reader.leaving)
    }

    /// The next record, if the reader takes one.
    pub fn read(&mut self) -> Option<Sample> {
        let reader = self.reader.as_mut()?;
        let record = *self.records.get(reader.at)?;
        reader.at += 1;
        self.known_to = self.known_to.max(reader.at);
        reader.late = reader.late.saturating_sub(usize::from(reader.paused));
        Some(record)
    }

    pub fn settle(&mut self, record: Sample) {
        let fate = &mut self.fates[record.index];
        assert!(!fate.settled, "{record:?} is settled twice");
        fate.settled = true;
    }

    pub fn is_settled(&self, record: Sample) -> bool {
        !record.wanted || self.fates[record.index].settled
    }

    /// Records that a commit may say something about: from the last commit on, as far as anybody ever read.
    pub fn window(&self) -> &[Sample] {
        &self.records[self.committed_to..self.known_to]
    }

    /// What a commit should tell of a record: what was counted since it was read, or what was told before.
    pub fn attempts(&self, record: Sample) -> u32 {
        let fate = self.fates[record.index];
        if self.is_read(record) { fate.attempts } else { fate.told }
    }

    pub fn is_read(&self, record: Sample) -> bool {
        self.reader.as_ref().is_some_and(|reader| record.index < reader.at)
    }

    /// There is nothing to commit: so a commit tells whatever there is.
    pub fn assert_all_told(&self) {
        for record in self.window().iter().filter(|record| record.wanted && self.is_read(**record)) {
            let fate = self.fates[record.index];
            assert_eq!(fate.durable, fate.settled, "{record:?}: what a commit tells");
            assert!(
                fate.settled || fate.told == fate.attempts,
                "{record:?}: no commit tells {} attempts",
                fate.attempts
            );
        }
    }

    /// A commit is in the log.
    pub fn commit(&mut self, next: i64, text: String) {
        let beyond = metadata::decode(next, &text);
        for record in &self.records[self.committed_to..self.known_to] {
            let fate = &mut self.fates[record.index];
            fate.durable = record.offset < next || beyond.tells(record.offset);
            fate.told = beyond.attempts_of(record.offset);
        }
        self.committed_to += self.records[self.committed_to..].iter().take_while(|record| record.offset < next).count();
        self.committed = (next, text);
    }

    pub fn assert_settled_below(&mut self, next: i64) {
        while let Some(record) = self.records.get(self.settled_to).filter(|record| record.offset < next) {
            assert!(self.is_settled(*record), "the safe offset {next} has passed {record:?}");
            self.settled_to += 1;
        }
    }

    /// Earlier records of the same lane, as far back as they may be unsettled.
    pub fn lane_before(&self, record: Sample, ordering: Ordering) -> impl Iterator<Item = &Sample> {
        let earlier = &self.records[self.settled_to.min(record.index)..record.index];
        earlier.iter().filter(move |other| lane(**other, ordering) == lane(record, ordering))
    }
}

/// Which records must not overtake each other.
pub fn lane(record: Sample, ordering: Ordering) -> (Slot, Option<u64>, Option<i64>) {
    match ordering {
        Ordering::Partition => (record.home, None, None),
        Ordering::Key if record.key.is_some() => (record.home, record.key, None),
        Ordering::Key | Ordering::None => (record.home, None, Some(record.offset)),
    }
}

impl metadata::Beyond {
    pub fn tells(&self, offset: i64) -> bool {
        self.settled.iter().any(|&(first, end)| first <= offset && offset < end)
    }

    pub fn attempts_of(&self, offset: i64) -> u32 {
        self.attempts.iter().find(|(at, _)| *at == offset).map_or(0, |(_, attempts)| *attempts)
    }
}
