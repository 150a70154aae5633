-- What every function told, in short: no payloads, so no secrets and no addresses.
CREATE TABLE heard (
    source      TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    subject     TEXT,
    told_at     TEXT,
    heard_at_ms BIGINT NOT NULL,
    PRIMARY KEY (source, id)
);
CREATE INDEX heard_newest ON heard (heard_at_ms, id);

-- How often each kind was told. Sixteen rows for each, so that lanes do not wait for one another.
CREATE TABLE tally (
    kind     TEXT   NOT NULL,
    share    BIGINT NOT NULL,
    count    BIGINT NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms  BIGINT NOT NULL,
    PRIMARY KEY (kind, share)
);

-- The last fact about each aggregate, by its sequence.
CREATE TABLE standing (
    aggregate     TEXT   NOT NULL,
    subject       TEXT   NOT NULL,
    fact          TEXT   NOT NULL,
    sequence      BIGINT NOT NULL,
    PRIMARY KEY (aggregate, subject)
);
CREATE INDEX standing_by_fact ON standing (aggregate, fact);
