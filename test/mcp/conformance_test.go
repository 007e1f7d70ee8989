package mcp_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

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
