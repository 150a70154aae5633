//! What stands around an installation in knative/world.yaml: Kafka, PostgreSQL, chain, mailbox and rate feeds, and a merchant. Each
//! runs on this machine's loopback, and is reached from the containers by a relay on the network's gateway, under the name and
//! port that the cluster has for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use chart_tests::postgres::{NotStarted, Postgres};
use tests::outside::Kafka;
use tests::process::Process;
use till::address::{Ports, free};
use till::data::Data;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The namespace of the world.
pub const DOMAIN: &str = "world.svc.cluster.local";

/// A world that runs.
pub struct World {
    pub data: Data,
    pub ports: Ports,
    kafka: Kafka,
    postgres: Postgres,
    process: Process,
}

impl World {
    /// Starts all of it, or says what this machine lacks.
    pub fn start(folder: &Path) -> Result<Self, String> {
        let data = Data::open(folder).expect("a data folder can be made");
        let ports = Ports::free();
        let kafka = Kafka::start_known_as(&folder.join("kafka"), &format!("kafka.{DOMAIN}:9092"))?;
        let postgres = postgres()?;
        let process = world(folder, &ports);
        let mut world = World { data, ports, kafka, postgres, process };
        world.process.start().expect("the world starts");
        Ok(world)
    }

    /// Names of the world, each at the gateway.
    pub fn names(gateway: IpAddr) -> Vec<(String, IpAddr)> {
        ["kafka", "postgres", "chain", "mailpit", "feeds", "merchant"]
            .map(|name| (format!("{name}.{DOMAIN}"), gateway))
            .into()
    }

    /// Opens the world's doors on the gateway, with the ports that knative/world.yaml has.
    pub async fn open_doors(&self, gateway: IpAddr) -> JoinSet<()> {
        let doors = [
            (9092, self.kafka.second_port()),
            (5432, self.postgres.port),
            (8545, self.ports.chain),
            (8025, self.ports.mailbox),
            (8080, self.ports.feeds),
            (MERCHANT_PORT, self.ports.merchant),
        ];
        let mut relays = JoinSet::new();
        for (port, to) in doors {
            let listener = TcpListener::bind((gateway, port)).await.expect("the gateway is this machine's");
            relays.spawn(relay(listener, to));
        }
        relays
    }

    /// Where PostgreSQL's owner connects.
    pub fn owner_url(&self, database: &str) -> String {
        format!("postgres://till@127.0.0.1:{}/{database}", self.postgres.port)
    }

    /// The last words of chain, mailbox, merchant and feeds.
    pub fn said(&self) -> String {
        self.process.said()
    }
}

/// Not in knative/world.yaml: a cluster's merchants are on the internet.
pub const MERCHANT_PORT: u16 = 3003;

async fn relay(listener: TcpListener, to: u16) {
    while let Ok((mut from, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect(("127.0.0.1", to)).await {
                // Whoever closes first ends it.
                tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
            }
        });
    }
}

fn world(folder: &Path, ports: &Ports) -> Process {
    let data = folder.display().to_string();
    let [chain, mailbox, merchant, feeds] =
        [ports.chain, ports.mailbox, ports.merchant, ports.feeds].map(|port| port.to_string());
    let arguments = [
        ["--data", &data],
        ["--chain-port", &chain],
        ["--mailbox-port", &mailbox],
        ["--merchant-port", &merchant],
        ["--feeds-port", &feeds],
    ];
    let arguments: Vec<&str> = ["world"].into_iter().chain(arguments.into_iter().flatten()).collect();
    Process::new("till", &arguments, BTreeMap::new(), folder.join("world.out"))
}

/// A server of this test's own, since roles are one for a whole server.
fn postgres() -> Result<Postgres, String> {
    Postgres::start(free(0), &till::random::run_name()).map_err(|error| match error {
        NotStarted::Lacking(what) => what.to_owned(),
        NotStarted::Failed(said) => panic!("tools/postgres.sh start: {said}"),
    })
}
