-- What `letters.py` asks of state.db or PostgreSQL: single messages for people, and the state of what sends them.

-- name: list
SELECT id, stored_at, alert, provider, object, payload, state, due_at, asked_at, attempts, error, ended_at, folded, folded_into
FROM messages
WHERE (:state = '' OR state = :state) AND (:provider = '' OR provider = :provider)
ORDER BY id DESC LIMIT :limit;

-- name: show
SELECT id, stored_at, alert, provider, object, payload, state, due_at, asked_at, attempts, error, ended_at, folded, folded_into
FROM messages WHERE id = :id;

-- name: resend
UPDATE messages SET state = 'queued', due_at = :now, asked_at = :now, attempts = 0, error = '', ended_at = NULL, folded_into = NULL
WHERE id = :id AND state <> 'queued';

-- name: resend_dead
UPDATE messages SET state = 'queued', due_at = :now, asked_at = :now, attempts = 0, error = '', ended_at = NULL
WHERE state = 'rejected' AND (:provider = '' OR provider = :provider);

-- name: senders
SELECT object, sent, failed, dead, folded, last_sent_at, last_error, last_error_at, failing_since, refused, told_failing, told_dead FROM senders;

-- name: queue_lengths
SELECT provider, count(*) FROM messages WHERE state = 'queued' GROUP BY provider
UNION ALL SELECT alert, count(*) FROM messages WHERE state = 'queued' GROUP BY alert;

-- name: told
UPDATE senders SET told_failing = :failing, told_dead = :dead WHERE object = :object;

-- name: forget_sender
DELETE FROM senders WHERE object = :object;

-- name: direct_event
INSERT INTO events (stored_at, key, json, matched_at) VALUES (:now, :key, :json, :now) ON CONFLICT (key) DO NOTHING
RETURNING id;

-- name: direct_message
INSERT INTO messages (event, stored_at, alert, provider, object, payload, due_at, asked_at)
VALUES (:event, :now, :alert, :provider, :object, :payload, :now, :now);

-- name: waits_for
SELECT count(*) FROM messages WHERE state = 'queued' AND provider = :provider AND object = :object;
