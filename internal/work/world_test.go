package work_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/idempotency"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/storetest"
	"carnet/internal/work"
)

// world is a store with a service on it, a clock that only tests move, and people.
type world struct {
	t testing.TB
	*work.Service
	db *db.DB

	mu    sync.Mutex
	clock time.Time
}

func newWorld(t testing.TB, d *db.DB) *world {
	t.Helper()
	w := &world{t: t, db: d, clock: time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)}
	w.Service = work.New(work.Config{
		DB: d, Audit: audit.New(w.now), Idempotency: idempotency.New(d, w.now), Cursors: page.New([]byte("key")), Now: w.now,
	})
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	err := w.db.Write(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
}

func (w *world) one(query string, args ...any) (n int64) {
	w.t.Helper()
	if err := w.db.Read().QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (w *world) organization() string {
	org := id.New(id.Organization)
	w.exec(`INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ($1, $1, $1, 'free', 0)`, org)
	return org
}

// user makes a user with a role in an organization and returns their session there.
func (w *world) user(org string, role access.Role) access.Caller {
	u := id.New(id.User)
	w.exec(`INSERT INTO users (id, email, email_key, name, password_hash, created_at) VALUES ($1, $1, $1, $1, '', 0)`, u)
	if role != access.NoRole {
		w.exec(`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, $3, 0)`, org, u, role.String())
	}
	return access.Caller{Kind: access.SessionCaller, UserID: u, CredentialID: id.New(id.Session), Organization: org, Role: role}
}

// token returns a token of the caller's user with all scopes, limited to projects if any are given.
func token(c access.Caller, projects ...string) access.Caller {
	c.Kind, c.CredentialID = access.TokenCaller, id.New(id.Token)
	c.Scopes = access.AllScopes()
	if projects != nil {
		c.Projects = access.Only(projects...)
	}
	return c
}

var serial struct {
	sync.Mutex
	n int
}

func newKey() string {
	serial.Lock()
	defer serial.Unlock()
	serial.n++
	return fmt.Sprintf("K%d", serial.n)
}

func newProject(visibility access.Visibility) work.NewProject {
	return work.NewProject{ProjectFields: work.ProjectFields{
		Key: optional.Of(newKey()), Name: optional.Of("Project"), Visibility: optional.Of(visibility.String()),
	}}
}

func (w *world) project(by access.Caller, visibility access.Visibility) work.Project {
	w.t.Helper()
	p, err := w.CreateProject(context.Background(), by, newProject(visibility))
	if err != nil {
		w.t.Fatalf("create a project: %v", err)
	}
	return p
}

func titled(title string) work.NewTask {
	return work.NewTask{TaskFields: work.TaskFields{Title: optional.Of(title)}}
}

func (w *world) task(by access.Caller, project string, in work.NewTask) work.Task {
	w.t.Helper()
	t, err := w.CreateTask(context.Background(), by, project, in)
	if err != nil {
		w.t.Fatalf("create a task: %v", err)
	}
	return t
}

func said(text string) work.CommentText { return work.CommentText{Body: optional.Of(text)} }

func (w *world) comment(by access.Caller, task, text string) work.Comment {
	w.t.Helper()
	c, err := w.CreateComment(context.Background(), by, task, said(text))
	if err != nil {
		w.t.Fatalf("create a comment: %v", err)
	}
	return c
}

func (w *world) share(by access.Caller, project string, with access.Caller, role access.ProjectRole) {
	w.t.Helper()
	if _, err := w.PutProjectMember(context.Background(), by, project, with.UserID, work.NewMember{Role: optional.Of(role.String())}); err != nil {
		w.t.Fatalf("share a project: %v", err)
	}
}

// keyed is the context of a request with an idempotency key.
func keyed(key string) context.Context {
	return request.With(context.Background(), &request.Info{IdempotencyKey: key, Target: "T", Fingerprint: sha256.Sum256(nil)})
}

func expect(t testing.TB, what string, err error, code problem.Code) {
	t.Helper()
	if code == "" && err == nil {
		return
	}
	if err == nil || problem.CodeOf(err) != code {
		t.Errorf("%s: got %v, want %q", what, err, code)
	}
}

func each(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, d *db.DB) { test(t, newWorld(t, d)) })
}
