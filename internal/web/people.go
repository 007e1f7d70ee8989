package web

import (
	"carnet/access"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/work"
)

// How many members and projects a page looks at, for names and for lists to choose from.
const (
	peopleKnown   = 1000
	projectsKnown = 2000
)

// people are the members of an organization that a caller sees, by name where pages show ids.
type people struct {
	self  string
	list  []work.Member
	names map[string]string
}

// people reads the members that the caller sees.
func (v *visit) people(caller access.Caller) (people, error) {
	p := people{self: caller.UserID, names: map[string]string{caller.UserID: v.viewer.Name}}
	query := work.MemberQuery{Request: page.Request{Limit: page.MaxLimit}}
	for len(p.list) < peopleKnown {
		listed, err := v.d.Work.Members(v.ctx(), caller, query)
		if err != nil {
			return p, err
		}
		p.list = append(p.list, listed.Items...)
		for _, m := range listed.Items {
			p.names[m.UserID] = m.Name
		}
		if query.Cursor = listed.NextCursor; query.Cursor == "" {
			break
		}
	}
	return p, nil
}

// name returns somebody's name, or a word for those whom the caller does not see.
func (p people) name(id string) string {
	if name, ok := p.names[id]; ok {
		return name
	}
	return "Somebody else"
}

// options lists the people to choose from, after the given options.
func (p people) options(chosen string, before ...option) []option {
	list := before
	found := false
	for i := range list {
		list[i].Chosen = list[i].Value == chosen
		found = found || list[i].Chosen
	}
	for _, m := range p.list {
		if m.Suspended && m.UserID != chosen {
			continue
		}
		list = append(list, option{Value: m.UserID, Label: m.Name, Chosen: m.UserID == chosen})
		found = found || m.UserID == chosen
	}
	if !found {
		list = append(list, option{Value: chosen, Label: p.name(chosen), Chosen: true})
	}
	return list
}

// credentials name what things were made with. Only the caller's own tokens have names for them; agents' names are kept
// with what they made.
type credentials struct {
	v        *visit
	overseen string // where the caller sees the agents of others, "" when they do not
	known    map[string]*via
}

func (v *visit) credentials(caller access.Caller) credentials {
	c := credentials{v: v, known: map[string]*via{}}
	if caller.OrganizationPermissions().Has(access.OrganizationAdminister) {
		c.overseen = agentsOf(caller.OrganizationSlug)
	}
	return c
}

// via returns what a session's or token's id stands for: nil for a session. agent is what the agent was called that it
// is of, nil when it is of none.
func (c credentials) via(id string, agent *string) (*via, error) {
	if len(id) < 4 || id[:4] != "tok_" {
		return nil, nil
	}
	key := id + deref(agent)
	if known, ok := c.known[key]; ok {
		return known, nil
	}
	t, err := c.v.d.Tokens.Token(c.v.ctx(), c.v.caller, id)
	found := &via{Label: "a token", Token: true}
	switch {
	case err == nil && agent != nil:
		found.Href = agents + "/" + t.ID
	case err == nil:
		found.Label, found.Href = t.Name, developer+"/"+t.ID
	case !problem.Is(err, problem.NotFound):
		return nil, err
	case agent != nil && c.overseen != "":
		found.Href = c.overseen + "/" + id
	}
	if agent != nil {
		found.Label, found.Agent = *agent, true
	}
	c.known[key] = found
	return found, nil
}

// in returns the projects of an organization that the person sees, by id; none when they have no role there.
func (n projectNames) in(slug string) (map[string]projectName, error) {
	if names, ok := n.known[slug]; ok {
		return names, nil
	}
	names := map[string]projectName{}
	n.known[slug] = names
	caller, ok := n.v.caller.In(slug)
	if !ok {
		return names, nil
	}
	grants, _, err := n.v.d.Work.ProjectGrants(n.v.ctx(), caller, projectsKnown)
	if err != nil {
		return nil, err
	}
	for _, g := range grants {
		names[g.ID] = projectName{ID: g.ID, Key: g.Key, Name: g.Name}
	}
	return names, nil
}

// choices lists the projects of an organization that a token could be limited to. more says that there are others.
func (v *visit) choices(slug string, limit int) (list []projectChoice, more bool, err error) {
	caller, ok := v.caller.In(slug)
	if !ok {
		return nil, false, nil
	}
	grants, total, err := v.d.Work.ProjectGrants(v.ctx(), caller, limit)
	if err != nil {
		return nil, false, err
	}
	for _, g := range grants {
		list = append(list, projectChoice{projectName: projectName{ID: g.ID, Key: g.Key, Name: g.Name}, Private: g.Visibility == access.Private})
	}
	return list, total > len(grants), nil
}
