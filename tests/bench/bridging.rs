//! The bridge on a real Kafka: records per second into a sink that answers at once, against a plain client that posts to the
//! same sink; its CPU, its memory under lag, and the time from a record's timestamp to its settlement.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge::log::{Log, NewRecord, NewTopic};
use bytes::Bytes;

use crate::process::{Measured, free_pair, free_port, wait_until};
use crate::report::{Aim, Report};
use crate::sink;

const BRIDGE: &str = "target/release/till-bridge";
const CONNECTIONS: usize = 32;
const RECORDS: u64 = 300_000;
const LAG: u64 = 1_000_000;
const SOURCES: usize = 6;
const STEADY_PER_SECOND: u64 = 1_000;
const STEADY_SECONDS: u64 = 15;

pub async fn measure(report: &mut Report) -> Result<()> {
    eprintln!("bridge");
    let kafka = match Kafka::start() {
        Ok(kafka) => kafka,
        Err(why) => {
            report.skipped.push(format!("the bridge on Kafka: {why:#}"));
            return Ok(());
        }
    };
    throughput(report, &kafka).await?;
    latency(report, &kafka).await?;
    lag(report, &kafka).await
}

/// A broker of the benchmark's own, wiped at the end.
struct Kafka {
    port: u16,
    folder: tempfile::TempDir,
}

impl Kafka {
    fn start() -> Result<Kafka> {
        let kafka = Kafka { port: free_pair()?, folder: tempfile::tempdir()? };
        kafka.tool("start")?;
        Ok(kafka)
    }

    fn tool(&self, what: &str) -> Result<()> {
        let mut command = Command::new("tools/kafka.sh");
        let output = command.args([what, &self.port.to_string()]).env("KAFKA_DATA_DIR", self.folder.path()).output()?;
        ensure!(output.status.success(), "tools/kafka.sh {what}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn log(&self) -> Result<Log> {
        Ok(Log::kafka([("bootstrap.servers".to_owned(), self.address())].into(), "bench")?)
    }

    /// Writes `count` records of 200 bytes under 10,000 keys, as fast as it goes.
    async fn fill(&self, topic: &str, count: u64) -> Result<()> {
        let log = self.log()?;
        let topics = vec![NewTopic { name: topic.into(), partitions: 6, replication: 1, retention: None }];
        log.create_topics(topics).await?;
        for begin in (0..count).step_by(5_000) {
            let numbers = begin..(begin + 5_000).min(count);
            log.append(numbers.map(|number| record(topic, number)).collect()).await?;
        }
        Ok(())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Err(why) = self.tool("wipe") {
            eprintln!("bench: the broker on port {} may still run: {why:#}", self.port);
        }
    }
}

fn record(topic: &str, number: u64) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: None,
        key: Some(Bytes::from(format!("key-{}", number % 10_000))),
        headers: Vec::new(),
        value: Some(Bytes::from(vec![b'x'; 200])),
        timestamp_ms: None,
    }
}

/// The trivial sink in a process of its own.
struct Sink {
    _process: Measured,
    port: u16,
}

impl Sink {
    async fn start() -> Result<Sink> {
        let port = free_port()?;
        let process =
            Measured::start("sink", Command::new(std::env::current_exe()?).args(["sink", &port.to_string()]))?;
        let sink = Sink { _process: process, port };
        let url = sink.url("count");
        wait_until("the sink", Duration::from_secs(10), async || sink::get(&url).await.is_some()).await?;
        Ok(sink)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    async fn count(&self) -> u64 {
        sink::get(&self.url("count")).await.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// A bridge with one source for each topic.
struct Bridge {
    process: Measured,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Bridge {
    fn start(kafka: &Kafka, topics: &[&str], sink: &str) -> Result<Bridge> {
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let sources = sources(folder.path(), &kafka.address(), topics, sink)?;
        let mut command = Command::new(BRIDGE);
        command.arg("--sources").arg(sources).args(["--log", "kafka", "--replica", "bench", "--listen"]);
        let process = Measured::start("bridge", command.arg(format!("127.0.0.1:{port}")))?;
        Ok(Bridge { process, port, _folder: folder })
    }

    async fn metrics(&self) -> Result<String> {
        sink::get(&format!("http://127.0.0.1:{}/metrics", self.port)).await.context("the bridge's metrics")
    }
}

fn sources(folder: &Path, kafka: &str, topics: &[&str], sink: &str) -> Result<PathBuf> {
    let source = |topic: &&str| {
        format!(
            "apiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: {topic} }}\nspec:\n  bootstrapServers: [\"{kafka}\"]\n  \
             consumerGroup: {topic}-bench\n  topics: [{topic}]\n  ordering: key\n  concurrency: {{ max: {CONNECTIONS} }}\n  \
             reply: {{ none: true }}\n  sink: {{ uri: \"{sink}\" }}\n"
        )
    };
    let file = folder.join("sources.yaml");
    std::fs::write(&file, topics.iter().map(source).collect::<Vec<_>>().join("---\n"))?;
    Ok(file)
}

async fn throughput(report: &mut Report, kafka: &Kafka) -> Result<()> {
    let sink = Sink::start().await?;
    let plain = plain_load(&sink)?;
    report.add("plain load generator into the trivial sink", plain, "requests/s", None);

    kafka.fill("bench", RECORDS).await?;
    let (before, begun) = (sink.count().await, Instant::now());
    let mut bridge = Bridge::start(kafka, &["bench"], &sink.url(""))?;
    let done = async || sink.count().await >= before + RECORDS;
    bridge.process.wait_until("the last record", Duration::from_secs(120), done).await?;
    let took = begun.elapsed();
    let rate = RECORDS as f64 / took.as_secs_f64();
    report.add("bridge: records into the same sink, ordering key", rate, "records/s", None);
    report.add("bridge: rate against the plain load generator", rate / plain, "ratio", Some(Aim::AtLeast(0.5)));
    let cpu = bridge.process.cpu()?.as_micros() as f64 / RECORDS as f64;
    report.add("bridge: CPU per record", cpu, "µs", Some(Aim::AtMost(15.0)));
    Ok(())
}

fn plain_load(sink: &Sink) -> Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["load", &sink.url(""), &CONNECTIONS.to_string(), "5"]).output()?;
    ensure!(output.status.success(), "the load generator: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

async fn latency(report: &mut Report, kafka: &Kafka) -> Result<()> {
    let sink = Sink::start().await?;
    kafka.fill("steady", 1).await?;
    let mut bridge = Bridge::start(kafka, &["steady"], &sink.url(""))?;
    let first = async || sink.count().await >= 1;
    bridge.process.wait_until("the first delivery", Duration::from_secs(20), first).await?;
    let log = kafka.log()?;
    let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 / STEADY_PER_SECOND));
    for number in 0..STEADY_PER_SECOND * STEADY_SECONDS {
        beat.tick().await;
        let log = log.clone();
        tokio::spawn(async move { log.append(vec![record("steady", number)]).await });
    }
    let all = 1 + STEADY_PER_SECOND * STEADY_SECONDS;
    let last = async || sink.count().await >= all;
    bridge.process.wait_until("the last delivery", Duration::from_secs(20), last).await?;
    let metrics = bridge.metrics().await?;
    for (name, quantile) in [
        ("bridge: record timestamp to settled at 1,000/s, p50", 0.5),
        ("bridge: record timestamp to settled at 1,000/s, p99", 0.99),
    ] {
        report.add(name, quantile_ms(&metrics, quantile)?, "ms", None);
    }
    Ok(())
}

/// A quantile of the bridge's own histogram, interpolated within its bucket.
fn quantile_ms(metrics: &str, quantile: f64) -> Result<f64> {
    let buckets: Vec<(f64, f64)> = metrics
        .lines()
        .filter(|line| line.starts_with("till_record_to_settled_seconds_bucket"))
        .filter_map(|line| {
            let bound = line.split("le=\"").nth(1)?.split('"').next()?;
            Some((bound.parse().unwrap_or(f64::INFINITY), line.rsplit(' ').next()?.parse().ok()?))
        })
        .collect();
    let wanted = quantile * buckets.last().context("no histogram of settled records in /metrics")?.1;
    let mut below = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= wanted && bound.is_finite() {
            let part = (wanted - below.1) / (count - below.1).max(1.0);
            return Ok((below.0 + (bound - below.0) * part) * 1000.0);
        }
        below = (bound, count);
    }
    anyhow::bail!("the quantile {quantile} lies above the histogram's last bound")
}

async fn lag(report: &mut Report, kafka: &Kafka) -> Result<()> {
    let topics: Vec<String> = (0..SOURCES).map(|number| format!("lag-{number}")).collect();
    for topic in &topics {
        kafka.fill(topic, LAG / SOURCES as u64 + 1).await?;
    }
    // A sink that takes every connection and answers nobody: the lag stays.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", silent.local_addr()?);
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let bridge = Bridge::start(kafka, &names, &url)?;
    let mut held = Vec::new();
    let until = tokio::time::Instant::now() + Duration::from_secs(15);
    while let Ok(accepted) = tokio::time::timeout_at(until, silent.accept()).await {
        held.push(accepted?);
    }
    ensure!(held.len() >= SOURCES, "only {} connections reached the silent sink", held.len());
    let (_, highest) = bridge.process.memory_kib()?;
    report.add(
        "bridge: highest memory, a million records of lag, 6 sources",
        highest as f64 / 1024.0,
        "MiB",
        Some(Aim::AtMost(64.0)),
    );
    Ok(())
}
