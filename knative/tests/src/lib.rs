//! What the tests of the chart stand on: programs that look at it, its rendering as objects, and YAML as JSON.

pub mod admission;
pub mod chart;
pub mod cost;
pub mod gateway;
pub mod postgres;
pub mod programs;
#[path = "../../../tests/src/skip.rs"]
pub mod skip;
pub mod yaml;
