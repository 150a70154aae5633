//! What the bridge costs while nobody sends anything, for it is the one part of the house that never sleeps.

use std::time::Duration;

use anyhow::Result;

use super::{Bridge, Sources};
use crate::kafka::Kafka;
use crate::report::{Aim, Report};
use crate::sink;

const SOURCES: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);
const WATCHED: Duration = Duration::from_secs(20);

pub async fn measure(report: &mut Report, kafka: &Kafka) -> Result<()> {
    let topics: Vec<String> = (0..SOURCES).map(|number| format!("rest-{number}")).collect();
    for topic in &topics {
        kafka.create(topic).await?;
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut bridge = Bridge::start(kafka, &Sources::of(&names, "http://127.0.0.1:9/"))?;
    let ready = format!("http://127.0.0.1:{}/health/ready", bridge.port);
    bridge.process.wait_until("readiness", PATIENCE, async || sink::get(&ready).await.is_some()).await?;
    let before = bridge.process.scheduled()?;
    tokio::time::sleep(WATCHED).await;
    let spent = bridge.process.scheduled()?.saturating_sub(before);
    let per_second = spent.as_secs_f64() * 1_000.0 / WATCHED.as_secs_f64();
    let name = "bridge: CPU while 6 sources have nothing to do";
    report.add(name, per_second, "ms/s", Some(Aim::AtMost(10.0)));
    let (now, _) = bridge.process.memory_kib()?;
    report.add("bridge: memory of 6 sources that have nothing to do", now as f64 / 1024.0, "MiB", None);
    Ok(())
}
