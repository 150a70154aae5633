//! A PostgreSQL server of one's own, by tools/postgres.sh: it ends with what holds it, and its data are gone then.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::programs::root;

/// What tools/postgres.sh ends with when this machine has no PostgreSQL.
const LACKING: i32 = 3;

/// A server that runs.
pub struct Postgres {
    pub port: u16,
    folder: PathBuf,
}

/// Why there is no server.
#[derive(Debug)]
pub enum NotStarted {
    /// This machine lacks it; the text says what to install.
    Lacking(&'static str),
    Failed(String),
}

impl Postgres {
    /// Starts a server on a free port. `name` tells its folder of data from others'.
    pub fn start(port: u16, name: &str) -> Result<Self, NotStarted> {
        // Where the server's own user may go, whoever owns this checkout.
        let postgres = Postgres { port, folder: std::env::temp_dir().join(format!("till-postgres-{name}")) };
        let started = postgres.command("start").arg(port.to_string()).output();
        let started = started.map_err(|error| NotStarted::Failed(format!("tools/postgres.sh: {error}")))?;
        match started.status.code() {
            Some(0) => Ok(postgres),
            Some(LACKING) => Err(NotStarted::Lacking("PostgreSQL (Debian: apt-get install postgresql)")),
            _ => Err(NotStarted::Failed(String::from_utf8_lossy(&started.stderr).into_owned())),
        }
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(root().join("tools/postgres.sh"));
        command.arg(what).arg(&self.folder).stdin(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.command("stop").output().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
