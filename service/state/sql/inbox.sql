-- What `inbox.py` asks of state.db; the refusals are in cache.db, so that a flood of them never makes an accepted delivery wait.

-- name: same
SELECT id, stored_at FROM deliveries
WHERE delivery_id = :delivery_id AND delivery_id <> '' AND receiver = :receiver AND body_digest = :body_digest
    AND state IN ('queued', 'done')
ORDER BY id LIMIT 1;

-- name: queued
SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 'queued' LIMIT :limit);

-- name: put
INSERT INTO deliveries (stored_at, receiver, sender_type, delivery_id, body_digest, events, trace)
VALUES (:stored_at, :receiver, :sender_type, :delivery_id, :body_digest, :events, :trace);

-- name: forget
DELETE FROM deliveries
WHERE id IN (SELECT id FROM deliveries WHERE state <> 'queued' ORDER BY id LIMIT 20)
    AND state <> 'queued' AND (id <= :newest - :keep OR stored_at < :before);

-- name: pending
SELECT id, stored_at, receiver, sender_type, delivery_id, body_digest, events, trace, attempts
FROM deliveries WHERE state = 'queued' ORDER BY id;

-- name: pending_targets
SELECT delivery, object, targets.state, result, targets.detail
FROM targets JOIN deliveries ON deliveries.id = targets.delivery WHERE deliveries.state = 'queued' ORDER BY delivery, object;

-- name: target
INSERT INTO targets (delivery, object, state, result, detail)
SELECT id, :object, :state, :result, :detail FROM deliveries WHERE id = :row AND state = 'queued'
ON CONFLICT (delivery, object) DO UPDATE SET state = excluded.state, result = excluded.result, detail = excluded.detail;

-- name: settle
UPDATE targets SET state = :state, result = :result, detail = :detail
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
SELECT id, stored_at, receiver, sender_type, delivery_id, state, verdict, detail, trace FROM deliveries ORDER BY id DESC LIMIT :limit;

-- name: log_targets
SELECT object, state, result, detail FROM targets WHERE delivery = :row ORDER BY object;

-- name: refuse
INSERT INTO refusals (at, receiver, sender_type, delivery_id, reason, detail, trace)
VALUES (:at, :receiver, :sender_type, :delivery_id, :reason, :detail, :trace);

-- name: forget_refusals
DELETE FROM refusals WHERE id <= (SELECT max(id) FROM refusals) - :keep;

-- name: refusals
SELECT at, receiver, sender_type, delivery_id, reason, detail, trace FROM refusals ORDER BY id DESC LIMIT :limit;

-- name: count_refusals
SELECT count(*) FROM refusals;
