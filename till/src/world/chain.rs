//! The development chain: anvil as a child process that mines a block for each transaction and whenever it is told to. Its
//! state is written once a second and at a clean stop.
//!
//! The child hangs on a pipe from us: when it closes, because we stop or because we were killed, a small shell tells
//! anvil to write its state down and go. So no chain is left behind, and none is cut off in the middle of a write.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::address::url;
use crate::client::Client;
use crate::data::Data;
use crate::ports::Place;
use crate::world::copy;
use crate::{Error, chain};

/// Runs "$@" until standard input ends or it goes by itself.
const GUARD: &str = r#"exec 3<&0
"$@" </dev/null 3<&- & chain=$!
(while read -r _; do :; done; kill -TERM $chain) <&3 & guard=$!
wait $chain; status=$?
kill $guard 2>/dev/null
exit $status"#;
/// A chain that was told to go a moment ago may still hold the port.
const PORT_TIMEOUT: Duration = Duration::from_secs(10);
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Blocks whose state anvil keeps, in memory: so deep may a reorganisation be.
const STATES_MAX: &str = "64";

/// A running anvil.
#[derive(Debug)]
pub struct Chain {
    guard: Child,
    /// Copies the state as long as the chain runs.
    copying: tokio::task::JoinHandle<()>,
}

impl Chain {
    /// Starts anvil with the state of before, and waits until it answers.
    pub async fn start(data: &Data, place: Place, anvil: Option<PathBuf>) -> Result<Self, Error> {
        let anvil = anvil.or_else(|| installed(data)).ok_or_else(|| Error::Missing {
            what: "anvil, the development chain,".to_owned(),
            remedy: "tools/anvil.sh (make up does it), or leave it out: --without chain".to_owned(),
        })?;
        let_go(data, place).await;
        place.check().await?;
        copy::restore(data)?;
        let log = std::fs::File::create(data.path("chain.log")).map_err(Error::file(&data.path("chain.log")))?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "chain"])
            .arg(&anvil)
            .args(["--port", &place.port.to_string(), "--quiet"])
            // Without it anvil writes the state of each block to the home folder, and leaves it there when it is killed: gigabytes.
            .args(["--prune-history", STATES_MAX])
            .args(["--state-interval", "1", "--state"])
            .arg(data.path(copy::STATE))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(Error::file(&data.path("chain.log")))?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(Error::file(&anvil))?;
        let mut chain = Chain { guard, copying: tokio::spawn(copy::keep(data.clone())) };
        chain.until_up(place, data).await?;
        Ok(chain)
    }

    async fn until_up(&mut self, place: Place, data: &Data) -> Result<(), Error> {
        let node = chain::Node::new(Client::default(), url(place.port));
        let deadline = Instant::now() + START_TIMEOUT;
        while node.height().await.is_err() {
            let gone = self.guard.try_wait().ok().flatten();
            if gone.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(data.path("chain.log")).unwrap_or_default();
                return Err(Error::Part {
                    part: "the chain",
                    reason: format!("anvil does not answer: {}", said.trim()),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Lets anvil write its state and go.
    pub async fn stop(mut self) {
        drop(self.guard.stdin.take());
        if tokio::time::timeout(STOP_TIMEOUT, self.guard.wait()).await.is_err() {
            self.guard.start_kill().ok();
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.copying.abort();
    }
}

/// Where tools/anvil.sh puts it: beside the data, or in the default folder.
fn installed(data: &Data) -> Option<PathBuf> {
    let packages =
        [data.path("tools"), PathBuf::from(".till/tools")].map(|tools| tools.join("node_modules/@foundry-rs"));
    let mut folders = packages.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    folders.find_map(|package| Some(package.path().join("bin/anvil")).filter(|program| program.is_file()))
}

/// Only where there was a chain before, one may be about to go.
pub async fn let_go(data: &Data, place: Place) {
    let deadline = Instant::now() + PORT_TIMEOUT;
    while data.path(copy::STATE).exists() && place.check().await.is_err() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::free;
    use std::path::Path;

    /// Loud where there is no anvil: the chain's own tests need it.
    fn anvil() -> Option<PathBuf> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.till/tools/node_modules/@foundry-rs");
        let packages = std::fs::read_dir(tools).into_iter().flatten().flatten();
        let found = packages.map(|package| package.path().join("bin/anvil")).next();
        if found.is_none() {
            eprintln!("skipped: no anvil; run tools/anvil.sh");
            assert!(std::env::var_os("CI").is_none(), "anvil must be there in CI");
        }
        found
    }

    #[tokio::test]
    async fn the_chain_keeps_its_blocks_over_a_clean_stop() {
        let Some(anvil) = anvil() else { return };
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let place = Place { part: "the chain", port: free(0), option: "--chain-port" };
        let node = chain::Node::new(Client::default(), url(place.port));
        let chain = Chain::start(&data, place, Some(anvil.clone())).await.unwrap();
        node.mine(7).await.unwrap();
        chain.stop().await;
        let chain = Chain::start(&data, place, Some(anvil)).await.unwrap();
        assert_eq!(node.height().await.unwrap(), 7);
        chain.stop().await;
    }
}
