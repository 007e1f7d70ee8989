-- +goose Up

-- What several nodes over one store need, and what copies of a store need.

-- Tells histories apart that count alike: a new random number with every move on PostgreSQL, one for each store on
-- SQLite. prior is the mark before the move.
ALTER TABLE epoch ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
ALTER TABLE epoch ADD COLUMN prior INTEGER NOT NULL DEFAULT 0;
ALTER TABLE changes ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
CREATE INDEX changes_by_time ON changes (at);

-- Tokens of a restored backup rest until an operator says otherwise: some may have been revoked since it was made.
ALTER TABLE tokens ADD COLUMN resting_since INTEGER;

-- How much of its allowance each source of tries has used up, over all nodes: the time at which it has all of it again
-- (the generic cell rate algorithm's theoretical arrival time).
CREATE TABLE rate_limits (
    bucket     TEXT PRIMARY KEY,
    free_again INTEGER NOT NULL
) STRICT;
CREATE INDEX rate_limits_by_time ON rate_limits (free_again);

UPDATE epoch SET mark = random();

DROP TRIGGER tokens_change;

-- +goose StatementBegin
CREATE TRIGGER tokens_change AFTER UPDATE OF organization_id, user_id, purpose, name, scopes, restricted, kind_prefix, lookup_id, expires_at, revoked_at, paused_at, resting_since ON tokens
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', NEW.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd
