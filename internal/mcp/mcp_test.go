package mcp_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"carnet/internal/account"
	"carnet/internal/house"
	"carnet/internal/lastuse"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/tokens"
)

var origin = lastuse.Origin{Client: "test"}

var allTools = []string{
	"comment_on_task", "create_project", "create_tasks", "delete_project", "delete_task", "get_project", "get_task", "list_projects", "list_tasks",
	"my_tasks", "overdue_tasks", "recent_activity", "search_tasks", "set_task_status", "update_project", "update_task", "whoami",
}

// B1 to B4, B8: whoever has no token that holds gets a challenge that a client can act on.
func TestB1ToB4WhoeverHasNoTokenIsChallenged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		_, value := w.agent(w.owner, nil, "tasks:read")
		metadata := `resource_metadata="` + w.url + `/.well-known/oauth-protected-resource/mcp", scope="projects:read tasks:read comments:read"`
		for _, method := range []string{"POST", "GET", "DELETE", "PUT"} {
			r := w.send(method, "/mcp", "", "{")
			if header := r.header.Get("WWW-Authenticate"); r.status != http.StatusUnauthorized || header != "Bearer "+metadata {
				t.Errorf("%s without a token: %d, %s", method, r.status, header)
			}
		}
		for name, headers := range map[string][]string{
			"two headers": {"Authorization", "Bearer " + value, "Authorization", "Bearer " + value},
			"malformed":   {"Authorization", "Bearer nothing"},
			"a session":   {"Authorization", "Bearer " + w.session()},
			"unknown":     {"Authorization", "Bearer carnet_agt_000000000000_00000000000000000000000000000000000000"},
		} {
			r := w.send(http.MethodPost, "/mcp", "", `{}`, headers...)
			var body map[string]string
			_ = json.Unmarshal([]byte(r.body), &body)
			header := r.header.Get("WWW-Authenticate")
			if r.status != http.StatusUnauthorized || !strings.HasPrefix(header, `Bearer error="invalid_token", `) || !strings.HasSuffix(header, metadata) || body["error"] != "invalid_token" || len(body["error_description"]) < 20 {
				t.Errorf("%s: %d, %s\n%s", name, r.status, header, r.body)
			}
		}
		for name, r := range map[string]reply{
			"Basic":            w.send("POST", "/mcp", "", `{}`, "Authorization", "Basic "+value),
			"in the query":     w.send("POST", "/mcp?access_token="+value, "", `{}`),
			"in a cookie":      w.send("POST", "/mcp", "", `{}`, "Cookie", "carnet_session="+value),
			"session's cookie": w.send("POST", "/mcp", "", `{}`, "Cookie", "carnet_session="+w.session()),
		} {
			if r.status != http.StatusUnauthorized || strings.Contains(r.header.Get("WWW-Authenticate"), "error=") {
				t.Errorf("a token %s: %d, %s", name, r.status, r.header.Get("WWW-Authenticate"))
			}
		}
		if r := w.send("POST", "/mcp", "", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Authorization", "bEaReR "+value); r.status != http.StatusOK {
			t.Errorf("a scheme in odd case: %d %s", r.status, r.body)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if r := w.send(method, "/mcp", value, ""); r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != "POST" {
				t.Errorf("%s with a token: %d, Allow %q", method, r.status, r.header.Get("Allow"))
			}
		}
	})
}

// session is the value of a new session.
func (w *town) session() string {
	w.t.Helper()
	return signedIn(w)
}

// B2, G1 to G3, G6: what ends or rests a token is the same 401 for a client, with words for its person, and holds for the
// next call of a token that was just used.
func TestB2WhateverEndsATokenIsTheSame401(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		admin := w.owner
		w.person("kim")
		must(t, w.Org.Operators().AddMember(t.Context(), "acme", "kim@example.com", "member"))
		kim := w.signIn("kim@example.com")
		in := w.in(admin)
		end := func(name string, do func(id string), words string, undo func(id string)) {
			id, value := w.agent(kim, nil, "tasks:read")
			w.call(value, "whoami", `{}`).ok(nil) // the cache is warm
			do(id)
			r := w.rpc(value, "ping", nil)
			var body struct{ Error, Description string }
			must(t, json.Unmarshal([]byte(strings.Replace(r.body, "error_description", "description", 1)), &body))
			header := r.header.Get("WWW-Authenticate")
			rest, _ := strings.CutPrefix(header, `Bearer error="invalid_token", error_description="`+body.Description+`", `)
			if r.status != http.StatusUnauthorized || body.Error != "invalid_token" || !strings.Contains(body.Description, words) ||
				rest != `resource_metadata="`+w.url+`/.well-known/oauth-protected-resource/mcp", scope="projects:read tasks:read comments:read"` {
				t.Errorf("%s: %d, %s\n%s", name, r.status, header, r.body)
			}
			if undo != nil {
				undo(id)
				w.call(value, "whoami", `{}`).ok(nil)
			}
		}
		end("revoked", func(id string) { _, err := w.Tokens.Revoke(t.Context(), kim, id); must(t, err) }, "revoked", nil)
		end("revoked by an admin", func(id string) {
			_, err := w.Tokens.RevokeAgent(t.Context(), admin, "acme", id, tokens.Removal{Reason: "left on a train"})
			must(t, err)
		}, "revoked", nil)
		end("paused", func(id string) { _, err := w.Tokens.Pause(t.Context(), kim, id); must(t, err) }, "paused",
			func(id string) { _, err := w.Tokens.Resume(t.Context(), kim, id); must(t, err) })
		end("suspended", func(string) { must(t, w.Org.Operators().SuspendUser(t.Context(), "kim@example.com")) }, "suspended",
			func(string) {
				must(t, w.Org.Operators().RestoreUser(t.Context(), "kim@example.com"))
				kim = w.signIn("kim@example.com")
			})
		end("no member any more", func(string) { must(t, w.Org.Operators().RemoveMember(t.Context(), "acme", "kim@example.com")) }, "no role",
			func(string) {
				must(t, w.Org.Operators().AddMember(t.Context(), "acme", "kim@example.com", "member"))
				kim = w.signIn("kim@example.com")
			})
		set := func(change org.PolicyChange) {
			_, err := w.Org.SetAgentPolicy(t.Context(), in, "acme", change)
			must(t, err)
		}
		end("agents off", func(string) { set(org.PolicyChange{Enabled: optional.Of(false)}) }, "turned off", func(string) { set(org.PolicyChange{Enabled: optional.Of(true)}) })
		end("expired", func(id string) { w.execute(`UPDATE tokens SET expires_at = created_at + 1 WHERE id = $1`, id) }, "expired", nil)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// B5, B6: a token that lacks a scope is told all that it needs, itself included; a scope that includes another serves for it.
func TestB5AMissingScopeIsAskedForTogetherWithWhatThereIs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		p := w.project("WEB", "Website")
		_, value := w.agent(w.owner, nil, "projects:read", "comments:read")
		for tool, want := range map[string]string{
			"list_tasks": "projects:read tasks:read comments:read", "create_tasks": "projects:read tasks:write comments:read",
			"comment_on_task": "projects:read comments:read comments:write", "create_project": "projects:read projects:write comments:read",
		} {
			r := w.call(value, tool, `{}`)
			header := r.header.Get("WWW-Authenticate")
			if r.status != http.StatusForbidden || !strings.Contains(header, `error="insufficient_scope"`) || !strings.Contains(header, `scope="`+want+`"`) || !strings.Contains(header, "resource_metadata=") {
				t.Errorf("%s: %d, %s", tool, r.status, header)
			}
		}
		_, writer := w.agent(w.owner, nil, "tasks:write")
		w.call(writer, "list_tasks", `{"project":"`+p.ID+`"}`).ok(nil)
		w.call(writer, "list_tasks", `{"project":"web"}`).ok(nil)
	})
}

// B5: what a call needs is told by its body, however odd that is otherwise and whatever the headers say.
func TestB5WhatACallNeedsIsToldByItsBody(t *testing.T) {
	t.Parallel()
	w := newTown(t, house.Plan{Data: t.TempDir()}, nil)
	w.furnish()
	_, value := w.agent(w.owner, nil, "tasks:read")
	before := w.rowsOf("tasks")
	for name, params := range map[string]string{
		"a client that is a word":    `"clientInfo":"x",`,
		"a client with odd fields":   `"_meta":{"io.modelcontextprotocol/clientInfo":{"name":5,"version":[]}},`,
		"a client that is a number":  `"_meta":{"io.modelcontextprotocol/clientInfo":5},`,
		"a revision that is none":    `"_meta":{"io.modelcontextprotocol/protocolVersion":5},`,
		"nothing known of it":        `"_meta":5,`,
		"capabilities of no kind":    `"_meta":{"io.modelcontextprotocol/clientCapabilities":"all"},`,
		"a field that nobody knows":  `"task":{"ttl":1},`,
		"a progress token of a kind": `"_meta":{"progressToken":{}},`,
	} {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + params + `"name":"create_tasks","arguments":{"project":"WEB","tasks":[{"title":"x"}]}}}`
		for _, headers := range [][]string{nil, {"MCP-Protocol-Version", "2025-11-25", "Mcp-Method", "tools/call", "Mcp-Name", "list_tasks"}} {
			r := w.send(http.MethodPost, "/mcp", value, body, headers...)
			if r.status != http.StatusForbidden || !strings.Contains(r.header.Get("WWW-Authenticate"), `error="insufficient_scope", scope="tasks:read tasks:write", `) {
				t.Errorf("%s, %v: %d %s\n%s", name, headers, r.status, r.header.Get("WWW-Authenticate"), r.body)
			}
		}
	}
	if w.rowsOf("tasks") != before {
		t.Error("something was written")
	}
	if n := strings.Count(w.rowsOf("audit_events"), "token.refused"); n != 1 {
		t.Errorf("recorded %d times", n)
	}
	// Names in other letters are no names of the protocol.
	for _, body := range []string{`{"jsonrpc":"2.0","id":1,"Method":"tools/call","params":{"name":"create_tasks"}}`, `{"jsonrpc":"2.0","id":1,"method":"tools/call","Params":{"name":"create_tasks"}}`, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"create_tasks"}}`} {
		if r := w.send(http.MethodPost, "/mcp", value, body); r.status == http.StatusOK && !strings.Contains(r.body, `"error"`) {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
}

// B9, B10: behind a proxy on the same machine, the server is called by its public name. Loopback names serve, too; pages of
// the machine's other programs do not.
func TestB10BehindAProxyThePublicNameIsServed(t *testing.T) {
	t.Parallel()
	w := newTown(t, house.Plan{Data: t.TempDir()}, func(f *house.Front) {
		f.PublicURL = &url.URL{Scheme: "https", Host: "carnet.example"}
	})
	_, value := w.agent(w.owner, nil, "tasks:read")
	for _, c := range []struct {
		header, text string
		want         int
	}{
		{"Host", "carnet.example", http.StatusOK}, {"Host", "CARNET.example", http.StatusOK}, {"Host", "localhost:8080", http.StatusOK}, {"Host", "carnet.example.evil.example", http.StatusMisdirectedRequest},
		{"Host", "evil.example", http.StatusMisdirectedRequest}, {"Host", "carnet.example:81", http.StatusMisdirectedRequest}, {"Origin", "https://carnet.example", http.StatusOK},
		{"Origin", "http://carnet.example", http.StatusForbidden}, {"Origin", "http://localhost:6274", http.StatusForbidden},
	} {
		if r := w.rpc(value, "ping", nil, c.header, c.text); r.status != c.want {
			t.Errorf("%s %s: %d, not %d: %s", c.header, c.text, r.status, c.want, r.body)
		}
	}
	r := w.send("POST", "/mcp", "", `{}`, "Host", "carnet.example", "X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example")
	if !strings.Contains(r.header.Get("WWW-Authenticate"), `resource_metadata="https://carnet.example/.well-known/`) {
		t.Errorf("the challenge: %s", r.header.Get("WWW-Authenticate"))
	}
}

// B9, B10: pages of other sites and names that lead here by a trick are refused before anybody is identified.
func TestB9B10StrangeOriginsAndHostsAreRefused(t *testing.T) {
	t.Parallel()
	w := newTown(t, house.Plan{Data: t.TempDir()}, nil)
	_, value := w.agent(w.owner, nil, "tasks:read")
	for _, c := range []struct {
		header, text string
		want         int
	}{
		{"Origin", "https://evil.example", http.StatusForbidden}, {"Origin", "null", http.StatusForbidden}, {"Origin", w.url, http.StatusOK}, {"Origin", "http://localhost:6274", http.StatusOK}, {"Origin", "https://localhost.evil.example", http.StatusForbidden},
		{"Host", "evil.example", http.StatusMisdirectedRequest}, {"Host", "127.0.0.1.evil.example", http.StatusMisdirectedRequest},
		{"Host", "localhost:9", http.StatusOK}, {"Host", "[::1]:9", http.StatusOK},
	} {
		if r := w.rpc(value, "ping", nil, c.header, c.text); r.status != c.want {
			t.Errorf("%s %s: %d, not %d: %s", c.header, c.text, r.status, c.want, r.body)
		}
		if c.want != http.StatusOK {
			if r := w.rpc("", "ping", nil, c.header, c.text); r.status != c.want {
				t.Errorf("%s %s without a token: %d", c.header, c.text, r.status)
			}
		}
	}
	for _, host := range []string{"evil.example", ""} {
		r := w.send("POST", "/mcp", "", `{}`, "X-Forwarded-Host", host, "X-Forwarded-Proto", "https")
		if !strings.Contains(r.header.Get("WWW-Authenticate"), `"`+w.url+`/.well-known/`) {
			t.Errorf("a forwarded host changes what is said: %s", r.header.Get("WWW-Authenticate"))
		}
	}
}

// B12: a token that calls too often waits, and no other does.
func TestB12ATokenThatCallsTooOftenWaits(t *testing.T) {
	t.Parallel()
	w := newTown(t, house.Plan{Data: t.TempDir()}, func(f *house.Front) { f.AgentCalls = 20 })
	_, busy := w.agent(w.owner, nil, "tasks:read")
	_, other := w.agent(w.owner, nil, "tasks:read")
	var limited reply
	for range 40 {
		if limited = w.rpc(busy, "ping", nil); limited.status != http.StatusOK {
			break
		}
	}
	if limited.status != http.StatusTooManyRequests || limited.header.Get("Retry-After") == "" || limited.header.Get("RateLimit-Limit") != "20" || !strings.Contains(limited.body, "rate_limited") {
		t.Errorf("the busy one: %d %v %s", limited.status, limited.header, limited.body)
	}
	if r := w.rpc(other, "ping", nil); r.status != http.StatusOK {
		t.Errorf("the other one: %d", r.status)
	}
}

// C4 to C6, C9, C12 to C14: revisions that do not fit, what is not there, malformed, too large, streams, and the same under a
// slash.
func TestCMalformedCallsAreRefusedInTheProtocolsWords(t *testing.T) {
	t.Parallel()
	w := newTown(t, house.Plan{Data: t.TempDir()}, nil)
	_, value := w.agent(w.owner, nil, everything...)
	modern := []string{"MCP-Protocol-Version", "2026-07-28"}
	meta := map[string]any{"_meta": map[string]any{
		"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": map[string]string{"name": "t", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{},
	}}
	for _, method := range []string{"prompts/list", "prompts/get", "resources/list", "resources/read", "resources/templates/list", "completion/complete"} {
		asked := maps.Clone(meta)
		asked["name"], asked["uri"] = "x", "x"
		r := w.rpc(value, method, asked, append(modern, "Mcp-Method", method, "Mcp-Name", "x")...)
		if r.status != http.StatusNotFound || !strings.Contains(r.body, "-32601") {
			t.Errorf("C5 %s: %d %s", method, r.status, r.body)
		}
	}
	call := func(version string) map[string]any {
		of := maps.Clone(meta["_meta"].(map[string]any))
		of["io.modelcontextprotocol/protocolVersion"] = version
		return map[string]any{"name": "whoami", "arguments": map[string]any{}, "_meta": of}
	}
	named := []string{"Mcp-Method", "tools/call", "Mcp-Name", "whoami"}
	if r := w.rpc(value, "tools/call", call("2099-01-01"), append(named, "MCP-Protocol-Version", "2099-01-01")...); r.status != http.StatusBadRequest || !strings.Contains(r.body, "-32022") || !strings.Contains(r.body, "2025-11-25") {
		t.Errorf("C4, a revision of the future: %d %s", r.status, r.body)
	}
	if r := w.rpc(value, "tools/call", map[string]any{"name": "whoami"}, "MCP-Protocol-Version", "2023-01-01"); r.status != http.StatusBadRequest || !strings.Contains(r.body, "2025-11-25") {
		t.Errorf("C4, a revision that never was: %d %s", r.status, r.body)
	}
	for _, headers := range [][]string{{"MCP-Protocol-Version", "2025-11-25"}, {"Mcp-Name", "get_task"}, {"Mcp-Method", "tools/list"}, {"Mcp-Name", ""}} {
		sent := map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "whoami"}
		sent[headers[0]] = headers[1]
		var pairs []string
		for name, text := range sent {
			pairs = append(pairs, name, text)
		}
		if r := w.rpc(value, "tools/call", call("2026-07-28"), pairs...); r.status != http.StatusBadRequest || !strings.Contains(r.body, "-32020") {
			t.Errorf("C4, %v beside another body: %d %s", headers, r.status, r.body)
		}
	}
	listen := map[string]any{"notifications": map[string]any{"toolsListChanged": true}, "_meta": meta["_meta"]}
	if r := w.rpc(value, "subscriptions/listen", listen, append(modern, "Mcp-Method", "subscriptions/listen")...); r.status != http.StatusOK || !strings.Contains(r.body, `"resultType":"complete"`) {
		t.Errorf("C13, a stream that does not end at once: %d %s", r.status, r.body)
	}
	begin := map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "t", "version": "1"}}
	if r := w.rpc(value, "initialize", begin, "Mcp-Session-Id", "anything"); r.status != http.StatusOK || r.header.Get("Mcp-Session-Id") != "" || !strings.Contains(r.body, `"serverInfo"`) {
		t.Errorf("C6, initialize: %d %v %s", r.status, r.header, r.body)
	}
	r := w.rpc(value, "tools/list", nil, "Mcp-Session-Id", "anything")
	if r.status != http.StatusOK || r.header.Get("Mcp-Session-Id") != "" || !strings.Contains(r.body, `"cacheScope":"private"`) || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("C6, C7: %d %v", r.status, r.header)
	}
	if again := w.rpc(value, "tools/list", nil); again.body != r.body {
		t.Error("C7: two lists differ")
	}
	if r := w.rpc(value, "tools/call", map[string]any{"name": "no_such_tool"}); !strings.Contains(r.body, "-32602") {
		t.Errorf("C9: an unknown tool: %s", r.body)
	}
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"too large":   {`{"a":"` + strings.Repeat("x", 1<<20) + `"}`, http.StatusRequestEntityTooLarge},
		"deep":        {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":` + deep + `}}`, http.StatusBadRequest},
		"no JSON":     {"hello", http.StatusBadRequest},
		"nothing":     {"", http.StatusBadRequest},
		"not for us":  {`{"hello":1}`, http.StatusBadRequest},
		"batch":       {`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, http.StatusBadRequest},
		"batch late":  {" \n\t" + `[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}]`, http.StatusBadRequest},
		"key twice":   {`{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}`, http.StatusBadRequest},
		"more behind": {`{"jsonrpc":"2.0","id":1,"method":"ping"} {}`, http.StatusBadRequest},
		"empty batch": {`[]`, http.StatusBadRequest},
	} {
		for _, version := range []string{"", "2025-03-26", "2025-11-25", "2026-07-28"} {
			if r := w.send("POST", "/mcp", value, c.body, "MCP-Protocol-Version", version); r.status != c.want {
				t.Errorf("C12 %s, %s: %d, not %d: %.200s", name, version, r.status, c.want, r.body)
			}
		}
	}
	for _, c := range []struct{ method, value, body string }{
		{"POST", value, `{"jsonrpc":"2.0","id":1,"method":"ping"}`}, {"POST", "", `{}`}, {"POST", "carnet_agt_x", `{}`}, {"POST", value, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`},
		{"POST", value, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}`}, {"POST", value, `[]`}, {"GET", value, ""}, {"DELETE", value, ""}, {"GET", "", ""},
	} {
		plain, slashed := w.send(c.method, "/mcp", c.value, c.body), w.send(c.method, "/mcp/", c.value, c.body)
		for _, r := range []reply{plain, slashed} {
			for _, varies := range []string{"Date", "X-Request-Id"} {
				r.header.Del(varies)
			}
		}
		if a, b := fmt.Sprint(plain.status, plain.header, plain.body), fmt.Sprint(slashed.status, slashed.header, slashed.body); a != b || plain.status == http.StatusNotFound {
			t.Errorf("C14, %s %s:\n%s\n%s", c.method, c.body, a, b)
		}
	}
}

// C7, B5: the tools that are listed are those that can be used.
func TestC7ToolsAreListedByWhatATokenMay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		p := w.project("WEB", "Website")
		without := func(names ...string) []string {
			return slices.DeleteFunc(slices.Clone(allTools), func(n string) bool { return slices.Contains(names, n) })
		}
		destructive := []string{"delete_task", "delete_project"}
		_, all := w.agent(w.owner, nil, everything...)
		if got := w.tools(all); !slices.Equal(got, without(destructive...)) {
			t.Errorf("with every scope: %v", got)
		}
		_, restricted := w.agent(w.owner, []string{p.ID}, everything...)
		if got := w.tools(restricted); !slices.Equal(got, without(append(destructive, "create_project")...)) {
			t.Errorf("limited to a project: %v", got)
		}
		_, reader := w.agent(w.owner, nil, "tasks:read")
		if got := w.tools(reader); !slices.Equal(got, []string{"get_task", "list_tasks", "my_tasks", "overdue_tasks", "recent_activity", "search_tasks", "whoami"}) {
			t.Errorf("with tasks:read: %v", got)
		}
		w.call(all, "delete_task", `{"task":"WEB-1"}`).refused("agent policy", "tasks:delete")
		_, err := w.Org.SetAgentPolicy(t.Context(), w.in(w.owner), "acme", org.PolicyChange{Destructive: optional.Of([]string{"tasks:delete"})})
		must(t, err)
		if got := w.tools(all); !slices.Equal(got, without("delete_project")) {
			t.Errorf("with tasks:delete enabled: %v", got)
		}
		k := w.task(p.ID, "doomed")
		w.call(all, "delete_task", `{"task":"`+k.ID+`"}`).ok(nil)
		w.call(all, "delete_task", `{"task":"`+k.ID+`"}`).refused("nothing here")
		personal, err := w.Tokens.Create(t.Context(), w.owner, tokens.Draft{Name: "script", Organization: "acme", Scopes: everything})
		must(t, err)
		if got := w.tools(personal.Value.Reveal()); !slices.Equal(got, allTools) {
			t.Errorf("a personal token, which no agent policy binds: %v", got)
		}
	})
}

var toolName = regexp.MustCompile(`^[a-z0-9_]{1,48}$`)

// C8: every tool says what it takes, gives and does, and that is true.
func TestC8ToolsAreWhatTheySay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		p, k := w.furnish()
		personal, err := w.Tokens.Create(t.Context(), w.owner, tokens.Draft{Name: "script", Organization: "acme", Scopes: everything})
		must(t, err)
		value := personal.Value.Reveal()
		for _, tool := range w.listed(value) {
			if !toolName.MatchString(tool.Name) || tool.Title == "" || len(tool.Description) < 20 || len(tool.Annotations) != 5 {
				t.Errorf("%s: %+v", tool.Name, tool)
			}
			strict(t, tool.Name, tool.InputSchema)
			arguments := examples(p, k)[tool.Name]
			if arguments == "" {
				t.Errorf("no example of %s", tool.Name)
				continue
			}
			before := w.content()
			r := w.call(value, tool.Name, arguments)
			r.ok(nil)
			valid(t, tool, r.data)
			changed := differences(before, w.content())
			if reads := tool.Annotations["readOnlyHint"] == true; reads == (len(changed) > 0) {
				t.Errorf("%s says readOnlyHint %t, and these changed: %v", tool.Name, reads, changed)
			}
			if reads := tool.Annotations["readOnlyHint"] == true; reads && tool.Annotations["destructiveHint"] == true || tool.Annotations["openWorldHint"] != false {
				t.Errorf("%s: %v", tool.Name, tool.Annotations)
			}
			after := w.content()
			if reads(tool) {
				continue
			}
			// What only adds leaves all that there was, as it was.
			if destroys := tool.Annotations["destructiveHint"] == true; destroys == grown(before, after) {
				t.Errorf("%s says destructiveHint %t, and all that there was is left: %t", tool.Name, destroys, !destroys)
			}
			w.call(value, tool.Name, arguments)
			if idempotent := tool.Annotations["idempotentHint"] == true; idempotent != (len(differences(worked(after), worked(w.content()))) == 0) {
				t.Errorf("%s says idempotentHint %t, and the same call again changed %v", tool.Name, idempotent, differences(worked(after), worked(w.content())))
			}
		}
	})
}

// worked are the tables that hold what people work on.
func worked(content map[string]string) map[string]string {
	kept := map[string]string{}
	for _, table := range []string{"projects", "project_members", "tasks", "comments"} {
		kept[table] = content[table]
	}
	return kept
}

// grown reports whether every row that there was is still there, as it was.
func grown(before, after map[string]string) bool {
	for table, rows := range worked(before) {
		for _, row := range strings.Split(rows, "\n") {
			if !strings.Contains("\n"+after[table], "\n"+row+"\n") && row != "" {
				return false
			}
		}
	}
	return true
}

func reads(tool described) bool { return tool.Annotations["readOnlyHint"] == true }

// furnish makes a project with a task and a comment, and one of each to delete.
func (w *town) furnish() (project, task string) {
	p := w.project("WEB", "Website")
	k := w.task(p.ID, "first")
	w.comment(k.ID, "a comment")
	w.task(p.ID, "second")
	w.task(p.ID, "third")
	w.project("OLD", "Old")
	return p.ID, k.ID
}

// examples are calls of every tool that work.
func examples(project, task string) map[string]string {
	return map[string]string{
		"whoami": `{}`, "list_projects": `{"limit":1}`, "get_project": `{"project":"` + project + `"}`, "list_tasks": `{"project":"WEB","status":"todo","assignee":"me","due_before":"2030-01-01"}`,
		"search_tasks": `{"query":"first"}`, "get_task": `{"task":"WEB-1"}`, "my_tasks": `{}`, "overdue_tasks": `{"project":"WEB"}`, "recent_activity": `{"project":"WEB"}`,
		"create_tasks": `{"project":"WEB","tasks":[{"title":"a","priority":"high","assignee":"me","due_on":"2030-01-01"},{"title":"b"}]}`,
		"update_task":  `{"task":"` + task + `","title":"renamed","assignee":"me","due_on":""}`, "set_task_status": `{"tasks":["WEB-1","WEB-2"],"status":"review"}`,
		"comment_on_task": `{"task":"WEB-1","body":"done"}`, "delete_task": `{"task":"WEB-3"}`, "create_project": `{"key":"NEW","name":"New"}`,
		"update_project": `{"project":"NEW","name":"Newer"}`, "delete_project": `{"project":"OLD"}`,
	}
}

// strict expects that a schema names all that there is, objects inside of lists too, and uses no words that clients stumble
// over.
func strict(t *testing.T, tool string, schema map[string]any) {
	t.Helper()
	if schema["type"] == "object" && schema["additionalProperties"] != false {
		t.Errorf("%s: an object takes anything: %v", tool, schema)
	}
	for _, word := range []string{"$ref", "$defs", "anyOf", "oneOf", "allOf"} {
		if _, ok := schema[word]; ok {
			t.Errorf("%s: the schema has %s", tool, word)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		inner, _ := property.(map[string]any)
		if inner["description"] == nil {
			t.Errorf("%s: %s is not described", tool, name)
		}
		if items, ok := inner["items"].(map[string]any); ok {
			strict(t, tool, items)
		}
	}
}

// valid checks an answer against the schema that was listed.
func valid(t *testing.T, tool described, data json.RawMessage) {
	t.Helper()
	text, _ := json.Marshal(tool.OutputSchema)
	var schema jsonschema.Schema
	must(t, json.Unmarshal(text, &schema))
	resolved, err := schema.Resolve(nil)
	must(t, err)
	var value any
	must(t, json.Unmarshal(data, &value))
	if err := resolved.Validate(value); err != nil {
		t.Errorf("%s: the answer does not fit its schema: %v\n%s", tool.Name, err, data)
	}
}

// content is all that tools could change, as text, table by table.
func (w *town) content() map[string]string {
	w.t.Helper()
	tables := map[string]string{}
	for _, table := range []string{"projects", "project_members", "project_counters", "tasks", "comments", "tokens", "audit_events", "idempotency_keys", "rate_limits", "memberships", "users", "epoch"} {
		tables[table] = w.rowsOf(table)
	}
	return tables
}

func (w *town) rowsOf(table string) (text string) {
	w.t.Helper()
	rows, err := w.DB.Read().QueryContext(w.t.Context(), "SELECT * FROM "+table+" ORDER BY 1, 2")
	must(w.t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	must(w.t, err)
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		must(w.t, rows.Scan(into...))
		text += fmt.Sprintln(row...)
	}
	must(w.t, rows.Err())
	return text
}

// differences are the tables that changed.
func differences(before, after map[string]string) (tables []string) {
	for name, content := range after {
		if before[name] != content {
			tables = append(tables, name)
		}
	}
	return tables
}

// C9: what is wrong with arguments is said of the argument, in a result that a model can act on, and changes nothing.
func TestC9WhatIsWrongIsSaidOfTheArgument(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		w.furnish()
		_, value := w.agent(w.owner, nil, everything...)
		before := w.content()
		for _, c := range []struct{ tool, arguments, words string }{
			{"get_task", `{}`, "task: is required"}, {"get_task", `{"task":5}`, "task: must be a text"}, {"set_task_status", `{"tasks":"WEB-1","status":"done"}`, "tasks: must be a list"}, {"set_task_status", `{"tasks":["WEB-1","WEB-99"],"status":"done"}`, "nothing here that you can see, under the name in tasks[1]. "}, {"set_task_status", `{"tasks":["WEB-1","tsk_01m8ezgf3ce6e8ts7xq8xvkq78"],"status":"done"}`, "under the name in tasks[1]. "}, {"create_tasks", `{"project":"WEB","tasks":[5]}`, "tasks[0]: must be an object"}, {"update_task", `{"task":"WEB-1","due_on":7}`, "due_on: must be a text"}, {"get_task", `{"tsk":"WEB-1"}`, "takes"}, {"get_task", `[]`, "object"},
			{"get_project", `{"project":""}`, "project: is required"}, {"search_tasks", `{"query":"  "}`, "query: is required"},
			{"list_tasks", `{"limit":0}`, "limit: must be 1 to 100"}, {"list_tasks", `{"limit":101}`, "limit: "}, {"list_tasks", `{"limit":"5"}`, "limit: must be a whole number"},
			{"list_tasks", `{"assignee":"the boss"}`, "assignee: must be a user id"}, {"create_tasks", `{"project":"WEB","tasks":[{"title":"x"},{"title":"x","assignee":"the boss"}]}`, "tasks[1].assignee: must be"},
			{"list_tasks", `{"status":"finished"}`, "status: "}, {"list_tasks", `{"due_before":"tomorrow"}`, "due_before: "}, {"list_tasks", `{"cursor":"made-up"}`, "cursor"},
			{"recent_activity", `{"since":"yesterday"}`, "since: "}, {"create_tasks", `{"project":"WEB","tasks":[]}`, "tasks: "},
			{"create_tasks", `{"project":"WEB","tasks":[{"title":"good"},{"title":""}]}`, "tasks[1].title: "}, {"create_tasks", `{"project":"WEB","tasks":[{"title":"x","priority":"urgent"}]}`, "tasks[0].priority: "},
			{"create_tasks", `{"project":"WEB","tasks":[{"title":"x"},{"name":"x"}]}`, "tasks[1]: has a field that this tool does not know; it takes assignee, description, due_on, priority, status, title"}, {"create_tasks", `{"project":"WEB","tasks":[{"title":5}]}`, "tasks[0].title: must be a text"}, {"update_task", `{"task":"WEB-1","status":"finished"}`, "status: "},
			{"update_task", `{"task":"WEB-1","title":null}`, "title: "}, {"update_task", `{"task":"WEB-1","assignee":"usr_nobody"}`, "assignee: "},
			{"set_task_status", `{"tasks":[],"status":"done"}`, "tasks: "}, {"set_task_status", `{"tasks":["WEB-1"],"status":""}`, "status: "},
			{"comment_on_task", `{"task":"WEB-1"}`, "body: "}, {"create_project", `{"key":"bad key","name":"x"}`, "key: "}, {"create_project", `{"key":"WEB","name":"x"}`, "key"},
			{"update_project", `{"project":"WEB","visibility":"secret"}`, "visibility: "}, {"create_tasks", `{"project":"WEB","tasks":[{"title":"x"}],"idempotency_key":"ü"}`, "idempotency_key: must be"},
		} {
			w.call(value, c.tool, c.arguments).refused(c.words)
		}
		if changed := differences(before, w.content()); len(changed) > 0 {
			t.Errorf("refused calls changed %v", changed)
		}
	})
}

// People say names, and not ids: an assignee is a member whom the token may see, by name or address, or it is said that it
// is nobody's.
func TestAssigneesAreSaidByNameWhereMembersMayBeRead(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		web, _ := w.furnish()
		ids := map[string]string{}
		for address, name := range map[string]string{"gh": "Grace Hopper", "gk": "Grace Kelly", "ub": "Überto", "in": "Inès Dubois", "out": "Grace Nobody"} {
			made, err := w.Account.CreateUser(t.Context(), account.NewUser{Email: address + "@example.com", Name: name, Password: password, Verified: true})
			if err != nil {
				t.Fatal(err)
			}
			ids[address] = made.ID
			if address == "out" {
				continue
			}
			if err := w.Org.Operators().AddMember(t.Context(), "acme", address+"@example.com", "member"); err != nil {
				t.Fatal(err)
			}
		}
		_, value := w.agent(w.owner, nil, everything...)
		for i, name := range []string{"Grace Hopper", "grace hopper", "HOPPER", "gh@example.com", "GH@Example.com", ids["gh"]} {
			w.call(value, "update_task", fmt.Sprintf(`{"task":"WEB-1","assignee":%q}`, name)).ok(nil)
			w.call(value, "create_tasks", fmt.Sprintf(`{"project":"WEB","tasks":[{"title":"by name","assignee":%q}]}`, name)).ok(nil)
			var found struct{ Tasks []struct{ Assignee string } }
			r := w.call(value, "list_tasks", fmt.Sprintf(`{"assignee":%q}`, name))
			if r.ok(&found); len(found.Tasks) != i+2 || found.Tasks[0].Assignee != "Grace Hopper" || !strings.Contains(r.words, `for "Grace Hopper" (`+ids["gh"]+`)`) {
				t.Errorf("tasks of %q: %v\n%s", name, found, r.words)
			}
		}
		for _, name := range []string{"INES", "inès dubois", "Dub", "überto", "uberto"} {
			w.call(value, "update_task", fmt.Sprintf(`{"task":"WEB-2","assignee":%q}`, name)).ok(nil)
		}
		// Who takes somebody's name for short gets nothing that was meant for them.
		w.execute(`UPDATE users SET name = 'Hopper' WHERE id = $1`, ids["in"])
		w.call(value, "update_task", `{"task":"WEB-1","assignee":"hopper"}`).refused("assignee: means 2 members")
		w.call(value, "create_tasks", `{"project":"WEB","tasks":[{"title":"x"},{"title":"y","assignee":"hopper"}]}`).refused("tasks[1].assignee: means 2 members")
		w.call(value, "list_tasks", `{"assignee":"grace"}`).refused("means 2 members", ids["gh"], ids["gk"], "Grace Kelly")
		for _, nobody := range []string{"Grace Nobody", "out@example.com", ids["gh"][:20], "usr_nobody", "%", "_", " ", "Me", "race", "opper"} {
			w.call(value, "list_tasks", fmt.Sprintf(`{"assignee":%q}`, nobody)).refused("assignee: must be a user id", "nobody's")
		}
		_, blind := w.agent(w.owner, nil, "tasks:write")
		w.call(blind, "list_tasks", `{"assignee":"Grace Hopper"}`).refused("assignee: must be a user id", "members:read")
		if r := w.call(blind, "list_tasks", `{"assignee":"`+ids["ub"]+`"}`); r.failed || strings.Contains(r.body, "berto") || !strings.Contains(r.words, ids["ub"]) {
			t.Errorf("without members:read: %s", r.body)
		}
		_, limited := w.agent(w.owner, []string{w.project("OTH", "Other").ID}, everything...) // only maya belongs to it
		w.call(limited, "list_tasks", `{"assignee":"Grace Hopper"}`).refused("nobody's")
		w.call(limited, "list_tasks", `{"assignee":"maya"}`).ok(nil)
		_, both := w.agent(w.owner, []string{web}, everything...)
		if r := w.call(both, "list_tasks", `{}`); r.failed || strings.Contains(r.body, "Grace") || !strings.Contains(r.words, ids["gh"]) {
			t.Errorf("who belongs to none of its projects is named: %s", r.body)
		}
	})
}

// Who am I says which kind of token calls.
func TestWhoAmIKnowsPersonalTokens(t *testing.T) {
	t.Parallel()
	w := newTown(t, house.Plan{Data: t.TempDir()}, nil)
	_, agent := w.agent(w.owner, nil, "tasks:read")
	made, err := w.Tokens.Create(t.Context(), w.owner, tokens.Draft{Name: "deploy", Organization: "acme", Scopes: []string{"tasks:read"}})
	if err != nil {
		t.Fatal(err)
	}
	for value, words := range map[string]string{agent: "You are ", made.Value.Reveal(): `You call with "deploy", a personal token of "maya"`} {
		var me struct{ Purpose string }
		r := w.call(value, "whoami", `{}`)
		r.ok(&me)
		if !strings.HasPrefix(r.words, words) || (me.Purpose == "agent") != (value == agent) {
			t.Errorf("%s: %s", me.Purpose, r.words)
		}
	}
}

// C10: lists are read page by page, with a cursor that is nobody else's.
func TestC10ListsArePaged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		p := w.project("WEB", "Website")
		for i := range 7 {
			w.task(p.ID, fmt.Sprint("task ", i))
		}
		_, value := w.agent(w.owner, nil, "tasks:read")
		_, other := w.agent(w.owner, nil, "tasks:read")
		var refs []string
		cursor := ""
		for range 10 {
			var page struct {
				Tasks      []struct{ Ref string }
				NextCursor *string `json:"next_cursor"`
			}
			w.call(value, "list_tasks", fmt.Sprintf(`{"limit":3,"cursor":%q}`, cursor)).ok(&page)
			for _, k := range page.Tasks {
				refs = append(refs, k.Ref)
			}
			if page.NextCursor == nil {
				break
			}
			cursor = *page.NextCursor
			w.call(other, "list_tasks", fmt.Sprintf(`{"limit":3,"cursor":%q}`, cursor)).refused("cursor")
			w.call(value, "list_tasks", fmt.Sprintf(`{"limit":3,"status":"todo","cursor":%q}`, cursor)).refused("cursor")
		}
		if want := []string{"WEB-7", "WEB-6", "WEB-5", "WEB-4", "WEB-3", "WEB-2", "WEB-1"}; !slices.Equal(refs, want) {
			t.Errorf("the pages hold %v", refs)
		}
	})
}

// C11, P3 and the second line: nothing outside an agent's two projects of five shows in anything that any tool says.
func TestP3NothingOutsideTheProjectsShowsInAnyTool(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		const marker = "xyzzy"
		var inside, outside []string
		var insideTasks, outsideTasks []string
		for i, key := range []string{"AAA", "BBB", "CCC", "DDD", "EEE"} {
			text := fmt.Sprint("plain ", key)
			if i >= 2 {
				text = marker + " " + key
			}
			p := w.project(key, text)
			k := w.task(p.ID, text)
			w.comment(k.ID, text)
			if i < 2 {
				inside, insideTasks = append(inside, p.ID), append(insideTasks, k.ID)
			} else {
				outside, outsideTasks = append(outside, p.ID), append(outsideTasks, k.ID)
			}
		}
		_, value := w.agent(w.owner, inside, everything...)
		_, err := w.Org.SetAgentPolicy(t.Context(), w.in(w.owner), "acme", org.PolicyChange{Destructive: optional.Of([]string{"projects:delete", "tasks:delete"})})
		must(t, err)
		nowhere := "prj_00000000000000000000000000"
		nothing := "tsk_00000000000000000000000000"
		var transcript strings.Builder
		say := func(tool, arguments string) string {
			r := w.call(value, tool, arguments)
			fmt.Fprintf(&transcript, "%s %s\n%s\n", tool, arguments, r.body)
			return r.body
		}
		for _, tool := range []string{"whoami", "list_projects", "list_tasks", "my_tasks", "overdue_tasks", "recent_activity"} {
			say(tool, `{}`)
		}
		for _, query := range []string{marker, "plain", "CCC"} {
			say("search_tasks", `{"query":"`+query+`"}`)
		}
		for _, project := range slices.Concat(inside, outside, []string{"CCC", "ddd", nowhere}) {
			for _, tool := range []string{"get_project", "list_tasks", "overdue_tasks", "recent_activity"} {
				say(tool, `{"project":"`+project+`"}`)
			}
			say("search_tasks", `{"query":"x","project":"`+project+`"}`)
		}
		for _, task := range slices.Concat(insideTasks, outsideTasks, []string{"CCC-1", nothing}) {
			say("get_task", `{"task":"`+task+`"}`)
		}
		// The same words for what is outside and for what does not exist.
		for _, c := range [][2]string{{outside[0], nowhere}, {"CCC", "ZZZ"}} {
			for _, format := range []string{`get_project {"project":"%s"}`, `list_tasks {"project":"%s"}`, `create_tasks {"project":"%s","tasks":[{"title":"x"}]}`, `update_project {"project":"%s","name":"x"}`, `delete_project {"project":"%s"}`} {
				tool, arguments, _ := strings.Cut(format, " ")
				if a, b := say(tool, fmt.Sprintf(arguments, c[0])), say(tool, fmt.Sprintf(arguments, c[1])); a != b {
					t.Errorf("%s tells %s and %s apart:\n%s\n%s", tool, c[0], c[1], a, b)
				}
			}
		}
		for _, c := range [][2]string{{outsideTasks[0], nothing}, {"CCC-1", "CCC-9"}, {"CCC-1", "ZZZ-1"}} {
			for _, format := range []string{`get_task {"task":"%s"}`, `update_task {"task":"%s","title":"x"}`, `set_task_status {"tasks":["%s"],"status":"done"}`, `comment_on_task {"task":"%s","body":"x"}`, `delete_task {"task":"%s"}`} {
				tool, arguments, _ := strings.Cut(format, " ")
				if a, b := say(tool, fmt.Sprintf(arguments, c[0])), say(tool, fmt.Sprintf(arguments, c[1])); a != b {
					t.Errorf("%s tells %s and %s apart:\n%s\n%s", tool, c[0], c[1], a, b)
				}
			}
		}
		text := strings.ReplaceAll(transcript.String(), `{"query":"`+marker+`"}`, "")
		if strings.Contains(text, marker) {
			t.Errorf("what is outside shows:\n%s", text)
		}
		for _, id := range slices.Concat(outside, outsideTasks) {
			for _, line := range strings.Split(text, "\n") {
				if strings.HasPrefix(line, `{"jsonrpc"`) && strings.Contains(line, id) {
					t.Errorf("the id %s of something outside shows in %s", id, line)
				}
			}
		}
	})
}

// Attribution, idempotency and undo: what an agent made says so, and a write that is sent twice is carried out once.
func TestWritesAreAttributedAndRepeatable(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		p := w.project("WEB", "Website")
		_, value := w.agent(w.owner, nil, everything...)
		var first, second struct {
			Tasks []struct {
				ID, Ref string
				Agent   *string `json:"created_by_agent"`
			}
		}
		w.call(value, "create_tasks", `{"project":"WEB","tasks":[{"title":"a"},{"title":"b"}],"idempotency_key":"k1"}`).ok(&first)
		w.call(value, "create_tasks", `{"idempotency_key":"k1","tasks":[{"title":"a"},{"title":"b"}],"project":"WEB"}`).ok(&second)
		if len(first.Tasks) != 2 || first.Tasks[0].ID != second.Tasks[0].ID || first.Tasks[0].Ref != "WEB-1" || first.Tasks[0].Agent == nil || *first.Tasks[0].Agent != "helper" {
			t.Errorf("made %+v, and again %+v", first, second)
		}
		w.call(value, "create_tasks", `{"project":"WEB","tasks":[{"title":"c"}],"idempotency_key":"k1"}`).refused("idempotency_key was used before")
		w.call(value, "comment_on_task", `{"task":"WEB-1","body":"hello","idempotency_key":"k2"}`).ok(nil)
		w.call(value, "comment_on_task", `{"task":"WEB-1","body":"hello","idempotency_key":"k2"}`).ok(nil)
		var detail struct {
			Comments []struct {
				Body  string
				Agent *string `json:"created_by_agent"`
			}
		}
		r := w.call(value, "get_task", `{"task":"WEB-1"}`)
		r.ok(&detail)
		if len(detail.Comments) != 1 || detail.Comments[0].Agent == nil || !strings.Contains(r.words, `by "helper" for "maya" (usr_`) || !strings.Contains(r.words, "data that people wrote") {
			t.Errorf("%+v\n%s", detail, r.words)
		}
		var change struct{ Task, Before struct{ Title string } }
		w.call(value, "update_task", `{"task":"WEB-1","title":"z"}`).ok(&change)
		if change.Task.Title != "z" || change.Before.Title != "a" {
			t.Errorf("changed to %+v", change)
		}
		w.task(p.ID, "by a person")
		w.call(value, "set_task_status", `{"tasks":["WEB-1","WEB-9"],"status":"done"}`).refused("nothing here")
		var left struct{ Tasks []struct{ Status string } }
		w.call(value, "list_tasks", `{"status":"done"}`).ok(&left)
		if len(left.Tasks) != 0 {
			t.Error("half of a change that was refused stays")
		}
	})
}

// G8: where a token was used first is recorded, and that it lacked a scope for something: once, however often it tries.
func TestG8FirstUsesAndMissingScopesAreRecorded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town) {
		w.furnish()
		id, value := w.agent(w.owner, nil, "tasks:read")
		recorded := func(condition string) (n int) {
			t.Helper()
			if err := w.DB.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM audit_events WHERE resource_id = $1 AND credential_id = $1 AND actor_id = $2 AND purpose = 'agent' AND `+condition, id, w.owner.UserID).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for range 2 {
			for range 3 {
				w.call(value, "get_task", `{"task":"WEB-1"}`, "User-Agent", "a client/1.0").ok(nil)
				if r := w.call(value, "comment_on_task", `{"task":"WEB-1","body":"no"}`, "User-Agent", "a client/1.0"); r.status != http.StatusForbidden {
					t.Fatalf("without the scope: %d", r.status)
				}
			}
			must(t, w.Tokens.FlushUses(t.Context(), true))
		}
		if n := recorded(`action = 'token.first_used' AND client LIKE 'a client/1.0%' AND address = '127.0.0.1'`); n != 1 {
			t.Errorf("the first use is recorded %d times", n)
		}
		if n := recorded(`action = 'token.refused' AND outcome = 'denied' AND reason = 'scope_missing' AND detail LIKE '%["comments:write"]%comment_on_task%'`); n != 1 {
			t.Errorf("the missing scope is recorded %d times", n)
		}
	})
}
