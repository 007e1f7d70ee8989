package web

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/work"
)

func (d *Door) taskRoutes() map[string]handler {
	const all = "/organizations/{slug}/projects/{project}/tasks"
	const one = all + "/{task}"
	return map[string]handler{
		"GET " + all + "/new":                        d.askTask,
		"POST " + all + "/new":                       d.createTask,
		"GET " + one:                                 d.showTask,
		"GET " + one + "/edit":                       d.askEditTask,
		"POST " + one + "/edit":                      d.editTask,
		"GET " + one + "/delete":                     d.askDeleteTask,
		"POST " + one + "/delete":                    d.deleteTask,
		"POST " + one + "/restore":                   d.restoreTask,
		"POST " + one + "/comments":                  d.addComment,
		"GET " + one + "/comments/{comment}/edit":    d.askEditComment,
		"POST " + one + "/comments/{comment}/edit":   d.editComment,
		"GET " + one + "/comments/{comment}/delete":  d.askDeleteComment,
		"POST " + one + "/comments/{comment}/delete": d.deleteComment,
	}
}

// taskSorts are the orders that people want.
var taskSorts = []option{
	{Value: "-created_at", Label: "Newest first"}, {Value: "-updated_at", Label: "Changed last"}, {Value: "due_on", Label: "Due first"},
	{Value: "-priority", Label: "Most urgent"}, {Value: "title", Label: "By title"},
}

// showProject is a project with its tasks.
func (d *Door) showProject(v *visit) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	query := v.r.URL.Query()
	asked := work.TaskQuery{Request: page.Request{Cursor: query.Get("cursor"), Sort: query.Get("sort")}}
	asked.Project, asked.Q, asked.Deleted = s.project.ID, query.Get("q"), query.Get("deleted") == "true"
	if status := query.Get("status"); status != "" {
		asked.Statuses = []string{status}
	}
	if assignee := query.Get("assignee"); assignee != "" {
		asked.Assignees = []string{assignee}
	}
	listed, err := d.Work.ListTasks(v.ctx(), s.caller, asked)
	if err != nil {
		return err
	}
	everybody, err := v.people(s.caller)
	if err != nil {
		return err
	}
	p := projectPage{
		Crumbs: s.crumbs(), Base: s.base, Project: projectViewOf(s.project), Deleted: asked.Deleted,
		MayLead: s.held.Has(access.ProjectsShare), MayWrite: s.held.Has(access.TasksWrite),
		Q:         asked.Q,
		Filtered:  asked.Q != "" || asked.Statuses != nil || asked.Assignees != nil,
		Statuses:  picked(append([]option{{Label: "Any"}}, named(work.Statuses())...), query.Get("status")),
		Assignees: everybody.options(query.Get("assignee"), option{Label: "Anybody"}, option{Value: "me", Label: "Me"}),
		Sorts:     picked(taskSorts, query.Get("sort")), Pager: pages(v.r.URL, listed.NextCursor),
		Example: copyable{
			ID: "example", Label: "A task from a script",
			Text: "curl -H \"Authorization: Bearer $CARNET_TOKEN\" -H 'Content-Type: application/json' \\\n  -d '{\"title\": \"Written by a script\"}' \\\n  " +
				d.PublicURL + "/api/v1/projects/" + s.project.ID + "/tasks",
		},
	}
	p.Any = len(listed.Items) > 0 || p.Filtered || asked.Cursor != "" || p.Deleted
	if p.Tasks, err = v.taskViews(s, listed.Items, everybody); err != nil {
		return err
	}
	return v.show(http.StatusOK, "project", s.project.Name, "projects", p)
}

// picked returns the options with one of them chosen, the first when none is named.
func picked(list []option, chosen string) []option {
	copied := append([]option(nil), list...)
	for i := range copied {
		copied[i].Chosen = copied[i].Value == chosen
	}
	return copied
}

func (v *visit) taskViews(s site, list []work.Task, everybody people) ([]taskView, error) {
	made := v.credentials(s.caller)
	var views []taskView
	for _, t := range list {
		view, err := v.taskView(s, t, everybody, made)
		if err != nil {
			return nil, err
		}
		views = append(views, view)
	}
	return views, nil
}

func (v *visit) taskView(s site, t work.Task, everybody people, made credentials) (taskView, error) {
	view := taskView{
		ID: t.ID, Ref: s.project.Key + "-" + strconv.FormatInt(t.Number, 10), Title: t.Title, Description: t.Description,
		Status: string(t.Status), Priority: string(t.Priority), Creator: everybody.name(t.CreatedBy), CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
	if t.AssigneeID != nil {
		view.Assignee = everybody.name(*t.AssigneeID)
	}
	if t.DueOn != nil {
		if day, err := time.Parse(time.DateOnly, *t.DueOn); err == nil {
			view.Due = calendarDay(day)
			view.Overdue = t.Status != work.Done && *t.DueOn < v.d.Now().UTC().Format(time.DateOnly)
		}
	}
	var err error
	view.Via, err = made.via(t.CreatedVia, t.Agent)
	return view, err
}

// errand is a page of one task.
type errand struct {
	site
	task work.Task
	base string // the task's own address
}

// errand reads the task that the path names, which must lie in the project that it names.
func (v *visit) errand() (errand, error) {
	s, err := v.site()
	if err != nil {
		return errand{}, err
	}
	t, err := v.d.Work.Task(v.ctx(), s.caller, v.r.PathValue("task"))
	if err != nil {
		return errand{}, err
	}
	if t.ProjectID != s.project.ID {
		return errand{}, problem.Absent()
	}
	return errand{site: s, task: t, base: s.base + "/tasks/" + t.ID}, nil
}

// steps are the way to the task, and from there on.
func (e errand) steps(further ...crumb) []crumb {
	here := crumb{e.project.Key + "-" + strconv.FormatInt(e.task.Number, 10), e.base}
	if len(further) == 0 {
		here.Href = ""
	}
	return e.crumbs(append([]crumb{here}, further...)...)
}

// showTask is a task with its comments.
func (d *Door) showTask(v *visit) error { return v.taskPage(newForm(nil), http.StatusOK) }

func (v *visit) taskPage(f form, status int) error {
	e, err := v.errand()
	if err != nil {
		return err
	}
	everybody, err := v.people(e.caller)
	if err != nil {
		return err
	}
	made := v.credentials(e.caller)
	p := taskPage{
		Crumbs: e.steps(), Base: e.site.base, Project: projectViewOf(e.project), Form: f,
		MayWrite: e.held.Has(access.TasksWrite), MayComment: e.held.Has(access.CommentsWrite),
	}
	if p.Task, err = v.taskView(e.site, e.task, everybody, made); err != nil {
		return err
	}
	listed, err := v.d.Work.ListComments(v.ctx(), e.caller, e.task.ID, work.CommentQuery{Request: page.Request{Cursor: v.r.URL.Query().Get("cursor"), Limit: page.MaxLimit}})
	if err != nil {
		return err
	}
	for _, c := range listed.Items {
		view := commentView{
			ID: c.ID, Author: everybody.name(c.AuthorID), Body: c.Body, CreatedAt: c.CreatedAt, Edited: c.UpdatedAt.After(c.CreatedAt),
			MayEdit:   c.AuthorID == v.caller.UserID && p.MayComment,
			MayDelete: c.AuthorID == v.caller.UserID && p.MayComment || e.held.Has(access.CommentsModerate),
		}
		if view.Via, err = made.via(c.CreatedVia, c.Agent); err != nil {
			return err
		}
		p.Comments = append(p.Comments, view)
	}
	p.Pager = pages(v.r.URL, listed.NextCursor)
	return v.show(status, "task", e.task.Title, "projects", p)
}

func (v *visit) taskForm(s site, f form) (workForm, error) {
	everybody, err := v.people(s.caller)
	if err != nil {
		return workForm{}, err
	}
	return workForm{
		Form: f, Statuses: named(work.Statuses()), Priorities: named(work.Priorities()),
		Assignees: everybody.options(f.Value("assignee_id"), option{Label: "Nobody"}),
	}, nil
}

func (d *Door) askTask(v *visit) error {
	return v.newTaskForm(newForm(url.Values{"status": {string(work.Todo)}, "priority": {string(work.Medium)}}), http.StatusOK)
}

func (v *visit) newTaskForm(f form, status int) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	p, err := v.taskForm(s, f)
	if err != nil {
		return err
	}
	p.Crumbs, p.Action, p.Back = s.crumbs(crumb{"New task", ""}), s.base+"/tasks/new", s.base
	return v.show(status, "task-form", "New task", "projects", p)
}

// taskFields reads the form. Nobody and no date are said by leaving the input empty.
func (v *visit) taskFields() work.TaskFields {
	orNull := func(name string) optional.Value[string] {
		if value := v.posted(name); value != "" {
			return optional.Of(value)
		}
		return optional.Null[string]()
	}
	return work.TaskFields{
		Title: optional.Of(v.posted("title")), Description: optional.Of(v.text("description")), Status: optional.Of(v.posted("status")),
		Priority: optional.Of(v.posted("priority")), AssigneeID: orNull("assignee_id"), DueOn: orNull("due_on"),
	}
}

// createTask makes a task.
func (d *Door) createTask(v *visit) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	made, err := d.Work.CreateTask(v.ctx(), s.caller, s.project.ID, work.NewTask{TaskFields: v.taskFields()})
	if err == nil {
		return v.leave(s.base+"/tasks/"+made.ID, "task-created")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.newTaskForm(f, http.StatusUnprocessableEntity)
}

func (d *Door) askEditTask(v *visit) error {
	e, err := v.errand()
	if err == nil {
		err = problem.Require(&e.caller, access.TasksWrite, e.task.Resource())
	}
	if err != nil {
		return err
	}
	t := e.task
	return v.editTaskForm(e, newForm(url.Values{
		"title": {t.Title}, "description": {t.Description}, "status": {string(t.Status)}, "priority": {string(t.Priority)},
		"assignee_id": {deref(t.AssigneeID)}, "due_on": {deref(t.DueOn)}, "version": {strconv.FormatInt(t.Version, 10)},
	}), http.StatusOK)
}

func (v *visit) editTaskForm(e errand, f form, status int) error {
	p, err := v.taskForm(e.site, f)
	if err != nil {
		return err
	}
	p.Crumbs, p.Editing = e.steps(crumb{"Edit", ""}), true
	p.Action, p.Back, p.Delete = e.base+"/edit", e.base, e.base+"/delete"
	return v.show(status, "task-form", "Edit "+e.task.Title, "projects", p)
}

// editTask changes a task.
func (d *Door) editTask(v *visit) error {
	e, err := v.errand()
	if err != nil {
		return err
	}
	_, err = d.Work.UpdateTask(v.ctx(), e.caller, e.task.ID, work.TaskChange{TaskFields: v.taskFields(), Precondition: work.Precondition{IfMatch: v.version()}})
	if err == nil {
		return v.leave(e.base, "task-saved")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	overtaken(&f, err, e.task.Version)
	return v.editTaskForm(e, f, http.StatusUnprocessableEntity)
}

func (d *Door) askDeleteTask(v *visit) error {
	e, err := v.errand()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "confirm", "Delete "+e.task.Title, "projects", confirmPage{
		Crumbs: e.steps(crumb{"Delete", ""}), Form: newForm(nil), Heading: "Delete “" + e.task.Title + "”?",
		Text:   "Its comments go out of sight with it. It stays in the recycle bin for 30 days.",
		Action: e.base + "/delete", Button: "Delete the task", Back: e.base, BackLabel: "Keep it",
	})
}

// deleteTask puts a task into the recycle bin.
func (d *Door) deleteTask(v *visit) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	if err := d.Work.DeleteTask(v.ctx(), s.caller, v.r.PathValue("task"), work.Precondition{}); err != nil {
		return err
	}
	return v.leave(s.base, "task-deleted")
}

// restoreTask takes a task out of the recycle bin.
func (d *Door) restoreTask(v *visit) error {
	s, err := v.site()
	if err != nil {
		return err
	}
	t, err := d.Work.RestoreTask(v.ctx(), s.caller, v.r.PathValue("task"))
	if err != nil {
		return err
	}
	return v.leave(s.base+"/tasks/"+t.ID, "task-restored")
}
