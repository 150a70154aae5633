//! The host: loads the application, accepts connections, hands each request to the component of its route, and drains.

use crate::answer::{self, Answer};
use crate::app::{App, Spec};
use crate::clock::Clock;
use crate::engine::{self, Ticker};
use crate::function::{Function, Maker};
use crate::guest::{Grants, Guest};
use crate::invocation::{Invocation, Outcome};
use crate::metrics::{Metrics, Report};
use crate::network::Blocked;
use crate::outbound::Outbound;
use crate::postgres::Pools;
use crate::routes::Routes;
use crate::sqlite::Keeper;
use crate::stream::ClientStream;
use crate::{Config, Error, Limits, artifact, linker};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::handler::{ExpirationError, TrapOrPanicError};
use wasmtime_wasi_http::{WasiBody, handler};

/// A connection on which nothing arrives for so long is closed.
const CONNECTION_IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// A loaded application. Clones share it.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    routes: Routes,
    functions: Vec<Arc<Function>>,
    limits: Limits,
    _keepers: Vec<Keeper>,
}

impl Host {
    /// Reads the files of `config`, loads the code of the components and links them. Nothing is served yet.
    pub fn load(config: Config) -> Result<Self, Error> {
        let app = App::read(&config)?;
        let keepers = keepers(&app)?;
        let engine = engine::native()?;
        let loaded = artifact::load_all(&engine, &app.components, &config);
        let mut loader = Loader {
            linker: linker::linker(&engine).map_err(|error| Error::Engine(format!("{error:#}")))?,
            ticker: Arc::new(Ticker::start(&engine)?),
            blocked: app.blocked,
            config,
        };
        let both = app.components.into_iter().zip(loaded);
        let functions =
            both.map(|(spec, component)| loader.function(spec, &component?)).collect::<Result<_, Error>>()?;
        Ok(Self(Arc::new(Inner { routes: app.routes, functions, limits: loader.config.limits, _keepers: keepers })))
    }

    /// Routes as written in the manifest, each with its component.
    pub fn routes(&self) -> Vec<(String, String)> {
        let named = |component: usize| self.0.functions[component].id.clone();
        self.0.routes.iter().map(|route| (route.text.clone(), named(route.component))).collect()
    }

    /// What was counted so far.
    pub fn report(&self) -> Report {
        Report { components: self.0.functions.iter().map(|one| one.metrics.report(&one.id)).collect() }
    }

    /// Serves the functions until `stop`, then lets what is in flight finish within the drain timeout.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let inner = self.0.clone();
        accept(listener, stop, &self.0.limits, move |request| inner.clone().answer(request)).await
    }

    /// Serves `/metrics` (Prometheus text) and `/health` until `stop`.
    pub async fn serve_metrics(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let host = self.clone();
        let answer = move |request: Request<Incoming>| {
            std::future::ready(match request.uri().path() {
                "/metrics" => answer::text(host.report().to_prometheus()),
                "/health" => answer::text("ok\n".to_owned()),
                _ => answer::nobody(),
            })
        };
        accept(listener, stop, &self.0.limits, answer).await
    }
}

fn keepers(app: &App) -> Result<Vec<Keeper>, Error> {
    let files: BTreeSet<_> = app.components.iter().flat_map(|spec| spec.databases.values().flatten()).collect();
    let told = |file: &Path, why: String| Error::Database { file: file.to_owned(), why };
    files.into_iter().map(|file| Keeper::open(file).map_err(|why| told(file, why))).collect()
}

/// What all components are made with.
struct Loader {
    linker: Linker<Guest>,
    ticker: Arc<Ticker>,
    blocked: Blocked,
    config: Config,
}

impl Loader {
    fn function(&mut self, spec: Spec, component: &Component) -> Result<Arc<Function>, Error> {
        let limits = self.config.limits.clone();
        let pre = linker::link(&self.linker, component, &spec)?;
        let grants = Grants {
            clock: Clock::new(self.config.clock_file.clone()),
            outbound: Outbound::new(spec.hosts.clone(), self.blocked.clone(), &limits),
            postgres: Pools::new(self.blocked.clone(), limits.postgres_connections_max, limits.connect_timeout),
            result_bytes_max: limits.result_bytes_max,
            memory_bytes_max: limits.memory_bytes_max,
            spec,
        };
        Ok(Arc::new(Function::new(Maker {
            pre,
            engine: self.linker.engine().clone(),
            grants: Arc::new(grants),
            ticker: self.ticker.clone(),
            metrics: Arc::new(Metrics::default()),
            limits,
        })))
    }
}

impl Inner {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let Some(route) = self.routes.find(request.uri().path()) else { return answer::nobody() };
        let invocation = Invocation::begin(self.functions[route.component].clone(), &route.text);
        let request = match self.read(request).await {
            Ok(request) => request,
            Err((status, why)) => return answer::of_host(status, Outcome::Unreadable, why, invocation),
        };
        self.invoke(request, invocation).await
    }

    /// The request with its whole body, so that a slow client keeps no instance awake.
    async fn read(&self, request: Request<Incoming>) -> Result<handler::Request, (StatusCode, &'static str)> {
        let (mut head, body) = request.into_parts();
        let body = Limited::new(body, self.limits.request_body_bytes_max).collect();
        let body = match tokio::time::timeout(self.limits.request_read_timeout, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err((StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large"));
            }
            Ok(Err(_)) => return Err((StatusCode::BAD_REQUEST, "the request's body broke off")),
            Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time")),
        };
        head.uri = absolute(&head).ok_or((StatusCode::BAD_REQUEST, "the request's address or Host is not usable"))?;
        Ok(Request::from_parts(head, wasi_body(body)))
    }

    async fn invoke(&self, request: handler::Request, mut invocation: Invocation) -> Answer {
        let (function, started) = (invocation.function().clone(), Instant::now());
        let Some(ticket) = function.admit(self.limits.request_timeout).await else {
            let why = "too many requests wait for this component";
            return answer::of_host(StatusCode::SERVICE_UNAVAILABLE, Outcome::Overloaded, why, invocation);
        };
        invocation.hold(ticket.clone());
        let left = self.limits.request_timeout.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, function.handler.handle(ticket, request)).await {
            Ok(Ok(answer)) => answer::of_component(answer, invocation),
            Ok(Err(error)) => self.refused(&error, started.elapsed(), invocation),
            Err(_) => timed_out(invocation),
        }
    }

    fn refused(&self, error: &wasmtime::Error, took: Duration, invocation: Invocation) -> Answer {
        let stopped = error.is::<TrapOrPanicError>();
        if error.is::<ExpirationError>() || (stopped && took >= self.limits.request_timeout) {
            return timed_out(invocation);
        }
        if stopped {
            return answer::of_host(
                StatusCode::INTERNAL_SERVER_ERROR,
                Outcome::Trapped,
                "the component trapped",
                invocation,
            );
        }
        tracing::warn!(component = invocation.function().id, why = format!("{error:#}"), "no answer");
        answer::of_host(StatusCode::INTERNAL_SERVER_ERROR, Outcome::Failed, "the component gave no answer", invocation)
    }
}

fn timed_out(invocation: Invocation) -> Answer {
    answer::of_host(StatusCode::GATEWAY_TIMEOUT, Outcome::TimedOut, "the component did not answer in time", invocation)
}

/// `/path` with the scheme and the authority that the interface wants to tell the component.
fn absolute(head: &http::request::Parts) -> Option<Uri> {
    let host = head.headers.get(header::HOST).map(|host| host.to_str().ok()).unwrap_or(Some("localhost"))?;
    let authority = head.uri.authority().map_or(host, |authority| authority.as_str());
    let path = head.uri.path_and_query()?.as_str();
    Uri::builder().scheme("http").authority(authority).path_and_query(path).build().ok()
}

fn wasi_body(bytes: Bytes) -> WasiBody {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Accepts connections until `stop`; then each finishes the request that it is at.
async fn accept<A>(
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    limits: &Limits,
    answer: impl Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
) -> Result<(), Error>
where
    A: Future<Output = Answer> + Send + 'static,
{
    let (stopping, stopped) = watch::channel(());
    let (mut connections, mut stop) = (JoinSet::new(), pin!(stop));
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut stop => break,
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let serving = connection(ClientStream::new(stream, limits.request_timeout), answer.clone(), stopped.clone());
                    connections.spawn(async move { let _place = place; serving.await });
                }
                Err(error) => breathe(&error).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop((listener, stopping));
    let drained =
        tokio::time::timeout(limits.drain_timeout, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(connections = connections.len(), "some invocations did not finish in time");
    }
    Ok(())
}

/// Out of file descriptors, most likely: trying again at once would only burn the CPU.
async fn breathe(error: &std::io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn connection<A>(stream: ClientStream, answer: impl Fn(Request<Incoming>) -> A, mut stopped: watch::Receiver<()>)
where
    A: Future<Output = Answer>,
{
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(CONNECTION_IDLE_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
