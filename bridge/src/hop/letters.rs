//! Dead letters that are called for: the event goes to the source's own dead letter sink over HTTP, with the reason beside it, and its
//! record is settled when that sink has taken it.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinError};

use super::Running;
use crate::answer::{Meaning, Outcome};
use crate::clock::Clock;
use crate::dead_letter::{self, Reason};
use crate::dispatch::{DeliveryId, Input, Retry};
use crate::http::Sender;
use crate::log::Record;
use crate::metrics::add;
use crate::request::{self, Request};

/// Retries that a dead letter has when its source goes on for ever: somebody must hear of a sink that takes none.
const RETRIES_MAX: u32 = 10;

/// How often a sink that sleeps is called while it wakes.
const WAKING_DELAY: u64 = 500;

/// A dead letter that was taken, or why it was not.
pub(super) type Posted = (DeliveryId, Result<(), String>);

/// A dead letter on its way.
pub(super) struct Posting {
    abort: AbortHandle,
    record: Rc<Record>,
}

impl Running<'_> {
    /// Calls the dead letter sink until it has taken the letter or will not.
    pub(super) fn post(&mut self, sender: &Rc<Sender>, id: DeliveryId, record: &Rc<Record>, reason: &Reason) {
        let (source, clock) = (&self.hop.source, self.hop.around.clock.clone());
        let mut event = request::event_of(source, record);
        event.extensions.extend(dead_letter::extensions(source, reason));
        let request = request::request_of(&event, source.delivery.structured, false);
        let mut retry = source.delivery.retry.clone();
        retry.retries_max = Some(retry.retries_max.unwrap_or(RETRIES_MAX).min(RETRIES_MAX));
        let (sender, posts, timeout) = (Rc::clone(sender), Rc::clone(&self.posts), source.delivery.timeout);
        let wake_budget = source.delivery.wake_budget.as_millis() as u64;
        let abort = self.letters.spawn_local(async move {
            let _place = posts.acquire().await.expect("it is never closed");
            (id, call(&sender, &request, timeout, &retry, wake_budget, &clock).await)
        });
        self.posting.insert(id, Posting { abort, record: Rc::clone(record) });
    }

    /// What was on its way for partitions that have gone is another bridge's to call for.
    pub(super) fn forget_posts(&mut self) {
        let machine = &self.machine;
        for (_, posting) in self.posting.extract_if(|id, _| !machine.is_writing(*id)) {
            posting.abort.abort();
        }
    }

    /// A call has ended. One that was forgotten tells nothing; one that broke was not taken.
    pub(super) fn posted(&mut self, joined: Result<Posted, JoinError>) {
        let landed = joined.or_else(|error| {
            let broken = self.posting.iter().find(|(_, posting)| posting.abort.id() == error.id());
            broken.map(|(id, _)| (*id, Err(error.to_string()))).ok_or(())
        });
        let Ok((id, outcome)) = landed else { return };
        let Some(Posting { record, .. }) = self.posting.remove(&id) else { return };
        if !self.machine.is_writing(id) {
            return;
        }
        match outcome {
            Ok(()) => {
                add(&self.hop.metrics.dead_letters, 1);
                let (partition, offset) = (record.partition.to_string(), record.offset);
                tracing::warn!(source = self.hop.source.name, partition, offset, "a dead letter was taken by its sink");
                self.step(Input::Taken(id));
            }
            Err(reason) => {
                add(&self.hop.metrics.dead_letter_failures, 1);
                let reason = format!("the dead letter sink: {reason}");
                self.tell_stop(&record, &reason);
                self.step(Input::NotWritable { id, reason });
            }
        }
    }
}

async fn call(
    sender: &Sender,
    request: &Request,
    timeout: Duration,
    retry: &Retry,
    wake_budget: u64,
    clock: &Clock,
) -> Result<(), String> {
    let (mut attempts, mut silent_since) = (0, None);
    loop {
        let outcome = sender.send(request, timeout).await;
        let retry_after = match outcome.meaning(false, clock.now()) {
            Meaning::Settled | Meaning::Reply(_) => return Ok(()),
            Meaning::Refused | Meaning::Unauthorized => return Err(told(&outcome)),
            Meaning::Failed { retry_after, .. } => retry_after,
            Meaning::Silent => {
                // It may only be asleep: that is no attempt until the budget is used up.
                let now = clock.steady();
                if now.saturating_sub(*silent_since.get_or_insert(now)) < wake_budget {
                    clock.sleep_until_steady(now + WAKING_DELAY.min(wake_budget)).await;
                    continue;
                }
                None
            }
        };
        attempts += 1;
        let delay = retry.delay(attempts, retry_after, fastrand::f64()).ok_or_else(|| told(&outcome))?;
        clock.sleep_until_steady(clock.steady() + delay).await;
    }
}

/// What a person hears. A body is none of a log's business.
fn told(outcome: &Outcome) -> String {
    match outcome.code() {
        0 => format!("it could not be called ({})", outcome.label()),
        code => format!("it answered {code}"),
    }
}
