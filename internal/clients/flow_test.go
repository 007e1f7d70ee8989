package clients_test

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/clients"
	"carnet/internal/house"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

func asError(err error, into **clients.Error) bool { return errors.As(err, into) }

// D1 to D3, D5: what a client registers holds, and the same client is one row.
func TestD1ToD5Registration(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		cursor := clients.Registration{Name: " \u200bCur\u00adsor\u202e\n\u3000", RedirectURIs: []string{"cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"}, Scope: "tasks:read admin openid", ApplicationType: "native"}
		first, err := w.Clients.Register(t.Context(), cursor)
		must(t, err)
		second, err := w.Clients.Register(t.Context(), cursor)
		must(t, err)
		if first.ID != second.ID || !strings.HasPrefix(first.ID, "cli_") || first.Secret != "" || first.AuthMethod != "none" || first.Name != "Cursor" || first.Scope != "tasks:read" || first.GrantTypes[0] != "authorization_code" || len(first.GrantTypes) != 1 || first.IssuedAt == 0 {
			t.Errorf("registered %+v, then %+v", first, second)
		}
		for _, method := range []string{"client_secret_post", "client_secret_basic"} {
			a, err := w.Clients.Register(t.Context(), clients.Registration{RedirectURIs: []string{"https://chatgpt.com/connector/oauth/x"}, Name: "\u200b\u3164", AuthMethod: method})
			must(t, err)
			b, err := w.Clients.Register(t.Context(), clients.Registration{RedirectURIs: []string{"https://chatgpt.com/connector/oauth/x"}, AuthMethod: method})
			must(t, err)
			if len(a.Secret) < 26 || a.Secret == b.Secret || a.ID == b.ID || a.SecretExpiresAt == nil || a.Name != "Unnamed client" {
				t.Errorf("%s: %+v", method, a)
			}
			if n := w.count(`SELECT count(*) FROM clients WHERE id = $1 AND secret_digest IS NOT NULL`, a.ID); n != 1 {
				t.Errorf("%s: no digest is kept", method)
			}
		}
		for _, uris := range [][]string{nil, {"javascript:alert(1)"}, {callback, "http://evil.example/cb"}, make([]string, 21)} {
			_, err := w.Clients.Register(t.Context(), clients.Registration{RedirectURIs: uris})
			refused(t, "bad redirect URIs", err, clients.InvalidRedirectURI)
		}
		_, err = w.Clients.Register(t.Context(), clients.Registration{RedirectURIs: []string{callback}, AuthMethod: "private_key_jwt"})
		refused(t, "an unknown method", err, clients.InvalidClientMetadata)

		// Who never gets a token is forgotten after a day, who has one that lives is not.
		w.approveAndFetch(w.maya)
		w.late += 25 * time.Hour
		must(t, w.Clients.Clean(t.Context(), w.Clients.Now()))
		if n := w.count(`SELECT count(*) FROM clients`); n != 1 {
			t.Errorf("%d clients are left", n)
		}
		w.late += 100 * 24 * time.Hour
		w.execute(`UPDATE tokens SET expires_at = NULL`)
		must(t, w.Clients.Clean(t.Context(), w.Clients.Now()))
		if n := w.count(`SELECT count(*) FROM clients`); n != 1 {
			t.Error("a client whose token lives was forgotten")
		}
		w.execute(`UPDATE tokens SET revoked_at = 1`)
		must(t, w.Clients.Clean(t.Context(), w.Clients.Now()))
		if n := w.count(`SELECT count(*) FROM clients`) + w.count(`SELECT count(*) FROM consent_requests`) + w.count(`SELECT count(*) FROM authorization_codes`); n != 0 {
			t.Errorf("%d rows are left of what is long over", n)
		}
	})
}

func (w *town) approveAndFetch(who access.Caller) clients.Fetched {
	w.t.Helper()
	f, err := w.exchange(w.approve(who, nil), nil)
	must(w.t, err)
	return f
}

// E1, D8: until client and redirect URI belong together, nobody is sent anywhere.
func TestE1NobodyIsSentToAnAddressThatIsNotTheClients(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		for _, changes := range [][]string{
			{"client_id", ""}, {"client_id", "cli_00000000000000000000000000"}, {"client_id", "x"}, {"client_id", "https://claude.ai/oauth/claude-code-client-metadata"},
			{"redirect_uri", ""}, {"redirect_uri", "https://evil.example/cb"}, {"redirect_uri", "http://127.0.0.1:3118/callback/"}, {"redirect_uri", "http://localhost:3118/callback"},
		} {
			b, err := w.Clients.Begin(t.Context(), w.query(changes...), browser)
			if !problem.Is(err, problem.RequestMalformed) || b.Handle != "" || b.RedirectTo != "" {
				t.Errorf("%v: %+v, %v", changes, b, err)
			}
		}
		for _, name := range []string{"client_id", "redirect_uri"} {
			twice := w.query()
			twice.Add(name, twice.Get(name))
			if b, err := w.Clients.Begin(t.Context(), twice, browser); !problem.Is(err, problem.RequestMalformed) || b.Handle != "" || b.RedirectTo != "" {
				t.Errorf("E5 %s twice: %+v, %v", name, b, err)
			}
		}
		w.begin("redirect_uri", "http://127.0.0.1:49152/callback")
	})
}

// E1 to E5: what is wrong afterwards is told to the client, with state and issuer.
func TestE3ToE5WhatIsWrongIsToldToTheClient(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		for _, c := range []struct {
			changes []string
			code    string
		}{
			{[]string{"response_type", ""}, "invalid_request"}, {[]string{"response_type", "token"}, "unsupported_response_type"}, {[]string{"response_type", "code id_token"}, "unsupported_response_type"},
			{[]string{"code_challenge", ""}, "invalid_request"}, {[]string{"code_challenge_method", ""}, "invalid_request"}, {[]string{"code_challenge_method", "plain"}, "invalid_request"},
			{[]string{"code_challenge", "short"}, "invalid_request"}, {[]string{"resource", "https://evil.example/mcp"}, "invalid_target"}, {[]string{"state", strings.Repeat("x", 5000)}, "invalid_request"},
		} {
			b, err := w.Clients.Begin(t.Context(), w.query(c.changes...), browser)
			must(t, err)
			u, err := url.Parse(b.RedirectTo)
			must(t, err)
			if b.Site || b.Why != u.Query().Get("error_description") || b.Refused.RedirectHost != "127.0.0.1:3118" || !b.Refused.Loopback {
				t.Errorf("refused: %+v", b)
			}
			if q := u.Query(); b.Handle != "" || !strings.HasPrefix(b.RedirectTo, callback+"?") || q.Get("error") != c.code || q.Get("iss") != issuer || q.Get("state") == "" || q.Has("code") {
				t.Errorf("%v: %+v", c.changes, b)
			}
		}
		for _, name := range []string{"response_type", "state", "scope", "code_challenge", "code_challenge_method", "prompt"} {
			twice := w.query("prompt", "consent")
			twice.Add(name, twice.Get(name))
			b, err := w.Clients.Begin(t.Context(), twice, browser)
			must(t, err)
			u, err := url.Parse(b.RedirectTo)
			must(t, err)
			if q := u.Query(); b.Handle != "" || !strings.HasPrefix(b.RedirectTo, callback+"?") || q.Get("error") != "invalid_request" || q.Get("iss") != issuer || q.Get("state") != "st&te" {
				t.Errorf("E5 %s twice: %+v", name, b)
			}
		}
		w.begin("prompt", "consent", "unknown", "1", "resource", "")
		handle := w.begin("resource", "HTTPS://Carnet.Example/mcp/")
		asked, err := w.Clients.Asked(t.Context(), handle, browser)
		must(t, err)
		if asked.Client.Name != "Tester" || asked.RedirectHost != "127.0.0.1:3118" || !asked.Loopback || asked.Client.Host != "" || asked.Scopes.String() != "tasks:read tasks:write" {
			t.Errorf("E7, E8: asked %+v", asked)
		}
	})
}

// E6, E9: a request is one browser's, is answered once, within ten minutes, by somebody who may grant what they grant.
func TestE6ARequestIsAnsweredOnceInItsBrowser(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		handle := w.begin()
		_, err := w.Clients.Asked(t.Context(), handle, "another browser")
		problemIs(t, "another browser", err, problem.NotFound)
		_, err = w.Clients.Asked(t.Context(), "made up", browser)
		problemIs(t, "a made-up handle", err, problem.NotFound)
		d := clients.Decision{Handle: handle, Browser: "another browser", Organization: "acme", Scopes: []string{"tasks:read"}, Days: 30}
		_, err = w.Clients.Approve(t.Context(), w.maya, d)
		problemIs(t, "approved in another browser", err, problem.NotFound)
		_, err = w.Clients.Deny(t.Context(), w.maya, handle, "another browser")
		problemIs(t, "denied in another browser", err, problem.NotFound)
		d.Browser = browser
		_, err = w.Clients.Approve(t.Context(), w.maya, d)
		must(t, err)
		_, err = w.Clients.Approve(t.Context(), w.maya, d)
		problemIs(t, "approved twice", err, problem.NotFound)
		_, err = w.Clients.Deny(t.Context(), w.maya, handle, browser)
		problemIs(t, "denied after it was approved", err, problem.NotFound)

		old := w.begin()
		w.late += 10 * time.Minute
		_, err = w.Clients.Asked(t.Context(), old, browser)
		problemIs(t, "after ten minutes", err, problem.NotFound)
		w.late = 0

		to, err := w.Clients.Deny(t.Context(), w.maya, w.begin(), browser)
		must(t, err)
		if u, _ := url.Parse(to); u.Query().Get("error") != "access_denied" || u.Query().Get("iss") != issuer || u.Query().Get("state") != "st&te" {
			t.Errorf("E12: denied to %s", to)
		}
		if n := w.count(`SELECT count(*) FROM audit_events WHERE action = 'consent.denied'`); n != 1 {
			t.Errorf("%d denials are on record", n)
		}
	})
}

// E12: after a no there is nothing that could be approved, and nothing is left of it but the record.
func TestE12AfterADenialNothingIsGranted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		handle := w.begin()
		_, err := w.Clients.Deny(t.Context(), w.maya, handle, browser)
		must(t, err)
		d := clients.Decision{Handle: handle, Browser: browser, Organization: "acme", Scopes: []string{"tasks:read"}, Days: 30}
		_, err = w.Clients.Approve(t.Context(), w.maya, d)
		problemIs(t, "approved after it was denied", err, problem.NotFound)
		_, err = w.Clients.Show(t.Context(), w.maya, handle, browser)
		problemIs(t, "shown after it was denied", err, problem.NotFound)
		_, err = w.Clients.Deny(t.Context(), w.maya, handle, browser)
		problemIs(t, "denied twice", err, problem.NotFound)
		if n := w.count(`SELECT count(*) FROM authorization_codes`) + w.count(`SELECT count(*) FROM tokens`); n != 0 {
			t.Errorf("%d codes and tokens are there", n)
		}
		if n := w.count(`SELECT count(*) FROM audit_events WHERE action LIKE 'consent.%'`); n != 1 {
			t.Errorf("%d events are on record", n)
		}
	})
}

// E8, E9: nobody grants more than they could themselves, in an organization that is theirs, within its policy, and with a
// fresh sign-in; what is refused leaves the request open.
func TestE8NobodyGrantsMoreThanTheyCould(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		w.person("kim")
		must(t, w.Org.Operators().AddMember(t.Context(), "acme", "kim@example.com", "member"))
		kim := w.signIn("kim")
		_, err := w.Org.Operators().CreateOrganization(t.Context(), org.Founding{Slug: "other", Name: "Other", OwnerEmail: "maya@example.com"})
		must(t, err)
		in, _ := w.signIn("maya").In("acme")
		_, err = w.Org.SetAgentPolicy(t.Context(), in, "acme", org.PolicyChange{Scopes: optional.Of([]string{"tasks:read", "projects:read", "audit:read"}), MaxLifetimeDays: optional.Of(10)})
		must(t, err)
		handle := w.begin()
		for name, c := range map[string]struct {
			change func(*clients.Decision)
			code   problem.Code
		}{
			"a scope beyond the role":    {func(d *clients.Decision) { d.Scopes = []string{"audit:read"} }, problem.ValidationFailed},
			"a scope beyond the policy":  {func(d *clients.Decision) { d.Scopes = []string{"tasks:write"} }, problem.ValidationFailed},
			"no scope":                   {func(d *clients.Decision) { d.Scopes = nil }, problem.ValidationFailed},
			"a scope that is none":       {func(d *clients.Decision) { d.Scopes = []string{"everything"} }, problem.ValidationFailed},
			"longer than the policy":     {func(d *clients.Decision) { d.Days = 11 }, problem.ValidationFailed},
			"for ever":                   {func(d *clients.Decision) { d.Days = 91 }, problem.ValidationFailed},
			"no time":                    {func(d *clients.Decision) { d.Days = 0 }, problem.ValidationFailed},
			"another organization":       {func(d *clients.Decision) { d.Organization = "other" }, problem.NotFound},
			"no organization":            {func(d *clients.Decision) { d.Organization = "" }, problem.NotFound},
			"a project that is not seen": {func(d *clients.Decision) { d.Projects = []string{"prj_00000000000000000000000000"} }, problem.ValidationFailed},
			"no projects":                {func(d *clients.Decision) { d.Projects = []string{} }, problem.ValidationFailed},
		} {
			d := clients.Decision{Handle: handle, Browser: browser, Organization: "acme", Scopes: []string{"tasks:read"}, Days: 10}
			c.change(&d)
			_, err := w.Clients.Approve(t.Context(), kim, d)
			problemIs(t, name, err, c.code)
		}
		d := clients.Decision{Handle: handle, Browser: browser, Organization: "acme", Scopes: []string{"tasks:read"}, Days: 10}
		w.late = 16 * time.Minute
		d.Handle = w.begin()
		_, err = w.Clients.Approve(t.Context(), kim, d)
		problemIs(t, "a sign-in that is old", err, problem.ReauthenticationNeeded)
		w.late = 0
		d.Handle = handle
		agent := access.Caller{Kind: access.TokenCaller, UserID: kim.UserID, Scopes: access.AllScopes(), Role: access.Owner}
		_, err = w.Clients.Approve(t.Context(), agent, d)
		problemIs(t, "P9: a token", err, problem.SignInRequired)
		_, err = w.Clients.Approve(t.Context(), kim, d)
		must(t, err)
	})
}

// F2 to F5: a code is fetched once, with everything that it was given for, and makes a token like any agent's.
func TestF2ToF5ACodeIsFetchedOnceByWhomItIsFor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		other, err := w.Clients.Register(t.Context(), clients.Registration{RedirectURIs: []string{callback}, Name: "Other"})
		must(t, err)
		for name, c := range map[string]struct {
			change func(*clients.Exchange)
			codes  []string
			burnt  bool
		}{
			"no grant type":              {func(e *clients.Exchange) { e.GrantType = "" }, []string{clients.InvalidRequest}, false},
			"refresh":                    {func(e *clients.Exchange) { e.GrantType = "refresh_token" }, []string{clients.UnsupportedGrantType}, false},
			"no code":                    {func(e *clients.Exchange) { e.Code = "" }, []string{clients.InvalidRequest}, false},
			"no verifier":                {func(e *clients.Exchange) { e.Verifier = "" }, []string{clients.InvalidRequest}, false},
			"no client":                  {func(e *clients.Exchange) { e.ID = "" }, []string{clients.InvalidRequest}, false},
			"D8 an unknown client":       {func(e *clients.Exchange) { e.ID = "cli_00000000000000000000000000" }, []string{clients.InvalidClient}, false},
			"a secret that there is not": {func(e *clients.Exchange) { e.Secret = "x" }, []string{clients.InvalidClient}, false},
			"another resource":           {func(e *clients.Exchange) { e.Resource = []string{"https://evil.example/mcp"} }, []string{clients.InvalidTarget}, true},
			"a made-up code":             {func(e *clients.Exchange) { e.Code = "made up" }, []string{clients.InvalidGrant}, false},
			"another verifier":           {func(e *clients.Exchange) { e.Verifier = strings.Repeat("x", 43) }, []string{clients.InvalidGrant}, true},
			"a short verifier":           {func(e *clients.Exchange) { e.Verifier = "short" }, []string{clients.InvalidGrant}, true},
			"the challenge itself":       {func(e *clients.Exchange) { e.Verifier = challengeOf(verifier) }, []string{clients.InvalidGrant}, true},
			"another redirect URI":       {func(e *clients.Exchange) { e.RedirectURI = "https://h.example/cb" }, []string{clients.InvalidGrant}, true},
			"another client":             {func(e *clients.Exchange) { e.ID = other.ID }, []string{clients.InvalidGrant}, true},
		} {
			code := w.approve(w.maya, nil)
			_, err := w.exchange(code, c.change)
			refused(t, name, err, c.codes...)
			if _, err = w.exchange(code, nil); (err != nil) != c.burnt {
				t.Errorf("%s: the code afterwards: %v", name, err)
			}
		}
		code := w.approve(w.maya, nil)
		w.late = time.Minute
		_, err = w.exchange(code, nil)
		refused(t, "after a minute", err, clients.InvalidGrant)
		w.late = 0

		code = w.approve(w.maya, func(d *clients.Decision) { d.Days = 90; d.Scopes = []string{"tasks:write", "projects:read"} })
		f, err := w.exchange(code, func(e *clients.Exchange) { e.RedirectURI, e.Resource = "", nil })
		must(t, err)
		if f.TokenType != "Bearer" || f.Scope != "projects:read tasks:write" || f.ExpiresIn < 90*24*3600-5 || f.ExpiresIn > 90*24*3600 || !strings.HasPrefix(f.AccessToken, "carnet_agt_") {
			t.Errorf("F4: fetched %+v", f)
		}
		c := w.caller(f.AccessToken)
		if c.Purpose != access.Agent || c.UserID != w.maya.UserID || c.OrganizationSlug != "acme" || c.Projects.Restricted() || c.TokenName != "Tester" {
			t.Errorf("F5: the token is %+v", c)
		}
		made, err := w.Tokens.Token(t.Context(), w.maya, c.CredentialID)
		must(t, err)
		if made.Client == nil || made.Client.Name != "Tester" || made.Client.Host != "127.0.0.1:3118" || made.Purpose != "agent" || made.State != tokens.Live {
			t.Errorf("F5: its owner sees %+v", made)
		}
		if n := w.count(`SELECT count(*) FROM authorization_codes WHERE token_id = $1`, c.CredentialID); n != 1 {
			t.Error("the code does not know its token")
		}
		// A code that comes again ends the token: somebody else has it.
		_, err = w.exchange(code, nil)
		refused(t, "F3 again", err, clients.InvalidGrant)
		if w.holds(f.AccessToken) {
			t.Error("F3: the token of a code that was used twice is accepted")
		}
		if n := w.count(`SELECT count(*) FROM audit_events WHERE action = 'consent.code_reused'`); n != 1 {
			t.Errorf("G8: %d reuses are on record", n)
		}
	})
}

// F2: of many exchanges at once, exactly one succeeds, and the next ends the token that it got: a code that comes again is in
// somebody else's hands, and nobody can tell whose (RFC 6749 section 4.1.2, RFC 9700 section 4.5).
func TestF2OneOfManyExchangesSucceeds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		for range 5 {
			code := w.approve(w.maya, nil)
			var wg sync.WaitGroup
			var mu sync.Mutex
			var fetched []string
			for range 8 {
				wg.Go(func() {
					if f, err := w.exchange(code, nil); err == nil {
						mu.Lock()
						fetched = append(fetched, f.AccessToken)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if len(fetched) != 1 || w.holds(fetched[0]) {
				t.Fatalf("%d exchanges succeeded, and a token is left", len(fetched))
			}
		}
		if n := w.count(`SELECT count(*) FROM tokens WHERE revoke_reason = 'its sign-in code was used twice'`); n != 5 || w.count(`SELECT count(*) FROM tokens`) != 5 {
			t.Errorf("%d tokens ended for that reason", n)
		}
	})
}

// F6: what changed between consent and exchange counts.
func TestF6WhatChangedSinceTheConsentCounts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		w.person("kim")
		join := func(role string) access.Caller {
			must(t, w.Org.Operators().AddMember(t.Context(), "acme", "kim@example.com", role))
			return w.signIn("kim")
		}
		kim := join("admin")
		in, _ := w.signIn("maya").In("acme")
		policy := func(change org.PolicyChange) {
			_, err := w.Org.SetAgentPolicy(t.Context(), in, "acme", change)
			must(t, err)
		}
		for _, c := range []struct {
			name     string
			do, undo func()
			words    string
		}{
			{"suspended", func() { must(t, w.Org.Operators().SuspendUser(t.Context(), "kim@example.com")) }, func() {
				must(t, w.Org.Operators().RestoreUser(t.Context(), "kim@example.com"))
				kim = w.signIn("kim")
			}, ""},
			{"no member", func() { must(t, w.Org.Operators().RemoveMember(t.Context(), "acme", "kim@example.com")) }, func() { kim = join("admin") }, ""},
			{"a lesser role", func() { must(t, w.Org.Operators().SetRole(t.Context(), "acme", "kim@example.com", "member")) }, func() {
				must(t, w.Org.Operators().SetRole(t.Context(), "acme", "kim@example.com", "admin"))
				kim = w.signIn("kim")
			}, "scopes"},
			{"agents off", func() { policy(org.PolicyChange{Enabled: optional.Of(false)}) }, func() { policy(org.PolicyChange{Enabled: optional.Of(true)}) }, "Agents are turned off"},
			{"a narrower policy", func() { policy(org.PolicyChange{Scopes: optional.Of([]string{"tasks:read"})}) }, func() {
				policy(org.PolicyChange{Scopes: optional.Of(access.AllScopes().Names())})
			}, "scopes"},
			{"signed out", func() { must(t, w.Account.SignOut(t.Context(), kim)) }, func() { kim = w.signIn("kim") }, ""},
			{"the client is gone", func() { w.execute(`DELETE FROM clients`) }, nil, ""},
		} {
			code := w.approve(kim, func(d *clients.Decision) { d.Scopes = []string{"audit:read"} })
			c.do()
			_, err := w.exchange(code, nil)
			refused(t, c.name, err, clients.InvalidGrant, clients.InvalidClient)
			if text := err.Error(); !strings.Contains(text, c.words) || strings.Contains(text, "See errors") {
				t.Errorf("%s: %s", c.name, text)
			}
			if c.undo != nil {
				c.undo()
				_, err = w.exchange(code, nil)
				refused(t, c.name+", and the code is burnt", err, clients.InvalidGrant)
			}
		}
		if n := w.count(`SELECT count(*) FROM tokens`); n != 0 {
			t.Errorf("%d tokens were made", n)
		}
	})
}

// Replacing is a choice: without it, a person has as many agents of a client as they connect.
func TestReplacingEndsTheFormerAgentsOfTheClient(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		first, second := w.approveAndFetch(w.maya), w.approveAndFetch(w.maya)
		if !w.holds(first.AccessToken) || !w.holds(second.AccessToken) {
			t.Fatal("connecting again ended the first")
		}
		third, err := w.exchange(w.approve(w.maya, func(d *clients.Decision) { d.Replace = true }), nil)
		must(t, err)
		if w.holds(first.AccessToken) || w.holds(second.AccessToken) || !w.holds(third.AccessToken) {
			t.Error("replacing did not end the former ones alone")
		}
	})
}

// G7: a client ends its own token, and no other.
func TestG7AClientEndsItsOwnToken(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		f := w.approveAndFetch(w.maya)
		other, err := w.Clients.Register(t.Context(), clients.Registration{RedirectURIs: []string{callback}, Name: "Other", AuthMethod: "client_secret_post"})
		must(t, err)
		who := func(id, secret string) clients.Credentials { return clients.Credentials{ID: id, Secret: secret} }
		refused(t, "another client", w.Clients.Revoke(t.Context(), who(other.ID, other.Secret), f.AccessToken), clients.UnauthorizedClient)
		refused(t, "a wrong secret", w.Clients.Revoke(t.Context(), who(other.ID, "wrong"), f.AccessToken), clients.InvalidClient)
		refused(t, "no client", w.Clients.Revoke(t.Context(), who("", ""), f.AccessToken), clients.InvalidRequest)
		refused(t, "no token", w.Clients.Revoke(t.Context(), who(w.client.ID, ""), ""), clients.InvalidRequest)
		days := 30
		pasted, err := w.Tokens.Create(t.Context(), w.maya, tokens.Draft{Name: "pasted", Organization: "acme", Scopes: []string{"tasks:read"}, Purpose: "agent", ExpiresInDays: &days})
		must(t, err)
		refused(t, "a token that nobody fetched", w.Clients.Revoke(t.Context(), who(w.client.ID, ""), pasted.Value.Reveal()), clients.UnauthorizedClient)
		if !w.holds(f.AccessToken) || !w.holds(pasted.Value.Reveal()) {
			t.Fatal("a refused revocation ended a token")
		}
		for _, value := range []string{"nothing", f.AccessToken[:len(f.AccessToken)-1], "carnet_agt_000000000000_00000000000000000000000000000000000000"} {
			must(t, w.Clients.Revoke(t.Context(), who(w.client.ID, ""), value))
		}
		must(t, w.Clients.Revoke(t.Context(), who(w.client.ID, ""), f.AccessToken))
		if w.holds(f.AccessToken) {
			t.Error("it is accepted afterwards")
		}
		must(t, w.Clients.Revoke(t.Context(), who(w.client.ID, ""), f.AccessToken))
		c := w.count(`SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL AND client_id = $1`, w.client.ID)
		if c != 1 {
			t.Errorf("G2: %d rows are kept", c)
		}
	})
}

// D6: so many new clients are taken in and no more; one that is known comes back whenever it likes, and keeps nobody out.
func TestD6OnlyNewClientsCount(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		w.late += 2 * time.Hour // what came before is no matter
		now := w.Clients.Now()
		w.Clients.Now = func() time.Time { return now }
		w.Clients.NewClientsPerHour = 2
		register := func(name, method string) error {
			_, err := w.Clients.Register(t.Context(), clients.Registration{RedirectURIs: []string{callback}, Name: name, AuthMethod: method})
			return err
		}
		for range 10 {
			must(t, register("First", ""))
		}
		must(t, register("Second", "client_secret_post"))
		err := register("Third", "")
		refused(t, "a third new one", err, clients.TooManyRequests)
		var e *clients.Error
		if !asError(err, &e) || e.RetryAfter < 1 {
			t.Errorf("it is told to wait %+v", e)
		}
		refused(t, "another with a secret", register("Second", "client_secret_post"), clients.TooManyRequests)
		must(t, register("First", ""))
		if n := w.count(`SELECT count(*) FROM clients WHERE name IN ('First', 'Second', 'Third')`); n != 2 {
			t.Errorf("%d are taken in", n)
		}
		now = now.Add(time.Hour)
		must(t, register("Third", ""))
	})
}

// D3: a client with a secret needs it, whichever way it sends it.
func TestD3AClientWithASecretNeedsIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		for _, method := range []string{"client_secret_post", "client_secret_basic"} {
			var err error
			w.client, err = w.Clients.Register(t.Context(), clients.Registration{RedirectURIs: []string{callback}, Name: "Tester", AuthMethod: method})
			must(t, err)
			for name, secret := range map[string]string{"none": "", "wrong": "wrong"} {
				_, err := w.exchange(w.approve(w.maya, nil), func(e *clients.Exchange) { e.Secret = secret })
				refused(t, method+", "+name, err, clients.InvalidClient)
			}
			_, err = w.exchange(w.approve(w.maya, nil), func(e *clients.Exchange) { e.Secret = w.client.Secret })
			must(t, err)
		}
	})
}

// D7: without the setting, no address is fetched or taken for a client.
func TestD7DocumentsAreOffUnlessTurnedOn(t *testing.T) {
	t.Parallel()
	const code = "https://claude.ai/oauth/claude-code-client-metadata"
	w := newTown(t, house.Plan{})
	_, err := w.Clients.Begin(t.Context(), w.query("client_id", code, "redirect_uri", "http://localhost:3118/callback"), browser)
	problemIs(t, "off", err, problem.RequestMalformed)
	on := newTown(t, house.Plan{Documents: true})
	// There is no way out of here: the pinned copy serves.
	handle := on.begin("client_id", code, "redirect_uri", "http://localhost:3118/callback")
	asked, err := on.Clients.Asked(t.Context(), handle, browser)
	must(t, err)
	if asked.Client.Name != "Claude Code" || asked.Client.Host != "claude.ai" {
		t.Errorf("asked %+v", asked)
	}
}

// G8: from a client's registration to the code that was stolen, all that happens is recorded, and each thing once.
func TestG8WhatBecomesOfARequestIsRecorded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		recorded := func(action string, want int) {
			t.Helper()
			if n := w.count(`SELECT count(*) FROM audit_events WHERE action = $1`, action); n != want {
				t.Errorf("%s is recorded %d times, not %d", action, n, want)
			}
		}
		recorded("client.registered", 1)
		handle := w.begin()
		if _, err := w.Clients.Show(t.Context(), w.maya, handle, "another browser"); !problem.Is(err, problem.NotFound) {
			t.Errorf("another browser is shown it: %v", err)
		}
		recorded("consent.shown", 0)
		for range 3 {
			asked, err := w.Clients.Show(t.Context(), w.maya, handle, browser)
			must(t, err)
			if asked.Client.Name != "Tester" {
				t.Errorf("shown: %+v", asked)
			}
		}
		recorded("consent.shown", 1)
		if n := w.count(`SELECT count(*) FROM audit_events WHERE action = 'consent.shown' AND actor_id = $1 AND resource_id = $2`, w.maya.UserID, w.client.ID); n != 1 {
			t.Error("who was shown it is not recorded")
		}
		_, err := w.Clients.Deny(t.Context(), w.maya, handle, browser)
		must(t, err)
		recorded("consent.denied", 1)
		code := w.approve(w.maya, nil)
		recorded("consent.approved", 1)
		_, err = w.exchange(code, nil)
		must(t, err)
		recorded("token.created", 1)
		_, err = w.exchange(code, nil)
		refused(t, "again", err, clients.InvalidGrant)
		recorded("consent.code_reused", 1)
		recorded("token.revoked", 1)
	})
}
