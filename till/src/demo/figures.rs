//! What a story took: records, attempts and invocations, and for each function how long it worked and how long it slept.
//! All of it is the difference of two scrapes of what bridge and host say on `/metrics`.

use std::time::Duration;

use super::narrator::Narrator;
use crate::Error;
use crate::data::FUNCTIONS;
use crate::metrics::Samples;
use crate::visitor::Visitor;

/// admin hears every topic once, so its source counts the records.
const ALL_TOPICS: [(&str, &str); 1] = [("source", "admin")];

/// Both parts of the house at one moment.
#[derive(Debug)]
pub struct Scrape {
    bridge: Samples,
    host: Samples,
}

impl Scrape {
    /// Looks now.
    pub async fn take(house: &Visitor) -> Result<Self, Error> {
        Ok(Scrape { bridge: house.bridge_metrics().await?, host: house.host_metrics().await? })
    }
}

/// Tells the difference of two scrapes.
pub fn tell(say: &Narrator, before: &Scrape, after: &Scrape) {
    let story = say.elapsed();
    let bridge = |name, labels: &[(&str, &str)]| after.bridge.sum(name, labels) - before.bridge.sum(name, labels);
    let host = |name, function| {
        let labels = [("component", function)];
        after.host.sum(name, &labels) - before.host.sum(name, &labels)
    };
    let invocations: f64 = FUNCTIONS.iter().map(|function| host("till_host_invocations_total", function)).sum();
    say.plain(&format!(
        "\nIt took {} records, {} deliveries of them, {} attempts and {invocations} invocations in {:.1} s.\n",
        bridge("till_records_total", &ALL_TOPICS),
        bridge("till_settled_total", &[]),
        bridge("till_attempts_total", &[]),
        story.as_secs_f64(),
    ));
    say.plain("function   invocations      worked       slept");
    for function in FUNCTIONS {
        let worked = Duration::from_secs_f64(host("till_host_busy_seconds_total", function).max(0.0));
        let count = host("till_host_invocations_total", function);
        say.plain(&format!(
            "{function:<10} {count:>11} {:>11} {:>11}",
            milliseconds(worked),
            seconds(story.saturating_sub(worked))
        ));
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
