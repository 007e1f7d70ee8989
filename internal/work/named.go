package work

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"carnet/access"
	"carnet/internal/id"
	"carnet/internal/problem"
)

// ProjectID returns the id of the project that people call so: by its id, or by its key in any case. What the caller does
// not see is not_found. It asks for no permission: a caller may know where it acts. An id comes back as it is, whatever
// lies behind it.
func (s *Service) ProjectID(ctx context.Context, caller access.Caller, name string) (string, error) {
	if id.Valid(id.Project, name) {
		return name, nil
	}
	key := strings.ToUpper(name)
	if !keyForm.MatchString(key) {
		return "", problem.Absent()
	}
	from := projectsIn(caller.Visible(), present, s.Now())
	from.is("p.key", key)
	return s.idOf(ctx, from, "p.id")
}

var taskForm = regexp.MustCompile(`^([A-Z][A-Z0-9]{1,9})-([1-9][0-9]{0,17})$`)

// TaskID returns the id of the task that people call so: by its id, or by its project's key and its number, such as
// WEB-12. What the caller does not see is not_found. It needs what the caller is about to do with it.
func (s *Service) TaskID(ctx context.Context, caller access.Caller, p access.Permission, name string) (string, error) {
	if err := problem.RequireMay(&caller, p); err != nil {
		return "", err
	}
	if id.Valid(id.Task, name) {
		return name, nil
	}
	parts := taskForm.FindStringSubmatch(strings.ToUpper(name))
	if parts == nil {
		return "", problem.Absent()
	}
	number, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return "", problem.Absent()
	}
	from := tasksIn(caller.Visible(), present, s.Now())
	from.is("p.key", parts[1])
	from.is("t.number", number)
	return s.idOf(ctx, from, "t.id")
}

func (s *Service) idOf(ctx context.Context, from *source, column string) (found string, err error) {
	err = s.DB.Read().QueryRowContext(ctx, from.query(column), from.args.Values()...).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return "", problem.Absent()
	}
	if err != nil {
		return "", fmt.Errorf("look an id up: %w", err)
	}
	return found, nil
}

// ProjectKeys returns the keys of those of the projects that the caller sees, by id. It asks for no permission, like
// [Service.ProjectID].
func (s *Service) ProjectKeys(ctx context.Context, caller access.Caller, ids []string) (map[string]string, error) {
	keys := map[string]string{}
	if len(ids) == 0 {
		return keys, nil
	}
	from := projectsIn(caller.Visible(), present, s.Now())
	from.ids("p.id", id.Project, ids)
	found, err := s.DB.Read().QueryContext(ctx, from.query("p.id, p.key"), from.args.Values()...)
	if err != nil {
		return nil, fmt.Errorf("read the keys of projects: %w", err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var projectID, key string
		if err := found.Scan(&projectID, &key); err != nil {
			return nil, fmt.Errorf("read the keys of projects: %w", err)
		}
		keys[projectID] = key
	}
	return keys, found.Err()
}
