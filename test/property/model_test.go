package property_test

import (
	"slices"
	"strings"
)

// The model: promises P1 to P3 and the contract's order of refusals, as plainly as they can be said.

// caller is who presents a request in the model: a token, or a person who names an organization.
type caller struct {
	token   *tokenOf
	session *session
	header  string // Carnet-Organization, "" for none
}

func (c caller) user() *user {
	if c.token != nil {
		return c.token.user
	}
	return c.session.user
}

// verdict is an expected refusal, or the zero verdict for success.
type verdict struct {
	status int
	code   string
}

var allowed = verdict{}

// effective is what the user acts as in the project, "" when the project is absent to them.
func effective(p *project, u *user) string {
	given := p.roles[u]
	switch p.org.roles[u] {
	case "owner", "admin", "manager":
		return "lead"
	case "member":
		if p.visibility == "organization" && (given == "" || given == "viewer") {
			return "contributor"
		}
		return given
	case "guest":
		return given
	default:
		return ""
	}
}

// sees says whether the caller, acting in the organization, sees the project, deleted or not.
func (c caller) sees(o *organization, p *project) bool {
	if p.org != o {
		return false
	}
	if c.token != nil && c.token.projects != nil && !slices.Contains(c.token.projects, p) {
		return false
	}
	return effective(p, c.user()) != ""
}

// credential judges the credential alone.
func (c caller) credential() verdict {
	if c.session != nil {
		if c.session.user.suspended || c.session.ended {
			return verdict{401, "session_ended"}
		}
		return allowed
	}
	x := c.token
	switch {
	case x.state == "revoked":
		return verdict{401, "token_revoked"}
	case x.state == "expired":
		return verdict{401, "token_expired"}
	case x.user.suspended || x.org.roles[x.user] == "":
		return verdict{403, "token_inert"}
	case x.agent && x.org.policy.off:
		return verdict{403, "policy_denied"}
	case x.paused:
		return verdict{403, "token_paused"}
	default:
		return allowed
	}
}

// cover says whether scopes cover a permission: the one of its name, or the resource's write for all else about it.
func cover(scopes []string, permission string) bool {
	resource, _, _ := strings.Cut(permission, ":")
	return slices.Contains(scopes, permission) || slices.Contains(scopes, resource+":write")
}

func (c caller) holds(permission string) bool {
	return c.token == nil || cover(c.token.scopes, permission)
}

var destructive = []string{"projects:delete", "tasks:delete", "comments:delete", "comments:moderate"}

// let says whether the organization of an agent lets agents do it. Nobody else is asked.
func (c caller) let(permission string) bool {
	if c.token == nil || !c.token.agent {
		return true
	}
	policy := c.token.org.policy
	return cover(policy.scopes, permission) && (!slices.Contains(destructive, permission) || slices.Contains(policy.destructive, permission))
}

// stateOf is how a token is listed.
func stateOf(x *tokenOf) string {
	switch {
	case x.state != "live":
		return x.state
	case x.user.suspended || x.org.roles[x.user] == "" || x.agent && x.org.policy.off:
		return "inert"
	case x.paused:
		return "paused"
	default:
		return "live"
	}
}

// spending says what becomes of a write that is allowed: an agent makes as many in an hour as its organization says.
func (c caller) spending(v verdict) verdict {
	if v == allowed && c.token != nil && c.token.agent && c.token.org.policy.writes > 0 && c.token.writes >= c.token.org.policy.writes {
		return verdict{429, "rate_limited"}
	}
	return v
}

// gate is everything before a particular thing is looked at: credential, kind, scope, agent policy, organization.
func (w *world) gate(c caller, permission string, sessionOnly bool) (*organization, verdict) {
	if v := c.credential(); v != allowed {
		return nil, v
	}
	if c.token != nil {
		if sessionOnly {
			return nil, verdict{403, "signin_required"}
		}
		if permission != "" && !c.holds(permission) {
			return nil, verdict{403, "scope_missing"}
		}
		if permission != "" && !c.let(permission) {
			return nil, verdict{403, "policy_denied"}
		}
		if c.header != "" && c.header != c.token.org.slug {
			return nil, verdict{404, "not_found"}
		}
		return c.token.org, allowed
	}
	if c.header == "" {
		return nil, verdict{400, "organization_required"}
	}
	for _, o := range w.orgs {
		if o.slug == c.header && o.roles[c.session.user] != "" {
			return o, allowed
		}
	}
	return nil, verdict{404, "not_found"}
}

var rank = map[string]int{"": 0, "viewer": 1, "contributor": 2, "lead": 3}

// inProject judges an action on something in a project that needs at least a role there.
func (c caller) inProject(o *organization, p *project, deleted bool, least string) verdict {
	if p == nil || deleted || !c.sees(o, p) {
		return verdict{404, "not_found"}
	}
	if rank[effective(p, c.user())] < rank[least] {
		return verdict{403, "role_insufficient"}
	}
	return allowed
}

// visibleTasks are the tasks that the caller may list.
func (w *world) visibleTasks(c caller, o *organization) (ids []string) {
	for _, x := range w.tasks {
		if !x.deleted && !x.project.deleted && c.sees(o, x.project) {
			ids = append(ids, x.id)
		}
	}
	return ids
}

func (w *world) visibleProjects(c caller, o *organization, deleted bool) (ids []string) {
	for _, p := range w.projects {
		if p.deleted == deleted && c.sees(o, p) {
			ids = append(ids, p.id)
		}
	}
	return ids
}

// visibleMembers are the people whom the caller may list: all, or for guests and restricted tokens those who belong to
// the projects that they see.
func (w *world) visibleMembers(c caller, o *organization) (ids []string) {
	all := o.roles[c.user()] != "guest" && (c.token == nil || c.token.projects == nil)
	for u := range o.roles {
		shared := slices.ContainsFunc(w.projects, func(p *project) bool {
			return !p.deleted && c.sees(o, p) && p.roles[u] != ""
		})
		if all || shared {
			ids = append(ids, u.id)
		}
	}
	return ids
}

// permissions are the names of what the caller may do in a project, as /me lists them.
func (c caller) permissions(p *project) (names []string) {
	role := effective(p, c.user())
	for _, n := range []struct{ permission, least string }{
		{"projects:read", "viewer"},
		{"projects:write", "lead"},
		{"projects:delete", "lead"},
		{"tasks:read", "viewer"},
		{"tasks:write", "contributor"},
		{"tasks:delete", "contributor"},
		{"comments:read", "viewer"},
		{"comments:write", "contributor"},
		{"comments:delete", "contributor"},
		{"comments:moderate", "lead"},
	} {
		if c.holds(n.permission) && c.let(n.permission) && rank[role] >= rank[n.least] {
			names = append(names, n.permission)
		}
	}
	return names
}

// organizationPermissions are the same for the organization.
func (c caller) organizationPermissions(o *organization) (names []string) {
	role := o.roles[c.user()]
	if c.holds("projects:create") && c.let("projects:create") && role != "guest" && (c.token == nil || c.token.projects == nil) {
		names = append(names, "projects:create")
	}
	if c.holds("members:read") && c.let("members:read") {
		names = append(names, "members:read")
	}
	if c.holds("audit:read") && c.let("audit:read") && (role == "admin" || role == "owner") {
		names = append(names, "audit:read")
	}
	return names
}
