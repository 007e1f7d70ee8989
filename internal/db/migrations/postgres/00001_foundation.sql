-- +goose Up

-- What this installation is and the keys that it keeps for itself (never credentials of people).
CREATE TABLE instance (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

-- The epoch: one row that moves in every transaction that changes who may do what.
CREATE TABLE epoch (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    value BIGINT NOT NULL,
    moved BIGINT NOT NULL DEFAULT 0
);
INSERT INTO epoch (id, value, moved) VALUES (1, 1, 0);

-- What each move of the epoch invalidates: a token, a session, a user, or all of an organization.
CREATE TABLE changes (
    epoch BIGINT NOT NULL,
    kind  TEXT COLLATE "C"    NOT NULL,
    key   TEXT COLLATE "C"    NOT NULL,
    at    BIGINT NOT NULL,
    PRIMARY KEY (epoch, kind, key)
);

CREATE TABLE users (
    id                TEXT COLLATE "C" PRIMARY KEY,
    email             TEXT COLLATE "C"    NOT NULL,
    email_key         TEXT COLLATE "C"    NOT NULL UNIQUE, -- folded, for comparison
    name              TEXT COLLATE "C"    NOT NULL,
    password_hash     TEXT COLLATE "C"    NOT NULL,
    email_verified_at BIGINT,
    created_at        BIGINT NOT NULL,
    suspended_at      BIGINT
);

-- Single-use codes of links, mailed or printed. Only digests are kept.
CREATE TABLE account_codes (
    digest     BYTEA PRIMARY KEY,
    purpose    TEXT COLLATE "C"    NOT NULL,
    user_id    TEXT COLLATE "C"    NOT NULL, -- empty for the set-up link, which comes before any user
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT,
    name          TEXT COLLATE "C" NOT NULL DEFAULT '', -- what the account gets when the link of a sign-up is opened
    password_hash TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX account_codes_by_user ON account_codes (user_id, purpose);
CREATE INDEX account_codes_by_expiry ON account_codes (expires_at);

CREATE TABLE sessions (
    id               TEXT COLLATE "C" PRIMARY KEY,
    user_id          TEXT COLLATE "C"    NOT NULL REFERENCES users (id),
    lookup_id        TEXT COLLATE "C"    NOT NULL UNIQUE,
    digest           BYTEA    NOT NULL,
    kind             TEXT COLLATE "C"    NOT NULL, -- cookie or bearer
    created_at       BIGINT NOT NULL,
    authenticated_at BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    ended_at         BIGINT,
    created_from     TEXT COLLATE "C"    NOT NULL,
    client           TEXT COLLATE "C"    NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE session_use (
    session_id   TEXT COLLATE "C" PRIMARY KEY,
    last_used_at BIGINT NOT NULL,
    address      TEXT COLLATE "C"    NOT NULL,
    client       TEXT COLLATE "C"    NOT NULL
);

-- Failed sign-ins since the last success, for each account and each source of tries (a network, or a known device).
CREATE TABLE signin_failures (
    account        TEXT COLLATE "C"    NOT NULL,
    source         TEXT COLLATE "C"    NOT NULL,
    failures       BIGINT NOT NULL,
    last_failed_at BIGINT NOT NULL,
    blocked_until  BIGINT NOT NULL,
    PRIMARY KEY (account, source)
);
CREATE INDEX signin_failures_by_time ON signin_failures (last_failed_at);

-- Browsers and programs that have signed in to an account before: their failures count apart from strangers'. Only
-- digests of their cookies are kept.
CREATE TABLE known_devices (
    user_id      TEXT COLLATE "C"    NOT NULL,
    digest       BYTEA    NOT NULL,
    last_used_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, digest)
);
CREATE INDEX known_devices_by_time ON known_devices (last_used_at);

CREATE TABLE organizations (
    id         TEXT COLLATE "C" PRIMARY KEY,
    slug       TEXT COLLATE "C"    NOT NULL UNIQUE,
    name       TEXT COLLATE "C"    NOT NULL,
    plan       TEXT COLLATE "C"    NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE memberships (
    organization_id TEXT COLLATE "C"    NOT NULL REFERENCES organizations (id),
    user_id         TEXT COLLATE "C"    NOT NULL REFERENCES users (id),
    role            TEXT COLLATE "C"    NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id, organization_id);

CREATE TABLE projects (
    organization_id TEXT COLLATE "C"    NOT NULL REFERENCES organizations (id),
    id              TEXT COLLATE "C"    NOT NULL,
    key             TEXT COLLATE "C"    NOT NULL,
    name            TEXT COLLATE "C"    NOT NULL,
    name_key        TEXT COLLATE "C"    NOT NULL, -- folded, for sorting
    description     TEXT COLLATE "C"    NOT NULL,
    status          TEXT COLLATE "C"    NOT NULL,
    visibility      TEXT COLLATE "C"    NOT NULL,
    created_by      TEXT COLLATE "C"    NOT NULL,
    created_via     TEXT COLLATE "C"    NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    version         BIGINT NOT NULL,
    deleted_at      BIGINT,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, key)
);
CREATE INDEX projects_by_creation ON projects (organization_id, created_at, id);
CREATE INDEX projects_by_deletion ON projects (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE project_members (
    organization_id TEXT COLLATE "C"    NOT NULL,
    project_id      TEXT COLLATE "C"    NOT NULL,
    user_id         TEXT COLLATE "C"    NOT NULL,
    role            TEXT COLLATE "C"    NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (organization_id, project_id, user_id),
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id),
    -- Who leaves the organization leaves its projects, and does not find them again on coming back.
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships (organization_id, user_id) ON DELETE CASCADE
);
CREATE INDEX project_members_by_user ON project_members (organization_id, user_id, project_id);

-- The last task number that each project gave out.
CREATE TABLE project_counters (
    organization_id TEXT COLLATE "C"    NOT NULL,
    project_id      TEXT COLLATE "C"    NOT NULL,
    last_number     BIGINT NOT NULL,
    PRIMARY KEY (organization_id, project_id)
);

CREATE TABLE tasks (
    organization_id TEXT COLLATE "C"    NOT NULL,
    id              TEXT COLLATE "C"    NOT NULL,
    project_id      TEXT COLLATE "C"    NOT NULL,
    number          BIGINT NOT NULL,
    title           TEXT COLLATE "C"    NOT NULL,
    title_key       TEXT COLLATE "C"    NOT NULL, -- folded, for sorting
    description     TEXT COLLATE "C"    NOT NULL,
    search_text     TEXT COLLATE "C"    NOT NULL, -- title and description, folded
    status          TEXT COLLATE "C"    NOT NULL,
    priority        BIGINT NOT NULL, -- 0 low to 3 critical
    assignee_id     TEXT COLLATE "C",
    due_on          TEXT COLLATE "C",             -- YYYY-MM-DD
    created_by      TEXT COLLATE "C"    NOT NULL,
    created_via     TEXT COLLATE "C"    NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    version         BIGINT NOT NULL,
    deleted_at      BIGINT,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, project_id, number),
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id)
);
CREATE INDEX tasks_by_project ON tasks (organization_id, project_id, created_at, id);
CREATE INDEX tasks_by_creation ON tasks (organization_id, created_at, id);
CREATE INDEX tasks_by_update ON tasks (organization_id, updated_at, id);
CREATE INDEX tasks_by_due ON tasks (organization_id, due_on, id);
CREATE INDEX tasks_by_priority ON tasks (organization_id, priority, id);
CREATE INDEX tasks_by_title ON tasks (organization_id, title_key, id);
CREATE INDEX tasks_by_assignee ON tasks (organization_id, assignee_id, created_at, id);
CREATE INDEX tasks_by_deletion ON tasks (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE comments (
    organization_id TEXT COLLATE "C"    NOT NULL,
    id              TEXT COLLATE "C"    NOT NULL,
    project_id      TEXT COLLATE "C"    NOT NULL,
    task_id         TEXT COLLATE "C"    NOT NULL,
    author_id       TEXT COLLATE "C"    NOT NULL,
    body            TEXT COLLATE "C"    NOT NULL,
    created_via     TEXT COLLATE "C"    NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    deleted_at      BIGINT,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, task_id) REFERENCES tasks (organization_id, id)
);
CREATE INDEX comments_by_task ON comments (organization_id, task_id, created_at, id);
CREATE INDEX comments_by_deletion ON comments (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE tokens (
    organization_id TEXT COLLATE "C"    NOT NULL REFERENCES organizations (id),
    id              TEXT COLLATE "C"    NOT NULL,
    user_id         TEXT COLLATE "C"    NOT NULL REFERENCES users (id),
    purpose         TEXT COLLATE "C"    NOT NULL,
    name            TEXT COLLATE "C"    NOT NULL,
    name_key        TEXT COLLATE "C"    NOT NULL, -- folded, for sorting
    scopes          BIGINT NOT NULL, -- a set of bits, access.Scopes
    restricted      BIGINT NOT NULL, -- 1: only the projects in token_projects
    kind_prefix     TEXT COLLATE "C"    NOT NULL, -- carnet_pat_ or carnet_agt_
    lookup_id       TEXT COLLATE "C"    NOT NULL, -- of the current value
    created_at      BIGINT NOT NULL,
    created_from    TEXT COLLATE "C"    NOT NULL,
    created_via     TEXT COLLATE "C"    NOT NULL, -- session id
    expires_at      BIGINT,
    rotated_at      BIGINT,
    revoked_at      BIGINT,
    revoked_by      TEXT COLLATE "C"    NOT NULL DEFAULT '',
    revoke_reason   TEXT COLLATE "C"    NOT NULL DEFAULT '',
    paused_at       BIGINT,
    client_name     TEXT COLLATE "C"    NOT NULL DEFAULT '',
    client_host     TEXT COLLATE "C"    NOT NULL DEFAULT '',
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX tokens_by_user ON tokens (user_id, id);
CREATE INDEX tokens_by_user_creation ON tokens (user_id, created_at, id);
CREATE INDEX tokens_by_end ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX tokens_by_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE token_projects (
    organization_id TEXT COLLATE "C" NOT NULL,
    token_id        TEXT COLLATE "C" NOT NULL,
    project_id      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (organization_id, token_id, project_id),
    FOREIGN KEY (organization_id, token_id) REFERENCES tokens (organization_id, id)
);

-- The values of tokens: the only global table of the verification path. A token has one, or two while a rotation's
-- grace runs; retired ones stay for a while, so that their late use can be told from a made-up value.
CREATE TABLE credentials (
    lookup_id       TEXT COLLATE "C" PRIMARY KEY,
    digest          BYTEA    NOT NULL,
    organization_id TEXT COLLATE "C"    NOT NULL,
    token_id        TEXT COLLATE "C"    NOT NULL,
    created_at      BIGINT NOT NULL,
    valid_until     BIGINT,          -- the end of a rotation's grace; null for the current value
    FOREIGN KEY (organization_id, token_id) REFERENCES tokens (organization_id, id)
);
CREATE INDEX credentials_by_token ON credentials (organization_id, token_id);

-- Uses of values after their rotation's grace ended.
CREATE TABLE credential_late_use (
    organization_id TEXT COLLATE "C"    NOT NULL,
    token_id        TEXT COLLATE "C"    NOT NULL,
    lookup_id       TEXT COLLATE "C"    NOT NULL,
    uses            BIGINT NOT NULL,
    last_used_at    BIGINT NOT NULL,
    address         TEXT COLLATE "C"    NOT NULL,
    client          TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (organization_id, token_id, lookup_id)
);

-- Last use lives apart from tokens, so that writing it touches nothing that decides.
CREATE TABLE token_use (
    organization_id TEXT COLLATE "C"    NOT NULL,
    token_id        TEXT COLLATE "C"    NOT NULL,
    last_used_at    BIGINT NOT NULL,
    address         TEXT COLLATE "C"    NOT NULL,
    client          TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (organization_id, token_id)
);

CREATE TABLE token_use_days (
    organization_id TEXT COLLATE "C"    NOT NULL,
    token_id        TEXT COLLATE "C"    NOT NULL,
    day             TEXT COLLATE "C"    NOT NULL, -- YYYY-MM-DD, UTC
    calls           BIGINT NOT NULL,
    PRIMARY KEY (organization_id, token_id, day)
);
CREATE INDEX token_use_days_by_day ON token_use_days (day);

-- What was answered to a write that carried an Idempotency-Key.
CREATE TABLE idempotency_keys (
    caller      TEXT COLLATE "C"    NOT NULL, -- token or session id
    target      TEXT COLLATE "C"    NOT NULL, -- method and path
    key         TEXT COLLATE "C"    NOT NULL,
    fingerprint BYTEA    NOT NULL, -- of the body
    outcome     TEXT COLLATE "C"    NOT NULL, -- JSON: the result, or the refusal
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (caller, target, key)
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

CREATE TABLE audit_events (
    organization_id TEXT COLLATE "C"    NOT NULL, -- empty for events of an account alone
    id              TEXT COLLATE "C"    NOT NULL,
    at              BIGINT NOT NULL,
    actor_id        TEXT COLLATE "C"    NOT NULL,
    credential_kind TEXT COLLATE "C"    NOT NULL, -- session, token, or empty
    credential_id   TEXT COLLATE "C"    NOT NULL,
    purpose         TEXT COLLATE "C"    NOT NULL,
    action          TEXT COLLATE "C"    NOT NULL,
    resource_id     TEXT COLLATE "C"    NOT NULL,
    project_id      TEXT COLLATE "C"    NOT NULL,
    outcome         TEXT COLLATE "C"    NOT NULL, -- done, allowed or denied
    reason          TEXT COLLATE "C"    NOT NULL,
    detail          TEXT COLLATE "C"    NOT NULL, -- JSON object
    request_id      TEXT COLLATE "C"    NOT NULL,
    method          TEXT COLLATE "C"    NOT NULL,
    route           TEXT COLLATE "C"    NOT NULL,
    address         TEXT COLLATE "C"    NOT NULL,
    client          TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX audit_events_by_time ON audit_events (organization_id, at);
