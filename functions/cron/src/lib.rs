//! The cron function.
