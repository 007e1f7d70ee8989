-- name: TokenGrant :one
-- All that a token's grant is made of, across the rooms' tables, with the epoch at which it is true: one statement, so
-- that it is one moment. The digest is part of the condition, so that an unknown value and a wrong one cost the same.
--
-- What is one value of one row is a query of its own rather than a join: PostgreSQL plans the statement anew each time
-- (it has no name, for the sake of poolers), and the orders of six joined tables took it 1.3 ms to compare; this takes 0.3.
SELECT CAST((SELECT value FROM epoch WHERE epoch.id = 1) AS bigint) AS epoch, CAST((SELECT mark FROM epoch WHERE epoch.id = 1) AS bigint) AS mark,
       c.digest, c.valid_until,
       t.organization_id, t.id, t.name, t.user_id, t.purpose, t.scopes, t.restricted, t.kind_prefix, t.expires_at, t.revoked_at, t.paused_at, t.resting_since,
       o.slug, o.plan, o.agents_off, o.agent_scopes, o.agent_destructive, o.agent_write_rate,
       (SELECT u.email_verified_at FROM users u WHERE u.id = t.user_id) AS email_verified_at,
       (SELECT u.suspended_at FROM users u WHERE u.id = t.user_id) AS suspended_at,
       CAST(coalesce((SELECT m.role FROM memberships m WHERE m.organization_id = t.organization_id AND m.user_id = t.user_id), '') AS text) AS role,
       CAST(coalesce((SELECT string_agg(p.project_id, ',') FROM token_projects p
                      WHERE p.organization_id = t.organization_id AND p.token_id = t.id), '') AS text) AS projects
FROM credentials c
JOIN tokens t ON t.organization_id = c.organization_id AND t.id = c.token_id
JOIN organizations o ON o.id = t.organization_id
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
