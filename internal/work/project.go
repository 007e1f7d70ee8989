package work

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/idempotency"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/text"
	"carnet/internal/work/rows"
)

// ProjectStatus says how far a project is.
type ProjectStatus string

// The statuses of projects.
const (
	Planning  ProjectStatus = "planning"
	Active    ProjectStatus = "active"
	OnHold    ProjectStatus = "on_hold"
	Completed ProjectStatus = "completed"
	Cancelled ProjectStatus = "cancelled"
)

// ProjectStatuses returns the statuses of projects, in the order of a project's life.
func ProjectStatuses() []ProjectStatus {
	return []ProjectStatus{Planning, Active, OnHold, Completed, Cancelled}
}

// Visibilities returns the words for who sees a project, the usual one first.
func Visibilities() []string {
	return []string{access.OrganizationVisible.String(), access.Private.String()}
}

// Project is a project.
type Project struct {
	ID          string        `json:"id"`
	Key         string        `json:"key"`
	Name        string        `json:"name"`
	Description string        `json:"description"`
	Status      ProjectStatus `json:"status"`
	Visibility  string        `json:"visibility"`
	CreatedBy   string        `json:"created_by"`
	CreatedAt   time.Time     `json:"created_at"`
	UpdatedAt   time.Time     `json:"updated_at"`
	Version     int64         `json:"version"`
	DeletedAt   *time.Time    `json:"deleted_at,omitempty"` // only in the recycle bin

	resource access.Resource
}

// Resource returns what [access.Decide] asks about a project that was read for a caller. The answer of a repeated
// request has none.
func (p Project) Resource() access.Resource { return p.resource }

const projectColumns = `p.organization_id, p.id, p.key, p.name, p.description, p.status, p.visibility, p.created_by,
	p.created_at, p.updated_at, p.version, p.deleted_at, COALESCE(g.role, '')`

func scanProject(row page.Row) (Project, error) {
	var p Project
	var created, updated int64
	var deleted sql.NullInt64
	var given string
	err := row.Scan(&p.resource.Organization, &p.ID, &p.Key, &p.Name, &p.Description, &p.Status, &p.Visibility, &p.CreatedBy,
		&created, &updated, &p.Version, &deleted, &given)
	if err != nil {
		return Project{}, err
	}
	p.CreatedAt, p.UpdatedAt, p.DeletedAt = db.Time(created), db.Time(updated), db.NullTime(deleted)
	p.resource.Project = p.ID
	p.resource.Visibility, _ = access.ParseVisibility(p.Visibility)
	p.resource.Given, _ = access.ParseProjectRole(given)
	return p, nil
}

// projectSeen returns the project that the caller sees under an id, and not_found when there is none.
func (s *Service) projectSeen(ctx context.Context, q db.Queryer, caller access.Caller, projectID string, of state) (Project, error) {
	if !id.Valid(id.Project, projectID) {
		return Project{}, problem.Absent()
	}
	from := projectsIn(caller.Visible(), of, s.Now())
	from.is("p.id", projectID)
	p, err := scanProject(q.QueryRowContext(ctx, from.query(projectColumns), from.args.Values()...))
	if errors.Is(err, sql.ErrNoRows) {
		return Project{}, problem.Absent()
	}
	if err != nil {
		return Project{}, fmt.Errorf("read project: %w", err)
	}
	return p, nil
}

// projectFor returns the project when the caller may exercise p on it. For what lies in the recycle bin a refusal is
// not_found, as for everybody who asks for it by its id.
func (s *Service) projectFor(ctx context.Context, q db.Queryer, caller access.Caller, p access.Permission, projectID string, of state) (Project, error) {
	project, err := s.projectSeen(ctx, q, caller, projectID, of)
	if err != nil {
		return Project{}, err
	}
	if err := problem.Require(&caller, p, project.resource); err != nil {
		if project.DeletedAt != nil {
			return Project{}, problem.Absent()
		}
		return Project{}, err
	}
	return project, nil
}

// ProjectQuery says which projects to list. Each filter lets through any of its values, and everything when it has none.
type ProjectQuery struct {
	page.Request          // sorts: created_at, updated_at, name, key
	Status       []string // [ProjectStatus]
	Visibility   []string
	Deleted      bool  // the recycle bin instead
	Invalid      error // what the door could not read
}

var projectSorts = page.Sorts{
	"created_at": {Column: "p.created_at"},
	"updated_at": {Column: "p.updated_at"},
	"name":       {Column: "p.name_key"},
	"key":        {Column: "p.key"},
}

// ListProjects lists the projects that the caller sees, newest first unless asked otherwise. It needs projects:read.
func (s *Service) ListProjects(ctx context.Context, caller access.Caller, query ProjectQuery) (page.Page[Project], error) {
	var none page.Page[Project]
	if err := mayList(&caller, access.ProjectsRead); err != nil {
		return none, err
	}
	if query.Invalid != nil {
		return none, query.Invalid
	}
	l, err := s.projectListing(caller, query)
	if err != nil {
		return none, err
	}
	return page.List(ctx, s.DB.Read(), l)
}

func (s *Service) projectListing(caller access.Caller, query ProjectQuery) (l page.Listing[Project], err error) {
	var c checker
	words(&c, "query.status", query.Status, ProjectStatuses())
	words(&c, "query.visibility", query.Visibility, Visibilities())
	if err := c.err(); err != nil {
		return l, err
	}
	from := projectsIn(caller.Visible(), listed(query.Deleted), s.Now())
	from.anyOf("p.status", query.Status)
	from.anyOf("p.visibility", query.Visibility)
	return page.Listing[Project]{
		Cursors: s.Cursors, Request: query.Request, Sorts: projectSorts, Default: "-created_at", ID: "p.id",
		Binding: page.Binding(caller, "projects", page.Filter("status", query.Status...),
			page.Filter("visibility", query.Visibility...), fmt.Sprint(query.Deleted)),
		Select: "SELECT " + projectColumns + from.tables, Where: from.where(), Args: from.args, Scan: scanProject,
	}, nil
}

// mayList refuses what is known before a list is read: the scope, and that the caller acts in no organization. No role
// that sees a project may not read what is in it, so there is nothing more to ask.
func mayList(caller *access.Caller, p access.Permission) error {
	if err := problem.RequireMay(caller, p); err != nil {
		return err
	}
	if caller.Role == access.NoRole || caller.Organization == "" {
		return problem.Absent()
	}
	return nil
}

func listed(deleted bool) state {
	if deleted {
		return binned
	}
	return present
}

// Project returns a project. It needs projects:read; what the caller does not see is not_found.
func (s *Service) Project(ctx context.Context, caller access.Caller, projectID string) (Project, error) {
	if err := problem.RequireMay(&caller, access.ProjectsRead); err != nil {
		return Project{}, err
	}
	return s.projectFor(ctx, s.DB.Read(), caller, access.ProjectsRead, projectID, present)
}

// ProjectFields are what can be said about a project.
type ProjectFields struct {
	Key         optional.Value[string] `json:"key,omitzero"`
	Name        optional.Value[string] `json:"name,omitzero"`
	Description optional.Value[string] `json:"description,omitzero"`
	Status      optional.Value[string] `json:"status,omitzero"`
	Visibility  optional.Value[string] `json:"visibility,omitzero"`
}

// apply writes the fields that were sent into p.
func (f ProjectFields) apply(c *checker, p *Project) {
	c.key("body.key", f.Key, &p.Key)
	c.line("body.name", f.Name, &p.Name, NameLimit)
	c.block("body.description", f.Description, &p.Description, DescriptionLimit)
	word(c, "body.status", f.Status, &p.Status, ProjectStatuses())
	word(c, "body.visibility", f.Visibility, &p.Visibility, Visibilities())
}

// NewProject is a project to be created. Key and name are required; it is active and visible to the organization unless
// it says otherwise.
type NewProject struct {
	ProjectFields
	Invalid error `json:"-"` // what the door could not read
}

// CreateProject makes a project and its creator one of its leads. It needs projects:create, which guests and
// project-scoped tokens do not have (project_restricted). A key that is taken is a conflict.
func (s *Service) CreateProject(ctx context.Context, caller access.Caller, in NewProject) (Project, error) {
	if err := problem.RequireMay(&caller, access.ProjectsCreate); err != nil {
		return Project{}, err
	}
	project, replayed, err := idempotency.Do(ctx, s.Idempotency, caller,
		func(context.Context, *sql.Tx) error {
			return problem.Require(&caller, access.ProjectsCreate, access.Resource{Organization: caller.Organization})
		},
		func(ctx context.Context, tx *sql.Tx) (Project, error) {
			if err := s.spend(ctx, tx, caller, 1); err != nil {
				return Project{}, err
			}
			return s.createProject(ctx, tx, caller, in)
		})
	if err == nil && replayed {
		// The kept answer tells about a project that its creator may no longer see.
		_, err = s.projectSeen(ctx, s.DB.Read(), caller, project.ID, either)
	}
	if err != nil {
		return Project{}, err
	}
	return project, nil
}

func (s *Service) createProject(ctx context.Context, tx *sql.Tx, caller access.Caller, in NewProject) (Project, error) {
	if in.Invalid != nil {
		return Project{}, in.Invalid
	}
	now := db.Micros(s.Now())
	p := Project{
		ID: id.New(id.Project), Status: Active, Visibility: access.OrganizationVisible.String(),
		CreatedBy: caller.UserID, CreatedAt: db.Time(now), UpdatedAt: db.Time(now), Version: 1,
	}
	var c checker
	c.required("body.key", in.Key)
	c.required("body.name", in.Name)
	in.apply(&c, &p)
	if err := c.err(); err != nil {
		return Project{}, err
	}
	q := rows.New(tx)
	made, err := q.InsertProject(ctx, rows.InsertProjectParams{
		OrganizationID: caller.Organization, ID: p.ID, Key: p.Key, Name: p.Name, NameKey: text.Fold(p.Name), Description: p.Description,
		Status: string(p.Status), Visibility: p.Visibility, CreatedBy: p.CreatedBy, CreatedVia: caller.CredentialID, CreatedAt: now,
	})
	if err != nil {
		return Project{}, fmt.Errorf("create project: %w", err)
	}
	if made == 0 {
		return Project{}, keyTaken()
	}
	if err := q.InsertCounter(ctx, rows.InsertCounterParams{OrganizationID: caller.Organization, ProjectID: p.ID}); err != nil {
		return Project{}, fmt.Errorf("create project: %w", err)
	}
	err = q.PutProjectMember(ctx, rows.PutProjectMemberParams{
		OrganizationID: caller.Organization, ProjectID: p.ID, UserID: caller.UserID, Role: access.Lead.String(), CreatedAt: now,
	})
	if err != nil {
		return Project{}, fmt.Errorf("create project: %w", err)
	}
	p.resource = access.Resource{Organization: caller.Organization, Project: p.ID, Given: access.Lead}
	p.resource.Visibility, _ = access.ParseVisibility(p.Visibility)
	return p, s.record(ctx, tx, caller, "project.created", p.ID, p.ID, map[string]any{"key": p.Key, "visibility": p.Visibility})
}

// keyTaken does not say by which project: the caller may not see it.
func keyTaken() error {
	return problem.New(problem.Conflict, "Another project of the organization has this key, perhaps a deleted or a private one. Choose another key.")
}

// ProjectChange changes a project. What is not sent stays as it is.
type ProjectChange struct {
	ProjectFields
	Precondition `json:"-"`
}

// UpdateProject changes a project. It needs projects:write, which leads have. A key that is taken is a conflict. A change
// that changes nothing leaves the version alone.
func (s *Service) UpdateProject(ctx context.Context, caller access.Caller, projectID string, in ProjectChange) (Project, error) {
	changed, err := s.ReviseProject(ctx, caller, projectID, in)
	return changed.After, err
}

// ReviseProject is [Service.UpdateProject], and tells what there was before.
func (s *Service) ReviseProject(ctx context.Context, caller access.Caller, projectID string, in ProjectChange) (Changed[Project], error) {
	var none Changed[Project]
	if err := problem.RequireMay(&caller, access.ProjectsWrite); err != nil {
		return none, err
	}
	return do(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Project, error) {
			if err := s.DB.Hold(ctx, tx, projectID); err != nil {
				return Project{}, err
			}
			return s.projectFor(ctx, tx, caller, access.ProjectsWrite, projectID, present)
		},
		func(ctx context.Context, tx *sql.Tx, before Project) (Changed[Project], error) {
			if in.Invalid != nil {
				return none, in.Invalid
			}
			after := before
			var c checker
			in.apply(&c, &after)
			if err := c.err(); err != nil {
				return none, err
			}
			if err := in.check(before.Version); err != nil {
				return none, err
			}
			after, err := s.changeProject(ctx, tx, caller, before, after)
			return Changed[Project]{before, after}, err
		})
}

func (s *Service) changeProject(ctx context.Context, tx *sql.Tx, caller access.Caller, before, after Project) (Project, error) {
	changed := changes{}
	changed.note("key", before.Key != after.Key)
	changed.note("name", before.Name != after.Name)
	changed.note("description", before.Description != after.Description)
	changed.note("status", before.Status != after.Status)
	changed.note("visibility", before.Visibility != after.Visibility)
	if len(changed) == 0 {
		return before, nil
	}
	q := rows.New(tx)
	taken, err := q.KeyTaken(ctx, rows.KeyTakenParams{OrganizationID: caller.Organization, Key: after.Key, ID: after.ID})
	if err != nil {
		return Project{}, fmt.Errorf("change project: %w", err)
	}
	if taken > 0 {
		return Project{}, keyTaken()
	}
	now := db.Micros(s.Now())
	n, err := q.SetProject(ctx, rows.SetProjectParams{
		Key: after.Key, Name: after.Name, NameKey: text.Fold(after.Name), Description: after.Description, Status: string(after.Status),
		Visibility: after.Visibility, UpdatedAt: now, OrganizationID: caller.Organization, ID: after.ID, Seen: before.Version,
	})
	if err := written(n, err, "change project"); err != nil {
		return Project{}, err
	}
	after.UpdatedAt, after.Version = db.Time(now), before.Version+1
	after.resource.Visibility, _ = access.ParseVisibility(after.Visibility)
	detail := map[string]any{"fields": changed}
	if before.Visibility != after.Visibility {
		detail["visibility"], detail["was"] = after.Visibility, before.Visibility
	}
	return after, s.record(ctx, tx, caller, "project.updated", after.ID, after.ID, detail)
}

// changes are the names of the fields that a change changed, for the record.
type changes []string

func (c *changes) note(field string, changed bool) {
	if changed {
		*c = append(*c, field)
	}
}

// DeleteProject puts a project, with all that is in it, into the recycle bin for [Retention]. It needs projects:delete,
// which leads have.
func (s *Service) DeleteProject(ctx context.Context, caller access.Caller, projectID string, in Precondition) error {
	if err := problem.RequireMay(&caller, access.ProjectsDelete); err != nil {
		return err
	}
	_, err := doUnless(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Project, error) {
			if err := s.DB.Hold(ctx, tx, projectID); err != nil {
				return Project{}, err
			}
			// A deleted one, too: see doUnless.
			return s.projectFor(ctx, tx, caller, access.ProjectsDelete, projectID, either)
		},
		func(p Project) bool { return p.DeletedAt != nil },
		func(ctx context.Context, tx *sql.Tx, p Project) (nothing, error) {
			if err := in.check(p.Version); err != nil {
				return nothing{}, err
			}
			now := db.Micros(s.Now())
			if err := s.setProjectDeleted(ctx, tx, p, sql.NullInt64{Int64: now, Valid: true}, now); err != nil {
				return nothing{}, err
			}
			return nothing{}, s.record(ctx, tx, caller, "project.deleted", p.ID, p.ID, nil)
		})
	return err
}

// RestoreProject takes a project out of the recycle bin, as it was, and returns it. It needs projects:write, which leads
// have. One that is not deleted stays as it is.
func (s *Service) RestoreProject(ctx context.Context, caller access.Caller, projectID string) (Project, error) {
	if err := problem.RequireMay(&caller, access.ProjectsWrite); err != nil {
		return Project{}, err
	}
	return do(ctx, s, caller,
		func(ctx context.Context, tx *sql.Tx) (Project, error) {
			if err := s.DB.Hold(ctx, tx, projectID); err != nil {
				return Project{}, err
			}
			// The recycle bin is listed for everybody who saw the project, so who may not restore it is told so.
			p, err := s.projectSeen(ctx, tx, caller, projectID, either)
			if err != nil {
				return Project{}, err
			}
			return p, problem.Require(&caller, access.ProjectsWrite, p.resource)
		},
		func(ctx context.Context, tx *sql.Tx, p Project) (Project, error) {
			if p.DeletedAt == nil {
				return p, nil
			}
			now := db.Micros(s.Now())
			if err := s.setProjectDeleted(ctx, tx, p, sql.NullInt64{}, now); err != nil {
				return Project{}, err
			}
			p.DeletedAt, p.UpdatedAt, p.Version = nil, db.Time(now), p.Version+1
			return p, s.record(ctx, tx, caller, "project.restored", p.ID, p.ID, nil)
		})
}

func (s *Service) setProjectDeleted(ctx context.Context, tx *sql.Tx, p Project, at sql.NullInt64, now int64) error {
	n, err := rows.New(tx).SetProjectDeleted(ctx, rows.SetProjectDeletedParams{
		DeletedAt: at, UpdatedAt: now, OrganizationID: p.resource.Organization, ID: p.ID, Seen: p.Version,
	})
	return written(n, err, "delete or restore project")
}
