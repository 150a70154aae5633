//! The bridge: topics ⇄ HTTP, blind to payloads. Records come in from a log, become one HTTP call each, and the answers
//! become records again. BRIDGE.md is its contract.
//!
//! ```text
//! log ─▶ hop ─▶ dispatch (pure) ─▶ request ─▶ http ─▶ sink
//!  ▲      ▲                                     │
//!  └──────┴── settle ◀── reply, dead_letter ◀── answer
//! server: ingress, health, metrics, api ─▶ letters     wakes, ping: calls that no record asks for
//! ```

mod answer;
mod api;
pub mod ask;
pub mod check;
mod clock;
mod config;
mod dead_letter;
mod dispatch;
mod error;
mod explain;
mod health;
mod hop;
mod http;
pub mod ingress;
mod letters;
pub mod log;
mod metrics;
mod nest;
pub mod operate;
mod ping;
mod problem;
mod reply;
mod request;
mod run;
mod server;
#[cfg(test)]
mod testing;
mod tls;
mod token;
pub mod topics;
mod wakes;

pub use config::{Config, LogKind, Options, Problem, Source, default_listen};
pub use error::Error;
pub use explain::{Explanation, explain, written};
pub use run::{open_log, run, run_on};
