package mcp_test

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"carnet/test/harness"
)

var preformatted = regexp.MustCompile(`(?s)<pre[^>]*>(.*?)</pre>`)

// shown are the texts that the page of a client shows to be pasted: first without a token, then, when it has been
// connected, with one.
func (d *desk) shown(client string) (without, with []string) {
	d.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	read := func(answer *http.Response, err error) (texts []string) {
		d.t.Helper()
		if err != nil {
			d.t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		page, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode >= http.StatusMultipleChoices {
			d.t.Fatalf("%s: %d %v", answer.Request.URL.Path, answer.StatusCode, err)
		}
		for _, match := range preformatted.FindAllStringSubmatch(string(page), -1) {
			texts = append(texts, html.UnescapeString(match[1]))
		}
		return texts
	}
	read(browser.PostForm(d.server.URL+"/sign-in", url.Values{"email": {owner}, "password": {harness.Password}}))
	without = read(browser.Get(d.server.URL + "/settings/agents/connect?client=" + client))
	with = read(browser.PostForm(d.server.URL+"/settings/agents/connect", url.Values{"client": {client}, "organization": {organization}, "scope.projects": {"read"}, "scope.tasks": {"read"}, "expiry": {"30"}}))
	return without, with
}

// one returns the text that holds some words.
func (d *desk) one(texts []string, words string) string {
	d.t.Helper()
	for _, text := range texts {
		if strings.Contains(text, words) {
			return text
		}
	}
	d.t.Fatalf("nothing shown has %q:\n%s", words, strings.Join(texts, "\n--\n"))
	return ""
}

// put writes a file into the home.
func (d *desk) put(text string, name ...string) {
	d.t.Helper()
	path := filepath.Join(append([]string{d.home}, name...)...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// H6: what the pages show to be pasted is read by the clients that run here, word for word. Claude Code's two ways in a
// shell are pasted in the browser's tests.
func TestH6ClientsReadWhatThePagesShow(t *testing.T) {
	t.Parallel()
	d := newDesk(t)

	// Claude Code: the file for a team, with the token in the environment.
	_, with := d.shown("claude-code")
	value := regexp.MustCompile(`carnet_agt_\w+`).FindString(d.one(with, "--header"))
	d.put(d.one(with, "mcpServers"), ".mcp.json")
	d.put(`{"enableAllProjectMcpServers": true}`, ".claude", "settings.json")
	export := d.one(with, "export ")
	if !strings.Contains(export, value) {
		t.Errorf("another value is exported: %s", export)
	}
	d.run("carnet: "+d.url()+" (HTTP) - ✔ Connected", "sh", "-c", export+"; claude mcp list")
	d.env = append(d.env, "CARNET_AGENT_TOKEN="+value)

	// Codex: its file and the variable; then the line for the shell.
	without, with := d.shown("codex")
	d.put(d.one(with, "[mcp_servers.carnet]"), "codex", "config.toml")
	d.run(`"bearer_token"`, "sh", "-c", d.one(with, "export ")+"; codex mcp list --json")
	d.put("", "codex", "config.toml")
	d.terminal("Successfully logged in", d.one(without, "codex mcp add"))

	// OpenCode: the same two.
	without, with = d.shown("opencode")
	d.put(d.one(with, `"remote"`), "opencode.json")
	d.run("connected", "sh", "-c", d.one(with, "export ")+"; opencode mcp list")
	d.put(d.one(without, `"remote"`), "opencode.json")
	d.terminal("successful", d.one(without, "opencode mcp auth"))
	d.run("connected", "opencode", "mcp", "list")

	// Gemini CLI: the same two. It does nothing in a folder that its user does not trust.
	d.env = append(d.env, "GEMINI_CLI_TRUST_WORKSPACE=true")
	without, with = d.shown("gemini-cli")
	d.put(d.one(with, "httpUrl"), ".gemini", "settings.json")
	d.run("carnet: "+d.url()+" (http) - Connected", "sh", "-c", d.one(with, "export ")+"; gemini mcp list")
	d.put("{}", ".gemini", "settings.json")
	d.run("added to user settings", "sh", "-c", d.one(without, "gemini mcp add"))
	d.run("carnet: "+d.url()+" (http)", "gemini", "mcp", "list")

	// Copilot CLI: its file, without a token and with one. It connects only for somebody with an account.
	without, with = d.shown("copilot-cli")
	for text, header := range map[string]bool{d.one(without, "mcpServers"): false, d.one(with, "mcpServers"): true} {
		d.put(text, ".copilot", "mcp-config.json")
		said := d.run("Status: Enabled", "copilot", "mcp", "get", "carnet")
		if !strings.Contains(said, "URL: "+d.url()) || strings.Contains(said, "Authorization: ") != header || !strings.Contains(said, "Tools: * (all)") {
			t.Errorf("Copilot CLI reads\n%s\nas\n%s", text, said)
		}
	}

	// The bridge, as programs start it that only start local servers.
	_, with = d.shown("mcp-remote")
	var file struct {
		Servers map[string]struct {
			Command string
			Args    []string
			Env     map[string]string
		} `json:"mcpServers"`
	}
	if err := json.Unmarshal([]byte(d.one(with, "mcpServers")), &file); err != nil {
		t.Fatal(err)
	}
	server := file.Servers["carnet"]
	if server.Command != "npx" || len(server.Args) < 3 || server.Args[0] != "-y" {
		t.Fatalf("it is started by %+v", server)
	}
	// The package that npx would fetch is installed already.
	command := exec.CommandContext(t.Context(), d.find(server.Args[1]), append(server.Args[2:], "--allow-http")...)
	command.Env, command.Dir = d.env, d.home
	for name, text := range server.Env {
		command.Env = append(command.Env, name+"="+text)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "an editor", Version: "1"}, nil).Connect(t.Context(), &mcp.CommandTransport{Command: command}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	if tools, err := session.ListTools(t.Context(), nil); err != nil || len(tools.Tools) < 5 {
		t.Errorf("through the bridge: %v, %v", tools, err)
	}
}
