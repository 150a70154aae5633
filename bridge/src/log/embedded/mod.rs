//! The embedded log: topics, partitions, records and groups' offsets in one SQLite file, for one process that needs no
//! broker. Replies and offsets are one SQLite transaction. There is no rebalance: a group has one member.

mod codec;
mod reader;
mod retention;
mod sql;
mod writer;

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Feed;
use super::queue::Queue;
use super::types::{Commit, Error, Group, NewRecord, NewTopic, Partition, Record, Scanned, Span, Stretch};
use writer::Writer;

/// How long a predecessor may take to leave.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Records that one look takes.
const HANDFUL: usize = 256;

/// An opened file.
pub(super) struct Store {
    path: PathBuf,
    writer: Writer,
    members: Arc<Members>,
    /// For questions from outside of a group.
    asking: Mutex<Connection>,
    /// Chooses the partition of records without a key.
    turn: AtomicUsize,
    /// Held as long as the store lives.
    _lock: File,
}

/// One group's reader.
pub(super) struct Member {
    store: Arc<Store>,
    group: Group,
    queue: Arc<Queue>,
    paused: Mutex<HashSet<Partition>>,
    closing: AtomicBool,
    /// Nothing is committed by it any more.
    left: AtomicBool,
}

/// The readers to be woken when topics grow, and the groups that have one.
#[derive(Default)]
struct Members(Mutex<Vec<Weak<Member>>>);

impl Store {
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, Error> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| unusable(path, &error))?;
        }
        let lock = lock(path)?;
        let file = sql::open(path).map_err(|error| unusable(path, &error))?;
        let asking = sql::open_for_reading(path).map_err(|error| unusable(path, &error))?;
        let members = Arc::new(Members::default());
        let waking = Arc::clone(&members);
        let writer = Writer::start(file, Box::new(move |topics| waking.wake(topics)))?;
        let (asking, turn) = (Mutex::new(asking), AtomicUsize::new(0));
        Ok(Arc::new(Store { path: path.to_owned(), writer, members, asking, turn, _lock: lock }))
    }

    pub(super) fn join(self: &Arc<Self>, group: Group) -> Result<(Feed, Arc<Member>), Error> {
        let (feed, member) = self.member(group);
        self.members.enter(&member)?;
        let file = sql::open_for_reading(&self.path)?;
        reader::start(Arc::clone(&member), file)?;
        Ok((feed, member))
    }

    fn member(self: &Arc<Self>, group: Group) -> (Feed, Arc<Member>) {
        let queue = Queue::new(group.waiting_max, group.waiting_bytes_max);
        let feed = Feed::new(&queue);
        let (paused, closing, left) = (Mutex::default(), AtomicBool::new(false), AtomicBool::new(false));
        (feed, Arc::new(Member { store: Arc::clone(self), group, queue, paused, closing, left }))
    }

    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Result<(), Error> {
        let turn = self.turn.fetch_add(records.len(), Ordering::Relaxed);
        let topics = topics_of(&records);
        self.writer.write(topics, move |file| append_all(file, &records, turn)).await
    }

    pub(super) async fn create_topics(&self, topics: Vec<NewTopic>) -> Result<Vec<String>, Error> {
        let (tell, told) = tokio::sync::oneshot::channel();
        let names = topics.iter().map(|topic| topic.name.clone()).collect();
        let create = move |file: &Connection| {
            let created = sql::create_topics(file, &topics)?;
            let _ = tell.send(created);
            Ok(())
        };
        self.writer.write(names, create).await?;
        told.await.map_err(|_| Error::Closed)
    }

    pub(super) async fn topics(self: &Arc<Self>) -> Result<BTreeMap<String, i32>, Error> {
        self.ask(sql::topics).await
    }

    pub(super) async fn spans(
        self: &Arc<Self>,
        partitions: Vec<Partition>,
    ) -> Result<BTreeMap<Partition, Span>, Error> {
        let ask = move |file: &Connection| {
            let mut spans = BTreeMap::new();
            for partition in partitions {
                if let Some(held) = sql::partition(file, &partition)? {
                    spans.insert(partition, held.span);
                }
            }
            Ok(spans)
        };
        self.ask(ask).await
    }

    pub(super) async fn committed(
        self: &Arc<Self>,
        group: &str,
        partitions: Vec<Partition>,
    ) -> Result<Vec<Commit>, Error> {
        let group = group.to_owned();
        let ask = move |file: &Connection| {
            let each = partitions.iter().map(|partition| sql::committed(file, &group, partition));
            each.filter_map(Result::transpose).collect()
        };
        self.ask(ask).await
    }

    pub(super) async fn read(
        self: &Arc<Self>,
        partition: Partition,
        from: i64,
        limit: usize,
    ) -> Result<Vec<Record>, Error> {
        let ask = move |file: &Connection| {
            let mut records = Vec::new();
            if let Some(held) = sql::partition(file, &partition)? {
                let take = |record| {
                    records.push(record);
                    true
                };
                sql::read(file, &held, from, limit, take)?;
            }
            Ok(records)
        };
        self.ask(ask).await
    }

    pub(super) async fn scan<T: Send + 'static>(
        self: &Arc<Self>,
        Stretch { partition, from, limit }: Stretch,
        gathered: T,
        mut take: impl FnMut(&mut T, Record) -> bool + Send + 'static,
    ) -> Result<Scanned<T>, Error> {
        let (deadline, mut scanned) = (Instant::now() + limit, Scanned { gathered, next: from, ended: false });
        let store = Arc::clone(self);
        let scan = move || {
            let mut wanted = true;
            while wanted && !scanned.ended && Instant::now() < deadline {
                // A handful at a time: others have questions too.
                let file = store.asking.lock().expect("no asker panics");
                let Some(held) = sql::partition(&file, &partition)? else {
                    scanned.ended = true;
                    break;
                };
                let mut found = 0;
                scanned.next = sql::read(&file, &held, scanned.next, HANDFUL, |record| {
                    found += 1;
                    wanted = take(&mut scanned.gathered, record);
                    wanted && Instant::now() < deadline
                })?;
                scanned.ended = found == 0;
            }
            Ok(scanned)
        };
        tokio::task::spawn_blocking(scan).await.map_err(|_| Error::Closed)?
    }

    /// Asks on a thread that may block.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(self);
        let asked = move || question(&store.asking.lock().expect("no asker panics"));
        tokio::task::spawn_blocking(asked).await.map_err(|_| Error::Closed)?
    }
}

impl Member {
    pub(super) fn pause(&self, partitions: &[Partition]) {
        self.paused.lock().expect("no holder panics").extend(partitions.iter().cloned());
    }

    pub(super) fn resume(&self, partitions: &[Partition]) {
        self.paused.lock().expect("no holder panics").retain(|paused| !partitions.contains(paused));
        self.queue.nudge();
    }

    pub(super) async fn settle(&self, records: Vec<Arc<NewRecord>>, commits: Vec<Commit>) -> Result<(), Error> {
        if self.left.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let turn = self.store.turn.fetch_add(records.len(), Ordering::Relaxed);
        let (topics, group) = (topics_of(&records), self.group.group.clone());
        let work = move |file: &Connection| {
            append_all(file, &records, turn)?;
            commits.iter().try_for_each(|commit| sql::commit(file, &group, commit))
        };
        self.store.writer.write(topics, work).await
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.queue.nudge();
    }
}

impl Members {
    fn enter(&self, member: &Arc<Member>) -> Result<(), Error> {
        let mut members = self.0.lock().expect("no holder panics");
        members.retain(|member| member.strong_count() > 0);
        let (name, topics) = (&member.group.group, &member.group.topics);
        let shares = |other: &Arc<Member>| {
            let same = other.group.group == *name && other.group.topics.iter().any(|topic| topics.contains(topic));
            same && !other.left.load(Ordering::Acquire)
        };
        if members.iter().filter_map(Weak::upgrade).any(|other| shares(&other)) {
            let reason = format!("the group {name} reads a topic twice: the embedded log shares no partitions");
            return Err(Error::Config(reason));
        }
        members.push(Arc::downgrade(member));
        Ok(())
    }

    /// Wakes those who read one of these topics.
    fn wake(&self, topics: &[String]) {
        for member in self.0.lock().expect("no holder panics").iter().filter_map(Weak::upgrade) {
            if member.group.topics.iter().any(|topic| topics.contains(topic)) {
                member.queue.nudge();
            }
        }
    }
}

fn append_all(file: &Connection, records: &[impl Borrow<NewRecord>], turn: usize) -> Result<(), Error> {
    let now_ms = writer::now_ms();
    let mut each = records.iter().enumerate();
    each.try_for_each(|(index, record)| sql::append(file, index, record.borrow(), turn.wrapping_add(index), now_ms))
}

fn topics_of(records: &[impl Borrow<NewRecord>]) -> Vec<String> {
    let topics: HashSet<&String> = records.iter().map(|record| &record.borrow().topic).collect();
    topics.into_iter().cloned().collect()
}

/// Takes the file for this process; the lock's own file says who has it.
fn lock(path: &Path) -> Result<File, Error> {
    let beside = path.with_added_extension("lock");
    let mut options = File::options();
    let opened = options.create(true).read(true).write(true).truncate(false).open(&beside);
    let mut file = opened.map_err(|error| unusable(&beside, &error))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(taken(path, &mut file)),
        Err(TryLockError::Error(error)) => return Err(unusable(&beside, &error)),
    }
    let written = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
    written.map_err(|error| unusable(&beside, &error))?;
    Ok(file)
}

fn taken(path: &Path, file: &mut File) -> Error {
    let mut owner = String::new();
    let _ = file.read_to_string(&mut owner);
    let path = path.display();
    Error::Config(format!("the log {path} is in use by process {owner}; an embedded log serves one process at a time"))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Config(format!("the log {} cannot be used: {error}", path.display()))
}
