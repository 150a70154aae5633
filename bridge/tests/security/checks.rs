//! `till-bridge check`: what would not work is told with its file, its line and what helps, and no sink is called.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::broker::{PASSWORD, secure};
use crate::brokers::{SASL, TLS, documents, topic};
use crate::certificates::{Authority, block};
use crate::front::Front;
use crate::support::*;

/// Exit code and findings, of documents with their secrets in `folder/secrets`.
fn check(folder: &Path, log: &str, documents: &str) -> (i32, Vec<Value>) {
    let file = folder.join("sources.yaml");
    std::fs::write(&file, documents).unwrap();
    std::fs::create_dir_all(folder.join("secrets")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_till-bridge"))
        .args(["check", "--json", "--log", log, "--sources"])
        .arg(&file)
        .arg("--secrets")
        .arg(folder.join("secrets"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains(PASSWORD) && !String::from_utf8_lossy(&output.stderr).contains(PASSWORD));
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output.status.code().unwrap(), report["findings"].as_array().unwrap().clone())
}

/// That there is a finding with all these words, at this line.
fn found(findings: &[Value], level: &str, line: u64, words: &[&str]) {
    let fits = |finding: &&Value| {
        let text = format!("{} {}", finding["text"], finding["remedy"]);
        finding["level"] == level && finding["line"] == line && words.iter().all(|word| text.contains(word))
    };
    assert!(findings.iter().any(|finding| fits(&finding)), "{level} in {line} of {words:?}: {findings:#?}");
}

// promise: BRIDGE: `check` finds what would not work, with file, line and remedy, and calls no sink
#[test]
fn sinks_documents_and_budgets_are_looked_at_without_a_broker() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("sinks"));
    let sink = Sink::start(|_, _| answer(204));
    let front = Front::start(&authority.sign_until("sink", 2021), None, sink.address);
    let https = format!("https://localhost:{}/", front.address.port());
    let source = |name: &str, sink: &str, more: &str| {
        format!(
            "---\napiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: {name} }}\nspec:\n  bootstrapServers: [b:1]\n  topics: [in]\n  \
             sink: {sink}\n{more}"
        )
    };
    let log = format!("embedded:{}", folder.path().join("log.db").display());
    let fine =
        format!("{}{}", topics(&[("in", 1)]), source("s", &format!("{{ uri: 'http://{}/' }}", sink.address), ""));
    assert_eq!(check(folder.path(), &log, &fine), (0, vec![]));
    let block = block(&authority.pem);
    let text = [
        source("one", "{ uri: 'http://no-such-sink.invalid/' }", "  auth: { tokenFile: /nowhere/token }\n"),
        source(
            "two",
            "{ uri: 'http://127.0.0.1:9/' }",
            "  delivery: { retry: 100, backoffDelay: PT100S, timeout: PT60S, deadLetterSink: { uri: 'http://no-such-desk.invalid/' } }\n",
        ),
        source("three", &format!("\n    uri: {https}\n    CACerts: {block}"), ""),
    ];
    let (code, findings) = check(folder.path(), &log, &text.concat());
    assert_eq!(code, 69);
    found(&findings, "error", 6, &["no-such-sink.invalid", "--resolve"]);
    found(&findings, "error", 6, &["/nowhere/token"]);
    found(&findings, "warning", 6, &["no KafkaSink document makes it"]);
    found(&findings, "warning", 15, &["nobody listens there"]);
    found(&findings, "error", 15, &["no-such-desk.invalid", "--resolve"]);
    found(&findings, "warning", 15, &["holds its lane", "retry: forever"]);
    found(&findings, "warning", 15, &["60 s", "--drain"]);
    found(&findings, "error", 24, &["has expired; it must be renewed"]);
    let (code, findings) = check(folder.path(), &log, &text[0].replace("topics", "topicz"));
    assert_eq!(code, 64);
    found(&findings, "error", 7, &["`spec.topicz` is unknown"]);
    assert_eq!(sink.calls().len(), 0, "a sink was called");
}

// promise: BRIDGE: `check` finds topics that are missing or too small, and what the broker says that we may not do
#[test]
fn topics_rights_and_logins_are_looked_at() {
    let Some(broker) = secure() else { return };
    let (folder, topic) = (tempfile::tempdir().unwrap(), topic(broker));
    let sink = Sink::start(|_, _| answer(204));
    let (servers, net, secrets) = (broker.password_door(), format!("{SASL}{TLS}"), folder.path().join("secrets"));
    let text = documents(&topic, &servers, &net, &sink);
    broker.mount(&secrets, "till", PASSWORD, "SCRAM-SHA-512");
    assert_eq!(check(folder.path(), "kafka", &text), (0, vec![]));
    let larger = text.replace("  auth: {", "  numPartitions: 3\n  auth: {").replace("topics: [", "topics: [missing, ");
    let (code, findings) = check(folder.path(), "kafka", &larger);
    assert_eq!(code, 69);
    found(&findings, "error", 5, &["the topic missing is read by s", "till topics apply"]);
    found(
        &findings,
        "error",
        larger.lines().position(|line| line.contains("-dead")).unwrap() as u64 + 1,
        &["has 1 partitions, and its document says 3"],
    );
    broker.mount(&secrets, "stranger", PASSWORD, "SCRAM-SHA-512");
    let (code, findings) = check(folder.path(), "kafka", &text);
    assert_eq!(code, 69);
    found(&findings, "error", 5, &["is not there or hidden from us"]);
    found(&findings, "error", 5, &["may not join the consumer group"]);
    found(&findings, "warning", 5, &["no transactions for", "transactional ids that begin with"]);
    broker.mount(&secrets, "till", "wrong-secret-9", "SCRAM-SHA-512");
    let (code, findings) = check(folder.path(), "kafka", &text);
    assert_eq!(code, 69);
    found(&findings, "error", 5, &["SASL authentication error", "look at the user, the password and the type"]);
    assert_eq!(sink.calls().len(), 0, "a sink was called");
}
