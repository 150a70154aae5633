//! What is done with schedules: kept by operators, run by hand, and claimed when they are due.

use domain::facts::cron::{SCHEDULE_DUE, ScheduleDue};
use domain::schedule::{Definition, Due, Refusal, Schedule};
use guest::{Answer, Code, Db, Fact, Problem, Tx, tell};
use serde::Serialize;

use crate::store::{self, Kept};

/// How many schedules one tick takes; what is left is the next wake.
const TICK_SCHEDULES_MAX: i64 = 50;
const ID_CHARACTERS_MAX: usize = 64;
/// Far within what an event may hold, and many runs in one answer.
const PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// A schedule as it is shown.
#[derive(Serialize)]
struct View<'a> {
    id: &'a str,
    #[serde(flatten)]
    definition: &'a Definition,
    /// `null` before the first look.
    next_at_ms: Option<i64>,
}

/// Claims what is due until now, and asks to be woken for what comes next.
pub async fn tick(tx: &Tx<'_>, now_ms: i64) -> Result<Answer, Problem> {
    let mut facts = Vec::new();
    for kept in store::due(tx, now_ms, TICK_SCHEDULES_MAX).await? {
        facts.extend(claim(tx, kept, now_ms).await?);
    }
    Ok(tell(facts).wake_at(store::earliest_due(tx).await?))
}

/// The facts of one schedule's runs that nobody claimed before.
async fn claim(tx: &Tx<'_>, kept: Kept, now_ms: i64) -> Result<Vec<Fact>, Problem> {
    let after_ms = if kept.is_new() { now_ms } else { kept.handled_until_ms };
    let due = due(&kept, after_ms, now_ms);
    let mut facts = Vec::new();
    for scheduled_at_ms in due.runs {
        if store::claim(tx, &kept.id, scheduled_at_ms, now_ms, false).await? {
            facts.push(fact(&kept, scheduled_at_ms));
        }
    }
    store::save(tx, &Kept { handled_until_ms: now_ms.max(after_ms), due_at_ms: next(due.next_ms), ..kept }).await?;
    Ok(facts)
}

/// A schedule that is none any more (a time zone was abolished) is parked until an operator replaces it, so that it does
/// not hold up the others.
fn due(kept: &Kept, after_ms: i64, now_ms: i64) -> Due {
    match Schedule::parse(&kept.definition, now_ms) {
        Ok(schedule) => schedule.due(after_ms, now_ms),
        Err(refusal) => {
            eprintln!("the schedule {} is parked: {refusal}", kept.id);
            Due { runs: Vec::new(), next_ms: None }
        }
    }
}

fn fact(kept: &Kept, scheduled_at_ms: i64) -> Fact {
    let payload = kept.definition.payload.clone();
    let due = ScheduleDue { schedule: kept.id.clone(), scheduled_at_ms, payload };
    Fact::new(SCHEDULE_DUE, &kept.id, &due).identified_by(scheduled_at_ms.to_string())
}

/// A schedule that never comes again is not looked at again.
fn next(next_ms: Option<i64>) -> i64 {
    next_ms.unwrap_or(i64::MAX)
}

/// Makes a schedule or replaces it; it runs from now on.
pub async fn put(tx: &Tx<'_>, id: &str, definition: Definition, now_ms: i64) -> Result<Answer, Problem> {
    check_id(id)?;
    check_payload(&definition)?;
    let schedule = Schedule::parse(&definition, now_ms).map_err(refuse)?;
    let due_at_ms = next(schedule.next_after(now_ms));
    let kept = Kept { id: id.to_owned(), definition, handled_until_ms: now_ms, due_at_ms, version: 1 };
    store::put(tx, &kept).await?;
    Ok(Answer::ok(&view(&kept)).wake_at(store::earliest_due(tx).await?))
}

/// Runs a schedule by hand, beside its times.
pub async fn run(tx: &Tx<'_>, id: &str, now_ms: i64) -> Result<Answer, Problem> {
    let kept = store::load(tx, id).await?;
    if !store::claim(tx, id, now_ms, now_ms, true).await? {
        return Err(Problem::new(Code::InvalidState, "it was run in this very millisecond"));
    }
    let fact = fact(&kept, now_ms);
    Ok(Answer::accepted(&serde_json::json!({ "schedule": id, "scheduled_at_ms": now_ms })).and_tell([fact]))
}

/// Forgets a schedule; its runs stay.
pub async fn delete(tx: &Tx<'_>, id: &str) -> Result<Answer, Problem> {
    store::load(tx, id).await?;
    store::delete(tx, id).await?;
    Ok(Answer::no_content())
}

/// One schedule.
pub async fn show(db: &Db, id: &str) -> Result<Answer, Problem> {
    Ok(Answer::ok(&view(&store::load(db, id).await?)))
}

/// All schedules, by id.
pub async fn list(db: &Db) -> Result<Answer, Problem> {
    let kept = store::all(db).await?;
    let schedules: Vec<View> = kept.iter().map(view).collect();
    Ok(Answer::ok(&serde_json::json!({ "schedules": schedules })))
}

/// The latest runs, latest first.
pub async fn runs(db: &Db, id: &str, limit: i64) -> Result<Answer, Problem> {
    Ok(Answer::ok(&serde_json::json!({ "runs": store::runs(db, id, limit).await? })))
}

fn view(kept: &Kept) -> View<'_> {
    let next_at_ms = (!kept.is_new()).then_some(kept.due_at_ms);
    View { id: &kept.id, definition: &kept.definition, next_at_ms }
}

fn check_id(id: &str) -> Result<(), Problem> {
    let is_plain = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_plain && (1..=ID_CHARACTERS_MAX).contains(&id.len()) {
        return Ok(());
    }
    Err(Problem::validation("an id is 1 to 64 lower-case letters, digits and hyphens"))
}

fn check_payload(definition: &Definition) -> Result<(), Problem> {
    if definition.payload.to_string().len() <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    Err(Problem::validation(format!("a payload has at most {PAYLOAD_BYTES_MAX} bytes")))
}

fn refuse(refusal: Refusal) -> Problem {
    Problem::validation(refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let definition = serde_json::from_str(r#"{"cron":"0 * * * *","payload":{"a":1}}"#).expect("a definition");
        Kept { id: "hourly".into(), definition, handled_until_ms: 1, due_at_ms: 2, version: 1 }
    }

    #[test]
    fn an_id_is_plain() {
        assert!(check_id("ledger-proof").is_ok());
        for wrong in ["", "A", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(check_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_payload_is_short_enough_for_every_event() {
        let payload = |bytes| Definition { payload: "x".repeat(bytes - 2).into(), ..kept().definition };
        assert!(check_payload(&payload(PAYLOAD_BYTES_MAX)).is_ok());
        let refused = check_payload(&payload(PAYLOAD_BYTES_MAX + 1)).map_err(|problem| problem.code);
        assert_eq!(refused, Err(Code::Validation));
    }

    #[test]
    fn a_schedule_that_is_none_any_more_is_parked() {
        let definition = Definition { timezone: "Mars/Base".into(), ..kept().definition };
        assert_eq!(due(&Kept { definition, ..kept() }, 1, 7_200_000), Due { runs: vec![], next_ms: None });
        assert_eq!(due(&kept(), 1, 7_200_000).runs, [7_200_000]);
    }

    // promise: DOMAIN: a schedule's event is derived from schedule and instant
    #[test]
    fn a_run_is_the_same_fact_whoever_tells_it() {
        assert_eq!(fact(&kept(), 5), fact(&Kept { version: 9, ..kept() }, 5));
        assert_ne!(fact(&kept(), 5).identity, fact(&kept(), 6).identity);
        assert_eq!(fact(&kept(), 5).subject, "hourly");
    }

    #[test]
    fn a_new_schedule_has_no_next_instant_yet() {
        let new = Kept { handled_until_ms: 0, ..kept() };
        assert_eq!((view(&new).next_at_ms, view(&kept()).next_at_ms), (None, Some(2)));
    }
}
