//! Time and identity: the only place where a function learns what time it is or makes up an id.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use uuid::Uuid;

/// Milliseconds since 1970 by the host's clock, which tests can move.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A new id: the prefix and a UUIDv7, so that ids sort by time. `new_id("inv")` is `inv_0198…`.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::now_v7().simple())
}

/// An id that is the same for the same parts, so that a repeat is the same thing: the prefix and a UUIDv5.
pub fn derived_id(prefix: &str, parts: &[&str]) -> String {
    format!("{prefix}_{}", derived_uuid(parts).simple())
}

/// The UUIDv5 of parts. Each part is preceded by its length, so that `a, bc` differs from `ab, c`.
pub(crate) fn derived_uuid(parts: &[&str]) -> Uuid {
    let name: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

/// An instant as RFC 3339 with milliseconds; what no calendar has becomes its nearest end.
pub fn rfc3339(at_ms: i64) -> String {
    let end = if at_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    format!("{:.3}", Timestamp::from_millisecond(at_ms).unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_767_323_045_678), "2026-01-02T03:04:05.678Z");
        assert_eq!(rfc3339(i64::MAX), "9999-12-30T22:00:00.999Z");
    }

    #[test]
    fn ids_sort_by_time_and_derived_ones_repeat() {
        let (first, second) = (new_id("inv"), new_id("inv"));
        assert!(first.starts_with("inv_") && first < second);
        assert_eq!(derived_id("dep", &["a", "b"]), derived_id("dep", &["a", "b"]));
        assert_ne!(derived_id("dep", &["a", "bc"]), derived_id("dep", &["ab", "c"]));
    }
}
