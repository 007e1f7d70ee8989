-- name: Standing :one
-- A user's place in an organization, as it stands in this transaction.
SELECT o.id AS organization_id, o.slug, o.name, o.plan, o.created_at, m.role
FROM organizations o
JOIN memberships m ON m.organization_id = o.id
WHERE o.slug = $1 AND m.user_id = $2;

-- name: SessionLive :one
SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND u.suspended_at IS NULL;

-- name: EmailVerified :one
SELECT count(*) FROM users WHERE id = $1 AND email_verified_at IS NOT NULL;

-- name: Users :one
SELECT count(*) FROM users;

-- name: OrganizationBySlug :one
SELECT id, slug, name, plan, created_at FROM organizations WHERE slug = $1;

-- name: OwnedBy :one
SELECT count(*) FROM memberships WHERE user_id = $1 AND role = 'owner';

-- name: InsertOrganization :execrows
INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (slug) DO NOTHING;

-- name: SetName :exec
UPDATE organizations SET name = $1 WHERE id = $2;

-- name: SetPlan :exec
UPDATE organizations SET plan = $1 WHERE id = $2;

-- name: MemberByID :one
SELECT m.user_id, u.name, u.email, m.role, u.suspended_at
FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.organization_id = $1 AND m.user_id = $2;

-- name: InsertMember :execrows
INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (organization_id, user_id) DO NOTHING;

-- name: SetRole :exec
UPDATE memberships SET role = $1 WHERE organization_id = $2 AND user_id = $3;

-- name: DeleteMember :exec
DELETE FROM memberships WHERE organization_id = $1 AND user_id = $2;

-- name: OtherOwners :one
-- Owners besides the user who can act: a suspended one cannot.
SELECT count(*) FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.organization_id = $1 AND m.user_id <> $2 AND m.role = 'owner' AND u.suspended_at IS NULL;

-- name: OwnedSlugs :many
SELECT o.slug FROM memberships m JOIN organizations o ON o.id = m.organization_id
WHERE m.user_id = $1 AND m.role = 'owner' ORDER BY o.slug;

-- name: LastOwnerOf :many
-- The organizations that the user owns and nobody else who can act does.
SELECT o.slug FROM memberships m JOIN organizations o ON o.id = m.organization_id
WHERE m.user_id = $1 AND m.role = 'owner' AND NOT EXISTS (
    SELECT 1 FROM memberships other JOIN users u ON u.id = other.user_id
    WHERE other.organization_id = m.organization_id AND other.user_id <> m.user_id
      AND other.role = 'owner' AND u.suspended_at IS NULL)
ORDER BY o.slug;

-- name: Acquaintance :one
-- The verified user with this e-mail address, where the person asking meets them in an organization already: as more
-- than a guest, who sees everybody, or as a guest who shares a project with them.
SELECT u.id, u.name, u.email, u.suspended_at FROM users u
WHERE u.email_key = $1 AND u.email_verified_at IS NOT NULL AND EXISTS (
    SELECT 1 FROM memberships theirs JOIN memberships mine ON mine.organization_id = theirs.organization_id
    WHERE theirs.user_id = u.id AND mine.user_id = sqlc.arg(asking) AND (
        mine.role <> 'guest' OR EXISTS (
            SELECT 1 FROM project_members a
            JOIN project_members b ON b.organization_id = a.organization_id AND b.project_id = a.project_id
            JOIN projects p ON p.organization_id = a.organization_id AND p.id = a.project_id
            WHERE a.organization_id = mine.organization_id AND a.user_id = mine.user_id AND b.user_id = u.id
              AND p.deleted_at IS NULL)));

-- name: UserByEmail :one
SELECT id, suspended_at FROM users WHERE email_key = $1;

-- name: AgentPolicy :one
SELECT agents_off, agent_scopes, agent_destructive, agent_max_days, agent_write_rate FROM organizations WHERE id = $1;

-- name: SetAgentPolicy :exec
UPDATE organizations SET agents_off = $1, agent_scopes = $2, agent_destructive = $3, agent_max_days = $4, agent_write_rate = $5
WHERE id = $6;
