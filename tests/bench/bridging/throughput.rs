//! Records per second into a sink that answers at once, against a plain client that posts to the same sink.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Bridge, Sink, Sources};
use crate::kafka::Kafka;
use crate::report::{Aim, Report};

const RECORDS: u64 = 300_000;
const TOPIC: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run came to.
struct Run {
    records_per_second: f64,
    cpu_us_per_record: f64,
}

/// Answers the records that a second of CPU moves with ordering by key.
pub async fn measure(report: &mut Report, kafka: &Kafka) -> Result<f64> {
    let sink = Sink::start().await?;
    kafka.fill(TOPIC, RECORDS).await?;
    kafka.create("bench-replies").await?;
    let plain = sink.plain_load("")?;
    report.add("plain load generator into the trivial sink", plain, "requests/s", None);

    let url = sink.url("");
    // A broker compiles itself while it runs: what it does for the first time takes several times as long as later.
    let keyed = |group| Sources { group, ..Sources::of(&[TOPIC], &url) };
    run(kafka, &sink, &keyed("warming")).await?;
    let by_key = run(kafka, &sink, &keyed("by-key")).await?;
    report.add("bridge, key: records into the same sink", by_key.records_per_second, "records/s", None);
    let ratio = by_key.records_per_second / plain;
    report.add("bridge, key: rate against the plain load generator", ratio, "ratio", Some(Aim::AtLeast(0.6)));
    report.add("bridge, key: CPU per record", by_key.cpu_us_per_record, "µs", Some(Aim::AtMost(15.0)));

    let free = Sources { group: "free", ordering: "unordered", ..Sources::of(&[TOPIC], &url) };
    let free = run(kafka, &sink, &free).await?;
    let ratio = free.records_per_second / plain;
    report.add("bridge, unordered: rate against the plain load generator", ratio, "ratio", Some(Aim::AtLeast(0.6)));
    report.add("bridge, unordered: CPU per record", free.cpu_us_per_record, "µs", Some(Aim::AtMost(15.0)));

    let plain = sink.plain_load("reply")?;
    let url = sink.url("reply");
    let with_replies = |group| Sources { group, reply: "{ topic: bench-replies }", ..Sources::of(&[TOPIC], &url) };
    run(kafka, &sink, &with_replies("warming-replies")).await?;
    let replied = run(kafka, &sink, &with_replies("replied")).await?;
    let ratio = replied.records_per_second / plain;
    report.add("bridge, replies in transactions: rate against plain", ratio, "ratio", Some(Aim::AtLeast(0.4)));
    report.add("bridge, replies in transactions: CPU per record", replied.cpu_us_per_record, "µs", None);
    Ok(1_000_000.0 / by_key.cpu_us_per_record)
}

async fn run(kafka: &Kafka, sink: &Sink, sources: &Sources<'_>) -> Result<Run> {
    let before = sink.count().await;
    let mut bridge = Bridge::start(kafka, sources)?;
    let begun = Instant::now();
    bridge.process.wait_until("the last record", PATIENCE, async || sink.count().await >= before + RECORDS).await?;
    let took = begun.elapsed();
    Ok(Run {
        records_per_second: RECORDS as f64 / took.as_secs_f64(),
        cpu_us_per_record: bridge.process.cpu()?.as_micros() as f64 / RECORDS as f64,
    })
}
