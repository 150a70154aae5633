//! `till-bridge` as a process whose every word is kept.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::ports;
use crate::support::{try_exchange, wait};
use crate::world::unique;

pub struct Process {
    child: Child,
    pub address: SocketAddr,
    said: PathBuf,
}

impl Process {
    /// `log` is `kafka` or `embedded:PATH`; secrets lie in `folder/secrets`, push tokens in `folder/tokens`.
    pub fn start(folder: &Path, log: &str, documents: &str) -> Process {
        let (sources, said) = (folder.join("sources.yaml"), folder.join("said"));
        std::fs::write(&sources, documents).unwrap();
        std::fs::create_dir_all(folder.join("tokens")).unwrap();
        std::fs::create_dir_all(folder.join("secrets")).unwrap();
        let address = ports::address();
        let child = Command::new(env!("CARGO_BIN_EXE_till-bridge"))
            .arg("--sources")
            .arg(sources)
            // Processes on one broker must not have one name.
            .args([
                "--log",
                log,
                "--listen",
                &address.to_string(),
                "--replica",
                &unique("r"),
                "--drain",
                "1s",
                "--secrets",
            ])
            .arg(folder.join("secrets"))
            .arg("--ingress-tokens")
            .arg(folder.join("tokens"))
            // Everything that it can say, so that a secret in it would be found.
            .env("RUST_LOG", "info,bridge=debug")
            .stderr(Stdio::from(std::fs::File::create(&said).unwrap()))
            .spawn()
            .unwrap();
        let process = Process { child, address, said };
        wait("an answer", || process.get("/health/live"));
        process
    }

    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        try_exchange(self.address, &format!("GET {path} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n"))
    }

    /// What readiness complains of, once it holds the word.
    pub fn wait_for_complaint(&self, word: &str) -> String {
        wait(&format!("a complaint of `{word}`; the last was {:?}", self.get("/health/ready")), || {
            self.get("/health/ready")
                .filter(|(status, body)| *status == 503 && body.contains(word))
                .map(|(_, body)| body)
        })
    }

    pub fn wait_until_ready(&self) {
        wait("readiness", || self.get("/health/ready").filter(|(status, _)| *status == 200));
    }

    /// Pushes an event of topic `in`; answers the status.
    pub fn push(&self, topic: &str, token: &str) -> Option<(u16, String)> {
        let request = format!(
            "POST /topics/{topic} HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\n\
             ce-type: {topic}.y\r\nce-subject: s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        try_exchange(self.address, &request)
    }

    /// Everything that it has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    /// The lines above debug level.
    pub fn loud_lines(&self) -> usize {
        self.said().lines().filter(|line| !line.contains("DEBUG")).count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
