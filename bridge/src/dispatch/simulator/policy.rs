//! The rules of a world, by its seed.

use super::super::*;

pub fn policy(chance: &mut fastrand::Rng) -> Policy {
    Policy {
        ordering: [Ordering::Key, Ordering::Partition, Ordering::None][chance.usize(..3)],
        in_flight_max: chance.usize(1..12),
        records_max: chance.usize(20..120),
        bytes_max: chance.usize(200..4_000),
        retry: retry(chance),
        on_exhausted: [OnExhausted::DeadLetter, OnExhausted::Drop, OnExhausted::Stop][chance.usize(..7) / 3],
        on_unauthorized: [OnUnauthorized::Refuse, OnUnauthorized::Pause][chance.usize(..2)],
        wake_budget: chance.u64(1..20_000),
        metadata_bytes_max: [64, 100, 500, METADATA_BYTES_MAX][chance.usize(..4)],
    }
}

fn retry(chance: &mut fastrand::Rng) -> Retry {
    Retry {
        retries_max: [None, Some(0), Some(3), Some(10)][chance.usize(..4)],
        backoff: [Backoff::Linear, Backoff::Exponential][chance.usize(..2)],
        delay: chance.u64(..500),
        delay_max: 10_000,
        retry_after_max: 30_000,
    }
}

/// How the sink is disposed, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything.
    Good,
    /// Every kind of answer.
    Mixed,
    /// Most calls fail in one way or another.
    Bad,
    /// Nobody is there.
    Away,
    /// It does not accept the token.
    Denying,
}

impl Mood {
    pub fn any(chance: &mut fastrand::Rng) -> Self {
        [Mood::Good, Mood::Mixed, Mood::Bad, Mood::Away, Mood::Denying][chance.usize(..5)]
    }

    pub fn verdict(self, chance: &mut fastrand::Rng) -> Verdict {
        match self {
            Mood::Good => [Verdict::Settled, Verdict::Reply][chance.usize(..2)].clone(),
            Mood::Mixed if chance.u8(..2) == 0 => Mood::Good.verdict(chance),
            Mood::Mixed | Mood::Bad => any_verdict(chance),
            Mood::Away => Verdict::Silent,
            Mood::Denying => Verdict::Unauthorized,
        }
    }
}

fn any_verdict(chance: &mut fastrand::Rng) -> Verdict {
    match chance.u8(..20) {
        0..3 => Verdict::Settled,
        3..5 => Verdict::Reply,
        5..7 => Verdict::Refused,
        7 => Verdict::Unauthorized,
        8..12 => Verdict::Failed { answered: true, retry_after: None },
        12..14 => Verdict::Failed { answered: true, retry_after: Some(chance.u64(..60_000)) },
        14..17 => Verdict::Failed { answered: false, retry_after: None },
        17 if chance.u8(..20) == 0 => Verdict::Unwritable("too large".into()),
        _ => Verdict::Silent,
    }
}
