//! Knative's activator and autoscaler for one function: a request is held until the function's process listens, and the process is
//! stopped when nobody has called it for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chart_tests::gateway::Behind;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};

use crate::process;

/// A process that does not listen by then never will.
const READY: Duration = Duration::from_secs(20);
/// How often the port is tried, as queue-proxy does for a pod that starts.
const PROBE: Duration = Duration::from_millis(1);
const STOP: Duration = Duration::from_secs(10);

/// One life of the function's process.
#[derive(Debug, Clone)]
pub struct Wake {
    /// From the request's arrival to its answer.
    pub held: Duration,
    /// The part of it from the process's start until it listened.
    pub started: Duration,
    /// When the answer was there.
    pub answered: Instant,
    /// CPU time of the whole life but its last moment.
    pub cpu: Duration,
    /// Its resident memory at the end.
    pub resident_kib: u64,
}

/// Starts and stops one process.
pub struct Activator {
    command: Mutex<Command>,
    address: SocketAddr,
    window: Duration,
    life: Arc<Mutex<Option<Life>>>,
    over: mpsc::Sender<Result<Wake>>,
}

struct Life {
    child: Child,
    requested: Instant,
    started: Duration,
    requests: u32,
    /// The answer of the first request, and of the latest one.
    first: Option<Instant>,
    latest: Option<Instant>,
}

impl Activator {
    /// The command must serve on `port`. Each finished life comes out of the channel.
    pub fn new(command: Command, port: u16, window: Duration) -> (Self, mpsc::Receiver<Result<Wake>>) {
        let (over, lives) = mpsc::channel(16);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        (Activator { command: Mutex::new(command), address, window, life: Arc::default(), over }, lives)
    }

    /// Stops the process whenever its window has passed without a request; runs until it is dropped.
    pub async fn idle_out(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PROBE).await;
            let mut life = self.life.lock().await;
            if life.as_ref().is_some_and(|life| life.is_idle(self.window))
                && let Some(ended) = life.take()
            {
                // Still locked: whoever calls now waits until the old process has let the port go.
                let wake = ended.end().await;
                if self.over.send(wake).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Ends the measurement; the caller hears it as well.
    fn failed(&self, error: anyhow::Error) -> String {
        let told = format!("{error:#}");
        // Full, it tells of another failure already.
        self.over.try_send(Err(error)).ok();
        told
    }

    async fn start(&self, requested: Instant) -> Result<Life> {
        let begun = Instant::now();
        let mut child = self.command.lock().await.spawn().context("the function's process")?;
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("the function's process ended with {status}");
            }
            anyhow::ensure!(begun.elapsed() < READY, "the function's process does not listen");
            tokio::time::sleep(PROBE).await;
        }
        Ok(Life { child, requested, started: begun.elapsed(), requests: 0, first: None, latest: None })
    }
}

impl Behind for Activator {
    type Held = Held;

    async fn way(&self, _function: &str) -> Result<(SocketAddr, Held), String> {
        let requested = Instant::now();
        let mut life = self.life.lock().await;
        if life.is_none() {
            let started = self.start(requested).await;
            *life = Some(started.map_err(|error| self.failed(error))?);
        }
        life.as_mut().expect("it was started").requests += 1;
        Ok((self.address, Held(self.life.clone())))
    }
}

/// A request that is under way.
pub struct Held(Arc<Mutex<Option<Life>>>);

impl Drop for Held {
    fn drop(&mut self) {
        let (life, answered) = (self.0.clone(), Instant::now());
        tokio::spawn(async move {
            if let Some(life) = life.lock().await.as_mut() {
                life.requests -= 1;
                life.first.get_or_insert(answered);
                life.latest = Some(answered);
            }
        });
    }
}

impl Life {
    fn is_idle(&self, window: Duration) -> bool {
        self.requests == 0 && self.latest.is_some_and(|latest| latest.elapsed() >= window)
    }

    /// SIGTERM, as Kubernetes does it, and what the life cost.
    async fn end(mut self) -> Result<Wake> {
        let answered = self.first.context("a life without an answer")?;
        let id = self.child.id().context("the function's process ended by itself")?;
        let (cpu, resident_kib) = (process::cpu(id)?, process::memory(id)?.resident_kib);
        process::terminate(id).await?;
        let status =
            tokio::time::timeout(STOP, self.child.wait()).await.context("the function's process does not stop")??;
        anyhow::ensure!(status.success(), "the function's process ended with {status}");
        Ok(Wake { held: answered - self.requested, started: self.started, answered, cpu, resident_kib })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use bytes::Bytes;
    use chart_tests::gateway::{self, send};
    use chart_tests::programs::root;
    use chart_tests::skip::skip;
    use http_body_util::Full;
    use hyper::Request;
    use tokio::net::TcpListener;

    use super::*;
    use crate::house::free_port;

    const WINDOW: Duration = Duration::from_millis(100);

    async fn ask(door: SocketAddr, token: &str) -> u16 {
        let request =
            Request::post("/admin/events").header("host", "admin").header("authorization", format!("Bearer {token}"));
        let request = request.header("ce-type", "core.user.registered").body(Full::new(Bytes::new())).unwrap();
        send(door, request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn a_request_is_held_until_the_function_is_awake_and_it_sleeps_after_its_window() {
        let test = "a_request_is_held_until_the_function_is_awake_and_it_sleeps_after_its_window";
        if std::process::Command::new("node").arg("--version").output().is_err() {
            return skip(test, "node (Debian: apt-get install nodejs)");
        }
        let port = free_port().unwrap();
        let mut command = Command::new("node");
        command.arg(root().join("knative/tests/zero/function.mjs")).env("PORT", port.to_string());
        command.env("BRIDGE_TOKEN", "right").stdin(Stdio::null()).kill_on_drop(true);
        let (activator, mut lives) = Activator::new(command, port, WINDOW);
        let activator = Arc::new(activator);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = listener.local_addr().unwrap();
        tokio::spawn(gateway::serve(listener, activator.clone()));
        tokio::spawn(activator.clone().idle_out());
        for _ in 0..2 {
            assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "it is awake and nobody called");
            // Two at once share one life.
            let answers = tokio::join!(ask(door, "right"), ask(door, "wrong"));
            assert_eq!(answers, (204, 401));
            let life = tokio::time::timeout(READY, lives.recv()).await.unwrap().unwrap().unwrap();
            assert!(life.started <= life.held && life.answered.elapsed() >= WINDOW, "{life:?}");
            assert!(life.cpu > Duration::ZERO && life.resident_kib > 0, "{life:?}");
        }
        assert!(lives.try_recv().is_err(), "there were two lives");
    }
}
