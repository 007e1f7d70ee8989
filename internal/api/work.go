package api

import (
	"net/http"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/work"
)

// The bodies below describe what the features' own inputs read: same names, same meaning.

type projectDraft struct {
	Key         string `json:"key" doc:"2 to 10 of A-Z and 0-9, a letter first; unique in the organization."`
	Name        string `json:"name" doc:"1 to 100 characters."`
	Description string `json:"description,omitempty" doc:"Markdown, at most 20,000 characters."`
	Status      string `json:"status,omitempty" enum:"planning,active,on_hold,completed,cancelled"`
	Visibility  string `json:"visibility,omitempty" enum:"organization,private" doc:"organization when absent."`
}

type projectChange struct {
	Key         optional.Value[string] `json:"key,omitzero" required:"false"`
	Name        optional.Value[string] `json:"name,omitzero" required:"false"`
	Description optional.Value[string] `json:"description,omitzero" required:"false"`
	Status      optional.Value[string] `json:"status,omitzero" required:"false" enum:"planning,active,on_hold,completed,cancelled"`
	Visibility  optional.Value[string] `json:"visibility,omitzero" required:"false" enum:"organization,private"`
}

type taskDraft struct {
	Title       string                 `json:"title" doc:"1 to 200 characters."`
	Description string                 `json:"description,omitempty" doc:"Markdown, at most 20,000 characters."`
	Status      string                 `json:"status,omitempty" enum:"todo,in_progress,review,blocked,done"`
	Priority    string                 `json:"priority,omitempty" enum:"low,medium,high,critical"`
	AssigneeID  optional.Value[string] `json:"assignee_id,omitzero" required:"false" nullable:"true"`
	DueOn       optional.Value[string] `json:"due_on,omitzero" required:"false" nullable:"true" doc:"YYYY-MM-DD."`
}

type taskChange struct {
	Title       optional.Value[string] `json:"title,omitzero" required:"false"`
	Description optional.Value[string] `json:"description,omitzero" required:"false"`
	Status      optional.Value[string] `json:"status,omitzero" required:"false" enum:"todo,in_progress,review,blocked,done"`
	Priority    optional.Value[string] `json:"priority,omitzero" required:"false" enum:"low,medium,high,critical"`
	AssigneeID  optional.Value[string] `json:"assignee_id,omitzero" required:"false" nullable:"true" doc:"null: nobody."`
	DueOn       optional.Value[string] `json:"due_on,omitzero" required:"false" nullable:"true" doc:"YYYY-MM-DD; null: never."`
}

type commentText struct {
	Body string `json:"body" doc:"Markdown, 1 to 20,000 characters."`
}

type projectRole struct {
	Role string `json:"role" enum:"lead,contributor,viewer"`
}

var deletedParameter = parameter{name: "deleted", description: "true: what is in the recycle bin instead.", sample: false}

// taskFilters are the filters of task lists and counts.
var taskFilters = []parameter{
	{name: "status", repeated: true, sample: "", enum: []string{"todo", "in_progress", "review", "blocked", "done"}},
	{name: "assignee", description: "User ids, or me.", repeated: true, sample: ""},
	{name: "due_before", description: "YYYY-MM-DD, that day included.", sample: ""},
	{name: "due_after", description: "YYYY-MM-DD, that day included.", sample: ""},
	{name: "updated_since", description: "An RFC 3339 time.", sample: ""},
	{name: "q", description: "Words that title or description must all contain, whatever their case.", sample: ""},
	deletedParameter,
}

var projectFilter = parameter{name: "project", description: "Only these projects (ids).", repeated: true, sample: ""}

func (c *call) taskFilter() work.TaskFilter {
	return work.TaskFilter{
		Projects: c.query("project"), Statuses: c.query("status"), Assignees: c.query("assignee"),
		DueBefore: c.one("due_before"), DueAfter: c.one("due_after"), UpdatedSince: c.moment("updated_since"), Q: c.one("q"), Deleted: c.flag("deleted"),
	}
}

func (a *API) workOperations() []*operation {
	return []*operation{
		{
			method: http.MethodGet, path: "/projects", id: "listProjects", tag: "Work", summary: "Projects that you see",
			audience: worker, permission: access.ProjectsRead, status: http.StatusOK, answer: list[work.Project]{}, listed: true,
			query: []parameter{
				{name: "status", repeated: true, sample: "", enum: []string{"planning", "active", "on_hold", "completed", "cancelled"}},
				{name: "visibility", repeated: true, sample: "", enum: []string{"organization", "private"}},
				deletedParameter,
			},
			serve: func(c *call) error {
				q := work.ProjectQuery{Request: c.page(), Status: c.query("status"), Visibility: c.query("visibility"), Deleted: c.flag("deleted")}
				q.Invalid = c.invalid()
				listed, err := a.Work.ListProjects(c.ctx, c.caller, q)
				return replyPage(c, listed, err)
			},
		},
		{
			method: http.MethodPost, path: "/projects", id: "createProject", tag: "Work", summary: "Create a project and become its lead",
			audience: worker, permission: access.ProjectsCreate, body: projectDraft{}, status: http.StatusCreated, answer: work.Project{}, idempotent: true, tagged: true,
			serve: func(c *call) error {
				var in work.NewProject
				in.Invalid = c.body(&in.ProjectFields)
				p, err := a.Work.CreateProject(c.ctx, c.caller, in)
				return replyVersion(c, p.Version, p, err)
			},
		},
		{
			method: http.MethodGet, path: "/projects/{id}", id: "getProject", tag: "Work", summary: "One project",
			audience: worker, permission: access.ProjectsRead, status: http.StatusOK, answer: work.Project{}, tagged: true,
			serve: func(c *call) error {
				p, err := a.Work.Project(c.ctx, c.caller, c.id("id"))
				return replyVersion(c, p.Version, p, err)
			},
		},
		{
			method: http.MethodPatch, path: "/projects/{id}", id: "changeProject", tag: "Work", summary: "Change a project",
			audience: worker, permission: access.ProjectsWrite, body: projectChange{}, status: http.StatusOK, answer: work.Project{}, idempotent: true, conditional: true, tagged: true,
			serve: func(c *call) error {
				in := work.ProjectChange{Precondition: work.Precondition{IfMatch: c.ifMatch()}}
				in.Invalid = c.body(&in.ProjectFields)
				p, err := a.Work.UpdateProject(c.ctx, c.caller, c.id("id"), in)
				return replyVersion(c, p.Version, p, err)
			},
		},
		{
			method: http.MethodDelete, path: "/projects/{id}", id: "deleteProject", tag: "Work", summary: "Put a project into the recycle bin, for 30 days",
			audience: worker, permission: access.ProjectsDelete, status: http.StatusNoContent, idempotent: true, conditional: true,
			serve: func(c *call) error {
				return replyDone(c, a.Work.DeleteProject(c.ctx, c.caller, c.id("id"), work.Precondition{IfMatch: c.ifMatch()}))
			},
		},
		{
			method: http.MethodPost, path: "/projects/{id}/restore", id: "restoreProject", tag: "Work", summary: "Take a project out of the recycle bin",
			audience: worker, permission: access.ProjectsWrite, status: http.StatusOK, answer: work.Project{}, idempotent: true, tagged: true,
			serve: func(c *call) error {
				p, err := a.Work.RestoreProject(c.ctx, c.caller, c.id("id"))
				return replyVersion(c, p.Version, p, err)
			},
		},
		{
			method: http.MethodGet, path: "/projects/{id}/members", id: "listProjectMembers", tag: "Work", summary: "Who belongs to a project",
			audience: worker, permission: access.ProjectsShare, status: http.StatusOK, answer: list[work.Member]{}, listed: true,
			serve: func(c *call) error {
				q := work.MemberQuery{Request: c.page()}
				q.Invalid = c.invalid()
				listed, err := a.Work.ProjectMembers(c.ctx, c.caller, c.id("id"), q)
				return replyPage(c, listed, err)
			},
		},
		{
			method: http.MethodPut, path: "/projects/{id}/members/{user_id}", id: "putProjectMember", tag: "Work", summary: "Share a project, or change a role in it",
			audience: worker, permission: access.ProjectsShare, body: projectRole{}, status: http.StatusOK, answer: work.Member{}, idempotent: true,
			serve: func(c *call) error {
				var in work.NewMember
				in.Invalid = c.body(&in)
				m, err := a.Work.PutProjectMember(c.ctx, c.caller, c.id("id"), c.id("user_id"), in)
				return replyOne(c, m, err)
			},
		},
		{
			method: http.MethodDelete, path: "/projects/{id}/members/{user_id}", id: "removeProjectMember", tag: "Work", summary: "Unshare a project",
			audience: worker, permission: access.ProjectsShare, status: http.StatusNoContent, idempotent: true,
			serve: func(c *call) error {
				return replyDone(c, a.Work.RemoveProjectMember(c.ctx, c.caller, c.id("id"), c.id("user_id")))
			},
		},
		{
			method: http.MethodGet, path: "/projects/{id}/tasks", id: "listProjectTasks", tag: "Work", summary: "Tasks of a project",
			audience: worker, permission: access.TasksRead, status: http.StatusOK, answer: list[work.Task]{}, listed: true, query: taskFilters,
			serve: func(c *call) error {
				q := work.TaskQuery{Request: c.page(), TaskFilter: c.taskFilter()}
				q.Project, q.Projects, q.Invalid = c.id("id"), nil, c.invalid()
				listed, err := a.Work.ListTasks(c.ctx, c.caller, q)
				return replyPage(c, listed, err)
			},
		},
		{
			method: http.MethodPost, path: "/projects/{id}/tasks", id: "createTask", tag: "Work", summary: "Create a task",
			audience: worker, permission: access.TasksWrite, body: taskDraft{}, status: http.StatusCreated, answer: work.Task{}, idempotent: true, tagged: true,
			serve: func(c *call) error {
				var in work.NewTask
				in.Invalid = c.body(&in.TaskFields)
				t, err := a.Work.CreateTask(c.ctx, c.caller, c.id("id"), in)
				return replyVersion(c, t.Version, t, err)
			},
		},
		{
			method: http.MethodGet, path: "/tasks", id: "listTasks", tag: "Work", summary: "Tasks of all the projects that you see",
			audience: worker, permission: access.TasksRead, status: http.StatusOK, answer: list[work.Task]{}, listed: true, query: append([]parameter{projectFilter}, taskFilters...),
			serve: func(c *call) error {
				q := work.TaskQuery{Request: c.page(), TaskFilter: c.taskFilter()}
				q.Invalid = c.invalid()
				listed, err := a.Work.ListTasks(c.ctx, c.caller, q)
				return replyPage(c, listed, err)
			},
		},
		{
			method: http.MethodGet, path: "/tasks/counts", id: "countTasks", tag: "Work", summary: "How many tasks there are, by status and project",
			audience: worker, permission: access.TasksRead, status: http.StatusOK, answer: work.TaskCounts{}, query: append([]parameter{projectFilter}, taskFilters...),
			serve: func(c *call) error {
				f := c.taskFilter()
				f.Invalid = c.invalid()
				counts, err := a.Work.CountTasks(c.ctx, c.caller, f)
				return replyOne(c, counts, err)
			},
		},
		{
			method: http.MethodGet, path: "/tasks/{id}", id: "getTask", tag: "Work", summary: "One task",
			audience: worker, permission: access.TasksRead, status: http.StatusOK, answer: work.Task{}, tagged: true,
			serve: func(c *call) error {
				t, err := a.Work.Task(c.ctx, c.caller, c.id("id"))
				return replyVersion(c, t.Version, t, err)
			},
		},
		{
			method: http.MethodPatch, path: "/tasks/{id}", id: "changeTask", tag: "Work", summary: "Change a task",
			audience: worker, permission: access.TasksWrite, body: taskChange{}, status: http.StatusOK, answer: work.Task{}, idempotent: true, conditional: true, tagged: true,
			serve: func(c *call) error {
				in := work.TaskChange{Precondition: work.Precondition{IfMatch: c.ifMatch()}}
				in.Invalid = c.body(&in.TaskFields)
				t, err := a.Work.UpdateTask(c.ctx, c.caller, c.id("id"), in)
				return replyVersion(c, t.Version, t, err)
			},
		},
		{
			method: http.MethodDelete, path: "/tasks/{id}", id: "deleteTask", tag: "Work", summary: "Put a task into the recycle bin, for 30 days",
			audience: worker, permission: access.TasksDelete, status: http.StatusNoContent, idempotent: true, conditional: true,
			serve: func(c *call) error {
				return replyDone(c, a.Work.DeleteTask(c.ctx, c.caller, c.id("id"), work.Precondition{IfMatch: c.ifMatch()}))
			},
		},
		{
			method: http.MethodPost, path: "/tasks/{id}/restore", id: "restoreTask", tag: "Work", summary: "Take a task out of the recycle bin",
			audience: worker, permission: access.TasksWrite, status: http.StatusOK, answer: work.Task{}, idempotent: true, tagged: true,
			serve: func(c *call) error {
				t, err := a.Work.RestoreTask(c.ctx, c.caller, c.id("id"))
				return replyVersion(c, t.Version, t, err)
			},
		},
		{
			method: http.MethodGet, path: "/members", id: "listMembers", tag: "Work", summary: "Members of the organization",
			description: "A guest and a project-scoped token see only the members of their projects.",
			audience:    worker, permission: access.MembersRead, status: http.StatusOK, answer: list[work.Member]{}, listed: true,
			serve: func(c *call) error {
				q := work.MemberQuery{Request: c.page()}
				q.Invalid = c.invalid()
				listed, err := a.Work.Members(c.ctx, c.caller, q)
				return replyPage(c, listed, err)
			},
		},
	}
}

func (a *API) commentOperations() []*operation {
	return []*operation{
		{
			method: http.MethodGet, path: "/tasks/{id}/comments", id: "listComments", tag: "Work", summary: "Comments on a task",
			audience: worker, permission: access.CommentsRead, status: http.StatusOK, answer: list[work.Comment]{}, listed: true,
			serve: func(c *call) error {
				q := work.CommentQuery{Request: c.page()}
				q.Invalid = c.invalid()
				listed, err := a.Work.ListComments(c.ctx, c.caller, c.id("id"), q)
				return replyPage(c, listed, err)
			},
		},
		{
			method: http.MethodPost, path: "/tasks/{id}/comments", id: "createComment", tag: "Work", summary: "Comment on a task",
			audience: worker, permission: access.CommentsWrite, body: commentText{}, status: http.StatusCreated, answer: work.Comment{}, idempotent: true,
			serve: func(c *call) error {
				var in work.CommentText
				in.Invalid = c.body(&in)
				comment, err := a.Work.CreateComment(c.ctx, c.caller, c.id("id"), in)
				return replyOne(c, comment, err)
			},
		},
		{
			method: http.MethodPatch, path: "/comments/{id}", id: "changeComment", tag: "Work", summary: "Edit your comment",
			audience: worker, permission: access.CommentsWrite, body: commentText{}, status: http.StatusOK, answer: work.Comment{}, idempotent: true,
			serve: func(c *call) error {
				var in work.CommentText
				in.Invalid = c.body(&in)
				comment, err := a.Work.UpdateComment(c.ctx, c.caller, c.id("id"), in)
				return replyOne(c, comment, err)
			},
		},
		{
			method: http.MethodDelete, path: "/comments/{id}", id: "deleteComment", tag: "Work", summary: "Delete your comment, or as a lead anybody's",
			audience: worker, permission: access.CommentsWrite, status: http.StatusNoContent, idempotent: true,
			serve: func(c *call) error {
				return replyDone(c, a.Work.DeleteComment(c.ctx, c.caller, c.id("id")))
			},
		},
	}
}

// replyVersion sends something that carries a version.
func replyVersion[T any](c *call, version int64, value T, err error) error {
	if err == nil {
		c.etag(version)
	}
	return replyOne(c, value, err)
}
