package storetest

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"carnet/internal/db"
	"carnet/internal/page"
)

// Planner looks at the plan of every query that passes through it, and fails the test when one walks through a whole
// table.
type Planner struct {
	db.Queryer
	What  string // what is asked at the moment, for whoever reads of a failure
	Count int    // plans that were looked at

	tb       testing.TB
	postgres bool
}

// EachForPlans runs a test of plans once for every engine, in parallel. On PostgreSQL tables as small as a test's are
// walked through gladly; with that forbidden, the plan shows whether there is another way.
func EachForPlans(t *testing.T, test func(t *testing.T, d *db.DB, p *Planner)) {
	t.Helper()
	run := func(t *testing.T, d *db.DB) {
		test(t, d, &Planner{Queryer: d.Read(), tb: t, postgres: d.Engine() == "postgres"})
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		run(t, Open(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		run(t, OpenURL(t, Database(t)+"&options=-c%20enable_seqscan%3Doff"))
	})
}

// QueryContext looks at the plan, then asks.
func (p *Planner) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	p.Explain(query, args...)
	return p.Queryer.QueryContext(ctx, query, args...)
}

// Explain fails the test when a statement walks through a whole table.
func (p *Planner) Explain(query string, args ...any) {
	p.tb.Helper()
	var plan []string
	how, walk := "EXPLAIN QUERY PLAN ", "SCAN"
	if p.postgres {
		how, walk = "EXPLAIN ", "Seq Scan"
	}
	steps, err := p.Queryer.QueryContext(context.Background(), how+query, args...)
	if err != nil {
		p.tb.Fatalf("%s: %v", p.What, err)
	}
	defer func() { _ = steps.Close() }()
	for steps.Next() {
		var a, b, c int
		var step string
		columns := []any{&a, &b, &c, &step}
		if p.postgres {
			columns = columns[3:]
		}
		if err := steps.Scan(columns...); err != nil {
			p.tb.Fatal(err)
		}
		plan = append(plan, strings.TrimLeft(step, " ->"))
	}
	if len(plan) == 0 || steps.Err() != nil {
		p.tb.Fatalf("%s has no plan: %v", p.What, steps.Err())
	}
	p.Count++
	for _, step := range plan {
		if strings.HasPrefix(step, walk) {
			p.tb.Errorf("%s walks through a whole table:\n  %s\n%s", p.What, strings.Join(plan, "\n  "), query)
		}
	}
	if testing.Verbose() {
		p.tb.Logf("%s\n  %s", p.What, strings.Join(plan, "\n  "))
	}
}

// TwoPages looks at the plans of a first and of a later page of a list, in every order.
func TwoPages[T any](p *Planner, what string, sorts page.Sorts, r page.Request, listing func(page.Request) (page.Listing[T], error)) {
	p.tb.Helper()
	for name := range sorts {
		for _, direction := range []string{"", "-"} {
			r.Sort, r.Limit, r.Cursor = direction+name, 1, ""
			for range 2 {
				p.What = what + " by " + r.Sort
				l, err := listing(r)
				if err != nil {
					p.tb.Fatal(err)
				}
				got, err := page.List(context.Background(), p, l)
				if err != nil {
					p.tb.Fatal(err)
				}
				if got.NextCursor == "" {
					break
				}
				r.Cursor = got.NextCursor
			}
		}
	}
}
