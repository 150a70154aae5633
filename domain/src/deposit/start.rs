//! Where reading begins when there are no kept blocks to go on from. The time since when something is open comes in, and
//! the times of blocks that are asked for; the block from which nothing is missed goes out.

use super::chain::KEPT_MAX;

/// Miners' clocks and ours differ by less than this.
const CLOCKS_APART_MS: i64 = 15 * 60 * 1000;

/// A search for the highest block that is old enough: usually 256 below the tip, else by halves. Blocks' times rise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Milliseconds since 1970.
    old_enough_ms: i64,
    /// Old enough, or as low as there is need to go.
    low: u64,
    /// Whose time is asked next.
    candidate: u64,
    /// Too young, or above everything that is considered.
    high: u64,
}

impl Start {
    /// Below a tip, and not below `floor`, which is read already. Where nothing is open there is nothing to miss.
    pub fn search(floor: u64, tip: u64, open_since_ms: Option<i64>) -> Self {
        let usual = tip.saturating_sub(KEPT_MAX).max(floor);
        let low = if open_since_ms.is_some() { floor } else { usual };
        let old_enough_ms = open_since_ms.unwrap_or_default().saturating_sub(CLOCKS_APART_MS);
        Start { old_enough_ms, low, candidate: usual, high: usual + 1 }
    }

    /// The block whose time must be known to go on; nothing once the start is found.
    pub fn asks(&self) -> Option<u64> {
        (self.high - self.low > 1).then_some(self.candidate)
    }

    /// The time of the block that was asked for.
    pub fn hear(&mut self, at_ms: i64) {
        if at_ms <= self.old_enough_ms {
            self.low = self.candidate;
        } else {
            self.high = self.candidate;
        }
        self.candidate = self.low + (self.high - self.low) / 2;
    }

    /// The block to start from, once nothing is asked any more.
    pub fn found(&self) -> u64 {
        self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    const BLOCK_MS: i64 = 12_000;

    /// The start on a chain with a block every 12 s, and how many times were asked for.
    fn found(floor: u64, tip: u64, open_since_ms: Option<i64>) -> (u64, usize) {
        let (mut start, mut asked) = (Start::search(floor, tip, open_since_ms), 0);
        while let Some(height) = start.asks() {
            start.hear(i64::try_from(height).expect("low") * BLOCK_MS);
            asked += 1;
        }
        (start.found(), asked)
    }

    fn time_of(height: u64) -> i64 {
        i64::try_from(height).expect("low") * BLOCK_MS
    }

    // promise: DOMAIN: after idleness the cursor starts 256 blocks below the tip or at the oldest thing still open
    #[test]
    fn it_starts_256_blocks_below_the_tip_or_at_the_oldest_thing_still_open() {
        assert_eq!(found(0, 5_000, Some(time_of(5_000))), (4_744, 1), "256 blocks hold it, clocks apart or not");
        let (start, asked) = found(0, 5_000_000, Some(time_of(4_000_000)));
        assert_eq!(start, 4_000_000 - 75, "open longer: the block then, less 15 minutes");
        assert!(asked <= 24, "{asked} questions for five million blocks");
    }

    #[test]
    fn it_never_starts_below_what_is_read_already_or_the_first_block() {
        assert_eq!(found(1_000, 5_000, Some(0)).0, 1_000);
        assert_eq!(found(0, 100, Some(0)).0, 0);
        assert_eq!(found(0, 100, Some(time_of(90))).0, 0);
    }

    #[test]
    fn nothing_is_asked_while_nothing_is_open() {
        assert_eq!(found(0, 5_000, None), (4_744, 0));
    }

    #[test]
    fn whatever_is_open_no_block_since_then_is_missed() {
        let mut chance = Chance::new("whatever_is_open_no_block_since_then_is_missed");
        for round in 0..2_000 {
            let tip = chance.below(20_000) as u64;
            let floor = chance.below(tip as usize + 1) as u64;
            let since = chance.below(20_001) as u64;
            let (start, _) = found(floor, tip, Some(time_of(since)));
            assert!(start <= since.max(floor) && start >= floor, "round {round}: {floor} {tip} {since} {start}");
        }
    }
}
