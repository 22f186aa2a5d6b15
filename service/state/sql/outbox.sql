-- What `outbox.py` asks of state.db or PostgreSQL.

-- name: release_key
UPDATE events SET key = key || ' until ' || id
WHERE key = :key AND (
    stored_at < :before
    OR (matched_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.event = events.id)
        AND NOT EXISTS (SELECT 1 FROM held WHERE held.event = events.id))
);

-- name: add
INSERT INTO events (stored_at, key, json) VALUES (:stored_at, :key, :json) ON CONFLICT (key) DO NOTHING
RETURNING id;

-- name: unmatched
SELECT id, key, json, stored_at FROM events WHERE matched_at IS NULL AND id > :after ORDER BY id LIMIT :limit;

-- name: match
UPDATE events SET matched_at = :now WHERE id IN (SELECT value FROM json_each(:events)) AND matched_at IS NULL RETURNING id;

-- name: is_held
SELECT EXISTS (SELECT 1 FROM held);

-- name: message
INSERT INTO messages (event, stored_at, alert, provider, object, payload, due_at, asked_at)
VALUES (:event, :now, :alert, :provider, :object, :payload, :now, :now) ON CONFLICT (event, alert) DO NOTHING;

-- name: due
SELECT id, event, stored_at, alert, provider, payload, due_at, attempts, error, asked_at, folded
FROM messages WHERE state = 'queued' AND due_at <= :now ORDER BY id LIMIT :limit;

-- name: heads
-- In the order of the ids from the start (hence `+`): where much is due, the first of it is found without a look at the rest.
SELECT id, event, stored_at, alert, provider, payload, due_at, attempts, error, asked_at, folded
FROM messages AS head
WHERE state = 'queued' AND provider = :provider AND +due_at <= :now AND NOT EXISTS (
    SELECT 1 FROM messages AS earlier
    WHERE earlier.state = 'queued' AND earlier.provider = :provider AND earlier.object = head.object AND earlier.id < head.id
)
ORDER BY id LIMIT :limit;

-- name: next_due
SELECT min(due_at)
FROM messages AS head
WHERE state = 'queued' AND provider = :provider AND NOT EXISTS (
    SELECT 1 FROM messages AS earlier
    WHERE earlier.state = 'queued' AND earlier.provider = :provider AND earlier.object = head.object AND earlier.id < head.id
);

-- name: lanes
WITH RECURSIVE each (provider) AS (
    SELECT min(provider) FROM messages WHERE state = 'queued'
    UNION ALL
    SELECT (SELECT min(provider) FROM messages WHERE state = 'queued' AND provider > each.provider) FROM each WHERE each.provider IS NOT NULL
)
SELECT provider, (SELECT min(due_at) FROM messages WHERE state = 'queued' AND messages.provider = each.provider)
FROM each WHERE provider IS NOT NULL;

-- name: hurry
UPDATE messages SET due_at = :now WHERE state = 'queued' AND provider = :provider AND due_at > :now;

-- name: queued_of
SELECT id, event, stored_at, alert, provider, payload, due_at, attempts, error, asked_at, folded
FROM messages WHERE state = 'queued' AND id > :after ORDER BY id LIMIT :limit;

-- name: count_sent
INSERT INTO senders (object, sent, last_sent_at)
SELECT sender, count(*), :now
FROM (
    SELECT provider AS sender FROM messages WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'queued'
    UNION ALL SELECT alert FROM messages WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'queued'
) AS told
GROUP BY sender
ON CONFLICT (object) DO UPDATE SET
    sent = senders.sent + excluded.sent, last_sent_at = excluded.last_sent_at, failing_since = NULL, refused = 0;

-- name: sent
UPDATE messages SET state = 'sent', error = '', ended_at = :now WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'queued';

-- name: count_failed
INSERT INTO senders (object, failed, last_error, last_error_at, failing_since, refused)
SELECT provider, 1, :error, :now, :now, :refused FROM messages WHERE id = :id AND state = 'queued'
UNION SELECT alert, 1, :error, :now, :now, :refused FROM messages WHERE id = :id AND state = 'queued'
ON CONFLICT (object) DO UPDATE SET
    failed = senders.failed + 1, last_error = excluded.last_error, last_error_at = excluded.last_error_at,
    failing_since = coalesce(senders.failing_since, excluded.failing_since), refused = excluded.refused;

-- name: retry
UPDATE messages SET attempts = attempts + 1, due_at = :at, error = :error WHERE id = :id AND state = 'queued';

-- name: count_dead
INSERT INTO senders (object, failed, dead, last_error, last_error_at)
SELECT provider, 1, 1, :error, :now FROM messages WHERE id = :id AND state = 'queued'
UNION SELECT alert, 1, 1, :error, :now FROM messages WHERE id = :id AND state = 'queued'
ON CONFLICT (object) DO UPDATE SET
    failed = senders.failed + 1, dead = senders.dead + 1, last_error = excluded.last_error, last_error_at = excluded.last_error_at;

-- name: rejected
UPDATE messages SET state = 'rejected', error = :error, ended_at = :now WHERE id = :id AND state = 'queued';

-- name: overdue
SELECT id, alert, attempts, error FROM messages WHERE state = 'queued' AND provider = :provider AND asked_at < :before ORDER BY id LIMIT 500;

-- name: foldable
SELECT object, alert, max(id), count(*), CAST(sum(folded) AS BIGINT) FROM messages
WHERE state = 'queued' AND provider = :provider AND object <> '' AND substr(object, 1, 7) <> 'all of ' GROUP BY object, alert HAVING count(*) > 1;

-- name: move_folded
UPDATE messages SET folded_into = :into
WHERE folded_into IN (
    SELECT id FROM messages WHERE state = 'queued' AND provider = :provider AND object = :object AND alert = :alert AND id < :into
);

-- name: fold
UPDATE messages SET state = 'folded', folded_into = :into, folded = 0, ended_at = :now
WHERE state = 'queued' AND provider = :provider AND object = :object AND alert = :alert AND id < :into;

-- name: folded
UPDATE messages SET folded = :folded WHERE id = :into;

-- name: count_folded
INSERT INTO senders (object, folded) VALUES (:object, :count) ON CONFLICT (object) DO UPDATE SET folded = senders.folded + excluded.folded;

-- name: folded_into
SELECT payload FROM messages WHERE folded_into = :id ORDER BY id DESC LIMIT :limit;

-- name: counts
SELECT state, count(*) FROM messages GROUP BY state;

-- name: count_queued
SELECT count(*) FROM messages WHERE state = 'queued';

-- name: count_unmatched
SELECT count(*) FROM events WHERE matched_at IS NULL;

-- name: oldest_unmatched
SELECT min(stored_at) FROM events WHERE matched_at IS NULL;
