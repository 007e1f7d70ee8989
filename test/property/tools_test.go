package property_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// toolDrivers call each tool of /mcp and judge it by the same model. A tool without one fails the test.
var toolDrivers = map[string]func(*attempt){}

// toolNeeds is what a caller needs to be shown a tool.
var toolNeeds = map[string]string{
	"whoami": "", "list_projects": "projects:read", "get_project": "projects:read", "list_tasks": "tasks:read", "search_tasks": "tasks:read", "get_task": "tasks:read",
	"my_tasks": "tasks:read", "overdue_tasks": "tasks:read", "recent_activity": "tasks:read", "create_tasks": "tasks:write", "update_task": "tasks:write",
	"set_task_status": "tasks:write", "comment_on_task": "comments:write", "delete_task": "tasks:delete", "create_project": "projects:create",
	"update_project": "projects:write", "delete_project": "projects:delete",
}

func init() {
	reading := func(tool, list string, want func(*attempt, *organization) []string) {
		toolDrivers[tool] = func(p *attempt) {
			o, v := p.w.gate(p.c, toolNeeds[tool], false)
			if v != allowed {
				p.told(p.call(tool, `{}`), v)
				return
			}
			p.sameListed(tool, list, want(p, o))
		}
	}
	reading("list_projects", "projects", func(p *attempt, o *organization) []string { return p.w.visibleProjects(p.c, o, false) })
	all := func(p *attempt, o *organization) []string { return p.w.visibleTasks(p.c, o) }
	reading("list_tasks", "tasks", all)
	reading("recent_activity", "tasks", all)
	for _, tool := range []string{"my_tasks", "overdue_tasks"} { // nobody has a task here, and none is due
		reading(tool, "tasks", func(*attempt, *organization) []string { return nil })
	}
	toolDrivers["search_tasks"] = func(p *attempt) {
		x, _ := p.drawProject()
		query := "marker-of-nothing"
		if x != nil {
			query = x.marker()
		}
		o, v := p.w.gate(p.c, "tasks:read", false)
		arguments := fmt.Sprintf(`{"query": %q, "limit": 100}`, query)
		r := p.call("search_tasks", arguments)
		if !p.told(r, v) {
			return
		}
		// Whatever it finds stands in a project that the caller sees; the search for all markers is in call.
		visible := p.w.visibleTasks(p.c, o)
		for _, id := range r.ids("tasks") {
			if !slices.Contains(visible, id) {
				p.t.Fatalf("search_tasks finds %s\n%s", id, p.describe())
			}
		}
	}
	toolDrivers["whoami"] = func(p *attempt) {
		o, v := p.w.gate(p.c, "", false)
		if r := p.call("whoami", `{}`); p.told(r, v) && !strings.Contains(r.body, o.slug) {
			p.t.Fatalf("whoami does not name %s: %s", o.slug, r.body)
		}
	}
	onProject := func(tool, least, more string, effect func(*project)) {
		toolDrivers[tool] = func(p *attempt) {
			x, xid := p.drawProject()
			v := p.projectVerdict(x, toolNeeds[tool], least)
			r := p.call(tool, fmt.Sprintf(`{"project": %q%s}`, xid, more))
			if p.toldWrites(r, v, tool, 1) && effect != nil {
				effect(x)
			}
		}
	}
	onProject("get_project", "viewer", "", nil)
	onProject("update_project", "lead", `, "status": "on_hold"`, nil)
	onProject("delete_project", "lead", "", func(x *project) { x.deleted = true })
	onTask := func(tool, least, more string, effect func(*attempt, *task, answer)) {
		toolDrivers[tool] = func(p *attempt) {
			x, xid := p.drawTask()
			v := p.taskVerdict(x, toolNeeds[tool], least, false)
			r := p.call(tool, fmt.Sprintf(`{"task": %q%s}`, xid, more))
			if p.toldWrites(r, v, tool, 1) && effect != nil {
				effect(p, x, r)
			}
		}
	}
	onTask("get_task", "viewer", "", nil)
	onTask("update_task", "contributor", `, "priority": "high"`, nil)
	onTask("comment_on_task", "contributor", `, "body": "by a tool"`, func(p *attempt, x *task, r answer) {
		p.w.comments = append(p.w.comments, &comment{id: r.id(p), task: x, author: p.c.user()})
	})
	onTask("delete_task", "contributor", "", func(_ *attempt, x *task, _ answer) { x.deleted = true })
	writingTools()
}

// writingTools are those that write several things at once, or something new.
func writingTools() {
	toolDrivers["create_tasks"] = func(p *attempt) {
		x, xid := p.drawProject()
		v := p.projectVerdict(x, "tasks:write", "contributor")
		title := "new"
		if x != nil {
			title = x.marker()
		}
		n := rapid.IntRange(1, 3).Draw(p.t, "tasks")
		list := strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"title": %q},`, title), n), ",")
		r := p.call("create_tasks", fmt.Sprintf(`{"project": %q, "tasks": [%s]}`, xid, list))
		if p.toldWrites(r, v, "create_tasks", n) {
			for _, id := range r.ids("tasks") {
				p.w.tasks = append(p.w.tasks, &task{id: id, project: x})
			}
		}
	}
	toolDrivers["set_task_status"] = func(p *attempt) {
		var ids []string
		v := allowed
		n := rapid.IntRange(1, 3).Draw(p.t, "tasks")
		for range n {
			x, xid := p.drawTask()
			if slices.Contains(ids, xid) {
				return // the same one twice is no matter of authority
			}
			ids = append(ids, xid)
			// One that is not seen outweighs one that may not be changed: names are read before anything is done.
			if w := p.taskVerdict(x, "tasks:write", "contributor", false); v == allowed || v.code == "role_insufficient" && w.code == "not_found" {
				v = w
			}
		}
		encoded, _ := json.Marshal(ids)
		r := p.call("set_task_status", fmt.Sprintf(`{"tasks": %s, "status": "review"}`, encoded))
		p.toldWrites(r, v, "set_task_status", n)
	}
	toolDrivers["create_project"] = func(p *attempt) {
		o, v := p.w.gate(p.c, "projects:create", false)
		if v == allowed {
			switch {
			case p.c.token.projects != nil:
				v = verdict{http.StatusForbidden, "project_restricted"}
			case o.roles[p.c.user()] == "guest":
				v = verdict{http.StatusForbidden, "role_insufficient"}
			}
		}
		key := fmt.Sprintf("N%d", len(p.w.projects))
		r := p.call("create_project", fmt.Sprintf(`{"key": %q, "name": "new", "visibility": "private"}`, key))
		if p.toldWrites(r, v, "create_project", 1) {
			p.w.projects = append(p.w.projects, &project{id: r.id(p), key: key, org: o, visibility: "private", roles: map[*user]string{p.c.user(): "lead"}})
		}
	}
}

// answer is what /mcp said.
type answer struct {
	status int
	header http.Header
	body   string
	failed bool
	words  string
	data   map[string]any
}

// id is that of the one thing that the answer is about.
func (a answer) id(p *attempt) string {
	id, _ := a.data["id"].(string)
	if id == "" {
		p.t.Fatalf("no id in %s", a.body)
	}
	return id
}

// ids are those of a list.
func (a answer) ids(list string) (ids []string) {
	items, _ := a.data[list].([]any)
	for _, item := range items {
		fields, _ := item.(map[string]any)
		ids = append(ids, fmt.Sprint(fields["id"]))
	}
	return ids
}

// rpc sends a request to /mcp and checks what holds for every answer.
func (p *attempt) rpc(method, params string) answer {
	p.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://localhost/mcp", strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if p.c.token != nil {
		r.Header.Set("Authorization", "Bearer "+p.c.token.value)
	} else {
		r.Header.Set("Authorization", "Bearer "+p.c.session.value)
	}
	recorder := httptest.NewRecorder()
	p.stage.handler.ServeHTTP(recorder, r)
	p.checkLeaks(recorder)
	return answer{status: recorder.Code, header: recorder.Header(), body: recorder.Body.String()}
}

// call calls a tool.
func (p *attempt) call(tool, arguments string) answer {
	p.t.Helper()
	a := p.rpc("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, arguments))
	if a.status != http.StatusOK {
		return a
	}
	var message struct {
		Result struct {
			Content []struct{ Text string }
			Data    map[string]any `json:"structuredContent"`
			IsError bool           `json:"isError"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &message); err != nil || len(message.Result.Content) == 0 {
		p.t.Fatalf("%s: %v\n%s", tool, err, a.body)
	}
	a.failed, a.words, a.data = message.Result.IsError, message.Result.Content[0].Text, message.Result.Data
	return a
}

// told compares what /mcp said with the model's verdict, and reports whether the call went through.
func (p *attempt) told(a answer, v verdict) bool {
	p.t.Helper()
	wrong := func(what string) {
		p.t.Helper()
		p.t.Fatalf("%s: %d, %s; the model says %s (%d %s)\n%s\n%s", p.o.path, a.status, a.words, what, v.status, v.code, p.describe(), a.body)
	}
	challenge := a.header.Get("WWW-Authenticate")
	switch {
	case p.c.session != nil || p.c.credential() != allowed: // whichever it is, a client is to ask its person to sign in
		if a.status != http.StatusUnauthorized || !strings.Contains(challenge, `error="invalid_token"`) {
			wrong("that the credential does not hold")
		}
	case v.code == "scope_missing" && !p.c.let(toolNeeds[p.o.id]): // no scope would open it: there is nothing to ask a person for
		if a.status != http.StatusOK || !a.failed || !strings.Contains(a.words, "agent policy") {
			wrong("that the organization keeps it from its agents")
		}
	case v.code == "scope_missing":
		if a.status != http.StatusForbidden || !strings.Contains(challenge, `error="insufficient_scope"`) {
			wrong("that a scope is missing")
		}
	case a.status != http.StatusOK:
		wrong("what a tool can say itself")
	case a.failed != (v != allowed):
		wrong("otherwise")
	case strings.HasPrefix(a.words, "There is nothing here that you can see") != (v.code == "not_found"):
		wrong("what is there and what is not")
	}
	return a.status == http.StatusOK && !a.failed
}

// toldWrites does the same for a tool that writes n things, all or none, of which an agent may write only so many.
func (p *attempt) toldWrites(a answer, v verdict, tool string, n int) bool {
	p.t.Helper()
	if !strings.HasSuffix(toolNeeds[tool], ":read") {
		for more := range n {
			p.c.token.writesMore(more, func() { v = p.c.spending(v) })
		}
	}
	done := p.told(a, v)
	if done && !strings.HasSuffix(toolNeeds[tool], ":read") {
		p.c.token.writes += n
	}
	return done
}

// writesMore lets judge see the token as it is after some more writes.
func (x *tokenOf) writesMore(more int, judge func()) {
	if x == nil {
		return
	}
	x.writes += more
	judge()
	x.writes -= more
}

// sameListed compares all pages of a tool's list with what the model expects.
func (p *attempt) sameListed(tool, list string, want []string) {
	p.t.Helper()
	limit := rapid.IntRange(1, 7).Draw(p.t, "limit")
	var got []string
	cursor := ""
	for range 50 {
		a := p.call(tool, fmt.Sprintf(`{"limit": %d, "cursor": %q}`, limit, cursor))
		if !p.told(a, allowed) {
			return
		}
		got = append(got, a.ids(list)...)
		if cursor, _ = a.data["next_cursor"].(string); cursor == "" {
			break
		}
	}
	p.sameSet(tool, got, want)
}

// listTools checks that exactly those tools are shown that the caller may call at all.
func (p *attempt) listTools() {
	p.t.Helper()
	a := p.rpc("tools/list", `{}`)
	o, v := p.w.gate(p.c, "", false)
	if !p.told(a, v) {
		return
	}
	var message struct {
		Result struct{ Tools []struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(a.body), &message); err != nil {
		p.t.Fatal(err)
	}
	var got, want []string
	for _, t := range message.Result.Tools {
		got = append(got, t.Name)
	}
	for tool, permission := range toolNeeds {
		shown := permission == "" || p.c.holds(permission) && p.c.let(permission)
		if permission == "projects:create" && !slices.Contains(p.c.organizationPermissions(o), permission) {
			shown = false
		}
		if shown {
			want = append(want, tool)
		}
	}
	p.sameSet("tools", got, want)
}

// requestTool makes one random request to /mcp and judges the answer.
func (s *stage) requestTool(t *rapid.T, w *world, c caller) {
	c.header = "" // a token is of one organization
	tool := rapid.SampledFrom(append(slices.Sorted(maps.Keys(toolDrivers)), "tools/list")).Draw(t, "tool")
	p := &attempt{t: t, w: w, c: c, o: operation{id: tool, method: http.MethodPost, path: "/mcp " + tool}, stage: s}
	if c.session != nil || tool == "tools/list" {
		p.listTools()
		return
	}
	toolDrivers[tool](p)
}
