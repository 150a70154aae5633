//! From a record to its call, and from the call's outcome to what the machine hears and what is to be written.

use std::rc::Rc;
use std::sync::Arc;

use super::Running;
use super::calls::Landed;
use super::settle::{Content, Write};
use crate::answer::Meaning;
use crate::config::Reply;
use crate::dead_letter::{self, Reason};
use crate::dispatch::{Action, DeliveryId, Input, Verdict};
use crate::log::{NewRecord, Record};
use crate::metrics::add;
use crate::nest::{self, Caller, Said, Unreachable, Unusable};
use crate::reply;

impl Running<'_> {
    /// Does what the machine says.
    pub(super) fn act(&mut self, action: Action<Rc<Record>>) {
        match action {
            Action::Send { id, record, .. } => self.calls.begin(id, record),
            Action::Cancel { id } => self.calls.cancel(id),
            Action::DeadLetter { id, record, attempts } => self.dead_letter(id, &record, attempts),
            Action::Dropped { record, .. } => self.tell_dropped(&record),
            Action::Pause(slot) => self.control.pause(std::slice::from_ref(self.partitions.get(slot))),
            Action::Resume(slot) => self.control.resume(std::slice::from_ref(self.partitions.get(slot))),
        }
    }

    pub(super) fn landed(&mut self, Landed { id, record, outcome, trace }: Landed) {
        let (hop, now) = (self.hop, self.hop.around.clock.now());
        hop.metrics.attempt(outcome.label());
        if let Some(instant) = outcome.wake_at() {
            hop.around.wakes.ask(&hop.source.sink.name, instant);
        }
        let verdict = match (self.caller(&record), nest::said(&outcome)) {
            (Some(caller), Some(said)) => self.answer(id, caller, said, &record, &trace),
            _ => match outcome.meaning(hop.source.reply != Reply::None, now) {
                Meaning::Reply(mut events) => {
                    reply::continue_trace(&mut events, &trace);
                    self.reply(id, &events, &record)
                }
                meaning => meaning.verdict(),
            },
        };
        match &verdict {
            Verdict::Settled => self.count_settled(&record),
            Verdict::Unwritable(reason) => self.tell_stop(&record, reason),
            Verdict::Refused | Verdict::Unauthorized | Verdict::Failed { .. } | Verdict::Silent => {
                self.reason = Reason::of(&outcome);
                tracing::debug!(source = hop.source.name, offset = record.offset, code = outcome.code(), "not settled");
            }
            Verdict::Reply => {}
        }
        self.step(Input::Answered { id, verdict });
    }

    /// The reply's records wait to be written, if they ever can be. Whether their topics exist is the log's to say.
    pub(super) fn reply(&mut self, id: DeliveryId, events: &[event::Event], record: &Rc<Record>) -> Verdict {
        match reply::records_of(&self.hop.source.reply, events) {
            Ok(records) => {
                self.push(id, records, record, Content::Reply { answers: 0 });
                Verdict::Reply
            }
            Err(reason) => Verdict::Unwritable(reason),
        }
    }

    /// What was said is written to whom waits for it, and events are facts besides. A caller who cannot be reached has only
    /// itself to blame: the sink has done its part.
    fn answer(
        &mut self,
        id: DeliveryId,
        caller: Result<Caller, Unreachable>,
        said: Result<Said, Unusable>,
        record: &Rc<Record>,
        trace: &str,
    ) -> Verdict {
        let Ok(Said { mut events, values }) = said else { return Verdict::Refused };
        reply::continue_trace(&mut events, trace);
        let policy = &self.hop.source.reply;
        let mut records = match reply::records_of(policy, if *policy == Reply::None { &[] } else { &events }) {
            Ok(records) => records,
            Err(reason) => return Verdict::Unwritable(reason),
        };
        let answers = caller.map(|caller| caller.answers(values)).unwrap_or_else(|unreachable| {
            self.tell_unanswered(record, &unreachable.to_string());
            Vec::new()
        });
        if records.is_empty() && answers.is_empty() {
            return Verdict::Settled;
        }
        let content = Content::Reply { answers: answers.len() };
        records.extend(answers);
        self.push(id, records, record, content);
        Verdict::Reply
    }

    fn caller(&self, record: &Record) -> Option<Result<Caller, Unreachable>> {
        nest::caller(&record.headers, &self.hop.source.answer_topics)
    }

    pub(super) fn tell_unanswered(&self, record: &Record, reason: &str) {
        add(&self.hop.metrics.unanswered, 1);
        let (partition, offset) = (record.partition.to_string(), record.offset);
        tracing::warn!(source = self.hop.source.name, partition, offset, reason, "a caller cannot be answered");
    }

    /// What was given up is told to whom waits for it. Nobody does, mostly: then its dead letter is written.
    pub(super) fn dead_letter(&mut self, id: DeliveryId, record: &Rc<Record>, attempts: u32) {
        let now_ms = self.hop.around.clock.now_ms();
        let topic = self.hop.dead_letter_topic.as_deref().unwrap_or_default();
        let letter = dead_letter::record_of(topic, &self.hop.source, record, attempts, &self.reason, now_ms);
        match self.caller(record) {
            Some(Ok(caller)) => {
                let otherwise = self.hop.dead_letter_topic.is_some().then_some(letter);
                let reason = self.reason.clone();
                self.push(id, vec![caller.failure(&reason)], record, Content::Failure { otherwise, reason });
            }
            _ => match &self.hop.dead_letter_sender {
                Some(sender) => self.post(sender, id, record, &self.reason.clone()),
                None => self.push(id, vec![letter], record, Content::DeadLetter),
            },
        }
    }

    fn push(&mut self, id: DeliveryId, records: Vec<NewRecord>, record: &Rc<Record>, content: Content) {
        let records = records.into_iter().map(Arc::new).collect();
        self.settling.push(Write::new(id, Rc::clone(record), records, content));
    }

    pub(super) fn count_settled(&self, record: &Record) {
        let (metrics, now_ms) = (&self.hop.metrics, self.hop.around.clock.now_ms());
        add(&metrics.settled, 1);
        metrics.last_delivery_s.set(now_ms / 1_000);
        if let Some(timestamp_ms) = record.timestamp_ms {
            metrics.settling.observe(now_ms.saturating_sub(timestamp_ms));
        }
    }

    pub(super) fn tell_dropped(&self, record: &Record) {
        add(&self.hop.metrics.dropped, 1);
        let (partition, offset) = (record.partition.to_string(), record.offset);
        tracing::warn!(source = self.hop.source.name, partition, offset, "given up without a dead letter");
    }

    pub(super) fn tell_stop(&self, record: &Record, reason: &str) {
        let (partition, offset) = (record.partition.to_string(), record.offset);
        tracing::error!(source = self.hop.source.name, partition, offset, reason, "the lane is stopped");
    }
}
