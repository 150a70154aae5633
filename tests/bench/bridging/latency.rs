//! From a record's timestamp to its settlement at a steady thousand records a second.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bridge, Sink, Sources};
use crate::kafka::{Kafka, record};
use crate::report::{Aim, Report};

const TOPIC: &str = "steady";
const PER_SECOND: u64 = 1_000;
const SECONDS: u64 = 15;
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn measure(report: &mut Report, kafka: &Kafka) -> Result<()> {
    let sink = Sink::start().await?;
    kafka.fill(TOPIC, 1).await?;
    let url = sink.url("");
    let mut bridge = Bridge::start(kafka, &Sources::of(&[TOPIC], &url))?;
    bridge.process.wait_until("the first delivery", PATIENCE, async || sink.count().await >= 1).await?;
    let log = kafka.log()?;
    let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 / PER_SECOND));
    for number in 0..PER_SECOND * SECONDS {
        beat.tick().await;
        let log = log.clone();
        tokio::spawn(async move { log.append(vec![record(TOPIC, number)]).await });
    }
    let all = 1 + PER_SECOND * SECONDS;
    bridge.process.wait_until("the last delivery", PATIENCE, async || sink.count().await >= all).await?;
    let metrics = bridge.metrics().await?;
    let (p50, p99) = (quantile_ms(&metrics, 0.5)?, quantile_ms(&metrics, 0.99)?);
    report.add("bridge: record timestamp to settled at 1,000/s, p50", p50, "ms", None);
    report.add("bridge: record timestamp to settled at 1,000/s, p99", p99, "ms", Some(Aim::AtMost(10.0)));
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
