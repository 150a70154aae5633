//! Host and bridge as parts of one process: configured from the data folder, started, watched, stopped.

use std::path::Path;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::cli::{Up, Where};
use crate::data::{Data, FUNCTIONS};
use crate::ports::Place;
use crate::{Error, settings, sources};

/// The host with the six functions.
pub struct HostPart {
    stop: watch::Sender<bool>,
    /// `None` when its end was told already: a task is awaited once.
    serving: Option<JoinHandle<Result<(), host::Error>>>,
}

impl HostPart {
    /// Loads the components and serves them and their metrics.
    pub async fn start(place: &Where, data: &Data) -> Result<Self, Error> {
        let mut config = host::Config::new(place.project.join("spin.toml"));
        config.runtime_config = Some(data.runtime_config(&place.project)?);
        config.state_dir = data.path("host");
        config.variables = settings::variables(data, &place.ports, &|_| None)?;
        config.clock_file = std::env::var_os("TILL_CLOCK").map(Into::into);
        let host = tokio::task::spawn_blocking(|| host::Host::load(config))
            .await
            .map_err(|error| stopped("the host", &error))?;
        let host = host.map_err(host_error)?;
        let functions =
            Place { part: "the functions", port: place.ports.functions, option: "--functions-port" }.bind().await?;
        let metrics =
            Place { part: "the host's metrics", port: place.ports.metrics, option: "--metrics-port" }.bind().await?;
        let (stop, told) = watch::channel(false);
        let (measured, wait) = (host.clone(), until_told(told.clone()));
        tokio::spawn(async move { measured.serve_metrics(metrics, wait).await });
        let serving = tokio::spawn(async move { host.serve(functions, until_told(told)).await });
        Ok(HostPart { stop, serving: Some(serving) })
    }

    /// Waits until it stops by itself.
    pub async fn ended(&mut self) -> Error {
        let Some(serving) = &mut self.serving else { return std::future::pending().await };
        let end = serving.await;
        self.serving = None;
        match end {
            Ok(Ok(())) => stopped("the host", &"it stopped by itself"),
            Ok(Err(error)) => host_error(error),
            Err(error) => stopped("the host", &error),
        }
    }

    /// Drains it.
    pub async fn stop(self) {
        self.stop.send(true).ok();
        if let Some(serving) = self.serving {
            serving.await.ok();
        }
    }
}

/// The bridge with its log, on a thread of its own.
pub struct BridgePart {
    stop: watch::Sender<bool>,
    /// `None` when its end was told already.
    ended: Option<oneshot::Receiver<Result<(), bridge::Error>>>,
}

impl BridgePart {
    /// Reads the sources and begins to deliver. Topics that a real Kafka lacks are created.
    pub async fn start(place: &Where, options: &Up, data: &Data) -> Result<Self, Error> {
        let config = sources::config(place, data, options.kafka.as_deref(), options.replication)?;
        if options.kafka.is_some() {
            sources::apply(&config).await?;
        }
        let address = Place { part: "the bridge", port: place.ports.bridge, option: "--bridge-port" };
        let listener = address.bind().await?.into_std().map_err(|error| stopped("the bridge", &error))?;
        let (stop, told) = watch::channel(false);
        let (tell, ended) = oneshot::channel();
        let run = move || tell.send(bridge::run(config, listener, until_told(told))).ok();
        std::thread::Builder::new()
            .name("bridge".to_owned())
            .spawn(run)
            .map_err(|error| stopped("the bridge", &error))?;
        Ok(BridgePart { stop, ended: Some(ended) })
    }

    /// Waits until it stops by itself.
    pub async fn ended(&mut self) -> Error {
        let Some(ended) = &mut self.ended else { return std::future::pending().await };
        let end = ended.await;
        self.ended = None;
        match end {
            Ok(Ok(())) => stopped("the bridge", &"it stopped by itself"),
            Ok(Err(error)) => stopped("the bridge", &error),
            Err(_) => stopped("the bridge", &"its thread panicked"),
        }
    }

    /// Drains it.
    pub async fn stop(self) {
        self.stop.send(true).ok();
        if let Some(ended) = self.ended {
            ended.await.ok();
        }
    }
}

async fn until_told(mut told: watch::Receiver<bool>) {
    told.wait_for(|told| *told).await.ok();
}

fn stopped(part: &'static str, reason: &dyn std::fmt::Display) -> Error {
    Error::Part { part, reason: reason.to_string() }
}

/// A host that is configured wrongly was asked wrongly.
pub fn host_error(error: host::Error) -> Error {
    if error.exit_code() == 64 { Error::Usage(error.to_string()) } else { stopped("the host", &error) }
}

/// Tells all components that are not built in one message.
pub fn check_components(project: &Path) -> Result<(), Error> {
    let folder = project.join("target/wasm32-wasip2/component");
    let missing: Vec<String> = FUNCTIONS
        .iter()
        .map(|function| format!("fn_{function}.wasm"))
        .filter(|file| !folder.join(file).is_file())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Missing {
        what: format!("{} in {}", missing.join(", "), folder.display()),
        remedy: "make up, or: cargo components".to_owned(),
    })
}
