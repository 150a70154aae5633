//! A Kafka cluster as the log, by librdkafka. Each source is a static member of its group with a thread that polls and one
//! that writes transactions; `append` has a transactional producer of its own.

mod admin;
mod arrivals;
mod client;
mod failure;
mod kept;
mod leaving;
mod missing;
mod plain;
mod positions;
mod probe;
mod producer;
mod raw;
mod reach;
mod reader;
mod rights;
mod transaction;
mod writer;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::Feed;
use super::queue::Queue;
use super::types::{
    Commit, Error, Group, NewRecord, NewTopic, NoTransactions, Partition, Position, Record, Rights, Scanned, Span,
    Stretch, Transactions,
};
use admin::Admin;
use client::{Client, Properties};
pub use client::{check_properties, check_property};
use kept::Kept;
use reach::Reach;
use transaction::Committer;
use writer::Writer;

/// How long a thread that reads may be busy with one thing: a question to the cluster may take ten seconds.
const SILENCE_MAX: Duration = Duration::from_secs(25);
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// A cluster and how to reach it.
pub(super) struct Cluster {
    properties: Properties,
    replica: String,
    transactions: Transactions,
    admin: Admin,
    /// Made by the first append.
    writer: OnceLock<Writer>,
}

/// A member of a group.
pub(super) struct Member {
    group: Group,
    consumer: Arc<BaseConsumer<Client>>,
    writer: Writer,
    queue: Arc<Queue>,
    owned: Arc<Mutex<Kept>>,
    flow: Mutex<Flow>,
    closing: AtomicBool,
    gone: AtomicBool,
    reach: Arc<Reach>,
    /// When the thread that reads went on last.
    beat: Mutex<Instant>,
}

/// What keeps partitions from flowing.
#[derive(Default)]
struct Flow {
    /// All of ours. Apart from `owned`, which may be locked for as long as a transaction takes.
    assigned: HashSet<Partition>,
    /// By the feed's owner.
    paused: HashSet<Partition>,
}

impl Cluster {
    pub(super) fn open(
        properties: BTreeMap<String, String>,
        replica: &str,
        transactions: Transactions,
    ) -> Result<Arc<Self>, Error> {
        let properties = Properties::new(properties)?;
        let (admin, replica) = (Admin::new(properties.clone()), replica.to_owned());
        Ok(Arc::new(Cluster { properties, replica, transactions, admin, writer: OnceLock::new() }))
    }

    pub(super) fn join(&self, group: Group) -> Result<(Feed, Arc<Member>), Error> {
        let consumer = Arc::new(self.properties.member(&group)?);
        let owned = Arc::new(Mutex::new(Kept::default()));
        let committer = Committer { consumer: Arc::clone(&consumer), owned: Arc::clone(&owned) };
        let id = self.transactional_id(Some(&group));
        let writer = Writer::start(self.properties.clone(), id, self.transactions, Some(committer))?;
        let queue = Queue::new(group.waiting_max, group.waiting_bytes_max);
        let feed = Feed::new(&queue);
        let (flow, closing, gone) = (Mutex::default(), AtomicBool::new(false), AtomicBool::new(false));
        let (reach, beat) = (Arc::clone(&self.properties.reach), Mutex::new(Instant::now()));
        let member = Arc::new(Member { group, consumer, writer, queue, owned, flow, closing, gone, reach, beat });
        reader::start(Arc::clone(&member))?;
        Ok((feed, member))
    }

    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Result<(), Error> {
        self.appender()?.write(records.into_iter().map(Arc::new).collect(), Vec::new()).await
    }

    fn appender(&self) -> Result<Writer, Error> {
        if let Some(writer) = self.writer.get() {
            return Ok(writer.clone());
        }
        let id = self.transactional_id(None);
        let writer = Writer::start(self.properties.clone(), id, self.transactions, None)?;
        // The loser of a race ends with its thread, before it has made a producer.
        Ok(self.writer.get_or_init(|| writer).clone())
    }

    /// The name of a writer of transactions, the same after a restart: of a member, or of who appends.
    fn transactional_id(&self, member: Option<&Group>) -> String {
        match member {
            Some(group) => format!("{}-{}", group.group, client::instance(group)),
            None => format!("till-ingress-{}", self.replica),
        }
    }

    pub(super) async fn no_transactions(&self, member: Option<&Group>) -> Result<Option<NoTransactions>, Error> {
        let (properties, id) = (self.properties.clone(), self.transactional_id(member));
        let asked = move || {
            let refused = probe::refusal(&properties, &id, PROBE_TIMEOUT)?;
            Ok(refused.map(|reason| NoTransactions { id, reason }))
        };
        tokio::task::spawn_blocking(asked).await.map_err(|_| Error::Closed)?
    }

    pub(super) async fn create_topics(&self, topics: Vec<NewTopic>) -> Result<Vec<String>, Error> {
        self.admin.create_topics(topics).await
    }

    pub(super) async fn topics(&self) -> Result<BTreeMap<String, i32>, Error> {
        self.admin.topics().await
    }

    pub(super) async fn rights(&self, topics: Vec<String>, groups: Vec<String>) -> Result<Rights, Error> {
        self.admin.rights(topics, groups).await
    }

    pub(super) async fn spans(&self, partitions: Vec<Partition>) -> Result<BTreeMap<Partition, Span>, Error> {
        self.admin.spans(partitions).await
    }

    pub(super) async fn committed(&self, group: &str, partitions: Vec<Partition>) -> Result<Vec<Commit>, Error> {
        self.admin.committed(group, partitions).await
    }

    pub(super) async fn read(&self, partition: Partition, from: i64, limit: usize) -> Result<Vec<Record>, Error> {
        self.admin.read(partition, from, limit).await
    }

    pub(super) async fn scan<T: Send + 'static>(
        &self,
        stretch: Stretch,
        gathered: T,
        take: impl FnMut(&mut T, Record) -> bool + Send + 'static,
    ) -> Result<Scanned<T>, Error> {
        self.admin.scan(stretch, gathered, take).await
    }
}

impl Member {
    pub(super) fn pause(&self, partitions: &[Partition]) {
        let mut flow = self.flow();
        flow.paused.extend(partitions.iter().cloned());
        let _ = self.consumer.pause(&reader::list(partitions));
    }

    pub(super) fn resume(&self, partitions: &[Partition]) {
        let mut flow = self.flow();
        flow.paused.retain(|paused| !partitions.contains(paused));
        let _ = self.consumer.resume(&reader::list(partitions));
    }

    pub(super) async fn settle(&self, records: Vec<Arc<NewRecord>>, commits: Vec<Commit>) -> Result<(), Error> {
        if self.gone.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        self.writer.write(records, commits).await
    }

    pub(super) fn is_transactional(&self) -> bool {
        !self.writer.is_plain()
    }

    /// Whether the thread that reads is there and goes on.
    pub(super) fn is_reading(&self, now: Instant) -> bool {
        let beat = *self.beat.lock().expect("no holder panics");
        !self.gone.load(Ordering::Acquire) && now.saturating_duration_since(beat) < SILENCE_MAX
    }

    fn beat(&self) {
        *self.beat.lock().expect("no holder panics") = Instant::now();
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.queue.nudge();
    }

    fn is_over(&self) -> bool {
        self.closing.load(Ordering::Acquire) || self.queue.is_abandoned()
    }

    /// After an assignment: librdkafka still stops what it was told to stop in an earlier life of the partition.
    fn let_flow(&self, gained: &[Partition]) {
        let flow = self.flow();
        let stops = |partition: &&Partition| flow.paused.contains(*partition);
        let (stopped, flowing): (Vec<_>, Vec<_>) = gained.iter().partition(stops);
        let list = |partitions: Vec<&Partition>| reader::list(&partitions.into_iter().cloned().collect::<Vec<_>>());
        let _ = self.consumer.resume(&list(flowing));
        let _ = self.consumer.pause(&list(stopped));
    }

    fn own(&self, positions: &[Position]) {
        self.owned.lock().expect("no holder panics").gain(positions);
        let mut flow = self.flow();
        for Position { partition, .. } in positions {
            flow.assigned.insert(partition.clone());
            // A pause that came after the partition had gone was of an earlier life of it.
            flow.paused.remove(partition);
        }
    }

    fn owns(&self, partition: &Partition) -> bool {
        self.flow().assigned.contains(partition)
    }

    /// Waits for the transaction that is being written.
    fn disown(&self, partitions: &[Partition]) {
        self.owned.lock().expect("no holder panics").lose(partitions);
        let mut flow = self.flow();
        flow.assigned.retain(|assigned| !partitions.contains(assigned));
        flow.paused.retain(|paused| !partitions.contains(paused));
    }

    fn left(&self) {
        self.gone.store(true, Ordering::Release);
        self.queue.end();
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().expect("no holder panics")
    }
}
