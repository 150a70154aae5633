//! The logs that the conformance tests run on, and short words for what they do to them. Embedded is always there; Kafka
//! where Java and Maven are, or at `TILL_TEST_KAFKA=host:port` (`none` leaves it out).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bridge::log::{
    Alarm, Commit, Control, Feed, Group, Happening, Initial, Log, NewRecord, NewTopic, Partition, Position, Record,
    Revoked,
};
use bytes::Bytes;

use crate::ports;

/// Long enough for a slow machine; nothing waits for it when all is well.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub enum World {
    Embedded(tempfile::TempDir),
    Kafka(String),
}

impl World {
    pub fn embedded() -> World {
        World::Embedded(tempfile::tempdir().unwrap())
    }

    /// Every log of this machine.
    pub fn all() -> Vec<World> {
        let kafka = broker().clone().map(World::Kafka);
        std::iter::once(World::embedded()).chain(kafka).inspect(|world| eprintln!("on {}", world.name())).collect()
    }

    pub fn kafka() -> Option<World> {
        broker().clone().map(World::Kafka)
    }

    pub fn name(&self) -> &'static str {
        match self {
            World::Embedded(_) => "embedded",
            World::Kafka(_) => "kafka",
        }
    }

    /// A fresh handle, as another start of the process would have it. The embedded log has one at a time.
    pub fn open(&self) -> Log {
        self.open_as("replica-0")
    }

    pub fn open_as(&self, replica: &str) -> Log {
        match self {
            World::Embedded(folder) => Log::embedded(&folder.path().join("log.db")).unwrap(),
            World::Kafka(broker) => {
                let properties = BTreeMap::from([("bootstrap.servers".to_owned(), broker.clone())]);
                Log::kafka(properties, &unique(replica)).unwrap()
            }
        }
    }
}

/// A name that no other test has used, in this run or before.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}-{}", uuid::Uuid::new_v4().simple(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub async fn topic(log: &Log, partitions: i32) -> String {
    let name = unique("topic");
    create(log, &name, partitions).await;
    name
}

pub async fn create(log: &Log, name: &str, partitions: i32) {
    let topic = NewTopic { name: name.to_owned(), partitions, replication: 1, retention: None };
    assert_eq!(log.create_topics(vec![topic]).await, Ok(vec![name.to_owned()]));
}

/// The reply of a settlement.
pub fn reply(topic: &str, key: &str, value: &str) -> Arc<NewRecord> {
    record(topic, key, value).into()
}

pub fn record(topic: &str, key: &str, value: &str) -> NewRecord {
    NewRecord {
        topic: topic.to_owned(),
        partition: None,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        headers: vec![("h".into(), Some(Bytes::from_static(b"1"))), ("none".into(), None)],
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        timestamp_ms: None,
    }
}

pub fn commit(partition: &Partition, next: i64, metadata: &str) -> Commit {
    Commit { partition: partition.clone(), next, metadata: metadata.to_owned() }
}

/// A member of a group, its feed and what it may do.
pub struct Member {
    pub feed: Feed,
    pub control: Control,
}

impl Member {
    pub fn join(log: &Log, group: &Group) -> Member {
        let (feed, control) = log.join(group.clone()).unwrap();
        Member { feed, control }
    }

    pub async fn next(&mut self) -> Happening {
        let next = tokio::time::timeout(DEADLINE, self.feed.next()).await;
        next.expect("something happens before the deadline").expect("the feed goes on")
    }

    /// The next partitions. That there are none yet, while another member still holds them, is said as well and passed over.
    pub async fn assigned(&mut self) -> Vec<Position> {
        loop {
            match self.next().await {
                Happening::Assigned(positions) if positions.is_empty() => {}
                Happening::Assigned(positions) => return positions,
                Happening::Alarm(
                    Alarm::Topic { .. } | Alarm::Found { .. } | Alarm::Unavailable(_) | Alarm::Cleared,
                ) => {}
                other => panic!("an assignment was expected before {other:?}"),
            }
        }
    }

    /// The next `count` records, whatever else happens.
    pub async fn records(&mut self, count: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count {
            if let Happening::Record(record) = self.next().await {
                records.push(record);
            }
        }
        records
    }

    pub async fn values(&mut self, count: usize) -> Vec<String> {
        self.records(count).await.iter().map(value).collect()
    }

    /// The offset of the next end of a partition, and the records before it.
    pub async fn until_end(&mut self, of: &Partition) -> (Vec<Record>, i64) {
        let mut records = Vec::new();
        loop {
            match self.next().await {
                Happening::Record(record) => records.push(record),
                Happening::End { partition, next } if partition == *of => return (records, next),
                _ => {}
            }
        }
    }

    pub async fn alarm(&mut self) -> Alarm {
        loop {
            match self.next().await {
                Happening::Alarm(Alarm::Unavailable(_) | Alarm::Cleared) => {}
                Happening::Alarm(alarm) => return alarm,
                _ => {}
            }
        }
    }

    pub async fn revoked(&mut self) -> Revoked {
        loop {
            if let Happening::Revoked(revoked) = self.next().await {
                return revoked;
            }
        }
    }

    /// Leaves without settling anything.
    pub async fn leave(mut self) {
        self.control.close();
        while let Some(happening) = tokio::time::timeout(DEADLINE, self.feed.next()).await.expect("the feed ends") {
            drop(happening);
        }
    }
}

pub fn value(record: &Record) -> String {
    String::from_utf8(record.value.as_deref().unwrap_or_default().to_vec()).unwrap()
}

pub fn group(topics: &[&str], initial: Initial) -> Group {
    let mut group = Group::new("source", &unique("group"), topics, "replica-0", initial);
    group.revoke_timeout = Duration::from_secs(5);
    group
}

fn broker() -> &'static Option<String> {
    static BROKER: OnceLock<Option<String>> = OnceLock::new();
    BROKER.get_or_init(|| match std::env::var("TILL_TEST_KAFKA") {
        Ok(address) if address == "none" => {
            skip("the log on Apache Kafka", "a broker: TILL_TEST_KAFKA=none leaves it out");
            None
        }
        Ok(address) if !address.is_empty() => Some(address),
        _ if !(has("java", "-version") && has("mvn", "-version")) => {
            skip("the log's conformance on Apache Kafka", "java and mvn (Debian: default-jre-headless, maven)");
            None
        }
        _ => Some(format!("127.0.0.1:{}", Broker::start().0)),
    })
}

/// Says so loudly, where `make test` counts it, and fails where `CI=true`.
pub fn skip(test: &str, lacks: &str) {
    eprintln!("SKIPPED {test}: {lacks}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot be skipped in CI: {lacks}");
    if let Some(file) = std::env::var_os("TILL_TEST_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{test}: {lacks}").unwrap();
    }
}

pub fn has(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

/// A broker of one's own, which may be killed.
pub struct Broker(u16);

impl Broker {
    pub fn start() -> Broker {
        let broker = Broker(ports::free(1));
        broker.run("start");
        broker
    }

    pub fn world(&self) -> World {
        World::Kafka(format!("127.0.0.1:{}", self.0))
    }

    /// As `tools/kafka.sh` understands it. Its data lie in a folder that goes with this process.
    pub fn run(&self, what: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/kafka.sh");
        let done = Command::new(script)
            .args([what, &self.0.to_string()])
            .env("KAFKA_DATA_DIR", std::env::temp_dir().join(format!("till-kafka-{}", std::process::id())))
            .env("KAFKA_OWNER", std::process::id().to_string())
            .status();
        assert!(done.is_ok_and(|status| status.success()), "kafka.sh {what} failed; see above");
    }
}
