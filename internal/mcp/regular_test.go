package mcp_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/internal/house"
	"carnet/internal/optional"
	"carnet/internal/org"
)

// Done when 5: what is answered without the SDK is answered as the SDK would. A client that writes its Accept header in
// another way gets the SDK's answer.
func TestRegularCallsAreAnsweredInTheSDKsWords(t *testing.T) {
	t.Parallel()
	w := newTown(t, house.Plan{Data: t.TempDir()}, nil)
	project, task := w.furnish()
	_, value := w.agent(w.owner, nil, everything...)
	calls := examples(project, task)
	for _, tool := range w.listed(value) {
		if !reads(tool) {
			delete(calls, tool.Name) // the second call would not be the first again
		}
	}
	if len(calls) < 8 {
		t.Fatalf("only %d tools read", len(calls))
	}
	marks := regexp.MustCompile(`data=\\"[0-9A-Z]+\\"`)
	compare := func(name, body string, headers ...string) {
		t.Helper()
		ours := w.send(http.MethodPost, "/mcp", value, body, headers...)
		theirs := w.send(http.MethodPost, "/mcp", value, body, append(headers, "Accept", "", "Accept", "application/json,text/event-stream")...)
		if ours.status != http.StatusOK || ours.status != theirs.status {
			t.Errorf("%s: status %d and %d\n%s", name, ours.status, theirs.status, ours.body)
		}
		if a, b := marks.ReplaceAllString(ours.body, ""), marks.ReplaceAllString(theirs.body, ""); a != b {
			t.Errorf("%s:\n%s\n%s", name, a, b)
		}
		for _, r := range []reply{ours, theirs} {
			for _, varies := range []string{"Date", "X-Request-Id", "Content-Length"} {
				r.header.Del(varies)
			}
		}
		if a, b := fmt.Sprint(ours.header), fmt.Sprint(theirs.header); a != b {
			t.Errorf("%s: headers\n%s\n%s", name, a, b)
		}
	}
	const said = `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"b","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	both := func(name, id, tool, arguments string) {
		t.Helper()
		call := func(more string) string {
			return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + arguments + more + `}}`
		}
		compare(name+" without a revision", call(""))
		compare(name+" 2025-11-25", call(`,"_meta":{"progressToken":"a"}`), "Mcp-Protocol-Version", "2025-11-25")
		compare(name+" 2026-07-28", call(said), "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool)
	}
	for tool, arguments := range calls {
		both(tool, "1", tool, arguments)
	}
	both("nothing there", `"5e3b1c2a-8d4f id"`, "get_task", `{"task":"WEB-999"}`)
	both("an argument too many", `0`, "get_task", `{"task":"WEB-1","tsak":"<b>"}`)
	both("an argument of another kind", `999999999999999`, "get_task", `{"task":1}`)
	compare("no arguments", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}`)
	both("a long argument", "5", "search_tasks", `{"query":"`+strings.Repeat("x", 100_000)+`"}`)
}

// Done when 5: agents that are connected and do nothing cost nothing but rows. Not in parallel with other tests, because it
// counts what runs.
func TestIdleAgentsCostNothingButRows(t *testing.T) { //nolint:paralleltest // see above
	w := newTown(t, house.Plan{Data: t.TempDir()}, nil)
	w.furnish()
	connect := func() {
		_, value := w.agent(w.owner, nil, everything...)
		if r := w.rpc(value, "initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "idle", "version": "1"}}); r.status != http.StatusOK {
			t.Fatalf("initialize: %d %s", r.status, r.body)
		}
		if n := len(w.tools(value)); n < 10 {
			t.Fatalf("%d tools", n)
		}
		w.call(value, "get_task", `{"task":"WEB-1"}`).ok(nil)
	}
	connect()
	running := func() int {
		outside.CloseIdleConnections()
		return runtime.NumGoroutine()
	}
	before := running()
	for range 40 {
		connect()
	}
	for deadline := time.Now().Add(10 * time.Second); running() > before+3; time.Sleep(20 * time.Millisecond) { // +3: some may be about to end, far from one for each
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d with 40 more agents", before, running())
		}
	}
}

// recording is a transport that lets nothing through.
type recording struct {
	mu   sync.Mutex
	sent []string
}

// RoundTrip refuses.
func (r *recording) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, request.URL.String())
	return nil, errors.New("nothing goes out")
}

// B11: no tool makes the server send anything anywhere, with the caller's token or without. Not in parallel with other
// tests, because it takes the ordinary transport away.
func TestB11NoToolSendsAnythingAnywhere(t *testing.T) { //nolint:paralleltest // see above
	w := newTown(t, house.Plan{Data: t.TempDir()}, nil)
	project, task := w.furnish()
	_, err := w.Org.SetAgentPolicy(t.Context(), w.in(w.owner), "acme", org.PolicyChange{Destructive: optional.Of([]string{"tasks:delete", "projects:delete"})})
	if err != nil {
		t.Fatal(err)
	}
	_, value := w.agent(w.owner, nil, everything...)
	ordinary, recorder := http.DefaultTransport, &recording{}
	http.DefaultTransport = recorder
	defer func() { http.DefaultTransport = ordinary }()
	called := 0
	for _, tool := range w.listed(value) {
		for _, arguments := range []string{examples(project, task)[tool.Name], strings.ReplaceAll(examples(project, task)[tool.Name], "WEB", "http://evil.example/"), `{"callback":"http://evil.example/"}`} {
			w.call(value, tool.Name, arguments)
			called++
		}
	}
	if called < 3*17 {
		t.Errorf("only %d calls", called)
	}
	if len(recorder.sent) > 0 {
		t.Errorf("sent to %q", recorder.sent)
	}
	if _, err := http.Get("http://127.0.0.1:1/"); err == nil || len(recorder.sent) != 1 {
		t.Error("the test would not notice")
	}
}
