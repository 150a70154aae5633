//! What it costs to carry a record: against a plain load generator that posts to the same sink in the same run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bridge::log::{Log, NewRecord, NewTopic};
use bytes::Bytes;
use till::address::Ports;

use super::load::{self, Sink};
use super::report::Report;
use super::usage;
use crate::project;

const RECORDS: u64 = 100_000;
const LAG: u64 = 1_000_000;
const SOURCES: usize = 6;
/// Records per second and seconds of the latency's measurement.
const RATE: u64 = 1_000;
const SECONDS: u64 = 10;
const PATIENCE: Duration = Duration::from_secs(300);

struct Bridge(Child);

impl Bridge {
    fn start(folder: &Path, port: u16) -> Self {
        let child = Command::new(project::program("till-bridge"))
            .arg("--log")
            .arg(format!("embedded:{}", folder.join("log.db").display()))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--ingress-tokens")
            .arg(folder.join("tokens"))
            .arg("--sources")
            .arg(folder.join("sources.yaml"))
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .expect("the bridge starts");
        Bridge(child)
    }

    fn process(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Throughput, processor time, latency, and memory at a lag.
pub async fn measure(folder: &Path, report: &mut Report) {
    throughput(&folder.join("throughput"), report).await;
    latency(&folder.join("latency"), report).await;
    memory(&folder.join("lag"), report).await;
}

async fn throughput(folder: &Path, report: &mut Report) {
    let sink = Sink::start("quick");
    load::first_answer(sink.port, "/count").await;
    let plain = RECORDS as f64 / load::generate(sink.port, "/", RECORDS, 32).await.as_secs_f64();
    let (before, _, _) = load::counted(sink.port).await;
    fill(folder, sink.port, 1, RECORDS).await;
    let started = Instant::now();
    let bridge = Bridge::start(folder, free());
    until_counted(sink.port, before + RECORDS).await;
    let ours = RECORDS as f64 / started.elapsed().as_secs_f64();
    let cpu = usage::cpu(bridge.process()).as_secs_f64() * 1e6 / RECORDS as f64;
    report.add("plain load generator into a sink that answers at once", plain, "records/s", "");
    report.add("bridge, embedded log, into the same sink", ours, "records/s", "");
    report.add("bridge against plain", ours / plain, "times", "at least 0.5");
    report.add("bridge: processor time per record", cpu, "µs", "");
}

async fn latency(folder: &Path, report: &mut Report) {
    let sink = Sink::start("quick");
    load::first_answer(sink.port, "/count").await;
    fill(folder, sink.port, 1, 0).await;
    let port = free();
    let _bridge = Bridge::start(folder, port);
    load::first_answer(port, "/health/live").await;
    push_steadily(port).await;
    until_counted(sink.port, RATE * SECONDS).await;
    let (_, median, slow) = load::counted(sink.port).await;
    report.add("bridge: push to sink at 1,000 records/s, median", median as f64 / 1e3, "ms", "");
    report.add("bridge: push to sink at 1,000 records/s, 99th percentile", slow as f64 / 1e3, "ms", "");
}

/// Batches of ten a hundred times a second, through the ingress.
async fn push_steadily(port: u16) {
    let client = till::client::Client::default();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    for batch in 0..RATE * SECONDS / 10 {
        tick.tick().await;
        let events: Vec<_> = (0..10).map(|number| pushed(batch * 10 + number)).collect();
        let body = Bytes::from(serde_json::to_vec(&events).expect("events are JSON"));
        let (client, address) = (client.clone(), format!("http://127.0.0.1:{port}/topics/bench0"));
        tokio::spawn(async move {
            let headers = [("content-type", "application/cloudevents-batch+json"), ("authorization", "Bearer bench")];
            let answer = client.call(http::Method::POST, &address, &headers, Some(body)).await;
            answer.and_then(|answer| answer.ok(&address)).expect("the ingress takes a batch");
        });
    }
}

fn pushed(number: u64) -> serde_json::Value {
    serde_json::json!({
        "specversion": "1.0", "id": number.to_string(), "source": "/bench", "type": "bench0.thing.made",
        "subject": format!("thing-{}", number % 997), "sentus": load::now_us().to_string(),
        "data": "x".repeat(200),
    })
}

async fn memory(folder: &Path, report: &mut Report) {
    let sink = Sink::start("silent");
    fill(folder, sink.port, SOURCES, LAG).await;
    let bridge = Bridge::start(folder, free());
    let mut highest = 0.0;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        highest = usage::mebibytes(bridge.process(), "VmHWM");
    }
    report.add("bridge: memory with six sources and 1,000,000 records of lag", highest, "MiB", "below 64");
}

/// A log with `total` records spread over the topics of `sources` sources that all call one sink.
async fn fill(folder: &Path, sink: u16, sources: usize, total: u64) {
    std::fs::create_dir_all(folder.join("tokens")).expect("a folder");
    std::fs::write(folder.join("sources.yaml"), documents(sources, sink, &folder.join("tokens"))).expect("the sources");
    let log = Log::embedded(&folder.join("log.db")).expect("a log");
    let topic = |number| NewTopic { name: format!("bench{number}"), partitions: 6, replication: 1, retention: None };
    log.create_topics((0..sources).map(topic).collect()).await.expect("topics");
    for first in (0..total).step_by(1000) {
        let records = (first..(first + 1000).min(total)).map(|number| record(number, sources)).collect();
        log.append(records).await.expect("the log takes records");
    }
}

fn record(number: u64, sources: usize) -> NewRecord {
    let header = |name: &str, value: String| (name.to_owned(), Some(Bytes::from(value)));
    let headers = vec![
        header("ce_specversion", "1.0".to_owned()),
        header("ce_id", number.to_string()),
        header("ce_source", "/bench".to_owned()),
        header("ce_type", "bench.thing.made".to_owned()),
        header("ce_subject", format!("thing-{}", number % 997)),
        header("content-type", "text/plain".to_owned()),
    ];
    let key = Some(Bytes::from(format!("thing-{}", number % 997)));
    let topic = format!("bench{}", number as usize % sources);
    NewRecord { topic, partition: None, key, headers, value: Some(Bytes::from(vec![b'x'; 200])), timestamp_ms: None }
}

fn documents(sources: usize, sink: u16, tokens: &Path) -> String {
    (0..sources)
        .map(|number| {
            std::fs::write(tokens.join(format!("bench{number}")), "bench").expect("a token");
            format!(
                "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{ name: bench{number} }}\n\
                 spec: {{ topic: bench{number}, bootstrapServers: [none], numPartitions: 6, replicationFactor: 1 }}\n\
                 ---\napiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: bench{number} }}\n\
                 spec:\n  bootstrapServers: [none]\n  consumerGroup: bench{number}\n  topics: [bench{number}]\n\
                 \x20 concurrency: {{ max: 64 }}\n  sink: {{ uri: 'http://127.0.0.1:{sink}/{number}' }}\n"
            )
        })
        .collect()
}

async fn until_counted(port: u16, total: u64) {
    let deadline = Instant::now() + PATIENCE;
    while load::counted(port).await.0 < total {
        assert!(Instant::now() < deadline, "the sink never got its {total} records");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn free() -> u16 {
    Ports::free().expect("there are free ports").bridge
}

/// Where the bench keeps its logs while it runs.
pub fn folder() -> PathBuf {
    crate::project::root().join("target/bench")
}
