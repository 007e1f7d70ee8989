package harness

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
)

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

// Witness has workers create, change and end tokens and tasks, and keeps what the workers were told, and what they asked for without being told.
type Witness struct {
	Sessions     []*Client // of one person, one for each node; workers take turns
	Organization string
	Project      string
	Round        int
	Refusal      int // a status by which the server says that it cannot now, 0 when there is none

	over    atomic.Bool
	workers sync.WaitGroup
	mu      sync.Mutex
	tokens  []*thing
	tasks   []*thing
	unknown map[string]map[string]any // creations without an answer, by name or title
	counts  Tally
	errs    []error
}

// Tally counts what was acknowledged, what was under way when the answers stopped, and how much of that happened.
type Tally struct{ Created, Revoked, Tasks, Changed, Deleted, Comments, UnderWay, Happened int }

// Add adds what a witness counted.
func (t *Tally) Add(w *Witness) {
	c := w.counts
	t.Created, t.Revoked, t.Tasks, t.Changed = t.Created+c.Created, t.Revoked+c.Revoked, t.Tasks+c.Tasks, t.Changed+c.Changed
	t.Deleted, t.Comments, t.UnderWay, t.Happened = t.Deleted+c.Deleted, t.Comments+c.Comments, t.UnderWay+c.UnderWay, t.Happened+c.Happened
}

// Total returns how many things were acknowledged.
func (t *Tally) Total() int {
	return t.Created + t.Revoked + t.Tasks + t.Changed + t.Deleted + t.Comments
}

// String says it in a line.
func (t *Tally) String() string {
	return fmt.Sprintf("%d tokens created, %d revoked, %d tasks created, %d changed, %d deleted, %d comments; under way: %d, of which %d happened",
		t.Created, t.Revoked, t.Tasks, t.Changed, t.Deleted, t.Comments, t.UnderWay, t.Happened)
}

// Everything reports whether each kind of thing was seen.
func (t *Tally) Everything() bool {
	return t.Created > 0 && t.Revoked > 0 && t.Tasks > 0 && t.Changed > 0 && t.Deleted > 0 && t.Comments > 0 && t.UnderWay > 0
}

// Work begins to work.
func (w *Witness) Work() {
	w.unknown = map[string]map[string]any{}
	for i := range 4 {
		session := w.Sessions[i%len(w.Sessions)]
		w.workers.Go(func() { w.run(i, session, w.token) })
		w.workers.Go(func() { w.run(i, session, w.task) })
	}
}

func (w *Witness) run(worker int, session *Client, life func(session *Client, name string) bool) {
	for n := 0; !w.over.Load(); n++ {
		if !life(session, fmt.Sprintf("round %d worker %d number %d", w.Round, worker, n)) {
			return
		}
	}
}

// Stop ends the work.
func (w *Witness) Stop() {
	w.over.Store(true)
	w.workers.Wait()
}

// ask sends a request. Without an answer, or with a refusal, it returns nil; an answer that is not the wanted one is an error.
func (w *Witness) ask(session *Client, method, path string, body any, want int, headers ...string) *Answer {
	answer, err := session.Try(method, path, body, headers...)
	if err != nil || w.Refusal != 0 && answer.Status == w.Refusal {
		return nil
	}
	if answer.Status != want {
		w.fail(fmt.Errorf("%s %s: status %d, want %d: %s", method, path, answer.Status, want, answer.Body))
		return nil
	}
	return answer
}

func (w *Witness) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

func (w *Witness) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// token lives the life of a token: created, and every other time revoked.
func (w *Witness) token(session *Client, name string) bool {
	sent := map[string]any{"name": name, "organization": w.Organization, "scopes": []string{"tasks:write", "comments:read"}, "projects": []string{w.Project}, "expires_in_days": 30}
	answer := w.ask(session, "POST", "/tokens", sent, http.StatusCreated)
	if answer == nil {
		w.note(func() { w.unknown[name] = sent })
		return false
	}
	x := &thing{id: answer.Text("token", "id"), value: answer.Text("value"), sent: sent}
	w.note(func() { w.tokens = append(w.tokens, x); w.counts.Created++ })
	if rand.IntN(2) == 0 { //nolint:gosec // varies a test, keeps no secret
		return true
	}
	if w.ask(session, "DELETE", "/tokens/"+x.id, nil, http.StatusOK) == nil {
		w.note(func() { x.ended = maybeEnded; w.counts.UnderWay++ })
		return false
	}
	w.note(func() { x.ended = ended; w.counts.Revoked++ })
	return true
}

// task lives the life of a task: created, commented on, changed, and sometimes deleted.
func (w *Witness) task(session *Client, title string) bool {
	sent := map[string]any{"title": title, "description": "The description of " + title, "priority": "high"}
	answer := w.ask(session, "POST", "/projects/"+w.Project+"/tasks", sent, http.StatusCreated, "Idempotency-Key", "task "+title)
	if answer == nil {
		w.note(func() { w.unknown[title] = sent })
		return false
	}
	x := &thing{id: answer.Text("id"), sent: sent, title: title}
	w.note(func() { w.tasks = append(w.tasks, x); w.counts.Tasks++ })
	comment := "A comment on " + title
	if w.ask(session, "POST", "/tasks/"+x.id+"/comments", map[string]any{"body": comment}, http.StatusCreated) == nil {
		w.note(func() { w.counts.UnderWay++ })
		return false
	}
	w.note(func() { x.comments = append(x.comments, comment); w.counts.Comments++ })
	x.trying = title + ", changed"
	if w.ask(session, "PATCH", "/tasks/"+x.id, map[string]any{"title": x.trying}, http.StatusOK, "If-Match", answer.Header.Get("ETag")) == nil {
		w.note(func() { w.counts.UnderWay++ })
		return false
	}
	w.note(func() { x.title, x.trying = x.trying, ""; w.counts.Changed++ })
	if rand.IntN(4) != 0 { //nolint:gosec // varies a test, keeps no secret
		return true
	}
	if w.ask(session, "DELETE", "/tasks/"+x.id, nil, http.StatusNoContent) == nil {
		w.note(func() { x.ended = maybeEnded; w.counts.UnderWay++ })
		return false
	}
	w.note(func() { x.ended = ended; w.counts.Deleted++ })
	return true
}

// Check compares what the server now says with what it had said.
func (w *Witness) Check(t *testing.T, session *Client) {
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
		w.counts.UnderWay++
		w.checkUnknown(t, session, name, w.unknown[name])
	}
}

func (w *Witness) checkToken(t *testing.T, session *Client, x *thing) {
	t.Helper()
	status := session.With(x.value).In("").Do("GET", "/me", nil).Status
	switch {
	case x.ended == lives && status != http.StatusOK:
		t.Errorf("a token whose creation was acknowledged gets %d", status)
	case x.ended == ended && status != http.StatusUnauthorized:
		t.Errorf("a token whose revocation was acknowledged gets %d", status)
	case x.ended == maybeEnded && status == http.StatusUnauthorized:
		w.counts.Happened++
	}
	same(t, session.Do("GET", "/tokens/"+x.id, nil).Want(http.StatusOK), x.sent)
}

func (w *Witness) checkTask(t *testing.T, session *Client, x *thing) {
	t.Helper()
	answer := session.Do("GET", "/tasks/"+x.id, nil)
	switch {
	case x.ended == ended && answer.Status == http.StatusNotFound:
		return
	case x.ended == maybeEnded && answer.Status == http.StatusNotFound:
		w.counts.Happened++
		return
	case x.ended == ended || answer.Status != http.StatusOK:
		t.Errorf("task %q, ending %d: status %d", x.title, x.ended, answer.Status)
		return
	}
	expected := maps.Clone(x.sent)
	expected["title"] = x.title
	if title := answer.Text("title"); title != x.title && x.trying != "" && title == x.trying {
		expected["title"] = x.trying
		w.counts.Happened++
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
func (w *Witness) checkUnknown(t *testing.T, session *Client, name string, sent map[string]any) {
	t.Helper()
	if _, isTask := sent["title"]; isTask {
		// The same key again: made once, whatever had become of the first try.
		again := session.Do("POST", "/projects/"+w.Project+"/tasks", sent, "Idempotency-Key", "task "+name).Want(http.StatusCreated)
		same(t, again, sent)
		found := session.Do("GET", "/projects/"+w.Project+"/tasks?limit=100&q="+strings.ReplaceAll(name, " ", "%20"), nil).Want(http.StatusOK)
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
		w.counts.Happened++
		same(t, session.Do("GET", "/tokens/"+found.Text("items", i, "id"), nil).Want(http.StatusOK), sent)
	}
}

// same expects what was sent in the answer.
func same(t *testing.T, answer *Answer, sent map[string]any) {
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

// Revoked returns the values of tokens whose revocation was acknowledged.
func (w *Witness) Revoked() (values []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.tokens {
		if x.ended == ended {
			values = append(values, x.value)
		}
	}
	return values
}
