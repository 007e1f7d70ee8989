-- name: Credential :one
SELECT digest, organization_id, token_id, valid_until FROM credentials WHERE lookup_id = $1;

-- name: TokenGrant :one
-- Reads across the rooms' tables in one statement: the token with its user and organization as they are now.
SELECT t.organization_id, t.id, t.user_id, t.purpose, t.scopes, t.restricted, t.kind_prefix, t.expires_at, t.revoked_at, t.paused_at,
       o.slug, o.plan, u.email_verified_at, u.suspended_at, m.role
FROM tokens t
JOIN organizations o ON o.id = t.organization_id
JOIN users u ON u.id = t.user_id
LEFT JOIN memberships m ON m.organization_id = t.organization_id AND m.user_id = t.user_id
WHERE t.organization_id = $1 AND t.id = $2;

-- name: TokenProjects :many
SELECT project_id FROM token_projects WHERE organization_id = $1 AND token_id = $2;

-- name: SessionGrant :one
SELECT s.id, s.user_id, s.digest, s.created_at, s.authenticated_at, s.expires_at, s.ended_at, u.email_verified_at, u.suspended_at, l.last_used_at
FROM sessions s
JOIN users u ON u.id = s.user_id
LEFT JOIN session_use l ON l.session_id = s.id
WHERE s.lookup_id = $1;

-- name: Memberships :many
SELECT m.organization_id, m.role, o.slug, o.name, o.plan
FROM memberships m
JOIN organizations o ON o.id = m.organization_id
WHERE m.user_id = $1
ORDER BY o.slug;
