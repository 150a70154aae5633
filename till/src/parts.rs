//! Host and bridge as parts of one process: configured from the data folder, started, watched, stopped.

use std::path::Path;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::{Up, Where};
use crate::data::{Data, FUNCTIONS};
use crate::ports::Place;
use crate::{Error, settings};

/// The host with the six functions.
pub struct HostPart {
    stop: watch::Sender<bool>,
    serving: JoinHandle<Result<(), host::Error>>,
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
        Ok(HostPart { stop, serving })
    }

    /// Waits until it stops by itself.
    pub async fn ended(&mut self) -> Error {
        match (&mut self.serving).await {
            Ok(Ok(())) => stopped("the host", &"it stopped by itself"),
            Ok(Err(error)) => host_error(error),
            Err(error) => stopped("the host", &error),
        }
    }

    /// Drains it.
    pub async fn stop(self) {
        self.stop.send(true).ok();
        self.serving.await.ok();
    }
}

/// The bridge with its log.
pub struct BridgePart {
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), String>>,
}

impl BridgePart {
    /// Reads the sources and begins to deliver.
    pub async fn start(_place: &Where, _options: &Up, _data: &Data) -> Result<Self, Error> {
        let (stop, told) = watch::channel(false);
        let running = tokio::spawn(async move {
            until_told(told).await;
            Ok(())
        });
        Ok(BridgePart { stop, running })
    }

    /// Waits until it stops by itself.
    pub async fn ended(&mut self) -> Error {
        match (&mut self.running).await {
            Ok(Ok(())) => stopped("the bridge", &"it stopped by itself"),
            Ok(Err(error)) => stopped("the bridge", &error),
            Err(error) => stopped("the bridge", &error),
        }
    }

    /// Drains it.
    pub async fn stop(self) {
        self.stop.send(true).ok();
        self.running.await.ok();
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
    match error {
        host::Error::Configuration(_) | host::Error::NotGranted { .. } => Error::Usage(error.to_string()),
        host::Error::Component { .. } | host::Error::Engine(_) | host::Error::Io(_) => stopped("the host", &error),
    }
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
