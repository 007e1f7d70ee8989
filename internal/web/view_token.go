package web

import (
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/tokens"
)

// How long ago, and how soon, a token is worth a look.
const (
	unusedAfter   = 30 * 24 * time.Hour
	expiringSoon  = 7 * 24 * time.Hour
	callsShown    = 60 // days of the chart on a token's page
	projectsNamed = 3  // of a token's projects in a list
)

// tokenView is a token as pages show it.
type tokenView struct {
	ID, Name, Prefix string
	State            string // as the API names it
	Organization     string // slug
	OrganizationName string
	Role             string // that its owner has there now, "" for none
	Scopes           []scopeView
	Restricted       bool
	Projects         []projectName // of a restricted one, those that its owner sees
	Hidden           int           // and how many they do not see
	hidden           []string      // their ids
	CreatedAt        time.Time
	CreatedFrom      string
	ExpiresAt        *time.Time
	LastUsedAt       *time.Time
	LastUsedIP       string
	LastUsedClient   string
	RevokedAt        *time.Time

	Agent              bool
	Client, ClientHost string // of agents
	Calls              int    // of agents in lists, in the last seven days
	Stopped            bool   // some of an agent's scopes, by its organization's policy
	AgentsOff          bool   // no agents work in its organization

	RevokedBySelf, PausedBySelf bool
	RevokedBy, PausedBy         string // names, on the token's page
	RevokeReason, PauseReason   string

	now time.Time
}

func (t tokenView) surface() surface {
	if t.Agent {
		return agentPages
	}
	return developerPages
}

// Href is the address of the token's own page.
func (t tokenView) Href() string { return t.surface().base + "/" + t.ID }

// Noun is what people call it.
func (t tokenView) Noun() string {
	if t.Agent {
		return "agent"
	}
	return "token"
}

// scopes returns the scopes as a set.
func (t tokenView) scopes() access.Scopes {
	var set access.Scopes
	for _, s := range t.Scopes {
		set |= access.KnownScopes(s.Name)
	}
	return set
}

// projectIDs returns the ids of a restricted token's projects, those that its owner does not see included.
func (t tokenView) projectIDs() []string {
	ids := append([]string{}, t.hidden...)
	for _, p := range t.Projects {
		ids = append(ids, p.ID)
	}
	return ids
}

// SignedIn reports whether an agent got its token by signing in from its program. Nobody pastes such a token, so that a
// new value would reach nobody.
func (t tokenView) SignedIn() bool { return t.ClientHost != "" }

// Policy is where the organization says what agents may do.
func (t tokenView) Policy() string { return policyOf(t.Organization) }

// Family is what the client is called without what it adds to its name.
func (t tokenView) Family() string { return tokens.Family(t.Client) }

// Revoker says who revoked the token.
func (t tokenView) Revoker() string { return whoever(t.RevokedBySelf, t.RevokedBy) }

// Pauser says who paused the agent.
func (t tokenView) Pauser() string { return whoever(t.PausedBySelf, t.PausedBy) }

func whoever(self bool, name string) string {
	switch {
	case self:
		return "you"
	case name != "":
		return name
	default:
		return "the operators of this server"
	}
}

// connection is whether an agent has made its first call.
func (t tokenView) connection() *connection {
	if !t.Agent || t.State != "live" {
		return nil
	}
	return &connection{Token: t, Address: t.Href() + "/connection"}
}

// scopeView is a scope in words.
type scopeView struct {
	Name, Title string
	Write       bool
	Stopped     bool // by the organization's agent policy
}

// projectName is as much of a project as a link needs.
type projectName struct{ ID, Key, Name string }

// mark is a chip that makes a token stand out.
type mark struct{ Class, Icon, Text string }

// Ended reports whether the token is gone for good.
func (t tokenView) Ended() bool { return t.State == "revoked" || t.State == "expired" }

// MoreProjects returns how many projects a list leaves out.
func (t tokenView) MoreProjects() int { return len(t.Projects) - projectsNamed }

// Unused reports whether nobody has used the token for so long that it may be dead.
func (t tokenView) Unused() bool {
	return !t.Ended() && t.now.Sub(t.lastSign()) >= unusedAfter
}

// lastSign is when the token last showed a sign of life.
func (t tokenView) lastSign() time.Time {
	if t.LastUsedAt != nil {
		return *t.LastUsedAt
	}
	return t.CreatedAt
}

// Expiring reports whether it ends within days.
func (t tokenView) Expiring() bool {
	return !t.Ended() && t.ExpiresAt != nil && t.ExpiresAt.Sub(t.now) < expiringSoon
}

// Marks returns what is worth a look about the token.
func (t tokenView) Marks() []mark {
	var marks []mark
	if t.Expiring() {
		marks = append(marks, mark{"chip-danger", "clock", "Expires in " + span(t.ExpiresAt.Sub(t.now))})
	}
	switch {
	case t.Unused() && t.LastUsedAt == nil:
		marks = append(marks, mark{"chip-warning", "alert", "Never used in " + span(t.now.Sub(t.CreatedAt))})
	case t.Unused():
		marks = append(marks, mark{"chip-warning", "alert", "Unused for " + span(t.now.Sub(*t.LastUsedAt))})
	}
	return marks
}

// scopeViews puts scope names into words.
func scopeViews(names []string) []scopeView {
	views := make([]scopeView, 0, len(names))
	for _, name := range names {
		for _, entry := range access.Catalogue() {
			if entry.Name == name {
				views = append(views, scopeView{Name: name, Title: entry.Title, Write: entry.Write})
			}
		}
	}
	return views
}

// copyable is a text with a button that copies it.
type copyable struct {
	ID, Label, Text string
	Secret          bool
}

// tokensPage is Settings → Developer, or Settings → Agents.
type tokensPage struct {
	Agents        bool
	Base, Section string
	Any           bool // whether there is any token at all, whatever the filters
	Show          string
	Views         []viewLink
	Organizations []option
	Caption       string
	Tokens        []tokenView
	Pager         pager
	EmptyTitle    string
	EmptyText     string
	Example       copyable
	Clients       []clientTile
	Policies      []place // the organizations that decide what agents may do
}

// Heading is what the page is called.
func (p tokensPage) Heading() string {
	if p.Agents {
		return "Agents"
	}
	return "Personal access tokens"
}

// viewLink is one of the ways to look at a list.
type viewLink struct {
	Label, Href string
	Current     bool
}

// pager leads to the other pages of a list.
type pager struct{ First, Next string }

// crumb is one step of the way to a page.
type crumb struct{ Label, Href string }

// projectChoice is a project in a list to choose from.
type projectChoice struct {
	projectName
	Private, Chosen bool
}

// expiryChoice is one of the ends that a token can be given.
type expiryChoice struct {
	Value, Label, Note string
	At                 *time.Time
	Chosen             bool
}

// preset fills the form in and grants nothing.
type preset struct{ Label, Href, Settings string }

// presets are common grants, least first.
func presets(base, organization string) []preset {
	return presetsOf(base, url.Values{"organization": {organization}, "expires_in_days": {"90"}}, []presetGrant{
		{"Reporting script", "Reporting script", "projects:read,tasks:read"},
		{"Build pipeline", "Build pipeline", "tasks:write,comments:write"},
	})
}

// presetGrant is what a preset fills in; name is empty where it is left to the person.
type presetGrant struct{ label, name, scopes string }

// presetsOf returns links to a form, filled in with each of the grants and what they share.
func presetsOf(base string, shared url.Values, grants []presetGrant) []preset {
	var list []preset
	for _, g := range grants {
		query := maps.Clone(shared)
		query.Set("scopes", g.scopes)
		if g.name != "" {
			query.Set("name", g.name)
		}
		list = append(list, preset{g.label, base + "?" + query.Encode(), query.Encode()})
	}
	return list
}

// summary is what a token would be able to do, in words.
type summary struct {
	Wrong         []string // what keeps the preview from saying more
	Sentence      string
	NotCovered    []string
	Projects      []projectAbility
	ProjectsTotal int
}

// projectAbility is what a token could do in one project.
type projectAbility struct{ Name, Role, Can string }

// MoreProjects returns how many the summary leaves out.
func (s *summary) MoreProjects() int { return s.ProjectsTotal - len(s.Projects) }

// can puts permissions into words: "read projects; read and change tasks".
func can(permissions []string) string {
	held := map[string]bool{}
	for _, p := range permissions {
		held[p] = true
	}
	var reads, writes []string
	for _, resource := range []string{"projects", "tasks", "comments"} {
		switch {
		case held[resource+":write"]:
			writes = append(writes, resource)
		case held[resource+":read"]:
			reads = append(reads, resource)
		}
	}
	var parts []string
	if len(reads) > 0 {
		parts = append(parts, "read "+words(reads))
	}
	if len(writes) > 0 {
		parts = append(parts, "change "+words(writes))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// tokenForm is the page that creates a token.
type tokenForm struct {
	Crumbs        []crumb
	Base          string // where the form goes
	Form          form
	Unverified    bool
	Blocked       bool   // whether it cannot be sent as things are
	Button        string // what sends it
	Organizations []option
	Organization  place
	Presets       []preset
	Scopes        []scopeRow
	Chosen        bool // whether only some projects are reached
	Projects      []projectChoice
	ChosenCount   int
	MoreProjects  bool
	Expiry        []expiryChoice
	NoExpiry      bool
	Summary       *summary
}

// role is what the person is in the organization.
func (p tokenForm) role() access.Role {
	role, _ := access.ParseRole(p.Organization.Role)
	return role
}

// usualDays are the lives of tokens on offer.
var usualDays = []int{7, 30, 60, 90}

// expiryChoices lists the ends on offer, with the exact moment that each would mean.
func expiryChoices(now time.Time, chosen string) []expiryChoice {
	return append(lives(now, usualDays, chosen), expiryChoice{Value: noExpiry, Label: "No expiry", Note: "Until somebody revokes it", Chosen: chosen == noExpiry})
}

// lives lists numbers of days, and a moment of one's own.
func lives(now time.Time, all []int, chosen string) []expiryChoice {
	var list []expiryChoice
	for _, days := range all {
		at := now.Add(time.Duration(days) * 24 * time.Hour)
		value := strconv.Itoa(days)
		list = append(list, expiryChoice{Value: value, Label: plural(days, "day"), At: &at, Chosen: chosen == value})
	}
	return append(list, expiryChoice{Value: customExpiry, Label: "Custom", Note: "A date and hour below", Chosen: chosen == customExpiry})
}

// valuePage shows a value, once.
type valuePage struct {
	Crumbs     []crumb
	Token      tokenView
	Value      copyable
	Snippets   []copyable // that have the value in them, or lead to it
	Client     string     // that an agent runs in
	Rotated    bool
	OldUntil   *time.Time // when the replaced value ends; nil: it has ended
	Connection *connection
}

// tokenPage is a token's whole life.
type tokenPage struct {
	Crumbs       []crumb
	Token        tokenView
	AlreadyShown bool
	deeds
	Example    copyable
	Connection *connection // of agents that have not ended
}

// deeds is what a token did.
type deeds struct {
	LateUses []lateUse
	Life     []lifeEvent
	Calls    callChart
	Changed  []deed // the latest first
}

// deed is one change that a token made; Ref, Name and Href are of what it changed, where the person sees it.
type deed struct {
	At                     time.Time
	Words, Ref, Name, Href string
	Deleted                bool // it is in the recycle bin, where Href leads
}

// lateUse tells of a replaced value that somebody still uses.
type lateUse struct {
	Prefix          string
	Uses            int
	LastUsedAt      time.Time
	Address, Client string
}

// lifeEvent is one step of a token's life.
type lifeEvent struct {
	Title, Text, Class string
	At                 *time.Time
}

// changePage takes away from a token, or gives an agent another grant.
type changePage struct {
	Crumbs       []crumb
	Token        tokenView
	Action       string
	Form         form
	Organization place
	Scopes       []scopeRow
	Chosen       bool
	Projects     []projectChoice
	ChosenCount  int
	MoreProjects bool
}

// rotatePage asks how long the old value lives on.
type rotatePage struct {
	Crumbs []crumb
	Token  tokenView
	Form   form
	Graces []option
}

// graces are the choices of how long a replaced value goes on working.
func graces(chosen string) []option {
	list := []option{
		{Value: "0", Label: "Stops at once", Note: "Nothing accepts it any more when the new one is shown"},
		{Value: "3600", Label: "Works for 1 more hour", Note: "Time to replace it by hand"},
		{Value: "86400", Label: "Works for 24 more hours", Note: "Time for a deployment"},
	}
	for i := range list {
		list[i].Chosen = list[i].Value == chosen
	}
	return list
}

// revokePage asks once.
type revokePage struct {
	Crumbs []crumb
	Token  tokenView
}

// receiptPage says that a revocation holds.
type receiptPage struct {
	Crumbs                []crumb
	Token                 tokenView
	Owner                 string // of somebody else's agent
	Moment, Took          string
	Href, Back, BackLabel string
}

// homePage is the first screen after sign-in.
type homePage struct {
	Total, Unused, Expiring, Sessions int
	Tokens, Agents                    kindTally
	NextExpiry                        *time.Time
	CleanUp, Used                     []tokenView
	Example                           copyable
}

// kindTally counts one kind of what can act as a person.
type kindTally struct {
	Label, Base           string
	Live, Resting, Recent int
}

// curl writes a call that works when pasted. Double quotes, so that a shell puts $CARNET_TOKEN in.
func curl(base, value string) string {
	return fmt.Sprintf("curl -H \"Authorization: Bearer %s\" \\\n  %s/api/v1/me", value, base)
}
