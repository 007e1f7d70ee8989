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
                    created_at, created_from, created_via, expires_at, client_name, client_host, client_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17);

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
-- A later end is announced anew.
UPDATE tokens SET name = $1, name_key = $2, scopes = $3, restricted = $4, expires_at = $5,
    end_announced = CASE WHEN expires_at IS NULL OR COALESCE($5, expires_at + 1) > expires_at THEN 0 ELSE end_announced END
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

-- name: ProjectsOfAgents :many
SELECT tp.token_id, tp.project_id FROM token_projects tp
WHERE tp.organization_id = $1 AND tp.token_id >= sqlc.arg(first) AND tp.token_id <= sqlc.arg(last)
ORDER BY tp.token_id, tp.project_id;

-- name: AgentClients :many
SELECT DISTINCT client_name FROM tokens WHERE organization_id = $1 AND purpose = 'agent' AND client_name <> '' ORDER BY client_name;

-- name: CallsSince :many
-- The calls of a user's agents by agent, on that day and after it.
SELECT d.token_id, CAST(sum(d.calls) AS bigint) AS calls FROM tokens t
JOIN token_use_days d ON d.organization_id = t.organization_id AND d.token_id = t.id
WHERE t.user_id = $1 AND t.purpose = 'agent' AND d.day >= $2
GROUP BY d.token_id;

-- name: SetPaused :execrows
UPDATE tokens SET paused_at = $1, paused_by = $2, pause_reason = $3 WHERE organization_id = $4 AND id = $5;

-- name: ShortenAgents :exec
-- Agents that would live longer than that end when they have lived for so long, those that are older now. Their owners are
-- told of the end anew.
UPDATE tokens SET end_announced = 0, expires_at = CASE WHEN created_at + CAST(sqlc.arg(life) AS bigint) > CAST(sqlc.arg(now) AS bigint)
  THEN created_at + CAST(sqlc.arg(life) AS bigint) ELSE CAST(sqlc.arg(now) AS bigint) END
WHERE organization_id = sqlc.arg(organization_id) AND purpose = 'agent' AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > created_at + CAST(sqlc.arg(life) AS bigint) AND expires_at > CAST(sqlc.arg(now) AS bigint));

-- name: EndingAgents :many
-- Agents that end before a moment and whose owners were not told so near the end.
SELECT t.organization_id, t.id, t.name, t.kind_prefix, t.lookup_id, t.client_name, t.expires_at, u.name AS user_name, u.email, o.name AS organization_name
FROM tokens t
JOIN users u ON u.id = t.user_id
JOIN organizations o ON o.id = t.organization_id
WHERE t.purpose = 'agent' AND t.expires_at > sqlc.arg(now) AND t.expires_at <= sqlc.arg(latest) AND t.revoked_at IS NULL
  AND (t.end_announced = 0 OR t.end_announced > CAST(sqlc.arg(days) AS bigint)) AND u.suspended_at IS NULL
ORDER BY t.expires_at LIMIT sqlc.arg('limit');

-- name: EndedAgents :many
-- Agents that ended since a moment and whose owners were never told that they would.
SELECT t.organization_id, t.id, t.name, t.kind_prefix, t.lookup_id, t.client_name, t.expires_at, u.name AS user_name, u.email, o.name AS organization_name
FROM tokens t
JOIN users u ON u.id = t.user_id
JOIN organizations o ON o.id = t.organization_id
WHERE t.purpose = 'agent' AND t.expires_at <= sqlc.arg(now) AND t.expires_at > sqlc.arg(since) AND t.revoked_at IS NULL
  AND t.end_announced = 0 AND u.suspended_at IS NULL
ORDER BY t.expires_at LIMIT sqlc.arg('limit');

-- name: SetEndAnnounced :execrows
UPDATE tokens SET end_announced = sqlc.arg(days) WHERE organization_id = sqlc.arg(organization_id) AND id = sqlc.arg(id)
  AND (end_announced = 0 OR end_announced > CAST(sqlc.arg(days) AS bigint));

-- name: OrganizationSlug :one
SELECT slug FROM organizations WHERE id = $1;

-- name: AgentsOfClient :many
SELECT id FROM tokens WHERE organization_id = $1 AND user_id = $2 AND client_id = $3 AND purpose = 'agent' AND revoked_at IS NULL ORDER BY id;

-- name: AgentOfValue :one
SELECT t.organization_id, t.id, t.user_id, t.client_id FROM credentials c
JOIN tokens t ON t.organization_id = c.organization_id AND t.id = c.token_id
WHERE c.lookup_id = $1 AND c.digest = $2;

-- name: CountShortened :one
-- How many agents a shorter life would end now, and how many it would end sooner or now.
SELECT CAST(COALESCE(sum(CASE WHEN created_at + CAST(sqlc.arg(life) AS bigint) <= CAST(sqlc.arg(now) AS bigint) THEN 1 ELSE 0 END), 0) AS bigint) AS ended,
  count(*) AS shortened
FROM tokens WHERE organization_id = sqlc.arg(organization_id) AND purpose = 'agent' AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > created_at + CAST(sqlc.arg(life) AS bigint) AND expires_at > CAST(sqlc.arg(now) AS bigint));
