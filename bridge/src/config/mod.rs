//! What the bridge is told to do: files of documents and options come in, a [`Config`] or all problems at once come out.

mod connection;
mod delivery;
mod documents;
mod fields;
mod filter;
mod secrets;
mod sink;
mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use connection::Connection;
pub use delivery::{DeadLetterSink, Delivery, Dialect};
pub use documents::{KeyType, Ping, Reply, Source, Topic};
pub use fields::Problem;
pub use sink::{Sink, shown};

use crate::log::{NewTopic, Transactions};
use documents::Document;
use fields::Problems;
use secrets::Secrets;
use sink::Resolver;

/// How a bridge is started, before its files are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files of YAML documents.
    pub sources: Vec<PathBuf>,
    pub log: LogKind,
    /// How sink refs become addresses: `http://127.0.0.1:3000/{name}`; `None` is the cluster's DNS.
    pub resolve: Option<String>,
    /// One file a topic, named after it, with the token or tokens (separated by a comma) that may write it.
    pub ingress_tokens: Option<PathBuf>,
    /// Where Secrets are mounted: a folder each, with a file for each key.
    pub secrets: Option<PathBuf>,
    /// The file with the token or tokens of the operating API; without it there is none.
    pub api_token: Option<PathBuf>,
    /// This process's name, the same after a restart.
    pub replica: String,
    /// How long a drain may take, at the end and when a partition goes.
    pub drain: Duration,
    pub transactions: Transactions,
    /// What one pushed event may measure as a record.
    pub event_bytes_max: usize,
}

/// What is not said. Without files there is nothing to do: those are named.
impl Default for Options {
    fn default() -> Self {
        Options {
            sources: Vec::new(),
            log: LogKind::Kafka,
            resolve: None,
            ingress_tokens: None,
            secrets: None,
            api_token: None,
            replica: "till-bridge".into(),
            drain: Duration::from_secs(10),
            transactions: Transactions::Auto,
            event_bytes_max: crate::ingress::EVENT_BYTES_MAX,
        }
    }
}

/// Which log the records live in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogKind {
    /// One SQLite file; `bootstrapServers` of the documents are not used.
    Embedded(PathBuf),
    /// The cluster that the documents name.
    Kafka,
}

/// Everything that a bridge does, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub sources: Vec<Source>,
    pub pings: Vec<Ping>,
    pub topics: Vec<Topic>,
    pub log: LogKind,
    pub ingress_tokens: Option<PathBuf>,
    pub api_token: Option<PathBuf>,
    pub replica: String,
    pub drain: Duration,
    pub transactions: Transactions,
    pub event_bytes_max: usize,
}

impl Config {
    /// Reads the files, with `${NAME}` from this process's environment.
    pub fn load(options: &Options) -> Result<Config, Vec<Problem>> {
        let mut texts = Vec::new();
        let mut problems = Vec::new();
        for file in &options.sources {
            match std::fs::read_to_string(file) {
                Ok(text) => texts.push((file.clone(), text)),
                Err(error) => problems.push(problem(file, 0, error.to_string())),
            }
        }
        match Config::parse(&texts, options, &|name| std::env::var(name).ok()) {
            Ok(config) if problems.is_empty() => Ok(config),
            Ok(_) => Err(problems),
            Err(more) => Err(problems.into_iter().chain(more).collect()),
        }
    }

    /// As [`Config::load`], from texts and an environment.
    pub fn parse(
        texts: &[(PathBuf, String)],
        options: &Options,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Vec<Problem>> {
        let resolver = Resolver {
            template: options.resolve.as_deref(),
            environment,
            secrets: Secrets(options.secrets.as_deref()),
            has_brokers: options.log == LogKind::Kafka,
        };
        let mut config = Config {
            sources: Vec::new(),
            pings: Vec::new(),
            topics: Vec::new(),
            log: options.log.clone(),
            ingress_tokens: options.ingress_tokens.clone(),
            api_token: options.api_token.clone(),
            replica: options.replica.clone(),
            drain: options.drain,
            transactions: options.transactions,
            event_bytes_max: options.event_bytes_max,
        };
        let mut problems = Vec::new();
        for (file, text) in texts {
            problems.extend(config.read(file, text, resolver));
        }
        problems.extend(config.cross_check());
        if problems.is_empty() {
            problems.extend(config.check_connection());
        }
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The one cluster of the documents, and who the bridge is to it; none with the embedded log. A KafkaSink without credentials
    /// is written to with those of the sources.
    pub fn connection(&self) -> Option<&Connection> {
        let sources = self.sources.iter().map(|source| &source.connection);
        let topics = || self.topics.iter().map(|topic| &topic.connection);
        let speaking = topics().find(|connection| !connection.properties.is_empty());
        let found = sources.chain(speaking).chain(topics()).next();
        found.filter(|_| self.log == LogKind::Kafka)
    }

    /// The servers of that cluster.
    pub fn bootstrap_servers(&self) -> Option<String> {
        self.connection().map(|connection| connection.servers.join(","))
    }

    /// The topics that are to exist.
    pub fn new_topics(&self) -> Vec<NewTopic> {
        self.topics.iter().map(|topic| topic.topic.clone()).collect()
    }

    /// The topic of a source's dead letters.
    pub fn dead_letter_topic(&self, source: &Source) -> Option<String> {
        let DeadLetterSink::Topic { name, .. } = source.delivery.dead_letter_sink.as_ref()? else { return None };
        self.topics.iter().find(|topic| topic.name == *name).map(|topic| topic.topic.name.clone())
    }

    fn read(&mut self, file: &Path, text: &str, resolver: Resolver) -> Vec<Problem> {
        let documents = match yaml::documents(text, resolver.environment) {
            Ok(documents) => documents,
            Err(broken) => {
                return broken.into_iter().map(|broken| problem(file, broken.line, broken.reason)).collect();
            }
        };
        let problems = Problems::of(file);
        for node in &documents {
            match documents::read(node, resolver, &problems) {
                Some(Document::Source(source)) => {
                    let taken = self.sources.iter().any(|other| other.name == source.name);
                    unique(taken, &source.name, node.line, &problems);
                    self.sources.push(*source);
                }
                Some(Document::Ping(ping)) => {
                    let same = |other: &Ping| (&other.name, &other.namespace) == (&ping.name, &ping.namespace);
                    unique(self.pings.iter().any(same), &ping.name, node.line, &problems);
                    self.pings.push(*ping);
                }
                Some(Document::Topic(topic)) => {
                    let taken = self.topics.iter().any(|other| other.name == topic.name);
                    unique(taken, &topic.name, node.line, &problems);
                    self.topics.push(topic);
                }
                None => {}
            }
        }
        problems.into_vec()
    }

    /// What no document can see alone.
    fn cross_check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for source in &self.sources {
            problems.extend(self.check_dead_letters(source));
        }
        let mut seen = BTreeMap::new();
        for source in &self.sources {
            if let Some(first) = seen.insert(&source.group, &source.name) {
                let text =
                    format!("the sources `{first}` and `{}` have one consumerGroup `{}`", source.name, source.group);
                problems.push(problem(&source.file, source.line, text));
            }
        }
        problems.extend(self.one_cluster());
        problems
    }

    /// A letter in a topic that its own source reads would be given up again, for ever.
    fn check_dead_letters(&self, source: &Source) -> Option<Problem> {
        let Some(DeadLetterSink::Topic { line, name }) = &source.delivery.dead_letter_sink else { return None };
        let text = match self.dead_letter_topic(source) {
            None => format!("there is no KafkaSink `{name}` for dead letters"),
            Some(topic) if source.topics.contains(&topic) => format!(
                "the dead letters of `{}` go to `{topic}`, which it reads: each would be given up again without an end; name \
                 another topic",
                source.name
            ),
            Some(_) => return None,
        };
        Some(problem(&source.file, *line, text))
    }

    /// Replies, dead letters and offsets are one transaction, so everything is on one cluster and written by one user.
    fn one_cluster(&self) -> Vec<Problem> {
        let Some(ours) = self.connection() else { return Vec::new() };
        let sources = self.sources.iter().map(|source| (&source.file, source.line, &source.connection));
        let topics = self.topics.iter().map(|topic| (&topic.file, topic.line, &topic.connection));
        let silent = |other: &Connection| other.properties.is_empty() && other.servers == ours.servers;
        let foreign = sources
            .filter(|(.., other)| *other != ours)
            .chain(topics.filter(|(.., other)| *other != ours && !silent(other)));
        let text = "another cluster, credentials or properties than the first document's: run one bridge for each";
        foreign.map(|(file, line, _)| problem(file, line, text)).collect()
    }

    /// What a client of librdkafka says of certificates and of properties that must fit together.
    fn check_connection(&self) -> Option<Problem> {
        // Nothing can be wrong with nothing, and a start is to be quick.
        let connection = self.connection().filter(|connection| !connection.properties.is_empty())?;
        let reason = crate::log::check_properties(&connection.for_log()).err()?;
        let (file, line) = match (self.sources.first(), self.topics.first()) {
            (Some(source), _) => (&source.file, source.line),
            (None, topic) => topic.map(|topic| (&topic.file, topic.line))?,
        };
        Some(problem(file, line, format!("the connection to Kafka: {reason}")))
    }
}

/// Metrics, event ids and refs go by the name.
fn unique(taken: bool, name: &str, line: usize, problems: &Problems) {
    if taken {
        problems.push(line, format!("another document of this kind is called `{name}`"));
    }
}

fn problem(file: &Path, line: usize, text: impl Into<String>) -> Problem {
    Problem { file: file.to_owned(), line, text: text.into() }
}

/// The address that is used when nothing else is said.
pub fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 3001))
}

#[cfg(test)]
mod tests;
