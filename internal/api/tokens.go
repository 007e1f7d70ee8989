package api

import (
	"net/http"
	"time"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/tokens"
)

// tokenDraft is the body of POST /tokens and of its preview.
type tokenDraft struct {
	Name          string     `json:"name,omitempty" doc:"What the token is for, 1 to 100 characters."`
	Organization  string     `json:"organization" doc:"The slug of the organization that it acts in."`
	Scopes        []string   `json:"scopes" nullable:"false" maxItems:"50" doc:"What it may do, at most. GET /scopes lists them."`
	Projects      []string   `json:"projects,omitempty" nullable:"true" maxItems:"1000" doc:"The ids of the projects that it is limited to; absent or null for no restriction."`
	ExpiresAt     *time.Time `json:"expires_at,omitempty" nullable:"true" doc:"When it ends, exactly; at most 10 years ahead."`
	ExpiresInDays *int       `json:"expires_in_days,omitempty" nullable:"true" doc:"The same, counted from now."`
	Purpose       string     `json:"purpose,omitempty" enum:"personal,agent" doc:"personal when absent."`
	Client        string     `json:"client,omitempty" doc:"Of an agent: the name of the program that it is for, at most 100 characters."`
}

func (c *call) draft() tokens.Draft {
	var in tokenDraft
	invalid := c.body(&in)
	return tokens.Draft{
		Name: in.Name, Organization: in.Organization, Scopes: in.Scopes, Projects: in.Projects,
		ExpiresAt: in.ExpiresAt, ExpiresInDays: in.ExpiresInDays, Purpose: in.Purpose, Client: tokens.Client{Name: in.Client}, Invalid: invalid,
	}
}

// tokenChange is the body of PATCH /tokens/{id}.
type tokenChange struct {
	Name      optional.Value[string]    `json:"name,omitzero" required:"false" doc:"1 to 100 characters."`
	Scopes    optional.Value[[]string]  `json:"scopes,omitzero" required:"false" nullable:"false" maxItems:"50" doc:"The new set. Fewer, or read instead of write."`
	Projects  optional.Value[[]string]  `json:"projects,omitzero" required:"false" nullable:"true" maxItems:"1000" doc:"The new set. Fewer, or some instead of all."`
	ExpiresAt optional.Value[time.Time] `json:"expires_at,omitzero" required:"false" nullable:"true" doc:"The new end. Earlier."`
}

// issued answers the creation and the rotation of a token.
type issued struct {
	Token tokens.Token `json:"token"`
	Value *string      `json:"value" doc:"Shown in this answer and never again; null when the answer is a repeat."`
}

func replyIssued(c *call, i tokens.Issued, err error) error {
	answer := issued{Token: i.Token}
	if i.Value != nil {
		text := i.Value.Reveal()
		answer.Value = &text
	}
	return replyOne(c, answer, err)
}

type rotation struct {
	GraceSeconds int `json:"grace_seconds,omitempty" minimum:"0" maximum:"86400" doc:"How long the old value lives on."`
}

type identification struct {
	Value  string `json:"value,omitempty" maxLength:"1000" doc:"A whole value."`
	Prefix string `json:"prefix,omitempty" maxLength:"1000" doc:"A prefix, also of a value that was replaced."`
}

// scopeEntry is one line of the catalogue.
type scopeEntry struct {
	Scope       string   `json:"scope"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Risk        string   `json:"risk" enum:"low,medium,high"`
	Roles       []string `json:"roles" doc:"The roles that it can be of use to."`
}

func (a *API) tokenOperations() []*operation {
	manage := access.TokensManage
	return []*operation{
		{
			method: http.MethodGet, path: "/me", id: "getMe", tag: "Work", summary: "Who is calling, and what they may do now",
			audience: worker, anyScope: true, status: http.StatusOK, answer: tokens.Me{}, serve: a.me,
		},
		{
			method: http.MethodGet, path: "/scopes", id: "listScopes", tag: "Tokens", summary: "The catalogue of scopes",
			audience: person, permission: manage, status: http.StatusOK, answer: list[scopeEntry]{},
			serve: func(c *call) error {
				answer := list[scopeEntry]{Items: []scopeEntry{}}
				for _, e := range access.Catalogue() {
					roles := []string{}
					for _, r := range e.Scope.Roles() {
						roles = append(roles, r.String())
					}
					answer.Items = append(answer.Items, scopeEntry{Scope: e.Name, Title: e.Title, Description: e.Description, Risk: string(e.Risk), Roles: roles})
				}
				return c.reply(answer)
			},
		},
		{
			method: http.MethodPost, path: "/tokens/preview", id: "previewToken", tag: "Tokens", summary: "What a token would be able to do",
			audience: person, permission: manage, body: tokenDraft{}, status: http.StatusOK, answer: tokens.Preview{},
			serve: func(c *call) error {
				preview, err := a.Tokens.Preview(c.ctx, c.caller, c.draft())
				return replyOne(c, preview, err)
			},
		},
		{
			method: http.MethodPost, path: "/tokens", id: "createToken", tag: "Tokens", summary: "Create a token; its value is in this answer only",
			audience: person, permission: manage, body: tokenDraft{}, status: http.StatusCreated, answer: issued{}, idempotent: true,
			serve: func(c *call) error {
				created, err := a.Tokens.Create(c.ctx, c.caller, c.draft())
				return replyIssued(c, created, err)
			},
		},
		{
			method: http.MethodGet, path: "/tokens", id: "listTokens", tag: "Tokens", summary: "Your own tokens, in all organizations",
			audience: person, permission: manage, status: http.StatusOK, answer: list[tokens.Token]{}, listed: true,
			query: []parameter{
				{name: "organization", description: "Only these organizations (slugs).", repeated: true, sample: ""},
				{name: "purpose", repeated: true, sample: "", enum: []string{"personal", "agent"}},
				{name: "state", repeated: true, sample: "", enum: []string{"live", "expired", "revoked", "inert", "paused"}},
			},
			serve: func(c *call) error {
				q := tokens.Query{Request: c.page(), Organization: c.query("organization"), Purpose: c.query("purpose"), State: c.query("state")}
				q.Invalid = c.invalid()
				listed, err := a.Tokens.Tokens(c.ctx, c.caller, q)
				return replyPage(c, listed, err)
			},
		},
		{
			method: http.MethodPost, path: "/tokens/identify", id: "identifyToken", tag: "Tokens", summary: "Which of your tokens a value or prefix belongs to",
			audience: person, permission: manage, body: identification{}, status: http.StatusOK, answer: tokens.Token{},
			serve: func(c *call) error {
				var in identification
				invalid := c.body(&in)
				t, err := a.Tokens.Identify(c.ctx, c.caller, tokens.Identification{Value: in.Value, Prefix: in.Prefix, Invalid: invalid})
				return replyOne(c, t, err)
			},
		},
		{
			method: http.MethodGet, path: "/tokens/{id}", id: "getToken", tag: "Tokens", summary: "One of your own tokens",
			audience: person, permission: manage, status: http.StatusOK, answer: tokens.Token{},
			serve: func(c *call) error {
				t, err := a.Tokens.Token(c.ctx, c.caller, c.id("id"))
				return replyOne(c, t, err)
			},
		},
		{
			method: http.MethodPatch, path: "/tokens/{id}", id: "changeToken", tag: "Tokens", summary: "Rename or narrow a token",
			audience: person, permission: manage, body: tokenChange{}, status: http.StatusOK, answer: tokens.Token{}, idempotent: true,
			serve: func(c *call) error {
				var in tokenChange
				invalid := c.body(&in)
				t, err := a.Tokens.Change(c.ctx, c.caller, c.id("id"), tokens.Change{
					Name: in.Name, Scopes: in.Scopes, Projects: in.Projects, ExpiresAt: in.ExpiresAt, Invalid: invalid,
				})
				return replyOne(c, t, err)
			},
		},
		{
			method: http.MethodDelete, path: "/tokens/{id}", id: "revokeToken", tag: "Tokens", summary: "Revoke a token; the answer is sent once it holds everywhere",
			audience: person, permission: manage, status: http.StatusOK, answer: tokens.Receipt{}, idempotent: true,
			serve: func(c *call) error {
				receipt, err := a.Tokens.Revoke(c.ctx, c.caller, c.id("id"))
				return replyOne(c, receipt, err)
			},
		},
		{
			method: http.MethodPost, path: "/tokens/{id}/rotate", id: "rotateToken", tag: "Tokens", summary: "Give a token a new value; it is in this answer only",
			audience: person, permission: manage, body: rotation{}, bodyOptional: true, status: http.StatusOK, answer: issued{}, idempotent: true,
			serve: func(c *call) error {
				var in rotation
				invalid := c.body(&in)
				rotated, err := a.Tokens.Rotate(c.ctx, c.caller, c.id("id"), tokens.Rotation{GraceSeconds: in.GraceSeconds, Invalid: invalid})
				return replyIssued(c, rotated, err)
			},
		},
		{
			method: http.MethodGet, path: "/tokens/{id}/activity", id: "getTokenActivity", tag: "Tokens", summary: "What a token did",
			audience: person, permission: manage, status: http.StatusOK, answer: tokens.Activity{},
			serve: func(c *call) error {
				activity, err := a.Tokens.Activity(c.ctx, c.caller, c.id("id"))
				return replyOne(c, activity, err)
			},
		},
	}
}
