-- +goose Up

-- Every change that can alter what a cached grant says moves the epoch and says what it invalidates, whoever makes it:
-- no code path can forget. Only columns that a grant is built from count, so that ordinary work moves nothing.
--
-- The triggers are deferred: they run inside COMMIT, so that the lock that puts the moves in order is held while the
-- server commits and never while it waits for a client.

-- The lock of the epoch. Moves take it alone; transactions that must not commit after a move that concerns them share
-- it (authority_guard). It lives in memory, is gone with the transaction, and passes a pooler in transaction mode.
-- +goose StatementBegin
CREATE FUNCTION authority_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    at_epoch BIGINT;
    at_mark  BIGINT;
BEGIN
    -- Set for this transaction alone, and taken back with a savepoint, like the move itself.
    IF coalesce(current_setting('carnet.moved', true), '') <> '1' THEN
        PERFORM pg_advisory_xact_lock(1667330670, 1);
        UPDATE epoch SET value = value + 1, prior = mark, mark = hashtextextended(gen_random_uuid()::text, 0) WHERE id = 1;
        PERFORM set_config('carnet.moved', '1', true);
    END IF;
    SELECT value, mark INTO at_epoch, at_mark FROM epoch WHERE id = 1;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO changes (epoch, mark, kind, key, at)
        VALUES (at_epoch, at_mark, TG_ARGV[0], to_jsonb(OLD) ->> TG_ARGV[1], (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
        ON CONFLICT DO NOTHING;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO changes (epoch, mark, kind, key, at)
        VALUES (at_epoch, at_mark, TG_ARGV[0], to_jsonb(NEW) ->> TG_ARGV[1], (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- Raises CA001 when anything that the caller's authority rests on (subjects, each 'kind:key') has changed since the epoch
-- at which it was verified, or when that cannot be told. Until the transaction ends, no such change can commit. It is
-- called last, in one message with COMMIT. What the transaction itself changes does not count.
-- +goose StatementBegin
CREATE FUNCTION authority_guard(verified_at BIGINT, verified_mark BIGINT, subjects TEXT[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before_epoch BIGINT;
    before_mark  BIGINT;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1667330670, 1);
    SELECT value, mark INTO before_epoch, before_mark FROM epoch WHERE id = 1;
    IF coalesce(current_setting('carnet.moved', true), '') = '1' THEN
        SELECT value - 1, prior INTO before_epoch, before_mark FROM epoch WHERE id = 1;
    END IF;
    IF before_epoch = verified_at AND before_mark = verified_mark THEN
        RETURN;
    END IF;
    IF before_epoch <= verified_at
        OR NOT EXISTS (SELECT 1 FROM changes WHERE epoch = verified_at AND mark = verified_mark)
        OR EXISTS (SELECT 1 FROM changes WHERE epoch > verified_at AND epoch <= before_epoch AND kind || ':' || key = ANY (subjects))
    THEN
        RAISE EXCEPTION 'what the caller may do changed' USING ERRCODE = 'CA001';
    END IF;
END
$$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER users_change AFTER UPDATE OF name, email, email_verified_at, suspended_at ON users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('user', 'id');

CREATE CONSTRAINT TRIGGER users_delete AFTER DELETE ON users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('user', 'id');

CREATE CONSTRAINT TRIGGER sessions_change AFTER UPDATE OF user_id, lookup_id, digest, authenticated_at, expires_at, ended_at ON sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('session', 'id');

CREATE CONSTRAINT TRIGGER sessions_delete AFTER DELETE ON sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('session', 'id');

CREATE CONSTRAINT TRIGGER organizations_change AFTER UPDATE OF slug, name, plan ON organizations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('organization', 'id');

CREATE CONSTRAINT TRIGGER organizations_delete AFTER DELETE ON organizations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('organization', 'id');

CREATE CONSTRAINT TRIGGER memberships_insert AFTER INSERT ON memberships
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('user', 'user_id');

CREATE CONSTRAINT TRIGGER memberships_change AFTER UPDATE OF organization_id, user_id, role ON memberships
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('user', 'user_id');

CREATE CONSTRAINT TRIGGER memberships_delete AFTER DELETE ON memberships
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('user', 'user_id');

CREATE CONSTRAINT TRIGGER projects_insert AFTER INSERT ON projects
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('organization', 'organization_id');

CREATE CONSTRAINT TRIGGER projects_change AFTER UPDATE OF organization_id, key, name, visibility, deleted_at ON projects
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('organization', 'organization_id');

CREATE CONSTRAINT TRIGGER projects_delete AFTER DELETE ON projects
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('organization', 'organization_id');

CREATE CONSTRAINT TRIGGER project_members_insert AFTER INSERT ON project_members
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('user', 'user_id');

CREATE CONSTRAINT TRIGGER project_members_change AFTER UPDATE OF organization_id, project_id, user_id, role ON project_members
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('user', 'user_id');

CREATE CONSTRAINT TRIGGER project_members_delete AFTER DELETE ON project_members
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('user', 'user_id');

CREATE CONSTRAINT TRIGGER tokens_change AFTER UPDATE OF organization_id, user_id, purpose, name, scopes, restricted, kind_prefix, lookup_id, expires_at, revoked_at, paused_at ON tokens
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('token', 'id');

CREATE CONSTRAINT TRIGGER tokens_delete AFTER DELETE ON tokens
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('token', 'id');

CREATE CONSTRAINT TRIGGER token_projects_insert AFTER INSERT ON token_projects
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('token', 'token_id');

CREATE CONSTRAINT TRIGGER token_projects_delete AFTER DELETE ON token_projects
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('token', 'token_id');

CREATE CONSTRAINT TRIGGER token_projects_change AFTER UPDATE ON token_projects
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('token', 'token_id');

CREATE CONSTRAINT TRIGGER credentials_change AFTER UPDATE OF lookup_id, digest, organization_id, token_id, valid_until ON credentials
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('token', 'token_id');

CREATE CONSTRAINT TRIGGER credentials_delete AFTER DELETE ON credentials
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION authority_changed('token', 'token_id');

-- TRUNCATE fires no trigger for its rows. It moves the epoch by two and says nothing of the first, which no reader takes
-- for a history without a hole: whatever is cached anywhere is dropped.
-- +goose StatementBegin
CREATE FUNCTION authority_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1667330670, 1);
    UPDATE epoch SET value = value + 2, prior = mark, mark = hashtextextended(gen_random_uuid()::text, 0) WHERE id = 1;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER users_truncate AFTER TRUNCATE ON users FOR EACH STATEMENT EXECUTE FUNCTION authority_truncated();
CREATE TRIGGER sessions_truncate AFTER TRUNCATE ON sessions FOR EACH STATEMENT EXECUTE FUNCTION authority_truncated();
CREATE TRIGGER organizations_truncate AFTER TRUNCATE ON organizations FOR EACH STATEMENT EXECUTE FUNCTION authority_truncated();
CREATE TRIGGER memberships_truncate AFTER TRUNCATE ON memberships FOR EACH STATEMENT EXECUTE FUNCTION authority_truncated();
CREATE TRIGGER projects_truncate AFTER TRUNCATE ON projects FOR EACH STATEMENT EXECUTE FUNCTION authority_truncated();
CREATE TRIGGER project_members_truncate AFTER TRUNCATE ON project_members FOR EACH STATEMENT EXECUTE FUNCTION authority_truncated();
CREATE TRIGGER tokens_truncate AFTER TRUNCATE ON tokens FOR EACH STATEMENT EXECUTE FUNCTION authority_truncated();
CREATE TRIGGER token_projects_truncate AFTER TRUNCATE ON token_projects FOR EACH STATEMENT EXECUTE FUNCTION authority_truncated();
CREATE TRIGGER credentials_truncate AFTER TRUNCATE ON credentials FOR EACH STATEMENT EXECUTE FUNCTION authority_truncated();
