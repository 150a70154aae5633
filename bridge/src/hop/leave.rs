//! Giving partitions back: at a rebalance and at the end. What is under way is waited for, what is settled is committed, and the
//! rest is cancelled.

use std::time::Duration;

use tokio::time::Instant;

use super::Running;
use crate::dispatch::{Input, Slot};
use crate::log::Revoked;
use crate::metrics::add;

/// A revoked partition while what is under way ends.
pub(super) struct Leaving {
    revoked: Revoked,
    slots: Vec<Slot>,
    pub(super) deadline: Instant,
}

/// The end: drained by `deadline`, then closed.
pub(super) struct Stopping {
    pub(super) deadline: Instant,
    pub(super) closed: bool,
}

impl Running<'_> {
    pub(super) fn begin_stop(&mut self) {
        self.step(Input::Drain);
        self.stopping = Some(Stopping { deadline: Instant::now() + self.hop.around.drain, closed: false });
    }

    pub(super) async fn revoked(&mut self, revoked: Revoked) {
        add(&self.hop.metrics.rebalances, revoked.partitions.len());
        for partition in &revoked.partitions {
            self.alarms.remove(&partition.to_string());
        }
        let slots: Vec<Slot> = revoked.partitions.iter().map(|partition| self.partitions.slot(partition)).collect();
        if revoked.lost {
            return self.gone(slots);
        }
        self.finish_leaving().await;
        self.step(Input::Leaving(slots.clone()));
        let drain = if self.stopping.is_some() { Duration::ZERO } else { self.hop.around.drain };
        self.leaving = Some(Leaving { revoked, slots, deadline: Instant::now() + drain });
    }

    pub(super) async fn leave_when_quiet(&mut self) {
        let ends = self
            .leaving
            .as_ref()
            .is_some_and(|leaving| Instant::now() >= leaving.deadline || self.machine.under_way(&leaving.slots) == 0);
        if ends {
            self.finish_leaving().await;
        }
    }

    /// What is settled is committed, then the partitions are forgotten and given back.
    pub(super) async fn finish_leaving(&mut self) {
        let Some(leaving) = self.leaving.take() else { return };
        self.settle_now().await;
        self.gone(leaving.slots);
        drop(leaving.revoked.release);
    }

    /// Forgets partitions. What is under way of them is delivered again, by whoever has them next: nobody will commit its answers.
    pub(super) fn gone(&mut self, slots: Vec<Slot>) {
        let records = self.machine.under_way(&slots);
        if records > 0 {
            add(&self.hop.metrics.abandoned, records);
            let partitions: Vec<String> = slots.iter().map(|slot| self.partitions.get(*slot).to_string()).collect();
            let (source, partitions) = (&self.hop.source.name, partitions.join(" "));
            tracing::warn!(
                source,
                partitions,
                records,
                "partitions went before this was settled: it is delivered again"
            );
        }
        self.step(Input::Gone(slots));
    }

    pub(super) fn close_when_quiet(&mut self) {
        let calls = self.machine.in_flight() + self.letters.len();
        let quiet = calls == 0 && self.settling.is_idle() && !self.machine.is_dirty();
        if let Some(stopping) = self.stopping.as_mut().filter(|stopping| !stopping.closed)
            && (quiet || Instant::now() >= stopping.deadline)
        {
            stopping.closed = true;
            self.control.close();
        }
    }
}
