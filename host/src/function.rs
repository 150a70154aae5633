//! One component at run time: how its instances are made, how long they live, and how many requests are let to them.
//!
//! An instance serves one request at a time: a trap or an endless loop takes nobody else's request with it. It stays awake
//! a little after an answer, so that the next request need not wait for a new one.

use crate::Limits;
use crate::engine::{Awake, Ticker};
use crate::guest::{Grants, Guest};
use crate::metrics::{Counted, Metrics};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use wasmtime::component::TaskGroupId;
use wasmtime::{Engine, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};

/// A component that takes requests.
pub struct Function {
    pub id: String,
    pub metrics: Arc<Metrics>,
    pub handler: ProxyHandler<Maker>,
    door: Door,
}

/// Makes the instances of one component.
pub struct Maker {
    pub pre: ProxyPre<Guest>,
    pub engine: Engine,
    pub grants: Arc<Grants>,
    pub ticker: Arc<Ticker>,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
}

/// The right to be one of the invocations in flight. The guest's side and the answer's side share it.
pub type Ticket = Arc<OwnedSemaphorePermit>;

impl Function {
    pub fn new(maker: Maker) -> Self {
        Self {
            id: maker.grants.spec.id.clone(),
            metrics: maker.metrics.clone(),
            door: Door::new(&maker.limits),
            handler: ProxyHandler::new(maker),
        }
    }

    /// Waits for a place among the invocations in flight; `None` when too many wait already or time runs out.
    pub async fn admit(&self, timeout: Duration) -> Option<Ticket> {
        self.door.enter(timeout).await
    }
}

/// Back-pressure before the instances.
struct Door {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Door {
    fn new(limits: &Limits) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.in_flight_max)),
            waiting: AtomicUsize::new(0),
            waiting_max: limits.waiting_max,
        }
    }

    async fn enter(&self, timeout: Duration) -> Option<Ticket> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(Arc::new(place));
        }
        let _waiting = Waiting::begin(&self.waiting, self.waiting_max)?;
        let place = tokio::time::timeout(timeout, self.places.clone().acquire_owned()).await.ok()?;
        Some(Arc::new(place.expect("the semaphore is never closed")))
    }
}

/// One who waits, counted until it is dropped: a client may go away while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::SeqCst) < max).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl HandlerState for Maker {
    type StoreData = Guest;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Guest, Expiration, Worker>> {
        let worker = Worker {
            component: self.grants.spec.id.clone(),
            requests_max: self.limits.requests_per_instance_max,
            _awake: self.ticker.wake(),
            _counted: self.metrics.wake(),
        };
        let mut store = Store::new(&self.engine, Guest::new(self.grants.clone()));
        store.limiter(|guest| &mut guest.bounds);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        let made = tokio::time::timeout(self.limits.request_timeout, self.pre.instantiate_async(&mut store)).await;
        let proxy = made.map_err(|_| wasmtime::format_err!("the component did not start in time"))??;
        Ok(Instance { store, proxy, view: Guest::http, expiration: Expiration::new(&self.limits), state: worker })
    }
}

/// When an instance is taken away.
pub struct Expiration {
    request_timeout: Duration,
    idle_timeout: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Expiration {
    fn new(limits: &Limits) -> Self {
        Self {
            request_timeout: limits.request_timeout,
            idle_timeout: limits.instance_idle_timeout,
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, status: WorkerStatus, since: Instant) -> Poll<()> {
        let may_last = match status {
            WorkerStatus::Idle => self.idle_timeout,
            WorkerStatus::Requests | WorkerStatus::PostReturn => self.request_timeout,
        };
        let deadline = tokio::time::Instant::from_std(since + may_last);
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        self.alarm.as_mut().poll(cx)
    }
}

/// What is kept beside one instance.
pub struct Worker {
    component: String,
    requests_max: usize,
    _awake: Awake,
    _counted: Counted,
}

impl WorkerState for Worker {
    type StoreData = Guest;
    type RequestData = Ticket;

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        match (concurrent, total) {
            (_, total) if total >= self.requests_max => ShouldAccept::Never,
            (0, _) => ShouldAccept::Yes,
            _ => ShouldAccept::No,
        }
    }

    /// `Expiration` ends what takes too long; here only the ticket is held for as long as the guest is at it.
    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Guest>,
        ticket: Ticket,
        _: TaskGroupId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(async move {
            let _held = ticket;
            std::future::pending().await
        })
    }

    fn drop(&self, _: Store<Guest>, result: wasmtime::Result<()>) {
        let Err(error) = result else { return };
        // Unless a thread panics, the handler's "panicked" means only that the runtime ended while the instance was awake.
        let runtime_ended = error.to_string() == "worker panicked" && !std::thread::panicking();
        if !runtime_ended {
            tracing::warn!(component = self.component, why = %error.root_cause(), "an instance was stopped");
        }
    }
}
