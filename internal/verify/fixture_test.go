package verify_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/lastuse"
	"carnet/internal/storetest"
	"carnet/internal/verify"
	"carnet/token"
)

// fixture is a store with one organization, one project and one member, written past the features, and a verifier.
type fixture struct {
	db           *db.DB
	verify       *verify.Service
	clock        time.Time // what the verifier takes for now, when set
	organization string
	user         string
	project      string
	uses, late   *lastuse.Tracker
}

func newFixture(tb testing.TB) *fixture {
	tb.Helper()
	return fixtureOn(tb, storetest.Open(tb))
}

func fixtureOn(tb testing.TB, d *db.DB) *fixture {
	tb.Helper()
	f := &fixture{
		db: d, organization: id.New(id.Organization), user: id.New(id.User), project: id.New(id.Project),
		uses: lastuse.New(), late: lastuse.New(),
	}
	f.verify = verify.New(verify.Config{DB: f.db, Now: f.now, TokenUses: f.uses, SessionUses: lastuse.New(), LateUses: f.late})
	f.exec(tb, `INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ($1, 'acme', 'Acme', 'team', 1)`, f.organization)
	f.exec(tb, `INSERT INTO users (id, email, email_key, name, password_hash, email_verified_at, created_at) VALUES ($1, 'ada@example.com', 'ada@example.com', 'Ada', '', 1, 1)`, f.user)
	f.exec(tb, `INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, 'member', 1)`, f.organization, f.user)
	f.exec(tb, `INSERT INTO projects (organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version)
		VALUES ($1, $2, 'APO', 'Apollo', 'apollo', '', 'active', 'organization', $3, '', 1, 1, 1)`, f.organization, f.project, f.user)
	return f
}

func (f *fixture) now() time.Time {
	if f.clock.IsZero() {
		return time.Now()
	}
	return f.clock
}

// exec writes one statement past the features, in a transaction of its own.
func (f *fixture) exec(tb testing.TB, query string, args ...any) {
	tb.Helper()
	err := f.db.Write(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		tb.Fatalf("write %q: %v", query, err)
	}
}

// tokenRow says what is special about a token.
type tokenRow struct {
	ID        string
	Scopes    access.Scopes
	ExpiresAt time.Time
	Projects  []string
}

// token writes a token and returns its value.
func (f *fixture) token(tb testing.TB, r tokenRow) token.Value {
	tb.Helper()
	return f.tokens(tb, 1, r)[0]
}

func (f *fixture) tokens(tb testing.TB, n int, r tokenRow) []token.Value {
	tb.Helper()
	var values []token.Value
	err := f.db.Write(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		for range n {
			v, err := f.insert(ctx, tx, r)
			if err != nil {
				return err
			}
			values = append(values, v)
		}
		return nil
	})
	if err != nil {
		tb.Fatalf("write tokens: %v", err)
	}
	return values
}

func (f *fixture) insert(ctx context.Context, tx *sql.Tx, r tokenRow) (token.Value, error) {
	v := token.Mint(token.Personal)
	digest := v.Digest()
	if r.ID == "" {
		r.ID = id.New(id.Token)
	}
	if r.Scopes == 0 {
		r.Scopes = access.AllScopes()
	}
	var expires any
	if !r.ExpiresAt.IsZero() {
		expires = db.Micros(r.ExpiresAt)
	}
	restricted := 0
	if r.Projects != nil {
		restricted = 1
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO tokens (organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id, created_at, created_from, created_via, expires_at)
		VALUES ($1, $2, $3, 'personal', 't', 't', $4, $5, 'carnet_pat_', $6, 1, '', '', $7)`,
		f.organization, r.ID, f.user, r.Scopes.Bits(), restricted, v.Lookup().String(), expires)
	if err != nil {
		return v, fmt.Errorf("insert token: %w", err)
	}
	for _, p := range r.Projects {
		if _, err := tx.ExecContext(ctx, `INSERT INTO token_projects VALUES ($1, $2, $3)`, f.organization, r.ID, p); err != nil {
			return v, fmt.Errorf("insert token project: %w", err)
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO credentials (lookup_id, digest, organization_id, token_id, created_at) VALUES ($1, $2, $3, $4, 1)`,
		v.Lookup().String(), digest[:], f.organization, r.ID)
	return v, err
}

// hot returns the values of n fresh tokens.
func (f *fixture) hot(tb testing.TB, n int) []string {
	tb.Helper()
	values := make([]string, 0, n)
	for _, v := range f.tokens(tb, n, tokenRow{ExpiresAt: time.Now().Add(time.Hour)}) {
		values = append(values, v.Reveal())
	}
	return values
}

// withCache returns another verifier of the same store with a cache of its own size.
func (f *fixture) withCache(tb testing.TB, size int) *verify.Service {
	tb.Helper()
	return verify.New(verify.Config{DB: f.db, Now: f.now, TokenUses: f.uses, SessionUses: lastuse.New(), LateUses: f.late, CacheSize: size})
}
