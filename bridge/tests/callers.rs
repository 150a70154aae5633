//! Senders who wait for an answer, as NestJS clients do: what they hear of each kind of answer, and that none of them stops a lane.

#![allow(clippy::unwrap_used)]

mod support;

use bridge::log::{NewRecord, Record};
use bytes::Bytes;
use event::Event;
use serde_json::Value;
use support::*;

/// A house with the topic where callers wait.
fn house(more: &str, sink: &Sink) -> (House, Bridge) {
    let house = House::new();
    let bridge = house.start(&format!("{}{}", topics(&[("sum.reply", 2)]), source(sink.address, more)));
    (house, bridge)
}

fn request(value: &str, topic: &str, partition: &str) -> NewRecord {
    let mut request = record("k", value);
    let header = |name: &str, value: &str| (name.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())));
    request.headers = vec![
        header("kafka_correlationId", &format!("id of {value}")),
        header("kafka_replyTopic", topic),
        header("kafka_replyPartition", partition),
    ];
    request
}

fn ask(value: &str) -> NewRecord {
    request(value, "sum.reply", "1")
}

fn text(record: &Record) -> Option<&str> {
    record.value.as_deref().map(|value| std::str::from_utf8(value).unwrap())
}

fn error(record: &Record) -> Value {
    serde_json::from_str(&header(&record.headers, "kafka_nest-err")).unwrap()
}

fn is_last(record: &Record) -> bool {
    header(&record.headers, "kafka_nest-is-disposed") == "\0"
}

// promise: BRIDGE: any 2xx body is the answer to a NestJS request, on the partition where its caller waits
#[test]
fn any_2xx_is_the_answer() {
    let sink = Sink::start(|call, _| match call.data().as_str() {
        "[\"none\"]" => answer(204),
        "[\"later\"]" => Answer { body: "[2]".into(), ..answer(202) },
        _ => Answer { body: "\"three\"".into(), ..answer(200) }.header("content-type", "application/json"),
    });
    let (house, bridge) = house("", &sink);
    house.write(["[\"none\"]", "[\"later\"]", "[1,2]"].map(ask).to_vec());
    let answers = house.wait_for_records("sum.reply", 3);
    let told: Vec<_> = answers.iter().map(text).collect();
    assert_eq!(told, [None, Some("[2]"), Some("three")], "in the order of their key");
    for (answer, asked) in answers.iter().zip(["[\"none\"]", "[\"later\"]", "[1,2]"]) {
        assert_eq!((answer.partition.number, is_last(answer)), (1, true));
        assert_eq!(header(&answer.headers, "kafka_correlationId"), format!("id of {asked}"));
        assert!(!answer.headers.iter().any(|(name, _)| name == "kafka_nest-err"));
    }
    house.wait_for_commits("g", 3);
    assert!(sink.deliveries().iter().all(|call| call.headers["content-type"] == "application/json"));
    assert!(sink.deliveries().iter().all(|call| !call.headers.contains_key("prefer")), "nobody uses a reply of events");
    let metrics = bridge.get("/metrics").1;
    assert!(metrics.contains("till_answers_total{source=\"s\"} 3"), "{metrics}");
}

// promise: BRIDGE: the data of a reply's events answers a NestJS request, and the events are facts besides
#[test]
fn events_answer_with_their_data_and_are_facts_besides() {
    let sink = Sink::start(|_, _| {
        let fact = |id: &str, data: &'static str| {
            let mut event = Event::new(id, "/s", "out.sum.done");
            (event.datacontenttype, event.data) = (Some("application/json".into()), Some(data.into()));
            event
        };
        Answer::events(&[fact("1", "{\"sum\":1}"), fact("2", "{\"sum\":2}")])
    });
    let (house, _bridge) = house("  reply: { byType: true }\n", &sink);
    house.write(vec![ask("[1]")]);
    let answers = house.wait_for_records("sum.reply", 2);
    assert_eq!(answers.iter().map(text).collect::<Vec<_>>(), [Some("{\"sum\":1}"), Some("{\"sum\":2}")]);
    assert_eq!(answers.iter().map(is_last).collect::<Vec<_>>(), [false, true]);
    let facts = house.read("out");
    assert_eq!(facts.len(), 2, "written with the answers, in one transaction");
    assert!(facts.iter().all(|fact| header(&fact.headers, "kafka_correlationId").is_empty()));
    assert_eq!(sink.deliveries()[0].headers["prefer"], "reply");
}

// promise: BRIDGE: a refusal, and a failure after the last retry, are told to a NestJS caller and settled
#[test]
fn a_refusal_and_a_failure_are_told_and_settled() {
    let sink = Sink::start(|call, _| match call.data().as_str() {
        "refused" => Answer { body: "{\"detail\":\"too much\"}".into(), ..answer(422) }
            .header("content-type", "application/problem+json"),
        "closed" => answer(403),
        "broken" => Answer { body: "{".into(), ..answer(200) }.header("content-type", "application/cloudevents+json"),
        "long" => Answer { body: vec![b'x'; 300_000].into(), ..answer(200) },
        "endless" => Answer { body: vec![b'x'; 5 << 20].into(), ..answer(200) },
        _ => answer(500),
    });
    // Without a place for dead letters a lane stops at what is given up, unless somebody can be told.
    let (house, bridge) = house("  delivery: { retry: 2, backoffDelay: PT0.01S }\n", &sink);
    let asked = ["refused", "closed", "broken", "long", "endless", "failing"];
    house.write(asked.map(ask).to_vec());
    let answers = house.wait_for_records("sum.reply", asked.len());
    let told =
        |at: usize| (error(&answers[at])["statusCode"].as_u64().unwrap(), error(&answers[at])["message"].clone());
    assert_eq!(told(0), (422, "too much".into()));
    assert_eq!(error(&answers[0])["problem"]["detail"], "too much");
    assert_eq!([told(1).0, told(2).0, told(3).0, told(4).0, told(5).0], [403, 502, 503, 502, 500]);
    assert!(answers.iter().all(|answer| is_last(answer) && answer.value.is_none()));
    house.wait_for_commits("g", asked.len() as i64);
    let calls = sink.deliveries().iter().filter(|call| call.data() == "failing").count();
    assert_eq!(calls, 3, "it was retried before its caller was told");
    bridge.wait_until_ready();
    assert!(house.read("dead").is_empty());
}

// promise: BRIDGE: a caller who names a place that is forbidden, missing or malformed never stops a lane
#[test]
fn a_place_where_no_answer_can_go_stops_nobody() {
    let sink =
        Sink::start(
            |call, _| if call.data() == "refused" { answer(400) } else { Answer { body: "ok".into(), ..answer(200) } },
        );
    let more = format!("  reply: {{ byType: true, topics: ['*.reply', 'in'] }}\n  delivery: {{ {DEAD_LETTERS} }}\n");
    let (house, bridge) = house(&more, &sink);
    house.write(vec![
        request("forbidden", "out", "0"),
        request("missing", "no.such.reply", "0"),
        request("malformed", "sum.reply", "one"),
        request("missing too", "no.such.reply", "1"),
        request("outside", "sum.reply", "7"),
        request("refused", "sum.reply", "7"),
        request("last", "sum.reply", "0"),
    ]);
    let answers = house.wait_for_records("sum.reply", 1);
    assert_eq!((text(&answers[0]), answers[0].partition.number), (Some("ok"), 0));
    house.wait_for_commits("g", 7);
    bridge.wait_until_ready();
    assert_eq!(sink.deliveries().len(), 7, "each was delivered once: the sink has done its part");
    let dead = house.wait_for_records("dead", 1);
    assert_eq!(text(&dead[0]), Some("refused"), "who could not be told of the refusal left a dead letter");
    assert_eq!((dead.len(), house.read("out").len(), house.read("sum.reply").len()), (1, 0, 1));
    let metrics = bridge.get("/metrics").1;
    assert!(metrics.contains("till_unanswered_total{source=\"s\"} 6"), "{metrics}");
}

// promise: BRIDGE: a caller who names a place that is forbidden, missing or malformed never stops a lane
#[test]
fn who_cannot_be_told_leaves_a_letter_with_an_http_dead_letter_sink_too() {
    let sink =
        Sink::start(
            |call, _| if call.data() == "last" { Answer { body: "ok".into(), ..answer(200) } } else { answer(422) },
        );
    let letters = Sink::start(|_, _| answer(202));
    let more = format!("  delivery: {{ deadLetterSink: {{ uri: 'http://{}/dead' }} }}\n", letters.address);
    let (house, bridge) = house(&more, &sink);
    house.write(vec![
        request("missing", "no.such.reply", "0"),
        request("outside", "sum.reply", "7"),
        request("told", "sum.reply", "0"),
        request("last", "sum.reply", "0"),
    ]);
    house.wait_for_commits("g", 4);
    bridge.wait_until_ready();
    let called = letters.deliveries();
    assert_eq!(called.iter().map(Call::data).collect::<Vec<_>>(), ["missing", "outside"]);
    assert!(called.iter().all(|call| call.event.attribute("knativeerrorcode") == Some("422")));
    assert_eq!((house.read("sum.reply").len(), sink.deliveries().len()), (2, 4));
}

#[test]
fn without_topics_for_answers_a_request_is_an_event() {
    let sink = Sink::start(|_, _| Answer { body: "ok".into(), ..answer(200) });
    let (house, _bridge) = house("  reply: { topics: [] }\n", &sink);
    house.write(vec![ask("[1]")]);
    house.wait_for_commits("g", 1);
    assert!(house.read("sum.reply").is_empty());
}

#[test]
fn an_answer_is_written_once_over_a_restart() {
    let sink = Sink::start(|_, _| Answer { body: "ok".into(), ..answer(200) });
    let (house, bridge) = house("", &sink);
    house.write(vec![ask("a"), ask("b")]);
    house.wait_for_commits("g", 2);
    bridge.stop();
    let _bridge = house.start(&source(sink.address, ""));
    house.write(vec![ask("c")]);
    house.wait_for_commits("g", 3);
    assert_eq!(house.read("sum.reply").len(), 3);
}
