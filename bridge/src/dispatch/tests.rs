//! Single rules of the machine, where the simulator would hide them.

use super::*;

const ONE: Slot = Slot(1);
const TWO: Slot = Slot(2);

fn policy() -> Policy {
    Policy {
        ordering: Ordering::Key,
        in_flight_max: 10,
        records_max: 100,
        bytes_max: 1_000,
        retry: Retry {
            retries_max: Some(1),
            backoff: Backoff::Linear,
            delay: 1_000,
            delay_max: 1_000,
            retry_after_max: 5_000,
        },
        on_exhausted: OnExhausted::DeadLetter,
        on_unauthorized: OnUnauthorized::Refuse,
        wake_budget: 60_000,
        metadata_bytes_max: METADATA_BYTES_MAX,
    }
}

fn fresh(slot: Slot, offset: i64, key: u64) -> Fresh<&'static str> {
    Fresh { slot, home: slot, offset, key: Some(key), bytes: 100, awaited: false, record: "r" }
}

struct Bench {
    machine: Machine<&'static str>,
    now: Millis,
}

impl Bench {
    fn new(policy: Policy) -> Bench {
        let mut bench = Bench { machine: Machine::new(policy, 7), now: 1_000_000 };
        for slot in [ONE, TWO] {
            bench.step(Input::Assigned { slot, next: 0, metadata: None });
        }
        bench
    }

    fn step(&mut self, input: Input<&'static str>) -> Vec<Action<&'static str>> {
        let mut actions = Vec::new();
        self.machine.step(self.now, input, &mut actions);
        actions
    }

    fn record(&mut self, slot: Slot, offset: i64, key: u64) -> Vec<Action<&'static str>> {
        self.step(Input::Record(fresh(slot, offset, key)))
    }

    fn answer(&mut self, id: DeliveryId, verdict: Verdict) -> Vec<Action<&'static str>> {
        self.step(Input::Answered { id, verdict })
    }

    /// Lets time pass until something is sent.
    fn wait(&mut self) -> DeliveryId {
        for _ in 0..100 {
            self.now += self.machine.due_in(self.now).expect("something is due");
            if let Some(id) = sent(&self.step(Input::Tick)) {
                return id;
            }
        }
        panic!("nothing is sent")
    }
}

fn sent(actions: &[Action<&'static str>]) -> Option<DeliveryId> {
    actions.iter().find_map(|action| match action {
        Action::Send { id, .. } => Some(*id),
        _ => None,
    })
}

const FAILED: Verdict = Verdict::Failed { answered: true, retry_after: None };

#[test]
fn what_is_given_up_while_somebody_waits_is_told_whatever_else_would_happen() {
    for on_exhausted in [OnExhausted::DeadLetter, OnExhausted::Stop, OnExhausted::Drop] {
        let mut bench = Bench::new(Policy { on_exhausted, ..policy() });
        let awaited = Input::Record(Fresh { awaited: true, ..fresh(ONE, 0, 1) });
        let id = sent(&bench.step(awaited)).unwrap();
        let actions = bench.answer(id, Verdict::Refused);
        assert_eq!(actions, [Action::DeadLetter { id, record: "r", attempts: 1 }], "{on_exhausted:?}");
        assert!(bench.machine.is_writing(id) && bench.machine.stopped().is_empty());
    }
}

// promise: BRIDGE: a redriven record is never under way beside a newer one of its key
#[test]
fn a_record_that_was_ordered_again_is_never_under_way_beside_a_newer_one_of_its_key() {
    let mut bench = Bench::new(policy());
    let newer = sent(&bench.record(ONE, 0, 1)).unwrap();
    let ordered = Fresh { home: ONE, ..fresh(TWO, 0, 1) };
    assert_eq!(sent(&bench.step(Input::Record(ordered))), None);
    let ordered = sent(&bench.answer(newer, Verdict::Settled)).unwrap();
    assert_eq!(sent(&bench.record(ONE, 1, 1)), None);
    assert!(sent(&bench.answer(ordered, Verdict::Settled)).is_some());
    let safe: Vec<_> = bench.machine.safe_offsets().collect();
    assert_eq!(safe, [(ONE, 1), (TWO, 1)], "each is committed where it was read");
}

#[test]
fn a_probe_whose_partition_goes_makes_room_for_the_next() {
    let mut bench = Bench::new(policy());
    let first = sent(&bench.record(ONE, 0, 1)).unwrap();
    bench.answer(first, Verdict::Silent);
    bench.record(TWO, 0, 2);
    let probe = bench.wait();
    assert_eq!(probe, first);
    let actions = bench.step(Input::Gone(vec![ONE]));
    assert!(actions.contains(&Action::Cancel { id: probe }));
    assert!(sent(&actions).is_some() || bench.wait() != probe);
}

// promise: BRIDGE: waking has its own budget, uses up no retries, and sends one probe at a time
#[test]
fn silence_of_a_waking_sink_is_no_attempt() {
    let mut bench = Bench::new(policy());
    let mut id = sent(&bench.record(ONE, 0, 1)).unwrap();
    for _ in 0..20 {
        assert_eq!(bench.answer(id, Verdict::Silent), [], "nothing is given up");
        id = bench.wait();
    }
    assert_eq!(bench.machine.gate(), Look::Waking);
    bench.answer(id, Verdict::Settled);
    assert_eq!(bench.machine.safe_offsets().next(), Some((ONE, 1)));
}

#[test]
fn a_clock_that_goes_back_delays_nothing() {
    let mut bench = Bench::new(policy());
    let id = sent(&bench.record(ONE, 0, 1)).unwrap();
    bench.answer(id, FAILED);
    let due = bench.machine.due_in(bench.now).unwrap();
    bench.now -= 900_000;
    bench.step(Input::Tick);
    assert_eq!(bench.machine.due_in(bench.now), Some(due));
    assert_eq!(bench.wait(), id);
}

#[test]
fn asking_when_something_is_due_does_not_put_it_off() {
    let mut bench = Bench::new(policy());
    let id = sent(&bench.record(ONE, 0, 1)).unwrap();
    bench.answer(id, FAILED);
    let due = bench.machine.due_in(bench.now).unwrap();
    assert_eq!(bench.machine.due_in(bench.now + 5), Some(due.saturating_sub(5)));
    assert_eq!(bench.machine.due_in(bench.now + due + 5), Some(0));
}

// promise: BRIDGE: attempt counts, and which records beyond the safe offset are settled, survive a restart in the commit's metadata
#[test]
fn attempts_survive_a_restart() {
    let mut bench = Bench::new(policy());
    let id = sent(&bench.record(ONE, 0, 1)).unwrap();
    bench.answer(id, FAILED);
    let commit = bench.machine.commits(&[]).remove(0);
    let mut after = Bench::new(policy());
    after.step(Input::Assigned { slot: ONE, next: commit.next, metadata: Some(commit.metadata) });
    let actions = after.record(ONE, 0, 1);
    assert!(matches!(actions[0], Action::Send { attempt: 2, .. }), "{actions:?}");
    let given_up = after.answer(sent(&actions).unwrap(), FAILED);
    assert!(matches!(given_up[0], Action::DeadLetter { attempts: 2, .. }), "{given_up:?}");
}

// promise: BRIDGE: when the metadata would not fit, the partition waits
#[test]
fn when_the_metadata_would_not_fit_the_partition_waits() {
    let mut bench = Bench::new(Policy { metadata_bytes_max: 10, ..policy() });
    let first = sent(&bench.record(ONE, 0, 0)).unwrap();
    assert!(sent(&bench.record(ONE, 1, 1)).is_none(), "the second could not be told any more");
    assert!(sent(&bench.answer(first, Verdict::Settled)).is_some());
}

// promise: BRIDGE: the consumer is paused when memory is full, and goes on at half
#[test]
fn full_memory_takes_no_more_until_half_of_it_is_free() {
    let mut bench = Bench::new(Policy { in_flight_max: 1, records_max: 20, bytes_max: 10_000, ..policy() });
    let mut id = sent(&bench.record(ONE, 0, 0)).unwrap();
    for offset in 1..10 {
        assert!(!bench.machine.is_full());
        assert_eq!(bench.record(ONE, offset, offset as u64), [], "a partition that moves is not paused");
    }
    let mut settled = 0;
    while bench.machine.is_full() {
        id = sent(&bench.answer(id, Verdict::Settled)).unwrap();
        settled += 1;
    }
    assert_eq!(settled, 6);
}

// promise: BRIDGE: memory is bounded by records and by bytes, whatever the lag
#[test]
fn what_waits_for_the_log_leaves_the_sink_its_work_until_all_memory_is_used() {
    let mut bench = Bench::new(Policy { in_flight_max: 1, records_max: 20, bytes_max: 10_000, ..policy() });
    let mut offset = 0;
    while !bench.machine.is_full() {
        let id = sent(&bench.record(ONE, offset, offset as u64)).expect("the sink has nothing else to do");
        bench.answer(id, Verdict::Reply);
        offset += 1;
    }
    assert_eq!((offset, bench.machine.buffered().0), (20, 20));
    bench.step(Input::Written(vec![DeliveryId(0)]));
    assert!(!bench.machine.is_full());
}

#[test]
fn a_partition_that_is_stuck_is_paused_before_it_fills_the_memory() {
    let mut bench = Bench::new(Policy { records_max: 40, bytes_max: 10_000, ..policy() });
    let id = sent(&bench.record(ONE, 0, 0)).unwrap();
    assert_eq!(bench.answer(id, Verdict::Unwritable("no topic".into())), []);
    (1..9).for_each(|offset| assert_eq!(bench.record(ONE, offset, 0), []));
    assert_eq!(bench.record(ONE, 9, 0), [Action::Pause(ONE)]);
    assert!(sent(&bench.record(ONE, 10, 1)).is_some() && !bench.machine.is_full());
    assert!(sent(&bench.record(TWO, 0, 0)).is_some());
}

#[test]
fn a_partition_that_moves_again_goes_on() {
    let mut bench = Bench::new(Policy { records_max: 40, bytes_max: 10_000, ..policy() });
    let id = sent(&bench.record(ONE, 0, 0)).unwrap();
    bench.answer(id, Verdict::Failed { answered: true, retry_after: None });
    let paused = (1..10).any(|offset| bench.record(ONE, offset, 0).contains(&Action::Pause(ONE)));
    assert!(paused);
    bench.now += 1_000;
    let actions = bench.step(Input::Tick);
    assert!(!actions.contains(&Action::Resume(ONE)), "the retry may fail as well");
    let actions = bench.answer(sent(&actions).unwrap(), Verdict::Settled);
    assert!(actions.contains(&Action::Resume(ONE)), "{actions:?}");
}

#[test]
fn stuck_partitions_leave_the_others_their_memory() {
    let mut bench = Bench::new(Policy { records_max: 40, bytes_max: 10_000, ..policy() });
    let id = sent(&bench.record(ONE, 0, 0)).unwrap();
    bench.answer(id, Verdict::Unwritable("no topic".into()));
    (1..20).for_each(|offset| drop(bench.record(ONE, offset, 0)));
    assert!(!bench.machine.is_full(), "what is stuck does not count as moving");
    let mut id = sent(&bench.record(TWO, 0, 0)).unwrap();
    (1..20).for_each(|offset| drop(bench.record(TWO, offset, 0)));
    assert!(bench.machine.is_full());
    while bench.machine.is_full() {
        id = sent(&bench.answer(id, Verdict::Settled)).expect("the other partition goes on");
    }
}

#[test]
fn a_partition_whose_answers_are_being_written_is_not_paused() {
    let policy = Policy { records_max: 40, bytes_max: 10_000, metadata_bytes_max: 60, ..policy() };
    let (mut bench, mut writing) = (Bench::new(policy), Vec::new());
    for offset in 0..35 {
        let mut actions = bench.record(ONE, offset, offset as u64);
        if let Some(id) = sent(&actions) {
            actions.extend(bench.answer(id, Verdict::Reply));
            writing.push(id);
        }
        assert!(!actions.contains(&Action::Pause(ONE)), "what is written makes room");
    }
    assert!(writing.len() < 25, "more than its share waits for room in the metadata");
    assert!(sent(&bench.step(Input::Written(writing))).is_some());
}
