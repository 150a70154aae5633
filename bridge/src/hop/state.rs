//! What a source tells about itself when it is asked: for readiness, metrics and people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Hop, Running};
use crate::dispatch::Look;

/// The state of one source.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    pub source: String,
    pub group: String,
    pub sink: String,
    /// Whether the log has answered with partitions, or with none.
    pub assigned: bool,
    /// Whether the thread that reads the log goes on.
    pub reading: bool,
    /// Replies and offsets are written all or none; when not, at least once and one after the other.
    pub transactional: bool,
    /// `open`, `waking`, `failing` or `paused`.
    pub gate: &'static str,
    pub in_flight: usize,
    pub lanes: usize,
    pub buffered_records: usize,
    pub buffered_bytes: usize,
    pub attempts: u64,
    pub settled: u64,
    pub dead_letters: u64,
    pub partitions: Vec<PartitionState>,
    pub stopped_lanes: Vec<StoppedLane>,
    /// What is wrong, by topic, partition or part of the source.
    pub alarms: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PartitionState {
    pub topic: String,
    pub partition: i32,
    pub safe_offset: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct StoppedLane {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub reason: String,
}

impl State {
    /// Why this source is not ready; nothing when it is.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self.alarms.values().cloned().collect();
        if !self.assigned {
            complaints.push("no partitions were assigned yet".into());
        }
        if self.assigned && !self.reading {
            complaints.push("the log is not read: the thread that should read it hangs".into());
        }
        if self.gate == "paused" {
            complaints.push("the sink does not accept the token; the source is paused".into());
        }
        complaints.extend(self.stopped_lanes.iter().map(|lane| {
            format!("{}/{} at offset {} is stopped: {}", lane.topic, lane.partition, lane.offset, lane.reason)
        }));
        complaints
    }
}

impl Hop {
    /// A source without a log.
    pub(super) fn away_state(&self, reason: &str) -> State {
        let (source, metrics) = (&self.source, &self.metrics);
        State {
            source: source.name.clone(),
            group: source.group.clone(),
            sink: source.sink.to_string(),
            transactional: true,
            assigned: false,
            reading: false,
            gate: "open",
            in_flight: 0,
            lanes: 0,
            buffered_records: 0,
            buffered_bytes: 0,
            attempts: metrics.attempts(),
            settled: metrics.settled.get(),
            dead_letters: metrics.dead_letters.get(),
            partitions: Vec::new(),
            stopped_lanes: Vec::new(),
            alarms: BTreeMap::from([("log".into(), format!("the log is lost and joined again: {reason}"))]),
        }
    }
}

impl Running<'_> {
    pub(super) fn state(&self) -> State {
        let (hop, (buffered_records, buffered_bytes)) = (self.hop, self.machine.buffered());
        State {
            source: hop.source.name.clone(),
            group: hop.source.group.clone(),
            sink: hop.source.sink.to_string(),
            assigned: self.assigned,
            reading: self.control.is_reading(),
            transactional: self.control.is_transactional(),
            gate: match self.machine.gate() {
                Look::Open => "open",
                Look::Waking => "waking",
                Look::Failing => "failing",
                Look::Paused => "paused",
            },
            in_flight: self.machine.in_flight(),
            lanes: self.machine.lanes(),
            buffered_records,
            buffered_bytes,
            attempts: hop.metrics.attempts(),
            settled: hop.metrics.settled.get(),
            dead_letters: hop.metrics.dead_letters.get(),
            partitions: self.partition_states(),
            stopped_lanes: self.stopped_lanes(),
            alarms: self.alarms.clone(),
        }
    }

    fn partition_states(&self) -> Vec<PartitionState> {
        let state = |(slot, safe_offset)| {
            let partition = self.partitions.get(slot);
            PartitionState { topic: partition.topic.to_string(), partition: partition.number, safe_offset }
        };
        self.machine.safe_offsets().map(state).collect()
    }

    fn stopped_lanes(&self) -> Vec<StoppedLane> {
        let lane = |(slot, offset, reason)| {
            let partition = self.partitions.get(slot);
            StoppedLane { topic: partition.topic.to_string(), partition: partition.number, offset, reason }
        };
        self.machine.stopped().into_iter().map(lane).collect()
    }
}
