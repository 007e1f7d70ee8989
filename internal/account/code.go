package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"carnet/internal/account/rows"
	"carnet/internal/db"
	"carnet/internal/problem"
)

// verifyPurpose is that of codes that verify an e-mail address.
const verifyPurpose = "verify_email"

// codeLimit is how long a presented code may be before it is looked at.
const codeLimit = 100

// newCode returns a code of 130 bits, as people may have to type it: letters and digits without look-alikes.
func newCode() string { return rand.Text() }

func digestOf(code string) []byte {
	sum := sha256.Sum256([]byte(code))
	return sum[:]
}

// IssueCode makes a single-use code and voids the former ones of that purpose and user. Only its digest is kept.
func (s *Service) IssueCode(ctx context.Context, tx *sql.Tx, purpose, userID string, life time.Duration) (string, error) {
	if err := rows.New(tx).VoidCodes(ctx, rows.VoidCodesParams{UsedAt: s.nowOrNull(), Purpose: purpose, UserID: userID}); err != nil {
		return "", fmt.Errorf("void former codes: %w", err)
	}
	return s.issue(ctx, tx, purpose, userID, life, checkedUser{})
}

// issue makes a code that carries what an account gets when it is used.
func (s *Service) issue(ctx context.Context, tx *sql.Tx, purpose, userID string, life time.Duration, carries checkedUser) (string, error) {
	code, now := newCode(), s.Now()
	err := rows.New(tx).InsertCode(ctx, rows.InsertCodeParams{
		Digest: digestOf(code), Purpose: purpose, UserID: userID, CreatedAt: db.Micros(now), ExpiresAt: db.Micros(now.Add(life)),
		Name: carries.name, PasswordHash: carries.hash,
	})
	if err != nil {
		return "", fmt.Errorf("store a code: %w", err)
	}
	return code, nil
}

// CheckCode returns code_invalid unless the code could be consumed right now. It consumes nothing.
func (s *Service) CheckCode(ctx context.Context, purpose, code string) error {
	n, err := rows.New(s.DB.Read()).LiveCode(ctx, rows.LiveCodeParams{Digest: digestOf(short(code)), Purpose: purpose, ExpiresAt: db.Micros(s.Now())})
	if err != nil {
		return fmt.Errorf("look a code up: %w", err)
	}
	if n == 0 {
		return codeInvalid()
	}
	return nil
}

// ConsumeCode uses a code up and returns whose it is. Of many who try at once, one succeeds; the others get code_invalid,
// as does a code that is unknown, used or too old.
func (s *Service) ConsumeCode(ctx context.Context, tx *sql.Tx, purpose, code string) (userID string, err error) {
	used, err := s.consume(ctx, tx, purpose, code)
	return used.UserID, err
}

func (s *Service) consume(ctx context.Context, tx *sql.Tx, purpose, code string) (rows.UseCodeRow, error) {
	used, err := rows.New(tx).UseCode(ctx, rows.UseCodeParams{UsedAt: s.nowOrNull(), Digest: digestOf(short(code)), Purpose: purpose})
	if errors.Is(err, sql.ErrNoRows) {
		return used, codeInvalid()
	}
	if err != nil {
		return used, fmt.Errorf("use a code: %w", err)
	}
	return used, nil
}

func codeInvalid() error {
	return problem.New(problem.CodeInvalid, "The link was used already, is too old, or was replaced by a newer one. Ask for a new one.")
}

// short bounds what is hashed. No code of ours is cut by it.
func short(code string) string { return code[:min(len(code), codeLimit)] }
