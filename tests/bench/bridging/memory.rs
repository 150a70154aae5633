//! Memory while a million records wait and the sinks answer nobody.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Bridge, Sources};
use crate::kafka::Kafka;
use crate::report::{Aim, Report};

const LAG: u64 = 1_000_000;
const SOURCES: usize = 6;
const WATCHED: Duration = Duration::from_secs(15);

pub async fn measure(report: &mut Report, kafka: &Kafka) -> Result<()> {
    let topics: Vec<String> = (0..SOURCES).map(|number| format!("lag-{number}")).collect();
    for topic in &topics {
        kafka.fill(topic, LAG / SOURCES as u64 + 1).await?;
    }
    // A sink that takes every connection and answers nobody: the lag stays.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", silent.local_addr()?);
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let bridge = Bridge::start(kafka, &Sources::of(&names, &url))?;
    let mut held = Vec::new();
    let until = tokio::time::Instant::now() + WATCHED;
    while let Ok(accepted) = tokio::time::timeout_at(until, silent.accept()).await {
        held.push(accepted?);
    }
    ensure!(held.len() >= SOURCES, "only {} connections reached the silent sink", held.len());
    let (_, highest) = bridge.process.memory_kib()?;
    let name = "bridge: highest memory, a million records of lag, 6 sources";
    report.add(name, highest as f64 / 1024.0, "MiB", Some(Aim::AtMost(48.0)));
    Ok(())
}
