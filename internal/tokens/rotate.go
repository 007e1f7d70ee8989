package tokens

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/idempotency"
	"carnet/internal/problem"
	"carnet/internal/tokens/rows"
	"carnet/token"
)

// Rotation says how long the old value lives on.
type Rotation struct {
	GraceSeconds int
	Invalid      error // what the door could not read
}

// Rotate gives one of the caller's own tokens a new value: same id, grant and expiry, another value and prefix. The old
// value dies at once, or after the grace; a value that was already in its grace dies at once. It needs a fresh sign-in.
// A token that has ended is refused with conflict.
func (s *Service) Rotate(ctx context.Context, caller access.Caller, tokenID string, rotation Rotation) (Issued, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return Issued{}, err
	}
	if _, err := s.own(ctx, s.DB.Read(), caller, tokenID); err != nil {
		return Issued{}, err
	}
	if err := s.sensitive(caller); err != nil {
		return Issued{}, err
	}
	var value *token.Value
	rotated, _, err := idempotency.Do(ctx, s.Idempotency, caller,
		func(ctx context.Context, tx *sql.Tx) error {
			value = nil // of a former try
			if err := s.DB.Hold(ctx, tx, tokenID); err != nil {
				return err
			}
			if err := s.stillSignedIn(ctx, tx, caller); err != nil {
				return err
			}
			_, err := s.own(ctx, tx, caller, tokenID)
			return err
		},
		func(ctx context.Context, tx *sql.Tx) (Token, error) {
			if rotation.Invalid != nil {
				return Token{}, rotation.Invalid
			}
			if grace := time.Duration(rotation.GraceSeconds) * time.Second; grace < 0 || grace > GraceLimit {
				return Token{}, problem.Invalid("body.grace_seconds", "must be 0 to 86400")
			}
			fresh, t, err := s.rotate(ctx, tx, caller, tokenID, rotation.GraceSeconds)
			value = &fresh
			return t, err
		})
	if err != nil {
		return Issued{}, fmt.Errorf("rotate a token: %w", err)
	}
	return Issued{Token: rotated, Value: value}, nil
}

func (s *Service) rotate(ctx context.Context, tx *sql.Tx, caller access.Caller, tokenID string, grace int) (token.Value, Token, error) {
	before, err := s.own(ctx, tx, caller, tokenID)
	if err != nil {
		return token.Value{}, Token{}, err
	}
	if err := notEnded(before); err != nil {
		return token.Value{}, Token{}, err
	}
	kind := token.Personal
	if before.purpose == access.Agent {
		kind = token.Agent
	}
	value := token.Mint(kind)
	digest := value.Digest()
	now := s.Now()
	q := rows.New(tx)
	end := func(micros int64) sql.NullInt64 { return sql.NullInt64{Int64: micros, Valid: true} }
	if err := q.EndGraces(ctx, rows.EndGracesParams{ValidUntil: end(db.Micros(now)), OrganizationID: before.organizationID, TokenID: tokenID}); err != nil {
		return token.Value{}, Token{}, fmt.Errorf("end former graces: %w", err)
	}
	err = q.RetireCurrent(ctx, rows.RetireCurrentParams{
		ValidUntil: end(db.Micros(now.Add(time.Duration(grace) * time.Second))), OrganizationID: before.organizationID, TokenID: tokenID,
	})
	if err != nil {
		return token.Value{}, Token{}, fmt.Errorf("retire the old value: %w", err)
	}
	err = q.InsertCredential(ctx, rows.InsertCredentialParams{
		LookupID: value.Lookup().String(), Digest: digest[:], OrganizationID: before.organizationID, TokenID: tokenID, CreatedAt: db.Micros(now),
	})
	if err != nil {
		return token.Value{}, Token{}, fmt.Errorf("store the credential: %w", err)
	}
	err = q.SetCurrentValue(ctx, rows.SetCurrentValueParams{
		LookupID: value.Lookup().String(), RotatedAt: end(db.Micros(now)), OrganizationID: before.organizationID, ID: tokenID,
	})
	if err != nil {
		return token.Value{}, Token{}, fmt.Errorf("store the new value: %w", err)
	}
	err = s.Audit.Record(ctx, tx, caller, audit.Event{
		Organization: before.organizationID, Action: "token.rotated", Resource: tokenID,
		Detail: map[string]any{"prefix_before": before.Prefix, "prefix": value.Prefix(), "grace_seconds": grace},
	})
	if err != nil {
		return token.Value{}, Token{}, err
	}
	t, err := s.own(ctx, tx, caller, tokenID)
	return value, t, err
}

// Receipt says that a revocation holds.
type Receipt struct {
	Token     Token     `json:"token"`
	RevokedAt time.Time `json:"revoked_at"`
	TookMS    float64   `json:"took_ms"` // from the request's arrival here until it held everywhere
}

// Revoke ends one of the caller's own tokens for good, all its values with it. When it returns, no request that starts
// afterwards is accepted with the token. It can be repeated: the first moment counts. It asks for no fresh sign-in,
// since nothing may stand in the way of stopping a leak.
func (s *Service) Revoke(ctx context.Context, caller access.Caller, tokenID string) (Receipt, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return Receipt{}, err
	}
	began := s.Now()
	var before Token // which a hold keeps as it is
	revoked, _, err := idempotency.Do(ctx, s.Idempotency, caller,
		func(ctx context.Context, tx *sql.Tx) error {
			if err := s.DB.Hold(ctx, tx, tokenID); err != nil {
				return err
			}
			var err error
			before, err = s.own(ctx, tx, caller, tokenID)
			return err
		},
		func(ctx context.Context, tx *sql.Tx) (Token, error) { return s.revoke(ctx, tx, caller, before) })
	if err != nil {
		return Receipt{}, fmt.Errorf("revoke a token: %w", err)
	}
	took := s.Now().Sub(began)
	s.RevocationSeconds.Observe(took.Seconds())
	return Receipt{Token: revoked, RevokedAt: *revoked.RevokedAt, TookMS: float64(took.Microseconds()) / 1000}, nil
}

// revoke ends a live token. It stores and reads no more than it must: until it returns, a leak goes on.
func (s *Service) revoke(ctx context.Context, tx *sql.Tx, caller access.Caller, t Token) (Token, error) {
	return s.revokeBecause(ctx, tx, caller, t, "")
}

func (s *Service) revokeBecause(ctx context.Context, tx *sql.Tx, caller access.Caller, t Token, reason string) (Token, error) {
	if t.State == Revoked {
		return t, nil
	}
	at := sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}
	changed, err := rows.New(tx).RevokeToken(ctx, rows.RevokeTokenParams{RevokedAt: at, RevokedBy: caller.UserID, RevokeReason: reason, OrganizationID: t.organizationID, ID: t.ID})
	if err != nil {
		return Token{}, fmt.Errorf("store the revocation: %w", err)
	}
	if changed == 0 {
		return s.own(ctx, tx, caller, t.ID) // an operator was faster: their moment counts
	}
	err = s.Audit.Record(ctx, tx, caller, audit.Event{
		Organization: t.organizationID, Action: "token.revoked", Resource: t.ID, Detail: map[string]any{"prefix": t.Prefix, "reason": reason},
	})
	if err != nil {
		return Token{}, err
	}
	t.State, t.RevokedAt, t.RevokedBy, t.RevokeReason = Revoked, db.NullTime(at), &caller.UserID, reason
	return t, nil
}
