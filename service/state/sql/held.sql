-- What `held.py` and `notes.py` ask of state.db or PostgreSQL.

-- name: recall
SELECT body FROM notes WHERE provider = :provider AND name = :name;

-- name: remember
INSERT INTO notes (provider, name, body, kept_at) VALUES (:provider, :name, :body, :now)
ON CONFLICT (provider, name) DO UPDATE SET body = excluded.body, kept_at = excluded.kept_at;

-- name: drop_note
DELETE FROM notes WHERE provider = :provider AND name = :name;

-- name: forget_notes
DELETE FROM notes WHERE (provider, name) IN (SELECT provider, name FROM notes WHERE kept_at < :before LIMIT 20);

-- name: tell_once
INSERT INTO once (key, told_at) VALUES (:key, :now) ON CONFLICT (key) DO NOTHING;

-- name: forget_once
DELETE FROM once WHERE key IN (SELECT key FROM once WHERE told_at < :before LIMIT 20);

-- name: hold
INSERT INTO held (event, held_at, until, alert, provider, about, object, bundle, why, payload)
VALUES (
    :event, :now, coalesce((SELECT min(until) FROM held WHERE bundle = :bundle), :until),
    :alert, :provider, :about, :object, :bundle, :why, :payload
)
ON CONFLICT (event, alert) DO NOTHING;

-- name: bundles_about
SELECT DISTINCT bundle FROM held WHERE alert = :alert AND about = :about;

-- name: bundles
SELECT bundle, min(alert), min(until), count(*) FROM held GROUP BY bundle;

-- name: bundle
SELECT event, alert, provider, object, payload FROM held WHERE bundle = :bundle ORDER BY id;

-- name: release
DELETE FROM held WHERE bundle = :bundle;

-- name: held_about
SELECT held.alert, held.provider, held.why, held.until, events.json
FROM held JOIN events ON events.id = held.event
WHERE (:kind = 'Alert' AND held.alert = :key) OR (:kind = 'Provider' AND held.provider = :key) OR held.about = :about
ORDER BY held.id DESC LIMIT :limit;

-- name: held_newest
SELECT held.alert, held.provider, held.why, held.until, events.json
FROM held JOIN events ON events.id = held.event
WHERE :provider = '' OR held.provider = :provider
ORDER BY held.id DESC LIMIT :limit;
