//! What is counted, in Prometheus' text format. Sources count as they go; the text is made when somebody asks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Upper bounds of the histograms, in milliseconds.
const BOUNDS_MS: [i64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 30_000, 300_000, 3_600_000];

/// The counters of one source.
#[derive(Debug, Default)]
pub struct Metrics {
    pub records: Cell<u64>,
    pub skipped: Cell<u64>,
    pub settled: Cell<u64>,
    pub dead_letters: Cell<u64>,
    /// Dead letters that their sink did not take.
    pub dead_letter_failures: Cell<u64>,
    pub dropped: Cell<u64>,
    /// Ordered by a person, here.
    pub redriven: Cell<u64>,
    /// Delivered again by an order.
    pub redelivered: Cell<u64>,
    pub replies: Cell<u64>,
    /// Answers and failures that callers were told, and callers who could not be reached.
    pub answers: Cell<u64>,
    pub failures_told: Cell<u64>,
    pub unanswered: Cell<u64>,
    pub commits: Cell<u64>,
    pub commit_failures: Cell<u64>,
    pub rebalances: Cell<u64>,
    /// Records that were sent and not settled when their partition went.
    pub abandoned: Cell<u64>,
    /// Seconds since 1970 of the last settled delivery.
    pub last_delivery_s: Cell<i64>,
    attempts: RefCell<BTreeMap<&'static str, u64>>,
    /// From a record's timestamp to its settlement.
    pub settling: Histogram,
    /// From a sink's first silence to its first answer.
    pub waking: Histogram,
}

/// How long something took, by how much it was at most.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Cell<u64>; BOUNDS_MS.len()],
    sum_ms: Cell<i64>,
    count: Cell<u64>,
}

impl Histogram {
    pub fn observe(&self, ms: i64) {
        let ms = ms.max(0);
        add(&self.count, 1);
        self.sum_ms.set(self.sum_ms.get().saturating_add(ms));
        let within = BOUNDS_MS.iter().zip(&self.buckets).filter(|(bound, _)| ms <= **bound);
        within.for_each(|(_, bucket)| add(bucket, 1));
    }
}

/// Adds to a counter.
pub fn add(counter: &Cell<u64>, by: usize) {
    counter.set(counter.get() + by as u64);
}

impl Metrics {
    pub fn attempt(&self, outcome: &'static str) {
        *self.attempts.borrow_mut().entry(outcome).or_default() += 1;
    }

    pub fn attempts(&self) -> u64 {
        self.attempts.borrow().values().sum()
    }
}

/// A metric's name, its kind and what it tells.
pub type Head = (&'static str, &'static str, &'static str);
/// A metric that is read from something.
pub type Reading<T> = (Head, fn(&T) -> f64);

/// Text that grows by one family of samples after the other.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// A family: each sample is its labels and its value.
    pub fn family(&mut self, (name, kind, help): Head, samples: impl IntoIterator<Item = (String, f64)>) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.text, "{name}{{{labels}}} {value}");
        }
    }

    /// The counters of all sources, by name.
    pub fn sources(&mut self, sources: &[(String, std::rc::Rc<Metrics>)]) {
        let counters: [Reading<Metrics>; 17] = [
            (("till_records_total", "counter", "Records read"), |m| m.records.get() as f64),
            (("till_skipped_total", "counter", "Records that the source does not want"), |m| m.skipped.get() as f64),
            (("till_settled_total", "counter", "Records delivered and settled"), |m| m.settled.get() as f64),
            (("till_dead_letters_total", "counter", "Dead letters written"), |m| m.dead_letters.get() as f64),
            (("till_dead_letter_failures_total", "counter", "Dead letters that their sink did not take"), |m| {
                m.dead_letter_failures.get() as f64
            }),
            (("till_redriven_total", "counter", "Dead letters ordered to be delivered again, here"), |m| {
                m.redriven.get() as f64
            }),
            (("till_redelivered_total", "counter", "Records read again by an order"), |m| m.redelivered.get() as f64),
            (("till_dropped_total", "counter", "Records given up without a dead letter"), |m| m.dropped.get() as f64),
            (("till_replies_total", "counter", "Events written as replies"), |m| m.replies.get() as f64),
            (("till_answers_total", "counter", "Answers written for callers who wait"), |m| m.answers.get() as f64),
            (("till_failures_told_total", "counter", "Refusals and failures told to callers who wait"), |m| {
                m.failures_told.get() as f64
            }),
            (("till_unanswered_total", "counter", "Callers who could not be reached"), |m| m.unanswered.get() as f64),
            (("till_commits_total", "counter", "Commits of offsets, replies and dead letters"), |m| {
                m.commits.get() as f64
            }),
            (("till_commit_failures_total", "counter", "Commits that were refused"), |m| {
                m.commit_failures.get() as f64
            }),
            (("till_rebalances_total", "counter", "Partitions assigned or revoked"), |m| m.rebalances.get() as f64),
            (
                ("till_abandoned_total", "counter", "Records under way when their partition went, delivered again"),
                |m| m.abandoned.get() as f64,
            ),
            (("till_last_delivery_seconds", "gauge", "When a delivery was settled last"), |m| {
                m.last_delivery_s.get() as f64
            }),
        ];
        for (head, read) in counters {
            self.family(head, sources.iter().map(|(name, metrics)| (label(name), read(metrics))));
        }
        self.attempts(sources);
        let help = "From a record's timestamp to its settlement";
        self.histogram("till_record_to_settled_seconds", help, sources, |metrics| &metrics.settling);
        let help = "From the first silence of a sink that was idle to its first answer";
        self.histogram("till_waking_seconds", help, sources, |metrics| &metrics.waking);
    }

    fn attempts(&mut self, sources: &[(String, std::rc::Rc<Metrics>)]) {
        let head = ("till_attempts_total", "counter", "Calls of sinks by outcome");
        let samples = sources.iter().flat_map(|(name, metrics)| {
            let attempts = metrics.attempts.borrow();
            let each =
                attempts.iter().map(|(outcome, n)| (format!("{},outcome=\"{outcome}\"", label(name)), *n as f64));
            each.collect::<Vec<_>>()
        });
        self.family(head, samples.collect::<Vec<_>>());
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        sources: &[(String, std::rc::Rc<Metrics>)],
        of: fn(&Metrics) -> &Histogram,
    ) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (source, metrics) in sources {
            let (source, histogram) = (label(source), of(metrics));
            for (bound, bucket) in BOUNDS_MS.iter().zip(&histogram.buckets) {
                let le = *bound as f64 / 1_000.0;
                let _ = writeln!(self.text, "{name}_bucket{{{source},le=\"{le}\"}} {}", bucket.get());
            }
            let (count, sum) = (histogram.count.get(), histogram.sum_ms.get() as f64 / 1_000.0);
            let _ = writeln!(self.text, "{name}_bucket{{{source},le=\"+Inf\"}} {count}");
            let _ = writeln!(self.text, "{name}_sum{{{source}}} {sum}\n{name}_count{{{source}}} {count}");
        }
    }

    pub fn into_text(self) -> String {
        self.text
    }
}

/// `source="NAME"`.
pub fn label(source: &str) -> String {
    labelled("source", source)
}

/// `NAME="VALUE"`, whatever the value holds.
pub fn labelled(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn the_page_is_prometheus_text() {
        let metrics = Rc::new(Metrics::default());
        add(&metrics.records, 3);
        metrics.attempt("2xx");
        metrics.attempt("2xx");
        metrics.settling.observe(7);
        let mut page = Page::default();
        page.sources(&[("core".into(), metrics)]);
        let text = page.into_text();
        for line in [
            "till_records_total{source=\"core\"} 3",
            "till_attempts_total{source=\"core\",outcome=\"2xx\"} 2",
            "till_record_to_settled_seconds_bucket{source=\"core\",le=\"0.005\"} 0",
            "till_record_to_settled_seconds_bucket{source=\"core\",le=\"0.01\"} 1",
            "till_record_to_settled_seconds_count{source=\"core\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
