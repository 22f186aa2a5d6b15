-- What `outbox.py` asks of state.db.

-- name: release_key
UPDATE events SET key = key || ' until ' || id WHERE key = :key AND stored_at < :before;

-- name: add
INSERT INTO events (stored_at, key, json) VALUES (:stored_at, :key, :json) ON CONFLICT (key) DO NOTHING;

-- name: unmatched
SELECT id, key, json, stored_at FROM events WHERE matched_at IS NULL AND id > :after ORDER BY id LIMIT :limit;

-- name: match
UPDATE events SET matched_at = :now WHERE id = :event AND matched_at IS NULL;

-- name: message
INSERT INTO messages (event, stored_at, alert, provider, payload, due_at)
VALUES (:event, :now, :alert, :provider, :payload, :now) ON CONFLICT (event, alert) DO NOTHING;

-- name: due
SELECT id, event, stored_at, alert, provider, payload, due_at, attempts, error
FROM messages WHERE state = 'queued' AND due_at <= :now AND (:provider IS NULL OR provider = :provider) ORDER BY id LIMIT :limit;

-- name: lanes
SELECT provider, min(due_at) FROM messages WHERE state = 'queued' GROUP BY provider;

-- name: hurry
UPDATE messages SET due_at = :now WHERE state = 'queued' AND provider = :provider AND due_at > :now;

-- name: queued_of
SELECT id, event, stored_at, alert, provider, payload, due_at, attempts, error
FROM messages WHERE state = 'queued' AND id > :after ORDER BY id LIMIT :limit;

-- name: sent
UPDATE messages SET state = 'sent', error = '', ended_at = :now WHERE id = :id AND state = 'queued';

-- name: retry
UPDATE messages SET attempts = attempts + 1, due_at = :at, error = :error WHERE id = :id AND state = 'queued';

-- name: rejected
UPDATE messages SET state = 'rejected', error = :error, ended_at = :now WHERE id = :id AND state = 'queued';

-- name: counts
SELECT state, count(*) FROM messages GROUP BY state;

-- name: count_unmatched
SELECT count(*) FROM events WHERE matched_at IS NULL;

-- name: forget
DELETE FROM events
WHERE id IN (SELECT id FROM events ORDER BY id LIMIT 20)
    AND matched_at IS NOT NULL AND (id <= :newest - :keep OR stored_at < :before)
    AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.event = events.id AND messages.state = 'queued');

-- name: told_about
SELECT messages.alert, messages.provider, messages.state, messages.attempts, messages.error, messages.due_at, messages.ended_at, events.json
FROM messages JOIN events ON events.id = messages.event
WHERE messages.event > (SELECT coalesce(max(id), 0) - :window FROM events)
    AND (
        (:kind = 'Alert' AND messages.alert = :key) OR (:kind = 'Provider' AND messages.provider = :key)
        OR (json_extract(events.json, '$.involvedObject.kind') = :kind
            AND json_extract(events.json, '$.involvedObject.namespace') = :namespace
            AND json_extract(events.json, '$.involvedObject.name') = :name)
    )
ORDER BY messages.id DESC LIMIT :limit;
