//! The `delivery` of a document: retries, delays, time-outs and where dead letters go.

use std::time::Duration;

use super::fields::Fields;
use super::sink::{Resolver, Sink};
use crate::dispatch::{Backoff, OnExhausted, OnUnauthorized, Retry};

/// How one source delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub retry: Retry,
    /// Of one attempt, to the last byte of its answer.
    pub timeout: Duration,
    pub wake_budget: Duration,
    pub dead_letter_sink: Option<DeadLetterSink>,
    pub on_exhausted: OnExhausted,
    pub on_unauthorized: OnUnauthorized,
    /// The whole event as JSON instead of binary mode.
    pub structured: bool,
}

/// Who takes dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterSink {
    /// The topic of a KafkaSink, which is called so in line `line`.
    Topic { line: usize, name: String },
    /// Whoever answers there.
    Http(Sink),
}

/// Whose fields are allowed: Knative's, or ours as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Knative,
    Till,
}

/// Knative's defaults (BRIDGE.md, "Backoff"), with a cap that only matters beyond ten retries.
impl Default for Delivery {
    fn default() -> Self {
        Delivery {
            retry: Retry {
                retries_max: Some(10),
                backoff: Backoff::Exponential,
                delay: 300,
                delay_max: 300_000,
                retry_after_max: 300_000,
            },
            timeout: Duration::from_secs(600),
            wake_budget: Duration::from_secs(60),
            dead_letter_sink: None,
            on_exhausted: OnExhausted::Drop,
            on_unauthorized: OnUnauthorized::Refuse,
            structured: false,
        }
    }
}

impl Delivery {
    /// Fields that are absent keep their defaults, one by one.
    pub fn read(fields: Option<Fields>, dialect: Dialect, owner: Owner) -> Delivery {
        let mut delivery = Delivery::default();
        let chosen = fields.and_then(|mut fields| {
            delivery.read_retry(&mut fields, dialect);
            delivery.timeout = fields.duration("timeout").unwrap_or(delivery.timeout);
            let formats = [("binary", false), ("json", true)];
            delivery.structured = fields.choice("format", &formats).unwrap_or(false);
            delivery.dead_letter_sink = dead_letter_sink(&mut fields, owner);
            let chosen = (dialect == Dialect::Till).then(|| delivery.read_own(&mut fields)).flatten();
            fields.finish();
            chosen
        });
        delivery.on_exhausted = chosen.unwrap_or_else(|| delivery.when_nothing_is_said(dialect));
        delivery
    }

    /// Under Knative a record without a dead letter sink is dropped. Ours are not lost without a word: the lane stops.
    fn when_nothing_is_said(&self, dialect: Dialect) -> OnExhausted {
        match (&self.dead_letter_sink, dialect) {
            (Some(_), _) => OnExhausted::DeadLetter,
            (None, Dialect::Knative) => OnExhausted::Drop,
            (None, Dialect::Till) => OnExhausted::Stop,
        }
    }

    fn read_retry(&mut self, fields: &mut Fields, dialect: Dialect) {
        let retry = fields.map("retry", |text| match (text, dialect) {
            ("forever", Dialect::Till) => Ok(None),
            _ => text.parse().map(Some).map_err(|_| match dialect {
                Dialect::Till => format!("must be a whole number or forever, and is `{text}`"),
                Dialect::Knative => format!("must be a whole number, and is `{text}`"),
            }),
        });
        let policies = [("linear", Backoff::Linear), ("exponential", Backoff::Exponential)];
        let millis = |duration: Duration| duration.as_millis() as u64;
        let own = &mut self.retry;
        own.retries_max = retry.unwrap_or(own.retries_max);
        own.backoff = fields.choice("backoffPolicy", &policies).unwrap_or(own.backoff);
        own.delay = fields.duration("backoffDelay").map_or(own.delay, millis);
        own.retry_after_max = fields.duration("retryAfterMax").map_or(own.retry_after_max, millis);
        if dialect == Dialect::Till {
            own.delay_max = fields.duration("maxBackoff").map_or(own.delay_max, millis);
        }
    }

    /// Answers what `onExhausted` says.
    fn read_own(&mut self, fields: &mut Fields) -> Option<OnExhausted> {
        self.wake_budget = fields.duration("wakeBudget").unwrap_or(self.wake_budget);
        let reactions = [("deadLetter", OnUnauthorized::Refuse), ("pause", OnUnauthorized::Pause)];
        self.on_unauthorized = fields.choice("onUnauthorized", &reactions).unwrap_or(self.on_unauthorized);
        let ends = [("deadLetter", OnExhausted::DeadLetter), ("stop", OnExhausted::Stop), ("drop", OnExhausted::Drop)];
        let chosen = fields.choice("onExhausted", &ends);
        if chosen == Some(OnExhausted::DeadLetter) && self.dead_letter_sink.is_none() {
            fields.problem(fields.line, format!("`{}` needs a deadLetterSink", fields.name("onExhausted")));
        }
        chosen
    }
}

/// The document whose delivery it is.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub resolver: Resolver<'a>,
}

/// A ref to a KafkaSink is a topic; a ref to a Service, a uri, or both, is called as a sink is.
fn dead_letter_sink(delivery: &mut Fields, owner: Owner) -> Option<DeadLetterSink> {
    let mut sink = delivery.fields("deadLetterSink")?;
    if sink.peek("ref", "kind") != Some("KafkaSink") {
        return owner.resolver.destination(sink, owner.name, owner.namespace).map(DeadLetterSink::Http);
    }
    for field in ["uri", "CACerts", "audience"] {
        sink.unsupported(field, "dead letters of a KafkaSink go to its topic");
    }
    let found = sink.fields("ref").map(|mut reference| {
        let (line, name) = (reference.line, reference.required("name"));
        reference.ignored("kind");
        reference.ignored("apiVersion");
        reference.ignored("namespace");
        reference.finish();
        DeadLetterSink::Topic { line, name }
    });
    sink.finish();
    found
}
