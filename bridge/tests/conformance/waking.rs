//! A sink that was idle: what counts as waking, what does not, and how it is met when it is back.

use std::time::Duration;

use crate::codes::plain;
use crate::ports;
use crate::support::*;

/// Calls and dead letters of a record without any retry, whose first call is answered so.
fn after(first: impl Fn() -> Answer + Send + Sync + 'static) -> (usize, usize) {
    let house = House::new();
    let sink = Sink::start(move |_, before| if before == 0 { first() } else { answer(204) });
    let _bridge = house.start(&plain(sink.address, &format!("  delivery: {{ retry: 0, {DEAD_LETTERS} }}\n")));
    house.write(vec![record("k", "v")]);
    house.wait_for_commits("g", 1);
    (sink.deliveries().len(), house.read("dead").len())
}

// promise: BRIDGE: connection refused, a bare 502, 503 or 504, and KEDA's cold start mean that nobody was there
#[test]
fn a_gateway_that_says_nothing_more_means_that_nobody_was_there() {
    for status in [502, 503, 504] {
        assert_eq!(after(move || answer(status)), (2, 0), "{status}");
    }
    let cold = || answer(503).header("retry-after", "30").header("x-keda-http-cold-start", "true");
    assert_eq!(after(cold), (2, 0), "a cold start");
}

// promise: BRIDGE: connection refused, a bare 502, 503 or 504, and KEDA's cold start mean that nobody was there
#[test]
fn a_503_of_the_sink_itself_is_a_failure_and_not_waking() {
    let problem = || answer(503).header("content-type", "application/problem+json");
    assert_eq!(after(problem), (1, 1), "a problem document");
    assert_eq!(after(|| answer(503).header("retry-after", "1")), (1, 1), "Retry-After");
    assert_eq!(after(|| answer(500)), (1, 1), "another code");
}

// promise: BRIDGE: waking has its own budget, uses up no retries, and sends one probe at a time
#[test]
fn when_the_budget_is_used_up_silence_is_failure() {
    let house = House::new();
    let delivery = format!("  delivery: {{ retry: 0, wakeBudget: PT0.3S, {DEAD_LETTERS} }}\n");
    let bridge = house.start(&source(ports::address(), &delivery));
    house.write(vec![record("k", "v")]);
    assert_eq!(header(&house.wait_for_records("dead", 1)[0].headers, "knativeerrorcode"), "0");
    assert!(bridge.get("/sources").1.contains("\"gate\": \"failing\""));
}

// promise: BRIDGE: a sink that is back is not overrun: two calls at first, and one more for each answer
#[test]
fn no_herd_meets_a_sink_that_is_back() {
    const WORK: Duration = Duration::from_millis(60);
    let (house, address) = (House::new(), ports::address());
    let bridge = house.start(&source(address, "  concurrency: { max: 16 }\n"));
    house.write((0..60).map(|n| record(&format!("k{n}"), "v")).collect());
    wait("waking", || bridge.get("/sources").1.contains("\"gate\": \"waking\"").then_some(()));
    let sink = Sink::start_at(&address.to_string(), |_, _| answer(204).after(WORK));
    let calls = sink.wait_for(60);
    let before = |moment| calls.iter().filter(|call| call.at < moment).count();
    assert_eq!(before(calls[0].at + WORK), 1, "one probe finds out");
    assert_eq!(before(calls[1].at + WORK), 3, "then there are two");
    house.wait_for_commits("g", 60);
}
