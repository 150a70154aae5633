//! `make bench`: what the house costs. Each figure is measured in this run, next to the limit that it is compared with, and
//! printed as a table and as JSON. A command, never a test: figures of a busy machine say little.

mod bridging;
mod hosting;
mod kafka;
mod process;
mod report;
mod sink;

use std::time::Duration;

use anyhow::{Context, Result};

use report::Report;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["sink", port] => runtime.block_on(sink::serve(port.parse()?)),
        ["load", target, connections, seconds] => {
            runtime.block_on(load(target, connections.parse()?, seconds.parse()?))
        }
        [] => runtime.block_on(measure(&["host", "bridge"])),
        parts if parts.iter().all(|part| ["host", "bridge"].contains(part)) => runtime.block_on(measure(parts)),
        _ => anyhow::bail!("usage: bench [host] [bridge] (`make bench` builds what it measures)"),
    }
}

async fn measure(parts: &[&str]) -> Result<()> {
    let mut report = Report::default();
    if parts.contains(&"host") {
        hosting::measure(&mut report).await.context("the host's figures")?;
    }
    if parts.contains(&"bridge") {
        bridging::measure(&mut report).await.context("the bridge's figures")?;
    }
    report.print();
    let json = serde_json::to_string_pretty(&report)?;
    std::fs::write("target/bench.json", &json).context("target/bench.json")?;
    println!("as JSON: target/bench.json");
    Ok(())
}

/// The plain load generator in a process of its own, so that its CPU time is its own.
async fn load(target: &str, connections: usize, seconds: u64) -> Result<()> {
    let load = sink::load(target, connections, Duration::from_secs(seconds), sink::event_request).await?;
    println!("{}", load.per_second());
    Ok(())
}
