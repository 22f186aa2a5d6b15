-- What `journal.py` asks of state.db or PostgreSQL.

-- name: open
INSERT INTO runs (opened_at, object, uid, generation, revision, planned, trace)
VALUES (:opened_at, :object, :uid, :generation, :revision, :planned, :trace)
RETURNING id;

-- name: close
DELETE FROM runs WHERE id <= :id AND uid = (SELECT uid FROM runs WHERE id = :id);

-- name: unfinished
SELECT id, opened_at, object, uid, generation, revision, planned, trace FROM runs ORDER BY id;
