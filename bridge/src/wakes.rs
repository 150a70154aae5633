//! Wakes: a sink is called with an empty event at the instant that it asked for, once at the start, after a push of its had to be
//! refused, and hourly. Instants are kept in memory, the earliest wins: the wake at the next start makes up for what was lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use event::Event;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::answer::{Meaning, Outcome};
use crate::clock::Clock;
use crate::dispatch::{Backoff, Retry};
use crate::http::Sender;
use crate::metrics::add;
use crate::request;

/// The type of a wake.
pub const TYPE: &str = "dev.till.wake";
const EVERY: Duration = Duration::from_secs(3_600);
/// Between two wakes of one sink.
const PAUSE_MS: u64 = 100;
const TIMEOUT: Duration = Duration::from_secs(30);
/// A failed wake is tried again for ever: nothing else would make up for it before the hour is over.
const RETRY: Retry =
    Retry { retries_max: None, backoff: Backoff::Exponential, delay: 100, delay_max: 60_000, retry_after_max: 300_000 };

/// Who wants to be woken, by the names of the sinks. Clones are handles of the same book.
#[derive(Clone, Default)]
pub struct Wakes {
    sleepers: Rc<RefCell<BTreeMap<String, Rc<Sleeper>>>>,
}

/// One sink that can be woken.
struct Sleeper {
    sender: Rc<Sender>,
    /// Milliseconds since 1970.
    due: Cell<Option<i64>>,
    earlier: Notify,
    woken: Cell<u64>,
    failed: Cell<u64>,
}

impl Sleeper {
    /// The earliest instant wins.
    fn ask(&self, due: i64) {
        if self.due.get().is_none_or(|before| due < before) {
            self.due.set(Some(due));
            self.earlier.notify_one();
        }
    }
}

impl Wakes {
    /// From now on the sink `name` can be woken. It is called as soon as the wakes run if `at_start` says so.
    pub fn register(&self, name: &str, sender: &Rc<Sender>, at_start: bool) {
        let mut sleepers = self.sleepers.borrow_mut();
        let sleeper = sleepers.entry(name.to_owned()).or_insert_with(|| {
            let (sender, due) = (Rc::clone(sender), Cell::new(None));
            Rc::new(Sleeper { sender, due, earlier: Notify::new(), woken: Cell::new(0), failed: Cell::new(0) })
        });
        if at_start {
            sleeper.ask(0);
        }
    }

    /// The sink `name` wants to be woken at `instant`. Names that nobody has are ignored.
    pub fn ask(&self, name: &str, instant: Timestamp) {
        if let Some(sleeper) = self.sleepers.borrow().get(name) {
            sleeper.ask(instant.as_millisecond());
        }
    }

    /// A push of `name` had to be refused: it holds events that nobody else knows of.
    pub fn ask_soon(&self, name: &str, clock: &Clock) {
        self.ask(name, Timestamp::from_millisecond(clock.now_ms() + 1_000).unwrap_or(Timestamp::MAX));
    }

    /// Wakes sinks for ever, one task a sink.
    pub fn spawn(&self, clock: &Clock) {
        for (name, sleeper) in self.sleepers.borrow().iter() {
            tokio::task::spawn_local(watch(name.clone(), Rc::clone(sleeper), clock.clone()));
        }
    }

    /// How often each sink was woken, how often that failed, and when it will be woken next.
    pub fn counts(&self) -> Vec<(String, u64, u64, Option<i64>)> {
        let sleepers = self.sleepers.borrow();
        let count = |(name, sleeper): (&String, &Rc<Sleeper>)| {
            (name.clone(), sleeper.woken.get(), sleeper.failed.get(), sleeper.due.get())
        };
        sleepers.iter().map(count).collect()
    }
}

async fn watch(name: String, sleeper: Rc<Sleeper>, clock: Clock) {
    loop {
        wait(&sleeper, &clock).await;
        // Cleared before the call, so that what its answer asks for is kept.
        sleeper.due.set(None);
        wake(&name, &sleeper, &clock).await;
        sleeper.ask(clock.now_ms() + EVERY.as_millis() as i64);
        // An answer that asks for a wake in the past, again and again, is a mistake and must not become a hot loop.
        clock.sleep_until_steady(clock.steady() + PAUSE_MS).await;
    }
}

async fn wait(sleeper: &Sleeper, clock: &Clock) {
    loop {
        match sleeper.due.get() {
            Some(due) if due <= clock.now_ms() => return,
            Some(due) => tokio::select! {
                () = clock.sleep_until(due) => return,
                () = sleeper.earlier.notified() => {}
            },
            None => sleeper.earlier.notified().await,
        }
    }
}

/// Calls until there is an answer that is no failure.
async fn wake(name: &str, sleeper: &Sleeper, clock: &Clock) {
    let event = Event::new(uuid::Uuid::new_v4().to_string(), format!("/till/bridge/wakes/{name}"), TYPE);
    let request = request::request_of(&event, false, false);
    for attempts in 1_u32.. {
        let outcome = sleeper.sender.send(&request, TIMEOUT).await;
        if let Some(instant) = outcome.wake_at() {
            sleeper.ask(instant.as_millisecond());
        }
        let Some(retry_after) = again(name, sleeper, &outcome, clock) else { return };
        let delay = RETRY.delay(attempts, retry_after, fastrand::f64()).unwrap_or(RETRY.delay_max);
        clock.sleep_until_steady(clock.steady() + delay).await;
    }
}

/// Whether a wake has to be tried again, and when at the earliest.
fn again(name: &str, sleeper: &Sleeper, outcome: &Outcome, clock: &Clock) -> Option<Option<u64>> {
    match outcome.meaning(false, clock.now()) {
        Meaning::Settled | Meaning::Reply(_) => {
            add(&sleeper.woken, 1);
            None
        }
        Meaning::Refused => {
            add(&sleeper.failed, 1);
            tracing::warn!(sink = name, code = outcome.code(), "a wake was refused");
            None
        }
        // A token is put right by a person, and what was to be woken is still there then.
        Meaning::Unauthorized => {
            add(&sleeper.failed, 1);
            tracing::warn!(sink = name, code = outcome.code(), "a wake was refused for its token and is tried again");
            Some(None)
        }
        Meaning::Failed { retry_after, .. } => {
            add(&sleeper.failed, 1);
            tracing::debug!(sink = name, code = outcome.code(), "a wake failed and is tried again");
            Some(retry_after)
        }
        Meaning::Silent => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tls;

    // promise: BRIDGE: Wake-At on any answer of a sink asks for a wake at that time, and the earliest wins
    #[test]
    fn the_earliest_instant_wins() {
        let wakes = Wakes::default();
        let sender = Sender::new(&"http://127.0.0.1:9/".parse().unwrap(), None, &Tls::default());
        wakes.register("core", &sender, false);
        for ms in [5_000, 3_000, 9_000] {
            wakes.ask("core", Timestamp::from_millisecond(ms).unwrap());
            wakes.ask("nobody", Timestamp::UNIX_EPOCH);
        }
        assert_eq!(wakes.counts(), [("core".to_owned(), 0, 0, Some(3_000))]);
    }
}
