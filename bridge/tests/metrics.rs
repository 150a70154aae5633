//! What the bridge says of itself: metrics that count what happened, on a page that Prometheus reads; traces; and a log without
//! payloads and secrets.

#![allow(clippy::unwrap_used)]

#[path = "support/ports.rs"]
mod ports;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use event::Event;
use support::*;

/// A page of metrics: the value of each sample by its name and labels.
struct Page(BTreeMap<String, f64>);

impl Page {
    /// Reads the text format strictly: a family is told once, by HELP and TYPE and then its samples, and no sample twice.
    fn parse(text: &str) -> Page {
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        let mut lines = text.lines().peekable();
        while let Some(head) = lines.next() {
            let (name, help) = head.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).expect(head);
            assert!(!help.is_empty() && families.insert(name.to_owned()), "{head}");
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} "))).expect(name);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} {kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let (sample, value) = Page::sample(line);
                let own = sample.split('{').next().unwrap();
                let parts = ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}"));
                assert!(own == name || (kind == "histogram" && parts.iter().any(|part| part == own)), "{line}");
                assert!(samples.insert(sample, value).is_none(), "{line} is there twice");
            }
        }
        let page = Page(samples);
        page.check_histograms();
        page
    }

    fn sample(line: &str) -> (String, f64) {
        let (name, rest) = line.split_once('{').expect(line);
        assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{line}");
        let mut rest = rest;
        while !rest.starts_with('}') {
            let (label, quoted) = rest.split_once("=\"").expect(line);
            let label = label.trim_start_matches(',');
            assert!(
                !label.is_empty() && label.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'),
                "{line}"
            );
            let (mut end, mut escaped) = (None, false);
            for (at, letter) in quoted.char_indices() {
                match (escaped, letter) {
                    (true, letter) => {
                        assert!(['\\', '"', 'n'].contains(&letter), "{line}");
                        escaped = false;
                    }
                    (false, '\\') => escaped = true,
                    (false, '"') => {
                        end = Some(at);
                        break;
                    }
                    _ => {}
                }
            }
            rest = &quoted[end.expect(line) + 1..];
        }
        let value = rest[1..].trim();
        (line[..line.len() - value.len()].trim().to_owned(), value.parse().expect(line))
    }

    fn check_histograms(&self) {
        for (sample, count) in self.0.iter().filter(|(sample, _)| sample.contains("_count{")) {
            let (name, labels) = sample.split_once("_count{").unwrap();
            let labels = labels.trim_end_matches('}');
            let buckets = self.0.iter().filter(|(other, _)| other.starts_with(&format!("{name}_bucket{{{labels},")));
            let bound = |sample: &str| {
                let le = sample.split("le=\"").nth(1).unwrap().trim_end_matches("\"}");
                if le == "+Inf" { f64::INFINITY } else { le.parse::<f64>().unwrap() }
            };
            let mut buckets: Vec<(f64, f64)> = buckets.map(|(sample, value)| (bound(sample), *value)).collect();
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{name}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{name}");
        }
    }

    fn of(&self, name: &str, labels: &str) -> f64 {
        let sample = format!("{name}{{source=\"s\"{labels}}}");
        *self.0.get(&sample).unwrap_or_else(|| panic!("{sample} is not there"))
    }
}

/// Settles ten records: two replies, one after two failures, one refused, two that the filter leaves out, the rest plainly.
fn script(call: &Call, before: usize) -> Answer {
    match (call.event.kind.as_str(), before) {
        ("dev.till.wake", _) => answer(204),
        ("a.fail", 0 | 1) => answer(500).after(Duration::from_millis(1)),
        ("a.refuse", _) => answer(422),
        ("a.reply", _) => Answer::events(&[Event::new("r1", "/s", "out.one"), Event::new("r2", "/s", "out.two")]),
        _ => answer(204),
    }
}

fn events(kinds: &[&str]) -> Vec<bridge::log::NewRecord> {
    let event = |(n, kind): (usize, &&str)| {
        let (headers, value) = event::kafka::encode(&Event::new(n.to_string(), "/s", *kind));
        bridge::log::NewRecord { headers, value, ..record(&format!("k{n}"), "") }
    };
    kinds.iter().enumerate().map(event).collect()
}

const MORE: &str = "  filters:\n    - prefix: { type: a. }\n  reply: { byType: true, types: [out.] }\n";

/// After the ten records of the test below.
const COUNTED: [(&str, &str, f64); 20] = [
    ("till_records_total", "", 10.0),
    ("till_skipped_total", "", 2.0),
    ("till_settled_total", "", 7.0),
    ("till_dead_letters_total", "", 1.0),
    ("till_dead_letter_failures_total", "", 0.0),
    ("till_dropped_total", "", 0.0),
    ("till_redriven_total", "", 0.0),
    ("till_replies_total", "", 2.0),
    ("till_rebalances_total", "", 3.0),
    ("till_abandoned_total", "", 0.0),
    ("till_commit_failures_total", "", 0.0),
    ("till_attempts_total", ",outcome=\"2xx\"", 7.0),
    ("till_attempts_total", ",outcome=\"4xx\"", 1.0),
    ("till_attempts_total", ",outcome=\"5xx\"", 2.0),
    ("till_record_to_settled_seconds_count", "", 7.0),
    ("till_waking_seconds_count", "", 0.0),
    ("till_lanes", "", 0.0),
    ("till_buffered_records", "", 0.0),
    ("till_stopped_lanes", "", 0.0),
    ("till_ready", "", 1.0),
];

// promise: BRIDGE: metrics count what happened
#[test]
fn metrics_count_what_happened() {
    let (house, sink) = (House::new(), Sink::start(script));
    let more = format!("{MORE}  delivery: {{ backoffDelay: PT0.01S, {DEAD_LETTERS} }}\n");
    let bridge = house.start(&source(sink.address, &more));
    bridge.wait_until_ready();
    let kinds = ["a.x", "a.x", "a.x", "a.x", "a.x", "a.fail", "a.refuse", "a.reply", "b.no", "b.no"];
    house.write(events(&kinds));
    house.wait_for_commits("g", 10);
    house.wait_for_records("out", 2);
    let page = wait("the last count", || {
        let page = Page::parse(&bridge.get("/metrics").1);
        let done = page.of("till_settled_total", "") == 7.0 && page.of("till_in_flight", "") == 0.0;
        (done && page.0.iter().any(|(name, count)| name.starts_with("till_wakes_total{") && *count == 1.0))
            .then_some(page)
    });
    for (name, labels, expected) in COUNTED {
        assert_eq!(page.of(name, labels), expected, "{name}{labels}");
    }
    let lag: f64 = (0..3).map(|number| page.of("till_lag", &format!(",topic=\"in\",partition=\"{number}\""))).sum();
    assert_eq!(lag, 0.0);
    assert!(page.of("till_commits_total", "") >= 1.0 && page.of("till_last_delivery_seconds", "") > 1e9);
    assert_eq!(sink.deliveries().len(), 10, "as many calls as were counted");
}

// promise: BRIDGE: the time that a sink takes to wake is measured
#[test]
fn waking_is_timed_and_what_waits_is_counted() {
    let house = House::new();
    let address = ports::address();
    let bridge = house.start(&source(address, ""));
    house.write((0..20).map(|n| record(&n.to_string(), "v")).collect());
    let waiting = wait("a lag", || {
        let page = Page::parse(&bridge.get("/metrics").1);
        (page.of("till_lanes", "") == 20.0 && page.0.keys().any(|name| name.contains("connection_refused")))
            .then_some(page)
    });
    let lag: f64 = (0..3).map(|number| waiting.of("till_lag", &format!(",topic=\"in\",partition=\"{number}\""))).sum();
    assert_eq!((lag, waiting.of("till_waking_seconds_count", "")), (20.0, 0.0));
    let _sink = Sink::start_at(&address.to_string(), |_, _| answer(204));
    let page = wait("the end of waking", || {
        let page = Page::parse(&bridge.get("/metrics").1);
        (page.of("till_settled_total", "") == 20.0).then_some(page)
    });
    assert_eq!(page.of("till_waking_seconds_count", ""), 1.0);
    assert!(page.of("till_waking_seconds_sum", "") > 0.0);
}

// promise: BRIDGE: a trace goes from the record to the request and on to the reply
#[test]
fn a_trace_goes_on_in_the_reply() {
    let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let other = "00-11111111111111111111111111111111-2222222222222222-01";
    let house = House::new();
    let sink = Sink::start(move |call, _| {
        let mut events = [
            Event::new(format!("{}-a", call.event.id), "/s", "out.x"),
            Event::new(format!("{}-b", call.event.id), "/s", "out.x"),
        ];
        events[1].extensions.insert("traceparent".into(), other.into());
        if call.is_wake() { answer(204) } else { Answer::events(&events) }
    });
    let _bridge = house.start(&source(sink.address, "  reply: { byType: true }\n"));
    let mut traced = Event::new("traced", "/s", "in.x");
    traced.extensions.insert("traceparent".into(), own.into());
    let written = [traced, Event::new("untraced", "/s", "in.x")].map(|event| {
        let (headers, value) = event::kafka::encode(&event);
        bridge::log::NewRecord { headers, value, ..record("k", "") }
    });
    let mut plain = record("k", "v");
    plain.headers = vec![("traceparent".into(), Some(Bytes::from_static(own.as_bytes())))];
    house.write([written.to_vec(), vec![plain]].concat());
    let replies = house.wait_for_records("out", 6);
    let calls = sink.deliveries();
    let sent: Vec<String> = calls.iter().map(|call| call.headers["traceparent"].to_str().unwrap().to_owned()).collect();
    assert_eq!([sent[0].as_str(), sent[2].as_str()], [own, own]);
    assert!(sent[1].len() == own.len() && sent[1] != own, "{sent:?}");
    for (call, sent) in calls.iter().zip(&sent) {
        let trace = |suffix: &str| {
            let id = format!("{}-{suffix}", call.event.id);
            let reply = replies.iter().find(|reply| header(&reply.headers, "ce_id") == id).unwrap();
            header(&reply.headers, "ce_traceparent")
        };
        assert_eq!((trace("a"), trace("b")), (sent.clone(), other.to_owned()));
    }
}

/// Tokens and documents of a bridge, all of them secret.
fn secretive(folder: &std::path::Path, sink: &Sink) {
    std::fs::create_dir_all(folder.join("push")).unwrap();
    for (file, token) in [("sink", "SECRET-sink-token"), ("api", "SECRET-api-token"), ("push/in", "SECRET-push-token")]
    {
        std::fs::write(folder.join(file), token).unwrap();
    }
    let more = format!(
        "  auth: {{ tokenFile: '{}' }}\n  reply: {{ byType: true, types: [out.] }}\n  delivery: {{ retry: 1, backoffDelay: PT0.01S, {DEAD_LETTERS} }}\n",
        folder.join("sink").display()
    );
    let source = source(sink.address, &more).replace("/events", "/events?key=SECRET-query");
    assert!(source.contains("SECRET-query"));
    let documents = format!("{}{source}", topics(&[("in", 1), ("out", 1), ("dead", 1)]));
    std::fs::write(folder.join("sources.yaml"), documents).unwrap();
}

/// It says everything that it ever says, into the file `stderr`.
fn talkative(folder: &std::path::Path, address: std::net::SocketAddr) -> std::process::Child {
    let log = std::fs::File::create(folder.join("stderr")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_till-bridge"));
    command.current_dir(folder).env("RUST_LOG", "debug").stderr(log).stdout(Stdio::null());
    command.args(["--sources", "sources.yaml", "--log", "embedded:log.db", "--ingress-tokens", "push"]);
    command.args(["--api-token", "api", "--listen", &address.to_string()]).spawn().unwrap()
}

fn push(id: &str, token: &str) -> String {
    format!(
        "POST /topics/in HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /s\r\n\
         ce-type: in.x\r\nce-partitionkey: SECRET-key-{id}\r\nce-extra: SECRET-header\r\ncontent-length: 14\r\nconnection: close\r\n\r\nSECRET-payload"
    )
}

// promise: BRIDGE: logs hold neither payloads nor secrets
// promise: BRIDGE: secrets in an address or a record reach no log, no answer of the API and no dead letter
#[test]
fn the_log_holds_neither_payloads_nor_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(|call, _| match call.event.id.as_str() {
        _ if call.is_wake() => answer(204),
        "refused" => Answer { body: "SECRET-answer".into(), ..answer(422) },
        "poison" => Answer::events(&[Event::new("SECRET-reply", "/s", "elsewhere.x")]),
        "failed" => Answer { body: "SECRET-answer".into(), ..answer(500) },
        _ => answer(204),
    });
    secretive(folder.path(), &sink);
    let address = ports::address();
    let mut process = talkative(folder.path(), address);
    let ask = |request: &str| try_exchange(address, request);
    let get = |path: &str, token: &str| {
        let token = format!("authorization: Bearer SECRET-{token}\r\n");
        ask(&format!("GET {path} HTTP/1.1\r\nhost: b\r\n{token}connection: close\r\n\r\n")).map(|(_, told)| told)
    };
    wait("an answer", || get("/health/live", "none"));
    for id in ["refused", "failed", "good", "poison"] {
        ask(&push(id, "SECRET-push-token"));
    }
    ask(&push("never", "SECRET-wrong-token"));
    let (letters, ready) = wait("two letters and a stop", || {
        let (told, ready) = (get("/dead-letters", "api-token")?, get("/health/ready", "none")?);
        (told.matches("\"id\"").count() == 2 && ready.contains("is stopped")).then_some((told, ready))
    });
    let sources = get("/sources", "api-token").unwrap();
    for told in [letters, ready, sources] {
        assert!(!told.contains("SECRET-query"), "{told}");
    }
    let api = "authorization: Bearer SECRET-api-token\r\nconnection: close\r\n";
    ask(&format!("POST /dead-letters/redrive HTTP/1.1\r\nhost: b\r\n{api}content-length: 13\r\n\r\n{{\"all\": true}}"));
    get("/dead-letters", "guess");
    sink.wait_for(6);
    process.kill().unwrap();
    process.wait().unwrap();
    nothing_secret_was_said(folder.path());
}

fn nothing_secret_was_said(folder: &std::path::Path) {
    let log = std::fs::read_to_string(folder.join("stderr")).unwrap();
    for word in ["the bridge is up", "a dead letter was written", "the lane is stopped", "is to be delivered again"] {
        assert!(log.contains(word), "{word} is not in\n{log}");
    }
    let told: Vec<&str> = log.lines().filter(|line| line.contains("SECRET")).collect();
    assert!(told.is_empty(), "{told:#?}");
}
