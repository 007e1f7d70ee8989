// Package guards_test takes each guard of the caches out of the program, one at a time, and has the nodes suite find out:
// a guard that nothing misses is none (compare SpiceDB's "new enemy" test, which first shows that the unprotected build
// fails).
package guards_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/test/harness"
)

// guard is something that keeps stale grants from being believed.
type guard struct {
	name    string
	without []cut
}

// cut takes a text out of a file and puts another in its place.
type cut struct{ file, old, new string }

const (
	epochFile   = "internal/db/postgres_epoch.go"
	connectFile = "internal/db/postgres.go"
	cacheFile   = "internal/verify/cache.go"
	readFile    = "internal/verify/read.go"
	triggerFile = "internal/db/migrations/postgres/00003_nodes.sql"
)

var guards = []guard{
	{"trigger", []cut{{triggerFile, "expires_at, revoked_at, paused_at, resting_since ON tokens", "expires_at, paused_at, resting_since ON tokens"}}},
	{"drop on doubt", []cut{{epochFile, "if !whole || !reaches || read > mostChanges {", "if whole && !whole && reaches {"},
		{epochFile, "case seen.Value < known.Value, seen.Value == applied.Value:", "case seen.Value < known.Value:"}}},
	{"read began after arrival", []cut{
		{epochFile, "	mine := f.boarding\n	if mine == nil {", "	mine := f.boarding\n	if f.current != nil {\n		mine = f.current\n	} else if mine == nil {"},
		{epochFile, "	boarding *flight // not begun", "	current  *flight\n	boarding *flight // not begun"},
		{epochFile, "	current := f.boarding\n	f.boarding = nil\n", "	current := f.boarding\n	f.boarding = nil\n	f.current = current\n"},
	}},
	{"fill guard", []cut{{cacheFile, "if epoch != c.epoch {", "if epoch != c.epoch && k.session {"}}},
	{"primary only", []cut{
		{connectFile, "config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite", "config.ValidateConnect = func(context.Context, *pgconn.PgConn) error { return nil }"},
		{connectFile, "* 1000000)::bigint FROM epoch WHERE id = 1 AND NOT pg_is_in_recovery()", "* 1000000)::bigint FROM epoch WHERE id = 1"},
		{epochFile, "SELECT value, mark FROM epoch WHERE id = 1 AND NOT pg_is_in_recovery()", "SELECT value, mark FROM epoch WHERE id = 1"},
		{readFile, "case at.Value < known.Value:", "case at.Value < known.Value && g == nil:"},
	}},
}

// TestEveryGuardOfTheCachesIsMissed prints a line of a table for each guard. In the short run it looks at one of them,
// another one each day.
func TestEveryGuardOfTheCachesIsMissed(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	suite := filepath.Join(t.TempDir(), "nodes.test")
	build(t, root, "go", "test", "-c", "-o", suite, "./test/nodes")
	kept := guards
	if os.Getenv("CARNET_SOAK") == "" {
		kept = guards[time.Now().YearDay()%len(guards):][:1]
	}
	for _, g := range kept {
		t.Run(g.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "carnet")
			build(t, root, "go", "build", "-overlay", overlay(t, root, g), "-o", program, "./cmd/carnet")
			failed, out := fails(t, root, suite, program)
			switch {
			case len(failed) == 0:
				t.Errorf("without %s, nothing fails:\n%s", g.name, out)
			case !slices.ContainsFunc(failed, func(name string) bool { return strings.HasPrefix(name, strings.ReplaceAll(g.name, " ", "_")) }):
				t.Errorf("without %s, another test fails than the one that is for it: %v\n%s", g.name, failed, out)
			default:
				t.Logf("| %s | fails: %s |", g.name, strings.Join(failed, "; "))
			}
		})
	}
}

// overlay writes the files without the guard, and the list that makes the build take them.
func overlay(t *testing.T, root string, g guard) string {
	t.Helper()
	changed := map[string][]byte{}
	for _, c := range g.without {
		source := changed[c.file]
		if source == nil {
			var err error
			if source, err = os.ReadFile(filepath.Join(root, c.file)); err != nil {
				t.Fatal(err)
			}
		}
		if n := bytes.Count(source, []byte(c.old)); n != 1 {
			t.Fatalf("the text to take out stands %d times in %s, adapt it to the code:\n%s", n, c.file, c.old)
		}
		changed[c.file] = bytes.Replace(source, []byte(c.old), []byte(c.new), 1)
	}
	return harness.Overlay(t, changed)
}

func build(t *testing.T, root string, command ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
}

// fails runs the suite on a program and returns the names of its parts that failed.
func fails(t *testing.T, root, suite, program string) (failed []string, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, suite, "-test.run", "TestP6EachGuardHoldsBackWhatItShould")
	cmd.Dir = filepath.Join(root, "test", "nodes")
	cmd.Env = append(os.Environ(), "CARNET_BINARY="+program)
	said, err := cmd.CombinedOutput()
	if err == nil {
		return nil, string(said)
	}
	const mark = "--- FAIL: TestP6EachGuardHoldsBackWhatItShould/"
	for line := range strings.Lines(string(said)) {
		if _, name, found := strings.Cut(line, mark); found {
			name, _, _ = strings.Cut(name, " (")
			failed = append(failed, name)
		}
	}
	if len(failed) == 0 {
		return []string{fmt.Sprintf("the suite itself: %v", err)}, string(said)
	}
	return failed, string(said)
}
