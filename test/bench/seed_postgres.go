package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"carnet/internal/db"
	"carnet/internal/id"
)

// fillDatabase is [Seed.Fill] for a PostgreSQL database, in which there must be no token yet. Rows are copied in streams
// while the tables have neither indexes nor constraints, which are made afterwards: that takes a fifth of the time.
func (s Seed) fillDatabase(ctx context.Context) (values []string, err error) {
	d, err := db.Open(ctx, db.Options{URL: s.Database, Log: slog.New(slog.DiscardHandler), Fatal: func(error) {}})
	if err != nil {
		return nil, err
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	c, err := pgx.Connect(ctx, s.Database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	bare, err := undress(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("take indexes and constraints away: %w", err)
	}
	if values, err = s.copy(ctx); err != nil {
		return nil, err
	}
	if err := bare.dress(ctx, s.Database); err != nil {
		return nil, fmt.Errorf("make indexes and constraints: %w", err)
	}
	_, err = c.Exec(ctx, "VACUUM (ANALYZE) "+strings.Join(seeded, ", "))
	return values, err
}

// seeded are the tables that the seed fills, in the order of their references.
var seeded = []string{"organizations", "users", "memberships", "projects", "tokens", "token_projects", "credentials"}

// dressing is what was taken away from tables: statements that bring it back, those of one step side by side.
type dressing [][]string

// undress takes indexes and constraints away from the tables, and keeps their triggers quiet.
func undress(ctx context.Context, c *pgx.Conn) (dressing, error) {
	var tokens int
	if err := c.QueryRow(ctx, `SELECT count(*) FROM (SELECT 1 FROM tokens LIMIT 1) AS found`).Scan(&tokens); err != nil {
		return nil, err
	}
	if tokens > 0 {
		return nil, errors.New("there are tokens already")
	}
	const constraints = `SELECT contype::text, format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
			format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
		FROM pg_constraint WHERE contype IN ('f', 'p', 'u') AND (conrelid::regclass::text = ANY ($1) OR confrelid::regclass::text = ANY ($1))
		ORDER BY contype, conrelid::regclass::text`
	const indexes = `SELECT 'i', format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
		FROM pg_index WHERE indrelid::regclass::text = ANY ($1) AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)`
	var drops, keys, references []string
	for _, query := range []string{constraints, indexes} {
		found, err := c.Query(ctx, query, seeded)
		if err != nil {
			return nil, err
		}
		var kind, drop, add string
		if _, err := pgx.ForEachRow(found, []any{&kind, &drop, &add}, func() error {
			drops = append(drops, drop)
			if kind == "f" {
				references = append(references, add+" NOT VALID") // what was copied holds, and looking takes minutes
			} else {
				keys = append(keys, add)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	var loud []string
	for _, table := range seeded {
		drops = append(drops, "ALTER TABLE "+table+" DISABLE TRIGGER USER")
		loud = append(loud, "ALTER TABLE "+table+" ENABLE TRIGGER USER")
	}
	_, err := c.Exec(ctx, "BEGIN; "+strings.Join(drops, "; ")+"; COMMIT")
	return dressing{keys, references, loud}, err
}

// dress brings back what undress took away.
func (steps dressing) dress(ctx context.Context, url string) error {
	for _, statements := range steps {
		if err := sideBySide(ctx, url, statements); err != nil {
			return err
		}
	}
	return nil
}

// sideBySide carries statements out on two connections.
func sideBySide(ctx context.Context, url string, statements []string) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	queue := make(chan string, len(statements))
	for _, statement := range statements {
		queue <- statement
	}
	close(queue)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			c, err := pgx.Connect(ctx, url)
			if err != nil {
				fail(err)
				return
			}
			defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
			for statement := range queue {
				if _, err := c.Exec(ctx, "SET maintenance_work_mem = '1GB'; "+statement); err != nil {
					fail(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// stream is a COPY into one table. Rows come in bundles, of which a few wait.
type stream struct {
	table, columns string
	bundles        chan [][]any
	bundle         [][]any
}

const bundled = 2000

func (s *stream) add(ctx context.Context, row []any) {
	s.bundle = append(s.bundle, row)
	if len(s.bundle) == bundled {
		s.flush(ctx)
	}
}

func (s *stream) flush(ctx context.Context) {
	select {
	case s.bundles <- s.bundle:
	case <-ctx.Done():
	}
	s.bundle = make([][]any, 0, bundled)
}

// run copies until the bundles end. A table that was made empty in the same transaction needs no log of its rows.
func (s *stream) run(ctx context.Context, url string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if s.truncated() {
		if _, err := tx.Exec(ctx, "TRUNCATE "+s.table); err != nil {
			return err
		}
	}
	var bundle [][]any
	next := func() ([]any, error) {
		for len(bundle) == 0 {
			var more bool
			select {
			case bundle, more = <-s.bundles:
				if !more {
					return nil, nil //nolint:nilnil // how CopyFromFunc is told of the end
				}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		row := bundle[0]
		bundle = bundle[1:]
		return row, nil
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{s.table}, strings.Split(s.columns, ", "), pgx.CopyFromFunc(next)); err != nil {
		return fmt.Errorf("copy into %s: %w", s.table, err)
	}
	return tx.Commit(ctx)
}

// truncated reports whether the table was empty before the seed: [undress] looked.
func (s *stream) truncated() bool {
	return s.table == "tokens" || s.table == "token_projects" || s.table == "credentials"
}

func (s Seed) copy(ctx context.Context) (values []string, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	open := func(table, columns string) *stream {
		t := &stream{table: table, columns: columns, bundles: make(chan [][]any, 4)}
		wg.Go(func() {
			if err := t.run(ctx, s.Database); err != nil {
				fail(err)
			}
		})
		return t
	}
	organizations := open("organizations", "id, slug, name, plan, created_at")
	users := open("users", "id, email, email_key, name, password_hash, email_verified_at, created_at")
	memberships := open("memberships", "organization_id, user_id, role, created_at")
	projects := open("projects", "organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version")
	tokens := open("tokens", tokenColumns)
	credentials := open("credentials", credentialColumns)
	restrictions := open("token_projects", restrictionColumns)

	now := time.Now()
	at := db.Micros(now)
	every := max(s.Tokens/max(s.Keep, 1), 1)
	var organization, user, project string
	for n := 0; n < s.Tokens && ctx.Err() == nil; n++ {
		u := n / tokensPerUser
		if n%tokensPerUser == 0 {
			user = id.New(id.User)
			email := fmt.Sprintf("seeded-%d@example.org", u)
			if u%usersPerOrganization == 0 {
				organization, project = id.New(id.Organization), id.New(id.Project)
				o := u / usersPerOrganization
				organizations.add(ctx, []any{organization, fmt.Sprintf("seeded-%d", o), fmt.Sprintf("Seeded organization %d", o), "team", at})
				projects.add(ctx, []any{organization, project, "ONE", "Project one", "project one", "", "active", "organization", user, "", at, at, 1})
			}
			users.add(ctx, []any{user, email, email, fmt.Sprintf("Seeded user %d", u), "", at, at})
			memberships.add(ctx, []any{organization, user, "member", at})
		}
		r := tokenRows(now, user, organization, project, n)
		tokens.add(ctx, r.token)
		credentials.add(ctx, r.credential)
		if r.restriction != nil {
			restrictions.add(ctx, r.restriction)
		}
		if n%every == 0 && len(values) < s.Keep {
			values = append(values, r.value)
		}
	}
	for _, t := range []*stream{organizations, users, memberships, projects, tokens, credentials, restrictions} {
		t.flush(ctx)
		close(t.bundles)
	}
	wg.Wait()
	return values, context.Cause(ctx)
}
