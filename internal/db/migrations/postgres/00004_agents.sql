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
CREATE INDEX comments_by_creation ON comments (organization_id, created_at, id);

-- Clients that registered themselves (RFC 7591), and the documents by which others describe themselves.
CREATE TABLE clients (
    id            TEXT COLLATE "C" PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL,
    redirect_uris TEXT COLLATE "C" NOT NULL, -- a JSON array
    auth_method   TEXT COLLATE "C" NOT NULL, -- none, client_secret_post or client_secret_basic
    secret_digest BYTEA,          -- null: a public client
    fingerprint   BYTEA NOT NULL, -- of what it registered
    created_at    BIGINT NOT NULL,
    last_used_at  BIGINT           -- when it last got a token
);
CREATE INDEX clients_by_fingerprint ON clients (fingerprint);
CREATE INDEX clients_by_creation ON clients (created_at);

CREATE TABLE client_documents (
    url         TEXT COLLATE "C" PRIMARY KEY,
    document    TEXT COLLATE "C" NOT NULL,
    fetched_at  BIGINT NOT NULL,
    fresh_until BIGINT NOT NULL
);

-- What clients ask for, while a person looks at it. Only digests of what leads to one are kept.
CREATE TABLE consent_requests (
    digest       BYTEA PRIMARY KEY,
    browser      BYTEA NOT NULL, -- digest of the cookie that it belongs to
    client_id    TEXT COLLATE "C" NOT NULL,
    redirect_uri TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    challenge    TEXT COLLATE "C" NOT NULL, -- S256 (RFC 7636)
    scopes       BIGINT NOT NULL, -- what was asked for, a set of bits
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    decided_at   BIGINT
);
CREATE INDEX consent_requests_by_expiry ON consent_requests (expires_at);

-- What a person granted, until the client fetches it. Only digests of codes are kept.
CREATE TABLE authorization_codes (
    digest           BYTEA PRIMARY KEY,
    client_id        TEXT COLLATE "C" NOT NULL,
    redirect_uri     TEXT COLLATE "C" NOT NULL,
    challenge        TEXT COLLATE "C" NOT NULL,
    user_id          TEXT COLLATE "C" NOT NULL,
    session_id       TEXT COLLATE "C" NOT NULL,
    organization_id  TEXT COLLATE "C" NOT NULL,
    name             TEXT COLLATE "C" NOT NULL,
    client_name      TEXT COLLATE "C" NOT NULL,
    client_host      TEXT COLLATE "C" NOT NULL,
    scopes           BIGINT NOT NULL,
    projects         TEXT COLLATE "C" NOT NULL, -- a JSON array of ids; null: not restricted
    replaces         BIGINT NOT NULL, -- 1: the client's former agents of this person here end
    token_expires_at BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    used_at          BIGINT,
    token_id         TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX authorization_codes_by_expiry ON authorization_codes (expires_at);

DROP TRIGGER organizations_change ON organizations;
CREATE CONSTRAINT TRIGGER organizations_change AFTER UPDATE OF slug, name, plan, agents_off, agent_scopes, agent_destructive, agent_max_days, agent_write_rate ON organizations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('organization', 'id');
