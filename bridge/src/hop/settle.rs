//! Settling: replies, dead letters and offsets go to the log in one call, batched by a few milliseconds. What the log refuses is
//! redone from memory without the record that it will never take, and without a second call of the sink.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Running;
use super::names::commits;
use crate::dead_letter::Reason;
use crate::dispatch::{DeliveryId, Input, Slot};
use crate::log::{Error, NewRecord, Record};
use crate::metrics::add;

/// How long a record waits for company. Offsets alone can wait longer than somebody's answer.
const LINGER_WRITES: Duration = Duration::from_millis(2);
const LINGER_OFFSETS: Duration = Duration::from_millis(10);
const BATCH_RECORDS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 << 20;
/// What waits to be written is at most so much and one answer; until then no further answer is looked at.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// The delays after failures, and how long a last call may take when a partition goes.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
const LAST_CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The records that settle one delivery.
#[derive(Debug)]
pub struct Write {
    pub id: DeliveryId,
    pub records: Vec<Arc<NewRecord>>,
    pub record: Rc<Record>,
    pub content: Content,
    /// Of its records.
    bytes: usize,
    /// Its records are in the log, and only its offset is not.
    written: bool,
}

impl Write {
    pub fn new(id: DeliveryId, record: Rc<Record>, records: Vec<Arc<NewRecord>>, content: Content) -> Self {
        let bytes = records.iter().map(|record| record.size()).sum();
        Write { id, records, record, content, bytes, written: false }
    }

    pub(super) fn into_written(self) -> Self {
        Write { written: true, ..self }
    }

    /// The records that are not in the log yet.
    pub(super) fn unwritten(&self) -> &[Arc<NewRecord>] {
        if self.written { &[] } else { &self.records }
    }
}

/// What the records are.
#[derive(Debug)]
pub enum Content {
    /// Events of a reply, and after them what the record's sender awaits.
    Reply {
        answers: usize,
    },
    /// That the record was given up, for its sender. If that cannot be told, `otherwise` is its dead letter, or `reason` stands in
    /// the one that is called for.
    Failure {
        otherwise: Option<NewRecord>,
        reason: Reason,
    },
    DeadLetter,
}

type Call = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

#[derive(Default)]
pub struct Settling {
    waiting: VecDeque<Write>,
    /// Of what waits.
    bytes: usize,
    under_way: Option<(Call, Batch)>,
    flush_at: Option<Instant>,
    failures: u32,
}

pub(super) struct Batch {
    pub(super) writes: Vec<Write>,
    pub(super) slots: Vec<Slot>,
    pub(super) metadata_len: usize,
}

impl Settling {
    pub fn push(&mut self, write: Write) {
        self.bytes += write.bytes;
        self.waiting.push_back(write);
    }

    /// Whether more would be beyond the memory that replies may have.
    pub fn is_full(&self) -> bool {
        self.bytes >= WAITING_BYTES_MAX
    }

    /// Nothing waits to be written and nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none()
    }

    /// The result of the call that is under way. Cancel-safe; for ever when there is none.
    pub async fn result(&mut self) -> Result<(), Error> {
        match &mut self.under_way {
            Some((call, _)) => call.as_mut().await,
            None => std::future::pending().await,
        }
    }

    /// As [`Settling::result`]; `None` when it takes longer. The call stays under way then: the log may still take it, and what
    /// is in it must not be written twice.
    async fn result_within(&mut self, limit: Duration) -> Option<Result<(), Error>> {
        tokio::time::timeout(limit, self.result()).await.ok()
    }

    /// When the next call should begin.
    pub fn due(&self) -> Option<Instant> {
        self.flush_at.filter(|_| self.under_way.is_none())
    }

    /// Whether a call should begin now. `dirty` says that there are offsets to commit.
    fn is_time(&mut self, dirty: bool) -> bool {
        if self.under_way.is_some() || (self.waiting.is_empty() && !dirty) {
            return false;
        }
        let now = Instant::now();
        let linger = if self.waiting.is_empty() { LINGER_OFFSETS } else { LINGER_WRITES };
        let flush_at = self.flush_at.get_or_insert(now + linger);
        if self.failures == 0 {
            *flush_at = (*flush_at).min(now + linger);
        }
        now >= *flush_at
    }

    /// The first records that wait, as many as one call takes: half as many after each failure, in case it was too much for
    /// the log.
    fn take_batch(&mut self) -> Vec<Write> {
        let (mut count, mut bytes) = (0, 0);
        let halved = self.failures.min(16);
        let fits = |write: &Write| {
            count += write.records.len();
            bytes += write.bytes;
            count <= BATCH_RECORDS_MAX >> halved && bytes <= BATCH_BYTES_MAX >> halved
        };
        let taken = self.waiting.iter().map(fits).take_while(|fits| *fits).count();
        let batch: Vec<Write> = self.waiting.drain(..taken.max(1).min(self.waiting.len())).collect();
        self.bytes -= batch.iter().map(|write| write.bytes).sum::<usize>();
        batch
    }

    pub(super) fn put_back(&mut self, writes: Vec<Write>) {
        for write in writes.into_iter().rev() {
            self.bytes += write.bytes;
            self.waiting.push_front(write);
        }
    }

    /// A call failed for reasons that may pass.
    pub(super) fn back_off(&mut self) {
        let delay = RETRY_DELAY.saturating_mul(1 << self.failures.min(8)).min(RETRY_DELAY_MAX);
        self.failures += 1;
        self.flush_at = Some(Instant::now() + delay);
    }
}

impl Running<'_> {
    /// Begins a call when it is time for one.
    pub(super) fn begin_settling(&mut self) {
        let dirty = self.machine.is_dirty();
        if self.settling.is_time(dirty) {
            self.call_the_log();
        }
    }

    fn call_the_log(&mut self) {
        self.settling.flush_at = None;
        let mut writes = self.settling.take_batch();
        writes.retain(|write| self.machine.is_writing(write.id));
        let ids: Vec<DeliveryId> = writes.iter().map(|write| write.id).collect();
        let commitments = self.machine.commits(&ids);
        if writes.is_empty() && commitments.is_empty() {
            return;
        }
        let (control, records) = (self.control.clone(), records(writes.iter()));
        let commits = commits(&self.partitions, &commitments);
        let call = async move { control.settle(records, commits).await };
        let batch = Batch {
            writes,
            slots: commitments.iter().map(|commitment| commitment.slot).collect(),
            metadata_len: commitments.iter().map(|commitment| commitment.metadata.len()).max().unwrap_or(0),
        };
        self.settling.under_way = Some((Box::pin(call), batch));
    }

    /// The call has ended.
    pub(super) fn settled(&mut self, result: Result<(), Error>) {
        let Some((_, batch)) = self.settling.under_way.take() else { return };
        match result {
            Ok(()) => self.written(batch),
            Err(error) => self.not_written(batch, error),
        }
    }

    fn written(&mut self, batch: Batch) {
        self.settling.failures = 0;
        self.alarms.remove("settle");
        add(&self.hop.metrics.commits, 1);
        for write in &batch.writes {
            self.count_written(write);
        }
        self.step(Input::Written(batch.writes.iter().map(|write| write.id).collect()));
    }

    fn count_written(&self, write: &Write) {
        let metrics = &self.hop.metrics;
        match write.content {
            Content::DeadLetter => {
                add(&metrics.dead_letters, 1);
                let (partition, offset) = (write.record.partition.to_string(), write.record.offset);
                tracing::warn!(source = self.hop.source.name, partition, offset, "a dead letter was written");
            }
            Content::Failure { .. } => {
                add(&metrics.failures_told, 1);
                self.count_settled(&write.record);
            }
            Content::Reply { answers } => {
                add(&metrics.replies, write.records.len() - answers);
                add(&metrics.answers, answers);
                self.count_settled(&write.record);
            }
        }
    }

    /// Commits what is settled before a partition goes, as far as the log is there.
    pub(super) async fn settle_now(&mut self) {
        for _ in 0..3 {
            if self.settling.under_way.is_none() {
                self.call_the_log();
            }
            if self.settling.under_way.is_none() {
                return;
            }
            let Some(result) = self.settling.result_within(LAST_CALL_TIMEOUT).await else {
                return tracing::warn!(source = self.hop.source.name, "the last commit is not waited for any longer");
            };
            self.settled(result);
        }
    }
}

/// All records of some writes that are not in the log yet, in order.
fn records<'a>(writes: impl Iterator<Item = &'a Write>) -> Vec<Arc<NewRecord>> {
    writes.flat_map(|write| write.unwritten().iter().cloned()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::record;

    pub fn write(id: u64, records: usize) -> Write {
        let records = (0..records).map(|_| Arc::new(empty("t"))).collect();
        let record = Rc::new(record("t", 0, 0));
        Write::new(DeliveryId(id), record, records, Content::Reply { answers: 0 })
    }

    fn empty(topic: &str) -> NewRecord {
        let (partition, key, headers, value, timestamp_ms) = (None, None, vec![], None, None);
        NewRecord { topic: topic.into(), partition, key, headers, value, timestamp_ms }
    }

    #[test]
    fn a_batch_is_bounded_and_keeps_the_order() {
        let mut settling = Settling::default();
        (0..3).for_each(|id| settling.push(write(id, BATCH_RECORDS_MAX / 2)));
        let batch = settling.take_batch();
        assert_eq!(batch.len(), 2);
        settling.put_back(batch);
        let order: Vec<u64> = settling.waiting.iter().map(|write| write.id.0).collect();
        assert_eq!(order, [0, 1, 2]);
        settling.push(write(3, BATCH_RECORDS_MAX * 2));
        settling.waiting.drain(..3);
        assert_eq!(settling.take_batch().len(), 1, "one that is larger than a batch goes alone");
    }

    // promise: BRIDGE: replies that wait to be written are bounded by bytes
    #[test]
    fn a_batch_is_bounded_by_bytes_and_smaller_after_a_failure() {
        let mut settling = Settling::default();
        for id in 0..8 {
            let (id, record) = (DeliveryId(id), Rc::new(record("t", 0, 0)));
            let value = Some(vec![0; BATCH_BYTES_MAX / 4].into());
            let large = Arc::new(NewRecord { value, ..empty("") });
            settling.push(Write::new(id, record, vec![large], Content::DeadLetter));
        }
        assert!(settling.is_full(), "no more answers are looked at");
        assert_eq!(settling.take_batch().len(), 4);
        assert!(!settling.is_full());
        settling.back_off();
        let batch = settling.take_batch();
        assert_eq!((batch.len(), settling.bytes), (2, BATCH_BYTES_MAX / 2));
        settling.put_back(batch);
        assert_eq!(settling.bytes, BATCH_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_stays_under_way() {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let call = async { answered.await.unwrap_or(Err(Error::Closed)) };
        let batch = Batch { writes: vec![write(0, 1)], slots: vec![], metadata_len: 0 };
        let mut settling = Settling { under_way: Some((Box::pin(call), batch)), ..Settling::default() };
        assert_eq!(settling.result_within(Duration::from_millis(1)).await, None);
        assert!(!settling.is_idle(), "the log may still take it");
        answer.send(Ok(())).unwrap();
        assert_eq!(settling.result_within(Duration::from_secs(10)).await, Some(Ok(())));
    }
}
