//! The hop of one source: what its feed, its sink and its log tell goes into the dispatch machine, and what the machine says is
//! done. One task owns all of it, so that there are no locks.

mod deliver;
mod leave;
mod names;
mod refused;
mod settle;
mod state;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

use crate::answer::Outcome;
use crate::clock::Clock;
use crate::config::Source;
use crate::dead_letter::Reason;
use crate::dispatch::{Action, DeliveryId, Input, METADATA_BYTES_MAX, Machine, Policy};
use crate::http::Sender;
use crate::log::{Alarm, Control, Feed, Group, Happening, Log, Record};
use crate::metrics::{Metrics, add};
use crate::wakes::Wakes;
use crate::{nest, request};

use leave::{Leaving, Stopping};
use names::Partitions;
use settle::Settling;
pub use state::{PartitionState, State};

const HANDFUL: usize = 32;

/// What a hop needs from the rest of the bridge.
#[derive(Clone)]
pub struct Surroundings {
    pub log: Log,
    pub clock: Clock,
    pub wakes: Wakes,
    pub replica: String,
    pub drain: Duration,
}

/// Asks a running hop for its state.
pub type Question = oneshot::Sender<State>;

/// What a hop is, while its member of the group comes and goes.
pub struct Hop {
    pub source: Rc<Source>,
    pub dead_letter_topic: Option<String>,
    pub sender: Rc<Sender>,
    pub metrics: Rc<Metrics>,
    pub around: Surroundings,
}

/// How a member's time ended.
enum Ended {
    /// Everything was given back.
    Stopped,
    /// The feed died: join again.
    Lost(String),
}

impl Hop {
    /// Runs until `stop` says so and everything is drained. A member that dies is replaced.
    pub async fn run(self, mut questions: mpsc::UnboundedReceiver<Question>, mut stop: watch::Receiver<bool>) {
        let name = self.source.name.clone();
        loop {
            let ended = match self.around.log.join(self.group()) {
                Ok((feed, control)) => Running::new(&self, feed, control).run(&mut questions, &mut stop).await,
                Err(error) => Ended::Lost(error.to_string()),
            };
            match ended {
                Ended::Stopped => return,
                Ended::Lost(_) if *stop.borrow() => return,
                Ended::Lost(reason) => {
                    tracing::error!(source = name, reason, "the source lost its log and joins again")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn group(&self) -> Group {
        let topics: Vec<&str> = self.source.topics.iter().map(String::as_str).collect();
        let source = &self.source;
        let mut group = Group::new(&source.name, &source.group, &topics, &self.around.replica, source.initial);
        group.waiting_max = 500;
        group.revoke_timeout = self.around.drain + Duration::from_secs(5);
        group
    }

    fn policy(&self) -> Policy {
        let delivery = &self.source.delivery;
        Policy {
            ordering: self.source.ordering,
            in_flight_max: self.source.in_flight_max,
            stuck_per_partition_max: 256,
            records_max: 2_048,
            bytes_max: 4 << 20,
            retry: delivery.retry.clone(),
            on_exhausted: delivery.on_exhausted,
            on_unauthorized: delivery.on_unauthorized,
            wake_budget: delivery.wake_budget.as_millis() as u64,
            metadata_bytes_max: METADATA_BYTES_MAX,
        }
    }
}

/// One member of the group at work.
struct Running<'a> {
    hop: &'a Hop,
    feed: Feed,
    control: Control,
    machine: Machine<Rc<Record>>,
    partitions: Partitions,
    hasher: RandomState,
    actions: Vec<Action<Rc<Record>>>,
    calls: JoinSet<(DeliveryId, Outcome)>,
    under_way: HashMap<DeliveryId, Call>,
    settling: Settling,
    leaving: Option<Leaving>,
    stopping: Option<Stopping>,
    /// Why reading is in trouble, by topic or partition.
    alarms: BTreeMap<String, String>,
    lost: Option<String>,
    /// Of the answer that the machine hears right now: a dead letter tells it.
    reason: Reason,
    assigned: bool,
}

struct Call {
    abort: AbortHandle,
    record: Rc<Record>,
}

/// What the loop wakes up for.
enum Event {
    Happening(Option<Happening>),
    Landed(Result<(DeliveryId, Outcome), JoinError>),
    Settled(Result<(), crate::log::Error>),
    Question(Question),
    Stop,
    Time,
}

impl<'a> Running<'a> {
    fn new(hop: &'a Hop, feed: Feed, control: Control) -> Self {
        Running {
            feed,
            control,
            machine: Machine::new(hop.policy(), fastrand::u64(..)),
            partitions: Partitions::default(),
            hasher: RandomState::new(),
            actions: Vec::new(),
            calls: JoinSet::new(),
            under_way: HashMap::new(),
            settling: Settling::default(),
            leaving: None,
            stopping: None,
            alarms: BTreeMap::new(),
            lost: None,
            reason: Reason::default(),
            assigned: false,
            hop,
        }
    }

    async fn run(
        mut self,
        questions: &mut mpsc::UnboundedReceiver<Question>,
        stop: &mut watch::Receiver<bool>,
    ) -> Ended {
        loop {
            match self.next(questions, stop).await {
                Event::Happening(Some(happening)) => {
                    self.happened(happening).await;
                    self.take_what_waits().await;
                }
                Event::Happening(None) => break,
                Event::Landed(joined) => {
                    self.joined(joined);
                    self.land_the_others();
                }
                Event::Settled(result) => self.settled(result),
                Event::Question(question) => drop(question.send(self.state())),
                Event::Stop => self.begin_stop(),
                Event::Time => self.step(Input::Tick),
            }
            self.begin_settling();
            self.leave_when_quiet().await;
            self.close_when_quiet();
        }
        match self.stopping {
            Some(_) => Ended::Stopped,
            None => Ended::Lost(self.lost.unwrap_or_else(|| "the feed has ended".into())),
        }
    }

    async fn next(
        &mut self,
        questions: &mut mpsc::UnboundedReceiver<Question>,
        stop: &mut watch::Receiver<bool>,
    ) -> Event {
        let due = self.next_due();
        let wants_records = self.wants_records();
        let is_stopping = self.stopping.is_some();
        let Running { feed, calls, settling, hop, .. } = self;
        let happening = async { if wants_records { feed.next().await } else { feed.next_urgent().await } };
        tokio::select! {
            happening = happening => Event::Happening(happening),
            Some(joined) = calls.join_next() => Event::Landed(joined),
            result = settling.result() => Event::Settled(result),
            Some(question) = questions.recv() => Event::Question(question),
            _ = stop.wait_for(|stop| *stop), if !is_stopping => Event::Stop,
            () = due.wait(&hop.around.clock) => Event::Time,
        }
    }

    /// A feed that has much is emptied by the handful, since looking at everything else after each record costs more than it.
    async fn take_what_waits(&mut self) {
        for _ in 0..HANDFUL {
            if self.stopping.is_some() || self.machine.is_full() {
                return;
            }
            match at_once(self.feed.next()).await {
                Some(Some(happening)) => self.happened(happening).await,
                // That it has ended is told again.
                Some(None) | None => return,
            }
        }
    }

    /// The same for calls that came back meanwhile.
    fn land_the_others(&mut self) {
        for _ in 0..HANDFUL {
            let Some(joined) = self.calls.try_join_next() else { return };
            self.joined(joined);
        }
    }

    /// While memory is full or the end has come, only rebalances are heard of.
    fn wants_records(&self) -> bool {
        match &self.stopping {
            Some(stopping) => stopping.closed,
            None => !self.machine.is_full(),
        }
    }

    fn next_due(&self) -> Due {
        let deadline = self.leaving.as_ref().map(|leaving| leaving.deadline);
        let stop = self.stopping.as_ref().filter(|stopping| !stopping.closed).map(|stopping| stopping.deadline);
        let retry = self.machine.due_in().map(|delay| self.hop.around.clock.steady() + delay);
        Due { steady: retry, instant: [deadline, stop, self.settling.due()].into_iter().flatten().min() }
    }

    async fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Record(record) => self.record(record),
            Happening::End { partition, next } => {
                let slot = self.partitions.slot(&partition);
                self.step(Input::End { slot, next });
            }
            Happening::Assigned(positions) => {
                add(&self.hop.metrics.rebalances, positions.len());
                self.assigned = true;
                for position in positions {
                    self.alarms.remove(&position.partition.to_string());
                    self.alarms.remove(&*position.partition.topic);
                    let slot = self.partitions.slot(&position.partition);
                    self.step(Input::Assigned { slot, next: position.next, metadata: position.metadata });
                }
            }
            Happening::Revoked(revoked) => self.revoked(revoked).await,
            Happening::Alarm(alarm) => self.alarm(alarm),
        }
    }

    fn record(&mut self, record: Record) {
        let (slot, offset) = (self.partitions.slot(&record.partition), record.offset);
        add(&self.hop.metrics.records, 1);
        let source = &self.hop.source;
        if !source.filter.accepts_all() && !source.filter.accepts(&request::event_of(source, &record)) {
            add(&self.hop.metrics.skipped, 1);
            return self.step(Input::Skipped { slot, offset });
        }
        let key = record.key.as_ref().map(|key| self.hasher.hash_one(key));
        let awaited = matches!(nest::caller(&record.headers, &source.answer_topics), Some(Ok(_)));
        let bytes = record.size();
        self.step(Input::Record { slot, offset, key, bytes, awaited, record: Rc::new(record) });
    }

    fn alarm(&mut self, alarm: Alarm) {
        tracing::error!(source = self.hop.source.name, "{alarm}");
        let text = alarm.to_string();
        match alarm {
            Alarm::OutOfRange { partition, .. } => drop(self.alarms.insert(partition.to_string(), text)),
            Alarm::Topic { topic, .. } => drop(self.alarms.insert(topic, text)),
            Alarm::Unavailable(_) => drop(self.alarms.insert("log".into(), text)),
            Alarm::Cleared => drop(self.alarms.remove("log")),
            Alarm::Fatal(reason) => self.lost = Some(reason),
        }
    }

    /// One step of the machine, and what it says.
    fn step(&mut self, input: Input<Rc<Record>>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.machine.step(self.hop.around.clock.steady(), input, &mut actions);
        for action in actions.drain(..) {
            self.act(action);
        }
        self.actions = actions;
    }
}

/// The next moment at which something is to be done, by the clock that tests move and by the one that they do not.
struct Due {
    steady: Option<u64>,
    instant: Option<Instant>,
}

impl Due {
    async fn wait(self, clock: &Clock) {
        let steady = async {
            match self.steady {
                Some(due) => clock.sleep_until_steady(due).await,
                None => std::future::pending().await,
            }
        };
        let instant = async {
            match self.instant {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { () = steady => {}, () = instant => {} }
    }
}

/// What a future has ready now.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
