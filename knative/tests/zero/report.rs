//! What the harness found, as a table for people and as JSON for `make cost`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::activator::Wake;
use crate::process::Memory;

/// How one kind of function did.
pub struct Measured {
    /// Milliseconds, in order: from the record to the function's answer; of that, with the activator; of that, until it listened.
    told: Vec<f64>,
    held: Vec<f64>,
    started: Vec<f64>,
    /// Means of a life.
    cpu_ms: f64,
    awake_mib: f64,
    bridge: Memory,
}

impl Measured {
    pub fn of(wakes: Vec<(Duration, Wake)>, bridge: Memory) -> Self {
        let count = wakes.len() as f64;
        let cpu: f64 = wakes.iter().map(|(_, wake)| millis(wake.cpu)).sum();
        let resident: f64 = wakes.iter().map(|(_, wake)| mib(wake.resident_kib)).sum();
        let sorted = |of: &dyn Fn(&(Duration, Wake)) -> Duration| {
            let mut all: Vec<f64> = wakes.iter().map(|wake| millis(of(wake))).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        Measured {
            told: sorted(&|(told, _)| *told),
            held: sorted(&|(_, wake)| wake.held),
            started: sorted(&|(_, wake)| wake.started),
            cpu_ms: cpu / count,
            awake_mib: resident / count,
            bridge,
        }
    }
}

/// Everything that was measured.
pub struct Report {
    pub wakes: u32,
    pub window: Duration,
    pub till: Measured,
    pub node: Measured,
}

/// A figure's name and unit, and where it is found.
type Row = (&'static str, &'static str, fn(&Measured) -> f64);

const ROWS: [Row; 9] = [
    ("record to answer, p50", "ms", |one| share(&one.told, 0.5)),
    ("record to answer, p99", "ms", |one| share(&one.told, 0.99)),
    ("request held to answer, p50", "ms", |one| share(&one.held, 0.5)),
    ("request held to answer, p99", "ms", |one| share(&one.held, 0.99)),
    ("process started to listening, p50", "ms", |one| share(&one.started, 0.5)),
    ("process started to listening, p99", "ms", |one| share(&one.started, 0.99)),
    ("CPU of a wake and its one event", "ms", |one| one.cpu_ms),
    ("memory of the function, awake", "MiB", |one| one.awake_mib),
    ("memory of the sleeping house", "MiB", |one| mib(one.bridge.proportional_kib)),
];

/// What the figures are, and what they are not.
const SAID: [&str; 5] = [
    "the sleeping house is the bridge alone (embedded log); the harness and PostgreSQL are not counted",
    "Till's function is `admin` of the image, on PostgreSQL: it connects, notes the event and counts it in a transaction",
    "Node's keeps its notes in memory and uses node:http alone, so it is the least that such a function costs there",
    "the harness starts a process where Knative starts a pod: scheduling, image and sidecar (a second or so) come on top of both",
    "Knative's own pods, one set for a cluster, are not counted",
];

impl Report {
    pub fn print(&self) {
        println!("{} wakes each, stopped after {} ms without a request", self.wakes, self.window.as_millis());
        println!("{:<36} {:>9} {:>9}  unit", "figure", "Till", "Node");
        for (name, unit, of) in ROWS {
            println!("{name:<36} {:>9.1} {:>9.1}  {unit}", of(&self.till), of(&self.node));
        }
        SAID.iter().for_each(|line| println!("- {line}"));
        println!("as JSON: target/zero.json");
    }

    pub fn json(&self) -> String {
        let of = |kind: &'static str, measured: &Measured| -> Vec<Value> {
            let figure = |(name, unit, of): Row| json!({ "name": format!("{kind}: {name}"), "value": of(measured), "unit": unit });
            ROWS.map(figure).into()
        };
        let figures = [of("till", &self.till), of("node", &self.node)].concat();
        let report = json!({ "wakes": self.wakes, "window_ms": self.window.as_millis() as u64, "figures": figures, "said": SAID });
        serde_json::to_string_pretty(&report).expect("numbers and text")
    }
}

/// The value below which this share of them lies.
fn share(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_few_is_one_of_them() {
        let all: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((share(&all, 0.5), share(&all, 0.99)), (100.0, 198.0));
        assert_eq!((share(&[7.0], 0.5), share(&[7.0], 0.99)), (7.0, 7.0));
    }
}
