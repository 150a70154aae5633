//! How librdkafka's clients are set up: properties from outside under our own, and where its log lines and delivery reports
//! go.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{ProducerContext, ThreadedProducer};

use crate::log::{Error, Group};

/// Defaults of every client, which a property from outside replaces.
const DEFAULTS: &[(&str, &str)] = &[
    // Connects to all brokers at once: joining takes 20 ms instead of 70.
    ("enable.sparse.connections", "false"),
    ("reconnect.backoff.max.ms", "2000"),
    // New partitions and topics are noticed in seconds, not in five minutes.
    ("topic.metadata.refresh.interval.ms", "5000"),
    ("topic.metadata.propagation.max.ms", "5000"),
    ("retry.backoff.ms", "10"),
];

const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    // A million records of lag stay outside; without the short backoff the bound throttles to a tenth.
    ("queued.max.messages.kbytes", "1024"),
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.max.bytes", "1048576"),
    ("session.timeout.ms", "30000"),
    // Who stays in a group learns by its next heartbeat that somebody came or went.
    ("heartbeat.interval.ms", "1000"),
];

const PRODUCER_DEFAULTS: &[(&str, &str)] = &[
    // Offsets enter a transaction that the broker is still opening by asking again: soon.
    ("retry.backoff.ms", "2"),
    ("linger.ms", "1"),
    // As Java and KafkaJS do: librdkafka's own default sends the same key to another partition.
    ("partitioner", "murmur2_random"),
    ("transaction.timeout.ms", "10000"),
    ("message.timeout.ms", "10000"),
    ("queue.buffering.max.kbytes", "16384"),
    // How large a record may be is for the broker and its topic to say.
    ("message.max.bytes", "16000000"),
];

/// What no property from outside may change, since the bridge's promises hang on it.
const CONSUMER_FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("enable.partition.eof", "true"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("allow.auto.create.topics", "false"),
];

const PRODUCER_FIXED: &[(&str, &str)] =
    &[("enable.idempotence", "true"), ("acks", "all"), ("delivery.report.only.error", "true")];

/// Properties of a cluster as they were given.
#[derive(Clone)]
pub(super) struct Properties(BTreeMap<String, String>);

/// The context of consumers: librdkafka's lines go to our log.
pub(super) struct Client;

/// The context of producers: keeps the deliveries that failed.
#[derive(Default)]
pub(super) struct Deliveries {
    failed: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
}

impl Properties {
    /// Warns of properties that have no effect.
    pub(super) fn new(given: BTreeMap<String, String>) -> Result<Self, Error> {
        if !given.contains_key("bootstrap.servers") {
            return Err(Error::Config("bootstrap.servers is missing".into()));
        }
        for (name, value) in CONSUMER_FIXED.iter().chain(PRODUCER_FIXED) {
            if given.get(*name).is_some_and(|own| own != value) {
                tracing::warn!(property = name, "{name} is always {value} here; the given value has no effect");
            }
        }
        Ok(Properties(given))
    }

    /// A member of a group.
    pub(super) fn member(&self, group: &Group) -> Result<BaseConsumer<Client>, Error> {
        let mut config = self.config(CONSUMER_DEFAULTS, CONSUMER_FIXED, &group.source);
        config.set("group.id", &group.group).set("group.instance.id", instance(group));
        create(config, Client)
    }

    /// A consumer that asks in a group's name and never joins it.
    pub(super) fn asker(&self, group: &str) -> Result<BaseConsumer<Client>, Error> {
        let mut config = self.config(CONSUMER_DEFAULTS, CONSUMER_FIXED, "ask");
        config.set("group.id", group);
        create(config, Client)
    }

    pub(super) fn producer(&self, transactional_id: &str) -> Result<ThreadedProducer<Deliveries>, Error> {
        let mut config = self.config(PRODUCER_DEFAULTS, PRODUCER_FIXED, transactional_id);
        config.set("transactional.id", transactional_id);
        create(config, Deliveries::default())
    }

    /// A producer without transactions.
    pub(super) fn plain_producer(&self, name: &str) -> Result<ThreadedProducer<Deliveries>, Error> {
        create(self.config(PRODUCER_DEFAULTS, PRODUCER_FIXED, name), Deliveries::default())
    }

    /// What an admin client is made of.
    pub(super) fn plain(&self) -> ClientConfig {
        self.config(&[], &[], "admin")
    }

    fn config(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)], name: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", format!("till-{name}"));
        let given = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all = DEFAULTS.iter().copied().chain(defaults.iter().copied()).chain(given).chain(fixed.iter().copied());
        all.for_each(|(name, value)| {
            config.set(name, value);
        });
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }
}

/// The name of a member, the same after a restart. The source is in it because two of them may share a group.
pub(super) fn instance(group: &Group) -> String {
    format!("{}-{}", group.replica, group.source)
}

fn create<C, T: FromClientConfigAndContext<C>>(config: ClientConfig, context: C) -> Result<T, Error>
where
    C: ClientContext,
{
    config.create_with_context(context).map_err(|error| Error::Config(format!("Kafka client: {error}")))
}

impl Deliveries {
    pub(super) fn has_failed(&self) -> bool {
        !self.failed.lock().expect("no holder panics").is_empty()
    }

    /// The records that failed since the last call, by their index.
    pub(super) fn take_failed(&self) -> Vec<(usize, RDKafkaErrorCode)> {
        std::mem::take(&mut *self.failed.lock().expect("no holder panics"))
    }
}

impl ClientContext for Client {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Client {}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivery: &DeliveryResult<'_>, index: usize) {
        let Err((error, _)) = delivery else { return };
        let Some(code) = error.rdkafka_error_code() else { return };
        // The others fall with the transaction: what pulled them down came first and is no purge.
        if !matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) {
            self.failed.lock().expect("no holder panics").push((index, code));
        }
    }
}

fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, line, "librdkafka");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, line, "librdkafka"),
        _ => tracing::debug!(facility, line, "librdkafka"),
    }
}
