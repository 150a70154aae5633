//! A house of three processes (world, host, bridge) on free ports with its data in a folder of its own. It is looked at
//! through its public doors only, and any of the three can be killed and started again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use till::address::{Ports, url};
use till::data::Data;
use till::visitor::Visitor;
use till::{Error, settings};

use crate::outside::{self, Database, Kafka, Log};
use crate::process::Process;
use crate::project;

/// A house is up within it, also on two slow cores with neighbours.
const READY_TIMEOUT: Duration = Duration::from_secs(90);

/// A running house.
#[derive(Debug)]
pub struct House {
    /// What people do from outside.
    pub visitor: Visitor,
    /// Chain, mailbox, merchant, rate feeds.
    pub world: Process,
    /// The six functions.
    pub host: Process,
    /// The bridge.
    pub bridge: Process,
    /// Keys and tokens.
    pub data: Data,
    /// Where all of it lies; kept when a test fails.
    pub folder: PathBuf,
    kafka: Option<Kafka>,
    /// Function and URL; empty on SQLite.
    databases: Vec<(String, String)>,
}

impl House {
    /// Starts a house, or says what this machine lacks for it.
    pub async fn start(database: Database, log: Log) -> Result<House, String> {
        let run = till::random::run_name();
        let folder = project::root().join("target/test/houses").join(&run);
        let data = Data::open(&folder).expect("a data folder can be made");
        let urls = match database {
            Database::Sqlite => Vec::new(),
            Database::Postgres => {
                outside::databases(&outside::postgres()?, &run).await.expect("PostgreSQL makes databases")
            }
        };
        let kafka = match log {
            Log::Embedded => None,
            Log::Kafka => Some(Kafka::start(&folder.join("kafka"))?),
        };
        let ports = Ports::free();
        if let Some(kafka) = &kafka {
            outside::topics(&data, &kafka.address()).await.expect("the broker makes topics");
        }
        let mut house = House {
            visitor: Visitor::new(&ports, data.key()),
            world: world(&folder, &ports),
            host: host(&data, &ports, &urls).expect("the data folder has every token"),
            bridge: bridge(&data, &ports, kafka.as_ref()),
            data,
            folder,
            kafka,
            databases: urls,
        };
        house.up().await.unwrap_or_else(|error| panic!("a house comes up: {error}"));
        Ok(house)
    }

    /// Starts what does not run, and waits until all of it is ready.
    pub async fn up(&mut self) -> Result<(), Error> {
        self.world.start()?;
        self.host.start()?;
        self.bridge.start()?;
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match self.visitor.ready(Duration::from_secs(1)).await {
                Ok(()) => return Ok(()),
                Err(_) if Instant::now() < deadline && !self.has_ended() => {}
                Err(error) => return Err(Error::Story(format!("{error}\n{}", self.said()))),
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        self.world.ended() || self.host.ended() || self.bridge.ended()
    }

    /// Moves the clocks of host and bridge forward, from where they are.
    pub fn move_clock(&self, ahead: Duration) {
        let file = clock(&self.data);
        let now: u128 = std::fs::read_to_string(&file).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        std::fs::write(file.with_extension("part"), (now + ahead.as_millis()).to_string())
            .expect("the clock's file can be written");
        std::fs::rename(file.with_extension("part"), file).expect("the clock's file can be moved");
    }

    /// Where its log can be opened when the bridge does not run.
    pub fn log(&self) -> Result<PathBuf, String> {
        match &self.kafka {
            None => Ok(self.data.path("log.db")),
            Some(kafka) => Err(kafka.address()),
        }
    }

    /// Empties the database of a function that does not run.
    pub async fn forget(&self, function: &str) {
        match self.databases.iter().find(|(name, _)| name == function) {
            Some((_, url)) => outside::empty(url).await.expect("a database can be emptied"),
            None => {
                let file = self.data.path(&format!("data/{function}.db"));
                for end in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(format!("{}{end}", file.display()));
                }
                assert!(!file.exists(), "{} cannot be removed", file.display());
            }
        }
    }

    /// The last lines of every process, for a failed test's message.
    pub fn said(&self) -> String {
        let Self { world, host, bridge, folder, .. } = self;
        format!(
            "--- world\n{}\n--- host\n{}\n--- bridge\n{}\n--- all of it: {}",
            world.said(),
            host.said(),
            bridge.said(),
            folder.display()
        )
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.bridge.kill();
        self.host.kill();
        self.world.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        } else {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

fn clock(data: &Data) -> PathBuf {
    data.path("clock")
}

fn shared_environment(data: &Data) -> BTreeMap<String, String> {
    let log = std::env::var("TILL_TEST_LOG").unwrap_or_else(|_| "info".to_owned());
    BTreeMap::from([("TILL_CLOCK".to_owned(), clock(data).display().to_string()), ("RUST_LOG".to_owned(), log)])
}

fn world(folder: &Path, ports: &Ports) -> Process {
    let port = |name: &str, port: u16| [format!("--{name}-port"), port.to_string()];
    let ports = [
        port("chain", ports.chain),
        port("mailbox", ports.mailbox),
        port("merchant", ports.merchant),
        port("feeds", ports.feeds),
    ];
    let data = folder.display().to_string();
    let arguments: Vec<&str> =
        ["world", "--data", &data].into_iter().chain(ports.iter().flatten().map(String::as_str)).collect();
    Process::new("till", &arguments, BTreeMap::new(), folder.join("world.out"))
}

fn host(data: &Data, ports: &Ports, databases: &[(String, String)]) -> Result<Process, Error> {
    let of = |function: &str| databases.iter().find(|(name, _)| name == function).map(|(_, url)| url.clone());
    let mut environment = shared_environment(data);
    for (name, value) in settings::variables(data, ports, &of)? {
        environment.insert(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
    }
    if let Ok(address) = outside::postgres() {
        environment.insert("SPIN_VARIABLE_POSTGRES_ADDRESS".to_owned(), address);
    }
    let runtime = data.runtime_config(&project::root())?.display().to_string();
    let listen = format!("127.0.0.1:{}", ports.functions);
    let metrics = format!("127.0.0.1:{}", ports.metrics);
    // Compiled code is kept for all houses together.
    let state = project::root().join("target/test/host").display().to_string();
    let arguments = [
        "--listen",
        &listen,
        "--metrics-listen",
        &metrics,
        "--runtime-config",
        &runtime,
        "--state-dir",
        &state,
        "--manifest",
        "spin.toml",
    ];
    Ok(Process::new("till-host", &arguments, environment, data.path("host.out")))
}

fn bridge(data: &Data, ports: &Ports, kafka: Option<&Kafka>) -> Process {
    let mut environment = shared_environment(data);
    let address = kafka.map(Kafka::address);
    environment.extend(settings::environment(&data.path("tokens"), address.as_deref(), 1));
    let log = format!("embedded:{}", data.path("log.db").display());
    let listen = format!("127.0.0.1:{}", ports.bridge);
    let resolve = format!("{}/{{name}}", url(ports.functions));
    let tokens = data.path("tokens/push").display().to_string();
    let log = if kafka.is_some() { "kafka" } else { &log };
    let sources = "knative/till/sources.yaml";
    let arguments = [
        "--log",
        log,
        "--listen",
        &listen,
        "--resolve",
        &resolve,
        "--ingress-tokens",
        &tokens,
        "--replica",
        "till-0",
        "--sources",
        sources,
    ];
    Process::new("till-bridge", &arguments, environment, data.path("bridge.out"))
}
