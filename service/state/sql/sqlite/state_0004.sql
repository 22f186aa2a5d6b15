-- Schema 4 of state.db: what is kept of messages that are changed later, what was told once, and messages that are held back.

-- name: notes
CREATE TABLE notes (
    provider TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    kept_at INTEGER NOT NULL,
    PRIMARY KEY (provider, name)
) WITHOUT ROWID;

-- name: notes_old
CREATE INDEX notes_old ON notes (kept_at);

-- name: once
CREATE TABLE once (
    key TEXT NOT NULL PRIMARY KEY,
    told_at INTEGER NOT NULL
) WITHOUT ROWID;

-- name: once_old
CREATE INDEX once_old ON once (told_at);

-- name: held
CREATE TABLE held (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    held_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    alert TEXT NOT NULL,
    provider TEXT NOT NULL,
    about TEXT NOT NULL,
    object TEXT NOT NULL,
    bundle TEXT NOT NULL,
    why TEXT NOT NULL,
    payload TEXT NOT NULL,
    UNIQUE (event, alert)
);

-- name: held_of
CREATE INDEX held_of ON held (alert, about);

-- name: held_in
CREATE INDEX held_in ON held (bundle, id);
