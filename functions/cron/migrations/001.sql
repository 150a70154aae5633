-- Schedules. Everything until `handled_until_ms` was looked at; 0 is a new one, which runs from its first look on.
CREATE TABLE schedule (
    id TEXT NOT NULL PRIMARY KEY,
    cron TEXT NOT NULL,
    timezone TEXT NOT NULL,
    catch_up TEXT NOT NULL,
    payload TEXT NOT NULL,
    handled_until_ms BIGINT NOT NULL,
    due_at_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX schedule_due ON schedule (due_at_ms);

-- A run is claimed by being inserted.
CREATE TABLE run (
    schedule TEXT NOT NULL,
    scheduled_at_ms BIGINT NOT NULL,
    claimed_at_ms BIGINT NOT NULL,
    by_hand BIGINT NOT NULL,
    PRIMARY KEY (schedule, scheduled_at_ms)
);

-- The house's own. `"all"` would prove the same ledger several times; the latest says everything.
INSERT INTO schedule (id, cron, timezone, catch_up, payload, handled_until_ms, due_at_ms, version) VALUES
    ('ledger-proof', '30 3 * * *', 'UTC', '"latest"', '{}', 0, 0, 1);
