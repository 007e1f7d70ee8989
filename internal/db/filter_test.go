package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/storetest"
)

// TestVisibleRowsAreExactlyThoseThatDecideAllows fills two organizations with projects of every visibility in which two
// users hold every role, and compares what a filtered query finds with what access decides on each row.
func TestVisibleRowsAreExactlyThoseThatDecideAllows(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		resources := fillProjects(t, d)
		rapid.Check(t, func(t *rapid.T) {
			c := access.Caller{
				Kind:         rapid.SampledFrom([]access.Kind{access.Anonymous, access.SessionCaller, access.TokenCaller}).Draw(t, "kind"),
				UserID:       rapid.SampledFrom([]string{"usr_1", "usr_2", "usr_3"}).Draw(t, "user"),
				Organization: rapid.SampledFrom([]string{"org_1", "org_2", "org_3", ""}).Draw(t, "organization"),
				Role:         rapid.SampledFrom(append([]access.Role{access.NoRole}, access.Roles()...)).Draw(t, "role"),
				Scopes:       access.AllScopes(),
			}
			if rapid.Bool().Draw(t, "restricted") {
				c.Projects = access.Only(rapid.SliceOf(rapid.SampledFrom([]string{"prj_1_0", "prj_1_3", "prj_1_5", "prj_2_1", "prj_none"})).Draw(t, "projects")...)
			}
			var want []string
			for id, byUser := range resources {
				if access.Decide(&c, access.ProjectsRead, byUser(c.UserID)) == access.Allowed {
					want = append(want, id)
				}
			}
			slices.Sort(want)
			if got := visible(t, d, c.Visible()); !slices.Equal(got, want) {
				t.Fatalf("the query finds %v, access allows %v", got, want)
			}
		})
		var nothing access.Filter
		if got := visible(t, d, nothing); len(got) != 0 {
			t.Errorf("the zero filter finds %v", got)
		}
	})
}

type fatalist interface{ Fatal(args ...any) }

func visible(t fatalist, d *db.DB, f access.Filter) []string {
	args := &db.Args{}
	unrelated := args.Add(0) // parameters before the filter's own must not confuse it
	rows, err := d.Read().QueryContext(context.Background(), "SELECT id FROM projects px WHERE version > "+unrelated+" AND "+db.Visible(f, "px", args)+" ORDER BY id", args.Values()...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var found []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		found = append(found, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// fillProjects makes, in each organization, a project for every visibility and role of usr_1 in it; usr_2 holds the
// roles the other way round, and usr_3 none.
func fillProjects(t *testing.T, d *db.DB) map[string]func(user string) access.Resource {
	t.Helper()
	resources := map[string]func(string) access.Resource{}
	given := []access.ProjectRole{access.NoProjectRole, access.Viewer, access.Contributor, access.Lead}
	err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, user := range []string{"usr_1", "usr_2"} {
			if _, err := tx.ExecContext(ctx, `INSERT INTO users (id, email, email_key, name, password_hash, created_at) VALUES ($1, $1, $1, '', '', 1)`, user); err != nil {
				return err
			}
		}
		for n := 1; n <= 2; n++ {
			organization := fmt.Sprintf("org_%d", n)
			if _, err := tx.ExecContext(ctx, `INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ($1, $1, 'n', 'free', 1)`, organization); err != nil {
				return err
			}
			for _, user := range []string{"usr_1", "usr_2"} {
				if _, err := tx.ExecContext(ctx, `INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, 'guest', 1)`, organization, user); err != nil {
					return err
				}
			}
			for i := range 8 {
				id, visibility := fmt.Sprintf("prj_%d_%d", n, i), access.Visibility(i/4)
				if _, err := tx.ExecContext(ctx, `INSERT INTO projects (organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version) VALUES ($1, $2, $3, '', '', '', 'active', $4, '', '', 1, 1, 1)`, organization, id, fmt.Sprint("K", i), visibility.String()); err != nil {
					return err
				}
				roles := map[string]access.ProjectRole{"usr_1": given[i%4], "usr_2": given[3-i%4]}
				for user, role := range roles {
					if role == access.NoProjectRole {
						continue
					}
					if _, err := tx.ExecContext(ctx, `INSERT INTO project_members (organization_id, project_id, user_id, role, created_at) VALUES ($1, $2, $3, $4, 1)`, organization, id, user, role.String()); err != nil {
						return err
					}
				}
				resources[id] = func(user string) access.Resource {
					return access.Resource{Organization: organization, Project: id, Visibility: visibility, Given: roles[user]}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return resources
}
