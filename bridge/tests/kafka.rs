//! The whole hop on a real Kafka, where there is one: transactions of replies and offsets, restarts, several bridges in a group.

#![allow(clippy::unwrap_used)]

#[path = "support/place.rs"]
mod place;
#[path = "support/ports.rs"]
mod ports;
mod support;
#[allow(dead_code)]
#[path = "log/world.rs"]
mod world;

use std::time::Duration;

use bridge::log::NewRecord;
use place::{Place, replies};
use support::*;
use world::World;

/// A place on the broker of this run, where there is one.
fn place() -> Option<Place> {
    match World::kafka()? {
        World::Kafka(servers) => Some(Place::new(&servers)),
        World::Embedded(_) => None,
    }
}

// promise: BRIDGE: replies, dead letters and offsets are one transaction, all or none
// promise: BRIDGE: the committed offset of an idle partition is its end, so that its lag is zero
#[test]
fn on_kafka_replies_dead_letters_and_offsets_are_settled_together() {
    let Some(place) = place() else { return };
    let sink = place.sink(Duration::ZERO);
    let bridge = place.start("one", &sink);
    let mut records: Vec<NewRecord> = (0..200).map(|n| record(&format!("k{}", n % 20), &n.to_string())).collect();
    records.extend([record("k1", "refuse"), record("k2", "fail"), record("k1", "last")]);
    place.write(records);
    wait("202 replies", || (place.read(&place.out()).len() >= 202).then_some(()));
    wait("a dead letter", || (place.read(&place.dead()).len() == 1).then_some(()));
    wait("no lag", || (place.lag() == 0).then_some(()));
    assert!(replies(&place.read(&place.out())).values().all(|count| *count == 1), "each reply stands there once");
    bridge.stop();
    let calls = sink.deliveries().len();
    let bridge = place.start("one", &sink);
    place.write(vec![record("k1", "afterwards")]);
    wait("one more", || (place.read(&place.out()).len() >= 203).then_some(()));
    drop(bridge);
    assert_eq!(sink.deliveries().len(), calls + 1, "what was settled was not delivered again");
}

// promise: BRIDGE: several bridges in one group share the partitions, and a rebalance loses and doubles nothing that is settled
#[test]
fn on_kafka_two_bridges_share_the_work_and_one_may_go() {
    let Some(place) = place() else { return };
    let sink = place.sink(Duration::from_millis(5));
    let one = place.start("one", &sink);
    place.write((0..150).map(|n| record(&format!("k{n}"), &format!("a{n}"))).collect());
    wait("some replies", || (place.read(&place.out()).len() >= 20).then_some(()));
    let two = place.start("two", &sink);
    wait("partitions for two", || two.get("/sources").1.contains("\"safe_offset\"").then_some(()));
    place.write((0..300).map(|n| record(&format!("k{n}"), &format!("b{n}"))).collect());
    wait("more replies", || (place.read(&place.out()).len() >= 200).then_some(()));
    one.stop();
    place.write((0..50).map(|n| record(&format!("k{n}"), &format!("c{n}"))).collect());
    // It has left the group: nobody waits for its session to time out.
    wait_within(Duration::from_secs(25), "all replies", || (place.read(&place.out()).len() >= 500).then_some(()));
    wait("no lag", || (place.lag() == 0).then_some(()));
    let replies = replies(&place.read(&place.out()));
    assert_eq!(replies.len(), 500);
    assert!(replies.values().all(|count| *count == 1), "a reply stands there twice");
    drop(two);
}

// promise: BRIDGE: what was under way when its partition went is told, and delivered again
#[test]
fn on_kafka_a_partition_that_goes_with_work_under_way_says_so() {
    let Some(place) = place() else { return };
    let out = place.out();
    let sink = Sink::start(move |call, before| {
        // Longer than a drain.
        let after = if before == 0 && !call.is_wake() { Duration::from_secs(20) } else { Duration::ZERO };
        Answer::events(&[place::reply(call, &out, &call.data())]).after(after)
    });
    let one = place.start("one", &sink);
    place.write((0..6).map(|n| record(&format!("k{n}"), "v")).collect());
    sink.wait_for(6);
    let _two = place.start("two", &sink);
    let abandoned = |bridge: &Bridge| {
        let page = bridge.get("/metrics").1;
        let count = page.lines().find_map(|line| line.strip_prefix("till_abandoned_total{source=\"s\"} ")).unwrap();
        count.parse::<usize>().unwrap()
    };
    let told = wait_within(Duration::from_secs(40), "partitions for two", || Some(abandoned(&one)).filter(|n| *n > 0));
    place.wait_until_settled();
    assert_eq!(sink.deliveries().len(), 6 + told, "what was under way was sent again, and nothing else");
    assert_eq!(place.read(&place.out()).len(), 6, "one reply each");
}

// promise: BRIDGE: dead letters are listed and redriven
#[test]
fn on_kafka_letters_are_redriven_by_whichever_bridge_has_the_partition() {
    let Some(mut place) = place() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("api"), "secret").unwrap();
    let mended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mood = std::sync::Arc::clone(&mended);
    let sink = Sink::start(move |call, _| {
        let takes = call.is_wake() || mood.load(std::sync::atomic::Ordering::SeqCst) || !call.data().starts_with("bad");
        answer(if takes { 204 } else { 422 })
    });
    // Without an API at first: the same static member reads its letters from the next start on.
    let one = place.start("one", &sink);
    place.write((0..20).map(|n| record(&format!("k{n}"), &format!("bad {n}"))).collect());
    wait("twenty letters", || (place.read(&place.dead()).len() == 20).then_some(()));
    one.stop();
    place.api_token = Some(folder.path().join("api"));
    let (one, two) = (place.start("one", &sink), place.start("two", &sink));
    let ask = |bridge: &Bridge, head: &str, body: &str| {
        let length = body.len();
        let rest = "authorization: Bearer secret\r\nconnection: close";
        bridge
            .exchange(&format!("{head} HTTP/1.1\r\nhost: b\r\n{rest}\r\ncontent-length: {length}\r\n\r\n{body}"))
            .unwrap()
    };
    let open = |bridge: &Bridge| ask(bridge, "GET /dead-letters?limit=100", "").1.matches("\"id\"").count();
    wait("the list", || (open(&one) == 20).then_some(()));
    mended.store(true, std::sync::atomic::Ordering::SeqCst);
    let (status, told) = ask(&one, "POST /dead-letters/redrive", "{\"all\": true, \"rate\": 1000, \"limit\": 15}");
    assert_eq!((status, told.matches("\"id\"").count()), (200, 15), "{told}");
    assert_eq!(open(&two), 5, "the other bridge sees what was redriven here");
    let (status, told) = ask(&two, "POST /dead-letters/redrive", "{\"all\": true, \"rate\": 1000}");
    assert_eq!((status, told.matches("\"id\"").count()), (200, 5), "{told}");
    wait_within(Duration::from_secs(60), "all again", || (sink.deliveries().len() >= 40).then_some(()));
    one.stop();
    two.stop();
    let mut ids = std::collections::BTreeMap::new();
    sink.deliveries().iter().for_each(|call| *ids.entry((call.data(), call.event.id.clone())).or_insert(0) += 1);
    assert!(ids.len() == 20 && ids.values().all(|count| *count == 2), "{ids:?}");
}
