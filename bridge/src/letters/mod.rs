//! Dead letters after they were written: listed, shown, and delivered again. One design holds it together:
//!
//! ```text
//! source ── gives up ──▶ letter ──────┐
//!   ▲                                 ▼   the dead-letter topic, one partition
//!   │                      … letter, letter, order, letter …
//!   └── reads its orders ◀────────────┘ ▲
//!                                       └── redrive: a copy of the letter that names its offset
//! ```
//!
//! An order is one record: written, the letter is redriven (whoever reads the topic sees it, after any restart, on every bridge), and
//! its source will deliver it, since it reads that topic as a member of its group with everything that this means: retries, lanes,
//! offsets, a new letter with a higher count. There is nothing else to be kept, so nothing can be half done.

mod books;
mod desk;
mod letter;
mod post;
mod query;
mod redrive;
mod told;

use std::time::Duration;

pub use desk::{Addressee, Desk};
pub use letter::{LOOPS, Order};
pub use post::{Arrival, Heard, Post};
pub use query::{Filter, Place, Which};
pub use redrive::Redrive;

use crate::log;

/// Why letters are not listed, shown or redriven.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Malformed(String),
    #[error("there is no letter {0}: it was never there, or the topic has let go of it")]
    NoSuchLetter(Place),
    #[error("the dead letters are still being read: {read} of {end} records")]
    StillReading { read: i64, end: i64 },
    #[error(
        "more than {0} dead letters are open, and no bridge keeps count of more: nothing is listed or redriven; remedy: mend what \
         gives them up, and let the topic keep them for a shorter time (its retention)"
    )]
    TooMany(usize),
    #[error(
        "the source `{source_name}` does not read {partition} yet, and would not hear of an order; ask again in a moment"
    )]
    NotHeard { source_name: String, partition: log::Partition },
    #[error("others are asking for dead letters")]
    Busy,
    #[error("the log does not answer: {0}")]
    Log(#[from] log::Error),
}

/// Everything that a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
