-- name: FreeAgain :one
SELECT free_again FROM rate_limits WHERE bucket = $1;

-- name: Take :execrows
-- Takes some of an allowance, and changes nothing when there is not enough.
INSERT INTO rate_limits (bucket, free_again) VALUES (sqlc.arg(bucket), CAST(sqlc.arg(now) AS bigint) + CAST(sqlc.arg(cost) AS bigint))
ON CONFLICT (bucket) DO UPDATE
SET free_again = CASE WHEN rate_limits.free_again > CAST(sqlc.arg(now) AS bigint) THEN rate_limits.free_again ELSE CAST(sqlc.arg(now) AS bigint) END + CAST(sqlc.arg(cost) AS bigint)
WHERE rate_limits.free_again <= CAST(sqlc.arg(latest) AS bigint);
