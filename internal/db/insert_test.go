package db_test

import (
	"context"
	"database/sql"
	"testing"

	"carnet/internal/db"
	"carnet/internal/storetest"
)

func TestInsertWritesEveryRowOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		write(t, d, `CREATE TABLE inserted (id INTEGER PRIMARY KEY, name TEXT NOT NULL)`)
		insert := func(rows [][]any) error {
			return d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				return db.Insert(ctx, tx, "inserted (id, name)", "ON CONFLICT (id) DO UPDATE SET name = excluded.name", rows)
			})
		}
		next := 0
		for _, n := range []int{0, 1, 3, 4, 5, 15, 16, 63, 64, 65, 149, 500} {
			var rows [][]any
			for range n {
				next++
				rows = append(rows, []any{next, "new"})
			}
			if err := insert(rows); err != nil {
				t.Fatal(err)
			}
			if got := number(t, d.Read(), `SELECT count(*) FROM inserted WHERE name = 'new'`); got != int64(next) {
				t.Fatalf("%d rows after %d", got, next)
			}
		}
		if err := insert([][]any{{1, "old"}, {next + 1, "old"}, {2, "old"}}); err != nil {
			t.Fatal(err)
		}
		if got := number(t, d.Read(), `SELECT count(*) FROM inserted WHERE name = 'old' AND id IN (1, 2, $1)`, next+1); got != 3 {
			t.Errorf("%d rows carry their new name", got)
		}
		if err := insert([][]any{{next + 2, "late"}, {next + 3, nil}}); err == nil {
			t.Error("a row without a name was written")
		}
		if got := number(t, d.Read(), `SELECT count(*) FROM inserted WHERE name = 'late'`); got != 0 {
			t.Error("a batch was written in part")
		}
	})
}
