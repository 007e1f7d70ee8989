// Package db is the ground that the features stand on: it opens the store, brings its schema up to date, and gives out
// transactions.
//
// Reads go through [DB.Read] and [DB.Snapshot]. Every write goes through [DB.Write], which also carries the promise that
// a revocation holds at once: triggers move the epoch row in every transaction that changes who may do what, and Write
// hands those changes to its subscribers after the commit and before it returns to the writer. A cache of what the
// store says is therefore exact whenever no writer is inside Write, and nobody can forget to invalidate it.
//
// A store whose disk failed once is not trusted again: after a failed sync what the disk holds is unknown, so nothing
// more is acknowledged and the process is told to stop.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"carnet/internal/request"
)

// Options says which store to open and what to do when it fails.
type Options struct {
	// Dir is the data folder of an embedded store. It is made, with mode 0700, when it does not exist.
	Dir string
	// Log receives what an operator should know. It must not be nil.
	Log *slog.Logger
	// Fatal is called once, when the store failed in a way that forbids going on. It should end the process. It must not
	// be nil for a server.
	Fatal func(error)
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	dir   string
	lock  *os.File
	read  *sql.DB
	write *sql.DB // one connection: SQLite has one writer
	log   *slog.Logger
	fatal func(error)

	turn    chan struct{} // the right to write; holding it guards epoch, walPages and subscribers' order
	epoch   int64
	writes  int
	broken  atomic.Pointer[error]
	stopped sync.Once

	subscribers []Subscriber
	checkpoints chan struct{}
	done        chan struct{}
	background  sync.WaitGroup
	closing     sync.Once
}

// Change is one thing that a committed transaction invalidated.
type Change struct {
	Kind ChangeKind
	Key  string
}

// ChangeKind says what sort of thing a [Change] names.
type ChangeKind string

// The kinds of change. The triggers of the schema write these words.
const (
	TokenChanged        ChangeKind = "token"        // the token of that id
	SessionChanged      ChangeKind = "session"      // the session of that id
	UserChanged         ChangeKind = "user"         // everything that acts as that user
	OrganizationChanged ChangeKind = "organization" // everything that acts in that organization
)

// Subscriber hears of every move of the epoch, in order, before the writer that caused it returns.
type Subscriber interface {
	// Apply tells that the store is now at epoch and what that invalidates.
	Apply(epoch int64, changes []Change)
	// Drop tells that what is cached may be anything: forget all of it.
	Drop()
}

// Queryer is what both a connection pool and a transaction can do. Features take it where either serves.
type Queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Repeating returns what tx can do, with each text that changes something parsed once instead of at every use. It is for
// transactions that carry out the same few texts many times.
func Repeating(tx *sql.Tx) Queryer { return &repeating{Tx: tx, kept: map[string]*sql.Stmt{}} }

type repeating struct {
	*sql.Tx
	kept map[string]*sql.Stmt
}

// ExecContext implements [Queryer].
func (r *repeating) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, ok := r.kept[query]
	if !ok {
		var err error
		if stmt, err = r.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		r.kept[query] = stmt // the end of the transaction closes it
	}
	return stmt.ExecContext(ctx, args...)
}

// Read returns the pool for single read statements.
func (d *DB) Read() Queryer { return d.read }

// Subscribe registers a subscriber. It is called while wiring, before the first write.
func (d *DB) Subscribe(s Subscriber) {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	d.subscribers = append(d.subscribers, s)
	s.Apply(d.epoch, nil)
}

// Snapshot runs fn in a read-only transaction that sees one state of the store, and passes the epoch of that state.
func (d *DB) Snapshot(ctx context.Context, fn func(tx *sql.Tx, epoch int64) error) error {
	if err := d.Err(); err != nil {
		return err
	}
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin a snapshot: %w", d.seen(err))
	}
	defer func() { _ = tx.Rollback() }() // nothing to keep
	var epoch int64
	if err := tx.QueryRowContext(ctx, `SELECT value FROM epoch WHERE id = 1`).Scan(&epoch); err != nil {
		return fmt.Errorf("read the epoch: %w", d.seen(err))
	}
	return d.seen(fn(tx, epoch))
}

// Write runs fn in the one write transaction of the moment and commits it. When Write returns nil, what fn did is on
// disk and every subscriber knows what it invalidated. When it returns an error, nothing of it happened, with one
// exception: an error wrapping [ErrUnknown], after which the process stops. A write for a request whose caller's
// authority changed since they were identified gets [ErrOvertaken] instead of its turn.
//
// fn must not call Write. Its context is detached from ctx's cancellation, so that a client that hangs up cannot leave
// a transaction half decided; ctx bounds the wait for the turn.
func (d *DB) Write(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the turn to write: %w", ctx.Err())
	}
	defer func() { <-d.turn }()
	if err := d.Err(); err != nil {
		return err
	}
	// Whoever took authority from the caller before had this turn, and told the caches before they let go of it.
	asker := request.From(ctx)
	if asker.Overtaken != nil && asker.Overtaken() {
		return ErrOvertaken
	}
	ctx = context.WithoutCancel(ctx)

	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a write: %w", d.seen(err))
	}
	// After a commit this does nothing. Without it a panic in fn would keep the only connection for ever.
	defer func() { _ = tx.Rollback() }()
	if err := fn(ctx, tx); err != nil {
		return d.seen(err)
	}
	epoch, changes, err := moved(ctx, tx)
	if err != nil {
		return d.seen(err)
	}
	if err := tx.Commit(); err != nil {
		return d.commitFailed(err)
	}
	if epoch > 0 {
		d.epoch = epoch
		for _, s := range d.subscribers {
			s.Apply(epoch, changes)
		}
	}
	d.afterWrite()
	// What the request did itself does not overtake it.
	asker.Overtaken = nil
	return nil
}

// moved closes the transaction's move of the epoch, if it made one, and returns what it invalidates.
func moved(ctx context.Context, tx *sql.Tx) (epoch int64, changes []Change, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE epoch SET moved = 0 WHERE moved = 1 RETURNING value`).Scan(&epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("close the epoch: %w", err)
	}
	rows, err := tx.QueryContext(ctx, `SELECT kind, key FROM changes WHERE epoch = $1`, epoch)
	if err != nil {
		return 0, nil, fmt.Errorf("read the changes: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var c Change
		if err := rows.Scan(&c.Kind, &c.Key); err != nil {
			return 0, nil, fmt.Errorf("read the changes: %w", err)
		}
		changes = append(changes, c)
	}
	return epoch, changes, rows.Err()
}

// Ready reports whether the store answers.
func (d *DB) Ready(ctx context.Context) error {
	if err := d.Err(); err != nil {
		return err
	}
	var one int
	return d.seen(d.read.QueryRowContext(ctx, `SELECT 1 FROM epoch`).Scan(&one))
}

// Clean deletes what retention says of the tables that this package owns, in small batches.
func (d *DB) Clean(ctx context.Context, now time.Time) error {
	// A node reads the changes of the last moments only; a day is ample for any reader that is not dropped anyway.
	return d.DeleteInBatches(ctx, `DELETE FROM changes WHERE (epoch, kind, key) IN (SELECT epoch, kind, key FROM changes WHERE at < $1 LIMIT $2)`,
		Micros(now.Add(-24*time.Hour)))
}

// batch is how many rows one transaction of a cleaner deletes: few enough that nobody waits for it.
const batch = 500

// DeleteInBatches runs a DELETE whose last parameter is a row limit until nothing is left to delete, a transaction for
// each batch, so that cleaning never holds up a writer for long.
func (d *DB) DeleteInBatches(ctx context.Context, statement string, args ...any) error {
	args = append(append([]any(nil), args...), batch)
	for {
		var deleted int64
		err := d.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			result, err := tx.ExecContext(ctx, statement, args...)
			if err != nil {
				return fmt.Errorf("clean: %w", err)
			}
			deleted, err = result.RowsAffected()
			return err
		})
		if err != nil || deleted < batch {
			return err
		}
	}
}

// Micros returns t as the store keeps times: microseconds since 1970, UTC.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// Time returns the time that the store keeps as micros.
func Time(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// NullTime returns the time of a nullable column, nil for NULL.
func NullTime(micros sql.NullInt64) *time.Time {
	if !micros.Valid {
		return nil
	}
	t := Time(micros.Int64)
	return &t
}

// NullMicros returns t for a nullable column, NULL for nil.
func NullMicros(t *time.Time) sql.NullInt64 {
	if t == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: Micros(*t), Valid: true}
}
