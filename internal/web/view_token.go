package web

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"carnet/access"
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
	RevokedBySelf    bool

	now time.Time
}

// scopeView is a scope in words.
type scopeView struct {
	Name, Title string
	Write       bool
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

// tokensPage is Settings → Developer.
type tokensPage struct {
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

// scopeRow is one resource of the scope picker.
type scopeRow struct {
	Resource, Title, Text, Reason string
	Levels                        []scopeLevel
}

// scopeLevel is none, read or write of a resource.
type scopeLevel struct {
	Value, Label              string
	Offered, Chosen, Disabled bool
}

// resourceWords describe the resources of the catalogue in the picker.
var resourceWords = map[string][2]string{
	"projects": {"Projects", "Read their details; write also creates, changes and deletes."},
	"tasks":    {"Tasks", "List, search, count and read; write also creates, changes and deletes."},
	"comments": {"Comments", "Read; write also comments, and edits and deletes your own."},
	"members":  {"Members", "Names, e-mail addresses and roles."},
	"audit":    {"Audit log", "What members and their tokens did."},
}

// scopeRows builds the picker: every resource of the catalogue with none, read and write. What lies outside the role, or
// outside the limit, is shown and cannot be chosen.
func scopeRows(chosen access.Scopes, role access.Role, limit access.Scopes) []scopeRow {
	var rows []scopeRow
	index := map[string]int{}
	for _, entry := range access.Catalogue() {
		at, known := index[entry.Resource]
		if !known {
			at = len(rows)
			index[entry.Resource] = at
			w := resourceWords[entry.Resource]
			rows = append(rows, scopeRow{Resource: entry.Resource, Title: w[0], Text: w[1], Levels: []scopeLevel{
				{Value: "none", Label: "none", Offered: true, Chosen: true},
				{Value: "read", Label: "read"},
				{Value: "write", Label: "write"},
			}})
		}
		row := &rows[at]
		place := 1
		if entry.Write {
			place = 2
		}
		level := &row.Levels[place]
		level.Offered = true
		level.Disabled = !access.ScopeSet(entry.Scope).Within(limit)
		if !entry.Scope.CoveredBy(role) {
			level.Disabled = true
			row.Reason = needsRole(entry.Scope, role)
		}
		if chosen.Has(entry.Scope) && !level.Disabled {
			for i := range row.Levels {
				row.Levels[i].Chosen = i == place
			}
		}
	}
	return rows
}

func needsRole(scope access.Scope, role access.Role) string {
	var names []string
	for _, r := range scope.Roles() {
		names = append(names, r.String())
	}
	need := strings.Join(names, " or ")
	if role == access.NoRole {
		return "Needs the role " + need + "."
	}
	return fmt.Sprintf("Needs the role %s; you are %s.", need, withArticle(role.String()))
}

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
func presets(organization string) []preset {
	type grant struct{ label, name, scopes, days string }
	var list []preset
	for _, g := range []grant{
		{"Reporting script", "Reporting script", "projects:read,tasks:read", "90"},
		{"Build pipeline", "Build pipeline", "tasks:write,comments:write", "90"},
	} {
		query := url.Values{"name": {g.name}, "scopes": {g.scopes}, "expires_in_days": {g.days}, "organization": {organization}}
		list = append(list, preset{g.label, "/settings/developer/new?" + query.Encode(), query.Encode()})
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
	Form          form
	Unverified    bool
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

// expiryChoices lists the ends on offer, with the exact moment that each would mean.
func expiryChoices(now time.Time, chosen string) []expiryChoice {
	var list []expiryChoice
	for _, days := range []int{7, 30, 60, 90} {
		at := now.Add(time.Duration(days) * 24 * time.Hour)
		value := strconv.Itoa(days)
		list = append(list, expiryChoice{Value: value, Label: plural(days, "day"), At: &at, Chosen: chosen == value})
	}
	return append(list,
		expiryChoice{Value: "custom", Label: "Custom", Note: "A date and hour below", Chosen: chosen == "custom"},
		expiryChoice{Value: "none", Label: "No expiry", Note: "Until somebody revokes it", Chosen: chosen == "none"})
}

// valuePage shows a value, once.
type valuePage struct {
	Crumbs      []crumb
	Token       tokenView
	Value, Curl copyable
	Rotated     bool
	OldUntil    *time.Time // when the replaced value ends; nil: it has ended
}

// tokenPage is a token's whole life.
type tokenPage struct {
	Crumbs       []crumb
	Token        tokenView
	AlreadyShown bool
	LateUses     []lateUse
	Life         []lifeEvent
	Calls        callChart
	Example      copyable
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

// callChart is calls by day as bars, in the units of its view box.
type callChart struct {
	Width, Height int
	Days          []callBar
	Total, Most   int
	First, Last   string
	Label         string
	Table         []callBar // days with calls, latest first

}

// callBar is one day.
type callBar struct {
	Day                 string
	Calls               int
	X, Y, Width, Height string
}

// newCallChart draws the days up to and including today. calls is by day, as YYYY-MM-DD in UTC.
func newCallChart(calls map[string]int, now time.Time, days int) callChart {
	c := callChart{Width: 960, Height: 120}
	step := float64(c.Width) / float64(days)
	today := now.UTC().Truncate(24 * time.Hour)
	for i := range days {
		n := calls[today.AddDate(0, 0, i-days+1).Format(time.DateOnly)]
		c.Total += n
		c.Most = max(c.Most, n)
	}
	for i := range days {
		day := today.AddDate(0, 0, i-days+1)
		n := calls[day.Format(time.DateOnly)]
		height := 2.0 // a day without calls keeps a trace, so that the days can be counted
		if n > 0 {
			height = max(5, float64(c.Height)*float64(n)/float64(c.Most))
		}
		bar := callBar{
			Day: day.Format("2 Jan 2006"), Calls: n,
			X: number(float64(i)*step + 1.5), Y: number(float64(c.Height) - height), Width: number(step - 3), Height: number(height),
		}
		c.Days = append(c.Days, bar)
		if n > 0 {
			c.Table = append([]callBar{bar}, c.Table...)
		}
	}
	c.First, c.Last = c.Days[0].Day, c.Days[len(c.Days)-1].Day
	c.Label = fmt.Sprintf("Calls by day from %s to %s: %s in all, at most %d in a day.", c.First, c.Last, plural(c.Total, "call"), c.Most)
	return c
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// narrowPage takes away from a token.
type narrowPage struct {
	Crumbs      []crumb
	Token       tokenView
	Form        form
	Scopes      []scopeRow
	Chosen      bool
	Projects    []projectChoice
	ChosenCount int
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
	Crumbs       []crumb
	Token        tokenView
	Moment, Took string
}

// homePage is the first screen after sign-in.
type homePage struct {
	Total, Live, Resting, Recent, Unused, Expiring, Sessions int
	NextExpiry                                               *time.Time
	CleanUp, Used                                            []tokenView
	Example                                                  copyable
}

// curl writes a call that works when pasted.
func curl(base, path, value string) string {
	return fmt.Sprintf("curl -H \"Authorization: Bearer %s\" \\\n  %s/api/v1%s", value, base, path)
}
