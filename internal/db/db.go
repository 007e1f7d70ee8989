// Package db is the ground that the features stand on: it opens the store, brings its schema up to date, and gives out
// transactions. The store is a file inside the process (SQLite) or a PostgreSQL server that many nodes share; features
// do not see which.
//
// Reads go through [DB.Read]. Every write goes through [DB.Write], which also carries the promise that a revocation
// holds at once: triggers move the epoch row in every transaction that changes who may do what. On SQLite, Write hands
// those changes to its subscribers after the commit and before it returns to the writer, so that a cache of what the
// store says is exact whenever no writer is inside Write. On PostgreSQL other nodes write, too, so whoever is about to
// believe a cache calls [DB.Fresh] first, which returns once the subscribers know everything that was committed before
// the call. Either way nobody can forget to invalidate.
//
// A store inside the process whose disk failed once is not trusted again: after a failed sync what the disk holds is
// unknown, so nothing more is acknowledged and the process is told to stop.
package db

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"carnet/internal/problem"
)

// Options says which store to open and what to do when it fails.
type Options struct {
	// Dir is the data folder. An embedded store lives in it; it is made, with mode 0700, when it does not exist. With a
	// URL nothing is made there.
	Dir string
	// URL names a PostgreSQL database (postgres://…, or key=value pairs; libpq's form), with as many hosts as there are.
	// Empty: the embedded store.
	URL string
	// Connections is the most that a node opens to a PostgreSQL server; 0 means [DefaultConnections].
	Connections int
	// Patience is for how long a PostgreSQL server may be silent before a verification says that it cannot tell; 0 means
	// [DefaultPatience].
	Patience time.Duration
	// Moved opens an embedded store that was copied to a database before, too.
	Moved bool
	// Log receives what an operator should know. It must not be nil.
	Log *slog.Logger
	// Fatal is called once, when the store failed in a way that forbids going on. It should end the process. It must not
	// be nil for a server.
	Fatal func(error)
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	engine  engine
	dir     string
	where   string
	log     *slog.Logger
	fatal   func(error)
	broken  atomic.Pointer[error]
	stopped sync.Once
	stats   Stats

	subscribers []Subscriber // guarded by the engine
}

// engine is what SQLite and PostgreSQL do each in their own way.
type engine interface {
	name() string
	read() Queryer
	lookups() Queryer
	prepares() bool
	attempt(ctx context.Context) (context.Context, context.CancelFunc)
	subscribe(Subscriber)
	fresh(ctx context.Context) error
	write(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error
	hold(ctx context.Context, tx *sql.Tx, keys []string) error
	ready(ctx context.Context) error
	seen(err error) error
	close() error
}

// Open opens the store that the options name, made new if there is none, and brings its schema up to date. Its errors
// say what to do.
func Open(ctx context.Context, options Options) (*DB, error) {
	d := &DB{dir: options.Dir, where: options.Dir, log: options.Log, fatal: options.Fatal}
	d.stats.init()
	var err error
	if options.URL != "" {
		d.where, _ = DatabaseName(options.URL)
		d.where = "the database " + d.where
		d.engine, err = openPostgres(ctx, d, options)
	} else {
		d.engine, err = openSQLite(ctx, d, options.Moved)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Epoch is a moment in the history of who may do what. Value counts; Mark is random and new with each move on
// PostgreSQL, so that two histories that parted (a standby that lost the last commits, a restored backup) do not agree
// about an epoch although they count alike.
type Epoch struct{ Value, Mark int64 }

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
	Apply(epoch Epoch, changes []Change)
	// Drop tells that what is cached may be anything: forget all of it. The store is now at epoch.
	Drop(epoch Epoch)
}

// Queryer is what both a connection pool and a transaction can do. Features take it where either serves.
type Queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Name returns how to speak of the store: its data folder, or its database and where that is.
func (d *DB) Name() string { return d.where }

// Engine returns "sqlite" or "postgres".
func (d *DB) Engine() string { return d.engine.name() }

// Dir returns the data folder.
func (d *DB) Dir() string { return d.dir }

// Read returns the pool for single read statements.
func (d *DB) Read() Queryer { return d.engine.read() }

// Lookups returns the connections that are kept for verification, so that it never waits for anybody else's reads.
// Prepares reports whether statements may be prepared on them once and used on any connection ever after.
func (d *DB) Lookups() (q Queryer, prepares bool) { return d.engine.lookups(), d.engine.prepares() }

// Subscribe registers a subscriber. It is called while wiring, before the first write.
func (d *DB) Subscribe(s Subscriber) { d.engine.subscribe(s) }

// Shared reports whether others write to the store, too, so that a cache must ask [DB.Fresh] before it is believed.
func (d *DB) Shared() bool { return d.engine.name() != "sqlite" }

// Attempt returns a context for a look-up that somebody waits for: it ends when the store seems to be cut off. The caller
// calls done. An embedded store is never cut off, and a look-up there takes less time than watching over it.
func (d *DB) Attempt(ctx context.Context) (attempt context.Context, done context.CancelFunc) {
	return d.engine.attempt(context.WithoutCancel(ctx))
}

// Fresh returns nil once every subscriber has been told of everything that was committed before the call, by anybody on
// any node. An error means that this could not be found out in time: nothing that was cached may be believed. On an
// embedded store it returns at once, because writers told before they returned.
func (d *DB) Fresh(ctx context.Context) error { return d.engine.fresh(ctx) }

// Write runs fn in a transaction and commits it. When Write returns nil, what fn did is on disk, and every verification
// that begins afterwards, on any node, takes it into account. When it returns an error, nothing of it happened, with one
// exception: an error wrapping [ErrUnknown]. A write for a request whose caller's authority changed since they were
// identified gets [ErrOvertaken], and nothing of it happens.
//
// On SQLite, writers take turns. On PostgreSQL they run side by side, each statement seeing what others committed before
// it; what must not change between a look and a write is kept by [DB.Hold]. There, fn may be run again from its start
// after a conflict with another writer or a lost connection, so it must not add to what it did outside the transaction.
//
// fn must not call Write. Its context is detached from ctx's cancellation, so that a client that hangs up cannot leave
// a transaction half decided; ctx bounds the wait for the turn.
func (d *DB) Write(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return d.engine.write(ctx, fn)
}

// Hold keeps every other transaction that holds one of the keys waiting until tx ends. A key is any text; by custom it
// begins with the kind of thing that it names. Hold them before looking at what they protect. On SQLite there is nothing
// to do: a writer is alone.
func (d *DB) Hold(ctx context.Context, tx *sql.Tx, keys ...string) error {
	return d.engine.hold(ctx, tx, keys)
}

// Ready reports whether the store can serve.
func (d *DB) Ready(ctx context.Context) error { return d.engine.ready(ctx) }

// Close ends the background work and closes the store. It is safe to call twice.
func (d *DB) Close() error { return d.engine.close() }

// Err returns nil while the store can be used, and ErrStopped with its cause after it failed.
func (d *DB) Err() error {
	if cause := d.broken.Load(); cause != nil {
		return ErrStopped.Because(*cause)
	}
	return nil
}

// Stats returns the store's counters.
func (d *DB) Stats() *Stats { return &d.stats }

// busy is the refusal of what could not be done now although nothing is wrong.
func busy(cause error) error {
	return problem.New(problem.Overloaded, "The server is too busy to do this now. Nothing was changed. Try again in a moment.").Because(cause)
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
