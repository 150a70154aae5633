//! Dead letters after they were written: listed, shown, delivered again to the source that gave up and to nobody else, and sent to an
//! HTTP sink instead of a topic.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bridge::Options;
use serde_json::{Value, json};
use support::*;

/// A house whose bridge has an operating API.
fn options(house: &House) -> Options {
    std::fs::write(house.path().join("api-token"), "secret\n").unwrap();
    Options { api_token: Some(house.path().join("api-token")), ..house.options(Duration::from_secs(5)) }
}

fn ask(bridge: &Bridge, method: &str, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: b\r\nauthorization: Bearer secret\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let (status, body) = bridge.exchange(&request).unwrap();
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

fn list(bridge: &Bridge, query: &str) -> Vec<Value> {
    let (status, page) = ask(bridge, "GET", &format!("/dead-letters?{query}"), "");
    assert_eq!(status, 200, "{page}");
    page["letters"].as_array().unwrap().clone()
}

fn redrive(bridge: &Bridge, order: &Value) -> Value {
    let (status, told) = ask(bridge, "POST", "/dead-letters/redrive", &order.to_string());
    assert_eq!(status, 200, "{told}");
    told
}

fn count(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

/// Two sources of one topic with one dead-letter topic: `s`, and `other` which takes everything.
fn two_sources(s: &Sink, other: &Sink) -> String {
    let delivery = format!("  delivery: {{ retry: 1, backoffDelay: PT0.01S, {DEAD_LETTERS} }}\n");
    let second = source(other.address, &delivery).replace("name: s }", "name: other }").replace("Group: g", "Group: h");
    source(s.address, &delivery) + &second
}

/// A sink that refuses while it is told to.
fn moody() -> (Sink, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let mood = Arc::clone(&refuses);
    let sink = Sink::start(move |call, _| match !call.is_wake() && mood.load(Ordering::SeqCst) {
        true => Answer { body: "no such account".into(), ..answer(422) },
        false => answer(204),
    });
    (sink, refuses)
}

fn value_of(call: &Call) -> (String, String) {
    (call.data(), call.event.id.clone())
}

// promise: BRIDGE: dead letters are listed and redriven
// promise: BRIDGE: a redrive goes to the source that gave up, and nobody else sees it
#[test]
fn letters_are_redriven_to_the_source_that_gave_up_in_the_order_of_their_keys() {
    let (house, (sink, refuses), other) = (House::new(), moody(), Sink::start(|_, _| answer(204)));
    let bridge = house.start_with(&two_sources(&sink, &other), &options(&house));
    house.write((0..30).map(|n| record(&format!("k{}", n % 3), &format!("{n}"))).collect());
    house.wait_for_records("dead", 30);
    let first: Vec<_> = sink.deliveries().iter().map(value_of).collect();
    let letters = list(&bridge, "limit=500");
    assert_eq!(letters.len(), 30);
    let letter = &letters[0];
    assert_eq!(
        (&letter["source"], &letter["reason"], &letter["said"]),
        (&json!("s"), &json!(422), &json!("no such account"))
    );
    assert_eq!((&letter["topic"], &letter["state"], &letter["attempts"]), (&json!("in"), &json!("open"), &json!(1)));
    assert_eq!(list(&bridge, "key=k1&limit=500").len(), 10);
    let others = ["reason=500", "topic=out", "source=other"].map(|query| list(&bridge, query).len());
    assert_eq!(others, [0; 3]);

    refuses.store(false, Ordering::SeqCst);
    let dry = redrive(&bridge, &json!({ "where": { "key": "k1" }, "dry_run": true }));
    assert_eq!((count(&dry["redriven"]), list(&bridge, "limit=500").len()), (10, 30));
    let told = redrive(&bridge, &json!({ "where": { "key": "k1" }, "rate": 1000 }));
    assert_eq!((count(&told["redriven"]), count(&told["refused"]), &told["cursor"]), (10, 0, &Value::Null));
    let again = sink.wait_for(40)[30..].to_vec();
    let expected: Vec<_> = first.iter().filter(|(data, _)| data.parse::<u32>().unwrap() % 3 == 1).cloned().collect();
    assert_eq!(again.iter().map(value_of).collect::<Vec<_>>(), expected, "same events with the same ids, in order");
    assert_eq!(list(&bridge, "limit=500").len(), 20);
    assert_eq!(list(&bridge, "state=redriven&limit=500").len(), 10);
    assert_eq!(count(&redrive(&bridge, &json!({ "where": { "key": "k1" } }))["redriven"]), 0, "once is enough");

    // A restart knows what was redriven, and delivers nothing of it again.
    bridge.stop();
    let bridge = house.start_with(&two_sources(&sink, &other), &options(&house));
    bridge.wait_until_ready();
    assert_eq!(list(&bridge, "limit=500").len(), 20);
    house.write(vec![record("k1", "last")]);
    sink.wait_for(41);
    bridge.stop();
    assert_eq!((sink.deliveries().len(), other.deliveries().len()), (41, 31));
}

// promise: BRIDGE: pages of dead letters have a cursor and a bound
#[test]
fn pages_go_on_where_they_ended() {
    let (house, (sink, _)) = (House::new(), moody());
    let bridge =
        house.start_with(&source(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n")), &options(&house));
    house.write((0..25).map(|n| record(&n.to_string(), &n.to_string())).collect());
    house.wait_for_records("dead", 25);
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let (_, page) = ask(&bridge, "GET", &format!("/dead-letters?limit=10{cursor}"), "");
        seen.extend(page["letters"].as_array().unwrap().iter().map(|letter| letter["id"].to_string()));
        pages += 1;
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.dedup();
    assert_eq!((seen.len(), pages), (25, 3));
    let ids = json!({ "ids": seen.iter().map(|id| id.trim_matches('"')).chain(["dead/0/99"]).collect::<Vec<_>>() });
    let told = redrive(&bridge, &json!({ "where": ids, "dry_run": true, "limit": 20 }));
    let rest = redrive(&bridge, &json!({ "where": ids, "dry_run": true, "limit": 20, "cursor": told["cursor"] }));
    assert_eq!((count(&told["redriven"]), count(&rest["redriven"]), count(&rest["refused"])), (20, 5, 1), "{rest}");
    let told = redrive(&bridge, &json!({ "all": true, "limit": 10, "rate": 1000 }));
    let rest = redrive(&bridge, &json!({ "all": true, "limit": 100, "rate": 1000, "cursor": told["cursor"] }));
    assert_eq!(
        (count(&told["redriven"]), count(&rest["redriven"])),
        (10, 15),
        "what failed again is not ordered in a circle"
    );
}

// promise: BRIDGE: a letter that was redriven too often is refused
#[test]
fn loops_are_counted_and_end() {
    let (house, (sink, _)) = (House::new(), moody());
    let bridge =
        house.start_with(&source(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n")), &options(&house));
    house.write(vec![record("k", "v")]);
    for loops in 0..5 {
        let letters = wait("the letter", || {
            Some(list(&bridge, "")).filter(|letters| letters.len() == 1 && letters[0]["redriven"] == loops)
        });
        assert_eq!((&letters[0]["topic"], &letters[0]["offset"]), (&json!("in"), &json!(0)), "it remembers its origin");
        assert_eq!(count(&redrive(&bridge, &json!({ "where": { "ids": [letters[0]["id"]] } }))["redriven"]), 1);
    }
    wait("the last letter", || list(&bridge, "").iter().any(|letter| letter["redriven"] == 5).then_some(()));
    let told = redrive(&bridge, &json!({ "all": true }));
    assert!(told["refused"][0]["reason"].as_str().unwrap().contains("redriven 5 times"), "{told}");
    assert_eq!(count(&redrive(&bridge, &json!({ "all": true, "loops_max": 6 }))["redriven"]), 1);
    sink.wait_for(7);
    let calls = sink.deliveries();
    assert!(calls.iter().all(|call| call.event.id == calls[0].event.id), "it is the same event each time");
    wait("metrics", || bridge.get("/metrics").1.contains("till_redriven_total{source=\"s\"} 6").then_some(()));
}

#[test]
fn one_letter_is_shown_with_everything_about_it() {
    let (house, (sink, _)) = (House::new(), moody());
    let bridge =
        house.start_with(&source(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n")), &options(&house));
    let mut strange = record("k", "hello");
    strange.headers = vec![("h".into(), Some(bytes::Bytes::from_static(b"\xff"))), ("none".into(), None)];
    house.write(vec![strange]);
    house.wait_for_records("dead", 1);
    let (status, letter) = ask(&bridge, "GET", "/dead-letters/dead/0/0", "");
    assert_eq!((status, &letter["record"]["value"], &letter["record"]["key"]), (200, &json!("hello"), &json!("k")));
    assert_eq!(
        letter["record"]["headers"],
        json!([{ "name": "h", "value": { "base64": "/w==" } }, { "name": "none", "value": null }])
    );
    for (method, path, body, expected, word) in [
        ("GET", "/dead-letters/dead/0/7", "", 404, "let go"),
        ("GET", "/dead-letters/dead/x/7", "", 400, "topic/partition/offset"),
        ("GET", "/dead-letters?colour=red", "", 400, "colour"),
        ("GET", "/dead-letters?limit=501", "", 400, "500"),
        ("GET", "/dead-letters?since=yesterday", "", 400, "RFC 3339"),
        ("PUT", "/dead-letters", "", 405, "GET"),
        ("GET", "/dead-letters/redrive", "", 405, "POST"),
        ("POST", "/dead-letters/redrive", "{}", 400, "all"),
        ("POST", "/dead-letters/redrive", "{\"where\": {\"colour\": 1}}", 400, "colour"),
        ("POST", "/sources/nobody/retry", "", 404, "nobody"),
        ("GET", "/sources/s", "", 404, "nothing here"),
    ] {
        let (status, problem) = ask(&bridge, method, path, body);
        assert_eq!((status, &problem["status"]), (expected, &json!(expected)), "{method} {path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{method} {path}: {problem}");
    }
}

// promise: BRIDGE: the operating API has its own token
#[test]
fn the_api_is_off_without_a_token_and_closed_without_the_right_one() {
    let (house, sink) = (House::new(), Sink::start(|_, _| answer(204)));
    let closed = house.start_with(&source(sink.address, ""), &options(&house));
    for path in ["/dead-letters", "/sources", "/dead-letters/redrive"] {
        assert_eq!(closed.get(path).0, 401, "{path}");
    }
    assert_eq!(ask(&closed, "GET", "/sources", "").0, 200);
    closed.stop();
    let off = house.start(&source(sink.address, ""));
    assert_eq!((off.get("/dead-letters").0, off.get("/sources").0), (404, 200));
}

// promise: BRIDGE: a redrive that is killed loses nothing
#[test]
fn a_redrive_that_is_broken_off_loses_nothing_and_goes_on() {
    let (house, (sink, refuses)) = (House::new(), moody());
    let documents = source(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n"));
    let bridge = house.start_with(&documents, &options(&house));
    house.write((0..200).map(|n| record(&format!("k{}", n % 7), &n.to_string())).collect());
    house.wait_for_records("dead", 200);
    refuses.store(false, Ordering::SeqCst);
    // The client goes away in the middle of it, and so does the bridge.
    let address = bridge.address;
    let order = json!({ "all": true, "limit": 500, "rate": 100 }).to_string();
    let request = format!(
        "POST /dead-letters/redrive HTTP/1.1\r\nhost: b\r\nauthorization: Bearer secret\r\ncontent-length: {}\r\n\r\n{order}",
        order.len()
    );
    let mut client = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    sink.wait_for(220);
    drop(client);
    bridge.stop();
    let bridge = house.start_with(&documents, &options(&house));
    let open = list(&bridge, "limit=500").len();
    assert!((1..200).contains(&open), "{open} are open");
    let told = redrive(&bridge, &json!({ "all": true, "limit": 500, "rate": 10_000 }));
    assert_eq!(count(&told["redriven"]), open);
    sink.wait_for(400);
    for (key, values) in by_key(&sink.deliveries()[200..]) {
        assert!(values.is_sorted_by_key(|value| value.parse::<u32>().unwrap()), "{key}: {values:?}");
    }
    bridge.stop();
    assert_eq!(sink.deliveries().len(), 400, "each was delivered again once");
}

// promise: BRIDGE: a redrive keeps its rate
#[test]
fn a_redrive_keeps_its_rate() {
    let (house, (sink, refuses)) = (House::new(), moody());
    let bridge =
        house.start_with(&source(sink.address, &format!("  delivery: {{ {DEAD_LETTERS} }}\n")), &options(&house));
    house.write((0..40).map(|n| record(&n.to_string(), "v")).collect());
    house.wait_for_records("dead", 40);
    refuses.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    assert_eq!(count(&redrive(&bridge, &json!({ "all": true, "rate": 40 }))["redriven"]), 40);
    assert!(begun.elapsed() >= Duration::from_millis(850), "{:?}", begun.elapsed());
}

// promise: BRIDGE: stopped lanes are tried again without a restart
#[test]
fn stopped_lanes_are_tried_again_when_somebody_asks() {
    let (house, (sink, refuses)) = (House::new(), moody());
    let bridge = house.start_with(&source(sink.address, "  delivery: { onExhausted: stop }\n"), &options(&house));
    house.write(vec![record("k", "1"), record("k", "2")]);
    wait("a stop", || bridge.get("/health/ready").1.contains("refused by the sink").then_some(()));
    refuses.store(false, Ordering::SeqCst);
    let (status, told) = ask(&bridge, "POST", "/sources/s/retry", "");
    assert_eq!((status, &told["retried_lanes"]), (200, &json!(1)));
    house.wait_for_commits("g", 2);
    bridge.wait_until_ready();
}

fn to_http(sink: &Sink, letters: &Sink, more: &str) -> String {
    let delivery = format!("  delivery: {{ deadLetterSink: {{ uri: 'http://{}/dead' }}{more} }}\n", letters.address);
    source(sink.address, &delivery)
}

// promise: BRIDGE: an HTTP deadLetterSink gets the event with Knative's extensions, and the record is settled when it was taken
#[test]
fn an_http_dead_letter_sink_gets_the_event_and_the_reason() {
    let (house, (sink, _)) = (House::new(), moody());
    let letters = Sink::start(|_, before| {
        answer(if before == 0 { 503 } else { 202 }).header("retry-after", "0").after(Duration::from_millis(100))
    });
    let bridge = house.start(&to_http(&sink, &letters, ", backoffDelay: PT0.01S"));
    house.write(vec![record("k", "bad"), record("k", "after")]);
    let calls = letters.wait_for(2);
    assert_eq!((calls[0].data().as_str(), calls[0].event.id == sink.deliveries()[0].event.id), ("bad", true));
    let extension = |name: &str| calls[0].event.attribute(name).unwrap().to_owned();
    assert_eq!(extension("knativeerrordest"), format!("http://{}/events", sink.address));
    assert_eq!([extension("knativeerrorcode"), extension("knativeerrordata")], ["422", "bm8gc3VjaCBhY2NvdW50"]);
    assert!(!calls[0].headers.contains_key("prefer"));
    house.wait_for_commits("g", 2);
    assert_eq!(letters.wait_for(4).len(), 4);
    let metrics = bridge.get("/metrics").1;
    assert!(metrics.contains("till_dead_letters_total{source=\"s\"} 2"), "{metrics}");
}

// promise: BRIDGE: a dead letter that its HTTP sink does not take stops its lane, and readiness and a metric say so
#[test]
fn a_letter_that_its_sink_does_not_take_stops_the_lane() {
    let (house, sink) = (House::new(), Sink::start(|call, _| answer(if call.data() == "bad" { 422 } else { 204 })));
    let refuses = Arc::new(AtomicBool::new(true));
    let mood = Arc::clone(&refuses);
    let letters = Sink::start(move |_, _| answer(if mood.load(Ordering::SeqCst) { 400 } else { 204 }));
    let bridge = house.start_with(&to_http(&sink, &letters, ""), &options(&house));
    house.write(vec![record("k", "bad"), record("k", "after"), record("free", "good")]);
    let complaint =
        wait("a complaint", || Some(bridge.get("/health/ready").1).filter(|text| text.contains("dead letter sink")));
    assert!(complaint.contains("it answered 400"), "{complaint}");
    let metrics = bridge.get("/metrics").1;
    assert!(metrics.contains("till_stopped_lanes{source=\"s\"} 1"), "{metrics}");
    assert!(metrics.contains("till_dead_letter_failures_total{source=\"s\"} 1"), "{metrics}");
    sink.wait_for(2);
    assert!(!sink.deliveries().iter().any(|call| call.data() == "after"));
    assert!(house.committed("g") < 3, "the record that is nowhere was committed");
    refuses.store(false, Ordering::SeqCst);
    ask(&bridge, "POST", "/sources/s/retry", "");
    house.wait_for_commits("g", 3);
    assert_eq!(letters.deliveries().len(), 2);
}

#[test]
fn an_http_dead_letter_sink_is_called_as_often_at_a_time_as_the_sink() {
    let (house, (sink, _)) = (House::new(), moody());
    let letters = Sink::start(|_, _| answer(202).after(Duration::from_millis(100)));
    let _bridge = house.start(&format!("{}  concurrency: {{ max: 2 }}\n", to_http(&sink, &letters, "")));
    house.write((0..8).map(|n| record(&n.to_string(), "bad")).collect());
    house.wait_for_commits("g", 8);
    let mut begun: Vec<Instant> = letters.deliveries().iter().map(|call| call.at).collect();
    begun.sort();
    for three in begun.windows(3) {
        assert!(three[2] - three[0] >= Duration::from_millis(90), "a third was called: {begun:?}");
    }
}

#[test]
fn an_http_dead_letter_sink_may_wake_up_without_a_retry() {
    let (house, (sink, _)) = (House::new(), moody());
    // Nobody is there at first, as a proxy before a sleeping function says.
    let letters = Sink::start(|_, before| answer(if before == 0 { 503 } else { 202 }));
    let bridge = house.start(&to_http(&sink, &letters, ", retry: 0"));
    house.write(vec![record("k", "bad")]);
    house.wait_for_commits("g", 1);
    assert_eq!(letters.deliveries().len(), 2);
    bridge.wait_until_ready();
}

#[test]
fn an_http_dead_letter_sink_that_does_not_wake_stops_the_lane() {
    let (house, (sink, _)) = (House::new(), moody());
    let letters = Sink::start(|_, _| answer(503));
    let bridge = house.start(&to_http(&sink, &letters, ", retry: 0, wakeBudget: PT0.1S"));
    house.write(vec![record("k", "bad")]);
    wait("a stop", || bridge.get("/health/ready").1.contains("dead letter sink").then_some(()));
    assert_eq!(letters.deliveries().len(), 2, "once asleep, once after the budget");
}

// promise: BRIDGE: a source that retries forever makes no dead letters of failures
#[test]
fn a_source_that_retries_forever_makes_no_dead_letters_of_failures() {
    let house = House::new();
    // Everything that fails, in turn, thrice as often as the default allows.
    let statuses = [404, 408, 409, 425, 429, 500, 501, 502, 503, 504];
    let sink = Sink::start(move |call, before| match before {
        _ if call.is_wake() => answer(204),
        30.. => answer(204),
        before => answer(statuses[before % statuses.len()]),
    });
    let delivery =
        format!("  delivery: {{ retry: forever, backoffDelay: PT0.001S, maxBackoff: PT0.005S, {DEAD_LETTERS} }}\n");
    let _bridge = house.start(&source(sink.address, &delivery));
    house.write(vec![record("k", "v")]);
    assert_eq!(sink.wait_for(31).len(), 31);
    house.wait_for_commits("g", 1);
    assert_eq!(house.read("dead").len(), 0);
}
