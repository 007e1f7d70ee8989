package clients_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/clients"
	"carnet/internal/house"
	"carnet/internal/lastuse"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/problem"
	"carnet/internal/storetest"
	"carnet/internal/work"
)

const (
	password = "paper lanterns over the canal"
	issuer   = "https://carnet.example"
	verifier = "a-verifier-that-is-long-enough-to-be-one-0123456789"
	browser  = "the cookie of a browser"
	callback = "http://127.0.0.1:3118/callback"
)

// town is every feature over one of the engines, with an owner of an organization and a client.
type town struct {
	*house.House
	t      *testing.T
	maya   access.Caller
	client clients.Registered
	late   time.Duration // how far the clock of the rooms is ahead
}

func each(t *testing.T, test func(t *testing.T, w *town)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, newTown(t, house.Plan{})) })
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newTown(t, house.Plan{Database: storetest.Database(t)}))
	})
}

func newTown(t *testing.T, plan house.Plan) *town {
	t.Helper()
	w := &town{t: t}
	plan.Data, plan.PublicURL, plan.Log = t.TempDir(), issuer, slog.New(slog.DiscardHandler)
	plan.Limits, plan.Fatal = house.Limits{SignInsPerMinute: 1000}, func(err error) { t.Errorf("the store stopped: %v", err) }
	plan.Patience = 10 * time.Second // the machine may be busy with other tests
	var err error
	w.House, err = house.Build(t.Context(), plan)
	must(t, err)
	t.Cleanup(func() {
		if err := w.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	now := func() time.Time { return time.Now().Add(w.late) }
	w.Clients.Now, w.Tokens.Now, w.Account.Now = now, now, now
	w.person("maya")
	_, err = w.Org.Operators().CreateOrganization(t.Context(), org.Founding{Slug: "acme", Name: "Acme", OwnerEmail: "maya@example.com"})
	must(t, err)
	w.maya = w.signIn("maya")
	w.client, err = w.Clients.Register(t.Context(), clients.Registration{RedirectURIs: []string{callback, "https://h.example/cb"}, Name: "Tester"})
	must(t, err)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *town) person(name string) {
	w.t.Helper()
	_, err := w.Account.CreateUser(w.t.Context(), account.NewUser{Email: name + "@example.com", Name: name, Password: password, Verified: true})
	must(w.t, err)
}

func (w *town) signIn(name string) access.Caller {
	w.t.Helper()
	made, err := w.Account.SignIn(w.t.Context(), account.SignIn{Email: name + "@example.com", Password: password, Kind: account.Bearer})
	must(w.t, err)
	return w.caller(made.Value.Reveal())
}

func (w *town) caller(value string) access.Caller {
	w.t.Helper()
	grant, err := w.Verify.Verify(w.t.Context(), value, lastuse.Origin{})
	must(w.t, err)
	return grant.Caller
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// query is an authorization request that holds; changes come in pairs, and one that is empty is taken away.
func (w *town) query(changes ...string) url.Values {
	q := url.Values{
		"response_type": {"code"}, "client_id": {w.client.ID}, "redirect_uri": {callback}, "state": {"st&te"}, "scope": {"tasks:read unknown:scope tasks:write"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"}, "resource": {issuer + "/mcp"},
	}
	for i := 0; i+1 < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			q.Del(changes[i])
		}
	}
	return q
}

// begin takes a request in that holds.
func (w *town) begin(changes ...string) (handle string) {
	w.t.Helper()
	b, err := w.Clients.Begin(w.t.Context(), w.query(changes...), browser)
	must(w.t, err)
	if b.Handle == "" {
		w.t.Fatalf("refused: %s", b.RedirectTo)
	}
	return b.Handle
}

// approve grants what a request asks for, and returns the code.
func (w *town) approve(who access.Caller, change func(*clients.Decision)) (code string) {
	w.t.Helper()
	d := clients.Decision{Handle: w.begin(), Browser: browser, Organization: "acme", Scopes: []string{"tasks:read"}, Days: 30}
	if change != nil {
		change(&d)
	}
	to, err := w.Clients.Approve(w.t.Context(), who, d)
	must(w.t, err)
	u, err := url.Parse(to)
	must(w.t, err)
	q := u.Query()
	if q.Get("state") != "st&te" || q.Get("iss") != issuer || len(q["code"]) != 1 || len(q) != 3 || !strings.HasPrefix(to, callback+"?") {
		w.t.Fatalf("E13: the person is sent to %s", to)
	}
	return q.Get("code")
}

// exchange fetches a token for a code; change makes the request another one.
func (w *town) exchange(code string, change func(*clients.Exchange)) (clients.Fetched, error) {
	e := clients.Exchange{
		Credentials: clients.Credentials{ID: w.client.ID}, GrantType: "authorization_code", Code: code, RedirectURI: callback, Verifier: verifier,
		Resource: []string{issuer + "/mcp"},
	}
	if change != nil {
		change(&e)
	}
	return w.Clients.Exchange(w.t.Context(), e)
}

// refused expects a refusal with one of the codes.
func refused(t *testing.T, what string, err error, codes ...string) {
	t.Helper()
	var e *clients.Error
	if !asError(err, &e) || !slices.Contains(codes, e.Code) {
		t.Errorf("%s: %v, not %v", what, err, codes)
	}
}

func problemIs(t *testing.T, what string, err error, code problem.Code) {
	t.Helper()
	if !problem.Is(err, code) {
		t.Errorf("%s: %v, not %s", what, err, code)
	}
}

// holds reports whether a value is accepted.
func (w *town) holds(value string) bool {
	_, err := w.Verify.Verify(w.t.Context(), value, lastuse.Origin{})
	return err == nil
}

func (w *town) count(query string, args ...any) (n int) {
	w.t.Helper()
	must(w.t, w.DB.Read().QueryRowContext(w.t.Context(), query, args...).Scan(&n))
	return n
}

// rows returns what a query finds, by the names of its columns.
func (w *town) rows(query string, args ...any) (list []map[string]any) {
	w.t.Helper()
	found, err := w.DB.Read().QueryContext(w.t.Context(), query, args...)
	must(w.t, err)
	defer func() { _ = found.Close() }()
	names, err := found.Columns()
	must(w.t, err)
	for found.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		must(w.t, found.Scan(into...))
		row := map[string]any{}
		for i, name := range names {
			row[name] = values[i]
		}
		list = append(list, row)
	}
	must(w.t, found.Err())
	return list
}

// project makes a project in the owner's organization.
func (w *town) project(key string) (id string) {
	w.t.Helper()
	in, _ := w.maya.In("acme")
	p, err := w.Work.CreateProject(w.t.Context(), in, work.NewProject{ProjectFields: work.ProjectFields{Key: optional.Of(key), Name: optional.Of(key)}})
	must(w.t, err)
	return p.ID
}

func (w *town) execute(statement string, args ...any) {
	w.t.Helper()
	must(w.t, w.DB.Write(w.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	}))
}
