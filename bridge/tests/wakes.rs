//! Wakes and schedules: calls that no record asks for.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::*;

// promise: BRIDGE: every sink is woken once at the bridge's start
#[test]
fn every_sink_is_woken_once_at_the_start() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let _bridge = house.start(&source(sink.address, "  reply: { byType: true }\n"));
    let call = wait("a wake", || sink.calls().into_iter().find(Call::is_wake));
    assert_eq!((call.event.data, call.event.source.as_str()), (None, "/till/bridge/wakes/s"));
    assert!(!call.headers.contains_key("prefer"), "a wake never asks for a reply");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(sink.calls().len(), 1);
}

// promise: BRIDGE: Wake-At on any answer of a sink asks for a wake at that time, and the earliest wins
#[test]
fn an_answer_asks_for_a_wake_and_the_earliest_wins() {
    let house = House::new();
    let soon = |ms| (jiff::Timestamp::now() + Duration::from_millis(ms)).to_string();
    let sink = Sink::start(move |call, _| match (call.is_wake(), call.data().as_str()) {
        (false, "later") => answer(204).header("wake-at", &soon(3_600_000)),
        (false, "soon") => answer(422).header("wake-at", &soon(300)),
        _ => answer(204),
    });
    let _bridge = house.start(&source(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n")));
    wait("the first wake", || sink.calls().into_iter().find(Call::is_wake));
    house.write(vec![record("k", "later"), record("k", "soon"), record("k", "later")]);
    let calls = wait("the second wake", || {
        Some(sink.calls()).filter(|calls| calls.iter().filter(|c| c.is_wake()).count() == 2)
    });
    let asked = calls.iter().find(|call| call.data() == "soon").unwrap().at;
    let woken = calls.iter().rfind(|call| call.is_wake()).unwrap();
    assert!(woken.at - asked >= Duration::from_millis(290), "{:?}", woken.at - asked);
    let ids: std::collections::BTreeSet<_> =
        calls.iter().filter(|call| call.is_wake()).map(|call| &call.event.id).collect();
    assert_eq!(ids.len(), 2, "each wake has an id of its own");
}

// promise: BRIDGE: a wake that failed is tried again
#[test]
fn a_failed_wake_is_tried_again() {
    let (house, sink) = (House::new(), Sink::start(|_, before| answer([500, 401].get(before).copied().unwrap_or(204))));
    let _bridge = house.start(&source(sink.address, ""));
    wait("three wakes", || (sink.calls().len() == 3).then_some(()));
}

// promise: BRIDGE: Wake-At on a push to ingress asks for a wake of the sink that the topic is named after
#[test]
fn a_push_asks_for_a_wake() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    std::fs::create_dir(house.path().join("tokens")).unwrap();
    std::fs::write(house.path().join("tokens/out"), "secret").unwrap();
    let mut options = house.options(Duration::from_secs(1));
    options.ingress_tokens = Some(house.path().join("tokens"));
    options.resolve = Some(format!("http://{}/{{name}}", sink.address));
    let document = source(sink.address, "").replace(
        &format!("sink: {{ uri: 'http://{}/events' }}", sink.address),
        "sink: { ref: { kind: Service, name: out }, uri: /out/events }",
    );
    let bridge = house.start_with(&document, &options);
    wait("the first wake", || (sink.calls().len() == 1).then_some(()));
    let at = (jiff::Timestamp::now() + Duration::from_millis(200)).to_string();
    let push = format!(
        "POST /topics/out HTTP/1.1\r\nhost: b\r\nauthorization: Bearer secret\r\nwake-at: {at}\r\nce-specversion: 1.0\r\nce-id: 1\r\n\
         ce-source: /s\r\nce-type: out.x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(bridge.exchange(&push).unwrap().0, 202);
    assert_eq!(house.read("out").len(), 1);
    wait("the second wake", || (sink.calls().len() == 2).then_some(()));
}

// promise: BRIDGE: a PingSource's events are delivered by the bridge, with retries
#[test]
fn a_schedule_delivers_its_events_with_retries() {
    let house = House::new();
    let sink = Sink::start(|_, before| answer(if before == 0 { 503 } else { 204 }).header("retry-after", "0"));
    let document = format!(
        "---\napiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {{ name: p }}\nspec:\n  schedule: '* * * * * *'\n  \
         contentType: application/json\n  data: '{{\"n\":1}}'\n  sink: {{ uri: 'http://{}/' }}\n",
        sink.address
    );
    let _bridge = house.start(&document);
    let calls = sink.wait_for(4);
    assert_eq!((calls[0].event.kind.as_str(), calls[0].data().as_str()), ("dev.knative.sources.ping", "{\"n\":1}"));
    assert_eq!(calls[0].event.id, calls[1].event.id, "the retry is the same event");
    assert!(calls.iter().any(|call| call.event.id != calls[0].event.id));
}

// promise: BRIDGE: an instant that falls due during a call is sent after it
#[test]
fn an_instant_that_falls_due_during_a_call_is_sent_after_it() {
    let house = House::new();
    let sink = Sink::start(|_, before| {
        if before == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1_300));
        }
        answer(204)
    });
    let document = format!(
        "---\napiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {{ name: p }}\nspec:\n  schedule: '* * * * * *'\n  \
         sink: {{ uri: 'http://{}/' }}\n",
        sink.address
    );
    let _bridge = house.start(&document);
    let calls = sink.wait_for(2);
    let instant = |call: usize| calls[call].event.time.as_deref().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(instant(1).as_second() - instant(0).as_second(), 1);
}
