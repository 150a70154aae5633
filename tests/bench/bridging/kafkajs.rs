//! The same work done by a KafkaJS consumer: what teams run today to call a function for each record.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::throughput::{self, RECORDS, Run, TOPIC};
use super::{CONNECTIONS, Sink, Sources};
use crate::kafka::Kafka;
use crate::process::Measured;
use crate::report::{Aim, Report, median};

/// By turns, because the machine under them may be another one from minute to minute.
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

/// How KafkaJS is run.
struct Way {
    how: &'static str,
    rate: &'static str,
    cpu: &'static str,
    ratio: &'static str,
}

const WAYS: [Way; 2] = [
    // With calls abreast, which somebody has to write.
    Way {
        how: "eachBatch",
        rate: "KafkaJS by the batch: records into the same sink",
        cpu: "KafkaJS by the batch: CPU per record",
        ratio: "bridge, key: rate per CPU second against KafkaJS by the batch",
    },
    // As NestJS does it.
    Way {
        how: "eachMessage",
        rate: "KafkaJS by the message: records into the same sink",
        cpu: "KafkaJS by the message: CPU per record",
        ratio: "bridge, key: rate per CPU second against KafkaJS by the message",
    },
];

/// All read the same topic from its beginning, from their own start to the last record.
pub async fn measure(report: &mut Report, kafka: &Kafka) -> Result<()> {
    let packages = match packages() {
        Ok(packages) => packages,
        Err(why) => {
            report.skipped.push(format!("KafkaJS: {why:#}"));
            return Ok(());
        }
    };
    let sink = Sink::start().await?;
    let (mut ours, mut theirs) = (Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        let (group, url) = (format!("beside-{round}"), sink.url(""));
        let sources = Sources { group: &group, ..Sources::of(&[TOPIC], &url) };
        ours.push(throughput::run(kafka, &sink, &sources).await?);
        for (Way { how, .. }, runs) in WAYS.iter().zip(&mut theirs) {
            runs.push(run(kafka, &sink, &packages, how, &format!("{how}-{round}")).await?);
        }
    }
    WAYS.iter().zip(&theirs).for_each(|(way, theirs)| compare(report, way, &ours, theirs));
    Ok(())
}

fn compare(report: &mut Report, way: &Way, ours: &[Run], theirs: &[Run]) {
    let rate = median(theirs.iter().map(|run| run.records_per_second));
    report.add(way.rate, rate, "records/s", None);
    let cpu = median(theirs.iter().map(|run| run.cpu_us_per_record));
    report.add(way.cpu, cpu, "µs", None);
    let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| theirs.cpu_us_per_record / ours.cpu_us_per_record);
    report.add(way.ratio, median(ratios), "times", Some(Aim::AtLeast(5.0)));
}

async fn run(kafka: &Kafka, sink: &Sink, packages: &str, how: &str, group: &str) -> Result<Run> {
    let mut command = Command::new("node");
    command.arg(std::fs::canonicalize("tests/bench/kafkajs.mjs")?).current_dir(packages);
    command.args([packages, &kafka.address(), TOPIC, group, &sink.url(""), &CONNECTIONS.to_string(), how]);
    let (before, begun) = (sink.count().await, Instant::now());
    let mut process = Measured::start("kafkajs", &mut command)?;
    process.wait_until("KafkaJS' last record", PATIENCE, async || sink.count().await >= before + RECORDS).await?;
    Run::of(begun.elapsed(), &process)
}

/// The folder with KafkaJS in it.
fn packages() -> Result<String> {
    let output = Command::new("tools/nest.sh").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
