package allowance_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carnet/internal/allowance"
	"carnet/internal/db"
	"carnet/internal/storetest"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

type failing interface{ Fatalf(string, ...any) }

// take uses the allowance in a transaction of its own.
func take(t failing, d *db.DB, a allowance.Allowance, now time.Time, uses int) (room bool) {
	err := d.Write(context.Background(), func(ctx context.Context, tx *sql.Tx) (err error) {
		room, err = a.Take(ctx, tx, now, uses)
		return err
	})
	if err != nil {
		t.Fatalf("take: %v", err)
	}
	return room
}

// The model is a bucket that uses are put into and that runs out evenly: what is in it at a moment is counted in
// microseconds, and there is room for what does not make it overflow.
func TestAllowanceIsABucketThatRunsOutEvenly(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		serial := 0
		rapid.Check(t, func(t *rapid.T) {
			serial++
			most := rapid.IntRange(1, 7).Draw(t, "most")
			a := allowance.Allowance{Source: fmt.Sprint("source ", serial), Most: most, Period: time.Duration(most) * time.Second * time.Duration(rapid.IntRange(1, 60).Draw(t, "seconds each"))}
			each := a.Period / time.Duration(most)
			now, full := noon, time.Duration(0)
			for range rapid.IntRange(1, 12).Draw(t, "steps") {
				pass := rapid.SampledFrom([]time.Duration{0, each, each - time.Microsecond, each + time.Microsecond, a.Period}).Draw(t, "pass")
				if rapid.Bool().Draw(t, "odd pass") {
					pass = time.Duration(rapid.Int64Range(0, a.Period.Microseconds()).Draw(t, "microseconds")) * time.Microsecond
				}
				now, full = now.Add(pass), max(0, full-pass)
				uses := rapid.IntRange(1, most+1).Draw(t, "uses")
				room := uses <= most && full+time.Duration(uses)*each <= a.Period
				left, err := a.Left(context.Background(), d.Read(), now, uses)
				if err != nil || left != room {
					t.Fatalf("with %s of %s in it, %d uses of %s: left %t, %v", full, a.Period, uses, each, left, err)
				}
				if rapid.IntRange(0, 3).Draw(t, "only looks") == 0 {
					continue
				}
				if taken := take(t, d, a, now, uses); taken != room {
					t.Fatalf("with %s of %s in it, %d uses of %s: taken %t", full, a.Period, uses, each, taken)
				}
				if room {
					full += time.Duration(uses) * each
				}
				if rapid.IntRange(0, 3).Draw(t, "cleans") == 0 {
					if err := allowance.Clean(context.Background(), d, now); err != nil {
						t.Fatalf("clean: %v", err)
					}
				}
			}
		})
	})
}

func TestWhatIsUndoneUsesNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		a := allowance.Allowance{Source: "s", Most: 1, Period: time.Hour}
		err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			if room, err := a.Take(ctx, tx, noon, 1); !room || err != nil {
				t.Errorf("taken: %t, %v", room, err)
			}
			return context.Canceled
		})
		if err == nil {
			t.Fatal("the transaction went through")
		}
		if !take(t, d, a, noon, 1) {
			t.Error("what was undone was counted")
		}
		if take(t, d, a, noon, 1) {
			t.Error("what went through was not counted")
		}
		if a.Wait() != 3601 {
			t.Errorf("wait %d seconds", a.Wait())
		}
		other := a
		other.Source = "t"
		if !take(t, d, other, noon, 1) {
			t.Error("one source uses the allowance of another")
		}
	})
}

func TestCleanForgetsWhatIsWholeAgainAndNothingElse(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		a := allowance.Allowance{Source: "s", Most: 2, Period: time.Hour}
		count := func() (n int) {
			if err := d.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM rate_limits`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		take(t, d, a, noon, 1)
		for at, left := range map[time.Duration]int{time.Minute: 1, 30 * time.Minute: 1} {
			if err := allowance.Clean(t.Context(), d, noon.Add(at)); err != nil || count() != left {
				t.Errorf("after %s: %d rows, %v", at, count(), err)
			}
		}
		if err := allowance.Clean(t.Context(), d, noon.Add(30*time.Minute+time.Microsecond)); err != nil || count() != 0 {
			t.Errorf("once it is whole: %d rows, %v", count(), err)
		}
	})
}

// However many use it at once, on however many nodes, no more get through than there is room for.
func TestAllowanceHoldsOverAllNodes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		nodes := []*db.DB{d, d}
		if d.Engine() == "postgres" {
			url := storetest.Database(t)
			nodes = []*db.DB{storetest.OpenURL(t, url), storetest.OpenURL(t, url)}
		}
		a := allowance.Allowance{Source: "s", Most: 10, Period: time.Hour}
		var mu sync.Mutex
		through := 0
		var users sync.WaitGroup
		for _, node := range nodes {
			for range 8 {
				users.Go(func() {
					for range 3 {
						if take(t, node, a, noon, 1) {
							mu.Lock()
							through++
							mu.Unlock()
						}
					}
				})
			}
		}
		users.Wait()
		if through != 10 {
			t.Errorf("%d got through, not 10", through)
		}
	})
}
