//! What Linux counts of a process, and how one is asked to end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Memory in KiB.
pub struct Memory {
    pub resident_kib: u64,
    /// Its share, where pages belong to several processes.
    pub proportional_kib: u64,
}

/// CPU time of all threads so far.
pub fn cpu(id: u32) -> Result<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

pub fn memory(id: u32) -> Result<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).context("the measured process is gone")?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).with_context(|| format!("no {name}"))
    };
    Ok(Memory { resident_kib: field("Rss:")?, proportional_kib: field("Pss:")? })
}

/// SIGTERM.
pub async fn terminate(id: u32) -> Result<()> {
    let status = tokio::process::Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
    ensure!(status.success(), "kill -TERM {id} ended with {status}");
    Ok(())
}
