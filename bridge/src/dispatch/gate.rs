//! Whether the sink may be called at all. A sink that was idle and does not answer is *waking*: it has a budget of its own,
//! and one probe at a time, so that nobody's retries are used up. When it is back, two calls may go, and one more at once for
//! each answer, so that no herd arrives at what has only just got up.
//!
//! ```text
//! Open ──silence of an idle sink──▶ Waking ──budget used up──▶ Failing
//!   ▲                                 │ any answer               │
//!   └── as many as may be ── Rising ◀─┴──────────────────────────┤
//! Open ──401, 403 with onUnauthorized: pause──▶ Paused ──────────┘
//! ```

use super::{DeliveryId, Millis};

/// A sink that has answered nobody for this long counts as idle.
const IDLE_AFTER: Millis = 5_000;
const PROBE_DELAY: Millis = 50;
const WAKING_DELAY_MAX: Millis = 1_000;
const PAUSED_DELAY_MAX: Millis = 60_000;
/// Calls at once to a sink that has just answered for the first time.
const RISING_FROM: usize = 2;

#[derive(Debug)]
pub struct Gate {
    state: State,
    answered_at: Option<Millis>,
    budget: Millis,
    in_flight_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Open,
    Waking { since: Millis, probe: Probe },
    Failing,
    Paused { probe: Probe },
    Rising { calls_max: usize },
}

/// The one call at a time that finds out whether the sink is back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Probe {
    tries: u32,
    not_before: Millis,
    under_way: Option<DeliveryId>,
}

/// What the gate looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Open,
    Waking,
    Failing,
    Paused,
}

impl Gate {
    pub fn new(budget: Millis, in_flight_max: usize) -> Self {
        Gate { state: State::Open, answered_at: None, budget, in_flight_max }
    }

    pub fn look(&self) -> Look {
        match self.state {
            State::Open | State::Rising { .. } => Look::Open,
            State::Waking { .. } => Look::Waking,
            State::Failing => Look::Failing,
            State::Paused { .. } => Look::Paused,
        }
    }

    /// Whether one more call may go beside those in flight.
    pub fn admits(&self, now: Millis, in_flight: usize) -> bool {
        match &self.state {
            State::Open | State::Failing => in_flight < self.in_flight_max,
            State::Rising { calls_max } => in_flight < *calls_max,
            State::Waking { probe, .. } | State::Paused { probe } => {
                in_flight < self.in_flight_max && probe.under_way.is_none() && now >= probe.not_before
            }
        }
    }

    /// When the next probe may go, if one is waited for.
    pub fn due(&self) -> Option<Millis> {
        self.probe().filter(|probe| probe.under_way.is_none()).map(|probe| probe.not_before)
    }

    pub fn sent(&mut self, id: DeliveryId) {
        if let Some(probe) = self.probe_mut() {
            probe.under_way = Some(id);
        }
    }

    /// A delivery ended without any answer that says something: cancelled.
    pub fn cancelled(&mut self, id: DeliveryId) {
        self.free(id);
    }

    /// The sink answered as one that is awake.
    pub fn answered(&mut self, now: Millis) {
        self.answered_at = Some(now);
        let calls_max = match self.state {
            State::Open => return,
            State::Rising { calls_max } => calls_max + 1,
            State::Waking { .. } | State::Failing | State::Paused { .. } => RISING_FROM,
        };
        self.state = if calls_max < self.in_flight_max { State::Rising { calls_max } } else { State::Open };
    }

    /// A call came to nothing: a time-out, a connection that broke. It was an attempt, and no sign that somebody is there.
    pub fn lost(&mut self, now: Millis, id: DeliveryId, chance: f64) {
        if self.free(id) && !self.gives_up_waking(now) {
            self.postpone(now, chance);
        }
    }

    /// Nobody was there. Answers whether the sink is only waking, so that this was no attempt.
    pub fn silent(&mut self, now: Millis, id: DeliveryId, chance: f64) -> bool {
        let mut tells = self.free(id);
        let was_idle = self.answered_at.is_none_or(|answered_at| now.saturating_sub(answered_at) >= IDLE_AFTER);
        match self.state {
            State::Open | State::Rising { .. } if was_idle => {
                self.state = State::Waking { since: now, probe: Probe::default() };
                tells = true;
            }
            State::Open | State::Rising { .. } | State::Failing => return false,
            State::Waking { .. } | State::Paused { .. } => {}
        }
        if self.gives_up_waking(now) {
            return false;
        }
        // Calls that were under way beside the probe say nothing new.
        if tells {
            self.postpone(now, chance);
        }
        true
    }

    /// The sink does not accept our token, and its source waits until it does.
    pub fn unauthorized(&mut self, now: Millis, id: DeliveryId, chance: f64) {
        self.answered_at = Some(now);
        let was_probe = self.free(id);
        let was_paused = matches!(self.state, State::Paused { .. });
        if !was_paused {
            self.state = State::Paused { probe: Probe::default() };
        }
        if was_probe || !was_paused {
            self.postpone(now, chance);
        }
    }

    /// The budget is used up: from now on silence is failure.
    fn gives_up_waking(&mut self, now: Millis) -> bool {
        let over = matches!(self.state, State::Waking { since, .. } if now.saturating_sub(since) > self.budget);
        if over {
            self.state = State::Failing;
        }
        over
    }

    /// Half of each delay is fixed, so that a probe is never at once.
    fn postpone(&mut self, now: Millis, chance: f64) {
        let delay_max = if matches!(self.state, State::Paused { .. }) { PAUSED_DELAY_MAX } else { WAKING_DELAY_MAX };
        if let Some(probe) = self.probe_mut().filter(|probe| probe.under_way.is_none()) {
            let delay = PROBE_DELAY.saturating_mul(1 << probe.tries.min(16)).min(delay_max);
            probe.tries += 1;
            probe.not_before = now + delay / 2 + (delay as f64 / 2.0 * chance) as Millis;
        }
    }

    /// Answers whether this was the probe.
    fn free(&mut self, id: DeliveryId) -> bool {
        let probe = self.probe_mut().filter(|probe| probe.under_way == Some(id));
        probe.map(|probe| probe.under_way = None).is_some()
    }

    fn probe(&self) -> Option<&Probe> {
        match &self.state {
            State::Waking { probe, .. } | State::Paused { probe } => Some(probe),
            State::Open | State::Rising { .. } | State::Failing => None,
        }
    }

    fn probe_mut(&mut self) -> Option<&mut Probe> {
        match &mut self.state {
            State::Waking { probe, .. } | State::Paused { probe } => Some(probe),
            State::Open | State::Rising { .. } | State::Failing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: DeliveryId = DeliveryId(1);
    const TWO: DeliveryId = DeliveryId(2);

    // promise: BRIDGE: waking has its own budget, uses up no retries, and sends one probe at a time
    #[test]
    fn an_idle_sink_that_is_silent_is_waking_with_one_probe_at_a_time() {
        let mut gate = Gate::new(10_000, 4);
        assert!(gate.silent(100, ONE, 0.0));
        assert_eq!(gate.look(), Look::Waking);
        assert!(!gate.admits(100, 0));
        let due = gate.due().unwrap();
        assert!(gate.admits(due, 0));
        gate.sent(TWO);
        assert!(!gate.admits(due + 60_000, 0), "a second probe while the first is under way");
        assert!(gate.silent(due + 1, TWO, 1.0));
        assert!(gate.due().unwrap() > due);
    }

    #[test]
    fn a_sink_that_answered_just_now_is_failing_and_not_waking() {
        let mut gate = Gate::new(10_000, 4);
        gate.answered(1_000);
        assert!(!gate.silent(2_000, ONE, 0.5));
        assert!(gate.silent(1_000 + IDLE_AFTER, ONE, 0.5));
    }

    // promise: BRIDGE: waking has its own budget, uses up no retries, and sends one probe at a time
    #[test]
    fn waking_ends_with_its_budget_or_with_an_answer() {
        let mut gate = Gate::new(10_000, 4);
        assert!(gate.silent(0, ONE, 0.5));
        gate.sent(ONE);
        assert!(gate.silent(10_000, ONE, 0.5));
        assert!(!gate.silent(10_001, ONE, 0.5));
        assert_eq!(gate.look(), Look::Failing);
        gate.answered(10_002);
        assert_eq!(gate.look(), Look::Open);
    }

    // promise: BRIDGE: a sink that is back is not overrun: two calls at first, and one more for each answer
    #[test]
    fn a_sink_that_is_back_is_not_overrun() {
        let mut gate = Gate::new(10_000, 4);
        gate.silent(0, ONE, 0.0);
        gate.sent(ONE);
        let mut most = || {
            gate.answered(100);
            (0..10).find(|in_flight| !gate.admits(100, *in_flight)).unwrap()
        };
        assert_eq!([most(), most(), most(), most()], [2, 3, 4, 4]);
    }

    #[test]
    fn a_probe_that_is_lost_is_followed_after_a_delay_and_uses_up_the_budget() {
        let mut gate = Gate::new(10_000, 4);
        gate.silent(0, ONE, 0.0);
        gate.sent(TWO);
        gate.lost(100, TWO, 0.0);
        assert!(!gate.admits(100, 0) && gate.admits(1_000, 0));
        gate.sent(TWO);
        gate.lost(10_001, TWO, 0.0);
        assert_eq!(gate.look(), Look::Failing);
    }

    #[test]
    fn a_cancelled_probe_makes_room_for_the_next() {
        let mut gate = Gate::new(10_000, 4);
        gate.silent(0, ONE, 0.0);
        gate.sent(TWO);
        gate.cancelled(TWO);
        assert!(gate.admits(1_000, 0));
    }

    #[test]
    fn a_paused_source_probes_until_another_answer_comes() {
        let mut gate = Gate::new(10_000, 4);
        gate.unauthorized(0, ONE, 0.0);
        assert_eq!(gate.look(), Look::Paused);
        assert!(!gate.admits(0, 0) && gate.admits(60_000, 0));
        gate.answered(1);
        assert!(gate.admits(1, 0));
    }
}
