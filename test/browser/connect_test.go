package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"carnet/test/harness"
)

// terminal is a person's shell, in which the MCP clients are installed and whose browser is the tab.
type terminal struct {
	t    *testing.T
	home string
	env  []string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	_, path := harness.MCPClients(t)
	home := t.TempDir()
	opener := filepath.Join(home, "browser")
	if err := os.WriteFile(opener, []byte("#!/bin/sh\nprintf '%s\\n' \"$1\" >\"$HOME/opened.part\"\nmv \"$HOME/opened.part\" \"$HOME/opened\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &terminal{t: t, home: home, env: []string{
		"HOME=" + home, "PATH=" + path, "BROWSER=" + opener, "DISABLE_AUTOUPDATER=1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "NO_COLOR=1", "TERM=dumb",
	}}
}

// paste types text into the shell. The channel gets what it printed when all of it has run.
func (s *terminal) paste(text string) <-chan string {
	printed := make(chan string, 1)
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	command := exec.CommandContext(ctx, "script", "-qec", "sh -e -c '"+strings.ReplaceAll(text, "'", `'\''`)+"'", "/dev/null")
	command.Env, command.Dir, command.WaitDelay = s.env, s.home, time.Second
	go func() {
		defer cancel()
		out, err := command.CombinedOutput()
		if err != nil {
			s.t.Errorf("%s: %v\n%s", text, err, out)
		}
		printed <- string(out)
	}()
	return printed
}

// opened waits until a program has opened an address in the browser.
func (s *terminal) opened() string {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if text, err := os.ReadFile(filepath.Join(s.home, "opened")); err == nil {
			return strings.TrimSpace(string(text))
		}
	}
	s.t.Fatal("no program opened the browser")
	return ""
}

// run runs a command as a script does, and returns what it printed.
func (s *terminal) run(command string, arguments ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "env", append([]string{command}, arguments...)...)
	c.Env, c.Dir, c.WaitDelay = s.env, s.home, time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// copied presses the button that copies the first text with some words, and returns what the clipboard has then.
func (b *tab) copied(words string) string {
	b.t.Helper()
	want := b.eval(fmt.Sprintf(`(() => { const e = [...document.querySelectorAll("main .code")].find((e) => e.querySelector("pre").innerText.includes(%q)); e.id = "to-copy"; return e.querySelector("pre").innerText; })()`, words))
	b.do(chromedp.Click(chromedp.CSS("#to-copy button.copy")))
	for deadline := time.Now().Add(10 * time.Second); b.clipboard() != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the clipboard has %q", b.clipboard())
		}
	}
	return want
}

// Done when 6: a person who does what the page says, word for word, has Claude Code connected in four steps: they choose
// it, copy, paste into their shell, and let it in where their browser comes up.
func TestTheAgentsPageConnectsClaudeCode(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log"))
	s.CreateUser("maya@example.com", "Maya Lindqvist")
	s.CreateOrganization("northwind", "Northwind", "maya@example.com", "team")
	maya := s.SignIn("maya@example.com")
	b, shell := open(t, s.URL), newTerminal(t)
	b.mayUseClipboard()
	b.signIn("maya@example.com")
	b.visit("/settings/agents")

	b.eval(`(window.before = true, [...document.querySelectorAll(".tile")].find((e) => e.innerText.includes("Claude Code")).click())`)
	b.next()                           // one
	text := b.copied("claude mcp add") // two
	printed := shell.paste(text)       // three
	b.do(chromedp.Navigate(shell.opened()))
	b.says("Let Claude Code")
	b.do(chromedp.Click(`//main//button[normalize-space()="Let it in"]`)) // four
	if said := <-printed; !strings.Contains(said, "Authenticated with") {
		t.Fatalf("the shell says:\n%s", said)
	}
	if said := shell.run("claude", "mcp", "list"); !strings.Contains(said, "carnet: "+s.URL+"/mcp (HTTP) - ✔ Connected") {
		t.Errorf("the shell says:\n%s", said)
	}
	agents := maya.Do("GET", "/tokens?purpose=agent", nil).Want(http.StatusOK)
	if client := agents.Text("items", 0, "client", "name"); !strings.Contains(client, "Claude Code") {
		t.Errorf("its owner sees %s", agents.Body)
	}
	b.visit("/settings/agents")
	b.says("Claude Code")
	b.says("Claude Code (") // how it calls itself, with its version
}

// Where no browser opens: five steps, with a token that the page shows in the command.
func TestTheAgentsPageConnectsClaudeCodeWithAToken(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log"))
	s.CreateUser("maya@example.com", "Maya Lindqvist")
	s.CreateOrganization("northwind", "Northwind", "maya@example.com", "team")
	b, shell := open(t, s.URL), newTerminal(t)
	b.mayUseClipboard()
	b.signIn("maya@example.com")
	b.visit("/settings/agents")

	b.eval(`(window.before = true, [...document.querySelectorAll(".tile")].find((e) => e.innerText.includes("Claude Code")).click())`)
	b.next()                                                              // one
	b.do(chromedp.Click(`//main//a[normalize-space()="Works on tasks"]`)) // two
	b.summarizes("read and change tasks")
	b.press("Connect") // three
	b.says("Waiting for the first call")
	text := b.copied("claude mcp add") // four
	if !strings.Contains(text, "--header") || !value.MatchString(text) {
		t.Fatalf("copied:\n%s", text)
	}
	<-shell.paste(text) // five
	if said := shell.run("claude", "mcp", "list"); !strings.Contains(said, "✔ Connected") {
		t.Errorf("the shell says:\n%s", said)
	}
	b.says("Connected.")
}
