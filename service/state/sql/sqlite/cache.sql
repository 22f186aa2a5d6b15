-- What `cache.py` asks of cache.db.

-- name: get_build
SELECT fingerprint, reads, digests FROM builds WHERE uid = :uid;

-- name: put_build
INSERT INTO builds (uid, fingerprint, reads, digests) VALUES (:uid, :fingerprint, :reads, :digests)
ON CONFLICT (uid) DO UPDATE SET fingerprint = excluded.fingerprint, reads = excluded.reads, digests = excluded.digests;

-- name: move_build
UPDATE builds SET fingerprint = :fingerprint WHERE uid = :uid;

-- name: drop
DELETE FROM builds WHERE uid = :uid;

-- name: get_managed
SELECT objects FROM managed WHERE uid = :uid;

-- name: put_managed
INSERT INTO managed (uid, objects) VALUES (:uid, :objects) ON CONFLICT (uid) DO UPDATE SET objects = excluded.objects;

-- name: drop_managed
DELETE FROM managed WHERE uid = :uid;
