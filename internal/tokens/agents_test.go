package tokens_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/lastuse"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

const day = 24 * time.Hour

func days(n int) *int { return &n }

// P2, P10: agents are created within what their organization lets them do; personal tokens are not bound by it.
func TestAgentsAreCreatedWithinThePolicy(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		agent := func(scopes ...string) tokens.Draft {
			return tokens.Draft{Name: "Scout", Organization: "acme", Purpose: "agent", Scopes: scopes}
		}
		w.policy(org.PolicyChange{Scopes: optional.Of([]string{"tasks:write", "comments:read"}), MaxLifetimeDays: optional.Of(30)})
		for name, c := range map[string]struct {
			draft    tokens.Draft
			code     problem.Code
			location string
		}{
			"within":                      {agent("tasks:write", "comments:read"), "", ""},
			"read, where write is let":    {agent("tasks:read"), "", ""},
			"a scope beyond":              {agent("tasks:read", "projects:read"), problem.ValidationFailed, "body.scopes"},
			"write, where read is let":    {agent("comments:write"), problem.ValidationFailed, "body.scopes"},
			"a scope beyond the role":     {agent("audit:read"), problem.ValidationFailed, "body.scopes"},
			"as long as is let":           {with(agent("tasks:read"), func(d *tokens.Draft) { d.ExpiresInDays = days(30) }), "", ""},
			"longer than is let":          {with(agent("tasks:read"), func(d *tokens.Draft) { d.ExpiresInDays = days(31) }), problem.ValidationFailed, "body.expires_in_days"},
			"until later than is let":     {with(agent("tasks:read"), func(d *tokens.Draft) { at := w.now().Add(30*day + time.Microsecond); d.ExpiresAt = &at }), problem.ValidationFailed, "body.expires_at"},
			"a personal token beyond all": {tokens.Draft{Name: "Mine", Organization: "acme", Scopes: []string{"projects:write"}, ExpiresInDays: days(3000)}, "", ""},
			"for a client":                {with(agent("tasks:read"), func(d *tokens.Draft) { d.Client.Name = "  Cursor " }), "", ""},
			"for a client of odd letters": {with(agent("tasks:read"), func(d *tokens.Draft) { d.Client.Name = "a\u202eb" }), problem.ValidationFailed, "body.client"},
			"for a client to be cleaned":  {with(agent("tasks:read"), func(d *tokens.Draft) { d.Client.Name = "Cur\u200bsor\u00a0\u3000(\u2800x\u00ad)" }), "", ""},
			"for a client of nothing":     {with(agent("tasks:read"), func(d *tokens.Draft) { d.Client.Name = "\u200b \u3164" }), problem.ValidationFailed, "body.client"},
			"for a client of no letters":  {with(agent("tasks:read"), func(d *tokens.Draft) { d.Client.Name = "\ue000" }), problem.ValidationFailed, "body.client"},
			"for a client of 101":         {with(agent("tasks:read"), func(d *tokens.Draft) { d.Client.Name = strings.Repeat("x", 101) }), problem.ValidationFailed, "body.client"},
			"a personal token's client":   {tokens.Draft{Name: "Mine", Organization: "acme", Scopes: []string{"tasks:read"}, Client: tokens.Client{Name: "Cursor"}}, problem.ValidationFailed, "body.client"},
		} {
			issued, err := w.tokens.Create(t.Context(), mel, c.draft)
			var locations []string
			if c.location != "" {
				locations = []string{c.location}
			}
			wantCode(t, name, err, c.code, locations...)
			if name == "within" && (issued.Token.ExpiresAt == nil || !issued.Token.ExpiresAt.Equal(w.now().Add(30*day))) {
				t.Errorf("without an expiry of its own it ends at %v", issued.Token.ExpiresAt)
			}
			if name == "for a client to be cleaned" && issued.Token.Client.Name != "Cursor (x)" {
				t.Errorf("its client is %q", issued.Token.Client.Name)
			}
			if name == "for a client" && issued.Token.Client.Name != "Cursor" {
				t.Errorf("its client is %+v", issued.Token.Client)
			}
		}
		// A policy of more days than agents live by themselves leaves those at 90.
		w.policy(org.PolicyChange{MaxLifetimeDays: optional.Of(100)})
		if got := w.create(mel, agent("tasks:read")).Token.ExpiresAt; !got.Equal(w.now().Add(90 * day)) {
			t.Errorf("it ends at %v", got)
		}
		w.policy(org.PolicyChange{Enabled: optional.Of(false)})
		_, err := w.tokens.Create(t.Context(), mel, agent("tasks:read"))
		wantCode(t, "an agent while they are off", err, problem.PolicyDenied)
		w.create(mel, draft())
		// Another organization is not touched by it.
		w.create(w.as("zoe"), with(agent("projects:write"), func(d *tokens.Draft) { d.Organization, d.ExpiresInDays = "zeta", days(3000) }))
	})
}

func with(d tokens.Draft, change func(*tokens.Draft)) tokens.Draft {
	change(&d)
	return d
}

func TestPreviewTellsWhatThePolicyKeepsFromAnAgent(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel := w.as("mel")
		w.project("olga", "acme", "OPEN", "organization")
		w.policy(org.PolicyChange{Scopes: optional.Of([]string{"tasks:read"})})
		preview := func(purpose string) tokens.Preview {
			p, err := w.tokens.Preview(t.Context(), mel, tokens.Draft{Organization: "acme", Purpose: purpose, Scopes: []string{"projects:read", "tasks:write", "audit:read"}})
			w.ok(err)
			return p
		}
		agent, personal := preview("agent"), preview("personal")
		if got := strings.Join(agent.NotCovered, " "); got != "projects:read tasks:write audit:read" {
			t.Errorf("of an agent is not covered: %s", got)
		}
		if got := agent.Permissions.Projects[0].Permissions; !slices.Equal(got, []string{"tasks:read"}) {
			t.Errorf("an agent could %v", got)
		}
		if got := strings.Join(personal.NotCovered, " "); got != "audit:read" {
			t.Errorf("of a personal token is not covered: %s", got)
		}
		if got := personal.Permissions.Projects[0].Permissions; !slices.Equal(got, []string{"projects:read", "tasks:read", "tasks:write", "tasks:delete"}) {
			t.Errorf("a personal token could %v", got)
		}
		w.policy(org.PolicyChange{Scopes: optional.Of(access.AllScopes().Names())})
		if got := preview("agent"); !slices.Equal(got.Permissions.Projects[0].Permissions, []string{"projects:read", "tasks:read", "tasks:write"}) || !strings.Contains(got.Sentence, "read projects, and read and change tasks") {
			t.Errorf("an agent that may destroy nothing: %+v", got)
		}
		w.policy(org.PolicyChange{Enabled: optional.Of(false)})
		if got := preview("agent"); len(got.NotCovered) != 3 || len(got.Permissions.Projects[0].Permissions) != 0 || !strings.Contains(got.Sentence, "It can only say who it is.") {
			t.Errorf("while agents are off: %+v", got)
		}
	})
}

// P10: an owner widens their agent within role and policy; narrowing is always let.
func TestAgentsAreWidenedWithinThePolicy(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		agent := w.create(w.as("mel"), tokens.Draft{Name: "Scout", Organization: "acme", Purpose: "agent", Scopes: []string{"tasks:write", "members:read"}, ExpiresInDays: days(10)})
		created := agent.Token.CreatedAt
		change := func(c tokens.Change) error {
			_, err := w.tokens.Change(t.Context(), w.as("mel"), agent.Token.ID, c)
			return err
		}
		ends := func(at time.Time) tokens.Change { return tokens.Change{ExpiresAt: optional.Of(at)} }
		w.policy(org.PolicyChange{Scopes: optional.Of([]string{"tasks:read", "projects:read"}), MaxLifetimeDays: optional.Of(30)})
		w.pass(day)
		wantCode(t, "a scope beyond", change(tokens.Change{Scopes: optional.Of([]string{"tasks:write", "members:read", "comments:read"})}), problem.ValidationFailed, "body.scopes")
		wantCode(t, "a scope within, beside those that it has", change(tokens.Change{Scopes: optional.Of([]string{"tasks:write", "members:read", "projects:read"})}), "")
		wantCode(t, "narrowed to what it had and the policy keeps", change(tokens.Change{Scopes: optional.Of([]string{"tasks:write"})}), "")
		wantCode(t, "narrowed to what the policy lets", change(tokens.Change{Scopes: optional.Of([]string{"tasks:read"})}), "")
		wantCode(t, "widened within", change(tokens.Change{Scopes: optional.Of([]string{"tasks:read", "projects:read"})}), "")
		wantCode(t, "widened beyond", change(tokens.Change{Scopes: optional.Of([]string{"tasks:write", "projects:read"})}), problem.ValidationFailed, "body.scopes")
		wantCode(t, "longer, within", change(ends(created.Add(30*day))), "")
		wantCode(t, "longer, beyond", change(ends(created.Add(30*day+time.Microsecond))), problem.ValidationFailed, "body.expires_at")
		wantCode(t, "without an end", change(tokens.Change{ExpiresAt: optional.Null[time.Time]()}), problem.ValidationFailed, "body.expires_at")
		wantCode(t, "shorter", change(ends(created.Add(20*day))), "")
		// Who left comes back some day: the policy binds their agents all the while.
		w.ok(w.org.Operators().RemoveMember(t.Context(), "acme", "mel@example.com"))
		wantCode(t, "longer, by a former member", change(ends(created.Add(31*day))), problem.ValidationFailed, "body.expires_at")
		wantCode(t, "longer, within, by a former member", change(ends(created.Add(25*day))), problem.RoleInsufficient)
		wantCode(t, "all projects, by a former member", change(tokens.Change{Projects: optional.Null[[]string]()}), "") // as before
		wantCode(t, "narrower, by a former member", change(ends(created.Add(19*day))), "")
		wantCode(t, "widened by a former member", change(tokens.Change{Scopes: optional.Of([]string{"tasks:read", "projects:read", "comments:read"})}), problem.ValidationFailed, "body.scopes")
	})
}

func TestShorterLifetimeEndsAgentsSoonerAndForGood(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		never := func(owner, slug, name string) tokens.Issued {
			issued := w.agent(owner, slug, name, "")
			_, err := w.tokens.Change(t.Context(), w.as(owner), issued.Token.ID, tokens.Change{ExpiresAt: optional.Null[time.Time]()})
			w.ok(err)
			return issued
		}
		old := never("mel", "acme", "old")
		w.pass(20 * day)
		young, unending, short := w.agent("mel", "acme", "young", ""), never("mel", "acme", "unending"), w.agent("mel", "acme", "short", "")
		soon := w.now().Add(day)
		_, err := w.tokens.Change(t.Context(), w.as("mel"), short.Token.ID, tokens.Change{ExpiresAt: optional.Of(soon)})
		w.ok(err)
		revoked := never("mel", "acme", "revoked")
		_, err = w.tokens.Revoke(t.Context(), w.as("mel"), revoked.Token.ID)
		w.ok(err)
		personal, elsewhere := w.create(w.as("mel"), draft()), never("zoe", "zeta", "elsewhere")
		for _, x := range []tokens.Issued{old, young, unending, short, personal, elsewhere} {
			if got := w.verified(x.Value.Reveal()); got != "" {
				t.Fatalf("%s before: %s", x.Token.Name, got)
			}
		}
		shortened := w.now()
		check := func(when string) {
			t.Helper()
			for _, c := range []struct {
				owner  string
				issued tokens.Issued
				ends   time.Time
				code   problem.Code
			}{
				{"mel", old, shortened, problem.TokenExpired},
				{"mel", young, young.Token.CreatedAt.Add(10 * day), ""},
				{"mel", unending, unending.Token.CreatedAt.Add(10 * day), ""},
				{"mel", short, soon, ""},
				{"mel", revoked, time.Time{}, problem.TokenRevoked},
				{"mel", personal, time.Time{}, ""},
				{"zoe", elsewhere, time.Time{}, ""},
			} {
				got, err := w.tokens.Token(t.Context(), w.as(c.owner), c.issued.Token.ID)
				w.ok(err)
				if c.ends.IsZero() != (got.ExpiresAt == nil) || got.ExpiresAt != nil && !got.ExpiresAt.Equal(c.ends) {
					t.Errorf("%s: %s ends at %v, not %v", when, got.Name, got.ExpiresAt, c.ends)
				}
				if code := w.verified(c.issued.Value.Reveal()); code != c.code {
					t.Errorf("%s: %s gets %q, not %q", when, got.Name, code, c.code)
				}
			}
		}
		w.policy(org.PolicyChange{MaxLifetimeDays: optional.Of(10)})
		check("10 days")
		w.policy(org.PolicyChange{MaxLifetimeDays: optional.Of(100)})
		check("100 days after that")
		w.policy(org.PolicyChange{MaxLifetimeDays: optional.Null[int]()})
		check("no limit after that")
	})
}

// P6: what an organization decides about agents holds for the very next call, also where the grant is in the cache.
func TestPolicyHoldsForTheNextCallOfAnAgent(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		agent := w.agent("mel", "acme", "Scout", "Cursor")
		personal := w.create(w.as("mel"), draft())
		caller := func(issued tokens.Issued) access.Caller {
			t.Helper()
			grant, err := w.verify.Verify(t.Context(), issued.Value.Reveal(), lastuse.Origin{})
			w.ok(err)
			return grant.Caller
		}
		if c := caller(agent); c.Withheld != access.DefaultAgentPolicy().Withholds() || c.WriteRate != 1000 || c.TokenName != "Scout" {
			t.Errorf("by default the agent is %+v", c)
		}
		want := caller(personal)
		w.policy(org.PolicyChange{Scopes: optional.Of([]string{"tasks:read"}), Destructive: optional.Of([]string{"tasks:delete"}), WritesPerHour: optional.Of(5)})
		c := caller(agent)
		for p, allowed := range map[access.Permission]bool{access.TasksRead: true, access.TasksWrite: false, access.TasksDelete: false, access.ProjectsRead: false} {
			if got := access.May(&c, p); (got == access.Allowed) != allowed || !allowed && got != access.NeedPolicy {
				t.Errorf("narrowed: %s is %d", p, got)
			}
		}
		if c.WriteRate != 5 {
			t.Errorf("it may make %d writes", c.WriteRate)
		}
		w.policy(org.PolicyChange{Scopes: optional.Of(access.AllScopes().Names()), WritesPerHour: optional.Null[int]()})
		c = caller(agent)
		if access.May(&c, access.TasksDelete) != access.Allowed || c.WriteRate != 0 {
			t.Errorf("widened: %+v", c)
		}
		w.policy(org.PolicyChange{Enabled: optional.Of(false)})
		if got := w.verified(agent.Value.Reveal()); got != problem.PolicyDenied {
			t.Errorf("off: %q", got)
		}
		if got, err := w.tokens.Token(t.Context(), w.as("mel"), agent.Token.ID); err != nil || got.State != tokens.Inert {
			t.Errorf("off: it is %s, %v", got.State, err)
		}
		got := caller(personal)
		if got.Withheld != want.Withheld || got.WriteRate != 0 || access.May(&got, access.TasksDelete) != access.Allowed {
			t.Errorf("a personal token is bound: %+v", got)
		}
		w.policy(org.PolicyChange{Enabled: optional.Of(true)})
		if got := w.verified(agent.Value.Reveal()); got != "" {
			t.Errorf("on again: %q", got)
		}
		_, err := w.tokens.Pause(t.Context(), w.as("mel"), agent.Token.ID)
		w.ok(err)
		if got := w.verified(agent.Value.Reveal()); got != problem.TokenPaused {
			t.Errorf("paused: %q", got)
		}
		_, err = w.tokens.Resume(t.Context(), w.as("mel"), agent.Token.ID)
		w.ok(err)
		if got := w.verified(agent.Value.Reveal()); got != "" {
			t.Errorf("resumed: %q", got)
		}
	})
}

// An agent that is made, or given another end, at the very moment at which the organization shortens lives lives no longer
// than that.
func TestNoAgentSlipsPastAShorterLife(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		mel, olga := w.as("mel"), w.as("olga")
		admin, _ := olga.In("acme")
		set := func(most optional.Value[int]) {
			if _, err := w.org.SetAgentPolicy(t.Context(), admin, "acme", org.PolicyChange{MaxLifetimeDays: most}); err != nil {
				t.Error(err)
			}
		}
		for round := range 12 {
			set(optional.Null[int]())
			old := w.agent("mel", "acme", fmt.Sprint("old ", round), "")
			var made tokens.Issued
			var both sync.WaitGroup
			both.Go(func() {
				var err error
				made, err = w.tokens.Create(t.Context(), mel, tokens.Draft{Name: fmt.Sprint("new ", round), Organization: "acme", Purpose: "agent", Scopes: []string{"tasks:read"}})
				if err != nil {
					t.Error(err)
				}
			})
			both.Go(func() {
				_, _ = w.tokens.Change(t.Context(), mel, old.Token.ID, tokens.Change{Name: optional.Of(fmt.Sprint("renamed ", round))})
			})
			both.Go(func() { set(optional.Of(1)) })
			both.Wait()
			for _, issued := range []tokens.Issued{old, made} {
				got, err := w.tokens.Token(t.Context(), mel, issued.Token.ID)
				w.ok(err)
				if got.ExpiresAt == nil || got.ExpiresAt.After(got.CreatedAt.Add(day)) {
					t.Fatalf("round %d: %s, made %v, ends %v", round, got.Name, got.CreatedAt, got.ExpiresAt)
				}
			}
		}
	})
}
