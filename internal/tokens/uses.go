package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/request"
	"carnet/internal/tokens/rows"
)

// useBatch is how many tokens' uses one transaction writes.
const useBatch = 500

// FlushUses writes the uses that verification collected and that are due: each token's at most once a minute, or all
// when everything is true. It is called every few seconds and at the end.
func (s *Service) FlushUses(ctx context.Context, everything bool) error {
	now := s.Now()
	return errors.Join(
		s.Uses.Flush(ctx, now, everything, useBatch, func(ctx context.Context, uses []lastuse.Use) error {
			return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
				if err := s.recordFirstUses(ctx, tx, uses); err != nil {
					return err
				}
				return writeUses(ctx, tx, uses)
			})
		}),
		s.LateUses.Flush(ctx, now, everything, useBatch, func(ctx context.Context, uses []lastuse.Use) error {
			return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error { return writeLateUses(ctx, tx, uses) })
		}))
}

// recordFirstUses records, of the tokens that are used for the first time, where that was. Two nodes that see a token's
// first uses within the same moment may both do so.
func (s *Service) recordFirstUses(ctx context.Context, tx *sql.Tx, uses []lastuse.Use) error {
	first, err := unused(ctx, tx, uses)
	if err != nil {
		return fmt.Errorf("look for tokens that were never used: %w", err)
	}
	for _, t := range first {
		i := slices.IndexFunc(uses, func(u lastuse.Use) bool { return u.Key == t.key })
		from := request.With(ctx, &request.Info{Address: uses[i].Origin.Address, Client: uses[i].Origin.Client})
		caller := access.Caller{Kind: access.TokenCaller, UserID: t.userID, Organization: t.key.Organization, CredentialID: t.key.ID, Purpose: t.purpose}
		if err := s.Audit.Record(from, tx, caller, audit.Event{Organization: t.key.Organization, Action: "token.first_used", Resource: t.key.ID}); err != nil {
			return err
		}
	}
	return nil
}

// neverUsed is a token of which no use is stored.
type neverUsed struct {
	key     lastuse.Key
	userID  string
	purpose access.Purpose
}

func unused(ctx context.Context, tx *sql.Tx, uses []lastuse.Use) (list []neverUsed, err error) {
	if len(uses) == 0 {
		return nil, nil
	}
	args := &db.Args{}
	keys := make([]string, len(uses))
	for i, u := range uses {
		keys[i] = "(" + args.Add(u.Key.Organization) + ", " + args.Add(u.Key.ID) + ")"
	}
	const (
		from = "SELECT t.organization_id, t.id, t.user_id, t.purpose FROM tokens t WHERE (t.organization_id, t.id) IN (VALUES "
		rest = ") AND NOT EXISTS (SELECT 1 FROM token_use u WHERE u.organization_id = t.organization_id AND u.token_id = t.id)"
	)
	query := from + strings.Join(keys, ", ") + rest //nolint:gosec // places of values alone
	found, err := tx.QueryContext(ctx, query, args.Values()...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var t neverUsed
		var purpose string
		if err := found.Scan(&t.key.Organization, &t.key.ID, &t.userID, &purpose); err != nil {
			return nil, err
		}
		t.purpose, _ = access.ParsePurpose(purpose)
		list = append(list, t)
	}
	return list, found.Err()
}

// RecordRefused records that a token was refused because it lacked scopes for something. Its door says how often.
func (s *Service) RecordRefused(ctx context.Context, caller access.Caller, what string, needed []string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return s.Audit.Record(ctx, tx, caller, audit.Event{
			Organization: caller.Organization, Action: "token.refused", Resource: caller.CredentialID, Outcome: audit.Denied, Reason: "scope_missing",
			Detail: map[string]any{"tool": what, "scopes": needed},
		})
	})
}

func writeUses(ctx context.Context, tx *sql.Tx, uses []lastuse.Use) error {
	var last, days [][]any
	for _, u := range uses {
		last = append(last, []any{u.Key.Organization, u.Key.ID, u.At, u.Origin.AddressText(), u.Origin.Client})
		for day, calls := range u.Calls {
			days = append(days, []any{u.Key.Organization, u.Key.ID, day, calls})
		}
	}
	// Forward only: a late batch never takes back what a later one wrote.
	err := db.Insert(ctx, tx, "token_use (organization_id, token_id, last_used_at, address, client)", `ON CONFLICT (organization_id, token_id) DO UPDATE
		SET last_used_at = excluded.last_used_at, address = excluded.address, client = excluded.client WHERE excluded.last_used_at > token_use.last_used_at`, last)
	if err != nil {
		return fmt.Errorf("write the last uses of tokens: %w", err)
	}
	err = db.Insert(ctx, tx, "token_use_days (organization_id, token_id, day, calls)",
		"ON CONFLICT (organization_id, token_id, day) DO UPDATE SET calls = token_use_days.calls + excluded.calls", days)
	if err != nil {
		return fmt.Errorf("count the calls of tokens: %w", err)
	}
	return nil
}

func writeLateUses(ctx context.Context, tx *sql.Tx, uses []lastuse.Use) error {
	var late [][]any
	for _, u := range uses {
		tokenID, lookup, _ := strings.Cut(u.Key.ID, "/")
		var calls int64
		for _, n := range u.Calls {
			calls += n
		}
		late = append(late, []any{u.Key.Organization, tokenID, lookup, calls, u.At, u.Origin.AddressText(), u.Origin.Client})
	}
	err := db.Insert(ctx, tx, "credential_late_use (organization_id, token_id, lookup_id, uses, last_used_at, address, client)",
		`ON CONFLICT (organization_id, token_id, lookup_id) DO UPDATE
		SET uses = credential_late_use.uses + excluded.uses, last_used_at = excluded.last_used_at, address = excluded.address, client = excluded.client`, late)
	if err != nil {
		return fmt.Errorf("write the late uses of tokens: %w", err)
	}
	return nil
}

// Retention of tokens that ended, and of the days on which calls are counted.
const (
	endedRetention = 90 * 24 * time.Hour
	cleanBatch     = 200
)

// Clean forgets tokens that ended more than 90 days ago, with all that belongs to them, and counts of calls that no
// page shows any more, in small batches.
func (s *Service) Clean(ctx context.Context, now time.Time) error {
	day := now.UTC().AddDate(0, 0, -activityDays-1).Format(time.DateOnly)
	err := s.DB.DeleteInBatches(ctx, `DELETE FROM token_use_days WHERE (organization_id, token_id, day) IN
		(SELECT organization_id, token_id, day FROM token_use_days WHERE day < $1 LIMIT $2)`, day)
	if err != nil {
		return fmt.Errorf("clean the calls of tokens: %w", err)
	}
	limit := sql.NullInt64{Int64: db.Micros(now.Add(-endedRetention)), Valid: true}
	for {
		var forgotten int
		err := s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			q := rows.New(tx)
			ended, err := q.LongEnded(ctx, rows.LongEndedParams{RevokedAt: limit, Limit: cleanBatch})
			if err != nil {
				return fmt.Errorf("find tokens that ended long ago: %w", err)
			}
			forgotten = len(ended)
			for _, t := range ended {
				if err := forget(ctx, q, t.OrganizationID, t.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || forgotten < cleanBatch {
			return err
		}
	}
}

func forget(ctx context.Context, q *rows.Queries, organization, tokenID string) error {
	err := errors.Join(
		q.ForgetLateUses(ctx, rows.ForgetLateUsesParams{OrganizationID: organization, TokenID: tokenID}),
		q.ForgetUse(ctx, rows.ForgetUseParams{OrganizationID: organization, TokenID: tokenID}),
		q.ForgetDays(ctx, rows.ForgetDaysParams{OrganizationID: organization, TokenID: tokenID}),
		q.DeleteTokenProjects(ctx, rows.DeleteTokenProjectsParams{OrganizationID: organization, TokenID: tokenID}),
		q.ForgetCredentials(ctx, rows.ForgetCredentialsParams{OrganizationID: organization, TokenID: tokenID}),
		q.ForgetToken(ctx, rows.ForgetTokenParams{OrganizationID: organization, ID: tokenID}))
	if err != nil {
		return fmt.Errorf("forget token %s: %w", tokenID, err)
	}
	return nil
}
