package access

import "math/bits"

// Permission is one thing that a caller may do. Its name ([Permission.String]) is what answers, errors and the audit
// log show.
type Permission uint8

// The permissions, in three groups. Those of a project are held through the effective role in that project; those of
// an organization through the role in it; those of the account by every signed-in person over what is theirs.
//
// A permission that no [Scope] covers is interactive: only a real sign-in can exercise it, so a token cannot hold it
// by construction (promise P9).
const (
	// ProjectsRead lets the caller see that a project exists and read its fields.
	ProjectsRead Permission = iota
	// ProjectsWrite lets the caller change a project's fields, and restore it. It does not cover its members.
	ProjectsWrite
	// ProjectsDelete lets the caller put a project into the recycle bin.
	ProjectsDelete
	// ProjectsShare lets the caller read and change who is a member of a project. Interactive.
	ProjectsShare
	// TasksRead lets the caller list, search, count and read a project's tasks.
	TasksRead
	// TasksWrite lets the caller create, change and restore a project's tasks.
	TasksWrite
	// TasksDelete lets the caller put a project's tasks into the recycle bin.
	TasksDelete
	// CommentsRead lets the caller read the comments on a project's tasks.
	CommentsRead
	// CommentsWrite lets the caller write comments, and edit their own.
	CommentsWrite
	// CommentsDelete lets the caller delete their own comments.
	CommentsDelete
	// CommentsModerate lets the caller delete the comments of others; it does not let them edit those.
	CommentsModerate

	// ProjectsCreate lets the caller create a project, of which they become a lead. A project-scoped token cannot.
	ProjectsCreate
	// MembersRead lets the caller list the organization's members; a guest or a project-scoped token only those of the
	// projects that it sees.
	MembersRead
	// AuditRead lets the caller read the organization's audit log; a project-scoped token only its projects' events.
	AuditRead
	// OrganizationRead lets the caller see the organization itself. Interactive.
	OrganizationRead
	// OrganizationAdminister lets the caller change the organization's name and its members other than owners. Interactive.
	OrganizationAdminister
	// OrganizationOwn lets the caller appoint and dismiss owners, change the plan and delete the organization. Interactive.
	OrganizationOwn

	// AccountManage lets the caller manage their own account: profile, password, sessions. Interactive.
	AccountManage
	// TokensManage lets the caller create, list, change and revoke their own tokens. Interactive.
	TokensManage

	permissionCount
)

var permissionNames = [permissionCount]string{
	ProjectsRead:           "projects:read",
	ProjectsWrite:          "projects:write",
	ProjectsDelete:         "projects:delete",
	ProjectsShare:          "projects:share",
	TasksRead:              "tasks:read",
	TasksWrite:             "tasks:write",
	TasksDelete:            "tasks:delete",
	CommentsRead:           "comments:read",
	CommentsWrite:          "comments:write",
	CommentsDelete:         "comments:delete",
	CommentsModerate:       "comments:moderate",
	ProjectsCreate:         "projects:create",
	MembersRead:            "members:read",
	AuditRead:              "audit:read",
	OrganizationRead:       "organization:read",
	OrganizationAdminister: "organization:administer",
	OrganizationOwn:        "organization:own",
	AccountManage:          "account:manage",
	TokensManage:           "tokens:manage",
}

// String returns the permission's name, such as "tasks:write".
func (p Permission) String() string {
	if p >= permissionCount {
		return "unknown"
	}
	return permissionNames[p]
}

// Interactive reports whether only a real sign-in can exercise p: whether no scope covers it.
func (p Permission) Interactive() bool { return !coverable.Has(p) }

// AllPermissions returns every permission, in the order of their declaration.
func AllPermissions() []Permission {
	all := make([]Permission, permissionCount)
	for i := range all {
		all[i] = Permission(i)
	}
	return all
}

// Permissions is a set of permissions.
type Permissions uint32

// PermissionSet returns the set of the given permissions.
func PermissionSet(permissions ...Permission) Permissions {
	var set Permissions
	for _, p := range permissions {
		set |= 1 << p
	}
	return set
}

// Has reports whether p is in the set.
func (s Permissions) Has(p Permission) bool { return s&(1<<p) != 0 }

// Len returns how many permissions are in the set.
func (s Permissions) Len() int { return bits.OnesCount32(uint32(s)) }

// Names returns the names of the permissions in the set, in the order of their declaration; never nil.
func (s Permissions) Names() []string {
	names := make([]string, 0, s.Len())
	for p := range permissionCount {
		if s.Has(p) {
			names = append(names, permissionNames[p])
		}
	}
	return names
}

// The three groups of permissions.
var (
	projectLevel = PermissionSet(ProjectsRead, ProjectsWrite, ProjectsDelete, ProjectsShare, TasksRead, TasksWrite, TasksDelete,
		CommentsRead, CommentsWrite, CommentsDelete, CommentsModerate)
	organizationLevel = PermissionSet(ProjectsCreate, MembersRead, AuditRead, OrganizationRead, OrganizationAdminister, OrganizationOwn)
	accountLevel      = PermissionSet(AccountManage, TokensManage)

	// unrestrictedOnly is what a project-scoped token cannot do even where scope and role would let it, because its
	// effect lies outside any set of existing projects.
	unrestrictedOnly = PermissionSet(ProjectsCreate)
)
