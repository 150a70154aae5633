//! One request on its way through a component: what is told about it in log and metrics, once, when its answer has ended.

use crate::function::{Function, Ticket};
use std::sync::Arc;
use std::time::Instant;

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// The component was not asked: too many requests.
    Overloaded,
    /// The request could not be read whole: too large, too slow or broken.
    Unreadable,
    TimedOut,
    Trapped,
    /// The component gave an error instead of an answer, or its answer broke off.
    Failed,
    ClientLeft,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Overloaded => "overloaded",
            Self::Unreadable => "unreadable",
            Self::TimedOut => "timed out",
            Self::Trapped => "trapped",
            Self::Failed => "failed",
            Self::ClientLeft => "client left",
        }
    }
}

/// Told when dropped.
pub struct Invocation {
    function: Arc<Function>,
    route: String,
    started: Instant,
    status: u16,
    outcome: Outcome,
    ticket: Option<Ticket>,
}

impl Invocation {
    /// Begins as one whose client left: that is what remains when nothing else is said.
    pub fn begin(function: Arc<Function>, route: &str) -> Self {
        let started = Instant::now();
        Self { function, route: route.to_owned(), started, status: 499, outcome: Outcome::ClientLeft, ticket: None }
    }

    pub fn function(&self) -> &Arc<Function> {
        &self.function
    }

    /// Keeps its place among those in flight until the answer has ended.
    pub fn hold(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }

    pub fn ended(&mut self, status: u16, outcome: Outcome) {
        self.status = status;
        self.outcome = outcome;
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.function.metrics.invoked(self.status, took);
        let (component, route, outcome) = (&self.function.id, &self.route, self.outcome.label());
        let ms = took.as_micros() as f64 / 1000.0;
        match self.outcome {
            Outcome::Answered => tracing::info!(component, route, status = self.status, ms, outcome, "invocation"),
            _ => tracing::warn!(component, route, status = self.status, ms, outcome, "invocation"),
        }
    }
}
