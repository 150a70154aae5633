-- Events handled, with their replies. An id stays for ever; its reply goes after 30 days.
CREATE TABLE guest_inbox (
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    reply TEXT,
    wake_at_ms BIGINT,
    handled_at_ms BIGINT NOT NULL,
    PRIMARY KEY (source, id)
);
CREATE INDEX guest_inbox_replies ON guest_inbox (handled_at_ms) WHERE reply IS NOT NULL;

-- What was answered under a client's Idempotency-Key. Stays for ever.
CREATE TABLE guest_idempotency (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    body TEXT NOT NULL,
    stored_at_ms BIGINT NOT NULL,
    PRIMARY KEY (principal, key)
);

-- The facts counted per subject, and who is pushing the unsent ones. `unsent_from` may be too low, never too high.
CREATE TABLE guest_subject (
    subject TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    unsent_from BIGINT,
    lease TEXT NOT NULL,
    leased_until_ms BIGINT NOT NULL
);

-- Events that the bridge does not have yet.
CREATE TABLE guest_outbox (
    subject TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (subject, sequence)
);
