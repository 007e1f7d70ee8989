package access

// Role is what a user is in an organization. A greater role may do everything that a lesser one may.
type Role uint8

// The roles in an organization, least first. NoRole is the zero value: not a member.
const (
	NoRole Role = iota
	Guest
	Member
	Manager
	Admin
	Owner

	roleCount
)

var roleNames = [roleCount]string{NoRole: "", Guest: "guest", Member: "member", Manager: "manager", Admin: "admin", Owner: "owner"}

// String returns the role's name, "" for NoRole.
func (r Role) String() string {
	if r >= roleCount {
		return ""
	}
	return roleNames[r]
}

// ParseRole returns the role of that name; ok is false for any other text.
func ParseRole(name string) (role Role, ok bool) {
	for r := Guest; r < roleCount; r++ {
		if roleNames[r] == name {
			return r, true
		}
	}
	return NoRole, false
}

// Roles returns the roles in an organization, greatest first.
func Roles() []Role { return []Role{Owner, Admin, Manager, Member, Guest} }

// ProjectRole is what a user is in a project. A greater role may do everything that a lesser one may.
type ProjectRole uint8

// The roles in a project, least first. NoProjectRole is the zero value: the project is absent to them.
const (
	NoProjectRole ProjectRole = iota
	Viewer
	Contributor
	Lead

	projectRoleCount
)

var projectRoleNames = [projectRoleCount]string{NoProjectRole: "", Viewer: "viewer", Contributor: "contributor", Lead: "lead"}

// String returns the role's name, "" for NoProjectRole.
func (r ProjectRole) String() string {
	if r >= projectRoleCount {
		return ""
	}
	return projectRoleNames[r]
}

// ParseProjectRole returns the project role of that name; ok is false for any other text.
func ParseProjectRole(name string) (role ProjectRole, ok bool) {
	for r := Viewer; r < projectRoleCount; r++ {
		if projectRoleNames[r] == name {
			return r, true
		}
	}
	return NoProjectRole, false
}

// ProjectRoles returns the roles in a project, greatest first.
func ProjectRoles() []ProjectRole { return []ProjectRole{Lead, Contributor, Viewer} }

// Visibility says who sees a project without belonging to it.
type Visibility uint8

// The visibilities. The zero value is the narrower one.
const (
	Private             Visibility = iota // those who belong to it, and managers and above
	OrganizationVisible                   // every member of the organization but guests
)

// String returns "private" or "organization".
func (v Visibility) String() string {
	if v == OrganizationVisible {
		return "organization"
	}
	return "private"
}

// ParseVisibility returns the visibility of that name; ok is false for any other text.
func ParseVisibility(name string) (v Visibility, ok bool) {
	switch name {
	case "organization":
		return OrganizationVisible, true
	case "private":
		return Private, true
	default:
		return Private, false
	}
}

// EffectiveProjectRole returns what a user acts as in a project, given their role in the organization, the project's
// visibility and the role that the project itself gives them (NoProjectRole when it gives none). NoProjectRole means
// that the project is absent to them.
//
// Managers and above act as leads everywhere. Members act as contributors at least in projects that the organization
// sees, and as what the project makes them elsewhere. Guests are only what a project makes them.
func EffectiveProjectRole(role Role, visibility Visibility, given ProjectRole) ProjectRole {
	switch role {
	case Owner, Admin, Manager:
		return Lead
	case Member:
		if visibility == OrganizationVisible && given < Contributor {
			return Contributor
		}
		return given
	case Guest:
		return given
	default:
		return NoProjectRole
	}
}

var organizationPermissions = [roleCount]Permissions{
	Guest:   PermissionSet(MembersRead, OrganizationRead),
	Member:  PermissionSet(MembersRead, OrganizationRead, ProjectsCreate),
	Manager: PermissionSet(MembersRead, OrganizationRead, ProjectsCreate),
	Admin:   PermissionSet(MembersRead, OrganizationRead, ProjectsCreate, AuditRead, OrganizationAdminister),
	Owner:   PermissionSet(MembersRead, OrganizationRead, ProjectsCreate, AuditRead, OrganizationAdminister, OrganizationOwn),
}

var projectPermissions = [projectRoleCount]Permissions{
	Viewer:      PermissionSet(ProjectsRead, TasksRead, CommentsRead),
	Contributor: PermissionSet(ProjectsRead, TasksRead, CommentsRead, TasksWrite, TasksDelete, CommentsWrite, CommentsDelete),
	Lead: PermissionSet(ProjectsRead, TasksRead, CommentsRead, TasksWrite, TasksDelete, CommentsWrite, CommentsDelete,
		ProjectsWrite, ProjectsDelete, ProjectsShare, CommentsModerate),
}

// OrganizationPermissions returns what role r may do to the organization itself.
func (r Role) OrganizationPermissions() Permissions {
	if r >= roleCount {
		return 0
	}
	return organizationPermissions[r]
}

// Permissions returns what role r may do in its project.
func (r ProjectRole) Permissions() Permissions {
	if r >= projectRoleCount {
		return 0
	}
	return projectPermissions[r]
}

// reachable is everything that role r could be allowed in some project or in the organization.
func (r Role) reachable() Permissions {
	switch r {
	case NoRole:
		return 0
	default:
		// Every role, guests included, can be made a lead of some project.
		return r.OrganizationPermissions() | Lead.Permissions()
	}
}
