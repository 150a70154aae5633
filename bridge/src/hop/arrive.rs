//! From the feed to the machine: what a record is to this source, what was assigned, and what is wrong.

use std::hash::BuildHasher as _;
use std::rc::Rc;

use super::Running;
use crate::dispatch::{Fresh, Input, Slot};
use crate::letters::{Arrival, Order};
use crate::log::{Alarm, Happening, Record};
use crate::metrics::add;
use crate::{nest, request};

impl Running<'_> {
    pub(super) async fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Record(record) => self.record(record),
            Happening::End { partition, next } => {
                let slot = self.partitions.slot(&partition);
                self.step(Input::End { slot, next });
            }
            Happening::Assigned(positions) => {
                add(&self.hop.metrics.rebalances, positions.len());
                self.assigned = true;
                for position in positions {
                    self.alarms.remove(&position.partition.to_string());
                    self.alarms.remove(&*position.partition.topic);
                    let slot = self.partitions.slot(&position.partition);
                    self.step(Input::Assigned { slot, next: position.next, metadata: position.metadata });
                }
            }
            Happening::Revoked(revoked) => {
                // Who lost everything joins again; who gives some back is told what it has, if only that it is nothing.
                self.assigned &= !revoked.lost;
                self.revoked(revoked).await;
            }
            Happening::Alarm(alarm) => self.alarm(alarm),
        }
    }

    fn record(&mut self, record: Record) {
        let (slot, offset) = (self.partitions.slot(&record.partition), record.offset);
        let record = match self.hop.post.sort(record) {
            Arrival::Ordinary(record) => record,
            Arrival::Ordered(order) => return self.ordered(slot, offset, *order),
            Arrival::Others => return self.step(Input::Skipped { slot, offset }),
        };
        add(&self.hop.metrics.records, 1);
        let source = &self.hop.source;
        if !source.filter.accepts_all() && !source.filter.accepts(&request::event_of(source, &record)) {
            add(&self.hop.metrics.skipped, 1);
            return self.step(Input::Skipped { slot, offset });
        }
        self.deliver(slot, slot, offset, record);
    }

    /// A letter that a person wants to be delivered again. What the filters say now does not matter: they let it through once.
    /// It takes the lane that it had, so that what came of its key meanwhile is never under way beside it.
    fn ordered(&mut self, slot: Slot, offset: i64, Order { letter_offset, record, .. }: Order) {
        if !self.heard.is_first(self.partitions.get(slot), letter_offset, offset) {
            tracing::info!(
                source = self.hop.source.name,
                letter_offset,
                "the letter was ordered twice; once is enough"
            );
            return self.step(Input::Skipped { slot, offset });
        }
        add(&self.hop.metrics.redelivered, 1);
        let home = self.partitions.known(&record.partition).unwrap_or(slot);
        self.deliver(slot, home, offset, record);
    }

    /// `slot` and `offset` are where it was read, and what is committed; an ordered record comes from elsewhere.
    fn deliver(&mut self, slot: Slot, home: Slot, offset: i64, record: Record) {
        let key = record.key.as_ref().map(|key| self.hasher.hash_one(key));
        let awaited = matches!(nest::caller(&record.headers, &self.hop.source.answer_topics), Some(Ok(_)));
        let bytes = record.size();
        self.step(Input::Record(Fresh { slot, home, offset, key, bytes, awaited, record: Rc::new(record) }));
    }

    fn alarm(&mut self, alarm: Alarm) {
        match &alarm {
            Alarm::Cleared | Alarm::Found { .. } => tracing::info!(source = self.hop.source.name, "{alarm}"),
            _ => tracing::error!(source = self.hop.source.name, "{alarm}"),
        }
        let text = alarm.to_string();
        match alarm {
            Alarm::OutOfRange { partition, .. } => drop(self.alarms.insert(partition.to_string(), text)),
            Alarm::Topic { topic, .. } => drop(self.alarms.insert(topic, text)),
            Alarm::Found { topic } => drop(self.alarms.remove(&topic)),
            Alarm::Unavailable(_) => drop(self.alarms.insert("log".into(), text)),
            Alarm::Cleared => drop(self.alarms.remove("log")),
            Alarm::Fatal(reason) => self.lost = Some(reason),
        }
    }
}
