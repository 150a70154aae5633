//! The wall clock that functions see. Where `TILL_CLOCK` names a file, the milliseconds in it are added, so that a test
//! can move the time of a running house.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A wall clock, moved by the signed number of milliseconds in a file (no file, or an unreadable one: not moved).
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_file: Option<PathBuf>,
}

impl Clock {
    pub fn new(offset_file: Option<PathBuf>) -> Self {
        Self { offset_file }
    }

    /// Time since 1970-01-01T00:00Z. The file is read again on every look.
    pub fn now(&self) -> Duration {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        moved(real, self.offset_ms())
    }

    fn offset_ms(&self) -> i64 {
        let text = self.offset_file.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}

fn moved(time: Duration, offset_ms: i64) -> Duration {
    let offset = Duration::from_millis(offset_ms.unsigned_abs());
    if offset_ms < 0 { time.saturating_sub(offset) } else { time.saturating_add(offset) }
}

impl wasmtime_wasi::HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Clock::now(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_offset_moves_the_clock_back_and_never_below_zero() {
        assert_eq!(moved(Duration::from_secs(10), -4_000), Duration::from_secs(6));
        assert_eq!(moved(Duration::from_secs(10), -40_000), Duration::ZERO);
    }

    #[test]
    fn the_file_is_read_again_on_every_look() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("clock");
        let clock = Clock::new(Some(path.clone()));
        assert_eq!(clock.offset_ms(), 0);
        std::fs::write(&path, "3600000\n").expect("write");
        assert_eq!(clock.offset_ms(), 3_600_000);
        std::fs::write(&path, "-5").expect("write");
        assert_eq!(clock.offset_ms(), -5);
    }
}
