package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/tokens/rows"
)

// Operators is what operators may do with everybody's tokens, who sit at the machine itself: without a caller, and never
// more than to stop or to start tokens that exist. What they change holds from the next request on, and is recorded for
// each token, without an actor.
type Operators struct{ s *Service }

// Operators returns what operators may do. No door that serves requests from outside has business with it.
func (s *Service) Operators() Operators { return Operators{s} }

// operatorBatch is how many tokens one transaction changes, so that nobody waits for it.
const operatorBatch = 200

// TrustAll ends the rest of all tokens that rest since a backup was restored, and returns how many there were.
func (o Operators) TrustAll(ctx context.Context) (int64, error) {
	return o.each(ctx, "resting_since IS NOT NULL", nil, func(ctx context.Context, tx *sql.Tx, organization, tokenID string) (bool, error) {
		n, err := rows.New(tx).TrustToken(ctx, rows.TrustTokenParams{OrganizationID: organization, ID: tokenID})
		if err != nil || n == 0 {
			return false, err
		}
		return true, o.s.Audit.Record(ctx, tx, access.Caller{}, audit.Event{Organization: organization, Action: "token.trusted", Resource: tokenID})
	})
}

// operatorsReason is what tokens say that an operator revoked.
const operatorsReason = "revoked with all others by an operator"

// RevokeAll revokes all tokens that have not ended, of the organization with that slug or, when it is empty, of everybody,
// and returns how many there were. An unknown slug is not_found. Tokens that are created meanwhile are not meant.
func (o Operators) RevokeAll(ctx context.Context, slug string) (int64, error) {
	now := sql.NullInt64{Int64: db.Micros(o.s.Now()), Valid: true}
	condition, args := "revoked_at IS NULL AND created_at <= $4 AND (expires_at IS NULL OR expires_at > $4)", []any{now}
	if slug != "" {
		organization, err := rows.New(o.s.DB.Read()).OrganizationID(ctx, slug)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, problem.New(problem.NotFound, "There is no organization with that slug.")
		}
		if err != nil {
			return 0, fmt.Errorf("find the organization: %w", err)
		}
		condition, args = condition+" AND organization_id = $5", append(args, organization)
	}
	return o.each(ctx, condition, args, func(ctx context.Context, tx *sql.Tx, organization, tokenID string) (bool, error) {
		n, err := rows.New(tx).RevokeToken(ctx, rows.RevokeTokenParams{RevokedAt: now, RevokeReason: operatorsReason, OrganizationID: organization, ID: tokenID})
		if err != nil || n == 0 {
			return false, err
		}
		return true, o.s.Audit.Record(ctx, tx, access.Caller{}, audit.Event{
			Organization: organization, Action: "token.revoked", Resource: tokenID, Detail: map[string]any{"reason": operatorsReason},
		})
	})
}

// each changes the tokens for which a condition holds, whose first parameter is $4, batch after batch in the order of
// their key. It returns how many were changed; on an error, those of the batches before it are.
func (o Operators) each(
	ctx context.Context, condition string, args []any, change func(ctx context.Context, tx *sql.Tx, organization, tokenID string) (bool, error),
) (changed int64, err error) {
	var last named
	for {
		var batch []named
		var count int64
		err := o.s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			batch, count = nil, 0 // of a former try
			var err error
			if batch, err = after(ctx, tx, last, condition, args); err != nil {
				return fmt.Errorf("find tokens: %w", err)
			}
			for _, t := range batch {
				done, err := change(ctx, tx, t.organization, t.id)
				if err != nil {
					return fmt.Errorf("change token %s: %w", t.id, err)
				}
				if done {
					count++
				}
			}
			return nil
		})
		if err != nil {
			return changed, err
		}
		changed += count
		if len(batch) < operatorBatch {
			return changed, nil
		}
		last = batch[len(batch)-1]
	}
}

type named struct{ organization, id string }

func after(ctx context.Context, tx *sql.Tx, last named, condition string, args []any) (batch []named, err error) {
	//nolint:gosec // the conditions are those of this file
	query := "SELECT organization_id, id FROM tokens WHERE (organization_id, id) > ($1, $2) AND " + condition + " ORDER BY organization_id, id LIMIT $3"
	found, err := tx.QueryContext(ctx, query, append([]any{last.organization, last.id, operatorBatch}, args...)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var t named
		if err := found.Scan(&t.organization, &t.id); err != nil {
			return nil, err
		}
		batch = append(batch, t)
	}
	return batch, found.Err()
}
