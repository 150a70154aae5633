-- Users, accounts, transfers and their entries, and what is held for each deposit.

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    email_folded TEXT NOT NULL UNIQUE,
    locale TEXT NOT NULL,
    registered_ms BIGINT NOT NULL
);

-- Only accounts with a limit stand here; the others are summed from their entries.
CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    asset TEXT NOT NULL,
    debits_pending TEXT NOT NULL,
    debits_posted TEXT NOT NULL,
    credits_pending TEXT NOT NULL,
    credits_posted TEXT NOT NULL,
    version BIGINT NOT NULL
);

CREATE INDEX accounts_of_user ON accounts (user_id);

CREATE TABLE transfers (
    id TEXT NOT NULL PRIMARY KEY,
    debit TEXT NOT NULL,
    credit TEXT NOT NULL,
    amount TEXT NOT NULL,
    cause TEXT NOT NULL,
    corrects TEXT,
    opened_ms BIGINT NOT NULL
);

CREATE INDEX transfers_of_cause ON transfers (cause);

-- Two for each step of a transfer; the phase is pending, posted or voided. An account with a limit counts them.
CREATE TABLE entries (
    account TEXT NOT NULL,
    transfer TEXT NOT NULL,
    phase TEXT NOT NULL,
    side TEXT NOT NULL,
    asset TEXT NOT NULL,
    pended TEXT NOT NULL,
    released TEXT NOT NULL,
    posted TEXT NOT NULL,
    position BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (account, transfer, phase)
);

CREATE INDEX entries_in_order ON entries (account, position);

-- Every transfer is resolved at most once.
CREATE UNIQUE INDEX entries_resolved_once ON entries (transfer, side) WHERE phase <> 'pending';

-- The holding is nothing, pending or posted; the transfer is the one that is held. Shortfall: what suspense carries, because
-- it was spent before the deposit was reverted.
CREATE TABLE deposit_credits (
    deposit TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    holding TEXT NOT NULL,
    transfer TEXT,
    shortfall TEXT NOT NULL
);
