package api

import (
	"cmp"
	"net/http"

	"carnet/access"
	"carnet/internal/org"
)

type newOrganization struct {
	Slug string `json:"slug" maxLength:"100" doc:"Its short name in requests: 2 to 40 of a-z, 0-9 and -, a letter first."`
	Name string `json:"name" doc:"1 to 100 characters."`
}

type organizationChange struct {
	Name *string `json:"name,omitempty" nullable:"false" doc:"1 to 100 characters."`
}

type newMember struct {
	Email string `json:"email" maxLength:"320"`
	Role  string `json:"role" enum:"owner,admin,manager,member,guest"`
}

type roleChange struct {
	Role string `json:"role" enum:"owner,admin,manager,member,guest"`
}

func (a *API) organizationOperations() []*operation {
	return []*operation{
		{
			method: http.MethodGet, path: "/organizations", id: "listOrganizations", tag: "Organizations", summary: "The organizations that you belong to",
			audience: person, permission: access.OrganizationRead, status: http.StatusOK, answer: list[org.Organization]{}, listed: true,
			serve: func(c *call) error {
				p := c.page()
				if err := c.invalid(); err != nil {
					return err
				}
				listed, err := a.Org.Organizations(c.ctx, c.caller, p)
				return replyPage(c, listed, err)
			},
		},
		{
			method: http.MethodPost, path: "/organizations", id: "createOrganization", tag: "Organizations", summary: "Found an organization",
			audience: person, permission: access.AccountManage, body: newOrganization{}, status: http.StatusCreated, answer: org.Organization{},
			serve: func(c *call) error {
				var in newOrganization
				invalid := c.body(&in)
				created, err := a.Org.Create(c.ctx, c.caller, org.NewOrganization{Slug: in.Slug, Name: in.Name, Invalid: invalid})
				return replyOne(c, created, err)
			},
		},
		{
			method: http.MethodGet, path: "/organizations/{slug}", id: "getOrganization", tag: "Organizations", summary: "One organization",
			audience: person, permission: access.OrganizationRead, status: http.StatusOK, answer: org.Organization{},
			serve: func(c *call) error {
				o, err := a.Org.Organization(c.ctx, c.caller, c.id("slug"))
				return replyOne(c, o, err)
			},
		},
		{
			method: http.MethodPatch, path: "/organizations/{slug}", id: "changeOrganization", tag: "Organizations", summary: "Rename an organization",
			audience: person, permission: access.OrganizationAdminister, body: organizationChange{}, status: http.StatusOK, answer: org.Organization{},
			serve: func(c *call) error {
				var in organizationChange
				invalid := c.body(&in)
				o, err := a.Org.Update(c.ctx, c.caller, c.id("slug"), org.Changes{Name: in.Name, Invalid: invalid})
				return replyOne(c, o, err)
			},
		},
		{
			method: http.MethodGet, path: "/organizations/{slug}/members", id: "listOrganizationMembers", tag: "Organizations", summary: "Its members",
			audience: person, permission: access.OrganizationRead, status: http.StatusOK, answer: list[org.Member]{}, listed: true,
			serve: func(c *call) error {
				p := c.page()
				if err := c.invalid(); err != nil {
					// An organization that is absent is told before what is wrong with the query.
					_, absent := a.Org.Organization(c.ctx, c.caller, c.id("slug"))
					return cmp.Or(absent, err)
				}
				listed, err := a.Org.Members(c.ctx, c.caller, c.id("slug"), p)
				return replyPage(c, listed, err)
			},
		},
		{
			method: http.MethodPost, path: "/organizations/{slug}/members", id: "addOrganizationMember", tag: "Organizations", summary: "Add a person whom you know from another organization",
			audience: person, permission: access.OrganizationAdminister, body: newMember{}, status: http.StatusCreated, answer: org.Member{},
			serve: func(c *call) error {
				var in newMember
				invalid := c.body(&in)
				m, err := a.Org.AddMember(c.ctx, c.caller, c.id("slug"), org.NewMember{Email: in.Email, Role: in.Role, Invalid: invalid})
				return replyOne(c, m, err)
			},
		},
		{
			method: http.MethodPatch, path: "/organizations/{slug}/members/{user_id}", id: "changeOrganizationMember", tag: "Organizations", summary: "Change a member's role",
			audience: person, permission: access.OrganizationAdminister, body: roleChange{}, status: http.StatusOK, answer: org.Member{},
			serve: func(c *call) error {
				var in roleChange
				invalid := c.body(&in)
				m, err := a.Org.ChangeRole(c.ctx, c.caller, c.id("slug"), c.id("user_id"), org.RoleChange{Role: in.Role, Invalid: invalid})
				return replyOne(c, m, err)
			},
		},
		{
			method: http.MethodDelete, path: "/organizations/{slug}/members/{user_id}", id: "removeOrganizationMember", tag: "Organizations", summary: "Remove a member, or leave",
			description: "With your own id you leave the organization. Tokens of who goes rest until they are a member again.",
			audience:    person, permission: access.OrganizationRead, status: http.StatusNoContent,
			serve: func(c *call) error {
				if c.id("user_id") == c.caller.UserID {
					return replyDone(c, a.Org.Leave(c.ctx, c.caller, c.id("slug")))
				}
				return replyDone(c, a.Org.RemoveMember(c.ctx, c.caller, c.id("slug"), c.id("user_id")))
			},
		},
	}
}
