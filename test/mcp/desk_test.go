package mcp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet/test/harness"
)

const (
	owner        = "maya@example.com"
	organization = "northwind"
)

// desk is a person's machine beside a server: a home of its own, and clients that are installed.
type desk struct {
	t      *testing.T
	server *harness.Server
	maya   *harness.Client
	home   string
	env    []string
}

func newDesk(t *testing.T, options ...harness.Option) *desk {
	t.Helper()
	modules, path := harness.MCPClients(t)
	d := &desk{t: t, server: harness.Start(t, options...), home: t.TempDir()}
	d.server.CreateUser(owner, "Maya Lindqvist")
	d.server.CreateOrganization(organization, "Northwind", owner, "team")
	d.maya = d.server.SignIn(owner)
	d.maya.In(organization).CreateProject("WEB", "Website", "organization")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The clients open what BROWSER names, or xdg-open.
	bin := filepath.Join(d.home, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s/opened.log\nPERSON=%s exec %s \"$@\" >>%s/person.log 2>&1\n", d.home, owner, self, d.home)
	for _, name := range []string{"person", "xdg-open"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.env = []string{
		"HOME=" + d.home, "PATH=" + bin + ":" + path, "BROWSER=" + filepath.Join(bin, "person"),
		"DISABLE_AUTOUPDATER=1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "CODEX_HOME=" + filepath.Join(d.home, "codex"), "OPENCODE_DISABLE_AUTOUPDATE=1",
		"MCP_AUTO_OPEN_ENABLED=true", "NO_COLOR=1", "TERM=dumb", "NODE_PATH=" + modules,
	}
	if err := os.MkdirAll(filepath.Join(d.home, "codex"), 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) url() string { return d.server.URL + "/mcp" }

// token makes an agent's token.
func (d *desk) token(scopes ...string) (id, value string) {
	d.t.Helper()
	made := d.maya.Do("POST", "/tokens", map[string]any{"name": "helper", "organization": organization, "scopes": scopes, "purpose": "agent"}).Want(http.StatusCreated)
	return made.Text("token", "id"), made.Text("value")
}

// patience is how long a client may take for anything. The machine may be busy.
const patience = 2 * time.Minute

// run runs a client in the home and returns what it prints. One that fails fails the test, unless the words are in what
// it printed.
func (d *desk) run(words string, command ...string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Env, c.Dir, c.WaitDelay = d.env, d.home, time.Second
	if path := d.find(command[0]); path != "" {
		c.Path, c.Err = path, nil
	}
	out, err := c.CombinedOutput()
	if !strings.Contains(string(out), words) || err != nil && words == "" {
		person, _ := os.ReadFile(filepath.Join(d.home, "person.log"))
		d.t.Fatalf("%s: %v, without %q\n%s\n%s", strings.Join(command, " "), err, words, out, person)
	}
	return string(out)
}

// clientID is how the program that opened a browser last names itself: by an id that it was given, or an address of its own.
func (d *desk) clientID() string {
	d.t.Helper()
	opened, err := os.ReadFile(filepath.Join(d.home, "opened.log"))
	if err != nil {
		d.t.Fatal(err)
	}
	lines := strings.Fields(string(opened))
	u, err := url.Parse(lines[len(lines)-1])
	if err != nil {
		d.t.Fatal(err)
	}
	return u.Query().Get("client_id")
}

// find looks a program up on the desk's path.
func (d *desk) find(name string) string {
	for _, e := range d.env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() {
				return filepath.Join(dir, name)
			}
		}
	}
	return ""
}

// terminal runs a client that wants to talk to a person.
func (d *desk) terminal(words, command string) string {
	d.t.Helper()
	return d.run(words, "script", "-qec", command, "/dev/null")
}

// bearing is the server as a suite sees it that cannot send a token: a proxy adds it.
func (d *desk) bearing(value string) string {
	d.t.Helper()
	target, err := url.Parse(d.server.URL)
	if err != nil {
		d.t.Fatal(err)
	}
	address := harness.FreeAddress(d.t)
	proxy := &http.Server{Addr: address, ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.Out.Header.Set("Authorization", "Bearer "+value)
	}}}
	go func() { _ = proxy.ListenAndServe() }()
	d.t.Cleanup(func() { _ = proxy.Close() })
	return "http://" + address + "/mcp"
}
