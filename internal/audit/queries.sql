-- name: InsertEvent :exec
INSERT INTO audit_events (
    organization_id, id, at, actor_id, credential_kind, credential_id, purpose, action, resource_id, project_id,
    outcome, reason, detail, request_id, method, route, address, client
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18);

-- name: ByToken :many
-- What was done with a token, the latest first.
SELECT at, actor_id, action, resource_id, project_id, detail FROM audit_events
WHERE organization_id = sqlc.arg(organization_id) AND credential_id = sqlc.arg(token_id) AND credential_kind = 'token' AND outcome = 'done'
  AND action NOT LIKE 'token.%'
ORDER BY id DESC LIMIT sqlc.arg('limit');

-- name: OfToken :many
-- What was done to a token, the latest first.
SELECT at, actor_id, action, resource_id, project_id, detail FROM audit_events
WHERE organization_id = sqlc.arg(organization_id) AND resource_id = sqlc.arg(token_id) AND substr(resource_id, 1, 4) = 'tok_' AND outcome = 'done'
  AND action IN ('token.paused', 'token.resumed', 'token.changed')
ORDER BY id DESC LIMIT sqlc.arg('limit');
