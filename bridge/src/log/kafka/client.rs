//! How librdkafka's clients are set up: properties from outside under our own, and where its log lines and delivery reports
//! go.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, ProducerContext};

use super::producer::Producer;
use super::reach::Reach;
use crate::log::{Error, Group};
use crate::tls;

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
    // A million records of lag stay outside: what is fetched ahead takes several times its bytes. Without the short backoff the
    // bound throttles to a tenth. A little of each partition comes with every answer, so that none waits for the end of another's
    // lag: whoever is asked first is read alone where one partition may fill the answer.
    ("queued.max.messages.kbytes", "64"),
    ("max.partition.fetch.bytes", "65536"),
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.max.bytes", "8388608"),
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
    NO_NEW_TOPICS,
];

const PRODUCER_FIXED: &[(&str, &str)] =
    &[("enable.idempotence", "true"), ("acks", "all"), ("delivery.report.only.error", "true"), NO_NEW_TOPICS];

const ADMIN_FIXED: &[(&str, &str)] = &[NO_NEW_TOPICS];

/// Who asks about a topic makes it, on a broker that creates topics by itself: anybody's name of a topic would become one.
const NO_NEW_TOPICS: (&str, &str) = ("allow.auto.create.topics", "false");

/// Where librdkafka finds a machine's own authorities.
const AUTHORITIES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// What the bridge says itself, from a source's fields and its own name.
const OWN: &[&str] = &["group.id", "group.instance.id", "transactional.id", "group.protocol", "group.remote.assignor"];

/// Whether a property may be passed through with this value. The reason never holds the value, which may be a secret.
pub fn check_property(name: &str, value: &str) -> Result<(), String> {
    if OWN.contains(&name) {
        return Err("is said by the bridge itself".into());
    }
    if let Some((_, fixed)) = CONSUMER_FIXED.iter().chain(PRODUCER_FIXED).find(|(fixed, _)| *fixed == name) {
        return Err(format!("is always {fixed} here, since what the bridge promises hangs on it"));
    }
    let mut config = ClientConfig::new();
    config.set(name, value);
    config.create_native_config().map(drop).map_err(|error| match error {
        KafkaError::ClientConfig(rdkafka_sys::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => {
            "is no property of librdkafka".into()
        }
        _ => "cannot have this value".into(),
    })
}

/// Whether clients can be made of these properties, without calling anybody: certificates are read, and what must fit together
/// is looked at.
pub fn check_properties(given: &BTreeMap<String, String>) -> Result<(), String> {
    let mut given = given.clone();
    given.remove("bootstrap.servers");
    let properties = Properties { given, reach: Arc::default() };
    let said = |error: Error| error.to_string();
    properties.asker("till-check").map_err(said)?;
    // Without a thread of its own, whose end would have to be waited for.
    let config = properties.config(PRODUCER_DEFAULTS, PRODUCER_FIXED, "till-check");
    create::<_, BaseProducer<Deliveries>>(config, properties.deliveries()).map(drop).map_err(said)
}

/// Properties of a cluster as they were given.
#[derive(Clone)]
pub(super) struct Properties {
    given: BTreeMap<String, String>,
    pub reach: Arc<Reach>,
}

/// The context of consumers: librdkafka's lines go to our log, and its errors where others look for them.
pub(super) struct Client {
    reach: Arc<Reach>,
}

/// The context of producers: keeps the deliveries that failed.
pub(super) struct Deliveries {
    failed: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
    reach: Arc<Reach>,
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
        let reach = Arc::new(Reach::of(&given));
        Ok(Properties { given: with_authorities(given), reach })
    }

    /// A member of a group.
    pub(super) fn member(&self, group: &Group) -> Result<BaseConsumer<Client>, Error> {
        let mut config = self.config(CONSUMER_DEFAULTS, CONSUMER_FIXED, &group.source);
        config.set("group.id", &group.group).set("group.instance.id", instance(group));
        create(config, Client { reach: Arc::clone(&self.reach) })
    }

    /// A consumer that asks in a group's name and never joins it.
    pub(super) fn asker(&self, group: &str) -> Result<BaseConsumer<Client>, Error> {
        let mut config = self.config(CONSUMER_DEFAULTS, CONSUMER_FIXED, "ask");
        config.set("group.id", group);
        create(config, Client { reach: Arc::clone(&self.reach) })
    }

    pub(super) fn producer(&self, transactional_id: &str) -> Result<Producer, Error> {
        let mut config = self.config(PRODUCER_DEFAULTS, PRODUCER_FIXED, transactional_id);
        config.set("transactional.id", transactional_id);
        Producer::of(create(config, self.deliveries())?)
    }

    /// A producer without transactions.
    pub(super) fn plain_producer(&self, name: &str) -> Result<Producer, Error> {
        Producer::of(create(self.config(PRODUCER_DEFAULTS, PRODUCER_FIXED, name), self.deliveries())?)
    }

    fn deliveries(&self) -> Deliveries {
        Deliveries { failed: Mutex::default(), reach: Arc::clone(&self.reach) }
    }

    /// What an admin client is made of.
    pub(super) fn plain(&self) -> ClientConfig {
        self.config(&[], ADMIN_FIXED, "admin")
    }

    fn config(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)], name: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", format!("till-{name}"));
        let given = self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all = DEFAULTS.iter().copied().chain(defaults.iter().copied()).chain(given).chain(fixed.iter().copied());
        all.for_each(|(name, value)| {
            config.set(name, value);
        });
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }
}

/// On a machine without authorities of its own, such as an image made from nothing, the well-known ones are trusted.
fn with_authorities(mut given: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let speaks_tls = given.get("security.protocol").is_some_and(|protocol| protocol.to_lowercase().contains("ssl"));
    let chosen = given.keys().any(|name| name.starts_with("ssl.ca."));
    if speaks_tls && !chosen && !AUTHORITIES.iter().any(|file| Path::new(file).exists()) {
        given.insert("ssl.ca.pem".into(), tls::well_known_authorities());
    }
    given
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

    /// What became of a record.
    pub(super) fn reported(&self, index: usize, code: RDKafkaErrorCode) {
        // The others fall with the transaction: what pulled them down came first and is no purge.
        let fallen = [RDKafkaErrorCode::NoError, RDKafkaErrorCode::PurgeQueue, RDKafkaErrorCode::PurgeInflight];
        if !fallen.contains(&code) {
            self.failed.lock().expect("no holder panics").push((index, code));
        }
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
        hear(&self.reach, &error, reason);
    }
}

impl ConsumerContext for Client {}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        hear(&self.reach, &error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivery: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = delivery
            && let Some(code) = error.rdkafka_error_code()
        {
            self.reported(index, code);
        }
    }
}

fn hear(reach: &Reach, error: &KafkaError, reason: &str) {
    tracing::debug!(%error, reason, "librdkafka");
    if let Some(code) = error.rdkafka_error_code() {
        reach.hear(code, reason);
    }
}

fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    // Told once by `Reach`, with its remedy, and not by every client at every attempt.
    let known = ["SASL authentication", "SSL handshake", "SSL routines", "No matching issuer", "Failed to resolve"];
    let told = known.iter().any(|known| line.contains(known));
    match level {
        _ if told => tracing::debug!(facility, line, "librdkafka"),
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, line, "librdkafka");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, line, "librdkafka"),
        _ => tracing::debug!(facility, line, "librdkafka"),
    }
}
