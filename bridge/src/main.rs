//! `till-bridge`: the bridge as a process of its own. Options come in; it runs until SIGTERM or Ctrl-C, and drains.

use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bridge::check::Report;
use bridge::log::Transactions;
use bridge::operate::{self, DeadLetters};
use bridge::{Config, Error, LogKind, Options};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Turns Kafka records into HTTP calls, and their answers into Kafka records.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(flatten)]
    given: Given,

    /// The one address of ingress, health and metrics
    #[arg(long, env = "TILL_LISTEN", default_value_t = bridge::default_listen())]
    listen: SocketAddr,

    /// Creates the topics of the KafkaSink documents that are missing, before anything else
    #[arg(long)]
    create_topics: bool,

    /// Without a command, it runs
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at everything that the documents need, without reading a record or calling a sink
    Check {
        #[command(flatten)]
        given: Given,

        /// What is found as JSON on standard output
        #[arg(long)]
        json: bool,
    },

    /// Topics of the KafkaSink documents
    #[command(subcommand)]
    Topics(Topics),

    /// Ask HTTP addresses; all is well when each answers below 500
    Ask {
        #[arg(required = true, value_name = "URL")]
        urls: Vec<String>,
    },

    /// Dead letters of a bridge that runs: list, show, deliver again
    DeadLetters(Box<DeadLetters>),
    /// Show the request that a record would become, for each source that hears its topic
    Explain(Explain),
}

#[derive(Debug, Subcommand)]
enum Topics {
    /// Create what is missing, change nothing that is there, and end
    Apply {
        #[command(flatten)]
        given: Given,
    },
}

/// What a bridge is made of.
#[derive(Debug, Args)]
struct Given {
    /// Files of YAML documents: KafkaSource, Source, PingSource, KafkaSink
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    sources: Vec<PathBuf>,

    /// Where records live: `kafka` (the documents' bootstrapServers) or `embedded:PATH` (one SQLite file)
    #[arg(long, default_value = "kafka", value_parser = log_kind)]
    log: LogKind,

    /// How sink refs become addresses; without it, the cluster's DNS
    #[arg(long, value_name = "http://HOST/{name}")]
    resolve: Option<String>,

    /// A folder with one file a topic, named after it: the tokens that may write the topic
    #[arg(long, value_name = "DIR")]
    ingress_tokens: Option<PathBuf>,

    /// Where Secrets are mounted: a folder each, with a file for each key (DIR/NAME/KEY)
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,

    /// A file with the token of the operating API (/dead-letters, /sources); two while one is rotated. Without it there is none
    #[arg(long, value_name = "FILE")]
    api_token: Option<PathBuf>,

    /// This process's name, the same after a restart (a StatefulSet's pod name)
    #[arg(long, env = "HOSTNAME", default_value = "till-bridge")]
    replica: String,

    /// How long calls under way may take at the end: 10s, 500ms
    #[arg(long, default_value = "10s", value_parser = duration)]
    drain: Duration,

    /// Kafka transactions of replies, dead letters and offsets. `auto` does without where the cluster or its ACLs refuse them,
    /// and says so; without them everything is written at least once
    #[arg(long, default_value = "auto", value_parser = transactions)]
    transactions: Transactions,

    /// The largest event that may be pushed, as a record: 256KiB, 1MiB, or a number of bytes. A batch may hold sixteen times as much
    #[arg(long, default_value = "256KiB", value_name = "SIZE", value_parser = size)]
    max_event_bytes: usize,
}

impl Given {
    fn options(self) -> Options {
        Options {
            sources: self.sources,
            log: self.log,
            resolve: self.resolve,
            ingress_tokens: self.ingress_tokens,
            secrets: self.secrets,
            api_token: self.api_token,
            replica: self.replica,
            drain: self.drain,
            transactions: self.transactions,
            event_bytes_max: self.max_event_bytes,
        }
    }
}

#[derive(Debug, Args)]
struct Explain {
    /// A record as JSON: {"topic", "key", "headers": {…}, "value"}; a value that is no text is sent as JSON
    #[arg(value_name = "RECORD")]
    record: PathBuf,
    /// Files of YAML documents
    #[arg(required = true, value_name = "FILE")]
    sources: Vec<PathBuf>,
    /// How sink refs become addresses; without it, the cluster's DNS
    #[arg(long, value_name = "http://HOST/{name}")]
    resolve: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  # without any broker: topics, groups and offsets in one file
  till-bridge --sources sources.yaml --log embedded:till.db --resolve 'http://127.0.0.1:3000/{name}'

  # with Kafka, where the documents name it; `examples/` has a page for each thing that it does
  KAFKA=localhost:9092 till-bridge --sources sources.yaml --ingress-tokens tokens/push

  # the topics that the documents name
  KAFKA=localhost:9092 till-bridge topics apply --sources sources.yaml

  # what was given up, and once more
  till-bridge dead-letters list --api-token tokens/api
  till-bridge dead-letters redrive --source orders --api-token tokens/api

  # whether it would work: documents, topics, rights, TLS, sinks, time
  till-bridge check --sources sources.yaml --secrets /secrets

Exit codes: 0 drained and stopped, or nothing is wrong; 64 wrong documents or options; 69 the log is not to be had, or the check
found an error; 70 a source broke.
Logs: RUST_LOG=bridge=debug; LOG_FORMAT=json for machines.";

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { 64 } else { 0 });
    });
    log_to_stderr();
    let done = match arguments.command {
        None => {
            start(&arguments.given.options(), arguments.listen, arguments.create_topics).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Check { given, json }) => check(&given.options(), json),
        Some(Command::Topics(Topics::Apply { given })) => apply_topics(&given.options()).map(|()| ExitCode::SUCCESS),
        Some(Command::Ask { urls }) => ask(&urls).map(|()| ExitCode::SUCCESS),
        Some(Command::DeadLetters(asked)) => return dead_letters(&asked),
        Some(Command::Explain(asked)) => explain(&asked).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("till-bridge: {error:#}");
            ExitCode::from(error.downcast_ref::<Error>().map_or(71, Error::exit_code))
        }
    }
}

fn start(options: &Options, listen: SocketAddr, create: bool) -> anyhow::Result<()> {
    let config = Config::load(options).map_err(Error::Config)?;
    if create {
        create_topics(&config)?;
    }
    let listener = TcpListener::bind(listen).with_context(|| format!("the address {listen} cannot be used"))?;
    Ok(bridge::run(config, listener, terminated())?)
}

fn apply_topics(options: &Options) -> anyhow::Result<()> {
    let config = Config::load(options).map_err(Error::Config)?;
    Ok(create_topics(&config)?)
}

fn ask(urls: &[String]) -> anyhow::Result<()> {
    let answers: Vec<_> = urls.iter().map(|url| (url, bridge::ask::ask(url))).collect();
    for (url, answer) in &answers {
        println!("{url}: {}", answer.as_ref().map_or_else(Clone::clone, u16::to_string));
    }
    let silent = answers.iter().filter(|(_, answer)| !matches!(answer, Ok(..500))).count();
    anyhow::ensure!(silent == 0, "{silent} of {} did not answer well", answers.len());
    Ok(())
}

/// An embedded log has them anyway.
fn create_topics(config: &Config) -> Result<(), Error> {
    if config.log != LogKind::Kafka {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(bridge::topics::apply(config))?;
    tracing::info!(created = report.created.join(" "), "the topics are there");
    for (topic, found, wanted) in report.different {
        tracing::warn!(
            topic,
            found,
            wanted,
            "a topic has another number of partitions than its document, and keeps it"
        );
    }
    Ok(())
}

/// What is looked at goes to standard error, what was found to standard output.
fn check(options: &Options, json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = match Config::load(options) {
        Ok(config) => runtime.block_on(bridge::check::check(&config, &|what| eprintln!("looking at {what}"))),
        Err(problems) => Report::of_problems(&problems),
    };
    runtime.shutdown_timeout(Duration::from_millis(200));
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?)
    } else {
        println!("{report}")
    }
    Ok(ExitCode::from(report.exit_code()))
}

fn dead_letters(asked: &DeadLetters) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread can wait");
    match runtime.block_on(operate::dead_letters(asked)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("till-bridge: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn explain(asked: &Explain) -> anyhow::Result<()> {
    let options = Options {
        sources: asked.sources.clone(),
        // No broker is asked, so that no credentials are needed.
        log: LogKind::Embedded(PathBuf::new()),
        resolve: asked.resolve.clone(),
        ..Options::default()
    };
    let config = Config::load(&options).map_err(Error::Config)?;
    let file = asked.record.display();
    let wrong = |reason: String| Error::Usage(format!("{file}: {reason}"));
    let text = std::fs::read_to_string(&asked.record).map_err(|error| wrong(error.to_string()))?;
    let record = bridge::written(&text).map_err(wrong)?;
    let told: Vec<_> = config.sources.iter().filter_map(|source| bridge::explain(source, &record)).collect();
    if told.is_empty() {
        eprintln!("no source hears the topic {}", record.partition.topic);
    }
    told.iter().for_each(|told| println!("{told}"));
    Ok(())
}

async fn terminated() {
    let mut term = signal(SignalKind::terminate()).expect("the runtime runs and takes signals");
    let mut interrupt = signal(SignalKind::interrupt()).expect("the runtime runs and takes signals");
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    if std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json") {
        log.json().init();
    } else {
        log.init();
    }
}

fn log_kind(text: &str) -> Result<LogKind, String> {
    match text.split_once(':') {
        None if text == "kafka" => Ok(LogKind::Kafka),
        Some(("embedded", path)) if !path.is_empty() => Ok(LogKind::Embedded(path.into())),
        _ => Err("it is `kafka` or `embedded:PATH`".into()),
    }
}

fn transactions(text: &str) -> Result<Transactions, String> {
    match text {
        "auto" => Ok(Transactions::Auto),
        "required" => Ok(Transactions::Required),
        "never" => Ok(Transactions::Never),
        _ => Err("it is auto, required or never".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = |number: &str| Duration::try_from_secs_f64(number.parse().ok()?).ok();
    let parsed = match text.strip_suffix("ms") {
        Some(number) => number.parse().map(Duration::from_millis).ok(),
        None => seconds(text.strip_suffix('s').unwrap_or(text)),
    };
    parsed.ok_or_else(|| format!("`{text}` is no duration such as 10s or 500ms"))
}

/// A broker takes no record above its `message.max.bytes`; 64 MiB are beyond every use.
fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        _ => None,
    };
    let size = unit.and_then(|unit| number.parse::<usize>().ok()?.checked_mul(unit));
    let wrong = || format!("`{text}` is no size from 1KiB to 64MiB");
    size.filter(|size| (1 << 10..=64 << 20).contains(size)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        assert_eq!([size("256KiB"), size("1MiB"), size("5000")], [Ok(256 << 10), Ok(1 << 20), Ok(5_000)]);
        for text in ["", "KiB", "1", "1GiB", "65MiB", "-1KiB", "1 MiB", "99999999999999999999MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_drain_is_a_duration_or_refused() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for text in ["-1s", "nan", "inf", "1e300", "", "s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
