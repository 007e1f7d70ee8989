package access

import (
	"math/bits"
	"strings"
)

// Scope is one line of what a token was granted: "resource:read" or "resource:write". Write includes read of the same
// resource. A scope narrows what its user may do and never adds to it.
type Scope uint8

// The scopes, reads before writes, harmless before far-reaching.
const (
	ScopeProjectsRead Scope = iota
	ScopeProjectsWrite
	ScopeTasksRead
	ScopeTasksWrite
	ScopeCommentsRead
	ScopeCommentsWrite
	ScopeMembersRead
	ScopeAuditRead

	scopeCount
)

// Risk tells people how much harm a leaked token with a scope can do.
type Risk string

// The risks.
const (
	RiskLow    Risk = "low"    // reads work items
	RiskMedium Risk = "medium" // changes work items, or reads about people
	RiskHigh   Risk = "high"   // changes or deletes whole projects, or reads everybody's activity
)

// CatalogueEntry describes a scope to people.
type CatalogueEntry struct {
	Scope       Scope
	Name        string // as it stands in tokens and requests, such as "tasks:read"
	Resource    string // the part before the colon
	Write       bool   // whether it changes things
	Title       string
	Description string
	Risk        Risk
	Covers      Permissions
}

var catalogue = [scopeCount]CatalogueEntry{
	ScopeProjectsRead: {
		Name: "projects:read", Title: "Read projects", Risk: RiskLow,
		Description: "See projects and their details.",
		Covers:      PermissionSet(ProjectsRead),
	},
	ScopeProjectsWrite: {
		Name: "projects:write", Title: "Manage projects", Risk: RiskHigh,
		Description: "Create projects; change, delete and restore those that you lead.",
		Covers:      PermissionSet(ProjectsRead, ProjectsWrite, ProjectsDelete, ProjectsCreate),
	},
	ScopeTasksRead: {
		Name: "tasks:read", Title: "Read tasks", Risk: RiskLow,
		Description: "List, search, count and read tasks.",
		Covers:      PermissionSet(TasksRead),
	},
	ScopeTasksWrite: {
		Name: "tasks:write", Title: "Change tasks", Risk: RiskMedium,
		Description: "Create, change, delete and restore tasks.",
		Covers:      PermissionSet(TasksRead, TasksWrite, TasksDelete),
	},
	ScopeCommentsRead: {
		Name: "comments:read", Title: "Read comments", Risk: RiskLow,
		Description: "Read the comments on tasks.",
		Covers:      PermissionSet(CommentsRead),
	},
	ScopeCommentsWrite: {
		Name: "comments:write", Title: "Write comments", Risk: RiskMedium,
		Description: "Comment on tasks; edit and delete your comments, and delete others' in projects that you lead.",
		Covers:      PermissionSet(CommentsRead, CommentsWrite, CommentsDelete, CommentsModerate),
	},
	ScopeMembersRead: {
		Name: "members:read", Title: "Read members", Risk: RiskMedium,
		Description: "See names, e-mail addresses and roles of members.",
		Covers:      PermissionSet(MembersRead),
	},
	ScopeAuditRead: {
		Name: "audit:read", Title: "Read the audit log", Risk: RiskHigh,
		Description: "Read what members and their tokens did.",
		Covers:      PermissionSet(AuditRead),
	},
}

// coverable is every permission that some scope covers, and coverage what each set of scopes covers: computed once, so
// that a decision is one look-up.
var coverable, coverage = func() (all Permissions, table [1 << scopeCount]Permissions) {
	for s := range scopeCount {
		catalogue[s].Scope = s
		resource, verb, _ := strings.Cut(catalogue[s].Name, ":")
		catalogue[s].Resource, catalogue[s].Write = resource, verb == "write"
		all |= catalogue[s].Covers
	}
	for set := range table {
		for s := range scopeCount {
			if set&(1<<s) != 0 {
				table[set] |= catalogue[s].Covers
			}
		}
	}
	return all, table
}()

// Catalogue returns every scope with its description, in the order in which people should read them.
func Catalogue() []CatalogueEntry { return append([]CatalogueEntry(nil), catalogue[:]...) }

// String returns the scope's name, such as "tasks:read".
func (s Scope) String() string {
	if s >= scopeCount {
		return "unknown"
	}
	return catalogue[s].Name
}

// Covers returns the permissions that the scope lets through.
func (s Scope) Covers() Permissions {
	if s >= scopeCount {
		return 0
	}
	return catalogue[s].Covers
}

// Roles returns the organization roles under which the scope can ever be of use, greatest first.
func (s Scope) Roles() []Role {
	var roles []Role
	for _, r := range Roles() {
		if s.CoveredBy(r) {
			roles = append(roles, r)
		}
	}
	return roles
}

// CoveredBy reports whether a user with role r could do, somewhere, anything that the scope lets through. A token is
// not created with a scope that its user's role does not cover.
func (s Scope) CoveredBy(r Role) bool { return s.Covers()&r.reachable() != 0 }

// ParseScope returns the scope of that name; ok is false for any other text.
func ParseScope(name string) (s Scope, ok bool) {
	for s := range scopeCount {
		if catalogue[s].Name == name {
			return s, true
		}
	}
	return 0, false
}

// Scopes is a set of scopes.
type Scopes uint16

// ScopeSet returns the set of the given scopes.
func ScopeSet(scopes ...Scope) Scopes {
	var set Scopes
	for _, s := range scopes {
		set |= 1 << s
	}
	return set
}

// KnownScopes returns the set of the scopes of these names; what is no scope is left out.
func KnownScopes(names ...string) Scopes {
	var set Scopes
	for _, name := range names {
		if scope, ok := ParseScope(name); ok {
			set |= ScopeSet(scope)
		}
	}
	return set
}

// AllScopes returns the set of every scope.
func AllScopes() Scopes { return 1<<scopeCount - 1 }

// ScopesFromBits returns the set stored as a number by [Scopes.Bits]. Bits that name no scope of this version are
// dropped: an unknown grant is no grant.
func ScopesFromBits(stored int64) Scopes { return Scopes(stored) & AllScopes() }

// Bits returns the set as a number to store. The position of a scope never changes once released.
func (s Scopes) Bits() int64 { return int64(s) }

// Has reports whether the scope itself is in the set.
func (s Scopes) Has(scope Scope) bool { return s&(1<<scope) != 0 }

// Empty reports whether the set has no scope.
func (s Scopes) Empty() bool { return s == 0 }

// Len returns how many scopes are in the set.
func (s Scopes) Len() int { return bits.OnesCount16(uint16(s)) }

// Covers returns the permissions that the set lets through.
func (s Scopes) Covers() Permissions { return coverage[s&(1<<scopeCount-1)] }

// Within reports whether everything that s lets through, other lets through too: whether going from other to s narrows
// or keeps a grant. "tasks:read" is within "tasks:write".
func (s Scopes) Within(other Scopes) bool { return s.Covers()&^other.Covers() == 0 }

// List returns the scopes in the set, in the catalogue's order.
func (s Scopes) List() []Scope {
	list := make([]Scope, 0, s.Len())
	for scope := range scopeCount {
		if s.Has(scope) {
			list = append(list, scope)
		}
	}
	return list
}

// Names returns the names of the scopes in the set, in the catalogue's order; never nil.
func (s Scopes) Names() []string {
	names := make([]string, 0, s.Len())
	for _, scope := range s.List() {
		names = append(names, scope.String())
	}
	return names
}

// String returns the names, separated by spaces as RFC 6749 section 3.3 writes them.
func (s Scopes) String() string { return strings.Join(s.Names(), " ") }

// Accepting returns the scopes any one of which would let p through, least first. It is empty for interactive
// permissions.
func Accepting(p Permission) []Scope {
	var scopes []Scope
	for s := range scopeCount {
		if catalogue[s].Covers.Has(p) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}
