-- Schema 1 of state.db. Times are microseconds since 1970, objects are `group/Kind/namespace/name`.

-- name: deliveries
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stored_at INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    sender_type TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    events TEXT NOT NULL,
    trace TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'done', 'aside')),
    verdict TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER
);

-- name: deliveries_queued
CREATE INDEX deliveries_queued ON deliveries (id) WHERE state = 'queued';

-- name: deliveries_past
CREATE INDEX deliveries_past ON deliveries (id) WHERE state <> 'queued';

-- name: deliveries_same
CREATE INDEX deliveries_same ON deliveries (delivery_id, receiver) WHERE delivery_id <> '';

-- name: targets
CREATE TABLE targets (
    delivery INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    object TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'reconciled', 'gone', 'suspended')),
    result TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (delivery, object)
) WITHOUT ROWID;

-- name: targets_waiting
CREATE INDEX targets_waiting ON targets (object, delivery) WHERE state = 'waiting';

-- name: runs
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    opened_at INTEGER NOT NULL,
    object TEXT NOT NULL,
    uid TEXT NOT NULL,
    generation INTEGER NOT NULL,
    revision TEXT NOT NULL,
    planned TEXT NOT NULL,
    trace TEXT NOT NULL
);

-- name: runs_of
CREATE INDEX runs_of ON runs (uid, id);

-- name: events
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stored_at INTEGER NOT NULL,
    key TEXT NOT NULL UNIQUE,
    json TEXT NOT NULL,
    matched_at INTEGER
);

-- name: events_unmatched
CREATE INDEX events_unmatched ON events (id) WHERE matched_at IS NULL;

-- name: messages
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    stored_at INTEGER NOT NULL,
    alert TEXT NOT NULL,
    provider TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'rejected')),
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    ended_at INTEGER,
    UNIQUE (event, alert)
);

-- name: messages_due
CREATE INDEX messages_due ON messages (provider, due_at) WHERE state = 'queued';

-- name: messages_queued
CREATE INDEX messages_queued ON messages (id) WHERE state = 'queued';
