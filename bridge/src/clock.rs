//! The time. Where `TILL_CLOCK` names a file, the signed milliseconds in it are added to the wall clock, read again on every
//! look, so that tests can move it; timers notice within some milliseconds.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::dispatch::Millis;

/// How often a sleeper looks whether the clock was moved, where it can be.
const LOOK_EVERY: Duration = Duration::from_millis(15);
/// Keeps the steady time positive when the clock is moved back.
const STEADY_BASE: i64 = 1 << 42;

#[derive(Debug, Clone)]
pub struct Clock {
    offset_file: Option<PathBuf>,
    begun: Instant,
}

impl Clock {
    pub fn from_environment() -> Self {
        Clock { offset_file: std::env::var_os("TILL_CLOCK").map(PathBuf::from), begun: Instant::now() }
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        wall + self.offset_ms()
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now_ms()).unwrap_or(Timestamp::MAX)
    }

    /// Milliseconds that do not follow corrections of the wall clock, but do follow `TILL_CLOCK`.
    pub fn steady(&self) -> Millis {
        let elapsed = self.begun.elapsed().as_millis() as i64;
        (STEADY_BASE + elapsed).saturating_add(self.offset_ms()).max(0) as Millis
    }

    /// Waits until the steady time is `due`.
    pub async fn sleep_until_steady(&self, due: Millis) {
        loop {
            let left = Duration::from_millis(due.saturating_sub(self.steady()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(self.nap(left)).await;
        }
    }

    /// Waits until the wall clock shows `due`, in milliseconds since 1970.
    pub async fn sleep_until(&self, due: i64) {
        loop {
            let left = Duration::from_millis(due.saturating_sub(self.now_ms()).max(0) as u64);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(self.nap(left)).await;
        }
    }

    /// The wall clock may be set by an administrator, so that nobody sleeps for more than a minute on its word.
    fn nap(&self, left: Duration) -> Duration {
        left.min(if self.offset_file.is_some() { LOOK_EVERY } else { Duration::from_secs(60) })
    }

    fn offset_ms(&self) -> i64 {
        let Some(file) = &self.offset_file else { return 0 };
        std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_notices_that_the_clock_was_moved() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-5000\n").unwrap();
        let clock = Clock { offset_file: Some(file.path().into()), begun: Instant::now() };
        let (steady, wall) = (clock.steady(), clock.now_ms());
        let moved = async { std::fs::write(file.path(), "3600000").unwrap() };
        let begun = Instant::now();
        tokio::join!(clock.sleep_until_steady(steady + 3_600_000), clock.sleep_until(wall + 3_600_000), moved);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn without_the_file_the_clock_is_the_walls() {
        let clock = Clock { offset_file: Some("/nowhere".into()), begun: Instant::now() };
        assert!(clock.now_ms().abs_diff(Timestamp::now().as_millisecond()) < 5_000);
    }
}
