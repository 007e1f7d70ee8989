package account_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/mail"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/storetest"
	"carnet/internal/verify"
)

const (
	password = "seven grey herons at dusk"
	another  = "eleven green frogs by noon"
	wrong    = "nine blue geese in the rain"
)

// world is the room over a real store, with a clock that the test moves, a mailbox, and verification to ask whether a
// session holds.
type world struct {
	t       *testing.T
	db      *db.DB
	account *account.Service
	verify  *verify.Service
	mailbox *mailbox
	log     *lines

	mu    sync.Mutex
	clock time.Time
}

// each runs the test in a world of its own on every engine. change may alter how the room is set up.
func each(t *testing.T, test func(t *testing.T, w *world), change ...func(*account.Config)) {
	t.Helper()
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) { test(t, newWorld(t, d, change...)) })
}

// promises are tests that take turns on one store, because opening one takes longer than most of them. Each finds it
// empty, in a world of its own.
type promises []struct {
	name string
	test func(t *testing.T, w *world)
}

func (p promises) hold(t *testing.T) {
	t.Helper()
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		for _, one := range p {
			t.Run(one.name, func(t *testing.T) {
				w := newWorld(t, d)
				for _, table := range []string{"audit_events", "session_use", "sessions", "account_codes", "signin_failures", "known_devices", "rate_limits", "users"} {
					w.exec("DELETE FROM " + table)
				}
				one.test(t, w)
			})
		}
	})
}

func newWorld(t *testing.T, d *db.DB, change ...func(*account.Config)) *world {
	w := &world{t: t, db: d, clock: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC), mailbox: &mailbox{}, log: &lines{}}
	c := account.Config{
		DB: d, Audit: audit.New(w.now), Mail: w.mailbox, Now: w.now, Log: slog.New(slog.NewTextHandler(w.log, nil)), Uses: lastuse.New(),
		PublicURL: "https://carnet.example", SignInsPerMinute: 1e6, PasswordCost: account.Cost{Memory: 8, Passes: 1, Threads: 1},
	}
	for _, f := range change {
		f(&c)
	}
	w.account = account.New(c)
	w.verify = verify.New(verify.Config{DB: d, Now: w.now, TokenUses: lastuse.New(), SessionUses: c.Uses, LateUses: lastuse.New()})
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// at moves the clock to a time, later or earlier.
func (w *world) at(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = at
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) count(query string, args ...any) (n int) {
	w.t.Helper()
	w.ok(w.db.Read().QueryRowContext(w.t.Context(), query, args...).Scan(&n))
	return n
}

func (w *world) text(query string, args ...any) (s string) {
	w.t.Helper()
	w.ok(w.db.Read().QueryRowContext(w.t.Context(), query, args...).Scan(&s))
	return s
}

// write runs fn in a transaction.
func (w *world) write(fn func(ctx context.Context, tx *sql.Tx) error) error {
	return w.db.Write(w.t.Context(), fn)
}

func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	w.ok(w.write(func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	}))
}

// user makes a verified account name@example.com with the password.
func (w *world) user(name string) account.User {
	w.t.Helper()
	u, err := w.account.CreateUser(w.t.Context(), account.NewUser{Email: name + "@example.com", Name: name, Password: password, Verified: true})
	w.ok(err)
	return u
}

// signUp signs up and returns the code of the link that was mailed, "" when none was.
func (w *world) signUp(email, name, password string) string {
	w.t.Helper()
	w.mailbox.empty()
	w.ok(w.account.SignUp(w.t.Context(), account.NewUser{Email: email, Name: name, Password: password}))
	return w.mailbox.code()
}

func (w *world) open(code string) error { return w.account.VerifyEmail(w.t.Context(), code, nil) }

// from returns the context of a request that comes from the address.
func (w *world) from(address string) context.Context {
	info := &request.Info{Client: "Firefox"}
	if address != "" {
		info.Address = netip.MustParseAddr(address)
	}
	return request.With(w.t.Context(), info)
}

// try signs in and returns the session, or why not.
func (w *world) try(address, email, password, device string) (account.SignedIn, error) {
	return w.account.SignIn(w.from(address), account.SignIn{Email: email, Password: password, Device: device})
}

// signIn signs in and returns the session with its caller.
func (w *world) signIn(email, password string) (account.SignedIn, access.Caller) {
	w.t.Helper()
	made, err := w.try("192.0.2.1", email, password, "")
	w.ok(err)
	return made, w.caller(made)
}

// caller returns who the session's value stands for, at this moment.
func (w *world) caller(made account.SignedIn) access.Caller {
	w.t.Helper()
	grant, err := w.verify.Verify(w.t.Context(), made.Value.Reveal(), lastuse.Origin{Client: "test"})
	w.ok(err)
	return grant.Caller
}

// held returns the code that the session's value gets, "" while it holds. It counts as a use.
func (w *world) held(made account.SignedIn) problem.Code {
	_, err := w.verify.Verify(w.t.Context(), made.Value.Reveal(), lastuse.Origin{Client: "test"})
	if err == nil {
		return ""
	}
	return problem.CodeOf(err)
}

// waiting returns when so many hashes run or wait to run.
func (w *world) waiting(n int) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, _, now := w.account.TurnsForTest()
		switch {
		case now == n:
			return
		case now > n || time.Now().After(deadline):
			w.t.Fatalf("%d hashes run or wait, not %d", now, n)
		}
		runtime.Gosched()
	}
}

// actions lists what was recorded, in order.
func (w *world) actions() (list []string) {
	w.t.Helper()
	found, err := w.db.Read().QueryContext(w.t.Context(), `SELECT action, outcome, actor_id, resource_id FROM audit_events ORDER BY id`)
	w.ok(err)
	defer func() { _ = found.Close() }()
	for found.Next() {
		var action, outcome, actor, resource string
		w.ok(found.Scan(&action, &outcome, &actor, &resource))
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", action, outcome, actor, resource)))
	}
	w.ok(found.Err())
	return list
}

// recorded fails the test unless do records exactly the actions.
func (w *world) recorded(what string, do func(), actions ...string) {
	w.t.Helper()
	before := len(w.actions())
	do()
	if got := w.actions()[before:]; !slices.Equal(got, actions) {
		w.t.Errorf("%s recorded %q, want %q", what, got, actions)
	}
}

// keepsNothingOf fails the test when one of the secrets stands in a file of the store or in the log.
func (w *world) keepsNothingOf(secrets map[string]string) {
	w.t.Helper()
	files := storetest.Content(w.t, w.db)
	if !slices.ContainsFunc(slices.Collect(maps.Values(files)), func(content []byte) bool { return bytes.Contains(content, []byte("@example.com")) }) {
		w.t.Fatal("not even an address stands in the files: this looks in the wrong place")
	}
	files["the log"] = []byte(w.log.String())
	for what, secret := range secrets {
		if len(secret) < 8 {
			w.t.Fatalf("%s is too short to look for: %q", what, secret)
		}
		for name, content := range files {
			if bytes.Contains(content, []byte(secret)) {
				w.t.Errorf("%s stands in %s", what, name)
			}
		}
	}
}

// want fails the test unless err carries the code; "" wants none. Fields, where given, are exactly what it points at.
func want(t *testing.T, what string, err error, code problem.Code, fields ...string) {
	t.Helper()
	var e *problem.Error
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: %v, want success", what, err)
	case code != "" && !problem.Is(err, code):
		t.Errorf("%s: %v, want %s", what, err, code)
	case errors.As(err, &e) && len(fields) > 0:
		var got []string
		for _, f := range e.Fields {
			got = append(got, f.Location)
		}
		if !slices.Equal(got, fields) {
			t.Errorf("%s points at %q, want %q", what, got, fields)
		}
	}
}

// waits returns how many seconds a rate_limited error asks to wait.
func waits(t *testing.T, what string, err error) int {
	t.Helper()
	var e *problem.Error
	if !errors.As(err, &e) || e.Code != problem.RateLimited {
		t.Fatalf("%s: %v, want %s", what, err, problem.RateLimited)
	}
	return e.RetryAfter
}

// mailbox keeps the mails that would go out.
type mailbox struct {
	mu    sync.Mutex
	mails []mail.Message
}

func (b *mailbox) Post(m mail.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, m)
}

func (b *mailbox) Close() error { return nil }

func (b *mailbox) empty() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = nil
}

func (b *mailbox) all() []mail.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.mails)
}

var link = regexp.MustCompile(`https://carnet\.example/verify-email\?code=(\w+)\n`)

// code returns the code of the last mail's link, "" when there is no mail or no link.
func (b *mailbox) code() string {
	mails := b.all()
	if len(mails) == 0 {
		return ""
	}
	found := link.FindStringSubmatch(mails[len(mails)-1].Text)
	if found == nil {
		return ""
	}
	return found[1]
}

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
