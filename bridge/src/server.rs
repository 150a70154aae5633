//! The bridge's one address: ingress, health, metrics and the state of its sources. A request comes in, a response goes out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::api::Api;
use crate::health::Health;
use crate::ingress::Ingress;

const CONNECTIONS_MAX: usize = 1_024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a request may reach.
pub struct Server {
    pub ingress: Ingress,
    pub health: Rc<Health>,
    pub api: Api,
}

/// Accepts until `stop` says so; requests under way may end, for a moment.
pub async fn run(server: Rc<Server>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let (room, handed_on) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), stop.clone());
    loop {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            (accepted, place) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let (server, stop) = (Rc::clone(&server), handed_on.clone());
                    tokio::task::spawn_local(async move {
                        connection(server, stream, peer, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            () = halted(&mut stop) => break,
        }
    }
    drop(listener);
    // Every place is free when every connection has ended.
    if tokio::time::timeout(CLOSE_TIMEOUT, room.acquire_many(CONNECTIONS_MAX as u32)).await.is_err() {
        tracing::warn!("requests under way are cut off");
    }
}

async fn halted(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(server: Rc<Server>, stream: TcpStream, peer: SocketAddr, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let server = Rc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request, peer).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = halted(&mut stop) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

impl Server {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        match (request.method(), path) {
            (_, "/") => self.ingress.answer(request).await,
            (_, path) if path.starts_with("/topics/") => self.ingress.answer(request).await,
            (&Method::GET, "/health/live") => text(StatusCode::OK, "live\n".into()),
            (&Method::GET, "/health/ready") => self.ready().await,
            (&Method::GET, "/metrics") => text(StatusCode::OK, self.health.metrics().await),
            (_, path) if Api::has(path) => self.api.answer(request, peer.ip().is_loopback()).await,
            (_, "/health/live" | "/health/ready" | "/metrics") => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is understood\n".into());
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
                response
            }
            _ => text(StatusCode::NOT_FOUND, "there is nothing here\n".into()),
        }
    }

    async fn ready(&self) -> Response<Full<Bytes>> {
        let complaints = self.health.complaints().await;
        match complaints.is_empty() {
            true => text(StatusCode::OK, "ready\n".into()),
            false => text(StatusCode::SERVICE_UNAVAILABLE, complaints.join("\n") + "\n"),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
