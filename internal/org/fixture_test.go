package org_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/mail"
	"carnet/internal/org"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/storetest"
)

// world is a store with the room over it and a clock that the test moves.
type world struct {
	t        *testing.T
	db       *db.DB
	org      *org.Service
	accounts *account.Service

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T, d *db.DB) *world {
	t.Helper()
	w := &world{t: t, db: d, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	log := slog.New(slog.DiscardHandler)
	w.accounts = account.New(account.Config{
		DB: d, Audit: audit.New(w.clock), Mail: nobody{}, Now: w.clock, Log: log, PublicURL: "https://carnet.example",
		Uses: lastuse.New(), PasswordCost: account.Cost{Memory: 64, Passes: 1, Threads: 1},
	})
	t.Cleanup(func() { _ = w.accounts.Close() })
	w.org = org.New(org.Config{
		DB: d, Audit: audit.New(w.clock), Accounts: w.accounts, Cursors: page.New([]byte("test")), Now: w.clock,
		Log: log, PublicURL: "https://carnet.example",
	})
	return w
}

// each runs the test in a world of its own on every engine.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) { test(t, newWorld(t, d)) })
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	err := w.db.Write(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
	if err != nil {
		w.t.Fatalf("%s: %v", statement, err)
	}
}

func (w *world) count(query string, args ...any) (n int) {
	w.t.Helper()
	if err := w.db.Read().QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// user makes a verified user name@example.com with a session, and returns their id.
func (w *world) user(name string) string {
	w.t.Helper()
	user, email := "usr_"+name, name+"@example.com"
	w.exec(`INSERT INTO users (id, email, email_key, name, password_hash, email_verified_at, created_at) VALUES ($1, $2, $2, $3, '', 1, 1)`, user, email, name)
	w.exec(`INSERT INTO sessions (id, user_id, lookup_id, digest, kind, created_at, authenticated_at, expires_at, created_from, client) VALUES ($1, $2, $1, $3, 'cookie', 1, 1, 1, '', '')`, "ses_"+name, user, []byte{0})
	return user
}

// found makes an organization with the members, each given as "name role".
func (w *world) found(slug string, members ...string) string {
	w.t.Helper()
	organization := "org_" + slug
	w.exec(`INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ($1, $2, $2, 'free', $3)`, organization, slug, db.Micros(w.clock()))
	for _, m := range members {
		var name, role string
		if _, err := fmt.Sscan(m, &name, &role); err != nil {
			w.t.Fatal(err)
		}
		if w.count(`SELECT count(*) FROM users WHERE id = $1`, "usr_"+name) == 0 {
			w.user(name)
		}
		w.exec(`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, $3, 1)`, organization, "usr_"+name, role)
	}
	return organization
}

// project makes a project and makes the named people members of it.
func (w *world) project(organization, key, visibility string, members ...string) string {
	w.t.Helper()
	project := "prj_" + key
	w.exec(`INSERT INTO projects (organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version) VALUES ($1, $2, $3, '', '', '', 'active', $4, '', '', 1, 1, 1)`, organization, project, key, visibility)
	for _, name := range members {
		w.exec(`INSERT INTO project_members (organization_id, project_id, user_id, role, created_at) VALUES ($1, $2, $3, 'viewer', 1)`, organization, project, "usr_"+name)
	}
	return project
}

// as returns the named person's session as verification would, signed in freshly.
func (w *world) as(name string) access.Caller {
	w.t.Helper()
	c := access.Caller{Kind: access.SessionCaller, UserID: "usr_" + name, CredentialID: "ses_" + name, EmailVerified: true, AuthenticatedAt: w.clock().UnixMicro()}
	found, err := w.db.Read().QueryContext(context.Background(), `SELECT o.id, o.slug, o.name, o.plan, m.role FROM memberships m JOIN organizations o ON o.id = m.organization_id WHERE m.user_id = $1`, c.UserID)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var m access.Membership
		var plan, role string
		if err := found.Scan(&m.Organization, &m.Slug, &m.Name, &plan, &role); err != nil {
			w.t.Fatal(err)
		}
		m.Plan, _ = access.ParsePlan(plan)
		m.Role, _ = access.ParseRole(role)
		c.Memberships = append(c.Memberships, m)
	}
	if err := found.Err(); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// token returns a token of the named person with every scope, acting in the organization.
func (w *world) token(name, organization string, role access.Role, projects access.ProjectSet) access.Caller {
	return access.Caller{
		Kind: access.TokenCaller, UserID: "usr_" + name, CredentialID: "tok_" + name, EmailVerified: true,
		Organization: organization, OrganizationSlug: organization[len("org_"):], Role: role, Scopes: access.AllScopes(), Projects: projects,
	}
}

func (w *world) role(organization, name string) string {
	w.t.Helper()
	var role string
	err := w.db.Read().QueryRowContext(context.Background(), `SELECT role FROM memberships WHERE organization_id = $1 AND user_id = $2`, organization, "usr_"+name).Scan(&role)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		w.t.Fatal(err)
	}
	return role
}

// owners counts the owners of the organization who can act.
func (w *world) owners(organization string) int {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.organization_id = $1 AND m.role = 'owner' AND u.suspended_at IS NULL`, organization)
}

// actions lists what was recorded, in order, as "action actor resource".
func (w *world) actions() (list []string) {
	w.t.Helper()
	found, err := w.db.Read().QueryContext(context.Background(), `SELECT action, actor_id, resource_id, detail FROM audit_events ORDER BY id`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var action, actor, resource, detail string
		if err := found.Scan(&action, &actor, &resource, &detail); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s by %q on %s %s", action, actor, resource, detail))
	}
	if err := found.Err(); err != nil {
		w.t.Fatal(err)
	}
	return list
}

// want fails the test unless err carries the code; "" wants none.
func want(t *testing.T, what string, err error, code problem.Code) {
	t.Helper()
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case code != "" && !problem.Is(err, code):
		t.Errorf("%s: %v, not %s", what, err, code)
	}
}

// nobody sends no mail.
type nobody struct{}

func (nobody) Post(mail.Message) {}
func (nobody) Close() error      { return nil }
