//! The bridge on a Kafka that allows little, and creates topics by itself: rules about who may write where, offsets with 64 bytes
//! beside them, topics for small records and for large ones.

#![allow(clippy::unwrap_used)]

#[path = "support/acl.rs"]
mod acl;
#[allow(dead_code)]
#[path = "fire/cluster.rs"]
mod cluster;
#[path = "strict/lost.rs"]
mod lost;
#[path = "support/place.rs"]
mod place;
#[path = "support/ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "fire/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "fire/proxy.rs"]
mod proxy;
mod support;

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use bridge::check::Level;
use bridge::log::{NewRecord, Transactions};
use cluster::Cluster;
use place::{Place, replies, reply};
use process::Process;
use support::*;

static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Where the bridges of this process say something.
struct Said;

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        SAID.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that they have said so far.
fn said() -> String {
    String::from_utf8_lossy(&SAID.lock().unwrap()).into_owned()
}

/// A line with these words, of the bridge at this place.
fn wait_for_line(place: &Place, words: &str) {
    wait(words, || said().lines().any(|line| line.contains(words) && line.contains(&place.name)).then_some(()));
}

/// One broker for all of these tests. It goes with this process: nothing drops it.
fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let start = || {
        let log = tracing_subscriber::fmt().with_writer(|| Said).with_ansi(false);
        log.with_max_level(tracing::Level::WARN).init();
        let own = "offset.metadata.max.bytes=64\nmessage.max.bytes=10000000\nauto.create.topics.enable=true";
        let properties = format!("{}\n{own}", acl::PROPERTIES);
        Cluster::start(1, &std::env::temp_dir().join(format!("till-strict-{}", std::process::id())), &[], &properties)
    };
    CLUSTER.get_or_init(start).as_ref()
}

fn broker() -> Option<String> {
    cluster().map(Cluster::direct)
}

fn valued(key: &str, value: Vec<u8>) -> NewRecord {
    NewRecord { value: Some(value.into()), ..record(key, "") }
}

/// A sink whose answers cannot all be written.
fn poisonous(place: &Place) -> Sink {
    let (out, name) = (place.out(), place.name.clone());
    Sink::start(move |call, _| {
        let data = call.data();
        let mut event = reply(call, &out, &data);
        match data.as_str() {
            _ if call.is_wake() => return answer(204),
            "huge" => event.data = Some(vec![b'x'; 2 << 20].into()),
            "narrow" => {
                event.kind = format!("{name}-narrow.x");
                event.data = Some(vec![b'x'; 3_000].into());
            }
            "nowhere" | "forbidden" => event.kind = format!("{name}-{data}.x"),
            _ => {}
        }
        Answer::events(&[event])
    })
}

// promise: BRIDGE: an aborted transaction is redone without a second call
#[test]
fn poison_among_a_thousand_replies_stops_its_own_lane_and_costs_nobody_a_second_call() {
    let Some(broker) = broker() else { return };
    let place = Place::new(&broker);
    let topic = |kind: &str| format!("{}-{kind}", place.name);
    place.create(&topic("forbidden"), 1, 1 << 20);
    place.create(&topic("narrow"), 1, 2_000);
    acl::forbid_writing(&broker, &topic("forbidden"));
    let sink = poisonous(&place);
    let poison = ["huge", "nowhere", "forbidden", "narrow"];
    let mut records: Vec<NewRecord> = (0..1_000).map(|n| record(&format!("k{}", n % 200), &n.to_string())).collect();
    for (n, kind) in poison.iter().enumerate() {
        // The same key afterwards: it waits behind.
        records.insert(200 * (n + 1), record(kind, kind));
        records.push(record(kind, "behind"));
    }
    let bridge = place.start("one", &sink);
    place.write(records);
    let written = place.wait_for_replies(1_000);
    let stopped =
        || Some(bridge.get("/health/ready").1).filter(|said| said.matches("is stopped").count() == poison.len());
    let said = wait("four lanes that say why they stopped", stopped);
    for word in ["2097", "Unknown topic", "authorization", "too large"] {
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "{word}: {said}");
    }
    assert_eq!(replies(&written).len(), 1_000);
    assert!(replies(&written).values().all(|count| *count == 1), "a reply stands there twice");
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    sink.deliveries().iter().for_each(|call| *calls.entry(call.data()).or_default() += 1);
    assert_eq!(calls.len(), 1_000 + poison.len(), "what is behind poison was not delivered");
    assert!(calls.values().all(|count| *count == 1), "a second call: {calls:?}");
    assert!(place.read(&place.dead()).is_empty());
    assert!(!place.exists(&format!("{}-nowhere", place.name)), "the broker made a topic of a wrong type");
}

// promise: BRIDGE: where a broker or its ACLs give no transactions, the bridge does without and says so at start
#[test]
fn where_transactions_are_forbidden_everything_is_written_at_least_once() {
    let Some(broker) = broker() else { return };
    let place = Place::new(&broker);
    acl::forbid_transactions(&broker, &place.name);
    let sink = place.sink(Duration::ZERO);
    let bridge = place.start("one", &sink);
    let mut records: Vec<NewRecord> = (0..300).map(|n| record(&format!("k{}", n % 20), &n.to_string())).collect();
    records.extend([record("k1", "refuse"), record("k2", "fail"), record("k1", "last")]);
    place.write(records);
    let written = place.wait_for_replies(302);
    place.wait_until_settled();
    assert_eq!(place.read(&place.dead()).len(), 1);
    assert_eq!(replies(&written).len(), 302);
    assert!(bridge.get("/sources").1.contains("\"transactional\": false"), "it says so");
    wait_for_line(&place, "the cluster gives no transactions");
    bridge.stop();
    let calls = sink.deliveries().len();
    let bridge = place.start("one", &sink);
    place.write(vec![record("k1", "afterwards")]);
    wait("one more", || replies(&place.read(&place.out())).contains_key("reply-afterwards").then_some(()));
    assert_eq!(sink.deliveries().len(), calls + 1, "what was settled was not delivered again");
    drop(bridge);
}

// promise: BRIDGE: `check` finds topics that are missing or too small, and what the broker says that we may not do
#[test]
fn check_asks_for_transactional_ids_and_takes_none_from_a_bridge_that_runs() {
    let Some(broker) = broker() else { return };
    let mut place = Place::new(&broker);
    let sink = place.sink(Duration::ZERO);
    let bridge = place.start("one", &sink);
    place.write(vec![record("k", "before")]);
    place.wait_for_replies(1);
    assert_eq!(place.check("one", &sink), []);
    place.write(vec![record("k", "after")]);
    assert_eq!(replies(&place.wait_for_replies(2)).get("reply-after"), Some(&1));
    assert!(bridge.get("/metrics").1.contains("till_commit_failures_total{source=\"s\"} 0"), "its id was taken");
    bridge.stop();
    acl::forbid_transactions(&broker, &place.name);
    let id = format!("{}-one-s", place.name);
    let mut told = |transactions, level, words: &[&str]| {
        place.transactions = transactions;
        let found = place.check("one", &sink);
        let [found] = found.as_slice() else { panic!("one for the source, and none for the ingress: {found:#?}") };
        let text = format!("{} {}", found.text, found.remedy);
        assert!(found.level == level && words.iter().all(|word| text.contains(word)), "{found:#?}");
    };
    told(Transactions::Auto, Level::Warning, &[&id, "at least once", "Write and Describe on transactional ids"]);
    told(Transactions::Required, Level::Error, &[&id, "nothing would be written"]);
    place.transactions = Transactions::Never;
    assert_eq!(place.check("one", &sink), []);
}

#[test]
fn transactions_that_are_required_and_forbidden_are_told_and_nothing_is_done() {
    let Some(broker) = broker() else { return };
    let mut place = Place::new(&broker);
    place.transactions = Transactions::Required;
    acl::forbid_transactions(&broker, &place.name);
    let sink = place.sink(Duration::ZERO);
    let bridge = place.start("one", &sink);
    place.write(vec![record("k", "1")]);
    let said = || Some(bridge.get("/health/ready").1).filter(|said| said.contains("Transactional Id authorization"));
    wait("the reason", said);
    assert!(sink.deliveries().is_empty());
}

#[test]
fn without_transactions_poison_stops_its_own_lane_and_the_others_go_on() {
    let Some(broker) = broker() else { return };
    let mut place = Place::new(&broker);
    place.transactions = Transactions::Never;
    place.create(&format!("{}-narrow", place.name), 1, 2_000);
    let (out, narrow) = (place.out(), format!("{}-narrow.x", place.name));
    let sink = Sink::start(move |call, _| {
        let mut event = reply(call, &out, &call.data());
        if call.data() == "narrow" {
            event.kind = narrow.clone();
            event.data = Some(vec![b'x'; 3_000].into());
        }
        if call.is_wake() { answer(204) } else { Answer::events(&[event]) }
    });
    let bridge = place.start("one", &sink);
    wait_for_line(&place, "--transactions never");
    let value = |n: usize| if [50, 60].contains(&n) { "narrow".into() } else { n.to_string() };
    place.write((0..100).map(|n| record(&format!("k{n}"), &value(n))).collect());
    wait("98 settled", || bridge.get("/sources").1.contains("\"settled\": 98").then_some(()));
    wait("reasons", || (bridge.get("/health/ready").1.matches("is stopped").count() == 2).then_some(()));
    let calls = sink.deliveries();
    assert_eq!(calls.len(), 100, "a second call");
    let written = place.read(&place.out());
    assert_eq!((written.len(), replies(&written).len()), (98, 98), "what was not refused stands there once");
}

// promise: BRIDGE: a broker that keeps only 64 bytes beside an offset is served as well
#[test]
fn a_broker_with_64_bytes_of_metadata_loses_and_repeats_nothing() {
    let Some(broker) = broker() else { return };
    let place = Place::new(&broker);
    let stuck = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (held, out) = (std::sync::Arc::clone(&stuck), place.out());
    let sink = Sink::start(move |call, _| match call.data().as_str() {
        _ if call.is_wake() => answer(204),
        "stuck" if held.load(std::sync::atomic::Ordering::Relaxed) => answer(500),
        data => Answer::events(&[reply(call, &out, data)]),
    });
    let retries = "  delivery: { retry: forever, backoffDelay: PT0.02S, maxBackoff: PT0.1S }\n";
    let bridge = place.start_with("one", &sink, retries);
    // One that hangs at the beginning of each partition: what is settled behind it has to be kept in the metadata.
    let to = |partition: i32, record: NewRecord| NewRecord { partition: Some(partition), ..record };
    place.write((0..3).map(|n| to(n, record("stuck", "stuck"))).collect());
    place.write((0..300).map(|n| to(n % 3, record(&format!("k{n}"), &n.to_string()))).collect());
    let some_commits = || {
        let commits = place.commits();
        (commits.len() == 3 && commits.iter().all(|commit| !commit.metadata.is_empty())).then_some(commits)
    };
    let commits = wait("commits with metadata", some_commits);
    assert!(commits.iter().all(|commit| commit.metadata.len() <= 64), "{commits:?}");
    bridge.stop();
    stuck.store(false, std::sync::atomic::Ordering::Relaxed);
    let bridge = place.start_with("one", &sink, retries);
    let written = place.wait_for_replies(303);
    place.wait_until_settled();
    drop(bridge);
    assert_eq!(replies(&written).get("299"), Some(&1));
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    sink.deliveries().iter().for_each(|call| *calls.entry(call.data()).or_default() += 1);
    calls.remove("stuck");
    assert_eq!(calls.len(), 300);
    assert!(calls.values().all(|count| *count == 1), "delivered twice: {calls:?}");
}

// promise: BRIDGE: metadata of others is ignored
#[test]
fn a_group_with_somebody_elses_metadata_is_taken_over() {
    let Some(broker) = broker() else { return };
    let place = Place::new(&broker);
    place.write((0..30).map(|n| NewRecord { partition: Some(0), ..record("k", &n.to_string()) }).collect());
    let partition = place.partitions().remove(0);
    commit_as_another(&broker, &place.name, &partition, 10, "node-rdkafka was here");
    let sink = place.sink(Duration::ZERO);
    let bridge = place.start("one", &sink);
    let calls = sink.wait_for(20);
    place.wait_until_settled();
    assert_eq!(calls.first().map(Call::data), Some("10".to_owned()));
    drop(bridge);
    assert_eq!(sink.deliveries().len(), 20);
}

fn commit_as_another(broker: &str, group: &str, partition: &bridge::log::Partition, next: i64, metadata: &str) {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
    let consumer: BaseConsumer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", broker).set("group.id", group).create().unwrap();
    let mut offsets = rdkafka::TopicPartitionList::new();
    let mut offset = offsets.add_partition(&partition.topic, partition.number);
    offset.set_offset(rdkafka::Offset::Offset(next)).unwrap();
    offset.set_metadata(metadata);
    wait("a commit", || consumer.commit(&offsets, CommitMode::Sync).ok());
}

// promise: BRIDGE: records of 2 MiB flow to the sink and to the dead letters
#[test]
fn large_records_flow_to_the_sink_and_to_the_dead_letters() {
    let Some(broker) = broker() else { return };
    let place = Place::new(&broker);
    let sink = Sink::start(|call, _| match call.event.data.as_ref().map_or(0, |data| data.len()) {
        _ if call.is_wake() => answer(204),
        size if size == 3 << 20 => answer(422),
        _ => answer(204),
    });
    let bridge = place.start("one", &sink);
    for n in 0..12 {
        let size = if n == 5 { 3 << 20 } else { 2 << 20 };
        place.write(vec![valued(&format!("k{n}"), vec![n; size]), record(&format!("k{n}"), "small")]);
    }
    let calls = sink.wait_for(24);
    wait("a dead letter", || (place.read(&place.dead()).len() == 1).then_some(()));
    place.wait_until_settled();
    drop(bridge);
    let sizes = calls.iter().filter(|call| call.event.data.as_ref().is_some_and(|data| data.len() == 2 << 20)).count();
    assert_eq!((calls.len(), sizes), (24, 11));
    assert_eq!(place.read(&place.dead())[0].value.as_ref().map(|value| value.len()), Some(3 << 20));
}

/// How much a bridge grows, in MiB, while 60 records of 2 MiB wait for a slow sink.
fn growth_under_lag(broker: &str, more: &str) -> u64 {
    let (place, folder) = (Place::new(broker), tempfile::tempdir().unwrap());
    let sink = Sink::start(|_, _| answer(204).after(Duration::from_millis(100)));
    let documents = place.documents(&sink, &format!("  concurrency: {{ max: 1 }}\n{more}"));
    std::fs::write(folder.path().join("sources.yaml"), documents).unwrap();
    let process = Process::start(folder.path(), "prefetch", &[]);
    place.write(vec![record("first", "small")]);
    sink.wait_for(1);
    let before = process.peak_kib();
    (0..20).for_each(|n| place.write((0..3).map(|m| valued(&format!("k{n}-{m}"), vec![n; 2 << 20])).collect()));
    wait_within(Duration::from_secs(60), "all of them", || (sink.deliveries().len() == 61).then_some(()));
    let growth = (process.peak_kib() - before) / 1_024;
    println!("grown by {growth} MiB");
    process.kill();
    growth
}

// promise: BRIDGE: what librdkafka fetches ahead is bounded by bytes, also where records are large
#[test]
fn a_lag_of_large_records_stays_outside() {
    let Some(broker) = broker() else { return };
    // Measured: 6, and 52 with bounds of 64 MiB.
    assert!(growth_under_lag(&broker, "") < 24);
}
