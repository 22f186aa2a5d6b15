-- What `inbox.py` asks in PostgreSQL's own words. Replicas forget at the same time: each leaves alone what another has taken hold of.

-- name: forget
DELETE FROM deliveries
WHERE id IN (
    SELECT id FROM deliveries WHERE state <> 'queued' AND (id <= :newest - :keep OR stored_at < :before)
    ORDER BY id LIMIT 20 FOR UPDATE SKIP LOCKED
);

-- name: forget_aged
DELETE FROM deliveries
WHERE id IN (
    SELECT id FROM deliveries WHERE state <> 'queued' AND (id <= :newest - :keep OR stored_at < :before)
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
);
