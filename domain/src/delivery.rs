//! A delivery: the duty to bring one event to one endpoint of a merchant. What an attempt brought goes in; the state after
//! it, and what is to be told, come out. The endpoint's own health is decided beside it.
//!
//! ```text
//!          ┌── called when due, or by hand ──┐
//!          ▼                                 │
//! new ▶ Sending ─┬─ failed, attempts left ▶ Waiting
//!          ▲     ├─ succeeded ────────────▶ Succeeded
//!          │     └─ the last one failed ──▶ Exhausted
//!          └── called by hand ───────────────┘
//! ```
//!
//! While it is sending, an event on its way orders the attempt: the bridge sees to it that there is one at a time. Where
//! that event was lost (a dead letter), the attempt can be ordered again by hand after a while.

pub mod schedule;
pub mod signature;

use serde::{Deserialize, Serialize};

/// Five days without a success disable an endpoint.
pub const FAILING_MAX_MS: i64 = 5 * 24 * 60 * 60 * 1_000;
/// How long an ordered attempt may be on its way: longer than the bridge waits between two tries.
const SENDING_MAX_MS: i64 = 10 * 60 * 1_000;

/// One event on its way to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// How many attempts were made.
    pub attempts: u32,
    /// Where it stands.
    pub state: State,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An attempt is ordered.
    Sending {
        /// Milliseconds since 1970.
        since_ms: i64,
    },
    /// To be tried again at this instant.
    Waiting {
        /// Milliseconds since 1970.
        due_at_ms: i64,
    },
    /// The endpoint took it.
    Succeeded,
    /// Every attempt failed.
    Exhausted,
}

/// What one attempt brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered.
    Answered {
        /// Its HTTP status.
        status: u16,
        /// What its `Retry-After` asks for.
        retry_after_ms: Option<i64>,
    },
    /// There was no answer: refused, timed out, not allowed.
    Unreachable,
}

impl Outcome {
    /// Only a 2xx is a success; a redirect is not followed (Standard Webhooks).
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Answered { status: 200..=299, .. })
    }

    /// 410 says that nobody listens there any more.
    pub fn is_gone(&self) -> bool {
        matches!(self, Outcome::Answered { status: 410, .. })
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Outcome::Answered { status, .. } => Some(*status),
            Outcome::Unreachable => None,
        }
    }

    fn retry_after_ms(&self) -> Option<i64> {
        match self {
            Outcome::Answered { retry_after_ms, .. } => *retry_after_ms,
            Outcome::Unreachable => None,
        }
    }
}

/// What a delivery says after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The endpoint took it.
    Succeeded,
    /// It will be tried again then.
    Failed {
        /// Milliseconds since 1970.
        due_at_ms: i64,
    },
    /// It will not be tried again.
    Exhausted,
}

/// Why a delivery is not tried again now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An attempt is ordered already.
    #[error("the delivery is being sent")]
    Sending,
    /// The endpoint has it.
    #[error("the delivery has succeeded already")]
    Succeeded,
}

impl Delivery {
    /// A new one, to be sent at once.
    pub fn new(now_ms: i64) -> Self {
        Delivery { attempts: 0, state: State::Sending { since_ms: now_ms } }
    }

    /// The state after an attempt. `chance` is any random number. An outcome that nobody waits for changes nothing.
    pub fn attempted(self, outcome: &Outcome, now_ms: i64, chance: u32) -> (Delivery, Option<Effect>) {
        if !self.state.is_sending() {
            return (self, None);
        }
        let attempts = self.attempts + 1;
        let (state, effect) = match schedule::wait_ms(attempts, chance, outcome.retry_after_ms()) {
            _ if outcome.is_success() => (State::Succeeded, Effect::Succeeded),
            Some(wait_ms) => {
                let due_at_ms = now_ms + wait_ms;
                (State::Waiting { due_at_ms }, Effect::Failed { due_at_ms })
            }
            None => (State::Exhausted, Effect::Exhausted),
        };
        (Delivery { attempts, state }, Some(effect))
    }

    /// An ordered attempt was not made, because the endpoint is disabled: it waits for being enabled.
    pub fn withheld(self, now_ms: i64) -> Delivery {
        match self.state {
            State::Sending { .. } => Delivery { state: State::Waiting { due_at_ms: now_ms }, ..self },
            _ => self,
        }
    }

    /// Orders the next attempt: because it is due, or by hand, which gives an exhausted one a single attempt more. One
    /// that was ordered long ago is ordered again: whichever event comes first makes it, the other finds it made.
    pub fn called(self, now_ms: i64) -> Result<Delivery, Refusal> {
        match self.state {
            State::Sending { since_ms } if now_ms - since_ms < SENDING_MAX_MS => Err(Refusal::Sending),
            State::Succeeded => Err(Refusal::Succeeded),
            State::Sending { .. } | State::Waiting { .. } | State::Exhausted => {
                Ok(Delivery { state: State::Sending { since_ms: now_ms }, ..self })
            }
        }
    }
}

impl State {
    /// Its name in rows and answers.
    pub fn key(self) -> &'static str {
        match self {
            State::Sending { .. } => "sending",
            State::Waiting { .. } => "waiting",
            State::Succeeded => "succeeded",
            State::Exhausted => "exhausted",
        }
    }

    /// When it is due, if it waits.
    pub fn due_at_ms(self) -> Option<i64> {
        match self {
            State::Waiting { due_at_ms } => Some(due_at_ms),
            _ => None,
        }
    }

    /// Whether an attempt is ordered.
    pub fn is_sending(self) -> bool {
        matches!(self, State::Sending { .. })
    }

    /// The instant that its row holds: when the next attempt is or was due.
    pub fn at_ms(self) -> Option<i64> {
        match self {
            State::Sending { since_ms } => Some(since_ms),
            other => other.due_at_ms(),
        }
    }

    /// Reads a row; `None` when there is no such state.
    pub fn parse(key: &str, at_ms: Option<i64>) -> Option<Self> {
        match key {
            "sending" => at_ms.map(|since_ms| State::Sending { since_ms }),
            "waiting" => at_ms.map(|due_at_ms| State::Waiting { due_at_ms }),
            "succeeded" => Some(State::Succeeded),
            "exhausted" => Some(State::Exhausted),
            _ => None,
        }
    }
}

/// How an endpoint fares, over all of its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Its last attempt succeeded, or it had none.
    Well,
    /// No success since the failure at this instant.
    Failing {
        /// Milliseconds since 1970.
        since_ms: i64,
    },
    /// Nothing is sent to it until its owner enables it again.
    Disabled,
}

/// Why an endpoint was disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Disabled {
    /// It answered 410.
    Gone,
    /// Five days without a success.
    Failing,
}

impl Health {
    /// The health after an attempt at the endpoint, and the reason if that disabled it.
    pub fn attempted(self, outcome: &Outcome, now_ms: i64) -> (Health, Option<Disabled>) {
        let since_ms = match self {
            Health::Disabled => return (self, None),
            _ if outcome.is_success() => return (Health::Well, None),
            _ if outcome.is_gone() => return (Health::Disabled, Some(Disabled::Gone)),
            Health::Well => now_ms,
            Health::Failing { since_ms } => since_ms,
        };
        if now_ms - since_ms >= FAILING_MAX_MS {
            return (Health::Disabled, Some(Disabled::Failing));
        }
        (Health::Failing { since_ms }, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;
    const DAY: i64 = 24 * 60 * 60 * 1_000;

    fn answered(status: u16) -> Outcome {
        Outcome::Answered { status, retry_after_ms: None }
    }

    #[test]
    fn a_delivery_that_is_taken_succeeds_and_stays_so() {
        let (delivery, effect) = Delivery::new(NOW).attempted(&answered(204), NOW, 0);
        assert_eq!((delivery.state, effect), (State::Succeeded, Some(Effect::Succeeded)));
        assert_eq!(delivery.clone().attempted(&answered(500), NOW, 0), (delivery.clone(), None));
        assert_eq!(delivery.clone().withheld(NOW), delivery);
        assert_eq!(delivery.called(NOW), Err(Refusal::Succeeded));
    }

    #[test]
    fn a_delivery_that_fails_waits_and_is_called_until_it_is_exhausted() {
        let mut delivery = Delivery::new(NOW);
        for attempts in 1..schedule::ATTEMPTS_MAX {
            let (waiting, effect) = delivery.attempted(&answered(500), NOW, u32::MAX / 2);
            let due_at_ms = waiting.state.due_at_ms().expect("it waits");
            assert_eq!((waiting.attempts, effect), (attempts, Some(Effect::Failed { due_at_ms })));
            assert!(due_at_ms > NOW);
            delivery = waiting.called(NOW).expect("it waits");
        }
        let (delivery, effect) = delivery.attempted(&Outcome::Unreachable, NOW, 0);
        assert_eq!((delivery.state, effect), (State::Exhausted, Some(Effect::Exhausted)));
        let (delivery, _) = delivery.called(NOW).expect("by hand").attempted(&Outcome::Unreachable, NOW, 0);
        assert_eq!((delivery.state, delivery.attempts), (State::Exhausted, schedule::ATTEMPTS_MAX + 1));
    }

    // promise: DOMAIN: two wakes at once never send the same attempt twice
    #[test]
    fn a_delivery_is_called_once_for_each_attempt() {
        let (waiting, _) = Delivery::new(NOW).attempted(&Outcome::Unreachable, NOW, 0);
        let called = waiting.called(NOW).expect("it waits");
        assert_eq!(called.called(NOW), Err(Refusal::Sending));
    }

    #[test]
    fn an_attempt_whose_order_was_lost_is_ordered_again_after_a_while() {
        let sending = Delivery::new(NOW);
        assert_eq!(sending.clone().called(NOW + SENDING_MAX_MS - 1), Err(Refusal::Sending));
        assert_eq!(sending.called(NOW + SENDING_MAX_MS), Ok(Delivery::new(NOW + SENDING_MAX_MS)));
    }

    #[test]
    fn a_delivery_to_a_disabled_endpoint_waits_without_an_attempt() {
        let waiting = Delivery::new(NOW).withheld(NOW);
        assert_eq!(waiting, Delivery { attempts: 0, state: State::Waiting { due_at_ms: NOW } });
    }

    #[test]
    fn a_redirect_is_a_failure() {
        let (delivery, _) = Delivery::new(NOW).attempted(&answered(302), NOW, 0);
        assert_eq!(delivery.state, State::Waiting { due_at_ms: NOW + 4_000 });
    }

    #[test]
    fn a_state_survives_its_row() {
        for state in
            [State::Sending { since_ms: 7 }, State::Waiting { due_at_ms: 7 }, State::Succeeded, State::Exhausted]
        {
            assert_eq!(State::parse(state.key(), state.at_ms()), Some(state));
        }
        assert_eq!(State::parse("waiting", None), None);
    }

    // promise: DOMAIN: 410 disables a merchant's endpoint at once
    #[test]
    fn an_endpoint_that_is_gone_is_disabled_at_once() {
        assert_eq!(Health::Well.attempted(&answered(410), NOW), (Health::Disabled, Some(Disabled::Gone)));
    }

    // promise: DOMAIN: five days without a success disable a merchant's endpoint
    #[test]
    fn an_endpoint_is_disabled_after_five_days_without_a_success() {
        let (failing, reason) = Health::Well.attempted(&Outcome::Unreachable, NOW);
        assert_eq!((failing, reason), (Health::Failing { since_ms: NOW }, None));
        assert_eq!(failing.attempted(&answered(500), NOW + 5 * DAY - 1), (failing, None));
        assert_eq!(failing.attempted(&answered(200), NOW + 5 * DAY), (Health::Well, None));
        let disabled = (Health::Disabled, Some(Disabled::Failing));
        assert_eq!(failing.attempted(&answered(500), NOW + 5 * DAY), disabled);
        assert_eq!(Health::Disabled.attempted(&answered(500), NOW), (Health::Disabled, None));
    }
}
