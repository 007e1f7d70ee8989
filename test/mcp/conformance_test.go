package mcp_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/test/harness"
)

var documents = harness.Args("--client-documents")

var tally = regexp.MustCompile(`Passed: (\d+)/(\d+), (\d+) failed`)

// C1, C2: the official suite, both eras. What it finds missing is what this server does not offer: tools that only tests
// have, prompts and resources.
func TestC1C2TheOfficialSuite(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	_, value := d.token("projects:write", "tasks:write", "comments:write")
	address := d.bearing(value)
	for _, c := range []struct {
		scenario, version string
		lacks             []string // names of checks that cannot pass
	}{
		{"server-initialize", "2025-11-25", nil}, {"ping", "2025-11-25", nil}, {"tools-list", "2025-11-25", nil}, {"dns-rebinding-protection", "2025-11-25", nil},
		{"tools-list", "2026-07-28", nil}, {"http-header-validation", "2026-07-28", nil}, {"dns-rebinding-protection", "2026-07-28", nil},
		{"server-stateless", "2026-07-28", []string{
			"sep-2575-http-server-no-independent-requests-on-stream", "sep-2575-server-no-log-without-loglevel",
			"sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400",
		}},
		{"caching", "2026-07-28", []string{"prompts/list", "resources/list", "resources/templates/list"}},
	} {
		out := d.run("Test Results:", "conformance", "server", "--url", address, "--scenario", c.scenario, "--spec-version", c.version)
		result := tally.FindStringSubmatch(out)
		if result == nil {
			t.Errorf("%s at %s says nothing:\n%s", c.scenario, c.version, out)
			continue
		}
		left := slices.Clone(c.lacks)
		for line := range strings.Lines(out) {
			if !strings.Contains(line, "FAILURE") {
				continue
			}
			at := slices.IndexFunc(left, func(lack string) bool { return strings.Contains(line, lack) })
			if at < 0 {
				t.Errorf("%s at %s: %s", c.scenario, c.version, line)
				continue
			}
			left = slices.Delete(left, at, at+1)
		}
		if len(left) > 0 {
			t.Errorf("%s at %s passes %v now: take them off the list", c.scenario, c.version, left)
		}
		t.Logf("%s at %s: %s", c.scenario, c.version, result[0])
	}
}

var authorizeURL = regexp.MustCompile(`http://\S+/oauth/authorize\?\S+`)

// F7: the official suite, as a client that signs its person in.
func TestF7TheOfficialSuiteSignsIn(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	client := d.server.Anonymous().Do("POST", "/oauth/register", map[string]any{"client_name": "Conformance", "redirect_uris": []string{"http://127.0.0.1/callback"}}).Want(http.StatusCreated).Text("client_id")
	_, port, err := net.SplitHostPort(harness.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, d.find("conformance"), "authorization", "--url", d.server.URL, "--client-id", client, "--port", port, "--resource", d.url())
	command.Env, command.Dir, command.WaitDelay = d.env, d.home, time.Second
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := command.Wait()
		_ = writer.Close()
		ended <- err
	}()
	var said strings.Builder
	lines, opened := bufio.NewScanner(reader), false
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if address := authorizeURL.FindString(lines.Text()); address != "" && !opened {
			opened = true
			if err := approve(address, owner); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := <-ended; err != nil || !opened {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if !strings.Contains(said.String(), "Total: 2 passed, 0 failed") {
		t.Errorf("the suite says:\n%s", said.String())
	}
}
