//! `till up`: the whole house in one process. Its components and ports are looked at before anything starts; then world, host
//! and bridge start, in the order in which they need each other; then it waits for Ctrl-C.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::address::Ports;
use crate::cli::{Compile, Up, Where, World as WorldOptions};
use crate::data::Data;
use crate::parts::{self, BridgePart, HostPart};
use crate::ports::Place;
use crate::visitor::Visitor;
use crate::world::{self, Part, World};
use crate::{Error, banner};

/// A house is ready within it, components compiled for the first time included.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// A house in this process.
pub struct Running {
    world: World,
    host: HostPart,
    bridge: BridgePart,
}

impl Running {
    /// Starts everything and returns when it is ready.
    pub async fn start(place: &Where, options: &Up, data: &Data) -> Result<Self, Error> {
        data.keep_log()?;
        parts::check_components(&place.project)?;
        world::let_go(data, &place.ports).await;
        Place::check_all(places(&place.ports, &options.world.left_out())).await?;
        data.announce(&place.ports)?;
        let world = World::start(data, &place.ports, &options.world.left_out(), options.world.anvil.clone()).await?;
        if !data.path("host/compiled").exists() {
            println!("compiling the six functions for this machine (once)");
        }
        let host = HostPart::start(place, data).await?;
        let bridge = BridgePart::start(place, options, data).await?;
        Visitor::new(&place.ports, data.key()).ready(READY_TIMEOUT).await?;
        Ok(Running { world, host, bridge })
    }

    /// Waits until a part stops by itself, which none should.
    async fn ended(&mut self) -> Error {
        tokio::select! {
            error = self.host.ended() => error,
            error = self.bridge.ended() => error,
        }
    }

    /// Drains the bridge, then the host, then lets the world go.
    pub async fn stop(self) {
        self.bridge.stop().await;
        self.host.stop().await;
        self.world.stop().await;
    }
}

/// The command `up`.
pub async fn up(place: &Where, options: &Up) -> Result<(), Error> {
    let data = Data::open(&place.data)?;
    let _lock = match data.lock()? {
        Ok(lock) => lock,
        Err(house) => {
            banner::already_up(house.as_ref());
            return Ok(());
        }
    };
    println!("starting the house in {}", data.folder().display());
    let mut house = Running::start(place, options, &data).await?;
    banner::up(place, options, &data);
    let verdict = tokio::select! {
        () = asked_to_stop() => Ok(()),
        error = house.ended() => Err(error),
    };
    println!("\nstopping");
    house.stop().await;
    verdict
}

/// The command `world`.
pub async fn world(place: &Where, options: &WorldOptions) -> Result<(), Error> {
    let data = Data::open(&place.data)?;
    let world = World::start(&data, &place.ports, &options.left_out(), options.anvil.clone()).await?;
    println!("the world is up; Ctrl-C stops it");
    asked_to_stop().await;
    world.stop().await;
    Ok(())
}

/// The command `compile`.
pub fn compile(place: &Where, options: &Compile) -> Result<(), Error> {
    parts::check_components(&place.project)?;
    let output = options.output.clone().unwrap_or_else(|| place.data.join("compiled"));
    let files = host::compile(&place.project.join("spin.toml"), &output).map_err(parts::host_error)?;
    files.iter().for_each(|file| println!("{}", file.display()));
    Ok(())
}

/// Every port that the house needs, looked at before anything starts.
fn places(ports: &Ports, without: &BTreeSet<Part>) -> Vec<Place> {
    let own = [
        Place { part: "the functions", port: ports.functions, option: "--functions-port" },
        Place { part: "the bridge", port: ports.bridge, option: "--bridge-port" },
        Place { part: "the host's metrics", port: ports.metrics, option: "--metrics-port" },
    ];
    own.into_iter().chain(world::places(ports).needed(without)).collect()
}

async fn asked_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("a handler for SIGTERM can be installed");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a handler for SIGINT can be installed");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
