package access

// AgentPolicy is what an organization lets agents do at all, whatever their users' roles and their own scopes. Personal
// tokens and people are not bound by it. The zero value lets agents do nothing; see [DefaultAgentPolicy].
type AgentPolicy struct {
	Off         bool        // no agent works
	Scopes      Scopes      // that agents may hold
	Destructive Permissions // those of [Destructive] that agents may exercise
}

// DefaultAgentPolicy is the policy of an organization that has set none: agents work, with every scope, and destroy
// nothing.
func DefaultAgentPolicy() AgentPolicy { return AgentPolicy{Scopes: AllScopes()} }

// destructive is what takes away what others made.
var destructive = PermissionSet(ProjectsDelete, TasksDelete, CommentsDelete, CommentsModerate)

// Destructive returns the permissions that an organization enables for agents one by one, in the order of their
// declaration.
func Destructive() []Permission {
	var list []Permission
	for p := range permissionCount {
		if destructive.Has(p) {
			list = append(list, p)
		}
	}
	return list
}

// ParseDestructive returns the destructive permission of that name; ok is false for any other text.
func ParseDestructive(name string) (p Permission, ok bool) {
	for _, p := range Destructive() {
		if p.String() == name {
			return p, true
		}
	}
	return 0, false
}

// Withholds returns what agents may not do under the policy, however they were granted it.
func (p AgentPolicy) Withholds() Permissions {
	if p.Off {
		return coverable
	}
	return coverable&^p.Scopes.Covers() | destructive&^p.Destructive
}
