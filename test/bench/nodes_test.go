package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/verify"
	"carnet/test/bench"
	"carnet/test/harness"
)

// seconds returns how long each cell is measured in each round; CARNET_BENCH_CELL says otherwise (1s, 500ms).
func seconds(t *testing.T) time.Duration {
	t.Helper()
	if text := os.Getenv("CARNET_BENCH_CELL"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return of(50*time.Millisecond, 2*time.Second)
}

// cell is what is measured in turns with others: one way to verify, so many callers, one way to the database.
type cell struct {
	mode    string
	callers int
	way     way
	run     func(t *testing.T, callers int) (r bench.Result, allocated uint64)

	rate, asked, allocations []float64
	p50, p99                 []time.Duration
}

func (c *cell) round(t *testing.T, d *database) {
	t.Helper()
	before := d.asked(t)
	r, allocated := c.run(t, c.callers)
	asked := d.asked(t) - before
	n := float64(max(len(r.Times), 1))
	c.rate, c.p50, c.p99 = append(c.rate, r.Rate()), append(c.p50, r.At(.5)), append(c.p99, r.At(.99))
	c.asked, c.allocations = append(c.asked, asked/r.Took.Seconds()), append(c.allocations, float64(allocated)/n)
}

func (c *cell) note(what string) {
	figure := fmt.Sprintf("%s/s, p50 %s, p99 %s; %s queries/s", count(median(c.rate)), short(median(c.p50)), short(median(c.p99)), count(median(c.asked)))
	note(fmt.Sprintf("%s, database %s, %d at once, %s", what, c.way.name, c.callers, c.mode), "", figure)
}

// The modes that are compared.
const (
	epochMode = "cache and epoch"
	queryMode = "a query for each request"
	plainMode = "… planned each time, as behind a pooler"
)

// in finds a cell.
func in(cells []*cell, w way, callers int, mode string) *cell {
	i := slices.IndexFunc(cells, func(c *cell) bool { return c.way.name == w.name && c.callers == callers && c.mode == mode })
	return cells[i]
}

func TestVerifyingWithTheEpochCostsRoundTripsAndNotQueries(t *testing.T) {
	d, values := startDatabase(t, "compared", bench.Seed{Tokens: of(1_000, 100_000), Keep: 1_000})
	note("round trip of SELECT 1, database on loopback; 2 ms away", "", fmt.Sprintf("%s; %s", short(d.near.roundTrip), short(d.far.roundTrip)))
	t.Run("in process", func(t *testing.T) { compareInProcess(t, d, values) })
	t.Run("over HTTP", func(t *testing.T) { compareOverHTTP(t, d, values) })
}

// crowds are how many verify at once, from one to most.
var crowds = of([]int{8}, []int{1, 16, 256})

var most = slices.Max(crowds)

// turns is how often each cell is measured.
func turns() int { return of(1, 5) }

func compareInProcess(t *testing.T, d *database, values []string) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the ordinary program does
	var cells []*cell
	for _, w := range []way{d.near, d.far} {
		store := openStore(t, w.url)
		services := map[string]*verify.Service{epochMode: newVerify(store), queryMode: newVerify(store), plainMode: newVerify(store)}
		for mode, statements := range map[string]pgx.QueryExecMode{queryMode: pgx.QueryExecModeCacheStatement, plainMode: pgx.QueryExecModeExec} {
			pool, err := lookupPool(w.url, statements)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = pool.Close() })
			services[mode].Uncached(pool)
		}
		for _, service := range services {
			warm(t, service, values)
		}
		for _, callers := range crowds {
			for _, mode := range []string{queryMode, plainMode, epochMode} {
				service := services[mode]
				cells = append(cells, &cell{mode: mode, callers: callers, way: w, run: func(t *testing.T, callers int) (bench.Result, uint64) {
					return crowd(t, service, values, callers, seconds(t))
				}})
			}
		}
	}
	for range turns() {
		for _, c := range cells {
			c.round(t, d)
		}
	}
	for _, c := range cells {
		c.note("verifications in process")
	}
	query, epoch := in(cells, d.far, most, queryMode), in(cells, d.far, most, epochMode)
	times := median(epoch.rate) / median(query.rate)
	note("… with the epoch to a query for each request, 2 ms away, 256 at once: verifications/s", "≥ 4", fmt.Sprintf("%.2f", times), times >= 4)
	ceiling := poolSize / d.far.roundTrip.Seconds()
	note("… to what 32 connections can carry over this round trip, whatever the machine", "", fmt.Sprintf("%.2f (%s/s)", median(epoch.rate)/ceiling, count(ceiling)))
	for _, callers := range crowds {
		c := in(cells, d.far, callers, epochMode)
		trips := float64(median(c.p50)) / float64(d.far.roundTrip)
		note(fmt.Sprintf("… p50 with the epoch, 2 ms away, %d at once, in round trips", callers), "≤ 1.5", fmt.Sprintf("%.2f", trips), trips <= 1.5)
	}
	bound := 2/d.far.roundTrip.Seconds() + 1
	note("… database queries/s of a node under full load, 2 ms away", "≤ two for each round trip, and the look once a second: "+count(bound),
		count(median(epoch.asked)), median(epoch.asked) <= bound)
	near := in(cells, d.near, most, epochMode)
	note("… allocations for each hot verification with the epoch, 256 at once; 1 at once", "",
		fmt.Sprintf("%.2f; %.2f", median(near.allocations), median(in(cells, d.near, crowds[0], epochMode).allocations)))
}

// patience is that of the servers of all suites: a machine that does much at once is slow, and nothing is cut off here.
const patience = 10 * time.Second

// openStore opens a database as a node does.
func openStore(t *testing.T, url string) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), openOptions(t, url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func openOptions(t *testing.T, url string) db.Options {
	return db.Options{
		URL: url, Connections: poolSize, Patience: patience, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Error(err) },
	}
}

func newVerify(d *db.DB) *verify.Service {
	return verify.New(verify.Config{DB: d, Now: time.Now, TokenUses: lastuse.New(), SessionUses: lastuse.New(), LateUses: lastuse.New()})
}

// warm has every value verified once, so that grants are read and connections open.
func warm(t *testing.T, service *verify.Service, values []string) {
	t.Helper()
	var wg sync.WaitGroup
	for part := range slices.Chunk(values, max(len(values)/poolSize, 1)) {
		wg.Go(func() {
			for _, value := range part {
				if _, err := service.Verify(context.Background(), value, lastuse.Origin{}); err != nil {
					t.Errorf("verify for the first time: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// crowd has callers verify one value after the other, and returns what they saw and how often they allocated.
func crowd(t *testing.T, service *verify.Service, values []string, callers int, length time.Duration) (bench.Result, uint64) {
	t.Helper()
	from := lastuse.Origin{Address: netip.MustParseAddr("192.0.2.7"), Client: "bench/1.0"}
	ctx := context.Background()
	times := make([][]time.Duration, callers)
	for i := range times {
		times[i] = make([]time.Duration, 0, 1<<14)
	}
	var wg sync.WaitGroup
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	for c := range callers {
		wg.Go(func() {
			i := c * len(values) / callers
			for last := time.Now(); last.Sub(began) < length; {
				if _, err := service.Verify(ctx, values[i%len(values)], from); err != nil {
					t.Errorf("verify: %v", err)
					return
				}
				now := time.Now()
				times[c] = append(times[c], now.Sub(last))
				last = now
				i++
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	r := bench.Result{Took: took, Times: slices.Concat(times...)}
	slices.Sort(r.Times)
	return r, after.Mallocs - before.Mallocs
}

func compareOverHTTP(t *testing.T, d *database, values []string) {
	var cells []*cell
	for _, w := range []way{d.near, d.far} {
		node := harness.Start(t, harness.On(w.url), harness.Args("--no-access-log"))
		addresses := map[string]string{
			epochMode: strings.TrimPrefix(node.URL, "http://"),
			queryMode: startProcess(t, uncachedVariable, uncachedServer{Listen: harness.FreeAddress(t), Database: w.url, Data: t.TempDir()}),
		}
		requests := map[string][][]byte{}
		for mode, address := range addresses {
			for _, value := range values {
				requests[mode] = append(requests[mode], bench.Get(address, verifiedOnly, value))
			}
			// Connections are opened, and grants are read.
			once := bench.Load{Address: address, Connections: 4, Requests: len(values), Want: http.StatusForbidden,
				Request: func(n int) []byte { return requests[mode][n] }}
			if _, err := once.Run(); err != nil {
				t.Fatalf("%s, database %s: %v", mode, w.name, err)
			}
		}
		for _, callers := range crowds {
			for _, mode := range []string{queryMode, epochMode} {
				cells = append(cells, &cell{mode: mode, callers: callers, way: w, run: func(t *testing.T, callers int) (bench.Result, uint64) {
					t.Helper()
					load := bench.Load{Address: addresses[mode], Connections: callers, For: seconds(t), Want: http.StatusForbidden,
						Request: func(n int) []byte { return requests[mode][n%len(values)] }}
					r, err := load.Run()
					if err != nil {
						t.Fatalf("%s, database %s: %v", mode, w.name, err)
					}
					return r, 0
				}})
			}
		}
	}
	for range turns() {
		for _, c := range cells {
			c.round(t, d)
		}
	}
	for _, c := range cells {
		c.note("verifications over HTTP")
	}
	for _, w := range []way{d.near, d.far} {
		query, epoch := in(cells, w, most, queryMode), in(cells, w, most, epochMode)
		note(fmt.Sprintf("… over HTTP with the epoch to a query for each request, database %s, %d at once: verifications/s", w.name, most), "",
			fmt.Sprintf("%.2f", median(epoch.rate)/median(query.rate)))
	}
}

func TestAnIdleNodeHardlyAsksItsDatabase(t *testing.T) {
	d, _ := startDatabase(t, "idle", bench.Seed{Tokens: 10, Keep: 1})
	harness.Start(t, harness.On(d.near.url), harness.Args("--no-access-log"))
	time.Sleep(of(time.Second, 3*time.Second)) // what it does at its start
	before, began := d.asked(t), time.Now()
	time.Sleep(of(2*time.Second, 20*time.Second))
	rate := (d.asked(t) - before) / time.Since(began).Seconds()
	note("an idle node, database queries/s", "≤ 5", fmt.Sprintf("%.2f", rate), rate <= 5)
	if rate > 5 {
		t.Errorf("an idle node asks its database %.1f times a second", rate)
	}
}
