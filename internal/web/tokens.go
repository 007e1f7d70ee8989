package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"

	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

const developer = "/settings/developer"

func (d *Door) tokenRoutes() map[string]handler {
	return map[string]handler{
		"GET " + developer:           d.listTokens,
		"GET " + developer + "/new":  d.newToken,
		"POST " + developer + "/new": d.createToken,
		// Who reloads a preview loses it, and starts again.
		"GET " + developer + "/new/preview":  func(v *visit) error { return v.leave(developer+"/new", "") },
		"POST " + developer + "/new/preview": d.previewToken,
		"GET " + developer + "/{id}":         d.showToken,
		"GET " + developer + "/{id}/narrow":  d.askNarrow,
		"POST " + developer + "/{id}/narrow": d.narrowToken,
		"GET " + developer + "/{id}/rotate":  d.askRotate,
		"POST " + developer + "/{id}/rotate": d.rotateToken,
		"GET " + developer + "/{id}/revoke":  d.askRevoke,
		"POST " + developer + "/{id}/revoke": d.revokeToken,
	}
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

var views = []tokenFilter{
	{name: "", label: "In use", caption: "Tokens in use", states: inUse, emptyTitle: "No tokens in use", emptyText: "All that you had have ended. Create one when a program needs it."},
	{name: "unused", label: "Unused", caption: "Tokens unused for 30 days or more", states: inUse, fits: tokenView.Unused, emptyTitle: "Nothing to clean up", emptyText: "Every token in use is newer than 30 days or was used since."},
	{name: "expiring", label: "Expiring", caption: "Tokens that expire within 7 days", states: inUse, fits: tokenView.Expiring, emptyTitle: "Nothing expires soon", emptyText: "No token in use expires within 7 days."},
	{name: "ended", label: "Ended", caption: "Expired and revoked tokens", states: []string{string(tokens.Expired), string(tokens.Revoked)}, emptyTitle: "Nothing has ended", emptyText: "Expired and revoked tokens stay listed here for 90 days."},
}

var inUse = []string{string(tokens.Live), string(tokens.Inert), string(tokens.Paused)}

// listTokens is Settings → Developer.
func (d *Door) listTokens(v *visit) error {
	query := v.r.URL.Query()
	show, organization := query.Get("show"), query.Get("organization")
	at := max(0, slices.IndexFunc(views, func(f tokenFilter) bool { return f.name == show }))
	view := views[at]
	asked := tokens.Query{State: view.states, Purpose: []string{"personal"}}
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
		Any: len(listed) > 0, Show: view.name, Caption: view.caption, Tokens: listed,
		EmptyTitle: view.emptyTitle, EmptyText: view.emptyText, Example: d.example(),
	}
	if !p.Any {
		first, err := d.Tokens.Tokens(v.ctx(), v.caller, tokens.Query{Request: page.Request{Limit: 1}, Purpose: []string{"personal"}})
		if err != nil {
			return err
		}
		p.Any = len(first.Items) > 0
	}
	address := func(name, cursor string) string {
		values := url.Values{}
		for key, value := range map[string]string{"show": name, "organization": organization, "cursor": cursor} {
			if value != "" {
				values.Set(key, value)
			}
		}
		if len(values) == 0 {
			return developer
		}
		return developer + "?" + values.Encode()
	}
	for _, w := range views {
		p.Views = append(p.Views, viewLink{Label: w.label, Href: address(w.name, ""), Current: w.name == view.name})
	}
	if len(v.viewer.Organizations) > 1 || organization != "" {
		p.Organizations = append(p.Organizations, option{Label: "All organizations", Chosen: organization == ""})
		for _, o := range v.viewer.Organizations {
			p.Organizations = append(p.Organizations, option{Value: o.Slug, Label: o.Name, Chosen: o.Slug == organization})
		}
	}
	if next != "" {
		p.Pager.Next = address(view.name, next)
	}
	if asked.Cursor != "" {
		p.Pager.First = address(view.name, "")
	}
	return v.show(http.StatusOK, "tokens", "Personal access tokens", "developer", p)
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
	v     *visit
	known map[string]map[string]projectName // by organization and id
}

func (v *visit) projectNames() projectNames {
	return projectNames{v: v, known: map[string]map[string]projectName{}}
}

// token returns a token as pages show it.
func (n projectNames) token(t tokens.Token) (tokenView, error) {
	view := tokenView{
		ID: t.ID, Name: t.Name, Prefix: t.Prefix, State: string(t.State), Organization: t.Organization, OrganizationName: t.OrganizationName(),
		Scopes: scopeViews(t.Scopes), Restricted: t.Projects != nil, CreatedAt: t.CreatedAt, CreatedFrom: t.CreatedFrom,
		ExpiresAt: t.ExpiresAt, LastUsedAt: t.LastUsedAt, RevokedAt: t.RevokedAt, now: n.v.d.Now(),
	}
	view.Role, view.LastUsedIP, view.LastUsedClient = deref(t.Role), deref(t.LastUsedIP), deref(t.LastUsedClient)
	view.RevokedBySelf = deref(t.RevokedBy) == n.v.caller.UserID
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

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// ownToken reads the token that the path names.
func (v *visit) ownToken() (tokenView, error) {
	t, err := v.d.Tokens.Token(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return tokenView{}, err
	}
	return v.projectNames().token(t)
}

// example is a call to try a token with.
func (d *Door) example() copyable {
	return copyable{ID: "example", Label: "A first call", Text: curl(d.PublicURL, "$CARNET_TOKEN")}
}

func tokenCrumbs(t tokenView, here string) []crumb {
	crumbs := []crumb{{"Developer", developer}}
	if here == "" {
		return append(crumbs, crumb{t.Name, ""})
	}
	return append(crumbs, crumb{t.Name, developer + "/" + t.ID}, crumb{here, ""})
}

// showToken is a token's whole life.
func (d *Door) showToken(v *visit) error {
	activity, err := d.Tokens.Activity(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	t, err := v.projectNames().token(activity.Token)
	if err != nil {
		return err
	}
	calls := map[string]int{}
	for _, day := range activity.CallsByDay {
		calls[day.Day] = int(day.Calls)
	}
	p := tokenPage{
		Crumbs: tokenCrumbs(t, ""), Token: t, AlreadyShown: v.r.URL.Query().Has("again"),
		Life: life(t, activity.Values), Calls: newCallChart(calls, d.Now(), callsShown), Example: d.example(),
	}
	for _, use := range activity.LateUses {
		p.LateUses = append(p.LateUses, lateUse{Prefix: use.Prefix, Uses: int(use.Uses), LastUsedAt: use.LastUsedAt, Address: use.IP, Client: use.Client})
	}
	return v.show(http.StatusOK, "token", t.Name, "developer", p)
}

// life tells what happened to a token, in its order. values are those that it has had, the current one first.
func life(t tokenView, values []tokens.Value) []lifeEvent {
	events := []lifeEvent{{Title: "Created", At: &t.CreatedAt, Class: "good"}}
	if t.CreatedFrom != "" {
		events[0].Text = "from " + t.CreatedFrom
	}
	for i := range values {
		// A value that replaced another one was made by a rotation.
		if i+1 < len(values) {
			old := values[i+1]
			text := old.Prefix + " was replaced"
			if old.ValidUntil != nil && old.ValidUntil.Sub(values[i].CreatedAt) > time.Second {
				text += ", and worked on until " + exact(*old.ValidUntil)
			}
			events = append(events, lifeEvent{Title: "Rotated", At: &values[i].CreatedAt, Text: text})
		}
	}
	if t.LastUsedAt != nil {
		text := ""
		if t.LastUsedIP != "" {
			text = "from " + t.LastUsedIP
		}
		if t.LastUsedClient != "" {
			text += " with " + t.LastUsedClient
		}
		events = append(events, lifeEvent{Title: "Last used", At: t.LastUsedAt, Text: text, Class: "good"})
	} else {
		events = append(events, lifeEvent{Title: "Never used"})
	}
	switch {
	case t.State == "revoked":
		by := "by somebody else"
		if t.RevokedBySelf {
			by = "by you"
		}
		events = append(events, lifeEvent{Title: "Revoked", At: t.RevokedAt, Text: by, Class: "bad"})
	case t.State == "expired":
		events = append(events, lifeEvent{Title: "Expired", At: t.ExpiresAt, Class: "bad"})
	case t.ExpiresAt != nil:
		events = append(events, lifeEvent{Title: "Expires", At: t.ExpiresAt, Class: "ahead"})
	default:
		events = append(events, lifeEvent{Title: "Never expires", Class: "ahead"})
	}
	slices.SortStableFunc(events, func(a, b lifeEvent) int {
		if a.At == nil || b.At == nil {
			return 0
		}
		return a.At.Compare(*b.At)
	})
	return events
}

// showValue draws the page that shows a value, once. A repeated form has none to show.
func (v *visit) showValue(issued tokens.Issued, rotated bool, oldUntil *time.Time) error {
	if issued.Value == nil {
		return v.leave(developer+"/"+issued.Token.ID+"?again=1", "")
	}
	t, err := v.projectNames().token(issued.Token)
	if err != nil {
		return err
	}
	value := issued.Value.Reveal()
	p := valuePage{
		Crumbs: tokenCrumbs(t, ""), Token: t, Rotated: rotated, OldUntil: oldUntil,
		Value: copyable{ID: "value", Label: "The token", Text: value, Secret: true},
		Curl:  copyable{ID: "curl", Label: "Try it", Text: curl(v.d.PublicURL, value)},
	}
	return v.show(http.StatusCreated, "token-value", t.Name, "developer", p)
}

// notEnded refuses to begin what an ended token cannot go through.
func notEnded(t tokenView) error {
	if t.Ended() {
		return problem.New(problem.Conflict, "The token has ended. Create a new one instead.")
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
	return v.show(http.StatusOK, "token-rotate", "Rotate "+t.Name, "developer", rotatePage{Crumbs: tokenCrumbs(t, "Rotate"), Token: t, Form: newForm(nil), Graces: graces("0")})
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
		return v.again("token-rotate", "Rotate "+t.Name, "developer", rotatePage{Crumbs: tokenCrumbs(t, "Rotate"), Token: t, Form: f, Graces: graces(v.posted("grace_seconds"))})
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
		return v.leave(developer+"/"+t.ID, "")
	}
	return v.show(http.StatusOK, "token-revoke", "Revoke "+t.Name, "developer", revokePage{Crumbs: tokenCrumbs(t, "Revoke"), Token: t})
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
	p := receiptPage{
		Crumbs: tokenCrumbs(t, "Revoked"), Token: t,
		Moment: receipt.RevokedAt.UTC().Format("2 Jan 2006, 15:04:05.000000 UTC"), Took: number(receipt.TookMS) + " ms",
	}
	return v.show(http.StatusOK, "token-revoked", t.Name+" is revoked", "developer", p)
}
