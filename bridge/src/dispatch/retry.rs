//! When a failed delivery is tried again. The number of attempts comes in, a delay or "enough" comes out.

use super::Millis;

/// How the delay grows; Knative's `backoffPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// `delay · n`
    Linear,
    /// `delay · 2^n`
    Exponential,
}

/// A source's policy of retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Retries after the first attempt; `None` is for ever.
    pub retries_max: Option<u32>,
    pub backoff: Backoff,
    /// Knative's `backoffDelay`.
    pub delay: Millis,
    /// The cap of every delay.
    pub delay_max: Millis,
    /// The cap of what a sink may ask for by `Retry-After`.
    pub retry_after_max: Millis,
}

impl Retry {
    /// The delay before retry number `attempts` (the first is 1), or `None` when there are enough. `chance` is in 0..1: full
    /// jitter spreads those who failed together, and a sink's `Retry-After` is the least that is waited.
    pub fn delay(&self, attempts: u32, retry_after: Option<Millis>, chance: f64) -> Option<Millis> {
        if self.retries_max.is_some_and(|retries_max| attempts > retries_max) {
            return None;
        }
        let jittered = (self.ceiling(attempts) as f64 * chance) as Millis;
        Some(jittered.max(retry_after.unwrap_or(0).min(self.retry_after_max)))
    }

    /// Knative's formula, capped.
    fn ceiling(&self, attempts: u32) -> Millis {
        let factor = match self.backoff {
            Backoff::Linear => u64::from(attempts),
            Backoff::Exponential => 1_u64.checked_shl(attempts).unwrap_or(u64::MAX),
        };
        self.delay.saturating_mul(factor).min(self.delay_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(backoff: Backoff) -> Retry {
        Retry { retries_max: Some(3), backoff, delay: 200, delay_max: 1_000, retry_after_max: 5_000 }
    }

    // promise: BRIDGE: backoff is Knative's (linear d·n, exponential d·2^n) with full jitter, capped by maxBackoff
    #[test]
    fn delays_grow_by_knatives_formulas_up_to_the_cap() {
        let ceilings = |backoff| [1, 2, 3].map(|attempts| retry(backoff).ceiling(attempts));
        assert_eq!(ceilings(Backoff::Linear), [200, 400, 600]);
        assert_eq!(ceilings(Backoff::Exponential), [400, 800, 1_000]);
        assert_eq!(retry(Backoff::Exponential).ceiling(4_000_000), 1_000);
    }

    // promise: BRIDGE: backoff is Knative's (linear d·n, exponential d·2^n) with full jitter, capped by maxBackoff
    #[test]
    fn jitter_is_full() {
        let delay = |chance| retry(Backoff::Exponential).delay(1, None, chance);
        assert_eq!((delay(0.0), delay(0.5)), (Some(0), Some(200)));
    }

    // promise: BRIDGE: `retry: 3` is three, also over restarts, and then the record is a dead letter
    #[test]
    fn after_the_last_retry_it_is_enough() {
        assert!(retry(Backoff::Linear).delay(3, None, 0.5).is_some());
        assert_eq!(retry(Backoff::Linear).delay(4, None, 0.5), None);
        let forever = Retry { retries_max: None, ..retry(Backoff::Linear) };
        assert!(forever.delay(u32::MAX, None, 0.9).is_some());
    }

    // promise: BRIDGE: Retry-After, in seconds or as a date, is honoured up to retryAfterMax
    #[test]
    fn retry_after_is_the_least_that_is_waited_up_to_its_cap() {
        let delay = |after| retry(Backoff::Linear).delay(1, Some(after), 0.5);
        assert_eq!((delay(10), delay(3_000), delay(60_000)), (Some(100), Some(3_000), Some(5_000)));
    }
}
