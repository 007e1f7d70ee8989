package contract_test

import (
	"net/url"
	"strings"
	"testing"
)

// listings are the routes that list, found in the document: those that take a limit.
func (w *world) listings() []string {
	var paths []string
	described, _ := w.document.raw["paths"].(map[string]any)
	for _, r := range w.document.routes {
		item, _ := described[r.path].(map[string]any)
		operation, _ := item[strings.ToLower(r.method)].(map[string]any)
		parameters, _ := operation["parameters"].([]any)
		for _, p := range parameters {
			if parameter, _ := p.(map[string]any); parameter["name"] == "limit" {
				known := w.project
				if strings.HasPrefix(r.path, "/tasks") {
					known = w.task
				}
				paths = append(paths, strings.NewReplacer("{id}", known, "{slug}", ours).Replace(r.path))
			}
		}
	}
	return paths
}

// lists: parameters are held to their bounds, and cursors to their caller, list and query.
func (w *world) lists(t *testing.T) {
	paths := w.listings()
	if len(paths) < 8 {
		t.Fatalf("only the lists %q were found", paths)
	}
	for _, path := range paths {
		var attempts []attempt
		for query, c := range map[string]struct{ code, where string }{
			"limit=0": {"validation_failed", "query.limit"}, "limit=201": {"validation_failed", "query.limit"}, "limit=-1": {"validation_failed", "query.limit"},
			"limit=abc": {"validation_failed", "query.limit"}, "limit=1.5": {"validation_failed", "query.limit"}, "limit=1e2": {"validation_failed", "query.limit"},
			"limit=%2010": {"validation_failed", "query.limit"}, "limit=0x10": {"validation_failed", "query.limit"}, "limit=9223372036854775808": {"validation_failed", "query.limit"},
			"limit=" + mark: {"validation_failed", "query.limit"}, "limit=%00": {"validation_failed", "query.limit"}, "limit=5&limit=5": {"validation_failed", "query.limit"},
			"limit=٣":       {"validation_failed", "query.limit"},
			"sort=" + mark:  {"validation_failed", "query.sort"},
			"sort=-":        {"validation_failed", "query.sort"},
			"sort=--email":  {"validation_failed", "query.sort"},
			"sort=id":       {"validation_failed", "query.sort"},
			"sort=%00":      {"validation_failed", "query.sort"},
			"sort=1":        {"validation_failed", "query.sort"},
			"sort=password": {"validation_failed", "query.sort"},
			"sort=" + url.QueryEscape("created_at; DROP TABLE users"): {"validation_failed", "query.sort"},
			"sort=created_at,email":                                   {"validation_failed", "query.sort"},
			"sort=CREATED_AT":                                         {"validation_failed", "query.sort"},
			"sort=created_at&sort=created_at":                         {"validation_failed", "query.sort"},
			"cursor=a&cursor=a":                                       {"validation_failed", "query.cursor"},
			"cursor=" + mark:                                          {"cursor_invalid", ""},
			"cursor=%00":                                              {"cursor_invalid", ""},
			"cursor=" + strings.Repeat("A", 9000):                     {"cursor_invalid", ""},
			"cursor=AQ":                                               {"cursor_invalid", ""},
			"cursor=null":                                             {"cursor_invalid", ""},
			"limit=%zz":                                               {"request_malformed", ""},
			"limit=5;sort=email":                                      {"request_malformed", ""},
		} {
			a := attempt{name: path[1:] + " with " + query, as: w.owner, method: "GET", path: path + "?" + query, status: codes[c.code], code: c.code}
			if c.where != "" {
				a.fields = []string{c.where}
			}
			attempts = append(attempts, a)
		}
		w.refuse(t, attempts)
		for _, query := range []string{"limit=1", "limit=200", "limit=", "sort=", "cursor=", "limit=&sort=&cursor=", mark + "=1", "access_token=x&offset=-1&page=0", "%00=1"} {
			t.Run(path[1:]+" with "+query, func(t *testing.T) { w.get(t, w.owner, path+"?"+query) })
		}
	}

	var attempts []attempt
	for where, queries := range map[string][]string{
		"/tasks status":                                {"status=" + mark, "status=", "status=TODO", "status=todo,done", "status=todo&status=" + mark, strings.Repeat("status=todo&", 101)},
		"/tasks deleted":                               {"deleted=yes", "deleted=1", "deleted=TRUE", "deleted=true&deleted=true"},
		"/tasks due_before":                            {"due_before=" + mark, "due_before=2026-02-30", "due_before=2026-2-3", "due_before=0000-01-01", "due_before=2026-01-01T00:00:00Z", "due_before=2026-01-01&due_before=2026-01-01"},
		"/tasks due_after":                             {"due_after=tomorrow", "due_after=99999-01-01"},
		"/tasks updated_since":                         {"updated_since=" + mark, "updated_since=2026-01-01", "updated_since=2026-01-01T00:00:00", "updated_since=0"},
		"/tasks q":                                     {"q=" + strings.Repeat("a", 201), "q=%00", "q=%ff", "q=%e2%80%ae", "q=a&q=b"},
		"/tasks project":                               {strings.Repeat("project=x&", 101)},
		"/tasks assignee":                              {strings.Repeat("assignee=me&", 101)},
		"/projects status":                             {"status=todo", "status="},
		"/projects visibility":                         {"visibility=" + mark, "visibility=public"},
		"/projects deleted":                            {"deleted=maybe"},
		"/tokens state":                                {"state=" + mark, "state=", "state=LIVE"},
		"/tokens organization":                         {strings.Repeat("organization=x&", 101)},
		"/tokens purpose":                              {"purpose=" + mark, "purpose=session"},
		"/organizations/" + ours + "/agents state":     {"state=" + mark, "state=", "state=LIVE", "state=live,paused"},
		"/organizations/" + ours + "/agents member":    {strings.Repeat("member=x&", 101)},
		"/organizations/" + ours + "/agents client":    {strings.Repeat("client=x&", 101)},
		"/tasks/counts status":                         {"status=" + mark},
		"/tasks/counts q":                              {"q=" + strings.Repeat("é", 201)},
		"/projects/" + w.project + "/tasks q":          {"q=" + strings.Repeat("a", 201)},
		"/projects/" + w.project + "/tasks due_before": {"due_before=x"},
	} {
		path, parameter, _ := strings.Cut(where, " ")
		for _, query := range queries {
			name := where[1:] + " with " + query
			attempts = append(attempts, attempt{name: name[:min(len(name), 80)], as: w.owner, method: "GET", path: path + "?" + query, status: 422, code: "validation_failed", fields: []string{"query." + parameter}})
		}
	}
	attempts = append(attempts, attempt{
		name: "several at once", as: w.owner, method: "GET", path: "/tasks?limit=0&deleted=x&updated_since=y", status: 422, code: "validation_failed",
		fields: []string{"query.deleted", "query.limit", "query.updated_since"},
	})
	w.refuse(t, attempts)
	for _, query := range []string{
		"q=", "q=%20", "due_before=", "updated_since=", "deleted=", "deleted=false", "q=" + strings.Repeat("é", 200), "q=%25", "q=_", "q=%5c", "q='", "updated_since=2026-01-01T00:00:00%2B02:00",
		strings.Repeat("status=todo&", 100), strings.Repeat("assignee=me&", 100),
	} {
		t.Run("tasks with "+query[:min(len(query), 40)], func(t *testing.T) { w.get(t, w.owner, "/tasks?"+query) })
	}
	t.Run("what looks like a pattern is text", func(t *testing.T) {
		tasks := "/projects/" + w.made(t, w.owner, "/projects", map[string]any{"key": "WILD", "name": "Of patterns"}) + "/tasks"
		w.made(t, w.owner, tasks, map[string]any{"title": "Water the plants"})
		if a := w.get(t, w.owner, tasks+"?q=water"); len(a.at("items").([]any)) != 1 {
			t.Errorf("water finds %s", a.body)
		}
		for _, q := range []string{"%25", "_", "%25ater", "W_ter", "*", "%5c%5c"} {
			if a := w.get(t, w.owner, tasks+"?q="+q); len(a.at("items").([]any)) > 0 {
				t.Errorf("%s finds %s", q, a.body)
			}
		}
	})
	t.Run("cursors", w.cursors)
}

func (w *world) cursors(t *testing.T) {
	for range 2 {
		w.made(t, w.owner, "/projects/"+w.project+"/tasks", map[string]any{"title": "Of a page"})
	}
	const query = "/tasks?status=todo&sort=title&limit=1"
	cursor := w.get(t, w.owner, query).text(t, "next_cursor")
	refused := func(name string, as who, path string) {
		t.Helper()
		a := w.send(t, as, "GET", path, nil)
		if a.status != 400 || a.code() != "cursor_invalid" {
			t.Errorf("%s: %d %s, want 400 cursor_invalid\n%.300s", name, a.status, a.code(), a.body)
		}
	}
	if first, second := w.get(t, w.owner, query).at("items"), w.get(t, w.owner, query+"&cursor="+cursor); second.at("items") == nil || string(second.body) == "" || first == nil {
		t.Error("there are no two pages")
	}
	w.get(t, w.owner, strings.Replace(query, "limit=1", "limit=7", 1)+"&cursor="+cursor) // the limit may change

	foreign := map[string]string{
		"another sort":      "/tasks?status=todo&sort=-title&limit=1",
		"no sort":           "/tasks?status=todo&limit=1",
		"another filter":    "/tasks?status=done&sort=title&limit=1",
		"no filter":         "/tasks?sort=title&limit=1",
		"one filter more":   query + "&priority=&q=plants",
		"deleted ones":      query + "&deleted=true",
		"one project":       query + "&project=" + w.project,
		"a project's tasks": "/projects/" + w.project + "/tasks?status=todo&sort=title&limit=1",
		"projects":          "/projects?limit=1",
		"members":           "/members?limit=1",
		"comments":          "/tasks/" + w.task + "/comments?limit=1",
		"tokens":            "/tokens?limit=1",
		"organizations":     "/organizations?limit=1",
		"its members":       "/organizations/" + ours + "/members?limit=1",
		"its agents":        "/organizations/" + ours + "/agents?limit=1",
	}
	for name, path := range foreign {
		refused(name, w.owner, path+"&cursor="+cursor)
	}
	refused("another person", w.member, query+"&cursor="+cursor)
	refused("a stranger", w.stranger, query+"&cursor="+cursor)
	refused("a token of the same person", who{credential: w.token}, query+"&cursor="+cursor)
	refused("another session of the same person", w.signIn(t, maya, ours), query+"&cursor="+cursor)

	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range cursor {
		// The next letter in the alphabet differs in the last bit at least, which in the last letter may be padding.
		next := alphabet[(strings.IndexByte(alphabet, cursor[i])+1)%64]
		refused("a byte changed", w.owner, query+"&cursor="+cursor[:i]+string(next)+cursor[i+1:])
	}
	for i := 1; i < len(cursor); i += 5 {
		refused("cut", w.owner, query+"&cursor="+cursor[:i])
	}
	for name, other := range map[string]string{
		"padded": cursor + "%3D", "longer": cursor + "A", "twice": cursor + cursor, "with a blank": "%20" + cursor, "with a line break": cursor[:8] + "%0A" + cursor[8:],
		"in the other alphabet": "%2B%2F" + cursor[2:], "backwards": cursor[len(cursor)/2:] + cursor[:len(cursor)/2],
	} {
		refused(name, w.owner, query+"&cursor="+other)
	}
}
