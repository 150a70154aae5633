-- Where merchants want to be told. `failing_since_ms` is set while `health` is `failing`.
CREATE TABLE endpoint (
    id               TEXT   PRIMARY KEY,
    merchant         TEXT   NOT NULL,
    url              TEXT   NOT NULL,
    secret           TEXT   NOT NULL,
    health           TEXT   NOT NULL,
    failing_since_ms BIGINT,
    created_at_ms    BIGINT NOT NULL,
    version          BIGINT NOT NULL
);
CREATE INDEX endpoint_of_merchant ON endpoint (merchant, created_at_ms);

-- The bytes that are sent, once for all endpoints and attempts.
CREATE TABLE body (
    id   TEXT PRIMARY KEY,
    text TEXT NOT NULL
);

-- One event on its way to one endpoint. `due_at_ms` is when the next attempt is due while `state` is `waiting`, and
-- since when it is ordered while that is `sending`; `status` is the last answer's.
CREATE TABLE delivery (
    id            TEXT   PRIMARY KEY,
    endpoint      TEXT   NOT NULL,
    merchant      TEXT   NOT NULL,
    body          TEXT   NOT NULL,
    kind          TEXT   NOT NULL,
    state         TEXT   NOT NULL,
    attempts      BIGINT NOT NULL,
    due_at_ms     BIGINT,
    status        BIGINT,
    created_at_ms BIGINT NOT NULL,
    version       BIGINT NOT NULL
);
CREATE INDEX delivery_due ON delivery (state, due_at_ms);
CREATE INDEX delivery_of_endpoint ON delivery (endpoint, created_at_ms, id);
