//! When something is due. A cron expression in a time zone and the last instant looked at come in; the runs to be claimed
//! and the next instant go out.
//!
//! A local time that a change of clocks skips runs at the first valid instant; one that is repeated runs once, the first
//! time. Instants are milliseconds since 1970.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How late a run may be and still count as on time, for schedules that catch nothing up.
const GRACE_MS: i64 = 60_000;
/// The most runs that one catch-up may bring.
const CATCH_UP_MAX: u32 = 100;

/// A schedule as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Five fields, or six with seconds before them.
    pub cron: String,
    /// IANA name, such as `Europe/Vienna`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// What happens to runs that were missed.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Passed on with every run.
    #[serde(default)]
    pub payload: serde_json::Value,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What happens to runs that were missed while nobody was awake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum CatchUp {
    /// They are skipped.
    None,
    /// The latest of them runs.
    #[default]
    Latest,
    /// The latest `max` of them run.
    All {
        /// From 1 to 100.
        max: u32,
    },
}

/// Why a definition is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a cron expression.
    #[error("`{0}` is not a cron expression: {1}")]
    Cron(String, String),
    /// It never happens (30 February).
    #[error("`{0}` never happens")]
    Never(String),
    /// Not in the IANA database.
    #[error("`{0}` is not an IANA time zone")]
    TimeZone(String),
    /// Out of bounds.
    #[error("`max` of a catch-up is from 1 to {CATCH_UP_MAX}")]
    CatchUp,
}

/// A schedule that can be asked for its instants.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    catch_up: CatchUp,
}

/// What is to be done at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The scheduled instants to be claimed, earliest first.
    pub runs: Vec<i64>,
    /// When to look again.
    pub next_ms: Option<i64>,
}

impl Schedule {
    /// Makes sure that a definition is one, seen from an instant.
    pub fn parse(definition: &Definition, now_ms: i64) -> Result<Schedule, Refusal> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let text = &definition.cron;
        let cron = parser.parse(text).map_err(|error| Refusal::Cron(text.clone(), error.to_string()))?;
        let zone = TimeZone::get(&definition.timezone).map_err(|_| Refusal::TimeZone(definition.timezone.clone()))?;
        if let CatchUp::All { max } = definition.catch_up
            && !(1..=CATCH_UP_MAX).contains(&max)
        {
            return Err(Refusal::CatchUp);
        }
        let schedule = Schedule { cron, zone, catch_up: definition.catch_up };
        schedule.next_after(now_ms).ok_or_else(|| Refusal::Never(text.clone()))?;
        Ok(schedule)
    }

    /// What was due after one instant and until another, and what comes next.
    pub fn due(&self, after_ms: i64, now_ms: i64) -> Due {
        let (runs_max, earliest_ms) = match self.catch_up {
            CatchUp::None => (1, after_ms.max(now_ms - GRACE_MS)),
            CatchUp::Latest => (1, after_ms),
            CatchUp::All { max } => (max as usize, after_ms),
        };
        Due { runs: self.latest(earliest_ms, now_ms, runs_max), next_ms: self.next_after(now_ms) }
    }

    /// The first instant after one.
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let mut local = self.zone.to_datetime(Timestamp::from_millisecond(after_ms).ok()?);
        loop {
            local = self.cron.find_next_occurrence(&local, false).ok()?;
            // In the second pass of a repeated hour the walk meets times that ran in the first one.
            let instant_ms = self.instant_ms(local)?;
            if instant_ms > after_ms {
                return Some(instant_ms);
            }
        }
    }

    /// The latest instants after one and until another, earliest first.
    fn latest(&self, after_ms: i64, until_ms: i64, runs_max: usize) -> Vec<i64> {
        let mut runs: Vec<i64> = Vec::new();
        let mut local = self.furthest_local(until_ms);
        let mut inclusive = true;
        while let Some(instant_ms) = local.and_then(|local| self.cron.find_previous_occurrence(&local, inclusive).ok())
        {
            local = Some(instant_ms);
            inclusive = false;
            let Some(instant_ms) = self.instant_ms(instant_ms) else { break };
            // Skipped times share one instant, which counts once.
            if instant_ms > until_ms || runs.last() == Some(&instant_ms) {
                continue;
            }
            if instant_ms <= after_ms || runs.len() == runs_max {
                break;
            }
            runs.push(instant_ms);
        }
        runs.reverse();
        runs
    }

    /// The furthest that local clocks have shown until an instant: in the second pass of a repeated hour, its end.
    fn furthest_local(&self, at_ms: i64) -> Option<DateTime> {
        let at = Timestamp::from_millisecond(at_ms).ok()?;
        let local = self.zone.to_datetime(at);
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Fold { before, after } if self.zone.to_offset(at) == after => {
                let repeated_s = i64::from(before.seconds() - after.seconds());
                local.checked_add(SignedDuration::from_secs(repeated_s)).ok()
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } | AmbiguousOffset::Gap { .. } => {
                Some(local)
            }
        }
    }

    /// The instant of a local time: the first of two, or the first valid one after a gap.
    fn instant_ms(&self, local: DateTime) -> Option<i64> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        let instant = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
            // Seen with the later offset the time lies before the change: the next transition is the gap's end.
            AmbiguousOffset::Gap { after, .. } => {
                let before_the_gap = after.to_timestamp(local).ok()?;
                self.zone.following(before_the_gap).next()?.timestamp()
            }
        };
        Some(instant.as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(instant: &str) -> i64 {
        instant.parse::<Timestamp>().expect("an instant").as_millisecond()
    }

    fn schedule(cron: &str, timezone: &str, catch_up: CatchUp) -> Schedule {
        let definition =
            Definition { cron: cron.into(), timezone: timezone.into(), catch_up, payload: serde_json::Value::Null };
        Schedule::parse(&definition, 0).expect("a schedule")
    }

    fn refusal(cron: &str, timezone: &str, catch_up: CatchUp) -> Refusal {
        let definition =
            Definition { cron: cron.into(), timezone: timezone.into(), catch_up, payload: serde_json::Value::Null };
        Schedule::parse(&definition, 0).expect_err("no schedule")
    }

    #[track_caller]
    fn check(schedule: &Schedule, after: &str, now: &str, runs: &[&str], next: &str) {
        let due = schedule.due(ms(after), ms(now));
        let runs: Vec<i64> = runs.iter().map(|run| ms(run)).collect();
        assert_eq!(due, Due { runs, next_ms: Some(ms(next)) });
    }

    #[test]
    fn a_daily_run_follows_the_local_clock() {
        let nightly = schedule("30 3 * * *", "Europe/Vienna", CatchUp::Latest);
        check(
            &nightly,
            "2026-01-10T02:29:59Z",
            "2026-01-10T02:30:00Z",
            &["2026-01-10T02:30:00Z"],
            "2026-01-11T02:30:00Z",
        );
        check(&nightly, "2026-07-10T01:00:00Z", "2026-07-10T01:29:59Z", &[], "2026-07-10T01:30:00Z");
    }

    // promise: DOMAIN: a skipped local time runs at the first valid instant
    #[test]
    fn a_skipped_local_time_runs_at_the_first_valid_instant() {
        // Vienna goes from 02:00 to 03:00 local, at 01:00 UTC.
        let skipped = schedule("30 2 * * *", "Europe/Vienna", CatchUp::Latest);
        check(&skipped, "2026-03-28T12:00:00Z", "2026-03-29T00:59:59Z", &[], "2026-03-29T01:00:00Z");
        check(
            &skipped,
            "2026-03-28T12:00:00Z",
            "2026-03-29T01:00:00Z",
            &["2026-03-29T01:00:00Z"],
            "2026-03-30T00:30:00Z",
        );
    }

    #[test]
    fn several_skipped_local_times_run_together_once() {
        let often = schedule("*/20 2 * * *", "Europe/Vienna", CatchUp::All { max: 10 });
        check(
            &often,
            "2026-03-28T12:00:00Z",
            "2026-03-29T03:00:00Z",
            &["2026-03-29T01:00:00Z"],
            "2026-03-30T00:00:00Z",
        );
    }

    // promise: DOMAIN: a repeated local time runs once
    #[test]
    fn a_repeated_local_time_runs_once() {
        // Vienna goes from 03:00 back to 02:00 local, at 01:00 UTC.
        let repeated = schedule("30 2 * * *", "Europe/Vienna", CatchUp::All { max: 10 });
        check(
            &repeated,
            "2026-10-24T12:00:00Z",
            "2026-10-25T12:00:00Z",
            &["2026-10-25T00:30:00Z"],
            "2026-10-26T01:30:00Z",
        );
        check(&repeated, "2026-10-25T00:30:00Z", "2026-10-25T01:10:00Z", &[], "2026-10-26T01:30:00Z");
        check(
            &repeated,
            "2026-10-25T00:00:00Z",
            "2026-10-25T01:10:00Z",
            &["2026-10-25T00:30:00Z"],
            "2026-10-26T01:30:00Z",
        );
    }

    // promise: DOMAIN: catch-up decides what of a missed night runs in the morning
    #[test]
    fn catch_up_decides_what_of_a_missed_night_runs() {
        let hourly = |catch_up| schedule("0 * * * *", "UTC", catch_up);
        let (night, morning, next) = ("2026-01-10T00:30:00Z", "2026-01-10T05:10:00Z", "2026-01-10T06:00:00Z");
        check(&hourly(CatchUp::None), night, morning, &[], next);
        check(&hourly(CatchUp::Latest), night, morning, &["2026-01-10T05:00:00Z"], next);
        let two = ["2026-01-10T04:00:00Z", "2026-01-10T05:00:00Z"];
        check(&hourly(CatchUp::All { max: 2 }), night, morning, &two, next);
        assert_eq!(hourly(CatchUp::All { max: 100 }).due(ms(night), ms(morning)).runs.len(), 5);
    }

    #[test]
    fn a_run_that_is_a_little_late_is_no_missed_one() {
        let hourly = schedule("0 * * * *", "UTC", CatchUp::None);
        check(
            &hourly,
            "2026-01-10T04:30:00Z",
            "2026-01-10T05:00:59Z",
            &["2026-01-10T05:00:00Z"],
            "2026-01-10T06:00:00Z",
        );
    }

    #[test]
    fn what_was_looked_at_is_not_due_again() {
        let hourly = schedule("0 * * * *", "UTC", CatchUp::All { max: 9 });
        check(&hourly, "2026-01-10T05:00:00Z", "2026-01-10T05:00:00Z", &[], "2026-01-10T06:00:00Z");
    }

    #[test]
    fn seconds_may_stand_before_the_five_fields() {
        let often = schedule("*/30 * * * * *", "UTC", CatchUp::Latest);
        check(
            &often,
            "2026-01-10T05:00:00Z",
            "2026-01-10T05:00:31Z",
            &["2026-01-10T05:00:30Z"],
            "2026-01-10T05:01:00Z",
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_reason() {
        assert!(matches!(refusal("whenever", "UTC", CatchUp::None), Refusal::Cron(..)));
        assert!(matches!(refusal("61 * * * *", "UTC", CatchUp::None), Refusal::Cron(..)));
        assert!(matches!(refusal("0 0 30 2 *", "UTC", CatchUp::None), Refusal::Never(_)));
        assert!(matches!(refusal("0 0 * * *", "Mars/Base", CatchUp::None), Refusal::TimeZone(_)));
        assert_eq!(refusal("0 0 * * *", "UTC", CatchUp::All { max: 0 }), Refusal::CatchUp);
        assert_eq!(refusal("0 0 * * *", "UTC", CatchUp::All { max: 101 }), Refusal::CatchUp);
    }

    #[test]
    fn catch_up_is_written_as_a_word_or_with_its_bound() {
        let read = |text| serde_json::from_str::<CatchUp>(text).ok();
        assert_eq!(read("\"none\""), Some(CatchUp::None));
        assert_eq!(read("{\"all\":{\"max\":3}}"), Some(CatchUp::All { max: 3 }));
        assert_eq!(read("\"all\""), None);
    }
}
