//! `till-bridge`: the bridge as a process of its own. Options come in; it runs until SIGTERM or Ctrl-C, and drains.

use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bridge::log::Transactions;
use bridge::{Config, Error, LogKind, Options};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Turns Kafka records into HTTP calls, and their answers into Kafka records.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Files of YAML documents: KafkaSource, Source, PingSource, KafkaSink
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    sources: Vec<PathBuf>,

    /// Where records live: `kafka` (the documents' bootstrapServers) or `embedded:PATH` (one SQLite file)
    #[arg(long, default_value = "kafka", value_parser = log_kind)]
    log: LogKind,

    /// The one address of ingress, health and metrics
    #[arg(long, env = "TILL_LISTEN", default_value_t = bridge::default_listen())]
    listen: SocketAddr,

    /// How sink refs become addresses; without it, the cluster's DNS
    #[arg(long, value_name = "http://HOST/{name}")]
    resolve: Option<String>,

    /// A folder with one file a topic, named after it: the tokens that may write the topic
    #[arg(long, value_name = "DIR")]
    ingress_tokens: Option<PathBuf>,

    /// Creates the topics of the KafkaSink documents that are missing, before anything else
    #[arg(long)]
    create_topics: bool,

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
}

const EXAMPLES: &str = "\
Examples:
  # without any broker: topics, groups and offsets in one file
  till-bridge --sources sources.yaml --log embedded:till.db --resolve 'http://127.0.0.1:3000/{name}'

  # with Kafka, where the documents name it; `examples/` has a page for each thing that it does
  KAFKA=localhost:9092 till-bridge --sources sources.yaml --ingress-tokens tokens/push

Exit codes: 0 drained and stopped, 64 wrong documents or options, 69 the log is not to be had, 70 a source broke.
Logs: RUST_LOG=bridge=debug; LOG_FORMAT=json for machines.";

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { 64 } else { 0 });
    });
    log_to_stderr();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("till-bridge: {error:#}");
            ExitCode::from(error.downcast_ref::<Error>().map_or(71, Error::exit_code))
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let options = Options {
        sources: arguments.sources,
        log: arguments.log,
        resolve: arguments.resolve,
        ingress_tokens: arguments.ingress_tokens,
        replica: arguments.replica,
        drain: arguments.drain,
        transactions: arguments.transactions,
    };
    let config = Config::load(&options).map_err(Error::Config)?;
    if arguments.create_topics {
        create_topics(&config)?;
    }
    let listen = arguments.listen;
    let listener = TcpListener::bind(listen).with_context(|| format!("the address {listen} cannot be used"))?;
    Ok(bridge::run(config, listener, terminated())?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_a_duration_or_refused() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for text in ["-1s", "nan", "inf", "1e300", "", "s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
