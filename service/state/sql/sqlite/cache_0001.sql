-- Schema 1 of cache.db: nothing here is missed when the file is deleted.

-- name: builds
CREATE TABLE builds (
    uid TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    reads TEXT NOT NULL,
    digests TEXT NOT NULL
) WITHOUT ROWID;

-- name: refusals
CREATE TABLE refusals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    sender_type TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    trace TEXT NOT NULL
);
