//! The bridge as an event sender: verbs, protocol, duplicates, what it tells of itself.

use crate::codes::plain;
use crate::raw::{RawSink, status};
use crate::support::*;

/// The heads of `calls` calls of one record; all but the last are failed.
fn heads(calls: usize, more: &str) -> Vec<String> {
    let house = House::new();
    let sink = RawSink::start(move |before| status(if before + 1 < calls { 500 } else { 204 }, ""));
    let delivery = format!("  delivery: {{ retry: 5, backoffDelay: PT0.005S, {DEAD_LETTERS} }}\n{more}");
    let _bridge = house.start(&plain(sink.address, &delivery));
    house.write(vec![record("k", "v")]);
    house.wait_for_commits("g", 1);
    sink.wait_for(calls)
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn an_event_is_posted_over_http_1_1_in_binary_mode() {
    let head = heads(1, "").remove(0);
    assert!(head.starts_with("POST /events HTTP/1.1\r\n"), "{head}");
    assert_eq!(value(&head, "ce-specversion"), Some("1.0"));
    for name in ["ce-id", "ce-source", "ce-type"] {
        assert!(value(&head, name).is_some_and(|value| !value.is_empty()), "{name}: {head}");
    }
}

#[test]
fn nothing_but_post_is_sent_and_nothing_is_negotiated() {
    for head in heads(3, "") {
        assert!(head.starts_with("POST "), "{head}");
        assert_eq!((value(&head, "upgrade"), value(&head, "connection")), (None, None), "{head}");
    }
}

#[test]
fn an_upgrade_that_the_sink_offers_is_ignored() {
    let house = House::new();
    let sink = RawSink::start(|_| status(202, "upgrade: h2c, websocket\r\nalt-svc: h3=\":443\"\r\n"));
    let _bridge = house.start(&plain(sink.address, ""));
    house.write(vec![record("k", "1"), record("k", "2")]);
    house.wait_for_commits("g", 2);
    assert!(sink.wait_for(2).iter().all(|head| head.starts_with("POST /events HTTP/1.1\r\n")));
}

#[test]
fn every_attempt_has_the_same_source_and_id_so_that_duplicates_are_known() {
    let heads = heads(4, "");
    for name in ["ce-id", "ce-source"] {
        let first = value(&heads[0], name);
        assert!(first.is_some() && heads.iter().all(|head| value(head, name) == first), "{name}");
    }
}

// promise: BRIDGE: a trace is passed on or begun
#[test]
fn every_attempt_belongs_to_one_trace() {
    let heads = heads(3, "");
    let trace = |head: &String| value(head, "traceparent").map(|trace| trace[3..35].to_owned());
    assert!(trace(&heads[0]).is_some_and(|trace| trace.len() == 32));
    assert!(heads.iter().all(|head| trace(head) == trace(&heads[0])));
}

#[test]
fn deliveries_are_told_as_metrics() {
    let house = House::new();
    let sink = Sink::start(|_, before| answer(if before == 0 { 500 } else { 204 }));
    let bridge = house.start(&plain(sink.address, "  delivery: { retry: 5, backoffDelay: PT0.005S }\n"));
    house.write(vec![record("k", "v")]);
    house.wait_for_commits("g", 1);
    let metrics = bridge.get("/metrics").1;
    for line in
        ["till_attempts_total{source=\"s\",outcome=\"5xx\"} 1", "till_attempts_total{source=\"s\",outcome=\"2xx\"} 1"]
    {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn no_more_calls_are_under_way_than_the_source_says() {
    let house = House::new();
    let sink = Sink::start(|_, _| answer(204).after(std::time::Duration::from_millis(100)));
    let _bridge = house.start(&source(sink.address, "  concurrency: { max: 3 }\n"));
    house.write((0..9).map(|n| record(&format!("k{n}"), "v")).collect());
    let mut begun: Vec<_> = sink.wait_for(9).iter().map(|call| call.at).collect();
    begun.sort_unstable();
    assert!(begun.windows(4).all(|four| four[3] - four[0] >= std::time::Duration::from_millis(95)), "{begun:?}");
}
