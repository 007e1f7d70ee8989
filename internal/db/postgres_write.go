package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"carnet/internal/problem"
	"carnet/internal/request"
)

const (
	// writeTimeout bounds a write with all its tries.
	writeTimeout = 10 * time.Second
	// mostTries is how often a write is begun. Conflicts are rare, because what would conflict is held first.
	mostTries = 12
)

// beginWrite begins a transaction and bounds it, in one message with what comes next. SET LOCAL ends with the transaction,
// so that a pooler in transaction mode hands nothing of it on. A node that stalls in the middle is cut off before others wait for long.
const beginWrite = "begin; set local statement_timeout = 5000; set local lock_timeout = 3000; set local idle_in_transaction_session_timeout = 3000; "

// errRolledBack is the error of a commit that the server turned into a rollback.
var errRolledBack = errors.New("the server rolled the transaction back")

// overtakenState is the SQLSTATE of authority_guard's refusal.
const overtakenState = "CA001"

// errUnknownOutcome is what a write gets whose commit was not answered.
var errUnknownOutcome = &problem.Error{
	Code: problem.Overloaded, RetryAfter: 2,
	Detail: "The database did not confirm the change. It may or may not have been made: look before you repeat it, or repeat it with the same Idempotency-Key.",
}

// errNoDatabase is what a request gets that needs a database which does not answer.
var errNoDatabase = &problem.Error{
	Code: problem.Overloaded, RetryAfter: 2,
	Detail: "The database cannot be reached right now. Nothing was changed. Try again in a moment.",
}

func (p *postgres) write(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	if err := p.db.Err(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for the turn to write: %w", err)
	}
	if p.gone() {
		return errNoDatabase.Because(errSilent) // it would wait in vain
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	for try := 1; ; try++ {
		err := p.try(ctx, fn)
		if err == nil {
			request.From(ctx).Standing = nil // what the request did itself does not overtake it
			return nil
		}
		if !again(err) || try == mostTries {
			return p.seen(err)
		}
		p.db.stats.Retries.Add(1)
		pause := time.Duration(rand.Int64N(int64(time.Millisecond) << min(try, 8))) //nolint:gosec // spreads tries, keeps no secret
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return p.seen(err)
		}
	}
}

// try carries a write out once.
func (p *postgres) try(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	// Read before the caller's standing is looked at: whatever moved the epoch up to here has been told.
	verifiedAt := *p.applied.Load()
	standing := request.From(ctx).Standing
	if standing != nil && standing.Overtaken() {
		return ErrOvertaken
	}
	session, err := p.writer.Conn(ctx)
	if err != nil {
		return fmt.Errorf("find a connection to write on: %w", err)
	}
	defer func() { _ = session.Close() }()
	var raw *connection
	if err := session.Raw(func(c any) error { raw, _ = c.(*connection); return nil }); err != nil {
		return fmt.Errorf("find a connection to write on: %w", err)
	}
	tx, err := session.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a write: %w", err)
	}
	// After a commit this does nothing.
	defer func() { _ = tx.Rollback() }()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	if standing != nil {
		raw.beforeCommit = guard(verifiedAt, standing.Subjects())
	}
	return p.commit(tx)
}

// guard is what a transaction ends with that acts for somebody: nothing is committed once their authority has changed.
// The transaction's own moves come first, because they take the lock alone which the guard shares.
func guard(at Epoch, subjects []string) string {
	return "set constraints all immediate; select authority_guard(" + strconv.FormatInt(at.Value, 10) + ", " +
		strconv.FormatInt(at.Mark, 10) + ", " + literal(subjects) + "); "
}

func (p *postgres) commit(tx *sql.Tx) error {
	err := tx.Commit()
	var failure *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errRolledBack):
		return fmt.Errorf("commit: %w", err)
	case errors.As(err, &failure) && failure.Code == overtakenState:
		return ErrOvertaken
	case errors.As(err, &failure) && failure.Severity == "ERROR":
		return fmt.Errorf("commit: %w", err) // the server said no
	default:
		// Silence, or a server that went down: the answer is what got lost, or the commit.
		return errUnknownOutcome.Because(fmt.Errorf("commit: %w: %w", ErrUnknown, err))
	}
}

// again reports whether a write that failed so may be begun anew: after conflicts, and after whatever happened to the
// connection before anything was committed.
func again(err error) bool {
	if errors.Is(err, ErrUnknown) {
		return false
	}
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		switch failure.Code {
		case "40001", "40P01": // serialization_failure, deadlock_detected
			return true
		case "23505": // unique_violation: somebody was faster between our look and our write, and will now be seen
			return true
		}
	}
	return forgotten(err) || lost(err)
}

// forgotten reports whether an error says that the server does not have a statement as it was planned: the schema has
// changed, or somebody told the server to forget. The library makes it anew when it is used the next time.
func forgotten(err error) bool {
	var failure *pgconn.PgError
	if !errors.As(err, &failure) {
		return false
	}
	return failure.Code == "26000" || failure.Code == "0A000" && failure.Routine == "RevalidateCachedQuery" // invalid_sql_statement_name
}

// lost reports whether an error says that the database cannot be reached, or is no primary any more.
func lost(err error) bool {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		switch failure.Code {
		case "25006", // read_only_sql_transaction: a standby now
			"57P01", "57P02", "57P03", "57P05", // admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout
			"25P03",          // idle_in_transaction_session_timeout
			"53300", "53400": // too_many_connections
			return true
		}
		return failure.Code[:2] == "08" // connection_exception
	}
	var network net.Error
	var connect *pgconn.ConnectError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, errStandby) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.As(err, &network) || errors.As(err, &connect) || pgconn.SafeToRetry(err)
}

// seen looks at an error on its way out, and makes refusals of those that pass.
func (p *postgres) seen(err error) error {
	var refusal *problem.Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	var failure *pgconn.PgError
	switch {
	case lost(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled) && p.gone():
		return errNoDatabase.Because(err)
	case errors.As(err, &failure):
		switch failure.Code {
		case "53100": // disk_full
			return errFull.Because(err)
		case "40001", "40P01", "55P03", "57014", "53200": // conflicts, lock_timeout, statement_timeout, out_of_memory
			return busy(err)
		}
	}
	return err
}

// Explain makes a refusal of an error of a read that says that the database cannot be reached or is too slow. Other
// errors come back as they are.
func (d *DB) Explain(err error) error { return d.engine.seen(err) }
