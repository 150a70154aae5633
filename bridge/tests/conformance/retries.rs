//! Failures and their retries, as BRIDGE.md's table and its paragraph about backoff say.

use std::time::Duration;

use crate::codes::plain;
use crate::raw::{RawSink, status};
use crate::support::*;

// promise: BRIDGE: 404, 408, 409, 425, 429, 5xx, a time-out and a lost connection are failures that are retried
#[test]
fn a_lost_connection_half_an_answer_and_a_time_out_are_retried() {
    let house = House::new();
    let sink = RawSink::start(|before| match before {
        0 => Vec::new(),
        1 => b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec(),
        2 => b"this is no HTTP at all\r\n\r\n".to_vec(),
        3 => {
            std::thread::sleep(Duration::from_millis(400));
            Vec::new()
        }
        _ => status(204, ""),
    });
    let delivery = format!("  delivery: {{ retry: 4, timeout: PT0.2S, backoffDelay: PT0.005S, {DEAD_LETTERS} }}\n");
    let bridge = house.start(&plain(sink.address, &delivery));
    house.write(vec![record("k", "v")]);
    house.wait_for_commits("g", 1);
    assert_eq!((sink.calls(), house.read("dead").len()), (5, 0));
    let metrics = bridge.get("/metrics").1;
    for line in ["outcome=\"lost\"} 3", "outcome=\"timed_out\"} 1"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

// promise: BRIDGE: Retry-After, in seconds or as a date, is honoured up to retryAfterMax
#[test]
fn retry_after_may_be_a_date() {
    let house = House::new();
    let sink = Sink::start(|_, before| match before {
        0 => {
            let then = jiff::Timestamp::now() + Duration::from_secs(2);
            answer(429).header("retry-after", &then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        }
        _ => answer(204),
    });
    let _bridge = house.start(&plain(sink.address, "  delivery: { retry: 1, backoffDelay: PT0.001S }\n"));
    house.write(vec![record("k", "v")]);
    let calls = sink.wait_for(2);
    assert!(calls[1].at - calls[0].at >= Duration::from_millis(900), "{:?}", calls[1].at - calls[0].at);
}

// promise: BRIDGE: Retry-After, in seconds or as a date, is honoured up to retryAfterMax
#[test]
fn retry_after_is_capped() {
    let house = House::new();
    let sink =
        Sink::start(|_, before| if before == 0 { answer(503).header("retry-after", "3600") } else { answer(204) });
    let _bridge =
        house.start(&plain(sink.address, "  delivery: { retry: 1, backoffDelay: PT0.001S, retryAfterMax: PT0.3S }\n"));
    house.write(vec![record("k", "v")]);
    let calls = sink.wait_for(2);
    assert!(calls[1].at - calls[0].at >= Duration::from_millis(290), "{:?}", calls[1].at - calls[0].at);
}

// promise: BRIDGE: a source that retries forever makes no dead letters of failures
#[test]
fn a_source_that_retries_forever_makes_no_dead_letters_of_failures() {
    let (house, sink) = (House::new(), Sink::start(|_, before| answer(if before < 30 { 500 } else { 204 })));
    let delivery =
        format!("  delivery: {{ retry: forever, backoffDelay: PT0.001S, maxBackoff: PT0.005S, {DEAD_LETTERS} }}\n");
    let _bridge = house.start(&source(sink.address, &delivery));
    house.write(vec![record("k", "v")]);
    house.wait_for_commits("g", 1);
    assert_eq!((sink.deliveries().len(), house.read("dead").len()), (31, 0));
}

// promise: BRIDGE: backoff is Knative's (linear d·n, exponential d·2^n) with full jitter, capped by maxBackoff
#[test]
fn congestion_is_answered_by_backing_off() {
    let (house, sink) = (House::new(), Sink::start(|_, before| answer(if before < 6 { 429 } else { 204 })));
    let _bridge = house
        .start(&plain(sink.address, "  delivery: { retry: 6, backoffPolicy: exponential, backoffDelay: PT0.02S }\n"));
    house.write(vec![record("k", "v")]);
    let calls = sink.wait_for(7);
    let waited = calls[6].at - calls[0].at;
    // With full jitter the six delays are 0 to 40, 80, … 1,280 ms, so that the sum is almost never below a tenth.
    assert!(waited >= Duration::from_millis(60) && waited < Duration::from_secs(10), "{waited:?}");
}
