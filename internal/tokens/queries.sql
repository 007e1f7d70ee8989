-- name: CreatedSince :one
SELECT count(*) FROM tokens WHERE user_id = $1 AND created_at > $2;

-- name: OldestSince :one
SELECT created_at FROM tokens WHERE user_id = $1 AND created_at > $2 ORDER BY created_at LIMIT 1;

-- name: Standing :one
-- What creating and changing a token depends on, as it stands in this transaction.
SELECT o.id AS organization_id, o.slug, o.name, o.plan, m.role, u.email_verified_at, u.suspended_at
FROM organizations o
JOIN memberships m ON m.organization_id = o.id
JOIN users u ON u.id = m.user_id
WHERE o.slug = $1 AND m.user_id = $2;

-- name: SessionLive :one
SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND u.suspended_at IS NULL;

-- name: InsertToken :exec
INSERT INTO tokens (organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id,
                    created_at, created_from, created_via, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: InsertTokenProject :exec
INSERT INTO token_projects (organization_id, token_id, project_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: InsertCredential :exec
INSERT INTO credentials (lookup_id, digest, organization_id, token_id, created_at, valid_until) VALUES ($1, $2, $3, $4, $5, NULL);

-- name: ProjectsOfTokens :many
SELECT tp.token_id, tp.project_id FROM token_projects tp
JOIN tokens t ON t.organization_id = tp.organization_id AND t.id = tp.token_id
WHERE t.user_id = $1 AND t.id >= sqlc.arg(first) AND t.id <= sqlc.arg(last)
ORDER BY tp.token_id, tp.project_id;

-- name: SetToken :exec
UPDATE tokens SET name = $1, name_key = $2, scopes = $3, restricted = $4, expires_at = $5
WHERE organization_id = $6 AND id = $7;

-- name: DeleteTokenProjects :exec
DELETE FROM token_projects WHERE organization_id = $1 AND token_id = $2;

-- name: RevokeToken :execrows
UPDATE tokens SET revoked_at = $1, revoked_by = $2, revoke_reason = $3
WHERE organization_id = $4 AND id = $5 AND revoked_at IS NULL;

-- name: RetireCurrent :exec
-- Gives the current value an end.
UPDATE credentials SET valid_until = $1
WHERE organization_id = $2 AND token_id = $3 AND valid_until IS NULL;

-- name: EndGraces :exec
UPDATE credentials SET valid_until = $1
WHERE organization_id = $2 AND token_id = $3 AND valid_until > $1;

-- name: SetCurrentValue :exec
UPDATE tokens SET lookup_id = $1, rotated_at = $2 WHERE organization_id = $3 AND id = $4;

-- name: TokenOfLookup :one
SELECT c.token_id, c.digest, t.kind_prefix FROM credentials c
JOIN tokens t ON t.organization_id = c.organization_id AND t.id = c.token_id
WHERE c.lookup_id = $1 AND t.user_id = $2;

-- name: Days :many
SELECT day, calls FROM token_use_days WHERE organization_id = $1 AND token_id = $2 AND day >= $3 ORDER BY day;

-- name: LateUses :many
SELECT lookup_id, uses, last_used_at, address, client FROM credential_late_use
WHERE organization_id = $1 AND token_id = $2 ORDER BY last_used_at DESC;

-- name: Values :many
SELECT lookup_id, created_at, valid_until FROM credentials WHERE organization_id = $1 AND token_id = $2
ORDER BY valid_until IS NOT NULL, created_at DESC, lookup_id;

-- name: LongEnded :many
SELECT organization_id, id FROM tokens WHERE revoked_at < $1 OR expires_at < $1 LIMIT $2;

-- name: ForgetLateUses :exec
DELETE FROM credential_late_use WHERE organization_id = $1 AND token_id = $2;

-- name: ForgetUse :exec
DELETE FROM token_use WHERE organization_id = $1 AND token_id = $2;

-- name: ForgetDays :exec
DELETE FROM token_use_days WHERE organization_id = $1 AND token_id = $2;

-- name: ForgetCredentials :exec
DELETE FROM credentials WHERE organization_id = $1 AND token_id = $2;

-- name: ForgetToken :exec
DELETE FROM tokens WHERE organization_id = $1 AND id = $2;

-- name: Person :one
SELECT id, name, email, email_verified_at FROM users WHERE id = $1;

-- name: OrganizationName :one
SELECT name FROM organizations WHERE id = $1;

-- name: OrganizationID :one
SELECT id FROM organizations WHERE slug = $1;

-- name: TrustToken :execrows
UPDATE tokens SET resting_since = NULL WHERE organization_id = $1 AND id = $2 AND resting_since IS NOT NULL;
