-- What `deliverylog.py` and `bodies.py` ask of cache.db.

-- name: refuse
INSERT INTO refusals (at, receiver, sender_type, delivery_id, reason, detail, trace, state)
VALUES (:at, :receiver, :sender_type, :delivery_id, :reason, :detail, :trace, :state);

-- name: forget_refusals
DELETE FROM refusals
WHERE state = :state AND id <= (SELECT id FROM refusals WHERE state = :state ORDER BY id DESC LIMIT 1 OFFSET :keep);

-- name: age_refusals
DELETE FROM refusals WHERE at < :before;

-- name: refusals
SELECT at, receiver, sender_type, delivery_id, reason, detail, trace, state FROM refusals
WHERE :receiver = '' OR substr(receiver, -length(:receiver)) = :receiver ORDER BY id DESC LIMIT :limit;

-- name: refusal
SELECT at, receiver, sender_type, delivery_id, reason, detail, trace, state FROM refusals
WHERE trace = :wanted OR delivery_id = :wanted AND delivery_id <> '' ORDER BY id DESC LIMIT 1;

-- name: count_refusals
SELECT count(*) FROM refusals WHERE state = 'refused';

-- name: keep_body
INSERT OR REPLACE INTO bodies (delivery, trace, headers, body) VALUES (:row, :trace, :headers, :body);

-- name: forget_bodies
DELETE FROM bodies WHERE delivery IN (
    SELECT delivery FROM (SELECT delivery, sum(length(body)) OVER (ORDER BY delivery DESC) AS held FROM bodies) WHERE held > :total
);

-- name: forget_orphans
DELETE FROM bodies WHERE delivery < :oldest;

-- name: body
SELECT headers, body FROM bodies WHERE delivery = :row AND trace = :trace;
