package bench_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"carnet/internal/house"
	"carnet/internal/pgtest"
	"carnet/test/bench"
	"carnet/test/harness"
)

// These variables make this test binary, started once more, something else than tests.
const (
	delayVariable    = "CARNET_BENCH_DELAY"    // a delayed way to a database
	uncachedVariable = "CARNET_BENCH_UNCACHED" // a server without a cache
)

// away is how far the remote database is, there and back.
const away = 2 * time.Millisecond

// database is a database on a server of this test's own, and the ways to it.
type database struct {
	t      *testing.T // whose it is
	server *pgtest.Server
	name   string
	near   way
	far    way
	admin  *pgx.Conn // of the superuser
}

// way is a way to a database.
type way struct {
	name      string
	url       string
	roundTrip time.Duration // of SELECT 1 on a connection that is open; the median
}

// counting makes a server count the statements that it carries out.
var counting = []string{"shared_preload_libraries=pg_stat_statements", "pg_stat_statements.max=1000", "shared_buffers=512MB"}

// quick are the settings of a server whose writing is not what is measured.
var quick = []string{"fsync=off", "synchronous_commit=off"}

// quickServer is shared by the tests of this package, and ends with their process.
var quickServer = sync.OnceValues(func() (*pgtest.Server, error) { return pgtest.New(slices.Concat(counting, quick)...) })

// startDatabase makes a database that holds what seed says, and returns values of its tokens.
func startDatabase(t *testing.T, name string, seed bench.Seed) (*database, []string) {
	t.Helper()
	server, err := quickServer()
	if err != nil {
		t.Fatal(err)
	}
	return addDatabase(t, server, name, seed)
}

func addDatabase(t *testing.T, server *pgtest.Server, name string, seed bench.Seed) (*database, []string) {
	t.Helper()
	if err := server.CreateDatabase(name, ""); err != nil {
		t.Fatal(err)
	}
	if err := server.Do(name, "CREATE EXTENSION pg_stat_statements"); err != nil {
		t.Fatal(err)
	}
	d := &database{t: t, server: server, name: name}
	d.near = way{name: "loopback", url: server.URL(name)}
	seed.Database = d.near.url
	values, err := seed.Fill(t.Context())
	if err != nil {
		t.Fatalf("fill the database: %v", err)
	}
	proxy := startProcess(t, delayVariable, delayed{Listen: harness.FreeAddress(t), Target: fmt.Sprintf("127.0.0.1:%d", server.Port), Each: away / 2})
	u, err := url.Parse(d.near.url)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = proxy
	d.far = way{name: "2 ms away", url: u.String()}
	d.connect()
	d.near.measure(t)
	d.far.measure(t)
	return d, values
}

// connect opens the superuser's connection.
func (d *database) connect() {
	d.t.Helper()
	u, err := url.Parse(d.near.url)
	if err != nil {
		d.t.Fatal(err)
	}
	u.User = url.User("postgres")
	admin, err := pgx.Connect(d.t.Context(), u.String())
	if err != nil {
		d.t.Fatal(err)
	}
	d.admin = admin
	d.t.Cleanup(func() { _ = admin.Close(context.Background()) })
}

// measure finds out how long the smallest question takes.
func (w *way) measure(t *testing.T) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	times := make([]time.Duration, of(20, 2000))
	for i := range times {
		began := time.Now()
		if _, err := c.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		times[i] = time.Since(began)
	}
	w.roundTrip = median(times)
}

// asked returns how many statements the nodes have sent to the database so far.
func (d *database) asked(t *testing.T) float64 {
	t.Helper()
	var n float64
	err := d.admin.QueryRow(t.Context(), `SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements
		WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND userid = 'carnet'::regrole`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lookupPool is the pool of a server that asks for every request. Its connections are open.
func lookupPool(url string, mode pgx.QueryExecMode) (*sql.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.DefaultQueryExecMode = mode
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(poolSize)
	pool.SetMaxIdleConns(poolSize)
	var open []*sql.Conn
	for range poolSize {
		c, err := pool.Conn(context.Background())
		if err != nil {
			return nil, err
		}
		open = append(open, c)
	}
	for _, c := range open {
		_ = c.Close() // back into the pool
	}
	return pool, nil
}

// poolSize is how many connections each mode has in all.
const poolSize = 32

// delayed says what a process that delays does.
type delayed struct {
	Listen, Target string
	Each           time.Duration
}

func (d delayed) address() string { return d.Listen }

func serveDelayed(job string) {
	var d delayed
	if err := json.Unmarshal([]byte(job), &d); err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", d.Listen)
	if err != nil {
		panic(err)
	}
	panic(bench.Delay{Target: d.Target, Each: d.Each}.Serve(listener))
}

// uncachedServer says what a server without a cache does.
type uncachedServer struct{ Listen, Database, Data string }

func (u uncachedServer) address() string { return u.Listen }

// serveUncached is the ordinary server in everything but that it looks every credential up.
func serveUncached(job string) {
	var u uncachedServer
	if err := json.Unmarshal([]byte(job), &u); err != nil {
		panic(err)
	}
	ctx := context.Background()
	h, err := house.Build(ctx, house.Plan{Data: u.Data, Database: u.Database, Patience: patience, PublicURL: "http://" + u.Listen, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	pool, err := lookupPool(u.Database, pgx.QueryExecModeCacheStatement)
	if err != nil {
		panic(err)
	}
	h.Verify.Uncached(pool)
	front, _, err := h.Doors(house.Front{PublicURL: &url.URL{Scheme: "http", Host: u.Listen}, TrustedProxies: []netip.Prefix{}})
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", u.Listen)
	if err != nil {
		panic(err)
	}
	go h.Tend(ctx)
	panic(front.Serve(ctx, listener, 0, 0))
}

// startProcess starts this test binary as something else, and returns where it listens.
func startProcess(t *testing.T, variable string, job interface{ address() string }) string {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	// What the ordinary program asks of the runtime by itself.
	cmd.Env = append(os.Environ(), variable+"="+string(text), "GOGC=400")
	var errs strings.Builder
	cmd.Stderr = &errs
	if _, err := cmd.StdinPipe(); err != nil { // open for as long as this process runs
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", job.address()); err == nil {
			_ = conn.Close()
			return job.address()
		}
	}
	t.Fatalf("%s does not listen:\n%s", variable, errs.String())
	return ""
}
