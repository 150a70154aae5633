//! What every function shares. A request comes in at [`serve`], becomes an [`Input`], passes a function's `gather` and
//! `handle` around one SQL transaction, and goes out as a reply, an outbox, a client's answer and a `Wake-At`.
//!
//! A function is a type with [`Function`] and three lines of entry point; `functions/cron` is the example to copy.

pub mod answer;
pub mod clock;
pub mod http;
mod idempotency;
pub mod identity;
mod inbox;
mod input;
mod outbox;
mod outcome;
mod problem;
mod request;
mod serve;
pub mod sql;
mod telling;
mod token;
mod variables;
mod work;

use std::future::Future;

pub use answer::{Answer, Fact, tell};
pub use clock::{derived_id, new_id, now_ms};
pub use identity::{Principal, Role};
pub use input::{Command, Door, Input, payload, sequence, subject};
pub use problem::{Code, Problem};
pub use request::BODY_BYTES_MAX;
pub use serve::serve;
pub use sql::{Db, Row, Tx, Value};
pub use variables::variable;

/// One function of the house: its name, its tables and its handlers.
///
/// `gather` and `handle` may run several times for one input: `gather` whenever a request is repeated, `handle` whenever
/// somebody else wrote the same rows first. Nothing outside the transaction may depend on how often.
pub trait Function {
    /// The first segment of its paths, its topic, its SQLite label and its PostgreSQL schema.
    const NAME: &'static str;
    /// The text of `migrations/001.sql`, `002.sql`, … in order, forward only.
    const MIGRATIONS: &'static [&'static str];
    /// What `gather` brings to `handle`.
    type Gathered;

    /// Who may enter by this command's path. `GET {name}/health` is open always and never comes here.
    fn door(&self, _command: &Command) -> Door {
        Door::Client
    }

    /// Outside calls that may be repeated, before the transaction. `db` reads what they need, each statement for itself.
    fn gather(&self, db: &Db, input: &Input) -> impl Future<Output = Result<Self::Gathered, Problem>>;

    /// The one transaction: load, decide, save, tell. It commits when this is `Ok` and leaves nothing otherwise.
    /// A `GET` runs in a transaction that cannot write.
    fn handle(
        &self,
        tx: &Tx<'_>,
        input: &Input,
        gathered: &Self::Gathered,
    ) -> impl Future<Output = Result<Answer, Problem>>;
}
