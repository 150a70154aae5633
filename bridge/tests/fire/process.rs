//! `till-bridge` as a process that can be killed, frozen and asked.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::ports;
use crate::support::{try_exchange, wait_within};

pub struct Process {
    child: Child,
    pub address: SocketAddr,
    pub replica: String,
}

impl Process {
    /// Its log goes to `folder`, behind that of its predecessors of the same name.
    pub fn start(folder: &Path, replica: &str, more: &[&str]) -> Process {
        let address = ports::address();
        let log = File::options().append(true).create(true).open(folder.join(format!("{replica}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_till-bridge"))
            .arg("--sources")
            .arg(folder.join("sources.yaml"))
            .args(["--listen", &address.to_string(), "--replica", replica, "--drain", "3s"])
            .args(more)
            .env("RUST_LOG", "bridge=info")
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        Process { child, address, replica: replica.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// As `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        let ended = || self.child.try_wait().unwrap();
        wait_within(Duration::from_secs(40), "the end of a bridge", ended).code()
    }

    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        try_exchange(self.address, &format!("GET {path} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n"))
    }

    /// A number of its one source's state; 0 while it does not answer.
    pub fn number(&self, name: &str) -> u64 {
        let state = self.get("/sources").and_then(|(_, body)| serde_json::from_str(&body).ok());
        let state: serde_json::Value = state.unwrap_or_default();
        let source = state.get("sources").unwrap_or(&state).get(0).cloned().unwrap_or_default();
        source.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
    }

    /// The most memory that it ever had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
