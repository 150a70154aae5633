//! Pure decisions: state and a happening come in, new state and effects go out. No clock, no randomness, no I/O.

pub mod account;
pub mod address;
pub mod amount;
pub mod asset;
#[cfg(test)]
mod chance;
pub mod delivery;
pub mod deposit;
pub mod endpoint;
pub mod facts;
pub mod invoice;
pub mod mail;
pub mod rate;
pub mod schedule;
