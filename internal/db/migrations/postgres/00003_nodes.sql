-- +goose Up

-- What several nodes over one store need, and what copies of a store need.

-- Tells histories apart that count alike: a new random number with every move on PostgreSQL, one for each store on
-- SQLite. prior is the mark before the move.
ALTER TABLE epoch ADD COLUMN mark BIGINT NOT NULL DEFAULT 0;
ALTER TABLE epoch ADD COLUMN prior BIGINT NOT NULL DEFAULT 0;
ALTER TABLE changes ADD COLUMN mark BIGINT NOT NULL DEFAULT 0;
CREATE INDEX changes_by_time ON changes (at);

-- Tokens of a restored backup rest until an operator says otherwise: some may have been revoked since it was made.
ALTER TABLE tokens ADD COLUMN resting_since BIGINT;

-- How much of its allowance each source of tries has used up, over all nodes: the time at which it has all of it again
-- (the generic cell rate algorithm's theoretical arrival time).
CREATE TABLE rate_limits (
    bucket     TEXT COLLATE "C" PRIMARY KEY,
    free_again BIGINT NOT NULL
);
CREATE INDEX rate_limits_by_time ON rate_limits (free_again);

UPDATE epoch SET mark = hashtextextended(gen_random_uuid()::text, 0);
INSERT INTO changes (epoch, mark, kind, key, at)
SELECT value, mark, 'start', '', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM epoch;

DROP TRIGGER tokens_change ON tokens;
CREATE CONSTRAINT TRIGGER tokens_change AFTER UPDATE OF organization_id, user_id, purpose, name, scopes, restricted, kind_prefix, lookup_id, expires_at, revoked_at, paused_at, resting_since ON tokens
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('token', 'id');

-- The oldest schema that a program may know and still work on this one: nodes of the version before go on during a
-- rolling upgrade.
INSERT INTO instance (name, value) VALUES ('oldest_schema', '3');
