-- Settings of every connection. https://www.sqlite.org/pragma.html

-- name: busy_timeout
PRAGMA busy_timeout = 10000;

-- name: write_ahead_log
PRAGMA journal_mode = WAL;

-- name: every_commit_is_on_disk
PRAGMA synchronous = FULL;

-- name: commits_may_be_lost_together
PRAGMA synchronous = NORMAL;

-- name: log_size_bytes
PRAGMA journal_size_limit = 67108864;

-- name: foreign_keys
PRAGMA foreign_keys = ON;

-- name: only_reads
PRAGMA query_only = ON;

-- name: check
PRAGMA quick_check(1);

-- name: version
PRAGMA user_version;

-- name: begin
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;

-- name: savepoint
SAVEPOINT work;

-- name: release
RELEASE work;

-- name: undo
ROLLBACK TO work;
