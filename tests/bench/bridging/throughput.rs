//! Records per second into a sink that answers at once, against a plain client that posts to the same sink.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Bridge, Sink, Sources};
use crate::kafka::Kafka;
use crate::process::Measured;
use crate::report::{Aim, Report, median};

pub const RECORDS: u64 = 300_000;
pub const TOPIC: &str = "bench";
const WARMING: usize = 2;
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run came to.
pub struct Run {
    pub records_per_second: f64,
    pub cpu_us_per_record: f64,
}

impl Run {
    /// All records, by a process that did nothing else.
    pub fn of(took: Duration, process: &Measured) -> Result<Run> {
        Ok(Run {
            records_per_second: RECORDS as f64 / took.as_secs_f64(),
            cpu_us_per_record: process.cpu()?.as_micros() as f64 / RECORDS as f64,
        })
    }
}

pub async fn measure(report: &mut Report, kafka: &Kafka) -> Result<()> {
    let sink = Sink::start().await?;
    kafka.fill(TOPIC, RECORDS).await?;
    kafka.create("bench-replies").await?;
    let [none, replies] = [sink.url(""), sink.url("reply")];
    let keyed = Sources::of(&[TOPIC], &none);
    let free = Sources { ordering: "unordered", ..Sources::of(&[TOPIC], &none) };
    let replied = Sources { reply: "{ topic: bench-replies }", ..Sources::of(&[TOPIC], &replies) };

    let [plain, rate, ratio, cpu] = compare(kafka, &sink, "", &keyed, "key").await?;
    report.add("plain load generator into the trivial sink", plain, "requests/s", None);
    report.add("bridge, key: records into the same sink", rate, "records/s", None);
    report.add("bridge, key: rate against the plain load generator", ratio, "ratio", Some(Aim::AtLeast(0.6)));
    report.add("bridge, key: CPU per record", cpu, "µs", Some(Aim::AtMost(15.0)));

    let [_, _, ratio, cpu] = compare(kafka, &sink, "", &free, "free").await?;
    report.add("bridge, unordered: rate against the plain load generator", ratio, "ratio", Some(Aim::AtLeast(0.6)));
    report.add("bridge, unordered: CPU per record", cpu, "µs", Some(Aim::AtMost(15.0)));

    let [_, _, ratio, cpu] = compare(kafka, &sink, "reply", &replied, "replied").await?;
    report.add("bridge, replies in transactions: rate against plain", ratio, "ratio", Some(Aim::AtLeast(0.4)));
    report.add("bridge, replies in transactions: CPU per record", cpu, "µs", None);
    Ok(())
}

/// The bridge and the plain client by turns, because the machine under them may be another one from minute to minute: requests a
/// second, records a second, the ratio of the two, and CPU per record, each the median of its rounds.
async fn compare(kafka: &Kafka, sink: &Sink, path: &str, sources: &Sources<'_>, group: &str) -> Result<[f64; 4]> {
    let begin = |number: usize| format!("{group}-{number}");
    // A broker compiles itself while it runs: what it does for the first time takes several times as long as later.
    for number in 0..WARMING {
        run(kafka, sink, &Sources { group: &begin(number), ..*sources }).await?;
    }
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for number in WARMING..WARMING + ROUNDS {
        plain.push(sink.plain_load(path)?);
        ours.push(run(kafka, sink, &Sources { group: &begin(number), ..*sources }).await?);
    }
    Ok([
        median(plain.iter().copied()),
        median(ours.iter().map(|run| run.records_per_second)),
        median(ours.iter().zip(&plain).map(|(run, plain)| run.records_per_second / plain)),
        median(ours.iter().map(|run| run.cpu_us_per_record)),
    ])
}

pub async fn run(kafka: &Kafka, sink: &Sink, sources: &Sources<'_>) -> Result<Run> {
    let before = sink.count().await;
    let mut bridge = Bridge::start(kafka, sources)?;
    let begun = Instant::now();
    bridge.process.wait_until("the last record", PATIENCE, async || sink.count().await >= before + RECORDS).await?;
    Run::of(begun.elapsed(), &bridge.process)
}
