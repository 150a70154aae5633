//! The unit of work: look whether it was done before, gather, one transaction around the handler, and again when somebody
//! was faster. An input comes in, an [`Outcome`] that is committed goes out.

use std::time::Duration;

use event::Event;
use uuid::Uuid;

use crate::clock::now_ms;
use crate::idempotency::{self, Key};
use crate::inbox;
use crate::input::Input;
use crate::outbox::{self, Leased, Way};
use crate::outcome::Outcome;
use crate::problem::{Code, Problem};
use crate::sql::{Db, Purpose, Tx};
use crate::telling::Origin;
use crate::{Answer, Function};

/// How often a unit of work runs before the caller is asked to come back.
const ATTEMPTS_MAX: u32 = 16;
/// No new attempt begins after this, counted from what was gathered.
const WORK_TIMEOUT_MS: i64 = 10_000;
/// Half the pause before the second attempt; it doubles up to a bound, and chance spreads those who met.
const PAUSE_MS: u64 = 4;
const PAUSE_MAX_MS: u64 = 256;

/// Under what an outcome is kept, so that a repeat finds it.
pub enum Once {
    /// Whoever repeats it wants it again: reads, wakes, commands without a key.
    Never,
    /// An event's (source, id).
    Event(Event),
    /// A client's key.
    Key(Key),
}

/// Everything about one input but its effect.
pub struct Work<'a, F: Function> {
    pub function: &'a F,
    pub db: &'a Db,
    pub input: Input,
    pub once: Once,
    pub origin: Origin,
    pub way: Way,
    pub purpose: Purpose,
}

/// What one attempt leaves to the next.
struct Progress<G> {
    gathered: Option<G>,
    give_up_ms: i64,
}

/// A committed outcome, and what is still to be pushed.
pub struct Finished {
    pub outcome: Outcome,
    pub leased: Leased,
    pub wake_at_ms: Option<i64>,
}

impl From<Outcome> for Finished {
    fn from(outcome: Outcome) -> Self {
        Finished { outcome, leased: Leased::default(), wake_at_ms: None }
    }
}

impl<F: Function> Work<'_, F> {
    /// Does it, once.
    pub async fn run(&self) -> Result<Finished, Problem> {
        let mut progress = Progress { gathered: None, give_up_ms: now_ms() + WORK_TIMEOUT_MS };
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                pause(attempt).await;
            }
            match self.attempt(&mut progress).await {
                Err(problem) if problem.is_conflict() && now_ms() < progress.give_up_ms => {}
                finished => return finished.map_err(|problem| self.last_word(problem)),
            }
        }
        Err(self.last_word(Problem::conflict()))
    }

    async fn attempt(&self, progress: &mut Progress<F::Gathered>) -> Result<Finished, Problem> {
        if let Some(outcome) = self.earlier().await? {
            return Ok(outcome.into());
        }
        let done = match self.gather_once(progress).await {
            Ok(gathered) => self.transact(gathered).await,
            Err(problem) => Err(problem),
        };
        match done {
            Err(problem) if problem.is_refusal() => self.refuse(problem).await.map(Finished::from),
            done => done,
        }
    }

    /// What an outside host has seen cannot be unsaid: writing down what came of it has the whole time, however long
    /// the host took.
    async fn gather_once<'p>(&self, progress: &'p mut Progress<F::Gathered>) -> Result<&'p F::Gathered, Problem> {
        match &mut progress.gathered {
            Some(gathered) => Ok(gathered),
            none => {
                let gathered = self.function.gather(self.db, &self.input).await?;
                progress.give_up_ms = now_ms() + WORK_TIMEOUT_MS;
                Ok(none.insert(gathered))
            }
        }
    }

    async fn transact(&self, gathered: &F::Gathered) -> Result<Finished, Problem> {
        let tx = self.db.begin(self.purpose).await?;
        match self.in_transaction(&tx, gathered).await {
            Ok(finished) => tx.commit().await.map(|()| finished),
            Err(problem) => {
                tx.rollback().await?;
                Err(problem)
            }
        }
    }

    async fn in_transaction(&self, tx: &Tx<'_>, gathered: &F::Gathered) -> Result<Finished, Problem> {
        let answer = self.function.handle(tx, &self.input, gathered).await?;
        if self.purpose == Purpose::Read && !answer.facts.is_empty() {
            return Err(Problem::internal("a GET told facts"));
        }
        let (events, leased) = outbox::tell(tx, &self.origin, &answer.facts, self.way).await?;
        let wake_at_ms = answer.wake_at_ms;
        let outcome = self.outcome(answer, &events);
        match &self.once {
            Once::Never => {}
            Once::Event(event) => inbox::keep(tx, event, &outcome).await?,
            Once::Key(key) => idempotency::keep(tx, key, &outcome).await?,
        }
        Ok(Finished { outcome, leased, wake_at_ms })
    }

    fn outcome(&self, answer: Answer, events: &[String]) -> Outcome {
        match (&self.input, self.way) {
            (Input::Command(_), _) => Outcome::of_command(answer),
            (Input::Event(_) | Input::Wake, Way::Reply) => Outcome::of_event(Outcome::reply(events), answer.wake_at_ms),
            (Input::Event(_) | Input::Wake, Way::Outbox) => Outcome::of_event(None, answer.wake_at_ms),
        }
    }

    async fn earlier(&self) -> Result<Option<Outcome>, Problem> {
        match &self.once {
            Once::Never => Ok(None),
            Once::Event(event) => inbox::find(self.db, event).await,
            Once::Key(key) => idempotency::find(self.db, key).await,
        }
    }

    /// A refusal may come from seeing what the same input did a moment ago, in another call: then that call's outcome
    /// holds. Under a client's key it is kept, in a transaction of its own.
    async fn refuse(&self, problem: Problem) -> Result<Outcome, Problem> {
        match &self.once {
            Once::Never => Err(problem),
            Once::Event(_) => self.earlier().await?.ok_or(problem),
            Once::Key(key) if problem.is_final() => {
                let outcome = Outcome::of_problem(&problem, problem.code.status());
                let tx = self.db.begin(Purpose::Write).await?;
                match idempotency::keep(&tx, key, &outcome).await {
                    Ok(()) => tx.commit().await.map(|()| outcome),
                    Err(problem) => {
                        tx.rollback().await?;
                        Err(problem)
                    }
                }
            }
            Once::Key(_) => Err(problem),
        }
    }

    /// A client whose same request is being worked on elsewhere is told so, when the wait is too long.
    fn last_word(&self, problem: Problem) -> Problem {
        match &self.once {
            Once::Key(_) if problem.is_conflict() => {
                Problem::new(Code::RequestInProgress, "the same request is being worked on").retry_after_s(1)
            }
            Once::Never | Once::Event(_) | Once::Key(_) => problem,
        }
    }
}

async fn pause(attempt: u32) {
    let longest_ms = (PAUSE_MS << attempt).min(PAUSE_MAX_MS);
    let chance = Uuid::new_v4().as_u128() as u64 % longest_ms;
    spin_sdk::time::sleep(Duration::from_millis(longest_ms / 2 + chance)).await;
}
