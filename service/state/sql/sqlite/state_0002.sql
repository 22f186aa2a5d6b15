-- Schema 2 of state.db: messages know their object, may stand for earlier ones, and what becomes of them is counted by Provider and Alert.

-- name: messages_with_objects
CREATE TABLE messages_of_objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    stored_at INTEGER NOT NULL,
    alert TEXT NOT NULL,
    provider TEXT NOT NULL,
    object TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'folded', 'rejected')),
    due_at INTEGER NOT NULL,
    asked_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    ended_at INTEGER,
    folded INTEGER NOT NULL DEFAULT 0,
    folded_into INTEGER,
    UNIQUE (event, alert)
);

-- name: messages_copied
INSERT INTO messages_of_objects (id, event, stored_at, alert, provider, object, payload, state, due_at, asked_at, attempts, error, ended_at)
SELECT
    id, event, stored_at, alert, provider,
    CASE WHEN json_valid(payload) THEN coalesce(
        json_extract(payload, '$.kind') || '/' || json_extract(payload, '$.namespace') || '/' || json_extract(payload, '$.name'), ''
    ) ELSE '' END,
    payload, state, due_at, stored_at, attempts, error, ended_at
FROM messages;

-- name: old_messages_gone
DROP TABLE messages;

-- name: messages_named
ALTER TABLE messages_of_objects RENAME TO messages;

-- name: messages_due
CREATE INDEX messages_due ON messages (provider, due_at) WHERE state = 'queued';

-- name: messages_queued
CREATE INDEX messages_queued ON messages (provider, id) WHERE state = 'queued';

-- name: messages_in_order
CREATE INDEX messages_in_order ON messages (provider, object, id) WHERE state = 'queued';

-- name: messages_dead
CREATE INDEX messages_dead ON messages (id) WHERE state = 'rejected';

-- name: messages_folded
CREATE INDEX messages_folded ON messages (folded_into) WHERE folded_into IS NOT NULL;

-- name: senders
CREATE TABLE senders (
    object TEXT NOT NULL PRIMARY KEY,
    sent INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    folded INTEGER NOT NULL DEFAULT 0,
    last_sent_at INTEGER,
    last_error TEXT NOT NULL DEFAULT '',
    last_error_at INTEGER,
    failing_since INTEGER,
    refused INTEGER NOT NULL DEFAULT 0,
    told_failing INTEGER NOT NULL DEFAULT 0,
    told_dead INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
