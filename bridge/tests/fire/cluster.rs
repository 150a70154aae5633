//! Brokers of one's own that may be killed, each behind a proxy.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ports;
use crate::proxy::Proxy;

pub struct Cluster {
    port: u16,
    brokers: usize,
    pub proxies: Vec<Proxy>,
    data: PathBuf,
    disks: Vec<String>,
    properties: String,
}

impl Cluster {
    /// `None`, loudly, where Java or Maven is missing. Its data lie in `data`, and go with it; its records lie on `disks`, one a
    /// broker, where there are any.
    pub fn start(brokers: usize, data: &Path, disks: &[PathBuf], properties: &str) -> Option<Cluster> {
        if !(has("java", "-version") && has("mvn", "-version")) {
            skip("the bridge under fire", "java and mvn (Debian: default-jre-headless, maven)");
            return None;
        }
        let port = ports::free(25);
        let proxies = (0..brokers as u16).map(|n| Proxy::start(port + 10 * n + 5)).collect();
        let disks = disks.iter().map(|disk| disk.to_str().unwrap().to_owned()).collect();
        let cluster =
            Cluster { port, brokers, proxies, data: data.to_owned(), disks, properties: properties.to_owned() };
        cluster.run("start", &[&brokers.to_string()]);
        Some(cluster)
    }

    /// The addresses of those who are not to be disturbed.
    pub fn direct(&self) -> String {
        join((0..self.brokers as u16).map(|n| self.port + 10 * n))
    }

    /// The addresses of those who are under fire.
    pub fn proxied(&self) -> String {
        join(self.proxies.iter().map(|proxy| proxy.address.port()))
    }

    pub fn kill(&self, broker: usize) {
        self.run("kill", &[&(broker + 1).to_string()]);
    }

    /// Starts the brokers that are not there.
    pub fn revive(&self) {
        self.run("start", &[&self.brokers.to_string()]);
    }

    /// As [`Cluster::revive`], for brokers of which one may still be about to end.
    pub fn try_revive(&self) -> Result<(), String> {
        self.try_run("start", &[&self.brokers.to_string()]).map(drop)
    }

    /// A line for each broker that is there.
    pub fn status(&self) -> String {
        self.try_run("status", &[]).unwrap_or_else(|_| "no broker is there".into())
    }

    fn run(&self, what: &str, more: &[&str]) {
        self.try_run(what, more).unwrap_or_else(|said| panic!("kafka.sh {what}: {said}"));
    }

    /// What it said, or why it failed.
    fn try_run(&self, what: &str, more: &[&str]) -> Result<String, String> {
        let proxies: Vec<String> = self.proxies.iter().map(|proxy| proxy.address.port().to_string()).collect();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/kafka.sh");
        let output = Command::new(script)
            .args([what, &self.port.to_string()])
            .args(more)
            .env("KAFKA_DATA_DIR", &self.data)
            .env("KAFKA_OWNER", std::process::id().to_string())
            .env("KAFKA_PROXIES", proxies.join(" "))
            .env("KAFKA_DISKS", self.disks.join(" "))
            .env("KAFKA_PROPERTIES", &self.properties)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run("wipe", &[]);
    }
}

fn join(ports: impl Iterator<Item = u16>) -> String {
    ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
}

fn has(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

/// Says so loudly, where `make test` counts it, and fails where `CI=true`.
pub fn skip(test: &str, lacks: &str) {
    eprintln!("SKIPPED {test}: {lacks}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot be skipped in CI: {lacks}");
    if let Some(file) = std::env::var_os("TILL_TEST_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{test}: {lacks}").unwrap();
    }
}
