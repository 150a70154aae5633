//! The `delivery` of a document: retries, delays, time-outs and where dead letters go.

use std::time::Duration;

use super::fields::Fields;
use crate::dispatch::{Backoff, OnExhausted, OnUnauthorized, Retry};

/// How one source delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub retry: Retry,
    /// Of one attempt, to the last byte of its answer.
    pub timeout: Duration,
    pub wake_budget: Duration,
    /// The KafkaSink that takes dead letters, by name.
    pub dead_letter_sink: Option<(usize, String)>,
    pub on_exhausted: OnExhausted,
    pub on_unauthorized: OnUnauthorized,
    /// The whole event as JSON instead of binary mode.
    pub structured: bool,
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
    pub fn read(fields: Option<Fields>, dialect: Dialect) -> Delivery {
        let mut delivery = Delivery::default();
        let chosen = fields.and_then(|mut fields| {
            delivery.read_retry(&mut fields, dialect);
            delivery.timeout = fields.duration("timeout").unwrap_or(delivery.timeout);
            let formats = [("binary", false), ("json", true)];
            delivery.structured = fields.choice("format", &formats).unwrap_or(false);
            delivery.dead_letter_sink = dead_letter_sink(&mut fields);
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

fn dead_letter_sink(fields: &mut Fields) -> Option<(usize, String)> {
    let mut sink = fields.fields("deadLetterSink")?;
    sink.unsupported("uri", "dead letters go to a topic, by ref to a KafkaSink");
    sink.unsupported("CACerts", "dead letters go to a topic, by ref to a KafkaSink");
    sink.unsupported("audience", "it needs a cluster's controllers");
    let found = sink.fields("ref").and_then(|mut reference| {
        let (line, name) = (reference.line, reference.required("name"));
        let kind = reference.required("kind");
        reference.ignored("apiVersion");
        reference.ignored("namespace");
        reference.finish();
        if kind != "KafkaSink" {
            sink.problem(line, format!("a dead letter sink of kind `{kind}` is not supported, only a KafkaSink"));
        }
        (kind == "KafkaSink").then_some((line, name))
    });
    sink.finish();
    found
}
