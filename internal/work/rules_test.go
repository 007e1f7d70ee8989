package work_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/storetest"
	"carnet/internal/work"
)

// target is what actions are tried on: a project of somebody else, with a task and a comment of somebody else.
type target struct {
	project, task, comment string
	member                 string // a user who can be added and removed
}

func (w *world) target(owner access.Caller, visibility access.Visibility) target {
	p := w.project(owner, visibility)
	k := w.task(owner, p.ID, titled("task"))
	c := w.comment(owner, k.ID, "comment")
	return target{p.ID, k.ID, c.ID, w.user(owner.Organization, access.Guest).UserID}
}

type action struct {
	name       string
	permission access.Permission
	run        func(ctx context.Context, w *world, c access.Caller, t target) error
}

var ctx = context.Background()

// actions are all methods on something in a project, those that destroy last, the greatest at the end.
var actions = []action{
	{"Project", access.ProjectsRead, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.Project(ctx, c, t.project)
		return err
	}},
	{"UpdateProject", access.ProjectsWrite, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.UpdateProject(ctx, c, t.project, work.ProjectChange{ProjectFields: work.ProjectFields{Name: optional.Of(id.New("x"))}})
		return err
	}},
	{"ProjectMembers", access.ProjectsShare, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.ProjectMembers(ctx, c, t.project, work.MemberQuery{})
		return err
	}},
	{"PutProjectMember", access.ProjectsShare, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.PutProjectMember(ctx, c, t.project, t.member, work.NewMember{Role: optional.Of("viewer")})
		return err
	}},
	{"RemoveProjectMember", access.ProjectsShare, func(ctx context.Context, w *world, c access.Caller, t target) error {
		if d := access.Decide(&c, access.ProjectsShare, w.resource(c, t.project)); d == access.Allowed {
			if _, err := w.PutProjectMember(ctx, c, t.project, t.member, work.NewMember{Role: optional.Of("lead")}); err != nil {
				return err
			}
		}
		return w.RemoveProjectMember(ctx, c, t.project, t.member)
	}},
	{"ListTasks", access.TasksRead, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.ListTasks(ctx, c, work.TaskQuery{TaskFilter: work.TaskFilter{Project: t.project}})
		return err
	}},
	{"CountTasks", access.TasksRead, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.CountTasks(ctx, c, work.TaskFilter{Project: t.project})
		return err
	}},
	{"Task", access.TasksRead, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.Task(ctx, c, t.task)
		return err
	}},
	{"CreateTask", access.TasksWrite, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.CreateTask(ctx, c, t.project, titled("new"))
		return err
	}},
	{"UpdateTask", access.TasksWrite, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.UpdateTask(ctx, c, t.task, work.TaskChange{TaskFields: work.TaskFields{Title: optional.Of(id.New("x"))}})
		return err
	}},
	{"RestoreTask", access.TasksWrite, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.RestoreTask(ctx, c, t.task)
		return err
	}},
	{"ListComments", access.CommentsRead, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.ListComments(ctx, c, t.task, work.CommentQuery{})
		return err
	}},
	{"CreateComment", access.CommentsWrite, func(ctx context.Context, w *world, c access.Caller, t target) error {
		_, err := w.CreateComment(ctx, c, t.task, said("new"))
		return err
	}},
	{"DeleteComment of another", access.CommentsModerate, func(ctx context.Context, w *world, c access.Caller, t target) error {
		return w.DeleteComment(ctx, c, t.comment)
	}},
	{"DeleteTask", access.TasksDelete, func(ctx context.Context, w *world, c access.Caller, t target) error {
		return w.DeleteTask(ctx, c, t.task, work.Precondition{})
	}},
	{"DeleteProject", access.ProjectsDelete, func(ctx context.Context, w *world, c access.Caller, t target) error {
		return w.DeleteProject(ctx, c, t.project, work.Precondition{})
	}},
}

// resource reads, past the service, what the rules ask about a project.
func (w *world) resource(c access.Caller, project string) access.Resource {
	r := access.Resource{Project: project}
	var visibility, given string
	err := w.db.Read().QueryRowContext(ctx, `SELECT p.organization_id, p.visibility, COALESCE((SELECT role FROM project_members m
		WHERE m.project_id = p.id AND m.user_id = $1), '') FROM projects p WHERE p.id = $2`, c.UserID, project).Scan(&r.Organization, &visibility, &given)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Visibility, _ = access.ParseVisibility(visibility)
	r.Given, _ = access.ParseProjectRole(given)
	return r
}

// codes says which error each decision becomes.
var codes = map[access.Decision]problem.Code{
	access.Allowed: "", access.NeedCredential: problem.CredentialMissing, access.NeedSignIn: problem.SignInRequired,
	access.NeedScope: problem.ScopeMissing, access.Absent: problem.NotFound, access.NeedUnrestricted: problem.ProjectRestricted,
	access.NeedRole: problem.RoleInsufficient, access.NeedPolicy: problem.PolicyDenied,
}

func TestEveryRoleMayWhatTheRulesSay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		org := w.organization()
		owner := w.user(org, access.Owner)
		for _, role := range append(access.Roles(), access.NoRole) {
			for _, visibility := range []access.Visibility{access.Private, access.OrganizationVisible} {
				for _, given := range append(access.ProjectRoles(), access.NoProjectRole) {
					if role == access.NoRole && given != access.NoProjectRole {
						continue // the store holds that nobody is in a project and not in its organization
					}
					user := w.user(org, role)
					place := func() target {
						at := w.target(owner, visibility)
						if given != access.NoProjectRole {
							w.share(owner, at.project, user, given)
						}
						return at
					}
					refused, bySession, byToken := place(), place(), place()
					for _, a := range actions { // those that destroy come last
						cell := fmt.Sprintf("%s as %q, %q in a project seen by %s", a.name, role, given, visibility)
						try := func(c access.Caller, at target) {
							r := access.Resource{Organization: org, Project: at.project, Visibility: visibility, Given: given}
							expect(t, cell, a.run(ctx, w, c, at), codes[access.Decide(&c, a.permission, r)])
						}
						scopeless := token(user, refused.project)
						scopeless.Scopes = 0
						try(scopeless, refused)
						try(token(user, id.New(id.Project)), refused)
						try(access.Caller{}, refused)
						try(user, bySession)
						try(token(user, byToken.project), byToken)
					}
				}
			}
		}
	})
}

func TestWhatIsOutsideLooksLikeWhatDoesNotExist(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		org, other := w.organization(), w.organization()
		owner, stranger := w.user(org, access.Owner), w.user(other, access.Owner)
		member := w.user(org, access.Member)
		deleted := w.target(owner, access.OrganizationVisible)
		if err := w.DeleteProject(ctx, owner, deleted.project, work.Precondition{}); err != nil {
			t.Fatal(err)
		}
		emptied := w.target(owner, access.OrganizationVisible)
		if err := w.DeleteComment(ctx, owner, emptied.comment); err != nil {
			t.Fatal(err)
		}
		if err := w.DeleteTask(ctx, owner, emptied.task, work.Precondition{}); err != nil {
			t.Fatal(err)
		}
		emptied.project = id.New(id.Project)
		orphaned := w.target(owner, access.OrganizationVisible)
		if err := w.DeleteTask(ctx, owner, orphaned.task, work.Precondition{}); err != nil {
			t.Fatal(err)
		}
		orphaned.project = id.New(id.Project)
		places := map[string]target{
			"non-existent":  {id.New(id.Project), id.New(id.Task), id.New(id.Comment), owner.UserID},
			"malformed":     {"prj_", "'; --", "\x00\xff", owner.UserID},
			"foreign":       w.target(stranger, access.OrganizationVisible),
			"private":       w.target(owner, access.Private),
			"deleted":       deleted,
			"tasks deleted": emptied,
			"task deleted":  orphaned,
		}
		for name, at := range places {
			for _, a := range actions {
				restorable := a.name == "RestoreTask" && (name == "tasks deleted" || name == "task deleted")
				if a.name == "RemoveProjectMember" || restorable { // the first looks past the service
					continue
				}
				err := a.run(ctx, w, member, at)
				var e *problem.Error
				if !errors.As(err, &e) || e.Error() != problem.Absent().Error() {
					t.Errorf("%s on something %s: got %v", a.name, name, err)
				}
			}
		}
	})
}

func TestWithoutARoleEveryListIsAbsent(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		c := w.user(w.organization(), access.NoRole)
		for _, c := range []access.Caller{c, token(c), {Kind: access.SessionCaller, UserID: c.UserID, Role: access.Owner}} {
			_, err := w.ListTasks(ctx, c, work.TaskQuery{})
			expect(t, "tasks", err, problem.NotFound)
			_, err = w.CountTasks(ctx, c, work.TaskFilter{})
			expect(t, "counts", err, problem.NotFound)
			_, err = w.ListProjects(ctx, c, work.ProjectQuery{})
			expect(t, "projects", err, problem.NotFound)
			_, err = w.Members(ctx, c, work.MemberQuery{})
			expect(t, "members", err, problem.NotFound)
			_, err = w.CreateProject(ctx, c, newProject(access.Private))
			expect(t, "create", err, problem.NotFound)
		}
	})
}

func TestOnlyAuthorsEditComments(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		org := w.organization()
		owner, author, other := w.user(org, access.Owner), w.user(org, access.Guest), w.user(org, access.Guest)
		p := w.project(owner, access.Private)
		w.share(owner, p.ID, author, access.Contributor)
		w.share(owner, p.ID, other, access.Contributor)
		task := w.task(owner, p.ID, titled("t"))
		c := w.comment(author, task.ID, "mine")

		for name, who := range map[string]access.Caller{"owner": owner, "contributor": other} {
			_, err := w.UpdateComment(ctx, who, c.ID, said("theirs"))
			expect(t, name+" edits", err, problem.RoleInsufficient)
		}
		expect(t, "contributor deletes", w.DeleteComment(ctx, other, c.ID), problem.RoleInsufficient)
		w.pass(1)
		got, err := w.UpdateComment(ctx, token(author, p.ID), c.ID, said("mine, mended"))
		expect(t, "author edits", err, "")
		if got.Body != "mine, mended" || !got.UpdatedAt.Equal(w.now().Truncate(1000)) {
			t.Errorf("got %+v", got)
		}
		w.share(owner, p.ID, author, access.Viewer)
		_, err = w.UpdateComment(ctx, author, c.ID, said("late"))
		expect(t, "author who became a viewer edits", err, problem.RoleInsufficient)
		expect(t, "author who became a viewer deletes", w.DeleteComment(ctx, author, c.ID), problem.RoleInsufficient)
		w.share(owner, p.ID, author, access.Contributor)
		expect(t, "author deletes", w.DeleteComment(ctx, author, c.ID), "")
		expect(t, "author deletes again", w.DeleteComment(ctx, author, c.ID), problem.NotFound)
	})
}

func TestWhoCreatesProjects(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		org := w.organization()
		for _, role := range access.Roles() {
			want := problem.Code("")
			if role == access.Guest {
				want = problem.RoleInsufficient
			}
			user := w.user(org, role)
			p, err := w.CreateProject(ctx, user, newProject(access.Private))
			expect(t, role.String(), err, want)
			if err == nil && w.resource(user, p.ID).Given != access.Lead {
				t.Errorf("%s did not become the lead of what they created", role)
			}
			_, err = w.CreateProject(ctx, token(user), newProject(access.Private))
			expect(t, role.String()+"'s token", err, want)
			_, err = w.CreateProject(ctx, token(user, p.ID), newProject(access.Private))
			expect(t, role.String()+"'s project-scoped token", err, problem.ProjectRestricted)
		}
	})
}

func TestMembersAreThoseOfTheCallersProjects(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		org := w.organization()
		owner, member, guest, outsider := w.user(org, access.Owner), w.user(org, access.Member), w.user(org, access.Guest), w.user(org, access.Member)
		w.user(w.organization(), access.Owner)
		open, closed := w.project(owner, access.OrganizationVisible), w.project(member, access.Private)
		w.share(member, closed.ID, guest, access.Viewer)
		gone := w.project(outsider, access.OrganizationVisible)
		if err := w.DeleteProject(ctx, outsider, gone.ID, work.Precondition{}); err != nil {
			t.Fatal(err)
		}
		all := []string{owner.UserID, member.UserID, guest.UserID, outsider.UserID}
		for name, c := range map[string]struct {
			caller access.Caller
			want   []string
		}{
			"owner":                   {owner, all},
			"member":                  {member, all},
			"member's token":          {token(member), all},
			"guest":                   {guest, []string{member.UserID, guest.UserID}},
			"guest's token":           {token(guest), []string{member.UserID, guest.UserID}},
			"token of open":           {token(member, open.ID), []string{owner.UserID}},
			"token of closed":         {token(owner, closed.ID), []string{member.UserID, guest.UserID}},
			"token of nothing seen":   {token(outsider, closed.ID), nil},
			"token of deleted":        {token(outsider, gone.ID), nil},
			"guest's token elsewhere": {token(guest, open.ID), nil},
		} {
			got, err := w.Members(ctx, c.caller, work.MemberQuery{})
			expect(t, name, err, "")
			want := map[string]bool{}
			for _, u := range c.want {
				want[u] = true
			}
			for _, m := range got.Items {
				if !want[m.UserID] {
					t.Errorf("%s sees %s", name, m.UserID)
				}
				delete(want, m.UserID)
			}
			if len(want) > 0 {
				t.Errorf("%s does not see %v", name, want)
			}
		}
		noRole := owner
		noRole.Role = access.NoRole
		_, err := w.Members(ctx, noRole, work.MemberQuery{})
		expect(t, "without a role", err, problem.NotFound)
	})
}

func TestSharingIsForMembersOfTheOrganization(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		org := w.organization()
		owner, guest, foreigner := w.user(org, access.Owner), w.user(org, access.Guest), w.user(w.organization(), access.Owner)
		p := w.project(owner, access.Private)
		put := func(user, role string) error {
			_, err := w.PutProjectMember(ctx, owner, p.ID, user, work.NewMember{Role: optional.Of(role)})
			return err
		}
		foreign, unknown, malformed := put(foreigner.UserID, "lead"), put(id.New(id.User), "lead"), put("x", "lead")
		expect(t, "foreigner", foreign, problem.ValidationFailed)
		if foreign.Error() != unknown.Error() || foreign.Error() != malformed.Error() {
			t.Errorf("the refusals tell who exists: %v, %v, %v", foreign, unknown, malformed)
		}
		expect(t, "unknown role", put(guest.UserID, "owner"), problem.ValidationFailed)
		expect(t, "guest", put(guest.UserID, "viewer"), "")
		if _, err := w.Project(ctx, guest, p.ID); err != nil {
			t.Errorf("the guest does not see what was shared: %v", err)
		}
		m, err := w.ProjectMembers(ctx, owner, p.ID, work.MemberQuery{Request: page.Request{Sort: "created_at"}})
		if err != nil || len(m.Items) != 2 {
			t.Fatalf("got %+v, %v", m, err)
		}
		_, err = w.ProjectMembers(ctx, token(owner), p.ID, work.MemberQuery{})
		expect(t, "a token", err, problem.SignInRequired)
		expect(t, "remove a non-member", w.RemoveProjectMember(ctx, owner, p.ID, foreigner.UserID), problem.NotFound)
		expect(t, "remove", w.RemoveProjectMember(ctx, owner, p.ID, guest.UserID), "")
		_, err = w.Project(ctx, guest, p.ID)
		expect(t, "after unsharing", err, problem.NotFound)

		// Who leaves the organization leaves its projects.
		expect(t, "guest", put(guest.UserID, "lead"), "")
		w.exec(`DELETE FROM memberships WHERE user_id = $1`, guest.UserID)
		w.exec(`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, 'guest', 0)`, org, guest.UserID)
		_, err = w.Project(ctx, guest, p.ID)
		expect(t, "who left and came back", err, problem.NotFound)
	})
}
