-- name: InsertUser :exec
INSERT INTO users (id, email, email_key, name, password_hash, email_verified_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: UserByEmail :one
SELECT id, email, name, password_hash, email_verified_at, created_at, suspended_at FROM users WHERE email_key = $1;

-- name: UserByID :one
SELECT id, email, name, password_hash, email_verified_at, created_at, suspended_at FROM users WHERE id = $1;

-- name: AnyUser :one
SELECT count(*) FROM (SELECT 1 FROM users LIMIT 1) found;

-- name: VerifyUser :execrows
UPDATE users SET email_verified_at = $1 WHERE id = $2 AND email_verified_at IS NULL;

-- name: SetNameAndPassword :exec
UPDATE users SET name = $1, password_hash = $2 WHERE id = $3;

-- name: SetName :exec
UPDATE users SET name = $1 WHERE id = $2;

-- name: SetPassword :exec
UPDATE users SET password_hash = $1 WHERE id = $2;

-- name: SuspendUser :execrows
UPDATE users SET suspended_at = $1 WHERE id = $2 AND suspended_at IS NULL;

-- name: RestoreUser :execrows
UPDATE users SET suspended_at = NULL WHERE id = $1 AND suspended_at IS NOT NULL;

-- name: InsertCode :exec
INSERT INTO account_codes (digest, purpose, user_id, created_at, expires_at, name, password_hash) VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: VoidCodes :exec
UPDATE account_codes SET used_at = $1 WHERE purpose = $2 AND user_id = $3 AND used_at IS NULL;

-- name: UseCode :one
UPDATE account_codes SET used_at = $1 WHERE digest = $2 AND purpose = $3 AND used_at IS NULL AND expires_at > $1
RETURNING user_id, name, password_hash;

-- name: LiveCode :one
SELECT count(*) FROM account_codes WHERE digest = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3;

-- name: LastCode :one
SELECT coalesce(max(created_at), 0) AS created_at FROM account_codes WHERE purpose = $1 AND user_id = $2;

-- name: InsertSession :exec
INSERT INTO sessions (id, user_id, lookup_id, digest, kind, created_at, authenticated_at, expires_at, created_from, client)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: EndSession :execrows
UPDATE sessions SET ended_at = $1 WHERE id = $2 AND user_id = $3 AND ended_at IS NULL AND expires_at > $1;

-- name: EndOtherSessions :execrows
UPDATE sessions SET ended_at = $1 WHERE user_id = $2 AND id <> $3 AND ended_at IS NULL;

-- name: LiveSession :one
SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND u.suspended_at IS NULL;

-- name: Authenticated :execrows
UPDATE sessions SET authenticated_at = $1 WHERE id = $2 AND user_id = $3 AND ended_at IS NULL;

-- name: Failures :one
SELECT failures, last_failed_at, blocked_until FROM signin_failures WHERE account = $1 AND source = $2;

-- name: RecordFailure :exec
INSERT INTO signin_failures (account, source, failures, last_failed_at, blocked_until) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (account, source) DO UPDATE
SET failures = excluded.failures, last_failed_at = excluded.last_failed_at, blocked_until = excluded.blocked_until;

-- name: ForgetFailures :exec
DELETE FROM signin_failures WHERE account = $1 AND source = $2;

-- name: InsertDevice :exec
INSERT INTO known_devices (user_id, digest, last_used_at) VALUES ($1, $2, $3)
ON CONFLICT (user_id, digest) DO UPDATE SET last_used_at = excluded.last_used_at;

-- name: KnownDevice :one
SELECT count(*) FROM known_devices WHERE user_id = $1 AND digest = $2;
