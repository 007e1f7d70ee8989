package transfer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"carnet/internal/db"
	"carnet/internal/problem"
)

// Progress hears how far a copy is: now in that table, with so many of all rows done.
type Progress func(table string, done, total int64)

// Copied says what a copy did.
type Copied struct {
	From   string        `json:"from"`
	To     string        `json:"to"`
	Rows   int64         `json:"rows"`
	Epoch  int64         `json:"epoch"` // that the target begins its history with
	Tables []CopiedTable `json:"tables"`
}

// CopiedTable is a table that is the same on both sides.
type CopiedTable struct {
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"` // of all rows, see digest
}

// ownByEngine are the tables that each store keeps for itself: the version of the schema, and the history that caches go
// by, of which the target begins a new one.
var ownByEngine = map[string]bool{"goose_db_version": true, "epoch": true, "changes": true}

// Copy copies the embedded store of a data folder, which no server may use, into an empty PostgreSQL database, and brings
// the schema of both up to date for it. All of it is one transaction, which is committed only once every table was read
// back from both sides and found the same: whatever happens, the target holds everything or nothing. The source stays as
// it is. A target that holds anything is refused.
func Copy(ctx context.Context, dir, url string, progress Progress) (Copied, error) {
	if url == "" {
		return Copied{}, problem.New(problem.ValidationFailed, "The database to copy into is missing: --to or CARNET_DATABASE is empty.")
	}
	if _, err := storeIn(dir); err != nil {
		return Copied{}, err
	}
	name, err := db.DatabaseName(url)
	if err != nil {
		return Copied{}, err
	}
	quiet := slog.New(slog.DiscardHandler)
	source, err := db.Open(ctx, db.Options{Dir: dir, Moved: true, Log: quiet})
	if errors.Is(err, db.ErrInUse) {
		return Copied{}, refusal("A server runs on %s. Stop it first: what it changes while the store is copied would be lost.", dir)
	}
	if err != nil {
		return Copied{}, err
	}
	defer func() { _ = source.Close() }()
	target, err := db.Open(ctx, db.Options{URL: url, Connections: 16, Log: quiet}) // which makes the schema
	if err != nil {
		return Copied{}, err
	}
	if err := target.Close(); err != nil {
		return Copied{}, err
	}
	conn, err := db.ConnectPostgres(ctx, url)
	if err != nil {
		return Copied{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	c := copying{source: source.Read(), conn: conn, progress: progress}
	done, err := c.run(ctx)
	done.From, done.To = dir, name
	if err != nil {
		return done, err
	}
	if err := db.MarkMoved(dir, name, time.Now()); err != nil {
		return done, fmt.Errorf("everything was copied, and the folder is not to be served any more: %w", err)
	}
	return done, nil
}

type copying struct {
	source      db.Queryer
	conn        *pgx.Conn
	tx          pgx.Tx
	progress    Progress
	tables      []table
	done, total int64
}

func (c *copying) run(ctx context.Context) (done Copied, err error) {
	if c.tables, err = tablesOf(ctx, c.source); err != nil {
		return done, err
	}
	for i := range c.tables {
		if err := c.source.QueryRowContext(ctx, "SELECT count(*) FROM "+c.tables[i].name).Scan(&c.tables[i].rows); err != nil {
			return done, fmt.Errorf("count the rows of %s: %w", c.tables[i].name, err)
		}
		c.total += c.tables[i].rows
	}
	if c.tx, err = c.conn.Begin(ctx); err != nil {
		return done, fmt.Errorf("begin the copy: %w", err)
	}
	// After a commit this does nothing.
	defer func() { _ = c.tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := c.prepare(ctx); err != nil {
		return done, err
	}
	for _, t := range c.tables {
		if err := c.copyTable(ctx, t); err != nil {
			return done, err
		}
	}
	if done, err = c.compare(ctx); err != nil {
		return done, err
	}
	if done.Epoch, err = c.finish(ctx); err != nil {
		return done, err
	}
	if err := c.tx.Commit(ctx); err != nil {
		return done, fmt.Errorf("commit the copy: %w", err)
	}
	// The planner of a database that was just filled knows nothing of it. It would find out by itself, in a while.
	_, _ = c.conn.Exec(ctx, "ANALYZE")
	return done, nil
}

// prepare takes the tables of the target for this transaction alone, looks whether they are empty, and keeps the triggers
// from recording every row as a change of what a cache knows. The keys between tables are still checked.
func (c *copying) prepare(ctx context.Context) error {
	if err := c.do(ctx, "SET LOCAL statement_timeout = 0", "SET LOCAL idle_in_transaction_session_timeout = 0", "SET LOCAL lock_timeout = '10s'"); err != nil {
		return err
	}
	if err := c.sameColumns(ctx); err != nil {
		return err
	}
	for _, t := range c.tables {
		if err := c.do(ctx, "LOCK TABLE "+t.name+" IN ACCESS EXCLUSIVE MODE", "ALTER TABLE "+t.name+" DISABLE TRIGGER USER"); err != nil {
			return err
		}
		var filled bool
		if err := c.tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+t.name+t.where("postgres")+")").Scan(&filled); err != nil {
			return fmt.Errorf("look into %s: %w", t.name, err)
		}
		if filled {
			return refusal("The target is not empty: its table %s holds rows. Nothing was changed. A store is copied into a database that holds nothing; make a new one for it.", t.name)
		}
	}
	return nil
}

// sameColumns makes sure that nothing of the source has no place in the target, or the other way round.
func (c *copying) sameColumns(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `SELECT table_name::text || '.' || column_name::text FROM information_schema.columns WHERE table_schema = current_schema()`)
	if err != nil {
		return fmt.Errorf("read the target's columns: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read the target's columns: %w", err)
	}
	missing := map[string]bool{}
	for _, name := range found {
		if table, _, _ := strings.Cut(name, "."); !ownByEngine[table] {
			missing[name] = true
		}
	}
	for _, t := range c.tables {
		for _, column := range t.columns {
			if !missing[t.name+"."+column] {
				return fmt.Errorf("the target has no column %s.%s. Nothing was changed", t.name, column)
			}
			delete(missing, t.name+"."+column)
		}
	}
	for name := range missing {
		return fmt.Errorf("the source has no column %s. Nothing was changed. Is there something else in the database?", name)
	}
	return nil
}

func (c *copying) do(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := c.tx.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(s), err)
		}
	}
	return nil
}

func (c *copying) copyTable(ctx context.Context, t table) error {
	c.progress(t.name, c.done, c.total)
	rows, err := c.source.QueryContext(ctx, t.query("sqlite"))
	if err != nil {
		return fmt.Errorf("read %s: %w", t.name, err)
	}
	defer func() { _ = rows.Close() }()
	n, err := c.tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, &stream{rows: rows, table: t, copying: c, values: make([]any, len(t.columns))})
	if err != nil {
		return fmt.Errorf("copy %s: %w", t.name, err)
	}
	if n != t.rows {
		return fmt.Errorf("%s had %d rows, and %d were copied", t.name, t.rows, n)
	}
	return rows.Err()
}

// finish lets the triggers work again and begins the target's history: an epoch of its own mark, and a change for it, so
// that a node finds the history without a hole from here on, and with one before.
func (c *copying) finish(ctx context.Context) (epoch int64, err error) {
	for _, t := range c.tables {
		if err := c.do(ctx, "ALTER TABLE "+t.name+" ENABLE TRIGGER USER"); err != nil {
			return 0, err
		}
	}
	var source int64
	if err := c.source.QueryRowContext(ctx, `SELECT value FROM epoch WHERE id = 1`).Scan(&source); err != nil {
		return 0, fmt.Errorf("read the source's epoch: %w", err)
	}
	err = c.tx.QueryRow(ctx, `UPDATE epoch SET value = greatest(value, $1::bigint) + 1, prior = mark, mark = hashtextextended(gen_random_uuid()::text, 0), moved = 0
		WHERE id = 1 RETURNING value`, source).Scan(&epoch)
	if err != nil {
		return 0, fmt.Errorf("begin the target's history: %w", err)
	}
	return epoch, c.do(ctx, `INSERT INTO changes (epoch, mark, kind, key, at) SELECT value, mark, 'start', '', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM epoch`)
}

// stream hands rows on one by one, so that none is kept.
type stream struct {
	rows    *sql.Rows
	table   table
	copying *copying
	values  []any
	err     error
}

// progressEvery is how many rows may pass before somebody is told.
const progressEvery = 5_000

// Next implements [pgx.CopyFromSource].
func (s *stream) Next() bool {
	if !s.rows.Next() {
		s.err = s.rows.Err()
		return false
	}
	if s.err = scan(s.rows, s.values); s.err != nil {
		return false
	}
	if s.err = s.table.fits(s.values); s.err != nil {
		return false
	}
	if s.copying.done++; s.copying.done%progressEvery == 0 {
		s.copying.progress(s.table.name, s.copying.done, s.copying.total)
	}
	return true
}

// Values implements [pgx.CopyFromSource].
func (s *stream) Values() ([]any, error) { return s.values, nil }

// Err implements [pgx.CopyFromSource].
func (s *stream) Err() error { return s.err }

// scan reads a row of an embedded store. What the driver makes of bytes of length zero is taken for NULL by others.
func scan(rows *sql.Rows, values []any) error {
	places := make([]any, len(values))
	for i := range values {
		places[i] = &values[i]
	}
	if err := rows.Scan(places...); err != nil {
		return err
	}
	for i, v := range values {
		if b, ok := v.([]byte); ok && b == nil {
			values[i] = []byte{}
		}
	}
	return nil
}

// fits refuses text that PostgreSQL cannot hold. Nothing that people type gets so far, but a file can hold anything.
func (t table) fits(values []any) error {
	for i, v := range values {
		if text, ok := v.(string); ok && (strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text)) {
			return refusal("The column %s.%s of the row %s holds text with a NUL or broken UTF-8, which PostgreSQL cannot hold. Nothing was changed. Mend the row first.", t.name, t.columns[i], t.nameOf(values))
		}
	}
	return nil
}
