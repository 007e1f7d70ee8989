package idempotency_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/idempotency"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/storetest"
)

type answer struct {
	Text string     `json:"text"`
	At   *time.Time `json:"at"`
}

// bench is a store with a clock and one row that changes are counted in.
type bench struct {
	*idempotency.Store
	db    *db.DB
	clock time.Time
}

func newBench(d *db.DB) *bench {
	b := &bench{db: d, clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	b.Store = idempotency.New(d, func() time.Time { return b.clock })
	return b
}

func keyed(key, target, body string) context.Context {
	return request.With(context.Background(), &request.Info{IdempotencyKey: key, Target: target, Fingerprint: sha256.Sum256([]byte(body))})
}

var caller = access.Caller{Kind: access.TokenCaller, UserID: "usr_1", CredentialID: "tok_1"}

func allowed(context.Context, *sql.Tx) error { return nil }

// count inserts a row, so that what a change did can be counted whatever it answered.
func count(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO organizations (id, slug, name, plan, created_at)
		SELECT 'org_' || count(*), 'slug' || count(*), '', 'free', 0 FROM organizations`)
	return err
}

func (b *bench) done(t *testing.T) int {
	t.Helper()
	var n int
	if err := b.db.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM organizations`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (b *bench) do(ctx context.Context, who access.Caller, text string, fail error) (answer, bool, error) {
	return idempotency.Do(ctx, b.Store, who, allowed, func(ctx context.Context, tx *sql.Tx) (answer, error) {
		if err := count(ctx, tx); err != nil {
			return answer{}, err
		}
		at := b.clock
		return answer{Text: text, At: &at}, fail
	})
}

func TestSameKeySameBodyIsDoneOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		b := newBench(d)
		first, replayed, err := b.do(keyed("k", "POST /a", "body"), caller, "first", nil)
		if err != nil || replayed {
			t.Fatalf("first: %v, replayed %v", err, replayed)
		}
		b.clock = b.clock.Add(idempotency.Retention - time.Microsecond)
		again, replayed, err := b.do(keyed("k", "POST /a", "body"), caller, "second", nil)
		if err != nil || !replayed || again.Text != first.Text || !again.At.Equal(*first.At) {
			t.Fatalf("again: %+v, replayed %v, %v", again, replayed, err)
		}
		if n := b.done(t); n != 1 {
			t.Fatalf("the change was made %d times", n)
		}
	})
}

func TestKeysBelongToOneCallerAndOneTarget(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		b := newBench(d)
		other := caller
		other.CredentialID = "tok_2"
		for _, do := range []func() (answer, bool, error){
			func() (answer, bool, error) { return b.do(keyed("k", "POST /a", "body"), caller, "1", nil) },
			func() (answer, bool, error) { return b.do(keyed("k", "POST /b", "body"), caller, "2", nil) },
			func() (answer, bool, error) { return b.do(keyed("K", "POST /a", "body"), caller, "3", nil) },
			func() (answer, bool, error) { return b.do(keyed("k", "POST /a", "body"), other, "4", nil) },
			func() (answer, bool, error) { return b.do(keyed("", "POST /a", "body"), caller, "5", nil) },
			func() (answer, bool, error) { return b.do(keyed("", "POST /a", "body"), caller, "6", nil) },
			func() (answer, bool, error) {
				return b.do(keyed("k", "POST /a", "body"), access.Caller{}, "7", nil)
			},
			func() (answer, bool, error) {
				return b.do(keyed("k", "POST /a", "body"), access.Caller{}, "8", nil)
			},
		} {
			if got, replayed, err := do(); err != nil || replayed {
				t.Errorf("%s: %v, replayed %v", got.Text, err, replayed)
			}
		}
		if n := b.done(t); n != 8 {
			t.Errorf("%d changes", n)
		}
	})
}

func TestAnotherBodyUnderAKeyConflicts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		b := newBench(d)
		if _, _, err := b.do(keyed("k", "POST /a", "body"), caller, "first", nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.do(keyed("k", "POST /a", "other"), caller, "second", nil); !problem.Is(err, problem.IdempotencyConflict) {
			t.Fatalf("got %v", err)
		}
		if n := b.done(t); n != 1 {
			t.Errorf("%d changes", n)
		}
	})
}

func TestKeyIsFreeAgainAfterADay(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		b := newBench(d)
		for range 2 {
			if _, replayed, err := b.do(keyed("k", "POST /a", b.clock.String()), caller, "", nil); err != nil || replayed {
				t.Fatalf("%v, replayed %v", err, replayed)
			}
			b.clock = b.clock.Add(idempotency.Retention)
		}
		if n := b.done(t); n != 2 {
			t.Errorf("%d changes", n)
		}
	})
}

func TestAuthorizationIsDecidedAnewAndItsRefusalIsNotKept(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		b := newBench(d)
		ctx := keyed("k", "POST /a", "body")
		do := func(verdict error) (replayed bool, err error) {
			_, replayed, err = idempotency.Do(ctx, b.Store, caller,
				func(context.Context, *sql.Tx) error { return verdict },
				func(ctx context.Context, tx *sql.Tx) (int, error) { return 7, count(ctx, tx) })
			return replayed, err
		}
		refusal := problem.New(problem.RoleInsufficient, "no")
		if _, err := do(refusal); !errors.Is(err, refusal) {
			t.Fatalf("refused: got %v", err)
		}
		if replayed, err := do(nil); err != nil || replayed {
			t.Fatalf("allowed: %v, replayed %v", err, replayed)
		}
		if _, err := do(problem.Absent()); !problem.Is(err, problem.NotFound) {
			t.Fatalf("authority lost: got %v", err)
		}
		if replayed, err := do(nil); err != nil || !replayed {
			t.Fatalf("authority back: %v, replayed %v", err, replayed)
		}
		if n := b.done(t); n != 1 {
			t.Errorf("%d changes", n)
		}
	})
}

func TestRefusalsOfTheRequestItselfAreKeptAndUndone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		b := newBench(d)
		for _, code := range problem.Codes() {
			status := code.Status()
			keep := status >= 400 && status < 500 && status != 401 && status != 403 && status != 404 && status != 429
			ctx := keyed("k-"+string(code), "POST /a", "body")
			refusal := problem.New(code, "a detail")
			refusal.Fields = []problem.Field{{Location: "body.name", Message: "m"}}
			before := b.done(t)
			if _, replayed, err := b.do(ctx, caller, "", fmt.Errorf("wrapped: %w", refusal)); problem.CodeOf(err) != code || replayed {
				t.Errorf("%s: got %v, replayed %v", code, err, replayed)
			}
			if n := b.done(t); n != before {
				t.Errorf("%s: a refused change left something behind", code)
			}
			_, replayed, err := b.do(ctx, caller, "later", nil)
			var kept *problem.Error
			switch {
			case keep && (!replayed || !errors.As(err, &kept) || kept.Code != code || kept.Detail != "a detail" || len(kept.Fields) != 1):
				t.Errorf("%s is to be kept: got %v, replayed %v", code, err, replayed)
			case !keep && (replayed || err != nil):
				t.Errorf("%s is not to be kept: got %v, replayed %v", code, err, replayed)
			}
		}
		if _, _, err := b.do(keyed("plain", "POST /a", ""), caller, "", errors.New("disk on fire")); err == nil {
			t.Error("an error of our own was lost")
		}
		if _, replayed, err := b.do(keyed("plain", "POST /a", ""), caller, "", nil); err != nil || replayed {
			t.Errorf("an error of our own was kept: %v, replayed %v", err, replayed)
		}
	})
}

func TestKeysAreCheckedAfterAuthorization(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		b := newBench(d)
		for key, good := range map[string]bool{
			"a": true, strings.Repeat("k", 255): true, " ~": true,
			strings.Repeat("k", 256): false, "é": false, "a\x00": false, "a\n": false, "\x7f": false,
		} {
			_, _, err := b.do(keyed(key, "POST /a", "body"), caller, "", nil)
			if good != (err == nil) || !good && !(problem.Is(err, problem.ValidationFailed) && strings.Contains(err.Error(), "header.Idempotency-Key")) {
				t.Errorf("key of %d bytes: got %v", len(key), err)
			}
			_, _, err = idempotency.Do(keyed(key, "POST /a", "body"), b.Store, caller,
				func(context.Context, *sql.Tx) error { return problem.Absent() },
				func(context.Context, *sql.Tx) (int, error) { return 0, nil })
			if !problem.Is(err, problem.NotFound) {
				t.Errorf("a bad key was reported before the refusal: %v", err)
			}
		}
	})
}

func TestManyAtOnceAreDoneOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		b := newBench(d)
		const keys, senders = 4, 64
		var wait sync.WaitGroup
		var mu sync.Mutex
		fresh, texts := map[string]int{}, map[string]map[string]bool{}
		for i := range keys * senders {
			key := fmt.Sprintf("key-%d", i%keys)
			wait.Go(func() {
				got, replayed, err := b.do(keyed(key, "POST /a", "body"), caller, fmt.Sprint(i), nil)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("%s: %v", key, err)
				}
				if !replayed {
					fresh[key]++
				}
				if texts[key] == nil {
					texts[key] = map[string]bool{}
				}
				texts[key][got.Text] = true
			})
		}
		wait.Wait()
		if len(texts) != keys {
			t.Errorf("%d keys instead of %d", len(texts), keys)
		}
		for key, answers := range texts {
			if fresh[key] != 1 || len(answers) != 1 {
				t.Errorf("%s was done %d times and got %d different answers", key, fresh[key], len(answers))
			}
		}
		if n := b.done(t); n != keys {
			t.Errorf("%d changes instead of %d", n, keys)
		}
	})
}

func TestCleanDeletesWhatIsOld(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		b := newBench(d)
		for i := range 3 {
			if _, _, err := b.do(keyed(fmt.Sprint(i), "POST /a", "body"), caller, "", nil); err != nil {
				t.Fatal(err)
			}
			b.clock = b.clock.Add(12 * time.Hour)
		}
		if err := b.Clean(t.Context(), b.clock); err != nil {
			t.Fatal(err)
		}
		var left string
		if err := b.db.Read().QueryRowContext(t.Context(), `SELECT string_agg(key, ',') FROM idempotency_keys`).Scan(&left); err != nil || left != "2" {
			t.Fatalf("left: %q, %v", left, err)
		}
	})
}
