// Package access is the rules of Carnet, and nothing else: who may do what, decided in one place.
//
// A [Caller] is who makes a request: a person who signed in, a token that acts as its user in one organization, or
// nobody. A [Permission] is one thing that can be done, a [Resource] what it is done to. [Decide] answers, and says
// why not. Every door (REST, pages, MCP, OAuth, forward-auth, command line) reaches its features through it.
//
// The rule is short:
//
//	allowed = what the user's role permits now ∩ the token's scopes ∩ the token's projects
//
// and, for an agent's token, ∩ what its organization lets agents do ([AgentPolicy]),
// so a token never does more than its user could, and what lies outside its projects is absent rather than forbidden.
//
// The package is pure: no I/O, no clock, no state, and no allocation on the deciding path.
package access

// Kind says how a caller proved who they are.
type Kind uint8

// The kinds of caller. The zero value is nobody.
const (
	Anonymous Kind = iota
	SessionCaller
	TokenCaller
)

// Purpose says what a token was made for. It is fixed when the token is created.
type Purpose uint8

// The purposes of tokens.
const (
	Personal Purpose = iota // scripts, CI, integrations: their owner's alone
	Agent                   // MCP clients and other agents, which organization admins oversee
)

// String returns "personal" or "agent".
func (p Purpose) String() string {
	if p == Agent {
		return "agent"
	}
	return "personal"
}

// ParsePurpose returns the purpose of that name; ok is false for any other text.
func ParsePurpose(name string) (p Purpose, ok bool) {
	switch name {
	case "personal":
		return Personal, true
	case "agent":
		return Agent, true
	default:
		return Personal, false
	}
}

// Caller is who makes a request and the most that they may do with it. It is made by verification alone, from what is
// stored at that moment, and is good for one request. The zero Caller is nobody and may do nothing.
type Caller struct {
	Kind         Kind
	UserID       string
	CredentialID string // the token's or the session's id; never a value
	TokenName    string // what the token's owner calls it, for the record; empty for sessions

	EmailVerified bool

	// Where the caller acts. For a token it is the token's organization; for a session the one that the request names,
	// and empty until it names one.
	Organization     string // id
	OrganizationSlug string
	Plan             Plan
	Role             Role // the role that the user holds there now

	// What narrows a token. Meaningless for sessions.
	Purpose  Purpose
	Scopes   Scopes
	Projects ProjectSet
	// What the organization keeps from agents, see [AgentPolicy]. Meaningless for everybody else.
	Withheld  Permissions
	WriteRate int // writes that an agent may make in an hour; 0: any number

	// AuthenticatedAt is when a session's person last proved who they are, in Unix microseconds.
	AuthenticatedAt int64

	// Memberships are all organizations of a session's user. See [Caller.In].
	Memberships []Membership
}

// Membership is a user's place in one organization.
type Membership struct {
	Organization string // id
	Slug         string
	Name         string
	Plan         Plan
	Role         Role
}

// In returns the session caller acting in the organization named by slug. ok is false when its user has no role there
// or the caller is not a session: to them the organization is absent.
func (c Caller) In(slug string) (caller Caller, ok bool) {
	if c.Kind != SessionCaller {
		return Caller{}, false
	}
	for _, m := range c.Memberships {
		if m.Slug == slug && m.Role != NoRole {
			c.Organization, c.OrganizationSlug, c.Plan, c.Role = m.Organization, m.Slug, m.Plan, m.Role
			return c, true
		}
	}
	return Caller{}, false
}

// Plan is what an organization pays for.
type Plan uint8

// The plans, least first.
const (
	Free Plan = iota
	Team
	Enterprise
)

// String returns the plan's name.
func (p Plan) String() string {
	switch p {
	case Team:
		return "team"
	case Enterprise:
		return "enterprise"
	default:
		return "free"
	}
}

// ParsePlan returns the plan of that name; ok is false for any other text.
func ParsePlan(name string) (p Plan, ok bool) {
	for _, p := range []Plan{Free, Team, Enterprise} {
		if p.String() == name {
			return p, true
		}
	}
	return Free, false
}

// Resource is what a permission is exercised on: an organization, or a project in one (tasks and comments count as
// their project). The zero Resource stands for the caller's own account.
type Resource struct {
	Organization string      // id
	Project      string      // id, empty for the organization itself
	Visibility   Visibility  // the project's
	Given        ProjectRole // the role that the project itself gives the caller's user
}

// Decision is the answer of [Decide]. The zero value is not an answer that permits: only Allowed does.
type Decision uint8

// The decisions, in the order in which refusals are reported.
const (
	undecided        Decision = iota
	Allowed                   // go ahead
	NeedCredential            // nobody is calling
	NeedSignIn                // a token, at what needs a person's real sign-in
	NeedScope                 // the token was not granted a scope that covers this
	NeedPolicy                // an agent, at what its organization keeps from agents
	Absent                    // outside the organization, the token's projects or what the user sees: answer as if it did not exist
	NeedUnrestricted          // a project-scoped token, at what reaches beyond any set of projects
	NeedRole                  // the user's role does not permit it
)

// Reason returns the word that errors and the audit log carry for a refusal, and "" for Allowed.
func (d Decision) Reason() string {
	switch d {
	case Allowed:
		return ""
	case NeedSignIn:
		return "signin"
	case NeedScope:
		return "scope"
	case NeedPolicy:
		return "policy"
	case Absent, NeedUnrestricted:
		return "project"
	case NeedRole:
		return "role"
	default:
		return "credential"
	}
}

// Decide answers whether the caller may exercise p on r. It looks at nothing but its arguments and does not allocate.
func Decide(c *Caller, p Permission, r Resource) Decision {
	if d := May(c, p); d != Allowed {
		return d
	}
	if accountLevel.Has(p) {
		return Allowed
	}
	if c.Role == NoRole || c.Organization == "" || r.Organization != c.Organization {
		return Absent
	}
	if organizationLevel.Has(p) {
		return decideInOrganization(c, p)
	}
	if r.Project == "" {
		return Absent
	}
	if c.Kind == TokenCaller && !c.Projects.Contains(r.Project) {
		return Absent
	}
	role := EffectiveProjectRole(c.Role, r.Visibility, r.Given)
	if role == NoProjectRole {
		return Absent
	}
	if !role.Permissions().Has(p) {
		return NeedRole
	}
	return Allowed
}

func decideInOrganization(c *Caller, p Permission) Decision {
	if c.Kind == TokenCaller && unrestrictedOnly.Has(p) && c.Projects.Restricted() {
		return NeedUnrestricted
	}
	if !c.Role.OrganizationPermissions().Has(p) {
		return NeedRole
	}
	return Allowed
}

// May answers the part of [Decide] that is known before anything is looked up: whether the caller's kind of credential
// and its scopes could let p through at all. Allowed means only that it is worth looking.
func May(c *Caller, p Permission) Decision {
	switch c.Kind {
	case SessionCaller:
		return Allowed
	case TokenCaller:
		if p.Interactive() {
			return NeedSignIn
		}
		if !c.Scopes.Covers().Has(p) {
			return NeedScope
		}
		if c.Purpose == Agent && c.Withheld.Has(p) {
			return NeedPolicy
		}
		return Allowed
	default:
		return NeedCredential
	}
}

// OrganizationPermissions returns what the caller may do to the organization in which it acts, right now.
func (c *Caller) OrganizationPermissions() Permissions {
	var held Permissions
	for p := range permissionCount {
		if organizationLevel.Has(p) && Decide(c, p, Resource{Organization: c.Organization}) == Allowed {
			held |= 1 << p
		}
	}
	return held
}

// ProjectPermissions returns what the caller may do in the project r, right now.
func (c *Caller) ProjectPermissions(r Resource) Permissions {
	var held Permissions
	for p := range permissionCount {
		if projectLevel.Has(p) && Decide(c, p, r) == Allowed {
			held |= 1 << p
		}
	}
	return held
}
