package mcp_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/house"
	"carnet/internal/lastuse"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/tokens"
	"carnet/internal/work"
)

// The same task read by REST and by a tool, side by side, through the whole server in process.
func BenchmarkOneTask(b *testing.B) {
	h, handler, value, task := furnished(b)
	defer func() { _ = h.Close(context.Background()) }()
	rest := func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/api/v1/tasks/"+task, nil)
		r.Header.Set("Authorization", "Bearer "+value)
		return r
	}
	const usual, unusual = "application/json, text/event-stream", "application/json,text/event-stream" // the SDK answers the second
	tool := func(accept, version, body string) func() *http.Request {
		return func() *http.Request {
			r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/mcp", strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+value)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Accept", accept)
			r.Header.Set("MCP-Protocol-Version", version)
			if version == "2026-07-28" {
				r.Header.Set("Mcp-Method", "tools/call")
				r.Header.Set("Mcp-Name", "get_task")
			}
			return r
		}
	}
	const meta = `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"b","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	call := func(more string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_task","arguments":{"task":"` + task + `"}` + more + `}}`
	}
	for _, c := range []struct {
		name string
		make func() *http.Request
	}{{"REST", rest}, {"tool/2025-11-25", tool(usual, "2025-11-25", call(""))}, {"tool/2026-07-28", tool(usual, "2026-07-28", call(meta))}, {"tool/2025-11-25 by the SDK", tool(unusual, "2025-11-25", call(""))}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, c.make())
				if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), task) {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
}

// furnished is a server with an agent that reads tasks.
func furnished(b *testing.B) (*house.House, http.Handler, string, string) {
	b.Helper()
	ctx := context.Background()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	h, err := house.Build(ctx, house.Plan{Data: b.TempDir(), PublicURL: "http://127.0.0.1", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Fatal: func(err error) { b.Error(err) }})
	check(err)
	_, err = h.Account.CreateUser(ctx, account.NewUser{Email: "maya@example.com", Name: "Maya", Password: password, Verified: true})
	check(err)
	_, err = h.Org.Operators().CreateOrganization(ctx, org.Founding{Slug: "acme", Name: "Acme", OwnerEmail: "maya@example.com"})
	check(err)
	made, err := h.Account.SignIn(ctx, account.SignIn{Email: "maya@example.com", Password: password, Kind: account.Bearer})
	check(err)
	grant, err := h.Verify.Verify(ctx, made.Value.Reveal(), lastuse.Origin{})
	check(err)
	in, _ := grant.Caller.In("acme")
	p, err := h.Work.CreateProject(ctx, in, work.NewProject{ProjectFields: work.ProjectFields{Key: optional.Of("WEB"), Name: optional.Of("Website")}})
	check(err)
	task, err := h.Work.CreateTask(ctx, in, p.ID, work.NewTask{TaskFields: work.TaskFields{Title: optional.Of("A task"), Description: optional.Of("With a description.")}})
	check(err)
	issued, err := h.Tokens.Create(ctx, grant.Caller, tokens.Draft{Name: "bench", Organization: "acme", Scopes: access.ScopeSet(access.ScopeTasksRead).Names(), Purpose: "agent"})
	check(err)
	public, err := url.Parse("http://127.0.0.1")
	check(err)
	doors, _, err := h.Doors(house.Front{PublicURL: public, Version: "bench", OAuth: true, AgentCalls: 1 << 30})
	check(err)
	return h, doors, issued.Value.Reveal(), task.ID
}
