package browser_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	navigation "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"carnet/test/harness"
)

// proof is what an installed program keeps until it fetches its token (RFC 7636 section 4.1).
const proof = "a-verifier-that-is-long-enough-to-be-one-0123456789"

// program is a program on the person's machine, or on the web, that asks to be let in.
type program struct {
	t      *testing.T
	server string
	id     string
	back   string // where the browser is sent back to

	mu   sync.Mutex
	came []string // the addresses with which the browser came back
}

// register registers a program the way programs do by themselves (RFC 7591).
func register(t *testing.T, server, name, registered, used string) *program {
	t.Helper()
	body, err := json.Marshal(map[string]any{"client_name": name, "redirect_uris": []string{registered}, "grant_types": []string{"authorization_code"}, "token_endpoint_auth_method": "none"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(server+"/oauth/register", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var client struct {
		ID string `json:"client_id"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&client); err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatalf("%s registers: %d, %v", name, answer.StatusCode, err)
	}
	return &program{t: t, server: server, id: client.ID, back: used}
}

// authorize is the path that the program opens in the browser.
func (p *program) authorize(state, scope string) string {
	sum := sha256.Sum256([]byte(proof))
	return "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {p.id}, "redirect_uri": {p.back}, "state": {state}, "scope": {scope},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "resource": {p.server + "/mcp"},
	}.Encode()
}

// arrives notes that the browser came back.
func (p *program) arrives(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came = append(p.came, address)
}

// returned waits until the browser came back, and returns what it brought.
func (p *program) returned(b *tab) url.Values {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		came := p.came
		p.mu.Unlock()
		if len(came) == 0 {
			continue
		}
		u, err := url.Parse(came[0])
		if err != nil || !strings.HasPrefix(came[0], p.back+"?") || strings.Contains(came[0], "#") {
			p.t.Fatalf("the browser came back to %s", came[0])
		}
		return u.Query()
	}
	p.t.Fatalf("the browser did not come back to %s\n%s", p.back, b.text())
	return nil
}

// fetches gives the code in for a token, and calls a tool with it.
func (p *program) fetches(code string) {
	p.t.Helper()
	answer, err := http.PostForm(p.server+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {p.id}, "code": {code}, "redirect_uri": {p.back}, "code_verifier": {proof}, "resource": {p.server + "/mcp"},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var got struct {
		Token string `json:"access_token"`
		Scope string `json:"scope"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || answer.StatusCode != http.StatusOK || got.Scope != "tasks:read" {
		p.t.Fatalf("the code: %d, scope %q, %v", answer.StatusCode, got.Scope, err)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.server+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + got.Token}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	called, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = called.Body.Close() }()
	if called.StatusCode != http.StatusOK {
		p.t.Errorf("whoami: %d", called.StatusCode)
	}
}

// Done when 4 (E11): the whole way of a program from its registration to its first call, for all the kinds of addresses to
// which browsers are sent back, signed in or not, with scripts and without. Nothing in between is pressed but what the
// page asks for: a policy that keeps forms from leading elsewhere must not keep the person from getting back.
func TestE11PeopleGetBackToTheirPrograms(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log", "--sign-in-limit", "1000"))
	s.CreateUser("maya@example.com", "Maya Lindqvist")
	s.CreateOrganization("northwind", "Northwind", "maya@example.com", "team")
	for _, kind := range []string{"127.0.0.1", "localhost", "https", "cursor"} {
		for _, way := range []struct {
			name              string
			signedIn, scripts bool
		}{{"signed in", true, true}, {"signed out", false, true}, {"signed in, without scripts", true, false}, {"signed out, without scripts", false, false}} {
			t.Run(kind+", "+way.name, func(t *testing.T) {
				t.Parallel()
				b := open(t, s.URL)
				if !way.scripts {
					b.withoutScripts()
				}
				signIn := func() {
					b.fill("email", "maya@example.com")
					b.fill("password", harness.Password)
					b.press("Sign in")
				}
				if way.signedIn {
					b.visit("/sign-in")
					signIn()
				}
				p := listening(t, s.URL, kind, b)
				b.visit(p.authorize("a state", "tasks:write"))
				if !way.signedIn {
					b.says("asks to work for you, and leads back to")
					signIn()
				}
				b.says("Let Program act for you?")
				b.choose("scope.tasks", "read")
				b.do(chromedp.Click(`//main//button[normalize-space()="Let it in"]`))
				brought := p.returned(b)
				if brought.Get("state") != "a state" || brought.Get("iss") != s.URL || brought.Get("code") == "" || len(brought) != 3 {
					t.Fatalf("E13: the browser brought %v", brought)
				}
				if kind == "cursor" { // the browser stays where it is, for the other program to come up
					b.says("is let in")
				}
				p.fetches(brought.Get("code"))
			})
		}
	}
}

// listening is a program that awaits the browser at an address of some kind.
func listening(t *testing.T, server, kind string, b *tab) *program {
	t.Helper()
	switch kind {
	case "127.0.0.1", "localhost":
		// Registered without a port, as RFC 8252 section 7.3 has it: which one is free, the program knows when it listens.
		var p *program
		listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/callback" {
				if r.Referer() != "" {
					t.Errorf("RFC 9700 section 4.2: the program learns where the person was: %s", r.Referer())
				}
				p.arrives("http://" + r.Host + r.URL.String())
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte("<!doctype html><title>Done</title><main>You can close this window.</main>"))
		}))
		t.Cleanup(listener.Close)
		_, port, err := net.SplitHostPort(listener.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		p = register(t, server, "Program", "http://"+kind+"/callback", "http://"+kind+":"+port+"/callback")
		return p
	case "https":
		p := register(t, server, "Program", "https://program.example/callback", "https://program.example/callback")
		if err := chromedp.Listen(b.ctx, func(event any) {
			e, ok := event.(*fetch.EventRequestPaused)
			if !ok {
				return
			}
			if referrer, sent := e.Request.Headers["Referer"]; sent {
				t.Errorf("RFC 9700 section 4.2: the program learns where the person was: %v", referrer)
			}
			p.arrives(e.Request.URL)
			go func() { // the tab is told while it waits
				_, _ = chromedp.Call(b.ctx, fetch.FulfillRequest, fetch.FulfillRequestParams{RequestID: e.RequestID, ResponseCode: 200, Body: []byte("You can close this window.")})
			}()
		}); err != nil {
			t.Fatal(err)
		}
		command(b, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "https://program.example/*"}}})
		return p
	default:
		p := register(t, server, "Program", "cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp/oauth/callback")
		if err := chromedp.Listen(b.ctx, func(event any) {
			if e, ok := event.(*navigation.EventFrameRequestedNavigation); ok && strings.HasPrefix(e.URL, kind+":") {
				p.arrives(e.URL)
			}
		}); err != nil {
			t.Fatal(err)
		}
		command(b, navigation.Enable, navigation.EnableParams{})
		return p
	}
}

// E8 to E10: the page on which a person decides, light and dark, on a desk and on a telephone, and by the keyboard alone.
func TestConsentPageIsSound(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log"))
	s.CreateUser("maya@example.com", "Maya Lindqvist")
	s.CreateOrganization("northwind", "Northwind", "maya@example.com", "team")
	s.CreateOrganization("lighthouse", "Lighthouse", "maya@example.com", "team")
	s.SignIn("maya@example.com").In("northwind").CreateProject("WEB", "Website", "organization")
	axe := readAxe(t)
	p := register(t, s.URL, "Claude Code", "http://127.0.0.1/callback", "http://127.0.0.1:3118/callback")
	for _, look := range []struct {
		theme string
		width int64
	}{{"light", 1280}, {"dark", 390}} {
		b := open(t, s.URL)
		b.do(chromedp.EmulateViewport(look.width, 900))
		command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.theme}}})
		b.visit(p.authorize("a state", "projects:read tasks:write comments:write"))
		b.fill("email", "maya@example.com")
		b.fill("password", harness.Password)
		b.press("Sign in")
		name := fmt.Sprintf("consent-%s-%d", look.theme, look.width)
		b.sound(page{path: get(b, chromedp.Evaluate[string]("location.pathname"))}, axe, name)
		b.quiet()
	}
	b := open(t, s.URL)
	u, err := url.Parse(p.authorize("a state", "tasks:read"))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("redirect_uri", "https://evil.example/callback")
	b.sound(page{path: "/oauth/authorize?" + q.Encode()}, axe, "consent-refused")
	b.says("The program that sent you here")
	b.quiet()
}
