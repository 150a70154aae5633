//! The thread that writes to a cluster: records and offsets come in over a channel and leave in transactions of one
//! producer, each of them all or nothing. Records without offsets that wait together go together.
//!
//! A transaction whose end is not known (a time-out in its commit) is settled by the next producer of the same transactional
//! id, which finishes or undoes it, and then by looking whether its offsets are there, which no commit before it had left so.
//!
//! Where there can be no transactions, or shall be none, records and offsets are written one after the other: see `plain`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use tokio::sync::{mpsc, oneshot};

use super::client::Properties;
use super::failure::{self, error, fault};
use super::plain;
use super::positions;
use super::rights;
use super::transaction::{self, Committer, Pace, Producer, STEP_TIMEOUT, Stop};
use crate::log::{Commit, Error, Fault, NewRecord, Partition, Transactions};

/// Calls that are written in one transaction at most.
const TOGETHER_MAX: usize = 32;
/// Calls that wait at most.
const WAITING_MAX: usize = 256;
const ENTER_STEP: Duration = Duration::from_secs(1);
/// How long the end of a transaction is looked for before it counts as not written.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a topic's number of partitions is believed.
const TOPIC_AGE_MAX: Duration = Duration::from_secs(60);

/// Records and offsets to be written, and who waits for it.
struct Call {
    records: Vec<Arc<NewRecord>>,
    commits: Vec<Commit>,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// The way to the thread, which ends with its last clone.
#[derive(Clone)]
pub(super) struct Writer {
    calls: mpsc::Sender<Call>,
    plain: Arc<AtomicBool>,
}

struct Writing {
    properties: Properties,
    id: String,
    transactions: Transactions,
    /// There are no transactions: decided at the start, or by the cluster's refusal.
    plain: Arc<AtomicBool>,
    committer: Option<Committer>,
    producer: Option<Producer>,
    topics: HashMap<String, (i32, Instant)>,
}

impl Writer {
    pub(super) fn start(
        properties: Properties,
        id: String,
        transactions: Transactions,
        committer: Option<Committer>,
    ) -> Result<Self, Error> {
        let (sender, calls) = mpsc::channel(WAITING_MAX);
        let plain = Arc::new(AtomicBool::new(transactions == Transactions::Never));
        if transactions == Transactions::Never {
            tracing::warn!(
                transactional_id = id,
                "--transactions never: replies and offsets are written at least once, one after the other"
            );
        }
        let topics = HashMap::new();
        let writer = Writer { calls: sender, plain: Arc::clone(&plain) };
        let writing = Writing { properties, id, transactions, plain, committer, producer: None, topics };
        std::thread::Builder::new()
            .name("kafka-writer".into())
            .spawn(move || writing.run(calls))
            .map_err(|error| Error::Config(format!("no thread for Kafka: {error}")))?;
        Ok(writer)
    }

    /// Whether it writes without transactions.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Acquire)
    }

    pub(super) async fn write(&self, records: Vec<Arc<NewRecord>>, commits: Vec<Commit>) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(Call { records, commits, answer }).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Finishes or undoes what a predecessor left open, whose pending offsets would hold up an assignment. For a thread that
    /// may block.
    pub(super) fn settle_predecessor(&self) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let call = Call { records: Vec::new(), commits: Vec::new(), answer };
        self.calls.blocking_send(call).map_err(|_| Error::Closed)?;
        answered.blocking_recv().map_err(|_| Error::Closed)?
    }
}

impl Writing {
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
                return tell_each(calls, &outcome);
            }
        }
        for call in calls {
            let mut outcome = self.attempt(std::slice::from_ref(&call));
            if self.committer.is_none() && matches!(outcome, Err(Error::Fenced(_))) {
                // Without offsets nobody's work is taken over: another process has the same name, or had.
                outcome = self.attempt(std::slice::from_ref(&call));
            }
            match self.committer {
                Some(_) => tell(call, outcome),
                None => tell_each(vec![call], &outcome),
            }
        }
    }

    fn attempt(&mut self, calls: &[Call]) -> Result<(), Error> {
        let records: Vec<&NewRecord> = calls.iter().flat_map(|call| &call.records).map(Arc::as_ref).collect();
        let commits: BTreeMap<&Partition, &Commit> =
            calls.iter().flat_map(|call| &call.commits).map(|commit| (&commit.partition, commit)).collect();
        self.renew()?;
        if records.is_empty() && commits.is_empty() {
            return Ok(());
        }
        self.check_places(&records)?;
        let owned = self.committer.as_ref().map(|committer| Arc::clone(&committer.owned));
        let mut owned = owned.as_ref().map(|owned| owned.lock().expect("no holder panics"));
        let ours = |partition: &Partition| owned.as_ref().is_some_and(|owned| owned.holds(partition));
        if let Some(partition) = commits.keys().find(|partition| !ours(partition)) {
            return Err(Error::NotOurs((*partition).clone()));
        }
        let marked = owned.as_ref().filter(|_| !records.is_empty()).and_then(|kept| kept.marked(&commits));
        let commits = commits.into_iter().chain(marked.iter().map(|commit| (&commit.partition, commit))).collect();
        let told = records.is_empty() || owned.as_ref().is_some_and(|kept| kept.is_told_by(&commits));
        let outcome = self.try_out_by_turns(&records, &commits, told);
        owned.iter_mut().for_each(|kept| match &outcome {
            Ok(()) => kept.take(&commits),
            Err(_) => kept.doubt(&commits),
        });
        outcome
    }

    fn try_out_by_turns(
        &mut self,
        records: &[&NewRecord],
        commits: &BTreeMap<&Partition, &Commit>,
        told: bool,
    ) -> Result<(), Error> {
        match self.try_out(records, commits, Pace::Together, told) {
            // The broker refuses a whole batch for one of its records, or for its own size.
            Err(Error::Record { .. }) if !self.is_plain() => {
                self.renew()?;
                self.check_rights(records)?;
                self.try_out(records, commits, Pace::OneByOne, told)
            }
            outcome => outcome,
        }
    }

    /// One transaction, from its beginning to its end. Offsets alone need none: they are written all or none by themselves, and
    /// only by the group's living member, for a fraction of the brokers' work. `told` says whether its commits would tell that it
    /// was committed.
    fn try_out(
        &mut self,
        records: &[&NewRecord],
        commits: &BTreeMap<&Partition, &Commit>,
        pace: Pace,
        told: bool,
    ) -> Result<(), Error> {
        if let (true, Some(committer)) = (records.is_empty(), &self.committer) {
            return plain::commit(committer, commits);
        }
        let producer = self.producer.as_ref().expect("renewed before");
        if self.is_plain() {
            let written = plain::write(producer, self.committer.as_ref(), records, commits);
            // What it still holds must not arrive after it was written again.
            let has_ended = matches!(written, Ok(()) | Err(Error::Partly(_)));
            self.producer = self.producer.take().filter(|_| has_ended);
            return written;
        }
        match transaction::write(producer, self.committer.as_ref(), records, commits, pace) {
            Ok(()) => Ok(()),
            Err(Stop::Undo(error)) => Err(self.undo(error, None, records)),
            Err(Stop::Refused(code)) => Err(self.undo(error(code, &code.to_string()), Some(code), records)),
            Err(Stop::Renew(error)) => {
                self.producer = None;
                Err(error)
            }
            Err(Stop::Unknown(error)) => self.look_whether_committed(commits, told, error),
        }
    }

    /// Undoes the open transaction and says what was wrong: with a record, if the broker named one. A code without a record
    /// is put down to the first; nobody is judged by it before everybody was tried alone.
    fn undo(&mut self, error: Error, refused: Option<RDKafkaErrorCode>, records: &[&NewRecord]) -> Error {
        let producer = self.producer.as_ref().expect("it has an open transaction");
        let aborted = producer.abort_transaction(STEP_TIMEOUT);
        let failed = producer.context().take_failed();
        if let Err(error) = aborted {
            tracing::warn!(%error, "a transaction could not be aborted; its producer is replaced");
            self.producer = None;
        }
        // What pulled the others down came first.
        let named = failed.into_iter().next().or(refused.map(|code| (0, code)));
        let Some((index, code)) = named.filter(|(index, _)| *index < records.len()) else { return error };
        // After a refusal by the broker librdkafka takes a new epoch, and takes no records until it has it.
        self.producer = None;
        failure::of_record(index, records[index], code)
    }

    /// The next producer of the same id has finished or undone the transaction: its offsets tell which. Whoever asks would write
    /// everything again, so this waits for a cluster that is away.
    fn look_whether_committed(
        &mut self,
        commits: &BTreeMap<&Partition, &Commit>,
        told: bool,
        error: Error,
    ) -> Result<(), Error> {
        tracing::warn!(%error, "the end of a transaction is not known; looking for it");
        self.producer = None;
        let deadline = Instant::now() + LOOK_TIMEOUT;
        loop {
            match self.found(commits) {
                Ok(found) => return if found && told { Ok(()) } else { Err(error) },
                Err(Error::Unavailable(_)) if Instant::now() < deadline => std::thread::sleep(ENTER_STEP),
                Err(_) => return Err(error),
            }
        }
    }

    /// Whether these commits are what is there, once no transaction is open any more.
    fn found(&mut self, commits: &BTreeMap<&Partition, &Commit>) -> Result<bool, Error> {
        self.renew()?;
        let Some(committer) = self.committer.as_ref().filter(|_| !commits.is_empty()) else { return Ok(false) };
        let partitions: Vec<Partition> = commits.keys().map(|partition| (*partition).clone()).collect();
        let found = positions::committed(&committer.consumer, &partitions).map_err(|error| failure::of(&error))?;
        Ok(found.len() == commits.len() && found.iter().all(|found| commits[&found.partition] == found))
    }

    /// Makes sure of a producer that may begin a transaction, or of a plain one where there are none.
    fn renew(&mut self) -> Result<(), Error> {
        if self.producer.is_some() {
            return Ok(());
        }
        if !self.is_plain() {
            let producer = self.properties.producer(&self.id)?;
            match self.enter(&producer) {
                Ok(()) => {
                    self.properties.reach.healed();
                    self.producer = Some(producer);
                    return Ok(());
                }
                Err(refused) => self.go_plain_or_fail(&refused)?,
            }
        }
        self.producer = Some(self.properties.plain_producer(&self.id)?);
        Ok(())
    }

    /// A cluster that will never give transactions is written to without them, unless they are required.
    fn go_plain_or_fail(&mut self, refused: &KafkaError) -> Result<(), Error> {
        let never = refused.rdkafka_error_code().is_some_and(plain::has_no_transactions);
        if !never || self.transactions == Transactions::Required {
            return Err(self.properties.reach.explain(failure::of(refused)));
        }
        tracing::warn!(
            transactional_id = self.id,
            reason = %refused,
            "the cluster gives no transactions: replies and offsets are written at least once, one after the other"
        );
        self.plain.store(true, Ordering::Release);
        Ok(())
    }

    fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Acquire)
    }

    /// In short steps, so that who is refused by the brokers hears it at once.
    fn enter(&self, producer: &Producer) -> Result<(), KafkaError> {
        let (reach, deadline) = (&self.properties.reach, Instant::now() + STEP_TIMEOUT);
        loop {
            let Err(error) = producer.init_transactions(ENTER_STEP) else { return Ok(()) };
            let retriable = matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
            if !retriable || reach.is_known() || Instant::now() > deadline {
                return Err(error);
            }
        }
    }

    /// Refuses what can never be written before anything is: librdkafka would wait for a topic to appear.
    fn check_places(&mut self, records: &[&NewRecord]) -> Result<(), Error> {
        for (index, record) in records.iter().enumerate() {
            let topic = record.topic.clone();
            self.check(record)?.map_err(|(fault, reason)| Error::Record { index, topic, fault, reason })?;
        }
        Ok(())
    }

    /// Refuses records whose topics may not be written: a transaction is refused for them without a name.
    fn check_rights(&self, records: &[&NewRecord]) -> Result<(), Error> {
        let producer = self.producer.as_ref().expect("renewed before");
        let topics = records.iter().map(|record| record.topic.as_str()).collect();
        let forbidden = rights::not_writable(producer, &topics, STEP_TIMEOUT);
        let forbidden = forbidden.map_err(|code| error(code, &format!("rights: {code}")))?;
        match records.iter().position(|record| forbidden.contains(&record.topic)) {
            Some(index) => Err(failure::of_record(index, records[index], RDKafkaErrorCode::TopicAuthorizationFailed)),
            None => Ok(()),
        }
    }

    fn check(&mut self, record: &NewRecord) -> Result<Result<(), (Fault, String)>, Error> {
        if !is_topic_name(&record.topic) {
            return Ok(Err((Fault::UnknownTopic, "that is no name of a topic".into())));
        }
        // librdkafka keeps header names as C strings.
        if record.headers.iter().any(|(name, _)| name.contains('\0')) {
            return Ok(Err((Fault::Invalid, "a header's name holds a NUL".into())));
        }
        // A partition may be new: what is believed of its topic is looked up again before it is refused.
        let is_new = |(count, _): &(i32, Instant)| record.partition.is_some_and(|number| number >= *count);
        if self.topics.get(&record.topic).is_some_and(is_new) {
            self.topics.remove(&record.topic);
        }
        let count = match self.partitions_of(&record.topic)? {
            Ok(count) => count,
            Err(refused) => return Ok(Err(refused)),
        };
        let outside = record.partition.filter(|number| !(0..count).contains(number));
        Ok(outside.map_or(Ok(()), |number| Err((Fault::UnknownPartition, format!("there is no partition {number}")))))
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

/// Tells those who appended together, each for its own records.
fn tell_each(calls: Vec<Call>, outcome: &Result<(), Error>) {
    let mut begin = 0;
    for call in calls {
        let own = begin..begin + call.records.len();
        begin = own.end;
        tell(call, plain::outcome_of(own, outcome));
    }
}

/// Who has gone meanwhile finds it written as a whole, or not at all.
fn tell(call: Call, outcome: Result<(), Error>) {
    let _ = call.answer.send(outcome);
}

/// As Kafka itself checks it.
fn is_topic_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}
