package clients_test

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/clients"
	"carnet/internal/tokens"
)

// F2: a code has at least 128 bits that nobody can guess, and what is kept of it is a digest.
func TestF2CodesAreRandomAndKeptAsDigests(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[A-Z2-7]{26,}$`) // 5 bits each
	each(t, func(t *testing.T, w *town) {
		beginnings, symbols := map[string]bool{}, map[int]map[byte]bool{}
		for range 64 {
			code := w.approve(w.maya, nil)
			if !form.MatchString(code) || beginnings[code[:8]] {
				t.Fatalf("the code %s is short, or begins like another", code)
			}
			beginnings[code[:8]] = true
			for i := range code {
				if symbols[i] == nil {
					symbols[i] = map[byte]bool{}
				}
				symbols[i][code[i]] = true
			}
			digest := sha256.Sum256([]byte(code))
			if n := w.count(`SELECT count(*) FROM authorization_codes WHERE digest = $1`, digest[:]); n != 1 {
				t.Fatalf("%d digests of the code are kept", n)
			}
			if row := fmt.Sprint(w.rows(`SELECT * FROM authorization_codes`)); strings.Contains(row, code) {
				t.Fatal("the code itself is kept")
			}
		}
		for i, seen := range symbols { // 28 of 32 are to be expected
			if len(seen) < 16 {
				t.Errorf("place %d of codes is one of only %d symbols", i, len(seen))
			}
		}
	})
}

// F3: a consent for some projects makes a token for exactly these, one for all makes a token for all.
func TestF3AConsentForSomeProjectsReachesNoOthers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		first, second, _ := w.project("ONE"), w.project("TWO"), w.project("THREE")
		for name, projects := range map[string][]string{"one": {first}, "two": {second, first}, "all": nil} {
			f, err := w.exchange(w.approve(w.maya, func(d *clients.Decision) { d.Projects = projects }), nil)
			must(t, err)
			c := w.caller(f.AccessToken)
			want := access.Only(projects...).IDs()
			if c.Projects.Restricted() != (projects != nil) || !slices.Equal(c.Projects.IDs(), want) {
				t.Errorf("%s: the token reaches %v, not %v", name, c.Projects.IDs(), want)
			}
			if n := w.count(`SELECT count(*) FROM token_projects WHERE token_id = $1`, c.CredentialID); n != len(projects) {
				t.Errorf("%s: %d projects are kept", name, n)
			}
		}
	})
}

// F5: what a consent makes is, row by row, what the settings page makes of the same grant, but for ids, times, the value and
// what is known of the client; and both count for how many a person makes in an hour.
func TestF5ATokenIsLikeOneOfTheSettingsPage(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		days, scopes, projects := 30, []string{"tasks:write", "projects:read"}, []string{w.project("ONE"), w.project("TWO")}
		pasted, err := w.Tokens.Create(t.Context(), w.maya, tokens.Draft{Name: "Laptop", Organization: "acme", Scopes: scopes, Projects: projects, ExpiresInDays: &days, Purpose: "agent"})
		must(t, err)
		grant := func(d *clients.Decision) { d.Name, d.Scopes, d.Projects, d.Days = "Laptop", scopes, projects, days }
		fetched, err := w.exchange(w.approve(w.maya, grant), nil)
		must(t, err)
		made := w.caller(fetched.AccessToken).CredentialID
		for query, differ := range map[string][]string{
			`SELECT * FROM tokens WHERE id = $1`:                                   {"id", "lookup_id", "created_at", "expires_at", "client_name", "client_host", "client_id"},
			`SELECT * FROM token_projects WHERE token_id = $1 ORDER BY project_id`: {"token_id"},
			`SELECT * FROM credentials WHERE token_id = $1`:                        {"lookup_id", "digest", "token_id", "created_at"},
		} {
			a, b := w.rows(query, pasted.Token.ID), w.rows(query, made)
			if len(a) == 0 || len(a) != len(b) {
				t.Fatalf("%s: %d and %d rows", query, len(a), len(b))
			}
			for i := range a {
				for _, column := range differ {
					if _, there := a[i][column]; !there {
						t.Errorf("%s has no %s", query, column)
					}
					delete(a[i], column)
					delete(b[i], column)
				}
				if !reflect.DeepEqual(a[i], b[i]) {
					t.Errorf("%s: the settings page makes %v, a consent %v", query, a[i], b[i])
				}
			}
		}
		w.Tokens.CreationsPerHour = 3
		w.approveAndFetch(w.maya)
		_, err = w.exchange(w.approve(w.maya, grant), nil)
		refused(t, "a fourth in an hour", err, clients.InvalidGrant)
		if n := w.count(`SELECT count(*) FROM tokens`); n != 3 || !strings.Contains(err.Error(), "At most 3 tokens") {
			t.Errorf("%d tokens were made: %v", n, err)
		}
		w.late = time.Hour
		w.maya = w.signIn("maya")
		w.approveAndFetch(w.maya)
	})
}
