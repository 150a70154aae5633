//! The bridge on a real Kafka: what it is measured with, and the order of its measurements.

mod kafkajs;
mod latency;
mod memory;
mod resting;
mod starting;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use till::address::free;

use crate::kafka::Kafka;
use crate::process::{Measured, wait_until};
use crate::report::Report;
use crate::sink;

const BRIDGE: &str = "target/release/till-bridge";
/// Calls under way at a time, of the bridge and of those that it is compared with.
const CONNECTIONS: usize = 32;

pub async fn measure(report: &mut Report) -> Result<()> {
    eprintln!("bridge");
    let kafka = match Kafka::start() {
        Ok(kafka) => kafka,
        Err(why) => {
            report.skipped.push(format!("the bridge on Kafka: {why:#}"));
            return Ok(());
        }
    };
    throughput::measure(report, &kafka).await?;
    kafkajs::measure(report, &kafka).await?;
    starting::measure(report, &kafka).await?;
    latency::measure(report, &kafka).await?;
    memory::measure(report, &kafka).await?;
    resting::measure(report, &kafka).await
}

/// The trivial sink in a process of its own.
struct Sink {
    _process: Measured,
    port: u16,
}

impl Sink {
    async fn start() -> Result<Sink> {
        let port = free(0);
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

    /// What a client that knows nothing of Kafka reaches.
    fn plain_load(&self, path: &str) -> Result<f64> {
        let mut command = Command::new(std::env::current_exe()?);
        let output = command.args(["load", &self.url(path), &CONNECTIONS.to_string(), "3"]).output()?;
        ensure!(output.status.success(), "the load generator: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }
}

/// A bridge with one source for each topic.
struct Bridge {
    process: Measured,
    port: u16,
    _folder: tempfile::TempDir,
}

/// What the sources of a bridge have in common.
#[derive(Clone, Copy)]
struct Sources<'a> {
    topics: &'a [&'a str],
    /// The group of a topic is called `TOPIC-GROUP`.
    group: &'a str,
    ordering: &'a str,
    reply: &'a str,
    sink: &'a str,
}

impl<'a> Sources<'a> {
    fn of(topics: &'a [&'a str], sink: &'a str) -> Self {
        Sources { topics, group: "bench", ordering: "key", reply: "{ none: true }", sink }
    }
}

impl Bridge {
    fn start(kafka: &Kafka, sources: &Sources) -> Result<Bridge> {
        let (folder, port) = (tempfile::tempdir()?, free(0));
        let file = write(folder.path(), &kafka.address(), sources)?;
        let mut command = Command::new(BRIDGE);
        command.arg("--sources").arg(file).args(["--log", "kafka", "--replica", "bench", "--listen"]);
        let process = Measured::start("bridge", command.arg(format!("127.0.0.1:{port}")))?;
        Ok(Bridge { process, port, _folder: folder })
    }

    async fn metrics(&self) -> Result<String> {
        sink::get(&format!("http://127.0.0.1:{}/metrics", self.port)).await.context("the bridge's metrics")
    }
}

fn write(folder: &Path, kafka: &str, sources: &Sources) -> Result<PathBuf> {
    let Sources { topics, group, ordering, reply, sink } = sources;
    let source = |topic: &&str| {
        format!(
            "apiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: {topic} }}\nspec:\n  bootstrapServers: [\"{kafka}\"]\n  \
             consumerGroup: {topic}-{group}\n  topics: [{topic}]\n  ordering: {ordering}\n  \
             concurrency: {{ max: {CONNECTIONS} }}\n  reply: {reply}\n  sink: {{ uri: \"{sink}\" }}\n"
        )
    };
    let file = folder.join("sources.yaml");
    std::fs::write(&file, topics.iter().map(source).collect::<Vec<_>>().join("---\n"))?;
    Ok(file)
}
