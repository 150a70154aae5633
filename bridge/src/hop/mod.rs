//! The hop of one source: what its feed, its sink and its log tell goes into the dispatch machine, and what the machine says is
//! done. One task owns all of it, so that there are no locks.

mod arrive;
mod calls;
mod deliver;
mod leave;
mod letters;
mod names;
mod refused;
mod settle;
mod state;

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::Source;
use crate::dead_letter::Reason;
use crate::dispatch::{Action, DeliveryId, Input, Look, METADATA_BYTES_MAX, Machine, Policy};
use crate::http::Sender;
use crate::letters::{Heard, Post};
use crate::log::{Control, Feed, Group, Happening, Log, Record};
use crate::metrics::Metrics;
use crate::wakes::Wakes;

use calls::{Calls, Carrier, Landed};
use leave::{Leaving, Stopping};
use letters::{Posted, Posting};
use names::Partitions;
use settle::Settling;
pub use state::{PartitionState, State};

const HANDFUL: usize = 32;
/// How long a source that lost its log waits before it joins again.
const REJOIN_DELAY: Duration = Duration::from_secs(1);

/// What a hop needs from the rest of the bridge.
#[derive(Clone)]
pub struct Surroundings {
    pub log: Log,
    pub clock: Clock,
    pub wakes: Wakes,
    pub replica: String,
    pub drain: Duration,
}

/// What a running hop is asked.
#[derive(Debug)]
pub enum Question {
    State(oneshot::Sender<State>),
    /// Let the stopped lanes try again, and say how many there were.
    Retry(oneshot::Sender<usize>),
}

/// What a hop is, while its member of the group comes and goes.
pub struct Hop {
    pub source: Rc<Source>,
    pub dead_letter_topic: Option<String>,
    /// Where dead letters are called for, instead of a topic.
    pub dead_letter_sender: Option<Rc<Sender>>,
    pub post: Post,
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
                    tracing::error!(source = name, reason, "the source lost its log and joins again");
                    self.be_away(&reason, &mut questions, &mut stop).await;
                }
            }
        }
    }

    /// Waits before it joins again, and tells who asks meanwhile what is wrong.
    async fn be_away(
        &self,
        reason: &str,
        questions: &mut mpsc::UnboundedReceiver<Question>,
        stop: &mut watch::Receiver<bool>,
    ) {
        let over = tokio::time::sleep(REJOIN_DELAY);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                _ = stop.wait_for(|stop| *stop) => return,
                Some(question) = questions.recv() => match question {
                    Question::State(answer) => drop(answer.send(self.away_state(reason))),
                    Question::Retry(answer) => drop(answer.send(0)),
                },
            }
        }
    }

    fn group(&self) -> Group {
        let topics: Vec<&str> = self.post.topics().into_iter().collect();
        let source = &self.source;
        let mut group = Group::new(&source.name, &source.group, &topics, &self.around.replica, source.initial);
        group.from_end = self.post.orders_topic().map(str::to_owned).into_iter().collect();
        group.waiting_max = 500;
        group.revoke_timeout = self.around.drain + Duration::from_secs(5);
        group
    }

    fn policy(&self) -> Policy {
        let delivery = &self.source.delivery;
        Policy {
            ordering: self.source.ordering,
            in_flight_max: self.source.in_flight_max,
            // Half of it is for what moves, and must hold what may be under way.
            records_max: 3_072.max(4 * self.source.in_flight_max),
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
    heard: Heard,
    hasher: RandomState,
    actions: Vec<Action<Rc<Record>>>,
    calls: Calls<Carrier>,
    /// Dead letters on their way to a sink.
    letters: JoinSet<Posted>,
    posting: HashMap<DeliveryId, Posting>,
    /// As many letters are called for at a time as records are delivered.
    posts: Rc<Semaphore>,
    settling: Settling,
    leaving: Option<Leaving>,
    stopping: Option<Stopping>,
    /// Why reading is in trouble, by topic or partition.
    alarms: BTreeMap<String, String>,
    lost: Option<String>,
    /// Milliseconds of the steady clock.
    waking_since: Option<u64>,
    /// Of the answer that the machine hears right now: a dead letter tells it.
    reason: Reason,
    assigned: bool,
}

/// What the loop wakes up for.
enum Event {
    Happening(Option<Happening>),
    Landed(Landed),
    Settled(Result<(), crate::log::Error>),
    Posted(Result<Posted, JoinError>),
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
            heard: Heard::default(),
            hasher: RandomState::new(),
            actions: Vec::new(),
            calls: Calls::by(Carrier::of(hop)),
            letters: JoinSet::new(),
            posting: HashMap::new(),
            posts: Rc::new(Semaphore::new(hop.source.in_flight_max)),
            settling: Settling::default(),
            leaving: None,
            stopping: None,
            alarms: BTreeMap::new(),
            lost: None,
            waking_since: None,
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
                Event::Landed(landed) => {
                    self.landed(landed);
                    self.land_the_others();
                }
                Event::Settled(result) => self.settled(result),
                Event::Posted(joined) => self.posted(joined),
                Event::Question(Question::State(answer)) => drop(answer.send(self.state())),
                Event::Question(Question::Retry(answer)) => drop(answer.send(self.retry())),
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
        let Running { feed, calls, letters, settling, hop, .. } = self;
        let happening = async { if wants_records { feed.next().await } else { feed.next_urgent().await } };
        tokio::select! {
            happening = happening => Event::Happening(happening),
            landed = calls.next(), if !settling.is_full() => Event::Landed(landed),
            result = settling.result() => Event::Settled(result),
            Some(joined) = letters.join_next() => Event::Posted(joined),
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
            if self.settling.is_full() {
                return;
            }
            let Some(landed) = self.calls.try_next() else { return };
            self.landed(landed);
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
        let now = self.hop.around.clock.steady();
        let retry = self.machine.due_in(now).map(|delay| now + delay);
        Due { steady: retry, instant: [deadline, stop, self.settling.due()].into_iter().flatten().min() }
    }

    fn retry(&mut self) -> usize {
        let stopped = self.machine.stopped().len();
        self.step(Input::Retry);
        stopped
    }

    /// How long a sink takes to wake up is only known when it has.
    fn time_waking(&mut self, now: u64) {
        match (self.machine.gate(), self.waking_since) {
            (Look::Waking, None) => self.waking_since = Some(now),
            (Look::Open, Some(since)) => {
                self.hop.metrics.waking.observe(now.saturating_sub(since) as i64);
                self.waking_since = None;
            }
            (Look::Failing | Look::Paused, Some(_)) => self.waking_since = None,
            _ => {}
        }
    }

    /// One step of the machine, and what it says.
    fn step(&mut self, input: Input<Rc<Record>>) {
        let mut actions = std::mem::take(&mut self.actions);
        let now = self.hop.around.clock.steady();
        let goes = matches!(input, Input::Gone(_) | Input::Assigned { .. });
        self.machine.step(now, input, &mut actions);
        if goes {
            self.forget_posts();
        }
        self.time_waking(now);
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
