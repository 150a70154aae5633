//! Readiness tells the truth: what keeps the bridge from its work is told, and is told no more when it is over. Stopped lanes, refused
//! tokens and dead letters that cannot be written have their tests beside what stops them (`delivery`, `letters`).

#![allow(clippy::unwrap_used)]

mod support;

use bridge::log::NewTopic;
use rusqlite::Connection;
use support::*;

/// The log's file, behind the bridge's back.
fn meddle(house: &House, sql: &str) {
    let file = Connection::open(house.path().join("log.db")).unwrap();
    file.busy_timeout(DEADLINE).unwrap();
    file.execute_batch(sql).unwrap();
}

fn complaint(bridge: &Bridge, word: &str) {
    wait(&format!("a complaint about {word}"), || {
        let (status, text) = bridge.get("/health/ready");
        (status == 503 && text.starts_with("s: ") && text.contains(word)).then_some(())
    });
    let metrics = bridge.get("/metrics").1;
    assert!(metrics.contains("till_ready{source=\"s\"} 0"), "{metrics}");
}

// promise: BRIDGE: readiness tells the truth
#[test]
fn a_topic_that_is_not_there_is_told_until_it_is() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let bridge = house.start(&source(sink.address, "").replace("topics: [in]", "topics: [later]"));
    complaint(&bridge, "topic later");
    complaint(&bridge, "no partitions were assigned yet");
    let topic = NewTopic { name: "later".into(), partitions: 1, replication: 1, retention: None };
    house.create(topic);
    bridge.wait_until_ready();
}

// promise: BRIDGE: readiness tells the truth
#[test]
fn an_offset_that_is_out_of_range_is_told() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    meddle(&house, "INSERT INTO commits (member_group, topic, number, next, metadata) VALUES ('g', 'in', 1, 77, '')");
    let bridge = house.start(&source(sink.address, ""));
    complaint(&bridge, "the offset 77 is outside of the log");
}

// promise: BRIDGE: readiness tells the truth
#[test]
fn a_log_that_takes_no_commits_is_told_until_it_does() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let bridge = house.start(&source(sink.address, ""));
    bridge.wait_until_ready();
    meddle(&house, "ALTER TABLE commits RENAME TO elsewhere");
    house.write(vec![record("k", "v")]);
    complaint(&bridge, "the log is away");
    meddle(&house, "ALTER TABLE elsewhere RENAME TO commits");
    bridge.wait_until_ready();
    house.wait_for_commits("g", 1);
}
