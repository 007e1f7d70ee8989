package org_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/problem"
)

// shortened notes what a policy asks of the room of tokens.
type shortened struct{ asked []string }

func (s *shortened) ShortenIn(_ context.Context, _ *sql.Tx, organizationID string, life time.Duration) error {
	s.asked = append(s.asked, fmt.Sprint(organizationID, " ", life))
	return nil
}

func number(n int) *int { return &n }

// policy is the one of an organization that has set none; change what matters.
func policy(change func(*org.AgentPolicy)) org.AgentPolicy {
	p := org.AgentPolicy{Enabled: true, Scopes: access.AllScopes().Names(), Destructive: []string{}, WritesPerHour: number(1000)}
	if change != nil {
		change(&p)
	}
	return p
}

func same(t *testing.T, what string, got, want org.AgentPolicy) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: the policy is %s, not %s", what, said(got), said(want))
	}
}

func said(p org.AgentPolicy) string {
	limit := func(n *int) string {
		if n == nil {
			return "none"
		}
		return fmt.Sprint(*n)
	}
	return fmt.Sprintf("enabled %t, scopes %v, destructive %v, days %s, writes %s", p.Enabled, p.Scopes, p.Destructive, limit(p.MaxLifetimeDays), limit(p.WritesPerHour))
}

func TestMembersReadTheAgentPolicyAndAdminsChangeIt(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		organization := acme(w)
		w.org.Agents = &shortened{}
		read := func(c access.Caller) error { _, err := w.org.AgentPolicy(t.Context(), c, "acme"); return err }
		change := func(c access.Caller) error {
			_, err := w.org.SetAgentPolicy(t.Context(), c, "acme", org.PolicyChange{Enabled: optional.Of(false)})
			return err
		}
		for name, may := range map[string][2]problem.Code{
			"olga": {"", ""}, "ada": {"", ""}, "mia": {"", problem.RoleInsufficient}, "max": {"", problem.RoleInsufficient},
			"gina": {"", problem.RoleInsufficient}, "stray": {problem.NotFound, problem.NotFound},
		} {
			before := len(w.actions())
			want(t, name+" reads", read(w.as(name)), may[0])
			want(t, name+" changes", change(w.as(name)), may[1])
			if recorded := len(w.actions()) - before; (may[1] == "") != (recorded == 1) {
				t.Errorf("%s changes: %d events on record", name, recorded)
			}
		}
		byToken := w.token("olga", organization, access.Owner, access.ProjectSet{})
		want(t, "a token reads", read(byToken), problem.SignInRequired)
		want(t, "a token changes", change(byToken), problem.SignInRequired)
		want(t, "nobody reads", read(access.Caller{}), problem.CredentialMissing)
		want(t, "nobody changes", change(access.Caller{}), problem.CredentialMissing)

		old := w.as("ada")
		w.pass(15 * time.Minute)
		want(t, "with a sign-in of a while ago", change(old), problem.ReauthenticationNeeded)
		want(t, "reading needs no fresh one", read(old), "")
		// What does not hold is told first: nobody proves who they are for nothing.
		_, err := w.org.SetAgentPolicy(t.Context(), old, "acme", org.PolicyChange{WritesPerHour: optional.Of(0)})
		want(t, "a bad change with a sign-in of a while ago", err, problem.ValidationFailed)
		w.exec(`UPDATE sessions SET ended_at = 1 WHERE id = 'ses_olga'`)
		want(t, "with a session that ended meanwhile", change(w.as("olga")), problem.SessionEnded)
	})
}

func TestAbsentFieldsOfThePolicyStay(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		acme(w)
		agents := &shortened{}
		w.org.Agents = agents
		got, err := w.org.AgentPolicy(t.Context(), w.as("max"), "acme")
		want(t, "read", err, "")
		same(t, "nobody set it", got, policy(nil))
		wanted := policy(nil)
		for _, step := range []struct {
			what   string
			change org.PolicyChange
			effect func(*org.AgentPolicy)
		}{
			{"nothing", org.PolicyChange{}, func(*org.AgentPolicy) {}},
			{"off", org.PolicyChange{Enabled: optional.Of(false)}, func(p *org.AgentPolicy) { p.Enabled = false }},
			{
				"scopes, out of order and twice", org.PolicyChange{Scopes: optional.Of([]string{"tasks:write", "projects:read", "tasks:write"})},
				func(p *org.AgentPolicy) { p.Scopes = []string{"projects:read", "tasks:write"} },
			},
			{
				"what may be destroyed", org.PolicyChange{Destructive: optional.Of([]string{"comments:moderate", "tasks:delete", "tasks:delete"})},
				func(p *org.AgentPolicy) { p.Destructive = []string{"tasks:delete", "comments:moderate"} },
			},
			{"days", org.PolicyChange{MaxLifetimeDays: optional.Of(30)}, func(p *org.AgentPolicy) { p.MaxLifetimeDays = number(30) }},
			{"no limit of writes", org.PolicyChange{WritesPerHour: optional.Null[int]()}, func(p *org.AgentPolicy) { p.WritesPerHour = nil }},
			{"writes", org.PolicyChange{WritesPerHour: optional.Of(7)}, func(p *org.AgentPolicy) { p.WritesPerHour = number(7) }},
			{"no scopes", org.PolicyChange{Scopes: optional.Of([]string{})}, func(p *org.AgentPolicy) { p.Scopes = []string{} }},
			{"all scopes", org.PolicyChange{Scopes: optional.Of(access.AllScopes().Names())}, func(p *org.AgentPolicy) { p.Scopes = access.AllScopes().Names() }},
			{"nothing may be destroyed", org.PolicyChange{Destructive: optional.Of([]string{})}, func(p *org.AgentPolicy) { p.Destructive = []string{} }},
			{"no limit of days", org.PolicyChange{MaxLifetimeDays: optional.Null[int]()}, func(p *org.AgentPolicy) { p.MaxLifetimeDays = nil }},
			{"on", org.PolicyChange{Enabled: optional.Of(true)}, func(p *org.AgentPolicy) { p.Enabled = true }},
		} {
			step.effect(&wanted)
			got, err := w.org.SetAgentPolicy(t.Context(), w.as("ada"), "acme", step.change)
			want(t, step.what, err, "")
			same(t, step.what+", as answered", got, wanted)
			got, err = w.org.AgentPolicy(t.Context(), w.as("max"), "acme")
			want(t, step.what, err, "")
			same(t, step.what+", as stored", got, wanted)
			if off := w.count(`SELECT count(*) FROM organizations WHERE slug = 'elsewhere' AND agents_off = 0 AND agent_scopes = -1 AND agent_write_rate = 1000`); off != 1 {
				t.Errorf("%s: another organization's policy changed", step.what)
			}
		}
		if all := w.count(`SELECT agent_scopes FROM organizations WHERE slug = 'acme'`); all != -1 {
			t.Errorf("all scopes are stored as %d: those of later versions would be left out", all)
		}
		// The limit of days is brought to the tokens with each change while there is one.
		if asked := slices.Compact(agents.asked); len(asked) != 1 || asked[0] != "org_acme 720h0m0s" {
			t.Errorf("tokens were shortened to %v", asked)
		}
		last := w.actions()[len(w.actions())-1]
		if !strings.HasPrefix(last, `organization.agent_policy_changed by "usr_ada" on org_acme`) || !strings.Contains(last, `"before"`) || !strings.Contains(last, `"after"`) {
			t.Errorf("on record is %s", last)
		}
	})
}

func TestWhatDoesNotHoldInAPolicyIsNamed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		acme(w)
		w.org.Agents = &shortened{}
		for location, change := range map[string]org.PolicyChange{
			"body.scopes[1]":      {Scopes: optional.Of([]string{"tasks:read", "tasks:admin"})},
			"body.destructive[0]": {Destructive: optional.Of([]string{"tasks:write"})}, // one that there is, and that destroys nothing
			"body.destructive[1]": {Destructive: optional.Of([]string{"tasks:delete", ""})},
			"body":                {Invalid: problem.Invalid("body", "bad")},
		} {
			refusedAt(t, w, change, location)
		}
		for _, n := range []int{-1, 0, org.AgentDaysLimit + 1} {
			refusedAt(t, w, org.PolicyChange{MaxLifetimeDays: optional.Of(n)}, "body.max_lifetime_days")
		}
		for _, n := range []int{-1, 0, org.AgentWriteRateLimit + 1} {
			refusedAt(t, w, org.PolicyChange{WritesPerHour: optional.Of(n)}, "body.writes_per_hour")
		}
		refusedAt(t, w, org.PolicyChange{Enabled: optional.Of(false), WritesPerHour: optional.Of(0), MaxLifetimeDays: optional.Of(0)}, "body.max_lifetime_days", "body.writes_per_hour")
		got, err := w.org.AgentPolicy(t.Context(), w.as("ada"), "acme")
		want(t, "read", err, "")
		same(t, "after nothing but refusals", got, policy(nil))
		for _, change := range []org.PolicyChange{
			{MaxLifetimeDays: optional.Of(1), WritesPerHour: optional.Of(1)},
			{MaxLifetimeDays: optional.Of(org.AgentDaysLimit), WritesPerHour: optional.Of(org.AgentWriteRateLimit)},
		} {
			_, err := w.org.SetAgentPolicy(t.Context(), w.as("ada"), "acme", change)
			want(t, "at the limits", err, "")
		}
	})
}

func refusedAt(t *testing.T, w *world, change org.PolicyChange, locations ...string) {
	t.Helper()
	_, err := w.org.SetAgentPolicy(t.Context(), w.as("ada"), "acme", change)
	var e *problem.Error
	if !errors.As(err, &e) || e.Code != problem.ValidationFailed {
		t.Errorf("%v: %v", locations, err)
		return
	}
	var named []string
	for _, f := range e.Fields {
		named = append(named, f.Location)
	}
	if !slices.Equal(named, locations) {
		t.Errorf("the refusal names %v, not %v", named, locations)
	}
}

// A store can hold what a later version wrote. What this one does not know, it does not allow.
func TestPolicyOfALaterVersionAllowsNothingUnknown(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		acme(w)
		w.exec(`UPDATE organizations SET agent_destructive = 'projects:burn tasks:delete tasks:write', agent_scopes = $1 WHERE slug = 'acme'`, int64(1)<<40|1)
		got, err := w.org.AgentPolicy(t.Context(), w.as("ada"), "acme")
		want(t, "read", err, "")
		same(t, "of a later version", got, policy(func(p *org.AgentPolicy) {
			p.Scopes, p.Destructive = []string{"projects:read"}, []string{"tasks:delete"}
		}))
		if rules := got.Rules(); rules.Off || rules.Scopes.Names()[0] != "projects:read" || !slices.Equal(rules.Destructive.Names(), []string{"tasks:delete"}) {
			t.Errorf("its rules are %+v", rules)
		}
	})
}
