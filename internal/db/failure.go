package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"carnet/internal/problem"
)

// ErrStopped is returned by everything after the store failed: it is closed to reads and writes for good.
var ErrStopped = problem.New(problem.Overloaded, "The server is stopping because its storage failed. Nothing was changed. Try again when it runs again.")

// ErrUnknown is wrapped by the error of a commit whose outcome is not known.
var ErrUnknown = errors.New("the outcome of the transaction is not known")

// errFull is what a write gets while the disk has no room. Nothing of it happened, and reads go on.
var errFull = &problem.Error{
	Code: problem.Overloaded, RetryAfter: 30,
	Detail: "The server's disk is full, so nothing can be changed right now. Nothing was. Tokens go on being verified. Try again later.",
}

// ErrOvertaken is returned by a write whose caller's authority changed between their identification and their turn to
// write. Nothing of it happened. The doors identify the caller anew and try again.
var ErrOvertaken = &problem.Error{
	Code: problem.Overloaded, RetryAfter: 1,
	Detail: "What you may do changed while the request was on its way. Nothing was changed. Try again.",
}

// MostOvertakings is how often a door begins a request again whose caller's authority changed under it.
const MostOvertakings = 100

// Overtaken reports whether a request that ended with err should be begun again, for the nth time, with its caller
// identified anew. It waits a moment first where that happens again and again: everybody in an organization is overtaken
// by each change of its projects, and those who change them at the same time would overtake each other for ever.
func Overtaken(err error, n int) bool {
	if !errors.Is(err, ErrOvertaken) || n > MostOvertakings {
		return false
	}
	if n > 2 {
		time.Sleep(time.Duration(rand.Int64N(int64(time.Millisecond) << min(n, 5)))) //nolint:gosec // spreads tries, keeps no secret
	}
	return true
}

// seen looks at an error on its way out. A full disk becomes a refusal that says so. A disk or file that failed stops
// everything: SQLite would go on after a failed sync, although what is on disk is then unknown (Rebello et al., "Can
// Applications Recover from fsync Failures?", USENIX ATC 2020).
func (s *sqlite) seen(err error) error {
	if err == nil {
		return nil
	}
	var failure *driver.Error
	if !errors.As(err, &failure) {
		return err
	}
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return errFull.Because(err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY:
		s.db.stop(err)
		return ErrStopped.Because(err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM:
		return busy(err)
	default:
		return err
	}
}

// commitFailed decides what a failed commit means. A full disk rolls back; anything else leaves the outcome unknown.
func (s *sqlite) commitFailed(err error) error {
	var failure *driver.Error
	if errors.As(err, &failure) && failure.Code()&0xff == sqlite3.SQLITE_FULL {
		// The failed COMMIT may leave the transaction open on the connection.
		_, _ = s.writer.ExecContext(context.Background(), "ROLLBACK")
		return errFull.Because(err)
	}
	for _, subscriber := range s.db.subscribers {
		subscriber.Drop(Epoch{})
	}
	cause := fmt.Errorf("commit: %w: %w", ErrUnknown, err)
	s.db.stop(cause)
	return ErrStopped.Because(cause)
}

// stop closes the store to everybody and tells the process to end, once.
func (d *DB) stop(cause error) {
	d.stopped.Do(func() {
		d.broken.Store(&cause)
		for _, s := range d.subscribers {
			s.Drop(Epoch{}) // no fill is of that epoch
		}
		if d.fatal != nil {
			// In a goroutine: the caller may hold what an orderly end waits for.
			go d.fatal(fmt.Errorf("storage failed, so this process stops and acknowledges nothing more: %w", cause))
		}
	})
}
