package db

import (
	"context"
	"strings"
)

// sizes are how many rows a statement of [Insert] holds. They are few, so that engines know the statements again.
var sizes = []int{64, 16, 4, 1}

// Insert runs "INSERT INTO into VALUES (…), (…), … rest" for all rows, many with each statement. into names the table
// and its columns, rest is what follows the values, such as what to do with rows that are there.
func Insert(ctx context.Context, q Queryer, into, rest string, rows [][]any) error {
	for len(rows) > 0 {
		n := sizes[0]
		for i := 1; n > len(rows); i++ {
			n = sizes[i]
		}
		args := &Args{}
		values := make([]string, n)
		for i, row := range rows[:n] {
			places := make([]string, len(row))
			for j, value := range row {
				places[j] = args.Add(value)
			}
			values[i] = "(" + strings.Join(places, ", ") + ")"
		}
		if _, err := q.ExecContext(ctx, "INSERT INTO "+into+" VALUES "+strings.Join(values, ", ")+" "+rest, args.Values()...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
