package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"carnet/access"
	"carnet/internal/org"
	"carnet/internal/tokens"
)

const connect = agents + "/connect"

// agentRoutes are the pages of Settings → Agents that tokens have none like.
func (d *Door) agentRoutes() map[string]handler {
	return map[string]handler{
		"GET " + connect:                     d.askConnect,
		"POST " + connect:                    d.connect,
		"GET " + connect + "/preview":        func(v *visit) error { return v.leave(connect, "") },
		"POST " + connect + "/preview":       d.previewAgent,
		"GET " + agents + "/{id}/connection": d.showConnection,
		"GET " + agents + "/{id}/grant":      d.askGrant,
		"POST " + agents + "/{id}/grant":     d.changeGrant,
		"POST " + agents + "/{id}/pause":     d.pauseAgent,
		"POST " + agents + "/{id}/resume":    d.resumeAgent,
	}
}

// mcpURL is where agents' programs reach this server.
func (d *Door) mcpURL() string { return d.PublicURL + "/mcp" }

// clientTiles lead to the form for each client. What the address fills in besides is carried on.
func clientTiles(query url.Values) []clientTile {
	var tiles []clientTile
	for _, c := range mcpClients {
		to := url.Values{}
		for name, values := range query {
			to[name] = values
		}
		to.Set("client", c.ID)
		tiles = append(tiles, clientTile{Name: c.Name, Href: connect + "?" + to.Encode(), SignIn: len(c.SignIn) > 0, Bearer: len(c.Bearer) > 0})
	}
	return tiles
}

// askConnect asks which client it is for, and then shows the ways to connect it. Nothing is granted without the person's
// click.
func (d *Door) askConnect(v *visit) error {
	query := v.r.URL.Query()
	client, ok := clientOf(query.Get("client"))
	if !ok {
		unknown := query.Get("client") != ""
		query.Del("client")
		return v.show(http.StatusOK, "agent-clients", "Connect an agent", "agents", clientsPage{Crumbs: connectCrumbs(""), Unknown: unknown, Clients: clientTiles(query)})
	}
	values := prefilled(query, d.Now())
	values.Set("proposed", "1")
	p, err := v.connectForm(newForm(values), client)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "agent-connect", "Connect "+client.Name, "agents", p)
}

func connectCrumbs(client string) []crumb {
	crumbs := []crumb{{agentPages.label, agents}, {"Connect an agent", ""}}
	if client != "" {
		crumbs[1].Href = connect
		crumbs = append(crumbs, crumb{client, ""})
	}
	return crumbs
}

// agentDraft reads the form. An agent that is given no name is called after its client.
func (v *visit) agentDraft(values url.Values) tokens.Draft {
	draft := v.draft(values)
	client, _ := clientOf(values.Get("client"))
	draft.Purpose, draft.Client = access.Agent.String(), tokens.Client{Name: client.Name}
	draft.Name = cmp.Or(strings.TrimSpace(draft.Name), client.Name)
	return draft
}

// connect makes an agent's token and shows its value, once, with what connects the client.
func (d *Door) connect(v *visit) error {
	client, ok := clientOf(v.posted("client"))
	if !ok || len(client.Bearer) == 0 {
		return v.leave(connect, "")
	}
	issued, err := d.Tokens.Create(v.ctx(), v.caller, v.agentDraft(v.r.PostForm))
	if err == nil {
		return v.showValue(issued, false, nil)
	}
	f, err := v.refusedDraft(err)
	if err != nil {
		return err
	}
	p, err := v.connectForm(f, client)
	if err != nil {
		return err
	}
	return v.again("agent-connect", "Connect "+client.Name, "agents", p)
}

// previewAgent shows the form again with what the agent would be able to do. It makes nothing.
func (d *Door) previewAgent(v *visit) error {
	client, ok := clientOf(v.posted("client"))
	if !ok {
		return v.leave(connect, "")
	}
	p, err := v.connectForm(v.typed(), client)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "agent-connect", "Connect "+client.Name, "agents", p)
}

// connectForm draws the ways to connect a client: by signing in from it, and by a token, whose form shows what was typed
// or prefilled.
func (v *visit) connectForm(f form, client mcpClient) (connectPage, error) {
	f.Values.Set("client", client.ID)
	client.Note = client.note(v.d.PublicURL)
	p := connectPage{Client: client, SignIn: client.signIn(v.d.mcpURL()), Link: client.link(v.d.mcpURL())}
	p.tokenForm = tokenForm{Crumbs: connectCrumbs(client.Name), Base: connect, Button: "Connect", Form: f, Unverified: !v.viewer.Verified}
	if !v.offerOrganizations(&p.tokenForm, f) {
		return p, nil
	}
	policy, err := v.agentPolicy(p.Organization.Slug)
	if err != nil {
		return p, err
	}
	if p.agentTerms, err = v.terms(p.Organization.Slug, client.Name, policy); err != nil {
		return p, err
	}
	p.Blocked = p.Unverified || p.Off
	on := offeringOf(policy, p.role())
	p.Presets = agentPresets(client.ID, p.Organization.Slug, on)
	if f.Value("proposed") != "" {
		propose(f.Values, on)
	}
	days := agentDays(policy.MaxLifetimeDays)
	expiry := f.Value("expiry")
	if n, err := strconv.Atoi(expiry); expiry != customExpiry && (err != nil || !slices.Contains(days, n)) {
		expiry = strconv.Itoa(days[len(days)-1])
		f.Values.Set("expiry", expiry)
	}
	p.Expiry = lives(v.d.Now(), days, expiry)
	return p, v.offerGrant(&p.tokenForm, f, on, v.agentDraft)
}

// agentPresets lead to the form with common grants of agents.
func agentPresets(client, organization string, on offering) []preset {
	return presetsOf(connect, url.Values{"client": {client}, "organization": {organization}}, agentGrants(on))
}

// agentGrants are common grants of agents, least first, as far as they can be given: with reading where writing cannot be.
func agentGrants(on offering) []presetGrant {
	var list []presetGrant
	for _, g := range []struct {
		label  string
		scopes []access.Scope
	}{
		{"Reads only", []access.Scope{access.ScopeProjectsRead, access.ScopeTasksRead, access.ScopeCommentsRead}},
		{"Works on tasks", []access.Scope{access.ScopeProjectsRead, access.ScopeTasksWrite, access.ScopeCommentsWrite}},
	} {
		var names []string
		for _, scope := range g.scopes {
			if near, ok := on.nearest(scope); ok {
				names = append(names, near.String())
			}
		}
		list = append(list, presetGrant{label: g.label, scopes: strings.Join(names, ",")})
	}
	return list
}

// terms returns what an organization has to say about an agent of the person in a client.
func (v *visit) terms(slug, client string, policy org.AgentPolicy) (t agentTerms, err error) {
	t = agentTerms{Off: !policy.Enabled, MostDays: policy.MaxLifetimeDays, Policy: policyOf(slug)}
	t.Halted, err = v.d.Tokens.Halted(v.ctx(), v.caller, slug, client)
	return t, err
}

// agentDays are the lives of agents on offer, the usual one last: 90 days, or what the organization allows at most.
func agentDays(most *int) []int {
	if most == nil || *most >= usualDays[len(usualDays)-1] {
		return usualDays
	}
	var list []int
	for _, days := range usualDays {
		if days < *most {
			list = append(list, days)
		}
	}
	return append(list, *most)
}

// agentPolicy reads what an organization of the person lets agents do.
func (v *visit) agentPolicy(slug string) (org.AgentPolicy, error) {
	return v.d.Org.AgentPolicy(v.ctx(), v.caller, slug)
}

// agentOffering says which scopes an agent in an organization can be given by somebody of that role there. Without a role
// it is none.
func (v *visit) agentOffering(slug, role string) (offering, error) {
	if role == "" {
		return offering{}, nil
	}
	policy, err := v.agentPolicy(slug)
	if err != nil {
		return offering{}, err
	}
	held, _ := access.ParseRole(role)
	return offeringOf(policy, held), nil
}

func offeringOf(policy org.AgentPolicy, role access.Role) offering {
	return offering{role: role, limit: policy.Rules().Scopes, why: "The organization does not allow agents this."}
}

// showConnection says whether an agent has made its first call. The page where its token is shown once looks at it again
// and again.
func (d *Door) showConnection(v *visit) error {
	t, err := v.ownToken()
	if err != nil {
		return err
	}
	c := t.connection()
	if c == nil {
		return v.leave(t.Href(), "")
	}
	return v.show(http.StatusOK, "agent-connection", "Connection of "+t.Name, "agents", connectionPage{Crumbs: tokenCrumbs(t, "Connection"), Connection: *c})
}

// pauseAgent halts an agent of the person's own.
func (d *Door) pauseAgent(v *visit) error {
	t, err := d.Tokens.Pause(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	return v.leave(agents+"/"+t.ID, "agent-paused")
}

// resumeAgent lets it go on.
func (d *Door) resumeAgent(v *visit) error {
	t, err := d.Tokens.Resume(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	return v.leave(agents+"/"+t.ID, "agent-resumed")
}
