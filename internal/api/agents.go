package api

import (
	"cmp"
	"net/http"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/tokens"
)

// policyChange is the body of PATCH /organizations/{slug}/agent-policy.
type policyChange struct {
	Enabled         optional.Value[bool]     `json:"enabled,omitzero" required:"false" doc:"false: no agent works here."`
	Scopes          optional.Value[[]string] `json:"scopes,omitzero" required:"false" nullable:"false" maxItems:"50" doc:"What agents may use at most. GET /scopes lists them."`
	Destructive     optional.Value[[]string] `json:"destructive,omitzero" required:"false" nullable:"false" maxItems:"50" doc:"The permissions to destroy that agents may exercise: projects:delete, tasks:delete, comments:delete, comments:moderate."`
	MaxLifetimeDays optional.Value[int]      `json:"max_lifetime_days,omitzero" required:"false" nullable:"true" doc:"How long an agent's token may live; null: as long as any token. A shorter one ends the tokens that there are sooner."`
	WritesPerHour   optional.Value[int]      `json:"writes_per_hour,omitzero" required:"false" nullable:"true" doc:"How many writes each agent may make in an hour; null: any number."`
}

// removal is the body of what an admin does to a member's agents.
type removal struct {
	Reason string `json:"reason,omitempty" doc:"Why, for the agent's owner; at most 300 characters."`
}

func (c *call) removal() tokens.Removal {
	var in removal
	invalid := c.body(&in)
	return tokens.Removal{Reason: in.Reason, Invalid: invalid}
}

func (a *API) agentOperations() []*operation {
	oversee := access.OrganizationAdminister
	return []*operation{
		{
			method: http.MethodGet, path: "/organizations/{slug}/agent-policy", id: "getAgentPolicy", tag: "Agents", summary: "What agents may do in an organization",
			audience: person, permission: access.OrganizationRead, status: http.StatusOK, answer: org.AgentPolicy{},
			serve: func(c *call) error {
				p, err := a.Org.AgentPolicy(c.ctx, c.caller, c.id("slug"))
				return replyOne(c, p, err)
			},
		},
		{
			method: http.MethodPatch, path: "/organizations/{slug}/agent-policy", id: "changeAgentPolicy", tag: "Agents", summary: "Decide what agents may do in an organization; it holds for their next call",
			audience: person, permission: oversee, body: policyChange{}, status: http.StatusOK, answer: org.AgentPolicy{},
			serve: func(c *call) error {
				var in policyChange
				invalid := c.body(&in)
				p, err := a.Org.SetAgentPolicy(c.ctx, c.caller, c.id("slug"), org.PolicyChange{
					Enabled: in.Enabled, Scopes: in.Scopes, Destructive: in.Destructive, MaxLifetimeDays: in.MaxLifetimeDays, WritesPerHour: in.WritesPerHour, Invalid: invalid,
				})
				return replyOne(c, p, err)
			},
		},
		{
			method: http.MethodGet, path: "/organizations/{slug}/agents", id: "listAgents", tag: "Agents", summary: "The agents of all members",
			description: "Their personal tokens are no part of it, in any form.",
			audience:    person, permission: oversee, status: http.StatusOK, answer: list[tokens.Overseen]{}, listed: true,
			query: []parameter{
				{name: "member", description: "Only agents of these members (user ids).", repeated: true, sample: ""},
				{name: "client", description: "Only agents of clients with these names, whatever their case and what they add in brackets.", repeated: true, sample: ""},
				{name: "state", repeated: true, sample: "", enum: []string{"live", "expired", "revoked", "inert", "paused"}},
			},
			serve: func(c *call) error {
				q := tokens.AgentQuery{Request: c.page(), Member: c.query("member"), Client: c.query("client"), State: c.query("state")}
				q.Invalid = c.invalid()
				listed, err := a.Tokens.Agents(c.ctx, c.caller, c.id("slug"), q)
				return replyPage(c, listed, err)
			},
		},
		{
			method: http.MethodDelete, path: "/organizations/{slug}/agents", id: "revokeAgents", tag: "Agents", summary: "Revoke all agents of a member, of a client, or all that there are",
			description: "Exactly one of member, client and all, or member and client together.",
			audience:    person, permission: oversee, body: removal{}, bodyOptional: true, status: http.StatusOK, answer: tokens.Removed{},
			refusals: map[int]string{http.StatusBadRequest: "No agents are named, or some of them and all."},
			query: []parameter{
				{name: "member", description: "A user id.", sample: ""},
				{name: "client", description: "A client's name, whatever its case and what it adds in brackets.", sample: ""},
				{name: "all", description: "true: all agents of the organization.", sample: false},
			},
			serve: func(c *call) error {
				which := tokens.AgentSelection{Member: c.one("member"), Client: c.one("client"), All: c.flag("all"), Removal: c.removal()}
				which.Invalid = cmp.Or(c.invalid(), which.Invalid)
				removed, err := a.Tokens.RevokeAgents(c.ctx, c.caller, c.id("slug"), which)
				return replyOne(c, removed, err)
			},
		},
		{
			method: http.MethodGet, path: "/organizations/{slug}/agents/{token_id}", id: "getAgent", tag: "Agents", summary: "One agent of a member",
			audience: person, permission: oversee, status: http.StatusOK, answer: tokens.Overseen{},
			serve: func(c *call) error {
				o, _, err := a.Tokens.Agent(c.ctx, c.caller, c.id("slug"), c.id("token_id"))
				return replyOne(c, o, err)
			},
		},
		{
			method: http.MethodGet, path: "/organizations/{slug}/agents/{token_id}/activity", id: "getAgentActivity", tag: "Agents", summary: "What an agent of a member did",
			audience: person, permission: oversee, status: http.StatusOK, answer: tokens.Activity{},
			serve: func(c *call) error {
				_, activity, err := a.Tokens.Agent(c.ctx, c.caller, c.id("slug"), c.id("token_id"))
				return replyOne(c, activity, err)
			},
		},
		{
			method: http.MethodDelete, path: "/organizations/{slug}/agents/{token_id}", id: "revokeAgent", tag: "Agents", summary: "Revoke an agent of a member; the answer is sent once it holds everywhere",
			audience: person, permission: oversee, body: removal{}, bodyOptional: true, status: http.StatusOK, answer: tokens.Receipt{},
			serve: func(c *call) error {
				receipt, err := a.Tokens.RevokeAgent(c.ctx, c.caller, c.id("slug"), c.id("token_id"), c.removal())
				return replyOne(c, receipt, err)
			},
		},
		{
			method: http.MethodPost, path: "/organizations/{slug}/agents/{token_id}/pause", id: "pauseAgent", tag: "Agents", summary: "Halt an agent of a member without revoking it",
			audience: person, permission: oversee, body: removal{}, bodyOptional: true, status: http.StatusOK, answer: tokens.Overseen{},
			serve: func(c *call) error {
				o, err := a.Tokens.PauseAgent(c.ctx, c.caller, c.id("slug"), c.id("token_id"), c.removal())
				return replyOne(c, o, err)
			},
		},
		{
			method: http.MethodPost, path: "/organizations/{slug}/agents/{token_id}/resume", id: "resumeAgent", tag: "Agents", summary: "Let a paused agent of a member go on",
			audience: person, permission: oversee, status: http.StatusOK, answer: tokens.Overseen{},
			serve: func(c *call) error {
				o, err := a.Tokens.ResumeAgent(c.ctx, c.caller, c.id("slug"), c.id("token_id"))
				return replyOne(c, o, err)
			},
		},
		{
			method: http.MethodPost, path: "/tokens/{id}/pause", id: "pauseToken", tag: "Agents", summary: "Halt one of your agents without revoking it",
			audience: person, permission: access.TokensManage, status: http.StatusOK, answer: tokens.Token{},
			serve: func(c *call) error {
				t, err := a.Tokens.Pause(c.ctx, c.caller, c.id("id"))
				return replyOne(c, t, err)
			},
		},
		{
			method: http.MethodPost, path: "/tokens/{id}/resume", id: "resumeToken", tag: "Agents", summary: "Let an agent go on that you paused",
			audience: person, permission: access.TokensManage, status: http.StatusOK, answer: tokens.Token{},
			serve: func(c *call) error {
				t, err := a.Tokens.Resume(c.ctx, c.caller, c.id("id"))
				return replyOne(c, t, err)
			},
		},
	}
}
