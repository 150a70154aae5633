//! Pure decisions: state and a happening come in, new state and effects go out. No clock, no randomness, no I/O.

pub mod amount;
pub mod asset;
pub mod facts;
