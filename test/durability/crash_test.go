// Package durability_test kills, starves and breaks the ordinary program under load, and then looks whether everything
// that it acknowledged is still there, and nothing is half there.
package durability_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/test/harness"
)

const (
	owner        = "maya@example.com"
	organization = "northwind"
)

// start runs a server with an owner, an organization and a project.
func start(t *testing.T, options ...harness.Option) (s *harness.Server, session *harness.Client, project string) {
	t.Helper()
	options = append(options, harness.Args("--no-access-log", "--token-limit", "1000000", "--sign-in-limit", "100000"))
	s = harness.Start(t, options...)
	s.CreateUser(owner, "Maya Lindqvist")
	s.CreateOrganization(organization, "Northwind Studio", owner, "team")
	session = s.SignIn(owner).In(organization)
	return s, session, session.CreateProject("APP", "The app", "organization")
}

// P12 and incident classes Life and Once: what was acknowledged survives a kill at any moment, what was not is there
// whole or not at all.
func TestWhatWasAcknowledgedSurvivesKill9(t *testing.T) {
	t.Parallel()
	s, session, project := start(t)
	var total tally
	n := harness.Rounds(8, 100)
	for round := range n {
		w := &witness{session: session, project: project, round: round}
		w.work()
		// From before the first answer to well into the load; checkpoints run meanwhile, too.
		time.Sleep(time.Duration(5+rand.IntN(600)) * time.Millisecond)
		s.Kill()
		w.stop()
		s.Run()
		w.check(t, session)
		total.add(w)
		if t.Failed() {
			t.Fatalf("round %d of %d", round+1, n)
		}
	}
	t.Logf("%d kills; acknowledged and found: %d tokens created, %d revoked, %d tasks created, %d changed, %d deleted, %d comments; under way at the kills: %d, of which %d happened",
		n, total.created, total.revoked, total.tasks, total.changed, total.deleted, total.comments, total.underWay, total.happened)
	if total.created == 0 || total.revoked == 0 || total.tasks == 0 || total.changed == 0 || total.deleted == 0 || total.comments == 0 || total.underWay == 0 {
		t.Error("the kills came too early to show anything")
	}
	s.Stop()
	intact(t, s.Dir)
}

// thing is what one worker knows of one thing that it asked for.
type thing struct {
	id, value string
	sent      map[string]any // the body of its creation
	title     string         // tasks: the last acknowledged title
	trying    string         // tasks: the title that was under way
	ended     ending
	comments  []string
}

type ending int

const (
	lives ending = iota
	maybeEnded
	ended
)

// witness keeps what the workers were told, and what they asked for without being told.
type witness struct {
	session *harness.Client
	project string
	round   int

	over    atomic.Bool
	workers sync.WaitGroup
	mu      sync.Mutex
	tokens  []*thing
	tasks   []*thing
	unknown map[string]map[string]any // creations without an answer, by name or title
	counts  tally
	errs    []error
}

type tally struct{ created, revoked, tasks, changed, deleted, comments, underWay, happened int }

func (t *tally) add(w *witness) {
	c := w.counts
	t.created, t.revoked, t.tasks, t.changed = t.created+c.created, t.revoked+c.revoked, t.tasks+c.tasks, t.changed+c.changed
	t.deleted, t.comments, t.underWay, t.happened = t.deleted+c.deleted, t.comments+c.comments, t.underWay+c.underWay, t.happened+c.happened
}

func (w *witness) work() {
	w.unknown = map[string]map[string]any{}
	for i := range 4 {
		w.workers.Go(func() { w.run(i, w.token) })
		w.workers.Go(func() { w.run(i, w.task) })
	}
}

func (w *witness) run(worker int, life func(name string) bool) {
	for n := 0; !w.over.Load(); n++ {
		if !life(fmt.Sprintf("round %d worker %d number %d", w.round, worker, n)) {
			return
		}
	}
}

func (w *witness) stop() {
	w.over.Store(true)
	w.workers.Wait()
}

// ask sends a request. Without an answer it returns nil; an answer that is not the wanted one is an error.
func (w *witness) ask(method, path string, body any, want int, headers ...string) *harness.Answer {
	answer, err := w.session.Try(method, path, body, headers...)
	if err != nil {
		return nil
	}
	if answer.Status != want {
		w.fail(fmt.Errorf("%s %s: status %d, want %d: %s", method, path, answer.Status, want, answer.Body))
		return nil
	}
	return answer
}

func (w *witness) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

func (w *witness) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// token lives the life of a token: created, and every other time revoked.
func (w *witness) token(name string) bool {
	sent := map[string]any{"name": name, "organization": organization, "scopes": []string{"tasks:write", "comments:read"}, "projects": []string{w.project}, "expires_in_days": 30}
	answer := w.ask("POST", "/tokens", sent, http.StatusCreated)
	if answer == nil {
		w.note(func() { w.unknown[name] = sent })
		return false
	}
	x := &thing{id: answer.Text("token", "id"), value: answer.Text("value"), sent: sent}
	w.note(func() { w.tokens = append(w.tokens, x); w.counts.created++ })
	if rand.IntN(2) == 0 {
		return true
	}
	if w.ask("DELETE", "/tokens/"+x.id, nil, http.StatusOK) == nil {
		w.note(func() { x.ended = maybeEnded; w.counts.underWay++ })
		return false
	}
	w.note(func() { x.ended = ended; w.counts.revoked++ })
	return true
}

// task lives the life of a task: created, commented on, changed, and sometimes deleted.
func (w *witness) task(title string) bool {
	sent := map[string]any{"title": title, "description": "The description of " + title, "priority": "high"}
	answer := w.ask("POST", "/projects/"+w.project+"/tasks", sent, http.StatusCreated, "Idempotency-Key", "task "+title)
	if answer == nil {
		w.note(func() { w.unknown[title] = sent })
		return false
	}
	x := &thing{id: answer.Text("id"), sent: sent, title: title}
	w.note(func() { w.tasks = append(w.tasks, x); w.counts.tasks++ })
	comment := "A comment on " + title
	if w.ask("POST", "/tasks/"+x.id+"/comments", map[string]any{"body": comment}, http.StatusCreated) == nil {
		w.note(func() { w.counts.underWay++ })
		return false
	}
	w.note(func() { x.comments = append(x.comments, comment); w.counts.comments++ })
	x.trying = title + ", changed"
	if w.ask("PATCH", "/tasks/"+x.id, map[string]any{"title": x.trying}, http.StatusOK, "If-Match", answer.Header.Get("ETag")) == nil {
		w.note(func() { w.counts.underWay++ })
		return false
	}
	w.note(func() { x.title, x.trying = x.trying, ""; w.counts.changed++ })
	if rand.IntN(4) != 0 {
		return true
	}
	if w.ask("DELETE", "/tasks/"+x.id, nil, http.StatusNoContent) == nil {
		w.note(func() { x.ended = maybeEnded; w.counts.underWay++ })
		return false
	}
	w.note(func() { x.ended = ended; w.counts.deleted++ })
	return true
}

// check compares what the server now says with what it had said.
func (w *witness) check(t *testing.T, session *harness.Client) {
	t.Helper()
	for _, err := range w.errs {
		t.Error(err)
	}
	for _, x := range w.tokens {
		w.checkToken(t, session, x)
	}
	for _, x := range w.tasks {
		w.checkTask(t, session, x)
	}
	for _, name := range slices.Sorted(maps.Keys(w.unknown)) {
		w.counts.underWay++
		w.checkUnknown(t, session, name, w.unknown[name])
	}
}

func (w *witness) checkToken(t *testing.T, session *harness.Client, x *thing) {
	t.Helper()
	status := session.With(x.value).In("").Do("GET", "/me", nil).Status
	switch {
	case x.ended == lives && status != http.StatusOK:
		t.Errorf("a token whose creation was acknowledged gets %d", status)
	case x.ended == ended && status != http.StatusUnauthorized:
		t.Errorf("a token whose revocation was acknowledged gets %d", status)
	case x.ended == maybeEnded && status == http.StatusUnauthorized:
		w.counts.happened++
	}
	same(t, session.Do("GET", "/tokens/"+x.id, nil).Want(http.StatusOK), x.sent)
}

func (w *witness) checkTask(t *testing.T, session *harness.Client, x *thing) {
	t.Helper()
	answer := session.Do("GET", "/tasks/"+x.id, nil)
	switch {
	case x.ended == ended && answer.Status == http.StatusNotFound:
		return
	case x.ended == maybeEnded && answer.Status == http.StatusNotFound:
		w.counts.happened++
		return
	case x.ended == ended || answer.Status != http.StatusOK:
		t.Errorf("task %q, ending %d: status %d", x.title, x.ended, answer.Status)
		return
	}
	expected := maps.Clone(x.sent)
	expected["title"] = x.title
	if title := answer.Text("title"); title != x.title && x.trying != "" && title == x.trying {
		expected["title"] = x.trying
		w.counts.happened++
	}
	same(t, answer, expected)
	comments := session.Do("GET", "/tasks/"+x.id+"/comments", nil).Want(http.StatusOK)
	for _, comment := range x.comments {
		if !strings.Contains(string(comments.Body), comment) {
			t.Errorf("the acknowledged comment %q is gone", comment)
		}
	}
}

// checkUnknown looks for what a creation without an answer left: all of it, or nothing.
func (w *witness) checkUnknown(t *testing.T, session *harness.Client, name string, sent map[string]any) {
	t.Helper()
	if _, isTask := sent["title"]; isTask {
		// The same key again: made once, whatever had become of the first try.
		again := session.Do("POST", "/projects/"+w.project+"/tasks", sent, "Idempotency-Key", "task "+name).Want(http.StatusCreated)
		same(t, again, sent)
		found := session.Do("GET", "/projects/"+w.project+"/tasks?limit=100&q="+strings.ReplaceAll(name, " ", "%20"), nil).Want(http.StatusOK)
		titles := 0
		items, _ := found.At("items").([]any)
		for _, item := range items {
			if task, _ := item.(map[string]any); task["title"] == name {
				titles++
			}
		}
		if titles != 1 {
			t.Errorf("%q is there %d times after its creation was tried again with the same key", name, titles)
		}
		return
	}
	found := session.Do("GET", "/tokens?limit=100&q="+strings.ReplaceAll(name, " ", "%20"), nil).Want(http.StatusOK)
	items, _ := found.At("items").([]any)
	for i, item := range items {
		if token, _ := item.(map[string]any); token["name"] != name {
			continue
		}
		w.counts.happened++
		same(t, session.Do("GET", "/tokens/"+found.Text("items", i, "id"), nil).Want(http.StatusOK), sent)
	}
}

// same expects what was sent in the answer.
func same(t *testing.T, answer *harness.Answer, sent map[string]any) {
	t.Helper()
	for name, want := range sent {
		switch name {
		case "expires_in_days":
			if answer.At("expires_at") == nil {
				t.Errorf("the expiry is gone: %s", answer.Body)
			}
			continue
		case "scopes", "projects":
			for _, one := range want.([]string) {
				if !strings.Contains(string(answer.Body), one) {
					t.Errorf("%s: %s is gone: %s", name, one, answer.Body)
				}
			}
			continue
		}
		if got := answer.At(name); got != want {
			t.Errorf("%s: %v, want %v: %s", name, got, want, answer.Body)
		}
	}
}
