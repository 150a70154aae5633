//! Every command of the README is run: blocks of ```sh are typed into a shell of a running house, one after the other, and
//! must end with 0. Ports, data folder and programs are those of the test's house. A block that would start a house, build
//! or test everything (`make …`) is looked up in the Makefile instead, because this test is a part of that.

use std::process::Command;

use tests::house::House;
use tests::outside::{Database, Log};
use tests::project;
use till::address::Ports;

/// The blocks of ```sh, in order.
fn blocks(readme: &str) -> Vec<String> {
    let fenced = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    fenced.map(|(block, _)| block.to_owned()).collect()
}

/// The README speaks of a house on the usual ports.
fn with_ports(block: &str, ports: &Ports) -> String {
    let usual = Ports::default();
    let pairs = [
        (usual.functions, ports.functions),
        (usual.bridge, ports.bridge),
        (usual.metrics, ports.metrics),
        (usual.merchant, ports.merchant),
        (usual.feeds, ports.feeds),
        (usual.mailbox, ports.mailbox),
        (usual.chain, ports.chain),
    ];
    let other = |port: &str| pairs.iter().find(|(from, _)| from.to_string() == port).map(|(_, to)| to.to_string());
    let mut parts = block.split("127.0.0.1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (port, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
        format!("{text}127.0.0.1:{}{rest}", other(port).unwrap_or_else(|| port.to_owned()))
    })
}

#[test]
fn a_port_is_replaced_once_and_whole() {
    let usual = Ports::default();
    // Free ports may begin with the digits of usual ones, or be some.
    let ports = Ports { bridge: usual.feeds * 10, functions: usual.bridge, ..Ports::default() };
    let block = format!("a 127.0.0.1:{}/x 127.0.0.1:{} 127.0.0.1:9", usual.bridge, usual.functions);
    let expected = format!("a 127.0.0.1:{}/x 127.0.0.1:{} 127.0.0.1:9", usual.feeds * 10, usual.bridge);
    assert_eq!(with_ports(&block, &ports), expected);
}

fn is_makes(block: &str) -> bool {
    block.lines().filter(|line| !line.trim().is_empty()).all(|line| line.starts_with("make "))
}

fn run(house: &House, block: &str) {
    let program = project::program("till");
    let path = format!(
        "{}:{}",
        program.parent().expect("a program lies in a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let script =
        format!("set -euo pipefail\n{}", with_ports(block, house.visitor.ports()).replace("target/debug/till", "till"));
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", &script])
        .current_dir(project::root())
        .env("PATH", path)
        .env("TILL_DATA", &house.folder)
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{block}\n\n{said}\n{}", house.said());
}

fn look_up(block: &str) {
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let words = line.split('#').next().unwrap_or(line).split_whitespace();
        let status = Command::new("make")
            .arg("-n")
            .args(words.skip(1))
            .current_dir(project::root())
            .output()
            .expect("make runs")
            .status;
        assert!(status.success(), "the Makefile does not know `{line}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_readme_works() {
    let readme = std::fs::read_to_string(project::root().join("README.md")).expect("there is a README");
    let blocks = blocks(&readme);
    assert!(!blocks.is_empty(), "the README shows no command");
    let house = House::start(Database::Sqlite, Log::Embedded).await.expect("this house needs nothing from outside");
    for block in blocks {
        if is_makes(&block) { look_up(&block) } else { run(&house, &block) }
    }
}
