package tokens_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/tokens"
	"carnet/token"
)

// P4, P5: a created token works, is shown once, and only its prefix and digest remain.
func TestCreatedTokenWorksAndItsValueIsNowhere(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		issued := w.create(w.as("mel"), draft())
		value := issued.Value.Reveal()
		if got := w.verified(value); got != "" {
			t.Fatalf("the new value is refused: %s", got)
		}
		if issued.Token.Prefix != value[:token.PrefixLength] || issued.Token.State != tokens.Live || *issued.Token.Role != "member" || issued.Token.ExpiresAt != nil {
			t.Errorf("the token is %+v", issued.Token)
		}
		secret := value[token.PrefixLength+1:]
		for _, table := range []string{"tokens", "credentials", "audit_events", "idempotency_keys"} {
			w.search(table, secret)
		}
	})
}

// P4: what creation asks for, each rule by itself.
func TestCreationRefusesWhatItShould(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		visible := w.project("mel", "acme", "OPEN", "organization")
		hidden := w.project("olga", "acme", "HID", "private")
		foreign := w.project("zoe", "zeta", "FOR", "organization")
		at := func(d time.Duration) *time.Time { x := w.now().Add(d); return &x }
		days := func(n int) *int { return &n }
		cases := map[string]struct {
			change   func(*tokens.Draft)
			code     problem.Code
			location string
		}{
			"as it is":                        {func(*tokens.Draft) {}, "", ""},
			"no name":                         {func(d *tokens.Draft) { d.Name = "  " }, problem.ValidationFailed, "body.name"},
			"name of 100":                     {func(d *tokens.Draft) { d.Name = strings.Repeat("é", 100) }, "", ""},
			"name of 101":                     {func(d *tokens.Draft) { d.Name = strings.Repeat("é", 101) }, problem.ValidationFailed, "body.name"},
			"name with a control character":   {func(d *tokens.Draft) { d.Name = "a\x1b[31mb" }, problem.ValidationFailed, "body.name"},
			"no scopes":                       {func(d *tokens.Draft) { d.Scopes = nil }, problem.ValidationFailed, "body.scopes"},
			"an unknown scope":                {func(d *tokens.Draft) { d.Scopes = []string{"tasks:admin"} }, problem.ValidationFailed, "body.scopes[0]"},
			"a scope that the role lacks":     {func(d *tokens.Draft) { d.Scopes = []string{"audit:read"} }, problem.ValidationFailed, "body.scopes"},
			"no such organization":            {func(d *tokens.Draft) { d.Organization = "nowhere" }, problem.NotFound, ""},
			"another organization":            {func(d *tokens.Draft) { d.Organization = "zeta" }, problem.NotFound, ""},
			"a project":                       {func(d *tokens.Draft) { d.Projects = []string{visible} }, "", ""},
			"no projects":                     {func(d *tokens.Draft) { d.Projects = []string{} }, problem.ValidationFailed, "body.projects"},
			"a hidden project":                {func(d *tokens.Draft) { d.Projects = []string{visible, hidden} }, problem.ValidationFailed, "body.projects"},
			"another organization's project":  {func(d *tokens.Draft) { d.Projects = []string{foreign} }, problem.ValidationFailed, "body.projects"},
			"a project that does not exist":   {func(d *tokens.Draft) { d.Projects = []string{"prj_nothing"} }, problem.ValidationFailed, "body.projects"},
			"an unknown purpose":              {func(d *tokens.Draft) { d.Purpose = "robot" }, problem.ValidationFailed, "body.purpose"},
			"expiry now":                      {func(d *tokens.Draft) { d.ExpiresAt = at(0) }, problem.ValidationFailed, "body.expires_at"},
			"expiry in the past":              {func(d *tokens.Draft) { d.ExpiresAt = at(-time.Second) }, problem.ValidationFailed, "body.expires_at"},
			"expiry in a second":              {func(d *tokens.Draft) { d.ExpiresAt = at(time.Second) }, "", ""},
			"expiry in ten years and a day":   {func(d *tokens.Draft) { d.ExpiresAt = at(3654 * 24 * time.Hour) }, problem.ValidationFailed, "body.expires_at"},
			"expiry of 0 days":                {func(d *tokens.Draft) { d.ExpiresInDays = days(0) }, problem.ValidationFailed, "body.expires_in_days"},
			"expiry of 4000 days":             {func(d *tokens.Draft) { d.ExpiresInDays = days(4000) }, problem.ValidationFailed, "body.expires_in_days"},
			"expiry given twice":              {func(d *tokens.Draft) { d.ExpiresInDays = days(1); d.ExpiresAt = at(time.Hour) }, problem.ValidationFailed, "body.expires_in_days"},
			"what the door could not read":    {func(d *tokens.Draft) { d.Invalid = problem.Invalid("body", "bad") }, problem.ValidationFailed, "body"},
			"the same scope twice is no harm": {func(d *tokens.Draft) { d.Scopes = []string{"tasks:read", "tasks:read"} }, "", ""},
		}
		for name, c := range cases {
			d := draft()
			c.change(&d)
			_, err := w.tokens.Create(t.Context(), mel, d)
			var locations []string
			if c.location != "" {
				locations = []string{c.location}
			}
			wantCode(t, name, err, c.code, locations...)
		}
		// Hidden, foreign and made-up projects are told apart by nothing.
		var texts []string
		for _, p := range []string{hidden, foreign, "prj_nothing"} {
			d := draft()
			d.Projects = []string{p}
			_, err := w.tokens.Create(t.Context(), mel, d)
			texts = append(texts, err.Error())
		}
		if texts[0] != texts[1] || texts[1] != texts[2] {
			t.Errorf("the refusals differ: %q", texts)
		}
	})
}

func TestCreationNeedsAVerifiedPersonWhoSignedInAMomentAgo(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		unverified := mel
		unverified.EmailVerified = false
		_, err := w.tokens.Create(t.Context(), unverified, draft())
		wantCode(t, "unverified", err, problem.EmailUnverified)
		byToken := access.Caller{Kind: access.TokenCaller, UserID: mel.UserID, Role: access.Owner, Scopes: access.AllScopes(), EmailVerified: true}
		_, err = w.tokens.Create(t.Context(), byToken, draft())
		wantCode(t, "by a token", err, problem.SignInRequired)
		_, err = w.tokens.Create(t.Context(), access.Caller{}, draft())
		wantCode(t, "by nobody", err, problem.CredentialMissing)
		w.pass(15*time.Minute - time.Microsecond)
		_, err = w.tokens.Create(t.Context(), mel, draft())
		wantCode(t, "just within 15 minutes", err, "")
		w.pass(time.Microsecond)
		_, err = w.tokens.Create(t.Context(), mel, draft())
		wantCode(t, "after 15 minutes", err, problem.ReauthenticationNeeded)
	})
}

// P10: an agent's token has its own prefix and ends after 90 days unless told otherwise.
func TestExpiryIsNoneForPersonalAnd90DaysForAgents(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		d := draft()
		d.Purpose = "agent"
		agent := w.create(w.as("mel"), d)
		if got := agent.Token.ExpiresAt; got == nil || !got.Equal(agent.Token.CreatedAt.Add(90*24*time.Hour)) {
			t.Errorf("an agent's token expires at %v, created %v", got, agent.Token.CreatedAt)
		}
		if !strings.HasPrefix(agent.Value.Reveal(), "carnet_agt_") || agent.Token.Client == nil {
			t.Errorf("an agent's token is %+v", agent.Token)
		}
		w.pass(90*24*time.Hour - time.Microsecond)
		if got := w.verified(agent.Value.Reveal()); got != "" {
			t.Errorf("a microsecond before its end: %s", got)
		}
		w.pass(time.Microsecond)
		if got := w.verified(agent.Value.Reveal()); got != problem.TokenExpired {
			t.Errorf("at its end: %q", got)
		}
	})
}

// P11: nobody else sees or touches a person's token, whatever their role.
func TestTokensAreTheirOwnersAlone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		issued := w.create(w.as("mel"), draft())
		olga, tokenID := w.as("olga"), issued.Token.ID
		_, err := w.tokens.Token(t.Context(), olga, tokenID)
		wantCode(t, "read", err, problem.NotFound)
		_, err = w.tokens.Change(t.Context(), olga, tokenID, tokens.Change{Name: optional.Of("mine")})
		wantCode(t, "change", err, problem.NotFound)
		_, err = w.tokens.Rotate(t.Context(), olga, tokenID, tokens.Rotation{})
		wantCode(t, "rotate", err, problem.NotFound)
		_, err = w.tokens.Revoke(t.Context(), olga, tokenID)
		wantCode(t, "revoke", err, problem.NotFound)
		_, err = w.tokens.Activity(t.Context(), olga, tokenID)
		wantCode(t, "activity", err, problem.NotFound)
		_, err = w.tokens.Identify(t.Context(), olga, tokens.Identification{Value: issued.Value.Reveal()})
		wantCode(t, "identify", err, problem.NotFound)
		listed, err := w.tokens.Tokens(t.Context(), olga, tokens.Query{})
		if err != nil || len(listed.Items) != 0 {
			t.Errorf("olga lists %v %v", names(listed.Items), err)
		}
		if got := w.verified(issued.Value.Reveal()); got != "" {
			t.Errorf("the token was harmed: %s", got)
		}
	})
}

// P6: revoked is revoked, at once, for good, and as often as asked.
func TestRevocationHoldsAtOnceAndCanBeRepeated(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		issued := w.create(mel, draft())
		w.verified(issued.Value.Reveal())
		w.pass(time.Hour) // no fresh sign-in is asked for
		receipt, err := w.tokens.Revoke(t.Context(), mel, issued.Token.ID)
		w.ok(err)
		if got := w.verified(issued.Value.Reveal()); got != problem.TokenRevoked {
			t.Errorf("after revocation: %q", got)
		}
		if receipt.Token.State != tokens.Revoked || *receipt.Token.RevokedBy != mel.UserID || !receipt.RevokedAt.Equal(w.now()) {
			t.Errorf("receipt %+v", receipt)
		}
		w.pass(time.Hour)
		again, err := w.tokens.Revoke(t.Context(), mel, issued.Token.ID)
		w.ok(err)
		if !again.RevokedAt.Equal(receipt.RevokedAt) {
			t.Errorf("revoked again at %v, first at %v", again.RevokedAt, receipt.RevokedAt)
		}
		if n := w.count(`SELECT count(*) FROM audit_events WHERE action = 'token.revoked'`); n != 1 {
			t.Errorf("%d records of one revocation", n)
		}
		_, err = w.tokens.Change(t.Context(), mel, issued.Token.ID, tokens.Change{Name: optional.Of("x")})
		wantCode(t, "change after revocation", err, problem.Conflict)
	})
}

// P2: a change only narrows.
func TestAChangeNarrowsAndNeverWidens(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		one, two := w.project("mel", "acme", "ONE", "organization"), w.project("mel", "acme", "TWO", "organization")
		hidden := w.project("olga", "acme", "HID", "private")
		end := w.now().Add(30 * 24 * time.Hour)
		fresh := func() string {
			d := draft()
			d.Scopes, d.Projects, d.ExpiresAt = []string{"tasks:write", "comments:read"}, []string{one, two}, &end
			return w.create(mel, d).Token.ID
		}
		set := func(v ...string) optional.Value[[]string] { return optional.Of(v) }
		cases := map[string]struct {
			change tokens.Change
			code   problem.Code
		}{
			"write to read":           {tokens.Change{Scopes: set("tasks:read", "comments:read")}, ""},
			"fewer scopes":            {tokens.Change{Scopes: set("tasks:write")}, ""},
			"the same":                {tokens.Change{Scopes: set("tasks:write", "comments:read")}, ""},
			"read to write":           {tokens.Change{Scopes: set("tasks:write", "comments:write")}, problem.WideningRefused},
			"another scope":           {tokens.Change{Scopes: set("tasks:write", "members:read")}, problem.WideningRefused},
			"no scopes":               {tokens.Change{Scopes: set()}, problem.ValidationFailed},
			"an unknown scope":        {tokens.Change{Scopes: set("tasks:none")}, problem.ValidationFailed},
			"fewer projects":          {tokens.Change{Projects: set(one)}, ""},
			"all projects":            {tokens.Change{Projects: optional.Null[[]string]()}, problem.WideningRefused},
			"no projects":             {tokens.Change{Projects: set()}, problem.ValidationFailed},
			"a project not seen":      {tokens.Change{Projects: set(one, hidden)}, problem.ValidationFailed},
			"an earlier end":          {tokens.Change{ExpiresAt: optional.Of(end.Add(-time.Hour))}, ""},
			"a later end":             {tokens.Change{ExpiresAt: optional.Of(end.Add(time.Microsecond))}, problem.WideningRefused},
			"no end":                  {tokens.Change{ExpiresAt: optional.Null[time.Time]()}, problem.WideningRefused},
			"an end in the past":      {tokens.Change{ExpiresAt: optional.Of(w.now())}, problem.ValidationFailed},
			"another name":            {tokens.Change{Name: optional.Of("Other")}, ""},
			"an empty name":           {tokens.Change{Name: optional.Of("")}, problem.ValidationFailed},
			"nothing":                 {tokens.Change{}, ""},
			"what could not be read":  {tokens.Change{Invalid: problem.New(problem.RequestMalformed, "x")}, problem.RequestMalformed},
			"narrower and wider both": {tokens.Change{Scopes: set("tasks:read"), ExpiresAt: optional.Null[time.Time]()}, problem.WideningRefused},
		}
		for name, c := range cases {
			tokenID := fresh()
			before, err := w.tokens.Token(t.Context(), mel, tokenID)
			w.ok(err)
			_, err = w.tokens.Change(t.Context(), mel, tokenID, c.change)
			wantCode(t, name, err, c.code)
			after, err := w.tokens.Token(t.Context(), mel, tokenID)
			w.ok(err)
			if c.code != "" && (strings.Join(after.Scopes, " ") != strings.Join(before.Scopes, " ") || len(after.Projects) != len(before.Projects) || !after.ExpiresAt.Equal(*before.ExpiresAt)) {
				t.Errorf("%s: a refused change changed something: %+v", name, after)
			}
		}
		// From no restriction to some projects is narrowing too.
		tokenID := w.create(mel, draft()).Token.ID
		changed, err := w.tokens.Change(t.Context(), mel, tokenID, tokens.Change{Projects: set(one)})
		if err != nil || len(changed.Projects) != 1 {
			t.Errorf("restrict a token: %+v %v", changed.Projects, err)
		}
		_, err = w.tokens.Change(t.Context(), mel, tokenID, tokens.Change{Projects: set(one, two)})
		wantCode(t, "one more project", err, problem.WideningRefused)
	})
}

func TestAnAgentsGrantIsWidenedByItsOwnerAfterAFreshSignIn(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		d := draft()
		d.Purpose, d.Scopes = "agent", []string{"tasks:read"}
		tokenID := w.create(mel, d).Token.ID
		wider := tokens.Change{Scopes: optional.Of([]string{"tasks:write"})}
		changed, err := w.tokens.Change(t.Context(), mel, tokenID, wider)
		if err != nil || changed.Scopes[0] != "tasks:write" {
			t.Errorf("widen an agent: %v %v", changed.Scopes, err)
		}
		_, err = w.tokens.Change(t.Context(), mel, tokenID, tokens.Change{Scopes: optional.Of([]string{"tasks:write", "audit:read"})})
		wantCode(t, "beyond the role", err, problem.ValidationFailed)
		w.pass(time.Hour)
		_, err = w.tokens.Change(t.Context(), mel, tokenID, tokens.Change{Scopes: optional.Of([]string{"tasks:write", "members:read"})})
		wantCode(t, "without a fresh sign-in", err, problem.ReauthenticationNeeded)
		_, err = w.tokens.Change(t.Context(), mel, tokenID, tokens.Change{Scopes: optional.Of([]string{"tasks:read"})})
		wantCode(t, "narrowing needs none", err, "")
	})
}

func TestRotationReplacesTheValueAndKeepsTheGrant(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		first := w.create(mel, draft())
		second, err := w.tokens.Rotate(t.Context(), mel, first.Token.ID, tokens.Rotation{})
		w.ok(err)
		if second.Token.ID != first.Token.ID || second.Token.Prefix == first.Token.Prefix || strings.Join(second.Token.Scopes, "") != strings.Join(first.Token.Scopes, "") {
			t.Errorf("rotated from %+v to %+v", first.Token, second.Token)
		}
		if old, fresh := w.verified(first.Value.Reveal()), w.verified(second.Value.Reveal()); old != problem.TokenRevoked || fresh != "" {
			t.Errorf("without grace: old %q, new %q", old, fresh)
		}
		third, err := w.tokens.Rotate(t.Context(), mel, first.Token.ID, tokens.Rotation{GraceSeconds: 60})
		w.ok(err)
		if old, fresh := w.verified(second.Value.Reveal()), w.verified(third.Value.Reveal()); old != "" || fresh != "" {
			t.Errorf("during grace: old %q, new %q", old, fresh)
		}
		// A rotation during a grace ends the older value at once: there are never three.
		fourth, err := w.tokens.Rotate(t.Context(), mel, first.Token.ID, tokens.Rotation{GraceSeconds: 60})
		w.ok(err)
		if second, third := w.verified(second.Value.Reveal()), w.verified(third.Value.Reveal()); second != problem.TokenRevoked || third != "" {
			t.Errorf("rotated again: %q %q", second, third)
		}
		w.pass(time.Minute)
		if third, fourth := w.verified(third.Value.Reveal()), w.verified(fourth.Value.Reveal()); third != problem.TokenRevoked || fourth != "" {
			t.Errorf("after grace: %q %q", third, fourth)
		}
		activity, err := w.tokens.Activity(t.Context(), mel, first.Token.ID)
		w.ok(err)
		if len(activity.LateUses) != 3 || len(activity.Values) != 4 || activity.Values[0].Prefix != fourth.Token.Prefix {
			t.Errorf("late uses %+v, values %+v", activity.LateUses, activity.Values)
		}
		for _, grace := range []int{-1, 86401} {
			_, err = w.tokens.Rotate(t.Context(), mel, first.Token.ID, tokens.Rotation{GraceSeconds: grace})
			wantCode(t, "grace out of bounds", err, problem.ValidationFailed, "body.grace_seconds")
		}
		// Revoking ends all of them.
		fifth, err := w.tokens.Rotate(t.Context(), mel, first.Token.ID, tokens.Rotation{GraceSeconds: 60})
		w.ok(err)
		_, err = w.tokens.Revoke(t.Context(), mel, first.Token.ID)
		w.ok(err)
		if a, b := w.verified(fourth.Value.Reveal()), w.verified(fifth.Value.Reveal()); a != problem.TokenRevoked || b != problem.TokenRevoked {
			t.Errorf("after revocation: %q %q", a, b)
		}
		w.pass(time.Hour)
		_, err = w.tokens.Rotate(t.Context(), mel, first.Token.ID, tokens.Rotation{})
		wantCode(t, "rotate without a fresh sign-in", err, problem.ReauthenticationNeeded)
	})
}

// P13: a value or a prefix, old ones too, leads to the token, for its owner alone.
func TestIdentifyFindsTokensByValueAndPrefixAlsoOldOnes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		first := w.create(mel, draft())
		second, err := w.tokens.Rotate(t.Context(), mel, first.Token.ID, tokens.Rotation{})
		w.ok(err)
		for _, what := range []tokens.Identification{
			{Value: first.Value.Reveal()}, {Value: second.Value.Reveal()}, {Prefix: first.Token.Prefix}, {Prefix: second.Token.Prefix},
		} {
			found, err := w.tokens.Identify(t.Context(), mel, what)
			if err != nil || found.ID != first.Token.ID {
				t.Errorf("identify: %v %v", found.ID, err)
			}
		}
		other := token.Mint(token.Personal)
		for name, what := range map[string]tokens.Identification{
			"unknown value": {Value: other.Reveal()}, "unknown prefix": {Prefix: other.Prefix()}, "malformed value": {Value: "x"}, "malformed prefix": {Prefix: "carnet_pat_"},
			"the prefix with another kind": {Prefix: "carnet_agt_" + first.Token.Prefix[token.KindLength:]},
		} {
			_, err := w.tokens.Identify(t.Context(), mel, what)
			wantCode(t, name, err, problem.NotFound)
		}
		_, err = w.tokens.Identify(t.Context(), mel, tokens.Identification{})
		wantCode(t, "neither", err, problem.ValidationFailed)
		_, err = w.tokens.Identify(t.Context(), mel, tokens.Identification{Value: "a", Prefix: "b"})
		wantCode(t, "both", err, problem.ValidationFailed)
	})
}

// P1, P7: states and last use in the list, in all organizations, those that one has left included.
func TestListShowsStatesLastUseAndOrganizationsLeft(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		soon := w.now().Add(time.Hour)
		named := func(name string, change func(*tokens.Draft)) tokens.Issued {
			d := draft()
			d.Name = name
			change(&d)
			w.pass(time.Second)
			return w.create(mel, d)
		}
		used := named("used", func(*tokens.Draft) {})
		named("ending", func(d *tokens.Draft) { d.ExpiresAt = &soon })
		revoked := named("revoked", func(*tokens.Draft) {})
		named("agent", func(d *tokens.Draft) { d.Purpose = "agent" })
		w.verified(used.Value.Reveal())
		_, err := w.tokens.Revoke(t.Context(), mel, revoked.Token.ID)
		w.ok(err)
		w.pass(time.Hour)
		list := func(q tokens.Query) string {
			t.Helper()
			var all []tokens.Token
			for {
				p, err := w.tokens.Tokens(t.Context(), mel, q)
				w.ok(err)
				all = append(all, p.Items...)
				if q.Cursor = p.NextCursor; q.Cursor == "" {
					return names(all)
				}
			}
		}
		for _, c := range []struct {
			query tokens.Query
			want  string
		}{
			{tokens.Query{}, "agent revoked ending used"},
			{tokens.Query{Request: page.Request{Limit: 1, Sort: "name"}}, "agent ending revoked used"},
			{tokens.Query{Request: page.Request{Limit: 1, Sort: "-last_used_at"}}, "used agent revoked ending"},
			{tokens.Query{State: []string{"live"}}, "agent used"},
			{tokens.Query{State: []string{"expired", "revoked"}}, "revoked ending"},
			{tokens.Query{Purpose: []string{"agent"}}, "agent"},
			{tokens.Query{Organization: []string{"zeta"}}, ""},
		} {
			if c.query.Sort == "-last_used_at" {
				w.ok(w.tokens.FlushUses(t.Context(), true))
			}
			if got := list(c.query); got != c.want {
				t.Errorf("list %+v: %q, want %q", c.query, got, c.want)
			}
		}
		_, err = w.tokens.Tokens(t.Context(), mel, tokens.Query{State: []string{"dead"}})
		wantCode(t, "unknown state", err, problem.ValidationFailed, "query.state")
		found, err := w.tokens.Token(t.Context(), mel, used.Token.ID)
		if err != nil || found.LastUsedAt == nil || *found.LastUsedClient != "test/1.0" {
			t.Errorf("last use: %+v %v", found, err)
		}
		w.ok(w.org.Operators().RemoveMember(t.Context(), "acme", "mel@example.com"))
		if got := list(tokens.Query{State: []string{"inert"}}); got != "agent used" {
			t.Errorf("inert after leaving: %q", got)
		}
		if got := w.verified(used.Value.Reveal()); got != problem.TokenInert {
			t.Errorf("after leaving: %q", got)
		}
		w.ok(w.org.Operators().AddMember(t.Context(), "acme", "mel@example.com", "guest"))
		if got := w.verified(used.Value.Reveal()); got != "" {
			t.Errorf("after coming back: %q", got)
		}
	})
}

// An idempotency key makes a lost answer harmless: one token, and its value in the first answer only.
func TestRepeatedCreationGivesTheSameTokenWithoutItsValue(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		first, err := w.tokens.Create(keyed(t, "k", "POST /tokens", "body"), mel, draft())
		w.ok(err)
		again, err := w.tokens.Create(keyed(t, "k", "POST /tokens", "body"), mel, draft())
		if err != nil || again.Value != nil || again.Token.ID != first.Token.ID {
			t.Errorf("repeat: %+v %v", again, err)
		}
		_, err = w.tokens.Create(keyed(t, "k", "POST /tokens", "other"), mel, draft())
		wantCode(t, "another body", err, problem.IdempotencyConflict)
		if n := w.count(`SELECT count(*) FROM tokens`); n != 1 {
			t.Errorf("%d tokens", n)
		}
	})
}

func TestCreationsAreLimitedPerHour(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.tokens.CreationsPerHour = 3
		mel := w.as("mel")
		for range 3 {
			w.create(mel, draft())
		}
		_, err := w.tokens.Create(t.Context(), mel, draft())
		wantCode(t, "the fourth", err, problem.RateLimited)
		w.create(w.as("olga"), draft()) // others are not slowed
		w.pass(time.Hour)
		w.create(w.as("mel"), draft())
	})
}

// GO-2026-5708: what is minted while its maker's session ends leaves nothing that outlives it.
func TestAnEndedSessionCreatesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		issued := w.create(mel, draft())
		w.ok(w.account.SignOut(t.Context(), mel))
		_, err := w.tokens.Create(t.Context(), mel, draft()) // the request was verified before the session ended
		wantCode(t, "create", err, problem.SessionEnded)
		_, err = w.tokens.Rotate(t.Context(), mel, issued.Token.ID, tokens.Rotation{})
		wantCode(t, "rotate", err, problem.SessionEnded)
		if got := w.verified(issued.Value.Reveal()); got != "" {
			t.Errorf("P8: signing out harmed a token: %s", got)
		}
	})
}

// A node may stall between finding out who calls and answering. What GET /me says then is begun again: it must not give
// the role of one moment with the scopes of another.
func TestMeNeverMixesTwoMoments(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		one, two := w.project("mel", "acme", "ONE", "organization"), w.project("mel", "acme", "TWO", "organization")
		for name, change := range map[string]func(session access.Caller, id string) error{
			"narrowed": func(session access.Caller, id string) error {
				_, err := w.tokens.Change(t.Context(), session, id, tokens.Change{Scopes: optional.Of([]string{"projects:read", "tasks:read"})})
				return err
			},
			"another role": func(access.Caller, string) error {
				return w.org.Operators().SetRole(t.Context(), "acme", "mel@example.com", "admin")
			},
			"fewer projects": func(session access.Caller, id string) error {
				_, err := w.tokens.Change(t.Context(), session, id, tokens.Change{Projects: optional.Of([]string{one})})
				return err
			},
			"revoked": func(session access.Caller, id string) error {
				_, err := w.tokens.Revoke(t.Context(), session, id)
				return err
			},
		} {
			w.ok(w.org.Operators().SetRole(t.Context(), "acme", "mel@example.com", "member"))
			mel := w.as("mel")
			d := draft()
			d.Projects = []string{one, two}
			issued := w.create(mel, d)
			grant, err := w.verify.Verify(t.Context(), issued.Value.Reveal(), lastuse.Origin{})
			w.ok(err)
			before, err := w.tokens.Me(t.Context(), grant.Caller)
			w.ok(err)
			if before.Role != "member" || len(before.Token.Scopes) != 2 || len(before.Token.Projects) != 2 {
				t.Errorf("%s: before it, the token is %+v", name, before.Token)
			}
			w.ok(change(mel, issued.Token.ID))
			if _, err := w.tokens.Me(t.Context(), grant.Caller); !errors.Is(err, db.ErrOvertaken) {
				t.Errorf("%s: an answer for who called before it: %v", name, err)
			}
		}
	})
}

func TestPreviewSaysWhatTheTokenWouldDo(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		one := w.project("mel", "acme", "ONE", "organization")
		w.project("olga", "acme", "HID", "private")
		d := draft()
		d.Name, d.Scopes, d.Projects = "", []string{"tasks:write", "audit:read"}, []string{one}
		p, err := w.tokens.Preview(t.Context(), mel, d)
		w.ok(err)
		if len(p.NotCovered) != 1 || p.NotCovered[0] != "audit:read" || p.Permissions.ProjectsTotal != 1 || p.Permissions.Projects[0].ID != one {
			t.Errorf("preview %+v", p)
		}
		if want := "Acts as you in Acme, where you are a member. It can read and change tasks in one project only: Project ONE. It never expires; only revoking it ends it."; p.Sentence != want {
			t.Errorf("sentence %q", p.Sentence)
		}
		if n := w.count(`SELECT count(*) FROM tokens`); n != 0 {
			t.Errorf("a preview made %d tokens", n)
		}
	})
}

func TestCallsAreCountedByDayAndWrittenCoarsely(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		issued := w.create(mel, draft())
		for range 5 {
			w.verified(issued.Value.Reveal())
		}
		w.ok(w.tokens.FlushUses(t.Context(), false))
		w.verified(issued.Value.Reveal())
		w.ok(w.tokens.FlushUses(t.Context(), false)) // within a minute: kept for later
		if n := w.count(`SELECT calls FROM token_use_days`); n != 5 {
			t.Errorf("%d calls on record, want the 5 of the first minute", n)
		}
		w.pass(24 * time.Hour)
		w.verified(issued.Value.Reveal())
		activity, err := w.tokens.Activity(t.Context(), w.as("mel"), issued.Token.ID)
		w.ok(err)
		var total int64
		for _, d := range activity.CallsByDay {
			total += d.Calls
		}
		if total != 7 || len(activity.CallsByDay) != 2 {
			t.Errorf("calls by day: %+v", activity.CallsByDay)
		}
		// Writing last uses moves no epoch: it invalidates nothing.
		if _, ok := w.uses.Last(lastuse.Key{ID: "nothing"}); ok {
			t.Error("a credential that was never used has a last use")
		}
	})
}

// Ended tokens stay listed for 90 days; then everything of them goes, and nothing else.
func TestCleanForgetsTokensThatEndedLongAgo(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		one := w.project("mel", "acme", "ONE", "organization")
		d := draft()
		d.Projects = []string{one}
		gone := w.create(mel, d)
		stays := w.create(mel, d)
		w.verified(gone.Value.Reveal())
		_, err := w.tokens.Revoke(t.Context(), mel, gone.Token.ID)
		w.ok(err)
		w.ok(w.tokens.FlushUses(t.Context(), true))
		w.ok(w.tokens.Clean(t.Context(), w.now().Add(90*24*time.Hour)))
		if n := w.count(`SELECT count(*) FROM tokens`); n != 2 {
			t.Errorf("%d tokens after 90 days to the moment, want both", n)
		}
		w.ok(w.tokens.Clean(t.Context(), w.now().Add(90*24*time.Hour+time.Second)))
		for _, table := range []string{"tokens", "credentials", "token_projects"} {
			if n := w.count("SELECT count(*) FROM " + table); n != 1 {
				t.Errorf("%s has %d rows, want the one of the token that lives", table, n)
			}
		}
		if n := w.count(`SELECT count(*) FROM token_use`); n != 0 {
			t.Errorf("the last use of a forgotten token stays")
		}
		if got := w.verified(stays.Value.Reveal()); got != "" {
			t.Errorf("a live token was harmed: %s", got)
		}
	})
}
