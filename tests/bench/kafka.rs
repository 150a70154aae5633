//! A real Kafka broker for the time of a benchmark, and records to fill its topics with.

use std::process::Command;

use anyhow::{Result, ensure};
use bridge::log::{Log, NewRecord, NewTopic, Transactions};
use bytes::Bytes;
use till::address::free;

/// The broker's partitions of every topic.
pub const PARTITIONS: i32 = 6;

/// As Kafka's own scripts start a broker. That of tests is started to be small, with the lesser compiler.
const JVM: &str = "-Xms1g -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 \
                   -XX:+ExplicitGCInvokesConcurrent";

/// A broker of the benchmark's own, wiped at the end.
pub struct Kafka {
    port: u16,
    folder: tempfile::TempDir,
}

impl Kafka {
    pub fn start() -> Result<Kafka> {
        let kafka = Kafka { port: free(1), folder: tempfile::tempdir()? };
        kafka.tool("start")?;
        Ok(kafka)
    }

    fn tool(&self, what: &str) -> Result<()> {
        let mut command = Command::new("tools/kafka.sh");
        command.args([what, &self.port.to_string()]).env("KAFKA_DATA_DIR", self.folder.path()).env("KAFKA_JVM", JVM);
        let output = command.output()?;
        ensure!(output.status.success(), "tools/kafka.sh {what}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A writer without transactions, as most producers are: a record is to be read as soon as it is written.
    pub fn log(&self) -> Result<Log> {
        Ok(Log::kafka_with([("bootstrap.servers".to_owned(), self.address())].into(), "bench", Transactions::Never)?)
    }

    pub async fn create(&self, topic: &str) -> Result<()> {
        let topics = vec![NewTopic { name: topic.into(), partitions: PARTITIONS, replication: 1, retention: None }];
        self.log()?.create_topics(topics).await?;
        Ok(())
    }

    /// Writes `count` records of 200 bytes under 10,000 keys, as fast as it goes.
    pub async fn fill(&self, topic: &str, count: u64) -> Result<()> {
        let log = self.log()?;
        self.create(topic).await?;
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

/// 200 bytes under one of 10,000 keys, as a producer that knows nothing of CloudEvents writes them.
pub fn record(topic: &str, number: u64) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: None,
        key: Some(Bytes::from(format!("key-{}", number % 10_000))),
        headers: Vec::new(),
        value: Some(Bytes::from(vec![b'x'; 200])),
        timestamp_ms: None,
    }
}
