//! Admin's SQL: summaries of events, counts of kinds, and the last fact about each aggregate.

use std::collections::BTreeMap;

use guest::clock::rfc3339;
use guest::{Db, Problem, Row, Tx, params};

use crate::summary::{Cursor, Kind, Standing, Summary};

pub async fn note(tx: &Tx<'_>, summary: &Summary) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO heard (source, id, kind, subject, told_at, heard_at_ms) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (source, id) DO NOTHING",
        params![
            &summary.source,
            &summary.id,
            &summary.kind,
            summary.subject.as_deref(),
            summary.time.as_deref(),
            summary.cursor.heard_at_ms,
        ],
    )
    .await?;
    Ok(())
}

pub async fn count(tx: &Tx<'_>, summary: &Summary) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO tally (kind, share, count, first_ms, last_ms) VALUES ($1, $2, 1, $3, $3)
         ON CONFLICT (kind, share) DO UPDATE SET count = tally.count + 1, last_ms = excluded.last_ms",
        params![&summary.kind, summary.share(), summary.cursor.heard_at_ms],
    )
    .await?;
    Ok(())
}

/// Takes a state from a higher sequence only, because events of one aggregate may come in any order.
pub async fn stand(tx: &Tx<'_>, standing: &Standing) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO standing (aggregate, subject, fact, sequence) VALUES ($1, $2, $3, $4)
         ON CONFLICT (aggregate, subject) DO UPDATE SET fact = excluded.fact, sequence = excluded.sequence
         WHERE excluded.sequence > standing.sequence",
        params![&standing.aggregate, &standing.subject, &standing.fact, standing.sequence],
    )
    .await?;
    Ok(())
}

pub async fn kinds(db: &Db) -> Result<Vec<Kind>, Problem> {
    let rows = db
        .rows(
            "SELECT kind, CAST(SUM(count) AS BIGINT) AS told, MIN(first_ms) AS first_ms, MAX(last_ms) AS last_ms
             FROM tally GROUP BY kind ORDER BY kind",
            params![],
        )
        .await?;
    rows.iter().map(kind).collect()
}

fn kind(row: &Row) -> Result<Kind, Problem> {
    Ok(Kind {
        kind: row.get("kind")?,
        count: row.get("told")?,
        first: rfc3339(row.get("first_ms")?),
        last: rfc3339(row.get("last_ms")?),
    })
}

/// How many aggregates of a sort stand where.
pub async fn by_fact(db: &Db, aggregate: &str) -> Result<BTreeMap<String, i64>, Problem> {
    let sql = "SELECT fact, COUNT(*) AS number FROM standing WHERE aggregate = $1 GROUP BY fact";
    let rows = db.rows(sql, params![aggregate]).await?;
    rows.iter().map(|row| Ok((row.get("fact")?, row.get("number")?))).collect()
}

/// A page of summaries, the newest first, behind a place in that order.
pub async fn newest(db: &Db, after: Option<Cursor>, limit: i64) -> Result<Vec<Summary>, Problem> {
    let columns = "SELECT source, id, kind, subject, told_at, heard_at_ms FROM heard";
    let order = "ORDER BY heard_at_ms DESC, id DESC LIMIT";
    let rows = match after {
        None => db.rows(&format!("{columns} {order} $1"), params![limit]).await?,
        Some(Cursor { heard_at_ms, id }) => {
            let sql = format!("{columns} WHERE (heard_at_ms, id) < ($1, $2) {order} $3");
            db.rows(&sql, params![heard_at_ms, id, limit]).await?
        }
    };
    rows.iter().map(summary).collect()
}

fn summary(row: &Row) -> Result<Summary, Problem> {
    let id: String = row.get("id")?;
    Ok(Summary {
        cursor: Cursor { heard_at_ms: row.get("heard_at_ms")?, id: id.clone() },
        source: row.get("source")?,
        id,
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        time: row.get("told_at")?,
    })
}
