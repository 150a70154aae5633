//! From exec to the first delivery of a record that waits, and from a SIGKILL to the next one.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Bridge, Sink, Sources};
use crate::kafka::Kafka;
use crate::report::{Aim, Report};

const TOPIC: &str = "starting";
const STARTS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn measure(report: &mut Report, kafka: &Kafka) -> Result<()> {
    let (sink, log) = (Sink::start().await?, kafka.log()?);
    let url = sink.url("");
    let sources = Sources::of(&[TOPIC], &url);
    kafka.create(TOPIC).await?;
    let mut starts = Vec::new();
    for number in 0..=STARTS as u64 {
        log.append(vec![crate::kafka::record(TOPIC, number)]).await?;
        let before = sink.count().await;
        let begun = Instant::now();
        let mut bridge = Bridge::start(kafka, &sources)?;
        bridge.process.wait_until("a delivery", PATIENCE, async || sink.count().await > before).await?;
        starts.push(begun.elapsed().as_secs_f64());
        // Dropping it is a SIGKILL: whether its last commit got through is what the next start finds out.
    }
    // The first start makes the group; the others follow a SIGKILL and find the member that was killed.
    let first = starts.remove(0);
    starts.sort_by(f64::total_cmp);
    report.add("bridge: exec to first delivery, new group", first * 1000.0, "ms", Some(Aim::AtMost(200.0)));
    let median = starts[STARTS / 2];
    report.add(
        "bridge: exec after a SIGKILL to next delivery, median",
        median * 1000.0,
        "ms",
        Some(Aim::AtMost(200.0)),
    );
    report.add("bridge: exec after a SIGKILL to next delivery, worst", starts[STARTS - 1], "s", Some(Aim::AtMost(5.0)));
    Ok(())
}
