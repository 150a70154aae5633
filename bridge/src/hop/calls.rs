//! The calls of one source that are under way. As many workers as there were ever calls at a time live on and carry one record after
//! another: a task that is kept costs a call less than a new one. A call that is cancelled or breaks takes its worker along.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::Hop;
use crate::answer::Outcome;
use crate::config::{Reply, Source};
use crate::dispatch::DeliveryId;
use crate::http::Sender;
use crate::log::Record;
use crate::request;

/// The work of one call: the outcome, and the trace that goes on in the reply.
pub(super) trait Carry: 'static {
    async fn carry(&self, record: &Record) -> (Outcome, String);
}

/// Calls of one sink.
pub(super) struct Calls<C> {
    carrier: Rc<C>,
    desk: Rc<Desk>,
    workers: JoinSet<()>,
    seats: Vec<(AbortHandle, Rc<Seat>)>,
}

/// A record to be called for.
#[derive(Debug, Clone)]
struct Job {
    id: DeliveryId,
    record: Rc<Record>,
}

/// A call that has ended.
#[derive(Debug)]
pub(super) struct Landed {
    pub id: DeliveryId,
    pub record: Rc<Record>,
    pub outcome: Outcome,
    /// Goes on in the reply; empty where replies are not used.
    pub trace: String,
}

/// What makes a request of a record and sends it.
pub(super) struct Carrier {
    source: Rc<Source>,
    sender: Rc<Sender>,
}

/// Where workers and their source meet.
#[derive(Default)]
struct Desk {
    landed: RefCell<VecDeque<Landed>>,
    /// The source's, while it waits for a landing.
    waiting: RefCell<Option<Waker>>,
    /// The last one that came back is the first to go: its connection and its memory are warm.
    idle: RefCell<Vec<Rc<Seat>>>,
}

/// Where a worker gets its next job.
#[derive(Default)]
struct Seat {
    next: RefCell<Option<Job>>,
    under_way: RefCell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
}

impl<C: Carry> Calls<C> {
    pub fn by(carrier: C) -> Self {
        Calls { carrier: Rc::new(carrier), desk: Rc::default(), workers: JoinSet::new(), seats: Vec::new() }
    }

    pub fn begin(&mut self, id: DeliveryId, record: Rc<Record>) {
        let idle = self.desk.idle.borrow_mut().pop();
        idle.unwrap_or_else(|| self.hire()).give(Job { id, record });
    }

    fn hire(&mut self) -> Rc<Seat> {
        let seat = Rc::new(Seat::default());
        let (carrier, desk) = (Rc::clone(&self.carrier), Rc::clone(&self.desk));
        let abort = self.workers.spawn_local(work(carrier, desk, Rc::clone(&seat)));
        self.seats.push((abort, Rc::clone(&seat)));
        seat
    }

    /// The call of a delivery that is wanted no more; nothing of it lands.
    pub fn cancel(&mut self, id: DeliveryId) {
        self.desk.landed.borrow_mut().retain(|landed| landed.id != id);
        let carries = |(_, seat): &mut (AbortHandle, Rc<Seat>)| seat.job().is_some_and(|job| job.id == id);
        self.seats.extract_if(.., carries).for_each(|(abort, _)| abort.abort());
    }

    /// The next call that has ended. Cancel-safe.
    pub async fn next(&mut self) -> Landed {
        loop {
            let desk = Rc::clone(&self.desk);
            tokio::select! {
                biased;
                landed = std::future::poll_fn(|context| desk.poll_landed(context)) => return landed,
                Some(Err(error)) = self.workers.join_next() => {
                    if let Some(landed) = self.broken(&error) {
                        return landed;
                    }
                }
            }
        }
    }

    /// As [`Calls::next`], if it has ended already.
    pub fn try_next(&mut self) -> Option<Landed> {
        self.desk.landed.borrow_mut().pop_front()
    }

    /// A worker that broke has failed its call; one that was cancelled tells nothing.
    fn broken(&mut self, error: &JoinError) -> Option<Landed> {
        let (_, seat) = self.seats.extract_if(.., |(abort, _)| abort.id() == error.id()).next()?;
        let Job { id, record } = seat.job()?;
        Some(Landed { id, record, outcome: Outcome::Lost(error.to_string()), trace: String::new() })
    }
}

impl Desk {
    fn land(&self, landed: Landed) {
        self.landed.borrow_mut().push_back(landed);
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll_landed(&self, context: &Context) -> Poll<Landed> {
        if let Some(landed) = self.landed.borrow_mut().pop_front() {
            return Poll::Ready(landed);
        }
        wait(&self.waiting, context)
    }
}

impl Seat {
    fn give(&self, job: Job) {
        *self.next.borrow_mut() = Some(job);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll_job(&self, context: &Context) -> Poll<Job> {
        match self.next.borrow_mut().take() {
            Some(job) => Poll::Ready(job),
            None => wait(&self.waker, context),
        }
    }

    /// What it carries, or is about to.
    fn job(&self) -> Option<Job> {
        self.under_way.borrow().clone().or_else(|| self.next.borrow().clone())
    }
}

fn wait<T>(place: &RefCell<Option<Waker>>, context: &Context) -> Poll<T> {
    let mut place = place.borrow_mut();
    if !place.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        *place = Some(context.waker().clone());
    }
    Poll::Pending
}

async fn work<C: Carry>(carrier: Rc<C>, desk: Rc<Desk>, seat: Rc<Seat>) {
    loop {
        let Job { id, record } = std::future::poll_fn(|context| seat.poll_job(context)).await;
        *seat.under_way.borrow_mut() = Some(Job { id, record: Rc::clone(&record) });
        let (outcome, trace) = carrier.carry(&record).await;
        *seat.under_way.borrow_mut() = None;
        desk.idle.borrow_mut().push(Rc::clone(&seat));
        desk.land(Landed { id, record, outcome, trace });
    }
}

impl Carrier {
    pub fn of(hop: &Hop) -> Self {
        Carrier { source: Rc::clone(&hop.source), sender: Rc::clone(&hop.sender) }
    }
}

impl Carry for Carrier {
    async fn carry(&self, record: &Record) -> (Outcome, String) {
        let (delivery, replies) = (&self.source.delivery, self.source.reply != Reply::None);
        let event = request::event_of(&self.source, record);
        let trace = if replies { request::traceparent(&event) } else { String::new() };
        let request = request::request_of(&event, delivery.structured, replies);
        drop(event);
        (self.sender.send(&request, delivery.timeout).await, trace)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::testing::record;

    /// Fails by the offset: an odd one breaks, and the hundredth never comes back.
    #[derive(Default)]
    struct Fake {
        carried: Rc<Cell<usize>>,
        dropped: Rc<Cell<usize>>,
    }

    struct CountsItsDrop(Rc<Cell<usize>>);

    impl Drop for CountsItsDrop {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    impl Carry for Fake {
        async fn carry(&self, record: &Record) -> (Outcome, String) {
            self.carried.set(self.carried.get() + 1);
            let _dropped = CountsItsDrop(Rc::clone(&self.dropped));
            tokio::task::yield_now().await;
            match record.offset {
                100 => std::future::pending().await,
                offset => assert!(offset % 2 == 0, "a bug"),
            }
            (Outcome::TimedOut, format!("trace {}", record.offset))
        }
    }

    async fn local(test: impl AsyncFnOnce(Calls<Fake>, Rc<Cell<usize>>, Rc<Cell<usize>>)) {
        let fake = Fake::default();
        let (carried, dropped) = (Rc::clone(&fake.carried), Rc::clone(&fake.dropped));
        tokio::task::LocalSet::new().run_until(test(Calls::by(fake), carried, dropped)).await;
    }

    fn begin(calls: &mut Calls<Fake>, offset: i64) {
        calls.begin(DeliveryId(offset as u64), Rc::new(record("t", 0, offset)));
    }

    async fn next(calls: &mut Calls<Fake>) -> Landed {
        tokio::time::timeout(Duration::from_secs(10), calls.next()).await.expect("a call ends")
    }

    #[tokio::test]
    async fn a_worker_that_came_back_carries_the_next_record() {
        local(async |mut calls, _, _| {
            for round in 0..5 {
                begin(&mut calls, 4 * round);
                begin(&mut calls, 4 * round + 2);
                let mut landed = [next(&mut calls).await, next(&mut calls).await];
                landed.sort_by_key(|landed| landed.id);
                let traces = landed.each_ref().map(|landed| landed.trace.clone());
                assert_eq!(traces, [4 * round, 4 * round + 2].map(|offset| format!("trace {offset}")));
            }
            assert_eq!(calls.seats.len(), 2);
        })
        .await;
    }

    #[tokio::test]
    async fn a_call_that_breaks_has_failed_and_takes_no_other_along() {
        local(async |mut calls, _, _| {
            begin(&mut calls, 2);
            begin(&mut calls, 3);
            let mut landed = [next(&mut calls).await, next(&mut calls).await];
            landed.sort_by_key(|landed| landed.id);
            assert!(matches!(landed[0].outcome, Outcome::TimedOut));
            assert!(matches!(&landed[1].outcome, Outcome::Lost(reason) if reason.contains("panic")), "{landed:?}");
            assert_eq!((landed[1].record.offset, calls.seats.len()), (3, 1));
        })
        .await;
    }

    #[tokio::test]
    async fn a_cancelled_call_is_dropped_and_lands_never_wherever_it_was() {
        local(async |mut calls, carried, dropped| {
            // Not begun, under way, and ended but not heard of.
            begin(&mut calls, 2);
            calls.cancel(DeliveryId(2));
            begin(&mut calls, 100);
            begin(&mut calls, 4);
            assert_eq!(next(&mut calls).await.id.0, 4);
            begin(&mut calls, 6);
            while calls.desk.landed.borrow().is_empty() {
                tokio::task::yield_now().await;
            }
            calls.cancel(DeliveryId(6));
            calls.cancel(DeliveryId(100));
            begin(&mut calls, 8);
            assert_eq!(next(&mut calls).await.id.0, 8);
            assert!(calls.try_next().is_none());
            assert_eq!((carried.get(), dropped.get()), (4, 4), "what was never begun is not called for");
        })
        .await;
    }
}
