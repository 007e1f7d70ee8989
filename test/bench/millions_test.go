package bench_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/pgtest"
	"carnet/internal/verify"
	"carnet/test/bench"
	"carnet/test/harness"
)

// tokensInDatabase is how many tokens the large database has; CARNET_BENCH_TOKENS says otherwise.
func tokensInDatabase(t *testing.T) int {
	t.Helper()
	if text := os.Getenv("CARNET_BENCH_TOKENS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return of(5_000, 10_000_000)
}

func TestManyMillionTokensInADatabaseAreVerified(t *testing.T) {
	settings := []string{"wal_level=minimal", "max_wal_senders=0", "max_wal_size=16GB", "shared_buffers=1GB", "autovacuum=off"}
	server, err := pgtest.New(slices.Concat(counting, quick, settings)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	n := tokensInDatabase(t)
	began := time.Now()
	d, values := addDatabase(t, server, "many", bench.Seed{Tokens: n, Keep: of(2_000, 100_000)})
	took := time.Since(began)
	var size int64
	if err := d.admin.QueryRow(t.Context(), `SELECT pg_database_size(current_database())`).Scan(&size); err != nil {
		t.Fatal(err)
	}
	note("tokens in a PostgreSQL database; its size; time to fill it", "", fmt.Sprintf("%s; %s MB; %s", count(n), count(size>>20), short(took)))
	rand.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	m := &many{d: d, values: values}
	t.Run("first in process", m.inProcess)
	t.Run("first over HTTP", m.overHTTP)
	t.Run("hot", m.hot)
}

// many is a database with very many tokens.
type many struct {
	d      *database
	values []string
	taken  int
}

// fresh returns n values that were not used yet.
func (m *many) fresh(t *testing.T, n int) []string {
	t.Helper()
	if m.taken+n > len(m.values) {
		t.Fatalf("%d values were kept, and %d are taken already", len(m.values), m.taken)
	}
	m.taken += n
	return m.values[m.taken-n : m.taken]
}

// forget stops the server, makes the system forget its files as far as it heeds the advice, and starts it again.
func (m *many) forget(t *testing.T) {
	t.Helper()
	var folder string
	if err := m.d.admin.QueryRow(t.Context(), `SHOW data_directory`).Scan(&folder); err != nil {
		t.Fatal(err)
	}
	_ = m.d.admin.Close(t.Context())
	m.d.server.Stop()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			forgetFile(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.d.server.Start(); err != nil {
		t.Fatal(err)
	}
	m.d.connect()
}

// firstModes are the ways to send the look-up.
var firstModes = []struct{ name, parameter string }{
	{"", ""},
	{", planned each time, as behind a pooler (default_query_exec_mode=exec in the URL)", "&default_query_exec_mode=exec"},
}

func (m *many) inProcess(t *testing.T) {
	bar := 2 * time.Millisecond
	first := func(what, url string, cold bool) {
		if cold {
			m.forget(t)
		}
		store, err := db.Open(context.Background(), openOptions(t, url))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = store.Close() }()
		service := newVerify(store)
		warm(t, service, m.fresh(t, of(50, 500))) // connections are opened, catalogues read
		times := make([]time.Duration, 0, of(100, 5_000))
		for _, value := range m.fresh(t, cap(times)) {
			began := time.Now()
			if _, err := service.Verify(context.Background(), value, lastuse.Origin{}); err != nil {
				t.Fatal(err)
			}
			times = append(times, time.Since(began))
		}
		slices.Sort(times)
		r := bench.Result{Times: times}
		note(what, "p99 ≤ 2 ms", fmt.Sprintf("p50 %s, p99 %s", short(r.At(.5)), short(r.At(.99))), r.At(.99) <= bar)
	}
	for _, mode := range firstModes {
		first("first verification of a token in process, database on disk only"+mode.name, m.d.near.url+mode.parameter, true)
		first("… database in memory as far as it was used"+mode.name, m.d.near.url+mode.parameter, false)
	}
}

func (m *many) overHTTP(t *testing.T) {
	for _, mode := range firstModes {
		m.forget(t)
		node := harness.Start(t, harness.On(m.d.near.url+mode.parameter), harness.Args("--no-access-log"))
		address := strings.TrimPrefix(node.URL, "http://")
		for _, connections := range []int{1, 16} {
			values := m.fresh(t, of(100, 5_000))
			load := bench.Load{Address: address, Connections: connections, Requests: len(values), Want: http.StatusForbidden,
				Request: func(i int) []byte { return bench.Get(address, verifiedOnly, values[i]) }}
			r, err := load.Run()
			if err != nil {
				t.Fatal(err)
			}
			note(fmt.Sprintf("first verification of a token over HTTP, %d at once, database on disk only%s", connections, mode.name), "",
				fmt.Sprintf("p50 %s, p99 %s, %s/s", short(r.At(.5)), short(r.At(.99)), count(r.Rate())))
		}
		node.Stop()
	}
}

func (m *many) hot(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	values := m.fresh(t, of(100, 1_000))
	store := openStore(t, m.d.near.url)
	epoch, query := newVerify(store), newVerify(store)
	pool, err := lookupPool(m.d.near.url, pgx.QueryExecModeCacheStatement)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	query.Uncached(pool)
	warm(t, epoch, values)
	warm(t, query, values)
	cells := []*cell{{mode: queryMode}, {mode: epochMode}}
	for i, service := range []*verify.Service{query, epoch} {
		cells[i].callers, cells[i].way = most, m.d.near
		cells[i].run = func(t *testing.T, callers int) (bench.Result, uint64) {
			return crowd(t, service, values, callers, seconds(t))
		}
	}
	for range turns() {
		for _, c := range cells {
			c.round(t, m.d)
		}
	}
	for _, c := range cells {
		c.note(fmt.Sprintf("verifications in process, %s tokens", count(tokensInDatabase(t))))
	}
}
