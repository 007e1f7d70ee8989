package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// connectTimeout bounds the way to one host, with TLS and sign-in.
const connectTimeout = 5 * time.Second

// watcherTimeout is that of connections for reads of the epoch. After a network has healed, nobody verifies before there
// is one, so that it is better to begin anew than to wait for a packet that was lost.
const watcherTimeout = 2 * time.Second

// openPatience is for how long somebody who needs a connection waits for a new one. Then they look whether another has
// become free, which [database/sql] does not do by itself: new connections may hang while those that are open serve.
const openPatience = 500 * time.Millisecond

// errOpening has [database/sql] look for another connection.
var errOpening = fmt.Errorf("a new connection to the database takes longer than %v to open: %w", openPatience, driver.ErrBadConn)

// goodbye is how long the server gets to answer the end of a connection.
const goodbye = 100 * time.Millisecond

// connector opens connections. Opening one may take longer than whoever asks for it can wait, so it goes on without
// them, and the next one gets it.
type connector struct {
	inner driver.Connector
	wait  time.Duration    // how long somebody waits for a connection to open
	begin string           // begins every transaction
	named bool             // statements get names where no pooler is in between
	slots chan struct{}    // one for each that is open, or being opened
	spare chan driver.Conn // opened too late for whoever asked
	done  chan struct{}
}

func newConnector(config *pgx.ConnConfig, most int, ping bool, wait time.Duration, begin string) *connector {
	config = config.Copy()
	config.OnNotice = func(c *pgconn.PgConn, n *pgconn.Notice) {
		if warned, ok := c.CustomData()[warnings].(*[]string); ok && n.SeverityUnlocalized == "WARNING" {
			*warned = append(*warned, n.Message)
		}
	}
	var options []stdlib.OptionOpenDB
	if !ping {
		options = append(options, stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }))
	}
	return &connector{
		inner: stdlib.GetConnector(*config, options...), wait: wait, begin: begin,
		named: config.DefaultQueryExecMode == pgx.QueryExecModeExec && config.StatementCacheCapacity > 0,
		slots: make(chan struct{}, most), spare: make(chan driver.Conn, most), done: make(chan struct{}),
	}
}

// Driver implements [driver.Connector].
func (c *connector) Driver() driver.Driver { return c.inner.Driver() }

// Connect implements [driver.Connector].
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	select {
	case ready := <-c.spare:
		return ready, nil
	default:
	}
	waiting, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	late := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return errOpening
	}
	select {
	case ready := <-c.spare:
		return ready, nil
	case c.slots <- struct{}{}:
	case <-waiting.Done():
		return nil, late()
	}
	opened := make(chan opening) // whoever waits takes it; nobody waits once waiting is done
	go func() {
		o := c.open()
		if o.conn == nil {
			<-c.slots
		}
		select {
		case opened <- o:
		case <-waiting.Done():
			c.keep(o)
		}
	}()
	select {
	case o := <-opened:
		return o.conn, o.err
	case ready := <-c.spare:
		return ready, nil
	case <-waiting.Done():
		return nil, late()
	}
}

type opening struct {
	conn driver.Conn
	err  error
}

func (c *connector) open() opening {
	ctx, cancel := context.WithTimeout(context.Background(), 2*connectTimeout)
	defer cancel()
	conn, err := c.inner.Connect(ctx)
	if err != nil {
		return opening{err: err}
	}
	plain, ok := conn.(*stdlib.Conn)
	if !ok {
		return opening{err: errors.Join(fmt.Errorf("a connection of another kind: %T", conn), conn.Close())}
	}
	named := false
	if c.named {
		if named, err = direct(ctx, plain.Conn().PgConn()); err != nil {
			return opening{err: errors.Join(err, conn.Close())}
		}
	}
	return opening{conn: &connection{Conn: plain, left: sync.OnceFunc(func() { <-c.slots }), named: named, begins: c.begin}}
}

// direct reports whether a connection leads to a server process of its own. The server tells its clients the number of
// that process when they connect; a pooler makes one up, because its clients' transactions go to this process and that.
func direct(ctx context.Context, conn *pgconn.PgConn) (bool, error) {
	results, err := conn.Exec(ctx, "select pg_backend_pid()").ReadAll()
	if err != nil {
		return false, err
	}
	return string(results[0].Rows[0][0]) == strconv.FormatUint(uint64(conn.PID()), 10), nil
}

func (c *connector) keep(o opening) {
	if o.conn == nil {
		return
	}
	select {
	case <-c.done:
		_ = o.conn.Close()
		return
	default:
	}
	select {
	case c.spare <- o.conn:
	default:
		_ = o.conn.Close()
	}
}

func (c *connector) close() {
	close(c.done)
	for {
		select {
		case o := <-c.spare:
			_ = o.Close()
		default:
			return
		}
	}
}

// connection is a connection whose transactions begin and end with one message each, whatever else has to be said then.
type connection struct {
	*stdlib.Conn
	left         func() // told when it is closed
	named        bool   // the server keeps statements, planned, under names
	begins       string // begins every transaction
	beginning    string // begins the transaction that is open, and is not said yet
	beforeCommit string // said in one message with the COMMIT of the transaction that is open
}

// Close implements [driver.Conn]. A server that is silent does not hold up whoever leaves it.
func (c *connection) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	defer c.left()
	return c.Conn.Conn().Close(ctx)
}

// QueryContext implements [driver.QueryerContext].
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	return c.Conn.QueryContext(ctx, query, c.mode(args))
}

// ExecContext implements [driver.ExecerContext].
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 0 {
		query, c.beginning = c.beginning+query, ""
		return c.Conn.ExecContext(ctx, query, nil)
	}
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	return c.Conn.ExecContext(ctx, query, c.mode(args))
}

// PrepareContext implements [driver.ConnPrepareContext].
func (c *connection) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	return c.Conn.PrepareContext(ctx, query)
}

// begin says what begins the transaction, where that could not be said together with its first statement.
func (c *connection) begin(ctx context.Context) error {
	if c.beginning == "" {
		return nil
	}
	beginning := c.beginning
	c.beginning = ""
	return c.say(ctx, beginning, "SET")
}

// mode puts before the arguments how the statement is to be run, where that is another way than the connection's own.
func (c *connection) mode(args []driver.NamedValue) []driver.NamedValue {
	if !c.named {
		return args
	}
	return append([]driver.NamedValue{{Value: pgx.QueryExecModeCacheStatement}}, args...)
}

// noText is a text that nothing stored is equal to: everything that people write is checked for such characters first.
const noText = "\x01\x02 no text of ours \x02\x01"

// CheckNamedValue implements [driver.NamedValueChecker]. PostgreSQL refuses to even compare with a text that it could not
// hold. Where callers send one, in an id or an address, it is equal to nothing.
func (c *connection) CheckNamedValue(v *driver.NamedValue) error {
	if text, ok := v.Value.(string); ok && (!utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0) {
		v.Value = noText
	}
	return c.Conn.CheckNamedValue(v)
}

// BeginTx implements [driver.ConnBeginTx].
func (c *connection) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	c.beginning, c.beforeCommit = c.begins, ""
	return &transaction{conn: c, ctx: ctx}, nil
}

// say sends statements in one message and expects the last one to end with the tag.
func (c *connection) say(ctx context.Context, statements, tag string) error {
	results, err := c.Conn.Conn().PgConn().Exec(ctx, statements).ReadAll()
	if err != nil {
		return err
	}
	if len(results) == 0 || results[len(results)-1].CommandTag.String() != tag {
		return errRolledBack
	}
	return nil
}

type transaction struct {
	conn *connection
	ctx  context.Context //nolint:containedctx // a transaction lives in the context that it began in
}

// warnings is where a connection collects what the server warns of.
const warnings = "warnings"

// errNotReplicated is the error of a commit that holds on the primary alone: whoever waited for the standbys was told to
// give up, so that a failover may undo it.
var errNotReplicated = errors.New("the server committed without its standbys")

// Commit implements [driver.Tx].
func (t *transaction) Commit() error {
	var warned []string
	data := t.conn.Conn.Conn().PgConn().CustomData()
	data[warnings] = &warned
	defer delete(data, warnings)
	statements := t.conn.beginning + t.conn.beforeCommit + "commit"
	t.conn.beginning = ""
	if err := t.conn.say(t.ctx, statements, "COMMIT"); err != nil {
		// database/sql takes the transaction for ended whatever comes back, and never rolls it back. What was refused before
		// COMMIT leaves it open, and behind a pooler that would keep one of the few connections from everybody.
		_ = t.Rollback()
		return err
	}
	if len(warned) > 0 {
		// The only warning that a commit has. Its text is in the server's language, so that it is not looked at.
		return fmt.Errorf("%w: %s", errNotReplicated, warned[0])
	}
	return nil
}

// Rollback implements [driver.Tx].
func (t *transaction) Rollback() error {
	t.conn.beginning = ""
	if t.conn.Conn.Conn().PgConn().TxStatus() == 'I' {
		return nil // nothing was said yet, or a commit that was refused has ended it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Second)
	defer cancel()
	return t.conn.say(ctx, "rollback", "ROLLBACK")
}
