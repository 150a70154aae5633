//! The commands beside the bridge: `dead-letters` against a bridge that runs, and `explain`: what they say and how they end.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::time::Duration;

use bridge::Options;
use serde_json::{Value, json};
use support::*;

/// Exit code, standard output and standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_till-bridge"));
    let output = command.args(arguments).env_remove("TILL_BRIDGE").env_remove("TILL_API_TOKEN").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A bridge that has given 150 records up, and who asks it.
struct Asker {
    house: House,
    bridge: Bridge,
    sink: Sink,
}

impl Asker {
    fn new() -> Self {
        let house = House::new();
        let sink = Sink::start(|call, before| match call.is_wake() || before > 0 {
            true => answer(204),
            false => Answer { body: "not\nlike this".into(), ..answer(422) },
        });
        std::fs::write(house.path().join("api"), "secret").unwrap();
        std::fs::write(house.path().join("wrong"), "guess").unwrap();
        let options = Options { api_token: Some(house.path().join("api")), ..house.options(Duration::from_secs(5)) };
        let bridge = house.start_with(&source(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n")), &options);
        let asker = Asker { house, bridge, sink };
        assert_eq!(asker.ask(&["list"]), (0, String::new(), "no dead letters\n".into()));
        asker.house.write((0..150).map(|n| record(&n.to_string(), "v")).collect());
        asker.house.wait_for_records("dead", 150);
        asker
    }

    fn ask(&self, rest: &[&str]) -> (i32, String, String) {
        self.ask_with("api", rest)
    }

    fn ask_with(&self, token: &str, rest: &[&str]) -> (i32, String, String) {
        let (address, token) = (format!("http://{}", self.bridge.address), self.house.path().join(token));
        let head = ["dead-letters", rest[0], "--bridge", &address, "--api-token", token.to_str().unwrap()];
        run(&[&head, &rest[1..]].concat())
    }
}

fn parsed(told: &str) -> Value {
    serde_json::from_str(told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

// promise: BRIDGE: dead-letters list, show and redrive are commands with exit codes, for people and as JSON
#[test]
fn dead_letters_are_listed_shown_and_redriven_by_command() {
    let asker = Asker::new();
    let (code, told, beside) = asker.ask(&["list", "--key", "7"]);
    assert_eq!((code, beside.as_str()), (0, "1 dead letters\n"));
    assert!(
        told.contains("422 \"not\\nlike this\"") && told.contains("key \"7\"") && !told.contains('\u{1b}'),
        "{told}"
    );
    let (code, told, beside) = asker.ask(&["list", "--json", "--limit", "150"]);
    let told = parsed(&told);
    let count = told["letters"].as_array().unwrap().len();
    assert_eq!((code, count, &told["more"], beside.as_str()), (0, 150, &json!(false), ""));
    let id = told["letters"][0]["id"].as_str().unwrap();
    let (code, told, _) = asker.ask(&["show", id]);
    assert_eq!((code, &parsed(&told)["record"]["value"]), (0, &json!("v")));

    let (code, told, _) = asker.ask(&["redrive", "--dry-run", "--all"]);
    assert_eq!((code, told.lines().last().unwrap()), (0, "150 would be redriven, 0 refused"));
    assert_eq!(asker.ask(&["redrive", id]).1, "1 redriven, 0 refused\n");
    let (code, told, _) = asker.ask(&["redrive", id]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("it is not open") && told.ends_with("0 redriven, 1 refused\n"), "{told}");
    let (code, told, _) = asker.ask(&["redrive", "--json", "--all", "--rate", "10000"]);
    assert_eq!((code, parsed(&told)["redriven"].as_array().unwrap().len()), (0, 149));
    asker.sink.wait_for(300);
    what_is_asked_wrongly_is_told(&asker);
}

fn what_is_asked_wrongly_is_told(asker: &Asker) {
    for (expected, word, ended) in [
        (64, "all", asker.ask(&["redrive"])),
        (64, "limit", asker.ask(&["list", "--limit", "many"])),
        (64, "RFC 3339", asker.ask(&["list", "--since", "yesterday"])),
        (1, "no letter", asker.ask(&["show", "dead/0/99999"])),
        (77, "--api-token", asker.ask_with("wrong", &["list"])),
        (64, "nowhere", asker.ask_with("/nowhere", &["list"])),
        (69, "remedy", run(&["dead-letters", "list", "--bridge", "http://127.0.0.1:1"])),
    ] {
        assert_eq!(ended.0, expected, "{ended:?}");
        assert!(ended.2.contains(word) && !ended.2.contains("guess"), "{word}: {ended:?}");
    }
    let (code, told, _) = run(&["dead-letters", "--help"]);
    assert!(code == 0 && told.contains("Examples:") && told.contains("Exit codes:"), "{told}");
}

// promise: BRIDGE: explain shows the request that a record would become
#[test]
fn explain_shows_the_request_of_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let sources = write("sources.yaml", &source("127.0.0.1:9".parse().unwrap(), ""));
    let record = write("record.json", r#"{"topic": "in", "key": "k", "value": {"total": 42}}"#);
    let (code, told, _) = run(&["explain", &record, &sources]);
    assert_eq!(code, 0);
    for word in
        ["s: waits for the records of in/0 with key k", "POST http://127.0.0.1:9/events", "ce-key: k", "{\"total\":42}"]
    {
        assert!(told.contains(word), "{word}: {told}");
    }
    let elsewhere = write("elsewhere.json", r#"{"topic": "other"}"#);
    let (code, told, said) = run(&["explain", &elsewhere, &sources]);
    assert_eq!((code, told.as_str(), said.as_str()), (0, "", "no source hears the topic other\n"));
    let broken = write("broken.json", "{");
    let (code, _, said) = run(&["explain", &broken, &sources]);
    assert!(code == 64 && said.contains("broken.json"), "{code} {said}");
}
