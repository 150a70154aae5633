//! Delivering letters again: orders are written at a rate, and each is refused that could not be heard or has gone in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::books::Ends;
use super::desk::{Desk, LETTERS_MAX, Search, bounded};
use super::letter::Letter;
use super::query::{Filter, Place, Which};
use super::told::{Line, line};
use super::{REQUEST_TIMEOUT, Refusal};
use crate::log::{Error, NewRecord, Partition};
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
    /// Where to go on; absent at the end. It leaves out what is written from now on.
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
    pub async fn redrive(&self, asked: Redrive) -> Result<Redriven, Refusal> {
        if asked.filter.is_empty() && !asked.all {
            return Err(Refusal::Malformed("say which letters in `where`, or `\"all\": true`".into()));
        }
        let limit = bounded("limit", asked.limit, LETTERS_MAX)?;
        let rate = bounded("rate", asked.rate, RATE_MAX)?;
        let begun = asked.cursor.as_deref().map(begun).transpose()?;
        let (deadline, mut books) = (Instant::now() + REQUEST_TIMEOUT, self.books().await?);
        books.refresh(&self.log, &self.topics(), REQUEST_TIMEOUT).await?;
        let (from, ends) = begun.map_or_else(|| (None, books.ends()), |(from, ends)| (Some(from), ends));
        let search = Search {
            filter: &asked.filter,
            which: Which::Open,
            limit,
            from: from.clone(),
            ends: Some(ends.clone()),
            deadline,
        };
        let found = self.find(&books, search).await?;
        let mut redriven = Redriven { dry_run: asked.dry_run, ..Redriven::default() };
        let wanted = self.admitted(found.letters, asked.loops_max, &mut redriven);
        let pace = Pace {
            step: rate.div_ceil(STEPS),
            pause: Duration::from_secs_f64(rate.div_ceil(STEPS) as f64 / rate as f64),
        };
        let rest = if asked.dry_run {
            redriven.redriven = wanted.iter().map(|letter| line(letter, true)).collect();
            None
        } else {
            self.are_heard(&wanted).await?;
            self.order(&wanted, &pace, deadline, &mut redriven).await
        };
        let next = rest.or(found.next);
        if next.is_none() {
            let missing = missing(&asked.filter, from.as_ref(), &redriven);
            redriven.refused.extend(missing);
        }
        redriven.cursor = next.map(|place| format!("{place}@{ends}"));
        Ok(redriven)
    }

    /// The letters that can be delivered again; the others are told.
    fn admitted(&self, letters: Vec<Letter>, loops_max: u32, redriven: &mut Redriven) -> Vec<Letter> {
        let mut admitted = Vec::new();
        for letter in letters {
            match self.refusal(&letter, loops_max) {
                Some(reason) => redriven.refused.push(Refused { id: letter.id(), reason }),
                None => admitted.push(letter),
            }
        }
        admitted
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

    /// An order behind the end that its source will begin at is an order; one before it would be skipped for ever.
    async fn are_heard(&self, letters: &[Letter]) -> Result<(), Refusal> {
        let mut places: BTreeMap<&str, BTreeSet<&Partition>> = BTreeMap::new();
        for letter in letters {
            places.entry(&letter.source).or_default().insert(&letter.partition);
        }
        for (name, partitions) in places {
            let Some(source) = self.sources.get(name) else { continue };
            let asked = partitions.iter().map(|partition| (*partition).clone()).collect();
            let commits = self.log.committed(&source.group, asked).await?;
            let unread = |partition: &&&Partition| commits.iter().all(|commit| commit.partition != ***partition);
            if let Some(partition) = partitions.iter().find(unread) {
                return Err(Refusal::NotHeard { source_name: name.to_owned(), partition: (*partition).clone() });
            }
        }
        Ok(())
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

/// A redrive that goes on keeps the ends that it began with: what fails again meanwhile is not ordered in a circle. Ends, and not an
/// instant, since another bridge's clock stamps the letters.
fn begun(cursor: &str) -> Result<(Place, Ends), Refusal> {
    let parsed = cursor.split_once('@').and_then(|(place, ends)| Some((place.parse().ok()?, ends.parse().ok()?)));
    parsed.ok_or_else(|| Refusal::Malformed(format!("`{cursor}` is no cursor of a redrive")))
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::dead_letter::{Reason, record_of};
    use crate::letters::Addressee;
    use crate::log::{Group, Happening, Initial, Log, NewTopic};
    use crate::metrics::Metrics;
    use crate::testing;

    fn desk(log: &Log) -> Desk {
        let addressee =
            Addressee { letters_topic: Some("dead".into()), group: "g".into(), metrics: Rc::new(Metrics::default()) };
        Desk::new(log.clone(), BTreeMap::from([("s".to_owned(), addressee)]))
    }

    // promise: BRIDGE: a letter is ordered only when its source would hear of it
    #[tokio::test]
    async fn nothing_is_ordered_before_the_source_reads_and_nothing_old_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::embedded(&folder.path().join("log.db")).unwrap();
        let topic = NewTopic { name: "dead".into(), partitions: 1, replication: 1, retention: None };
        log.create_topics(vec![topic]).await.unwrap();
        let record = testing::record("in", 0, 7);
        let letter = record_of("dead", &testing::source(""), &record, 1, &Reason::default(), 1);
        log.append(vec![letter]).await.unwrap();
        let (desk, order) = (desk(&log), Redrive { all: true, ..Redrive::default() });
        let refused = desk.redrive(order.clone()).await.unwrap_err();
        assert!(matches!(&refused, Refusal::NotHeard { source_name, .. } if source_name == "s"), "{refused}");
        let dry = desk.redrive(Redrive { dry_run: true, ..order.clone() }).await.unwrap();
        assert_eq!((dry.redriven.len(), log.read(Partition::new("dead", 0), 0, 9).await.unwrap().len()), (1, 1));

        let mut group = Group::new("s", "g", &["dead"], "r", Initial::Earliest);
        group.from_end.insert("dead".into());
        let (mut feed, _control) = log.join(group).unwrap();
        let Some(Happening::Assigned(positions)) = feed.next().await else { panic!("nothing was assigned") };
        assert_eq!(positions[0].next, 1, "what is old is not heard");
        assert_eq!(desk.redrive(order).await.unwrap().redriven.len(), 1);
        let heard = loop {
            if let Some(Happening::Record(record)) = feed.next().await {
                break record;
            }
        };
        assert_eq!(heard.offset, 1, "the order");
    }

    // promise: BRIDGE: a redrive orders what was there when it began, whatever clock has stamped it
    #[tokio::test]
    async fn letters_of_a_clock_ahead_are_ordered_and_later_ones_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::embedded(&folder.path().join("log.db")).unwrap();
        let topic = NewTopic { name: "dead".into(), partitions: 1, replication: 1, retention: None };
        log.create_topics(vec![topic]).await.unwrap();
        let ahead = jiff::Timestamp::now().as_millisecond() + 3_600_000;
        let letter = |offset| {
            let record = testing::record("in", 0, offset);
            record_of("dead", &testing::source(""), &record, 1, &Reason::default(), ahead)
        };
        log.append(vec![letter(1), letter(2)]).await.unwrap();
        let (desk, order) = (desk(&log), Redrive { all: true, dry_run: true, limit: 1, ..Redrive::default() });
        let first = desk.redrive(order.clone()).await.unwrap();
        assert_eq!((first.redriven.len(), first.cursor.as_deref()), (1, Some("dead/0/1@dead/0=2")));
        log.append(vec![letter(3)]).await.unwrap();
        let rest = desk.redrive(Redrive { cursor: first.cursor, limit: 9, ..order.clone() }).await.unwrap();
        assert_eq!((rest.redriven.len(), rest.cursor), (1, None));
        assert_eq!(desk.redrive(Redrive { limit: 9, ..order.clone() }).await.unwrap().redriven.len(), 3);
        for cursor in ["dead/0/1", "dead/0/1@", "dead/0/1@2026-01-01T00:00:00Z", "@dead/0=2"] {
            let asked = Redrive { cursor: Some(cursor.into()), ..order.clone() };
            assert!(matches!(desk.redrive(asked).await, Err(Refusal::Malformed(_))), "{cursor}");
        }
    }
}
