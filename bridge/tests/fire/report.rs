//! What a run under fire came to, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::checker::{self, Evidence, Verdict};
use crate::faults::Fault;

#[derive(Debug, Serialize)]
pub struct Report {
    pub seed: u64,
    pub seconds: u64,
    pub records: usize,
    pub replies: usize,
    pub dead_letters: usize,
    pub calls: usize,
    /// By name, what the sink did instead of its work.
    pub tricks: BTreeMap<String, usize>,
    pub faults: BTreeMap<String, usize>,
    /// By fault, the longest time until a hundred records more were answered after it was healed.
    pub recovery_ms: BTreeMap<String, u128>,
    /// Calls of what the sink had answered before, and how many there may have been.
    pub repeats: usize,
    pub repeats_max: u64,
    pub peak_kib: u64,
    pub violations: Vec<String>,
}

impl Report {
    pub fn new(seed: u64, seconds: u64, faults: &[(Fault, Duration)], evidence: &Evidence, peak_kib: u64) -> Report {
        let Verdict { violations, repeats, repeats_max } = checker::check(evidence);
        let tricks = crate::sink::TRICKS.iter().map(|trick| {
            let of = |answered| answered == crate::sink::Answered::Trick(*trick);
            (format!("{trick:?}"), checker::count(&evidence.calls, of))
        });
        let (mut inflicted, mut recovery_ms) = (BTreeMap::new(), BTreeMap::new());
        for (fault, recovery) in faults {
            *inflicted.entry(format!("{fault:?}")).or_default() += 1;
            let longest: &mut u128 = recovery_ms.entry(format!("{fault:?}")).or_default();
            *longest = recovery.as_millis().max(*longest);
        }
        Report {
            seed,
            seconds,
            records: evidence.input.len(),
            replies: evidence.replies.len(),
            dead_letters: evidence.letters.len(),
            calls: evidence.calls.len(),
            tricks: tricks.filter(|(_, count)| *count > 0).collect(),
            faults: inflicted,
            recovery_ms,
            repeats,
            repeats_max,
            peak_kib,
            violations,
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "under fire for {} s, SEED={}", self.seconds, self.seed)?;
        writeln!(out, "  faults       {:?}", self.faults)?;
        writeln!(out, "  recovery     {:?} ms", self.recovery_ms)?;
        writeln!(out, "  tricks       {:?}", self.tricks)?;
        writeln!(out, "  records      {}, calls {}", self.records, self.calls)?;
        writeln!(out, "  replies      {}, dead letters {}", self.replies, self.dead_letters)?;
        writeln!(out, "  repeats      {} of at most {}", self.repeats, self.repeats_max)?;
        writeln!(out, "  memory       {} KiB at most in one bridge", self.peak_kib)?;
        match self.violations.as_slice() {
            [] => writeln!(out, "  violations   none"),
            violations => violations.iter().try_for_each(|violation| writeln!(out, "  VIOLATION    {violation}")),
        }
    }
}
