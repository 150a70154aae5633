//! Outbound HTTP of components: only to allowed hosts, not into blocked networks, within time, over a bounded number of
//! kept connections. Redirects are the component's affair, so that each hop is checked.

use crate::guest::Grants;
use crate::hosts::{AllowedHosts, Permission, default_port};
use crate::network::{Blocked, ConnectError};
use crate::{Limits, tls};
use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

const IDLE_PER_HOST_MAX: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP client of one component.
#[derive(Clone)]
pub struct Outbound {
    client: Client<Connector, WasiBody>,
    hosts: Arc<AllowedHosts>,
    timeout: Duration,
}

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl Outbound {
    pub fn new(hosts: Arc<AllowedHosts>, blocked: Blocked, limits: &Limits) -> Self {
        let connector = Connector { hosts: hosts.clone(), blocked, timeout: limits.connect_timeout };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build(connector);
        Self { client, hosts, timeout: limits.outbound_timeout }
    }

    async fn send(self, request: Request<WasiBody>, options: Option<RequestOptions>) -> Result<Sent, Error> {
        let (scheme, host, port) = target(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
        if self.hosts.permission(scheme, host, port) == Permission::Denied {
            return Err(Error::HttpRequestDenied);
        }
        let asked = |pick: fn(&RequestOptions) -> Option<Duration>| {
            options.as_ref().and_then(pick).map_or(self.timeout, |asked| asked.min(self.timeout))
        };
        let first_byte = asked(|options| options.first_byte_timeout);
        let between_bytes = asked(|options| options.between_bytes_timeout);
        let answer = tokio::time::timeout(first_byte, self.client.request(request)).await;
        let answer = answer.map_err(|_| Error::ConnectionReadTimeout)?.map_err(told)?;
        let answer = answer.map(|body| Timed::new(body, between_bytes).boxed_unsync());
        Ok((answer, Box::new(std::future::ready(Ok(())))))
    }
}

/// Scheme, host and port of an absolute address.
fn target(uri: &Uri) -> Option<(&str, &str, u16)> {
    let scheme = uri.scheme_str()?;
    Some((scheme, uri.host()?, uri.port_u16().or_else(|| default_port(scheme))?))
}

/// The interface's own word for what went wrong.
fn told(error: legacy::Error) -> Error {
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<ConnectError>() {
            return told_connect(cause);
        }
        if let Some(cause) = cause.downcast_ref::<hyper::Error>() {
            return told_hyper(cause);
        }
        source = cause.source();
    }
    Error::InternalError(Some(error.to_string()))
}

fn told_connect(error: &ConnectError) -> Error {
    match error {
        ConnectError::Denied => Error::HttpRequestDenied,
        ConnectError::Blocked => Error::DestinationIpProhibited,
        ConnectError::Unknown => Error::DnsError { rcode: None, info_code: None },
        ConnectError::Timeout => Error::ConnectionTimeout,
        ConnectError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            Error::TlsProtocolError
        }
        ConnectError::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            _ => Error::DestinationUnavailable,
        },
    }
}

fn told_hyper(error: &hyper::Error) -> Error {
    match error {
        _ if error.is_incomplete_message() => Error::HttpResponseIncomplete,
        _ if error.is_closed() || error.is_canceled() => Error::ConnectionTerminated,
        _ if error.is_parse() => Error::HttpProtocolError,
        _ => Error::ConnectionTerminated,
    }
}

/// What Wasmtime calls when a component sends a request.
pub struct Hooks(Outbound);

impl Hooks {
    pub fn new(grants: &Grants) -> Self {
        Self(grants.outbound.clone())
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        Box::new(self.0.clone().send(request, options))
    }
}

/// An answer's body that must go on within `timeout` after each piece.
struct Timed {
    body: Incoming,
    timeout: Duration,
    deadline: Pin<Box<tokio::time::Sleep>>,
}

impl Timed {
    fn new(body: Incoming, timeout: Duration) -> Self {
        Self { body, timeout, deadline: Box::pin(tokio::time::sleep(timeout)) }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let next = tokio::time::Instant::now() + self.timeout;
            self.deadline.as_mut().reset(next);
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| told_hyper(&error))));
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// Opens connections for the client, looking at every address before it is used.
#[derive(Clone)]
struct Connector {
    hosts: Arc<AllowedHosts>,
    blocked: Blocked,
    timeout: Duration,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Stream, ConnectError> {
        let (scheme, host, port) = target(&uri).ok_or(ConnectError::Unknown)?;
        let permission = self.hosts.permission(scheme, host, port);
        let stream = self.blocked.connect((host, port), permission, self.timeout).await?;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Stream::Plain(TokioIo::new(stream)));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = rustls::pki_types::ServerName::try_from(host).map_err(|_| ConnectError::Unknown)?;
        let greeting = TlsConnector::from(tls::public()).connect(name, stream);
        let stream = tokio::time::timeout(self.timeout, greeting).await.map_err(|_| ConnectError::Timeout)??;
        Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection with or without TLS.
enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
