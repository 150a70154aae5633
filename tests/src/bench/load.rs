//! A plain sink and a plain load generator on hyper: what host and bridge are measured against. The sink is a process of
//! its own, so that its processor time is not ours.

use std::convert::Infallible;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// A running sink.
#[derive(Debug)]
pub struct Sink {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Sink {
    /// Starts this program again as a sink. `how` is `quick` (204 at once) or `silent` (never answers).
    pub fn start(how: &str) -> Self {
        let port = till::address::Ports::free().expect("there are free ports").merchant;
        let program = std::env::current_exe().expect("a process knows its program");
        let child = Command::new(program)
            .args(["sink", how, &port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("the sink starts");
        Sink { child, port }
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a sink counts; told at `GET /count`.
#[derive(Default)]
struct Count {
    events: AtomicU64,
    /// Microseconds from each event's time to its arrival, the newest 16,384.
    ages: std::sync::Mutex<Vec<u64>>,
}

/// The life of a sink process.
pub async fn serve(how: &str, port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the sink's port is free");
    let (count, silent) = (Arc::new(Count::default()), how == "silent");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).ok();
        let count = count.clone();
        let service = service_fn(move |request| answer(count.clone(), silent, request));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    count: Arc<Count>,
    silent: bool,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/count" {
        let mut ages = std::mem::take(&mut *count.ages.lock().expect("no holder panics"));
        ages.sort_unstable();
        let at = |share: f64| ages.get((ages.len() as f64 * share) as usize).copied().unwrap_or(0);
        let text = format!("{} {} {}", count.events.load(Ordering::Relaxed), at(0.5), at(0.99));
        return Ok(Response::new(Full::new(Bytes::from(text))));
    }
    let age = age_us(request.headers());
    request.into_body().collect().await.ok();
    if silent {
        std::future::pending::<()>().await;
    }
    count.events.fetch_add(1, Ordering::Relaxed);
    count.ages.lock().expect("no holder panics").extend(age);
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The bench's records say in `sentus` when they were written.
fn age_us(headers: &HeaderMap) -> Option<u64> {
    let sent: u64 = headers.get("ce-sentus")?.to_str().ok()?.parse().ok()?;
    Some(now_us().saturating_sub(sent))
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970").as_micros() as u64
}

/// What a sink counted: events, and the median and 99th percentile of their ages in microseconds since the last look.
pub async fn counted(port: u16) -> (u64, u64, u64) {
    let client = till::client::Client::default();
    let answer = client.get(&format!("http://127.0.0.1:{port}/count")).await;
    let text = answer.map(|answer| answer.text()).unwrap_or_default();
    let mut numbers = text.split(' ').filter_map(|number| number.parse().ok());
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// Posts `total` requests over `connections` keep-alive connections, and answers how long it took.
pub async fn generate(port: u16, path: &'static str, total: u64, connections: u64) -> Duration {
    let started = Instant::now();
    let body = Bytes::from(vec![b'x'; 200]);
    let tasks: Vec<_> =
        (0..connections).map(|_| tokio::spawn(post(port, path, total / connections, body.clone()))).collect();
    for task in tasks {
        task.await.expect("a connection does its share");
    }
    started.elapsed()
}

async fn post(port: u16, path: &'static str, times: u64, body: Bytes) {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the sink listens");
    stream.set_nodelay(true).ok();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("the sink speaks HTTP");
    tokio::spawn(connection);
    for _ in 0..times {
        sender.ready().await.expect("the connection stays open");
        let request = Request::post(path)
            .header("host", "sink")
            .header("content-type", "text/plain")
            .body(Full::new(body.clone()));
        let answer = sender.send_request(request.expect("a well-formed request")).await.expect("the sink answers");
        answer.into_body().collect().await.expect("the sink's answer is whole");
    }
}

/// Waits until somebody answers at a port, and says after how long.
pub async fn first_answer(port: u16, path: &str) -> Duration {
    let started = Instant::now();
    loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await
            && let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await
        {
            tokio::spawn(connection);
            let request =
                Request::get(path).header("host", "host").body(Empty::<Bytes>::new()).expect("a well-formed request");
            if sender.send_request(request).await.is_ok() {
                return started.elapsed();
            }
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
        assert!(started.elapsed() < Duration::from_secs(30), "nobody answers at port {port}");
    }
}
