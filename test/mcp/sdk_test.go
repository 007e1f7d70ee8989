package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"carnet/internal/storetest"
	"carnet/test/harness"
)

// sdkClient is a client made with the official Go SDK, which signs its person in by itself.
type sdkClient struct {
	session *mcp.ClientSession
	asked   atomic.Int32 // how often the person was sent to the server's pages

	mu    sync.Mutex
	value string // what it presented last
}

// RoundTrip sends a request and remembers the credential.
func (c *sdkClient) RoundTrip(r *http.Request) (*http.Response, error) {
	if value, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found {
		c.mu.Lock()
		c.value = value
		c.mu.Unlock()
	}
	return http.DefaultTransport.RoundTrip(r)
}

// connectSDK connects such a client.
func connectSDK(t *testing.T, endpoint string) *sdkClient {
	t.Helper()
	c := &sdkClient{}
	came := make(chan url.Values, 1)
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { came <- r.URL.Query() }))
	t.Cleanup(listener.Close)
	back := listener.URL + "/callback"
	handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{ClientName: "Go SDK", RedirectURIs: []string{back}}},
		AuthorizationCodeFetcher: func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			c.asked.Add(1)
			if err := approve(args.URL, owner); err != nil {
				return nil, err
			}
			q := <-came
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "go-sdk-client", Version: "1"}, nil)
	c.session, err = client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: &http.Client{Transport: c}, OAuthHandler: handler}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.session.Close() })
	return c
}

// call calls a tool and returns what it says.
func (c *sdkClient) call(ctx context.Context, tool string, arguments map[string]any) (string, error) {
	result, err := c.session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return "", err
	}
	text, ok := result.Content[0].(*mcp.TextContent)
	if !ok || result.IsError {
		return "", fmt.Errorf("%s: %v", tool, result.Content)
	}
	return text.Text, nil
}

func (c *sdkClient) presented() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value
}

// H5: the official Go SDK signs its person in to read, and asks once more, by itself and for both, when a tool needs more.
func TestH5TheGoSDKAsksForMoreWhenAToolNeedsIt(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := connectSDK(t, d.url())
	if said, err := c.call(t.Context(), "list_projects", nil); err != nil || !strings.Contains(said, "WEB") {
		t.Fatalf("list_projects: %v %s", err, said)
	}
	reading := c.presented()
	if n := c.asked.Load(); n != 1 {
		t.Fatalf("asked %d times to read", n)
	}
	made, err := c.call(t.Context(), "create_tasks", map[string]any{"project": "WEB", "tasks": []map[string]any{{"title": "by the Go SDK"}}})
	if err != nil || !strings.Contains(made, "WEB-1") {
		t.Fatalf("create_tasks: %v %s", err, made)
	}
	if n := c.asked.Load(); n != 2 || c.presented() == reading {
		t.Errorf("asked %d times to write", n)
	}
	if said, err := c.call(t.Context(), "get_task", map[string]any{"task": "WEB-1"}); err != nil || !strings.Contains(said, "by the Go SDK") {
		t.Errorf("get_task: %v %s", err, said)
	}
	// What it could do before, it still can.
	if said, err := c.call(t.Context(), "list_projects", nil); err != nil || !strings.Contains(said, "WEB") || c.asked.Load() != 2 {
		t.Errorf("list_projects afterwards: %v %s", err, said)
	}
	if scopes := strings.Join(scopesOf(d, c.presented()), " "); !strings.Contains(scopes, "projects:read") || !strings.Contains(scopes, "tasks:write") {
		t.Errorf("it holds %s", scopes)
	}
}

// scopesOf are those that a token holds.
func scopesOf(d *desk, value string) []string {
	var me struct{ Token struct{ Scopes []string } }
	r := d.server.Anonymous().With(value).Do("GET", "/me", nil).Want(http.StatusOK)
	if err := json.Unmarshal(r.Body, &me); err != nil {
		d.t.Fatal(err)
	}
	return me.Token.Scopes
}

// P6, Done when 3: an admin revokes an agent on one node while its client calls a hundred times a second on another. What
// is called afterwards is not let in and told where to sign in, the client asks its person to, and goes on when they do.
func TestP6ARevocationOnAnotherNodeEndsAnAgentInTheMiddleOfItsCalls(t *testing.T) {
	t.Parallel()
	database := storetest.Database(t)
	d := newDesk(t, harness.On(database))
	other := harness.Start(t, harness.On(database))
	d.server.CreateUser("ada@example.com", "Ada Admin")
	d.server.AddMember(organization, "ada@example.com", "admin")
	ada := other.SignIn("ada@example.com")
	c := connectSDK(t, d.url())
	if _, err := c.call(t.Context(), "whoami", nil); err != nil {
		t.Fatal(err)
	}
	value := c.presented()

	bothEras(t, value, d.server, other)

	type answer struct {
		began     time.Time
		status    int
		challenge string
		err       error
	}
	answers := make(chan answer, 10_000)
	ctx, stop := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	calls.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			calls.Go(func() {
				a := answer{began: time.Now()}
				a.status, a.challenge, a.err = plainCall(t.Context(), d.url(), value)
				answers <- a
			})
		}
	})
	time.Sleep(time.Second) // a hundred calls
	id := ada.Do("GET", "/organizations/"+organization+"/agents", nil).Want(http.StatusOK).Text("items", 0, "id")
	sent := time.Now()
	ada.Do("DELETE", "/organizations/"+organization+"/agents/"+id, map[string]any{"reason": "It closes tasks that nobody has looked at."}).Want(http.StatusOK)
	answered := time.Now()
	time.Sleep(time.Second)
	stop()
	calls.Wait()
	close(answers)
	var before, after int
	for a := range answers {
		switch {
		case a.err != nil:
			t.Errorf("a call failed: %v", a.err)
		case a.began.Before(sent) && a.status == http.StatusOK:
			before++
		case a.began.After(answered):
			after++
			if a.status != http.StatusUnauthorized || !strings.Contains(a.challenge, `error="invalid_token"`) || !strings.Contains(a.challenge, `resource_metadata="`+d.server.URL+`/.well-known/oauth-protected-resource/mcp"`) {
				t.Fatalf("a call that began %v after the revocation was answered: %d, %s", a.began.Sub(answered), a.status, a.challenge)
			}
		}
	}
	if before < 30 || after < 30 { // about 100 each; the machine may be busy
		t.Errorf("only %d calls before, %d after", before, after)
	}

	// G1: its owner, too, from their settings, by way of the other node.
	mine, live := d.token("tasks:read", "projects:read")
	if status, _, err := plainCall(t.Context(), d.url(), live); err != nil || status != http.StatusOK {
		t.Errorf("before its owner revokes it: %d %v", status, err)
	}
	other.SignIn(owner).Do("DELETE", "/tokens/"+mine, nil).Want(http.StatusOK)
	if status, _, err := plainCall(t.Context(), d.url(), live); err != nil || status != http.StatusUnauthorized {
		t.Errorf("after its owner revoked it: %d %v", status, err)
	}

	// The client, too: it asks its person.
	if n := c.asked.Load(); n != 1 {
		t.Fatalf("asked %d times before it called again", n)
	}
	said, err := c.call(t.Context(), "whoami", nil)
	if err != nil || !strings.Contains(said, "Maya") {
		t.Fatalf("after signing in again: %v %s", err, said)
	}
	if n := c.asked.Load(); n != 2 || c.presented() == value {
		t.Errorf("asked %d times, and presents the same value: %v", n, c.presented() == value)
	}
}

// bothEras is C3: clients that begin with initialize, of each revision that does, and clients that do not, side by side, each
// request of each on the other of two nodes, which share nothing but their database.
func bothEras(t *testing.T, value string, nodes ...*harness.Server) {
	t.Helper()
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"new","version":"1"}}`
	type step struct{ body, want string }
	eras := map[string][]step{"2026-07-28": {
		{`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{` + meta + `}}`, `"supportedVersions"`},
		{`{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{` + meta + `}}`, `"list_projects"`},
		{`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"whoami","arguments":{},` + meta + `}}`, "Maya"},
	}}
	for _, revision := range []string{"2025-03-26", "2025-06-18", "2025-11-25"} {
		eras[revision] = []step{
			{`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"` + revision + `","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`, `"protocolVersion":"` + revision + `"`},
			{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, ""},
			{`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, `"list_projects"`},
			{`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`, "Maya"},
		}
	}
	method := regexp.MustCompile(`"method":"([a-z/]+)"`)
	var clients sync.WaitGroup
	for revision, steps := range eras {
		for first := range nodes {
			clients.Go(func() {
				for round := range 5 {
					for i, s := range steps {
						headers := []string{"Accept", "application/json, text/event-stream"}
						if !strings.Contains(s.body, `"initialize"`) {
							headers = append(headers, "Mcp-Protocol-Version", revision)
						}
						if revision == "2026-07-28" {
							headers = append(headers, "Mcp-Method", method.FindStringSubmatch(s.body)[1])
						}
						if revision == "2026-07-28" && strings.Contains(s.body, "tools/call") {
							headers = append(headers, "Mcp-Name", "whoami")
						}
						node := nodes[(first+round+i)%len(nodes)]
						r, err := node.Anonymous().With(value).Try("POST", "/mcp", s.body, headers...)
						if err != nil {
							t.Error(err)
							return
						}
						if r.Status >= 300 || !strings.Contains(string(r.Body), s.want) {
							t.Errorf("%s, %s: %d %s", revision, s.body, r.Status, r.Body)
						}
					}
				}
			})
		}
	}
	clients.Wait()
}

// plainCall calls a tool without a client.
func plainCall(ctx context.Context, endpoint, value string) (status int, challenge string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_projects","arguments":{}}}`))
	if err != nil {
		return 0, "", err
	}
	r.Header = http.Header{"Authorization": {"Bearer " + value}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, answer.Header.Get("WWW-Authenticate"), err
}

// H5: so do the official TypeScript SDKs of both generations, on which most clients are built.
func TestH5TheTypeScriptSDKsAskForMoreWhenAToolNeedsIt(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/stepup.mjs")
	if err != nil {
		t.Fatal(err)
	}
	for _, generation := range []string{"1", "2"} {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			modules, _ := harness.MCPClients(t)
			// Imports are looked up beside the script.
			if err := errors.Join(os.Symlink(modules, filepath.Join(d.home, "node_modules")), os.WriteFile(filepath.Join(d.home, "stepup.mjs"), text, 0o600)); err != nil {
				t.Fatal(err)
			}
			out := d.run(`"asked"`, "node", "stepup.mjs", generation, d.url())
			var told struct {
				Asked []string
				Scope string
				Wrote struct{ Tasks []struct{ Ref string } }
			}
			if err := json.Unmarshal([]byte(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]), &told); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if len(told.Asked) != 2 || strings.Contains(told.Asked[0], "write") || !strings.Contains(told.Asked[1], "tasks:write") || !strings.Contains(told.Asked[1], "projects:read") {
				t.Errorf("its person was asked for %q", told.Asked)
			}
			if len(told.Wrote.Tasks) != 1 || told.Wrote.Tasks[0].Ref != "WEB-1" || !strings.Contains(told.Scope, "tasks:write") || !strings.Contains(told.Scope, "projects:read") {
				t.Errorf("afterwards: %s", out)
			}
		})
	}
}
