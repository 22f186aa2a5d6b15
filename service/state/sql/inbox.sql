-- What `inbox.py` asks of state.db or PostgreSQL; the refusals are in cache.db, so that a flood of them never makes an accepted delivery wait.

-- name: same
SELECT id, stored_at FROM deliveries
WHERE delivery_id = :delivery_id AND delivery_id <> '' AND receiver = :receiver AND body_digest = :body_digest
    AND (
        state = 'queued'
        OR state = 'done' AND verdict = 'reconciled'
        AND NOT EXISTS (
            SELECT 1 FROM targets
            WHERE delivery = deliveries.id
                AND (targets.state <> 'reconciled' OR result NOT IN ('succeeded', 'unchanged', 'progressing', 'requested'))
        )
    )
ORDER BY id DESC LIMIT 1;

-- name: put
INSERT INTO deliveries (stored_at, receiver, sender_type, delivery_id, body_digest, events, trace, replay_of)
SELECT :stored_at, :receiver, :sender_type, :delivery_id, :body_digest, :events, :trace, CAST(:replay_of AS BIGINT)
WHERE (SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 'queued' LIMIT :most) AS counted) < :most
RETURNING id;

-- name: newest
SELECT coalesce(max(id), 0) FROM deliveries;

-- name: pending
SELECT id, stored_at, receiver, sender_type, delivery_id, body_digest, events, trace, attempts
FROM deliveries WHERE state = 'queued' ORDER BY id;

-- name: waiting
SELECT id FROM deliveries WHERE state = 'queued' ORDER BY id;

-- name: waits
SELECT id, stored_at, receiver, sender_type, delivery_id, body_digest, events, trace, attempts
FROM deliveries WHERE id = :row AND state = 'queued';

-- name: pending_targets
SELECT delivery, object, targets.state, result, targets.detail
FROM targets JOIN deliveries ON deliveries.id = targets.delivery WHERE deliveries.state = 'queued' ORDER BY delivery, object;

-- name: target
INSERT INTO targets (delivery, object, state, result, detail)
SELECT id, :object, :state, :result, :detail FROM deliveries WHERE id = :row AND state = 'queued'
ON CONFLICT (delivery, object) DO UPDATE SET state = excluded.state, result = excluded.result, detail = excluded.detail;

-- name: settle
UPDATE targets SET state = :state, result = :result, detail = :detail, began_at = :ran_at, ended_at = :now
WHERE object = :object AND state = 'waiting'
    AND delivery IN (SELECT id FROM deliveries WHERE state = 'queued' AND (stored_at <= :began_at OR id IN (SELECT value FROM json_each(:rows))))
RETURNING delivery;

-- name: finish
UPDATE deliveries SET state = 'done', verdict = :verdict, detail = :detail, ended_at = :now,
    events = CASE WHEN length(events) > 65536 THEN '[]' ELSE events END
WHERE id = :row AND state = 'queued'
    AND EXISTS (SELECT 1 FROM targets WHERE delivery = :row)
    AND NOT EXISTS (SELECT 1 FROM targets WHERE delivery = :row AND state = 'waiting')
RETURNING id;

-- name: done
UPDATE deliveries SET state = 'done', verdict = :verdict, detail = :detail, ended_at = :now,
    events = CASE WHEN length(events) > 65536 THEN '[]' ELSE events END
WHERE id = :row AND state = 'queued';

-- name: failed
UPDATE deliveries SET attempts = attempts + 1, detail = :error WHERE id = :row AND state = 'queued' RETURNING attempts;

-- name: attempts
SELECT attempts FROM deliveries WHERE id = :row;

-- name: set_aside
UPDATE deliveries SET state = 'aside', verdict = 'failed', ended_at = :now WHERE id = :row;

-- name: counts
SELECT state, count(*) FROM deliveries GROUP BY state;

-- name: log
SELECT id, stored_at, receiver, sender_type, delivery_id, state, verdict, detail, trace, ended_at, replay_of FROM deliveries
WHERE :receiver = '' OR substr(receiver, length(receiver) - length(:receiver) + 1) = :receiver ORDER BY id DESC LIMIT :limit;

-- name: found
SELECT id, stored_at, receiver, sender_type, delivery_id, state, verdict, detail, trace, ended_at, replay_of FROM deliveries
WHERE id = :number OR trace = :wanted OR delivery_id = :wanted
ORDER BY id DESC LIMIT 1;

-- name: stored
SELECT id, stored_at, receiver, sender_type, delivery_id, body_digest, events, trace, attempts FROM deliveries WHERE id = :row;

-- name: log_targets
SELECT object, state, result, detail, began_at, ended_at FROM targets WHERE delivery = :row ORDER BY object;

-- name: oldest
SELECT coalesce(min(id), 0) FROM deliveries;
