//! A small HTTP server for the stand-ins: the whole body is read, one answer goes out.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Nothing that a development world hears is larger.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a stand-in hears.
#[derive(Debug)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// The path without its query.
    pub path: String,
    /// The query without its question mark.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// What a stand-in says.
pub type Say = Response<Full<Bytes>>;

/// A stand-in. None of them waits for anything, so that one lock around its state is enough.
pub trait Door: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, ask: Ask) -> Say;
}

impl Ask {
    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A value of the query, undecoded: names and ids here need no escapes.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// A header as text; empty when it is missing or not ASCII.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// JSON with a status.
pub fn json(status: StatusCode, value: &Value) -> Say {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

/// A status alone.
pub fn status(status: StatusCode) -> Say {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, door: impl Door) {
    let door = Arc::new(door);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let door = door.clone();
                let service = service_fn(move |request| answer(door.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async { connection.await.ok() });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer<D: Door>(door: Arc<D>, request: Request<Incoming>) -> Result<Say, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return Ok(status(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    Ok(door.answer(Ask { method: head.method, path, query, headers: head.headers, body: body.to_bytes() }))
}
