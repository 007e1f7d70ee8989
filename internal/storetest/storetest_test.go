package storetest_test

import (
	"testing"

	"carnet/internal/db"
	"carnet/internal/storetest"
)

func TestEachGivesAnEmptyStoreOfItsOwn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		var users int
		if err := d.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM users`).Scan(&users); err != nil || users != 0 {
			t.Fatalf("a new store has %d users, error %v", users, err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		storetest.Open(b)
	}
}
