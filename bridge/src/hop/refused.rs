//! What the log did not take: it is done again without the records that it will never take. What a caller is told never stops a
//! lane; what a reply or a dead letter holds does.

use std::collections::BTreeMap;

use super::Running;
use super::settle::{Batch, Content, Write};
use crate::dispatch::{Input, OnExhausted};
use crate::log::{Error, Fault, Refused};
use crate::metrics::add;

impl Running<'_> {
    /// Nothing of the batch is in the log: it is done again, without what can never be written.
    pub(super) fn not_written(&mut self, batch: Batch, error: Error) {
        add(&self.hop.metrics.commit_failures, 1);
        let Batch { mut writes, slots, metadata_len } = batch;
        match &error {
            Error::Record { index, reason, topic, fault } => match position(&writes, *index) {
                Some(place) => {
                    let reason = format!("topic {topic}: {reason}");
                    let elsewhere = matches!(fault, Fault::UnknownTopic | Fault::Forbidden).then_some(topic.as_str());
                    writes = self.without(writes, place, elsewhere, &reason);
                }
                None => self.settling.back_off(),
            },
            Error::Partly(refused) => writes = self.without_refused(writes, refused),
            Error::Metadata(_) => self.step(Input::MetadataMax(metadata_len.saturating_sub(1) / 2)),
            Error::NotOurs(partition) => {
                let slot = self.partitions.slot(partition);
                self.gone(vec![slot]);
            }
            Error::Fenced(_) | Error::Unavailable(_) | Error::Closed | Error::Config(_) => {
                self.settling.back_off();
                self.alarms.insert("settle".into(), error.to_string());
            }
        }
        tracing::warn!(source = self.hop.source.name, %error, "the log did not take a commit");
        self.settling.put_back(writes);
        self.step(Input::NotCommitted(slots));
    }

    /// Everything else of the writes is in the log, and waits for its offset alone.
    fn without_refused(&mut self, writes: Vec<Write>, refused: &[Refused]) -> Vec<Write> {
        let mut first: BTreeMap<usize, (usize, String)> = BTreeMap::new();
        for Refused { index, topic, reason, .. } in refused {
            let Some((at, within)) = position(&writes, *index) else { continue };
            first.entry(at).or_insert_with(|| (within, format!("topic {topic}: {reason}")));
        }
        let left = writes.into_iter().enumerate().filter_map(|(at, write)| match first.remove(&at) {
            None => Some(write.into_written()),
            // What is left of a reply are its events; what is left of anything else is to be written instead.
            Some((within, reason)) if matches!(write.content, Content::Reply { .. }) => {
                self.not_writable(write, within, reason).map(Write::into_written)
            }
            Some((within, reason)) => self.not_writable(write, within, reason),
        });
        left.collect()
    }

    /// What is left of writes without the record at `place`. Where the log refuses its whole topic, callers that wait there are
    /// passed over with it, or each would cost a call of its own.
    fn without(&mut self, writes: Vec<Write>, place: (usize, usize), topic: Option<&str>, reason: &str) -> Vec<Write> {
        let mut left = Vec::with_capacity(writes.len());
        for (at, write) in writes.into_iter().enumerate() {
            let within = match at == place.0 {
                true => Some(place.1),
                false => topic.and_then(|topic| write.answer_to(topic)),
            };
            match within {
                Some(within) => left.extend(self.not_writable(write, within, reason.to_owned())),
                None => left.push(write),
            }
        }
        left
    }

    /// One record of a write will never be taken. A lane never stops because of where a caller wants its answer: what is left
    /// to be written without it is answered.
    fn not_writable(&mut self, mut write: Write, within: usize, reason: String) -> Option<Write> {
        match write.content {
            Content::Reply { answers } if within >= write.records.len() - answers => {
                self.tell_unanswered(&write.record, &reason);
                write.records.truncate(write.records.len() - answers);
                let events = std::mem::take(&mut write.records);
                return Some(Write::new(write.id, write.record, events, Content::Reply { answers: 0 }));
            }
            Content::Failure { otherwise: Some(letter), .. } => {
                self.tell_unanswered(&write.record, &reason);
                return Some(Write::new(write.id, write.record, vec![letter.into()], Content::DeadLetter));
            }
            Content::Failure { otherwise: None, reason: given_up }
                if let Some(sender) = &self.hop.dead_letter_sender =>
            {
                self.tell_unanswered(&write.record, &reason);
                self.post(sender, write.id, &write.record, &given_up);
                return None;
            }
            Content::Failure { otherwise: None, .. } if self.hop.source.delivery.on_exhausted == OnExhausted::Drop => {
                self.tell_unanswered(&write.record, &reason);
                self.tell_dropped(&write.record);
                return Some(Write::new(write.id, write.record, Vec::new(), Content::Reply { answers: 0 }));
            }
            Content::Reply { .. } | Content::Failure { .. } | Content::DeadLetter => {}
        }
        self.tell_stop(&write.record, &reason);
        self.step(Input::NotWritable { id: write.id, reason });
        None
    }
}

impl Write {
    /// The place of what a caller is told, if it is told in this topic.
    fn answer_to(&self, topic: &str) -> Option<usize> {
        let at = match self.content {
            Content::Reply { answers } => self.records.len() - answers,
            Content::Failure { .. } => 0,
            Content::DeadLetter => return None,
        };
        self.unwritten().get(at).is_some_and(|record| record.topic == topic).then_some(at)
    }
}

/// Which of the writes holds the record at `index` of the call, and at which place.
fn position(writes: &[Write], index: usize) -> Option<(usize, usize)> {
    let mut begin = 0;
    let at = writes.iter().position(|write| {
        let end = begin + write.unwritten().len();
        let found = index < end;
        begin = if found { begin } else { end };
        found
    })?;
    Some((at, index - begin))
}

#[cfg(test)]
mod tests {
    use super::super::settle::tests::write;
    use super::*;
    use crate::dead_letter::Reason;

    #[test]
    fn the_record_that_was_refused_is_found_in_its_write() {
        let writes = [write(0, 2), write(1, 1), write(2, 3)];
        let found: Vec<_> = (0..7).map(|index| position(&writes, index)).collect();
        let expected = [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)].map(Some);
        assert_eq!((&found[..6], found[6]), (&expected[..], None));
        let writes = [write(0, 2).into_written(), write(1, 1)];
        assert_eq!(
            [position(&writes, 0), position(&writes, 1)],
            [Some((1, 0)), None],
            "what is written is no part of a call"
        );
        assert_eq!(writes[0].answer_to("t"), None, "and nobody takes it back");
    }

    #[test]
    fn what_callers_of_a_topic_are_told_is_found_in_a_write() {
        let told = |content, topic| {
            let mut write = write(0, 3);
            write.content = content;
            write.answer_to(topic)
        };
        assert_eq!(told(Content::Reply { answers: 2 }, "t"), Some(1));
        assert_eq!(told(Content::Reply { answers: 2 }, "other"), None);
        assert_eq!(told(Content::Reply { answers: 0 }, "t"), None);
        assert_eq!(told(Content::Failure { otherwise: None, reason: Reason::default() }, "t"), Some(0));
        assert_eq!(told(Content::DeadLetter, "t"), None);
    }
}
