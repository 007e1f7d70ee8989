-- name: InsertProject :execrows
-- A key belongs to one project, those in the recycle bin included.
INSERT INTO projects (organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, 1)
ON CONFLICT (organization_id, key) DO NOTHING;

-- name: KeyTaken :one
SELECT count(*) FROM projects WHERE organization_id = $1 AND key = $2 AND id <> $3;

-- name: SetProject :execrows
UPDATE projects SET key = $1, name = $2, name_key = $3, description = $4, status = $5, visibility = $6, updated_at = $7, version = version + 1
WHERE organization_id = $8 AND id = $9 AND version = sqlc.arg(seen);

-- name: SetProjectDeleted :execrows
UPDATE projects SET deleted_at = $1, updated_at = $2, version = version + 1
WHERE organization_id = $3 AND id = $4 AND version = sqlc.arg(seen);

-- name: InsertCounter :exec
INSERT INTO project_counters (organization_id, project_id, last_number) VALUES ($1, $2, 0);

-- name: NextNumber :one
-- The row stays locked to the end of the transaction, so that a number is given out once and none is left out.
UPDATE project_counters SET last_number = last_number + 1 WHERE organization_id = $1 AND project_id = $2 RETURNING last_number;

-- name: PutProjectMember :exec
INSERT INTO project_members (organization_id, project_id, user_id, role, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (organization_id, project_id, user_id) DO UPDATE SET role = excluded.role;

-- name: DeleteProjectMember :execrows
DELETE FROM project_members WHERE organization_id = $1 AND project_id = $2 AND user_id = $3;

-- name: Standing :one
-- What a user is in the organization and in one of its projects; no row for who is not a member.
SELECT m.role, COALESCE(g.role, '') AS given, u.name, u.email, u.suspended_at
FROM memberships m
JOIN users u ON u.id = m.user_id
LEFT JOIN project_members g ON g.organization_id = m.organization_id AND g.user_id = m.user_id AND g.project_id = $3
WHERE m.organization_id = $1 AND m.user_id = $2;

-- name: InsertTask :exec
INSERT INTO tasks (organization_id, id, project_id, number, title, title_key, description, search_text, status, priority, assignee_id, due_on, created_by, created_via, agent_name, created_at, updated_at, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, 1);

-- name: SetTask :execrows
UPDATE tasks SET title = $1, title_key = $2, description = $3, search_text = $4, status = $5, priority = $6, assignee_id = $7, due_on = $8, updated_at = $9, version = version + 1
WHERE organization_id = $10 AND id = $11 AND version = sqlc.arg(seen);

-- name: SetTaskDeleted :execrows
UPDATE tasks SET deleted_at = $1, updated_at = $2, version = version + 1
WHERE organization_id = $3 AND id = $4 AND version = sqlc.arg(seen);

-- name: InsertComment :exec
INSERT INTO comments (organization_id, id, project_id, task_id, author_id, body, created_via, agent_name, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9);

-- name: SetComment :exec
UPDATE comments SET body = $1, updated_at = $2 WHERE organization_id = $3 AND id = $4;

-- name: SetCommentDeleted :exec
UPDATE comments SET deleted_at = $1 WHERE organization_id = $2 AND id = $3;
