// Package storetest gives tests a real, empty store.
package storetest

import (
	"context"
	"log/slog"
	"testing"

	"carnet/internal/db"
)

// Open returns an empty store that is closed at the end of the test.
func Open(t testing.TB) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), db.Options{
		Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Fatal: func(err error) { t.Errorf("the store stopped: %v", err) },
	})
	if err != nil {
		t.Fatalf("open a store: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return d
}

// Each runs a test once for every engine, in parallel, each time on an empty store.
func Each(t *testing.T, test func(t *testing.T, d *db.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, Open(t))
	})
}
