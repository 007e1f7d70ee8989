-- +goose Up

-- Every change that can alter what a cached grant says moves the epoch and says what it invalidates, whoever makes it:
-- no code path can forget. Only columns that a grant is built from count, so that ordinary work moves nothing.
--
-- Conflicts are let pass by ON CONFLICT DO NOTHING rather than OR IGNORE, which an upsert that fires the trigger would
-- overrule (SQLite: CREATE TRIGGER, section 2).

-- +goose StatementBegin
CREATE TRIGGER users_change AFTER UPDATE OF name, email, email_verified_at, suspended_at ON users
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', NEW.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER users_delete AFTER DELETE ON users
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', OLD.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER sessions_change AFTER UPDATE OF user_id, lookup_id, digest, authenticated_at, expires_at, ended_at ON sessions
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'session', NEW.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER sessions_delete AFTER DELETE ON sessions
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'session', OLD.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER organizations_change AFTER UPDATE OF slug, name, plan ON organizations
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'organization', NEW.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER organizations_delete AFTER DELETE ON organizations
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'organization', OLD.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER memberships_insert AFTER INSERT ON memberships
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', NEW.user_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER memberships_change AFTER UPDATE OF organization_id, user_id, role ON memberships
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', NEW.user_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', OLD.user_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER memberships_delete AFTER DELETE ON memberships
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', OLD.user_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER projects_insert AFTER INSERT ON projects
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'organization', NEW.organization_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER projects_change AFTER UPDATE OF organization_id, key, name, visibility, deleted_at ON projects
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'organization', NEW.organization_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'organization', OLD.organization_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER projects_delete AFTER DELETE ON projects
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'organization', OLD.organization_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER project_members_insert AFTER INSERT ON project_members
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', NEW.user_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER project_members_change AFTER UPDATE OF organization_id, project_id, user_id, role ON project_members
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', NEW.user_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', OLD.user_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER project_members_delete AFTER DELETE ON project_members
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'user', OLD.user_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tokens_change AFTER UPDATE OF organization_id, user_id, purpose, name, scopes, restricted, kind_prefix, lookup_id, expires_at, revoked_at, paused_at ON tokens
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', NEW.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tokens_delete AFTER DELETE ON tokens
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', OLD.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER token_projects_insert AFTER INSERT ON token_projects
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', NEW.token_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER token_projects_delete AFTER DELETE ON token_projects
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', OLD.token_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER token_projects_change AFTER UPDATE ON token_projects
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', NEW.token_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', OLD.token_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER credentials_change AFTER UPDATE OF lookup_id, digest, organization_id, token_id, valid_until ON credentials
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', NEW.token_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', OLD.token_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER credentials_delete AFTER DELETE ON credentials
BEGIN
    UPDATE epoch SET value = value + 1, moved = 1 WHERE moved = 0;
    INSERT INTO changes (epoch, kind, key, at)
    SELECT value, 'token', OLD.token_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM epoch WHERE true ON CONFLICT DO NOTHING;
END;
-- +goose StatementEnd
