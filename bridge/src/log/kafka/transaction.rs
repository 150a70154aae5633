//! One transaction on a cluster, step by step: records, offsets, commit. What goes wrong says how far it came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};

use super::client::Client;
use super::failure::{self, error};
use super::kept::Kept;
use super::positions;
pub(super) use super::producer::Producer;
use super::raw::{self, CommitFailure};
use crate::log::{Commit, Error, NewRecord, Partition};

/// What one question to the cluster may take.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(5);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long offsets may be on their way into a transaction: what librdkafka promises, and a little more.
const OFFSETS_TIMEOUT: Duration = STEP_TIMEOUT.saturating_add(Duration::from_secs(1));

/// Whose offsets are committed.
pub(super) struct Committer {
    pub consumer: Arc<BaseConsumer<Client>>,
    /// The partitions that are ours. Held locked through a transaction, so that none is given away in the middle of it.
    pub owned: Arc<Mutex<Kept>>,
}

/// How records are handed to the broker: many in a batch, or each alone, so that a refusal names the right one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Together,
    OneByOne,
}

/// How far a transaction came.
pub(super) enum Stop {
    /// It is to be undone.
    Undo(Error),
    /// It is to be undone, for one of its records, nobody says which.
    Refused(RDKafkaErrorCode),
    /// Its producer is of no more use; nothing of it will be seen.
    Renew(Error),
    /// Whether it was committed is not known.
    Unknown(Error),
}

/// Begins a transaction, writes into it and commits it.
pub(super) fn write(
    producer: &Producer,
    committer: Option<&Committer>,
    records: &[&NewRecord],
    commits: &BTreeMap<&Partition, &Commit>,
    pace: Pace,
) -> Result<(), Stop> {
    producer.context().take_failed();
    producer.begin_transaction().map_err(stop)?;
    for (index, record) in records.iter().enumerate() {
        send(producer, index, record).map_err(Stop::Undo)?;
        if pace == Pace::OneByOne {
            arrive(producer)?;
        }
    }
    let finish = || {
        if let (false, Some(committer)) = (commits.is_empty(), committer) {
            send_offsets(producer, committer, commits)?;
        }
        commit(producer)
    };
    match finish() {
        // Every record has arrived: it is the offsets that were refused.
        Err(Stop::Refused(code)) if pace == Pace::OneByOne => Err(Stop::Undo(error(code, &code.to_string()))),
        finished => finished,
    }
}

/// Hands one record to librdkafka, which sends it by itself.
pub(super) fn send(producer: &Producer, index: usize, record: &NewRecord) -> Result<(), Error> {
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
    let (client, (answer, answered)) = (producer.shared(), mpsc::channel());
    left_behind_if_stuck("kafka-offsets", move || {
        let sent = client.send_offsets_to_transaction(&offsets, &group, STEP_TIMEOUT);
        // Whoever hears of it may close the client.
        drop(client);
        let _ = answer.send(sent);
    })?;
    let lost = || Error::Unavailable("the group's coordinator was not found in time".into());
    answered.recv_timeout(OFFSETS_TIMEOUT).map_err(|_| Stop::Renew(lost()))?.map_err(stop)
}

/// On a thread of its own, which is left behind with its producer when it does not end: librdkafka asks for the group's coordinator
/// three times within milliseconds, and then, whatever its time-out, not before a connection comes or goes. The next producer of the
/// same id fences it.
fn left_behind_if_stuck(name: &str, call: impl FnOnce() + Send + 'static) -> Result<(), Stop> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(call);
    thread.map(drop).map_err(|error| Stop::Undo(Error::Unavailable(format!("no thread for Kafka: {error}"))))
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
        if requires_abort && failure::fault(code).is_some() {
            return Err(Stop::Refused(code));
        }
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
        KafkaError::Transaction(failed) if failure::fault(failed.code()).is_some() => Stop::Refused(failed.code()),
        _ => Stop::Undo(error),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka_sys as sys;

    use super::super::client::Properties;
    use super::*;
    use crate::log::{Group, Initial};

    fn committer(properties: &Properties) -> Committer {
        let consumer = Arc::new(properties.member(&Group::new("s", "g", &["t"], "r", Initial::Earliest)).unwrap());
        Committer { consumer, owned: Arc::default() }
    }

    #[test]
    fn a_search_for_the_coordinator_that_librdkafka_gave_up_is_not_waited_for_without_end() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let servers = ("bootstrap.servers".to_owned(), cluster.bootstrap_servers());
        let properties = Properties::new([servers].into()).unwrap();
        let (producer, committer) = (properties.producer("g-r").unwrap(), committer(&properties));
        producer.init_transactions(STEP_TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        // It asks thrice within a few milliseconds, and then never again while no connection comes or goes.
        let away = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE;
        cluster.request_errors(sys::RDKafkaApiKey::FindCoordinator, &[away; 3]);
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let commit = Commit { partition: Partition::new("t", 0), next: 1, metadata: String::new() };
            let sent = send_offsets(&producer, &committer, &BTreeMap::from([(&commit.partition, &commit)]));
            let _ = done.send(matches!(sent, Err(Stop::Renew(Error::Unavailable(_)))));
        });
        assert_eq!(ended.recv_timeout(3 * OFFSETS_TIMEOUT), Ok(true));
    }
}
