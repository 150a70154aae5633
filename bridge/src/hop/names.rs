//! Names and numbers: the log's partitions and the machine's slots, and the topics that a reply may name.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::dispatch::{Commitment, Slot};
use crate::log::{Commit, Log, Partition};

const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The edge's names of partitions and the machine's numbers.
#[derive(Debug, Default)]
pub struct Partitions {
    slots: HashMap<Partition, Slot>,
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

/// The topics that exist, as far as was looked; shared by all sources.
#[derive(Clone, Default)]
pub struct Topics {
    pub found: Rc<RefCell<BTreeMap<String, i32>>>,
    looked_at: Rc<Cell<Option<Instant>>>,
}

impl Topics {
    /// Looks again, unless that was done just now: many bad replies must not become many questions.
    pub async fn look(&self, log: &Log) {
        if self.looked_at.get().is_some_and(|at| at.elapsed() < LOOK_AGAIN_AFTER) {
            return;
        }
        if let Ok(found) = log.topics().await {
            *self.found.borrow_mut() = found;
            self.looked_at.set(Some(Instant::now()));
        }
    }
}
