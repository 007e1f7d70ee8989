package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"carnet/internal/db"
	"carnet/internal/pgtest"
	"carnet/internal/problem"
	"carnet/internal/storetest"
	"carnet/internal/transfer"
)

func silent(string, int64, int64) {}

// ask returns the rows of a query on the database of a URL, as psql prints them.
func ask(t testing.TB, url, query string) string {
	t.Helper()
	server, err := pgtest.Shared()
	must(t, err)
	out, err := server.Ask(databaseOf(url), query)
	must(t, err)
	return out
}

func databaseOf(url string) string { return regexp.MustCompile(`/(\w+)\?`).FindStringSubmatch(url)[1] }

func TestCopyHoldsEverythingAndNothingElse(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	url := storetest.Database(t)
	before := read(t, file(dir), `SELECT * FROM epoch`)
	done, err := transfer.Copy(t.Context(), dir, url, silent)
	must(t, err)
	if len(done.Tables) < 20 || done.From != dir || strings.Contains(done.To, "@") {
		t.Errorf("told %+v", done)
	}
	var rows int64
	for _, table := range done.Tables {
		rows += table.Rows
		if n := read(t, file(dir), "SELECT count(*) FROM "+table.Name); n != itoa(table.Rows) || table.Rows == 0 || len(table.SHA256) != 64 {
			t.Errorf("of %s's %s rows, told is %+v", table.Name, n, table)
		}
	}
	if rows != done.Rows {
		t.Errorf("%d rows in all, told are %d", rows, done.Rows)
	}
	for query, want := range map[string]string{
		`SELECT name FROM users WHERE id = 'usr_2'`:                                                      "Bob “odd” ☃💩\n\t\\",
		`SELECT value FROM instance WHERE name = 'cursors'`:                                              `\x00ff10`,
		`SELECT free_again FROM rate_limits`:                                                             "-9223372036854775808",
		`SELECT last_number FROM project_counters`:                                                       "9223372036854775807",
		`SELECT assignee_id IS NULL, due_on IS NULL, description = '' FROM tasks WHERE id = 'tsk_1'`:     "t|t|t",
		`SELECT detail FROM audit_events`:                                                                `{"a":"\u0000"}`,
		`SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'`:                    "0",
		`SELECT count(*) FROM epoch JOIN changes ON changes.epoch = value AND changes.mark = epoch.mark`: "1",
		`SELECT value FROM epoch`:                                                                        itoa(done.Epoch),
		`SELECT convert_from(value, 'UTF8') FROM instance WHERE name = 'oldest_schema'`:                  "3",
	} {
		if got := ask(t, url, query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	if after := read(t, file(dir), `SELECT * FROM epoch`); after != before {
		t.Errorf("the source's epoch was %s and is %s", before, after)
	}
}

// The triggers work again: who copied has not left a store that forgets to tell its caches.
func TestChangesAfterACopyMoveTheEpochOfTheTarget(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	url := storetest.Database(t)
	node := storetest.OpenURL(t, url) // whoever looked at the database before sees another history
	l := &drops{}
	node.Subscribe(l)
	done, err := transfer.Copy(t.Context(), dir, url, silent)
	must(t, err)
	must(t, node.Fresh(t.Context()))
	if l.dropped != 1 {
		t.Errorf("a node that knew the empty database dropped its cache %d times", l.dropped)
	}
	must(t, run(t, node, `UPDATE tokens SET revoked_at = 1 WHERE id = 'tok_1'`))
	must(t, node.Fresh(t.Context()))
	if l.epoch != done.Epoch+1 || l.dropped != 1 || !slices.Contains(l.told, db.Change{Kind: db.TokenChanged, Key: "tok_1"}) {
		t.Errorf("after the copy's epoch %d, a revocation made it %d with %v and %d drops", done.Epoch, l.epoch, l.told, l.dropped)
	}
}

type drops struct {
	dropped int
	epoch   int64
	told    []db.Change
}

func (d *drops) Apply(e db.Epoch, changes []db.Change) { d.epoch, d.told = e.Value, changes }
func (d *drops) Drop(e db.Epoch)                       { d.epoch = e.Value; d.dropped++ }

func TestCopyIntoADatabaseThatHoldsAnythingIsRefused(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"a user":           `INSERT INTO users (id, email, email_key, name, password_hash, created_at) VALUES ('u', 'e', 'e', 'n', 'h', 1)`,
		"a key of its own": `INSERT INTO instance (name, value) VALUES ('cursors', '\x00')`,
		"an event":         `INSERT INTO audit_events SELECT '', 'e', 1, '', '', '', '', '', '', '', '', '', '', '', '', '', '', ''`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := full(t)
			url := storetest.Database(t)
			ask(t, url, statement)
			_, err := transfer.Copy(t.Context(), dir, url, silent)
			says(t, err, "The target is not empty", "Nothing was changed")
			if !problem.Is(err, problem.Conflict) {
				t.Errorf("it is no refusal: %v", err)
			}
			if got := ask(t, url, `SELECT count(*) FROM tokens`) + ask(t, url, `SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'`); got != "00" {
				t.Errorf("the target was changed: %s", got)
			}
		})
	}
}

func TestSecondCopyIsRefused(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	url := storetest.Database(t)
	_, err := transfer.Copy(t.Context(), dir, url, silent)
	must(t, err)
	_, err = transfer.Copy(t.Context(), dir, url, silent)
	says(t, err, "The target is not empty")
}

func TestCopyUnderAServerIsRefused(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	open(t, dir)
	_, err := transfer.Copy(t.Context(), dir, storetest.Database(t), silent)
	says(t, err, "A server runs on", "Stop it first")
	_, err = transfer.Copy(t.Context(), t.TempDir(), "postgres://x", silent)
	says(t, err, "There is no store")
	if !problem.Is(err, problem.NotFound) {
		t.Errorf("a folder without a store: %v", err)
	}
}

func TestCopyBringsTheSchemasOfBothSidesUpToDate(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	older(t, file(dir))
	server, err := pgtest.Shared()
	must(t, err)
	const name = "carnet_without_a_schema"
	must(t, server.CreateDatabase(name, ""))
	_, err = transfer.Copy(t.Context(), dir, server.URL(name), silent)
	must(t, err)
	if got := ask(t, server.URL(name), `SELECT count(*) FROM tokens`); got != "3" {
		t.Errorf("%s tokens are there", got)
	}
}

// Text that PostgreSQL cannot hold gets past no check of ours (internal/text), but a file can hold anything.
func TestTextThatPostgreSQLCannotHoldIsNamedAndNothingIsKept(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"NUL": `'a' || char(0) || 'b'`, "broken UTF-8": `CAST(x'61ff62' AS TEXT)`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := full(t)
			onFile(t, file(dir), `UPDATE tasks SET description = `+text+` WHERE id = 'tsk_2'`)
			url := storetest.Database(t)
			_, err := transfer.Copy(t.Context(), dir, url, silent)
			says(t, err, "tasks.description", "org_1/tsk_2", "PostgreSQL cannot hold")
			nothingKept(t, url)
		})
	}
}

func nothingKept(t *testing.T, url string) {
	t.Helper()
	if got := ask(t, url, `SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM instance) + (SELECT count(*) FROM changes)`); got != "2" {
		t.Errorf("the target holds %s rows, want the 2 of every empty one", got)
	}
	if got := ask(t, url, `SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'`); got != "0" {
		t.Errorf("%s triggers are disabled", got)
	}
}

// Whatever the target makes of the rows, it is found out before anything is kept: here it changes them on their way in.
func TestCopyThatDiffersIsNotKept(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"another value": {`UPDATE tasks SET title = 'x' WHERE id = 'tsk_1'`},
		"a row less":    {`DELETE FROM comments`},
		"a row more":    {`INSERT INTO rate_limits VALUES ('y', 1)`},
		"no text":       {`UPDATE tasks SET due_on = '' WHERE id = 'tsk_1'`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := full(t)
			url := storetest.Database(t)
			_, err := transfer.CopyDisturbed(t.Context(), dir, url, statements...)
			says(t, err, "differs", "Nothing was kept")
			nothingKept(t, url)
		})
	}
}

func TestInterruptedCopyKeepsNothing(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	url := storetest.Database(t)
	var steps []string
	_, err := transfer.Copy(t.Context(), dir, storetest.Database(t), func(step string, _, _ int64) { steps = append(steps, step) })
	must(t, err)
	for _, at := range []string{steps[0], steps[len(steps)/4], steps[len(steps)/2], steps[len(steps)-1]} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := transfer.Copy(ctx, dir, url, func(step string, _, _ int64) {
			if step == at {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted at %s: %v", at, err)
		}
		nothingKept(t, url)
	}
	_, err = transfer.Copy(t.Context(), dir, url, silent)
	must(t, err)
}

func TestProgressCountsEveryRowOnce(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	large(t, file(dir))
	var last, total int64
	var steps []string
	done, err := transfer.Copy(t.Context(), dir, storetest.Database(t), func(step string, n, of int64) {
		if strings.HasPrefix(step, "comparing") {
			return
		}
		if n < last || of != total && total != 0 {
			t.Errorf("%s: %d of %d after %d of %d", step, n, of, last, total)
		}
		last, total = n, of
		steps = append(steps, step)
	})
	must(t, err)
	if total != done.Rows || len(slices.Compact(steps)) != len(done.Tables) {
		t.Errorf("told %d of %d rows in %v", last, total, slices.Compact(steps))
	}
}

// Rows are handed on one by one: a store of any size is copied in the same memory. What the process holds anyway is not
// the copy's, so a copy of a small store tells what to compare with.
func TestCopyHoldsNoTableInMemory(t *testing.T) {
	heapDuringCopy := func(dir string) (most uint64) {
		_, err := transfer.Copy(t.Context(), dir, storetest.Database(t), func(string, int64, int64) {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		})
		must(t, err)
		return most
	}
	dir, _ := full(t)
	runtime.GC() // twice: what pools hold goes only then
	runtime.GC()
	small := heapDuringCopy(dir)
	const rows, bytesEach = 2000, 20_000
	onFile(t, file(dir), `PRAGMA synchronous = OFF`, fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO idempotency_keys (caller, target, key, fingerprint, outcome, created_at) SELECT 'c', 't', 'k' || i, randomblob(10), hex(randomblob(%d)), 1 FROM n`, rows, bytesEach/2))
	large := heapDuringCopy(dir)
	t.Logf("%d MB with a small store, %d MB while %d MB more were copied", small>>20, large>>20, rows*bytesEach>>20)
	if large > small+rows*bytesEach/2 {
		t.Errorf("the heap grew from %d to %d MB while %d MB were copied", small>>20, large>>20, rows*bytesEach>>20)
	}
}

func TestLargeRowsAreCopied(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	long := bytes.Repeat([]byte("ä☃"), 1<<20)
	onFile(t, file(dir), `UPDATE comments SET body = '`+string(long)+`'`)
	url := storetest.Database(t)
	_, err := transfer.Copy(t.Context(), dir, url, silent)
	must(t, err)
	if got := ask(t, url, `SELECT octet_length(body) FROM comments`); got != itoa(int64(len(long))) {
		t.Errorf("it has %s bytes", got)
	}
}
