package transfer_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/internal/db"
	"carnet/internal/transfer"
)

// everything has rows in every table of the store, of every kind that matters to a restore, written past the features.
// Times are microseconds; the restore is at 5000, and what is to be alive then expires at 9000 or never.
var everything = []string{
	`INSERT INTO instance (name, value) VALUES ('cursors', x'00ff10'), ('system', x'0102030405060708090a0b0c0d0e0f10')`,
	`INSERT INTO users (id, email, email_key, name, password_hash, email_verified_at, created_at) VALUES
		('usr_1', 'a@example.com', 'a@example.com', 'Ada', 'hash-1', 1, 1), ('usr_2', 'b@example.com', 'b@example.com', 'Bob “odd” ' || char(9731, 128169, 10, 9, 92), 'hash-2', NULL, 1)`,
	`INSERT INTO account_codes (digest, purpose, user_id, created_at, expires_at, used_at) VALUES (x'c1', 'recover', 'usr_1', 1, 9000, NULL), (x'c2', 'recover', 'usr_1', 1, 9000, 2)`,
	`INSERT INTO sessions (id, user_id, lookup_id, digest, kind, created_at, authenticated_at, expires_at, created_from, client) VALUES
		('ses_1', 'usr_1', 'sl1', x'd1', 'cookie', 1, 1, 9000, '192.0.2.1', 'curl'), ('ses_2', 'usr_2', 'sl2', x'd2', 'bearer', 1, 1, 9000, '', '')`,
	`INSERT INTO session_use (session_id, last_used_at, address, client) VALUES ('ses_1', 1, '', '')`,
	`INSERT INTO signin_failures (account, source, failures, last_failed_at, blocked_until) VALUES ('x', 'everywhere', 3, 1, 0)`,
	`INSERT INTO known_devices (user_id, digest, last_used_at) VALUES ('usr_1', x'e1', 1)`,
	`INSERT INTO rate_limits (bucket, free_again) VALUES ('tries', -9223372036854775808)`,
	`INSERT INTO organizations (id, slug, name, plan, created_at, agent_destructive, agent_max_days) VALUES ('org_1', 'acme', 'Acme', 'team', 1, 'tasks:delete comments:delete', 30)`,
	`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ('org_1', 'usr_1', 'owner', 1), ('org_1', 'usr_2', 'member', 1)`,
	`INSERT INTO projects (organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version) VALUES
		('org_1', 'prj_1', 'P', 'P', 'p', '', 'active', 'organization', 'usr_1', 'ses_1', 1, 1, 1), ('org_1', 'prj_2', 'Q', 'Q', 'q', '', 'active', 'private', 'usr_1', 'ses_1', 1, 1, 1)`,
	`INSERT INTO project_members (organization_id, project_id, user_id, role, created_at) VALUES ('org_1', 'prj_1', 'usr_1', 'lead', 1), ('org_1', 'prj_2', 'usr_2', 'contributor', 1)`,
	`INSERT INTO project_counters (organization_id, project_id, last_number) VALUES ('org_1', 'prj_1', 9223372036854775807)`,
	`INSERT INTO tasks (organization_id, id, project_id, number, title, title_key, description, search_text, status, priority, assignee_id, due_on, created_by, created_via, created_at, updated_at, version, deleted_at) VALUES
		('org_1', 'tsk_1', 'prj_1', 1, 'T', 't', '', 't', 'todo', 1, NULL, NULL, 'usr_1', 'ses_1', 1, 1, 1, NULL), ('org_1', 'tsk_2', 'prj_1', 2, 'U', 'u', '', 'u', 'done', 3, 'usr_2', '2026-12-31', 'usr_1', 'ses_1', 1, 1, 1, 2)`,
	`INSERT INTO comments (organization_id, id, project_id, task_id, author_id, body, created_via, created_at, updated_at, agent_name) VALUES ('org_1', 'cmt_1', 'prj_1', 'tsk_1', 'usr_1', '', 'ses_1', 1, 1, 'Scout')`,
	`INSERT INTO tokens (organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id, created_at, created_from, created_via, expires_at, revoked_at, revoked_by, paused_at, paused_by, end_announced) VALUES
		('org_1', 'tok_1', 'usr_1', 'personal', 'free', 'free', 8, 0, 'carnet_pat_', 'l1', 1, '', 'ses_1', NULL, NULL, '', NULL, '', 0),
		('org_1', 'tok_2', 'usr_2', 'agent', 'limited', 'limited', 4, 1, 'carnet_agt_', 'l2', 1, '', 'ses_2', 9000, NULL, '', NULL, '', 7),
		('org_1', 'tok_3', 'usr_1', 'agent', 'ended', 'ended', 4, 0, 'carnet_agt_', 'l3', 1, '', 'ses_1', NULL, 3, 'usr_1', 5, 'usr_1', 0)`,
	`INSERT INTO token_projects (organization_id, token_id, project_id) VALUES ('org_1', 'tok_2', 'prj_1'), ('org_1', 'tok_2', 'prj_2')`,
	`INSERT INTO credentials (lookup_id, digest, organization_id, token_id, created_at, valid_until) VALUES
		('l1', x'f1', 'org_1', 'tok_1', 1, NULL), ('l2', x'f2', 'org_1', 'tok_2', 1, NULL), ('l0', x'f0', 'org_1', 'tok_2', 1, 8000), ('l3', x'f3', 'org_1', 'tok_3', 1, NULL)`,
	`INSERT INTO credential_late_use (organization_id, token_id, lookup_id, uses, last_used_at, address, client) VALUES ('org_1', 'tok_2', 'l0', 1, 1, '', '')`,
	`INSERT INTO token_use (organization_id, token_id, last_used_at, address, client) VALUES ('org_1', 'tok_1', 1, '', '')`,
	`INSERT INTO token_use_days (organization_id, token_id, day, calls) VALUES ('org_1', 'tok_1', '2026-01-01', 1)`,
	`INSERT INTO clients (id, name, redirect_uris, auth_method, secret_digest, fingerprint, created_at, last_used_at) VALUES ('cli_1', 'C', '["https://h.example/cb"]', 'client_secret_post', x'0a', x'0b', 1, 2)`,
	`INSERT INTO client_documents (url, document, fetched_at, fresh_until) VALUES ('https://h.example/c.json', '{}', 1, 9000)`,
	`INSERT INTO consent_requests (digest, browser, client_id, redirect_uri, state, challenge, scopes, created_at, expires_at) VALUES (x'aa', x'ab', 'cli_1', 'https://h.example/cb', 's', 'c', 4, 1, 9000)`,
	`INSERT INTO authorization_codes (digest, client_id, redirect_uri, challenge, user_id, session_id, organization_id, name, client_name, client_host, scopes, projects, replaces, token_expires_at, created_at, expires_at, used_at, token_id) VALUES
		(x'ba', 'cli_1', 'https://h.example/cb', 'c', 'usr_1', 'ses_1', 'org_1', 'N', 'C', 'h.example', 4, 'null', 0, 9000, 1, 9000, NULL, ''), (x'bb', 'cli_1', 'https://h.example/cb', 'c', 'usr_2', 'ses_2', 'org_1', 'N', 'C', 'h.example', 4, '[]', 0, 9000, 1, 9000, 2, 'tok_2')`,
	`INSERT INTO idempotency_keys (caller, target, key, fingerprint, outcome, created_at) VALUES ('tok_1', 'POST /x', 'k', x'', '{}', 1)`,
	`INSERT INTO audit_events (organization_id, id, at, actor_id, credential_kind, credential_id, purpose, action, resource_id, project_id, outcome, reason, detail, request_id, method, route, address, client)
		VALUES ('', 'evt_1', 1, '', '', '', '', 'account.created', '', '', 'done', '', '{"a":"\u0000"}', '', '', '', '', '')`,
}

var moment = time.UnixMicro(5000)

func open(t testing.TB, dir string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// change runs statements on the closed store of a folder, and closes it again.
func change(t testing.TB, dir string, statements ...string) {
	t.Helper()
	d := open(t, dir)
	err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, s := range statements {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// template is a store that holds everything and a backup of it, made once: copying files is faster.
var template = sync.OnceValues(func() (files [2][]byte, err error) {
	dir, err := os.MkdirTemp("", "carnet-transfer-")
	if err != nil {
		return files, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	d, err := db.Open(ctx, db.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return files, err
	}
	err = d.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, s := range everything {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
	if err = errors.Join(err, d.Close()); err != nil {
		return files, err
	}
	if _, err := transfer.Backup(ctx, dir, filepath.Join(dir, "backup")); err != nil {
		return files, err
	}
	files[0], err = os.ReadFile(filepath.Join(dir, db.FileName))
	if err == nil {
		files[1], err = os.ReadFile(filepath.Join(dir, "backup"))
	}
	return files, err
})

// full returns a folder whose store holds everything, and a backup of it.
func full(t testing.TB) (dir, backup string) {
	t.Helper()
	files, err := template()
	if err != nil {
		t.Fatalf("make a store and its backup: %v", err)
	}
	dir, backup = t.TempDir(), filepath.Join(t.TempDir(), "backup.db")
	must(t, os.WriteFile(file(dir), files[0], 0o600))
	must(t, os.WriteFile(backup, files[1], 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
	return dir, backup
}

// read returns the rows of a query on the store of a folder, columns separated by blanks.
func read(t testing.TB, path, query string) string {
	t.Helper()
	pool, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close() }()
	rows, err := pool.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for rows.Next() {
		values, places := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		if err := rows.Scan(places...); err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, v := range values {
			if !v.Valid {
				v.String = "NULL"
			}
			words = append(words, v.String)
		}
		lines = append(lines, strings.Join(words, " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, ", ")
}

func file(dir string) string { return filepath.Join(dir, db.FileName) }

func content(t testing.TB, path string) []byte {
	t.Helper()
	read, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// names returns what is in a folder.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// says fails the test unless the error holds all the words.
func says(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error lacks %q: %v", word, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func atoi(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func run(t testing.TB, d *db.DB, statement string) error {
	t.Helper()
	return d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	})
}

// onFile runs statements on a file with the driver alone, past every rule of a store.
func onFile(t testing.TB, path string, statements ...string) {
	t.Helper()
	pool, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	pool.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := pool.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	must(t, pool.Close())
}

// older takes the third migration back from a store's file, and those after it.
func older(t testing.TB, path string) {
	t.Helper()
	onFile(t, path, `DELETE FROM goose_db_version WHERE version_id > 2`, `DROP INDEX changes_by_time`, `DROP TRIGGER tokens_change`,
		`ALTER TABLE epoch DROP COLUMN mark`, `ALTER TABLE epoch DROP COLUMN prior`, `ALTER TABLE changes DROP COLUMN mark`,
		`ALTER TABLE tokens DROP COLUMN resting_since`, `DROP TABLE rate_limits`,
		`CREATE TRIGGER tokens_change AFTER UPDATE OF name ON tokens BEGIN SELECT 1; END`, `DROP INDEX tokens_by_purpose`, `DROP INDEX comments_by_creation`, `DROP INDEX audit_events_by_token`, `DROP INDEX audit_events_of_token`, `DROP TRIGGER organizations_change`)
	for table, columns := range map[string]string{
		"organizations": "agents_off agent_scopes agent_destructive agent_max_days agent_write_rate", "tokens": "client_id paused_by pause_reason end_announced",
		"tasks": "agent_name", "comments": "agent_name",
	} {
		for _, column := range strings.Fields(columns) {
			onFile(t, path, "ALTER TABLE "+table+" DROP COLUMN "+column)
		}
	}
	for _, table := range []string{"clients", "client_documents", "consent_requests", "authorization_codes"} {
		onFile(t, path, "DROP TABLE "+table)
	}
	onFile(t, path, `CREATE TRIGGER organizations_change AFTER UPDATE OF name ON organizations BEGIN SELECT 1; END`)
}
