package access_test

import (
	"slices"
	"strings"
	"testing"

	"carnet/access"
)

// Stored grants are bits, so a scope that moved would change what existing tokens may do.
var scopePositions = map[string]int64{
	"projects:read": 1, "projects:write": 2, "tasks:read": 4, "tasks:write": 8,
	"comments:read": 16, "comments:write": 32, "members:read": 64, "audit:read": 128,
}

func TestScopesKeepTheirStoredPositions(t *testing.T) {
	t.Parallel()
	if len(access.Catalogue()) != len(scopePositions) {
		t.Errorf("the catalogue has %d scopes, the list of positions %d: add the new one", len(access.Catalogue()), len(scopePositions))
	}
	for name, bit := range scopePositions {
		scope, ok := access.ParseScope(name)
		if !ok || access.ScopeSet(scope).Bits() != bit || access.ScopesFromBits(bit) != access.ScopeSet(scope) {
			t.Errorf("%s is not stored as %d", name, bit)
		}
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for i, e := range access.Catalogue() {
		if int(e.Scope) != i || e.Name != e.Scope.String() || seen[e.Name] {
			t.Errorf("entry %d is %s, scope %d", i, e.Name, e.Scope)
		}
		seen[e.Name] = true
		if e.Title == "" || !strings.HasSuffix(e.Description, ".") || strings.ContainsAny(e.Name+e.Title+e.Description, "\n\"|") {
			t.Errorf("%s lacks a title or a description that can be shown anywhere", e.Name)
		}
		if !slices.Contains([]access.Risk{access.RiskLow, access.RiskMedium, access.RiskHigh}, e.Risk) {
			t.Errorf("%s has no risk", e.Name)
		}
		verb := "read"
		if e.Write {
			verb = "write"
		}
		if e.Name != e.Resource+":"+verb {
			t.Errorf("%s is not resource:verb", e.Name)
		}
		if e.Covers.Len() == 0 || e.Covers != e.Scope.Covers() {
			t.Errorf("%s lets nothing through, or two things are said about it", e.Name)
		}
		if len(e.Scope.Roles()) == 0 || e.Scope.Roles()[0] != access.Owner {
			t.Errorf("%s is of no use to an owner", e.Name)
		}
	}
	for _, e := range access.Catalogue() {
		if !e.Write {
			continue
		}
		read, ok := access.ParseScope(e.Resource + ":read")
		if !ok || !access.ScopeSet(read).Within(access.ScopeSet(e.Scope)) || access.ScopeSet(e.Scope).Within(access.ScopeSet(read)) {
			t.Errorf("%s does not include reading the same, or is no more than it", e.Name)
		}
	}
	entries := access.Catalogue()
	entries[0].Name = "changed"
	if access.Catalogue()[0].Name == "changed" {
		t.Error("callers can change the catalogue")
	}
}

// interactive is what promise P9 keeps from tokens: tokens, account, organization administration, sharing.
var interactive = access.PermissionSet(access.ProjectsShare, access.OrganizationRead, access.OrganizationAdminister,
	access.OrganizationOwn, access.AccountManage, access.TokensManage)

func TestNoScopeCoversWhatNeedsASignIn(t *testing.T) {
	t.Parallel()
	for _, p := range access.AllPermissions() {
		if p.Interactive() != interactive.Has(p) {
			t.Errorf("%s interactive = %t", p, p.Interactive())
		}
		accepting := access.Accepting(p)
		if (len(accepting) == 0) != interactive.Has(p) {
			t.Errorf("%s is let through by %v", p, accepting)
		}
		for i, s := range accepting {
			if !s.Covers().Has(p) {
				t.Errorf("%s is said to let %s through and does not", s, p)
			}
			if i > 0 && s.Covers().Len() < accepting[i-1].Covers().Len() {
				t.Errorf("the scopes for %s are not least first: %v", p, accepting)
			}
		}
		c := access.Caller{Kind: access.TokenCaller, UserID: "u", Organization: "o", Role: access.Owner, Scopes: access.AllScopes()}
		r := access.Resource{Organization: "o", Project: "p", Given: access.Lead}
		if d := access.Decide(&c, p, r); (d == access.NeedSignIn) != interactive.Has(p) {
			t.Errorf("an owner's token with every scope at %s: %d", p, d)
		}
	}
}

func TestScopesAreOfUseToTheRolesThatTheyName(t *testing.T) {
	t.Parallel()
	everyone := []access.Role{access.Owner, access.Admin, access.Manager, access.Member, access.Guest}
	for _, e := range access.Catalogue() {
		want := everyone // whoever may be made a lead of a project can use what works in projects
		if e.Scope == access.ScopeAuditRead {
			want = everyone[:2]
		}
		if !slices.Equal(e.Scope.Roles(), want) {
			t.Errorf("%s is of use to %v, not %v", e.Name, e.Scope.Roles(), want)
		}
		if e.Scope.CoveredBy(access.NoRole) {
			t.Errorf("%s is of use to nobody's role", e.Name)
		}
	}
}

func TestNamesAreReadBackAndNothingElseIs(t *testing.T) {
	t.Parallel()
	for _, r := range access.Roles() {
		if got, ok := access.ParseRole(r.String()); !ok || got != r {
			t.Errorf("role %s is read as %s", r, got)
		}
	}
	for _, r := range access.ProjectRoles() {
		if got, ok := access.ParseProjectRole(r.String()); !ok || got != r {
			t.Errorf("project role %s is read as %s", r, got)
		}
	}
	for _, v := range visibilities {
		if got, ok := access.ParseVisibility(v.String()); !ok || got != v {
			t.Errorf("visibility %s is read as %s", v, got)
		}
	}
	for _, p := range []access.Plan{access.Free, access.Team, access.Enterprise} {
		if got, ok := access.ParsePlan(p.String()); !ok || got != p {
			t.Errorf("plan %s is read as %s", p, got)
		}
	}
	for _, p := range []access.Purpose{access.Personal, access.Agent} {
		if got, ok := access.ParsePurpose(p.String()); !ok || got != p {
			t.Errorf("purpose %s is read as %s", p, got)
		}
	}
	for _, e := range access.Catalogue() {
		if got, ok := access.ParseScope(e.Name); !ok || got != e.Scope {
			t.Errorf("scope %s is read as %s", e.Name, got)
		}
	}
	for _, text := range []string{"", " ", "Owner", "owner ", "tasks", "tasks:", "tasks:READ", "tasks:delete", "unknown", "public"} {
		_, role := access.ParseRole(text)
		_, project := access.ParseProjectRole(text)
		_, visibility := access.ParseVisibility(text)
		_, plan := access.ParsePlan(text)
		_, purpose := access.ParsePurpose(text)
		_, scope := access.ParseScope(text)
		if role || project || visibility || plan || purpose || scope {
			t.Errorf("%q is read as something", text)
		}
	}
}

func TestWhatIsOutOfRangeIsNothing(t *testing.T) {
	t.Parallel()
	if access.Role(200).String() != "" || access.Role(200).OrganizationPermissions() != 0 || access.EffectiveProjectRole(200, access.OrganizationVisible, access.Lead) != access.NoProjectRole {
		t.Error("an unknown role is something")
	}
	if access.ProjectRole(200).String() != "" || access.ProjectRole(200).Permissions() != 0 {
		t.Error("an unknown project role is something")
	}
	if access.Scope(200).Covers() != 0 || access.Scope(200).String() != "unknown" || access.Permission(200).String() != "unknown" {
		t.Error("an unknown scope or permission is something")
	}
	if access.ScopesFromBits(-1) != access.AllScopes() || access.ScopesFromBits(1<<40) != 0 || access.Scopes(1<<15).Covers() != 0 {
		t.Error("unknown stored bits are something")
	}
}

func TestScopeSetsListTheirNames(t *testing.T) {
	t.Parallel()
	set := access.ScopeSet(access.ScopeTasksWrite, access.ScopeProjectsRead)
	if set.String() != "projects:read tasks:write" || set.Len() != 2 || set.Empty() || !access.Scopes(0).Empty() {
		t.Errorf("the set is %q", set)
	}
	if names := access.Scopes(0).Names(); names == nil || len(names) != 0 {
		t.Error("the names of nothing are not an empty list")
	}
	if names := access.Permissions(0).Names(); names == nil || len(names) != 0 {
		t.Error("the permissions of nothing are not an empty list")
	}
	if names := access.PermissionSet(access.TasksWrite, access.ProjectsRead).Names(); !slices.Equal(names, []string{"projects:read", "tasks:write"}) {
		t.Errorf("the permissions are %v", names)
	}
}
