//! `make bench`: what it costs to be woken and to be carried, measured against plain programs in the same run, so that the
//! ratios hold on any machine. Nothing here is a test: a slow neighbour would fail it.

pub mod bridge;
pub mod host;
pub mod load;
pub mod report;
pub mod usage;
