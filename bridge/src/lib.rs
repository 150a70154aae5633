//! The bridge: topics ⇄ HTTP, blind to payloads. Records come in from a log, become one HTTP call each, and the answers
//! become records again. BRIDGE.md is its contract.

mod config;
mod dispatch;
mod log;
