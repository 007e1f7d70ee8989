package mcp_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// H1: Claude Code connects with a token and by signing in, says when it has to sign in (again), and shows its person what is
// wrong with a token.
func TestH1ClaudeCode(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	_, value := d.token("projects:read", "tasks:read")
	d.run("", "claude", "mcp", "add", "--transport", "http", "pasted", d.url(), "--header", "Authorization: Bearer "+value)
	d.run("", "claude", "mcp", "add", "--transport", "http", "broken", d.url(), "--header", "Authorization: Bearer nope")
	d.run("", "claude", "mcp", "add", "--transport", "http", "signed-in", d.url())
	list := d.run("pasted: ", "claude", "mcp", "list")
	for _, want := range []string{"✔ Connected", "signed-in: " + d.url() + " (HTTP) - ! Needs authentication", "Check that it was copied whole"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q:\n%s", want, list)
		}
	}
	d.terminal("Authenticated with", "claude mcp login signed-in")
	list = d.run("signed-in: ", "claude", "mcp", "list")
	if strings.Contains(list, "Needs authentication") || strings.Count(list, "✔ Connected") != 2 {
		t.Errorf("after signing in:\n%s", list)
	}
	// The owner sees it, and ends it.
	agents := d.maya.Do("GET", "/tokens?purpose=agent&sort=-created_at", nil).Want(http.StatusOK)
	if name, client := agents.Text("items", 0, "name"), agents.Text("items", 0, "last_used_client"); !strings.Contains(name, "Claude Code") || !strings.Contains(client, "claude") {
		t.Errorf("its owner sees %q, last used with %q", name, client)
	}
	d.maya.Do("DELETE", "/tokens/"+agents.Text("items", 0, "id"), nil).Want(http.StatusOK)
	if list = d.run("signed-in: ", "claude", "mcp", "list"); !strings.Contains(list, "signed-in: "+d.url()+" (HTTP) - ! Needs authentication") {
		t.Errorf("after it was revoked:\n%s", list)
	}
}

// H2: Codex signs in by registering, and reads our snippet.
func TestH2Codex(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.terminal("Successfully logged in", "codex mcp add carnet --url "+d.url())
	d.run(`"o_auth"`, "codex", "mcp", "list", "--json")
	if clients := d.maya.Do("GET", "/tokens?purpose=agent", nil).Want(http.StatusOK); clients.Text("items", 0, "client", "name") != "Codex" {
		t.Errorf("its owner sees %s", clients.Body)
	}
	if id := d.clientID(); !strings.HasPrefix(id, "cli_") {
		t.Errorf("it signed in as %s, and not as registered", id)
	}
}

// H2: where clients may describe themselves, Codex does; its document cannot be fetched here, and a copy serves.
func TestH2CodexByItsDocument(t *testing.T) {
	t.Parallel()
	d := newDesk(t, documents)
	d.terminal("Successfully logged in", "codex mcp add carnet --url "+d.url())
	made := d.maya.Do("GET", "/tokens?purpose=agent", nil).Want(http.StatusOK)
	if made.Text("items", 0, "client", "name") != "Codex" {
		t.Errorf("its owner sees %s", made.Body)
	}
	if id := d.clientID(); !strings.HasPrefix(id, "https://") {
		t.Errorf("it signed in as %s, and not by its document", id)
	}
}

// H3: the Inspector calls tools, signs in, and finds our schemas fit for every client.
func TestH3Inspector(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	_, value := d.token("projects:read", "tasks:write", "comments:write")
	inspect := func(words string, more ...string) string {
		return d.run(words, append([]string{"mcp-inspector", "--cli", d.url(), "--transport", "http", "--format", "json"}, more...)...)
	}
	bearer := []string{"--header", "Authorization: Bearer " + value}
	inspect("Website", append(bearer, "--method", "tools/call", "--tool-name", "list_projects")...)
	inspect("WEB-1", append(bearer, "--method", "tools/call", "--tool-name", "create_tasks", "--tool-arg", "project=WEB", "--tool-arg", `tasks=[{"title":"from the inspector"}]`)...)
	d.maya.Do("PATCH", "/organizations/"+organization+"/agent-policy", map[string]any{"destructive": []string{"tasks:delete", "projects:delete"}}).Want(http.StatusOK)
	_, all := d.token("projects:write", "tasks:write", "comments:write", "members:read")
	if list := inspect("delete_project", "--header", "Authorization: Bearer "+all, "--method", "tools/list", "--strict"); strings.Count(list, `"outputSchema"`) != 17 {
		t.Errorf("not all tools were looked at: %s", list)
	}
	inspect("auth_required", "--stored-auth-only", "--method", "tools/list")
	inspect("whoami", "--method", "tools/list")
	inspect("Website", "--method", "tools/call", "--tool-name", "list_projects")
	if id := d.clientID(); id == "" {
		t.Error("it did not sign in")
	}
}

// H4: OpenCode and mcp-remote, the bridge of programs that know no HTTP, list tools with a token and after signing in.
func TestH4OpenCodeAndTheBridge(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id, value := d.token("projects:read", "tasks:read")
	write := func(servers map[string]any) {
		text, _ := json.Marshal(map[string]any{"$schema": "https://opencode.ai/config.json", "mcp": servers})
		if err := os.WriteFile(filepath.Join(d.home, "opencode.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]any{"carnet": map[string]any{"type": "remote", "url": d.url(), "oauth": false, "headers": map[string]string{"Authorization": "Bearer " + value}}})
	d.run("connected", "opencode", "mcp", "list") // which it says when it has listed the tools
	if calls, _ := d.maya.Do("GET", "/tokens/"+id+"/activity", nil).Want(http.StatusOK).At("calls_by_day", 0, "calls").(float64); calls < 3 {
		t.Errorf("OpenCode called %v times", calls)
	}
	d.run("Connected successfully", "mcp-remote-client", d.url(), "--header", "Authorization: Bearer "+value, "--allow-http")
	d.run("Connected successfully", "mcp-remote-client", d.url(), "--allow-http")
	if made := d.maya.Do("GET", "/tokens?purpose=agent", nil).Want(http.StatusOK); !strings.Contains(string(made.Body), "MCP CLI") {
		t.Errorf("mcp-remote did not sign in: %s", made.Body)
	}
}
