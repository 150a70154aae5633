//! Topics and a group on a real Kafka that nobody else uses, and bridges that work there.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use bridge::check::{Finding, check};
use bridge::log::{Commit, Log, NewRecord, Partition, Record, Transactions};
use bridge::{Config, Options};
use event::Event;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as Asked, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tokio::runtime::Runtime;

use super::support::*;

pub struct Place {
    /// By which its bridges reach the broker.
    pub servers: String,
    pub log: Log,
    runtime: Runtime,
    /// The name of the topic that is read; those of replies and dead letters begin with it.
    pub name: String,
    pub transactions: Transactions,
    pub api_token: Option<std::path::PathBuf>,
}

impl Place {
    /// With its three topics of three partitions; records may have 8 MiB.
    pub fn new(servers: &str) -> Place {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let name = format!("in-{}", uuid::Uuid::new_v4().simple());
        let properties = BTreeMap::from([("bootstrap.servers".to_owned(), servers.to_owned())]);
        let log = Log::kafka(properties, &name).unwrap();
        let (transactions, api_token) = (Transactions::Auto, None);
        let place = Place { servers: servers.into(), log, runtime, name, transactions, api_token };
        for topic in [place.name.clone(), place.out(), place.dead()] {
            place.create(&topic, 3, 8 << 20);
        }
        place
    }

    /// A topic whose records may have so many bytes.
    pub fn create(&self, topic: &str, partitions: i32, bytes_max: usize) {
        let client: AdminClient<DefaultClientContext> =
            rdkafka::ClientConfig::new().set("bootstrap.servers", &self.servers).create().unwrap();
        let bytes_max = bytes_max.to_string();
        let asked = Asked::new(topic, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", &bytes_max);
        let created = self.runtime.block_on(client.create_topics(&[asked], &AdminOptions::new())).unwrap();
        assert!(created[0].is_ok(), "{created:?}");
    }

    pub fn exists(&self, topic: &str) -> bool {
        self.runtime.block_on(self.log.topics()).unwrap().contains_key(topic)
    }

    pub fn out(&self) -> String {
        format!("{}-out", self.name)
    }

    pub fn dead(&self) -> String {
        format!("{}-dead", self.name)
    }

    pub fn start(&self, replica: &str, sink: &Sink) -> Bridge {
        self.start_with(replica, sink, &format!("  delivery: {{ {DEAD_LETTERS}, backoffDelay: PT0.02S }}\n"))
    }

    /// A Source `s` with more lines in its spec.
    pub fn documents(&self, sink: &Sink, more: &str) -> String {
        let (name, dead, servers) = (&self.name, self.dead(), &self.servers);
        format!(
            "apiVersion: eventing.knative.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{ name: dead }}\nspec: {{ topic: {dead}, \
             bootstrapServers: ['{servers}'] }}\n---\napiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: s }}\nspec:\n  \
             bootstrapServers: ['{servers}']\n  topics: [{name}]\n  consumerGroup: {name}\n  sink: {{ uri: 'http://{}/' }}\n  \
             reply: {{ byType: true }}\n{more}",
            sink.address
        )
    }

    pub fn start_with(&self, replica: &str, sink: &Sink, more: &str) -> Bridge {
        let config = self.config(replica, sink, more);
        Bridge::start(bridge::open_log(&config).unwrap(), config)
    }

    /// What `till-bridge check` finds.
    pub fn check(&self, replica: &str, sink: &Sink) -> Vec<Finding> {
        let mut config = self.config(replica, sink, &format!("  delivery: {{ {DEAD_LETTERS} }}\n"));
        config.ingress_tokens = Some("/tokens".into());
        self.runtime.block_on(check(&config, &|_| ())).findings
    }

    fn config(&self, replica: &str, sink: &Sink, more: &str) -> Config {
        let text = self.documents(sink, more);
        let options = Options {
            api_token: self.api_token.clone(),
            replica: replica.into(),
            drain: Duration::from_secs(3),
            transactions: self.transactions,
            ..Options::default()
        };
        Config::parse(&[("kafka.yaml".into(), text)], &options, &|_| None)
            .unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    pub fn write(&self, records: Vec<NewRecord>) {
        let records = records.into_iter().map(|record| NewRecord { topic: self.name.clone(), ..record }).collect();
        self.runtime.block_on(self.log.append(records)).unwrap();
    }

    pub fn read(&self, topic: &str) -> Vec<Record> {
        let read = |number| {
            let partition = Partition { topic: topic.into(), number };
            self.runtime.block_on(self.log.read(partition, 0, 10_000)).unwrap()
        };
        (0..3).flat_map(read).collect()
    }

    pub fn partitions(&self) -> Vec<Partition> {
        (0..3).map(|number| Partition::new(self.name.as_str(), number)).collect()
    }

    pub fn commits(&self) -> Vec<Commit> {
        self.runtime.block_on(self.log.committed(&self.name, self.partitions())).unwrap()
    }

    pub fn lag(&self) -> i64 {
        let spans = self.runtime.block_on(self.log.spans(self.partitions())).unwrap();
        let end: i64 = spans.values().map(|span| span.end).sum();
        end - self.commits().iter().map(|commit| commit.next).sum::<i64>()
    }

    pub fn wait_for_replies(&self, count: usize) -> Vec<Record> {
        wait_within(Duration::from_secs(40), &format!("{count} replies"), || {
            Some(self.read(&self.out())).filter(|replies| replies.len() >= count)
        })
    }

    pub fn wait_until_settled(&self) {
        wait("no lag", || (self.lag() == 0).then_some(()));
    }

    /// A sink that replies with one event of topic `out` to each record, and refuses those that say so.
    pub fn sink(&self, after: Duration) -> Sink {
        let out = self.out();
        Sink::start(move |call, before| match call.data().as_str() {
            _ if call.is_wake() => answer(204),
            "refuse" => answer(422),
            "fail" if before == 0 => answer(500),
            data => Answer::events(&[reply(call, &out, &format!("reply-{data}"))]).after(after),
        })
    }
}

/// An event of this topic, keyed as the call's record.
pub fn reply(call: &Call, topic: &str, id: &str) -> Event {
    let mut event = Event::new(id, "/till/s", format!("{topic}.thing.done"));
    event.subject = call.event.attribute("partitionkey").map(str::to_owned);
    event
}

/// How often each reply stands there, by its id.
pub fn replies(records: &[Record]) -> BTreeMap<String, usize> {
    let mut replies = BTreeMap::new();
    for record in records {
        *replies.entry(header(&record.headers, "ce_id")).or_default() += 1;
    }
    replies
}
