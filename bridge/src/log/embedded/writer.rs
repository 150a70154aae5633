//! The one thread that writes the embedded log. Changes come in over a channel; as many as wait are made in one SQLite
//! transaction, each within a savepoint of its own, and answered after the commit.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::retention::{self, Expired};
use crate::log::Error;

/// Changes that are made in one transaction at most.
const TOGETHER_MAX: usize = 256;
/// Changes that wait for the thread at most.
const WAITING_MAX: usize = 1_024;
const EXPIRE_INTERVAL: Duration = Duration::from_secs(600);
/// When a pass left something to expire.
const EXPIRE_MORE_INTERVAL: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce(&Connection) -> Result<(), Error> + Send>;
/// Told after each commit: the topics that grew, by name.
type Grown = Box<dyn Fn(&[String]) + Send>;

type Answer = oneshot::Sender<Result<(), Error>>;

/// A change to be made, and who waits for it.
struct Change {
    work: Work,
    /// The topics that grow by it.
    topics: Vec<String>,
    answer: Answer,
}

/// The way to the thread, which ends with its last clone.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Change>);

impl Writer {
    pub(super) fn start(file: Connection, grown: Grown) -> Result<Self, Error> {
        let (sender, changes) = mpsc::channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || run(file, changes, grown))
            .map_err(|error| Error::Config(format!("no thread for the log: {error}")))?;
        Ok(Writer(sender))
    }

    /// Makes a change and answers when it is on disk.
    pub(super) async fn write(
        &self,
        topics: Vec<String>,
        work: impl FnOnce(&Connection) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let change = Change { work: Box::new(work), topics, answer };
        self.0.send(change).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| gave_up())?
    }

    /// As [`Writer::write`], for a thread that may block.
    pub(super) fn write_blocking(
        &self,
        work: impl FnOnce(&Connection) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let change = Change { work: Box::new(work), topics: Vec::new(), answer };
        self.0.blocking_send(change).map_err(|_| Error::Closed)?;
        answered.blocking_recv().map_err(|_| gave_up())?
    }
}

fn run(mut file: Connection, mut changes: mpsc::Receiver<Change>, grown: Grown) {
    let mut expire_at = Instant::now();
    let mut together = Vec::with_capacity(TOGETHER_MAX);
    while changes.blocking_recv_many(&mut together, TOGETHER_MAX) > 0 {
        if Instant::now() >= expire_at {
            let more = expire(&mut file);
            expire_at = Instant::now() + if more { EXPIRE_MORE_INTERVAL } else { EXPIRE_INTERVAL };
        }
        make(&mut file, together.drain(..), &grown);
    }
}

/// Makes changes in one transaction; one that fails is undone alone.
fn make(file: &mut Connection, changes: impl Iterator<Item = Change>, grown: &Grown) {
    let mut made = Vec::new();
    let mut failed = Vec::new();
    let committed = (|| {
        let mut transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Who has given up meanwhile was told that it may not be written.
        for Change { work, topics, answer } in changes.filter(|change| !change.answer.is_closed()) {
            let savepoint = transaction.savepoint()?;
            match work(&savepoint) {
                Ok(()) => {
                    savepoint.commit()?;
                    made.push((topics, answer));
                }
                Err(error) => {
                    drop(savepoint);
                    failed.push((error, answer));
                    // A full disk undoes everything; what follows would be a transaction of its own.
                    if transaction.is_autocommit() {
                        return Err(gave_up());
                    }
                }
            }
        }
        Ok(transaction.commit()?)
    })();
    for (error, answer) in failed {
        let _ = answer.send(Err(error));
    }
    tell(made, committed, grown);
}

/// Answers those who wait; who has gone meanwhile finds the change made as a whole.
fn tell(made: Vec<(Vec<String>, Answer)>, outcome: Result<(), Error>, grown: &Grown) {
    let mut topics = Vec::new();
    for (its_topics, answer) in made {
        topics.extend(its_topics);
        let _ = answer.send(outcome.clone());
    }
    if outcome.is_ok() && !topics.is_empty() {
        grown(&topics);
    }
}

fn gave_up() -> Error {
    Error::Unavailable("the log's file: its transaction could not go on".into())
}

/// Answers whether there may be more to delete.
fn expire(file: &mut Connection) -> bool {
    let expired = (|| {
        let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let expired = retention::expire(&transaction, now_ms())?;
        transaction.commit()?;
        Ok::<_, Error>(expired)
    })();
    match expired {
        Ok(Expired { records: 0, more }) => more,
        Ok(Expired { records, more }) => {
            tracing::info!(records, "the log has let go of old records");
            more
        }
        Err(error) => {
            tracing::warn!(%error, "old records stay for now");
            false
        }
    }
}

pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::NewTopic;
    use crate::log::embedded::sql;

    fn create(name: &str) -> Work {
        let topic = NewTopic { name: name.to_owned(), partitions: 1, replication: 1, retention: None };
        Box::new(move |file| sql::create_topics(file, std::slice::from_ref(&topic)).map(drop))
    }

    #[test]
    fn when_the_whole_transaction_is_gone_nothing_of_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = sql::open(&folder.path().join("log.db")).unwrap();
        // As SQLite does by itself when the disk is full.
        let full = |file: &Connection| {
            file.execute_batch("ROLLBACK")?;
            Err(Error::Unavailable("the disk is full".into()))
        };
        let (changes, answers): (Vec<_>, Vec<_>) = [create("before"), Box::new(full), create("after")]
            .into_iter()
            .map(|work| {
                let (answer, answered) = oneshot::channel();
                (Change { work, topics: Vec::new(), answer }, answered)
            })
            .unzip();
        let grown: Grown = Box::new(|_| {});
        make(&mut file, changes.into_iter(), &grown);
        for answer in answers {
            assert!(!matches!(answer.blocking_recv(), Ok(Ok(()))));
        }
        assert_eq!(sql::topics(&file).unwrap().len(), 0);
    }
}
