-- name: InsertClient :exec
INSERT INTO clients (id, name, redirect_uris, auth_method, secret_digest, fingerprint, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: ClientByID :one
SELECT id, name, redirect_uris, auth_method, secret_digest, created_at FROM clients WHERE id = $1;

-- name: PublicClientLike :one
-- The latest public client that registered the same.
SELECT id, created_at FROM clients WHERE fingerprint = $1 AND secret_digest IS NULL ORDER BY created_at DESC, id LIMIT 1;

-- name: TouchClient :exec
UPDATE clients SET last_used_at = $1 WHERE id = $2;

-- name: Document :one
SELECT document, fetched_at, fresh_until FROM client_documents WHERE url = $1;

-- name: KeepDocument :exec
INSERT INTO client_documents (url, document, fetched_at, fresh_until) VALUES ($1, $2, $3, $4)
ON CONFLICT (url) DO UPDATE SET document = excluded.document, fetched_at = excluded.fetched_at, fresh_until = excluded.fresh_until;

-- name: InsertRequest :exec
INSERT INTO consent_requests (digest, browser, client_id, redirect_uri, state, challenge, scopes, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: LiveRequest :one
SELECT client_id, redirect_uri, state, challenge, scopes, shown_at FROM consent_requests
WHERE digest = $1 AND browser = $2 AND expires_at > $3 AND decided_at IS NULL;

-- name: DecideRequest :execrows
UPDATE consent_requests SET decided_at = $1 WHERE digest = $2 AND browser = $3 AND expires_at > $1 AND decided_at IS NULL;

-- name: MarkShown :execrows
UPDATE consent_requests SET shown_at = $1 WHERE digest = $2 AND shown_at IS NULL;

-- name: InsertCode :exec
INSERT INTO authorization_codes (digest, client_id, redirect_uri, challenge, user_id, session_id, organization_id, name, client_name, client_host,
    scopes, projects, replaces, token_expires_at, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16);

-- name: Code :one
SELECT client_id, redirect_uri, challenge, user_id, session_id, organization_id, name, client_name, client_host, scopes, projects, replaces,
    token_expires_at, expires_at, used_at, token_id
FROM authorization_codes WHERE digest = $1;

-- name: UseCode :execrows
UPDATE authorization_codes SET used_at = $1 WHERE digest = $2 AND used_at IS NULL;

-- name: RedeemCode :exec
UPDATE authorization_codes SET token_id = $1 WHERE digest = $2;

-- name: RenewClient :exec
UPDATE clients SET created_at = $1 WHERE id = $2;
