-- +goose Up

-- What organizations let agents do, and what their admins see of them.

-- The agent policy. It is read with every grant of an agent's token, which is why it stands here.
ALTER TABLE organizations ADD COLUMN agents_off BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organizations ADD COLUMN agent_scopes BIGINT NOT NULL DEFAULT -1; -- a set of bits, access.Scopes; -1: all that there are
ALTER TABLE organizations ADD COLUMN agent_destructive TEXT COLLATE "C" NOT NULL DEFAULT ''; -- names of permissions, separated by spaces
ALTER TABLE organizations ADD COLUMN agent_max_days BIGINT; -- null: as long as any token
ALTER TABLE organizations ADD COLUMN agent_write_rate BIGINT DEFAULT 1000; -- writes of one agent in an hour; null: any number

ALTER TABLE tokens ADD COLUMN client_id TEXT COLLATE "C" NOT NULL DEFAULT ''; -- of the registered client that an agent signed in with
ALTER TABLE tokens ADD COLUMN paused_by TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN pause_reason TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN end_announced BIGINT NOT NULL DEFAULT 0; -- days before its end at which its owner was last told of it
CREATE INDEX tokens_by_purpose ON tokens (organization_id, purpose, created_at, id);

-- The name of the agent that made it, as it was called then; empty for people and their own tokens.
ALTER TABLE tasks ADD COLUMN agent_name TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE comments ADD COLUMN agent_name TEXT COLLATE "C" NOT NULL DEFAULT '';

DROP TRIGGER organizations_change ON organizations;
CREATE CONSTRAINT TRIGGER organizations_change AFTER UPDATE OF slug, name, plan, agents_off, agent_scopes, agent_destructive, agent_max_days, agent_write_rate ON organizations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('organization', 'id');
