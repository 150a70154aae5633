//! The thread that writes to a cluster: records and offsets come in over a channel and leave in transactions of one
//! producer, each of them all or nothing. Records without offsets that wait together go together.
//!
//! A transaction whose end is not known (a time-out in its commit) is settled by the next producer of the same transactional
//! id, which finishes or undoes it, and then by looking whether its offsets are there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio::sync::{mpsc, oneshot};

use super::client::{Client, Deliveries, Properties};
use super::failure::{self, error, fault};
use super::positions;
use super::raw::{self, CommitFailure};
use crate::log::{Commit, Error, Fault, NewRecord, Partition};

/// Calls that are written in one transaction at most.
const TOGETHER_MAX: usize = 32;
/// Calls that wait at most.
const WAITING_MAX: usize = 256;
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a topic's number of partitions is believed.
const TOPIC_AGE_MAX: Duration = Duration::from_secs(60);

/// Whose offsets are committed.
pub(super) struct Committer {
    pub consumer: Arc<BaseConsumer<Client>>,
    /// The partitions that are ours. Held locked through a transaction, so that none is given away in the middle of it.
    pub owned: Arc<Mutex<HashSet<Partition>>>,
}

/// Records and offsets to be written, and who waits for it.
struct Call {
    records: Vec<NewRecord>,
    commits: Vec<Commit>,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// The way to the thread, which ends with its last clone.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Call>);

type Producer = ThreadedProducer<Deliveries>;

struct Transactions {
    properties: Properties,
    id: String,
    committer: Option<Committer>,
    producer: Option<Producer>,
    topics: HashMap<String, (i32, Instant)>,
}

/// How records are handed to the broker: many in a batch, or each alone, so that a refusal names the right one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Together,
    OneByOne,
}

/// How far a transaction came.
enum Stop {
    /// It is to be undone.
    Undo(Error),
    /// Its producer is of no more use; nothing of it will be seen.
    Renew(Error),
    /// Whether it was committed is not known.
    Unknown(Error),
}

impl Writer {
    pub(super) fn start(properties: Properties, id: String, committer: Option<Committer>) -> Result<Self, Error> {
        let (sender, calls) = mpsc::channel(WAITING_MAX);
        let transactions = Transactions { properties, id, committer, producer: None, topics: HashMap::new() };
        std::thread::Builder::new()
            .name("kafka-writer".into())
            .spawn(move || transactions.run(calls))
            .map_err(|error| Error::Config(format!("no thread for Kafka: {error}")))?;
        Ok(Writer(sender))
    }

    pub(super) async fn write(&self, records: Vec<NewRecord>, commits: Vec<Commit>) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Call { records, commits, answer }).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Finishes or undoes what a predecessor left open, whose pending offsets would hold up an assignment. For a thread that
    /// may block.
    pub(super) fn settle_predecessor(&self) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let call = Call { records: Vec::new(), commits: Vec::new(), answer };
        self.0.blocking_send(call).map_err(|_| Error::Closed)?;
        answered.blocking_recv().map_err(|_| Error::Closed)?
    }
}

impl Transactions {
    fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let mut waiting = Vec::new();
        while calls.blocking_recv_many(&mut waiting, TOGETHER_MAX) > 0 {
            // Who has given up meanwhile was told that it may not be written.
            waiting.retain(|call: &Call| !call.answer.is_closed());
            self.perform(std::mem::take(&mut waiting));
        }
    }

    /// Tries all together; when one call spoils it, each alone. Offsets are never put together with those of another call:
    /// they cover what that call failed to write.
    fn perform(&mut self, calls: Vec<Call>) {
        if self.committer.is_none() && calls.len() > 1 {
            let outcome = self.attempt(&calls);
            if !matches!(outcome, Err(Error::Record { .. })) {
                return calls.into_iter().for_each(|call| tell(call, outcome.clone()));
            }
        }
        for call in calls {
            let mut outcome = self.attempt(std::slice::from_ref(&call));
            if self.committer.is_none() && matches!(outcome, Err(Error::Fenced(_))) {
                // Without offsets nobody's work is taken over: another process has the same name, or had.
                outcome = self.attempt(std::slice::from_ref(&call));
            }
            tell(call, outcome);
        }
    }

    fn attempt(&mut self, calls: &[Call]) -> Result<(), Error> {
        let records: Vec<&NewRecord> = calls.iter().flat_map(|call| &call.records).collect();
        let commits: BTreeMap<&Partition, &Commit> =
            calls.iter().flat_map(|call| &call.commits).map(|commit| (&commit.partition, commit)).collect();
        self.renew()?;
        if records.is_empty() && commits.is_empty() {
            return Ok(());
        }
        self.check_places(&records)?;
        let owned = self.committer.as_ref().map(|committer| Arc::clone(&committer.owned));
        let owned = owned.as_ref().map(|owned| owned.lock().expect("no holder panics"));
        let ours = |partition: &Partition| owned.as_ref().is_some_and(|owned| owned.contains(partition));
        if let Some(partition) = commits.keys().find(|partition| !ours(partition)) {
            return Err(Error::NotOurs((*partition).clone()));
        }
        match self.try_out(&records, &commits, Pace::Together) {
            // The broker refuses a whole batch for one of its records, or for its own size.
            Err(Error::Record { .. }) if records.len() > 1 => {
                self.renew()?;
                self.try_out(&records, &commits, Pace::OneByOne)
            }
            outcome => outcome,
        }
    }

    /// One transaction, from its beginning to its end.
    fn try_out(
        &mut self,
        records: &[&NewRecord],
        commits: &BTreeMap<&Partition, &Commit>,
        pace: Pace,
    ) -> Result<(), Error> {
        match self.transact(records, commits, pace) {
            Ok(()) => Ok(()),
            Err(Stop::Undo(error)) => Err(self.undo(error, records)),
            Err(Stop::Renew(error)) => {
                self.producer = None;
                Err(error)
            }
            Err(Stop::Unknown(error)) => self.look_whether_committed(commits, error),
        }
    }

    fn transact(
        &self,
        records: &[&NewRecord],
        commits: &BTreeMap<&Partition, &Commit>,
        pace: Pace,
    ) -> Result<(), Stop> {
        let producer = self.producer.as_ref().expect("renewed before");
        producer.context().take_failed();
        producer.begin_transaction().map_err(stop)?;
        for (index, record) in records.iter().enumerate() {
            send(producer, index, record).map_err(Stop::Undo)?;
            if pace == Pace::OneByOne {
                arrive(producer)?;
            }
        }
        if let (false, Some(committer)) = (commits.is_empty(), &self.committer) {
            send_offsets(producer, committer, commits)?;
        }
        commit(producer)
    }

    /// Undoes the open transaction and says what was wrong: with a record, if the broker named one.
    fn undo(&mut self, error: Error, records: &[&NewRecord]) -> Error {
        let producer = self.producer.as_ref().expect("it has an open transaction");
        let aborted = producer.abort_transaction(STEP_TIMEOUT);
        let failed = producer.context().take_failed();
        if let Err(error) = aborted {
            tracing::warn!(%error, "a transaction could not be aborted; its producer is replaced");
            self.producer = None;
        }
        let Some((index, code)) = failed else { return error };
        // After a refusal by the broker librdkafka takes a new epoch, and takes no records until it has it.
        self.producer = None;
        failure::of_record(index, records[index], code)
    }

    /// The next producer of the same id has finished or undone the transaction: its offsets tell which.
    fn look_whether_committed(&mut self, commits: &BTreeMap<&Partition, &Commit>, error: Error) -> Result<(), Error> {
        tracing::warn!(%error, "the end of a transaction is not known; looking for it");
        self.producer = None;
        self.renew()?;
        let Some(committer) = self.committer.as_ref().filter(|_| !commits.is_empty()) else { return Err(error) };
        let partitions: Vec<Partition> = commits.keys().map(|partition| (*partition).clone()).collect();
        let found = positions::committed(&committer.consumer, &partitions).map_err(|error| failure::of(&error))?;
        let all = found.len() == commits.len() && found.iter().all(|found| commits[&found.partition] == found);
        if all { Ok(()) } else { Err(error) }
    }

    /// Makes sure of a producer that may begin a transaction.
    fn renew(&mut self) -> Result<(), Error> {
        if self.producer.is_none() {
            let producer = self.properties.producer(&self.id)?;
            producer.init_transactions(STEP_TIMEOUT).map_err(|error| failure::of(&error))?;
            self.producer = Some(producer);
        }
        Ok(())
    }

    /// Refuses records for topics and partitions that do not exist before anything is written: librdkafka would wait for
    /// them to appear.
    fn check_places(&mut self, records: &[&NewRecord]) -> Result<(), Error> {
        for (index, record) in records.iter().enumerate() {
            let refuse = |fault, reason: String| Error::Record { index, topic: record.topic.clone(), fault, reason };
            match self.partitions_of(&record.topic)? {
                Ok(count) => {
                    if let Some(number) = record.partition.filter(|number| !(0..count).contains(number)) {
                        return Err(refuse(Fault::UnknownPartition, format!("there is no partition {number}")));
                    }
                }
                Err((fault, reason)) => return Err(refuse(fault, reason)),
            }
        }
        Ok(())
    }

    fn partitions_of(&mut self, topic: &str) -> Result<Result<i32, (Fault, String)>, Error> {
        if let Some((count, _)) = self.topics.get(topic).filter(|(_, at)| at.elapsed() < TOPIC_AGE_MAX) {
            return Ok(Ok(*count));
        }
        let producer = self.producer.as_ref().expect("renewed before");
        let metadata = producer.client().fetch_metadata(Some(topic), STEP_TIMEOUT);
        let metadata = metadata.map_err(|error| failure::of(&error))?;
        let Some(found) = metadata.topics().first() else { return Err(Error::Unavailable("no metadata".into())) };
        let Some(code) = found.error().map(RDKafkaErrorCode::from) else {
            let count = found.partitions().len() as i32;
            self.topics.insert(topic.to_owned(), (count, Instant::now()));
            return Ok(Ok(count));
        };
        fault(code).map(|fault| Err((fault, code.to_string()))).ok_or_else(|| error(code, &code.to_string()))
    }
}

/// Who has gone meanwhile finds it written as a whole, or not at all.
fn tell(call: Call, outcome: Result<(), Error>) {
    let _ = call.answer.send(outcome);
}

fn send(producer: &Producer, index: usize, record: &NewRecord) -> Result<(), Error> {
    let mut out = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&record.topic, index);
    out.partition = record.partition;
    out.key = record.key.as_deref();
    out.payload = record.value.as_deref();
    out.timestamp = record.timestamp_ms;
    if !record.headers.is_empty() {
        let empty = OwnedHeaders::new_with_capacity(record.headers.len());
        let add = |all: OwnedHeaders, (key, value): &(String, Option<bytes::Bytes>)| {
            all.insert(Header { key, value: value.as_deref() })
        };
        out.headers = Some(record.headers.iter().fold(empty, add));
    }
    let deadline = Instant::now() + STEP_TIMEOUT;
    loop {
        match producer.send(out) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if Instant::now() < deadline => {
                out = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code();
                return Err(code.map_or_else(|| failure::of(&error), |code| failure::of_record(index, record, code)));
            }
        }
    }
}

/// Waits until the broker has what was sent, or has refused it.
fn arrive(producer: &Producer) -> Result<(), Stop> {
    let flushed = raw::flush(producer, STEP_TIMEOUT);
    let refused = || Stop::Undo(Error::Unavailable("a record was refused or did not arrive".into()));
    if flushed && !producer.context().has_failed() { Ok(()) } else { Err(refused()) }
}

fn send_offsets(
    producer: &Producer,
    committer: &Committer,
    commits: &BTreeMap<&Partition, &Commit>,
) -> Result<(), Stop> {
    let mut offsets = TopicPartitionList::with_capacity(commits.len());
    for commit in commits.values() {
        positions::add(&mut offsets, commit).map_err(|error| Stop::Undo(failure::of(&error)))?;
    }
    let Some(group) = committer.consumer.group_metadata() else { return Err(Stop::Undo(Error::Closed)) };
    producer.send_offsets_to_transaction(&offsets, &group, STEP_TIMEOUT).map_err(stop)
}

/// Commits, again after a time-out, since only the same call tells how it ended.
fn commit(producer: &Producer) -> Result<(), Stop> {
    let deadline = Instant::now() + COMMIT_TIMEOUT;
    loop {
        let Err(CommitFailure { code, reason, retriable, requires_abort, fatal }) =
            raw::commit_transaction(producer, STEP_TIMEOUT)
        else {
            return Ok(());
        };
        let error = error(code, &reason);
        if requires_abort {
            return Err(Stop::Undo(error));
        }
        if fatal || !retriable || Instant::now() > deadline {
            return Err(Stop::Unknown(error));
        }
    }
}

fn stop(failed: KafkaError) -> Stop {
    let error = failure::of(&failed);
    match failed {
        KafkaError::Transaction(failed) if failed.is_fatal() => Stop::Renew(error),
        _ => Stop::Undo(error),
    }
}
