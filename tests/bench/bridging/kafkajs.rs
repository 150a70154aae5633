//! The same work done by a KafkaJS consumer: what teams run today to call a function for each record.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{CONNECTIONS, Sink};
use crate::kafka::Kafka;
use crate::process::Measured;
use crate::report::{Aim, Report};

const RECORDS: u64 = 60_000;
const TOPIC: &str = "kafkajs";
const PATIENCE: Duration = Duration::from_secs(120);

/// `bridge` is how many records a second of the bridge's CPU moves.
pub async fn measure(report: &mut Report, kafka: &Kafka, bridge: f64) -> Result<()> {
    let packages = match packages() {
        Ok(packages) => packages,
        Err(why) => {
            report.skipped.push(format!("KafkaJS: {why:#}"));
            return Ok(());
        }
    };
    let sink = Sink::start().await?;
    kafka.fill(TOPIC, RECORDS).await?;
    let mut command = Command::new("node");
    command.arg(std::fs::canonicalize("tests/bench/kafkajs.mjs")?).current_dir(&packages);
    command.args([&packages, &kafka.address(), TOPIC, &sink.url(""), &CONNECTIONS.to_string()]);
    let begun = Instant::now();
    let mut process = Measured::start("kafkajs", &mut command)?;
    process.wait_until("KafkaJS' last record", PATIENCE, async || sink.count().await >= RECORDS).await?;
    let rate = RECORDS as f64 / begun.elapsed().as_secs_f64();
    let per_cpu_second = RECORDS as f64 / process.cpu()?.as_secs_f64();
    report.add("KafkaJS consumer: records into the same sink", rate, "records/s", None);
    report.add("KafkaJS consumer: CPU per record", 1_000_000.0 / per_cpu_second, "µs", None);
    let ratio = bridge / per_cpu_second;
    report.add("bridge, key: rate per CPU second against KafkaJS", ratio, "times", Some(Aim::AtLeast(5.0)));
    Ok(())
}

/// The folder with KafkaJS in it.
fn packages() -> Result<String> {
    let output = Command::new("tools/nest.sh").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
