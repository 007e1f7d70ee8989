package page

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"carnet/internal/db"
	"carnet/internal/problem"
)

// Sorts are the orders in which a list can be asked for, by their public names.
type Sorts map[string]Sort

// Sort is one order: a column of text or whole numbers. Rows where it is NULL come last in both directions.
type Sort struct {
	Column   string // as the query names it, such as "t.created_at"
	Nullable bool
}

// Row is a row to be read: [sql.Row] and [sql.Rows] are some.
type Row interface{ Scan(into ...any) error }

// Listing is a list query that is cut into pages.
type Listing[T any] struct {
	Cursors *Cursors
	Binding string // from [Binding]; the sort is added to it
	Request Request
	Sorts   Sorts
	Default string // the sort when none is asked for
	ID      string // the column that breaks ties, in the direction of the sort

	// Select is the query up to its WHERE, beginning with "SELECT ". Where is its condition, never empty: a list without
	// one would be a list of everything. Args holds the parameters of both.
	Select string
	Where  string
	Args   *db.Args
	// Scan reads the columns of Select.
	Scan func(Row) (T, error)
}

// List runs the query and returns the page that was asked for. It answers validation_failed for a limit or sort that the
// list does not have, and cursor_invalid.
func List[T any](ctx context.Context, q db.Queryer, l Listing[T]) (Page[T], error) {
	limit, order, err := l.read()
	if err != nil {
		return Page[T]{}, err
	}
	binding := l.Binding + Filter("sort", order.name)
	where := l.Where
	if l.Request.Cursor != "" {
		var after position
		if err := l.Cursors.Open(binding, l.Request.Cursor, &after); err != nil {
			return Page[T]{}, err
		}
		where += " AND " + order.after(after, l.Args)
	}
	columns, found := strings.CutPrefix(l.Select, "SELECT ")
	if !found || l.Where == "" {
		return Page[T]{}, fmt.Errorf("list: the query has no SELECT or no condition")
	}
	// The order's own columns come along in front, so that the place of the last row is known whatever Scan reads.
	query := "SELECT " + order.Column + ", " + order.id + ", " + columns +
		" WHERE " + where + " ORDER BY " + order.by() + " LIMIT " + strconv.Itoa(limit+1)
	rows, err := q.QueryContext(ctx, query, l.Args.Values()...)
	if err != nil {
		return Page[T]{}, fmt.Errorf("list: %w", err)
	}
	defer func() { _ = rows.Close() }()
	result := Page[T]{Items: []T{}}
	var last position
	for rows.Next() {
		if len(result.Items) == limit {
			result.NextCursor = l.Cursors.Seal(binding, last)
			break
		}
		item, err := l.Scan(placed{rows, &last})
		if err != nil {
			return Page[T]{}, fmt.Errorf("list: %w", err)
		}
		result.Items = append(result.Items, item)
	}
	if err := rows.Err(); err != nil {
		return Page[T]{}, fmt.Errorf("list: %w", err)
	}
	return result, nil
}

func (l Listing[T]) read() (limit int, o order, err error) {
	limit = l.Request.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	if limit < 1 || limit > MaxLimit {
		return 0, order{}, problem.Invalid("query.limit", fmt.Sprintf("must be from 1 to %d", MaxLimit))
	}
	name := l.Request.Sort
	if name == "" {
		name = l.Default
	}
	field, descending := strings.CutPrefix(name, "-")
	sort, known := l.Sorts[field]
	if !known {
		return 0, order{}, problem.Invalid("query.sort", "must be one of "+l.Sorts.names()+", with - in front for the other direction")
	}
	return limit, order{Sort: sort, name: name, id: l.ID, descending: descending}, nil
}

func (s Sorts) names() string {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// order is a sort as it was asked for.
type order struct {
	Sort
	name       string
	id         string
	descending bool
}

// by returns the ORDER BY list.
func (o order) by() string {
	direction := ""
	if o.descending {
		direction = " DESC"
	}
	nulls := ""
	if o.Nullable {
		nulls = " NULLS LAST" // the engines disagree about where NULL goes by itself
	}
	return o.Column + direction + nulls + ", " + o.id + direction
}

// after returns the condition that holds for what comes after a place.
func (o order) after(p position, args *db.Args) string {
	operator := " > "
	if o.descending {
		operator = " < "
	}
	if p.value == nil {
		return "(" + o.Column + " IS NULL AND " + o.id + operator + args.Add(p.id) + ")"
	}
	further := "(" + o.Column + ", " + o.id + ")" + operator + "(" + args.Add(p.value) + ", " + args.Add(p.id) + ")"
	if o.Nullable {
		return "(" + further + " OR " + o.Column + " IS NULL)"
	}
	return further
}

// position is the place of a row in an order: the value that it is sorted by (string, int64, or nil for NULL) and its id.
type position struct {
	value any
	id    string
}

// MarshalJSON writes the value and the id as a pair.
func (p position) MarshalJSON() ([]byte, error) { return json.Marshal([2]any{p.value, p.id}) }

// UnmarshalJSON reads what MarshalJSON wrote; whole numbers stay whole.
func (p *position) UnmarshalJSON(data []byte) error {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	var read position
	if err := json.Unmarshal(pair[1], &read.id); err != nil {
		return err
	}
	var text *string
	var number int64
	if json.Unmarshal(pair[0], &text) == nil {
		if text != nil {
			read.value = *text
		}
	} else if err := json.Unmarshal(pair[0], &number); err == nil {
		read.value = number
	} else {
		return err
	}
	*p = read
	return nil
}

// placed is a row that keeps its place when it is read.
type placed struct {
	rows *sql.Rows
	into *position
}

// Scan implements [Row].
func (p placed) Scan(into ...any) error {
	if err := p.rows.Scan(append([]any{&p.into.value, &p.into.id}, into...)...); err != nil {
		return err
	}
	if text, isBytes := p.into.value.([]byte); isBytes {
		p.into.value = string(text)
	}
	return nil
}
