-- What `outbox.py` asks in PostgreSQL's own words.

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
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
);

-- name: told_about
-- compared as JSON writes it: what others post may hold characters that PostgreSQL gives as JSON only
SELECT messages.alert, messages.provider, messages.state, messages.attempts, messages.error, messages.due_at, messages.ended_at, events.json
FROM messages JOIN events ON events.id = messages.event
WHERE messages.event > (SELECT coalesce(max(id), 0) - :window FROM events)
    AND (
        (:kind = 'Alert' AND messages.alert = :key) OR (:kind = 'Provider' AND messages.provider = :key)
        OR (CAST(CAST(events.json AS JSON) #> '{involvedObject,kind}' AS TEXT) = CAST(to_json(CAST(:kind AS TEXT)) AS TEXT)
            AND CAST(CAST(events.json AS JSON) #> '{involvedObject,namespace}' AS TEXT) = CAST(to_json(CAST(:namespace AS TEXT)) AS TEXT)
            AND CAST(CAST(events.json AS JSON) #> '{involvedObject,name}' AS TEXT) = CAST(to_json(CAST(:name AS TEXT)) AS TEXT))
    )
ORDER BY messages.id DESC LIMIT :limit;
