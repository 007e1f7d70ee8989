package web

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What people paste into their clients is on record as they see it, with where its form is documented.
func TestSnippetsAreWhatTheClientsRead(t *testing.T) {
	t.Parallel()
	const endpoint, value = "https://carnet.example.com/mcp", "carnet_agt_7hQz81LmW0rT_Xh2K9vQbN4sLr8TzUcYw1PmDgJe6FaoR0iVqBx"
	for _, c := range mcpClients {
		var b strings.Builder
		b.WriteString(c.Name + "\nSource: " + c.Source + "\nChecked: " + c.Checked + "\n")
		if c.Link != "" {
			b.WriteString("\n== " + c.LinkText + "\n" + string(c.link(endpoint)) + "\n")
		}
		for _, way := range []struct {
			name  string
			texts []copyable
		}{{"Without a token", c.signIn(endpoint)}, {"With a token", c.bearer(endpoint, value)}} {
			for _, s := range way.texts {
				b.WriteString("\n== " + way.name + ": " + s.Label + "\n" + s.Text + "\n")
				if strings.HasPrefix(s.Text, "{") && !json.Valid([]byte(s.Text)) {
					t.Errorf("%s, %s: no JSON:\n%s", c.Name, s.Label, s.Text)
				}
				if strings.Contains(s.Text, "{name}") || strings.Contains(s.Text, "{url}") || strings.Contains(s.Text, "{value}") {
					t.Errorf("%s, %s: a place was not filled:\n%s", c.Name, s.Label, s.Text)
				}
			}
		}
		golden := filepath.Join("testdata", "snippets", c.ID+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s shows\n%s\nwant (go test ./internal/web -run Snippets -update)\n%s", c.Name, b.String(), want)
		}
	}
}

// Addresses end up in histories and logs: no link, and nothing of the way without a token, has a place for one.
func TestNoLinkHoldsAToken(t *testing.T) {
	t.Parallel()
	for _, c := range mcpClients {
		if strings.Contains(c.Link, "{value}") {
			t.Errorf("the link of %s holds a token", c.Name)
		}
		for _, s := range c.SignIn {
			if strings.Contains(s.Text, "{value}") || strings.Contains(s.Text, "Authorization") {
				t.Errorf("%s, without a token: %s", c.Name, s.Text)
			}
		}
		if len(c.SignIn)+len(c.Bearer) == 0 || c.Source == "" || c.Checked == "" {
			t.Errorf("%s is not complete", c.Name)
		}
	}
}

// A service that connects by itself cannot reach a server on somebody's own machine, and the page says so.
func TestServicesAreSaidNotToReachALoopbackAddress(t *testing.T) {
	t.Parallel()
	for address, reached := range map[string]bool{
		"http://localhost:8080": false, "http://127.0.0.1:8080": false, "http://[::1]:8080": false, "https://carnet.example.com": true, "https://localhost.example.com": true,
	} {
		for _, c := range mcpClients {
			if got, want := strings.Contains(c.note(address), "cannot reach"), c.Cloud && !reached; got != want {
				t.Errorf("%s at %s: %q", c.Name, address, c.note(address))
			}
		}
	}
}

func TestEveryDestructivePermissionHasWords(t *testing.T) {
	t.Parallel()
	p := agentSamples()["policy"].frame.Data.(policyPage)
	for _, choice := range p.Destructive {
		if choice.Title == "" || choice.Text == "" {
			t.Errorf("%s has no words", choice.Name)
		}
	}
}
