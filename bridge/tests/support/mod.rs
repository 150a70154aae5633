//! A bridge on an embedded log, and a sink that says what a test wants and remembers what it was told.

// Each file of tests uses its own part of this.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bridge::log::{Header, Log, NewRecord, Partition, Record};
use bridge::{Config, LogKind, Options};
use bytes::Bytes;
use event::Event;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

pub const DEADLINE: Duration = Duration::from_secs(20);

/// What the sink was told.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Instant,
    pub headers: HeaderMap,
    pub event: Event,
}

impl Call {
    pub fn is_wake(&self) -> bool {
        self.event.kind == "dev.till.wake"
    }

    pub fn data(&self) -> String {
        String::from_utf8_lossy(self.event.data.as_deref().unwrap_or_default()).into_owned()
    }

    pub fn offset(&self) -> i64 {
        self.event.attribute("knativekafkaoffset").and_then(|offset| offset.parse().ok()).unwrap_or(-1)
    }
}

/// An answer: status, headers, body; after a delay.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub after: Duration,
}

pub fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

impl Answer {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    /// A reply of events, as a batch.
    pub fn events(events: &[Event]) -> Self {
        let (headers, body) = event::http::encode_batch(events);
        let kind = headers["content-type"].to_str().unwrap().to_owned();
        Answer { status: 200, body, ..Answer::default() }.header("content-type", &kind)
    }
}

type Script = Arc<dyn Fn(&Call, usize) -> Answer + Send + Sync>;

/// A real HTTP server on a thread of its own.
pub struct Sink {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    _stop: oneshot::Sender<()>,
}

impl Sink {
    /// `script` answers each call, with the number of calls of the same event before it.
    pub fn start(script: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static) -> Sink {
        Sink::start_at("127.0.0.1:0", script)
    }

    pub fn start_at(address: &str, script: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static) -> Sink {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, calls) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (stop, stopped) = oneshot::channel();
        let (script, told): (Script, _) = (Arc::new(script), Arc::clone(&calls));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! { () = serve(listener, script, told) => {}, _ = stopped => {} }
            });
        });
        Sink { address, calls, _stop: stop }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Calls that are no wakes.
    pub fn deliveries(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| !call.is_wake()).collect()
    }

    pub fn wait_for(&self, count: usize) -> Vec<Call> {
        wait(&format!("{count} deliveries"), || Some(self.deliveries()).filter(|calls| calls.len() >= count))
    }
}

async fn serve(listener: TcpListener, script: Script, told: Arc<Mutex<Vec<Call>>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (script, told) = (Arc::clone(&script), Arc::clone(&told));
        tokio::spawn(async move {
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (script, told) = (Arc::clone(&script), Arc::clone(&told));
                async move { Ok::<_, std::convert::Infallible>(respond(request, script, told).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    request: http::Request<hyper::body::Incoming>,
    script: Script,
    told: Arc<Mutex<Vec<Call>>>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let event = event::http::decode(&head.headers, body).unwrap().remove(0);
    let call = Call { at: Instant::now(), headers: head.headers, event };
    let before = {
        let mut told = told.lock().unwrap();
        let same = |other: &&Call| other.event.id == call.event.id && other.event.source == call.event.source;
        let before = told.iter().filter(same).count();
        told.push(call.clone());
        before
    };
    let answer = script(&call, before);
    tokio::time::sleep(answer.after).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(answer.body)).unwrap()
}

/// A folder with a log; bridges come and go on it.
pub struct House {
    pub folder: tempfile::TempDir,
    pub log: Log,
    runtime: tokio::runtime::Runtime,
}

impl House {
    pub fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::embedded(&folder.path().join("log.db")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        House { folder, log, runtime }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn options(&self, drain: Duration) -> Options {
        Options {
            log: LogKind::Embedded(self.path().join("log.db")),
            replica: "test".into(),
            drain,
            ..Options::default()
        }
    }

    /// Starts a bridge with these documents, and the topics `in`, `out` and `dead`.
    pub fn start(&self, documents: &str) -> Bridge {
        self.start_with(documents, &self.options(Duration::from_secs(5)))
    }

    pub fn start_with(&self, documents: &str, options: &Options) -> Bridge {
        let text = format!("{}{documents}", topics(&[("in", 3), ("out", 3), ("dead", 1)]));
        let config = Config::parse(&[(PathBuf::from("test.yaml"), text)], options, &|_| None)
            .unwrap_or_else(|problems| panic!("{problems:#?}"));
        let bridge = Bridge::start(self.log.clone(), config);
        wait("an answer", || bridge.try_get("/health/live"));
        bridge
    }

    pub fn create(&self, topic: bridge::log::NewTopic) {
        self.runtime.block_on(self.log.create_topics(vec![topic])).unwrap();
    }

    pub fn write(&self, records: Vec<NewRecord>) {
        self.runtime.block_on(self.log.append(records)).unwrap();
    }

    /// All records of a topic, partition by partition.
    pub fn read(&self, topic: &str) -> Vec<Record> {
        let topics = self.runtime.block_on(self.log.topics()).unwrap();
        let partitions = 0..*topics.get(topic).unwrap_or(&0);
        let read = |number| {
            let partition = Partition { topic: topic.into(), number };
            self.runtime.block_on(self.log.read(partition, 0, 10_000)).unwrap()
        };
        partitions.flat_map(read).collect()
    }

    pub fn wait_for_records(&self, topic: &str, count: usize) -> Vec<Record> {
        wait(&format!("{count} records in {topic}"), || Some(self.read(topic)).filter(|records| records.len() >= count))
    }

    /// The committed offsets of a group, added up.
    pub fn committed(&self, group: &str) -> i64 {
        let partitions = (0..3).map(|number| Partition { topic: "in".into(), number }).collect();
        let commits = self.runtime.block_on(self.log.committed(group, partitions)).unwrap();
        commits.iter().map(|commit| commit.next).sum()
    }

    pub fn wait_for_commits(&self, group: &str, sum: i64) {
        wait(&format!("{sum} committed"), || (self.committed(group) >= sum).then_some(()));
    }
}

/// A bridge on a thread of its own.
pub struct Bridge {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), bridge::Error>>>,
}

impl Bridge {
    pub fn start(log: Log, config: Config) -> Bridge {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            bridge::run_on(log, config, listener, async {
                let _ = stopped.await;
            })
        });
        Bridge { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Asks it to stop and does not wait.
    pub fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the bridge does not panic").expect("the bridge ends well");
        }
    }

    /// Status and body of a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).unwrap()
    }

    fn try_get(&self, path: &str) -> Option<(u16, String)> {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nhost: bridge\r\nconnection: close\r\n\r\n"))
    }

    pub fn exchange(&self, request: &str) -> Option<(u16, String)> {
        try_exchange(self.address, request)
    }

    /// Status line and headers of the answer to a request as it is.
    pub fn head(&self, request: &str) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split("\r\n\r\n").next().unwrap_or_default().to_owned()
    }

    pub fn wait_until_ready(&self) {
        wait("readiness", || (self.get("/health/ready").0 == 200).then_some(()));
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// Sends a request as it is, and answers status and body.
pub fn try_exchange(address: SocketAddr, request: &str) -> Option<(u16, String)> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Looks until there is something, within the deadline.
pub fn wait<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, look)
}

pub fn wait_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn topics(topics: &[(&str, u32)]) -> String {
    let topic = |(name, partitions): &(&str, u32)| {
        format!(
            "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{ name: {name} }}\nspec: {{ topic: {name}, \
             bootstrapServers: [b:1], numPartitions: {partitions}, replicationFactor: 1 }}\n"
        )
    };
    topics.iter().map(topic).collect()
}

/// A Source `s` from topic `in` to a sink, with more lines in its spec.
pub fn source(sink: SocketAddr, more: &str) -> String {
    format!(
        "---\napiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: s }}\nspec:\n  bootstrapServers: [b:1]\n  topics: [in]\n  \
         consumerGroup: g\n  sink: {{ uri: 'http://{sink}/events' }}\n{more}"
    )
}

pub const DEAD_LETTERS: &str = "deadLetterSink: { ref: { kind: KafkaSink, name: dead } }";

pub fn record(key: &str, value: &str) -> NewRecord {
    NewRecord {
        topic: "in".into(),
        partition: None,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        headers: Vec::new(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        timestamp_ms: None,
    }
}

pub fn header(headers: &[Header], name: &str) -> String {
    let found = headers.iter().find(|(other, _)| other == name).and_then(|(_, value)| value.clone());
    String::from_utf8_lossy(&found.unwrap_or_default()).into_owned()
}

pub fn by_key(calls: &[Call]) -> BTreeMap<String, Vec<String>> {
    let mut lanes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for call in calls {
        lanes.entry(call.event.attribute("partitionkey").unwrap_or_default().into()).or_default().push(call.data());
    }
    lanes
}
