//! What is asked of a cluster outside of any membership: topics, offsets, a look at records. Each question runs on a thread
//! that may block, with a client of its own that ends with it; only the one that is asked for spans is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as Asked, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tokio::sync::Mutex;

use super::arrivals::{Events, Polled};
use super::client::{Client, Properties};
use super::reach::Reach;
use super::{failure, positions, rights};
use crate::log::{Commit, Error, NewTopic, Partition, Record, Rights, Scanned, Span, Stretch};

const TIMEOUT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_secs(1);
/// Errors of a client that are looked at.
const WAITING_MAX: usize = 100;
/// Never joined, never committed to.
const NO_GROUP: &str = "till-ask";

pub(super) struct Admin {
    properties: Properties,
    /// Asked for spans again and again, by whoever reads metrics: kept, with one question at a time.
    spans: Arc<Mutex<Option<BaseConsumer<Client>>>>,
}

impl Admin {
    pub(super) fn new(properties: Properties) -> Self {
        Admin { properties, spans: Arc::default() }
    }

    pub(super) async fn create_topics(&self, topics: Vec<NewTopic>) -> Result<Vec<String>, Error> {
        let there = self.topics().await?;
        let missing: Vec<&NewTopic> = topics.iter().filter(|topic| !there.contains_key(&topic.name)).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let client: AdminClient<DefaultClientContext> =
            self.properties.plain().create().map_err(|error| Error::Config(error.to_string()))?;
        let retention: Vec<Option<String>> =
            missing.iter().map(|topic| topic.retention.map(|age| age.as_millis().to_string())).collect();
        let asked: Vec<Asked> = missing.iter().zip(&retention).map(|(topic, age)| asked(topic, age)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
        let results = client.create_topics(&asked, &options).await.map_err(|error| failure::of(&error))?;
        let created = results.into_iter().filter_map(|result| match result {
            Ok(name) => Some(Ok(name)),
            // Another process was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => None,
            Err((name, code)) => Some(Err(Error::Config(format!("topic {name} was not created: {code}")))),
        });
        created.collect()
    }

    pub(super) async fn topics(&self) -> Result<BTreeMap<String, i32>, Error> {
        let reach = Arc::clone(&self.properties.reach);
        let question = move |consumer: &BaseConsumer<Client>| {
            let metadata = metadata(consumer, &reach)?;
            let topics = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__"));
            Ok(topics.map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32)).collect())
        };
        self.ask(NO_GROUP, question).await
    }

    pub(super) async fn rights(&self, topics: Vec<String>, groups: Vec<String>) -> Result<Rights, Error> {
        let properties = self.properties.clone();
        let asked = move || rights::ask(&properties.asker(NO_GROUP)?, &topics, &groups, TIMEOUT);
        tokio::task::spawn_blocking(asked).await.map_err(|_| Error::Closed)?
    }

    pub(super) async fn spans(&self, partitions: Vec<Partition>) -> Result<BTreeMap<Partition, Span>, Error> {
        let question = move |consumer: &BaseConsumer<Client>| -> Result<_, KafkaError> {
            let mut spans = BTreeMap::new();
            for partition in partitions {
                match positions::span(consumer, &partition) {
                    Ok((start, end)) => {
                        spans.insert(partition, Span { start, end });
                    }
                    Err(error) if is_unknown(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(spans)
        };
        let (properties, mut kept) = (self.properties.clone(), Arc::clone(&self.spans).lock_owned().await);
        let asked = move || {
            let consumer = match kept.take() {
                Some(consumer) => consumer,
                None => properties.asker(NO_GROUP)?,
            };
            let spans = question(&consumer).map_err(|error| failure::of(&error))?;
            *kept = Some(consumer);
            Ok(spans)
        };
        tokio::task::spawn_blocking(asked).await.map_err(|_| Error::Closed)?
    }

    pub(super) async fn committed(&self, group: &str, partitions: Vec<Partition>) -> Result<Vec<Commit>, Error> {
        self.ask(group, move |consumer| positions::committed(consumer, &partitions)).await
    }

    pub(super) async fn read(&self, partition: Partition, from: i64, limit: usize) -> Result<Vec<Record>, Error> {
        let take = move |records: &mut Vec<Record>, record| {
            records.push(record);
            records.len() < limit
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let stretch = Stretch { partition, from, limit: TIMEOUT };
        let Scanned { gathered, next, ended } = self.scan(stretch, Vec::new(), take).await?;
        let complete = ended || gathered.len() == limit;
        if complete { Ok(gathered) } else { Err(Error::Unavailable(format!("it was read to {next} only, in time"))) }
    }

    pub(super) async fn scan<T: Send + 'static>(
        &self,
        stretch: Stretch,
        gathered: T,
        take: impl FnMut(&mut T, Record) -> bool + Send + 'static,
    ) -> Result<Scanned<T>, Error> {
        let scanned = Scanned { gathered, next: stretch.from, ended: false };
        self.ask(NO_GROUP, move |consumer| scan(consumer, &stretch, scanned, take)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        group: &str,
        question: impl FnOnce(&BaseConsumer<Client>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, Error> {
        let (properties, group) = (self.properties.clone(), group.to_owned());
        let asked = move || {
            let consumer = properties.asker(&group)?;
            question(&consumer).map_err(|error| {
                hear(&consumer, &properties.reach);
                properties.reach.explain(failure::of(&error))
            })
        };
        tokio::task::spawn_blocking(asked).await.map_err(|_| Error::Closed)?
    }
}

/// In short steps, so that who is refused by the brokers hears it at once.
fn metadata(consumer: &BaseConsumer<Client>, reach: &Reach) -> Result<Metadata, KafkaError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let asked = consumer.fetch_metadata(None, STEP);
        hear(consumer, reach);
        if asked.is_ok() || reach.is_known() || Instant::now() > deadline {
            return asked;
        }
    }
}

/// What a client was told waits in its queue until somebody looks.
fn hear(consumer: &BaseConsumer<Client>, reach: &Reach) {
    let mut events = Events::of(consumer);
    for _ in 0..WAITING_MAX {
        if let Polled::Trouble(trouble) = events.poll(Duration::ZERO) {
            reach.hear(trouble.code, &trouble.reason);
        }
    }
}

fn asked<'a>(topic: &'a NewTopic, retention_ms: &'a Option<String>) -> Asked<'a> {
    let asked = Asked::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication));
    match retention_ms {
        Some(age) => asked.set("retention.ms", age),
        None => asked,
    }
}

fn scan<T>(
    consumer: &BaseConsumer<Client>,
    Stretch { partition, from, limit }: &Stretch,
    mut scanned: Scanned<T>,
    mut take: impl FnMut(&mut T, Record) -> bool,
) -> Result<Scanned<T>, KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(*from))?;
    consumer.assign(&list)?;
    // So short a look tells nothing about a cluster that is slow.
    let is_short = *limit < STEP * 5;
    let (mut events, mut heard) = (Events::of(consumer), false);
    let deadline = Instant::now() + *limit;
    loop {
        match events.poll(Duration::from_millis(100)) {
            Polled::Record(record) => {
                (scanned.next, heard) = (record.offset + 1, true);
                if !take(&mut scanned.gathered, record) {
                    return Ok(scanned);
                }
            }
            Polled::End { next, .. } => return Ok(Scanned { next, ended: true, ..scanned }),
            Polled::Trouble(trouble) if trouble.place.is_some() => {
                return Err(KafkaError::MessageConsumption(trouble.code));
            }
            _ => {}
        }
        if Instant::now() > deadline {
            let silence = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
            return if heard || is_short { Ok(scanned) } else { Err(silence) };
        }
    }
}

fn is_unknown(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(error.rdkafka_error_code(), Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition))
}
