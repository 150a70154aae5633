//! The life of a bridge: everything is opened and started, runs until it is told to stop, drains and ends.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::api::Api;
use crate::clock::Clock;
use crate::config::{Config, Connection, DeadLetterSink, Dialect, LogKind, Sink, Source};
use crate::error::Error;
use crate::health::{Health, Member};
use crate::hop::{Hop, Surroundings};
use crate::http::Sender;
use crate::ingress::{Ingress, Notice};
use crate::letters::{Addressee, Desk, Post};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::server::{self, Server};
use crate::token::Token;
use crate::wakes::Wakes;
use crate::{ping, topics};

/// How long the log may take for the last commits after the drain.
const GRACE: Duration = Duration::from_secs(15);

/// Runs a bridge on this thread until `stop` is done and everything is drained. `listener` is its one address.
pub fn run(config: Config, listener: std::net::TcpListener, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let log = open_log(&config)?;
    run_on(log, config, listener, stop)
}

/// As [`run`], on a log that somebody has opened already (an embedded one is opened once in a process).
pub fn run_on(
    log: Log,
    config: Config,
    listener: std::net::TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = LocalSet::new().block_on(&runtime, live(log, config, listener, stop));
    // Threads that wait for a name to be resolved must not hold the end up.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

/// Opens the log that a configuration names.
pub fn open_log(config: &Config) -> Result<Log, Error> {
    Ok(match &config.log {
        LogKind::Embedded(path) => Log::embedded(path)?,
        LogKind::Kafka => {
            let properties = config.connection().map(Connection::for_log).unwrap_or_default();
            Log::kafka_with(properties, &config.replica, config.transactions)?
        }
    })
}

async fn live(
    log: Log,
    config: Config,
    listener: std::net::TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    if matches!(config.log, LogKind::Embedded(_)) {
        topics::apply_to(&log, config.new_topics()).await?;
    }
    let (clock, wakes) = (Clock::from_environment(), Wakes::default());
    let around = Surroundings {
        log,
        clock: clock.clone(),
        wakes: wakes.clone(),
        replica: config.replica.clone(),
        drain: config.drain,
    };
    let ((halt, halted), (close, closed)) = (watch::channel(false), watch::channel(false));
    let (members, mut hops) = start_sources(&config, &around, &halted);
    start_pings(&config, &around);
    wakes.spawn(&clock);
    let serving = tokio::task::spawn_local(server::run(server(&config, around, members), listener, closed));
    tracing::info!(%address, sources = config.sources.len(), pings = config.pings.len(), "the bridge is up");
    let outcome = until_stopped(stop, &mut hops).await;
    tracing::info!("the bridge drains");
    halt.send_replace(true);
    until_drained(&mut hops, config.drain).await;
    // Only now: what is called while the sources drain may push.
    close.send_replace(true);
    let _ = serving.await;
    tracing::info!("the bridge is down");
    outcome
}

async fn until_drained(hops: &mut JoinSet<()>, drain: Duration) {
    let drained = async { while hops.join_next().await.is_some() {} };
    if tokio::time::timeout(drain + GRACE, drained).await.is_err() {
        tracing::error!("the log did not take the last commits; they are done again at the next start");
    }
}

/// Waits for `stop`. A source that ends before it has broken, and a bridge without it would look well and do nothing.
async fn until_stopped(stop: impl Future<Output = ()>, hops: &mut JoinSet<()>) -> Result<(), Error> {
    tokio::select! {
        () = stop => Ok(()),
        Some(ended) = hops.join_next() => {
            let error = Error::Ended(ended.err().map_or_else(String::new, |error| format!(": {error}")));
            tracing::error!(%error, "the bridge stops");
            Err(error)
        }
    }
}

fn server(config: &Config, Surroundings { log, clock, wakes, .. }: Surroundings, members: Vec<Member>) -> Rc<Server> {
    let ingress = ingress(&log, config, &wakes, &clock);
    let desk = Desk::new(log.clone(), addressees(config, &members));
    let health = Rc::new(Health { members, wakes, log });
    let api = Api { token: config.api_token.clone(), health: Rc::clone(&health), desk };
    Rc::new(Server { ingress, health, api })
}

/// Without a folder of tokens nobody may push. A sender is woken under the name of its topic, which is its function's.
fn ingress(log: &Log, config: &Config, wakes: &Wakes, clock: &Clock) -> Ingress {
    let (wakes, clock) = (wakes.clone(), clock.clone());
    let notice = move |notice| match notice {
        Notice::WakeAt { topic, at } => wakes.ask(&topic, at),
        Notice::TurnedAway { topic } => wakes.ask_soon(&topic, &clock),
        Notice::Written { .. } => {}
    };
    Ingress::new(log.clone(), config.ingress_tokens.as_deref(), config.event_bytes_max, notice)
}

fn start_sources(config: &Config, around: &Surroundings, halted: &watch::Receiver<bool>) -> (Vec<Member>, JoinSet<()>) {
    let (mut members, mut hops) = (Vec::new(), JoinSet::new());
    for source in &config.sources {
        let (questions, asked) = mpsc::unbounded_channel();
        let (topics, sink) = (source.topics.join(" "), source.sink.shown());
        tracing::info!(source = source.name, topics, group = source.group, sink, "a source begins");
        let metrics = Rc::new(Metrics::default());
        let sender = sender(&source.sink, source.token_file.as_deref());
        // A plain KafkaSource's sink knows nothing of wakes, unless it asks for one.
        around.wakes.register(&source.sink.name, &sender, source.dialect == Dialect::Till);
        members.push(Member {
            name: source.name.clone(),
            metrics: Rc::clone(&metrics),
            sender: Rc::clone(&sender),
            questions,
        });
        let hop = Hop {
            dead_letter_topic: config.dead_letter_topic(source),
            dead_letter_sender: dead_letter_sender(source),
            post: Post::of(source, config),
            source: Rc::new(source.clone()),
            sender,
            metrics,
            around: around.clone(),
        };
        hops.spawn_local(hop.run(asked, halted.clone()));
    }
    (members, hops)
}

/// Whose letters can be redriven.
fn addressees(config: &Config, members: &[Member]) -> BTreeMap<String, Addressee> {
    let sources = config.sources.iter().zip(members);
    let addressee = |(source, member): (&Source, &Member)| {
        let (letters_topic, group) = (config.dead_letter_topic(source), source.group.clone());
        (source.name.clone(), Addressee { letters_topic, group, metrics: Rc::clone(&member.metrics) })
    };
    sources.map(addressee).collect()
}

fn start_pings(config: &Config, around: &Surroundings) {
    for ping in &config.pings {
        let sender = sender(&ping.sink, ping.token_file.as_deref());
        // A token file is our annotation: such a sink is one of ours, and knows wakes.
        around.wakes.register(&ping.sink.name, &sender, ping.token_file.is_some());
        tokio::task::spawn_local(ping::run(ping.clone(), sender, around.wakes.clone(), around.clock.clone()));
    }
}

/// No token is shown to it: that one is for the source's own sink.
fn dead_letter_sender(source: &Source) -> Option<Rc<Sender>> {
    let Some(DeadLetterSink::Http(sink)) = &source.delivery.dead_letter_sink else { return None };
    Some(sender(sink, None))
}

fn sender(sink: &Sink, token_file: Option<&std::path::Path>) -> Rc<Sender> {
    Sender::new(&sink.url, token_file.map(Token::in_file), &sink.tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_that_breaks_ends_the_bridge_with_an_error() {
        let mut hops = JoinSet::new();
        hops.spawn(async { panic!("a bug") });
        let ended = until_stopped(std::future::pending(), &mut hops).await.unwrap_err();
        assert_eq!(ended.exit_code(), 70, "{ended}");
        assert!(until_stopped(std::future::ready(()), &mut hops).await.is_ok());
    }
}
