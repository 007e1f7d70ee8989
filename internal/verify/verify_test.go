package verify_test

import (
	"context"
	"database/sql"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/lastuse"
	"carnet/internal/problem"
	"carnet/internal/storetest"
	"carnet/token"
)

func (f *fixture) check(t *testing.T, value string, want problem.Code) access.Caller {
	t.Helper()
	g, err := f.verify.Verify(context.Background(), value, lastuse.Origin{})
	if want == "" {
		if err != nil {
			t.Fatalf("verify: %v, want a grant", err)
		}
		return g.Caller
	}
	if !problem.Is(err, want) {
		t.Fatalf("verify: %v, want %s", err, want)
	}
	return access.Caller{}
}

// Every way in which authority shrinks, each against a warm cache: the very next verification sees it (P1, P6).
func TestNextVerificationSeesEveryChange(t *testing.T) {
	t.Parallel()
	past := db.Micros(time.Now().Add(-time.Minute))
	cases := map[string]struct {
		change string
		args   func(f *fixture, tokenID string) []any
		want   problem.Code
	}{
		"revoked":           {`UPDATE tokens SET revoked_at = $1 WHERE id = $2`, func(_ *fixture, id string) []any { return []any{past, id} }, problem.TokenRevoked},
		"expired":           {`UPDATE tokens SET expires_at = $1 WHERE id = $2`, func(_ *fixture, id string) []any { return []any{past, id} }, problem.TokenExpired},
		"paused":            {`UPDATE tokens SET paused_at = $1 WHERE id = $2`, func(_ *fixture, id string) []any { return []any{past, id} }, problem.TokenPaused},
		"rotated away":      {`UPDATE credentials SET valid_until = $1 WHERE token_id = $2`, func(_ *fixture, id string) []any { return []any{past, id} }, problem.TokenRevoked},
		"resting":           {`UPDATE tokens SET resting_since = $1 WHERE id = $2`, func(_ *fixture, id string) []any { return []any{past, id} }, problem.TokenInert},
		"user suspended":    {`UPDATE users SET suspended_at = $1 WHERE id = $2`, func(f *fixture, _ string) []any { return []any{past, f.user} }, problem.TokenInert},
		"member removed":    {`DELETE FROM memberships WHERE user_id = $1`, func(f *fixture, _ string) []any { return []any{f.user} }, problem.TokenInert},
		"credential erased": {`DELETE FROM credentials WHERE token_id = $1`, func(_ *fixture, id string) []any { return []any{id} }, problem.TokenInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, d *db.DB) {
				f := fixtureOn(t, d)
				tokenID := id.New(id.Token)
				value := f.token(t, tokenRow{ID: tokenID}).Reveal()
				f.check(t, value, "")
				f.check(t, value, "") // warm
				f.exec(t, c.change, c.args(f, tokenID)...)
				f.check(t, value, c.want)
			})
		})
	}
}

func TestNextVerificationHasTheLiveRoleScopesAndProjects(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		tokenID := id.New(id.Token)
		value := f.token(t, tokenRow{ID: tokenID, Projects: []string{f.project, "prj_other"}}).Reveal()
		if c := f.check(t, value, ""); c.Role != access.Member || !c.Scopes.Has(access.ScopeTasksWrite) || !c.Projects.Contains("prj_other") {
			t.Fatalf("grant at first: %+v", c)
		}
		f.exec(t, `UPDATE memberships SET role = 'guest' WHERE user_id = $1`, f.user)
		if c := f.check(t, value, ""); c.Role != access.Guest {
			t.Errorf("role after a demotion: %v, want guest", c.Role)
		}
		f.exec(t, `UPDATE tokens SET scopes = $1 WHERE id = $2`, access.ScopeSet(access.ScopeTasksRead).Bits(), tokenID)
		if c := f.check(t, value, ""); c.Scopes != access.ScopeSet(access.ScopeTasksRead) {
			t.Errorf("scopes after narrowing: %v, want tasks:read", c.Scopes)
		}
		f.exec(t, `DELETE FROM token_projects WHERE project_id = 'prj_other'`)
		if c := f.check(t, value, ""); c.Projects.Contains("prj_other") || !c.Projects.Restricted() {
			t.Errorf("projects after narrowing: %v", c.Projects.IDs())
		}
	})
}

// P6: what an organization decides about its agents holds for the very next verification, and for nobody else's.
func TestNextVerificationHasTheLiveAgentPolicy(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		agentID := id.New(id.Token)
		agent, personal := f.token(t, tokenRow{ID: agentID}).Reveal(), f.token(t, tokenRow{}).Reveal()
		f.exec(t, `UPDATE tokens SET purpose = 'agent', name = 'Scout' WHERE id = $1`, agentID)
		everything := access.AllScopes().Covers()
		for _, step := range []struct {
			change   string
			code     problem.Code
			withheld access.Permissions
			writes   int
		}{
			{`UPDATE organizations SET agents_off = 0`, "", access.PermissionSet(access.Destructive()...), 1000},
			{`UPDATE organizations SET agent_destructive = 'tasks:delete comments:delete'`, "", access.PermissionSet(access.ProjectsDelete, access.CommentsModerate), 1000},
			{`UPDATE organizations SET agent_destructive = 'comments:delete projects:burn tasks:write'`, "", access.PermissionSet(access.ProjectsDelete, access.TasksDelete, access.CommentsModerate), 1000},
			{`UPDATE organizations SET agent_scopes = 4`, "", everything &^ access.PermissionSet(access.TasksRead), 1000},
			{`UPDATE organizations SET agent_write_rate = 7`, "", everything &^ access.PermissionSet(access.TasksRead), 7},
			{`UPDATE organizations SET agent_write_rate = NULL`, "", everything &^ access.PermissionSet(access.TasksRead), 0},
			{`UPDATE organizations SET agent_scopes = 0`, "", everything, 0},
			{`UPDATE organizations SET agents_off = 1`, problem.PolicyDenied, 0, 0},
			{`UPDATE organizations SET agents_off = 0, agent_scopes = -1, agent_destructive = 'projects:delete tasks:delete comments:delete comments:moderate'`, "", 0, 0},
		} {
			f.exec(t, step.change)
			c := f.check(t, agent, step.code)
			if step.code == "" && (c.Withheld != step.withheld || c.WriteRate != step.writes || c.TokenName != "Scout" || c.Purpose != access.Agent) {
				t.Errorf("after %s: withheld %v, %d writes, named %q", step.change, c.Withheld.Names(), c.WriteRate, c.TokenName)
			}
			if c := f.check(t, personal, ""); c.Withheld != 0 || c.WriteRate != 0 {
				t.Errorf("after %s a personal token is bound: %v, %d writes", step.change, c.Withheld.Names(), c.WriteRate)
			}
			f.check(t, agent, step.code) // warm, for the next step
		}
		f.exec(t, `UPDATE tokens SET name = 'Renamed' WHERE id = $1`, agentID)
		if c := f.check(t, agent, ""); c.TokenName != "Renamed" {
			t.Errorf("a renamed agent is %q", c.TokenName)
		}
	})
}

// The state's order is revoked before expired before inert before paused.
func TestRefusalsComeInTheOrderOfStates(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		tokenID := id.New(id.Token)
		value := f.token(t, tokenRow{ID: tokenID}).Reveal()
		past := db.Micros(time.Now().Add(-time.Minute))
		f.exec(t, `UPDATE tokens SET paused_at = $1 WHERE id = $2`, past, tokenID)
		f.check(t, value, problem.TokenPaused)
		f.exec(t, `UPDATE tokens SET purpose = 'agent'`)
		f.exec(t, `UPDATE organizations SET agents_off = 1`)
		f.check(t, value, problem.PolicyDenied)
		f.exec(t, `DELETE FROM memberships WHERE user_id = $1`, f.user)
		f.check(t, value, problem.TokenInert)
		f.exec(t, `UPDATE tokens SET expires_at = $1 WHERE id = $2`, past, tokenID)
		f.check(t, value, problem.TokenExpired)
		f.exec(t, `UPDATE tokens SET revoked_at = $1 WHERE id = $2`, past, tokenID)
		f.check(t, value, problem.TokenRevoked)
	})
}

// Expiry is exact to the microsecond, and needs no event (GO-2024-2514, GO-2022-0623).
func TestExpiryIsExactOnAWarmCache(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		end := time.UnixMicro(2_000_000_000_000_000)
		value := f.token(t, tokenRow{ExpiresAt: end}).Reveal()
		f.clock = end.Add(-time.Microsecond)
		f.check(t, value, "")
		f.clock = end
		f.check(t, value, problem.TokenExpired)
		// The wall clock decides, also when it jumps back.
		f.clock = end.Add(-time.Hour)
		f.check(t, value, "")
	})
}

func TestUnknownWrongAndMalformedAnswerTheSame(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		value := f.token(t, tokenRow{}).Reveal()
		f.check(t, value, "")
		wrong := sameLookup(t, value)
		var texts []string
		for _, presented := range []string{token.Mint(token.Personal).Reveal(), wrong, "", "x", value + " ", value[:len(value)-1], "carnet_pat_", token.Mint(token.Session).Reveal()} {
			_, err := f.verify.Verify(context.Background(), presented, lastuse.Origin{})
			if !problem.Is(err, problem.TokenInvalid) {
				t.Fatalf("verify: %v, want token_invalid", err)
			}
			texts = append(texts, err.Error())
		}
		for _, text := range texts {
			if text != texts[0] {
				t.Errorf("answers differ: %q and %q", text, texts[0])
			}
		}
	})
}

// sameLookup returns a well-formed value with the lookup id of value and another secret.
func sameLookup(t *testing.T, value string) string {
	t.Helper()
	other := token.Mint(token.Personal).Reveal()
	body := value[:token.PrefixLength] + other[token.PrefixLength:len(other)-token.ChecksumLength]
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := crc32.ChecksumIEEE([]byte(body))
	checksum := make([]byte, token.ChecksumLength)
	for i := len(checksum) - 1; i >= 0; i-- {
		checksum[i] = alphabet[sum%62]
		sum /= 62
	}
	if _, err := token.Parse(body + string(checksum)); err != nil {
		t.Fatalf("the forged value is not well formed: %v", err)
	}
	return body + string(checksum)
}

// CVE-2026-46554, CVE-2026-68481: after a revocation returned, no one of many concurrent callers is accepted. The rounds
// race fills with the revocation, because the first verification of each token happens while it is being revoked.
func TestNoVerificationThatStartsAfterARevocationIsAccepted(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		const rounds, callers = 40, 8
		for range rounds {
			tokenID := id.New(id.Token)
			value := f.token(t, tokenRow{ID: tokenID}).Reveal()
			var revoked atomic.Bool
			var stop atomic.Bool
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for !stop.Load() {
						before := revoked.Load()
						_, err := f.verify.Verify(context.Background(), value, lastuse.Origin{})
						if before && err == nil {
							t.Error("accepted after the revocation had returned")
							return
						}
					}
				})
			}
			f.exec(t, `UPDATE tokens SET revoked_at = 1 WHERE id = $1`, tokenID)
			revoked.Store(true)
			f.check(t, value, problem.TokenRevoked)
			stop.Store(true)
			wg.Wait()
		}
	})
}

// A fill that was read before a change and arrives after it must not be kept.
func TestOvertakenFillIsDiscarded(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		tokenID := id.New(id.Token)
		value := f.token(t, tokenRow{ID: tokenID}).Reveal()
		before := f.verify.Stats().Discarded.Load()
		f.verify.BeforePutForTest(func() {
			f.exec(t, `UPDATE tokens SET revoked_at = 1 WHERE id = $1`, tokenID)
			// Somebody else's verification makes the cache hear of it, where the writer does not.
			if err := f.db.Fresh(t.Context()); err != nil {
				t.Error(err)
			}
		})
		f.check(t, value, "") // it began before the revocation, so either answer would be right
		f.verify.BeforePutForTest(nil)
		if got := f.verify.Stats().Discarded.Load(); got != before+1 {
			t.Errorf("discarded fills: %d, want %d", got, before+1)
		}
		f.check(t, value, problem.TokenRevoked)
	})
}

// A grant that leaves the cache for want of room is forgotten by the index of changes too, and read anew with the truth.
func TestEvictedGrantsLeaveNoTrace(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		small := f.withCache(t, 10)
		values := f.hot(t, 200)
		for _, v := range values {
			if _, err := small.Verify(context.Background(), v, lastuse.Origin{}); err != nil {
				t.Fatal(err)
			}
		}
		f.exec(t, `UPDATE tokens SET revoked_at = 1`)
		for _, v := range values {
			if _, err := small.Verify(context.Background(), v, lastuse.Origin{}); !problem.Is(err, problem.TokenRevoked) {
				t.Fatalf("verify after revoking all: %v", err)
			}
		}
	})
}

func TestLateUseOfAReplacedValueIsRefusedAndNoted(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		tokenID := id.New(id.Token)
		value := f.token(t, tokenRow{ID: tokenID})
		end := time.Now().Add(time.Hour)
		f.exec(t, `UPDATE credentials SET valid_until = $1 WHERE token_id = $2`, db.Micros(end), tokenID)
		f.check(t, value.Reveal(), "")
		f.clock = end
		f.check(t, value.Reveal(), problem.TokenRevoked)
		f.check(t, value.Reveal(), problem.TokenRevoked)
		use, ok := f.late.Last(lastuse.Key{Organization: f.organization, ID: tokenID + "/" + value.Lookup().String()})
		if !ok || use.At != end.UnixMicro() {
			t.Errorf("late use: %+v %v, want one at %d", use, ok, end.UnixMicro())
		}
		var stillValid sql.NullInt64
		if err := f.db.Read().QueryRowContext(context.Background(), `SELECT revoked_at FROM tokens WHERE id = $1`, tokenID).Scan(&stillValid); err != nil || stillValid.Valid {
			t.Errorf("the token itself was harmed: %v %v", stillValid, err)
		}
	})
}

// CVE-2022-24812 and its kind: a cache must never give one caller another's grant, whatever the mix and the cancelled
// requests between (GO-2025-3849).
func TestConcurrentVerificationsNeverMixCallers(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		f := fixtureOn(t, d)
		small := f.withCache(t, 50)
		owners := map[string]string{}
		for range 200 {
			tokenID := id.New(id.Token)
			owners[f.token(t, tokenRow{ID: tokenID}).Reveal()] = tokenID
		}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 5 {
					for value, tokenID := range owners {
						ctx, cancel := context.WithCancel(context.Background())
						if (worker+i)%3 == 0 {
							go cancel()
						}
						g, err := small.Verify(ctx, value, lastuse.Origin{})
						cancel()
						if err == nil && g.Caller.CredentialID != tokenID {
							t.Errorf("the value of %s was taken for %s", tokenID, g.Caller.CredentialID)
						}
						if err != nil && !problem.Is(err, problem.VerificationUnavailable) {
							t.Errorf("verify: %v", err)
						}
					}
				}
			})
		}
		wg.Wait()
	})
}
