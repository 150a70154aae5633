//! The chart, rendered by Helm for every environment, and the workflows that deploy it, without a cluster.

mod arguments;
mod operate;
mod policy;
mod refusals;
mod schemas;
mod secrets;
mod snapshots;
mod values;
mod workflows;

use chart_tests::chart::{Chart, ENVIRONMENTS};
use chart_tests::programs::programs;

/// The chart in every environment; none, and `test` is told as skipped, where this machine lacks helm.
fn charts(test: &str) -> Vec<Chart<'static>> {
    let programs = programs(test);
    let charts = programs.map(|programs| ENVIRONMENTS.map(|environment| Chart { programs, environment }));
    charts.into_iter().flatten().collect()
}
