//! The edges between rooms, as ARCHITECTURE.md allows them, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use tests::project;

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Direct dependencies of each package of the workspace, those of tests included.
fn edges() -> Edges {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let metadata = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(project::root())
        .output()
        .expect("cargo metadata runs");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("cargo metadata is JSON");
    let name = |value: &Value| value["name"].as_str().expect("a package has a name").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    list(&metadata["packages"]).iter().map(|p| (name(p), list(&p["dependencies"]).iter().map(name).collect())).collect()
}

/// What a room may use of ours.
fn allowed(room: &str) -> &'static [&'static str] {
    match room {
        // The component that the host's own tests run.
        "event" | "domain" | "host" | "host-test-guest" | "chart-tests" => &[],
        "guest" => &["domain", "event"],
        "bridge" => &["event"],
        "till" => &["bridge", "host"],
        "tests" => &["bridge", "chart-tests", "domain", "event", "host", "till"],
        function if function.starts_with("fn-") => &["guest", "domain", "event"],
        other => panic!("{other} is a new room: say here and in ARCHITECTURE.md what it may use"),
    }
}

#[test]
fn a_room_uses_only_what_the_architecture_allows() {
    let edges = edges();
    for (room, uses) in &edges {
        let ours: Vec<_> = uses.iter().filter(|name| edges.contains_key(*name)).collect();
        let strangers: Vec<_> = ours.iter().filter(|name| !allowed(room).contains(&name.as_str())).collect();
        assert!(strangers.is_empty(), "{room} uses {strangers:?}");
    }
}

#[test]
fn the_heavy_libraries_stand_in_one_room_each() {
    let edges = edges();
    let users = |library: &str| -> BTreeSet<&str> {
        edges.iter().filter(|(_, uses)| uses.contains(library)).map(|(room, _)| room.as_str()).collect()
    };
    for library in ["rdkafka", "rdkafka-sys"] {
        assert_eq!(users(library), BTreeSet::from(["bridge"]), "{library}");
    }
    for library in ["wasmtime", "wasmtime-wasi", "wasmtime-wasi-http"] {
        assert_eq!(users(library), BTreeSet::from(["host"]), "{library}");
    }
    let functions = users("spin-sdk");
    let may = |room: &str| ["guest", "host-test-guest"].contains(&room) || room.starts_with("fn-");
    assert!(functions.iter().all(|room| may(room)), "{functions:?}");
}

#[test]
fn the_six_functions_are_the_same_everywhere() {
    let edges = edges();
    let packages: BTreeSet<&str> = edges.keys().filter_map(|name| name.strip_prefix("fn-")).collect();
    assert_eq!(packages, BTreeSet::from(till::data::FUNCTIONS));
}
