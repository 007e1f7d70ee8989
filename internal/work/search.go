package work

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/page"
	"carnet/internal/text"
)

// TaskFilter says which tasks are meant, for lists and counts alike. Each filter lets through any of its values, and
// everything when it has none.
type TaskFilter struct {
	// Project is the one project that the tasks are of. Unlike with Projects, one that the caller does not see is not_found.
	Project string

	Projects     []string
	Statuses     []string // [Status]
	Assignees    []string // user ids, or "me"
	DueBefore    string   // YYYY-MM-DD, inclusive
	DueAfter     string   // YYYY-MM-DD, inclusive
	UpdatedSince *time.Time
	Q            string // every word of it, in title or description
	Deleted      bool   // the recycle bin instead
	Invalid      error  // what the door could not read
}

// TaskQuery says which tasks to list.
type TaskQuery struct {
	page.Request // sorts: created_at, updated_at, due_on, priority, title
	TaskFilter
}

var taskSorts = page.Sorts{
	"created_at": {Column: "t.created_at"},
	"updated_at": {Column: "t.updated_at"},
	"due_on":     {Column: "t.due_on", Nullable: true},
	"priority":   {Column: "t.priority"},
	"title":      {Column: "t.title_key"},
}

// ListTasks lists tasks of all the projects that the caller sees, or of one of them, newest first unless asked
// otherwise. It needs tasks:read.
func (s *Service) ListTasks(ctx context.Context, caller access.Caller, query TaskQuery) (page.Page[Task], error) {
	var none page.Page[Task]
	if err := s.mayListTasks(ctx, caller, query.TaskFilter); err != nil {
		return none, err
	}
	l, err := s.taskListing(caller, query)
	if err != nil {
		return none, err
	}
	return page.List(ctx, s.DB.Read(), l)
}

// mayListTasks refuses in the order of the contract: scope, absence, then what could not be read.
func (s *Service) mayListTasks(ctx context.Context, caller access.Caller, f TaskFilter) error {
	if err := mayList(&caller, access.TasksRead); err != nil {
		return err
	}
	if f.Project != "" {
		if _, err := s.projectFor(ctx, s.DB.Read(), caller, access.TasksRead, f.Project, present); err != nil {
			return err
		}
	}
	return f.Invalid
}

func (s *Service) taskListing(caller access.Caller, query TaskQuery) (l page.Listing[Task], err error) {
	from, err := s.tasksMatching(caller, query.TaskFilter)
	if err != nil {
		return l, err
	}
	return page.Listing[Task]{
		Cursors: s.Cursors, Request: query.Request, Sorts: taskSorts, Default: "-created_at", ID: "t.id",
		Binding: page.Binding(caller, "tasks", query.binding()...),
		Select:  "SELECT " + taskColumns + from.tables, Where: from.where(), Args: from.args, Scan: scanTask,
	}, nil
}

// binding returns the whole filter as text, for cursors.
func (f TaskFilter) binding() []string {
	since := ""
	if f.UpdatedSince != nil {
		since = fmt.Sprint(db.Micros(*f.UpdatedSince))
	}
	return []string{
		f.Project, page.Filter("project", f.Projects...), page.Filter("status", f.Statuses...), page.Filter("assignee", f.Assignees...),
		f.DueBefore, f.DueAfter, since, f.Q, fmt.Sprint(f.Deleted),
	}
}

// tasksMatching returns the source of the tasks that a filter means, within what the caller sees.
func (s *Service) tasksMatching(caller access.Caller, f TaskFilter) (*source, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	from := tasksIn(caller.Visible(), listed(f.Deleted), s.Now())
	if f.Project != "" {
		from.is("t.project_id", f.Project)
	}
	from.ids("t.project_id", id.Project, f.Projects)
	from.anyOf("t.status", f.Statuses)
	from.ids("t.assignee_id", id.User, me(caller, f.Assignees))
	if f.DueBefore != "" {
		from.and("t.due_on <= " + from.args.Add(f.DueBefore))
	}
	if f.DueAfter != "" {
		from.and("t.due_on >= " + from.args.Add(f.DueAfter))
	}
	if f.UpdatedSince != nil {
		from.and("t.updated_at >= " + from.args.Add(db.Micros(*f.UpdatedSince)))
	}
	for _, w := range strings.Fields(f.Q) {
		from.and("t.search_text LIKE " + from.args.Add("%"+likeEscape.Replace(text.Fold(w))+"%") + ` ESCAPE '\'`)
	}
	return from, nil
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// ids adds the condition that a column holds one of the ids. Texts that are no ids name nothing.
func (s *source) ids(column, prefix string, values []string) {
	if len(values) == 0 {
		return
	}
	known := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return !id.Valid(prefix, v) })
	if len(known) == 0 {
		s.and("1 = 0")
		return
	}
	s.anyOf(column, known)
}

// me replaces "me" by the caller's user.
func me(caller access.Caller, assignees []string) []string {
	out := slices.Clone(assignees)
	for i, a := range out {
		if a == "me" {
			out[i] = caller.UserID
		}
	}
	return out
}

func (f TaskFilter) check() error {
	var c checker
	c.few("query.project", f.Projects)
	words(&c, "query.status", f.Statuses, Statuses())
	c.few("query.assignee", f.Assignees)
	if f.DueBefore != "" {
		c.date("query.due_before", f.DueBefore)
	}
	if f.DueAfter != "" {
		c.date("query.due_after", f.DueAfter)
	}
	if _, wrong := text.Block("query.q", f.Q, SearchLimit); wrong != nil {
		c.fields = append(c.fields, *wrong)
	}
	return c.err()
}

// TaskCounts says how many tasks there are.
type TaskCounts struct {
	Total     int64            `json:"total"`
	ByStatus  map[Status]int64 `json:"by_status"`  // every status, also those without tasks
	ByProject []ProjectCounts  `json:"by_project"` // projects that have any
}

// ProjectCounts says how many tasks there are in a project.
type ProjectCounts struct {
	ProjectID string           `json:"project_id"`
	Total     int64            `json:"total"`
	ByStatus  map[Status]int64 `json:"by_status"`
}

func noCounts() map[Status]int64 {
	m := map[Status]int64{}
	for _, s := range Statuses() {
		m[s] = 0
	}
	return m
}

// CountTasks counts the tasks that [Service.ListTasks] would list, by status and by project. It needs tasks:read.
func (s *Service) CountTasks(ctx context.Context, caller access.Caller, f TaskFilter) (TaskCounts, error) {
	if err := s.mayListTasks(ctx, caller, f); err != nil {
		return TaskCounts{}, err
	}
	from, err := s.tasksMatching(caller, f)
	if err != nil {
		return TaskCounts{}, err
	}
	counts := TaskCounts{ByStatus: noCounts(), ByProject: []ProjectCounts{}}
	found, err := s.DB.Read().QueryContext(ctx, countQuery(from), from.args.Values()...)
	if err != nil {
		return TaskCounts{}, fmt.Errorf("count tasks: %w", err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var projectID string
		var status Status
		var n int64
		if err := found.Scan(&projectID, &status, &n); err != nil {
			return TaskCounts{}, fmt.Errorf("count tasks: %w", err)
		}
		counts.add(projectID, status, n)
	}
	if err := found.Err(); err != nil {
		return TaskCounts{}, fmt.Errorf("count tasks: %w", err)
	}
	return counts, nil
}

func countQuery(from *source) string {
	return from.query("t.project_id, t.status, count(*)") + " GROUP BY t.project_id, t.status ORDER BY t.project_id, t.status"
}

// add counts n tasks of a status in a project. The projects come in order.
func (c *TaskCounts) add(projectID string, status Status, n int64) {
	if last := len(c.ByProject) - 1; last < 0 || c.ByProject[last].ProjectID != projectID {
		c.ByProject = append(c.ByProject, ProjectCounts{ProjectID: projectID, ByStatus: noCounts()})
	}
	project := &c.ByProject[len(c.ByProject)-1]
	project.Total += n
	project.ByStatus[status] += n
	c.Total += n
	c.ByStatus[status] += n
}
