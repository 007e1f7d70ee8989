package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/storetest"
)

func TestWriteIsAllOrNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, house[0]); err != nil {
				return err
			}
			return errUndo
		})
		if !errors.Is(err, errUndo) || number(t, d.Read(), `SELECT count(*) FROM users`) != 0 {
			t.Errorf("something of a failed write is there, error %v", err)
		}
	})
}

func TestWriterThatPanicsDoesNotKeepTheStore(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		func() {
			defer func() { _ = recover() }()
			_ = d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				_, _ = tx.ExecContext(ctx, house[0])
				panic("a mistake in a feature")
			})
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := try(ctx, d, house[1]); err != nil {
			t.Fatalf("the next writer: %v", err)
		}
		if number(t, d.Read(), `SELECT count(*) FROM users`) != 1 {
			t.Error("what the panicking writer did is there")
		}
	})
}

func TestCallerWhoHangsUpDoesNotUndoAWrite(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := d.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			cancel()
			_, err := tx.ExecContext(ctx, house[0])
			return err
		})
		if err != nil || number(t, d.Read(), `SELECT count(*) FROM users`) != 1 {
			t.Errorf("the write was lost: %v", err)
		}
	})
}

func TestWaitingForTheTurnEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		inside, leave := make(chan struct{}), make(chan struct{})
		var holder sync.WaitGroup
		holder.Go(func() {
			_ = d.Write(t.Context(), func(context.Context, *sql.Tx) error {
				close(inside)
				<-leave
				return nil
			})
		})
		<-inside
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := try(ctx, d, house[0]); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who hung up got %v", err)
		}
		close(leave)
		holder.Wait()
	})
}

func TestReadsCannotWrite(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		if _, err := d.Read().ExecContext(t.Context(), house[0]); err == nil {
			t.Error("the pool for reads wrote")
		}
	})
}

// errNoRoom is how SQLite says that a disk is full; a limit on the file's pages makes it say so.
func TestFullDiskRefusesWritesAndServesReads(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), func(err error) { t.Errorf("a full disk stopped the store: %v", err) })
	write(t, d, house...)
	l := &listener{}
	d.Subscribe(l)
	pages := number(t, d.Read(), `PRAGMA page_count`)
	limit := func(n int64) {
		t.Helper()
		if err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			var got int64
			return tx.QueryRowContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", n)).Scan(&got)
		}); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages + 2)
	big := `INSERT INTO audit_events SELECT 'o', hex(randomblob(8)), 1, '', '', '', '', '', '', '', '', '', hex(randomblob(3000)), '', '', '', '', '' FROM users`
	var kept int64
	for i := 0; ; i++ {
		err := try(t.Context(), d, big, `UPDATE tokens SET revoked_at = coalesce(revoked_at, 0) + 1`)
		if err == nil {
			kept++
			if i > 100 {
				t.Fatal("the limit does not limit")
			}
			continue
		}
		var refusal *problem.Error
		if !errors.As(err, &refusal) || refusal.Code != problem.Overloaded || refusal.RetryAfter == 0 || !strings.Contains(refusal.Detail, "full") {
			t.Fatalf("a write without room: %v", err)
		}
		break
	}
	told := len(l.epochs)
	for range 3 {
		if err := try(t.Context(), d, big, `UPDATE users SET suspended_at = 1`); !problem.Is(err, problem.Overloaded) {
			t.Fatalf("a further write: %v", err)
		}
	}
	if got := number(t, d.Read(), `SELECT count(*) FROM audit_events`); got != 2*kept {
		t.Errorf("%d rows are there, %d were acknowledged", got, 2*kept)
	}
	if number(t, d.Read(), `SELECT count(*) FROM users WHERE suspended_at IS NOT NULL`) != 0 || len(l.epochs) != told {
		t.Error("a refused write did half of its work")
	}
	if d.Err() != nil || d.Ready(t.Context()) != nil || l.dropped() != 0 {
		t.Errorf("the store is not of use any more: %v", d.Err())
	}
	limit(pages + 10_000)
	write(t, d, big, `UPDATE users SET suspended_at = 1`)
	if len(l.epochs) != told+1 || l.epochs[told] != epochOf(t, d) {
		t.Errorf("after the disk had room again, subscribers were told %v", l.epochs[told:])
	}
}

func TestInstanceKeyIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, nil)
	keys := make([][]byte, 16)
	var askers sync.WaitGroup
	for i := range keys {
		askers.Go(func() {
			var err error
			if keys[i], err = d.InstanceKey(t.Context(), "cursor"); err != nil {
				t.Error(err)
			}
		})
	}
	askers.Wait()
	other, err := d.InstanceKey(t.Context(), "other")
	if err != nil || len(other) != 32 || string(other) == string(keys[0]) {
		t.Errorf("another name has %d bytes, error %v", len(other), err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := open(t, dir, nil).InstanceKey(t.Context(), "cursor")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range append(keys, again) {
		if len(k) != 32 || string(k) != string(keys[0]) {
			t.Error("the key changed")
		}
	}
}

func TestCleaningDeletesOldChangesInBatches(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		old, recent := db.Micros(now.Add(-25*time.Hour)), db.Micros(now.Add(-23*time.Hour))
		write(t, d,
			fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1203) INSERT INTO changes (epoch, kind, key, at) SELECT -i, 'token', 'old', %d FROM n`, old),
			fmt.Sprintf(`INSERT INTO changes (epoch, kind, key, at) VALUES (-5000, 'token', 'recent', %d)`, recent))
		if err := d.Clean(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if n := number(t, d.Read(), `SELECT count(*) FROM changes WHERE epoch < 0`); n != 1 {
			t.Errorf("%d changes are left", n)
		}
	})
}

func TestTimesKeepTheirMicroseconds(t *testing.T) {
	t.Parallel()
	moment := time.Date(2026, 11, 24, 1, 2, 3, 456789000, time.FixedZone("", 3600))
	if got := db.Time(db.Micros(moment)); !got.Equal(moment) || got.Location() != time.UTC {
		t.Errorf("%v became %v", moment, got)
	}
	if db.NullTime(db.NullMicros(nil)) != nil {
		t.Error("no time became one")
	}
	if got := db.NullTime(db.NullMicros(&moment)); got == nil || !got.Equal(moment) {
		t.Errorf("%v became %v", moment, got)
	}
}
