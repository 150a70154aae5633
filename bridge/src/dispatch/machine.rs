//! The rules of dispatch: each happening changes lanes, offsets and the gate, and then whatever may be sent is sent.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::forward::Forward;
use super::gate::{Gate, Look};
use super::lanes::{LaneKey, Lanes, Load};
use super::offsets::Admission;
use super::partition::Partition;
use super::{Action, Commitment, DeliveryId, Fresh, Input, Millis, OnExhausted, OnUnauthorized, Policy, Slot, Verdict};

/// One source's dispatch. `R` is a record, which the machine hands back and never looks into.
#[derive(Debug)]
pub struct Machine<R> {
    policy: Policy,
    chance: fastrand::Rng,
    clock: Forward,
    partitions: BTreeMap<Slot, Partition>,
    deliveries: FxHashMap<DeliveryId, Delivery<R>>,
    lanes: Lanes,
    gate: Gate,
    next_id: u64,
    in_flight: usize,
    bytes: usize,
    /// What of it waits for the log alone.
    writing: Load,
    /// No records are taken because memory is full.
    full: bool,
    draining: bool,
}

#[derive(Debug)]
struct Delivery<R> {
    slot: Slot,
    offset: i64,
    lane: LaneKey,
    bytes: usize,
    /// Given up, it is told to whom waits, whatever else were to happen to it.
    awaited: bool,
    attempts: u32,
    phase: Phase,
    record: R,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    InFlight,
    Writing,
}

impl<R: Clone> Machine<R> {
    pub fn new(policy: Policy, seed: u64) -> Self {
        let gate = Gate::new(policy.wake_budget, policy.in_flight_max);
        Machine {
            policy,
            chance: fastrand::Rng::with_seed(seed),
            clock: Forward::default(),
            partitions: BTreeMap::new(),
            deliveries: FxHashMap::default(),
            lanes: Lanes::default(),
            gate,
            next_id: 0,
            in_flight: 0,
            bytes: 0,
            writing: Load::default(),
            full: false,
            draining: false,
        }
    }

    /// Something happened at `now`. What is to be done is appended to `actions`.
    pub fn step(&mut self, now: Millis, input: Input<R>, actions: &mut Vec<Action<R>>) {
        self.clock.set(now);
        match input {
            Input::Assigned { slot, next, metadata } => {
                self.gone(slot, actions);
                self.partitions.insert(slot, Partition::new(next, metadata.as_deref()));
            }
            Input::Record(record) => self.record(record),
            Input::Skipped { slot, offset } => self.passed(slot, offset + 1),
            Input::End { slot, next } => self.passed(slot, next),
            Input::Answered { id, verdict } => self.answered(id, verdict, actions),
            Input::Written(ids) => ids.into_iter().for_each(|id| self.written(id)),
            Input::Taken(id) => self.taken(id),
            Input::NotWritable { id, reason } => self.not_writable(id, reason),
            Input::NotCommitted(slots) => self.each(&slots, |partition| partition.offsets.touch()),
            Input::MetadataMax(bytes_max) => self.policy.metadata_bytes_max = bytes_max,
            Input::Leaving(slots) => self.each(&slots, |partition| partition.leaving = true),
            Input::Gone(slots) => slots.into_iter().for_each(|slot| self.gone(slot, actions)),
            Input::Retry => self.lanes.restart(),
            Input::Drain => self.draining = true,
            Input::Tick => {}
        }
        self.lanes.wake_due(self.clock.now);
        self.pump(actions);
        self.balance(actions);
    }

    /// In how many milliseconds from `now` an [`Input::Tick`] is due. Not from the last step: it may be asked again and again without one.
    pub fn due_in(&self, now: Millis) -> Option<Millis> {
        let gate = self.gate.due().filter(|_| self.lanes.has_ready() && self.in_flight < self.policy.in_flight_max);
        let due = [gate, self.lanes.next_due()].into_iter().flatten().min()?;
        (!self.draining).then(|| due.saturating_sub(self.clock.at(now)))
    }

    /// What there is to commit if the deliveries of `writing` are written in the same commit. It counts as committed until
    /// [`Input::NotCommitted`] says otherwise.
    pub fn commits(&mut self, writing: &[DeliveryId]) -> Vec<Commitment> {
        let mut also: BTreeMap<Slot, BTreeSet<i64>> = BTreeMap::new();
        for delivery in writing.iter().filter_map(|id| self.deliveries.get(id)) {
            also.entry(delivery.slot).or_default().insert(delivery.offset);
        }
        let (none, bytes_max) = (BTreeSet::new(), self.policy.metadata_bytes_max);
        let dirty = self.partitions.iter_mut().filter(|(slot, p)| p.offsets.is_dirty() || also.contains_key(slot));
        dirty.map(|(slot, p)| p.commitment(*slot, also.get(slot).unwrap_or(&none), bytes_max)).collect()
    }

    /// Whether [`Machine::commits`] would tell anything.
    pub fn is_dirty(&self) -> bool {
        self.partitions.values().any(|partition| partition.offsets.is_dirty())
    }

    /// Whether a delivery waits to be written (its partition may have gone meanwhile).
    pub fn is_writing(&self, id: DeliveryId) -> bool {
        self.deliveries.get(&id).is_some_and(|delivery| delivery.phase == Phase::Writing)
    }

    /// Records of these partitions that were sent and are not settled.
    pub fn under_way(&self, slots: &[Slot]) -> usize {
        slots.iter().filter_map(|slot| self.partitions.get(slot)).map(Partition::under_way).sum()
    }

    /// No more records should come: memory is full.
    pub fn is_full(&self) -> bool {
        self.full
    }

    pub fn gate(&self) -> Look {
        self.gate.look()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Records and bytes in memory.
    pub fn buffered(&self) -> (usize, usize) {
        (self.deliveries.len(), self.bytes)
    }

    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The safe offset of each partition.
    pub fn safe_offsets(&self) -> impl Iterator<Item = (Slot, i64)> {
        self.partitions.iter().map(|(slot, partition)| (*slot, partition.offsets.safe()))
    }

    /// Lanes that wait for a person: partition, offset and reason.
    pub fn stopped(&self) -> Vec<(Slot, i64, String)> {
        let stopped = self.lanes.stopped().filter_map(|(id, reason)| Some((self.deliveries.get(&id)?, reason)));
        stopped.map(|(delivery, reason)| (delivery.slot, delivery.offset, reason.to_owned())).collect()
    }

    fn record(&mut self, Fresh { slot, home, offset, key, bytes, awaited, record }: Fresh<R>) {
        let Some(partition) = self.partitions.get_mut(&slot) else { return };
        partition.changed();
        let Admission::New { attempts } = partition.offsets.admit(offset) else { return };
        // Given up and not yet written when an earlier process ended: one more answer tells why.
        let attempts = attempts.min(self.policy.retry.retries_max.unwrap_or(u32::MAX));
        if attempts > 0 {
            partition.attempts.insert(offset, attempts);
        }
        let lane = LaneKey { slot: home, hash: self.policy.ordering.lane(key, offset) };
        let id = DeliveryId(self.next_id);
        self.next_id += 1;
        self.bytes += bytes;
        let phase = Phase::Waiting;
        self.deliveries.insert(id, Delivery { slot, offset, lane, bytes, awaited, attempts, phase, record });
        self.lanes.push(lane, slot, id, bytes);
    }

    /// Nothing below `next` is still to be delivered for the first time.
    fn passed(&mut self, slot: Slot, next: i64) {
        self.each(&[slot], |partition| {
            partition.changed();
            partition.offsets.advance(next);
        });
    }

    fn answered(&mut self, id: DeliveryId, verdict: Verdict, actions: &mut Vec<Action<R>>) {
        let now = self.clock.now;
        let Some(lane) = self.landed(id) else { return };
        if !matches!(verdict, Verdict::Silent | Verdict::Unauthorized | Verdict::Failed { answered: false, .. }) {
            self.gate.answered(now);
        }
        match verdict {
            Verdict::Settled => self.settle(id),
            Verdict::Reply => self.begin_writing(id),
            Verdict::Refused => self.refused(id, actions),
            Verdict::Unauthorized if self.policy.on_unauthorized == OnUnauthorized::Pause => {
                self.gate.unauthorized(now, id, self.chance.f64());
                self.lanes.put_back(lane);
            }
            Verdict::Unauthorized => {
                self.gate.answered(now);
                self.refused(id, actions);
            }
            Verdict::Failed { answered, retry_after } => {
                if !answered {
                    self.gate.lost(now, id, self.chance.f64());
                }
                self.failed(id, retry_after, actions);
            }
            Verdict::Silent if self.gate.silent(now, id, self.chance.f64()) => self.lanes.put_back(lane),
            Verdict::Silent => self.failed(id, None, actions),
            Verdict::Unwritable(reason) => self.lanes.stop(lane, reason),
        }
    }

    /// A call came back. `None` when its partition has gone meanwhile.
    fn landed(&mut self, id: DeliveryId) -> Option<LaneKey> {
        let delivery = self.deliveries.get_mut(&id).filter(|delivery| delivery.phase == Phase::InFlight)?;
        delivery.phase = Phase::Waiting;
        self.in_flight -= 1;
        if let Some(partition) = self.partitions.get_mut(&delivery.slot) {
            partition.in_flight -= 1;
        }
        Some(delivery.lane)
    }

    fn refused(&mut self, id: DeliveryId, actions: &mut Vec<Action<R>>) {
        self.count_attempt(id);
        self.give_up(id, "refused by the sink", actions);
    }

    fn failed(&mut self, id: DeliveryId, retry_after: Option<Millis>, actions: &mut Vec<Action<R>>) {
        let Some((lane, attempts)) = self.count_attempt(id) else { return };
        match self.policy.retry.delay(attempts, retry_after, self.chance.f64()) {
            Some(delay) => self.lanes.wait(lane, self.clock.now + delay),
            None => self.give_up(id, "failed after all retries", actions),
        }
    }

    fn count_attempt(&mut self, id: DeliveryId) -> Option<(LaneKey, u32)> {
        let delivery = self.deliveries.get_mut(&id)?;
        delivery.attempts = delivery.attempts.saturating_add(1);
        let partition = self.partitions.get_mut(&delivery.slot)?;
        partition.attempts.insert(delivery.offset, delivery.attempts);
        partition.offsets.touch();
        partition.changed();
        Some((delivery.lane, delivery.attempts))
    }

    fn give_up(&mut self, id: DeliveryId, reason: &str, actions: &mut Vec<Action<R>>) {
        let Some(delivery) = self.deliveries.get(&id) else { return };
        let (record, attempts) = (delivery.record.clone(), delivery.attempts);
        let end = if delivery.awaited { OnExhausted::DeadLetter } else { self.policy.on_exhausted };
        match end {
            OnExhausted::DeadLetter => {
                self.begin_writing(id);
                actions.push(Action::DeadLetter { id, record, attempts });
            }
            OnExhausted::Stop => self.lanes.stop(delivery.lane, reason.to_owned()),
            OnExhausted::Drop => {
                self.settle(id);
                actions.push(Action::Dropped { id, record, attempts });
            }
        }
    }

    fn begin_writing(&mut self, id: DeliveryId) {
        let Some(delivery) = self.deliveries.get_mut(&id) else { return };
        delivery.phase = Phase::Writing;
        self.writing = self.writing.plus(Load { records: 1, bytes: delivery.bytes });
        if let Some(partition) = self.partitions.get_mut(&delivery.slot) {
            partition.writing += 1;
        }
    }

    fn written(&mut self, id: DeliveryId) {
        let Some((slot, offset)) = self.end_writing(id) else { return };
        if let Some(partition) = self.partitions.get_mut(&slot) {
            partition.offsets.settle_committed(offset);
        }
        self.settle(id);
    }

    /// Unlike what is written to the log, it is not committed yet.
    fn taken(&mut self, id: DeliveryId) {
        if self.end_writing(id).is_some() {
            self.settle(id);
        }
    }

    fn not_writable(&mut self, id: DeliveryId, reason: String) {
        if self.end_writing(id).is_some() {
            let lane = self.deliveries[&id].lane;
            self.lanes.stop(lane, reason);
        }
    }

    fn end_writing(&mut self, id: DeliveryId) -> Option<(Slot, i64)> {
        let delivery = self.deliveries.get_mut(&id).filter(|delivery| delivery.phase == Phase::Writing)?;
        delivery.phase = Phase::Waiting;
        self.writing = self.writing.less(Load { records: 1, bytes: delivery.bytes });
        if let Some(partition) = self.partitions.get_mut(&delivery.slot) {
            partition.writing -= 1;
        }
        Some((delivery.slot, delivery.offset))
    }

    fn settle(&mut self, id: DeliveryId) {
        let Some(delivery) = self.deliveries.remove(&id) else { return };
        self.bytes -= delivery.bytes;
        self.lanes.finish(delivery.lane, delivery.slot, delivery.bytes);
        if let Some(partition) = self.partitions.get_mut(&delivery.slot) {
            partition.offsets.settle(delivery.offset);
            partition.attempts.remove(&delivery.offset);
            partition.changed();
        }
        self.lanes.unpark(delivery.slot);
    }

    fn gone(&mut self, slot: Slot, actions: &mut Vec<Action<R>>) {
        self.partitions.remove(&slot);
        let deliveries = &self.deliveries;
        let is_gone = |id| deliveries.get(&id).is_some_and(|delivery| delivery.slot == slot);
        for id in self.lanes.forget(slot, is_gone) {
            let Some(delivery) = self.deliveries.remove(&id) else { continue };
            self.bytes -= delivery.bytes;
            match delivery.phase {
                Phase::InFlight => {
                    self.in_flight -= 1;
                    self.gate.cancelled(id);
                    actions.push(Action::Cancel { id });
                }
                Phase::Writing => self.writing = self.writing.less(Load { records: 1, bytes: delivery.bytes }),
                Phase::Waiting => {}
            }
        }
    }

    /// Sends what may be sent.
    fn pump(&mut self, actions: &mut Vec<Action<R>>) {
        while !self.draining && self.gate.admits(self.clock.now, self.in_flight) {
            let Some((lane, id)) = self.lanes.take_ready() else { break };
            let delivery = self.deliveries.get_mut(&id).expect("a lane holds deliveries only");
            let partition = self.partitions.get_mut(&delivery.slot).expect("a delivery's partition is assigned");
            if partition.leaving || !partition.has_room(delivery.offset, self.policy.metadata_bytes_max) {
                self.lanes.park(lane, delivery.slot);
                continue;
            }
            delivery.phase = Phase::InFlight;
            partition.in_flight += 1;
            self.in_flight += 1;
            self.gate.sent(id);
            actions.push(Action::Send { id, record: delivery.record.clone(), attempt: delivery.attempts + 1 });
        }
    }

    /// Half of the memory is for what moves: it is full until half of that is free. The other half is for what is stuck, shared by
    /// the partitions: one that has its share is paused, so that it stops none of the others. A partition is never paused
    /// because records come faster than the sink takes them, nor while answers of it are being written, which makes room in
    /// its metadata: a log forgets what it has fetched of a paused partition. What has its answer and waits for the log may
    /// take what is left of either half, so that the sink has work meanwhile.
    fn balance(&mut self, actions: &mut Vec<Action<R>>) {
        let memory = Load { records: self.policy.records_max, bytes: self.policy.bytes_max };
        let used = Load { records: self.deliveries.len(), bytes: self.bytes };
        // A retry that is being written is in both, until it is known that it was the last.
        let moving = used.saturating_less(self.lanes.all_stuck().plus(self.writing));
        self.full = used.reaches(memory) || moving.reaches(memory.part(if self.full { 4 } else { 2 }));
        let share = memory.part(2 * self.partitions.len().max(1));
        for (slot, partition) in &mut self.partitions {
            let limit = share.part(if partition.paused { 2 } else { 1 });
            let limit = Load { records: limit.records.max(1), bytes: limit.bytes.max(1) };
            let pause = self.lanes.stuck(*slot).reaches(limit) && (partition.paused || partition.writing == 0);
            if pause != partition.paused {
                partition.paused = pause;
                actions.push(if pause { Action::Pause(*slot) } else { Action::Resume(*slot) });
            }
        }
    }

    fn each(&mut self, slots: &[Slot], change: impl Fn(&mut Partition)) {
        for slot in slots {
            if let Some(partition) = self.partitions.get_mut(slot) {
                change(partition);
            }
        }
    }
}
