//! When a failed delivery is tried again: how often it failed, chance and the endpoint's `Retry-After` go in, a wait comes out.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// The wait before each attempt, the first of which is made at once (the schedule of Standard Webhooks, prolonged).
const WAITS_MS: [i64; 10] =
    [0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// An endpoint may ask for more patience than the schedule has, up to this.
pub const RETRY_AFTER_MAX_MS: i64 = 24 * HOUR;

/// How many attempts a delivery gets before it is exhausted.
pub const ATTEMPTS_MAX: u32 = WAITS_MS.len() as u32;

/// Milliseconds to wait after `attempts` failed ones, or `None` when no attempt is left.
///
/// `chance` is any random number; it moves the wait by up to 20 % either way, so that the deliveries of one outage do not
/// return in one instant. `retry_after_ms` is what the endpoint asked for: never sooner.
pub fn wait_ms(attempts: u32, chance: u32, retry_after_ms: Option<i64>) -> Option<i64> {
    let wait = *WAITS_MS.get(attempts as usize)?;
    let asked = retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_MS);
    Some(jittered(wait, chance).max(asked))
}

/// From 80 % to 120 % of `wait_ms`, by `chance` over its whole range.
fn jittered(wait_ms: i64, chance: u32) -> i64 {
    let spread = i128::from(wait_ms) * 2 / 5;
    let moved = spread * i128::from(chance) / i128::from(u32::MAX);
    wait_ms - wait_ms / 5 + moved as i64
}

/// The wait that a `Retry-After` header asks for: seconds or an HTTP date (RFC 9110, 10.2.3). Anything else asks for none.
pub fn retry_after_ms(header: &str, now_ms: i64) -> Option<i64> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<u32>() {
        return Some(i64::from(seconds) * SECOND);
    }
    let at: Timestamp = DateTimeParser::new().parse_timestamp(header).ok()?;
    Some((at.as_millisecond() - now_ms).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    // promise: DOMAIN: a failed delivery is retried at 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, each ± 20 %
    #[test]
    fn the_waits_follow_the_schedule_within_a_fifth() {
        let nominal = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        for (attempts, seconds) in nominal.into_iter().enumerate() {
            let attempts = attempts as u32;
            assert_eq!(wait_ms(attempts, 0, None), Some(seconds * 800));
            assert_eq!(wait_ms(attempts, u32::MAX, None), Some(seconds * 1_200));
            let middle = wait_ms(attempts, u32::MAX / 2, None).unwrap();
            assert!((middle - seconds * 1_000).abs() <= 1, "{middle}");
        }
        assert_eq!(wait_ms(ATTEMPTS_MAX, 0, None), None);
    }

    // promise: DOMAIN: a merchant's Retry-After is honoured
    #[test]
    fn an_endpoint_that_asks_for_patience_is_not_called_sooner_nor_never_again() {
        assert_eq!(wait_ms(1, 0, Some(60_000)), Some(60_000));
        assert_eq!(wait_ms(2, 0, Some(1)), Some(240_000));
        assert_eq!(wait_ms(1, 0, Some(i64::MAX)), Some(RETRY_AFTER_MAX_MS));
        assert_eq!(wait_ms(1, 0, Some(-5)), Some(4_000));
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now_ms = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT
        let check = |header: &str, expected| assert_eq!(retry_after_ms(header, now_ms), expected, "{header}");
        check("120", Some(120_000));
        check(" 0 ", Some(0));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
        check("", None);
    }
}
