package work

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/text"
	"carnet/internal/work/rows"
)

// Status says how far a task is.
type Status string

// The statuses of tasks.
const (
	Todo       Status = "todo"
	InProgress Status = "in_progress"
	Review     Status = "review"
	Blocked    Status = "blocked"
	Done       Status = "done"
)

// Statuses returns the statuses of tasks, in the order of a task's life.
func Statuses() []Status { return []Status{Todo, InProgress, Review, Blocked, Done} }

// Priority says how much a task matters.
type Priority string

// The priorities.
const (
	Low      Priority = "low"
	Medium   Priority = "medium"
	High     Priority = "high"
	Critical Priority = "critical"
)

// Priorities returns the priorities, least first. Their places in it are what the store keeps and sorts by.
func Priorities() []Priority { return []Priority{Low, Medium, High, Critical} }

// Task is a task in a project.
type Task struct {
	ID          string     `json:"id"`
	ProjectID   string     `json:"project_id"`
	Number      int64      `json:"number"` // in its project, from 1 on, without gaps
	Title       string     `json:"title"`
	Description string     `json:"description"` // Markdown
	Status      Status     `json:"status"`
	Priority    Priority   `json:"priority"`
	AssigneeID  *string    `json:"assignee_id"`
	DueOn       *string    `json:"due_on"` // YYYY-MM-DD
	CreatedBy   string     `json:"created_by"`
	CreatedVia  string     `json:"created_via"`      // the session or token
	Agent       *string    `json:"created_by_agent"` // the agent that made it for created_by, as it was called then; null: none did
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	Version     int64      `json:"version"`
	DeletedAt   *time.Time `json:"deleted_at,omitempty"` // only in the recycle bin

	resource access.Resource // its project
}

// Resource returns what [access.Decide] asks about a task that was read for a caller: its project. The answer of a
// repeated request has none.
func (t Task) Resource() access.Resource { return t.resource }

const taskColumns = `t.organization_id, t.id, t.project_id, t.number, t.title, t.description, t.status, t.priority,
	t.assignee_id, t.due_on, t.created_by, t.created_via, t.agent_name, t.created_at, t.updated_at, t.version, t.deleted_at,
	p.visibility, COALESCE(g.role, '')`

func scanTask(row page.Row) (Task, error) {
	var t Task
	var priority, created, updated int64
	var deleted sql.NullInt64
	var visibility, given, agent string
	err := row.Scan(&t.resource.Organization, &t.ID, &t.ProjectID, &t.Number, &t.Title, &t.Description, &t.Status, &priority,
		&t.AssigneeID, &t.DueOn, &t.CreatedBy, &t.CreatedVia, &agent, &created, &updated, &t.Version, &deleted, &visibility, &given)
	if err != nil {
		return Task{}, err
	}
	if priority < 0 || priority >= int64(len(Priorities())) {
		return Task{}, fmt.Errorf("task %s has the unknown priority %d", t.ID, priority)
	}
	t.Priority = Priorities()[priority]
	t.Agent = named(agent)
	t.CreatedAt, t.UpdatedAt, t.DeletedAt = db.Time(created), db.Time(updated), db.NullTime(deleted)
	t.resource.Project = t.ProjectID
	t.resource.Visibility, _ = access.ParseVisibility(visibility)
	t.resource.Given, _ = access.ParseProjectRole(given)
	return t, nil
}

// taskSeen returns the task that the caller sees under an id.
func (s *Service) taskSeen(ctx context.Context, q db.Queryer, caller access.Caller, taskID string, of state) (Task, error) {
	if !id.Valid(id.Task, taskID) {
		return Task{}, problem.Absent()
	}
	from := tasksIn(caller.Visible(), of, s.Now())
	from.is("t.id", taskID)
	t, err := scanTask(q.QueryRowContext(ctx, from.query(taskColumns), from.args.Values()...))
	if errors.Is(err, sql.ErrNoRows) {
		return Task{}, problem.Absent()
	}
	if err != nil {
		return Task{}, fmt.Errorf("read task: %w", err)
	}
	return t, nil
}

// taskFor returns the task that the caller sees under an id, when they may exercise p in its project. For what lies in
// the recycle bin a refusal is not_found.
func (s *Service) taskFor(ctx context.Context, q db.Queryer, caller access.Caller, p access.Permission, taskID string, of state) (Task, error) {
	t, err := s.taskSeen(ctx, q, caller, taskID, of)
	if err != nil {
		return Task{}, err
	}
	if err := problem.Require(&caller, p, t.resource); err != nil {
		if t.DeletedAt != nil {
			return Task{}, problem.Absent()
		}
		return Task{}, err
	}
	return t, nil
}

// Task returns a task. It needs tasks:read; what the caller does not see is not_found.
func (s *Service) Task(ctx context.Context, caller access.Caller, taskID string) (Task, error) {
	if err := problem.RequireMay(&caller, access.TasksRead); err != nil {
		return Task{}, err
	}
	return s.taskFor(ctx, s.DB.Read(), caller, access.TasksRead, taskID, present)
}

// TaskFields are what can be said about a task.
type TaskFields struct {
	Title       optional.Value[string] `json:"title,omitzero"`
	Description optional.Value[string] `json:"description,omitzero"`
	Status      optional.Value[string] `json:"status,omitzero"`
	Priority    optional.Value[string] `json:"priority,omitzero"`
	AssigneeID  optional.Value[string] `json:"assignee_id,omitzero"` // null: nobody
	DueOn       optional.Value[string] `json:"due_on,omitzero"`      // null: never
	ByName      bool                   `json:"-"`                    // AssigneeID is what people call the assignee
}

// apply writes the fields that were sent into t. Whether the assignee will do is asked of the store, by [Service.fill].
func (f TaskFields) apply(c *checker, t *Task) {
	c.line("body.title", f.Title, &t.Title, TitleLimit)
	c.block("body.description", f.Description, &t.Description, DescriptionLimit)
	word(c, "body.status", f.Status, &t.Status, Statuses())
	word(c, "body.priority", f.Priority, &t.Priority, Priorities())
	if f.DueOn.Set && !f.DueOn.Null {
		c.date("body.due_on", f.DueOn.V)
	}
	if f.DueOn.Set {
		t.DueOn = pointer(f.DueOn)
	}
	if f.AssigneeID.Set {
		t.AssigneeID = pointer(f.AssigneeID)
	}
}

func pointer(v optional.Value[string]) *string {
	if v.Null {
		return nil
	}
	return &v.V
}

// fill writes what was sent into t and refuses what does not hold. who finds the assignee, where they are said by name.
func (s *Service) fill(ctx context.Context, tx *sql.Tx, who *people, t *Task, f TaskFields, c *checker) error {
	before := t.AssigneeID
	if f.ByName && f.AssigneeID.Set && !f.AssigneeID.Null {
		found, wrong, err := who.id(ctx, "body.assignee_id", f.AssigneeID.V)
		if err != nil {
			return err
		}
		if f.AssigneeID = optional.Of(found); wrong != nil {
			c.add(wrong.Location, wrong.Message)
			f.AssigneeID = optional.Value[string]{}
		}
	}
	f.apply(c, t)
	if t.AssigneeID != nil && (before == nil || *before != *t.AssigneeID) {
		able, err := s.sees(ctx, tx, *t.AssigneeID, t.resource)
		if err != nil {
			return err
		}
		if !able {
			// Who is no member, who does not see the project and who does not exist are one answer.
			c.add("body.assignee_id", "must be the id (usr_…) of a member who sees the project")
		}
	}
	return c.err()
}

// sees reports whether a user sees the project that r stands for.
func (s *Service) sees(ctx context.Context, tx *sql.Tx, userID string, r access.Resource) (bool, error) {
	standing, found, err := s.standing(ctx, tx, r, userID)
	if err != nil || !found {
		return false, err
	}
	role, _ := access.ParseRole(standing.Role)
	given, _ := access.ParseProjectRole(standing.Given)
	return access.EffectiveProjectRole(role, r.Visibility, given) != access.NoProjectRole, nil
}

// NewTask is a task to be created. The title is required; it is todo and of medium priority unless it says otherwise.
type NewTask struct {
	TaskFields
	Invalid error `json:"-"` // what the door could not read
}

// CreateTask makes a task in a project and gives it the project's next number. It needs tasks:write, which contributors
// have.
func (s *Service) CreateTask(ctx context.Context, caller access.Caller, projectID string, in NewTask) (Task, error) {
	if err := problem.RequireMay(&caller, access.TasksWrite); err != nil {
		return Task{}, err
	}
	return do(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Project, error) {
			return s.projectFor(ctx, tx, caller, access.TasksWrite, projectID, present)
		},
		func(ctx context.Context, tx *sql.Tx, p Project) (Task, error) {
			t, err := s.drafted(ctx, tx, s.people(tx, caller), p, in)
			if err != nil {
				return Task{}, err
			}
			return s.insertTask(ctx, tx, caller, t)
		})
}

func (s *Service) insertTask(ctx context.Context, tx *sql.Tx, caller access.Caller, t Task) (Task, error) {
	q := rows.New(tx)
	var err error
	t.Number, err = q.NextNumber(ctx, rows.NextNumberParams{OrganizationID: caller.Organization, ProjectID: t.ProjectID})
	if err != nil {
		return Task{}, fmt.Errorf("number a task: %w", err)
	}
	err = q.InsertTask(ctx, rows.InsertTaskParams{
		OrganizationID: caller.Organization, ID: t.ID, ProjectID: t.ProjectID, Number: t.Number,
		Title: t.Title, TitleKey: text.Fold(t.Title), Description: t.Description, SearchText: searchText(t),
		Status: string(t.Status), Priority: t.rank(), AssigneeID: nullText(t.AssigneeID), DueOn: nullText(t.DueOn),
		CreatedBy: t.CreatedBy, CreatedVia: t.CreatedVia, AgentName: deref(t.Agent), CreatedAt: db.Micros(t.CreatedAt),
	})
	if err != nil {
		return Task{}, fmt.Errorf("create task: %w", err)
	}
	return t, s.record(ctx, tx, caller, "task.created", t.ProjectID, t.ID, nil)
}

// searchText is what searching looks through.
func searchText(t Task) string { return text.Fold(t.Title + "\n" + t.Description) }

func (t Task) rank() int64 { return int64(slices.Index(Priorities(), t.Priority)) }

func nullText(v *string) sql.NullString {
	if v == nil {
		return sql.NullString{}
	}
	return sql.NullString{String: *v, Valid: true}
}

// TaskChange changes a task. What is not sent stays as it is. A task stays in its project.
type TaskChange struct {
	TaskFields
	Precondition `json:"-"`
}

// Changed is a thing as it was and as it is.
type Changed[T any] struct {
	Before T `json:"before"`
	After  T `json:"after"`
}

// UpdateTask changes a task. It needs tasks:write, which contributors have. A change that changes nothing leaves the
// version alone.
func (s *Service) UpdateTask(ctx context.Context, caller access.Caller, taskID string, in TaskChange) (Task, error) {
	changed, err := s.ReviseTask(ctx, caller, taskID, in)
	return changed.After, err
}

// ReviseTask is [Service.UpdateTask], and tells what there was before.
func (s *Service) ReviseTask(ctx context.Context, caller access.Caller, taskID string, in TaskChange) (Changed[Task], error) {
	var none Changed[Task]
	if err := problem.RequireMay(&caller, access.TasksWrite); err != nil {
		return none, err
	}
	return do(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Task, error) {
			if err := s.DB.Hold(ctx, tx, taskID); err != nil {
				return Task{}, err
			}
			return s.taskFor(ctx, tx, caller, access.TasksWrite, taskID, present)
		},
		func(ctx context.Context, tx *sql.Tx, before Task) (Changed[Task], error) {
			if in.Invalid != nil {
				return none, in.Invalid
			}
			after := before
			var c checker
			if err := s.fill(ctx, tx, s.people(tx, caller), &after, in.TaskFields, &c); err != nil {
				return none, err
			}
			if err := in.check(before.Version); err != nil {
				return none, err
			}
			after, err := s.changeTask(ctx, tx, caller, before, after)
			return Changed[Task]{before, after}, err
		})
}

func (s *Service) changeTask(ctx context.Context, tx *sql.Tx, caller access.Caller, before, after Task) (Task, error) {
	changed := changes{}
	changed.note("title", before.Title != after.Title)
	changed.note("description", before.Description != after.Description)
	changed.note("status", before.Status != after.Status)
	changed.note("priority", before.Priority != after.Priority)
	changed.note("assignee_id", nullText(before.AssigneeID) != nullText(after.AssigneeID))
	changed.note("due_on", nullText(before.DueOn) != nullText(after.DueOn))
	if len(changed) == 0 {
		return before, nil
	}
	now := db.Micros(s.Now())
	n, err := rows.New(tx).SetTask(ctx, rows.SetTaskParams{
		Title: after.Title, TitleKey: text.Fold(after.Title), Description: after.Description, SearchText: searchText(after),
		Status: string(after.Status), Priority: after.rank(), AssigneeID: nullText(after.AssigneeID), DueOn: nullText(after.DueOn),
		UpdatedAt: now, OrganizationID: caller.Organization, ID: after.ID, Seen: before.Version,
	})
	if err := written(n, err, "change task"); err != nil {
		return Task{}, err
	}
	after.UpdatedAt, after.Version = db.Time(now), before.Version+1
	return after, s.record(ctx, tx, caller, "task.updated", after.ProjectID, after.ID, map[string]any{"fields": changed})
}

// DeleteTask puts a task, with its comments, into the recycle bin for [Retention]. It needs tasks:delete, which
// contributors have.
func (s *Service) DeleteTask(ctx context.Context, caller access.Caller, taskID string, in Precondition) error {
	if err := problem.RequireMay(&caller, access.TasksDelete); err != nil {
		return err
	}
	_, err := doUnless(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Task, error) {
			if err := s.DB.Hold(ctx, tx, taskID); err != nil {
				return Task{}, err
			}
			// A deleted one, too: see doUnless.
			return s.taskFor(ctx, tx, caller, access.TasksDelete, taskID, either)
		},
		func(t Task) bool { return t.DeletedAt != nil },
		func(ctx context.Context, tx *sql.Tx, t Task) (nothing, error) {
			if err := in.check(t.Version); err != nil {
				return nothing{}, err
			}
			now := db.Micros(s.Now())
			if err := s.setTaskDeleted(ctx, tx, t, sql.NullInt64{Int64: now, Valid: true}, now); err != nil {
				return nothing{}, err
			}
			return nothing{}, s.record(ctx, tx, caller, "task.deleted", t.ProjectID, t.ID, nil)
		})
	return err
}

// RestoreTask takes a task out of the recycle bin, as it was, and returns it. It needs tasks:write, which contributors
// have. One that is not deleted stays as it is; one whose project is deleted is not_found.
func (s *Service) RestoreTask(ctx context.Context, caller access.Caller, taskID string) (Task, error) {
	if err := problem.RequireMay(&caller, access.TasksWrite); err != nil {
		return Task{}, err
	}
	return do(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Task, error) {
			if err := s.DB.Hold(ctx, tx, taskID); err != nil {
				return Task{}, err
			}
			t, err := s.taskSeen(ctx, tx, caller, taskID, either)
			if err != nil {
				return Task{}, err
			}
			return t, problem.Require(&caller, access.TasksWrite, t.resource)
		},
		func(ctx context.Context, tx *sql.Tx, t Task) (Task, error) {
			if t.DeletedAt == nil {
				return t, nil
			}
			now := db.Micros(s.Now())
			if err := s.setTaskDeleted(ctx, tx, t, sql.NullInt64{}, now); err != nil {
				return Task{}, err
			}
			t.DeletedAt, t.UpdatedAt, t.Version = nil, db.Time(now), t.Version+1
			return t, s.record(ctx, tx, caller, "task.restored", t.ProjectID, t.ID, nil)
		})
}

func (s *Service) setTaskDeleted(ctx context.Context, tx *sql.Tx, t Task, at sql.NullInt64, now int64) error {
	n, err := rows.New(tx).SetTaskDeleted(ctx, rows.SetTaskDeletedParams{
		DeletedAt: at, UpdatedAt: now, OrganizationID: t.resource.Organization, ID: t.ID, Seen: t.Version,
	})
	return written(n, err, "delete or restore task")
}
