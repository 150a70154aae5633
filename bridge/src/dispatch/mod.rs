//! The dispatch machine of one source: what happens comes in, what is to be done comes out. It knows neither network nor
//! clock nor chance: the time comes with every step and the seed at the beginning, so that a simulator can play it.
//!
//! ```text
//!            ┌────────── waking: not counted ─────────┐
//!            ▼                                        │
//! Record ─▶ waiting ─▶ in flight ─▶ answered ─▶ settled, or first written: its reply, its dead letter
//!            ▲                          │
//!            └── failed: after a delay ─┘
//! ```
//!
//! Rooms: `lanes` (order), `offsets` and `metadata` (what may be committed), `retry` (delays), `gate` (waking and pausing),
//! `machine` (the rules that tie them together).

mod forward;
mod gate;
mod lanes;
mod machine;
mod metadata;
mod offsets;
mod partition;
mod retry;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;

pub use gate::Look;
pub use machine::Machine;
pub use metadata::BYTES_MAX as METADATA_BYTES_MAX;
pub use retry::{Backoff, Retry};

/// Milliseconds of a clock that need not be the wall's.
pub type Millis = u64;

/// A partition, as the edge numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// One record's duty to reach the sink. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub u64);

/// Which records wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// Records of one key, one at a time; a record without key is its own lane.
    Key,
    /// One in flight per partition.
    Partition,
    /// Free.
    None,
}

impl Ordering {
    /// The hash by which a record of a partition finds its lane; `key` is its key's hash.
    fn lane(self, key: Option<u64>, offset: i64) -> u64 {
        match (self, key) {
            (Ordering::Partition, _) => 0,
            (Ordering::Key, Some(key)) => key,
            // Spread over the range, since small numbers are likely hashes of nobody's key but not impossible ones.
            (Ordering::Key, None) | (Ordering::None, _) => (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }
}

/// What happens to a record that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    DeadLetter,
    /// Its lane waits for a person.
    Stop,
    Drop,
}

/// What a 401 or 403 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnauthorized {
    /// As any refusal.
    Refuse,
    /// The source waits, with one probe at a time.
    Pause,
}

/// A source's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub ordering: Ordering,
    pub in_flight_max: usize,
    /// Records and bytes in memory, all partitions together.
    pub records_max: usize,
    pub bytes_max: usize,
    pub retry: Retry,
    pub on_exhausted: OnExhausted,
    pub on_unauthorized: OnUnauthorized,
    pub wake_budget: Millis,
    pub metadata_bytes_max: usize,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Settled, with nothing to write.
    Settled,
    /// Settled when its reply is written, which the edge holds.
    Reply,
    /// The input is wrong.
    Refused,
    /// The sink does not accept our token.
    Unauthorized,
    /// The world is wrong. `answered` says whether there was a response at all.
    Failed { answered: bool, retry_after: Option<Millis> },
    /// Nobody was there who could have answered: the sink is waking, if it was idle, and failed otherwise.
    Silent,
    /// The sink has done its part, and its reply can never be written.
    Unwritable(String),
}

/// A record that was read.
#[derive(Debug)]
pub struct Fresh<R> {
    /// Where it was read, and what is committed.
    pub slot: Slot,
    /// Whose lanes it takes: those of its own partition, or, ordered again, of the one that it was in at first, ours or not.
    pub home: Slot,
    pub offset: i64,
    /// The hash of its key.
    pub key: Option<u64>,
    pub bytes: usize,
    /// Its sender waits for an answer.
    pub awaited: bool,
    pub record: R,
}

/// What happens.
#[derive(Debug)]
pub enum Input<R> {
    /// A partition is ours, and read from `next` on.
    Assigned {
        slot: Slot,
        next: i64,
        metadata: Option<String>,
    },
    Record(Fresh<R>),
    /// A record that the source does not want.
    Skipped {
        slot: Slot,
        offset: i64,
    },
    /// Nothing below `next` is still to come.
    End {
        slot: Slot,
        next: i64,
    },
    Answered {
        id: DeliveryId,
        verdict: Verdict,
    },
    /// What had to be written is in the log, in one commit with what [`Machine::commits`] told.
    Written(Vec<DeliveryId>),
    /// What had to be written was taken by somebody else than the log.
    Taken(DeliveryId),
    /// What had to be written will never be.
    NotWritable {
        id: DeliveryId,
        reason: String,
    },
    /// What [`Machine::commits`] told is not in the log.
    NotCommitted(Vec<Slot>),
    /// The log takes no longer metadata than this.
    MetadataMax(usize),
    /// Nothing of these partitions is sent any more; what is under way may end.
    Leaving(Vec<Slot>),
    /// These partitions are gone.
    Gone(Vec<Slot>),
    /// A person wants the stopped lanes to go on.
    Retry,
    /// Nothing is sent any more at all.
    Drain,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<R> {
    /// `attempt` counts from 1.
    Send {
        id: DeliveryId,
        record: R,
        attempt: u32,
    },
    /// Its partition is gone.
    Cancel {
        id: DeliveryId,
    },
    /// The record was given up: its dead letter has to be written, or the answer that its sender awaits.
    DeadLetter {
        id: DeliveryId,
        record: R,
        attempts: u32,
    },
    /// The record was given up and nobody wants it.
    Dropped {
        id: DeliveryId,
        record: R,
        attempts: u32,
    },
    Pause(Slot),
    Resume(Slot),
}

/// What may be committed of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    pub slot: Slot,
    pub next: i64,
    pub metadata: String,
}
