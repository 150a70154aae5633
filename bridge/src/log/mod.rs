//! The log: the bridge's one port to where records live. Records, positions and alarms come out of a [`Feed`]; replies,
//! dead letters and offsets go in through its [`Control`], all or none.
//!
//! Two implementers stand behind it: `kafka` (a cluster, by librdkafka) and `embedded` (one SQLite file, one process).
//! A feed may be read from a `current_thread` runtime: whatever blocks runs on threads of the implementer's own.

mod embedded;
mod kafka;
mod murmur2;
mod queue;
mod types;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub use queue::Feed;
pub use types::*;

/// Whether a property of Kafka's client may be passed through with this value.
pub(crate) fn check_property(name: &str, value: &str) -> Result<(), String> {
    kafka::check_property(name, value)
}

/// Whether clients of Kafka can be made with these properties. Nobody is called.
pub(crate) fn check_properties(properties: &BTreeMap<String, String>) -> Result<(), String> {
    kafka::check_properties(properties)
}

/// An opened log. Clones are handles of the same one.
#[derive(Clone)]
pub struct Log(Opened);

#[derive(Clone)]
enum Opened {
    Kafka(Arc<kafka::Cluster>),
    Embedded(Arc<embedded::Store>),
}

/// What a feed's owner may do to the log. Clones are handles of the same member.
#[derive(Clone)]
pub struct Control(Member);

#[derive(Clone)]
enum Member {
    Kafka(Arc<kafka::Member>),
    Embedded(Arc<embedded::Member>),
}

impl Log {
    /// A Kafka cluster, by librdkafka's properties (`bootstrap.servers` at least). `replica` is this process's name, the same
    /// after a restart. Returns at once: a cluster that is away is waited for.
    pub fn kafka(properties: BTreeMap<String, String>, replica: &str) -> Result<Log, Error> {
        Log::kafka_with(properties, replica, Transactions::Auto)
    }

    /// As [`Log::kafka`], where it is said whether there are to be transactions.
    pub fn kafka_with(
        properties: BTreeMap<String, String>,
        replica: &str,
        transactions: Transactions,
    ) -> Result<Log, Error> {
        Ok(Log(Opened::Kafka(kafka::Cluster::open(properties, replica, transactions)?)))
    }

    /// The log in the SQLite file at `path`, which is created when it is missing and locked for this process.
    pub fn embedded(path: &Path) -> Result<Log, Error> {
        Ok(Log(Opened::Embedded(embedded::Store::open(path)?)))
    }

    /// Joins a group. The feed begins with [`Happening::Assigned`] as soon as the log is there.
    pub fn join(&self, group: Group) -> Result<(Feed, Control), Error> {
        match &self.0 {
            Opened::Kafka(cluster) => {
                let (feed, member) = cluster.join(group)?;
                Ok((feed, Control(Member::Kafka(member))))
            }
            Opened::Embedded(store) => {
                let (feed, member) = store.join(group)?;
                Ok((feed, Control(Member::Embedded(member))))
            }
        }
    }

    /// Writes records, all or none, and answers when the log has them for good.
    pub async fn append(&self, records: Vec<NewRecord>) -> Result<(), Error> {
        match &self.0 {
            Opened::Kafka(cluster) => cluster.append(records).await,
            Opened::Embedded(store) => store.append(records).await,
        }
    }

    /// Creates the topics that are missing and answers their names. Those that exist are left as they are.
    pub async fn create_topics(&self, topics: Vec<NewTopic>) -> Result<Vec<String>, Error> {
        match &self.0 {
            Opened::Kafka(cluster) => cluster.create_topics(topics).await,
            Opened::Embedded(store) => store.create_topics(topics).await,
        }
    }

    /// Every topic with its number of partitions.
    pub async fn topics(&self) -> Result<BTreeMap<String, i32>, Error> {
        match &self.0 {
            Opened::Kafka(cluster) => cluster.topics().await,
            Opened::Embedded(store) => store.topics().await,
        }
    }

    /// What our user may do with these topics and groups, as far as the log tells; the embedded one has no users.
    pub async fn rights(&self, topics: Vec<String>, groups: Vec<String>) -> Result<Rights, Error> {
        match &self.0 {
            Opened::Kafka(cluster) => cluster.rights(topics, groups).await,
            Opened::Embedded(_) => Ok(Rights::default()),
        }
    }

    /// Whether a member of a group, or who appends (`None`), is refused transactions. A bridge that runs keeps its own.
    pub async fn no_transactions(&self, member: Option<&Group>) -> Result<Option<NoTransactions>, Error> {
        match &self.0 {
            Opened::Kafka(cluster) => cluster.no_transactions(member).await,
            Opened::Embedded(_) => Ok(None),
        }
    }

    /// The offsets that these partitions hold; unknown ones are left out.
    pub async fn spans(&self, partitions: Vec<Partition>) -> Result<BTreeMap<Partition, Span>, Error> {
        match &self.0 {
            Opened::Kafka(cluster) => cluster.spans(partitions).await,
            Opened::Embedded(store) => store.spans(partitions).await,
        }
    }

    /// What a group has committed in these partitions; those without a commit are left out.
    pub async fn committed(&self, group: &str, partitions: Vec<Partition>) -> Result<Vec<Commit>, Error> {
        match &self.0 {
            Opened::Kafka(cluster) => cluster.committed(group, partitions).await,
            Opened::Embedded(store) => store.committed(group, partitions).await,
        }
    }

    /// At most `limit` records of a partition from offset `from` on, outside of any group. Fewer means: its end.
    pub async fn read(&self, partition: Partition, from: i64, limit: usize) -> Result<Vec<Record>, Error> {
        match &self.0 {
            Opened::Kafka(cluster) => cluster.read(partition, from, limit).await,
            Opened::Embedded(store) => store.read(partition, from, limit).await,
        }
    }

    /// Hands the records of a stretch to `take`, outside of any group, until it answers `false`, the partition's end is reached or
    /// the time has passed. What `take` gathers stands in `gathered`.
    pub async fn scan<T: Send + 'static>(
        &self,
        stretch: Stretch,
        gathered: T,
        take: impl FnMut(&mut T, Record) -> bool + Send + 'static,
    ) -> Result<Scanned<T>, Error> {
        match &self.0 {
            Opened::Kafka(cluster) => cluster.scan(stretch, gathered, take).await,
            Opened::Embedded(store) => store.scan(stretch, gathered, take).await,
        }
    }
}

impl Control {
    /// Stops the flow of these partitions. Records that wait in the feed already still come.
    pub fn pause(&self, partitions: &[Partition]) {
        match &self.0 {
            Member::Kafka(member) => member.pause(partitions),
            Member::Embedded(member) => member.pause(partitions),
        }
    }

    /// Lets them flow on where they stopped.
    pub fn resume(&self, partitions: &[Partition]) {
        match &self.0 {
            Member::Kafka(member) => member.resume(partitions),
            Member::Embedded(member) => member.resume(partitions),
        }
    }

    /// Writes records and commits offsets, all of it or nothing. Make a call after the answer to the one before: a commit
    /// covers everything before its offset, also what an earlier call failed to write.
    ///
    /// After [`Error::Record`] nothing was written: the caller may settle the other records without that one. After
    /// [`Error::Partly`] they are written, and need only their offsets.
    pub async fn settle(&self, records: Vec<Arc<NewRecord>>, commits: Vec<Commit>) -> Result<(), Error> {
        match &self.0 {
            Member::Kafka(member) => member.settle(records, commits).await,
            Member::Embedded(member) => member.settle(records, commits).await,
        }
    }

    /// Whether [`Control::settle`] is all or nothing. Where it is not, everything in it is written at least once.
    pub fn is_transactional(&self) -> bool {
        match &self.0 {
            Member::Kafka(member) => member.is_transactional(),
            Member::Embedded(_) => true,
        }
    }

    /// Whether somebody reads the log for the feed. The embedded one has nobody to wait for.
    pub fn is_reading(&self) -> bool {
        match &self.0 {
            Member::Kafka(member) => member.is_reading(Instant::now()),
            Member::Embedded(_) => true,
        }
    }

    /// Asks to give the partitions back and to leave. The feed then tells [`Happening::Revoked`] and, after its release,
    /// ends: go on reading it until it answers `None`. Settle what is settled before the release.
    pub fn close(&self) {
        match &self.0 {
            Member::Kafka(member) => member.close(),
            Member::Embedded(member) => member.close(),
        }
    }
}
