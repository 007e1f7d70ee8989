package work

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/problem"
)

// SeveralLimit is how many tasks one call can create or change.
const SeveralLimit = 50

// CreateTasks makes several tasks in a project, all or none, in their order. It needs tasks:write, which contributors
// have. What is wrong is told for each of them, as body.tasks[0].title.
func (s *Service) CreateTasks(ctx context.Context, caller access.Caller, projectID string, list []NewTask) ([]Task, error) {
	if err := problem.RequireMay(&caller, access.TasksWrite); err != nil {
		return nil, err
	}
	return do(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Project, error) {
			return s.projectFor(ctx, tx, caller, access.TasksWrite, projectID, present)
		},
		func(ctx context.Context, tx *sql.Tx, p Project) ([]Task, error) {
			if err := Several(len(list)); err != nil {
				return nil, err
			}
			if err := s.spend(ctx, tx, caller, len(list)-1); err != nil {
				return nil, err
			}
			var wrong []problem.Field
			made, who := make([]Task, len(list)), s.people(tx, caller)
			for i, in := range list {
				t, err := s.drafted(ctx, tx, who, p, in)
				var refusal *problem.Error
				switch {
				case errors.As(err, &refusal) && refusal.Code == problem.ValidationFailed:
					wrong = append(wrong, placed(refusal.Fields, i)...)
				case err != nil:
					return nil, err
				}
				made[i] = t
			}
			if len(wrong) > 0 {
				return nil, problem.InvalidFields(wrong...)
			}
			for i := range made {
				var err error
				if made[i], err = s.insertTask(ctx, tx, caller, made[i]); err != nil {
					return nil, err
				}
			}
			return made, nil
		})
}

// Several refuses a number of tasks that one call cannot create or change. Doors that look tasks up before they call ask it
// first.
func Several(n int) error {
	if n < 1 || n > SeveralLimit {
		return problem.Invalid("body.tasks", fmt.Sprintf("must be 1 to %d tasks", SeveralLimit))
	}
	return nil
}

// placed says of which of several tasks fields are.
func placed(fields []problem.Field, i int) []problem.Field {
	out := slices.Clone(fields)
	for k := range out {
		out[k].Location = strings.Replace(out[k].Location, "body", fmt.Sprintf("body.tasks[%d]", i), 1)
	}
	return out
}

// SetTaskStatus gives several tasks a status, all or none, and returns them in their order, without repeats. It needs
// tasks:write in each of their projects.
func (s *Service) SetTaskStatus(ctx context.Context, caller access.Caller, taskIDs []string, status Status) ([]Changed[Task], error) {
	if err := problem.RequireMay(&caller, access.TasksWrite); err != nil {
		return nil, err
	}
	ids := distinct(taskIDs)
	return do(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) ([]Task, error) {
			if err := Several(len(ids)); err != nil {
				return nil, err
			}
			if err := s.DB.Hold(ctx, tx, ids...); err != nil {
				return nil, err
			}
			found := make([]Task, len(ids))
			var refusal error // one that is not seen outweighs one that may not be changed
			for i, taskID := range ids {
				var err error
				found[i], err = s.taskFor(ctx, tx, caller, access.TasksWrite, taskID, present)
				switch {
				case problem.Is(err, problem.NotFound):
					return nil, problem.AbsentAt(fmt.Sprintf("body.tasks[%d]", slices.Index(taskIDs, taskID)))
				case problem.Is(err, problem.RoleInsufficient):
					refusal = err
				case err != nil:
					return nil, err
				}
			}
			return found, refusal
		},
		func(ctx context.Context, tx *sql.Tx, found []Task) ([]Changed[Task], error) {
			if !slices.Contains(Statuses(), status) {
				return nil, problem.Invalid("body.status", oneOf(Statuses()))
			}
			if err := s.spend(ctx, tx, caller, len(found)-1); err != nil {
				return nil, err
			}
			changed := make([]Changed[Task], len(found))
			for i, before := range found {
				after := before
				after.Status = status
				after, err := s.changeTask(ctx, tx, caller, before, after)
				if err != nil {
					return nil, err
				}
				changed[i] = Changed[Task]{before, after}
			}
			return changed, nil
		})
}

func distinct(list []string) []string {
	var out []string
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// drafted returns the task that is to be created, checked.
func (s *Service) drafted(ctx context.Context, tx *sql.Tx, who *people, p Project, in NewTask) (Task, error) {
	if in.Invalid != nil {
		return Task{}, in.Invalid
	}
	now := db.Time(db.Micros(s.Now()))
	t := Task{
		ID: id.New(id.Task), ProjectID: p.ID, Status: Todo, Priority: Medium, CreatedBy: who.caller.UserID, CreatedVia: who.caller.CredentialID,
		Agent: agentOf(who.caller), CreatedAt: now, UpdatedAt: now, Version: 1, resource: p.resource,
	}
	var c checker
	c.required("body.title", in.Title)
	return t, s.fill(ctx, tx, who, &t, in.TaskFields, &c)
}
