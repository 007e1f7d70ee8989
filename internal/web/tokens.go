package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/org"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

// surface is one of the two places where people keep what acts as them: their tokens under Developer, their agents under
// Agents. What is found at the other one leads there.
type surface struct {
	base, section, label string
	purpose              access.Purpose
	views                []tokenFilter
}

const (
	developer = "/settings/developer"
	agents    = "/settings/agents"
)

var (
	developerPages = surface{base: developer, section: "developer", label: "Developer", purpose: access.Personal, views: tokenViews}
	agentPages     = surface{base: agents, section: "agents", label: "Agents", purpose: access.Agent, views: agentViews}
)

func (d *Door) tokenRoutes() map[string]handler {
	routes := map[string]handler{
		"GET " + developer + "/new":  d.newToken,
		"POST " + developer + "/new": d.createToken,
		// Who reloads a preview loses it, and starts again.
		"GET " + developer + "/new/preview":  func(v *visit) error { return v.leave(developer+"/new", "") },
		"POST " + developer + "/new/preview": d.previewToken,
		"GET " + developer + "/{id}/narrow":  d.askNarrow,
		"POST " + developer + "/{id}/narrow": d.narrowToken,
	}
	for _, s := range []surface{developerPages, agentPages} {
		routes["GET "+s.base] = func(v *visit) error { return v.list(s) }
		routes["GET "+s.base+"/{id}"] = d.showToken
		routes["GET "+s.base+"/{id}/rotate"] = d.askRotate
		routes["POST "+s.base+"/{id}/rotate"] = d.rotateToken
		routes["GET "+s.base+"/{id}/revoke"] = d.askRevoke
		routes["POST "+s.base+"/{id}/revoke"] = d.revokeToken
	}
	return routes
}

// tokenBatch is how many tokens one look at the feature brings; lists that filter by use read on until they have enough.
const tokenBatch = page.MaxLimit

// tokensShown is how many tokens a list shows at once.
const tokensShown = 50

// tokenFilter is one way to look at the list: which states, and which of those.
type tokenFilter struct {
	name, label, caption  string
	states                []string
	fits                  func(tokenView) bool // nil: all
	emptyTitle, emptyText string
}

var (
	inUse = []string{string(tokens.Live), string(tokens.Inert), string(tokens.Paused)}
	ended = []string{string(tokens.Expired), string(tokens.Revoked)}
)

var tokenViews = []tokenFilter{
	{name: "", label: "In use", caption: "Tokens in use", states: inUse, emptyTitle: "No tokens in use", emptyText: "All that you had have ended. Create one when a program needs it."},
	{name: "unused", label: "Unused", caption: "Tokens unused for 30 days or more", states: inUse, fits: tokenView.Unused, emptyTitle: "Nothing to clean up", emptyText: "Every token in use is newer than 30 days or was used since."},
	{name: "expiring", label: "Expiring", caption: "Tokens that expire within 7 days", states: inUse, fits: tokenView.Expiring, emptyTitle: "Nothing expires soon", emptyText: "No token in use expires within 7 days."},
	{name: "ended", label: "Ended", caption: "Expired and revoked tokens", states: ended, emptyTitle: "Nothing has ended", emptyText: "Expired and revoked tokens stay listed here for 90 days."},
}

var agentViews = []tokenFilter{
	{name: "", label: "Current", caption: "Agents that have not ended", states: inUse, emptyTitle: "No agents now", emptyText: "All that you had have ended. Connect one when you want a program to work for you."},
	{name: "unused", label: "Unused", caption: "Agents unused for 30 days or more", states: inUse, fits: tokenView.Unused, emptyTitle: "Nothing to clean up", emptyText: "Every agent in use is newer than 30 days or was used since."},
	{name: "expiring", label: "Expiring", caption: "Agents that expire within 7 days", states: inUse, fits: tokenView.Expiring, emptyTitle: "Nothing expires soon", emptyText: "No agent in use expires within 7 days."},
	{name: "ended", label: "Ended", caption: "Expired and revoked agents", states: ended, emptyTitle: "Nothing has ended", emptyText: "Expired and revoked agents stay listed here for 90 days."},
}

// named returns the view of that name, or else the first.
func viewNamed(list []tokenFilter, name string) tokenFilter {
	return list[max(0, slices.IndexFunc(list, func(f tokenFilter) bool { return f.name == name }))]
}

// list is Settings → Developer, or Settings → Agents.
func (v *visit) list(s surface) error {
	query := v.r.URL.Query()
	view, organization := viewNamed(s.views, query.Get("show")), query.Get("organization")
	purpose := []string{s.purpose.String()}
	asked := tokens.Query{State: view.states, Purpose: purpose}
	asked.Cursor = query.Get("cursor")
	asked.Limit = tokensShown
	if organization != "" {
		asked.Organization = []string{organization}
	}
	listed, next, err := v.tokens(asked, view.fits)
	if err != nil {
		return err
	}
	p := tokensPage{
		Agents: s.purpose == access.Agent, Base: s.base, Section: s.section, Any: len(listed) > 0, Show: view.name, Caption: view.caption, Tokens: listed,
		EmptyTitle: view.emptyTitle, EmptyText: view.emptyText, Example: v.d.example(), Clients: clientTiles(nil),
	}
	if !p.Any {
		first, err := v.d.Tokens.Tokens(v.ctx(), v.caller, tokens.Query{Request: page.Request{Limit: 1}, Purpose: purpose})
		if err != nil {
			return err
		}
		p.Any = len(first.Items) > 0
	}
	if p.Agents && p.Any {
		calls, err := v.d.Tokens.Calls7Days(v.ctx(), v.caller)
		if err != nil {
			return err
		}
		for i := range p.Tokens {
			p.Tokens[i].Calls = int(calls[p.Tokens[i].ID])
		}
	}
	filters := map[string]string{"organization": organization}
	p.Views = viewLinks(s.base, s.views, view.name, filters)
	if len(v.viewer.Organizations) > 1 || organization != "" {
		p.Organizations = append(p.Organizations, option{Label: "All organizations", Chosen: organization == ""})
		for _, o := range v.viewer.Organizations {
			p.Organizations = append(p.Organizations, option{Value: o.Slug, Label: o.Name, Chosen: o.Slug == organization})
		}
	}
	if p.Agents {
		p.Policies = v.viewer.Organizations
	}
	p.Pager = pages(v.r.URL, next)
	return v.show(http.StatusOK, "tokens", p.Heading(), s.section, p)
}

// viewLinks lead to the ways to look at a list, with its filters kept.
func viewLinks(base string, list []tokenFilter, current string, filters map[string]string) []viewLink {
	var links []viewLink
	for _, w := range list {
		filters["show"] = w.name
		links = append(links, viewLink{Label: w.label, Href: address(base, filters), Current: w.name == current})
	}
	return links
}

// address returns a path with those of the parameters that are not empty.
func address(path string, parameters map[string]string) string {
	values := url.Values{}
	for key, value := range parameters {
		if value != "" {
			values.Set(key, value)
		}
	}
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

// tokens reads a page of the caller's tokens, or all that fit when there is a condition that only pages know.
func (v *visit) tokens(asked tokens.Query, fits func(tokenView) bool) (list []tokenView, next string, err error) {
	names := v.projectNames()
	if fits != nil {
		asked.Limit, asked.Cursor = tokenBatch, ""
	}
	for {
		found, err := v.d.Tokens.Tokens(v.ctx(), v.caller, asked)
		if err != nil {
			return nil, "", err
		}
		for _, t := range found.Items {
			view, err := names.token(t)
			if err != nil {
				return nil, "", err
			}
			if fits == nil || fits(view) {
				list = append(list, view)
			}
		}
		if fits == nil || found.NextCursor == "" {
			return list, found.NextCursor, nil
		}
		asked.Cursor = found.NextCursor
	}
}

// projectNames looks the projects of tokens up, one organization at a time and only when a token is limited to some.
type projectNames struct {
	v        *visit
	known    map[string]map[string]projectName // by organization and id
	policies map[string]org.AgentPolicy        // by organization
}

func (v *visit) projectNames() projectNames {
	return projectNames{v: v, known: map[string]map[string]projectName{}, policies: map[string]org.AgentPolicy{}}
}

// token returns a token as pages show it.
func (n projectNames) token(t tokens.Token) (tokenView, error) {
	view := tokenView{
		ID: t.ID, Name: t.Name, Prefix: t.Prefix, State: string(t.State), Organization: t.Organization, OrganizationName: t.OrganizationName(),
		Scopes: scopeViews(t.Scopes), Restricted: t.Projects != nil, CreatedAt: t.CreatedAt, CreatedFrom: t.CreatedFrom,
		ExpiresAt: t.ExpiresAt, LastUsedAt: t.LastUsedAt, RevokedAt: t.RevokedAt, now: n.v.d.Now(),
	}
	view.Role, view.LastUsedIP, view.LastUsedClient = deref(t.Role), deref(t.LastUsedIP), deref(t.LastUsedClient)
	view.RevokeReason, view.PauseReason = t.RevokeReason, t.PauseReason
	view.RevokedBySelf, view.PausedBySelf = deref(t.RevokedBy) == n.v.caller.UserID, deref(t.PausedBy) == n.v.caller.UserID
	view.Agent = t.Purpose == access.Agent.String()
	if t.Client != nil {
		view.Client, view.ClientHost = t.Client.Name, t.Client.Host
	}
	if err := n.markStopped(&view); err != nil {
		return view, err
	}
	if !view.Restricted {
		return view, nil
	}
	names, err := n.in(t.Organization)
	if err != nil {
		return view, err
	}
	for _, id := range t.Projects {
		if name, ok := names[id]; ok {
			view.Projects = append(view.Projects, name)
		} else {
			view.Hidden++
			view.hidden = append(view.hidden, id)
		}
	}
	slices.SortFunc(view.Projects, func(a, b projectName) int { return cmp.Compare(a.Name, b.Name) })
	return view, nil
}

// markStopped marks the scopes of an agent that its organization's policy does not let it use now.
func (n projectNames) markStopped(t *tokenView) error {
	if !t.Agent || t.Ended() {
		return nil
	}
	policy, known := n.policies[t.Organization]
	if !known {
		var err error
		policy, err = n.v.agentPolicy(t.Organization)
		if problem.Is(err, problem.NotFound) { // who left sees no policy
			return nil
		}
		if err != nil {
			return err
		}
		n.policies[t.Organization] = policy
	}
	t.AgentsOff = !policy.Enabled
	t.markScopes(policy.Rules().Scopes)
	return nil
}

// markScopes marks those that are not allowed. Of one that writes, the reading that it includes may be.
func (t *tokenView) markScopes(allowed access.Scopes) {
	var shown []scopeView
	for _, s := range t.Scopes {
		scope, ok := access.ParseScope(s.Name)
		if !ok || access.ScopeSet(scope).Within(allowed) {
			shown = append(shown, s)
			continue
		}
		reads := withReads(access.ScopeSet(scope)) &^ access.ScopeSet(scope)
		for _, read := range reads.List() {
			if access.ScopeSet(read).Within(allowed) && !t.scopes().Has(read) {
				shown = append(shown, scopeViews([]string{read.String()})...)
			}
		}
		s.Stopped, t.Stopped = true, true
		shown = append(shown, s)
	}
	t.Scopes = shown
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// ownToken reads the token that the path names. One that has its pages on the other surface leads there.
func (v *visit) ownToken() (tokenView, error) {
	t, err := v.d.Tokens.Token(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return tokenView{}, err
	}
	view, err := v.projectNames().token(t)
	if err != nil {
		return tokenView{}, err
	}
	return view, v.atHome(view)
}

// elsewhereError says that what was asked for has its page at another address.
type elsewhereError struct{ path string }

func (e *elsewhereError) Error() string { return "the page is at " + e.path }

// atHome leads to the token's own page when the path is one of the other surface.
func (v *visit) atHome(t tokenView) error {
	if !strings.HasPrefix(v.r.URL.Path, t.surface().base+"/") {
		return &elsewhereError{t.Href()}
	}
	return nil
}

// example is a call to try a token with.
func (d *Door) example() copyable {
	return copyable{ID: "example", Label: "A first call", Text: curl(d.PublicURL, "$CARNET_TOKEN")}
}

func tokenCrumbs(t tokenView, here string) []crumb {
	crumbs := []crumb{{t.surface().label, t.surface().base}}
	if here == "" {
		return append(crumbs, crumb{t.Name, ""})
	}
	return append(crumbs, crumb{t.Name, t.Href()}, crumb{here, ""})
}

// showToken is a token's whole life.
func (d *Door) showToken(v *visit) error {
	activity, err := d.Tokens.Activity(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	t, err := v.projectNames().token(activity.Token)
	if err == nil {
		err = v.atHome(t)
	}
	if err != nil {
		return err
	}
	t.tellWho(activity)
	p := tokenPage{Crumbs: tokenCrumbs(t, ""), Token: t, AlreadyShown: v.r.URL.Query().Has("again"), Example: d.example(), Connection: t.connection()}
	if p.deeds, err = v.deeds(t, activity); err != nil {
		return err
	}
	return v.show(http.StatusOK, "token", t.Name, t.surface().section, p)
}

// showValue draws the page that shows a value, once. A repeated form has none to show.
func (v *visit) showValue(issued tokens.Issued, rotated bool, oldUntil *time.Time) error {
	t, err := v.projectNames().token(issued.Token)
	if err != nil {
		return err
	}
	if issued.Value == nil {
		return v.leave(t.Href()+"?again=1", "")
	}
	value := issued.Value.Reveal()
	p := valuePage{
		Crumbs: tokenCrumbs(t, ""), Token: t, Rotated: rotated, OldUntil: oldUntil,
		Value:    copyable{ID: "value", Label: "The token", Text: value, Secret: true},
		Snippets: []copyable{{ID: "curl", Label: "Try it", Text: curl(v.d.PublicURL, value)}},
	}
	if t.Agent {
		client := clientNamed(t.Client)
		p.Client, p.Snippets = client.Name, client.bearer(v.d.mcpURL(), value)
		p.Connection = t.connection()
	}
	return v.show(http.StatusCreated, "token-value", t.Name, t.surface().section, p)
}

// notEnded refuses to begin what an ended token cannot go through.
func notEnded(t tokenView) error {
	if t.Ended() {
		return problem.Newf(problem.Conflict, "The %s has ended. %s a new one instead.", t.Noun(), map[bool]string{true: "Connect", false: "Create"}[t.Agent])
	}
	return nil
}

// askRotate asks how long the old value lives on.
func (d *Door) askRotate(v *visit) error {
	t, err := v.ownToken()
	if err == nil {
		err = notEnded(t)
	}
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "token-rotate", "Rotate "+t.Name, t.surface().section, rotatePage{Crumbs: tokenCrumbs(t, "Rotate"), Token: t, Form: newForm(nil), Graces: graces("0")})
}

// rotateToken gives a token a new value and shows it, once.
func (d *Door) rotateToken(v *visit) error {
	seconds, known := map[string]int{"0": 0, "3600": 3600, "86400": 86400}[v.posted("grace_seconds")]
	rotation := tokens.Rotation{GraceSeconds: seconds}
	if !known {
		rotation.Invalid = problem.Invalid("body.grace_seconds", "choose one of these")
	}
	issued, err := d.Tokens.Rotate(v.ctx(), v.caller, v.r.PathValue("id"), rotation)
	if err != nil {
		f := v.typed()
		if err := refused(&f, err, nil); err != nil {
			return err
		}
		t, err := v.ownToken()
		if err != nil {
			return err
		}
		return v.again("token-rotate", "Rotate "+t.Name, t.surface().section, rotatePage{Crumbs: tokenCrumbs(t, "Rotate"), Token: t, Form: f, Graces: graces(v.posted("grace_seconds"))})
	}
	var until *time.Time
	if seconds > 0 {
		end := d.Now().Add(time.Duration(seconds) * time.Second)
		until = &end
	}
	return v.showValue(issued, true, until)
}

// askRevoke asks once, with what the token is and what last used it.
func (d *Door) askRevoke(v *visit) error {
	t, err := v.ownToken()
	if err != nil {
		return err
	}
	if t.State == string(tokens.Revoked) {
		return v.leave(t.Href(), "")
	}
	return v.show(http.StatusOK, "token-revoke", "Revoke "+t.Name, t.surface().section, revokePage{Crumbs: tokenCrumbs(t, "Revoke"), Token: t})
}

// revokeToken ends a token and shows the receipt.
func (d *Door) revokeToken(v *visit) error {
	receipt, err := d.Tokens.Revoke(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	t, err := v.projectNames().token(receipt.Token)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "token-revoked", t.Name+" is revoked", t.surface().section, receiptOf(t, receipt, tokenCrumbs(t, "Revoked")))
}

// receiptOf tells when a revocation was made, and how long it took.
func receiptOf(t tokenView, receipt tokens.Receipt, crumbs []crumb) receiptPage {
	return receiptPage{
		Crumbs: crumbs, Token: t, Href: t.Href(), Back: t.surface().base, BackLabel: "Back to your " + t.Noun() + "s",
		Moment: receipt.RevokedAt.UTC().Format("2 Jan 2006, 15:04:05.000000 UTC"), Took: number(receipt.TookMS) + " ms",
	}
}
