//! What passes through the log's port: records, positions, happenings, alarms and errors. Plain data without behaviour.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
pub use event::kafka::Header;

/// One ordered part of a topic. Its text is `topic/number`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    pub topic: Arc<str>,
    pub number: i32,
}

impl Partition {
    pub fn new(topic: impl Into<Arc<str>>, number: i32) -> Self {
        Partition { topic: topic.into(), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.topic, self.number)
    }
}

/// A record as it was read. Its bytes are copied once and shared from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub partition: Partition,
    pub offset: i64,
    /// Milliseconds since 1970; `None` when the log keeps none.
    pub timestamp_ms: Option<i64>,
    pub key: Option<Bytes>,
    pub headers: Vec<Header>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    pub topic: String,
    /// `None`: murmur2 of the key as Java's default partitioner does; without a key, any partition.
    pub partition: Option<i32>,
    pub key: Option<Bytes>,
    pub headers: Vec<Header>,
    pub value: Option<Bytes>,
    /// `None`: the moment of writing.
    pub timestamp_ms: Option<i64>,
}

impl NewRecord {
    /// Bytes of its key, headers and value.
    pub fn size(&self) -> usize {
        size(&self.key, &self.headers, &self.value)
    }
}

impl Record {
    /// Bytes of its key, headers and value.
    pub fn size(&self) -> usize {
        size(&self.key, &self.headers, &self.value)
    }
}

fn size(key: &Option<Bytes>, headers: &[Header], value: &Option<Bytes>) -> usize {
    let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    let headers: usize = headers.iter().map(|(name, value)| name.len() + length(value)).sum();
    length(key) + headers + length(value)
}

/// How far a group has come in a partition, with the text that is to be kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub partition: Partition,
    /// The next offset to read.
    pub next: i64,
    /// At most 4,000 bytes pass everywhere; empty is none.
    pub metadata: String,
}

/// Where reading of an assigned partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub partition: Partition,
    /// The offset of the first record that may come.
    pub next: i64,
    /// What the last commit kept; `None` when nothing was ever committed, or nothing beside the offset.
    pub metadata: Option<String>,
}

/// What a feed tells. Records of one partition come in offset order, gaps (markers, compaction) included.
#[derive(Debug)]
pub enum Happening {
    /// These partitions are ours from now on; records of them follow.
    Assigned(Vec<Position>),
    /// These partitions are lost. No record of them follows; those not yet handed out have been forgotten.
    Revoked(Revoked),
    /// One record.
    Record(Record),
    /// The partition has been read to its end for now: everything before `next` was handed out, markers are skipped. When
    /// all of its records are settled, `next` is what an idle partition commits.
    End { partition: Partition, next: i64 },
    /// Something that a person must know.
    Alarm(Alarm),
}

/// Partitions that go to another member, or back at the close.
#[derive(Debug)]
pub struct Revoked {
    pub partitions: Vec<Partition>,
    /// They are another's already (time-out): nothing of them can be committed.
    pub lost: bool,
    /// Drop it when what is settled has been committed: the log waits for that, at most [`Group::revoke_timeout`].
    pub release: Release,
}

/// Held while a revoked partition is drained; dropping it lets the rebalance go on.
#[derive(Debug)]
pub struct Release {
    _held: mpsc::Sender<()>,
}

impl Release {
    /// The handle, and the receiver that is disconnected when it is dropped.
    pub(super) fn new() -> (Release, mpsc::Receiver<()>) {
        let (held, released) = mpsc::channel();
        (Release { _held: held }, released)
    }
}

/// Something is wrong that does not heal by reading on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// The committed offset is not in the log any more (or not yet): the partition is stopped, never reset. It is among the
    /// assigned ones of a cluster, which finds out later, and not of the embedded log; no record of it comes.
    #[error("{partition}: the offset {next} is outside of the log ({start} to {end}); the partition is stopped")]
    OutOfRange { partition: Partition, next: i64, start: i64, end: i64 },
    /// The log is away; its client keeps trying. Followed by [`Alarm::Cleared`].
    #[error("the log is away: {0}")]
    Unavailable(String),
    /// The log is back.
    #[error("the log is back")]
    Cleared,
    /// A topic of the group does not exist yet, or may not be read; it is looked for again. Followed by an assignment of it, or by
    /// [`Alarm::Found`].
    #[error("topic {topic}: {reason}")]
    Topic { topic: String, reason: String },
    /// The topic is there, and its partitions are others'.
    #[error("topic {topic} is there now")]
    Found { topic: String },
    /// The feed is over: another process took our place or the client died. `next()` answers `None` afterwards.
    #[error("the feed has ended: {0}")]
    Fatal(String),
}

/// Where a group begins in a partition that it never committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    Earliest,
    /// The end at the first assignment, committed then; partitions that appear later are read from their beginning.
    Latest,
    /// The first record at or after this instant, in milliseconds since 1970.
    At(i64),
}

/// Whether a cluster is written to in transactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transactions {
    /// Where the cluster gives them; where it refuses them for good, records and offsets are written one after the other, at
    /// least once, and that is said.
    #[default]
    Auto,
    /// A cluster that refuses them is not written to.
    Required,
    /// Never.
    Never,
}

/// Who reads what.
#[derive(Debug, Clone)]
pub struct Group {
    /// The source's name, for logs and client ids.
    pub source: String,
    pub group: String,
    pub topics: Vec<String>,
    /// This process's name, the same after a restart: with the source's, the static member's id, and with the group's, the
    /// transactional id.
    pub replica: String,
    pub initial: Initial,
    /// Topics that begin at their end, committed then, whatever `initial` says.
    pub from_end: BTreeSet<String>,
    /// Bounds of what waits in the feed to be taken.
    pub waiting_max: usize,
    pub waiting_bytes_max: usize,
    /// How long a rebalance waits for [`Revoked::release`].
    pub revoke_timeout: Duration,
}

impl Group {
    /// A group with the default bounds: 1,000 records or 1 MiB waiting, 20 s to drain.
    pub fn new(source: &str, group: &str, topics: &[&str], replica: &str, initial: Initial) -> Self {
        Group {
            source: source.to_owned(),
            group: group.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            replica: replica.to_owned(),
            initial,
            from_end: BTreeSet::new(),
            waiting_max: 1_000,
            waiting_bytes_max: 1 << 20,
            revoke_timeout: Duration::from_secs(20),
        }
    }
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    pub partitions: i32,
    /// Ignored by the embedded log.
    pub replication: i32,
    /// `None`: the log's default (7 days).
    pub retention: Option<Duration>,
}

/// The offsets that a partition holds: `start` is its first, `end` the next to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: i64,
    pub end: i64,
}

/// What a user may do with a topic or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    Read,
    Write,
}

impl fmt::Display for Right {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Right::Read => "read",
            Right::Write => "write",
        })
    }
}

/// What our user may do, by topic and by group. What the log does not tell is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    pub topics: BTreeMap<String, BTreeSet<Right>>,
    pub groups: BTreeMap<String, BTreeSet<Right>>,
}

/// That there are no transactions for somebody, by the name under which they would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTransactions {
    pub id: String,
    pub reason: String,
}

/// What is to be looked at: a partition from an offset on, for at most so long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    pub partition: Partition,
    pub from: i64,
    pub limit: Duration,
}

/// How far a look into a partition came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned<T> {
    pub gathered: T,
    /// The offset to go on from.
    pub next: i64,
    /// The partition had no more records.
    pub ended: bool,
}

/// Why the log did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The record at `index` of the call will never be taken. Nothing of the call was written.
    #[error("record {index} for topic {topic} will not be taken: {reason}")]
    Record { index: usize, topic: String, fault: Fault, reason: String },
    /// Where there are no transactions: these records will never be taken, and all others of the call are written. Of its offsets
    /// none is committed.
    #[error("{} records will not be taken, and the others of the call are written: {}", .0.len(), reasons(.0))]
    Partly(Vec<Refused>),
    /// The metadata of a commit is longer than the log takes. Nothing of the call was written.
    #[error("the offset's metadata is too long for the log: {0}")]
    Metadata(String),
    /// A partition of the commits has been revoked: forget it, and settle the rest. Nothing of the call was written.
    #[error("the partition {0} is not ours any more")]
    NotOurs(Partition),
    /// Another process has taken our place. Nothing of the call was written.
    #[error("another member has taken over: {0}")]
    Fenced(String),
    /// Not now: the log is away or slow. Nothing of the call was written, or (a time-out) it is not known; try again.
    #[error("the log is away: {0}")]
    Unavailable(String),
    /// The feed was closed.
    #[error("the feed is closed")]
    Closed,
    /// The log cannot be opened like this; it needs a person.
    #[error("{0}")]
    Config(String),
}

/// A record of a call that will never be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub index: usize,
    pub topic: String,
    pub fault: Fault,
    pub reason: String,
}

impl From<Refused> for Error {
    fn from(Refused { index, topic, fault, reason }: Refused) -> Self {
        Error::Record { index, topic, fault, reason }
    }
}

/// The first tells enough.
fn reasons(refused: &[Refused]) -> String {
    refused.first().map_or_else(String::new, |one| format!("topic {}: {}", one.topic, one.reason))
}

/// What is wrong with a record that will never be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    TooLarge,
    UnknownTopic,
    UnknownPartition,
    /// The credentials may not write there.
    Forbidden,
    /// The broker calls it invalid.
    Invalid,
}
