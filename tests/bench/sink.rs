//! The limit that everything is compared with: a plain hyper server that answers at once, and a plain client that posts to it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Answers every POST with 204, or with an event where the path is `/reply`, and `GET /count` with how many there were. One
/// thread, as a function's process would be.
pub async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let posts = Arc::new(AtomicU64::new(0));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let posts = posts.clone();
        tokio::task::spawn(async move {
            let service = service_fn(|request| answer(request, &posts));
            // A client that goes away ends its connection, and that is all.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    posts: &AtomicU64,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET {
        return Ok(Response::new(Full::from(posts.load(Ordering::Relaxed).to_string())));
    }
    let replies = request.uri().path() == "/reply";
    let is_wake = request.headers().get("ce-type").is_some_and(|kind| kind == "dev.till.wake");
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    // A bridge wakes its sinks at the start, which is no record.
    let number = if is_wake { 0 } else { posts.fetch_add(1, Ordering::Relaxed) };
    Ok(if replies && !is_wake { reply(number) } else { no_content() })
}

fn no_content() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// An event of 200 bytes in binary mode.
fn reply(number: u64) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .header("ce-specversion", "1.0")
        .header("ce-id", number)
        .header("ce-source", "/bench")
        .header("ce-type", "bench.record.answered")
        .header("content-type", "application/json");
    response.body(Full::from(Bytes::from_static(&[b'x'; 200]))).expect("the parts are constant and valid")
}

/// How many requests a plain client gets answered, over `connections` keep-alive connections for `lasting`.
pub async fn load(
    target: &str,
    connections: usize,
    lasting: Duration,
    request: fn(&str) -> Request<Full<Bytes>>,
) -> Result<Load> {
    let until = Instant::now() + lasting;
    let begun = Instant::now();
    let clients: Vec<_> = (0..connections).map(|_| tokio::spawn(client(target.to_owned(), until, request))).collect();
    let mut requests = 0;
    for client in clients {
        requests += client.await??;
    }
    Ok(Load { requests, took: begun.elapsed() })
}

/// What a load came to.
pub struct Load {
    pub requests: u64,
    pub took: Duration,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }
}

async fn client(target: String, until: Instant, request: fn(&str) -> Request<Full<Bytes>>) -> Result<u64> {
    let mut sender = connect(&target).await?;
    let mut count = 0;
    while Instant::now() < until {
        let response = sender.send_request(request(&target)).await?;
        ensure!(response.status().is_success(), "the sink answered {}", response.status());
        response.into_body().collect().await?;
        count += 1;
    }
    Ok(count)
}

async fn connect(target: &str) -> Result<http1::SendRequest<Full<Bytes>>> {
    let authority = target.split('/').nth(2).context("a target is http://host:port/path")?;
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The body of a GET, or nothing when nobody answers.
pub async fn get(url: &str) -> Option<String> {
    let mut sender = connect(url).await.ok()?;
    let path = format!("/{}", url.splitn(4, '/').nth(3).unwrap_or_default());
    let request = Request::get(path).header("host", "127.0.0.1").body(Full::default()).ok()?;
    let response = sender.send_request(request).await.ok()?;
    let ok = response.status().is_success();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    ok.then(|| String::from_utf8_lossy(&body).into_owned())
}

/// A request such as the bridge makes of a record: 200 bytes and a dozen headers.
pub fn event_request(target: &str) -> Request<Full<Bytes>> {
    let path = format!("/{}", target.splitn(4, '/').nth(3).unwrap_or_default());
    let mut request = Request::post(path).header("host", "127.0.0.1").header("content-type", "application/json");
    for name in [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "sequence",
        "correlationid",
        "partitionkey",
        "knativekafkapartition",
        "knativekafkaoffset",
    ] {
        request = request.header(format!("ce-{name}"), "0190b3f0-7d3c-7000-8000-000000000000");
    }
    request.body(Full::from(Bytes::from_static(&[b'x'; 200]))).expect("the parts are constant and valid")
}
