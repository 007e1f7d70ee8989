package access

import "slices"

// ProjectSet is the projects that a token is limited to. The zero value limits nothing.
type ProjectSet struct {
	ids        []string // sorted, without repeats
	restricted bool
}

// Only returns the set of the given projects. Only() of none is the set that contains nothing.
func Only(ids ...string) ProjectSet {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	return ProjectSet{ids: slices.Compact(sorted), restricted: true}
}

// Restricted reports whether the set limits anything.
func (s ProjectSet) Restricted() bool { return s.restricted }

// Contains reports whether the project lies within the set.
func (s ProjectSet) Contains(id string) bool {
	if !s.restricted {
		return true
	}
	_, found := slices.BinarySearch(s.ids, id)
	return found
}

// IDs returns the projects of a restricted set, sorted, and nil for one that limits nothing.
func (s ProjectSet) IDs() []string {
	if !s.restricted {
		return nil
	}
	return append([]string{}, s.ids...)
}

// Within reports whether every project of s lies in other: whether going from other to s narrows or keeps a grant.
func (s ProjectSet) Within(other ProjectSet) bool {
	if !other.restricted {
		return true
	}
	if !s.restricted {
		return false
	}
	for _, id := range s.ids {
		if !other.Contains(id) {
			return false
		}
	}
	return true
}

// Reach says which of an organization's projects a role sees by itself.
type Reach uint8

// The reaches, least first.
const (
	ReachNothing      Reach = iota // no role
	ReachOwn                       // projects that the user belongs to
	ReachOwnAndOpen                // those, and the ones that the organization sees
	ReachOrganization              // all
)

// Filter limits a query to the projects that a caller sees. Query builders take one as an argument and there is no
// query without it, so that forgetting to filter is impossible. The zero Filter lets nothing through.
type Filter struct {
	Organization string
	User         string
	Reach        Reach
	Projects     ProjectSet
}

// Visible returns the filter for what the caller sees where it acts.
func (c *Caller) Visible() Filter {
	f := Filter{Organization: c.Organization, User: c.UserID, Reach: c.Role.reach()}
	switch c.Kind {
	case TokenCaller:
		f.Projects = c.Projects
	case SessionCaller:
	default:
		f.Reach = ReachNothing
	}
	return f
}

func (r Role) reach() Reach {
	switch r {
	case Owner, Admin, Manager:
		return ReachOrganization
	case Member:
		return ReachOwnAndOpen
	case Guest:
		return ReachOwn
	default:
		return ReachNothing
	}
}
