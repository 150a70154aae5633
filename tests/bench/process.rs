//! A child process that is measured from outside: its CPU time and memory as the kernel counts them in /proc.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Linux counts CPU time in ticks of 10 ms on every architecture that we run on (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// Where the children's words go, one file a name.
const LOGS: &str = "target/bench";

/// A running child, killed when it is dropped.
pub struct Measured {
    child: Child,
    log: PathBuf,
}

impl Measured {
    /// Starts a command, whose output goes to a file called `name` in target/bench.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        std::fs::create_dir_all(LOGS)?;
        let log = PathBuf::from(LOGS).join(format!("{name}.log"));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Measured { child, log })
    }

    /// As [`wait_until`], and ends at once when the process does.
    pub async fn wait_until(
        &mut self,
        what: &str,
        within: Duration,
        mut holds: impl AsyncFnMut() -> bool,
    ) -> Result<Duration> {
        let mut ended = None;
        let waited = wait_until(what, within, async || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some() || holds().await
        });
        let waited = waited.await.with_context(|| format!("{} tells more", self.log.display()))?;
        match ended {
            Some(status) => bail!("{what}: the process ended with {status}; {} tells more", self.log.display()),
            None => Ok(waited),
        }
    }

    /// User and system time of the process so far, to 10 ms.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = self.read("stat")?;
        let after_name = stat.rsplit_once(')').context("/proc/PID/stat has a name in brackets")?.1;
        let ticks: u32 =
            after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
        Ok(TICK * ticks)
    }

    /// Time that the process's threads spent on a CPU so far: finer than [`Measured::cpu`], without threads that have ended.
    pub fn scheduled(&self) -> Result<Duration> {
        let mut nanos = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanos += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory in KiB: now, and at its highest.
    pub fn memory_kib(&self) -> Result<(u64, u64)> {
        let status = self.read("status")?;
        Ok((field_kib(&status, "VmRSS:")?, field_kib(&status, "VmHWM:")?))
    }

    /// Fails when the process has ended, which a benchmark never expects.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("a measured process ended early, with {status}; {} tells more", self.log.display());
        }
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).context("the measured process is gone")
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // It may be gone already, and that is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field_kib(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).with_context(|| format!("{name} is no number"))
}

/// Polls a condition until it holds or the deadline has passed.
pub async fn wait_until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) -> Result<Duration> {
    let begun = Instant::now();
    while !holds().await {
        if begun.elapsed() > within {
            bail!("{what} did not happen within {within:?}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(begun.elapsed())
}
