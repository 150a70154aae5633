//! Knative's data-plane specification (specs/eventing/data-plane.md), one test a sentence, over real connections; and BRIDGE.md's
//! rows about answers that need a sink which can lie. docs/conformance.md says which test keeps which sentence.

#![allow(clippy::unwrap_used)]

mod codes;
#[path = "../support/ports.rs"]
mod ports;
mod raw;
mod recipient;
mod replies;
mod retries;
mod sender;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod waking;
