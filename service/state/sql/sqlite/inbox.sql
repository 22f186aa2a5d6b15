-- What `inbox.py` asks in SQLite's own words.

-- name: forget
DELETE FROM deliveries
WHERE id IN (SELECT id FROM deliveries WHERE state <> 'queued' ORDER BY id LIMIT 20)
    AND state <> 'queued' AND (id <= :newest - :keep OR stored_at < :before);

-- name: forget_aged
DELETE FROM deliveries
WHERE id IN (SELECT id FROM deliveries WHERE state <> 'queued' AND (id <= :newest - :keep OR stored_at < :before) ORDER BY id LIMIT :limit);
