package tokens_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"carnet/internal/problem"
	"carnet/internal/tokens"
	"carnet/token"
)

// rest lets all tokens rest, as a restore does.
func (w *world) rest() {
	w.t.Helper()
	w.exec(`UPDATE tokens SET resting_since = 1`)
}

// exec changes the store past the features.
func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	w.ok(w.db.Write(w.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	}))
}

func TestRestingTokensWorkAgainOnceAnOperatorTrustsThem(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel, zoe := w.as("mel"), w.as("zoe")
		mels := w.create(mel, draft())
		zoes := w.create(zoe, tokens.Draft{Name: "Z", Organization: "zeta", Scopes: []string{"tasks:read"}})
		revoked := w.create(mel, draft())
		_, err := w.tokens.Revoke(t.Context(), mel, revoked.Token.ID)
		w.ok(err)
		w.rest()
		for _, value := range []tokens.Issued{mels, zoes} {
			if got := w.verified(value.Value.Reveal()); got != problem.TokenInert {
				t.Errorf("a resting token gets %q", got)
			}
		}
		n, err := w.tokens.Operators().TrustAll(t.Context())
		w.ok(err)
		if n != 3 {
			t.Errorf("%d tokens were trusted", n)
		}
		for value, want := range map[*token.Value]problem.Code{mels.Value: "", zoes.Value: "", revoked.Value: problem.TokenRevoked} {
			if got := w.verified(value.Reveal()); got != want {
				t.Errorf("afterwards, a token gets %q, want %q", got, want)
			}
		}
		if n := w.count(`SELECT count(*) FROM audit_events WHERE action = 'token.trusted' AND actor_id = '' AND resource_id = $1`, mels.Token.ID); n != 1 {
			t.Errorf("it was recorded %d times", n)
		}
		n, err = w.tokens.Operators().TrustAll(t.Context())
		if n != 0 || err != nil {
			t.Errorf("again, %d tokens were trusted: %v", n, err)
		}
	})
}

func TestOperatorRevokesAllTokensOrThoseOfOneOrganization(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		soon := w.now().Add(time.Hour)
		short := draft()
		short.ExpiresAt = &soon
		expired := w.create(mel, short)
		w.pass(2 * time.Hour)
		mels, agents := w.create(w.as("mel"), draft()), w.create(w.as("gus"), tokens.Draft{Name: "G", Organization: "acme", Scopes: []string{"tasks:read"}})
		zoes := w.create(w.as("zoe"), tokens.Draft{Name: "Z", Organization: "zeta", Scopes: []string{"tasks:read"}})
		states := func(want ...problem.Code) {
			t.Helper()
			for i, value := range []tokens.Issued{mels, agents, zoes, expired} {
				if got := w.verified(value.Value.Reveal()); got != want[i] {
					t.Errorf("token %d gets %q, want %q", i, got, want[i])
				}
			}
		}
		states("", "", "", problem.TokenExpired)
		_, err := w.tokens.Operators().RevokeAll(t.Context(), "nope")
		wantCode(t, "an unknown organization", err, problem.NotFound)
		states("", "", "", problem.TokenExpired)
		n, err := w.tokens.Operators().RevokeAll(t.Context(), "acme")
		if n != 2 || err != nil {
			t.Errorf("of acme, %d were revoked: %v", n, err)
		}
		states(problem.TokenRevoked, problem.TokenRevoked, "", problem.TokenExpired)
		n, err = w.tokens.Operators().RevokeAll(t.Context(), "")
		if n != 1 || err != nil {
			t.Errorf("of all, %d were revoked: %v", n, err)
		}
		states(problem.TokenRevoked, problem.TokenRevoked, problem.TokenRevoked, problem.TokenExpired)
		if n := w.count(`SELECT count(*) FROM audit_events WHERE action = 'token.revoked' AND actor_id = ''`); n != 3 {
			t.Errorf("%d revocations were recorded", n)
		}
		if n := w.count(`SELECT count(*) FROM tokens WHERE revoke_reason <> '' AND revoked_by = ''`); n != 3 {
			t.Errorf("%d tokens say why", n)
		}
	})
}

// More tokens than one transaction changes.
func TestOperatorsReachEveryTokenInManyBatches(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		one := w.create(w.as("mel"), draft())
		w.exec(`INSERT INTO tokens (organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id, created_at, created_from, created_via)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
			SELECT organization_id, 'tok_' || i, user_id, purpose, name, name_key, scopes, 0, kind_prefix, 'x', created_at, '', '' FROM tokens, n`)
		w.rest()
		n, err := w.tokens.Operators().TrustAll(t.Context())
		if n != 451 || err != nil {
			t.Errorf("%d were trusted: %v", n, err)
		}
		n, err = w.tokens.Operators().RevokeAll(t.Context(), "acme")
		if n != 451 || err != nil {
			t.Errorf("%d were revoked: %v", n, err)
		}
		if left := w.count(`SELECT count(*) FROM tokens WHERE revoked_at IS NULL OR resting_since IS NOT NULL`); left != 0 {
			t.Errorf("%d are left", left)
		}
		if got := w.verified(one.Value.Reveal()); got != problem.TokenRevoked {
			t.Errorf("one of them gets %q", got)
		}
	})
}
