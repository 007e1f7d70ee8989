package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/db"
	"carnet/internal/pgtest"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/storetest"
)

// openURL opens a database the way that a node does.
func openURL(t *testing.T, url string, change ...func(*db.Options)) (*db.DB, error) {
	t.Helper()
	options := db.Options{Dir: t.TempDir(), URL: url, Connections: 16, Patience: 20 * time.Second, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&options)
	}
	d, err := db.Open(t.Context(), options)
	if err == nil {
		t.Cleanup(func() { _ = d.Close() })
	}
	return d, err
}

func mustOpen(t *testing.T, url string, change ...func(*db.Options)) *db.DB {
	t.Helper()
	d, err := openURL(t, url, change...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// standing is that of a caller whose authority rests on a token.
type standing struct{ overtaken atomic.Bool }

func (s *standing) Overtaken() bool { return s.overtaken.Load() }
func (*standing) Subjects() []string {
	return []string{"token:tok_1", "user:usr_1", "organization:org_1"}
}

func asCaller(ctx context.Context) context.Context {
	return request.With(ctx, &request.Info{Standing: &standing{}})
}

// A write that began before its caller lost their authority, on another node, is not committed after that.
func TestP6NodeCommitsNothingForACallerWhoseAuthorityIsGone(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	here, there := mustOpen(t, url), mustOpen(t, url)
	write(t, here, house...)
	for name, taken := range map[string]string{
		"revoked":   `UPDATE tokens SET revoked_at = 1`,
		"suspended": `UPDATE users SET suspended_at = 1 WHERE id = 'usr_1'`,
		"removed":   `DELETE FROM memberships`,
		"hidden":    `UPDATE projects SET visibility = 'private'`,
	} {
		fresh(t, here)
		err := here.Write(asCaller(t.Context()), func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, `UPDATE tasks SET title = 'written too late'`); err != nil {
				return err
			}
			write(t, there, taken) // it returns, while the other one is still writing
			return nil
		})
		if !errors.Is(err, db.ErrOvertaken) {
			t.Errorf("%s: the write ended with %v", name, err)
		}
	}
	if n := number(t, here.Read(), `SELECT count(*) FROM tasks WHERE title = 'written too late'`); n != 0 {
		t.Error("it was written all the same")
	}
	// What concerns others, and what the write does itself, is no reason.
	fresh(t, here)
	err := here.Write(asCaller(t.Context()), func(ctx context.Context, tx *sql.Tx) error {
		write(t, there, `UPDATE users SET suspended_at = 2 WHERE id = 'usr_2'`)
		_, err := tx.ExecContext(ctx, `UPDATE tokens SET revoked_at = 3`)
		return err
	})
	if err != nil || number(t, here.Read(), `SELECT revoked_at FROM tokens`) != 3 {
		t.Errorf("a write that nothing overtook: %v", err)
	}
}

// Many who ask at once share few reads, and every one of them learns of what was committed before they asked.
func TestFreshnessIsShared(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	here, there := mustOpen(t, url), mustOpen(t, url)
	write(t, here, house...)
	fresh(t, here)
	l := &listener{}
	here.Subscribe(l)
	before := here.Stats().Reads()
	const rounds, askers = 20, 100
	for i := range rounds {
		write(t, there, fmt.Sprintf(`UPDATE tokens SET revoked_at = %d`, i+1))
		epoch := epochOf(t, there)
		var all sync.WaitGroup
		for range askers {
			all.Go(func() {
				if err := here.Fresh(t.Context()); err != nil || l.at(db.Change{Kind: db.TokenChanged, Key: "tok_1"}) < epoch {
					t.Errorf("asked after epoch %d was committed, and knows less: %v", epoch, err)
				}
			})
		}
		all.Wait()
	}
	if reads := here.Stats().Reads() - before; reads > rounds*askers/4 {
		t.Errorf("%d askers took %d reads", rounds*askers, reads)
	}
	if l.dropped() != 0 {
		t.Error("everything was dropped")
	}
}

// A conflict with another writer is no failure: the write is begun again.
func TestWritersWhoMeetAreBothDone(t *testing.T) {
	t.Parallel()
	d := storetest.OpenPostgres(t)
	write(t, d, house...)
	// Each takes the rows in another order: sooner or later two wait for each other.
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			for range 20 {
				first, second := "usr_1", "usr_2"
				if i%2 == 0 {
					first, second = second, first
				}
				err := try(t.Context(), d, fmt.Sprintf(`UPDATE users SET name = name || 'x' WHERE id = '%s'`, first), fmt.Sprintf(`UPDATE users SET name = name || 'x' WHERE id = '%s'`, second))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := number(t, d.Read(), `SELECT length(name) FROM users WHERE id = 'usr_1'`); n != 41 {
		t.Errorf("40 writes left %d marks", n-1)
	}
}

// Two who hold the same key take turns; the second one sees what the first one did.
func TestHoldMakesReadAndWriteOneStep(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	nodes := []*db.DB{mustOpen(t, url), mustOpen(t, url)}
	write(t, nodes[0], `INSERT INTO rate_limits (bucket, free_again) VALUES ('b', 0)`)
	var all sync.WaitGroup
	for i := range 16 {
		d := nodes[i%2]
		all.Go(func() {
			for range 5 {
				err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
					if err := d.Hold(ctx, tx, "b", "a\x00 text that the server would not read"); err != nil {
						return err
					}
					n := number(t, tx, `SELECT free_again FROM rate_limits`)
					_, err := tx.ExecContext(ctx, `UPDATE rate_limits SET free_again = $1`, n+1)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := number(t, nodes[0].Read(), `SELECT free_again FROM rate_limits`); n != 80 {
		t.Errorf("80 steps led to %d", n)
	}
}

// TRUNCATE runs no trigger for its rows.
func TestTruncateDropsEverything(t *testing.T) {
	t.Parallel()
	d := storetest.OpenPostgres(t)
	write(t, d, house...)
	fresh(t, d)
	l := &listener{}
	d.Subscribe(l)
	write(t, d, `TRUNCATE token_projects`)
	fresh(t, d)
	if l.dropped() != 1 {
		t.Errorf("everything was dropped %d times", l.dropped())
	}
}

// What a commit did that the server did not confirm is not known, and nobody is told that it was done.
func TestUnconfirmedCommitIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	server, err := pgtest.New("fsync=off")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if err := server.CreateDatabase("carnet", ""); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, server.URL("carnet"))
	write(t, d, house[:1]...)
	// From now on every commit waits for a standby that there is not, until the statement's time is over. Then the server
	// commits without it, and warns.
	if err := server.Do("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if shown, err := server.Ask("postgres", "SHOW synchronous_standby_names"); err == nil && shown == "nobody" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not take the setting")
		}
	}
	err = try(t.Context(), d, `UPDATE users SET suspended_at = 1`)
	var refusal *problem.Error
	if !errors.Is(err, db.ErrUnknown) || !errors.As(err, &refusal) || !strings.Contains(refusal.Detail, "may or may not") {
		t.Errorf("a commit without its standby: %v", err)
	}
}

// Nodes that start together on an empty database leave it to one of them to make the schema.
func TestNodesThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.CreateDatabase("empty_for_nodes", ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Do("postgres", "DROP DATABASE empty_for_nodes WITH (FORCE)") })
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := openURL(t, server.URL("empty_for_nodes")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n, err := server.Ask("empty_for_nodes", "SELECT count(*) FROM (SELECT version_id FROM goose_db_version WHERE version_id > 0 GROUP BY version_id HAVING count(*) > 1) twice"); err != nil || n != "0" {
		t.Errorf("%s migrations ran twice, error %v", n, err)
	}
}

// A node of the version before goes on while an upgrade rolls over its neighbours, where the newer schema permits it.
func TestOlderNodeServesANewerSchemaThatPermitsIt(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	d := mustOpen(t, url)
	write(t, d, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, true)`)
	if _, err := openURL(t, url); err != nil {
		t.Errorf("the newer schema is good for this program: %v", err)
	}
	write(t, d, `UPDATE instance SET value = '998' WHERE name = 'oldest_schema'`)
	if _, err := openURL(t, url); err == nil || !strings.Contains(err.Error(), "newer") || !strings.Contains(err.Error(), "Nothing was changed") {
		t.Errorf("the newer schema is not for this program: %v", err)
	}
	if err := d.Fresh(t.Context()); err != nil {
		t.Errorf("a node that runs: %v", err)
	}
}

// A node whose clock is off would let expired tokens in: it is not ready.
func TestNodeWithAWrongClockIsNotReady(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	d := mustOpen(t, url)
	if err := d.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, d, `CREATE SCHEMA fake`, `CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT now() + interval ''3 seconds'''`)
	off := mustOpen(t, url+"&options=-c%20search_path%3Dfake,pg_catalog,public")
	if err := off.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("a node that is 3 seconds off: %v", err)
	}
	if skew := off.Stats().Skew(); skew < 2500*time.Millisecond || skew > 3500*time.Millisecond {
		t.Errorf("it is said to be %v off", skew)
	}
}

// pipe is a way to the database that can be stopped up.
type pipe struct {
	listener net.Listener
	stopped  atomic.Bool // nothing passes
	full     atomic.Bool // nothing passes of connections that come from now on
	held     atomic.Int64
}

func newPipe(t *testing.T, target string) *pipe {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pipe{listener: listener}
	t.Cleanup(func() { p.stopped.Store(false); p.full.Store(false); _ = listener.Close() })
	pass := func(to, from net.Conn) {
		defer func() { _ = to.Close() }()
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			for p.stopped.Load() {
				time.Sleep(time.Millisecond)
			}
			if n > 0 {
				_, _ = to.Write(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				if p.full.Load() {
					p.held.Add(1)
				}
				for p.full.Load() {
					time.Sleep(time.Millisecond)
				}
				out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", target)
				if err != nil {
					_ = in.Close()
					return
				}
				go pass(out, in)
				pass(in, out)
			}()
		}
	}()
	return p
}

// A node that hears nothing says so within 250 ms, and knows all that it missed when it is back.
func TestNodeThatIsCutOffSaysSoInTime(t *testing.T) {
	url := storetest.Database(t)
	server, err := pgtest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	p := newPipe(t, fmt.Sprintf("127.0.0.1:%d", server.Port))
	there := mustOpen(t, url)
	here := mustOpen(t, strings.Replace(url, fmt.Sprintf("127.0.0.1:%d", server.Port), p.listener.Addr().String(), 1), func(o *db.Options) { o.Patience = 0 })
	write(t, there, house...)
	fresh(t, there)
	l := &listener{}
	here.Subscribe(l)
	p.stopped.Store(true)
	best := time.Hour
	for range 10 { // the machine may be busy with something else for a moment
		began := time.Now()
		if err := here.Fresh(t.Context()); err == nil {
			t.Fatal("a node that hears nothing takes its cache for fresh")
		}
		best = min(best, time.Since(began))
	}
	if best > 250*time.Millisecond {
		t.Errorf("it took %v to say so", best)
	}
	// Those whom nobody verifies, such as people who sign in, are told soon as well, and at once when it lasts.
	for i, most := range []time.Duration{10 * time.Second, 2 * time.Second} {
		began := time.Now()
		var one int
		if err := here.Explain(here.Read().QueryRowContext(t.Context(), `SELECT 1`).Scan(&one)); !problem.Is(err, problem.Overloaded) || time.Since(began) > most {
			t.Errorf("read %d ended after %v with %v", i, time.Since(began), err)
		}
	}
	began := time.Now()
	err = here.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE tokens SET revoked_at = 2`)
		return err
	})
	if !problem.Is(err, problem.Overloaded) || time.Since(began) > 2*time.Second {
		t.Errorf("a write ended after %v with %v", time.Since(began), err)
	}
	write(t, there, `UPDATE tokens SET revoked_at = 1`)
	epoch := epochOf(t, there)
	p.stopped.Store(false)
	for deadline := time.Now().Add(20 * time.Second); here.Fresh(t.Context()) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("it does not recover")
		}
	}
	if got := l.at(db.Change{Kind: db.TokenChanged, Key: "tok_1"}); got < epoch && l.dropped() == 0 {
		t.Errorf("it is back, and knows of epoch %d, not %d", got, epoch)
	}
}

// Where new connections hang, those that are open serve everybody.
func TestConnectionThatDoesNotOpenHoldsUpNobody(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	server, err := pgtest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	const most = 20
	p := newPipe(t, fmt.Sprintf("127.0.0.1:%d", server.Port))
	d := mustOpen(t, strings.Replace(url, fmt.Sprintf("127.0.0.1:%d", server.Port), p.listener.Addr().String(), 1), func(o *db.Options) { o.Connections = most })
	read := func() (time.Duration, error) {
		var one int
		began := time.Now()
		err := d.Read().QueryRowContext(t.Context(), `SELECT 1 FROM pg_sleep(0.2)`).Scan(&one)
		return time.Since(began), err
	}
	if _, err := read(); err != nil {
		t.Fatal(err)
	}
	p.full.Store(true)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if took, err := read(); err != nil || took > 3*time.Second {
				t.Errorf("a read ended after %v with %v", took, err)
			}
		})
	}
	wg.Wait()
	if held := p.held.Load(); held == 0 || held > most {
		t.Errorf("%d connections are being opened", held)
	}
	// Once they open, they are used, and there are never more of them than there may be.
	p.full.Store(false)
	for range 40 {
		wg.Go(func() {
			if _, err := read(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var open int
	if err := d.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()`).Scan(&open); err != nil || open > most {
		t.Errorf("%d connections, %v", open, err)
	}
	p.stopped.Store(true)
	began := time.Now()
	if err := d.Close(); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("leaving a silent server took %v: %v", time.Since(began), err)
	}
}

func TestDatabaseThatCannotBeReachedIsExplained(t *testing.T) {
	t.Parallel()
	for url, words := range map[string]string{
		"postgres://carnet:swordfish@127.0.0.1:1/carnet?sslmode=disable":                         "the database carnet on 127.0.0.1 cannot be reached",
		"postgres://carnet:swordfish@127.0.0.1:1,127.0.0.1:2/carnet?sslmode=disable":             "connection refused",
		"postgres://carnet:swordfish@":                                                           "cannot be reached",
		"postgres://carnet:swordfish@[::1":                                                       "cannot be read",
		"postgres://carnet:sword#fish/swordfish@127.0.0.1/carnet":                                "percent-encoded",
		"mysql://carnet:swordfish@127.0.0.1/carnet":                                              "looks like postgres://",
		"postgres://carnet:swordfish@127.0.0.1/carnet?sslmode=verify-full&sslrootcert=/none.pem": "open /none.pem: no such file",
		strings.Replace(storetest.Database(t), "carnet@", "nobody@", 1):                          `role "nobody" does not exist`,
	} {
		_, err := openURL(t, url)
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "swordfish") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A transaction begins with its first statement, however that is sent: nothing of one that fails stays.
func TestATransactionThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	d := mustOpen(t, storetest.Database(t))
	write(t, d, `CREATE TABLE kept (id INTEGER PRIMARY KEY)`)
	failed := errors.New("no")
	for name, first := range map[string]func(ctx context.Context, tx *sql.Tx) error{
		"a statement without parameters": func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO kept VALUES (1)`)
			return err
		},
		"a statement with parameters": func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO kept VALUES ($1)`, 1)
			return err
		},
		"a query": func(ctx context.Context, tx *sql.Tx) error {
			var id int
			return tx.QueryRowContext(ctx, `INSERT INTO kept VALUES ($1) RETURNING id`, 1).Scan(&id)
		},
		"a prepared statement": func(ctx context.Context, tx *sql.Tx) error {
			statement, err := tx.PrepareContext(ctx, `INSERT INTO kept VALUES ($1)`)
			if err != nil {
				return err
			}
			defer func() { _ = statement.Close() }()
			_, err = statement.ExecContext(ctx, 1)
			return err
		},
	} {
		err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			if err := first(ctx, tx); err != nil {
				return err
			}
			return failed
		})
		if !errors.Is(err, failed) || number(t, d.Read(), `SELECT count(*) FROM kept`) != 0 {
			t.Errorf("%s: %v, and %d rows stay", name, err, number(t, d.Read(), `SELECT count(*) FROM kept`))
		}
	}
	if err := d.Write(t.Context(), func(context.Context, *sql.Tx) error { return nil }); err != nil {
		t.Errorf("a transaction without statements: %v", err)
	}
}

// Where nothing is between a node and the server, the server plans a statement once. What it forgets, or what no longer
// fits the schema, is planned anew, and nobody notices. A URL that says how statements are run is obeyed.
func TestStatementsArePlannedOnceWithoutAPooler(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	planned := func(d *db.DB) (n int64) {
		const twice = `SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE $1`
		number(t, d.Read(), twice, "%pg_prepared_statements%")
		return number(t, d.Read(), twice, "%pg_prepared_statements%")
	}
	d := mustOpen(t, url)
	if n := planned(d); n != 1 {
		t.Errorf("%d statements are kept", n)
	}
	if n := planned(mustOpen(t, url+"&default_query_exec_mode=exec")); n != 0 {
		t.Errorf("%d statements are kept although the URL says not to", n)
	}

	write(t, d, `CREATE TABLE changing (id INTEGER PRIMARY KEY, value INTEGER)`, `INSERT INTO changing VALUES (1, 7)`)
	use := func() {
		t.Helper()
		if n := number(t, d.Read(), `SELECT value FROM changing WHERE id = $1`, 1); n != 7 {
			t.Errorf("read %d", n)
		}
		err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			var value int64
			if err := tx.QueryRowContext(ctx, `SELECT value FROM changing WHERE id = $1 FOR UPDATE`, 1).Scan(&value); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `UPDATE changing SET value = $1 WHERE id = $2`, value, 1)
			return err
		})
		if err != nil {
			t.Errorf("write: %v", err)
		}
	}
	use()
	write(t, d, `ALTER TABLE changing ALTER value TYPE BIGINT`)
	use()
	for range 20 {
		if err := d.Read().QueryRowContext(t.Context(), `DEALLOCATE ALL`).Scan(); !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
		write(t, d, `DEALLOCATE ALL`)
		use()
	}
}
