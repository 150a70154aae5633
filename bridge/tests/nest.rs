//! Real NestJS clients and services, with KafkaJS beneath them, talk with functions through the bridge and a real Kafka.

#![allow(clippy::unwrap_used)]

#[path = "nest/install.rs"]
mod install;
#[path = "support/ports.rs"]
mod ports;
mod support;
#[allow(dead_code)]
#[path = "log/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bridge::log::{Log, NewRecord, NewTopic, Partition, Record};
use bridge::{Config, Options};
use event::Event;
use serde_json::{Value, json};
use support::*;
use tokio::runtime::Runtime;
use world::{World, unique};

/// A broker, and the folder with NestJS and the scripts that use it.
struct Stage {
    world: World,
    log: Log,
    runtime: Runtime,
    scripts: PathBuf,
}

impl Stage {
    /// `None`, said loudly, where this machine has no Kafka or no Node.js.
    fn new(test: &str) -> Option<Stage> {
        Stage::with(World::kafka()?, scripts(test)?)
    }

    fn with(world: World, scripts: PathBuf) -> Option<Stage> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Some(Stage { log: world.open(), world, runtime, scripts })
    }

    fn broker(&self) -> &str {
        let World::Kafka(broker) = &self.world else { unreachable!() };
        broker
    }

    fn create(&self, topics: &[(&str, i32)]) {
        let topic = |(name, partitions): &(&str, i32)| NewTopic {
            name: (*name).to_owned(),
            partitions: *partitions,
            replication: 1,
            retention: None,
        };
        self.runtime.block_on(self.log.create_topics(topics.iter().map(topic).collect())).unwrap();
    }

    fn read(&self, topic: &str, partitions: i32) -> Vec<Record> {
        let read = |number| {
            let partition = Partition { topic: topic.into(), number };
            self.runtime.block_on(self.log.read(partition, 0, 10_000)).unwrap()
        };
        (0..partitions).flat_map(read).collect()
    }

    fn start(&self, documents: &str, tokens: Option<PathBuf>) -> Bridge {
        let (replica, drain) = ("nest".to_owned(), Duration::from_secs(3));
        let options = Options { ingress_tokens: tokens, replica, drain, ..Options::default() };
        let config = Config::parse(&[("nest.yaml".into(), documents.into())], &options, &|_| None).unwrap();
        Bridge::start(self.log.clone(), config)
    }

    fn node(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("node");
        command.arg(script).arg(self.broker()).args(arguments).current_dir(&self.scripts);
        // What KafkaJS says of Node's own time-outs is nothing that a test can help.
        command.env("NODE_NO_WARNINGS", "1").env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
        command
    }
}

/// The folder of NestJS, and in it the scripts of these tests.
fn scripts(test: &str) -> Option<PathBuf> {
    let folder = install::nest(test)?;
    for script in ["client.mjs", "service.mjs", "keys.mjs"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nest").join(script);
        std::fs::copy(from, folder.join(script)).unwrap();
    }
    Some(folder)
}

/// A process that is killed when the test is over, and the lines that it says.
struct Node {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Node {
    fn start(mut command: Command) -> Node {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (out, (line, lines)) = (BufReader::new(child.stdout.take().unwrap()), mpsc::channel());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
        Node { child, lines }
    }

    fn line(&self) -> Value {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("the script says something in time");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A function as a shop has it: it knows nothing of NestJS.
fn function(facts: String, told: String) -> Sink {
    let json = |status, body: Value| {
        Answer { body: body.to_string().into(), ..answer(status) }.header("content-type", "application/json")
    };
    Sink::start(move |call, _| {
        let Ok(asked) = serde_json::from_str::<Value>(&call.data()) else {
            return json(200, json!(format!("{} to you", call.data())));
        };
        let fact = |topic: &str, n: u64| {
            let mut event = Event::new(format!("{topic}-{n}"), "/shop", format!("{topic}.thing.done"));
            (event.subject, event.datacontenttype) = (Some(format!("thing-{n}")), Some("application/json".into()));
            event.data = Some(json!({ "n": n }).to_string().into());
            event
        };
        match asked {
            Value::Array(numbers) => json(200, json!({ "sum": numbers.iter().filter_map(Value::as_i64).sum::<i64>() })),
            asked if asked["nothing"] == true => answer(204),
            asked if asked["fail"] == true => answer(500),
            asked if asked["refuse"].is_string() => json(422, json!({ "detail": asked["refuse"] })),
            asked if asked["facts"].is_u64() => {
                let mut events: Vec<Event> = (0..asked["facts"].as_u64().unwrap()).map(|n| fact(&facts, n)).collect();
                events.push(fact(&told, 9));
                Answer::events(&events)
            }
            asked if asked["emitted"] == true => answer(202),
            asked => json(200, json!({ "heard": asked["echo"] })),
        }
    })
}

// promise: BRIDGE: a NestJS caller gets its answer
// promise: BRIDGE: a NestJS service hears what functions reply
#[test]
fn nestjs_clients_and_services_talk_with_functions() {
    let Some(stage) = Stage::new("NestJS clients and services") else { return };
    let (topic, plain, facts, told) = (unique("shop"), unique("plain"), unique("facts"), unique("told"));
    let reply_topics = [format!("{topic}.reply"), format!("{plain}.reply")];
    stage.create(&[(&topic, 3), (&plain, 1), (&facts, 2), (&told, 1), (&reply_topics[0], 2), (&reply_topics[1], 2)]);
    let service = Node::start(stage.node("service.mjs", &[&facts, &told]));
    let sink = function(facts.clone(), told.clone());
    let spec = |topic: &str| {
        format!(
            "metadata: {{ name: {topic} }}\nspec:\n  bootstrapServers: [b:1]\n  topics: [{topic}]\n  initialOffset: earliest\n  \
             sink: {{ uri: 'http://{}/' }}\n  delivery: {{ retry: 1, backoffDelay: PT0.01S }}\n",
            sink.address
        )
    };
    let bridge = stage.start(
        &format!(
            "apiVersion: till.dev/v1\nkind: Source\n{}  reply: {{ byType: true }}\n---\n\
             apiVersion: sources.knative.dev/v1\nkind: KafkaSource\n{}",
            spec(&topic),
            spec(&plain)
        ),
        None,
    );
    let heard = Node::start(stage.node("client.mjs", &[&topic, &plain])).line();
    hear(&heard);
    wait("the event that was emitted", || {
        sink.deliveries().into_iter().find(|call| call.event.attribute("partitionkey") == Some("emitted"))
    });
    let mut lines: Vec<Value> = (0..4).map(|_| service.line()).collect();
    lines.sort_by_key(|line| (line["by"].to_string(), line["data"]["n"].as_u64()));
    let data: Vec<_> = lines.iter().map(|line| (line["by"].as_str().unwrap(), line["data"].clone())).collect();
    let event = |n: u64| ("event", json!({ "n": n }));
    assert_eq!(data, [event(0), event(1), event(2), ("message", json!({ "n": 9 }))]);
    assert_eq!(lines[0]["headers"]["ce_type"], format!("{facts}.thing.done"));
    assert_eq!((&lines[0]["headers"]["ce_subject"], &lines[0]["key"]), (&json!("thing-0"), &json!("thing-0")));
    bridge.stop();
}

/// What the two clients were told.
fn hear(heard: &Value) {
    assert_eq!(heard["sum"], json!({ "sum": 6 }));
    assert_eq!(heard["plain"], json!({ "sum": 9 }), "a KafkaSource answers as well");
    assert_eq!((&heard["text"], &heard["nothing"]), (&json!("hello to you"), &Value::Null));
    assert_eq!(heard["refused"]["message"], "not today", "{heard}");
    assert_eq!((&heard["refused"]["status"], &heard["refused"]["statusCode"]), (&json!("error"), &json!(422)));
    assert_eq!((&heard["failed"]["statusCode"], &heard["failed"]["status"]), (&json!(500), &json!("error")));
    assert_eq!(heard["stream"], json!([{ "n": 0 }, { "n": 1 }, { "n": 2 }, { "n": 9 }]));
    assert_ne!(heard["partitions"][0], heard["partitions"][1], "each has a reply partition of its own");
    for (client, name) in ["one", "two"].into_iter().enumerate() {
        for n in 0..40 {
            assert_eq!(heard["both"][client][n], json!({ "heard": format!("{name}-{n}") }));
        }
    }
}

#[test]
fn on_kafka_a_place_where_no_answer_can_go_stops_nobody() {
    let Some(stage) = World::kafka().and_then(|world| Stage::with(world, PathBuf::new())) else { return };
    let topic = unique("asked");
    let answers = format!("{topic}.reply");
    stage.create(&[(&topic, 1), (&answers, 2)]);
    let ask = |n: usize, answers: &str, partition: &str| NewRecord {
        topic: topic.clone(),
        headers: [("kafka_correlationId", "7"), ("kafka_replyTopic", answers), ("kafka_replyPartition", partition)]
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned().into())))
            .to_vec(),
        ..record("k", &n.to_string())
    };
    let places = [("no.such.reply", "0"), (&answers, "2"), (&answers, "-1"), ("no.such.reply", "1"), (&answers, "1")];
    let asked = places.iter().enumerate().map(|(n, (answers, partition))| ask(n, answers, partition)).collect();
    stage.runtime.block_on(stage.log.append(asked)).unwrap();
    let sink = Sink::start(|_, _| Answer { body: "heard".into(), ..answer(200) });
    let document = format!(
        "apiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: {topic} }}\nspec:\n  bootstrapServers: [b:1]\n  \
         topics: [{topic}]\n  sink: {{ uri: 'http://{}/' }}\n",
        sink.address
    );
    let bridge = stage.start(&document, None);
    let told = wait("an answer", || Some(stage.read(&answers, 2)).filter(|records| !records.is_empty()));
    assert_eq!((told.len(), told[0].partition.number, told[0].value.as_deref()), (1, 1, Some(b"heard".as_slice())));
    assert_eq!(sink.deliveries().len(), places.len(), "each was delivered once");
    bridge.wait_until_ready();
    bridge.stop();
}

// promise: BRIDGE: 1,000 keys written by KafkaJS and by ingress land on the same partitions
#[test]
fn a_thousand_keys_of_kafkajs_and_of_the_ingress_land_on_the_same_partitions() {
    const KEYS: usize = 1_000;
    const PARTITIONS: i32 = 7;
    let Some(stage) = Stage::new("keys written by KafkaJS") else { return };
    let topic = unique("keys");
    stage.create(&[(&topic, PARTITIONS)]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(&topic), "secret").unwrap();
    let bridge = stage.start("", Some(folder.path().to_owned()));
    wait("an answer", || bridge.exchange("GET /health/live HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n"));
    let status = stage.node("keys.mjs", &[&topic, &KEYS.to_string()]).status().unwrap();
    assert!(status.success());
    let event = |n: usize| {
        let mut event = Event::new(n.to_string(), "/keys", format!("{topic}.x"));
        event.subject = Some(format!("key-{n}"));
        event
    };
    let (headers, body) = event::http::encode_batch(&(0..KEYS).map(event).collect::<Vec<_>>());
    let request = format!(
        "POST /topics/{topic} HTTP/1.1\r\nhost: b\r\nauthorization: Bearer secret\r\ncontent-type: {}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{}",
        headers["content-type"].to_str().unwrap(),
        body.len(),
        String::from_utf8_lossy(&body)
    );
    assert_eq!(bridge.exchange(&request).map(|(status, _)| status), Some(202));
    let mut places: BTreeMap<Vec<u8>, Vec<(i32, bool)>> = BTreeMap::new();
    for record in stage.read(&topic, PARTITIONS) {
        let by_ingress = !header(&record.headers, "ce_id").is_empty();
        places.entry(record.key.unwrap().to_vec()).or_default().push((record.partition.number, by_ingress));
    }
    assert_eq!(places.len(), KEYS);
    for (key, written) in &places {
        assert_eq!(written.len(), 2, "{key:?} was written by both");
        assert!(written[0].0 == written[1].0 && written[0].1 != written[1].1, "{}: {written:?}", key.escape_ascii());
    }
    let used: std::collections::BTreeSet<i32> = places.values().map(|written| written[0].0).collect();
    assert_eq!(used.len(), PARTITIONS as usize, "the keys are spread");
}
