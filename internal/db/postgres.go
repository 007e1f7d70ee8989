package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"carnet/internal/problem"
)

// DefaultConnections is the most that a node opens to a PostgreSQL server unless told otherwise.
const DefaultConnections = 32

// DefaultPatience is for how long the database may be silent before verifications give up. With it, a node that is cut
// off answers 503 within 250 ms, while one whose database is slow answers late.
const DefaultPatience = 200 * time.Millisecond

// longestAttempt is how many times its patience a verification waits for a database that does answer others.
const longestAttempt = 10

// Shares of a node's connections. Each kind of work has its own, so that none can starve another: a slow list holds up
// no verification, and a writer that reads on the side never waits for writers.
const (
	epochConnections  = maxFlights
	lookupConnections = 6
	leastConnections  = epochConnections + lookupConnections + 4
)

// postgres is the store on a server that several nodes share.
type postgres struct {
	db                              *DB
	reader, lookup, writer, watcher *sql.DB
	pools                           []*sql.DB
	connectors                      []*connector

	flights flights
	wait    time.Duration // how long the database may be silent
	heard   atomic.Int64  // when it last answered, in nanoseconds since started
	started time.Time

	applying sync.Mutex            // guards subscribers and the order in which they hear; held while changes are read
	applied  atomic.Pointer[Epoch] // what they know; stored under applying, after they were told

	skewed     atomic.Bool // this machine's clock differs from the server's by too much
	stop       context.CancelFunc
	background sync.WaitGroup
	closing    sync.Once
}

// openPostgres connects to the server that the options name and brings the schema up to date.
func openPostgres(ctx context.Context, d *DB, options Options) (*postgres, error) {
	config, err := parseURL(options.URL)
	if err != nil {
		return nil, err
	}
	most := options.Connections
	if most == 0 {
		most = DefaultConnections
	}
	if most < leastConnections {
		return nil, fmt.Errorf("a node needs at least %d connections to the database", leastConnections)
	}
	p := &postgres{db: d, stop: func() {}, started: time.Now()}
	p.wait = options.Patience
	if p.wait == 0 {
		p.wait = DefaultPatience
	}
	p.flights.look = p.look
	rest := most - epochConnections - lookupConnections
	quick := config.Copy()
	quick.ConnectTimeout = min(config.ConnectTimeout, watcherTimeout)
	p.watcher = p.pool(quick, epochConnections, false)
	p.lookup = p.pool(config, lookupConnections, true)
	p.reader = p.pool(config, rest/2, true)
	p.writer = p.pool(config, rest-rest/2, true)
	if err := p.open(ctx, config); err != nil {
		return nil, errors.Join(explainPostgres(config, err), p.close())
	}
	background, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.background.Go(func() { p.watch(background) })
	return p, nil
}

func (p *postgres) open(ctx context.Context, config *pgx.ConnConfig) error {
	if err := p.migrate(ctx, config); err != nil {
		return err
	}
	epoch, err := readEpoch(ctx, patient{p.watcher})
	if err != nil {
		return err
	}
	p.applied.Store(&epoch)
	p.db.stats.saw(epoch)
	p.alive()
	return p.compareClocks(ctx)
}

// keptStatements is how many statements a server process keeps planned for us: as many as there are in the code.
const keptStatements = 256

// parseURL reads what names the database, and adds what Carnet needs: the primary of several hosts, bounded waits, and
// statements without names, which a pooler in transaction mode does not lose. Where there is no pooler, they get names
// later, see [direct], unless the URL says how they are to be run.
func parseURL(url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, explainURL(err)
	}
	if config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if config.ConnectTimeout == 0 || config.ConnectTimeout > connectTimeout {
		config.ConnectTimeout = connectTimeout
	}
	if !strings.Contains(url, "default_query_exec_mode") {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
		config.StatementCacheCapacity, config.DescriptionCacheCapacity = keptStatements, 0
	} else if config.DefaultQueryExecMode == pgx.QueryExecModeExec {
		config.StatementCacheCapacity, config.DescriptionCacheCapacity = 0, 0
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "carnet"
	}
	return config, nil
}

// explainURL says what is wrong with what should name a database. The library's own error repeats the text, and finds
// the password in it only where the text can be read.
func explainURL(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return fmt.Errorf("a file that the database URL names: %w", file)
	}
	return problem.New(problem.ValidationFailed, "The database URL cannot be read. It looks like postgres://carnet:password@host1,host2/carnet?sslmode=verify-full; "+
		"characters of the password other than letters, digits and - . _ ~ are percent-encoded, / as %2F.")
}

// oneLine returns an error's text without line breaks: a connection to several hosts fails once for each, and twice where
// it may be without TLS.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// explainPostgres says what an operator can do about a store that does not open.
func explainPostgres(config *pgx.ConnConfig, err error) error {
	where := fmt.Sprintf("the database %s on %s", config.Database, config.Host)
	var connect *pgconn.ConnectError
	var failure *pgconn.PgError
	switch {
	case errors.As(err, &failure) && failure.Code == "42501":
		return fmt.Errorf("%s: the role %s lacks a right. It should own the database, or at least its schema: %w", where, config.User, err)
	case errors.As(err, &failure) && (failure.Code == "28P01" || failure.Code == "28000"):
		return unopened{where + " does not let the role " + config.User + " in: " + failure.Message, err}
	case errors.As(err, &connect) && strings.Contains(oneLine(connect), "read only connection"):
		return unopened{where + " has no primary right now: only standbys answer", err}
	case errors.As(err, &connect):
		return unopened{where + " cannot be reached. Check host, port and TLS: " + oneLine(connect.Unwrap()), err}
	case pgconn.Timeout(err):
		return unopened{where + " does not answer in time", err}
	default:
		return fmt.Errorf("open %s: %w", where, err)
	}
}

// unopened is the error of a store that does not open, in an operator's words.
type unopened struct {
	text  string
	cause error
}

// Error implements [error].
func (u unopened) Error() string { return u.text }

// Unwrap returns what the library said.
func (u unopened) Unwrap() error { return u.cause }

func (p *postgres) pool(config *pgx.ConnConfig, most int, ping bool) *sql.DB {
	c := newConnector(config, most, ping, openPatience, beginWrite)
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(most)
	pool.SetMaxIdleConns(most)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	p.pools, p.connectors = append(p.pools, pool), append(p.connectors, c)
	return pool
}

func (*postgres) name() string       { return "postgres" }
func (p *postgres) read() Queryer    { return bounded{patient{p.reader}, p} }
func (p *postgres) lookups() Queryer { return bounded{patient{p.lookup}, p} }
func (*postgres) prepares() bool     { return false } // a pooler gives every transaction another connection

func (p *postgres) subscribe(s Subscriber) {
	p.applying.Lock()
	defer p.applying.Unlock()
	p.db.subscribers = append(p.db.subscribers, s)
	s.Apply(*p.applied.Load(), nil)
}

// hold takes locks that end with the transaction. They live in the server's memory, so that there need not be a row.
func (p *postgres) hold(ctx context.Context, tx *sql.Tx, keys []string) error {
	keys = slices.Compact(slices.Sorted(slices.Values(keys))) // one order for all, or two would wait for each other
	if len(keys) == 0 {
		return nil
	}
	var locks []string
	for _, k := range keys {
		sum := sha256.Sum256([]byte(k)) // the server's locks are numbers, and some texts it would not even read
		locks = append(locks, "pg_advisory_xact_lock("+strconv.FormatInt(int64(binary.BigEndian.Uint64(sum[:])), 10)+")")
	}
	// The locks are a statement of their own: what they protect must be read by a later one, with a later snapshot. Without
	// parameters, it goes in one message with what begins the transaction.
	if _, err := tx.ExecContext(ctx, "select "+strings.Join(locks, ", ")); err != nil { //nolint:gosec // numbers only
		return fmt.Errorf("wait for others who change the same: %w", err)
	}
	return nil
}

const (
	// readTimeout bounds a read that nobody else bounds.
	readTimeout = 30 * time.Second
	// readSilence is how long the database may be silent at least before such a read gives up. A node at rest hears from it
	// every second.
	readSilence = 3 * time.Second
)

// patient is a pool whose reads are begun again when their connection turns out to be gone: a server that restarted
// leaves many of those.
type patient struct{ *sql.DB }

// mostReads is how often a read is begun.
const mostReads = 4

// QueryContext implements [Queryer].
func (p patient) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	for try := 1; ; try++ {
		rows, err := p.DB.QueryContext(ctx, query, args...)
		if err == nil || try == mostReads || ctx.Err() != nil || !lost(err) && !forgotten(err) {
			return rows, err
		}
	}
}

// QueryRowContext implements [Queryer].
func (p patient) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	for try := 1; ; try++ {
		row := p.DB.QueryRowContext(ctx, query, args...)
		if err := row.Err(); err == nil || try == mostReads || ctx.Err() != nil || !lost(err) && !forgotten(err) {
			return row
		}
	}
}

// bounded is a pool whose reads end after a while as well, and soon when the server does not answer anybody any more.
type bounded struct {
	patient
	p *postgres
}

// QueryContext implements [Queryer].
func (b bounded) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return b.patient.QueryContext(b.limited(ctx), query, args...)
}

// QueryRowContext implements [Queryer].
func (b bounded) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return b.patient.QueryRowContext(b.limited(ctx), query, args...)
}

// ExecContext implements [Queryer]. What writes belongs into [DB.Write].
func (bounded) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return nil, errors.New("db: a statement that writes on the connections for reads")
}

// gone reports whether nobody has heard of the database for so long that asking it is of no use. An operator who gives
// verifications more patience than that gives it to everything.
func (p *postgres) gone() bool { return p.silence() >= max(readSilence, p.wait) }

// limited returns ctx with an end. Its timer goes with the request that ctx belongs to, or when it fires.
func (b bounded) limited(ctx context.Context) context.Context {
	if _, ok := ctx.Deadline(); ok {
		return ctx
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{cancel: cancel}
	begun := time.Now()
	first := max(readSilence-b.p.silence(), 50*time.Millisecond) // at once where it has long been silent
	w.start(first, func() (again time.Duration) {
		if b.p.gone() || time.Since(begun) >= readTimeout {
			cancel(errSilent)
			return 0
		}
		return readSilence / 4
	})
	context.AfterFunc(ctx, w.stop)
	return ctx
}

// watch looks at the epoch and at the clock now and then, whether anybody verifies or not: an operator wants to see a
// node that is cut off before its users do. Once a second is all that an idle node costs its database.
func (p *postgres) watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		limit, cancel := context.WithTimeout(ctx, watchEvery)
		err := p.compareClocks(limit)
		switch {
		case ctx.Err() != nil:
		case err != nil && !away:
			p.db.log.Error("the database does not answer: verifications and changes are refused with 503 until it does", "error", oneLine(err))
		case err == nil && away:
			p.db.log.Warn("the database answers again")
		}
		away = err != nil
		cancel()
	}
}

const (
	watchEvery = time.Second
	// skewLimit is how far a node's clock may be off: expiry is compared on the node.
	skewLimit = time.Second
)

// compareClocks compares this machine's clock with the server's, and looks at the epoch on the way.
func (p *postgres) compareClocks(ctx context.Context) error {
	var theirs int64
	begun := time.Now()
	known := *p.applied.Load()
	var seen Epoch
	err := patient{p.watcher}.QueryRowContext(ctx, `SELECT value, mark, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM epoch WHERE id = 1 AND NOT pg_is_in_recovery()`).
		Scan(&seen.Value, &seen.Mark, &theirs)
	if err != nil {
		return fmt.Errorf("read the server's clock: %w", err)
	}
	p.alive()
	took := time.Since(begun)
	off := max(0, begun.Add(took/2).Sub(Time(theirs)).Abs()-took/2)
	p.db.stats.skew.Store(int64(off))
	if skewed := off > skewLimit; p.skewed.Swap(skewed) != skewed {
		p.db.log.Warn("compared the clock with the database's", "off_by", off.String(), "ready", !skewed)
	}
	return p.observe(ctx, known, seen)
}

var (
	errSkewed  = errors.New("this machine's clock differs from the database's by more than a second")
	errStandby = errors.New("the database answers, but is no primary")
)

func (p *postgres) ready(ctx context.Context) error {
	if err := p.db.Err(); err != nil {
		return err
	}
	if p.skewed.Load() {
		return errSkewed
	}
	return p.fresh(ctx)
}

func (p *postgres) close() error {
	var err error
	p.closing.Do(func() {
		p.stop()
		p.background.Wait()
		p.flights.wait()
		var pools sync.WaitGroup
		for _, pool := range p.pools {
			pools.Go(func() { _ = pool.Close() }) // a connection that the server has cut cannot say goodbye, and nothing is lost with it
		}
		pools.Wait()
		for _, c := range p.connectors {
			c.close()
		}
	})
	return err
}

// literal returns texts as an array of SQL. They are ids of ours; anything else is a programmer's mistake.
func literal(texts []string) string {
	var b strings.Builder
	b.WriteString("'{")
	for i, t := range texts {
		for _, r := range t {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != ':' {
				panic("db: an id of another alphabet: " + strconv.Quote(t))
			}
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(t)
	}
	b.WriteString("}'")
	return b.String()
}
