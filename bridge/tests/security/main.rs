//! Who the bridge believes and whom it tells what it knows: TLS and credentials towards sinks and brokers, and what it says when
//! they are wrong.

#![allow(clippy::unwrap_used)]

#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "../log/world.rs"]
mod world;

mod broker;
mod brokers;
mod certificates;
mod checks;
mod front;
mod process;
mod sinks;
mod tokens;
