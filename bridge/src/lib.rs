//! The bridge: records of a log become HTTP calls of functions that may be asleep, and their answers become records.

pub mod ingress;
pub mod log;
