//! The whole hop on a real Kafka, where there is one: transactions of replies and offsets, restarts, several bridges in a group.

#![allow(clippy::unwrap_used)]

mod support;
#[allow(dead_code)]
#[path = "log/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use bridge::log::{Log, NewRecord, NewTopic, Partition, Record};
use bridge::{Config, LogKind, Options};
use event::Event;
use support::*;
use tokio::runtime::Runtime;
use world::{World, unique};

/// Topics and a group that nobody else uses.
struct Place {
    world: World,
    log: Log,
    runtime: Runtime,
    /// The name of the topic that is read; those of replies and dead letters begin with it.
    name: String,
}

impl Place {
    fn new(world: World) -> Place {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (log, name) = (world.open(), unique("in"));
        let place = Place { world, log, runtime, name };
        let topic = |name: String| NewTopic { name, partitions: 3, replication: 1, retention: None };
        let topics = vec![topic(place.name.clone()), topic(place.out()), topic(place.dead())];
        place.runtime.block_on(place.log.create_topics(topics)).unwrap();
        place
    }

    fn out(&self) -> String {
        format!("{}-out", self.name)
    }

    fn dead(&self) -> String {
        format!("{}-dead", self.name)
    }

    fn start(&self, replica: &str, sink: &Sink) -> Bridge {
        let (name, dead) = (&self.name, self.dead());
        let text = format!(
            "apiVersion: eventing.knative.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{ name: dead }}\nspec: {{ topic: {dead}, \
             bootstrapServers: [b:1] }}\n---\napiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: s }}\nspec:\n  \
             bootstrapServers: [b:1]\n  topics: [{name}]\n  consumerGroup: {name}\n  sink: {{ uri: 'http://{}/' }}\n  \
             reply: {{ byType: true }}\n  delivery: {{ {DEAD_LETTERS}, backoffDelay: PT0.02S }}\n",
            sink.address
        );
        let options = Options {
            sources: Vec::new(),
            log: LogKind::Kafka,
            resolve: None,
            ingress_tokens: None,
            replica: replica.into(),
            drain: Duration::from_secs(3),
        };
        let config = Config::parse(&[("kafka.yaml".into(), text)], &options, &|_| None).unwrap();
        Bridge::start(self.world.open_as(replica), config)
    }

    fn write(&self, records: Vec<NewRecord>) {
        let records = records.into_iter().map(|record| NewRecord { topic: self.name.clone(), ..record }).collect();
        self.runtime.block_on(self.log.append(records)).unwrap();
    }

    fn read(&self, topic: &str) -> Vec<Record> {
        let read = |number| {
            let partition = Partition { topic: topic.into(), number };
            self.runtime.block_on(self.log.read(partition, 0, 10_000)).unwrap()
        };
        (0..3).flat_map(read).collect()
    }

    fn lag(&self) -> i64 {
        let partitions: Vec<_> = (0..3).map(|number| Partition { topic: self.name.as_str().into(), number }).collect();
        let spans = self.runtime.block_on(self.log.spans(partitions.clone())).unwrap();
        let commits = self.runtime.block_on(self.log.committed(&self.name, partitions)).unwrap();
        let end: i64 = spans.values().map(|span| span.end).sum();
        end - commits.iter().map(|commit| commit.next).sum::<i64>()
    }

    /// A sink that replies with one event of topic `out` to each record, and refuses those that say so.
    fn sink(&self, after: Duration) -> Sink {
        let out = self.out();
        Sink::start(move |call, before| match call.data().as_str() {
            _ if call.is_wake() => answer(204),
            "refuse" => answer(422),
            "fail" if before == 0 => answer(500),
            data => {
                let mut event = Event::new(format!("reply-{data}"), "/till/s", format!("{out}.thing.done"));
                event.subject = call.event.attribute("partitionkey").map(str::to_owned);
                Answer::events(&[event]).after(after)
            }
        })
    }
}

fn replies(records: &[Record]) -> BTreeMap<String, usize> {
    let mut replies = BTreeMap::new();
    for record in records {
        *replies.entry(header(&record.headers, "ce_id")).or_default() += 1;
    }
    replies
}

// promise: BRIDGE: replies, dead letters and offsets are one Kafka transaction; an idle partition's lag is zero
#[test]
fn on_kafka_replies_dead_letters_and_offsets_are_settled_together() {
    let Some(world) = World::kafka() else { return };
    let place = Place::new(world);
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
    let Some(world) = World::kafka() else { return };
    let place = Place::new(world);
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
    // A static member is missed only when its session has timed out.
    wait_within(Duration::from_secs(90), "all replies", || (place.read(&place.out()).len() >= 500).then_some(()));
    wait("no lag", || (place.lag() == 0).then_some(()));
    let replies = replies(&place.read(&place.out()));
    assert_eq!(replies.len(), 500);
    assert!(replies.values().all(|count| *count == 1), "a reply stands there twice");
    drop(two);
}
