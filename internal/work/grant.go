package work

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
)

// VisibleProjects returns those of the ids that are projects which the filter lets through, in order and without
// repeats. Other rooms ask it, in their own transaction, before they refer to projects.
func (s *Service) VisibleProjects(ctx context.Context, q db.Queryer, f access.Filter, ids []string) ([]string, error) {
	found := []string{}
	known := slices.DeleteFunc(slices.Clone(ids), func(v string) bool { return !id.Valid(id.Project, v) })
	if len(known) == 0 {
		return found, nil
	}
	from := projectsIn(f, present, s.Now())
	from.anyOf("p.id", known)
	list, err := q.QueryContext(ctx, from.query("p.id")+" ORDER BY p.id", from.args.Values()...)
	if err != nil {
		return nil, fmt.Errorf("look projects up: %w", err)
	}
	defer func() { _ = list.Close() }()
	for list.Next() {
		var one string
		if err := list.Scan(&one); err != nil {
			return nil, fmt.Errorf("look projects up: %w", err)
		}
		found = append(found, one)
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("look projects up: %w", err)
	}
	return found, nil
}

// Grant is a project and what its members' list gives a caller's user in it.
type Grant struct {
	ID         string
	Key        string
	Name       string
	Visibility access.Visibility
	Given      access.ProjectRole
}

// ProjectGrants returns the projects that the caller sees, by name, at most limit of them, and how many there are. It
// asks for no permission: a caller may know where it acts.
func (s *Service) ProjectGrants(ctx context.Context, caller access.Caller, limit int) (grants []Grant, total int, err error) {
	from := projectsIn(caller.Visible(), present, s.Now())
	if err := s.DB.Read().QueryRowContext(ctx, from.query("count(*)"), from.args.Values()...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count the projects of a caller: %w", err)
	}
	grants = []Grant{}
	list, err := s.DB.Read().QueryContext(ctx, grantQuery(from, limit), from.args.Values()...)
	if err != nil {
		return nil, 0, fmt.Errorf("read the projects of a caller: %w", err)
	}
	defer func() { _ = list.Close() }()
	for list.Next() {
		p, err := scanProject(list)
		if err != nil {
			return nil, 0, fmt.Errorf("read the projects of a caller: %w", err)
		}
		grants = append(grants, Grant{ID: p.ID, Key: p.Key, Name: p.Name, Visibility: p.resource.Visibility, Given: p.resource.Given})
	}
	if err := list.Err(); err != nil {
		return nil, 0, fmt.Errorf("read the projects of a caller: %w", err)
	}
	return grants, total, nil
}

func grantQuery(from *source, limit int) string {
	return from.query(projectColumns) + " ORDER BY p.name_key, p.id LIMIT " + strconv.Itoa(max(limit, 0))
}
