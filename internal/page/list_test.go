package page_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"carnet/internal/db"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/storetest"
)

// The tests page through a table that exists in every store: changes (epoch, kind, key, at), and users, which has
// nullable columns of numbers.
type user struct {
	id       string
	name     string
	verified sql.NullInt64
}

var sorts = page.Sorts{
	"name":     {Column: "u.name"},
	"verified": {Column: "u.email_verified_at", Nullable: true},
}

func list(d *db.DB, cursors *page.Cursors, request page.Request) (page.Page[user], error) {
	return page.List(context.Background(), d.Read(), page.Listing[user]{
		Cursors: cursors, Binding: "users", Request: request, Sorts: sorts, Default: "name", ID: "u.id",
		Select: "SELECT u.id, u.name, u.email_verified_at FROM users u", Where: "u.suspended_at IS NULL", Args: &db.Args{},
		Scan: func(r page.Row) (u user, err error) { return u, r.Scan(&u.id, &u.name, &u.verified) },
	})
}

func insert(t testing.TB, d *db.DB, users ...user) {
	t.Helper()
	err := d.Write(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		for _, u := range users {
			_, err := tx.ExecContext(ctx, `INSERT INTO users (id, email, email_key, name, password_hash, email_verified_at, created_at)
				VALUES ($1, $2, $3, $4, '', $5, 0)`, u.id, u.id, u.id, u.name, u.verified)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inOrder sorts as the contract says: by the field, ties by id, in the same direction; nulls last in both.
func inOrder(users []user, sort string) []user {
	field, descending := strings.CutPrefix(sort, "-")
	sorted := slices.Clone(users)
	slices.SortFunc(sorted, func(a, b user) int {
		sign := 1
		if descending {
			sign = -1
		}
		var order int
		switch {
		case field == "name":
			order = sign * cmp.Compare(a.name, b.name)
		case a.verified.Valid != b.verified.Valid:
			if a.verified.Valid {
				return -1
			}
			return 1
		default:
			order = sign * cmp.Compare(a.verified.Int64, b.verified.Int64)
		}
		return cmp.Or(order, sign*cmp.Compare(a.id, b.id))
	})
	return sorted
}

func TestPagesNeitherSkipNorRepeat(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		cursors := page.New([]byte("k"))
		serial := 0
		fresh := func(t *rapid.T) user {
			serial++
			u := user{id: fmt.Sprintf("usr_%03d_%05d", rapid.IntRange(0, 999).Draw(t, "id"), serial)}
			u.name = rapid.SampledFrom([]string{"a", "b", "c", "ä", "語"}).Draw(t, "name")
			u.verified = sql.NullInt64{Valid: rapid.Bool().Draw(t, "null")}
			if u.verified.Valid {
				u.verified.Int64 = rapid.Int64Range(1_700_000_000_000_000, 1_700_000_000_000_003).Draw(t, "verified")
			}
			return u
		}
		rapid.Check(t, func(rt *rapid.T) {
			if err := d.Write(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, `DELETE FROM users`)
				return err
			}); err != nil {
				rt.Fatal(err)
			}
			var before []user
			for range rapid.IntRange(0, 25).Draw(rt, "users") {
				before = append(before, fresh(rt))
			}
			insert(t, d, before...)
			request := page.Request{
				Limit: rapid.IntRange(1, 7).Draw(rt, "limit"),
				Sort:  rapid.SampledFrom([]string{"name", "-name", "verified", "-verified"}).Draw(rt, "sort"),
			}
			all := slices.Clone(before)
			var got []user
			for {
				p, err := list(d, cursors, request)
				if err != nil {
					rt.Fatal(err)
				}
				got = append(got, p.Items...)
				if p.NextCursor == "" {
					break
				}
				if len(p.Items) != request.Limit {
					rt.Fatalf("a page of %d with a next one, limit %d", len(p.Items), request.Limit)
				}
				request.Cursor = p.NextCursor
				if rapid.Bool().Draw(rt, "insert while reading") {
					u := fresh(rt)
					insert(t, d, u)
					all = append(all, u)
				}
			}
			// Everything that was there from the start comes exactly once; what came later at most once; all in order.
			seen := map[string]int{}
			for _, u := range got {
				seen[u.id]++
			}
			for _, u := range before {
				if seen[u.id] != 1 {
					rt.Fatalf("%v came %d times", u, seen[u.id])
				}
			}
			want := slices.DeleteFunc(inOrder(all, request.Sort), func(u user) bool { return seen[u.id] == 0 })
			if !slices.Equal(got, want) {
				rt.Fatalf("sort %s\ngot  %v\nwant %v", request.Sort, got, want)
			}
		})
	})
}

func TestWhatAListDoesNotHaveIsRefused(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		cursors := page.New([]byte("k"))
		insert(t, d, user{id: "usr_1", name: "a"}, user{id: "usr_2", name: "b"})
		first, err := list(d, cursors, page.Request{Limit: 1})
		if err != nil || first.NextCursor == "" {
			t.Fatalf("got %+v, %v", first, err)
		}
		for name, c := range map[string]struct {
			request  page.Request
			code     problem.Code
			location string
		}{
			"limit too small":          {page.Request{Limit: -1}, problem.ValidationFailed, "query.limit"},
			"limit too large":          {page.Request{Limit: 201}, problem.ValidationFailed, "query.limit"},
			"unknown sort":             {page.Request{Sort: "email"}, problem.ValidationFailed, "query.sort"},
			"two directions":           {page.Request{Sort: "--name"}, problem.ValidationFailed, "query.sort"},
			"injected sort":            {page.Request{Sort: "name; DROP TABLE users"}, problem.ValidationFailed, "query.sort"},
			"cursor of another sort":   {page.Request{Cursor: first.NextCursor, Sort: "verified"}, problem.CursorInvalid, ""},
			"cursor of other way":      {page.Request{Cursor: first.NextCursor, Sort: "-name"}, problem.CursorInvalid, ""},
			"not a cursor":             {page.Request{Cursor: "x"}, problem.CursorInvalid, ""},
			"position of another form": {page.Request{Cursor: cursors.Seal("users"+page.Filter("sort", "name"), "x")}, problem.CursorInvalid, ""},
		} {
			_, err := list(d, cursors, c.request)
			if problem.CodeOf(err) != c.code {
				t.Errorf("%s: got %v", name, err)
			}
			if c.location != "" && !strings.Contains(fmt.Sprint(err), c.location) {
				t.Errorf("%s: %v does not name %s", name, err, c.location)
			}
		}
		// The default's name and no name are the same list.
		if _, err := list(d, cursors, page.Request{Cursor: first.NextCursor, Sort: "name"}); err != nil {
			t.Errorf("the default order by its name: %v", err)
		}
	})
}
