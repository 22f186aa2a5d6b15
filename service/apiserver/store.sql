-- name: create
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
-- name: create_counter
CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
-- name: all
SELECT resource, namespace, name, version, body FROM objects;
-- name: last_version
SELECT version FROM counter WHERE one = 1;
-- name: put
INSERT INTO objects (resource, namespace, name, version, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (resource, namespace, name) DO UPDATE SET version = excluded.version, body = excluded.body;
-- name: delete
DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?;
-- name: count_to
INSERT INTO counter (one, version) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET version = excluded.version;
