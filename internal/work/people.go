package work

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/problem"
	"carnet/internal/text"
)

// candidatesShown is how many people are told of whom a name could mean.
const candidatesShown = 5

// people finds the ids of members by what people call them, for one request. Members are read once, when they are needed.
type people struct {
	s      *Service
	q      db.Queryer
	caller access.Caller
	known  []called // nil: not read yet
}

// called is a member with what they can be called.
type called struct {
	Member
	email, name string // as [nameKey] has them
}

// PersonID returns the id of the member whom people call so: by their id, as "me", or, with members:read, by e-mail
// address, by name or by the beginning of a part of their name, whatever the case and the accents, where that means one
// person whom the caller sees. An id comes back as it is, whatever lies behind it. What names nobody, or several, is wrong
// at the location.
func (s *Service) PersonID(ctx context.Context, caller access.Caller, location, name string) (string, *problem.Field, error) {
	return s.people(s.DB.Read(), caller).id(ctx, location, name)
}

func (s *Service) people(q db.Queryer, caller access.Caller) *people {
	return &people{s: s, q: q, caller: caller}
}

func (p *people) id(ctx context.Context, location, name string) (string, *problem.Field, error) {
	wrong := func(message string) (string, *problem.Field, error) {
		return "", &problem.Field{Location: location, Message: message}, nil
	}
	switch {
	case name == "me":
		return p.caller.UserID, nil, nil
	case id.Valid(id.User, name):
		return name, nil, nil
	case access.May(&p.caller, access.MembersRead) != access.Allowed:
		return wrong("must be a user id (usr_…) or me; names are understood only with the scope members:read")
	}
	if err := p.read(ctx); err != nil {
		return "", nil, err
	}
	fit := p.fitting(nameKey(name))
	switch len(fit) {
	case 0:
		return wrong("must be a user id (usr_…), me, or the name or e-mail address of a member whom you see; this is nobody's")
	case 1:
		return fit[0].UserID, nil, nil
	}
	list := make([]string, 0, candidatesShown)
	for _, m := range fit[:min(len(fit), candidatesShown)] {
		list = append(list, fmt.Sprintf("%q <%s> (%s)", m.Name, m.Email, m.UserID))
	}
	return wrong(fmt.Sprintf("means %d members, so say their id or e-mail address: %s", len(fit), strings.Join(list, ", ")))
}

// read reads the members whom the caller sees.
func (p *people) read(ctx context.Context) error {
	if p.known != nil {
		return nil
	}
	p.known = []called{}
	if access.Decide(&p.caller, access.MembersRead, access.Resource{Organization: p.caller.Organization}) != access.Allowed {
		return nil
	}
	conditions, args := membersIn(p.caller.Visible())
	found, err := p.q.QueryContext(ctx, memberColumns+" WHERE "+conditions+" ORDER BY u.email_key", args.Values()...)
	if err != nil {
		return fmt.Errorf("look members up: %w", err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		m, err := scanMember(found)
		if err != nil {
			return fmt.Errorf("look members up: %w", err)
		}
		p.known = append(p.known, called{m, text.Fold(m.Email), nameKey(m.Name)})
	}
	if err := found.Err(); err != nil {
		return fmt.Errorf("look members up: %w", err)
	}
	return nil
}

// fitting returns those whom a name could mean: the one with this address, or everybody of whose name a part begins so. Who
// is called exactly so is no better a guess than who is called so for short.
func (p *people) fitting(key string) (fit []called) {
	if key == "" {
		return nil
	}
	if i := slices.IndexFunc(p.known, func(c called) bool { return c.email == key }); i >= 0 {
		return p.known[i : i+1]
	}
	for _, c := range p.known {
		if strings.Contains(" "+c.name, " "+key) {
			fit = append(fit, c)
		}
	}
	return fit
}

// nameKey is a name as it is compared: without case, accents and blanks around it.
func nameKey(name string) string {
	bare := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(text.Likeness(name)))
	return strings.Join(strings.Fields(bare), " ")
}
