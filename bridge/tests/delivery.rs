//! From a record to a sink and back, on the embedded log, with a real HTTP server as the sink.

#![allow(clippy::unwrap_used)]

#[path = "support/ports.rs"]
mod ports;
mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use event::Event;
use support::*;

// promise: BRIDGE: a record becomes one POST, is settled by its answer and then committed
#[test]
fn a_record_is_delivered_settled_and_committed() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let bridge = house.start(&source(sink.address, ""));
    bridge.wait_until_ready();
    house.write(vec![record("k", "hello")]);
    let calls = sink.wait_for(1);
    assert_eq!((calls[0].data().as_str(), calls[0].event.kind.as_str()), ("hello", "dev.knative.kafka.event"));
    assert!(calls[0].headers.contains_key("traceparent") && !calls[0].headers.contains_key("prefer"));
    house.wait_for_commits("g", 1);
    let metrics = bridge.get("/metrics").1;
    assert!(metrics.contains("till_settled_total{source=\"s\"} 1"), "{metrics}");
    assert!(metrics.contains("till_lag{source=\"s\",topic=\"in\",partition=\"0\"} 0"), "{metrics}");
}

// promise: BRIDGE: records of one key are delivered one at a time in offset order
#[test]
fn records_of_a_key_keep_their_order_while_keys_run_abreast() {
    let house = House::new();
    let sink = Sink::start(|call, before| match (call.data().ends_with('3'), before) {
        (true, 0) => answer(500),
        _ => answer(204).after(Duration::from_millis(u64::from(call.data().as_bytes()[0] % 7))),
    });
    let _bridge = house.start(&source(sink.address, "  delivery: { backoffDelay: PT0.01S }\n"));
    let records = (0..20).flat_map(|n| (0..8).map(move |key| record(&format!("key-{key}"), &format!("{key}-{n}"))));
    house.write(records.collect());
    sink.wait_for(160 + 16);
    for (key, values) in by_key(&sink.deliveries()) {
        let mut seen = values.clone();
        seen.dedup();
        let expected: Vec<String> = (0..20).map(|n| format!("{}-{n}", &key[4..])).collect();
        assert_eq!(seen, expected, "{key}: {values:?}");
    }
    house.wait_for_commits("g", 160);
}

// promise: BRIDGE: 404, 408, 409, 425, 429, 5xx, a time-out and a lost connection are failures that are retried
#[test]
fn a_failure_is_retried_until_it_succeeds() {
    let (house, sink) = (House::new(), Sink::start(|_, before| answer(if before < 3 { 500 } else { 202 })));
    let _bridge = house.start(&source(sink.address, "  delivery: { retry: forever, backoffDelay: PT0.01S }\n"));
    house.write(vec![record("k", "v")]);
    assert_eq!(sink.wait_for(4).len(), 4);
    house.wait_for_commits("g", 1);
    assert_eq!(sink.deliveries().len(), 4);
}

// promise: BRIDGE: 1xx, 3xx, 400 and other 4xx are refused: a dead letter at once, and the lane goes on
#[test]
fn a_refusal_is_a_dead_letter_and_the_lane_goes_on() {
    let house = House::new();
    let sink = Sink::start(|call, _| match call.data().as_str() {
        "bad" => Answer { body: "not like this".into(), ..answer(422) },
        _ => answer(204),
    });
    let _bridge = house.start(&source(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n")));
    house.write(vec![record("k", "bad"), record("k", "good")]);
    let letters = house.wait_for_records("dead", 1);
    assert_eq!(letters[0].value.as_deref(), Some(b"bad".as_slice()));
    assert_eq!(letters[0].key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(header(&letters[0].headers, "knativeerrorcode"), "422");
    house.wait_for_commits("g", 2);
    let seen: Vec<String> = sink.deliveries().iter().map(Call::data).collect();
    assert_eq!(seen, ["bad", "good"]);
}

// promise: BRIDGE: `retry: 3` is three, also over restarts, and then the record is a dead letter
#[test]
fn retries_end_in_a_dead_letter() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(500)));
    let delivery = format!("  delivery: {{ retry: 2, backoffDelay: PT0.005S, {DEAD_LETTERS} }}\n");
    let _bridge = house.start(&source(sink.address, &delivery));
    house.write(vec![record("k", "v")]);
    let letters = house.wait_for_records("dead", 1);
    assert_eq!(header(&letters[0].headers, "tillattempts"), "3");
    assert_eq!(sink.deliveries().len(), 3);
}

// promise: BRIDGE: replies by type go to the topic that is the first segment of their type
#[test]
fn replies_become_records_by_their_type() {
    let house = House::new();
    let sink = Sink::start(|call, _| {
        let mut event = Event::new(format!("r-{}", call.data()), "/till/s", "out.thing.done");
        event.subject = Some("a1".into());
        event.data = Some(Bytes::from_static(b"{}"));
        if call.is_wake() { answer(204) } else { Answer::events(&[event.clone(), event]) }
    });
    let _bridge = house.start(&source(sink.address, "  reply: { byType: true, types: [out.] }\n"));
    house.write(vec![record("k", "1"), record("k", "2")]);
    let records = house.wait_for_records("out", 4);
    let ids: Vec<String> = records.iter().map(|record| header(&record.headers, "ce_id")).collect();
    assert_eq!(ids, ["r-1", "r-1", "r-2", "r-2"]);
    assert!(records.iter().all(|record| record.key.as_deref() == Some(b"a1".as_slice())));
    assert_eq!(sink.deliveries()[0].headers["prefer"], "reply");
    house.wait_for_commits("g", 2);
}

// promise: BRIDGE: a reply that can never be written stops its lane and says so, not its neighbours
// promise: BRIDGE: readiness tells the truth
#[test]
fn a_poison_reply_stops_its_lane_only_and_readiness_says_so() {
    let house = House::new();
    let sink = Sink::start(|call, _| match call.data().as_str() {
        "poison" => Answer::events(&[Event::new("1", "/s", "payment.deposit.confirmed")]),
        "huge" => {
            let mut event = Event::new("2", "/s", "out.x");
            event.data = Some(vec![b'1'; 300 * 1024].into());
            Answer::events(&[event])
        }
        "nowhere" => Answer::events(&[Event::new("3", "/s", "outside.x")]),
        _ => answer(204),
    });
    let bridge = house.start(&source(sink.address, "  reply: { byType: true, types: [out] }\n"));
    bridge.wait_until_ready();
    let poisons = ["poison", "huge", "nowhere"];
    house.write(poisons.iter().flat_map(|name| [record(name, name), record(name, "after")]).collect());
    house.write((0..50).map(|n| record(&format!("good-{n}"), "good")).collect());
    sink.wait_for(53);
    let complaints = wait("three complaints", || {
        let (status, text) = bridge.get("/health/ready");
        (status == 503 && text.matches("is stopped").count() == 3).then_some(text)
    });
    for word in ["payment.deposit.confirmed", "bytes", "topic outside: there is no such topic"] {
        assert!(complaints.contains(word), "{word}: {complaints}");
    }
    assert!(!sink.deliveries().iter().any(|call| call.data() == "after"), "a stopped lane went on");
    assert_eq!(house.read("out").len(), 0);
}

// promise: BRIDGE: 200 with another body where replies are used is a dead letter and is not retried
#[test]
fn a_reply_that_is_no_event_is_a_dead_letter() {
    let house = House::new();
    let sink = Sink::start(|call, _| match call.is_wake() {
        true => answer(204),
        false => Answer { body: "hello".into(), ..answer(200) },
    });
    let more = format!("  reply: {{ byType: true }}\n  delivery: {{ {DEAD_LETTERS} }}\n");
    let _bridge = house.start(&source(sink.address, &more));
    house.write(vec![record("k", "v")]);
    assert_eq!(header(&house.wait_for_records("dead", 1)[0].headers, "knativeerrorcode"), "200");
}

// promise: BRIDGE: bad bytes (non-UTF-8 keys and headers, 1 MiB values, malformed CloudEvents) never stop a partition
#[test]
fn bad_bytes_never_stop_a_partition() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let _bridge = house.start(&source(sink.address, "  ordering: ordered\n"));
    let mut strange = [record("k", ""), record("k", ""), record("k", ""), record("k", "last")];
    strange.iter_mut().for_each(|record| record.partition = Some(0));
    strange[0].key = Some(Bytes::from_static(b"\xff\xfe\x00"));
    strange[0].value = None;
    strange[1].value = Some(vec![b'x'; 1_000_000].into());
    strange[2].headers = vec![("ce_specversion".into(), Some("1.0".into())), ("ce_id".into(), None)];
    house.write(strange.to_vec());
    let calls = sink.wait_for(4);
    assert_eq!(calls[0].event.data, None);
    assert_eq!(calls[0].event.attribute("key"), Some("//4A"));
    assert_eq!(calls[1].data().len(), 1_000_000);
    assert_eq!(calls[2].event.kind, "dev.knative.kafka.event");
    assert_eq!(calls[3].data(), "last");
    house.wait_for_commits("g", 4);
}

// promise: BRIDGE: a source's filters choose its events, and what they leave out is settled
#[test]
fn filters_choose_and_the_rest_is_settled() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let _bridge = house.start(&source(sink.address, "  filters:\n    - prefix: { type: a. }\n"));
    let records = ["a.one", "b.two", "a.three"].map(|kind| {
        let (headers, value) = event::kafka::encode(&Event::new(kind, "/s", kind));
        bridge::log::NewRecord { headers, value, ..record("k", "") }
    });
    house.write(records.to_vec());
    house.wait_for_commits("g", 3);
    let kinds: Vec<String> = sink.deliveries().into_iter().map(|call| call.event.kind).collect();
    assert_eq!(kinds, ["a.one", "a.three"]);
}

// promise: BRIDGE: waking has its own budget, uses up no retries, and sends one probe at a time
#[test]
fn a_sleeping_sink_is_waited_for_without_using_up_retries() {
    let house = House::new();
    let address = ports::address();
    let delivery = format!("  delivery: {{ retry: 0, {DEAD_LETTERS} }}\n");
    let bridge = house.start(&source(address, &delivery));
    house.write((0..20).map(|n| record(&n.to_string(), "v")).collect());
    wait("waking", || bridge.get("/sources").1.contains("\"gate\": \"waking\"").then_some(()));
    let sink = Sink::start_at(&address.to_string(), |_, _| answer(204));
    assert_eq!(sink.wait_for(20).len(), 20);
    house.wait_for_commits("g", 20);
    assert_eq!(house.read("dead").len(), 0);
}

// promise: BRIDGE: Retry-After, in seconds or as a date, is honoured up to retryAfterMax
#[test]
fn retry_after_is_honoured() {
    let house = House::new();
    let sink = Sink::start(|_, before| if before == 0 { answer(503).header("retry-after", "1") } else { answer(204) });
    let _bridge = house.start(&source(sink.address, "  delivery: { backoffDelay: PT0.001S }\n"));
    house.write(vec![record("k", "v")]);
    let calls = sink.wait_for(2);
    assert!(calls[1].at - calls[0].at >= Duration::from_millis(990));
}

// promise: BRIDGE: the token of a source is shown to its sink
#[test]
fn the_token_is_shown_to_the_sink() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let file = house.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let _bridge = house.start(&source(sink.address, &format!("  auth: {{ tokenFile: '{}' }}\n", file.display())));
    house.write(vec![record("k", "v")]);
    assert_eq!(sink.wait_for(1)[0].headers["authorization"], "Bearer secret");
}

#[test]
fn a_token_that_cannot_be_read_is_waited_for_and_nothing_is_called_without_it() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let file = house.path().join("token");
    let more = format!(
        "  auth: {{ tokenFile: '{}' }}\n  delivery: {{ retry: forever, backoffDelay: PT0.01S, maxBackoff: PT0.05S, {DEAD_LETTERS} }}\n",
        file.display()
    );
    let bridge = house.start(&source(sink.address, &more));
    house.write(vec![record("k", "v")]);
    wait("an attempt", || bridge.get("/metrics").1.contains("no_token").then_some(()));
    assert_eq!((sink.calls().len(), house.read("dead").len()), (0, 0));
    std::fs::write(&file, "secret").unwrap();
    assert_eq!(sink.wait_for(1)[0].headers["authorization"], "Bearer secret");
}

// promise: BRIDGE: a dead letter that cannot be written stops its lane, is not committed, and readiness says so
#[test]
fn a_dead_letter_that_cannot_be_written_stops_its_lane() {
    let house = House::new();
    let sink = Sink::start(|call, _| answer(if call.data().starts_with("xx") { 422 } else { 204 }));
    let bridge = house.start(&source(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n")));
    // Its dead letter is larger than the log takes, since the reason stands beside it.
    house.write(vec![record("large", &"x".repeat(1_048_400)), record("large", "after")]);
    house.write((0..20).map(|n| record(&format!("k{n}"), "good")).collect());
    sink.wait_for(21);
    let complaints = wait("a complaint", || Some(bridge.get("/health/ready")).filter(|(status, _)| *status == 503)).1;
    assert!(complaints.contains("topic dead"), "{complaints}");
    house.wait_for_commits("g", 10);
    bridge.stop();
    assert_eq!(sink.deliveries().len(), 21, "its neighbours were called once");
    assert_eq!(
        (house.read("dead").len(), sink.deliveries().iter().filter(|call| call.data() == "after").count()),
        (0, 0)
    );
    assert!(house.committed("g") < 22, "the record that is nowhere was committed");
}

// promise: BRIDGE: with onUnauthorized: pause the source pauses, one probe at a time, and readiness says why
#[test]
fn a_refused_token_pauses_the_source_until_it_is_accepted() {
    let house = House::new();
    let sink = Sink::start(|call, before| answer(if call.is_wake() || before > 1 { 204 } else { 401 }));
    let bridge =
        house.start(&source(sink.address, "  concurrency: { max: 1 }\n  delivery: { onUnauthorized: pause }\n"));
    house.write(vec![record("a", "1"), record("b", "2")]);
    wait("a complaint", || bridge.get("/health/ready").1.contains("does not accept the token").then_some(()));
    house.wait_for_commits("g", 2);
    bridge.wait_until_ready();
    assert_eq!(house.read("dead").len(), 0);
}

// promise: BRIDGE: with onExhausted: stop the lane waits after a record was given up
#[test]
fn with_on_exhausted_stop_the_lane_waits() {
    let house = House::new();
    let sink = Sink::start(|call, _| answer(if call.data() == "bad" { 400 } else { 204 }));
    let bridge = house.start(&source(sink.address, "  delivery: { onExhausted: stop }\n"));
    house.write(vec![record("k", "bad"), record("k", "after"), record("other", "good")]);
    sink.wait_for(2);
    wait("a complaint", || bridge.get("/health/ready").1.contains("refused by the sink").then_some(()));
    assert!(!sink.deliveries().iter().any(|call| call.data() == "after"));
}

// promise: BRIDGE: ordered has one in flight per partition, unordered is free
#[test]
fn ordered_has_one_in_flight_a_partition_and_unordered_is_free() {
    let most_at_once = |ordering: &str| {
        let (house, sink) = (House::new(), Sink::start(|_, _| answer(204).after(Duration::from_millis(60))));
        let _bridge =
            house.start(&source(sink.address, &format!("  ordering: {ordering}\n  concurrency: {{ max: 8 }}\n")));
        let records = (0..8).map(|n| bridge::log::NewRecord { partition: Some(0), ..record("k", &n.to_string()) });
        house.write(records.collect());
        let calls = sink.wait_for(8);
        let begins: Vec<Instant> = calls.iter().map(|call| call.at).collect();
        begins
            .iter()
            .map(|at| begins.iter().filter(|b| **b <= *at && *at - **b < Duration::from_millis(50)).count())
            .max()
            .unwrap()
    };
    assert_eq!(most_at_once("ordered"), 1);
    assert!(most_at_once("unordered") > 4);
}

// promise: BRIDGE: memory is bounded by records and by bytes, whatever the lag
#[test]
fn memory_is_bounded_whatever_the_lag() {
    let house = House::new();
    let sink = Sink::start(|_, _| answer(204).after(Duration::from_secs(30)));
    let bridge = house.start_with(&source(sink.address, "  concurrency: { max: 4 }\n"), &house.options(Duration::ZERO));
    for round in 0..20 {
        house.write((0..1_000).map(|n| record(&format!("{round}-{n}"), "v")).collect());
    }
    sink.wait_for(4);
    let buffered = |state: &str| {
        let after = state.split("\"buffered_records\": ").nth(1).unwrap();
        after.split(',').next().unwrap().parse::<usize>().unwrap()
    };
    let most = wait("a full memory", || Some(buffered(&bridge.get("/sources").1)).filter(|buffered| *buffered >= 700));
    assert!(most <= 2_048, "{most}");
    assert_eq!(sink.deliveries().len(), 4);
}

// promise: BRIDGE: a structured event where delivery.format is json
#[test]
fn the_format_of_a_delivery_can_be_json() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let _bridge = house.start(&source(sink.address, "  delivery: { format: json }\n"));
    house.write(vec![record("k", "hello")]);
    let call = sink.wait_for(1).remove(0);
    assert_eq!(call.headers["content-type"], "application/cloudevents+json");
    assert_eq!(call.event.attribute("key"), Some("k"));
}

// promise: BRIDGE: a KafkaSource without a dead letter sink drops what it gave up, as under Knative, and goes on
#[test]
fn a_kafka_source_without_a_dead_letter_sink_drops_and_goes_on() {
    let house = House::new();
    let sink = Sink::start(|call, _| answer(if call.data() == "bad" { 400 } else { 200 }));
    let document = source(sink.address, "  initialOffset: earliest\n")
        .replace("till.dev/v1", "sources.knative.dev/v1beta1")
        .replace("kind: Source", "kind: KafkaSource");
    let bridge = house.start(&document);
    let records = ["bad", "good"].map(|value| bridge::log::NewRecord { partition: Some(1), ..record("k", value) });
    house.write(records.to_vec());
    sink.wait_for(2);
    house.wait_for_commits("g", 2);
    assert!(bridge.get("/metrics").1.contains("till_dropped_total{source=\"s\"} 1"));
    assert!(sink.calls().iter().all(|call| !call.is_wake()), "a plain sink knows nothing of wakes");
}
