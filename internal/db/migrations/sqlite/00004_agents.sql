-- +goose Up

-- What organizations let agents do, and what their admins see of them.

-- The agent policy. It is read with every grant of an agent's token, which is why it stands here.
ALTER TABLE organizations ADD COLUMN agents_off INTEGER NOT NULL DEFAULT 0;
ALTER TABLE organizations ADD COLUMN agent_scopes INTEGER NOT NULL DEFAULT -1; -- a set of bits, access.Scopes; -1: all that there are
ALTER TABLE organizations ADD COLUMN agent_destructive TEXT NOT NULL DEFAULT ''; -- names of permissions, separated by spaces
ALTER TABLE organizations ADD COLUMN agent_max_days INTEGER; -- null: as long as any token
ALTER TABLE organizations ADD COLUMN agent_write_rate INTEGER DEFAULT 1000; -- writes of one agent in an hour; null: any number

ALTER TABLE tokens ADD COLUMN client_id TEXT NOT NULL DEFAULT ''; -- of the registered client that an agent signed in with
ALTER TABLE tokens ADD COLUMN paused_by TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN pause_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN end_announced INTEGER NOT NULL DEFAULT 0; -- days before its end at which its owner was last told of it
CREATE INDEX tokens_by_purpose ON tokens (organization_id, purpose, created_at, id);

-- The name of the agent that made it, as it was called then; empty for people and their own tokens.
ALTER TABLE tasks ADD COLUMN agent_name TEXT NOT NULL DEFAULT '';
ALTER TABLE comments ADD COLUMN agent_name TEXT NOT NULL DEFAULT '';
CREATE INDEX comments_by_creation ON comments (organization_id, created_at, id);

-- Clients that registered themselves (RFC 7591), and the documents by which others describe themselves.
CREATE TABLE clients (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    redirect_uris TEXT NOT NULL, -- a JSON array
    auth_method   TEXT NOT NULL, -- none, client_secret_post or client_secret_basic
    secret_digest BLOB,          -- null: a public client
    fingerprint   BLOB NOT NULL, -- of what it registered
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER           -- when it last got a token
) STRICT;
CREATE INDEX clients_by_fingerprint ON clients (fingerprint);
CREATE INDEX clients_by_creation ON clients (created_at);

CREATE TABLE client_documents (
    url         TEXT PRIMARY KEY,
    document    TEXT NOT NULL,
    fetched_at  INTEGER NOT NULL,
    fresh_until INTEGER NOT NULL
) STRICT;

-- What clients ask for, while a person looks at it. Only digests of what leads to one are kept.
CREATE TABLE consent_requests (
    digest       BLOB PRIMARY KEY,
    browser      BLOB NOT NULL, -- digest of the cookie that it belongs to
    client_id    TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    state        TEXT NOT NULL,
    challenge    TEXT NOT NULL, -- S256 (RFC 7636)
    scopes       INTEGER NOT NULL, -- what was asked for, a set of bits
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    decided_at   INTEGER
) STRICT;
CREATE INDEX consent_requests_by_expiry ON consent_requests (expires_at);

-- What a person granted, until the client fetches it. Only digests of codes are kept.
CREATE TABLE authorization_codes (
    digest           BLOB PRIMARY KEY,
    client_id        TEXT NOT NULL,
    redirect_uri     TEXT NOT NULL,
    challenge        TEXT NOT NULL,
    user_id          TEXT NOT NULL,
    session_id       TEXT NOT NULL,
    organization_id  TEXT NOT NULL,
    name             TEXT NOT NULL,
    client_name      TEXT NOT NULL,
    client_host      TEXT NOT NULL,
    scopes           INTEGER NOT NULL,
    projects         TEXT NOT NULL, -- a JSON array of ids; null: not restricted
    replaces         INTEGER NOT NULL, -- 1: the client's former agents of this person here end
    token_expires_at INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    used_at          INTEGER,
    token_id         TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX authorization_codes_by_expiry ON authorization_codes (expires_at);

DROP TRIGGER organizations_change;

-- +goose StatementBegin
CREATE TRIGGER organizations_change AFTER UPDATE OF slug, name, plan, agents_off, agent_scopes, agent_destructive, agent_max_days, agent_write_rate ON organizations
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'organization', NEW.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd
