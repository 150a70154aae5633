//! Facts go out. They are counted and stored in the command's transaction, pushed to the bridge after the commit in the
//! order of their subject, and forgotten once the bridge has them. What stays unsent goes with the next push or wake.

use std::collections::BTreeMap;

use event::Event;

use crate::answer::Fact;
use crate::clock::{now_ms, rfc3339};
use crate::http;
use crate::params;
use crate::problem::{Code, Problem};
use crate::sql::{Db, Purpose, Tx};
use crate::telling::{Origin, batch, encode};
use crate::variables::variable;

/// How long one pusher has a subject for itself. Longer than a push, so that nobody overtakes it.
const LEASE_MS: i64 = 3_000;
/// How long a client waits for its facts to be pushed.
const PUSH_TIMEOUT_MS: u64 = 200;
/// How long a wake takes for what was left.
const SWEEP_TIMEOUT_MS: u64 = 2_000;
/// How many subjects one wake takes.
const SWEEP_SUBJECTS_MAX: i64 = 50;
/// After what time a wake is asked for while something stays unsent.
const SWEEP_AGAIN_MS: i64 = 5_000;
/// How often one call pushes what came behind its own facts.
const ROUNDS_MAX: usize = 4;
/// How many events of one subject go in a batch.
const EVENTS_PER_SUBJECT_MAX: i64 = 100;

/// How long a batch is: far within what the bridge takes at once.
const BATCH_BYTES_MAX: usize = 768 * 1024;

/// The door by which facts leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In the answer to the event.
    Reply,
    /// Pushed to the bridge's ingress.
    Outbox,
}

/// Subjects that are ours to push for the time of a lease.
#[derive(Debug, Default)]
pub struct Leased {
    lease: String,
    subjects: Vec<Subject>,
}

/// The unsent events of one subject, as JSON in the order of their sequence.
#[derive(Debug)]
struct Subject {
    name: String,
    events: Vec<(i64, String)>,
    /// Whether there may be earlier unsent ones in the table.
    has_earlier: bool,
    /// Whether later ones had to wait for the next batch.
    is_cut: bool,
}

/// Where the count of a subject stands after some facts were added.
struct Counted {
    last: i64,
    unsent_from: Option<i64>,
    lease: String,
}

/// Counts facts as events of their subjects. Those for the outbox are stored, and their subjects leased where nobody else
/// is pushing them.
pub async fn tell(tx: &Tx<'_>, origin: &Origin, facts: &[Fact], way: Way) -> Result<(Vec<String>, Leased), Problem> {
    let mut leased = Leased { lease: crate::new_id("lease"), subjects: Vec::new() };
    let mut events = vec![String::new(); facts.len()];
    for (subject, positions) in by_subject(facts) {
        let counted = count(tx, subject, positions.len() as i64, way, &leased.lease).await?;
        let first = counted.last - positions.len() as i64 + 1;
        let mut unsent = Vec::new();
        for (sequence, position) in (first..).zip(positions) {
            let event: Event = origin.event(&facts[position], sequence, now_ms());
            events[position] = encode(&event)?;
            unsent.push((sequence, events[position].clone()));
        }
        if way == Way::Outbox {
            store(tx, subject, &unsent).await?;
            if counted.lease == leased.lease {
                let has_earlier = counted.unsent_from != Some(first);
                leased.subjects.push(Subject { name: subject.to_owned(), events: unsent, has_earlier, is_cut: false });
            }
        }
    }
    Ok((events, leased))
}

/// The positions of each subject's facts, subjects in order: two transactions that touch the same ones never deadlock.
fn by_subject(facts: &[Fact]) -> BTreeMap<&str, Vec<usize>> {
    let mut subjects: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, fact) in facts.iter().enumerate() {
        subjects.entry(&fact.subject).or_default().push(position);
    }
    subjects
}

async fn count(tx: &Tx<'_>, subject: &str, more: i64, way: Way, lease: &str) -> Result<Counted, Problem> {
    let row = match way {
        Way::Reply => {
            let sql = "INSERT INTO guest_subject (subject, sequence, unsent_from, lease, leased_until_ms)
                VALUES ($1, $2, NULL, '', 0)
                ON CONFLICT (subject) DO UPDATE SET sequence = guest_subject.sequence + excluded.sequence
                RETURNING sequence, unsent_from, lease";
            tx.one(sql, params![subject, more]).await?
        }
        Way::Outbox => {
            let now_ms = now_ms();
            let sql = "INSERT INTO guest_subject (subject, sequence, unsent_from, lease, leased_until_ms)
                VALUES ($1, $2, 1, $3, $4)
                ON CONFLICT (subject) DO UPDATE SET
                    sequence = guest_subject.sequence + excluded.sequence,
                    unsent_from = COALESCE(guest_subject.unsent_from, guest_subject.sequence + 1),
                    lease = CASE WHEN guest_subject.leased_until_ms < $5
                        THEN excluded.lease ELSE guest_subject.lease END,
                    leased_until_ms = CASE WHEN guest_subject.leased_until_ms < $5
                        THEN excluded.leased_until_ms ELSE guest_subject.leased_until_ms END
                RETURNING sequence, unsent_from, lease";
            tx.one(sql, params![subject, more, lease, now_ms + LEASE_MS, now_ms]).await?
        }
    };
    Ok(Counted { last: row.get("sequence")?, unsent_from: row.get("unsent_from")?, lease: row.get("lease")? })
}

async fn store(tx: &Tx<'_>, subject: &str, events: &[(i64, String)]) -> Result<(), Problem> {
    for (sequence, event) in events {
        let sql = "INSERT INTO guest_outbox (subject, sequence, event) VALUES ($1, $2, $3)";
        tx.execute(sql, params![subject, *sequence, event]).await?;
    }
    Ok(())
}

/// Pushes what a command told, and its wish to be woken, while the client waits. A failure is not the client's: the rows
/// stay for the next push.
pub async fn push(db: &Db, function: &str, leased: Leased, wake_at_ms: Option<i64>) {
    if leased.subjects.is_empty() && wake_at_ms.is_none() {
        return;
    }
    if let Err(problem) = push_all(db, function, leased, wake_at_ms, PUSH_TIMEOUT_MS).await {
        eprintln!("outbox: {problem}");
    }
}

/// Pushes what earlier calls left unsent. When something stays, the instant at which to try again.
pub async fn sweep(db: &Db, function: &str) -> Result<Option<i64>, Problem> {
    let sql = "SELECT DISTINCT subject FROM guest_outbox ORDER BY subject LIMIT $1";
    let rows = db.rows(sql, params![SWEEP_SUBJECTS_MAX]).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let subjects = rows.iter().map(|row| row.get("subject")).collect::<Result<Vec<String>, _>>()?;
    let leased = lease(db, subjects).await?;
    if !leased.subjects.is_empty()
        && let Err(problem) = push_all(db, function, leased, None, SWEEP_TIMEOUT_MS).await
    {
        eprintln!("outbox: {problem}");
    }
    let is_empty = db.row("SELECT 1 AS found FROM guest_outbox LIMIT 1", &[]).await?.is_none();
    Ok((!is_empty).then(|| now_ms() + SWEEP_AGAIN_MS))
}

/// Pushes until nothing came behind, a bounded number of times.
async fn push_all(
    db: &Db,
    function: &str,
    mut leased: Leased,
    mut wake_at_ms: Option<i64>,
    timeout_ms: u64,
) -> Result<(), Problem> {
    for _ in 0..ROUNDS_MAX {
        let more = push_leased(db, function, leased, wake_at_ms.take(), timeout_ms).await?;
        if more.is_empty() {
            break;
        }
        leased = lease(db, more).await?;
    }
    Ok(())
}

/// In the order of [`by_subject`], which need not be the database's: who locks in another order deadlocks.
async fn lease(db: &Db, mut subjects: Vec<String>) -> Result<Leased, Problem> {
    subjects.sort_unstable();
    let mut leased = Leased { lease: crate::new_id("lease"), subjects: Vec::new() };
    let now_ms = now_ms();
    let tx = db.begin(Purpose::Bookkeeping).await?;
    for name in subjects {
        let sql =
            "UPDATE guest_subject SET lease = $1, leased_until_ms = $2 WHERE subject = $3 AND leased_until_ms < $4";
        if tx.execute(sql, params![&leased.lease, now_ms + LEASE_MS, &name, now_ms]).await? == 1 {
            leased.subjects.push(Subject { name, events: Vec::new(), has_earlier: true, is_cut: false });
        }
    }
    tx.commit().await?;
    Ok(leased)
}

/// One push. The subjects that have more than was pushed come back.
async fn push_leased(
    db: &Db,
    function: &str,
    mut leased: Leased,
    wake_at_ms: Option<i64>,
    timeout_ms: u64,
) -> Result<Vec<String>, Problem> {
    let pushed = http::within(timeout_ms, async {
        for subject in &mut leased.subjects {
            load_earlier(db, subject).await?;
        }
        cut(&mut leased.subjects, BATCH_BYTES_MAX);
        send(function, &leased.subjects, wake_at_ms, timeout_ms).await
    });
    let pushed = pushed.await.unwrap_or_else(|| Err(http::Failure::TimedOut(timeout_ms).into()));
    let more = settle(db, leased, pushed.is_ok()).await?;
    pushed.map(|()| more)
}

async fn load_earlier(db: &Db, subject: &mut Subject) -> Result<(), Problem> {
    if !subject.has_earlier {
        return Ok(());
    }
    let sql = "SELECT sequence, event FROM guest_outbox WHERE subject = $1 ORDER BY sequence LIMIT $2";
    let rows = db.rows(sql, params![&subject.name, EVENTS_PER_SUBJECT_MAX]).await?;
    subject.events =
        rows.iter().map(|row| Ok((row.get("sequence")?, row.get("event")?))).collect::<Result<_, Problem>>()?;
    Ok(())
}

/// Leaves the first events that fit into a batch, and at least one.
fn cut(subjects: &mut [Subject], bytes_max: usize) {
    let mut bytes = 0;
    for subject in subjects {
        let all = subject.events.len();
        let fits = |(_, event): &&(i64, String)| {
            let is_first = bytes == 0;
            bytes += event.len();
            is_first || bytes <= bytes_max
        };
        let fitting = subject.events.iter().take_while(fits).count();
        subject.events.truncate(fitting);
        subject.is_cut = fitting < all;
    }
}

/// One batch to the bridge, which takes all of it or nothing.
async fn send(function: &str, subjects: &[Subject], wake_at_ms: Option<i64>, timeout_ms: u64) -> Result<(), Problem> {
    let url = format!("{}/topics/{function}", variable("bridge_url").await?.trim_end_matches('/'));
    let events = subjects.iter().flat_map(|subject| subject.events.iter().map(|(_, event)| event.as_str()));
    let mut request = http::post(url)
        .header("content-type", event::BATCH_JSON)
        .header("authorization", &format!("Bearer {}", first(&variable("push_token").await?)))
        .body(batch(events))
        .timeout_ms(timeout_ms);
    if let Some(at_ms) = wake_at_ms {
        request = request.header("wake-at", &rfc3339(at_ms));
    }
    let response = request.send().await?;
    if response.is_success() {
        return Ok(());
    }
    let detail = format!("the bridge answered {} to a push", response.status);
    Err(Problem::new(Code::ProviderUnavailable, detail))
}

/// While a token is rotated the variable holds two, with a comma between them: the first is shown, as the bridge does.
fn first(tokens: &str) -> &str {
    tokens.split(',').map(str::trim).find(|token| !token.is_empty()).unwrap_or_default()
}

/// Lets go of the lease, and forgets the events that the bridge has. The subjects that have more come back.
async fn settle(db: &Db, leased: Leased, pushed: bool) -> Result<Vec<String>, Problem> {
    let mut more = Vec::new();
    if leased.subjects.is_empty() {
        return Ok(more);
    }
    let tx = db.begin(Purpose::Bookkeeping).await?;
    for subject in leased.subjects {
        let last = subject.events.last().map(|(sequence, _)| *sequence).filter(|_| pushed);
        let has_more = match last {
            Some(last) => forget(&tx, &leased.lease, &subject.name, last).await?,
            None => release(&tx, &leased.lease, &subject.name).await?,
        };
        more.extend((has_more || pushed && subject.is_cut).then_some(subject.name));
    }
    tx.commit().await?;
    Ok(more)
}

/// Whether more came behind what the bridge has.
async fn forget(tx: &Tx<'_>, lease: &str, subject: &str, last: i64) -> Result<bool, Problem> {
    let sql = "DELETE FROM guest_outbox WHERE subject = $1 AND sequence <= $2";
    tx.execute(sql, params![subject, last]).await?;
    let sql = "UPDATE guest_subject
        SET leased_until_ms = 0, unsent_from = CASE WHEN sequence > $1 THEN $1 + 1 ELSE NULL END
        WHERE subject = $2 AND lease = $3
        RETURNING unsent_from";
    let row = tx.row(sql, params![last, subject, lease]).await?;
    Ok(row.map(|row| row.get::<Option<i64>>("unsent_from")).transpose()?.flatten().is_some())
}

async fn release(tx: &Tx<'_>, lease: &str, subject: &str) -> Result<bool, Problem> {
    let sql = "UPDATE guest_subject SET leased_until_ms = 0 WHERE subject = $1 AND lease = $2";
    tx.execute(sql, params![subject, lease]).await?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_counted_subject_by_subject_in_the_order_told() {
        let fact = |subject: &str| Fact::new("a.b.c", subject, &());
        let facts = [fact("z"), fact("a"), fact("z")];
        let subjects: Vec<_> = by_subject(&facts).into_iter().collect();
        assert_eq!(subjects, [("a", vec![1]), ("z", vec![0, 2])]);
    }

    // promise: BRIDGE: two tokens are valid while one is rotated
    #[test]
    fn the_first_of_two_push_tokens_is_shown() {
        for tokens in ["new", "new,old", " new , old", ",new"] {
            assert_eq!(first(tokens), "new", "{tokens}");
        }
        assert_eq!(first(""), "");
    }

    #[test]
    fn a_batch_is_cut_where_it_would_grow_too_long() {
        let subject = |name: &str, sizes: &[usize]| Subject {
            name: name.into(),
            events: (1..).zip(sizes.iter().map(|size| "x".repeat(*size))).collect(),
            has_earlier: false,
            is_cut: false,
        };
        let mut subjects = [subject("a", &[4, 4]), subject("b", &[1, 4]), subject("c", &[1])];
        cut(&mut subjects, 10);
        let left: Vec<_> = subjects.iter().map(|subject| (subject.events.len(), subject.is_cut)).collect();
        assert_eq!(left, [(2, false), (1, true), (0, true)]);
        let mut long = [subject("a", &[40, 1])];
        cut(&mut long, 10);
        assert_eq!((long[0].events.len(), long[0].is_cut), (1, true));
    }
}
