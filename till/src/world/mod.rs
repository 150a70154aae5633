//! Stand-ins of the outside world for a laptop and for tests: a mailbox, a merchant's endpoint, two rate feeds, and a
//! development chain. What they heard lies in files, so that a killed world comes back with its memory.

mod chain;
mod copy;
mod feeds;
mod journal;
mod mailbox;
mod merchant;
mod serve;

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::task::JoinSet;

use crate::Error;
use crate::address::Ports;
use crate::data::Data;
use crate::ports::Place;

/// What can be left out of a world, because somebody else brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    /// anvil
    Chain,
    /// The mail provider
    Mailbox,
    /// The merchant's endpoint
    Merchant,
    /// Both rate feeds
    Feeds,
}

/// A world that runs; dropping it leaves its listeners to the runtime's end.
#[derive(Debug)]
pub struct World {
    servers: JoinSet<()>,
    chain: Option<chain::Chain>,
}

impl World {
    /// Starts every part but those left out.
    pub async fn start(
        data: &Data,
        ports: &Ports,
        without: &BTreeSet<Part>,
        anvil: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let mut world = World { servers: JoinSet::new(), chain: None };
        let with = |part| !without.contains(&part);
        if with(Part::Mailbox) {
            world.serve(places(ports).mailbox, mailbox::Mailbox::open(&data.path("mailbox.jsonl"))?).await?;
        }
        if with(Part::Merchant) {
            world.serve(places(ports).merchant, merchant::Merchant::open(&data.path("merchant.jsonl"))?).await?;
        }
        if with(Part::Feeds) {
            world.serve(places(ports).feeds, feeds::Feeds::default()).await?;
        }
        if with(Part::Chain) {
            world.chain = Some(chain::Chain::start(data, places(ports).chain, anvil).await?);
        }
        Ok(world)
    }

    async fn serve(&mut self, place: Place, door: impl serve::Door) -> Result<(), Error> {
        self.servers.spawn(serve::serve(place.bind().await?, door));
        Ok(())
    }

    /// Stops everything; the chain writes its state down first.
    pub async fn stop(mut self) {
        if let Some(chain) = self.chain.take() {
            chain.stop().await;
        }
        self.servers.shutdown().await;
    }
}

/// The world's places, for looking whether they are free.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    mailbox: Place,
    merchant: Place,
    feeds: Place,
    chain: Place,
}

impl Places {
    /// Those of the parts that are not left out.
    pub fn needed(&self, without: &BTreeSet<Part>) -> Vec<Place> {
        let all = [
            (Part::Mailbox, self.mailbox),
            (Part::Merchant, self.merchant),
            (Part::Feeds, self.feeds),
            (Part::Chain, self.chain),
        ];
        all.into_iter().filter(|(part, _)| !without.contains(part)).map(|(_, place)| place).collect()
    }
}

/// Waits a moment for the chain of a world that has just ended: it still writes its state down.
pub async fn let_go(data: &Data, ports: &Ports) {
    chain::let_go(data, places(ports).chain).await;
}

/// Where the parts of a world listen.
pub fn places(ports: &Ports) -> Places {
    Places {
        mailbox: Place { part: "the mailbox", port: ports.mailbox, option: "--mailbox-port" },
        merchant: Place { part: "the merchant's endpoint", port: ports.merchant, option: "--merchant-port" },
        feeds: Place { part: "the rate feeds", port: ports.feeds, option: "--feeds-port" },
        chain: Place { part: "the chain", port: ports.chain, option: "--chain-port" },
    }
}
