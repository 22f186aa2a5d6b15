-- Schema 3 of cache.db: the delivery log beside what was refused, and the bodies of deliveries where they are kept.

-- name: refusals_state
ALTER TABLE refusals ADD COLUMN state TEXT NOT NULL DEFAULT 'refused';

-- name: refusals_by_state
CREATE INDEX refusals_by_state ON refusals (state, id);

-- name: bodies
CREATE TABLE bodies (
    delivery INTEGER PRIMARY KEY,
    trace TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
);
