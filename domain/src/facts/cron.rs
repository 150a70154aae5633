//! The payloads on topic `cron`.

use serde::{Deserialize, Serialize};

/// [`ScheduleDue`]; subject: the schedule.
pub const SCHEDULE_DUE: &str = "cron.schedule.due";

/// A schedule's instant has come, or an operator ran it by hand. Told once for each (schedule, instant).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScheduleDue {
    /// Its id, such as `ledger-proof`.
    pub schedule: String,
    /// The instant that it was scheduled for, in milliseconds since 1970; may be long past after a night off.
    pub scheduled_at_ms: i64,
    /// What its definition says.
    #[serde(default)]
    pub payload: serde_json::Value,
}
