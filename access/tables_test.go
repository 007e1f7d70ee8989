package access_test

import (
	"testing"

	"carnet/access"
)

// The tables below are the ones that the design promises, written out by hand: the code is held to them cell by cell.

var organizationTable = map[access.Permission]map[access.Role]bool{
	access.ProjectsCreate:         {access.Owner: true, access.Admin: true, access.Manager: true, access.Member: true, access.Guest: false},
	access.MembersRead:            {access.Owner: true, access.Admin: true, access.Manager: true, access.Member: true, access.Guest: true},
	access.AuditRead:              {access.Owner: true, access.Admin: true, access.Manager: false, access.Member: false, access.Guest: false},
	access.OrganizationRead:       {access.Owner: true, access.Admin: true, access.Manager: true, access.Member: true, access.Guest: true},
	access.OrganizationAdminister: {access.Owner: true, access.Admin: true, access.Manager: false, access.Member: false, access.Guest: false},
	access.OrganizationOwn:        {access.Owner: true, access.Admin: false, access.Manager: false, access.Member: false, access.Guest: false},
}

var projectTable = map[access.Permission]map[access.ProjectRole]bool{
	access.ProjectsRead:     {access.Lead: true, access.Contributor: true, access.Viewer: true},
	access.TasksRead:        {access.Lead: true, access.Contributor: true, access.Viewer: true},
	access.CommentsRead:     {access.Lead: true, access.Contributor: true, access.Viewer: true},
	access.TasksWrite:       {access.Lead: true, access.Contributor: true, access.Viewer: false},
	access.CommentsWrite:    {access.Lead: true, access.Contributor: true, access.Viewer: false},
	access.ProjectsWrite:    {access.Lead: true, access.Contributor: false, access.Viewer: false},
	access.TasksDelete:      {access.Lead: true, access.Contributor: true, access.Viewer: false},
	access.CommentsDelete:   {access.Lead: true, access.Contributor: true, access.Viewer: false},
	access.ProjectsDelete:   {access.Lead: true, access.Contributor: false, access.Viewer: false},
	access.ProjectsShare:    {access.Lead: true, access.Contributor: false, access.Viewer: false},
	access.CommentsModerate: {access.Lead: true, access.Contributor: false, access.Viewer: false},
}

// actsAs is what a user is in a project: by organization role, whether the organization sees it, and the role that the
// project gives (none, viewer, contributor, lead).
var actsAs = map[access.Role]map[access.Visibility][4]access.ProjectRole{
	access.Owner: {
		access.Private:             {access.Lead, access.Lead, access.Lead, access.Lead},
		access.OrganizationVisible: {access.Lead, access.Lead, access.Lead, access.Lead},
	},
	access.Admin: {
		access.Private:             {access.Lead, access.Lead, access.Lead, access.Lead},
		access.OrganizationVisible: {access.Lead, access.Lead, access.Lead, access.Lead},
	},
	access.Manager: {
		access.Private:             {access.Lead, access.Lead, access.Lead, access.Lead},
		access.OrganizationVisible: {access.Lead, access.Lead, access.Lead, access.Lead},
	},
	access.Member: {
		access.Private:             {access.NoProjectRole, access.Viewer, access.Contributor, access.Lead},
		access.OrganizationVisible: {access.Contributor, access.Contributor, access.Contributor, access.Lead},
	},
	access.Guest: {
		access.Private:             {access.NoProjectRole, access.Viewer, access.Contributor, access.Lead},
		access.OrganizationVisible: {access.NoProjectRole, access.Viewer, access.Contributor, access.Lead},
	},
	access.NoRole: {
		access.Private:             {},
		access.OrganizationVisible: {},
	},
}

var (
	allRoles     = append([]access.Role{access.NoRole}, access.Roles()...)
	givenRoles   = []access.ProjectRole{access.NoProjectRole, access.Viewer, access.Contributor, access.Lead}
	visibilities = []access.Visibility{access.Private, access.OrganizationVisible}
)

func TestOrganizationTableCellByCell(t *testing.T) {
	t.Parallel()
	for p, row := range organizationTable {
		if len(row) != len(access.Roles()) {
			t.Fatalf("the row of %s has %d cells", p, len(row))
		}
		for role, want := range row {
			c := access.Caller{Kind: access.SessionCaller, UserID: "u", Organization: "o", Role: role}
			if got := access.Decide(&c, p, access.Resource{Organization: "o"}) == access.Allowed; got != want {
				t.Errorf("%s may %s = %t, the table says %t", role, p, got, want)
			}
			if got := role.OrganizationPermissions().Has(p); got != want {
				t.Errorf("the permissions of %s hold %s = %t, the table says %t", role, p, got, want)
			}
		}
	}
}

func TestProjectTableCellByCell(t *testing.T) {
	t.Parallel()
	for p, row := range projectTable {
		if len(row) != len(access.ProjectRoles()) {
			t.Fatalf("the row of %s has %d cells", p, len(row))
		}
		for role, want := range row {
			if got := role.Permissions().Has(p); got != want {
				t.Errorf("%s may %s = %t, the table says %t", role, p, got, want)
			}
		}
	}
}

func TestEffectiveProjectRoleCellByCell(t *testing.T) {
	t.Parallel()
	for role, byVisibility := range actsAs {
		for visibility, cells := range byVisibility {
			for i, given := range givenRoles {
				if got := access.EffectiveProjectRole(role, visibility, given); got != cells[i] {
					t.Errorf("%q with project role %q acts in a project with visibility %s as %q, the table says %q", role, given, visibility, got, cells[i])
				}
			}
		}
	}
}

func TestTablesCoverEveryPermissionExactlyOnce(t *testing.T) {
	t.Parallel()
	for _, p := range access.AllPermissions() {
		_, organization := organizationTable[p]
		_, project := projectTable[p]
		account := p == access.AccountManage || p == access.TokensManage
		if n := count(organization, project, account); n != 1 {
			t.Errorf("%s stands in %d tables", p, n)
		}
	}
}

func count(facts ...bool) (n int) {
	for _, f := range facts {
		if f {
			n++
		}
	}
	return n
}

// scopeTable is which permissions each scope lets through.
var scopeTable = map[access.Scope][]access.Permission{
	access.ScopeProjectsRead:  {access.ProjectsRead},
	access.ScopeProjectsWrite: {access.ProjectsRead, access.ProjectsWrite, access.ProjectsDelete, access.ProjectsCreate},
	access.ScopeTasksRead:     {access.TasksRead},
	access.ScopeTasksWrite:    {access.TasksRead, access.TasksWrite, access.TasksDelete},
	access.ScopeCommentsRead:  {access.CommentsRead},
	access.ScopeCommentsWrite: {access.CommentsRead, access.CommentsWrite, access.CommentsDelete, access.CommentsModerate},
	access.ScopeMembersRead:   {access.MembersRead},
	access.ScopeAuditRead:     {access.AuditRead},
}

func TestEachScopeLetsThroughWhatItsRowSays(t *testing.T) {
	t.Parallel()
	for scope, row := range scopeTable {
		want := access.PermissionSet(row...)
		for _, p := range access.AllPermissions() {
			if got := scope.Covers().Has(p); got != want.Has(p) {
				t.Errorf("%s lets %s through = %t, the table says %t", scope, p, got, want.Has(p))
			}
			// And nothing but: an owner's token with this one scope, in a project that it leads.
			c := access.Caller{Kind: access.TokenCaller, UserID: "u", Organization: "o", Role: access.Owner, Scopes: access.ScopeSet(scope)}
			r := access.Resource{Organization: "o", Project: "p", Visibility: access.OrganizationVisible, Given: access.Lead}
			if got := access.Decide(&c, p, r) == access.Allowed; got != want.Has(p) {
				t.Errorf("an owner's token with %s may %s = %t, the table says %t", scope, p, got, want.Has(p))
			}
		}
	}
}
