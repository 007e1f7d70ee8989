package tokens_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/idempotency"
	"carnet/internal/lastuse"
	"carnet/internal/mail"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/storetest"
	"carnet/internal/tokens"
	"carnet/internal/verify"
	"carnet/internal/work"
)

const password = "seven grey herons at dusk"

// world is the rooms that tokens live among, over a real store, with a clock of its own.
type world struct {
	t        *testing.T
	db       *db.DB
	account  *account.Service
	org      *org.Service
	work     *work.Service
	tokens   *tokens.Service
	verify   *verify.Service
	uses     *lastuse.Tracker
	mailbox  *mailbox
	mu       sync.Mutex
	clock    time.Time
	sessions map[string]access.Caller
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

// take returns the mails that came since the last time.
func (b *mailbox) take() []mail.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	mails := b.mails
	b.mails = nil
	return mails
}

// each runs a test on every engine, in a world with the organization acme: olga owns it, mel is a member, gus a guest;
// zoe is in another one, zeta.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		w := &world{t: t, db: d, clock: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC), sessions: map[string]access.Caller{}}
		w.build()
		for _, name := range []string{"olga", "mel", "gus", "zoe"} {
			_, err := w.account.CreateUser(t.Context(), account.NewUser{Email: name + "@example.com", Name: name, Password: password, Verified: true})
			w.ok(err)
		}
		operators := w.org.Operators()
		_, err := operators.CreateOrganization(t.Context(), org.Founding{Slug: "acme", Name: "Acme", OwnerEmail: "olga@example.com"})
		w.ok(err)
		w.ok(operators.AddMember(t.Context(), "acme", "mel@example.com", "member"))
		w.ok(operators.AddMember(t.Context(), "acme", "gus@example.com", "guest"))
		_, err = operators.CreateOrganization(t.Context(), org.Founding{Slug: "zeta", Name: "Zeta", OwnerEmail: "zoe@example.com"})
		w.ok(err)
		test(t, w)
	})
}

func (w *world) build() {
	log, record := slog.New(slog.DiscardHandler), audit.New(w.now)
	w.uses, w.mailbox = lastuse.New(), &mailbox{}
	late, sessionUses := lastuse.New(), lastuse.New()
	cursors, keys := page.New([]byte("test")), idempotency.New(w.db, w.now)
	w.account = account.New(account.Config{
		DB: w.db, Audit: record, Mail: w.mailbox, Now: w.now, Log: log, Uses: sessionUses, SignInsPerMinute: 1e6,
		PasswordCost: account.Cost{Memory: 8, Passes: 1, Threads: 1},
	})
	w.org = org.New(org.Config{DB: w.db, Audit: record, Accounts: w.account, Cursors: cursors, Now: w.now, Log: log})
	w.work = work.New(work.Config{DB: w.db, Audit: record, Idempotency: keys, Cursors: cursors, Now: w.now})
	w.tokens = tokens.New(tokens.Config{
		DB: w.db, Audit: record, Account: w.account, Org: w.org, Work: w.work, Idempotency: keys, Cursors: cursors, Now: w.now, Log: log,
		Mail: w.mailbox, PublicURL: "https://carnet.example", Uses: w.uses, LateUses: late,
	})
	w.org.Agents = w.tokens
	w.verify = verify.New(verify.Config{DB: w.db, Now: w.now, TokenUses: w.uses, SessionUses: sessionUses, LateUses: late})
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

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// as returns the person's fresh session.
func (w *world) as(name string) access.Caller {
	w.t.Helper()
	made, err := w.account.SignIn(w.t.Context(), account.SignIn{Email: name + "@example.com", Password: password, Kind: account.Bearer})
	w.ok(err)
	grant, err := w.verify.Verify(w.t.Context(), made.Value.Reveal(), lastuse.Origin{})
	w.ok(err)
	return grant.Caller
}

// project makes a project that the person leads.
func (w *world) project(name, slug, key, visibility string) string {
	w.t.Helper()
	c, ok := w.as(name).In(slug)
	if !ok {
		w.t.Fatalf("%s is not in %s", name, slug)
	}
	p, err := w.work.CreateProject(w.t.Context(), c, work.NewProject{ProjectFields: work.ProjectFields{
		Key: optional.Of(key), Name: optional.Of("Project " + key), Visibility: optional.Of(visibility),
	}})
	w.ok(err)
	return p.ID
}

// draft is a token that mel can have; change what matters.
func draft() tokens.Draft {
	return tokens.Draft{Name: "Build pipeline", Organization: "acme", Scopes: []string{"projects:read", "tasks:write"}}
}

func (w *world) create(c access.Caller, d tokens.Draft) tokens.Issued {
	w.t.Helper()
	issued, err := w.tokens.Create(w.t.Context(), c, d)
	w.ok(err)
	if issued.Value == nil {
		w.t.Fatal("a new token came without its value")
	}
	return issued
}

// verified returns the code that the value gets, "" when it holds.
func (w *world) verified(value string) problem.Code {
	w.t.Helper()
	_, err := w.verify.Verify(w.t.Context(), value, lastuse.Origin{Client: "test/1.0"})
	if err == nil {
		return ""
	}
	return problem.CodeOf(err)
}

func wantCode(t *testing.T, what string, err error, code problem.Code, locations ...string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("%s: %v, want success", what, err)
		}
		return
	}
	if !problem.Is(err, code) {
		t.Errorf("%s: %v, want %s", what, err, code)
		return
	}
	var e *problem.Error
	_ = errors.As(err, &e)
	for _, location := range locations {
		found := false
		for _, f := range e.Fields {
			found = found || f.Location == location
		}
		if !found {
			t.Errorf("%s: the error does not point at %s: %v", what, location, e.Fields)
		}
	}
}

func (w *world) count(query string, args ...any) (n int) {
	w.t.Helper()
	w.ok(w.db.Read().QueryRowContext(w.t.Context(), query, args...).Scan(&n))
	return n
}

// search fails the test when the text stands anywhere in a table.
func (w *world) search(table, text string) {
	w.t.Helper()
	rows, err := w.db.Read().QueryContext(w.t.Context(), "SELECT * FROM "+table)
	w.ok(err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	w.ok(err)
	for rows.Next() {
		cells := make([]any, len(columns))
		for i := range cells {
			cells[i] = new([]byte)
		}
		w.ok(rows.Scan(cells...))
		for i, cell := range cells {
			if strings.Contains(string(*cell.(*[]byte)), text) {
				w.t.Errorf("it stands in %s.%s", table, columns[i])
			}
		}
	}
	w.ok(rows.Err())
}

// keyed returns a context of a request with an idempotency key.
func keyed(t *testing.T, key, target, body string) context.Context {
	info := &request.Info{ID: id.New(id.Request), IdempotencyKey: key, Target: target}
	copy(info.Fingerprint[:], body)
	return request.With(t.Context(), info)
}

func names(list []tokens.Token) string {
	var n []string
	for _, t := range list {
		n = append(n, t.Name)
	}
	return strings.Join(n, " ")
}

// join makes somebody who belongs to an organization.
func (w *world) join(name, slug, role string) {
	w.t.Helper()
	_, err := w.account.CreateUser(w.t.Context(), account.NewUser{Email: name + "@example.com", Name: name, Password: password, Verified: true})
	w.ok(err)
	w.ok(w.org.Operators().AddMember(w.t.Context(), slug, name+"@example.com", role))
}

// agent makes a token for an agent.
func (w *world) agent(owner, slug, name, client string) tokens.Issued {
	w.t.Helper()
	return w.create(w.as(owner), tokens.Draft{Name: name, Organization: slug, Scopes: []string{"projects:read", "tasks:write"}, Purpose: "agent", Client: tokens.Client{Name: client}})
}

// policy changes the agent policy of acme.
func (w *world) policy(change org.PolicyChange) {
	w.t.Helper()
	_, err := w.org.SetAgentPolicy(w.t.Context(), w.as("olga"), "acme", change)
	w.ok(err)
}
