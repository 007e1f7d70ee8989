package db_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet/internal/db"
	"carnet/internal/problem"
)

// damaged makes a copy of the store in from, changes its file and returns the folder.
func damaged(t *testing.T, from string, change func([]byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(file(dir), change(content(t, file(from))), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDamagedFilesAreRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	from := filled(t)
	size := len(content(t, file(from)))
	for name, change := range map[string]func([]byte) []byte{
		"text":                  func([]byte) []byte { return []byte("This was never a database.\n") },
		"another header":        func(b []byte) []byte { copy(b, "Something else\x00\x00"); return b },
		"no header":             func(b []byte) []byte { clear(b[:100]); return b },
		"cut in the first page": func(b []byte) []byte { return b[:50] },
		"cut after a page":      func(b []byte) []byte { return b[:4096] },
		"cut in half":           func(b []byte) []byte { return b[:size/2] },
		"cut by a page":         func(b []byte) []byte { return b[:size-4096] },
		"cut within a page":     func(b []byte) []byte { return b[:size-4096-100] },
		"pages of noise": func(b []byte) []byte {
			for i := range b[4096:] {
				b[4096+i] = byte(i * 7)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := damaged(t, from, change)
			before := content(t, file(dir))
			says(t, refused(t, dir), file(dir), "damaged", "Nothing was changed", "backup")
			if !bytes.Equal(before, content(t, file(dir))) {
				t.Error("the file was changed")
			}
		})
	}
}

// Some damage reads well and is still wrong: here rows that their table cannot hold.
func TestDamageThatOnlyACheckFindsIsRefused(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	rawly(t, dir, `PRAGMA writable_schema = 1`,
		`UPDATE sqlite_schema SET sql = replace(sql, 'suspended_at      INTEGER', 'suspended_at      INTEGER NOT NULL') WHERE name = 'users'`)
	says(t, refused(t, dir), file(dir), "NULL value in users.suspended_at", "damaged", "Nothing was changed", "backup")
}

// TestFlippedBitsAreRefusedOrHarmless flips random bits. SQLite keeps no checksums, so a bit within a stored text can
// change that text; but the store never crashes, never hangs, and never loses or invents a row without saying so.
func TestFlippedBitsAreRefusedOrHarmless(t *testing.T) {
	t.Parallel()
	from := filled(t)
	counts := rowCounts(t, from)
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	outcomes := map[string]int{}
	for range rounds {
		bit := random.IntN(8 * len(content(t, file(from))))
		dir := damaged(t, from, func(b []byte) []byte { b[bit/8] ^= 1 << (bit % 8); return b })
		outcome := readAll(t, dir, counts)
		outcomes[outcome]++
		if outcome == "wrong" {
			t.Errorf("seed %d: with bit %d flipped, the store silently has other rows", seed, bit)
		}
	}
	t.Log(outcomes)
}

var countedTables = []string{"users", "sessions", "organizations", "memberships", "projects", "project_members", "tasks", "comments", "tokens", "token_projects", "credentials"}

func rowCounts(t *testing.T, dir string) string {
	t.Helper()
	d := open(t, dir, nil)
	defer func() { _ = d.Close() }()
	counts, err := countRows(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// countRows counts along the table and along its indexes: damage may be to either.
func countRows(ctx context.Context, d *db.DB) (string, error) {
	var b strings.Builder
	for _, table := range countedTables {
		for _, query := range []string{"SELECT count(*) FROM " + table, "SELECT count(*) FROM (SELECT * FROM " + table + " NOT INDEXED)"} {
			var n int
			if err := d.Read().QueryRowContext(ctx, query).Scan(&n); err != nil {
				return "", d.Explain(err)
			}
			fmt.Fprintf(&b, "%s %d\n", table, n)
		}
	}
	return b.String(), nil
}

func readAll(t *testing.T, dir, want string) string {
	t.Helper()
	d, err := openQuietly(dir, nil)
	if err != nil {
		if !strings.Contains(err.Error(), db.FileName) {
			t.Errorf("the refusal does not name the file: %v", err)
		}
		return "refused at start"
	}
	defer func() { _ = d.Close() }()
	got, err := countRows(t.Context(), d)
	switch {
	case err != nil:
		return "refused when read"
	case got != want:
		return "wrong"
	}
	return "right"
}

func TestDamageFoundWhileServingStopsTheStore(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	fatal := make(chan error, 2)
	d := open(t, dir, func(err error) { fatal <- err })
	l := &listener{}
	d.Subscribe(l)
	f, err := os.OpenFile(file(dir), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	noise := bytes.Repeat([]byte{0xa5}, len(content(t, file(dir)))-4096)
	if _, err := f.WriteAt(noise, 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// A connection that has the pages in its cache may go on a little; new ones read the file.
	for range 100 {
		if _, err = countRows(t.Context(), d); err != nil {
			break
		}
		write(t, d, `UPDATE token_use SET last_used_at = last_used_at + 1`)
	}
	if !problem.Is(err, problem.Overloaded) || d.Err() == nil {
		t.Fatalf("reading damaged pages: %v", err)
	}
	if err := try(t.Context(), d, `UPDATE users SET name = 'x'`); !errors.Is(err, db.ErrStopped) && !problem.Is(err, problem.Overloaded) {
		t.Errorf("a write afterwards: %v", err)
	}
	if cause := <-fatal; !strings.Contains(cause.Error(), "storage failed") {
		t.Errorf("the process was told %v", cause)
	}
	if l.dropped() == 0 {
		t.Error("subscribers believe what they cached")
	}
}

func TestStoreOfANewerVersionIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	rawly(t, dir, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
	before := content(t, file(dir))
	says(t, refused(t, dir), file(dir), "newer", "999", "Nothing was changed")
	if !bytes.Equal(before, content(t, file(dir))) {
		t.Error("the file was changed")
	}
}

func TestMigrationKeepsACopyOfWhatWasThere(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	all := triggers(t, dir)
	if len(all) < 10 {
		t.Fatalf("only %d triggers were found", len(all))
	}
	older := []string{`DELETE FROM goose_db_version WHERE version_id > 1`}
	for _, name := range all {
		older = append(older, "DROP TRIGGER "+name)
	}
	older = append(older, `DROP INDEX changes_by_time`, `ALTER TABLE epoch DROP COLUMN mark`, `ALTER TABLE epoch DROP COLUMN prior`,
		`ALTER TABLE changes DROP COLUMN mark`, `ALTER TABLE tokens DROP COLUMN resting_since`, `DROP TABLE rate_limits`, `DROP INDEX tokens_by_purpose`, `DROP INDEX comments_by_creation`,
		`DROP INDEX audit_events_by_token`, `DROP INDEX audit_events_of_token`)
	for _, table := range []string{"clients", "client_documents", "consent_requests", "authorization_codes"} {
		older = append(older, "DROP TABLE "+table)
	}
	for table, columns := range map[string]string{
		"organizations": "agents_off agent_scopes agent_destructive agent_max_days agent_write_rate", "tokens": "client_id paused_by pause_reason end_announced",
		"tasks": "agent_name", "comments": "agent_name",
	} {
		for _, column := range strings.Fields(columns) {
			older = append(older, "ALTER TABLE "+table+" DROP COLUMN "+column)
		}
	}
	rawly(t, dir, older...)

	copyPath := file(dir) + ".before-1"
	// A copy that an interrupted start left half done is made anew.
	if err := os.WriteFile(copyPath+".partial", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir, nil)
	if n := number(t, d.Read(), `SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'`); n != int64(len(all)) {
		t.Errorf("the schema has %d triggers after its migration", n)
	}
	if n := number(t, d.Read(), `SELECT count(*) FROM users`); n != 2 {
		t.Errorf("%d users are left", n)
	}
	info, err := os.Stat(copyPath)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the copy: %v, %v", info, err)
	}
	if _, err := os.Stat(copyPath + ".partial"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a half copy is left")
	}
	kept := t.TempDir()
	if err := os.WriteFile(file(kept), content(t, copyPath), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := raw(t, kept)
	if n := number(t, pool, `SELECT count(*) FROM users`); n != 2 {
		t.Errorf("the copy has %d users", n)
	}
	if n := number(t, pool, `SELECT max(version_id) FROM goose_db_version`); n != 1 {
		t.Errorf("the copy has schema %d", n)
	}
}

// triggers are what the second and third migrations bring.
func triggers(t *testing.T, dir string) (names []string) {
	t.Helper()
	pool := raw(t, dir)
	defer func() { _ = pool.Close() }()
	rows, err := pool.QueryContext(t.Context(), `SELECT name FROM sqlite_schema WHERE type = 'trigger'`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestStartWithoutMigrationKeepsNoCopy(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	if err := open(t, dir, nil).Close(); err != nil {
		t.Fatal(err)
	}
	copies, err := filepath.Glob(file(dir) + ".before*")
	if err != nil || len(copies) != 0 {
		t.Errorf("copies: %v, %v", copies, err)
	}
}
