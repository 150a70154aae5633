//! What is known of a world in which somebody waits in vain: who writes, which brokers are there, and what each bridge says.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bridge::log::Error;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::process::Process;
use crate::world::World;

const TIMEOUT: Duration = Duration::from_secs(10);
/// With fewer replicas in sync nothing can be written.
const IN_SYNC_MIN: usize = 2;

/// What became of the writer's calls.
#[derive(Default)]
pub struct Written {
    calls: AtomicU64,
    failed: Mutex<Option<(Instant, Error)>>,
}

impl Written {
    pub fn count(&self, outcome: Result<(), Error>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome {
            *self.failed.lock().unwrap() = Some((Instant::now(), error));
        }
    }

    fn told(&self) -> String {
        let failed = self.failed.lock().unwrap();
        let last = failed.as_ref().map(|(at, error)| format!("; the last to fail, {:.0?} ago: {error}", at.elapsed()));
        format!("{} calls of the writer have ended{}", self.calls.load(Ordering::Relaxed), last.unwrap_or_default())
    }
}

impl World {
    /// Never panics: it is told while somebody does.
    pub fn situation(&self) -> String {
        let bridges = self.bridges.values().map(of_bridge);
        let lag = self.try_lag().map_or_else(|error| error.to_string(), |lag| lag.to_string());
        let mut lines = vec![self.written.told(), format!("lag: {lag}"), self.cluster.status(), self.without_quorum()];
        lines.extend(bridges);
        lines.join("\n")
    }

    /// The partitions that nobody can write to.
    fn without_quorum(&self) -> String {
        let asked = ClientConfig::new().set("bootstrap.servers", self.cluster.direct()).create::<BaseConsumer>();
        let metadata = match asked.and_then(|client| client.fetch_metadata(None, TIMEOUT)) {
            Ok(metadata) => metadata,
            Err(error) => return format!("no broker tells of its partitions: {error}"),
        };
        let mut found = String::from("partitions without a leader or a quorum:");
        for topic in metadata.topics() {
            for partition in topic.partitions().iter().filter(|one| one.leader() < 0 || one.isr().len() < IN_SYNC_MIN) {
                found += &format!(" {}/{} (in sync: {:?})", topic.name(), partition.id(), partition.isr());
            }
        }
        found
    }
}

fn of_bridge(bridge: &Process) -> String {
    let numbers = ["in_flight", "buffered_records", "settled"].map(|name| format!("{name} {}", bridge.number(name)));
    let ready = bridge.get("/health/ready").map(|(status, said)| format!("{status} {}", said.trim()));
    format!("{}: {}, {}", bridge.replica, numbers.join(", "), ready.as_deref().unwrap_or("does not answer"))
}
