-- Invoices with their addresses, deposits, and the blocks that are held to be on the chain.

CREATE TABLE invoices (
    id TEXT NOT NULL PRIMARY KEY,
    merchant TEXT NOT NULL,
    order_id TEXT,
    currency TEXT NOT NULL,
    price TEXT NOT NULL,
    asset TEXT NOT NULL,
    due TEXT NOT NULL,
    rate TEXT,
    tolerance_bps BIGINT NOT NULL,
    chain BIGINT NOT NULL,
    address TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    metadata TEXT NOT NULL,
    stage TEXT NOT NULL,
    paid_ms BIGINT,
    in_time TEXT NOT NULL,
    in_time_confirmed TEXT NOT NULL,
    late TEXT NOT NULL,
    late_confirmed TEXT NOT NULL,
    due_ms BIGINT,
    version BIGINT NOT NULL
);

CREATE INDEX invoices_due ON invoices (due_ms) WHERE due_ms IS NOT NULL;

-- The next index of the account key's receiving addresses.
CREATE TABLE address_index (
    id BIGINT NOT NULL PRIMARY KEY,
    next BIGINT NOT NULL
);

INSERT INTO address_index (id, next) VALUES (1, 0);

-- Addresses in small letters, and until when deposits are looked for.
CREATE TABLE addresses (
    address TEXT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL UNIQUE,
    invoice TEXT NOT NULL,
    watched_until_ms BIGINT NOT NULL
);

CREATE INDEX addresses_watched ON addresses (watched_until_ms);

CREATE TABLE deposits (
    id TEXT NOT NULL PRIMARY KEY,
    asset TEXT NOT NULL,
    amount TEXT NOT NULL,
    chain BIGINT NOT NULL,
    address TEXT NOT NULL,
    txid TEXT NOT NULL,
    user_id TEXT,
    invoice TEXT,
    is_late BIGINT NOT NULL,
    stage TEXT NOT NULL,
    block TEXT NOT NULL,
    height BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE INDEX deposits_of_invoice ON deposits (invoice);
CREATE INDEX deposits_of_block ON deposits (block);
CREATE INDEX deposits_unconfirmed ON deposits (height) WHERE stage = 'detected';

CREATE TABLE blocks (
    hash TEXT NOT NULL PRIMARY KEY,
    parent TEXT NOT NULL,
    height BIGINT NOT NULL UNIQUE
);

-- How far the chain was looked at: one row. Moved: when a look changed something last. Behind: the tip was not reached.
-- Idle: nothing was open after the last look.
CREATE TABLE chain_watch (
    id BIGINT NOT NULL PRIMARY KEY,
    genesis TEXT NOT NULL,
    looked_ms BIGINT NOT NULL,
    moved_ms BIGINT NOT NULL,
    is_behind BIGINT NOT NULL,
    is_idle BIGINT NOT NULL,
    version BIGINT NOT NULL
);

INSERT INTO chain_watch (id, genesis, looked_ms, moved_ms, is_behind, is_idle, version) VALUES (1, '', 0, 0, 0, 1, 0);
