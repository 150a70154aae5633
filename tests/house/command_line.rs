//! The command `till` as people type it: the whole house in one process, started twice, killed, started again, told a story
//! each time, and stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tests::process::Process;
use tests::project;
use till::address::Ports;
use till::data::Data;
use till::visitor::Visitor;

const READY_TIMEOUT: Duration = Duration::from_secs(120);

fn till(arguments: &[&str]) -> Output {
    Command::new(project::program("till")).args(arguments).current_dir(project::root()).output().expect("till runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Options that put a house into a folder, on free ports.
fn place(folder: &Path, ports: &Ports) -> Vec<String> {
    let numbers = [
        ("functions", ports.functions),
        ("bridge", ports.bridge),
        ("metrics", ports.metrics),
        ("merchant", ports.merchant),
        ("feeds", ports.feeds),
        ("mailbox", ports.mailbox),
        ("chain", ports.chain),
    ];
    let ports = numbers.iter().flat_map(|(name, port)| [format!("--{name}-port"), port.to_string()]);
    ["--data".to_owned(), folder.display().to_string()].into_iter().chain(ports).collect()
}

#[test]
fn help_shows_examples_and_a_wrong_word_ends_with_64() {
    let help = till(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help).contains("Examples:"), "{}", text(&help));
    assert_eq!(till(&["dance"]).status.code(), Some(64));
    assert_eq!(till(&["up", "--without", "moon"]).status.code(), Some(64));
    assert!(!text(&help).contains('\x1b'), "colours are for terminals");
}

#[test]
fn missing_components_are_told_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let output = till(&["up", "--data", &data, "--project", &folder.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("fn_core.wasm") && text(&output).contains("remedy: make up"), "{}", text(&output));
}

async fn ready(visitor: &Visitor, up: &Process) {
    visitor.ready(READY_TIMEOUT).await.unwrap_or_else(|error| panic!("{error}\n{}", up.said()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_works_in_a_fresh_house_and_after_a_kill_and_the_house_stops_in_seconds() {
    let folder = project::root().join("target/test/houses").join(till::random::run_name());
    let data = Data::open(&folder).expect("a data folder");
    let ports = Ports::free();
    let visitor = Visitor::new(&ports, data.key());
    let place = place(&folder, &ports);
    let options: Vec<&str> = ["up"].into_iter().chain(place.iter().map(String::as_str)).collect();
    let mut up = Process::new("till", &options, BTreeMap::new(), folder.join("up.out"));

    up.start().expect("till up starts");
    ready(&visitor, &up).await;
    let second = till(&options);
    assert!(second.status.success() && text(&second).contains("already up"), "{}", text(&second));
    demo(&place, &up);
    up.kill();
    up.start().expect("till up starts after a kill");
    ready(&visitor, &up).await;
    demo(&place, &up);
    let asked = Instant::now();
    up.stop().unwrap_or_else(|error| panic!("{error}"));
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    std::fs::remove_dir_all(folder).ok();
}

fn demo(place: &[String], up: &Process) {
    let arguments: Vec<&str> = ["demo"].into_iter().chain(place.iter().map(String::as_str)).collect();
    let told = till(&arguments);
    assert!(told.status.success(), "{}\n{}", text(&told), up.said());
    assert!(
        text(&told).contains("its signature verifies") && text(&told).contains("function   invocations"),
        "{}",
        text(&told)
    );
}
