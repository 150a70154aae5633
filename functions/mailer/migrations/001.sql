-- Whom we can write to. An erased user keeps the row without an address, so that no late fact brings it back.
CREATE TABLE recipient (
    user_id  TEXT   PRIMARY KEY,
    email    TEXT,
    locale   TEXT   NOT NULL,
    sequence BIGINT NOT NULL
);

-- Every mail, and the feed of its user. `data` fills the template and never holds an address.
CREATE TABLE message (
    id            TEXT   PRIMARY KEY,
    user_id       TEXT   NOT NULL,
    template      TEXT   NOT NULL,
    template_version BIGINT NOT NULL,
    data          TEXT   NOT NULL,
    state         TEXT   NOT NULL,
    reason        TEXT,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    version       BIGINT NOT NULL
);
CREATE INDEX message_of_user ON message (user_id, created_at_ms, id);
CREATE INDEX message_late ON message (state, expires_at_ms);

-- What the provider answered to each try; no status where there was no answer.
CREATE TABLE attempt (
    id      TEXT   PRIMARY KEY,
    message TEXT   NOT NULL,
    at_ms   BIGINT NOT NULL,
    status  BIGINT
);
CREATE INDEX attempt_of_message ON attempt (message, at_ms);

-- The provider refuses us as such: nothing is sent before that instant.
CREATE TABLE channel (
    name            TEXT   PRIMARY KEY,
    closed_until_ms BIGINT NOT NULL
);

CREATE TABLE preference (
    user_id  TEXT   NOT NULL,
    category TEXT   NOT NULL,
    wanted   BIGINT NOT NULL,
    PRIMARY KEY (user_id, category)
);

-- Addresses that nothing is sent to any more, in lower case.
CREATE TABLE suppression (
    email         TEXT   PRIMARY KEY,
    reason        TEXT   NOT NULL,
    created_by    TEXT   NOT NULL,
    created_at_ms BIGINT NOT NULL
);
