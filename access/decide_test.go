package access_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"carnet/access"
)

// expected is the order of refusal of the public contract, written a second time from the tables of this test: kind of
// credential, scope, what the organization keeps from agents, then organization, project set and visibility, then role.
func expected(c access.Caller, p access.Permission, r access.Resource) access.Decision {
	if c.Kind == access.Anonymous {
		return access.NeedCredential
	}
	if c.Kind == access.TokenCaller {
		if interactive.Has(p) {
			return access.NeedSignIn
		}
		covered := false
		for scope, row := range scopeTable {
			for _, granted := range row {
				covered = covered || granted == p && c.Scopes.Has(scope)
			}
		}
		if !covered {
			return access.NeedScope
		}
		if c.Purpose == access.Agent && contains(c.Withheld.Names(), p.String()) {
			return access.NeedPolicy
		}
	}
	if p == access.AccountManage || p == access.TokensManage {
		return access.Allowed
	}
	if c.Role == access.NoRole || c.Organization == "" || c.Organization != r.Organization {
		return access.Absent
	}
	if row, ok := organizationTable[p]; ok {
		if p == access.ProjectsCreate && c.Kind == access.TokenCaller && c.Projects.Restricted() {
			return access.NeedUnrestricted
		}
		if !row[c.Role] {
			return access.NeedRole
		}
		return access.Allowed
	}
	if r.Project == "" || c.Kind == access.TokenCaller && c.Projects.Restricted() && !contains(c.Projects.IDs(), r.Project) {
		return access.Absent
	}
	role := actsAs[c.Role][r.Visibility][r.Given]
	if role == access.NoProjectRole {
		return access.Absent
	}
	if !projectTable[p][role] {
		return access.NeedRole
	}
	return access.Allowed
}

func contains(list []string, text string) bool {
	for _, element := range list {
		if element == text {
			return true
		}
	}
	return false
}

// TestEveryDecision compares all that there is to decide: every kind, role, scope set that matters, project set,
// permission, organization, project, visibility and given role.
func TestEveryDecision(t *testing.T) {
	t.Parallel()
	sets := []access.Scopes{0, access.AllScopes()}
	for _, e := range access.Catalogue() {
		sets = append(sets, access.ScopeSet(e.Scope), access.AllScopes()&^access.ScopeSet(e.Scope))
	}
	projects := []access.ProjectSet{{}, access.Only(), access.Only("in"), access.Only("in", "other")}
	decided := 0
	for _, kind := range []access.Kind{access.Anonymous, access.SessionCaller, access.TokenCaller} {
		for _, role := range allRoles {
			for _, set := range sets {
				for _, limit := range projects {
					for _, organization := range []string{"", "o"} {
						c := access.Caller{Kind: kind, UserID: "u", Organization: organization, Role: role, Scopes: set, Projects: limit}
						decided += decideAll(t, c)
					}
				}
			}
		}
	}
	if t.Failed() {
		return
	}
	t.Logf("%d decisions", decided)
}

func decideAll(t *testing.T, c access.Caller) (decided int) {
	for _, organization := range []string{"", "o", "elsewhere"} {
		for _, project := range []string{"", "in", "out"} {
			for _, visibility := range visibilities {
				for _, given := range givenRoles {
					r := access.Resource{Organization: organization, Project: project, Visibility: visibility, Given: given}
					for _, p := range access.AllPermissions() {
						decided++
						if got, want := access.Decide(&c, p, r), expected(c, p, r); got != want {
							t.Fatalf("%s by %+v on %+v: %d, not %d", p, c, r, got, want)
						}
					}
				}
			}
		}
	}
	return decided
}

func TestRefusalsComeInTheOrderOfTheContract(t *testing.T) {
	t.Parallel()
	// A token to which everything is wrong, mended step by step: each step shows the next refusal.
	c := access.Caller{Kind: access.Anonymous, UserID: "u", Organization: "o", Role: access.Guest, Projects: access.Only("other")}
	r := access.Resource{Organization: "elsewhere", Project: "p", Visibility: access.Private, Given: access.NoProjectRole}
	steps := []struct {
		mend   func()
		want   access.Decision
		reason string
	}{
		{func() {}, access.NeedCredential, "credential"},
		{func() { c.Kind = access.TokenCaller }, access.NeedScope, "scope"},
		{func() { c.Scopes = access.AllScopes() }, access.Absent, "project"},
		{func() { r.Organization = "o" }, access.Absent, "project"},
		{func() { c.Projects = access.Only("p") }, access.Absent, "project"},
		{func() { r.Given = access.Viewer }, access.NeedRole, "role"},
		{func() { r.Given = access.Contributor }, access.Allowed, ""},
	}
	for i, step := range steps {
		step.mend()
		if got := access.Decide(&c, access.TasksWrite, r); got != step.want || got.Reason() != step.reason {
			t.Errorf("step %d: %d with reason %q, not %d with %q", i, got, got.Reason(), step.want, step.reason)
		}
	}
	c.Scopes = 0
	if got := access.Decide(&c, access.TokensManage, access.Resource{}); got != access.NeedSignIn || got.Reason() != "signin" {
		t.Errorf("a token without scopes at what needs a sign-in: %d, which is not the first thing to say", got)
	}
	c.Scopes = access.AllScopes()
	if got := access.Decide(&c, access.ProjectsCreate, access.Resource{Organization: "o"}); got != access.NeedUnrestricted || got.Reason() != "project" {
		t.Errorf("a guest's project-scoped token at creating a project: %d", got)
	}
}

func TestZeroValuesMayDoNothing(t *testing.T) {
	t.Parallel()
	var nobody access.Caller
	var filter access.Filter
	if filter.Reach != access.ReachNothing {
		t.Error("the zero filter lets something through")
	}
	if f := nobody.Visible(); f.Reach != access.ReachNothing {
		t.Error("nobody sees something")
	}
	for _, p := range access.AllPermissions() {
		if d := access.Decide(&nobody, p, access.Resource{Organization: "o", Project: "p", Given: access.Lead}); d != access.NeedCredential {
			t.Errorf("nobody may %s: %d", p, d)
		}
	}
	var none access.Decision
	if none == access.Allowed || none.Reason() == "" {
		t.Error("no decision is taken for one that allows")
	}
}

func TestInGivesTheRoleOfTheMembership(t *testing.T) {
	t.Parallel()
	c := access.Caller{Kind: access.SessionCaller, UserID: "u", Memberships: []access.Membership{
		{Organization: "org_1", Slug: "acme", Name: "Acme", Plan: access.Team, Role: access.Admin},
		{Organization: "org_2", Slug: "gone", Role: access.NoRole},
	}}
	in, ok := c.In("acme")
	if !ok || in.Organization != "org_1" || in.OrganizationSlug != "acme" || in.Plan != access.Team || in.Role != access.Admin || in.UserID != "u" {
		t.Errorf("in acme: %+v", in)
	}
	if c.Organization != "" {
		t.Error("the caller itself was changed")
	}
	for _, slug := range []string{"", "gone", "other", "ACME"} {
		if in, ok := c.In(slug); ok || in.Kind != access.Anonymous {
			t.Errorf("in %q: %+v", slug, in)
		}
	}
	c.Kind = access.TokenCaller
	if _, ok := c.In("acme"); ok {
		t.Error("a token changed its organization")
	}
}

// drawCaller makes any caller that verification could make, and some that it never would.
func drawCaller(t *rapid.T, kind access.Kind) access.Caller {
	c := access.Caller{
		Kind: kind, UserID: "u",
		Organization: rapid.SampledFrom([]string{"o", "o", "o", ""}).Draw(t, "organization"),
		Role:         rapid.SampledFrom(allRoles).Draw(t, "role"),
		Purpose:      rapid.SampledFrom([]access.Purpose{access.Personal, access.Agent}).Draw(t, "purpose"),
		Scopes:       drawScopes(t, "scopes"),
		Projects:     drawProjects(t, "projects"),
		Withheld:     access.Permissions(rapid.Uint32().Draw(t, "withheld")),
	}
	return c
}

func drawScopes(t *rapid.T, label string) access.Scopes {
	return access.Scopes(rapid.Uint16().Draw(t, label))
}

var projectIDs = []string{"a", "b", "c", "d"}

func drawProjects(t *rapid.T, label string) access.ProjectSet {
	if rapid.Bool().Draw(t, label+" unrestricted") {
		return access.ProjectSet{}
	}
	return access.Only(rapid.SliceOfN(rapid.SampledFrom(projectIDs), 0, 5).Draw(t, label)...)
}

func drawResource(t *rapid.T) access.Resource {
	return access.Resource{
		Organization: rapid.SampledFrom([]string{"o", "o", "o", "", "elsewhere"}).Draw(t, "resource organization"),
		Project:      rapid.SampledFrom(append([]string{""}, projectIDs...)).Draw(t, "project"),
		Visibility:   rapid.SampledFrom(visibilities).Draw(t, "visibility"),
		Given:        rapid.SampledFrom(givenRoles).Draw(t, "given"),
	}
}

var drawPermission = rapid.SampledFrom(access.AllPermissions())

func TestTokenNeverDoesMoreThanItsUser(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		token := drawCaller(t, access.TokenCaller)
		user := token
		user.Kind, user.Scopes, user.Projects = access.SessionCaller, 0, access.ProjectSet{}
		p, r := drawPermission.Draw(t, "permission"), drawResource(t)
		if access.Decide(&token, p, r) == access.Allowed && access.Decide(&user, p, r) != access.Allowed {
			t.Fatalf("the token may %s on %+v, its user may not", p, r)
		}
		if token.OrganizationPermissions()&^user.OrganizationPermissions() != 0 || token.ProjectPermissions(r)&^user.ProjectPermissions(r) != 0 {
			t.Fatal("the token is told that it may do more than its user")
		}
	})
}

func TestNarrowerTokenNeverDoesMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		wide := drawCaller(t, access.TokenCaller)
		narrow := wide
		narrow.Scopes, narrow.Projects = drawScopes(t, "fewer scopes"), drawProjects(t, "fewer projects")
		if !narrow.Scopes.Within(wide.Scopes) || !narrow.Projects.Within(wide.Projects) {
			t.Skip("not narrower")
		}
		p, r := drawPermission.Draw(t, "permission"), drawResource(t)
		if access.Decide(&narrow, p, r) == access.Allowed && access.Decide(&wide, p, r) != access.Allowed {
			t.Fatalf("the narrower token may %s on %+v, the wider one may not", p, r)
		}
	})
}

func TestGreaterRoleMayDoAllThatALesserMay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lesser := drawCaller(t, rapid.SampledFrom([]access.Kind{access.SessionCaller, access.TokenCaller}).Draw(t, "kind"))
		greater := lesser
		greater.Role = rapid.SampledFrom(allRoles).Filter(func(r access.Role) bool { return r >= lesser.Role }).Draw(t, "greater role")
		p, r := drawPermission.Draw(t, "permission"), drawResource(t)
		if access.Decide(&lesser, p, r) == access.Allowed && access.Decide(&greater, p, r) != access.Allowed {
			t.Fatalf("%q may %s on %+v, %q may not", lesser.Role, p, r, greater.Role)
		}
		raised := r
		raised.Given = rapid.SampledFrom(givenRoles).Filter(func(g access.ProjectRole) bool { return g >= r.Given }).Draw(t, "greater project role")
		if access.Decide(&lesser, p, r) == access.Allowed && access.Decide(&lesser, p, raised) != access.Allowed {
			t.Fatalf("as %q one may %s, as %q not", r.Given, p, raised.Given)
		}
	})
}

func TestScopesWithinAgreesWithWhatTheyCover(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawScopes(t, "a"), drawScopes(t, "b"), drawScopes(t, "c")
		subset := true
		for _, p := range access.AllPermissions() {
			subset = subset && (!a.Covers().Has(p) || b.Covers().Has(p))
		}
		if a.Within(b) != subset {
			t.Fatalf("%q within %q = %t", a, b, a.Within(b))
		}
		if !a.Within(a) || !access.Scopes(0).Within(a) || !a.Within(access.AllScopes()) {
			t.Fatal("within is not an order with a least and a greatest")
		}
		if a.Within(b) && b.Within(c) && !a.Within(c) {
			t.Fatal("within is not transitive")
		}
		if (a | b).Covers() != a.Covers()|b.Covers() {
			t.Fatal("together they let through what neither does")
		}
	})
}

func TestProjectSetsAreSets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawProjects(t, "a"), drawProjects(t, "b"), drawProjects(t, "c")
		// Four ids are in play; a fifth stands for all others, which only an unrestricted set contains.
		subset := true
		for _, id := range append([]string{"another"}, projectIDs...) {
			subset = subset && (!a.Contains(id) || b.Contains(id))
		}
		if a.Within(b) != subset {
			t.Fatalf("%v within %v = %t", a.IDs(), b.IDs(), a.Within(b))
		}
		if !a.Within(a) || !a.Within(access.ProjectSet{}) || !access.Only().Within(a) {
			t.Fatal("within is not an order with a least and a greatest")
		}
		if a.Within(b) && b.Within(c) && !a.Within(c) {
			t.Fatal("within is not transitive")
		}
		if a.Restricted() == a.Contains("another") || a.Restricted() != (a.IDs() != nil) {
			t.Fatal("restricted says something else than contains")
		}
		for _, id := range a.IDs() {
			if !a.Contains(id) {
				t.Fatalf("%s is in the list and not in the set", id)
			}
		}
		if a.Restricted() && fmt.Sprint(access.Only(a.IDs()...).IDs()) != fmt.Sprint(a.IDs()) {
			t.Fatal("the list does not make the same set")
		}
	})
}

func TestProjectSetKeepsItsOwnList(t *testing.T) {
	t.Parallel()
	ids := []string{"b", "a", "b"}
	set := access.Only(ids...)
	ids[0] = "z"
	set.IDs()[0] = "z"
	if !set.Contains("a") || !set.Contains("b") || set.Contains("z") || len(set.IDs()) != 2 {
		t.Errorf("the set became %v", set.IDs())
	}
	if ids[0] != "z" || ids[1] != "a" {
		t.Error("the caller's list was sorted")
	}
}

// passes is what a query with the filter lets through, said in Go.
func passes(f access.Filter, r access.Resource) bool {
	if f.Organization == "" || f.Organization != r.Organization || !f.Projects.Contains(r.Project) {
		return false
	}
	switch f.Reach {
	case access.ReachOrganization:
		return true
	case access.ReachOwnAndOpen:
		return r.Visibility == access.OrganizationVisible || r.Given != access.NoProjectRole
	case access.ReachOwn:
		return r.Given != access.NoProjectRole
	default:
		return false
	}
}

func TestFilterLetsThroughExactlyWhatDecideDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]access.Kind{access.Anonymous, access.SessionCaller, access.TokenCaller}).Draw(t, "kind")
		c, r := drawCaller(t, kind), drawResource(t)
		c.Scopes, c.Withheld = access.AllScopes(), 0
		if r.Project == "" {
			r.Project = "a"
		}
		if allowed := access.Decide(&c, access.ProjectsRead, r) == access.Allowed; allowed != passes(c.Visible(), r) {
			t.Fatalf("decide says %t, the filter %t", allowed, !allowed)
		}
	})
}

func TestSessionsAreNotNarrowedByWhatNarrowsTokens(t *testing.T) {
	t.Parallel()
	c := access.Caller{Kind: access.SessionCaller, UserID: "u", Organization: "o", Role: access.Owner, Projects: access.Only("p")}
	if c.Visible().Projects.Restricted() {
		t.Error("a session's filter is limited to projects")
	}
	if d := access.Decide(&c, access.TasksWrite, access.Resource{Organization: "o", Project: "q"}); d != access.Allowed {
		t.Errorf("an owner's session in another project: %d", d)
	}
}

// benchmarkCaller is what a real token looks like: a member's, with some scopes and projects.
func benchmarkCaller() (access.Caller, access.Resource) {
	c := access.Caller{
		Kind: access.TokenCaller, UserID: "usr_1", Organization: "org_1", Role: access.Member,
		Scopes:   access.ScopeSet(access.ScopeTasksWrite, access.ScopeProjectsRead),
		Projects: access.Only("prj_1", "prj_2", "prj_3", "prj_4", "prj_5"),
	}
	return c, access.Resource{Organization: "org_1", Project: "prj_4", Visibility: access.OrganizationVisible}
}

func TestDecidingDoesNotAllocate(t *testing.T) {
	c, r := benchmarkCaller()
	allocations := testing.AllocsPerRun(100, func() {
		for p := range access.Permission(16) {
			_ = access.Decide(&c, p, r)
			_ = access.May(&c, p)
		}
		_ = c.OrganizationPermissions()
		_ = c.ProjectPermissions(r)
		_ = c.Visible()
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func BenchmarkDecide(b *testing.B) {
	c, r := benchmarkCaller()
	b.ReportAllocs()
	for b.Loop() {
		if access.Decide(&c, access.TasksWrite, r) != access.Allowed {
			b.Fatal("refused")
		}
	}
}

// TestAgentsAreKeptFromWhatTheirOrganizationWithholds is the agent policy in the rules: it binds agents alone, it is
// told before anything is looked up, and it only ever takes away.
func TestAgentsAreKeptFromWhatTheirOrganizationWithholds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bound := drawCaller(t, access.TokenCaller)
		free := bound
		free.Withheld = 0
		p, r := drawPermission.Draw(t, "permission"), drawResource(t)
		before, after := access.Decide(&free, p, r), access.Decide(&bound, p, r)
		withheld := bound.Purpose == access.Agent && bound.Withheld.Has(p) && access.May(&free, p) == access.Allowed
		switch {
		case withheld && (after != access.NeedPolicy || access.May(&bound, p) != access.NeedPolicy || after.Reason() != "policy"):
			t.Fatalf("%s is withheld, and the decision is %d", p, after)
		case !withheld && after != before:
			t.Fatalf("%s is not withheld, and the decision is %d instead of %d", p, after, before)
		}
	})
}

func TestAgentPolicyWithholds(t *testing.T) {
	t.Parallel()
	destructive := access.PermissionSet(access.ProjectsDelete, access.TasksDelete, access.CommentsDelete, access.CommentsModerate)
	if got := access.PermissionSet(access.Destructive()...); got != destructive {
		t.Errorf("destructive are %v", got.Names())
	}
	for _, c := range []struct {
		name   string
		policy access.AgentPolicy
		want   access.Permissions
	}{
		{"the default", access.DefaultAgentPolicy(), destructive},
		{"one enabled", access.AgentPolicy{Scopes: access.AllScopes(), Destructive: access.PermissionSet(access.TasksDelete)}, destructive &^ access.PermissionSet(access.TasksDelete)},
		{"what is not destructive enabled", access.AgentPolicy{Scopes: access.AllScopes(), Destructive: access.PermissionSet(access.TasksWrite)}, destructive},
		{"reads only", access.AgentPolicy{Scopes: access.ScopeSet(access.ScopeTasksRead, access.ScopeProjectsRead), Destructive: destructive}, access.AllScopes().Covers() &^ access.PermissionSet(access.TasksRead, access.ProjectsRead)},
		{"off", access.AgentPolicy{Off: true, Scopes: access.AllScopes(), Destructive: destructive}, access.AllScopes().Covers()},
		{"nothing", access.AgentPolicy{}, access.AllScopes().Covers()},
	} {
		if got := c.policy.Withholds(); got != c.want {
			t.Errorf("%s withholds %v, not %v", c.name, got.Names(), c.want.Names())
		}
	}
	for _, p := range access.AllPermissions() {
		got, ok := access.ParseDestructive(p.String())
		if ok != destructive.Has(p) || ok && got != p {
			t.Errorf("%s is read as %s, %t", p, got, ok)
		}
	}
	if _, ok := access.ParseDestructive(""); ok {
		t.Error("no name is read as something")
	}
}
