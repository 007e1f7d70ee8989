package contract_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// methods: on every path, a method that is not served is 405 with those that are.
func (w *world) methods(t *testing.T) {
	served := map[string][]string{}
	for _, r := range w.document.routes {
		for _, other := range w.document.routes { // such as /tasks/{id} for /tasks/counts
			if other.pattern.MatchString("/api/v1"+r.path) && !slices.Contains(served[r.path], other.method) {
				served[r.path] = append(served[r.path], other.method)
			}
		}
	}
	before := w.state(t)
	for _, path := range slices.Sorted(maps.Keys(served)) {
		t.Run(strings.ReplaceAll(path[1:], "/", " "), func(t *testing.T) {
			slices.Sort(served[path])
			actual := strings.NewReplacer("{id}", w.task, "{slug}", ours, "{user_id}", w.memberID, "{token_id}", w.agentID).Replace(path)
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY", "get", mark} {
				if slices.Contains(served[path], method) {
					continue
				}
				for _, as := range []who{w.owner, w.nobody} {
					a := w.send(t, as, method, actual, nil, "Origin", "https://evil.example", "Access-Control-Request-Method", "POST", "X-HTTP-Method-Override", "GET")
					if a.code() == "cross_origin" {
						continue // what a browser may not send is not looked at
					}
					if a.status != 405 || a.code() != "method_not_allowed" {
						t.Errorf("%s: %d %s", a.what, a.status, a.code())
					}
					if allow := strings.Split(a.header.Get("Allow"), ", "); !slices.Equal(allow, served[path]) {
						t.Errorf("%s: %q is allowed, not %q", a.what, allow, served[path])
					}
					for header := range a.header {
						if strings.HasPrefix(header, "Access-Control-") {
							t.Errorf("%s: %s lets other sites in", a.what, header)
						}
					}
				}
			}
			if a := w.send(t, w.owner, "TRACE", actual, nil); a.status != 405 {
				t.Errorf("%s: %d", a.what, a.status)
			}
			if slices.Contains(served[path], "GET") {
				get, head := w.send(t, w.owner, "GET", actual, nil), w.send(t, w.owner, "HEAD", actual, nil)
				if head.status != get.status || len(head.body) > 0 || head.header.Get("Content-Type") != get.header.Get("Content-Type") {
					t.Errorf("HEAD %s answers %d with %d bytes and %v, GET %d with %v", actual, head.status, len(head.body), head.header, get.status, get.header)
				}
			} else if a := w.send(t, w.owner, "HEAD", actual, nil); a.status != 405 {
				t.Errorf("%s: %d", a.what, a.status)
			}
		})
	}
	if after := w.state(t); after != before {
		t.Errorf("methods that are not served have changed something:\n%s", difference(before, after))
	}
}

// paths: what is no route is a problem in the contract's form, and nothing is found by another spelling of a path.
func (w *world) paths(t *testing.T) {
	var attempts []attempt
	for _, path := range []string{
		"", "/", "/nothing", "/" + mark, "/projects/", "/tasks/", "/tasks/" + w.task + "/", "/me/", "//tasks", "/tasks//" + w.task, "//", "/./tasks", "/projects/../tasks", "/tasks/..", "/tasks/../../v1/tasks",
		"/../../api/v1/tasks", "/%2e%2e/v1/tasks", "/tasks%2f" + w.task, "/projects%2F" + w.project, "/TASKS", "/Tasks", "/tasks;a=b", "/tasks%00", "/tasks%20", "/tasks.json", "/tasks/" + w.task + "/comments/",
		"/tasks/" + w.task + "/nothing", "/tokens//rotate", "/tasks/" + w.task + "//comments", "\\tasks", "/openapi.yaml", "/metrics", "/../v1/tasks", "/../v2/tasks", "/" + strings.Repeat("a/", 2000),
	} {
		for _, method := range []string{"GET", "POST"} {
			as := w.owner
			if method == "POST" {
				as = w.nobody
			}
			attempts = append(attempts, attempt{name: method + " " + path[:min(len(path), 60)], as: as, method: method, path: path, status: 404, code: "not_found"})
		}
	}
	w.refuse(t, attempts)
}
