//! The machine's clock, which the edge sets at every step.

use super::Millis;

/// Time that only goes forward, whatever the clock does.
#[derive(Debug, Default)]
pub struct Forward {
    pub now: Millis,
    seen: Millis,
}

impl Forward {
    pub fn set(&mut self, seen: Millis) {
        self.now += seen.saturating_sub(self.seen);
        self.seen = seen;
    }

    /// What `now` would be if the clock said `seen`.
    pub fn at(&self, seen: Millis) -> Millis {
        self.now + seen.saturating_sub(self.seen)
    }
}
