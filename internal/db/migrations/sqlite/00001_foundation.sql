-- +goose Up

-- What this installation is and the keys that it keeps for itself (never credentials of people).
CREATE TABLE instance (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

-- The epoch: one row that moves in every transaction that changes who may do what. moved is 1 from the first such
-- change of a transaction until its end, so that a transaction moves it once.
CREATE TABLE epoch (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL,
    moved INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO epoch (id, value, moved) VALUES (1, 1, 0);

-- What each move of the epoch invalidates: a token, a session, a user, or all of an organization.
CREATE TABLE changes (
    epoch INTEGER NOT NULL,
    kind  TEXT    NOT NULL,
    key   TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (epoch, kind, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id                TEXT PRIMARY KEY,
    email             TEXT    NOT NULL,
    email_key         TEXT    NOT NULL UNIQUE, -- folded, for comparison
    name              TEXT    NOT NULL,
    password_hash     TEXT    NOT NULL,
    email_verified_at INTEGER,
    created_at        INTEGER NOT NULL,
    suspended_at      INTEGER
) STRICT;

-- Single-use codes of links, mailed or printed. Only digests are kept.
CREATE TABLE account_codes (
    digest     BLOB PRIMARY KEY,
    purpose    TEXT    NOT NULL,
    user_id    TEXT    NOT NULL, -- empty for the set-up link, which comes before any user
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    name          TEXT NOT NULL DEFAULT '', -- what the account gets when the link of a sign-up is opened
    password_hash TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX account_codes_by_user ON account_codes (user_id, purpose);
CREATE INDEX account_codes_by_expiry ON account_codes (expires_at);

CREATE TABLE sessions (
    id               TEXT PRIMARY KEY,
    user_id          TEXT    NOT NULL REFERENCES users (id),
    lookup_id        TEXT    NOT NULL UNIQUE,
    digest           BLOB    NOT NULL,
    kind             TEXT    NOT NULL, -- cookie or bearer
    created_at       INTEGER NOT NULL,
    authenticated_at INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    ended_at         INTEGER,
    created_from     TEXT    NOT NULL,
    client           TEXT    NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE session_use (
    session_id   TEXT PRIMARY KEY,
    last_used_at INTEGER NOT NULL,
    address      TEXT    NOT NULL,
    client       TEXT    NOT NULL
) STRICT;

-- Failed sign-ins since the last success, for each account and each source of tries (a network, or a known device).
CREATE TABLE signin_failures (
    account        TEXT    NOT NULL,
    source         TEXT    NOT NULL,
    failures       INTEGER NOT NULL,
    last_failed_at INTEGER NOT NULL,
    blocked_until  INTEGER NOT NULL,
    PRIMARY KEY (account, source)
) STRICT;
CREATE INDEX signin_failures_by_time ON signin_failures (last_failed_at);

-- Browsers and programs that have signed in to an account before: their failures count apart from strangers'. Only
-- digests of their cookies are kept.
CREATE TABLE known_devices (
    user_id      TEXT    NOT NULL,
    digest       BLOB    NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, digest)
) STRICT;
CREATE INDEX known_devices_by_time ON known_devices (last_used_at);

CREATE TABLE organizations (
    id         TEXT PRIMARY KEY,
    slug       TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    plan       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE memberships (
    organization_id TEXT    NOT NULL REFERENCES organizations (id),
    user_id         TEXT    NOT NULL REFERENCES users (id),
    role            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (organization_id, user_id)
) STRICT;
CREATE INDEX memberships_by_user ON memberships (user_id, organization_id);

CREATE TABLE projects (
    organization_id TEXT    NOT NULL REFERENCES organizations (id),
    id              TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    name_key        TEXT    NOT NULL, -- folded, for sorting
    description     TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    visibility      TEXT    NOT NULL,
    created_by      TEXT    NOT NULL,
    created_via     TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    deleted_at      INTEGER,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, key)
) STRICT;
CREATE INDEX projects_by_creation ON projects (organization_id, created_at, id);
CREATE INDEX projects_by_deletion ON projects (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE project_members (
    organization_id TEXT    NOT NULL,
    project_id      TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    role            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (organization_id, project_id, user_id),
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id),
    -- Who leaves the organization leaves its projects, and does not find them again on coming back.
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships (organization_id, user_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX project_members_by_user ON project_members (organization_id, user_id, project_id);

-- The last task number that each project gave out.
CREATE TABLE project_counters (
    organization_id TEXT    NOT NULL,
    project_id      TEXT    NOT NULL,
    last_number     INTEGER NOT NULL,
    PRIMARY KEY (organization_id, project_id)
) STRICT;

CREATE TABLE tasks (
    organization_id TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    project_id      TEXT    NOT NULL,
    number          INTEGER NOT NULL,
    title           TEXT    NOT NULL,
    title_key       TEXT    NOT NULL, -- folded, for sorting
    description     TEXT    NOT NULL,
    search_text     TEXT    NOT NULL, -- title and description, folded
    status          TEXT    NOT NULL,
    priority        INTEGER NOT NULL, -- 0 low to 3 critical
    assignee_id     TEXT,
    due_on          TEXT,             -- YYYY-MM-DD
    created_by      TEXT    NOT NULL,
    created_via     TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    deleted_at      INTEGER,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, project_id, number),
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id)
) STRICT;
CREATE INDEX tasks_by_project ON tasks (organization_id, project_id, created_at, id);
CREATE INDEX tasks_by_creation ON tasks (organization_id, created_at, id);
CREATE INDEX tasks_by_update ON tasks (organization_id, updated_at, id);
CREATE INDEX tasks_by_due ON tasks (organization_id, due_on, id);
CREATE INDEX tasks_by_priority ON tasks (organization_id, priority, id);
CREATE INDEX tasks_by_title ON tasks (organization_id, title_key, id);
CREATE INDEX tasks_by_assignee ON tasks (organization_id, assignee_id, created_at, id);
CREATE INDEX tasks_by_deletion ON tasks (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE comments (
    organization_id TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    project_id      TEXT    NOT NULL,
    task_id         TEXT    NOT NULL,
    author_id       TEXT    NOT NULL,
    body            TEXT    NOT NULL,
    created_via     TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    deleted_at      INTEGER,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, task_id) REFERENCES tasks (organization_id, id)
) STRICT;
CREATE INDEX comments_by_task ON comments (organization_id, task_id, created_at, id);
CREATE INDEX comments_by_deletion ON comments (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE tokens (
    organization_id TEXT    NOT NULL REFERENCES organizations (id),
    id              TEXT    NOT NULL,
    user_id         TEXT    NOT NULL REFERENCES users (id),
    purpose         TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    name_key        TEXT    NOT NULL, -- folded, for sorting
    scopes          INTEGER NOT NULL, -- a set of bits, access.Scopes
    restricted      INTEGER NOT NULL, -- 1: only the projects in token_projects
    kind_prefix     TEXT    NOT NULL, -- carnet_pat_ or carnet_agt_
    lookup_id       TEXT    NOT NULL, -- of the current value
    created_at      INTEGER NOT NULL,
    created_from    TEXT    NOT NULL,
    created_via     TEXT    NOT NULL, -- session id
    expires_at      INTEGER,
    rotated_at      INTEGER,
    revoked_at      INTEGER,
    revoked_by      TEXT    NOT NULL DEFAULT '',
    revoke_reason   TEXT    NOT NULL DEFAULT '',
    paused_at       INTEGER,
    client_name     TEXT    NOT NULL DEFAULT '',
    client_host     TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX tokens_by_user ON tokens (user_id, id);
CREATE INDEX tokens_by_user_creation ON tokens (user_id, created_at, id);
CREATE INDEX tokens_by_end ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX tokens_by_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE token_projects (
    organization_id TEXT NOT NULL,
    token_id        TEXT NOT NULL,
    project_id      TEXT NOT NULL,
    PRIMARY KEY (organization_id, token_id, project_id),
    FOREIGN KEY (organization_id, token_id) REFERENCES tokens (organization_id, id)
) STRICT, WITHOUT ROWID;

-- The values of tokens: the only global table of the verification path. A token has one, or two while a rotation's
-- grace runs; retired ones stay for a while, so that their late use can be told from a made-up value.
CREATE TABLE credentials (
    lookup_id       TEXT PRIMARY KEY,
    digest          BLOB    NOT NULL,
    organization_id TEXT    NOT NULL,
    token_id        TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    valid_until     INTEGER,          -- the end of a rotation's grace; null for the current value
    FOREIGN KEY (organization_id, token_id) REFERENCES tokens (organization_id, id)
) STRICT;
CREATE INDEX credentials_by_token ON credentials (organization_id, token_id);

-- Uses of values after their rotation's grace ended.
CREATE TABLE credential_late_use (
    organization_id TEXT    NOT NULL,
    token_id        TEXT    NOT NULL,
    lookup_id       TEXT    NOT NULL,
    uses            INTEGER NOT NULL,
    last_used_at    INTEGER NOT NULL,
    address         TEXT    NOT NULL,
    client          TEXT    NOT NULL,
    PRIMARY KEY (organization_id, token_id, lookup_id)
) STRICT;

-- Last use lives apart from tokens, so that writing it touches nothing that decides.
CREATE TABLE token_use (
    organization_id TEXT    NOT NULL,
    token_id        TEXT    NOT NULL,
    last_used_at    INTEGER NOT NULL,
    address         TEXT    NOT NULL,
    client          TEXT    NOT NULL,
    PRIMARY KEY (organization_id, token_id)
) STRICT;

CREATE TABLE token_use_days (
    organization_id TEXT    NOT NULL,
    token_id        TEXT    NOT NULL,
    day             TEXT    NOT NULL, -- YYYY-MM-DD, UTC
    calls           INTEGER NOT NULL,
    PRIMARY KEY (organization_id, token_id, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX token_use_days_by_day ON token_use_days (day);

-- What was answered to a write that carried an Idempotency-Key.
CREATE TABLE idempotency_keys (
    caller      TEXT    NOT NULL, -- token or session id
    target      TEXT    NOT NULL, -- method and path
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL, -- of the body
    outcome     TEXT    NOT NULL, -- JSON: the result, or the refusal
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (caller, target, key)
) STRICT;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

CREATE TABLE audit_events (
    organization_id TEXT    NOT NULL, -- empty for events of an account alone
    id              TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    actor_id        TEXT    NOT NULL,
    credential_kind TEXT    NOT NULL, -- session, token, or empty
    credential_id   TEXT    NOT NULL,
    purpose         TEXT    NOT NULL,
    action          TEXT    NOT NULL,
    resource_id     TEXT    NOT NULL,
    project_id      TEXT    NOT NULL,
    outcome         TEXT    NOT NULL, -- done, allowed or denied
    reason          TEXT    NOT NULL,
    detail          TEXT    NOT NULL, -- JSON object
    request_id      TEXT    NOT NULL,
    method          TEXT    NOT NULL,
    route           TEXT    NOT NULL,
    address         TEXT    NOT NULL,
    client          TEXT    NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE INDEX audit_events_by_time ON audit_events (organization_id, at);
