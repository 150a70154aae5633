//! The outside parts that a house can stand on: PostgreSQL from `make test`, and an Apache Kafka of the house's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use till::address::{Ports, free};
use till::cli::Where;
use till::data::Data;
use till::{Error, sources};

use crate::project;

/// What the scripts in tools/ end with when this machine lacks what they start.
const LACKING: i32 = 3;

/// What the functions write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// One file for each function.
    Sqlite,
    /// One database for each function, in the server that `make test` started.
    Postgres,
}

/// What the bridge reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// One SQLite file.
    Embedded,
    /// A broker of the house's own: topics are named after functions, so two houses cannot share one.
    Kafka,
}

/// Host and port of the PostgreSQL server, or what this machine lacks.
pub fn postgres() -> Result<String, String> {
    std::env::var("TILL_TEST_POSTGRES").map_err(|_| {
        "no PostgreSQL: run it by `make test`, which starts one (Debian: apt-get install postgresql)".to_owned()
    })
}

/// Makes a database for each function, and answers the URL of one by its function's name.
pub async fn databases(address: &str, run: &str) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
    let (client, connection) =
        tokio_postgres::connect(&format!("postgres://till@{address}/postgres"), tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let mut urls = Vec::new();
    for function in till::data::FUNCTIONS {
        client.batch_execute(&format!("CREATE DATABASE \"{run}_{function}\"")).await?;
        urls.push((function.to_owned(), format!("postgres://till@{address}/{run}_{function}")));
    }
    drop(client);
    connection.await.ok();
    Ok(urls)
}

/// Forgets everything in a database.
pub async fn empty(url: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await?;
    drop(client);
    connection.await.ok();
    Ok(())
}

/// A broker that is wiped when this is dropped, and when this process ends in any other way.
#[derive(Debug)]
pub struct Kafka {
    port: u16,
    folder: PathBuf,
    /// Lines for server.properties.
    properties: String,
}

impl Kafka {
    /// Starts a broker, or says what this machine lacks.
    pub fn start(folder: &Path) -> Result<Self, String> {
        Kafka { port: free(1), folder: folder.to_owned(), properties: String::new() }.started()
    }

    /// The same with a second listener, whose clients are told that the broker is at `address`: they come by a relay.
    pub fn start_known_as(folder: &Path, address: &str) -> Result<Self, String> {
        let mut kafka = Kafka { port: free(1), folder: folder.to_owned(), properties: String::new() };
        let (port, second) = (kafka.port, kafka.second_port());
        kafka.properties = format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},RELAYED://127.0.0.1:{second},CONTROLLER://127.0.0.1:{}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},RELAYED://{address}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,RELAYED:PLAINTEXT",
            port + 1
        );
        kafka.started()
    }

    /// Where the second listener is.
    pub fn second_port(&self) -> u16 {
        self.port + 5
    }

    fn started(self) -> Result<Self, String> {
        let kafka = self;
        let started = kafka.command("start").env("KAFKA_OWNER", std::process::id().to_string()).output();
        let started = started.expect("tools/kafka.sh can be run");
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        match started.status.code() {
            Some(0) => Ok(kafka),
            Some(LACKING) => Err(said),
            _ => panic!("tools/kafka.sh start: {said}"),
        }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(project::root().join("tools/kafka.sh"));
        command.args([what, &self.port.to_string()]).env("KAFKA_DATA_DIR", &self.folder).stdin(Stdio::null());
        command.env("KAFKA_PROPERTIES", &self.properties);
        command
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.command("wipe").output().ok();
    }
}

/// Makes the topics of the project on a broker, as `till topics apply` does.
pub async fn topics(data: &Data, brokers: &str) -> Result<(), Error> {
    let place = Where { data: data.folder().to_owned(), project: project::root(), ports: Ports::default() };
    let config = sources::config(&place, data, Some(brokers), 1)?;
    sources::apply(&config).await.map(drop)
}
