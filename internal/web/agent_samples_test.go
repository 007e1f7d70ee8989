package web

import (
	"net/url"
	"time"

	"carnet/access"
	"carnet/internal/clients"
	"carnet/internal/tokens"
)

// asMember offers what a member can grant.
var asMember = offering{role: access.Member, limit: access.AllScopes()}

const sampleValue = "carnet_agt_7hQz81LmW0rT_Xh2K9vQbN4sLr8TzUcYw1PmDgJe6FaoR0iVqBx"

func sampleAgents() []tokenView {
	base := func(t tokenView) tokenView {
		t.now, t.Agent, t.Organization, t.OrganizationName, t.Role = sampleNow, true, "northwind", "Northwind Logistics", "member"
		if t.State == "" {
			t.State = "live"
		}
		return t
	}
	inDays := func(n int) *time.Time { t := sampleNow.Add(time.Duration(n)*aDay + 3*time.Hour); return &t }
	list := []tokenView{
		base(tokenView{ID: "tok_a1", Name: "Claude Code on my laptop", Prefix: "carnet_agt_7hQz81LmW0rT", Client: "Claude Code", Scopes: scopeViews([]string{"projects:read", "tasks:write", "comments:write"}), Restricted: true,
			Projects: []projectName{{"prj_1", "WEB", "Customer portal"}}, CreatedAt: before(20 * aDay), CreatedFrom: "203.0.113.24", ExpiresAt: inDays(70), LastUsedAt: beforeRef(4 * time.Minute), LastUsedIP: "203.0.113.24", LastUsedClient: "claude-code/2.1.330 (cli)", Calls: 412}),
		base(tokenView{ID: "tok_a2", Name: "Cursor", Prefix: "carnet_agt_Qd7RbbX20aPs", Client: "Cursor", ClientHost: "cursor.com", Scopes: scopeViews([]string{"projects:read", "tasks:read"}), CreatedAt: before(33 * aDay), ExpiresAt: inDays(5)}),
		base(tokenView{ID: "tok_a3", Name: "Night shift", Prefix: "carnet_agt_mN0v9YtUo2Lk", State: "paused", Client: "Other MCP client", Scopes: scopeViews([]string{"tasks:write"}), CreatedAt: before(10 * aDay), ExpiresAt: inDays(80),
			LastUsedAt: beforeRef(2 * time.Hour), LastUsedIP: "2001:db8:77::19", LastUsedClient: "python-httpx/0.28", Calls: 9120, PausedBy: "Priya Raman", PauseReason: "It closed tasks that nobody had looked at."}),
	}
	list[0].Scopes[2].Stopped, list[0].Stopped = true, true
	return list
}

func sampleOverseen() []overseenView {
	var list []overseenView
	owners := []string{"Mara Lindqvist", "Jonas Weber", "Agnieszka Wójcik"}
	for i, t := range sampleAgents() {
		list = append(list, overseenView{tokenView: t, OwnerID: "usr_1", OwnerName: owners[i], OwnerEmail: "somebody@northwind.example", Base: "/organizations/northwind/agents"})
	}
	return list
}

func sampleConnect(client string, most *int) connectPage {
	c, _ := clientOf(client)
	p := connectPage{
		tokenForm: sampleTokenForm(true), Client: c, SignIn: c.signIn("https://carnet.example/mcp"), Link: c.link("https://carnet.example/mcp"),
		agentTerms: agentTerms{MostDays: most, Policy: "/organizations/northwind/agents/policy", Halted: &tokens.Halt{By: "Priya Raman", At: before(aDay), Reason: "It closed tasks that nobody had looked at."}},
	}
	p.Crumbs, p.Base, p.Button, p.Presets = connectCrumbs(c.Name), connect, "Connect", agentPresets(c.ID, "northwind", offering{role: access.Member, limit: access.AllScopes()})
	days := agentDays(most)
	p.Expiry = lives(sampleNow, days, "90")
	return p
}

// agentSamples are the pages of agents in their states.
func agentSamples() map[string]sample {
	list, overseen := sampleAgents(), sampleOverseen()
	crumbs := []crumb{{"Agents", agents}, {"Claude Code on my laptop", ""}}
	base := "/organizations/northwind/agents"
	admin := func(title string, data any) frame {
		p := samplePage(title, "oversight", base, data)
		place := northwindAdmin
		p.Organization = &place
		return p
	}
	mine := func(title string, data any) frame { return samplePage(title, "agents", agents, data) }
	calls := map[string]int{}
	for i := range 20 {
		calls[before(time.Duration(i)*aDay).Format(time.DateOnly)] = 10 + (i*37)%60
	}
	did := deeds{Changed: []deed{
		{At: sampleNow.Add(-time.Hour), Words: "Changed", Ref: "WEB-12", Name: "Renew the certificates", Href: "/x"}, {At: sampleNow.Add(-2 * time.Hour), Words: "Commented on", Ref: "WEB-12", Name: "Renew the certificates", Href: "/x"},
		{At: sampleNow.Add(-3 * time.Hour), Words: "Deleted a task"}, {At: sampleNow.Add(-4 * time.Hour), Words: "Made what you do not see, or what is gone"},
	}, Calls: newCallChart(calls, sampleNow, callsShown), Life: []lifeEvent{{Title: "Created", At: &list[0].CreatedAt, Class: "good"}, {Title: "Last used", At: list[0].LastUsedAt, Text: "with claude-code/2.1.330", Class: "good"}}}
	fresh := list[0]
	fresh.LastUsedAt, fresh.LastUsedIP, fresh.LastUsedClient = nil, "", ""
	gone := list[0]
	gone.State, gone.RevokedAt, gone.RevokedBy, gone.RevokeReason = "revoked", beforeRef(time.Hour), "Priya Raman", "We no longer let agents into the customer portal."
	halted := overseen[2]
	ended := overseen[0]
	ended.tokenView = gone
	most := 45
	off := sampleConnect("zed", &most)
	off.Off, off.Blocked, off.Summary = true, true, nil
	wrong := sampleConnect("other", nil)
	wrong.Form.Errors = map[string]string{"scopes": "Your organization's agent policy does not allow projects:write.", "expires_at": "Your organization's agent policy allows at most 45 days from creation.", "name": "Must have 1 to 100 characters."}
	wrong.Scopes = scopeRows(0, offering{role: access.Member, limit: access.ScopeSet(access.ScopeTasksRead), why: "The organization does not allow agents this."})
	chatgpt := sampleConnect("chatgpt", nil)
	overseenList := overseenPage{
		Base: base, Any: true, Views: viewLinks(base, overseenViews, "", map[string]string{}), Members: options("", "", "Everybody", "usr_1", "Mara Lindqvist"), Clients: options("", "", "Any client", "Cursor", "Cursor"),
		Caption: "Agents in use", Agents: overseen, Pager: pager{Next: "?cursor=x"}, RevokeAll: base + "/revoke", Whose: "all agents of Northwind Logistics",
	}
	empty := overseenPage{Base: base, EmptyTitle: "No agents in use", EmptyText: "What members connect appears here at once."}
	reason := newForm(url.Values{"reason": {"too long"}})
	reason.Errors["reason"] = "Must have 1 to 300 characters."
	policy := policyPage{Crumbs: crumbs, Base: base + "/policy", Form: newForm(url.Values{"max_lifetime_days": {"45"}, "writes_per_hour": {"1000"}}), MayChange: true, Enabled: true,
		Scopes: scopeRows(access.AllScopes(), offering{role: access.Owner, limit: access.AllScopes()}), ScopeViews: scopeViews([]string{"tasks:write", "projects:read"})}
	for i, permission := range access.Destructive() {
		words := destructiveWords[permission.String()]
		policy.Destructive = append(policy.Destructive, destructiveChoice{Name: permission.String(), Title: words[0], Text: words[1], Chosen: i == 1})
	}
	readOnly, wrongPolicy := policy, policy
	readOnly.MayChange = false
	wrongPolicy.Form = newForm(url.Values{"max_lifetime_days": {"soon"}})
	wrongPolicy.Form.Errors["max_lifetime_days"] = "Must be a whole number; without one there is no limit."
	c, _ := clientOf("claude-code")
	return map[string]sample{
		"agents-mine":           {"tokens", mine("Agents", tokensPage{Agents: true, Base: agents, Section: "agents", Any: true, Views: viewLinks(agents, agentViews, "", map[string]string{}), Caption: "Agents in use", Tokens: list})},
		"agents-mine-empty":     {"tokens", mine("Agents", tokensPage{Agents: true, Base: agents, Section: "agents", Clients: clientTiles(nil)})},
		"agents-mine-none":      {"tokens", mine("Agents", tokensPage{Agents: true, Base: agents, Section: "agents", Any: true, EmptyTitle: "Nothing expires soon", EmptyText: "No agent in use expires within 7 days."})},
		"agent-clients-unknown": {"agent-clients", mine("Connect an agent", clientsPage{Crumbs: connectCrumbs(""), Unknown: true, Clients: clientTiles(nil)})},
		"agent-clients":         {"agent-clients", mine("Connect an agent", clientsPage{Crumbs: connectCrumbs(""), Clients: clientTiles(nil)})},
		"agent-connect":         {"agent-connect", mine("Connect Cursor", sampleConnect("cursor", nil))},
		"agent-connect-off":     {"agent-connect", mine("Connect Zed", off)},
		"agent-connect-wrong":   {"agent-connect", mine("Connect another", wrong)},
		"agent-connect-sign-in": {"agent-connect", mine("Connect ChatGPT", chatgpt)},
		"agent-value": {"token-value", mine("Claude Code on my laptop", valuePage{Crumbs: crumbs, Token: fresh, Client: c.Name, Connection: fresh.connection(),
			Value: copyable{ID: "value", Label: "The token", Text: sampleValue, Secret: true}, Snippets: c.bearer("https://carnet.example/mcp", sampleValue)})},
		"agent-waiting":       {"agent-connection", mine("Connection", connectionPage{Crumbs: crumbs, Connection: *fresh.connection()})},
		"agent-connected":     {"agent-connection", mine("Connection", connectionPage{Crumbs: crumbs, Connection: *list[0].connection()})},
		"agent":               {"token", mine("Claude Code on my laptop", tokenPage{Crumbs: crumbs, Token: list[0], deeds: did, Connection: list[0].connection()})},
		"agent-new":           {"token", mine("Claude Code on my laptop", tokenPage{Crumbs: crumbs, Token: fresh, deeds: deeds{Calls: newCallChart(nil, sampleNow, callsShown)}, Connection: fresh.connection()})},
		"agent-signed-in":     {"token", mine("Cursor", tokenPage{Crumbs: crumbs, Token: list[1], deeds: did})},
		"agent-paused":        {"token", mine("Night shift", tokenPage{Crumbs: crumbs, Token: list[2], deeds: did})},
		"agent-revoked":       {"token", mine("Claude Code on my laptop", tokenPage{Crumbs: crumbs, Token: gone, deeds: did})},
		"agent-grant":         {"token-change", mine("Edit grant", changePage{Crumbs: crumbs, Token: list[0], Action: "/x", Form: newForm(url.Values{"name": {list[0].Name}}), Organization: northwindAdmin, Chosen: true, Scopes: scopeRows(access.ScopeSet(access.ScopeTasksWrite), asMember), Projects: sampleProjects(), ChosenCount: 2})},
		"agent-revoke":        {"token-revoke", mine("Revoke", revokePage{Crumbs: crumbs, Token: list[1]})},
		"oversight":           {"agents", admin("Agents of Northwind Logistics", overseenList)},
		"oversight-empty":     {"agents", admin("Agents of Northwind Logistics", empty)},
		"oversight-one":       {"agent-overseen", admin("Night shift", oversightPage{Crumbs: crumbs, Token: halted, deeds: did, Member: base + "/revoke?member=usr_1", Client: base + "/revoke?client=x"})},
		"oversight-ended":     {"agent-overseen", admin("Claude Code on my laptop", oversightPage{Crumbs: crumbs, Token: ended, deeds: did})},
		"oversight-revoke":    {"agent-halt", admin("Revoke", haltPage{Crumbs: crumbs, Form: reason, Heading: "Revoke “Night shift” of Jonas Weber?", Text: "It is refused from its next call on, for good.", Agent: &overseen[2], Action: "/x", Button: "Revoke the agent", Back: base, BackLabel: "Keep it"})},
		"oversight-many":      {"agent-halt", admin("Revoke", haltPage{Crumbs: crumbs, Form: newForm(nil), Heading: "Revoke all agents of Jonas Weber?", Text: "This ends 3 agents.", Action: "/x", Button: "Revoke 3 agents", Back: base, BackLabel: "Keep them", Kept: []kept{{"member", "usr_2"}}})},
		"oversight-many-none": {"agent-halt", admin("Revoke", haltPage{Crumbs: crumbs, Form: newForm(nil), Heading: "Revoke all agents of Jonas Weber?", Text: "There are none that work.", Back: base})},
		"oversight-receipt":   {"token-revoked", admin("Revoked", receiptPage{Crumbs: crumbs, Token: gone, Owner: "Jonas Weber", Href: base + "/tok_a1", Back: base, BackLabel: "Back to the agents", Moment: "12 Mar 2027, 14:05:30.123456 UTC", Took: "3.2 ms"})},
		"oversight-removed":   {"agents-revoked", admin("Revoked", removedPage{Crumbs: crumbs, Count: 3, Whose: "all agents of Jonas Weber", At: sampleNow, Back: base})},
		"policy":              {"agent-policy", admin("What agents may do", policy)},
		"policy-wrong":        {"agent-policy", admin("What agents may do", wrongPolicy)},
		"consent":             {"consent", mine("Let Claude Code in?", sampleConsent(clients.Client{Name: "Claude Code", Host: "claude.ai"}))},
		"consent-unverified":  {"consent", mine("Let Cursor in?", sampleConsent(clients.Client{Name: "Cursor"}))},
		"consent-no-place":    {"consent", mine("Let Cursor in?", consentPage{Here: "/oauth/consent/x", Asked: clients.Asked{Client: clients.Client{Name: "Cursor"}, RedirectHost: "cursor://anysphere.cursor-mcp"}})},
		"consented":           {"consented", mine("Claude Code is let in", newConsentedPage(clients.Asked{Client: clients.Client{Name: "Claude Code"}, RedirectHost: "localhost:3118"}, "http://localhost:3118/callback?code=x", true))},
		"consent-denied":      {"consented", mine("Nothing was granted", newConsentedPage(clients.Asked{Client: clients.Client{Name: "Cursor"}, RedirectHost: "cursor://anysphere.cursor-mcp"}, "cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied", false))},
		"policy-read-only":    {"agent-policy", mine("What agents may do", readOnly)},
	}
}

var northwindAdmin = place{Slug: "northwind", Name: "Northwind Logistics", Role: "admin", Plan: "enterprise", Administers: true}

func sampleConsent(client clients.Client) consentPage {
	p := consentPage{
		Asked: clients.Asked{Client: client, RedirectHost: "localhost:3118", Loopback: true, Scopes: access.ScopeSet(access.ScopeTasksWrite)},
		Here:  "/oauth/consent/x", tokenForm: sampleTokenForm(true), agentTerms: agentTerms{Policy: "/organizations/northwind/agents/policy"},
	}
	p.Base, p.Button, p.Presets = p.Here, "Let it in", presetsOf(p.Here, url.Values{}, agentGrants(offering{role: access.Member, limit: access.AllScopes()}))
	p.Expiry = lives(sampleNow, usualDays, "90")[:4]
	return p
}
