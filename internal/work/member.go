package work

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/work/rows"
)

// Member is a user in an organization, or in one of its projects; Role is the one there.
type Member struct {
	UserID    string `json:"user_id"`
	Name      string `json:"name"`
	Email     string `json:"email"`
	Role      string `json:"role"`
	Suspended bool   `json:"suspended"`
}

const memberColumns = `SELECT m.user_id, u.name, u.email, m.role, u.suspended_at FROM memberships m JOIN users u ON u.id = m.user_id`

func scanMember(row page.Row) (Member, error) {
	var m Member
	var suspended sql.NullInt64
	err := row.Scan(&m.UserID, &m.Name, &m.Email, &m.Role, &suspended)
	m.Suspended = suspended.Valid
	return m, err
}

// MemberQuery says which page of members to list.
type MemberQuery struct {
	page.Request       // sorts: email, created_at (when they joined)
	Invalid      error // what the door could not read
}

// Members lists the members of the organization, by e-mail address unless asked otherwise. It needs members:read.
//
// A guest or a project-scoped token sees only the members of the projects that they see. That is those whom a project
// names as members, not everybody who could open it: otherwise one project that the whole organization sees would lay
// open the whole organization's addresses.
func (s *Service) Members(ctx context.Context, caller access.Caller, query MemberQuery) (page.Page[Member], error) {
	var none page.Page[Member]
	if err := problem.RequireMay(&caller, access.MembersRead); err != nil {
		return none, err
	}
	if err := problem.Require(&caller, access.MembersRead, access.Resource{Organization: caller.Organization}); err != nil {
		return none, err
	}
	if query.Invalid != nil {
		return none, query.Invalid
	}
	return page.List(ctx, s.DB.Read(), s.memberListing(caller, query))
}

func (s *Service) memberListing(caller access.Caller, query MemberQuery) page.Listing[Member] {
	conditions, args := membersIn(caller.Visible())
	return page.Listing[Member]{
		Cursors: s.Cursors, Request: query.Request, Default: "email", ID: "m.user_id",
		Sorts:   page.Sorts{"email": {Column: "u.email_key"}, "created_at": {Column: "m.created_at"}},
		Binding: page.Binding(caller, "members"),
		Select:  memberColumns,
		Where:   conditions, Args: args, Scan: scanMember,
	}
}

// membersIn returns the condition for the memberships m that the filter lets through.
func membersIn(f access.Filter) (string, *db.Args) {
	args := &db.Args{}
	if f.Reach == access.ReachNothing {
		return "1 = 0", args
	}
	conditions := []string{"m.organization_id = " + args.Add(f.Organization)}
	if f.Reach == access.ReachOwn || f.Projects.Restricted() {
		conditions = append(conditions, `EXISTS (SELECT 1 FROM project_members pm
			JOIN projects p ON p.organization_id = pm.organization_id AND p.id = pm.project_id
			WHERE pm.organization_id = m.organization_id AND pm.user_id = m.user_id AND p.deleted_at IS NULL AND `+db.Visible(f, "p", args)+")")
	}
	return strings.Join(conditions, " AND "), args
}

// ProjectMembers lists whom a project names as its members, by e-mail address unless asked otherwise. It needs
// projects:share, which leads have, and a real sign-in.
func (s *Service) ProjectMembers(ctx context.Context, caller access.Caller, projectID string, query MemberQuery) (page.Page[Member], error) {
	var none page.Page[Member]
	if err := problem.RequireMay(&caller, access.ProjectsShare); err != nil {
		return none, err
	}
	if _, err := s.projectFor(ctx, s.DB.Read(), caller, access.ProjectsShare, projectID, present); err != nil {
		return none, err
	}
	if query.Invalid != nil {
		return none, query.Invalid
	}
	return page.List(ctx, s.DB.Read(), s.projectMemberListing(caller, projectID, query))
}

func (s *Service) projectMemberListing(caller access.Caller, projectID string, query MemberQuery) page.Listing[Member] {
	from := projectsIn(caller.Visible(), present, s.Now())
	from.tables += ` JOIN project_members pm ON pm.organization_id = p.organization_id AND pm.project_id = p.id
		JOIN memberships m ON m.organization_id = pm.organization_id AND m.user_id = pm.user_id
		JOIN users u ON u.id = pm.user_id`
	from.is("p.id", projectID)
	return page.Listing[Member]{
		Cursors: s.Cursors, Request: query.Request, Default: "email", ID: "pm.user_id",
		Sorts:   page.Sorts{"email": {Column: "u.email_key"}, "created_at": {Column: "pm.created_at"}},
		Binding: page.Binding(caller, "project members", projectID),
		Select:  `SELECT pm.user_id, u.name, u.email, pm.role, u.suspended_at` + from.tables,
		Where:   from.where(), Args: from.args, Scan: scanMember,
	}
}

// NewMember says what a user is to be in a project.
type NewMember struct {
	Role    optional.Value[string] `json:"role,omitzero"`
	Invalid error                  `json:"-"` // what the door could not read
}

// PutProjectMember makes a member of the organization a member of a project, or gives one another role there. It needs
// projects:share, which leads have, and a real sign-in. Who is not a member of the organization is validation_failed,
// whether such a user exists or not.
func (s *Service) PutProjectMember(ctx context.Context, caller access.Caller, projectID, userID string, in NewMember) (Member, error) {
	if err := problem.RequireMay(&caller, access.ProjectsShare); err != nil {
		return Member{}, err
	}
	return do(ctx, s, caller, s.sharing(caller, projectID), func(ctx context.Context, tx *sql.Tx, p Project) (Member, error) {
		if in.Invalid != nil {
			return Member{}, in.Invalid
		}
		var role access.ProjectRole
		var c checker
		c.required("body.role", in.Role)
		if c.sent("body.role", in.Role) {
			var known bool
			if role, known = access.ParseProjectRole(in.Role.V); !known {
				c.add("body.role", "must be one of lead, contributor, viewer")
			}
		}
		standing, found, err := s.standing(ctx, tx, p.resource, userID)
		if err != nil {
			return Member{}, err
		}
		if !found {
			c.add("path.user_id", "must be a member of the organization")
		}
		if err := c.err(); err != nil {
			return Member{}, err
		}
		m := Member{UserID: userID, Name: standing.Name, Email: standing.Email, Role: role.String(), Suspended: standing.SuspendedAt.Valid}
		if standing.Given == role.String() {
			return m, nil
		}
		err = rows.New(tx).PutProjectMember(ctx, rows.PutProjectMemberParams{
			OrganizationID: caller.Organization, ProjectID: p.ID, UserID: userID, Role: role.String(), CreatedAt: db.Micros(s.Now()),
		})
		if err != nil {
			return Member{}, fmt.Errorf("share project: %w", err)
		}
		return m, s.record(ctx, tx, caller, "project.shared", p.ID, p.ID, map[string]any{"user": userID, "role": role.String(), "was": standing.Given})
	})
}

// RemoveProjectMember takes a user out of a project. It needs projects:share, which leads have, and a real sign-in. Who
// is no member of the project is not_found. The last lead may go: managers and above lead every project.
func (s *Service) RemoveProjectMember(ctx context.Context, caller access.Caller, projectID, userID string) error {
	if err := problem.RequireMay(&caller, access.ProjectsShare); err != nil {
		return err
	}
	_, err := do(ctx, s, caller, s.sharing(caller, projectID), func(ctx context.Context, tx *sql.Tx, p Project) (nothing, error) {
		standing, found, err := s.standing(ctx, tx, p.resource, userID)
		if err != nil {
			return nothing{}, err
		}
		if !found || standing.Given == "" {
			return nothing{}, problem.Absent()
		}
		_, err = rows.New(tx).DeleteProjectMember(ctx, rows.DeleteProjectMemberParams{OrganizationID: caller.Organization, ProjectID: p.ID, UserID: userID})
		if err != nil {
			return nothing{}, fmt.Errorf("unshare project: %w", err)
		}
		return nothing{}, s.record(ctx, tx, caller, "project.unshared", p.ID, p.ID, map[string]any{"user": userID, "was": standing.Given})
	})
	return err
}

// sharing authorizes changes of who is in a project.
func (s *Service) sharing(caller access.Caller, projectID string) func(ctx context.Context, tx *sql.Tx) (Project, error) {
	return func(ctx context.Context, tx *sql.Tx) (Project, error) {
		if err := s.DB.Hold(ctx, tx, projectID); err != nil {
			return Project{}, err
		}
		return s.projectFor(ctx, tx, caller, access.ProjectsShare, projectID, present)
	}
}

// standing returns what a user is in a project and its organization; found is false for who is no member of that.
func (s *Service) standing(ctx context.Context, q db.Queryer, r access.Resource, userID string) (standing rows.StandingRow, found bool, err error) {
	if !id.Valid(id.User, userID) {
		return standing, false, nil
	}
	standing, err = rows.New(q).Standing(ctx, rows.StandingParams{OrganizationID: r.Organization, UserID: userID, ProjectID: r.Project})
	if errors.Is(err, sql.ErrNoRows) {
		return standing, false, nil
	}
	if err != nil {
		return standing, false, fmt.Errorf("look up a member: %w", err)
	}
	return standing, true, nil
}
