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
	return s.projectID(ctx, caller, name, present)
}

// ProjectIDToDelete is [Service.ProjectID] for a deletion, which may have been carried out already: by the same request, whose
// answer is kept.
func (s *Service) ProjectIDToDelete(ctx context.Context, caller access.Caller, name string) (string, error) {
	return s.projectID(ctx, caller, name, either)
}

func (s *Service) projectID(ctx context.Context, caller access.Caller, name string, of state) (string, error) {
	if id.Valid(id.Project, name) {
		return name, nil
	}
	key := strings.ToUpper(name)
	if !keyForm.MatchString(key) {
		return "", problem.Absent()
	}
	from := projectsIn(caller.Visible(), of, s.Now())
	from.is("p.key", key)
	return s.idOf(ctx, from, "p.id")
}

var taskForm = regexp.MustCompile(`^([A-Z][A-Z0-9]{1,9})-([1-9][0-9]{0,17})$`)

// TaskID returns the id of the task that people call so: by its id, or by its project's key and its number, such as
// WEB-12. What the caller does not see is not_found. It needs what the caller is about to do with it; a task that is to be
// deleted may have been deleted already, as with [Service.ProjectIDToDelete].
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
	of := present
	if p == access.TasksDelete {
		of = either
	}
	from := tasksIn(caller.Visible(), of, s.Now())
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

// TaskName is what people call a task.
type TaskName struct {
	Ref, Title, ProjectID string
	Deleted               bool // it is in the recycle bin
}

// TaskNames returns what those of the tasks are called that the caller sees, in the recycle bin or not, by id. It asks for
// no permission, like [Service.ProjectID].
func (s *Service) TaskNames(ctx context.Context, caller access.Caller, ids []string) (map[string]TaskName, error) {
	names := map[string]TaskName{}
	if len(ids) == 0 {
		return names, nil
	}
	from := tasksIn(caller.Visible(), either, s.Now())
	from.ids("t.id", id.Task, ids)
	found, err := s.DB.Read().QueryContext(ctx, from.query("t.id, p.key, t.number, t.title, t.project_id, t.deleted_at"), from.args.Values()...)
	if err != nil {
		return nil, fmt.Errorf("read the names of tasks: %w", err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var task, key string
		var number int64
		var deleted sql.NullInt64
		var name TaskName
		if err := found.Scan(&task, &key, &number, &name.Title, &name.ProjectID, &deleted); err != nil {
			return nil, fmt.Errorf("read the names of tasks: %w", err)
		}
		name.Deleted = deleted.Valid
		name.Ref = fmt.Sprintf("%s-%d", key, number)
		names[task] = name
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("read the names of tasks: %w", err)
	}
	return names, nil
}

// MemberNames returns the names of those of the users who are members that the caller sees, by id. Without members:read it
// is nobody, and no error.
func (s *Service) MemberNames(ctx context.Context, caller access.Caller, ids []string) (map[string]string, error) {
	names := map[string]string{}
	if len(ids) == 0 || access.Decide(&caller, access.MembersRead, access.Resource{Organization: caller.Organization}) != access.Allowed {
		return names, nil
	}
	conditions, args := membersIn(caller.Visible())
	found, err := s.DB.Read().QueryContext(ctx, memberColumns+" WHERE "+conditions+" AND m.user_id IN ("+args.AddAll(ids)+")", args.Values()...)
	if err != nil {
		return nil, fmt.Errorf("read the names of members: %w", err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		m, err := scanMember(found)
		if err != nil {
			return nil, fmt.Errorf("read the names of members: %w", err)
		}
		names[m.UserID] = m.Name
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("read the names of members: %w", err)
	}
	return names, nil
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
