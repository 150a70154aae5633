//! What it costs to wake the payment function, and to call it again: against a plain hyper server in the same run.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use till::address::Ports;
use till::data::Data;
use till::settings;

use super::load::{self, Sink};
use super::report::Report;
use super::usage;
use crate::project;

const STARTS: usize = 10;
const REQUESTS: u64 = 20_000;
/// Answered without a database or the world outside: no token, no entry.
const TRIVIAL: &str = "/payment/v1/invoices";

struct Host {
    child: Child,
    ports: Ports,
}

impl Host {
    fn start(folder: &Path, data: &Data) -> Self {
        let ports = Ports::free().expect("there are free ports");
        let variables = settings::variables(data, &ports, &|_| None).expect("the data folder has every token");
        let environment =
            variables.into_iter().map(|(name, value)| (format!("SPIN_VARIABLE_{}", name.to_uppercase()), value));
        let child = Command::new(project::program("till-host"))
            .args(["--component", "payment", "--listen", &format!("127.0.0.1:{}", ports.functions), "--precompiled"])
            .arg(folder.join("compiled"))
            .arg("--runtime-config")
            .arg(data.runtime_config(&project::root()).expect("the project has a runtime configuration"))
            .envs(environment)
            .env("RUST_LOG", "warn")
            .current_dir(project::root())
            .stdin(Stdio::null())
            .spawn()
            .expect("the host starts");
        Host { child, ports }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Start, request and memory of one function.
pub async fn measure(folder: &Path, report: &mut Report) {
    let data = Data::open(&folder.join("host")).expect("a data folder");
    let compiled = Command::new(project::program("till-host"))
        .arg("compile")
        .arg("--out")
        .arg(folder.join("compiled"))
        .current_dir(project::root())
        .output();
    assert!(compiled.expect("the host compiles").status.success(), "the components are built: cargo components");
    starts(folder, &data, report).await;
    requests(folder, &data, report).await;
}

async fn starts(folder: &Path, data: &Data, report: &mut Report) {
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let host = Host::start(folder, data);
        walls.push(load::first_answer(host.ports.functions, TRIVIAL).await);
        cpus.push(usage::cpu(host.child.id()));
    }
    report.add(
        "host: exec to first answer, processor time (median of 10)",
        milliseconds(&mut cpus),
        "ms",
        "at most 15",
    );
    report.add("host: exec to first answer, wall time (median of 10)", milliseconds(&mut walls), "ms", "");
}

async fn requests(folder: &Path, data: &Data, report: &mut Report) {
    let host = Host::start(folder, data);
    load::first_answer(host.ports.functions, TRIVIAL).await;
    let one = usage::mebibytes(host.child.id(), "VmRSS");
    let ours = cost(host.child.id(), host.ports.functions, TRIVIAL).await;
    let sink = Sink::start("quick");
    load::first_answer(sink.port, "/count").await;
    let plain = cost(sink.process(), sink.port, "/").await;
    report.add("host: resident memory with one function awake", one, "MiB", "");
    report.add("host: processor time per trivial request", ours, "µs", "");
    report.add("plain hyper server: processor time per request", plain, "µs", "");
    report.add("host against plain hyper", ours / plain, "times", "");
}

/// Processor time of a server for one request, in microseconds.
async fn cost(process: u32, port: u16, path: &'static str) -> f64 {
    load::generate(port, path, REQUESTS / 10, 8).await;
    let before = usage::cpu(process);
    load::generate(port, path, REQUESTS, 8).await;
    (usage::cpu(process) - before).as_secs_f64() * 1e6 / REQUESTS as f64
}

fn milliseconds(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
