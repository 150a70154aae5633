//! What happens in a world, by chance, and what is checked after every step.

use std::collections::BTreeMap;

use super::super::*;
use super::commit::Pending;
use super::policy::{Mood, policy};
use super::shelf::{Sample, Shelf, lane};
use super::watch::Watch;

/// Records that still come after a pause.
const LATE_MAX: usize = 3;

pub struct World {
    seed: u64,
    pub chance: fastrand::Rng,
    /// The clock that jumps, and the time that really passes.
    pub clock: Millis,
    pub steady: Millis,
    pub policy: Policy,
    pub machine: Machine<Sample>,
    pub shelves: BTreeMap<Slot, Shelf>,
    pub in_flight: BTreeMap<DeliveryId, Sample>,
    pub writing: BTreeMap<DeliveryId, Sample>,
    pub pending: Option<Pending>,
    /// Calls of partitions that are gone, whose answers come all the same.
    pub ghosts: Vec<DeliveryId>,
    /// Lanes with something under way, and lanes that wait for a person.
    pub busy: BTreeMap<Lane, Sample>,
    pub stopped: BTreeMap<Lane, Sample>,
    /// Records given up in this step, with their attempts: each must be a dead letter, dropped, or stopped.
    given_up: Option<(DeliveryId, u32)>,
    pub watch: Watch,
    mood: Mood,
    actions: Vec<Action<Sample>>,
    /// Steps until the end, once nothing new is sent.
    pub draining: Option<usize>,
    pub calm: bool,
    /// Half of the worlds have no crashes, so that what hangs is not healed by the next one.
    pub crashes: bool,
    pub broker_metadata_max: usize,
    /// Everything fits into the metadata, so that nothing is forgotten.
    pub is_metadata_complete: bool,
    pub steps: usize,
}

pub type Lane = (Slot, Option<u64>, Option<i64>);

impl World {
    pub fn new(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let policy = policy(&mut chance);
        let slots = chance.u32(1..5);
        let shelves = (0..slots).map(|n| (Slot(n), Shelf::new(Slot(n), slots, &mut chance))).collect();
        World {
            seed,
            machine: Machine::new(policy.clone(), chance.u64(..)),
            crashes: chance.bool(),
            mood: Mood::any(&mut chance),
            broker_metadata_max: [METADATA_BYTES_MAX, METADATA_BYTES_MAX, 64, 0][chance.usize(..4)],
            is_metadata_complete: true,
            chance,
            clock: 1_000_000,
            steady: 1_000_000,
            policy,
            shelves,
            in_flight: BTreeMap::new(),
            writing: BTreeMap::new(),
            pending: None,
            ghosts: Vec::new(),
            busy: BTreeMap::new(),
            stopped: BTreeMap::new(),
            given_up: None,
            watch: Watch::default(),
            actions: Vec::new(),
            draining: None,
            calm: false,
            steps: 0,
        }
    }

    pub fn step(&mut self, input: Input<Sample>) {
        self.tell(input);
        self.watch.assert_same(self.machine.gate());
        self.act_and_check();
    }

    pub fn tell(&mut self, input: Input<Sample>) {
        self.steps += 1;
        self.machine.step(self.clock, input, &mut self.actions);
    }

    pub fn act_and_check(&mut self) {
        for action in std::mem::take(&mut self.actions) {
            self.act(action);
        }
        assert_eq!(self.given_up, None, "given up, and neither a dead letter nor dropped nor stopped");
        self.check();
    }

    fn act(&mut self, action: Action<Sample>) {
        match action {
            Action::Send { id, record, attempt } => self.sent(id, record, attempt),
            Action::Cancel { id } => {
                assert!(self.in_flight.remove(&id).is_some(), "a cancel of what was not sent");
                self.watch.cancelled(id);
                self.ghosts.push(id);
            }
            Action::DeadLetter { id, record, attempts } => {
                assert_eq!(self.given_up.take(), Some((id, attempts)));
                assert_eq!(self.end_of(record), OnExhausted::DeadLetter);
                self.busy.insert(lane(record, self.policy.ordering), record);
                self.writing.insert(id, record);
            }
            Action::Dropped { id, record, attempts } => {
                assert_eq!(self.given_up.take(), Some((id, attempts)));
                assert_eq!(self.end_of(record), OnExhausted::Drop);
                self.shelf(record.slot).settle(record);
            }
            Action::Pause(slot) => self.pause(slot, true),
            Action::Resume(slot) => self.pause(slot, false),
        }
    }

    /// What becomes of a record that is given up: whoever waits for an answer gets one.
    fn end_of(&self, record: Sample) -> OnExhausted {
        if record.awaited { OnExhausted::DeadLetter } else { self.policy.on_exhausted }
    }

    fn pause(&mut self, slot: Slot, pause: bool) {
        let late = self.chance.usize(..LATE_MAX + 1);
        if let Some(reader) = &mut self.shelf(slot).reader {
            assert_ne!(reader.paused, pause, "it is so already");
            (reader.paused, reader.late) = (pause, late);
        }
    }

    fn sent(&mut self, id: DeliveryId, record: Sample, attempt: u32) {
        let (ordering, retries_max) = (self.policy.ordering, self.policy.retry.retries_max);
        let shelf = &self.shelves[&record.slot];
        let fate = shelf.fates[record.index];
        assert!(self.draining.is_none() && !shelf.is_leaving(), "{record:?} is sent at the end");
        assert!(record.wanted && !fate.settled && !fate.durable, "{record:?} was settled, and is sent again: {fate:?}");
        assert_eq!(attempt, fate.attempts + 1, "attempts of {record:?}");
        assert!(fate.not_before <= self.steady, "{record:?} is sent before Retry-After");
        assert!(retries_max.is_none_or(|max| attempt <= max + 1 + fate.let_go), "attempt {attempt} is too many");
        for other in shelf.lane_before(record, ordering) {
            assert!(shelf.is_settled(*other), "{record:?} overtakes {other:?}");
        }
        let lane = lane(record, ordering);
        assert!(!self.stopped.contains_key(&lane), "{record:?} is in a stopped lane");
        assert_eq!(self.busy.insert(lane, record), None, "{record:?} is abreast of another");
        self.in_flight.insert(id, record);
        self.watch.sent(id, self.in_flight.len());
    }

    fn check(&mut self) {
        assert!(self.in_flight.len() <= self.policy.in_flight_max, "in flight");
        assert_eq!(self.machine.in_flight(), self.in_flight.len());
        let (records, bytes) = self.machine.buffered();
        assert!(records <= self.policy.records_max && bytes <= self.policy.bytes_max + 100, "memory");
        for (slot, safe) in self.machine.safe_offsets() {
            let shelf = self.shelves.get_mut(&slot).expect("the machine knows slots of the world only");
            shelf.assert_settled_below(safe);
        }
    }

    /// Nothing is to be committed: then a restart forgets nothing.
    pub fn assert_nothing_to_tell(&self) {
        if !self.machine.is_dirty() && self.is_metadata_complete {
            self.shelves.values().for_each(Shelf::assert_all_told);
        }
    }

    pub fn shelf(&mut self, slot: Slot) -> &mut Shelf {
        self.shelves.get_mut(&slot).expect("the machine knows slots of the world only")
    }

    pub fn lane_ends(&mut self, record: Sample) {
        self.busy.remove(&lane(record, self.policy.ordering));
    }

    pub fn stop_lane(&mut self, record: Sample) {
        self.lane_ends(record);
        self.stopped.insert(lane(record, self.policy.ordering), record);
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.chance.usize(..from.len())].clone())
    }

    pub fn slots(&self, wanted: impl Fn(&Shelf) -> bool) -> Vec<Slot> {
        self.shelves.iter().filter(|(_, shelf)| wanted(shelf)).map(|(slot, _)| *slot).collect()
    }

    /// One random happening.
    pub fn happen(&mut self) {
        if self.draining.is_some_and(|left| left == 0) {
            return self.restart();
        }
        self.draining = self.draining.map(|left| left - 1);
        match self.chance.u32(..if self.calm { 880 } else { 1_000 }) {
            0..300 => self.read(),
            300..600 => self.answer(),
            600..760 => self.commit(),
            760..880 => self.wait(),
            880..915 => self.assign(),
            915..925 => self.begin_to_leave(),
            925..935 => self.go(),
            935..945 => self.read_again(),
            945..955 => self.answer_of_a_ghost(),
            985..988 => self.let_go(),
            988..995 => self.hand_over(),
            955..958 if self.crashes => self.crash(),
            958..960 if self.crashes => self.drain(),
            960..970 => self.jump_back(),
            970..975 => self.jump_forward(),
            975..985 => self.mood = Mood::any(&mut self.chance),
            _ => self.step(Input::Tick),
        }
    }

    fn pass(&mut self, time: Millis) {
        self.clock += time;
        self.steady += time;
    }

    fn jump_back(&mut self) {
        self.clock = self.clock.saturating_sub(self.chance.u64(..5_000_000));
        self.step(Input::Tick);
    }

    fn jump_forward(&mut self) {
        let time = self.chance.u64(..5_000_000);
        self.pass(time);
        self.step(Input::Tick);
    }

    fn read(&mut self) {
        let ready = |shelf: &Shelf| shelf.reader.as_ref().is_some_and(|reader| !reader.paused || reader.late > 0);
        let slots = self.slots(ready);
        // A source whose memory is full takes nothing at all.
        let Some(slot) = self.pick(&slots).filter(|_| !self.machine.is_full()) else { return };
        let shelf = self.shelf(slot);
        let Some(record) = shelf.read() else {
            let next = shelf.end;
            return self.step(Input::End { slot, next });
        };
        self.step(input_of(record));
    }

    /// The log hands out what it handed out before.
    fn read_again(&mut self) {
        let slots = self.slots(|shelf| shelf.reader.is_some());
        let Some(slot) = self.pick(&slots) else { return };
        let shelf = &self.shelves[&slot];
        let seen = &shelf.records[..shelf.reader.as_ref().map_or(0, |reader| reader.at)];
        let begin = seen.len().saturating_sub(20);
        let seen = seen[begin..].to_vec();
        if let Some(record) = self.pick(&seen) {
            self.step(input_of(record));
        }
    }

    fn answer(&mut self) {
        let ids: Vec<DeliveryId> = self.in_flight.keys().copied().collect();
        let Some(id) = self.pick(&ids) else { return };
        let record = self.in_flight.remove(&id).expect("picked from there");
        let verdict = if self.calm { Mood::Good } else { self.mood }.verdict(&mut self.chance);
        self.lane_ends(record);
        match verdict {
            Verdict::Settled => self.shelf(record.slot).settle(record),
            Verdict::Reply => {
                self.busy.insert(lane(record, self.policy.ordering), record);
                self.writing.insert(id, record);
            }
            Verdict::Unwritable(_) => self.stop_lane(record),
            _ => {}
        }
        self.tell(Input::Answered { id, verdict: verdict.clone() });
        if self.watch.landed(self.steady, id, &verdict, self.machine.gate(), &self.policy) {
            self.count_attempt(id, record, &verdict);
        }
        self.act_and_check();
    }

    fn count_attempt(&mut self, id: DeliveryId, record: Sample, verdict: &Verdict) {
        let not_before = match verdict {
            Verdict::Failed { retry_after: Some(after), .. } => {
                self.steady + (*after).min(self.policy.retry.retry_after_max)
            }
            _ => 0,
        };
        let fate = &mut self.shelf(record.slot).fates[record.index];
        (fate.attempts, fate.not_before) = (fate.attempts + 1, not_before);
        let attempts = fate.attempts;
        let refused = matches!(verdict, Verdict::Refused | Verdict::Unauthorized);
        if refused || self.policy.retry.retries_max.is_some_and(|max| attempts > max) {
            match self.end_of(record) {
                OnExhausted::Stop => self.stop_lane(record),
                OnExhausted::DeadLetter | OnExhausted::Drop => self.given_up = Some((id, attempts)),
            }
        }
    }

    fn answer_of_a_ghost(&mut self) {
        if let Some(id) = self.ghosts.pop() {
            let verdict = Mood::Bad.verdict(&mut self.chance);
            self.step(Input::Answered { id, verdict });
        }
    }

    /// A person lets the stopped lanes go on. The machine tells all of them, and no others.
    pub fn let_go(&mut self) {
        let mut told: Vec<(Slot, i64)> = self.machine.stopped().iter().map(|(slot, at, _)| (*slot, *at)).collect();
        let mut stopped: Vec<(Slot, i64)> = self.stopped.values().map(|record| (record.slot, record.offset)).collect();
        told.sort();
        stopped.sort();
        assert_eq!(told, stopped, "the lanes that wait for a person");
        for record in std::mem::take(&mut self.stopped).into_values() {
            let fate = &mut self.shelf(record.slot).fates[record.index];
            // A person does not wait for as long as the sink once asked.
            (fate.let_go, fate.not_before) = (fate.let_go + 1, 0);
        }
        self.step(Input::Retry);
        let still = |(slot, at, _): &(Slot, i64, String)| !told.contains(&(*slot, *at));
        assert!(self.machine.stopped().iter().all(still), "a lane is stopped that may go on");
    }

    /// Somebody else than the log takes what was to be written, or what was to be written for a partition that is gone.
    fn hand_over(&mut self) {
        let ids: Vec<DeliveryId> = self.writing.keys().copied().collect();
        if let Some(id) = self.pick(&ids) {
            let record = self.writing.remove(&id).expect("picked from there");
            self.lane_ends(record);
            self.shelf(record.slot).settle(record);
            self.step(Input::Taken(id));
            assert!(self.machine.is_dirty(), "{record:?} is settled, and nobody would commit it");
        } else if let Some(id) = self.ghosts.last().copied() {
            self.step(Input::Taken(id));
        }
    }

    /// Time passes exactly as far as the machine says: what it forgets to wait for would hang.
    fn wait(&mut self) {
        if let Some(due) = self.machine.due_in(self.clock) {
            self.pass(due);
            self.step(Input::Tick);
        }
    }
}

fn input_of(record: Sample) -> Input<Sample> {
    let Sample { slot, home, offset, key, bytes, awaited, wanted, .. } = record;
    match wanted {
        true => Input::Record(Fresh { slot, home, offset, key, bytes, awaited, record }),
        false => Input::Skipped { slot, offset },
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{:?}", self.policy);
            println!("after {} steps. To play it again:", self.steps);
            println!("SEED={} cargo test -p bridge simulator -- --nocapture", self.seed);
        }
    }
}
