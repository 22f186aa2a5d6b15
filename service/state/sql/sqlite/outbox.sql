-- What `outbox.py` asks in SQLite's own words.

-- name: forget
DELETE FROM events
WHERE id IN (
    SELECT id FROM events
    WHERE matched_at IS NOT NULL AND (id <= :newest - :keep OR stored_at < :before)
        AND NOT EXISTS (
            SELECT 1 FROM messages
            WHERE messages.event = events.id
                AND (messages.state = 'queued' OR (messages.state = 'rejected' AND messages.ended_at >= :before))
        )
        AND NOT EXISTS (SELECT 1 FROM held WHERE held.event = events.id)
    ORDER BY id LIMIT :limit
);

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
