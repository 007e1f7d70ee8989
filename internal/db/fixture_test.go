package db_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"carnet/internal/db"
)

// open opens a store in dir and closes it with the test. fatal, if any, hears of its failure.
func open(t *testing.T, dir string, fatal func(error)) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Fatal: fatal})
	if err != nil {
		t.Fatalf("open a store: %v", err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// refused opens a store that must not open, and returns what its operator is told.
func refused(t *testing.T, dir string) string {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		_ = d.Close()
		t.Fatal("the store was opened")
	}
	return err.Error()
}

// says fails the test unless the message holds all the words, and ends without a riddle.
func says(t *testing.T, message string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(message, word) {
			t.Errorf("the message lacks %q: %s", word, message)
		}
	}
}

// write runs statements in one transaction of the store.
func write(t *testing.T, d *db.DB, statements ...string) {
	t.Helper()
	if err := try(t.Context(), d, statements...); err != nil {
		t.Fatal(err)
	}
}

func try(ctx context.Context, d *db.DB, statements ...string) error {
	return d.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, statement := range statements {
			if _, err := tx.ExecContext(ctx, spell(d, statement)); err != nil {
				return err
			}
		}
		return nil
	})
}

// spell writes a statement as the engine wants it.
func spell(d *db.DB, statement string) string {
	bytes := `x'00'`
	if d.Engine() == "postgres" {
		bytes = `'\x00'`
	}
	return strings.ReplaceAll(statement, "$bytes", bytes)
}

func epochOf(t *testing.T, d *db.DB) (epoch int64) {
	t.Helper()
	if err := d.Read().QueryRowContext(t.Context(), `SELECT value FROM epoch`).Scan(&epoch); err != nil {
		t.Fatal(err)
	}
	return epoch
}

func number(t *testing.T, q db.Queryer, query string, args ...any) (n int64) {
	t.Helper()
	if err := q.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// house fills every table that decides something with one row, written past the features.
var house = []string{
	`INSERT INTO users (id, email, email_key, name, password_hash, created_at) VALUES ('usr_1', 'a@example.com', 'a@example.com', 'A', 'h', 1)`,
	`INSERT INTO users (id, email, email_key, name, password_hash, created_at) VALUES ('usr_2', 'b@example.com', 'b@example.com', 'B', 'h', 1)`,
	`INSERT INTO sessions (id, user_id, lookup_id, digest, kind, created_at, authenticated_at, expires_at, created_from, client) VALUES ('ses_1', 'usr_1', 'l', $bytes, 'cookie', 1, 1, 2, '', '')`,
	`INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ('org_1', 'acme', 'Acme', 'free', 1)`,
	`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ('org_1', 'usr_1', 'owner', 1)`,
	`INSERT INTO projects (organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version) VALUES ('org_1', 'prj_1', 'P', 'P', 'p', '', 'active', 'private', 'usr_1', 'ses_1', 1, 1, 1)`,
	`INSERT INTO project_members (organization_id, project_id, user_id, role, created_at) VALUES ('org_1', 'prj_1', 'usr_1', 'lead', 1)`,
	`INSERT INTO project_counters (organization_id, project_id, last_number) VALUES ('org_1', 'prj_1', 1)`,
	`INSERT INTO tasks (organization_id, id, project_id, number, title, title_key, description, search_text, status, priority, created_by, created_via, created_at, updated_at, version) VALUES ('org_1', 'tsk_1', 'prj_1', 1, 'T', 't', '', 't', 'todo', 1, 'usr_1', 'ses_1', 1, 1, 1)`,
	`INSERT INTO comments (organization_id, id, project_id, task_id, author_id, body, created_via, created_at, updated_at) VALUES ('org_1', 'cmt_1', 'prj_1', 'tsk_1', 'usr_1', 'b', 'ses_1', 1, 1)`,
	`INSERT INTO tokens (organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id, created_at, created_from, created_via) VALUES ('org_1', 'tok_1', 'usr_1', 'personal', 'T', 't', 1, 1, 'carnet_pat_', 'l', 1, '', 'ses_1')`,
	`INSERT INTO token_projects (organization_id, token_id, project_id) VALUES ('org_1', 'tok_1', 'prj_1')`,
	`INSERT INTO credentials (lookup_id, digest, organization_id, token_id, created_at) VALUES ('l', $bytes, 'org_1', 'tok_1', 1)`,
	`INSERT INTO token_use (organization_id, token_id, last_used_at, address, client) VALUES ('org_1', 'tok_1', 1, '', '')`,
	`INSERT INTO token_use_days (organization_id, token_id, day, calls) VALUES ('org_1', 'tok_1', '2026-01-01', 1)`,
	`INSERT INTO session_use (session_id, last_used_at, address, client) VALUES ('ses_1', 1, '', '')`,
}

// listener records what a subscriber is told.
type listener struct {
	mu     sync.Mutex
	epochs []int64
	heard  map[db.Change]int64 // the epoch at which each was last told
	drops  int
}

func (l *listener) Apply(epoch db.Epoch, changes []db.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heard == nil {
		l.heard = map[db.Change]int64{}
	}
	l.epochs = append(l.epochs, epoch.Value)
	for _, c := range changes {
		l.heard[c] = epoch.Value
	}
}

func (l *listener) Drop(db.Epoch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drops++
}

func (l *listener) at(c db.Change) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[c]
}

func (l *listener) dropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.drops
}

// raw opens the store's file with the driver alone, as another program would.
func raw(t *testing.T, dir string) *sql.DB {
	t.Helper()
	pool, err := sql.Open("sqlite", "file:"+filepath.Join(dir, db.FileName))
	if err != nil {
		t.Fatal(err)
	}
	pool.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

func rawly(t *testing.T, dir string, statements ...string) {
	t.Helper()
	pool := raw(t, dir)
	for _, statement := range statements {
		if _, err := pool.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
}

// filled makes a store that holds the house, closes it and returns its folder.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	d := open(t, dir, nil)
	write(t, d, house...)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func file(dir string) string { return filepath.Join(dir, db.FileName) }

func content(t *testing.T, path string) []byte {
	t.Helper()
	bytes, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

var errUndo = errors.New("undo")
