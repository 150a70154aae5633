//! `till check`, `till explain` and `till topics apply`: what the bridge would do with files of sources, without running it; and the same
//! configuration for the bridge that runs in this process.

use std::path::PathBuf;
use std::time::Duration;

use bridge::{Config, LogKind, Options, Problem};

use crate::address::url;
use crate::cli::{Check, Explain, Topics, Where};
use crate::data::Data;
use crate::{Error, settings};

/// The file that says who hears what.
const SOURCES: &str = "knative/till/sources.yaml";
/// How long calls under way may take when the bridge stops.
const DRAIN: Duration = Duration::from_secs(5);
/// A laptop has one bridge.
const REPLICA: &str = "till-0";

/// The project's sources, for this house. `kafka` are brokers; `None` is the embedded log.
pub fn config(place: &Where, data: &Data, kafka: Option<&str>, replication: u16) -> Result<Config, Error> {
    read(place, data, vec![place.project.join(SOURCES)], kafka, replication)
}

fn read(
    place: &Where,
    data: &Data,
    sources: Vec<PathBuf>,
    kafka: Option<&str>,
    replication: u16,
) -> Result<Config, Error> {
    let environment = settings::environment(&data.path("tokens"), kafka, replication);
    let texts =
        sources.iter().map(|file| Ok((file.clone(), std::fs::read_to_string(file).map_err(Error::file(file))?)));
    let texts = texts.collect::<Result<Vec<_>, Error>>()?;
    let options = Options {
        sources,
        log: kafka.map_or_else(|| LogKind::Embedded(data.path("log.db")), |_| LogKind::Kafka),
        resolve: Some(format!("{}/{{name}}", url(place.ports.functions))),
        ingress_tokens: Some(data.path("tokens/push")),
        api_token: Some(data.path("tokens/api")),
        replica: REPLICA.to_owned(),
        drain: DRAIN,
        ..Options::default()
    };
    let value = |name: &str| environment.get(name).cloned().or_else(|| std::env::var(name).ok());
    Config::parse(&texts, &options, &value).map_err(problems)
}

fn problems(found: Vec<Problem>) -> Error {
    Error::Usage(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// What the bridge's own check finds; what is looked at goes to standard error.
pub async fn check(place: &Where, options: &Check) -> Result<(), Error> {
    let data = Data::open(&place.data)?;
    let config = read(place, &data, options.sources.clone(), options.kafka.as_deref(), 1)?;
    let report = bridge::check::check(&config, &|what| eprintln!("looking at {what}")).await;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
    } else {
        println!("{report}");
    }
    if report.is_fine() {
        Ok(())
    } else {
        Err(Error::Story("the bridge would not work with this, see above".to_owned()))
    }
}

/// The request that a record would become, for each source that hears its topic.
pub fn explain(place: &Where, options: &Explain) -> Result<(), Error> {
    let data = Data::open(&place.data)?;
    let config = read(place, &data, options.sources.clone(), None, 1)?;
    let text = std::fs::read_to_string(&options.record).map_err(Error::file(&options.record))?;
    let record =
        bridge::written(&text).map_err(|error| Error::Usage(format!("{}: {error}", options.record.display())))?;
    let told = config.sources.iter().filter_map(|source| bridge::explain(source, &record));
    told.for_each(|told| println!("{told}"));
    Ok(())
}

/// Creates the topics that are missing, and says which differ from their documents.
pub async fn topics(place: &Where, command: Topics) -> Result<(), Error> {
    let Topics::Apply { kafka, replication, sources } = command;
    let data = Data::open(&place.data)?;
    let config = read(place, &data, sources, Some(&kafka), replication)?;
    let report = apply(&config).await?;
    for (topic, found, wanted) in &report.different {
        println!(
            "{topic} has {found} partitions and its document says {wanted}: left as it is, since key order hangs on it"
        );
    }
    match report.created.as_slice() {
        [] => println!("no topic was missing"),
        created => println!("created: {}", created.join(", ")),
    }
    Ok(())
}

/// Creates the topics that are missing.
pub async fn apply(config: &Config) -> Result<bridge::topics::Report, Error> {
    let brokers = config.bootstrap_servers().unwrap_or_default();
    let reason =
        |error| format!("{error}\n  remedy: start it at {brokers}, or leave --kafka out to use the embedded log");
    bridge::topics::apply(config).await.map_err(|error| Error::Part { part: "Kafka", reason: reason(error) })
}
