//! What the embedded log lets go of: records older than their topic keeps them, a bounded number at a time.

use rusqlite::{Connection, params};

use super::sql::{self, Held, offset_of, place};
use crate::log::Error;

/// What a group has still to read is kept for this many retention times.
const UNREAD_TIMES: i64 = 4;
/// Records that one pass looks at in one partition.
const EXPIRE_MAX: i64 = 10_000;

/// What one pass has deleted, and whether there may be more to delete.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expired {
    pub records: usize,
    pub more: bool,
}

/// Deletes what is older than its topic keeps, a bounded number of records of each partition. What a group has still to read
/// stays some retention times longer, so that a laptop may be closed for a fortnight.
pub(super) fn expire(file: &Connection, now_ms: i64) -> Result<Expired, Error> {
    let mut expired = Expired::default();
    for (topic, retention_ms) in retentions(file)? {
        for held in sql::partitions(file, &topic)? {
            let read = first_cut(file, &held, now_ms - retention_ms)?.min(unread(file, &held)?);
            let stale = first_cut(file, &held, now_ms - retention_ms.saturating_mul(UNREAD_TIMES))?;
            let start = read.max(stale);
            expired.records += cut(file, &held, start)?;
            expired.more |= start - held.span.start >= EXPIRE_MAX;
        }
    }
    Ok(expired)
}

fn retentions(file: &Connection) -> Result<Vec<(String, i64)>, Error> {
    let mut select = file.prepare_cached("SELECT name, retention_ms FROM topics")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The offset of the first record not older than the instant, among the first [`EXPIRE_MAX`].
fn first_cut(file: &Connection, held: &Held, before_ms: i64) -> Result<i64, Error> {
    let looked = (held.span.start + EXPIRE_MAX).min(held.span.end);
    let select = "SELECT min(place) FROM records WHERE place >= ? AND place < ? AND timestamp_ms >= ?";
    let range = params![place(held.id, held.span.start), place(held.id, looked), before_ms];
    let first: Option<i64> = file.prepare_cached(select)?.query_row(range, |row| row.get(0))?;
    Ok(first.map_or(looked, offset_of))
}

/// The lowest offset that a group has still to read.
fn unread(file: &Connection, held: &Held) -> Result<i64, Error> {
    let select = "SELECT min(next) FROM commits WHERE topic = ? AND number = ?";
    let keys = params![&*held.partition.topic, held.partition.number];
    let lowest: Option<i64> = file.prepare_cached(select)?.query_row(keys, |row| row.get(0))?;
    Ok(lowest.unwrap_or(held.span.end))
}

fn cut(file: &Connection, held: &Held, start: i64) -> Result<usize, Error> {
    if start <= held.span.start {
        return Ok(0);
    }
    file.prepare_cached("UPDATE partitions SET start = ? WHERE id = ?")?.execute([start, held.id])?;
    let delete = "DELETE FROM records WHERE place >= ? AND place < ?";
    Ok(file.prepare_cached(delete)?.execute([place(held.id, held.span.start), place(held.id, start)])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Commit, NewRecord, NewTopic, Partition};
    use std::time::Duration;

    const DAY_MS: i64 = 24 * 3600 * 1000;

    /// A topic that keeps a day, with one record of each of the first ten days.
    fn ten_days() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let file = sql::open(&folder.path().join("log.db")).unwrap();
        let retention = Some(Duration::from_millis(DAY_MS as u64));
        let topic = NewTopic { name: "t".into(), partitions: 1, replication: 1, retention };
        sql::create_topics(&file, &[topic]).unwrap();
        for day in 0..10 {
            let timestamp_ms = Some(day * DAY_MS);
            let record =
                NewRecord { topic: "t".into(), partition: None, key: None, headers: vec![], value: None, timestamp_ms };
            sql::append(&file, 0, &record, 0, 0).unwrap();
        }
        (folder, file)
    }

    fn start(file: &Connection) -> i64 {
        sql::partitions(file, "t").unwrap()[0].span.start
    }

    #[test]
    fn records_older_than_the_topic_keeps_go() {
        let (_folder, file) = ten_days();
        assert_eq!(expire(&file, 9 * DAY_MS).unwrap(), Expired { records: 8, more: false });
        assert_eq!(start(&file), 8);
        assert_eq!(expire(&file, 9 * DAY_MS).unwrap().records, 0);
    }

    #[test]
    fn a_pass_that_reached_its_bound_says_that_there_is_more() {
        let (_folder, file) = ten_days();
        file.execute("UPDATE partitions SET next = ?", [EXPIRE_MAX * 2]).unwrap();
        file.execute("UPDATE records SET timestamp_ms = 0", []).unwrap();
        let more: Vec<bool> = (0..3).map(|_| expire(&file, 9 * DAY_MS).unwrap().more).collect();
        assert_eq!(more, [true, true, false]);
    }

    #[test]
    fn what_a_group_has_still_to_read_stays_longer() {
        let (_folder, file) = ten_days();
        let commit = Commit { partition: Partition::new("t", 0), next: 2, metadata: String::new() };
        sql::commit(&file, "g", &commit).unwrap();
        expire(&file, 5 * DAY_MS).unwrap();
        assert_eq!(start(&file), 2);
        expire(&file, 9 * DAY_MS).unwrap();
        assert_eq!(start(&file), 5);
    }
}
