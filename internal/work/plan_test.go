package work

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/page"
	"carnet/internal/storetest"
)

func TestNoListWalksThroughAWholeTable(t *testing.T) {
	t.Parallel()
	storetest.EachForPlans(t, noListWalks)
}

func noListWalks(t *testing.T, d *db.DB, p *storetest.Planner) {
	t.Helper()
	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	s := New(Config{DB: d, Cursors: page.New([]byte("k")), Now: now})
	org, user := id.New(id.Organization), id.New(id.User)
	project := seedForPlans(t, d, org, user)

	session := access.Caller{Kind: access.SessionCaller, UserID: user, CredentialID: "ses", Organization: org}
	restricted := session
	restricted.Kind, restricted.Projects = access.TokenCaller, access.Only(project, id.New(id.Project))
	since := now().Add(-time.Hour)
	for _, role := range []access.Role{access.Owner, access.Member, access.Guest} {
		for kind, c := range map[string]access.Caller{"session": session, "token": restricted} {
			c.Role = role
			label := role.String() + "'s " + kind + ": "
			for _, query := range []ProjectQuery{{}, {Deleted: true}, {Status: []string{"active"}, Visibility: []string{"private", "organization"}}} {
				storetest.TwoPages(p, label+"projects", projectSorts, query.Request, func(r page.Request) (page.Listing[Project], error) {
					query.Request = r
					return s.projectListing(c, query)
				})
			}
			for _, f := range []TaskFilter{
				{}, {Deleted: true}, {Project: project}, {Projects: []string{project, id.New(id.Project)}}, {Statuses: []string{"todo", "done"}},
				{Assignees: []string{"me"}}, {DueBefore: "2026-01-01"}, {DueAfter: "2020-01-01", DueBefore: "2027-01-01"}, {UpdatedSince: &since},
			} {
				storetest.TwoPages(p, label+fmt.Sprintf("tasks %+v", f), taskSorts, page.Request{}, func(r page.Request) (page.Listing[Task], error) {
					return s.taskListing(c, TaskQuery{Request: r, TaskFilter: f})
				})
				from, err := s.tasksMatching(c, f)
				if err != nil {
					t.Fatal(err)
				}
				p.What = label + fmt.Sprintf("counts %+v", f)
				p.Explain(countQuery(from), from.args.Values()...)
			}
			storetest.TwoPages(p, label+"comments", commentSorts, page.Request{}, func(r page.Request) (page.Listing[Comment], error) {
				return s.commentListing(c, id.New(id.Task), CommentQuery{Request: r}), nil
			})
			sorts := page.Sorts{"email": {}, "created_at": {}}
			storetest.TwoPages(p, label+"members", sorts, page.Request{}, func(r page.Request) (page.Listing[Member], error) {
				return s.memberListing(c, MemberQuery{Request: r}), nil
			})
			storetest.TwoPages(p, label+"project members", sorts, page.Request{}, func(r page.Request) (page.Listing[Member], error) {
				return s.projectMemberListing(c, project, MemberQuery{Request: r}), nil
			})
			grants := projectsIn(c.Visible(), present, now())
			p.What = label + "grants"
			p.Explain(grantQuery(grants, 50), grants.args.Values()...)
		}
	}
	for _, statement := range cleaning {
		p.What = "cleaning"
		p.Explain(statement, 1, 500)
	}
	if p.Count < 500 {
		t.Errorf("only %d plans were looked at", p.Count)
	}
}

func seedForPlans(t *testing.T, d *db.DB, org, user string) (project string) {
	t.Helper()
	project = id.New(id.Project)
	err := d.Write(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		for _, s := range []string{
			`INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ($1, 's', '', 'free', 0)`,
			`INSERT INTO users (id, email, email_key, name, password_hash, created_at) VALUES ($2, $1, $1, '', '', 0)`,
			`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, 'guest', 0)`,
			`INSERT INTO projects (organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version)
				VALUES ($1, $3, 'A', '', '', '', 'active', 'private', $2, '', 0, 0, 1)`,
			`INSERT INTO project_members (organization_id, project_id, user_id, role, created_at) VALUES ($1, $3, $2, 'lead', 0)`,
			`INSERT INTO tasks (organization_id, id, project_id, number, title, title_key, description, search_text, status, priority, created_by, created_via, created_at, updated_at, version)
				VALUES ($1, 'a', $3, 1, '', '', '', '', 'todo', 0, $2, '', 0, 0, 1), ($1, 'b', $3, 2, '', '', '', '', 'todo', 0, $2, '', 0, 0, 1)`,
		} {
			args := []any{org, user, project}
			if !strings.Contains(s, "$3") {
				args = args[:2]
			}
			if !strings.Contains(s, "$2") {
				args = args[:1]
			}
			if _, err := tx.ExecContext(ctx, s, args...); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}
