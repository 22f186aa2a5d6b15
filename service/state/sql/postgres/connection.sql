-- Settings of every connection, and what `database.py` and `postgres.py` ask. https://www.postgresql.org/docs/current/runtime-config-client.html

-- name: statements_end
SET statement_timeout = '20s';

-- name: locks_end
SET lock_timeout = '10s';

-- name: transactions_end
SET idle_in_transaction_session_timeout = '60s';

-- name: only_reads
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;

-- name: how_durable
SELECT current_setting('synchronous_commit');

-- name: every_commit_is_on_disk
SET synchronous_commit = on;

-- name: alive
SELECT 1;

-- name: hear
LISTEN sluice;

-- name: ring
SELECT pg_notify('sluice', :text);

-- name: one_at_a_time
-- of those who migrate; the number means "sluice" and nothing else
SELECT pg_advisory_xact_lock(126943508195173);

-- name: versions
CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);

-- name: version
SELECT coalesce(max(version), 0) FROM schema_version;

-- name: raise_version
INSERT INTO schema_version (version) VALUES (:version);

-- name: keep_key
INSERT INTO secret_keys (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING;

-- name: key
SELECT value FROM secret_keys WHERE name = :name;

-- name: begin
BEGIN;

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;

-- name: savepoint
SAVEPOINT work;

-- name: release
RELEASE SAVEPOINT work;

-- name: undo
ROLLBACK TO SAVEPOINT work;
