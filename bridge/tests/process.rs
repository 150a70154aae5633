//! `till-bridge` as a process: what it says, how it ends, and what a kill leaves behind.

#![allow(clippy::unwrap_used)]

#[path = "support/ports.rs"]
mod ports;
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::*;

/// A process that is killed when the test is over.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &Path, documents: &str, clock: Option<&Path>) -> Process {
        let sources = folder.join("sources.yaml");
        std::fs::write(&sources, format!("{}{documents}", topics(&[("in", 3), ("out", 3), ("dead", 1)]))).unwrap();
        std::fs::create_dir_all(folder.join("tokens")).unwrap();
        std::fs::write(folder.join("tokens/in"), "secret").unwrap();
        let address = ports::address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_till-bridge"));
        command.arg("--sources").arg(sources).arg("--log").arg(format!("embedded:{}", folder.join("log.db").display()));
        command.arg("--listen").arg(address.to_string()).arg("--ingress-tokens").arg(folder.join("tokens"));
        command.stderr(Stdio::null());
        if let Some(clock) = clock {
            command.env("TILL_CLOCK", clock);
        }
        let process = Process { child: command.spawn().unwrap(), address };
        wait("an answer", || {
            try_exchange(address, "GET /health/live HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n")
        });
        process
    }

    /// Pushes an event of topic `in`; answers whether it was accepted.
    fn push(&self, id: &str) -> bool {
        let request = format!(
            "POST /topics/in HTTP/1.1\r\nhost: b\r\nauthorization: Bearer secret\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /s\r\n\
             ce-type: in.x\r\nce-subject: {id}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        try_exchange(self.address, &request).is_some_and(|(status, _)| status == 202)
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_till-bridge")).args(arguments).env_remove("RUST_LOG").output().unwrap()
}

// promise: BRIDGE: problems of the documents end with exit code 64
#[test]
fn wrong_documents_and_options_exit_with_64_and_say_everything() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.yaml");
    std::fs::write(
        &file,
        "kind: Source\napiVersion: till.dev/v1\nmetadata: { name: s }\nspec: { colour: red, topics: [t] }\n",
    )
    .unwrap();
    let output = run(&["--sources", file.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    for word in ["bad.yaml:4: `spec.colour` is unknown", "bootstrapServers", "`spec.sink` is missing"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(run(&["--log", "tape"]).status.code(), Some(64));
    assert_eq!(run(&["--sources", "/nowhere.yaml"]).status.code(), Some(64));
}

#[test]
fn the_help_shows_examples() {
    let output = run(&["--help"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(said.contains("Examples:") && said.contains("--log embedded:till.db"), "{said}");
}

// promise: BRIDGE: on SIGTERM it stops fetching, drains within --drain, commits and exits with 0
#[test]
fn sigterm_drains_and_exits_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(|_, _| answer(204).after(Duration::from_millis(300)));
    let mut process = Process::start(folder.path(), &source(sink.address, ""), None);
    assert!(process.push("1"));
    sink.wait_for(1);
    process.signal("-TERM");
    let status = wait("the end", || process.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    let process = Process::start(folder.path(), &source(sink.address, ""), None);
    assert!(process.push("2"));
    let ids: Vec<String> = sink.wait_for(2).into_iter().map(|call| call.event.id).collect();
    assert_eq!(ids, ["1", "2"], "what was drained is not delivered again");
}

// promise: BRIDGE: nothing is lost when the bridge is killed, and the next delivery comes in seconds
#[test]
fn a_kill_loses_nothing_and_the_next_delivery_comes_soon() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(|call, before| match (call.event.id.ends_with('7'), before) {
        (true, 0) => answer(500),
        _ => answer(204).after(Duration::from_millis(5)),
    });
    let documents = source(sink.address, "  concurrency: { max: 4 }\n  delivery: { backoffDelay: PT0.05S }\n");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut accepted = Vec::new();
    for round in 0..5 {
        let process = Process::start(folder.path(), &documents, None);
        let begun = Instant::now();
        let before = sink.deliveries().len();
        let mut push = |n: usize| {
            let id = format!("{round}-{n}");
            assert!(process.push(&id));
            accepted.push(id);
        };
        (0..20).for_each(&mut push);
        wait("a delivery", || (sink.deliveries().len() > before).then_some(()));
        assert!(begun.elapsed() < Duration::from_secs(5), "the first delivery came after {:?}", begun.elapsed());
        // The kill comes in the middle of what follows, and never touches what is committed.
        wait("the first twenty committed", || (uncommitted(folder.path()) == 0).then_some(()));
        (20..20 + chance.usize(5..60)).for_each(&mut push);
    }
    let _process = Process::start(folder.path(), &documents, None);
    wait("every event", || {
        let calls = sink.deliveries();
        accepted.iter().all(|id| calls.iter().any(|call| call.event.id == *id)).then_some(())
    });
    for id in accepted.iter().filter(|id| id[2..].parse::<usize>().unwrap() < 20) {
        let calls = sink.deliveries().iter().filter(|call| call.event.id == *id).count();
        assert_eq!(calls, 1 + usize::from(id.ends_with('7')), "{id} was committed before the kill");
    }
}

/// Records of topic `in` that are not committed, as the file says beside the process.
fn uncommitted(folder: &Path) -> i64 {
    let file = rusqlite::Connection::open(folder.join("log.db")).unwrap();
    file.busy_timeout(Duration::from_secs(5)).unwrap();
    let lag =
        "SELECT (SELECT sum(next) FROM partitions WHERE topic = 'in') - (SELECT ifnull(sum(next), 0) FROM commits)";
    file.query_row(lag, [], |row| row.get(0)).unwrap()
}

// promise: BRIDGE: retries wait by a clock that tests can move
#[test]
fn a_retry_comes_when_the_clock_is_moved() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "0").unwrap();
    let sink =
        Sink::start(|_, before| if before == 0 { answer(503).header("retry-after", "300") } else { answer(204) });
    let process = Process::start(folder.path(), &source(sink.address, ""), Some(&clock));
    assert!(process.push("1"));
    sink.wait_for(1);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(sink.deliveries().len(), 1);
    std::fs::write(&clock, "301000").unwrap();
    let begun = Instant::now();
    sink.wait_for(2);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

// promise: BRIDGE: every sink is woken hourly
#[test]
fn every_sink_is_woken_hourly() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "0").unwrap();
    let sink = Sink::start(|_, _| answer(204));
    let _process = Process::start(folder.path(), &source(sink.address, ""), Some(&clock));
    wait("the first wake", || (sink.calls().len() == 1).then_some(()));
    for hour in 1..4 {
        std::thread::sleep(Duration::from_millis(50));
        std::fs::write(&clock, (hour * 3_601_000).to_string()).unwrap();
        wait("the next wake", || (sink.calls().len() == 1 + hour).then_some(()));
    }
}
