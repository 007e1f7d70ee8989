package org_test

import (
	"context"
	"errors"

	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/org"
	"carnet/internal/page"
	"carnet/internal/problem"
)

// acme is an organization with somebody of every role, and stray, who belongs to another one.
func acme(w *world) string {
	organization := w.found("acme", "olga owner", "otto owner", "ada admin", "alan admin", "mia manager", "max member", "mel member", "gina guest")
	w.found("elsewhere", "stray owner", "olga member", "ada member", "newton member")
	return organization
}

// TestWhoMayDoWhat tries every method as every role, as somebody outside, a token and nobody.
func TestWhoMayDoWhat(t *testing.T) {
	name := "Renamed"
	methods := []struct {
		what string
		call func(w *world, c access.Caller) error
		// by says what each gets; who is not listed gets role_insufficient.
		by map[string]problem.Code
	}{
		{"see", func(w *world, c access.Caller) error {
			_, err := w.org.Organization(context.Background(), c, "acme")
			return err
		}, map[string]problem.Code{"olga": "", "ada": "", "mia": "", "max": "", "gina": ""}},
		{"list members", func(w *world, c access.Caller) error {
			_, err := w.org.Members(context.Background(), c, "acme", page.Request{})
			return err
		}, map[string]problem.Code{"olga": "", "ada": "", "mia": "", "max": "", "gina": ""}},
		{"rename", func(w *world, c access.Caller) error {
			_, err := w.org.Update(context.Background(), c, "acme", org.Changes{Name: &name})
			return err
		}, map[string]problem.Code{"olga": "", "ada": ""}},
		{"add a member", func(w *world, c access.Caller) error {
			_, err := w.org.AddMember(context.Background(), c, "acme", org.NewMember{Email: "newton@example.com", Role: "member"})
			return err
		}, map[string]problem.Code{"olga": "", "ada": ""}},
		{"add an owner", func(w *world, c access.Caller) error {
			_, err := w.org.AddMember(context.Background(), c, "acme", org.NewMember{Email: "newton@example.com", Role: "owner"})
			return err
		}, map[string]problem.Code{"olga": ""}},
		{"change a role", func(w *world, c access.Caller) error {
			_, err := w.org.ChangeRole(context.Background(), c, "acme", "usr_mel", org.RoleChange{Role: "manager"})
			return err
		}, map[string]problem.Code{"olga": "", "ada": ""}},
		{"change an admin's role", func(w *world, c access.Caller) error {
			_, err := w.org.ChangeRole(context.Background(), c, "acme", "usr_alan", org.RoleChange{Role: "guest"})
			return err
		}, map[string]problem.Code{"olga": "", "ada": ""}},
		{"appoint an owner", func(w *world, c access.Caller) error {
			_, err := w.org.ChangeRole(context.Background(), c, "acme", "usr_mel", org.RoleChange{Role: "owner"})
			return err
		}, map[string]problem.Code{"olga": ""}},
		{"appoint themselves owner", func(w *world, c access.Caller) error {
			_, err := w.org.ChangeRole(context.Background(), c, "acme", c.UserID, org.RoleChange{Role: "owner"})
			return err
		}, map[string]problem.Code{"olga": ""}},
		{"demote an owner", func(w *world, c access.Caller) error {
			_, err := w.org.ChangeRole(context.Background(), c, "acme", "usr_otto", org.RoleChange{Role: "admin"})
			return err
		}, map[string]problem.Code{"olga": ""}},
		{"remove a member", func(w *world, c access.Caller) error {
			return w.org.RemoveMember(context.Background(), c, "acme", "usr_mel")
		}, map[string]problem.Code{"olga": "", "ada": ""}},
		{"remove an owner", func(w *world, c access.Caller) error {
			return w.org.RemoveMember(context.Background(), c, "acme", "usr_otto")
		}, map[string]problem.Code{"olga": ""}},
		{"remove nobody", func(w *world, c access.Caller) error {
			return w.org.RemoveMember(context.Background(), c, "acme", "usr_stray")
		}, map[string]problem.Code{"olga": problem.NotFound, "ada": problem.NotFound}},
		{"change nobody's role", func(w *world, c access.Caller) error {
			_, err := w.org.ChangeRole(context.Background(), c, "acme", "usr_none", org.RoleChange{Role: "nonsense"})
			return err
		}, map[string]problem.Code{"olga": problem.NotFound, "ada": problem.NotFound}},
		{"leave", func(w *world, c access.Caller) error {
			return w.org.Leave(context.Background(), c, "acme")
		}, map[string]problem.Code{"olga": "", "ada": "", "mia": "", "max": "", "gina": ""}},
		{"remove themselves", func(w *world, c access.Caller) error {
			return w.org.RemoveMember(context.Background(), c, "acme", c.UserID)
		}, map[string]problem.Code{"olga": "", "ada": "", "mia": "", "max": "", "gina": ""}},
	}
	each(t, func(t *testing.T, w *world) {
		organization := acme(w)
		for _, m := range methods {
			for _, who := range []string{"olga", "ada", "mia", "max", "gina", "stray"} {
				code, listed := m.by[who]
				switch {
				case who == "stray":
					code = problem.NotFound
				case !listed:
					code = problem.RoleInsufficient
				}
				want(t, who+" may "+m.what, undone(t, w, who, m.call), code)
			}
			want(t, "a token may "+m.what, m.call(w, w.token("olga", organization, access.Owner, access.ProjectSet{})), problem.SignInRequired)
			want(t, "nobody may "+m.what, m.call(w, access.Caller{}), problem.CredentialMissing)
		}
	})
}

// undone calls as the named person and brings the members back to what they were.
func undone(t *testing.T, w *world, name string, call func(*world, access.Caller) error) error {
	t.Helper()
	before := w.count(`SELECT count(*) FROM audit_events`)
	err := call(w, w.as(name))
	after := w.count(`SELECT count(*) FROM audit_events`)
	if err != nil && after != before {
		t.Errorf("%s was refused, and an event says that it was done", name)
	}
	w.exec(`DELETE FROM memberships WHERE organization_id = 'org_acme'`)
	for person, role := range map[string]string{"olga": "owner", "otto": "owner", "ada": "admin", "alan": "admin", "mia": "manager", "max": "member", "mel": "member", "gina": "guest"} {
		w.exec(`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ('org_acme', $1, $2, 1)`, "usr_"+person, role)
	}
	return err
}

func TestOwnOrganizationsAreListed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range 5 {
			w.found(fmt.Sprintf("team-%d", i), "ada admin")
		}
		w.found("other", "stray owner")
		w.exec(`UPDATE organizations SET plan = 'enterprise', name = 'Team 0' WHERE slug = 'team-0'`)
		var slugs []string
		request := page.Request{Limit: 2}
		for {
			p, err := w.org.Organizations(t.Context(), w.as("ada"), request)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range p.Items {
				slugs = append(slugs, o.Slug)
				if o.Slug == "team-0" && o != (org.Organization{Slug: "team-0", Name: "Team 0", Plan: "enterprise", Role: "admin", CreatedAt: w.clock()}) {
					t.Errorf("team-0 is %+v", o)
				}
			}
			if request.Cursor = p.NextCursor; p.NextCursor == "" {
				break
			}
		}
		if strings.Join(slugs, " ") != "team-0 team-1 team-2 team-3 team-4" {
			t.Errorf("listed: %v", slugs)
		}
		_, err := w.org.Organizations(t.Context(), w.token("ada", "org_team-0", access.Admin, access.ProjectSet{}), page.Request{})
		want(t, "a token lists organizations", err, problem.SignInRequired)
		_, err = w.org.Organizations(t.Context(), access.Caller{}, page.Request{})
		want(t, "nobody lists organizations", err, problem.CredentialMissing)
		p, err := w.org.Organizations(t.Context(), w.as("stray"), page.Request{Cursor: "x"})
		want(t, "a made-up cursor", err, problem.CursorInvalid)
		if p.Items != nil {
			t.Error("a made-up cursor finds something")
		}
	})
}

func TestFounding(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.user("ada")
		w.user("ben")
		created, err := w.org.Create(t.Context(), w.as("ada"), org.NewOrganization{Slug: "acme", Name: "  Acme e\u0301  "})
		if err != nil || created != (org.Organization{Slug: "acme", Name: "Acme é", Plan: "free", Role: "owner", CreatedAt: w.clock()}) {
			t.Fatalf("founded %+v, %v", created, err)
		}
		if got, err := w.org.Organization(t.Context(), w.as("ada"), "acme"); err != nil || got != created {
			t.Errorf("read back as %+v, %v", got, err)
		}
		_, err = w.org.Create(t.Context(), w.as("ben"), org.NewOrganization{Slug: "acme", Name: "Mine"})
		want(t, "a slug that is taken", err, problem.Conflict)
		_, err = w.org.Create(t.Context(), w.token("ada", "org_x", access.Owner, access.ProjectSet{}), org.NewOrganization{Slug: "second", Name: "x"})
		want(t, "a token founds", err, problem.SignInRequired)
		_, err = w.org.Create(t.Context(), access.Caller{}, org.NewOrganization{Slug: "second", Name: "x"})
		want(t, "nobody founds", err, problem.CredentialMissing)
		w.exec(`UPDATE users SET email_verified_at = NULL WHERE id = 'usr_ben'`)
		_, err = w.org.Create(t.Context(), w.as("ben"), org.NewOrganization{Slug: "!", Name: ""})
		want(t, "an unverified person founds", err, problem.EmailUnverified)
		malformed := problem.New(problem.RequestMalformed, "x")
		_, err = w.org.Create(t.Context(), w.as("ada"), org.NewOrganization{Slug: "second", Name: "x", Invalid: malformed})
		want(t, "what the door could not read", err, problem.RequestMalformed)
		for i := range org.OwnedLimit - 1 {
			if _, err := w.org.Create(t.Context(), w.as("ada"), org.NewOrganization{Slug: fmt.Sprintf("more-%d", i), Name: "x"}); err != nil {
				t.Fatal(err)
			}
		}
		_, err = w.org.Create(t.Context(), w.as("ada"), org.NewOrganization{Slug: "too-many", Name: "x"})
		want(t, "one more than the limit", err, problem.PolicyDenied)
		if n := w.count(`SELECT count(*) FROM organizations`); n != org.OwnedLimit {
			t.Errorf("there are %d organizations", n)
		}
	})
}

func TestSlugsAndNames(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.user("ada")
		for slug, good := range map[string]bool{
			"ab": true, "a1": true, "a-b-c": true, "team9": true, "a" + strings.Repeat("b", 39): true,
			"": false, "a": false, "a" + strings.Repeat("b", 40): false, "1a": false, "-ab": false, "Acme": false, "a_b": false, "a b": false,
			"a.b": false, "äb": false, "ab\n": false, "a/b": false, "api": false, "settings": false, "me": false, "new": false, "setup": false, "carnet": false,
		} {
			_, err := w.org.Create(t.Context(), w.as("ada"), org.NewOrganization{Slug: slug, Name: "n"})
			if good {
				want(t, "slug "+slug, err, "")
				continue
			}
			fieldsAre(t, err, "body.slug")
			if slug != "" && len(slug) > 3 && strings.Contains(err.Error(), slug) {
				t.Errorf("the refusal repeats %q: %v", slug, err)
			}
		}
		_, err := w.org.Create(t.Context(), w.as("ada"), org.NewOrganization{Slug: "X", Name: "a\x00"})
		fieldsAre(t, err, "body.slug", "body.name")
		long, blank, good := strings.Repeat("n", org.NameLimit+1), "  ", "New"
		for _, name := range []*string{&long, &blank} {
			_, err := w.org.Update(t.Context(), w.as("ada"), "ab", org.Changes{Name: name})
			fieldsAre(t, err, "body.name")
		}
		if o, err := w.org.Update(t.Context(), w.as("ada"), "ab", org.Changes{Name: &good}); err != nil || o.Name != "New" || o.Role != "owner" {
			t.Errorf("renamed to %+v, %v", o, err)
		}
		if o, err := w.org.Update(t.Context(), w.as("ada"), "ab", org.Changes{}); err != nil || o.Name != "New" {
			t.Errorf("without changes %+v, %v", o, err)
		}
	})
}

func fieldsAre(t *testing.T, err error, locations ...string) {
	t.Helper()
	var e *problem.Error
	if !errors.As(err, &e) || e.Code != problem.ValidationFailed {
		t.Errorf("not validation_failed: %v", err)
		return
	}
	var got []string
	for _, f := range e.Fields {
		got = append(got, f.Location)
	}
	if !slices.Equal(got, locations) {
		t.Errorf("wrong are %v, not %v", got, locations)
	}
}

// Whether an address has an account here is told to nobody who does not know already.
func TestAddingAStrangerTellsNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.found("acme", "ada admin", "olga owner")
		w.user("stranger")
		shared := w.found("shared", "ada guest", "guestmate member", "stray member")
		w.project(shared, "P", "private", "ada", "guestmate")
		gone := w.project(shared, "Q", "private", "ada", "stray")
		w.exec(`UPDATE projects SET deleted_at = 1 WHERE id = $1`, gone)
		w.found("club", "ada member", "mate guest", "unverified member")
		w.exec(`UPDATE users SET email_verified_at = NULL WHERE id = 'usr_unverified'`)
		add := func(email string) error {
			_, err := w.org.AddMember(t.Context(), w.as("ada"), "acme", org.NewMember{Email: email, Role: "member"})
			return err
		}
		nobody := add("nobody@example.com")
		fieldsAre(t, nobody, "body.email")
		for _, email := range []string{"stranger@example.com", "stray@example.com", "unverified@example.com", "", "not an address", "%@example.com", strings.Repeat("x", 5000)} {
			if err := add(email); err == nil || err.Error() != nobody.Error() {
				t.Errorf("%.40s is told from nobody: %v", email, err)
			}
		}
		want(t, "a person whom one meets as a guest in a project", add("guestmate@example.com"), "")
		want(t, "a person whom one meets as a member", add("  MATE@Example.com "), "")
		want(t, "a person who is a member already", add("mate@example.com"), problem.Conflict)
		want(t, "oneself", add("ada@example.com"), problem.Conflict)
		if w.role("org_acme", "mate") != "member" || w.role("org_acme", "guestmate") != "member" {
			t.Error("who was added is no member")
		}
	})
}

func TestRolesThatDoNotExistAreRefused(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		acme(w)
		for _, role := range []string{"", "Owner", "lead", "root"} {
			_, err := w.org.AddMember(t.Context(), w.as("olga"), "acme", org.NewMember{Email: "newton@example.com", Role: role})
			fieldsAre(t, err, "body.role")
			_, err = w.org.ChangeRole(t.Context(), w.as("olga"), "acme", "usr_mel", org.RoleChange{Role: role})
			fieldsAre(t, err, "body.role")
		}
		m, err := w.org.ChangeRole(t.Context(), w.as("olga"), "acme", "usr_mel", org.RoleChange{Role: "guest"})
		if err != nil || m != (org.Member{UserID: "usr_mel", Name: "mel", Email: "mel@example.com", Role: "guest"}) {
			t.Errorf("changed to %+v, %v", m, err)
		}
	})
}

func TestGuestsSeeOnlyThePeopleOfTheirProjects(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		organization := acme(w)
		shared := w.project(organization, "P", "private", "gina", "mel")
		open := w.project(organization, "Q", "organization", "max", "olga")
		gone := w.project(organization, "R", "private", "gina", "alan")
		w.exec(`UPDATE projects SET deleted_at = 1 WHERE id = $1`, gone)
		w.exec(`UPDATE users SET suspended_at = 1 WHERE id = 'usr_mel'`)
		everybody := "ada alan gina max mel mia olga otto"
		in := func(name string) access.Caller { c, _ := w.as(name).In("acme"); return c }
		for what, c := range map[string]struct {
			caller access.Caller
			want   string
		}{
			"a guest":                     {in("gina"), "gina mel"},
			"a member":                    {in("max"), everybody},
			"an owner":                    {in("olga"), everybody},
			"a guest's token":             {w.token("gina", organization, access.Guest, access.ProjectSet{}), "gina mel"},
			"a member's token":            {w.token("max", organization, access.Member, access.ProjectSet{}), everybody},
			"an owner's token for P":      {w.token("olga", organization, access.Owner, access.Only(shared)), "gina mel"},
			"a member's token for P":      {w.token("max", organization, access.Member, access.Only(shared)), ""},
			"a member's token for Q":      {w.token("max", organization, access.Member, access.Only(open)), "max olga"},
			"an owner's token for R":      {w.token("olga", organization, access.Owner, access.Only(gone)), ""},
			"an owner's token for none":   {w.token("olga", organization, access.Owner, access.Only()), ""},
			"a guest's token for P and Q": {w.token("gina", organization, access.Guest, access.Only(shared, open)), "gina mel"},
		} {
			p, err := w.org.Directory(t.Context(), c.caller, page.Request{})
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			var names []string
			for _, m := range p.Items {
				names = append(names, m.Name)
				if m.Suspended != (m.Name == "mel") || m.Email != m.Name+"@example.com" || m.UserID != "usr_"+m.Name || m.Role == "" {
					t.Errorf("%s sees %+v", what, m)
				}
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("%s sees %q, not %q", what, got, c.want)
			}
		}
		scopeless := w.token("olga", organization, access.Owner, access.ProjectSet{})
		scopeless.Scopes = access.ScopeSet(access.ScopeTasksRead)
		_, err := w.org.Directory(t.Context(), scopeless, page.Request{})
		want(t, "a token without members:read", err, problem.ScopeMissing)
		_, err = w.org.Directory(t.Context(), w.as("olga"), page.Request{})
		want(t, "a session that names no organization", err, problem.NotFound)
	})
}

// What verification saw may be old by the time of the write: the write looks again.
func TestWritesAreDecidedOnWhatHoldsNow(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		acme(w)
		caller := w.as("ada")
		w.exec(`UPDATE memberships SET role = 'member' WHERE user_id = 'usr_ada' AND organization_id = 'org_acme'`)
		name := "x"
		_, err := w.org.Update(t.Context(), caller, "acme", org.Changes{Name: &name})
		want(t, "a demoted admin renames", err, problem.RoleInsufficient)
		w.exec(`DELETE FROM memberships WHERE user_id = 'usr_ada' AND organization_id = 'org_acme'`)
		want(t, "a removed admin removes", w.org.RemoveMember(t.Context(), caller, "acme", "usr_mel"), problem.NotFound)
		caller = w.as("olga")
		w.exec(`UPDATE sessions SET ended_at = 1 WHERE id = 'ses_olga'`)
		want(t, "an ended session removes", w.org.RemoveMember(t.Context(), caller, "acme", "usr_mel"), problem.SessionEnded)
		_, err = w.org.Create(t.Context(), caller, org.NewOrganization{Slug: "more", Name: "x"})
		want(t, "an ended session founds", err, problem.SessionEnded)
		caller = w.as("otto")
		w.exec(`UPDATE users SET suspended_at = 1 WHERE id = 'usr_otto'`)
		want(t, "a suspended owner leaves", w.org.Leave(t.Context(), caller, "acme"), problem.SessionEnded)
	})
}

func TestOwnershipNeedsAFreshSignIn(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		acme(w)
		old := w.as("olga")
		w.pass(16 * time.Minute)
		ctx := t.Context()
		_, err := w.org.ChangeRole(ctx, old, "acme", "usr_mel", org.RoleChange{Role: "owner"})
		want(t, "appoint an owner", err, problem.ReauthenticationNeeded)
		_, err = w.org.ChangeRole(ctx, old, "acme", "usr_otto", org.RoleChange{Role: "member"})
		want(t, "demote an owner", err, problem.ReauthenticationNeeded)
		_, err = w.org.AddMember(ctx, old, "acme", org.NewMember{Email: "newton@example.com", Role: "owner"})
		want(t, "add an owner", err, problem.ReauthenticationNeeded)
		want(t, "remove an owner", w.org.RemoveMember(ctx, old, "acme", "usr_otto"), problem.ReauthenticationNeeded)
		want(t, "leave as an owner", w.org.Leave(ctx, old, "acme"), problem.ReauthenticationNeeded)
		_, err = w.org.ChangeRole(ctx, old, "acme", "usr_mel", org.RoleChange{Role: "admin"})
		want(t, "an ordinary change of role", err, "")
		want(t, "an ordinary removal", w.org.RemoveMember(ctx, old, "acme", "usr_mel"), "")
	})
}

func TestWhoLeavesLosesTheirProjectsAndKeepsTheirTokens(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		organization := acme(w)
		w.project(organization, "P", "private", "mel", "max")
		elsewhere := w.project("org_elsewhere", "Q", "private", "ada")
		w.project(organization, "R", "private", "ada")
		w.exec(`INSERT INTO tokens (organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id, created_at, created_from, created_via) VALUES ('org_acme', 'tok_1', 'usr_mel', 'personal', 'T', 't', 1, 0, 'carnet_pat_', 'l', 1, '', '')`)
		want(t, "remove mel", w.org.RemoveMember(t.Context(), w.as("ada"), "acme", "usr_mel"), "")
		want(t, "ada leaves", w.org.Leave(t.Context(), w.as("ada"), "acme"), "")
		if n := w.count(`SELECT count(*) FROM project_members WHERE organization_id = 'org_acme'`); n != 1 {
			t.Errorf("%d people are left in the projects, not max alone", n)
		}
		if n := w.count(`SELECT count(*) FROM project_members WHERE project_id = $1`, elsewhere); n != 1 {
			t.Error("leaving one organization cost a project in another")
		}
		if n := w.count(`SELECT count(*) FROM tokens WHERE revoked_at IS NULL`); n != 1 {
			t.Error("the token was touched")
		}
	})
}

func TestChangesAreRecordedWithWhoMadeThem(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		acme(w)
		name := "New"
		_, err := w.org.Update(ctx, w.as("olga"), "acme", org.Changes{Name: &name})
		want(t, "rename", err, "")
		_, err = w.org.AddMember(ctx, w.as("olga"), "acme", org.NewMember{Email: "newton@example.com", Role: "guest"})
		want(t, "add", err, "")
		_, err = w.org.ChangeRole(ctx, w.as("olga"), "acme", "usr_newton", org.RoleChange{Role: "member"})
		want(t, "change", err, "")
		_, err = w.org.ChangeRole(ctx, w.as("olga"), "acme", "usr_newton", org.RoleChange{Role: "member"})
		want(t, "change nothing", err, "")
		want(t, "remove", w.org.RemoveMember(ctx, w.as("olga"), "acme", "usr_newton"), "")
		want(t, "leave", w.org.Leave(ctx, w.as("mel"), "acme"), "")
		want(t, "plan", w.org.Operators().SetPlan(ctx, "acme", "team"), "")
		want(t, "plan again", w.org.Operators().SetPlan(ctx, "acme", "team"), "")
		got := strings.Join(w.actions(), "\n")
		expected := strings.Join([]string{
			`organization.updated by "usr_olga" on org_acme {"fields":["name"]}`,
			`member.added by "usr_olga" on usr_newton {"role":"guest"}`,
			`member.role_changed by "usr_olga" on usr_newton {"from":"guest","to":"member"}`,
			`member.removed by "usr_olga" on usr_newton {"role":"member"}`,
			`member.left by "usr_mel" on usr_mel {"role":"member"}`,
			`organization.plan_changed by "" on org_acme {"from":"free","operator":true,"to":"team"}`,
		}, "\n")
		if got != expected {
			t.Errorf("recorded\n%s\nnot\n%s", got, expected)
		}
		// What cannot be recorded does not happen.
		w.exec(`ALTER TABLE audit_events RENAME TO away`)
		if err := w.org.RemoveMember(ctx, w.as("olga"), "acme", "usr_max"); err == nil || w.role("org_acme", "max") != "member" {
			t.Errorf("a removal without a record: %v", err)
		}
	})
}
