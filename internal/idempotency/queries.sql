-- name: Forget :exec
-- Makes room for a key that was used too long ago to count.
DELETE FROM idempotency_keys WHERE caller = $1 AND target = $2 AND key = $3 AND created_at <= $4;

-- name: Claim :execrows
-- One of several that come at once gets the key; the others wait here for its end and then find its outcome.
INSERT INTO idempotency_keys (caller, target, key, fingerprint, outcome, created_at) VALUES ($1, $2, $3, $4, '', $5)
ON CONFLICT (caller, target, key) DO NOTHING;

-- name: Keep :exec
UPDATE idempotency_keys SET outcome = $1 WHERE caller = $2 AND target = $3 AND key = $4;

-- name: Kept :one
SELECT fingerprint, outcome FROM idempotency_keys WHERE caller = $1 AND target = $2 AND key = $3;

-- name: Release :exec
DELETE FROM idempotency_keys WHERE caller = $1 AND target = $2 AND key = $3;
