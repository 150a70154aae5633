//! The embedded log's statements: each function is one question or one change on a connection.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use super::codec;
use crate::log::{Commit, Error, Fault, NewRecord, NewTopic, Partition, Record, Span, murmur2};

/// As a Kafka broker's `max.message.bytes` is by default.
const RECORD_BYTES_MAX: usize = 1_048_588;
/// As a Kafka broker's `offset.metadata.max.bytes` is by default.
const METADATA_BYTES_MAX: usize = 4_096;
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
const OFFSET_BITS: i64 = 44;
/// The version of schema.sql.
const SCHEMA: i64 = 1;

/// A partition as the file knows it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub partition: Partition,
    pub id: i64,
    pub span: Span,
}

/// Opens the file for writing and brings its schema, unless it has a newer one.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > SCHEMA {
        return Err(Error::Config(format!("a newer release wrote it (schema {version}, and {SCHEMA} is known here)")));
    }
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged record survives a power cut; group commit pays for it.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(include_str!("schema.sql"))?;
    connection.pragma_update(None, "user_version", SCHEMA)?;
    Ok(connection)
}

/// Opens a file that exists for reading.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// Creates those that are missing and answers their names.
pub(super) fn create_topics(file: &Connection, topics: &[NewTopic]) -> Result<Vec<String>, Error> {
    let mut created = Vec::new();
    for topic in topics {
        if topic.name.is_empty() || topic.partitions < 1 {
            return Err(Error::Config(format!("topic `{}` needs a name and at least one partition", topic.name)));
        }
        let retention = topic.retention.unwrap_or(RETENTION).as_millis() as i64;
        let insert = "INSERT INTO topics (name, partitions, retention_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
        if file.execute(insert, params![topic.name, topic.partitions, retention])? == 1 {
            create_partitions(file, topic)?;
            created.push(topic.name.clone());
        }
    }
    Ok(created)
}

fn create_partitions(file: &Connection, topic: &NewTopic) -> Result<(), Error> {
    let mut insert = file.prepare("INSERT INTO partitions (topic, number, start, next) VALUES (?, ?, 0, 0)")?;
    for number in 0..topic.partitions {
        insert.execute(params![topic.name, number])?;
    }
    Ok(())
}

pub(super) fn topics(file: &Connection) -> Result<BTreeMap<String, i32>, Error> {
    let mut select = file.prepare_cached("SELECT name, partitions FROM topics")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Every partition of a topic; empty when there is no such topic.
pub(super) fn partitions(file: &Connection, topic: &str) -> Result<Vec<Held>, Error> {
    let name: Arc<str> = topic.into();
    let select = "SELECT id, number, start, next FROM partitions WHERE topic = ? ORDER BY number";
    let mut select = file.prepare_cached(select)?;
    let rows = select.query_map([topic], |row| {
        let partition = Partition::new(Arc::clone(&name), row.get(1)?);
        Ok(Held { partition, id: row.get(0)?, span: Span { start: row.get(2)?, end: row.get(3)? } })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn partition(file: &Connection, partition: &Partition) -> Result<Option<Held>, Error> {
    Ok(partitions(file, &partition.topic)?.into_iter().find(|held| held.partition == *partition))
}

/// Appends one record; `turn` chooses the partition of a record without a key. `index` is its place in the caller's list.
pub(super) fn append(
    file: &Connection,
    index: usize,
    record: &NewRecord,
    turn: usize,
    now_ms: i64,
) -> Result<(), Error> {
    let refuse = |fault, reason: String| Error::Record { index, topic: record.topic.clone(), fault, reason };
    let headers = codec::encode(&record.headers);
    let size = record.size();
    if size > RECORD_BYTES_MAX {
        return Err(refuse(Fault::TooLarge, format!("{size} bytes are more than {RECORD_BYTES_MAX}")));
    }
    let number =
        place_in(file, record, turn)?.ok_or_else(|| refuse(Fault::UnknownTopic, "there is no such topic".into()))?;
    let grown = "UPDATE partitions SET next = next + 1 WHERE topic = ? AND number = ? RETURNING id, next - 1";
    let grown = file
        .prepare_cached(grown)?
        .query_row(params![record.topic, number], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (id, offset) =
        grown.ok_or_else(|| refuse(Fault::UnknownPartition, format!("there is no partition {number}")))?;
    let insert = "INSERT INTO records (place, timestamp_ms, key, headers, value) VALUES (?, ?, ?, ?, ?)";
    file.prepare_cached(insert)?.execute(params![
        place(id, offset),
        record.timestamp_ms.unwrap_or(now_ms),
        record.key.as_deref(),
        headers,
        record.value.as_deref()
    ])?;
    Ok(())
}

/// The partition's number, or `None` when there is no such topic.
fn place_in(file: &Connection, record: &NewRecord, turn: usize) -> Result<Option<i32>, Error> {
    let count = "SELECT partitions FROM topics WHERE name = ?";
    let count: Option<i32> = file.prepare_cached(count)?.query_row([&record.topic], |row| row.get(0)).optional()?;
    let chosen = |count| match (&record.partition, &record.key) {
        (Some(number), _) => *number,
        (None, Some(key)) => murmur2::partition(key, count),
        (None, None) => (turn % count as usize) as i32,
    };
    Ok(count.map(chosen))
}

pub(super) fn commit(file: &Connection, group: &str, commit: &Commit) -> Result<(), Error> {
    if commit.metadata.len() > METADATA_BYTES_MAX {
        return Err(Error::Metadata(format!("{} bytes are more than {METADATA_BYTES_MAX}", commit.metadata.len())));
    }
    let upsert = "INSERT INTO commits (member_group, topic, number, next, metadata) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (member_group, topic, number) DO UPDATE SET next = excluded.next, metadata = excluded.metadata";
    let Partition { topic, number } = &commit.partition;
    file.prepare_cached(upsert)?.execute(params![group, &**topic, number, commit.next, commit.metadata])?;
    Ok(())
}

pub(super) fn committed(file: &Connection, group: &str, partition: &Partition) -> Result<Option<Commit>, Error> {
    let select = "SELECT next, metadata FROM commits WHERE member_group = ? AND topic = ? AND number = ?";
    let row = |row: &Row| Ok(Commit { partition: partition.clone(), next: row.get(0)?, metadata: row.get(1)? });
    let keys = params![group, &*partition.topic, partition.number];
    Ok(file.prepare_cached(select)?.query_row(keys, row).optional()?)
}

/// Hands records from offset `from` on to `take` until it answers `false` or `limit` is reached; answers the next offset.
pub(super) fn read(
    file: &Connection,
    held: &Held,
    from: i64,
    limit: usize,
    mut take: impl FnMut(Record) -> bool,
) -> Result<i64, Error> {
    let select = "SELECT place, timestamp_ms, key, headers, value FROM records WHERE place >= ? AND place < ?
        ORDER BY place LIMIT ?";
    let mut select = file.prepare_cached(select)?;
    let mut rows = select.query(params![place(held.id, from), place(held.id + 1, 0), limit as i64])?;
    let mut next = from;
    while let Some(row) = rows.next()? {
        let record = record(held, row)?;
        next = record.offset + 1;
        if !take(record) {
            break;
        }
    }
    Ok(next)
}

fn record(held: &Held, row: &Row) -> Result<Record, Error> {
    let offset = offset_of(row.get(0)?);
    let bytes = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Vec<u8>>>(column)?.map(Bytes::from));
    let headers = codec::decode(bytes(3)?.unwrap_or_default())
        .ok_or_else(|| Error::Config(format!("{} holds broken headers at {offset}", held.partition)))?;
    let (partition, timestamp_ms) = (held.partition.clone(), row.get(1)?);
    Ok(Record { partition, offset, timestamp_ms, key: bytes(2)?, headers, value: bytes(4)? })
}

/// The offset of the first record at or after an instant; the partition's end when there is none.
pub(super) fn offset_at(file: &Connection, held: &Held, instant_ms: i64) -> Result<i64, Error> {
    let select = "SELECT min(place) FROM records WHERE place >= ? AND place < ? AND timestamp_ms >= ?";
    let range = params![place(held.id, 0), place(held.id + 1, 0), instant_ms];
    let first: Option<i64> = file.prepare_cached(select)?.query_row(range, |row| row.get(0))?;
    Ok(first.map_or(held.span.end, offset_of))
}

/// Where a record stands in the table.
pub(super) fn place(id: i64, offset: i64) -> i64 {
    (id << OFFSET_BITS) + offset
}

pub(super) fn offset_of(place: i64) -> i64 {
    place & ((1 << OFFSET_BITS) - 1)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Error::Unavailable(format!("the log's file: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_newer_release_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        open(&path).unwrap().pragma_update(None, "user_version", SCHEMA + 1).unwrap();
        assert!(matches!(open(&path), Err(Error::Config(reason)) if reason.contains("newer")));
    }
}
