//! A cluster, bridges as processes, a sink, and somebody who writes all the time: everything that faults happen to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bridge::log::{Error, Log, NewRecord, NewTopic, Partition, Record};
use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use tokio::runtime::Runtime;

use crate::checker::Evidence;
use crate::cluster::Cluster;
use crate::disk::Disk;
use crate::process::Process;
use crate::sink::{REFUSE, Sink};
use crate::situation::Written;
use crate::support::{topics, wait_within};
use crate::told;

pub const PARTITIONS: i32 = 6;
/// Of a broker's disk: room for the records of some hours.
const SIZE: &str = "size=1g";

/// What kind of world it is.
pub struct Plan {
    pub brokers: usize,
    pub bridges: usize,
    pub records_per_second: u32,
    pub keys: u32,
    /// What a call costs the sink.
    pub work: Duration,
    /// Each broker has a disk of its own, which can be filled.
    pub small_disks: bool,
    pub seed: u64,
}

/// Something after which a record may be delivered again that was answered before.
pub struct Interruption {
    pub at: Instant,
    /// Records that the bridge had in memory then: no more can come twice.
    pub in_memory: u64,
}

pub struct World {
    pub cluster: Cluster,
    pub sink: Sink,
    pub bridges: BTreeMap<usize, Process>,
    pub interruptions: Vec<Interruption>,
    pub chance: fastrand::Rng,
    pub peak_kib: u64,
    pub written: Arc<Written>,
    keys: u32,
    log: Log,
    runtime: Runtime,
    /// One a broker, or none. They go after the cluster, whose records are on them.
    pub disks: Vec<Disk>,
    folder: tempfile::TempDir,
}

impl World {
    /// `None` where there can be no Kafka.
    pub fn start(plan: &Plan) -> Option<World> {
        let folder = tempfile::tempdir().unwrap();
        let disks = if plan.small_disks { mount(plan.brokers, folder.path()) } else { Vec::new() };
        let places: Vec<PathBuf> = disks.iter().map(|disk| disk.path().to_owned()).collect();
        let cluster = Cluster::start(plan.brokers, &folder.path().join("kafka"), &places, "")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let log = open(&cluster.direct(), "watcher");
        let new = |name: &str, partitions| NewTopic {
            name: name.into(),
            partitions,
            replication: plan.brokers as i32,
            retention: None,
        };
        let all = vec![new("in", PARTITIONS), new("out", PARTITIONS), new("dead", 1)];
        let create = || runtime.block_on(log.create_topics(all.clone())).ok();
        wait_within(Duration::from_secs(60), "topics", create);
        let sink = Sink::start("out", plan.work, plan.seed);
        let mut world = World {
            cluster,
            sink,
            bridges: BTreeMap::new(),
            interruptions: Vec::new(),
            chance: fastrand::Rng::with_seed(plan.seed),
            peak_kib: 0,
            written: Arc::default(),
            keys: plan.keys,
            log,
            runtime,
            disks,
            folder,
        };
        std::fs::write(world.path().join("sources.yaml"), world.documents()).unwrap();
        (0..plan.bridges).for_each(|number| world.start_bridge(number));
        Some(world)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn documents(&self) -> String {
        let servers: Vec<String> = self.cluster.proxied().split(',').map(|server| format!("'{server}'")).collect();
        let servers = servers.join(", ");
        let source = format!(
            "---\napiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: s }}\nspec:\n  bootstrapServers: [{servers}]\n  \
             topics: [in]\n  consumerGroup: g\n  sink: {{ uri: 'http://{}/' }}\n  reply: {{ byType: true }}\n  \
             concurrency: {{ max: 16 }}\n  delivery: {{ retry: forever, backoffDelay: PT0.05S, maxBackoff: PT0.5S, timeout: PT5S, \
             deadLetterSink: {{ ref: {{ kind: KafkaSink, name: dead }} }} }}\n",
            self.sink.address
        );
        topics(&[("in", 6), ("out", 6), ("dead", 1)]).replace("[b:1]", &format!("[{servers}]")) + &source
    }

    pub fn start_bridge(&mut self, number: usize) {
        let process = Process::start(self.path(), &format!("bridge-{number}"), &[]);
        self.bridges.insert(number, process);
    }

    /// SIGTERM: it must end well.
    pub fn stop_bridge(&mut self, number: usize) {
        let process = self.bridges.remove(&number).unwrap();
        self.peak_kib = self.peak_kib.max(process.peak_kib());
        let replica = process.replica.clone();
        assert_eq!(process.stop(), Some(0), "{replica} did not end well");
    }

    /// `kill -9`, and a successor of the same name.
    pub fn replace_bridge(&mut self, number: usize) {
        let process = self.bridges.remove(&number).unwrap();
        self.peak_kib = self.peak_kib.max(process.peak_kib());
        let in_memory = process.number("buffered_records") + process.number("in_flight");
        self.interruptions.push(Interruption { at: Instant::now(), in_memory });
        process.kill();
        self.start_bridge(number);
    }

    /// Waits until the bridges have got on by a hundred answers, and says how long that took.
    pub fn wait_for_progress(&self) -> Duration {
        let (begun, before) = (Instant::now(), self.sink.finals());
        let progress = || (self.sink.finals() >= before + 100).then_some(());
        wait_within(Duration::from_secs(90), "progress after a fault", progress);
        begun.elapsed()
    }

    pub fn any_bridge(&mut self) -> usize {
        let numbers: Vec<usize> = self.bridges.keys().copied().collect();
        numbers[self.chance.usize(..numbers.len())]
    }

    /// Records of every key, until the writer is dropped. What it writes twice because it did not know is in the topic twice.
    pub fn writer(&self, records_per_second: u32) -> Writer {
        let (log, over) = (open(&self.cluster.direct(), "writer"), Arc::new(AtomicBool::new(false)));
        let (keys, written) = (self.keys, Arc::clone(&self.written));
        let (mut chance, stop) = (fastrand::Rng::with_seed(self.chance.clone().u64(..)), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            while !stop.load(Ordering::Relaxed) {
                let batch: Vec<NewRecord> =
                    (0..records_per_second.div_ceil(20)).map(|_| some(&mut chance, keys)).collect();
                written.count(runtime.block_on(log.append(batch)));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Writer { over, thread: Some(thread) }
    }

    /// So many records at once.
    pub fn write(&mut self, count: usize) {
        for _ in 0..count.div_ceil(1_000) {
            let batch: Vec<NewRecord> = (0..1_000).map(|_| some(&mut self.chance, self.keys)).collect();
            self.insist(|| self.log.append(batch.clone()));
        }
    }

    /// The largest record that the topic of dead letters takes.
    pub fn limit_dead_letters(&self, bytes_max: &str) {
        let client: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.cluster.direct()).create().unwrap();
        let change = AlterConfig::new(ResourceSpecifier::Topic("dead")).set("max.message.bytes", bytes_max);
        let changed = self.runtime.block_on(client.alter_configs(&[change], &AdminOptions::new())).unwrap();
        assert!(changed.iter().all(Result::is_ok), "{changed:?}");
    }

    /// What everybody has asked and written, when it is over.
    pub fn evidence(&mut self) -> Evidence {
        Evidence {
            input: self.read("in"),
            replies: self.read("out"),
            letters: self.read("dead"),
            calls: self.sink.calls(),
            interruptions: told::interruptions(self.path()).into_iter().chain(self.interruptions.drain(..)).collect(),
        }
    }

    /// Everybody ends well.
    pub fn stop_all(&mut self) {
        let numbers: Vec<usize> = self.bridges.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.stop_bridge(number));
    }

    /// Everything that readers committed see in a topic.
    fn read(&self, topic: &str) -> Vec<Record> {
        let count = self.insist(|| self.log.topics())[topic];
        let read = |number| self.insist(|| self.log.read(Partition::new(topic, number), 0, 1_000_000));
        (0..count).flat_map(read).collect()
    }

    /// Records that the group has not committed.
    pub fn try_lag(&self) -> Result<i64, Error> {
        let partitions: Vec<Partition> = (0..PARTITIONS).map(|number| Partition::new("in", number)).collect();
        let spans = self.runtime.block_on(self.log.spans(partitions.clone()))?;
        let commits = self.runtime.block_on(self.log.committed("g", partitions))?;
        let ends: i64 = spans.values().map(|span| span.end).sum();
        Ok(ends - commits.iter().map(|commit| commit.next).sum::<i64>())
    }

    /// However long it takes, as long as the lag gets shorter: what frozen bridges left is much work for a busy machine.
    pub fn wait_until_settled(&self, patience: Duration) {
        let mut least = i64::MAX;
        while least > 0 {
            let shorter = || {
                std::thread::sleep(Duration::from_millis(100));
                self.try_lag().ok().filter(|lag| *lag < least)
            };
            least = wait_within(patience, "the lag to get shorter", shorter);
        }
    }

    fn insist<T, F: Future<Output = Result<T, Error>>>(&self, call: impl Fn() -> F) -> T {
        wait_within(Duration::from_secs(60), "the cluster", || self.runtime.block_on(call()).ok())
    }

    /// What the bridges said, for who looks for a mistake.
    fn keep_logs(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        let logs = std::fs::read_dir(self.path()).unwrap().flatten().map(|entry| entry.path());
        for log in logs.filter(|path| path.extension().is_some_and(|end| end == "log")) {
            std::fs::copy(&log, folder.join(log.file_name().unwrap())).unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.situation());
        }
        self.keep_logs(&target().join("fire"));
    }
}

/// Where a run leaves what it found.
pub fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    if target.is_absolute() { target } else { PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(target) }
}

/// Writes until it is dropped.
pub struct Writer {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A small disk for each broker; none for whom may not mount one.
fn mount(brokers: usize, folder: &Path) -> Vec<Disk> {
    let disks: Option<Vec<Disk>> =
        (0..brokers).map(|broker| Disk::mount(&folder.join(format!("disk-{broker}")), SIZE)).collect();
    disks.unwrap_or_default()
}

fn open(servers: &str, name: &str) -> Log {
    Log::kafka(BTreeMap::from([("bootstrap.servers".to_owned(), servers.to_owned())]), name).unwrap()
}

fn some(chance: &mut fastrand::Rng, keys: u32) -> NewRecord {
    let value = if chance.u8(..50) == 0 { REFUSE } else { "work" };
    NewRecord {
        topic: "in".into(),
        partition: None,
        key: Some(format!("k{}", chance.u32(..keys)).into()),
        headers: Vec::new(),
        value: Some(Bytes::from_static(value.as_bytes())),
        timestamp_ms: None,
    }
}
