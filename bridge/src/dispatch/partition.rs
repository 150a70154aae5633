//! One assigned partition: its offsets, the attempts of its open records, and whether it may go on.

use std::collections::{BTreeMap, BTreeSet};

use super::offsets::Offsets;
use super::{Commitment, Slot, metadata};

/// How much longer the number of runs in the metadata can become, in bytes.
const RUNS_COUNT_GROWTH_MAX: usize = 2;

#[derive(Debug)]
pub struct Partition {
    pub offsets: Offsets,
    /// Attempts of open records, where there were any.
    pub attempts: BTreeMap<i64, u32>,
    pub in_flight: usize,
    pub writing: usize,
    /// Nothing new is sent.
    pub leaving: bool,
    pub paused: bool,
    /// The metadata's bytes when they were last measured, and what could have made them more since.
    measured: usize,
    changes: usize,
}

impl Partition {
    pub fn new(next: i64, metadata: Option<&str>) -> Self {
        Partition {
            offsets: Offsets::new(next, metadata),
            attempts: BTreeMap::new(),
            in_flight: 0,
            writing: 0,
            leaving: false,
            paused: false,
            measured: metadata.map_or(0, str::len),
            changes: 1,
        }
    }

    /// Something happened that can make the metadata longer.
    pub fn changed(&mut self) {
        self.changes += 1;
    }

    /// Whether the record at `offset` may be sent: what it could add to the metadata must fit. The record at the safe offset
    /// always may, since nothing else makes room.
    pub fn has_room(&mut self, offset: i64, bytes_max: usize) -> bool {
        let room = metadata::room(bytes_max);
        if self.offsets.safe() == offset || self.estimate() <= room {
            return true;
        }
        // Measuring costs as much as there are open records: once for all lanes that ask before something changes.
        if self.changes > 0 {
            self.measured = self.measure();
            self.changes = 0;
        }
        self.estimate() <= room
    }

    /// With what is under way, the record in question, and the one at the safe offset, which does not ask.
    fn estimate(&self) -> usize {
        let growths = self.changes + self.in_flight + self.writing + 2;
        self.measured + RUNS_COUNT_GROWTH_MAX + metadata::growth_max(self.offsets.span()) * growths
    }

    fn measure(&self) -> usize {
        let (safe, beyond) = self.offsets.outlook(&BTreeSet::new(), |offset| self.attempts_of(offset));
        metadata::bytes_len(safe, &beyond)
    }

    /// What may be committed, as if `also` were settled.
    pub fn commitment(&mut self, slot: Slot, also: &BTreeSet<i64>, bytes_max: usize) -> Commitment {
        self.offsets.clean();
        let (next, beyond) = self.offsets.outlook_trimmed(also, |offset| self.attempts_of(offset));
        Commitment { slot, next, metadata: metadata::encode(next, &beyond, bytes_max) }
    }

    fn attempts_of(&self, offset: i64) -> u32 {
        self.attempts.get(&offset).copied().unwrap_or(0)
    }

    /// Records that were sent and are not settled.
    pub fn under_way(&self) -> usize {
        self.in_flight + self.writing
    }
}
