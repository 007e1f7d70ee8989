-- name: InsertEvent :exec
INSERT INTO audit_events (
    organization_id, id, at, actor_id, credential_kind, credential_id, purpose, action, resource_id, project_id,
    outcome, reason, detail, request_id, method, route, address, client
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18);
