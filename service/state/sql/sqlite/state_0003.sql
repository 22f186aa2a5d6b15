-- Schema 3 of state.db: when the runs were that a delivery caused, and what a replay repeats.

-- name: deliveries_replay_of
ALTER TABLE deliveries ADD COLUMN replay_of INTEGER;

-- name: targets_began
ALTER TABLE targets ADD COLUMN began_at INTEGER;

-- name: targets_ended
ALTER TABLE targets ADD COLUMN ended_at INTEGER;
