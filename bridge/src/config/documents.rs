//! The kinds of documents and their fields: KafkaSource, Source, PingSource and KafkaSink become what the bridge runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::connection::Connection;
use super::delivery::{DeadLetterSink, Delivery, Dialect, Owner};
use super::fields::{Fields, Problems};
use super::filter::Filter;
use super::sink::{Resolver, Sink, identity};
use super::yaml::Node;
use crate::dispatch::Ordering;
use crate::log::{Initial, NewTopic};
use crate::nest;

/// Topics + filter → sink, with a policy.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub namespace: String,
    pub dialect: Dialect,
    pub file: PathBuf,
    pub line: usize,
    pub connection: Connection,
    pub group: String,
    pub topics: Vec<String>,
    pub initial: Initial,
    pub ordering: Ordering,
    pub in_flight_max: usize,
    pub key_type: KeyType,
    pub filter: Filter,
    pub sink: Sink,
    pub delivery: Delivery,
    pub reply: Reply,
    /// Patterns of the topics where callers may await an answer.
    pub answer_topics: Vec<String>,
    pub token_file: Option<PathBuf>,
    /// `ceOverrides.extensions`.
    pub extensions: BTreeMap<String, String>,
}

/// What a record's key is, for its text in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    String,
    Int,
    Float,
    ByteArray,
}

/// Where the events of an answer go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// They are not used.
    None,
    /// To the topic that is the first segment of their type.
    ByType {
        types: Vec<String>,
    },
    Topic {
        topic: String,
        types: Vec<String>,
    },
}

impl Reply {
    /// The prefixes of types that a reply may contain; none is any.
    pub fn types(&self) -> &[String] {
        match self {
            Reply::None => &[],
            Reply::ByType { types } | Reply::Topic { types, .. } => types,
        }
    }
}

/// An event on a schedule.
#[derive(Debug, Clone)]
pub struct Ping {
    pub name: String,
    pub namespace: String,
    pub file: PathBuf,
    pub line: usize,
    pub schedule: croner::Cron,
    pub timezone: jiff::tz::TimeZone,
    pub content_type: Option<String>,
    pub data: Option<Vec<u8>>,
    pub sink: Sink,
    pub token_file: Option<PathBuf>,
    pub extensions: BTreeMap<String, String>,
}

/// A KafkaSink: a topic that is to exist.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    pub file: PathBuf,
    pub line: usize,
    pub connection: Connection,
    pub topic: NewTopic,
}

/// What one document is.
pub enum Document {
    Source(Box<Source>),
    Ping(Box<Ping>),
    Topic(Topic),
}

struct Metadata {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
    token_file: Option<PathBuf>,
}

const TOKEN_FILE: &str = "till.dev/token-file";
const KEY_TYPE: &str = "kafkasources.sources.knative.dev/key-type";

/// Reads one document. What is wrong with it is in `problems`.
pub fn read(node: &Node, resolver: Resolver, problems: &Problems) -> Option<Document> {
    let mut fields = Fields::of(node, "", problems);
    let (version, kind) = (fields.required("apiVersion"), fields.required("kind"));
    let metadata = metadata(&mut fields);
    let mut spec = fields.fields("spec").unwrap_or_else(|| {
        problems.push(node.line, "`spec` is missing");
        Fields::of(node, "spec", problems)
    });
    let document = match (kind.as_str(), version.as_str()) {
        ("KafkaSource", "sources.knative.dev/v1" | "sources.knative.dev/v1beta1") => {
            source(&mut spec, metadata, Dialect::Knative, resolver, problems)
        }
        ("Source", "till.dev/v1") => source(&mut spec, metadata, Dialect::Till, resolver, problems),
        ("PingSource", "sources.knative.dev/v1" | "sources.knative.dev/v1beta2") => {
            ping(&mut spec, metadata, resolver, problems)
        }
        ("KafkaSink", "eventing.knative.dev/v1alpha1") => topic(&mut spec, metadata, resolver, problems),
        _ => {
            problems.push(node.line, format!("`{kind}` of `{version}` is not known here"));
            return None;
        }
    };
    spec.finish();
    fields.ignored("status");
    fields.finish();
    document
}

fn metadata(fields: &mut Fields) -> Metadata {
    let Some(mut metadata) = fields.fields("metadata") else {
        fields.problem(fields.line, "`metadata` is missing");
        return Metadata { name: String::new(), namespace: String::new(), labels: BTreeMap::new(), token_file: None };
    };
    let labels = metadata.fields("labels").map(|mut labels| labels.entries()).unwrap_or_default();
    let annotations = metadata.fields("annotations").map(|mut annotations| annotations.entries()).unwrap_or_default();
    let token_file = annotations.into_iter().find(|(name, _)| name == TOKEN_FILE).map(|(_, file)| PathBuf::from(file));
    Metadata {
        name: metadata.required("name"),
        namespace: metadata.text("namespace").unwrap_or_else(|| "default".into()),
        labels: labels.into_iter().collect(),
        token_file,
    }
}

fn source(
    spec: &mut Fields,
    metadata: Metadata,
    dialect: Dialect,
    resolver: Resolver,
    problems: &Problems,
) -> Option<Document> {
    let topics = topics(spec);
    spec.ignored("consumers");
    let connection = Connection::of_source(spec, dialect, resolver);
    let owner = Owner { name: &metadata.name, namespace: &metadata.namespace, resolver };
    let sink = resolver.read(spec, &metadata.name, &metadata.namespace);
    let mut source = Source {
        file: problems.file.clone(),
        line: spec.line,
        dialect,
        connection,
        group: group(spec, &metadata),
        topics,
        initial: initial(spec, dialect),
        ordering: ordering(spec, dialect),
        in_flight_max: 64,
        key_type: key_type(&metadata, spec),
        filter: Filter::All(Vec::new()),
        delivery: Delivery::read(spec.fields("delivery"), dialect, owner),
        reply: Reply::None,
        answer_topics: nest::default_topics(),
        token_file: metadata.token_file,
        extensions: overrides(spec, resolver),
        sink: sink?,
        name: metadata.name,
        namespace: metadata.namespace,
    };
    if dialect == Dialect::Till {
        own_fields(spec, &mut source, resolver, problems);
    }
    Some(Document::Source(Box::new(source)))
}

fn topics(spec: &mut Fields) -> Vec<String> {
    let topics = spec.texts("topics");
    if topics.is_empty() {
        spec.problem(spec.line, "`spec.topics` must name at least one topic");
    }
    topics
}

fn group(spec: &mut Fields, Metadata { name, namespace, .. }: &Metadata) -> String {
    spec.text("consumerGroup").unwrap_or_else(|| format!("till-{namespace}-{name}"))
}

/// The fields that Knative does not have.
fn own_fields(spec: &mut Fields, source: &mut Source, resolver: Resolver, problems: &Problems) {
    source.filter = Filter::read_all(&spec.list("filters"), "spec.filters", problems);
    if let Some(mut concurrency) = spec.fields("concurrency") {
        let max = concurrency.parsed::<std::num::NonZeroU16>("max", "a whole number from 1 to 65535");
        source.in_flight_max = max.map_or(source.in_flight_max, |max| usize::from(max.get()));
        concurrency.finish();
    }
    if let Some(mut auth) = spec.fields("auth") {
        if auth.names().is_empty() {
            auth.problem(auth.line, "`spec.auth` needs a tokenFile or tls");
        }
        source.token_file = auth.text("tokenFile").map(PathBuf::from);
        source.sink.tls.identity = auth.fields("tls").and_then(|tls| identity(tls, resolver));
        if let Some(DeadLetterSink::Http(sink)) = &mut source.delivery.dead_letter_sink {
            sink.tls.identity = source.sink.tls.identity.clone();
        }
        auth.finish();
    }
    if let Some(instant) = spec.parsed::<jiff::Timestamp>("startAt", "an RFC 3339 instant") {
        source.initial = Initial::At(instant.as_millisecond());
    }
    if let Some(fields) = spec.fields("reply") {
        source.reply = reply(spec, source, fields);
    }
}

fn reply(spec: &mut Fields, source: &mut Source, mut fields: Fields) -> Reply {
    let by_type = fields.parsed::<bool>("byType", "true or false") == Some(true);
    let none = fields.parsed::<bool>("none", "true or false") == Some(true);
    let (topic, types) = (fields.text("topic"), fields.texts("types"));
    let answers = fields.optional_texts("topics");
    let line = fields.line;
    for pattern in answers.iter().flatten().filter(|pattern| !is_pattern(pattern)) {
        fields.problem(
            line,
            format!("`{pattern}` in `{}` is no topic's name, where * is any text", fields.name("topics")),
        );
    }
    fields.finish();
    source.answer_topics = answers.clone().unwrap_or_else(nest::default_topics);
    match (by_type, topic, none) {
        (true, None, false) => Reply::ByType { types },
        (false, Some(topic), false) => Reply::Topic { topic, types },
        (false, None, true) => Reply::None,
        (false, None, false) if answers.is_some() => Reply::None,
        _ => {
            spec.problem(line, "`spec.reply` must have exactly one of byType: true, topic: NAME and none: true");
            Reply::None
        }
    }
}

fn is_pattern(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte))
}

fn initial(spec: &mut Fields, dialect: Dialect) -> Initial {
    let default = if dialect == Dialect::Knative { Initial::Latest } else { Initial::Earliest };
    spec.choice("initialOffset", &[("earliest", Initial::Earliest), ("latest", Initial::Latest)]).unwrap_or(default)
}

fn ordering(spec: &mut Fields, dialect: Dialect) -> Ordering {
    let all = [("ordered", Ordering::Partition), ("unordered", Ordering::None), ("key", Ordering::Key)];
    let (choices, default) = match dialect {
        Dialect::Knative => (&all[..2], Ordering::Partition),
        Dialect::Till => (&all[..], Ordering::Key),
    };
    spec.choice("ordering", choices).unwrap_or(default)
}

fn key_type(metadata: &Metadata, spec: &Fields) -> KeyType {
    match metadata.labels.get(KEY_TYPE).map(String::as_str) {
        None | Some("string") => KeyType::String,
        Some("int") => KeyType::Int,
        Some("float") => KeyType::Float,
        Some("byte-array") => KeyType::ByteArray,
        Some(other) => {
            spec.problem(
                spec.line,
                format!("the label {KEY_TYPE} must be string, int, float or byte-array, and is `{other}`"),
            );
            KeyType::String
        }
    }
}

/// The document's own win over those of `K_CE_OVERRIDES`.
fn overrides(spec: &mut Fields, resolver: Resolver) -> BTreeMap<String, String> {
    #[derive(serde::Deserialize)]
    struct Overrides {
        #[serde(default)]
        extensions: BTreeMap<String, String>,
    }
    let environment = (resolver.environment)("K_CE_OVERRIDES").unwrap_or_else(|| "{}".into());
    let mut extensions =
        serde_json::from_str::<Overrides>(&environment).map(|found| found.extensions).unwrap_or_else(|error| {
            spec.problem(spec.line, format!("K_CE_OVERRIDES is not understood: {error}"));
            BTreeMap::new()
        });
    if let Some(mut fields) = spec.fields("ceOverrides") {
        extensions.extend(fields.fields("extensions").map(|mut own| own.entries()).unwrap_or_default());
        fields.finish();
    }
    for name in extensions.keys().filter(|name| !event::is_extension_name(name)) {
        spec.problem(
            spec.line,
            format!("`{name}` is no name of an extension: lower-case letters and digits, and no attribute's"),
        );
    }
    extensions
}

fn ping(spec: &mut Fields, metadata: Metadata, resolver: Resolver, problems: &Problems) -> Option<Document> {
    let parser = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Optional).build();
    let schedule = spec.required("schedule");
    let line = spec.line;
    let schedule = parser.parse(&schedule).map_err(|error| {
        spec.problem(line, format!("`spec.schedule` is `{schedule}`: {error}"));
    });
    let timezone = spec.map("timezone", |name| {
        jiff::tz::TimeZone::get(name).map_err(|_| format!("must be an IANA time zone, and is `{name}`"))
    });
    let sink = resolver.read(spec, &metadata.name, &metadata.namespace);
    let extensions = overrides(spec, resolver);
    let content_type = spec.text("contentType");
    let data = ping_data(spec);
    Some(Document::Ping(Box::new(Ping {
        file: problems.file.clone(),
        line,
        schedule: schedule.ok()?,
        timezone: timezone.unwrap_or(jiff::tz::TimeZone::UTC),
        content_type: content_type.or_else(|| data.is_some().then(|| "application/json".into())),
        data,
        sink: sink?,
        token_file: metadata.token_file,
        extensions,
        name: metadata.name,
        namespace: metadata.namespace,
    })))
}

fn ping_data(spec: &mut Fields) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let (plain, encoded) = (spec.text("data"), spec.text("dataBase64"));
    match (plain, encoded) {
        (Some(_), Some(_)) => {
            spec.problem(spec.line, "`spec.data` and `spec.dataBase64` exclude each other");
            None
        }
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|error| spec.problem(spec.line, format!("`spec.dataBase64`: {error}")))
            .ok(),
        (None, None) => None,
    }
}

fn topic(spec: &mut Fields, metadata: Metadata, resolver: Resolver, problems: &Problems) -> Option<Document> {
    let connection = Connection::of_topic(spec, resolver);
    spec.choice("contentMode", &[("binary", ()), ("structured", ())]);
    let topic = NewTopic {
        name: spec.required("topic"),
        partitions: positive(spec, "numPartitions").unwrap_or(1),
        replication: positive(spec, "replicationFactor").unwrap_or(1),
        retention: spec.duration("retention").filter(|retention| *retention > Duration::ZERO),
    };
    let (file, line) = (problems.file.clone(), spec.line);
    Some(Document::Topic(Topic { name: metadata.name, file, line, connection, topic }))
}

fn positive(spec: &mut Fields, field: &str) -> Option<i32> {
    spec.parsed::<std::num::NonZeroU16>(field, "a whole number from 1 to 65535").map(|number| i32::from(number.get()))
}
