package web_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"carnet/internal/account"
	"carnet/internal/house"
	"carnet/internal/org"
)

const password = "paper lanterns over the canal"

// town is a whole server with real pages in front of a real store.
type town struct {
	*house.House
	t   *testing.T
	url string
}

func newTown(t *testing.T) *town {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	address := "http://" + server.Listener.Addr().String()
	h, err := house.Build(t.Context(), house.Plan{
		Data: t.TempDir(), PublicURL: address, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Errorf("the store stopped: %v", err) },
		Limits: house.Limits{SignInsPerMinute: 1000},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	public, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	front, _, err := h.Doors(house.Front{PublicURL: public, Version: "test", OAuth: true})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = front
	server.Start()
	t.Cleanup(server.Close)
	return &town{House: h, t: t, url: address}
}

// owner makes a verified person with an organization, signed in.
func (w *town) owner(name, slug string) *browser {
	w.t.Helper()
	email := name + "@example.com"
	if _, err := w.Account.CreateUser(w.t.Context(), account.NewUser{Email: email, Name: name, Password: password, Verified: true}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.Org.Operators().CreateOrganization(w.t.Context(), org.Founding{Slug: slug, Name: strings.ToUpper(slug), OwnerEmail: email, Plan: "team"}); err != nil {
		w.t.Fatal(err)
	}
	return w.signIn(email)
}

func (w *town) signIn(email string) *browser {
	w.t.Helper()
	b := w.browser()
	b.post("/sign-in", "email", email, "password", password)
	b.is(http.StatusOK, "What is connected to your account")
	return b
}

// execute changes the store past the features.
func (w *town) execute(statement string, arguments ...any) {
	w.t.Helper()
	err := w.DB.Write(w.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, arguments...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// call uses a token at the API.
func (w *town) call(method, path, value, body string) (status int, answer map[string]any) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+value)
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	_ = json.NewDecoder(a.Body).Decode(&answer)
	return a.StatusCode, answer
}

// browser is a browser without scripts: it follows redirects and keeps cookies.
type browser struct {
	town   *town
	client *http.Client
	status int
	path   string // where it ended up, with the query
	header http.Header
	body   string
	packed bool // it came compressed
}

func (w *town) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{town: w, client: &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if status := r.Response.StatusCode; status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect {
			w.t.Errorf("RFC 9700 section 4.12: %s is to get what was typed, too", r.URL.Path)
		}
		if r.URL.Host != r.Response.Request.URL.Host {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

func (b *browser) get(path string) *browser {
	b.town.t.Helper()
	r, err := http.NewRequestWithContext(b.town.t.Context(), http.MethodGet, b.town.url+path, nil)
	if err != nil {
		b.town.t.Fatal(err)
	}
	return b.send(r)
}

// post sends a form of names and values.
func (b *browser) post(path string, pairs ...string) *browser {
	b.town.t.Helper()
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(b.town.t.Context(), http.MethodPost, b.town.url+path, strings.NewReader(values.Encode()))
	if err != nil {
		b.town.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(r)
}

func (b *browser) send(r *http.Request) *browser {
	b.town.t.Helper()
	a, err := b.client.Do(r)
	if err != nil {
		b.town.t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		b.town.t.Fatal(err)
	}
	b.status, b.path, b.header, b.body, b.packed = a.StatusCode, a.Request.URL.RequestURI(), a.Header, string(body), a.Uncompressed
	return b
}

// is checks the last answer: its status, and texts that stand in it.
func (b *browser) is(status int, texts ...string) *browser {
	b.town.t.Helper()
	if b.status != status {
		b.town.t.Fatalf("%s answered %d, want %d:\n%s", b.path, b.status, status, b.body)
	}
	for _, text := range texts {
		if !strings.Contains(b.body, text) {
			b.town.t.Fatalf("%s does not say %q:\n%s", b.path, text, b.body)
		}
	}
	return b
}

func (b *browser) lacks(texts ...string) {
	b.town.t.Helper()
	for _, text := range texts {
		if strings.Contains(b.body, text) {
			b.town.t.Fatalf("%s says %q:\n%s", b.path, text, b.body)
		}
	}
}

var (
	hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)
	shownValue  = regexp.MustCompile(`carnet_pat_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}`)
	tokenPath   = regexp.MustCompile(`/settings/developer/(tok_[0-9a-z]+)`)
	projectPath = regexp.MustCompile(`/organizations/[a-z]+/projects/(prj_[0-9a-z]+)`)
	taskPath    = regexp.MustCompile(`/tasks/(tsk_[0-9a-z]+)`)
)

// found returns the first group of the pattern's first match.
func (b *browser) found(pattern *regexp.Regexp) string {
	b.town.t.Helper()
	match := pattern.FindStringSubmatch(b.path + b.body)
	if match == nil {
		b.town.t.Fatalf("%s has nothing like %s:\n%s", b.path, pattern, b.body)
	}
	return match[len(match)-1]
}

// hidden returns the hidden inputs of the page as names and values.
func (b *browser) hidden() []string {
	var pairs []string
	for _, match := range hiddenInput.FindAllStringSubmatch(b.body, -1) {
		if match[1] != "next" { // of the footer's form
			pairs = append(pairs, match[1], strings.ReplaceAll(match[2], "&amp;", "&"))
		}
	}
	return pairs
}

// project makes a project by its form and returns its id.
func (b *browser) project(slug, key, name string) string {
	b.town.t.Helper()
	b.get("/organizations/" + slug + "/projects/new").is(http.StatusOK)
	b.post("/organizations/"+slug+"/projects/new", append(b.hidden(), "name", name, "key", key, "status", "active", "visibility", "organization")...)
	b.is(http.StatusOK, "The project is created", name)
	return b.found(projectPath)
}

// token makes a token by its form and returns its id and value.
func (b *browser) token(pairs ...string) (id, value string) {
	b.town.t.Helper()
	b.get("/settings/developer/new").is(http.StatusOK)
	b.post("/settings/developer/new", append(b.hidden(), pairs...)...)
	b.is(http.StatusCreated, "It is not shown again", "I have stored it")
	return b.found(tokenPath), shownValue.FindString(b.body)
}
