package property_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carnet/internal/db"
	"carnet/internal/house"
	"carnet/internal/storetest"
	"carnet/test/harness"
)

func TestMain(m *testing.M) {
	// 2,000 scenarios, unless the command line says otherwise; ten times as many in the long run.
	checks := "2000"
	if os.Getenv("CARNET_SOAK") != "" {
		checks = "20000"
	}
	if asked := os.Getenv("CARNET_PROPERTY_CHECKS"); asked != "" {
		checks = asked
	}
	set := func(name, value string) {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	set("rapid.checks", checks)
	if os.Getenv("CARNET_PROPERTY_QUIET") != "" {
		// Whether a scenario fails is all that counts: it is neither made smaller nor kept.
		set("rapid.shrinktime", "0s")
		set("rapid.nofailfile", "true")
	}
	os.Exit(m.Run())
}

// stage is the whole program in this process: the doors over a store of its own.
type stage struct {
	db         *db.DB
	handler    http.Handler
	operations []operation
}

// operation is a published route, read from the OpenAPI document.
type operation struct {
	id, method, path string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	public, _ := url.Parse("http://localhost")
	log := slog.New(slog.DiscardHandler)
	database := ""
	if harness.Engine() == "postgres" {
		database = storetest.Database(t)
	}
	h, err := house.Build(context.Background(), house.Plan{
		Data: t.TempDir(), Database: database, Connections: 16, Patience: 10 * time.Second, PublicURL: public.String(), Log: log, Fatal: func(err error) { t.Error(err) },
		Limits: house.Limits{SignInsPerMinute: 1e9, TokensPerHour: 1e9},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(context.Background()) })
	front, _, err := h.Doors(house.Front{PublicURL: public})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{db: h.DB, handler: front}
	recorder := httptest.NewRecorder()
	front.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), &document); err != nil {
		t.Fatalf("read the document: %v", err)
	}
	for path, methods := range document.Paths {
		for method, o := range methods {
			s.operations = append(s.operations, operation{id: o.OperationID, method: strings.ToUpper(method), path: path})
		}
	}
	slices.SortFunc(s.operations, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return s
}

// Promises P1, P2, P3 and P9 over every published route and every tool: whatever users, roles, memberships, visibilities and tokens
// there are, and however they change between requests, a request is allowed exactly when the model says so, is refused
// as the contract says otherwise, and no answer shows anything of a project that the caller does not see.
func TestNoRequestDoesMoreOrLessThanItsRoleScopesAndProjectsAllow(t *testing.T) {
	s := newStage(t)
	for _, o := range s.operations {
		if _, known := drivers[o.id]; !known {
			t.Errorf("the route %s %s (%s) is published, but the model does not know it", o.method, o.path, o.id)
		}
	}
	if len(s.operations) < 40 {
		t.Fatalf("the document lists %d routes only", len(s.operations))
	}
	for tool := range toolNeeds {
		if toolDrivers[tool] == nil {
			t.Errorf("the model does not know the tool %s", tool)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		w := makeWorld(t, s.db)
		for range rapid.IntRange(3, 12).Draw(t, "steps") {
			c := w.drawCaller(t)
			s.request(t, w, c)
			if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				// Asked before and after, the same caller is in the cache when something changes, mostly for them.
				w.change(t, s.db, c)
				s.request(t, w, c)
			}
		}
	})
}

// request makes one random request and judges the answer.
func (s *stage) request(t *rapid.T, w *world, c caller) {
	if rapid.IntRange(0, 3).Draw(t, "door") == 0 {
		s.requestTool(t, w, c)
		return
	}
	o := rapid.SampledFrom(s.operations).Draw(t, "route")
	driver := drivers[o.id]
	if driver == nil {
		return // reported above
	}
	p := &attempt{t: t, w: w, c: c, o: o, stage: s}
	driver(p)
}

func (w *world) drawCaller(t *rapid.T) caller {
	var c caller
	if rapid.IntRange(0, 2).Draw(t, "kind of caller") > 0 {
		c.token = rapid.SampledFrom(w.tokens).Draw(t, "token")
	} else {
		c.session = rapid.SampledFrom(w.sessions).Draw(t, "session")
	}
	// Sessions mostly name an organization, tokens mostly none.
	named := rapid.SampledFrom(w.orgs).Draw(t, "named organization").slug
	if c.session != nil && rapid.IntRange(0, 9).Draw(t, "names") > 0 || c.token != nil && rapid.IntRange(0, 7).Draw(t, "names") == 0 {
		c.header = named
	}
	return c
}

// attempt is one request on its way.
type attempt struct {
	t     *rapid.T
	w     *world
	c     caller
	o     operation
	stage *stage
}

// send makes the request with path parameters filled in, and checks what holds for every answer.
func (p *attempt) send(query, body string, ids ...string) *httptest.ResponseRecorder {
	p.t.Helper()
	path := p.o.path
	for _, id := range ids {
		open, end := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
		path = path[:open] + id + path[end+1:]
	}
	if query != "" {
		path += "?" + query
	}
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r := httptest.NewRequest(p.o.method, "/api/v1"+path, content)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if p.c.token != nil {
		r.Header.Set("Authorization", "Bearer "+p.c.token.value)
	} else if p.c.session != nil {
		r.Header.Set("Authorization", "Bearer "+p.c.session.value)
	}
	if p.c.header != "" {
		r.Header.Set("Carnet-Organization", p.c.header)
	}
	recorder := httptest.NewRecorder()
	p.stage.handler.ServeHTTP(recorder, r)
	p.checkLeaks(recorder)
	return recorder
}

// checkLeaks looks for the markers of projects that the caller does not see, in body and headers alike.
func (p *attempt) checkLeaks(r *httptest.ResponseRecorder) {
	p.t.Helper()
	text := r.Body.String() + fmt.Sprint(r.Header())
	if !strings.Contains(text, "marker-") {
		return
	}
	for _, project := range p.w.projects {
		if strings.Contains(text, project.marker()) && !p.c.sees(project.org, project) {
			p.t.Fatalf("%s %s shows a project that the caller does not see\n%s", p.o.method, p.o.path, r.Body)
		}
	}
}

// expect compares the answer with the model's verdict, and reports whether the request went through.
func (p *attempt) expect(r *httptest.ResponseRecorder, v verdict) bool {
	p.t.Helper()
	var document struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(r.Body.Bytes(), &document)
	if v == allowed {
		if r.Code >= 300 {
			p.t.Fatalf("%s %s: %d %s, but the model allows it\n%s", p.o.method, p.o.path, r.Code, document.Code, p.describe())
		}
		return true
	}
	if r.Code != v.status || document.Code != v.code {
		p.t.Fatalf("%s %s: %d %s, the model says %d %s\n%s\n%s", p.o.method, p.o.path, r.Code, document.Code, v.status, v.code, p.describe(), r.Body)
	}
	return false
}

// expectWrite does the same for a write, of which an agent may make only so many.
func (p *attempt) expectWrite(r *httptest.ResponseRecorder, v verdict) bool {
	p.t.Helper()
	done := p.expect(r, p.c.spending(v))
	if done && p.c.token != nil {
		p.c.token.writes++
	}
	return done
}

func (p *attempt) describe() string {
	if x := p.c.token; x != nil {
		restricted := "all projects"
		if x.projects != nil {
			restricted = fmt.Sprintf("%d projects", len(x.projects))
		}
		kind := "personal token"
		if x.agent {
			kind = fmt.Sprintf("agent under %+v, after %d writes,", x.org.policy, x.writes)
		}
		return fmt.Sprintf("%s of a %q, %s, scopes %v, %s, header %q", kind, x.org.roles[x.user], stateOf(x), x.scopes, restricted, p.c.header)
	}
	return fmt.Sprintf("session, header %q", p.c.header)
}

// sameIDs compares the items of all pages of a list with what the model expects.
func (p *attempt) sameIDs(field, query string, want []string, ids ...string) {
	p.t.Helper()
	var got []string
	cursor := ""
	for range 50 {
		q := query
		if cursor != "" {
			q += "&cursor=" + url.QueryEscape(cursor)
		}
		r := p.send(q, "", ids...)
		if !p.expect(r, allowed) {
			return
		}
		var page struct {
			Items      []map[string]any `json:"items"`
			NextCursor *string          `json:"next_cursor"`
		}
		if err := json.Unmarshal(r.Body.Bytes(), &page); err != nil {
			p.t.Fatalf("%s: %v\n%s", p.o.path, err, r.Body)
		}
		for _, item := range page.Items {
			got = append(got, fmt.Sprint(item[field]))
		}
		if page.NextCursor == nil {
			break
		}
		cursor = *page.NextCursor
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Fatalf("%s?%s lists %v, the model %v\n%s", p.o.path, query, got, want, p.describe())
	}
}
