//! Delivering letters again: orders are written at a rate, and each is refused that could not be heard or has gone in a circle.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::desk::{Desk, LETTERS_MAX, bounded};
use super::letter::Letter;
use super::query::{Filter, Place, Which};
use super::told::{Line, line};
use super::{REQUEST_TIMEOUT, Refusal};
use crate::log::{Error, NewRecord};
use crate::metrics::add;

/// Orders of a second are written in so many steps.
const STEPS: usize = 10;
const RATE_MAX: usize = 10_000;
const LOOPS_MAX: u32 = 5;

/// What is to be delivered again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redrive {
    #[serde(rename = "where")]
    pub filter: Filter,
    /// Without a filter, nobody means all of them by accident.
    pub all: bool,
    pub dry_run: bool,
    /// Orders a second.
    pub rate: usize,
    pub limit: usize,
    pub loops_max: u32,
    pub cursor: Option<String>,
}

impl Default for Redrive {
    fn default() -> Self {
        let filter = Filter::default();
        Redrive { filter, all: false, dry_run: false, rate: 100, limit: 100, loops_max: LOOPS_MAX, cursor: None }
    }
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    pub dry_run: bool,
    /// Ordered, or what would be.
    pub redriven: Vec<Line>,
    pub refused: Vec<Refused>,
    /// Why it ended early.
    pub stopped: Option<String>,
    /// Where to go on; absent at the end. It leaves out what is given up from now on.
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub id: String,
    pub reason: String,
}

/// So many orders, then so long a pause.
struct Pace {
    step: usize,
    pause: Duration,
}

impl Desk {
    /// Writes orders at a rate, oldest letters first, until the limit, the end or the time is reached.
    pub async fn redrive(&self, mut asked: Redrive) -> Result<Redriven, Refusal> {
        if asked.filter.is_empty() && !asked.all {
            return Err(Refusal::Malformed("say which letters in `where`, or `\"all\": true`".into()));
        }
        let limit = bounded("limit", asked.limit, LETTERS_MAX)?;
        let rate = bounded("rate", asked.rate, RATE_MAX)?;
        let (from, until) = self.since_when(&asked)?;
        asked.filter.until = Some(asked.filter.until.map_or(until, |own| own.min(until)));
        let (deadline, mut books) = (Instant::now() + REQUEST_TIMEOUT, self.books().await?);
        books.refresh(&self.log, &self.topics(), REQUEST_TIMEOUT).await?;
        let found = self.find(&books, &asked.filter, Which::Open, limit, from.clone(), deadline).await?;
        let mut redriven = Redriven { dry_run: asked.dry_run, ..Redriven::default() };
        let mut wanted = Vec::new();
        for letter in found.letters {
            match self.refusal(&letter, asked.loops_max) {
                Some(reason) => redriven.refused.push(Refused { id: letter.id(), reason }),
                None => wanted.push(letter),
            }
        }
        let pace = Pace {
            step: rate.div_ceil(STEPS),
            pause: Duration::from_secs_f64(rate.div_ceil(STEPS) as f64 / rate as f64),
        };
        let rest = if asked.dry_run {
            redriven.redriven = wanted.iter().map(|letter| line(letter, true)).collect();
            None
        } else {
            self.order(&wanted, &pace, deadline, &mut redriven).await
        };
        let next = rest.or(found.next);
        if next.is_none() {
            let missing = missing(&asked.filter, from.as_ref(), &redriven);
            redriven.refused.extend(missing);
        }
        redriven.cursor = next.map(|place| format!("{place}@{until}"));
        Ok(redriven)
    }

    /// A redrive that goes on keeps the instant at which it began: what fails again meanwhile is not ordered in a circle.
    fn since_when(&self, asked: &Redrive) -> Result<(Option<Place>, Timestamp), Refusal> {
        let Some(cursor) = &asked.cursor else { return Ok((None, self.clock.now())) };
        let parsed =
            cursor.rsplit_once('@').and_then(|(place, until)| Some((place.parse().ok()?, until.parse().ok()?)));
        let (place, until) =
            parsed.ok_or_else(|| Refusal::Malformed(format!("`{cursor}` is no cursor of a redrive")))?;
        Ok((Some(place), until))
    }

    /// Why a letter cannot be delivered again.
    fn refusal(&self, letter: &Letter, loops_max: u32) -> Option<String> {
        let topic = self.sources.get(&letter.source).map(|source| source.letters_topic.as_deref());
        match topic {
            None => Some(format!("there is no source `{}` any more", letter.source)),
            Some(topic) if topic != Some(&letter.partition.topic) => {
                Some(format!("the source `{}` does not read this topic any more", letter.source))
            }
            Some(_) if letter.loops >= loops_max => {
                let loops = letter.loops;
                Some(format!("it was redriven {loops} times already; mend the cause, or allow more by loops_max"))
            }
            Some(_) => None,
        }
    }

    /// Writes the orders, a step at a time. Answers where to go on when it could not come to the end.
    async fn order(
        &self,
        letters: &[Letter],
        pace: &Pace,
        deadline: Instant,
        redriven: &mut Redriven,
    ) -> Option<Place> {
        for (at, step) in letters.chunks(pace.step).enumerate() {
            if at > 0 {
                tokio::time::sleep(pace.pause).await;
            }
            let here = || step[0].place();
            if Instant::now() >= deadline {
                return Some(here());
            }
            if let Err(error) = self.write(step, redriven).await {
                redriven.stopped = Some(error.to_string());
                return Some(here());
            }
        }
        None
    }

    /// One step, all or none of it; a letter that the log will never take as an order is left out.
    async fn write(&self, step: &[Letter], redriven: &mut Redriven) -> Result<(), Error> {
        let mut letters: Vec<&Letter> = step.iter().collect();
        while !letters.is_empty() {
            let orders: Vec<NewRecord> = letters.iter().map(|letter| letter.order()).collect();
            match self.log.append(orders).await {
                Err(Error::Record { index, reason, .. }) if index < letters.len() => {
                    let id = letters.remove(index).id();
                    redriven.refused.push(Refused { id, reason: format!("the log does not take its order: {reason}") });
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        for letter in letters {
            if let Some(source) = self.sources.get(&letter.source) {
                add(&source.metrics.redriven, 1);
            }
            tracing::info!(source = letter.source, letter = letter.id(), "a dead letter is to be delivered again");
            redriven.redriven.push(line(letter, false));
        }
        Ok(())
    }
}

/// What was asked for by its id from a place on and is not open.
fn missing(filter: &Filter, from: Option<&Place>, redriven: &Redriven) -> Vec<Refused> {
    let told = redriven.redriven.iter().map(|line| &line.id);
    let told: BTreeSet<&String> = told.chain(redriven.refused.iter().map(|refused| &refused.id)).collect();
    let asked = filter.ids.iter().flatten().filter(|place| from.is_none_or(|from| *place >= from));
    let reason = "it is not open: redriven already, not there, or not what else was asked for";
    let missing = asked.map(ToString::to_string).filter(|id| !told.contains(id));
    missing.map(|id| Refused { id, reason: reason.into() }).collect()
}
