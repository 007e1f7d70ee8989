package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

func (d *Door) oversightRoutes() map[string]handler {
	const all = "/organizations/{slug}/agents"
	const one = all + "/{token}"
	return map[string]handler{
		"GET " + all:              d.oversee,
		"GET " + all + "/revoke":  d.askRevokeMany,
		"POST " + all + "/revoke": d.revokeMany,
		"GET " + all + "/policy":  d.showPolicy,
		"POST " + all + "/policy": d.savePolicy,
		"GET " + one:              d.showOverseen,
		"GET " + one + "/revoke":  d.askRevokeOverseen,
		"POST " + one + "/revoke": d.revokeOverseen,
		"GET " + one + "/pause":   d.askPauseOverseen,
		"POST " + one + "/pause":  d.pauseOverseen,
		"POST " + one + "/resume": d.resumeOverseen,
	}
}

// agentsOf returns the address of the agents of an organization's members.
func agentsOf(slug string) string { return "/organizations/" + url.PathEscape(slug) + "/agents" }

// policyOf returns the address of what an organization lets agents do.
func policyOf(slug string) string { return agentsOf(slug) + "/policy" }

var overseenViews = []tokenFilter{
	{name: "", label: "Current", caption: "Agents that have not ended", states: inUse, emptyTitle: "No agents now", emptyText: "What members connect appears here at once."},
	{name: "paused", label: "Paused", caption: "Paused agents", states: []string{string(tokens.Paused)}, emptyTitle: "Nothing is paused", emptyText: "An agent that somebody halts waits here until it is resumed."},
	{name: "ended", label: "Ended", caption: "Expired and revoked agents", states: ended, emptyTitle: "Nothing has ended", emptyText: "Expired and revoked agents stay listed here for 90 days."},
}

// oversee lists the agents of all members of an organization.
func (d *Door) oversee(v *visit) error {
	caller, o, err := v.in()
	if err != nil {
		return err
	}
	query := v.r.URL.Query()
	view, member, client := viewNamed(overseenViews, query.Get("show")), query.Get("member"), query.Get("client")
	asked := tokens.AgentQuery{Request: page.Request{Cursor: query.Get("cursor"), Limit: tokensShown}, State: view.states, Member: oneOf(member), Client: oneOf(client)}
	listed, err := d.Tokens.Agents(v.ctx(), v.caller, o.Slug, asked)
	if err != nil {
		return err
	}
	names, err := d.Tokens.AgentClients(v.ctx(), v.caller, o.Slug)
	if err != nil {
		return err
	}
	everybody, err := v.people(caller)
	if err != nil {
		return err
	}
	base := agentsOf(o.Slug)
	p := overseenPage{
		Base: base, Any: len(names)+len(listed.Items) > 0 || len(query) > 0, Filtered: member != "" || client != "", Show: view.name,
		Views:   viewLinks(base, overseenViews, view.name, map[string]string{"member": member, "client": client}),
		Members: everybody.options(member, option{Label: "Everybody"}), Clients: picked([]option{{Label: "Any client"}}, client),
		Caption: view.caption, Pager: pages(v.r.URL, listed.NextCursor), EmptyTitle: view.emptyTitle, EmptyText: view.emptyText,
		RevokeAll: base + "/revoke",
	}
	for _, name := range names {
		p.Clients = append(p.Clients, option{Value: name, Label: name, Chosen: name == client})
	}
	if p.Filtered {
		p.RevokeAll, p.EmptyText = address(p.RevokeAll, map[string]string{"member": member, "client": client}), "Choose others above, or look at another state."
	}
	p.Whose = whose(o.Name, client, everybody.name(member), member != "")
	views := v.projectNames()
	for _, item := range listed.Items {
		shown, err := views.overseen(item, base)
		if err != nil {
			return err
		}
		p.Agents = append(p.Agents, shown)
	}
	return v.show(http.StatusOK, "agents", "Agents of "+o.Name, "oversight", p)
}

// oneOf returns a filter for one value, none for the empty one.
func oneOf(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// whose says which agents are meant: all of an organization, or those of a member and a client.
func whose(organization, client, member string, ofMember bool) string {
	text := "all agents of " + organization
	if ofMember {
		text = "all agents of " + member
	}
	if client != "" {
		text += " in " + client
	}
	return text
}

// overseen returns a member's agent as pages show it.
func (n projectNames) overseen(o tokens.Overseen, base string) (overseenView, error) {
	t, err := n.token(o.Token)
	t.Calls = int(o.Calls7Days)
	return overseenView{tokenView: t, OwnerID: o.Owner.UserID, OwnerName: o.Owner.Name, OwnerEmail: o.Owner.Email, Base: base}, err
}

// Href is the address of the agent's page among those of its organization.
func (o overseenView) Href() string { return o.Base + "/" + o.ID }

// inspection is one agent of a member, with what it did.
type inspection struct {
	place    place
	base     string
	agent    overseenView
	activity tokens.Activity
}

// inspect reads the agent that the path names.
func (v *visit) inspect() (inspection, error) {
	_, o, err := v.in()
	if err != nil {
		return inspection{}, err
	}
	found, activity, err := v.d.Tokens.Agent(v.ctx(), v.caller, o.Slug, v.r.PathValue("token"))
	if err != nil {
		return inspection{}, err
	}
	i := inspection{place: o, base: agentsOf(o.Slug), activity: activity}
	i.agent, err = v.projectNames().overseen(found, i.base)
	i.agent.tellWho(activity)
	return i, err
}

func overseenCrumbs(o place, steps ...crumb) []crumb {
	crumbs := append([]crumb{{o.Name, projectsOf(o.Slug)}, {"Agents", agentsOf(o.Slug)}}, steps...)
	crumbs[len(crumbs)-1].Href = ""
	return crumbs
}

func (i inspection) crumbs(here string) []crumb {
	steps := []crumb{{i.agent.Name, i.agent.Href()}}
	if here != "" {
		steps = append(steps, crumb{Label: here})
	}
	return overseenCrumbs(i.place, steps...)
}

// showOverseen is the life of one agent of a member.
func (d *Door) showOverseen(v *visit) error {
	i, err := v.inspect()
	if err != nil {
		return err
	}
	p := oversightPage{
		Crumbs: i.crumbs(""), Token: i.agent,
		Member: address(i.base+"/revoke", map[string]string{"member": i.agent.OwnerID}), Client: address(i.base+"/revoke", map[string]string{"client": i.agent.Family()}),
	}
	if p.deeds, err = v.deeds(i.agent.tokenView, i.activity); err != nil {
		return err
	}
	return v.show(http.StatusOK, "agent-overseen", i.agent.Name, "oversight", p)
}

func (d *Door) askRevokeOverseen(v *visit) error { return v.askHalt(newForm(nil), true, http.StatusOK) }
func (d *Door) askPauseOverseen(v *visit) error  { return v.askHalt(newForm(nil), false, http.StatusOK) }

// askHalt asks once before an agent is revoked or paused, and why.
func (v *visit) askHalt(f form, revoke bool, status int) error {
	i, err := v.inspect()
	if err == nil {
		err = notEnded(i.agent.tokenView)
	}
	if err != nil {
		return err
	}
	p := haltPage{
		Crumbs: i.crumbs("Pause"), Form: f, Agent: &i.agent, Action: v.r.URL.Path, Button: "Pause the agent", Back: i.agent.Href(), BackLabel: "Let it go on",
		Heading: "Pause “" + i.agent.Name + "” of " + i.agent.OwnerName + "?",
		Text:    "It is refused from its next call on, until you or another admin resume it. " + i.agent.OwnerName + " is told by mail, and sees it on the agent's page.",
	}
	if revoke {
		p.Crumbs, p.Button, p.BackLabel = i.crumbs("Revoke"), "Revoke the agent", "Keep it"
		p.Heading = "Revoke “" + i.agent.Name + "” of " + i.agent.OwnerName + "?"
		p.Text = "It is refused from its next call on, for good. " + i.agent.OwnerName + " is told by mail, and sees it on the agent's page."
	}
	return v.show(status, "agent-halt", p.Heading, "oversight", p)
}

// reason reads why an admin halts an agent.
func (v *visit) reason() tokens.Removal {
	return tokens.Removal{Reason: strings.TrimSpace(v.posted("reason"))}
}

// revokeOverseen ends a member's agent and shows the receipt.
func (d *Door) revokeOverseen(v *visit) error {
	receipt, err := d.Tokens.RevokeAgent(v.ctx(), v.caller, v.r.PathValue("slug"), v.r.PathValue("token"), v.reason())
	if err != nil {
		f := v.typed()
		if err := refused(&f, err, nil); err != nil {
			return err
		}
		return v.askHalt(f, true, http.StatusUnprocessableEntity)
	}
	i, err := v.inspect()
	if err != nil {
		return err
	}
	p := receiptOf(i.agent.tokenView, receipt, i.crumbs("Revoked"))
	p.Owner, p.Href, p.Back, p.BackLabel = i.agent.OwnerName, i.agent.Href(), i.base, "Back to the agents"
	return v.show(http.StatusOK, "token-revoked", i.agent.Name+" is revoked", "oversight", p)
}

// pauseOverseen halts a member's agent.
func (d *Door) pauseOverseen(v *visit) error {
	slug := v.r.PathValue("slug")
	o, err := d.Tokens.PauseAgent(v.ctx(), v.caller, slug, v.r.PathValue("token"), v.reason())
	if err == nil {
		return v.leave(agentsOf(slug)+"/"+o.ID, "agent-paused")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.askHalt(f, false, http.StatusUnprocessableEntity)
}

// resumeOverseen lets a member's agent go on.
func (d *Door) resumeOverseen(v *visit) error {
	slug := v.r.PathValue("slug")
	o, err := d.Tokens.ResumeAgent(v.ctx(), v.caller, slug, v.r.PathValue("token"))
	if err != nil {
		return err
	}
	return v.leave(agentsOf(slug)+"/"+o.ID, "agent-resumed")
}

// selection reads which agents are to be revoked together: those of a member, of a client, of both, or else all.
func selection(values url.Values) tokens.AgentSelection {
	member, client := values.Get("member"), values.Get("client")
	return tokens.AgentSelection{Member: member, Client: client, All: member == "" && client == ""}
}

func (d *Door) askRevokeMany(v *visit) error {
	return v.askMany(newForm(nil), selection(v.r.URL.Query()), http.StatusOK)
}

// askMany asks once before many agents are revoked, and says how many.
func (v *visit) askMany(f form, which tokens.AgentSelection, status int) error {
	_, o, err := v.in()
	if err != nil {
		return err
	}
	n, err := v.d.Tokens.CountAgents(v.ctx(), v.caller, o.Slug, which)
	if err != nil {
		return err
	}
	named, err := v.whose(o, which)
	if err != nil {
		return err
	}
	base := agentsOf(o.Slug)
	p := haltPage{
		Crumbs: overseenCrumbs(o, crumb{Label: "Revoke"}), Form: f, Heading: "Revoke " + named + "?", Action: base + "/revoke", Back: base, BackLabel: "Keep them",
		Text: "There are none that work.",
	}
	if n > 0 {
		count := plural(int(n), "agent")
		p.Button = "Revoke " + count
		p.Text = "This ends " + count + ", for good and from the next call on. Each owner gets one mail, and sees it on the agent's page."
		p.Kept = []kept{{"member", which.Member}, {"client", which.Client}}
	}
	return v.show(status, "agent-halt", p.Heading, "oversight", p)
}

// whose says whose agents a selection names. Former members, whose agents rest, are named as well.
func (v *visit) whose(o place, which tokens.AgentSelection) (string, error) {
	name := "this member"
	if which.Member != "" {
		first, err := v.d.Tokens.Agents(v.ctx(), v.caller, o.Slug, tokens.AgentQuery{Request: page.Request{Limit: 1}, Member: oneOf(which.Member)})
		if err != nil {
			return "", err
		}
		if len(first.Items) > 0 {
			name = first.Items[0].Owner.Name
		}
	}
	return whose(o.Name, which.Client, name, which.Member != ""), nil
}

// revokeMany ends the agents and says how many it were.
func (d *Door) revokeMany(v *visit) error {
	_, o, err := v.in()
	if err != nil {
		return err
	}
	which := selection(v.r.PostForm)
	which.Removal = v.reason()
	removed, err := d.Tokens.RevokeAgents(v.ctx(), v.caller, o.Slug, which)
	if err != nil {
		f := v.typed()
		if err := refused(&f, err, nil); err != nil {
			return err
		}
		return v.askMany(f, which, http.StatusUnprocessableEntity)
	}
	named, err := v.whose(o, which)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "agents-revoked", "Agents are revoked", "oversight", removedPage{
		Crumbs: overseenCrumbs(o, crumb{Label: "Revoked"}), Count: removed.Revoked, Whose: named, At: removed.RevokedAt, Back: agentsOf(o.Slug),
	})
}

// destructiveWords describe the operations that destroy.
var destructiveWords = map[string][2]string{
	"projects:delete":   {"Delete projects", "With all that is in them. They stay in the recycle bin for 30 days."},
	"tasks:delete":      {"Delete tasks", "With their comments. They stay in the recycle bin for 30 days."},
	"comments:delete":   {"Delete their user's comments", "What is deleted cannot be brought back."},
	"comments:moderate": {"Delete other people's comments", "In projects that their user leads. What is deleted cannot be brought back."},
}

// showPolicy says what an organization lets agents do. Its admins can change it there.
func (d *Door) showPolicy(v *visit) error {
	_, o, err := v.in()
	if err != nil {
		return err
	}
	policy, err := v.agentPolicy(o.Slug)
	if err != nil {
		return err
	}
	values := url.Values{"enabled": {"no"}, "destructive": policy.Destructive, "max_lifetime_days": {numberText(policy.MaxLifetimeDays)}, "writes_per_hour": {numberText(policy.WritesPerHour)}}
	if policy.Enabled {
		values.Set("enabled", "yes")
	}
	for _, scope := range policy.Rules().Scopes.List() {
		addScope(values, scope)
	}
	return v.policyForm(newForm(values), http.StatusOK)
}

func (v *visit) policyForm(f form, status int) error { return v.policyPage(f, status, "", "") }

// policyPage shows the form; warning is what it does that has to be confirmed, by sending it again.
func (v *visit) policyPage(f form, status int, warning, confirmed string) error {
	caller, o, err := v.in()
	if err != nil {
		return err
	}
	chosen := chosenScopes(f.Values)
	p := policyPage{
		Warning: warning, Confirmed: confirmed,
		Crumbs: overseenCrumbs(o, crumb{Label: "Policy"}), Base: policyOf(o.Slug), Form: f, MayChange: caller.OrganizationPermissions().Has(access.OrganizationAdminister),
		Enabled: f.Value("enabled") == "yes", Scopes: scopeRows(chosen, offering{role: access.Owner, limit: access.AllScopes()}), ScopeViews: scopeViews(chosen.Names()),
	}
	if !p.MayChange {
		p.Crumbs = []crumb{{o.Name, projectsOf(o.Slug)}, {"What agents may do", ""}}
	}
	for _, permission := range access.Destructive() {
		name := permission.String()
		p.Destructive = append(p.Destructive, destructiveChoice{Name: name, Title: destructiveWords[name][0], Text: destructiveWords[name][1], Chosen: f.Has("destructive", name)})
	}
	return v.show(status, "agent-policy", "What agents may do in "+o.Name, "oversight", p)
}

// savePolicy changes what an organization lets agents do.
func (d *Door) savePolicy(v *visit) error {
	slug := v.r.PathValue("slug")
	change := org.PolicyChange{
		Enabled: optional.Of(v.posted("enabled") == "yes"), Scopes: optional.Of(withReads(chosenScopes(v.r.PostForm)).Names()),
		Destructive: optional.Of(append([]string{}, v.r.PostForm["destructive"]...)),
	}
	var wrong []problem.Field
	for name, into := range map[string]*optional.Value[int]{"max_lifetime_days": &change.MaxLifetimeDays, "writes_per_hour": &change.WritesPerHour} {
		var field *problem.Field
		if *into, field = wholeNumber("body."+name, v.posted(name)); field != nil {
			wrong = append(wrong, *field)
		}
	}
	if len(wrong) > 0 {
		change.Invalid = problem.InvalidFields(wrong...)
	}
	if asked, err := v.askPolicy(slug, change); asked || err != nil {
		return err
	}
	if _, err := d.Org.SetAgentPolicy(v.ctx(), v.caller, slug, change); err != nil {
		f := v.typed()
		if err := refused(&f, err, nil); err != nil {
			return err
		}
		return v.policyForm(f, http.StatusUnprocessableEntity)
	}
	return v.leave(policyOf(slug), "policy-saved")
}

// askPolicy asks once before a policy stops or ends agents that work: what it ends does not come back. It reports whether it
// did; what was asked about and is sent again is confirmed.
func (v *visit) askPolicy(slug string, change org.PolicyChange) (asked bool, err error) {
	before, err := v.agentPolicy(slug)
	if err != nil || change.Invalid != nil {
		return false, err
	}
	if _, err := change.Apply(before); err != nil {
		return false, nil //nolint:nilerr // saving it says what is wrong
	}
	var effects []string
	if days := change.MaxLifetimeDays; days.Set && !days.Null && days.V > 0 {
		n, err := v.d.Tokens.CountShortened(v.ctx(), v.caller, slug, time.Duration(days.V)*24*time.Hour)
		if err != nil {
			return false, err
		}
		if n.Ended > 0 {
			effects = append(effects, "ends "+plural(int(n.Ended), "agent")+" now, for good")
		}
		if n.Sooner > 0 {
			effects = append(effects, "brings the end of "+plural(int(n.Sooner), "agent")+" nearer, for good")
		}
	}
	if before.Enabled && !change.Enabled.V {
		working, err := v.d.Tokens.CountAgents(v.ctx(), v.caller, slug, tokens.AgentSelection{All: true})
		if err != nil {
			return false, err
		}
		if working > 0 {
			effects = append(effects, "stops "+plural(int(working), "agent")+" until agents are turned on again")
		}
	}
	if len(before.Scopes) > 0 && len(change.Scopes.V) == 0 {
		effects = append(effects, "leaves agents nothing that they may do")
	}
	confirmed := fmt.Sprintf("%t/%d/%s", change.Enabled.V, change.MaxLifetimeDays.V, strings.Join(effects, "/")) // what was shown, and nothing else
	if len(effects) == 0 || v.posted("confirmed") == confirmed {
		return false, nil
	}
	return true, v.policyPage(v.typed(), http.StatusOK, "This "+words(effects)+".", confirmed)
}

// wholeNumber reads a number that may be left out.
func wholeNumber(location, text string) (optional.Value[int], *problem.Field) {
	text = strings.TrimSpace(text)
	if text == "" {
		return optional.Null[int](), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return optional.Value[int]{}, &problem.Field{Location: location, Message: "must be a whole number; without one there is no limit"}
	}
	return optional.Of(n), nil
}

func numberText(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}
