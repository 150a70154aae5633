//! What stays awake while the function sleeps: the bridge of the image, on the embedded log, with the function's own source from
//! sources.yaml.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use chart_tests::chart::{self, text};
use chart_tests::{gateway, yaml};
use http_body_util::Full;
use hyper::Request;
use tokio::process::{Child, Command};

use crate::function::{NAME, layout};
use crate::process;

/// What the bridge shows the function.
pub const BRIDGE_TOKEN: &str = "bridge-of-the-harness";
/// What the harness shows the bridge, in the name of the function core.
const PUSH_TOKEN: &str = "core-of-the-harness";
const READY: Duration = Duration::from_secs(20);

/// Who listens where, on the loopback.
pub struct Places {
    pub gateway: u16,
    pub bridge: u16,
    pub function: u16,
}

impl Places {
    pub fn free() -> Result<Self> {
        Ok(Places { gateway: free_port()?, bridge: free_port()?, function: free_port()? })
    }
}

/// A port that nobody listens on now, below those that the kernel gives out to clients.
pub fn free_port() -> Result<u16> {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let begun = std::process::id() as u16;
    let step = || NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut tried = (0..12_000).map(|_| 20_000 + begun.wrapping_add(step()) % 12_000);
    // A listener, also one of a moment, would be inherited by a process that another thread starts just then.
    let is_free = |port: &u16| std::net::TcpStream::connect(("127.0.0.1", *port)).is_err();
    tried.find(is_free).context("no free port between 20000 and 32000")
}

/// A bridge that runs.
pub struct House {
    bridge: Child,
    ingress: SocketAddr,
}

impl House {
    pub async fn start(folder: &Path, places: &Places) -> Result<Self> {
        for (kind, name, token) in [("bridge", NAME, BRIDGE_TOKEN), ("push", "core", PUSH_TOKEN)] {
            let tokens = folder.join("tokens").join(kind);
            std::fs::create_dir_all(&tokens)?;
            std::fs::write(tokens.join(name), token)?;
        }
        std::fs::write(folder.join("sources.yaml"), sources()?)?;
        let bridge = bridge(folder, places)?.spawn().context("the bridge")?;
        let mut house = House { bridge, ingress: SocketAddr::from(([127, 0, 0, 1], places.bridge)) };
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(house.ingress).await.is_err() {
            ensure!(house.bridge.try_wait()?.is_none() && begun.elapsed() < READY, "the bridge does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(house)
    }

    /// A fact of another function, which ours hears.
    pub async fn tell(&self, number: u32) -> Result<()> {
        let request = Request::post("/topics/core")
            .header("host", self.ingress.to_string())
            .header("authorization", format!("Bearer {PUSH_TOKEN}"))
            .header("content-type", "application/json")
            .header("ce-specversion", "1.0")
            .header("ce-id", format!("zero-{number}"))
            .header("ce-source", "/till/core")
            .header("ce-type", "core.user.registered")
            .header("ce-subject", format!("user-{number}"))
            .header("ce-sequence", "1")
            .body(Full::from(Bytes::from_static(br#"{"email":"somebody@example.org","locale":"en"}"#)))?;
        let answer = gateway::send(self.ingress, request).await.map_err(anyhow::Error::from_boxed)?;
        ensure!(answer.status().as_u16() == 202, "the bridge answered {}", answer.status());
        Ok(())
    }

    /// Of the bridge, which is all that runs.
    pub fn memory_kib(&self) -> Result<process::Memory> {
        process::memory(self.bridge.id().context("the bridge ended")?)
    }

    pub async fn stop(mut self) -> Result<()> {
        process::terminate(self.bridge.id().context("the bridge ended")?).await?;
        let status = self.bridge.wait().await?;
        ensure!(status.success(), "the bridge ended with {status}");
        Ok(())
    }
}

/// The topics' documents and the function's source.
fn sources() -> Result<String> {
    let text_of_all = chart::file("sources.yaml");
    let is_needed = |document: &&str| {
        let read = yaml::documents(document).unwrap_or_default();
        read.iter().any(|one| text(one, "/kind") == "KafkaSink" || text(one, "/metadata/name") == NAME)
    };
    let needed: Vec<&str> = text_of_all.split("\n---").filter(is_needed).collect();
    ensure!(needed.len() > 1, "sources.yaml has nothing for {NAME}");
    Ok(needed.join("\n---"))
}

fn bridge(folder: &Path, places: &Places) -> Result<Command> {
    let mut command = Command::new(layout("bridge").join("till/till-bridge"));
    let place = |name: &str| folder.join(name).display().to_string();
    command.args(["--replica=zero-0", &format!("--listen=127.0.0.1:{}", places.bridge)]);
    command.args([format!("--log=embedded:{}", place("log.db")), format!("--sources={}", place("sources.yaml"))]);
    command.args([format!("--resolve=http://127.0.0.1:{}/{{name}}", places.gateway)]);
    command.args([format!("--ingress-tokens={}", place("tokens/push"))]);
    command.env("KAFKA", "embedded").env("KAFKA_REPLICATION", "1").env("TILL_TOKENS", place("tokens"));
    command.env("RUST_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    Ok(command)
}
