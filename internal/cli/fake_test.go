package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/internal/problem"
	"carnet/token"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// seen is a request as the fake server got it.
type seen struct {
	line   string // "POST /tokens"
	header http.Header
	query  string
	body   string
}

// field returns a field of the request's JSON body.
func (s seen) field(t testing.TB, name string) any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(s.body), &body); err != nil {
		t.Fatalf("%s: body %q: %v", s.line, s.body, err)
	}
	return body[name]
}

// fake is a server that answers by rote. What a real one does is for the scripts in cmd/carnet to show; the fake is for
// faults and for answers that a real one would not give.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string][]answer
	seen    []seen
}

// answer is a status, a body (encoded as JSON unless it is a string) and headers.
type answer struct {
	status int
	body   any
	header map[string]string
	hangUp bool // close the connection instead
}

func refuse(code problem.Code, detail string) answer {
	return answer{status: code.Status(), body: problem.Document{Code: code, Detail: detail, RequestID: "req_1"},
		header: map[string]string{"Content-Type": "application/problem+json"}}
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{answers: map[string][]answer{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// on sets what a line such as "GET /me" is answered with: one answer after the other, the last one again and again.
func (f *fake) on(line string, answers ...answer) { f.answers[line] = answers }

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	line := r.Method + " " + strings.TrimPrefix(r.URL.EscapedPath(), apiBase)
	f.mu.Lock()
	f.seen = append(f.seen, seen{line: line, header: r.Header.Clone(), query: r.URL.RawQuery, body: string(body)})
	a := answer{status: 404, body: problem.Document{Code: problem.NotFound, Detail: "There is nothing here that you can see."},
		header: map[string]string{"Content-Type": "application/problem+json"}}
	if queue := f.answers[line]; len(queue) > 0 {
		a = queue[0]
		if len(queue) > 1 {
			f.answers[line] = queue[1:]
		}
	}
	f.mu.Unlock()
	if a.hangUp {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	if text, ok := a.body.(string); ok {
		_, _ = io.WriteString(w, text)
	} else if a.body != nil {
		_ = json.NewEncoder(w).Encode(a.body)
	}
}

// requests returns what came in under a line.
func (f *fake) requests(line string) []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []seen
	for _, s := range f.seen {
		if s.line == line {
			found = append(found, s)
		}
	}
	return found
}

// person is somebody at a command line in a test.
type person struct {
	t         testing.TB
	dir       string
	stdin     string
	env       map[string]string
	secrets   []string // what they type without echo; none: they sit at no terminal
	screen    bool
	transport http.RoundTripper
}

type result struct {
	code        int
	out, errors string
}

func newPerson(t testing.TB) *person {
	return &person{t: t, dir: t.TempDir(), env: map[string]string{}, transport: http.DefaultTransport}
}

// signedIn gives the person a session at the server.
func (p *person) signedIn(f *fake) string {
	p.t.Helper()
	value := token.Mint(token.Session).Reveal()
	server, err := parseServer(f.URL)
	if err == nil {
		err = store{p.dir}.save(session{Server: server, Email: "ada@example.com", ID: "ses_1", ExpiresAt: now.AddDate(0, 0, 30), Value: value})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

func (p *person) run(args ...string) result {
	p.t.Helper()
	var out, errs bytes.Buffer
	terminal := &Terminal{
		In: strings.NewReader(p.stdin), Out: &out, Err: &errs, Interactive: p.secrets != nil, Screen: p.screen,
		Secret: func(context.Context) (string, error) {
			if len(p.secrets) == 0 {
				return "", io.EOF
			}
			secret := p.secrets[0]
			p.secrets = p.secrets[1:]
			return secret, nil
		},
		Getenv: func(name string) string { return p.env[name] },
		Now:    func() time.Time { return now }, ConfigDir: p.dir, HTTP: p.transport, Version: "test",
	}
	code := Run(p.t.Context(), &struct{ Commands }{}, args, terminal)
	return result{code, out.String(), errs.String()}
}

// expect fails unless the result has the exit code, and every given part stands in its error output.
func (r result) expect(t testing.TB, code int, parts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.errors)
	}
	for _, part := range parts {
		if !strings.Contains(r.errors, part) {
			t.Errorf("standard error lacks %q:\n%s", part, r.errors)
		}
	}
}
