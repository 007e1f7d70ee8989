package web

import (
	"net/http"
	"net/url"

	"carnet/access"
	"carnet/internal/org"
	"carnet/internal/page"
)

func (d *Door) organizationRoutes() map[string]handler {
	return map[string]handler{
		"GET /organizations/new":                           d.newOrganization,
		"POST /organizations/new":                          d.createOrganization,
		"GET /organizations/{slug}":                        d.showOrganization,
		"GET /organizations/{slug}/members":                d.listMembers,
		"POST /organizations/{slug}/members":               d.addMember,
		"POST /organizations/{slug}/members/{user}":        d.changeRole,
		"GET /organizations/{slug}/members/{user}/remove":  d.askRemoveMember,
		"POST /organizations/{slug}/members/{user}/remove": d.removeMember,
	}
}

func (d *Door) newOrganization(v *visit) error {
	return v.show(http.StatusOK, "organization-form", "New organization", "home", gatePage{Form: newForm(nil)})
}

// createOrganization founds an organization.
func (d *Door) createOrganization(v *visit) error {
	made, err := d.Org.Create(v.ctx(), v.caller, org.NewOrganization{Name: v.posted("name"), Slug: v.posted("slug")})
	if err == nil {
		return v.leave(projectsOf(made.Slug), "organization")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.again("organization-form", "New organization", "home", gatePage{Form: f})
}

// showOrganization leads to an organization's first page.
func (d *Door) showOrganization(v *visit) error {
	_, o, err := v.in()
	if err != nil {
		return err
	}
	return v.leave(projectsOf(o.Slug), "")
}

// membersOf returns the address of an organization's members.
func membersOf(slug string) string { return "/organizations/" + url.PathEscape(slug) + "/members" }

// listMembers shows the members with their roles of this moment.
func (d *Door) listMembers(v *visit) error { return v.members(newForm(nil), http.StatusOK) }

func (v *visit) members(f form, status int) error {
	caller, o, err := v.in()
	if err != nil {
		return err
	}
	query := v.r.URL.Query()
	listed, err := v.d.Org.Members(v.ctx(), v.caller, o.Slug, page.Request{Cursor: query.Get("cursor"), Limit: page.MaxLimit})
	if err != nil {
		return err
	}
	held := caller.OrganizationPermissions()
	owns := held.Has(access.OrganizationOwn)
	p := membersPage{Form: f, MayAdd: held.Has(access.OrganizationAdminister), MayChange: held.Has(access.OrganizationAdminister), Roles: roleOptions("member", owns)}
	for _, m := range listed.Items {
		// Owners are appointed and dismissed by owners.
		change := p.MayChange && (owns || m.Role != access.Owner.String())
		p.Members = append(p.Members, memberView{
			ID: m.UserID, Name: m.Name, Email: m.Email, Role: m.Role, Self: m.UserID == v.caller.UserID, Suspended: m.Suspended,
			MayChange: change, MayRemove: change || m.UserID == v.caller.UserID, Roles: roleOptions(m.Role, owns),
		})
	}
	if listed.NextCursor != "" {
		p.Pager.Next = membersOf(o.Slug) + "?" + url.Values{"cursor": {listed.NextCursor}}.Encode()
	}
	if query.Get("cursor") != "" {
		p.Pager.First = membersOf(o.Slug)
	}
	return v.show(status, "members", "Members of "+o.Name, "members", p)
}

// roleOptions lists the roles of an organization. Only owners can make somebody one.
func roleOptions(chosen string, owner bool) []option {
	var list []option
	for _, role := range access.Roles() {
		name := role.String()
		list = append(list, option{Value: name, Label: titles[name], Chosen: name == chosen, Disabled: role == access.Owner && !owner})
	}
	return list
}

// addMember makes somebody a member.
func (d *Door) addMember(v *visit) error {
	slug := v.r.PathValue("slug")
	_, err := d.Org.AddMember(v.ctx(), v.caller, slug, org.NewMember{Email: v.posted("email"), Role: v.posted("role")})
	if err == nil {
		return v.leave(membersOf(slug), "member-added")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.members(f, http.StatusUnprocessableEntity)
}

// changeRole gives a member another role.
func (d *Door) changeRole(v *visit) error {
	slug := v.r.PathValue("slug")
	_, err := d.Org.ChangeRole(v.ctx(), v.caller, slug, v.r.PathValue("user"), org.RoleChange{Role: v.posted("role")})
	if err == nil {
		return v.leave(membersOf(slug), "role-changed")
	}
	f := newForm(nil)
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	if f.Failure == "" {
		f.Failure = f.Error("role")
	}
	return v.members(f, http.StatusConflict)
}

// askRemoveMember asks once.
func (d *Door) askRemoveMember(v *visit) error { return v.askRemove(newForm(nil), http.StatusOK) }

func (v *visit) askRemove(f form, status int) error {
	_, o, err := v.in()
	if err != nil {
		return err
	}
	user := v.r.PathValue("user")
	p := confirmPage{
		Crumbs: []crumb{{o.Name, projectsOf(o.Slug)}, {"Members", membersOf(o.Slug)}, {"Remove", ""}}, Form: f,
		Heading: "Remove this member from " + o.Name + "?", Text: "They see nothing of it from their next request on. Their tokens for it rest, and work again only if they get a role again.",
		Action: v.r.URL.Path, Button: "Remove the member", Back: membersOf(o.Slug), BackLabel: "Keep them",
	}
	if name, err := v.memberName(o.Slug, user); err != nil {
		return err
	} else if name != "" {
		p.Heading = "Remove " + name + " from " + o.Name + "?"
	}
	if user == v.caller.UserID {
		p.Heading, p.Button, p.BackLabel = "Leave "+o.Name+"?", "Leave the organization", "Stay"
		p.Text = "You see nothing of it from your next request on. Your tokens for it rest, and work again only if you get a role again."
	}
	return v.show(status, "confirm", p.Heading, "members", p)
}

// memberName looks for a member's name among the members that the caller sees first; "" when they are not among those.
func (v *visit) memberName(slug, user string) (string, error) {
	asked := page.Request{Limit: page.MaxLimit}
	for range 5 {
		listed, err := v.d.Org.Members(v.ctx(), v.caller, slug, asked)
		if err != nil {
			return "", err
		}
		for _, m := range listed.Items {
			if m.UserID == user {
				return m.Name, nil
			}
		}
		if asked.Cursor = listed.NextCursor; asked.Cursor == "" {
			return "", nil
		}
	}
	return "", nil
}

// removeMember takes somebody out of an organization, or lets the person leave it.
func (d *Door) removeMember(v *visit) error {
	slug, user := v.r.PathValue("slug"), v.r.PathValue("user")
	err := d.Org.RemoveMember(v.ctx(), v.caller, slug, user)
	switch {
	case err == nil && user == v.caller.UserID:
		return v.leave("/", "left")
	case err == nil:
		return v.leave(membersOf(slug), "member-removed")
	}
	f := newForm(nil)
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.askRemove(f, http.StatusConflict)
}
