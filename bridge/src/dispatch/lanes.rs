//! Lanes: the queue of one key, of one partition or of one record, as the source's ordering says. Deliveries come in, and the
//! head of each lane that may go comes out, one at a time a lane. A lane is named after a partition; what was ordered again queues
//! there too, as a guest: it was read from the partition of its letter, and goes when that one goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use super::{DeliveryId, Millis, Slot};

/// Whose queue it is. Two keys with one hash share a lane, which keeps both in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    pub slot: Slot,
    pub hash: u64,
}

#[derive(Debug, Default)]
pub struct Lanes {
    lanes: FxHashMap<LaneKey, Lane>,
    ready: VecDeque<LaneKey>,
    due: BTreeSet<(Millis, LaneKey)>,
    /// Lanes whose heads are of partitions that have to wait.
    parked: BTreeMap<Slot, Vec<LaneKey>>,
    /// What of a partition is in stuck lanes.
    stuck: BTreeMap<Slot, Load>,
}

/// Memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    pub records: usize,
    pub bytes: usize,
}

impl Load {
    pub fn plus(self, other: Load) -> Load {
        Load { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }

    pub fn less(self, other: Load) -> Load {
        Load { records: self.records - other.records, bytes: self.bytes - other.bytes }
    }

    pub fn saturating_less(self, other: Load) -> Load {
        let (records, bytes) = (self.records.saturating_sub(other.records), self.bytes.saturating_sub(other.bytes));
        Load { records, bytes }
    }

    pub fn part(self, parts: usize) -> Load {
        Load { records: self.records / parts, bytes: self.bytes / parts }
    }

    /// Whether one of the two is used up.
    pub fn reaches(self, limit: Load) -> bool {
        self.records >= limit.records || self.bytes >= limit.bytes
    }
}

#[derive(Debug)]
struct Lane {
    queue: VecDeque<DeliveryId>,
    /// Of the partition that it is named after, and of others.
    load: Load,
    guests: Vec<(Slot, Load)>,
    state: State,
    /// Its head could not go on, and is not settled yet.
    stuck: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// In `ready`.
    Ready,
    /// In `parked`.
    Parked,
    /// Its head is under way, or being written.
    Busy,
    /// Its head waits for its next attempt, in `due`.
    Waiting(Millis),
    /// Its head can neither be settled nor given up.
    Stopped(String),
}

impl Lanes {
    /// `slot` is the partition that it was read from.
    pub fn push(&mut self, key: LaneKey, slot: Slot, id: DeliveryId, bytes: usize) {
        let lane = self.lanes.entry(key).or_insert_with(|| {
            self.ready.push_back(key);
            Lane::new()
        });
        lane.queue.push_back(id);
        let one = Load { records: 1, bytes };
        let load = lane.load_of(key, slot);
        *load = load.plus(one);
        if lane.stuck {
            let stuck = self.stuck.entry(slot).or_default();
            *stuck = stuck.plus(one);
        }
    }

    /// The head of the next lane that may go; the lane is busy from now on.
    pub fn take_ready(&mut self) -> Option<(LaneKey, DeliveryId)> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.state == State::Ready) {
                lane.state = State::Busy;
                return Some((key, *lane.queue.front().expect("an empty lane is removed")));
            }
        }
        None
    }

    /// Its head goes back, first in the line.
    pub fn put_back(&mut self, key: LaneKey) {
        self.set(key, State::Ready);
        self.ready.push_front(key);
    }

    /// Its head may go when the head's partition is let go on by [`Lanes::unpark`].
    pub fn park(&mut self, key: LaneKey, slot: Slot) {
        self.set(key, State::Parked);
        self.mark(key, true);
        self.parked.entry(slot).or_default().push(key);
    }

    pub fn unpark(&mut self, slot: Slot) {
        for key in self.parked.remove(&slot).unwrap_or_default() {
            self.set(key, State::Ready);
            self.mark(key, false);
            self.ready.push_back(key);
        }
    }

    /// Its head is tried again at `due`.
    pub fn wait(&mut self, key: LaneKey, due: Millis) {
        self.set(key, State::Waiting(due));
        self.mark(key, true);
        self.due.insert((due, key));
    }

    pub fn stop(&mut self, key: LaneKey, reason: String) {
        self.set(key, State::Stopped(reason));
        self.mark(key, true);
    }

    /// The heads of stopped lanes may go once more.
    pub fn restart(&mut self) {
        for (key, lane) in &mut self.lanes {
            if matches!(lane.state, State::Stopped(_)) {
                lane.state = State::Ready;
                self.ready.push_back(*key);
            }
        }
    }

    /// Its head, which was of this partition and had so many bytes, is settled: the next one may go.
    pub fn finish(&mut self, key: LaneKey, slot: Slot, bytes: usize) {
        self.mark(key, false);
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.queue.pop_front();
        let load = lane.load_of(key, slot);
        *load = load.less(Load { records: 1, bytes });
        if lane.queue.is_empty() {
            self.lanes.remove(&key);
        } else {
            lane.state = State::Ready;
            self.ready.push_back(key);
        }
    }

    /// Lanes whose time has come are ready again.
    pub fn wake_due(&mut self, now: Millis) {
        while let Some(&(due, key)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, key));
            self.set(key, State::Ready);
            self.ready.push_back(key);
        }
    }

    pub fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(due, _)| *due)
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Forgets what is of a partition, as `is_gone` says, and answers it. Its guests in lanes of others leave those going on, and
    /// guests from others stay in the lanes that were named after it: should it come back, its records queue behind them.
    pub fn forget(&mut self, slot: Slot, is_gone: impl Fn(DeliveryId) -> bool) -> Vec<DeliveryId> {
        let mut forgotten = Vec::new();
        let touched = |(key, lane): (&LaneKey, &Lane)| lane.holds(*key, slot).then_some(*key);
        let touched: Vec<LaneKey> = self.lanes.iter().filter_map(touched).collect();
        for key in touched {
            let was_stuck = self.mark(key, false);
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let head = lane.queue.front().copied();
            forgotten.extend(lane.queue.iter().copied().filter(|id| is_gone(*id)));
            lane.queue.retain(|id| !is_gone(*id));
            *lane.load_of(key, slot) = Load::default();
            if lane.queue.is_empty() {
                self.lanes.remove(&key);
            } else if lane.queue.front().copied() != head {
                lane.state = State::Ready;
                self.ready.push_back(key);
            } else {
                self.mark(key, was_stuck);
            }
        }
        self.ready.retain(|key| self.lanes.contains_key(key));
        self.due.retain(|(due, key)| self.lanes.get(key).is_some_and(|lane| lane.state == State::Waiting(*due)));
        self.parked.remove(&slot);
        self.stuck.remove(&slot);
        forgotten
    }

    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Lanes that wait for a person, with the delivery at their head and the reason.
    pub fn stopped(&self) -> impl Iterator<Item = (DeliveryId, &str)> {
        self.lanes.values().filter_map(|lane| match &lane.state {
            State::Stopped(reason) => Some((*lane.queue.front()?, reason.as_str())),
            State::Ready | State::Parked | State::Busy | State::Waiting(_) => None,
        })
    }

    /// What of a partition is in lanes that do not move: their heads wait for a retry (or are tried again right now), for room in
    /// the metadata, or for a person.
    pub fn stuck(&self, slot: Slot) -> Load {
        self.stuck.get(&slot).copied().unwrap_or_default()
    }

    pub fn all_stuck(&self) -> Load {
        self.stuck.values().copied().fold(Load::default(), Load::plus)
    }

    fn set(&mut self, key: LaneKey, state: State) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.state = state;
        }
    }

    /// Answers what it was before.
    fn mark(&mut self, key: LaneKey, stuck: bool) -> bool {
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.stuck != stuck) else { return stuck };
        lane.stuck = stuck;
        for (slot, load) in std::iter::once((key.slot, lane.load)).chain(lane.guests.iter().copied()) {
            let all = self.stuck.entry(slot).or_default();
            *all = if stuck { all.plus(load) } else { all.less(load) };
        }
        !stuck
    }
}

impl Lane {
    fn new() -> Self {
        let (load, guests) = (Load::default(), Vec::new());
        Lane { queue: VecDeque::with_capacity(1), load, guests, state: State::Ready, stuck: false }
    }

    fn load_of(&mut self, key: LaneKey, slot: Slot) -> &mut Load {
        if key.slot == slot {
            return &mut self.load;
        }
        let at = self.guests.iter().position(|(guest, _)| *guest == slot).unwrap_or_else(|| {
            self.guests.push((slot, Load::default()));
            self.guests.len() - 1
        });
        &mut self.guests[at].1
    }

    fn holds(&self, key: LaneKey, slot: Slot) -> bool {
        let guests = || self.guests.iter().any(|(guest, load)| *guest == slot && load.records > 0);
        if key.slot == slot { self.load.records > 0 } else { guests() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LaneKey = LaneKey { slot: Slot(0), hash: 1 };
    const B: LaneKey = LaneKey { slot: Slot(1), hash: 2 };

    fn lanes() -> Lanes {
        let mut lanes = Lanes::default();
        for (key, id) in [(A, 1), (A, 2), (B, 3)] {
            lanes.push(key, key.slot, DeliveryId(id), 10);
        }
        lanes
    }

    fn take(lanes: &mut Lanes) -> Option<u64> {
        lanes.take_ready().map(|(_, id)| id.0)
    }

    #[test]
    fn a_lane_gives_one_at_a_time_and_lanes_run_abreast() {
        let mut lanes = lanes();
        assert_eq!([take(&mut lanes), take(&mut lanes), take(&mut lanes)], [Some(1), Some(3), None]);
        lanes.finish(A, A.slot, 10);
        assert_eq!(take(&mut lanes), Some(2));
        lanes.finish(A, A.slot, 10);
        lanes.finish(B, B.slot, 10);
        assert_eq!(lanes.len(), 0);
    }

    #[test]
    fn a_waiting_head_holds_its_lane_until_it_is_due() {
        let mut lanes = lanes();
        take(&mut lanes);
        lanes.wait(A, 100);
        lanes.wake_due(99);
        assert_eq!([take(&mut lanes), take(&mut lanes)], [Some(3), None]);
        assert_eq!(lanes.next_due(), Some(100));
        lanes.wake_due(100);
        assert_eq!(take(&mut lanes), Some(1));
    }

    #[test]
    fn a_stopped_lane_says_why_and_stops_nobody_else() {
        let mut lanes = lanes();
        take(&mut lanes);
        lanes.stop(A, "no topic".into());
        assert_eq!(lanes.stopped().collect::<Vec<_>>(), [(DeliveryId(1), "no topic")]);
        assert_eq!(take(&mut lanes), Some(3));
        lanes.restart();
        assert_eq!([take(&mut lanes), take(&mut lanes)], [Some(1), None]);
    }

    #[test]
    fn what_cannot_move_is_counted_by_partition() {
        let mut lanes = lanes();
        let stuck = |lanes: &Lanes| {
            let (one, other) = (lanes.stuck(A.slot), lanes.stuck(B.slot));
            assert_eq!(lanes.all_stuck(), one.plus(other));
            assert_eq!((one.bytes, other.bytes), (10 * one.records, 10 * other.records));
            [one.records, other.records]
        };
        take(&mut lanes);
        assert_eq!(stuck(&lanes), [0, 0]);
        lanes.wait(A, 100);
        lanes.push(A, A.slot, DeliveryId(4), 10);
        assert_eq!(stuck(&lanes), [3, 0]);
        lanes.wake_due(100);
        take(&mut lanes);
        assert_eq!(stuck(&lanes), [3, 0], "it may fail again");
        lanes.finish(A, A.slot, 10);
        assert_eq!(stuck(&lanes), [0, 0]);
        lanes.park(B, B.slot);
        assert_eq!(stuck(&lanes), [0, 1]);
        lanes.unpark(B.slot);
        lanes.stop(A, "no topic".into());
        assert_eq!(stuck(&lanes), [2, 0]);
        lanes.forget(A.slot, |_| true);
        assert_eq!(stuck(&lanes), [0, 0]);
    }

    #[test]
    fn a_parked_lane_goes_on_when_its_partition_may() {
        let mut lanes = lanes();
        let (key, _) = lanes.take_ready().unwrap();
        lanes.park(key, key.slot);
        assert_eq!([take(&mut lanes), take(&mut lanes)], [Some(3), None]);
        lanes.unpark(A.slot);
        assert_eq!(take(&mut lanes), Some(1));
    }

    #[test]
    fn a_guest_goes_with_the_partition_that_it_was_read_from() {
        let guest = DeliveryId(9);
        let mut lanes = lanes();
        lanes.push(A, B.slot, guest, 7);
        assert_eq!([take(&mut lanes), take(&mut lanes)], [Some(1), Some(3)]);
        lanes.wait(A, 100);
        assert_eq!((lanes.stuck(A.slot).bytes, lanes.stuck(B.slot).bytes), (20, 7));
        assert_eq!(lanes.forget(A.slot, |id| id != guest && id != DeliveryId(3)).len(), 2);
        assert_eq!((lanes.stuck(A.slot), lanes.stuck(B.slot)), (Load::default(), Load::default()));
        lanes.wake_due(100);
        lanes.push(A, A.slot, DeliveryId(10), 10);
        assert_eq!([take(&mut lanes), take(&mut lanes)], [Some(9), None], "what comes back queues behind it");
        assert_eq!(lanes.forget(B.slot, |id| id == guest || id == DeliveryId(3)).len(), 2);
        assert_eq!([take(&mut lanes), take(&mut lanes)], [Some(10), None], "and goes when it has gone");
    }

    #[test]
    fn a_forgotten_partition_leaves_nothing_behind() {
        let mut lanes = lanes();
        take(&mut lanes);
        lanes.wait(A, 5);
        assert_eq!(lanes.forget(A.slot, |_| true).len(), 2);
        lanes.wake_due(10);
        assert_eq!([take(&mut lanes), take(&mut lanes)], [Some(3), None]);
    }
}
