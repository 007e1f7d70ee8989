package contract_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// foreign matches wording that comes from the inside or from libraries, not from somebody who explains.
var foreign = regexp.MustCompile(`\bjson:|huma\b|unexpected property|\bstruct\b|[Uu]nmarshal|goroutine|SQL|int64|float64|\buint|optional\.|carnet/|\.go\b|EOF|strconv|\bnil\b|map\[`)

// document is the server's own description of its routes, and the statuses that were seen on each.
type document struct {
	mu     *sync.Mutex
	routes []route
	raw    map[string]any
}

type route struct {
	method, path string
	pattern      *regexp.Regexp
	statuses     []int
	seen         map[int]bool
}

// read fetches the OpenAPI document.
func (w *world) read(t *testing.T) document {
	t.Helper()
	d := document{mu: &sync.Mutex{}}
	w.document = d
	a := w.send(t, who{}, "GET", "/openapi.json", nil).want(t, 200)
	if err := json.Unmarshal(a.body, &d.raw); err != nil {
		t.Fatal(err)
	}
	var described struct {
		Paths map[string]map[string]struct {
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(a.body, &described); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\\\{[a-z_]+\\\}`)
	for path, item := range described.Paths {
		for method, operation := range item {
			r := route{method: strings.ToUpper(method), path: path, seen: map[int]bool{}}
			r.pattern = regexp.MustCompile("^/api/v1" + parameter.ReplaceAllString(regexp.QuoteMeta(path), `[^/]+`) + "$")
			for status := range operation.Responses {
				n, err := strconv.Atoi(status)
				if err != nil {
					t.Fatalf("%s %s documents the status %q", method, path, status)
				}
				r.statuses = append(r.statuses, n)
			}
			d.routes = append(d.routes, r)
		}
	}
	// Paths without parameters first: /tasks/counts is not a task.
	slices.SortFunc(d.routes, func(a, b route) int { return strings.Count(a.path, "{") - strings.Count(b.path, "{") })
	return d
}

// find returns the route that a request is of, nil when it is of none.
func (d *document) find(method, path string) *route {
	path, _, _ = strings.Cut(path, "?")
	for i := range d.routes {
		if r := &d.routes[i]; r.method == method && r.pattern.MatchString(path) {
			return r
		}
	}
	return nil
}

func (d *document) saw(method, path string, status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.find(method, path); r != nil {
		r.seen[status] = true
	}
}

// documented checks, after everything else, that the document knows every status that was seen.
func (w *world) documented(t *testing.T) {
	if version, _ := w.document.raw["openapi"].(string); !strings.HasPrefix(version, "3.1") {
		t.Errorf("the document is of OpenAPI %q", version)
	}
	for _, r := range w.document.routes {
		for status := range r.seen {
			if !slices.Contains(r.statuses, status) {
				t.Errorf("%s %s answers %d, and the document does not say so", r.method, r.path, status)
			}
		}
	}
	if t.Failed() {
		return
	}
	seen := 0
	for _, r := range w.document.routes {
		seen += len(r.seen)
	}
	t.Log(fmt.Sprint(seen, " pairs of route and status were seen"))
}
