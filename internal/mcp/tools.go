package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/work"
)

// paging is what every list takes.
type paging struct {
	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the page before, to read on"`
	Limit  *int   `json:"limit,omitempty" jsonschema:"how many, 1 to 100; 25 unless told otherwise"`
}

// Sizes of pages.
const (
	defaultLimit = 25
	mostListed   = 100
)

// A list that depends on the time of the call, such as what is overdue, goes on as of its first page: its cursor begins with
// that time. Cursors fit no other filter, so that nothing is gained by changing it.
const anchorEnd = "~"

// anchor puts before a cursor what the list was asked as of.
func anchor(asOf, cursor string) string {
	if cursor == "" {
		return ""
	}
	return asOf + anchorEnd + cursor
}

// anchored takes it off again, a moment in the layout; without one, it is what goes for a first page.
func (p *paging) anchored(layout, first string) (string, error) {
	if p.Cursor == "" {
		return first, nil
	}
	asOf, cursor, _ := strings.Cut(p.Cursor, anchorEnd)
	if _, err := time.Parse(layout, asOf); err != nil || cursor == "" {
		return "", problem.New(problem.CursorInvalid, "The cursor is not one of this list. Start again without it.")
	}
	p.Cursor = cursor
	return asOf, nil
}

func (p paging) request() (page.Request, error) {
	limit := defaultLimit
	if p.Limit != nil {
		limit = *p.Limit
	}
	if limit < 1 || limit > mostListed {
		return page.Request{}, problem.Invalid("limit", fmt.Sprintf("must be 1 to %d", mostListed))
	}
	return page.Request{Cursor: p.Cursor, Limit: limit}, nil
}

// repeating is what every write takes.
type repeating struct {
	IdempotencyKey string `json:"idempotency_key,omitempty" jsonschema:"a text of your choice that names this write: sent again with the same arguments within a day, it is carried out once and answered the same"`
}

// bind lets the features see the key, bound to the tool, its arguments, in whichever order they were sent, and the ids of what
// those mean now: what is called so may be something else by then.
func (r repeating) bind(c *call, name string, ids ...string) {
	c.info.IdempotencyKey = r.IdempotencyKey
	if r.IdempotencyKey == "" {
		return
	}
	c.info.Target = "mcp " + name + " " + c.caller.Organization
	var arguments any
	_ = json.Unmarshal(c.arguments, &arguments) // read before, or this would not be asked
	canonical, _ := json.Marshal([]any{arguments, ids})
	c.info.Fingerprint = sha256.Sum256(canonical)
}

func missing(arguments ...string) error {
	var fields []problem.Field
	for i := 0; i+1 < len(arguments); i += 2 {
		if arguments[i+1] == "" {
			fields = append(fields, problem.Field{Location: arguments[i], Message: "is required"})
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return problem.InvalidFields(fields...)
}

type nothing struct{}

type projectArgument struct {
	Project string `json:"project" jsonschema:"id or key of the project, such as WEB"`
}

type taskArgument struct {
	Task string `json:"task" jsonschema:"id of the task, or its project's key and its number, such as WEB-12"`
}

func (d *Door) allTools() []*tool {
	return slices.Concat(d.readingTools(), d.taskTools(), d.projectTools())
}

func (d *Door) readingTools() []*tool {
	statuses := wordsOf(work.Statuses())
	return []*tool{
		define(tool{name: "whoami", title: "Who am I", description: "Whom you act for, in which organization, and what you may do there right now."},
			func(ctx context.Context, c *call, _ nothing) (meView, string, error) {
				me, err := d.Tokens.Me(ctx, c.caller)
				view := viewOfMe(me)
				return view, view.words(), err
			}),
		define(tool{name: "list_projects", title: "List projects", description: "Projects that you can see, by name.", permissions: []access.Permission{access.ProjectsRead}},
			func(ctx context.Context, c *call, in struct {
				paging
			}) (projectList, string, error) {
				request, err := in.request()
				if err != nil {
					return projectList{}, "", err
				}
				request.Sort = "name"
				listed, err := d.Work.ListProjects(ctx, c.caller, work.ProjectQuery{Request: request})
				out := projectList{Projects: d.projectViews(c, listed.Items), NextCursor: listed.NextCursor}
				return out, out.words(), err
			}),
		define(tool{name: "get_project", title: "Get a project", description: "One project with its details.", permissions: []access.Permission{access.ProjectsRead}},
			func(ctx context.Context, c *call, in projectArgument) (projectView, string, error) {
				id, err := d.project(ctx, c, in.Project)
				if err != nil {
					return projectView{}, "", err
				}
				p, err := d.Work.Project(ctx, c.caller, id)
				view := d.projectView(c, p)
				return view, view.words(), err
			}),
		define(tool{name: "list_tasks", title: "List tasks", description: "Tasks, newest first: of one project or of all, by status, by assignee, by when they are due.", permissions: []access.Permission{access.TasksRead}},
			func(ctx context.Context, c *call, in struct {
				Project   string `json:"project,omitempty" jsonschema:"only of this project: its id or key"`
				Status    string `json:"status,omitempty" jsonschema:"only with this status"`
				Assignee  string `json:"assignee,omitempty" jsonschema:"only of this person: a user id, me, or, with members:read, a name or e-mail address"`
				DueBefore string `json:"due_before,omitempty" jsonschema:"only due on or before this day, YYYY-MM-DD"`
				paging
			}) (taskList, string, error) {
				if in.Assignee != "" {
					id, wrong, err := d.Work.PersonID(ctx, c.caller, "assignee", in.Assignee)
					if err != nil {
						return taskList{}, "", err
					}
					if wrong != nil {
						return taskList{}, "", problem.InvalidFields(*wrong)
					}
					in.Assignee = id
				}
				return d.listTasks(ctx, c, in.Project, in.paging, "-created_at", work.TaskFilter{Statuses: some(in.Status), Assignees: some(in.Assignee), DueBefore: in.DueBefore})
			}).oneOf("status", statuses...),
		define(tool{name: "search_tasks", title: "Search tasks", description: "Tasks whose title or description contains every word of the query, whatever the case.", permissions: []access.Permission{access.TasksRead}},
			func(ctx context.Context, c *call, in struct {
				Query   string `json:"query" jsonschema:"words to look for"`
				Project string `json:"project,omitempty" jsonschema:"only in this project: its id or key"`
				paging
			}) (taskList, string, error) {
				if err := missing("query", strings.TrimSpace(in.Query)); err != nil {
					return taskList{}, "", err
				}
				return d.listTasks(ctx, c, in.Project, in.paging, "-updated_at", work.TaskFilter{Q: in.Query})
			}),
		define(tool{name: "get_task", title: "Get a task", description: "One task with its description, and the latest comments on it where you may read those.", permissions: []access.Permission{access.TasksRead}},
			func(ctx context.Context, c *call, in struct {
				taskArgument
				CommentsCursor string `json:"comments_cursor,omitempty" jsonschema:"next_comments_cursor of an answer before, to read older comments"`
			}) (taskDetail, string, error) {
				return d.getTask(ctx, c, in.Task, in.CommentsCursor)
			}),
		define(tool{name: "my_tasks", title: "My tasks", description: "Open tasks that are assigned to the person whom you act for, those that are due first at the top.", permissions: []access.Permission{access.TasksRead}},
			func(ctx context.Context, c *call, in struct {
				paging
			}) (taskList, string, error) {
				return d.listTasks(ctx, c, "", in.paging, "due_on", work.TaskFilter{Assignees: []string{"me"}, Statuses: open()})
			}),
		define(tool{name: "overdue_tasks", title: "Overdue tasks", description: "Open tasks that were due before today (UTC), the oldest first.", permissions: []access.Permission{access.TasksRead}},
			func(ctx context.Context, c *call, in struct {
				Project string `json:"project,omitempty" jsonschema:"only of this project: its id or key"`
				paging
			}) (taskList, string, error) {
				yesterday, err := in.anchored(time.DateOnly, d.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly))
				if err != nil {
					return taskList{}, "", err
				}
				out, words, err := d.listTasks(ctx, c, in.Project, in.paging, "due_on", work.TaskFilter{DueBefore: yesterday, Statuses: open()})
				out.NextCursor = anchor(yesterday, out.NextCursor)
				return out, words, err
			}),
		define(tool{name: "recent_activity", title: "Recent activity", description: "What happened lately: tasks that were made or changed, the latest first, and, on the first page and where you may read them, the latest comments.", permissions: []access.Permission{access.TasksRead}},
			func(ctx context.Context, c *call, in struct {
				Project string `json:"project,omitempty" jsonschema:"only in this project: its id or key"`
				Since   string `json:"since,omitempty" jsonschema:"only since this moment, such as 2026-01-31T12:00:00Z; a week ago unless told otherwise"`
				paging
			}) (activity, string, error) {
				return d.recentActivity(ctx, c, in.Project, in.Since, in.paging)
			}),
	}
}

func (d *Door) taskTools() []*tool {
	statuses, priorities := wordsOf(work.Statuses()), wordsOf(work.Priorities())
	writes := []access.Permission{access.TasksWrite}
	return []*tool{
		define(tool{name: "create_tasks", title: "Create tasks", effect: adds, permissions: writes,
			description: fmt.Sprintf("Makes up to %d tasks in a project, all or none. To undo, delete them, or restore what was deleted from the recycle bin in the pages.", work.SeveralLimit)},
			func(ctx context.Context, c *call, in struct {
				projectArgument
				Tasks []taskFields `json:"tasks" jsonschema:"the tasks, in the order in which they are to be numbered"`
				repeating
			}) (taskList, string, error) {
				id, err := d.project(ctx, c, in.Project)
				if err != nil {
					return taskList{}, "", err
				}
				if err := work.Several(len(in.Tasks)); err != nil {
					return taskList{}, "", err
				}
				in.bind(c, "create_tasks", id)
				var list []work.NewTask
				for _, t := range in.Tasks {
					list = append(list, work.NewTask{TaskFields: t.fields()})
				}
				made, err := d.Work.CreateTasks(ctx, c.caller, id, list)
				if err != nil {
					return taskList{}, "", err
				}
				return d.taskList(ctx, c, made, "", "Made")
			}).itemsOneOf("tasks", "status", statuses...).itemsOneOf("tasks", "priority", priorities...),
		define(tool{name: "update_task", title: "Update a task", effect: changes, permissions: writes,
			description: "Changes fields of a task; what is left out stays as it is. To undo, set the old values again: the answer has them under before."},
			func(ctx context.Context, c *call, in struct {
				taskArgument
				changedFields
				repeating
			}) (taskChange, string, error) {
				id, err := d.task(ctx, c, access.TasksWrite, in.Task)
				if err != nil {
					return taskChange{}, "", err
				}
				in.bind(c, "update_task", id)
				changed, err := d.Work.ReviseTask(ctx, c.caller, id, work.TaskChange{TaskFields: in.changedFields.fields()})
				if err != nil {
					return taskChange{}, "", err
				}
				views, err := d.taskViews(ctx, c, []work.Task{changed.After, changed.Before})
				if err != nil {
					return taskChange{}, "", err
				}
				return taskChange{Task: views[0], Before: views[1]}, "Updated " + views[0].line() + "\n" + dataNote, nil
			}).oneOf("status", statuses...).oneOf("priority", priorities...),
		define(tool{name: "set_task_status", title: "Set the status of tasks", effect: changes, permissions: writes,
			description: fmt.Sprintf("Gives up to %d tasks a status, all or none. To undo, set the old status of each again: the answer has them under before.", work.SeveralLimit)},
			func(ctx context.Context, c *call, in struct {
				Tasks  []string `json:"tasks" jsonschema:"ids, or keys and numbers such as WEB-12"`
				Status string   `json:"status" jsonschema:"the new status"`
				repeating
			}) (statusChange, string, error) {
				if err := work.Several(len(in.Tasks)); err != nil {
					return statusChange{}, "", err
				}
				ids := make([]string, len(in.Tasks))
				for i, name := range in.Tasks {
					var err error
					ids[i], err = d.task(ctx, c, access.TasksWrite, name)
					if problem.Is(err, problem.NotFound) {
						err = problem.AbsentAt(fmt.Sprintf("tasks[%d]", i))
					}
					if err != nil {
						return statusChange{}, "", err
					}
				}
				in.bind(c, "set_task_status", ids...)
				changed, err := d.Work.SetTaskStatus(ctx, c.caller, ids, work.Status(in.Status))
				if err != nil {
					return statusChange{}, "", err
				}
				return d.statusChange(ctx, c, changed, in.Status)
			}).oneOf("status", statuses...),
		define(tool{name: "comment_on_task", title: "Comment on a task", effect: adds, permissions: []access.Permission{access.CommentsWrite},
			description: "Writes a comment (Markdown) on a task. To undo, its author deletes it in the pages."},
			func(ctx context.Context, c *call, in struct {
				taskArgument
				Body string `json:"body" jsonschema:"the comment, Markdown"`
				repeating
			}) (commentView, string, error) {
				id, err := d.task(ctx, c, access.CommentsWrite, in.Task)
				if err != nil {
					return commentView{}, "", err
				}
				in.bind(c, "comment_on_task", id)
				made, err := d.Work.CreateComment(ctx, c.caller, id, work.CommentText{Body: optional.Of(in.Body)})
				if err != nil {
					return commentView{}, "", err
				}
				views, err := d.commentViews(ctx, c, []work.Comment{made})
				if err != nil {
					return commentView{}, "", err
				}
				return views[0], "The comment is on the task.", nil
			}),
		define(tool{name: "delete_task", title: "Delete a task", effect: destroys, permissions: []access.Permission{access.TasksDelete},
			description: "Puts a task, with its comments, into the recycle bin, where it can be restored for 30 days. Organizations allow this to agents or not."},
			func(ctx context.Context, c *call, in struct {
				taskArgument
				repeating
			}) (deleted, string, error) {
				id, err := d.task(ctx, c, access.TasksDelete, in.Task)
				if err != nil {
					return deleted{}, "", err
				}
				in.bind(c, "delete_task", id)
				err = d.Work.DeleteTask(ctx, c.caller, id, work.Precondition{})
				return deleted{ID: id, RestorableDays: 30}, "The task " + id + " is in the recycle bin of its project, where it can be restored for 30 days.", err
			}),
	}
}

func (d *Door) projectTools() []*tool {
	statuses, visibilities := wordsOf(work.ProjectStatuses()), work.Visibilities()
	return []*tool{
		define(tool{name: "create_project", title: "Create a project", effect: addsOnce, permissions: []access.Permission{access.ProjectsCreate},
			description: "Makes a project, of which the person whom you act for becomes the lead. Not for agents that are limited to certain projects. To undo, delete it."},
			func(ctx context.Context, c *call, in struct {
				Key  string `json:"key" jsonschema:"2 to 10 of A-Z and 0-9, a letter first; unique in the organization"`
				Name string `json:"name" jsonschema:"1 to 100 characters"`
				projectFields
				repeating
			}) (projectView, string, error) {
				in.bind(c, "create_project")
				fields := in.fields()
				fields.Key, fields.Name = optional.Of(in.Key), optional.Of(in.Name)
				made, err := d.Work.CreateProject(ctx, c.caller, work.NewProject{ProjectFields: fields})
				view := d.projectView(c, made)
				return view, "Made " + view.words(), err
			}).oneOf("status", statuses...).oneOf("visibility", visibilities...),
		define(tool{name: "update_project", title: "Update a project", effect: changes, permissions: []access.Permission{access.ProjectsWrite},
			description: "Changes fields of a project; what is left out stays as it is. To undo, set the old values again: the answer has them under before."},
			func(ctx context.Context, c *call, in struct {
				projectArgument
				Name string `json:"name,omitempty" jsonschema:"1 to 100 characters"`
				projectFields
				repeating
			}) (projectChange, string, error) {
				id, err := d.project(ctx, c, in.Project)
				if err != nil {
					return projectChange{}, "", err
				}
				in.bind(c, "update_project", id)
				fields := in.fields()
				if in.Name != "" {
					fields.Name = optional.Of(in.Name)
				}
				changed, err := d.Work.ReviseProject(ctx, c.caller, id, work.ProjectChange{ProjectFields: fields})
				out := projectChange{Project: d.projectView(c, changed.After), Before: d.projectView(c, changed.Before)}
				return out, "Updated " + out.Project.words(), err
			}).oneOf("status", statuses...).oneOf("visibility", visibilities...),
		define(tool{name: "delete_project", title: "Delete a project", effect: destroys, permissions: []access.Permission{access.ProjectsDelete},
			description: "Puts a project, with all its tasks and comments, into the recycle bin, where it can be restored for 30 days. Organizations allow this to agents or not."},
			func(ctx context.Context, c *call, in struct {
				projectArgument
				repeating
			}) (deleted, string, error) {
				if err := missing("project", in.Project); err != nil {
					return deleted{}, "", err
				}
				id, err := d.Work.ProjectIDToDelete(ctx, c.caller, in.Project)
				if err != nil {
					return deleted{}, "", err
				}
				in.bind(c, "delete_project", id)
				err = d.Work.DeleteProject(ctx, c.caller, id, work.Precondition{})
				return deleted{ID: id, RestorableDays: 30}, "The project " + id + " is in the recycle bin of the organization, where it can be restored for 30 days.", err
			}),
	}
}

// project and task return the ids of what the caller names.
func (d *Door) project(ctx context.Context, c *call, name string) (string, error) {
	if err := missing("project", name); err != nil {
		return "", err
	}
	return d.Work.ProjectID(ctx, c.caller, name)
}

func (d *Door) task(ctx context.Context, c *call, p access.Permission, name string) (string, error) {
	if err := missing("task", name); err != nil {
		return "", err
	}
	return d.Work.TaskID(ctx, c.caller, p, name)
}

func some(word string) []string {
	if word == "" {
		return nil
	}
	return []string{word}
}

func wordsOf[T ~string](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}

// open are the statuses of tasks that are not done.
func open() []string {
	return slices.DeleteFunc(wordsOf(work.Statuses()), func(s string) bool { return s == string(work.Done) })
}
