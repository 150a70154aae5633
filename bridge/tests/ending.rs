//! How a bridge ends and begins again: it drains within its time, and nothing is lost or done twice.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::*;

// promise: BRIDGE: nothing is lost over a restart, and what is settled is not delivered again
#[test]
fn a_restart_loses_nothing_and_repeats_nothing_that_was_settled() {
    let house = House::new();
    let sink = Sink::start(|call, _| match call.data().as_str() {
        "stuck" => answer(500),
        _ => answer(204),
    });
    let documents =
        source(sink.address, "  delivery: { backoffDelay: PT0.02S, maxBackoff: PT0.02S, retry: forever }\n");
    let bridge = house.start(&documents);
    house.write(vec![record("stuck", "stuck")]);
    house.write((0..100).map(|n| record(&format!("k{n}"), &n.to_string())).collect());
    wait("100 settled", || {
        (sink.deliveries().iter().filter(|call| call.data() != "stuck").count() >= 100).then_some(())
    });
    bridge.stop();
    let before = sink.deliveries().len();
    let bridge = house.start(&documents);
    house.write((100..120).map(|n| record(&format!("k{n}"), &n.to_string())).collect());
    wait("20 more", || (sink.deliveries().iter().filter(|call| call.data() != "stuck").count() >= 120).then_some(()));
    drop(bridge);
    let again: Vec<String> =
        sink.deliveries()[before..].iter().map(Call::data).filter(|data| data != "stuck").collect();
    assert_eq!(again.len(), 20, "{again:?}");
}

// promise: BRIDGE: on SIGTERM it stops fetching, drains within --drain, commits and exits with 0
#[test]
fn a_drain_waits_for_calls_under_way_and_commits() {
    let house = House::new();
    let sink = Sink::start(|_, _| answer(204).after(Duration::from_millis(400)));
    let bridge = house.start(&source(sink.address, ""));
    house.write(vec![record("a", "1"), record("b", "2")]);
    sink.wait_for(2);
    let begun = Instant::now();
    bridge.stop();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(house.committed("g"), 2);
}

#[test]
fn what_is_called_during_the_drain_may_still_push() {
    let house = House::new();
    let sink = Sink::start(|_, _| answer(204).after(Duration::from_secs(2)));
    std::fs::create_dir(house.path().join("tokens")).unwrap();
    std::fs::write(house.path().join("tokens/out"), "secret").unwrap();
    let mut options = house.options(Duration::from_secs(5));
    options.ingress_tokens = Some(house.path().join("tokens"));
    let mut bridge = house.start_with(&source(sink.address, ""), &options);
    house.write(vec![record("a", "1")]);
    sink.wait_for(1);
    bridge.tell_to_stop();
    std::thread::sleep(Duration::from_millis(200));
    let push = "POST / HTTP/1.1\r\nhost: b\r\nauthorization: Bearer secret\r\nce-specversion: 1.0\r\nce-id: 1\r\n\
                ce-source: /s\r\nce-type: out.x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(bridge.exchange(push).map(|(status, _)| status), Some(202));
    bridge.stop();
    assert_eq!((house.read("out").len(), house.committed("g")), (1, 1));
}

// promise: BRIDGE: on SIGTERM it stops fetching, drains within --drain, commits and exits with 0
#[test]
fn a_drain_is_bounded() {
    let house = House::new();
    let sink = Sink::start(|_, _| answer(204).after(Duration::from_secs(60)));
    let bridge = house.start_with(&source(sink.address, ""), &house.options(Duration::from_millis(300)));
    house.write(vec![record("a", "1")]);
    sink.wait_for(1);
    let begun = Instant::now();
    bridge.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(house.committed("g"), 0);
}
