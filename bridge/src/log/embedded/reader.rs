//! A group's thread on the embedded log: from the committed offsets to the file's end and on as it grows, into the feed's
//! queue. It sleeps until somebody appends, resumes or takes from the full queue; it never polls.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::Connection;

use super::Member;
use super::sql::{self, Held};
use crate::log::{Alarm, Commit, Error, Happening, Initial, Partition, Position, Release, Revoked};

/// Records of one partition that are read before the next one has its turn.
const TURN: usize = 256;
/// How long the thread sleeps without looking whether its owner is still there.
const NAP: Duration = Duration::from_secs(60);

/// A partition being read.
struct Reading {
    held: Held,
    next: i64,
    /// The end that was told last.
    told: Option<i64>,
}

struct Reader {
    member: Arc<Member>,
    file: Connection,
    readings: Vec<Reading>,
    /// Assigned or stopped: not to be assigned again.
    known: HashSet<Partition>,
    missing: HashSet<String>,
    first_look: bool,
    /// The file could not be read the last time.
    away: bool,
}

pub(super) fn start(member: Arc<Member>, file: Connection) -> Result<(), Error> {
    let name = format!("log-{}", member.group.source);
    let reader = Reader::new(Arc::clone(&member), file);
    on_a_thread(member, name, move || reader.run())
}

/// However `work` ends, the feed ends with it, and its owner joins again.
fn on_a_thread(member: Arc<Member>, name: String, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let left = Left(member);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let _left = left;
        work();
    });
    thread.map(drop).map_err(|error| Error::Config(format!("no thread for the source: {error}")))
}

/// Says at its end that nothing follows, also when the thread panics.
struct Left(Arc<Member>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.left.store(true, Ordering::Release);
        self.0.queue.end();
    }
}

impl Reader {
    fn new(member: Arc<Member>, file: Connection) -> Self {
        let (readings, known, missing) = (Vec::new(), HashSet::new(), HashSet::new());
        Reader { member, file, readings, known, missing, first_look: true, away: false }
    }

    fn run(mut self) {
        while !self.is_over() {
            match self.turn() {
                Ok(()) if self.away => {
                    self.away = false;
                    self.alarm(Alarm::Cleared);
                }
                Ok(()) => {}
                Err(error) => self.wait_out(&error),
            }
        }
        self.leave();
    }

    fn wait_out(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.away, true) {
            self.alarm(Alarm::Unavailable(error.to_string()));
        }
        self.member.queue.wait_for_nudge(Duration::from_secs(1));
    }

    fn is_over(&self) -> bool {
        self.member.closing.load(Ordering::Acquire) || self.member.queue.is_abandoned()
    }

    /// Reads what there is, or sleeps until there is something.
    fn turn(&mut self) -> Result<(), Error> {
        self.look_for_partitions()?;
        let mut moved = false;
        for index in 0..self.readings.len() {
            moved |= self.read(index)?;
        }
        if self.member.queue.is_full() {
            // The partition that came last to the full queue comes first now.
            self.readings.rotate_left(1);
            self.member.queue.wait_for_room(Duration::from_millis(500));
        } else if !moved {
            self.member.queue.wait_for_nudge(NAP);
        }
        Ok(())
    }

    fn look_for_partitions(&mut self) -> Result<(), Error> {
        let mut positions = Vec::new();
        let looked = self.begin_all(&mut positions);
        // What was begun is told, also when the next one failed: it is not begun again.
        if !positions.is_empty() {
            self.member.queue.push_urgent(Happening::Assigned(positions));
        }
        looked?;
        self.first_look = false;
        Ok(())
    }

    fn begin_all(&mut self, positions: &mut Vec<Position>) -> Result<(), Error> {
        for topic in self.member.group.topics.clone() {
            let partitions = sql::partitions(&self.file, &topic)?;
            self.tell_missing(&topic, partitions.is_empty());
            for held in partitions {
                if self.known.contains(&held.partition) {
                    continue;
                }
                let partition = held.partition.clone();
                positions.extend(self.begin(held)?);
                self.known.insert(partition);
            }
        }
        Ok(())
    }

    fn tell_missing(&mut self, topic: &str, missing: bool) {
        if !missing {
            self.missing.remove(topic);
        } else if self.missing.insert(topic.to_owned()) {
            let reason = "there is no such topic; it is read from its beginning when it appears".into();
            self.alarm(Alarm::Topic { topic: topic.to_owned(), reason });
        }
    }

    /// Where a partition is read from; `None` when its committed offset is not in the log.
    fn begin(&mut self, held: Held) -> Result<Option<Position>, Error> {
        let commit = sql::committed(&self.file, &self.member.group.group, &held.partition)?;
        let next = match &commit {
            Some(commit) => commit.next,
            None => self.initial(&held)?,
        };
        let partition = held.partition.clone();
        if !(held.span.start..=held.span.end).contains(&next) {
            self.alarm(Alarm::OutOfRange { partition, next, start: held.span.start, end: held.span.end });
            return Ok(None);
        }
        self.readings.push(Reading { held, next, told: None });
        let metadata = commit.map(|commit| commit.metadata).filter(|metadata| !metadata.is_empty());
        Ok(Some(Position { partition, next, metadata }))
    }

    fn initial(&self, held: &Held) -> Result<i64, Error> {
        if self.member.group.from_end.contains(&*held.partition.topic) {
            return self.commit_initial(held, held.span.end);
        }
        match self.member.group.initial {
            Initial::At(instant_ms) => sql::offset_at(&self.file, held, instant_ms),
            Initial::Earliest => Ok(held.span.start),
            Initial::Latest if self.first_look => self.commit_initial(held, held.span.end),
            Initial::Latest => self.commit_initial(held, held.span.start),
        }
    }

    /// What was decided once is kept: what comes while nobody reads must not be skipped the next time.
    fn commit_initial(&self, held: &Held, next: i64) -> Result<i64, Error> {
        let group = self.member.group.group.clone();
        let commit = Commit { partition: held.partition.clone(), next, metadata: String::new() };
        self.member.store.writer.write_blocking(move |file| sql::commit(file, &group, &commit))?;
        Ok(next)
    }

    /// Reads on in one partition; answers whether there may be more.
    fn read(&mut self, index: usize) -> Result<bool, Error> {
        let queue = &self.member.queue;
        let reading = &mut self.readings[index];
        let partition = &reading.held.partition;
        if self.member.paused.lock().expect("no holder panics").contains(partition) {
            return Ok(false);
        }
        // Nobody nudges the thread when the queue has room again: it must not go to sleep over what it did not look at.
        if queue.is_full() {
            return Ok(true);
        }
        let mut taken = 0;
        let before = reading.next;
        reading.next = sql::read(&self.file, &reading.held, before, TURN, |record| {
            taken += 1;
            queue.push(Happening::Record(record));
            !queue.is_full()
        })?;
        if taken < TURN && !queue.is_full() && reading.told != Some(reading.next) {
            reading.told = Some(reading.next);
            queue.push(Happening::End { partition: partition.clone(), next: reading.next });
        }
        Ok(reading.next > before)
    }

    fn alarm(&self, alarm: Alarm) {
        self.member.queue.push_urgent(Happening::Alarm(alarm));
    }

    fn leave(self) {
        let partitions: Vec<Partition> = self.readings.into_iter().map(|reading| reading.held.partition).collect();
        let (release, released) = Release::new();
        self.member.queue.forget(&partitions);
        self.member.queue.push_urgent(Happening::Revoked(Revoked { partitions, lost: false, release }));
        let _ = released.recv_timeout(self.member.group.revoke_timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::embedded::Store;
    use crate::log::{Feed, Group, NewTopic};

    fn partitions(feed: &mut Feed) -> Vec<i32> {
        let mut numbers = Vec::new();
        while let Some(happening) = feed.try_next() {
            if let Happening::Assigned(positions) = happening {
                numbers.extend(positions.iter().map(|position| position.partition.number));
            }
        }
        numbers
    }

    #[tokio::test]
    async fn a_partition_that_could_not_be_begun_is_begun_later_and_the_others_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let store = Store::open(&path).unwrap();
        let topic = NewTopic { name: "t".into(), partitions: 2, replication: 1, retention: None };
        store.create_topics(vec![topic]).await.unwrap();
        let other = Connection::open(&path).unwrap();
        // What stands there is no offset, so that partition 1 cannot be begun.
        other.execute("INSERT INTO commits VALUES ('g', 't', 1, 'broken', '')", []).unwrap();

        let (mut feed, member) = store.member(Group::new("s", "g", &["t"], "r", Initial::Earliest));
        let mut reader = Reader::new(Arc::clone(&member), sql::open_for_reading(&path).unwrap());
        assert!(reader.look_for_partitions().is_err());
        assert_eq!(partitions(&mut feed), [0]);
        other.execute("DELETE FROM commits", []).unwrap();
        reader.look_for_partitions().unwrap();
        assert_eq!(partitions(&mut feed), [1]);
    }

    // promise: BRIDGE: readiness tells the truth
    #[tokio::test]
    async fn a_thread_that_panics_ends_its_feed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("log.db")).unwrap();
        let (mut feed, member) = store.member(Group::new("s", "g", &["t"], "r", Initial::Earliest));
        on_a_thread(member, "broken".into(), || panic!("a bug")).unwrap();
        let ended = async { while feed.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the feed ends");
    }

    #[tokio::test]
    async fn a_full_queue_is_no_reason_to_go_to_sleep() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let store = Store::open(&path).unwrap();
        let topic = NewTopic { name: "t".into(), partitions: 1, replication: 1, retention: None };
        store.create_topics(vec![topic]).await.unwrap();
        let mut group = Group::new("s", "g", &["t"], "r", Initial::Earliest);
        group.waiting_max = 1;
        let (_feed, member) = store.member(group);
        let mut reader = Reader::new(Arc::clone(&member), sql::open_for_reading(&path).unwrap());
        reader.look_for_partitions().unwrap();
        member.queue.push(Happening::End { partition: Partition::new("t", 0), next: 0 });
        assert_eq!(reader.read(0), Ok(true));
    }
}
