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
		var statement strings.Builder
		statement.WriteString("INSERT INTO " + into + " VALUES ")
		for i, row := range rows[:n] {
			for j, value := range row {
				statement.WriteString(before(i, j) + args.Add(value))
			}
			statement.WriteByte(')')
		}
		statement.WriteString(" " + rest)
		if _, err := q.ExecContext(ctx, statement.String(), args.Values()...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// before is what stands before the value of a row and column.
func before(row, column int) string {
	switch {
	case column > 0:
		return ", "
	case row > 0:
		return ", ("
	default:
		return "("
	}
}
