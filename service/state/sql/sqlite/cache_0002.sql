-- Schema 2 of cache.db: how the objects that a Kustomization manages stood after its last run.

-- name: managed
CREATE TABLE managed (
    uid TEXT PRIMARY KEY,
    objects TEXT NOT NULL
) WITHOUT ROWID;
