//! Names and numbers: the log's partitions and the machine's slots.

use rustc_hash::FxHashMap;

use crate::dispatch::{Commitment, Slot};
use crate::log::{Commit, Partition};

/// The edge's names of partitions and the machine's numbers.
#[derive(Debug, Default)]
pub struct Partitions {
    slots: FxHashMap<Partition, Slot>,
    names: Vec<Partition>,
}

impl Partitions {
    pub fn slot(&mut self, partition: &Partition) -> Slot {
        if let Some(slot) = self.slots.get(partition) {
            return *slot;
        }
        let slot = Slot(self.names.len() as u32);
        self.slots.insert(partition.clone(), slot);
        self.names.push(partition.clone());
        slot
    }

    /// The number of a partition that was ours at some time.
    pub fn known(&self, partition: &Partition) -> Option<Slot> {
        self.slots.get(partition).copied()
    }

    pub fn get(&self, slot: Slot) -> &Partition {
        &self.names[slot.0 as usize]
    }
}

/// The machine's commitments in the log's words.
pub fn commits(partitions: &Partitions, commitments: &[Commitment]) -> Vec<Commit> {
    let commit = |commitment: &Commitment| Commit {
        partition: partitions.get(commitment.slot).clone(),
        next: commitment.next,
        metadata: commitment.metadata.clone(),
    };
    commitments.iter().map(commit).collect()
}
