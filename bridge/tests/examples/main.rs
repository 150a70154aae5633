//! Every page of `examples/` is run as a stranger would run it: its commands are typed, and what it says you see is looked for.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../security/broker.rs"]
mod broker;
#[allow(dead_code)]
#[path = "../security/certificates.rs"]
mod certificates;
#[path = "../nest/install.rs"]
mod install;
mod page;
#[path = "../support/ports.rs"]
mod ports;
mod shell;
#[allow(dead_code)]
#[path = "../log/world.rs"]
mod world;

use std::path::{Path, PathBuf};

use page::Kind;
use shell::Shell;
use world::World;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Runs a page without a broker, as examples/README.md says that one may, and on the one of this test run.
fn run(name: &str) {
    play(&mut Shell::new(&examples().join(name), None));
    run_on_kafka(name);
}

/// Runs a page that speaks to a broker itself; nothing, said loudly, where there is none.
fn run_on_kafka(name: &str) {
    let Some(World::Kafka(broker)) = World::kafka() else { return };
    let mut shell = Shell::new(&examples().join(name), Some(&broker));
    if shell.folder().join("package.json").exists() {
        let Some(modules) = install::nest(&format!("the example {name}")) else { return };
        std::os::unix::fs::symlink(modules.join("node_modules"), shell.folder().join("node_modules")).unwrap();
    }
    play(&mut shell);
}

/// Runs a page on a broker that asks who calls.
fn run_secured(name: &str) {
    let Some(broker) = broker::secure() else { return };
    let places = vec![
        ("127.0.0.1:9094", broker.password_door()),
        (".till/kafka/9092/tls", broker.tls.display().to_string()),
        ("till-secret", broker::PASSWORD.to_owned()),
    ];
    play(&mut Shell::at(&examples().join(name), places));
}

/// Types a page from its beginning to its end.
fn play(shell: &mut Shell) {
    let page = std::fs::read_to_string(shell.folder().join("README.md")).unwrap();
    let mut said = 0;
    for block in page::blocks(&page) {
        let text = &block.text;
        match &block.kind {
            Kind::Run => shell.run(text),
            Kind::Terminal(terminal) => shell.open(terminal, text),
            Kind::Says(terminal) => {
                said += 1;
                shell.expect(terminal.as_deref(), text);
            }
            Kind::File(file) => page::check_file(shell.folder(), file, &block),
            Kind::Prose => {}
        }
    }
    assert!(said > 0, "the page does not say what one sees");
}

// promise: BRIDGE: the examples run as their pages say
#[test]
fn plain_post() {
    run("plain-post");
}

#[test]
fn cloudevents_with_replies() {
    run("cloudevents-with-replies");
}

#[test]
fn key_order() {
    run("key-order");
}

#[test]
fn dead_letters_and_redrive() {
    run("dead-letters-and-redrive");
}

#[test]
fn nestjs() {
    run_on_kafka("nestjs");
}

#[test]
fn sasl_ssl_and_mtls() {
    run_secured("sasl-ssl-and-mtls");
}

#[test]
fn every_example_is_run_by_a_test_and_listed() {
    let tests = include_str!("main.rs");
    let list = std::fs::read_to_string(examples().join("README.md")).unwrap();
    for entry in std::fs::read_dir(examples()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().into_string().unwrap();
        let is_run =
            ["run", "run_on_kafka", "run_secured"].iter().any(|run| tests.contains(&format!("{run}(\"{name}\")")));
        assert!(is_run, "no test runs examples/{name}");
        assert!(list.contains(&format!("[{name}]({name}/)")), "examples/README.md does not list {name}");
    }
}
