//! How the gate may behave, by a book of its own: when a sink may be called waking, for how long, with how many calls at once, and
//! how many may go when it is back.

use std::collections::BTreeSet;

use super::super::*;

/// The gate's own bounds, said once more.
const IDLE_AFTER: Millis = 5_000;

#[derive(Debug)]
pub struct Watch {
    look: Look,
    answered_at: Option<Millis>,
    waking_since: Millis,
    /// Calls sent to find out whether the sink is back, and not landed.
    probes: BTreeSet<DeliveryId>,
    /// How many may be in flight, once a sink is back.
    rising: Option<usize>,
    /// Probes sent so far in this waking or pause.
    pub probes_sent: usize,
}

impl Default for Watch {
    fn default() -> Self {
        Watch {
            look: Look::Open,
            answered_at: None,
            waking_since: 0,
            probes: BTreeSet::new(),
            rising: None,
            probes_sent: 0,
        }
    }
}

impl Watch {
    /// A call landed, and the gate looks like `look` now. Answers whether it counts as an attempt.
    pub fn landed(&mut self, now: Millis, id: DeliveryId, verdict: &Verdict, look: Look, policy: &Policy) -> bool {
        self.probes.remove(&id);
        let pauses = policy.on_unauthorized == OnUnauthorized::Pause;
        let idle = self.answered_at.is_none_or(|answered_at| now - answered_at >= IDLE_AFTER);
        let waited = self.look == Look::Waking && now - self.waking_since > policy.wake_budget;
        match verdict {
            Verdict::Silent => self.silent(idle, waited, look),
            Verdict::Failed { answered: false, .. } => assert!(look == self.look || look == Look::Failing),
            Verdict::Unauthorized if pauses => assert_eq!(look, Look::Paused),
            _ => assert_eq!(look, Look::Open, "after {verdict:?}"),
        }
        match verdict {
            Verdict::Silent | Verdict::Failed { answered: false, .. } => {}
            _ => self.answered_at = Some(now),
        }
        self.looks(now, look);
        self.rise(verdict, policy);
        match verdict {
            Verdict::Settled | Verdict::Reply | Verdict::Unwritable(_) => false,
            Verdict::Unauthorized => !pauses,
            Verdict::Silent => !matches!(look, Look::Waking | Look::Paused),
            Verdict::Refused | Verdict::Failed { .. } => true,
        }
    }

    fn silent(&self, idle: bool, waited: bool, look: Look) {
        let expected = match self.look {
            Look::Open if idle => Look::Waking,
            Look::Waking if waited => Look::Failing,
            same => same,
        };
        assert_eq!(look, expected, "after silence, idle: {idle}");
    }

    fn looks(&mut self, now: Millis, look: Look) {
        if look == self.look {
            return;
        }
        if look == Look::Waking {
            self.waking_since = now;
        }
        self.rising = (look == Look::Open).then_some(1);
        self.probes.clear();
        self.probes_sent = 0;
        self.look = look;
    }

    fn rise(&mut self, verdict: &Verdict, policy: &Policy) {
        if !matches!(verdict, Verdict::Silent | Verdict::Failed { answered: false, .. }) {
            self.rising = self.rising.map(|calls| calls + 1).filter(|calls| *calls < policy.in_flight_max);
        }
    }

    /// A call is sent; `in_flight` counts it.
    pub fn sent(&mut self, id: DeliveryId, in_flight: usize) {
        if matches!(self.look, Look::Waking | Look::Paused) {
            assert!(self.probes.is_empty(), "a second probe");
            self.probes.insert(id);
            self.probes_sent += 1;
        }
        assert!(self.rising.is_none_or(|calls| in_flight <= calls), "a herd of {in_flight}: {self:?}");
    }

    pub fn cancelled(&mut self, id: DeliveryId) {
        self.probes.remove(&id);
    }

    pub fn assert_same(&self, look: Look) {
        assert_eq!(self.look, look, "the gate changes with answers only");
    }
}
