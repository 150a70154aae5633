//! Knative's part between a caller and a function, as far as it can be played without a cluster: a request comes in, waits until
//! somebody stands behind the gateway who can answer it, and goes on to them.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// No body of ours is larger.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Who stands behind a gateway.
pub trait Behind: Send + Sync + 'static {
    /// What is held until the answer is there.
    type Held: Send;

    /// Waits until somebody can answer requests of this function, and says where.
    fn way(&self, function: &str) -> impl Future<Output = Result<(SocketAddr, Self::Held), String>> + Send;
}

/// Passes requests on until the task is dropped. The first segment of a path names its function.
pub async fn serve(listener: TcpListener, behind: Arc<impl Behind>) {
    while let Ok((stream, _)) = listener.accept().await {
        let behind = behind.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| pass(&*behind, request));
            // A caller that goes away ends its connection, and that is all.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn pass(behind: &impl Behind, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = passed(behind, request).await;
    Ok(answer.unwrap_or_else(|why| {
        let mut refusal = Response::new(Full::from(why));
        *refusal.status_mut() = StatusCode::BAD_GATEWAY;
        refusal
    }))
}

async fn passed(behind: &impl Behind, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, String> {
    // Taken whole before anybody is waited for: a caller that goes away then wakes nobody.
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| error.to_string())?.to_bytes();
    let function = head.uri.path().split('/').nth(1).unwrap_or_default().to_owned();
    let (address, _held) = behind.way(&function).await?;
    send(address, Request::from_parts(head, Full::new(body))).await.map_err(|error| format!("{function}: {error}"))
}

/// One request on a connection of its own.
pub async fn send(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Response::from_parts(head, Full::new(body.collect().await?.to_bytes())))
}
