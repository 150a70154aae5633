//! What waits between a log's reading thread and the feed's owner: happenings go in from a thread, bounded by records and by
//! bytes, and come out of an async `next`. Assignments, revocations and alarms overtake records, which wait behind.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::types::{Happening, Partition, Record};

/// The reading side of a group's member. Dropping it closes the member.
pub struct Feed {
    queue: Arc<Queue>,
}

/// Shared by the reading thread and the [`Feed`].
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    emptied: Condvar,
    waiting_max: usize,
    waiting_bytes_max: usize,
}

#[derive(Default)]
struct State {
    urgent: VecDeque<Happening>,
    flow: VecDeque<Happening>,
    bytes: usize,
    /// Nothing follows what waits.
    ended: bool,
    /// The owner wants no more.
    abandoned: bool,
    /// A nudge for the reading thread that is no room: see [`Queue::nudge`].
    nudged: bool,
    /// The reading thread waits. Waking nobody costs a call of the kernel as well, for each record.
    waited_for: bool,
}

impl Feed {
    pub(super) fn new(queue: &Arc<Queue>) -> Self {
        Feed { queue: Arc::clone(queue) }
    }

    /// The next happening; `None` after the close. Cancel-safe.
    pub async fn next(&mut self) -> Option<Happening> {
        self.take(State::pop).await
    }

    /// As [`Feed::next`], but leaves records and ends where they wait: for an owner who has no room for records and must
    /// hear of a rebalance all the same. Cancel-safe.
    pub async fn next_urgent(&mut self) -> Option<Happening> {
        self.take(|state| state.urgent.pop_front()).await
    }

    /// What [`Feed::next`] would answer now, without waiting.
    pub fn try_next(&mut self) -> Option<Happening> {
        let mut state = self.queue.lock();
        let happening = state.pop()?;
        self.queue.made_room(&state);
        Some(happening)
    }

    async fn take(&mut self, pop: impl Fn(&mut State) -> Option<Happening>) -> Option<Happening> {
        loop {
            {
                let mut state = self.queue.lock();
                if let Some(happening) = pop(&mut state) {
                    self.queue.made_room(&state);
                    return Some(happening);
                }
                if state.ended {
                    return None;
                }
            }
            self.queue.filled.notified().await;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.abandoned = true;
        // A waiting revocation holds its release: forgetting it lets the rebalance go on.
        state.urgent.clear();
        state.flow.clear();
        self.queue.emptied.notify_all();
    }
}

impl State {
    fn pop(&mut self) -> Option<Happening> {
        if let Some(happening) = self.urgent.pop_front() {
            return Some(happening);
        }
        let happening = self.flow.pop_front()?;
        if let Happening::Record(record) = &happening {
            self.bytes -= record.size();
        }
        Some(happening)
    }
}

impl Queue {
    pub(super) fn new(waiting_max: usize, waiting_bytes_max: usize) -> Arc<Self> {
        let (filled, emptied) = (Notify::new(), Condvar::new());
        Arc::new(Queue { state: Mutex::default(), filled, emptied, waiting_max, waiting_bytes_max })
    }

    /// Puts a record or an end behind the others.
    pub(super) fn push(&self, happening: Happening) {
        self.push_all(std::iter::once(happening));
    }

    /// As [`Queue::push`], for many. Records that do not fit go in all the same: ask [`Queue::is_full`] before reading them.
    pub(super) fn push_all(&self, happenings: impl Iterator<Item = Happening>) {
        let mut state = self.lock();
        if state.abandoned {
            return;
        }
        for happening in happenings {
            state.bytes += waiting_weight(&happening);
            state.flow.push_back(happening);
        }
        self.filled.notify_one();
    }

    /// Puts an assignment, a revocation or an alarm before every waiting record.
    pub(super) fn push_urgent(&self, happening: Happening) {
        let mut state = self.lock();
        if state.abandoned {
            return;
        }
        state.urgent.push_back(happening);
        self.filled.notify_one();
    }

    /// Forgets what waits of these partitions.
    pub(super) fn forget(&self, partitions: &[Partition]) {
        let mut state = self.lock();
        state.flow.retain(|happening| match happening {
            Happening::Record(Record { partition, .. }) | Happening::End { partition, .. } => {
                !partitions.contains(partition)
            }
            _ => true,
        });
        state.bytes = state.flow.iter().map(waiting_weight).sum();
        self.emptied.notify_all();
    }

    /// No happening follows.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.filled.notify_one();
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_above(&self.lock(), 1)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Waits until half of the queue is free, or `limit` has passed; answers whether there is room.
    pub(super) fn wait_for_room(&self, limit: Duration) -> bool {
        let full = |state: &mut State| !state.abandoned && self.is_above(state, 2);
        let mut state = self.wait(limit, full);
        !full(&mut state)
    }

    /// Waits for a [`Queue::nudge`] or until `limit` has passed.
    pub(super) fn wait_for_nudge(&self, limit: Duration) {
        self.wait(limit, |state| !state.abandoned && !state.nudged).nudged = false;
    }

    fn wait(&self, limit: Duration, until_not: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.waited_for = true;
        let (mut state, _) = self.emptied.wait_timeout_while(state, limit, until_not).expect("no holder panics");
        state.waited_for = false;
        state
    }

    /// Wakes the reading thread.
    pub(super) fn nudge(&self) {
        self.lock().nudged = true;
        self.emptied.notify_all();
    }

    fn made_room(&self, state: &State) {
        if state.waited_for && !self.is_above(state, 2) {
            self.emptied.notify_all();
        }
    }

    fn is_above(&self, state: &State, part: usize) -> bool {
        state.flow.len() >= self.waiting_max / part || state.bytes >= self.waiting_bytes_max / part
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

fn waiting_weight(happening: &Happening) -> usize {
    if let Happening::Record(record) = happening { record.size() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Alarm, Record, Release, Revoked};

    fn record(topic: &str, offset: i64) -> Happening {
        let (partition, headers) = (Partition::new(topic, 0), Vec::new());
        let value = Some(bytes::Bytes::from_static(b"0123456789"));
        Happening::Record(Record { partition, offset, timestamp_ms: None, key: None, headers, value })
    }

    fn offset(happening: Option<Happening>) -> i64 {
        let Some(Happening::Record(record)) = happening else { panic!("{happening:?}") };
        record.offset
    }

    #[tokio::test]
    async fn alarms_overtake_records_and_records_keep_their_order() {
        let queue = Queue::new(10, 1_000);
        let mut feed = Feed::new(&queue);
        queue.push(record("a", 0));
        queue.push(record("a", 1));
        queue.push_urgent(Happening::Alarm(Alarm::Cleared));
        assert!(matches!(feed.next_urgent().await, Some(Happening::Alarm(_))));
        assert_eq!(offset(feed.next().await), 0);
        assert_eq!(offset(feed.try_next()), 1);
        queue.end();
        assert!(feed.next().await.is_none());
    }

    #[test]
    fn the_queue_is_full_by_records_or_by_bytes_and_has_room_again_at_half() {
        for queue in [Queue::new(4, 1_000), Queue::new(100, 40)] {
            let mut feed = Feed::new(&queue);
            (0..4).for_each(|offset| queue.push(record("a", offset)));
            assert!(queue.is_full());
            drop(feed.try_next());
            assert!(!queue.wait_for_room(Duration::from_millis(1)));
            drop((feed.try_next(), feed.try_next()));
            assert!(queue.wait_for_room(Duration::from_millis(1)));
        }
    }

    #[test]
    fn what_waits_of_a_revoked_partition_is_forgotten() {
        let queue = Queue::new(4, 1_000);
        let mut feed = Feed::new(&queue);
        queue.push(record("gone", 0));
        queue.push(record("stays", 7));
        queue.forget(&[Partition::new("gone", 0)]);
        assert_eq!(offset(feed.try_next()), 7);
        assert!(feed.try_next().is_none());
    }

    #[test]
    fn a_feed_that_is_dropped_holds_up_no_rebalance() {
        let queue = Queue::new(4, 1_000);
        let feed = Feed::new(&queue);
        let (release, released) = Release::new();
        queue.push_urgent(Happening::Revoked(Revoked { partitions: vec![], lost: false, release }));
        drop(feed);
        assert_eq!(
            released.recv_timeout(Duration::from_secs(10)),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
        );
        assert!(queue.is_abandoned());
    }
}
