-- name: TokenGrant :one
-- All that a token's grant is made of, across the rooms' tables, with the epoch at which it is true: one statement, so
-- that it is one moment. The digest is part of the condition, so that an unknown value and a wrong one cost the same.
SELECT e.value AS epoch, e.mark, c.digest, c.valid_until,
       t.organization_id, t.id, t.user_id, t.purpose, t.scopes, t.restricted, t.kind_prefix, t.expires_at, t.revoked_at, t.paused_at, t.resting_since,
       o.slug, o.plan, u.email_verified_at, u.suspended_at, m.role,
       CAST(coalesce((SELECT string_agg(p.project_id, ',') FROM token_projects p
                      WHERE p.organization_id = t.organization_id AND p.token_id = t.id), '') AS text) AS projects
FROM credentials c
JOIN tokens t ON t.organization_id = c.organization_id AND t.id = c.token_id
JOIN organizations o ON o.id = t.organization_id
JOIN users u ON u.id = t.user_id
JOIN epoch e ON e.id = 1
LEFT JOIN memberships m ON m.organization_id = t.organization_id AND m.user_id = t.user_id
WHERE c.lookup_id = $1 AND c.digest = $2;

-- name: SessionGrant :many
-- A session's grant in the same way: one row for each membership of its user, and one in all when there is none.
SELECT e.value AS epoch, e.mark, s.digest,
       s.id, s.user_id, s.created_at, s.authenticated_at, s.expires_at, s.ended_at, u.email_verified_at, u.suspended_at, l.last_used_at,
       m.organization_id, m.role, o.slug, o.name, o.plan
FROM sessions s
JOIN users u ON u.id = s.user_id
JOIN epoch e ON e.id = 1
LEFT JOIN session_use l ON l.session_id = s.id
LEFT JOIN memberships m ON m.user_id = s.user_id
LEFT JOIN organizations o ON o.id = m.organization_id
WHERE s.lookup_id = $1 AND s.digest = $2
ORDER BY o.slug;
