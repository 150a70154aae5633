-- The embedded log: topics, their partitions, records, and how far each group has read. `place` is the partition's id and
-- the record's offset in one integer (id * 2^44 + offset), so that a partition is one stretch of the table.
CREATE TABLE IF NOT EXISTS topics (
    name         TEXT    NOT NULL PRIMARY KEY,
    partitions   INTEGER NOT NULL,
    retention_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS partitions (
    id           INTEGER NOT NULL PRIMARY KEY,
    topic        TEXT    NOT NULL,
    number       INTEGER NOT NULL,
    start        INTEGER NOT NULL,
    next         INTEGER NOT NULL,
    UNIQUE (topic, number)
);
CREATE TABLE IF NOT EXISTS records (
    place        INTEGER NOT NULL PRIMARY KEY,
    timestamp_ms INTEGER NOT NULL,
    key          BLOB,
    headers      BLOB    NOT NULL,
    value        BLOB
);
CREATE TABLE IF NOT EXISTS commits (
    member_group TEXT    NOT NULL,
    topic        TEXT    NOT NULL,
    number       INTEGER NOT NULL,
    next         INTEGER NOT NULL,
    metadata     TEXT    NOT NULL,
    PRIMARY KEY (member_group, topic, number)
) WITHOUT ROWID;
