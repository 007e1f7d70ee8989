package clients

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// D4: what may be registered.
func TestD4RedirectURIsThatMayBeRegistered(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"https://chatgpt.com/connector/oauth/abc", "https://claude.ai/api/mcp/auth_callback", "https://h.example:8443/cb?x=1", "https://xn--bcher-kva.example/cb", "https://H.example", "https://h.example?x=1", "https://[2001:db8::1]:8443/cb", "http://127.0.0.1/callback",
		"http://127.0.0.1:33418", "http://127.0.0.1:33418/", "http://localhost:8787/callback", "http://[::1]:9/cb", "http://localhost", "cursor://anysphere.cursor-mcp/oauth/callback",
	} {
		if !registrable(uri) {
			t.Errorf("%s is refused", uri)
		}
	}
	for _, uri := range []string{
		"", "x", "/cb", "//h.example/cb", "http://h.example/cb", "http://127.0.0.1.evil.example/cb", "http://localhost.evil.example/", "http://127.0.0.2/", "http://10.0.0.1/cb", "http://0.0.0.0/cb",
		"https://", "https:///cb", "https://h.example/cb#frag", "https://h.example/cb#", "https://user@h.example/cb", "https://user:pw@h.example/cb", "https://*.example/cb", "https://h.example/*",
		"javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "blob:https://h.example/x", "vbscript:x", "about:blank", "urn:ietf:wg:oauth:2.0:oob",
		"cursor://anysphere.cursor-mcp/oauth/callback/", "cursor://evil/oauth/callback", "CURSOR://anysphere.cursor-mcp/oauth/callback", "myapp://cb", "https:h.example/cb",
		"https://h.example/a b", "https://h.example/\x00", "https://h.example/ü", "https://h.example\\@evil.example/", "HTTP://localhost/cb", "http://LOCALHOST/cb", "http://localhost:/cb", "http://localhost:123456/cb",
		"https://%D0%B0pple.com/cb", "https://claude.ai%E2%81%84x.evil.example/cb", "https://%E2%80%AEmoc.elgoog.evil.example/", "https://a.example;b/", "https://a.example,evil/",
		"https://h.example:/", "https://h.example:0/", "https://h.example:999999/", "https://-h.example/", "https://h..example/", "https://h_x.example/", "https://h.example&x.evil.example/",
		"http://localhost:80@evil.example/", "http://127.0.0.1:80:90/", "https://" + strings.Repeat("a", redirectLimit) + ".example/",
	} {
		if registrable(uri) {
			t.Errorf("%s may be registered", uri)
		}
	}
}

// E2: a redirect URI is the registered one to the letter, but for the port on loopback.
func TestE2RedirectURIsMatchToTheLetterButForLoopbackPorts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		registered, presented string
		want                  bool
	}{
		{"http://localhost/callback", "http://localhost:3118/callback", true}, {"http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", true},
		{"http://[::1]/cb", "http://[::1]:9/cb", true}, {"http://localhost:1/cb", "http://localhost/cb", true}, {"http://127.0.0.1:33418", "http://127.0.0.1:1", true},
		{"http://localhost/cb", "http://127.0.0.1/cb", false}, {"http://localhost/cb", "https://localhost/cb", false}, {"http://localhost/cb", "http://localhost/cb/", false},
		{"http://localhost/cb", "http://localhost/CB", false}, {"http://localhost/cb", "http://localhost:9.evil.example/cb", false}, {"http://localhost/cb", "http://localhost:9@evil.example/cb", false},
		{"http://localhost/cb", "http://localhost/cb?x=1", false}, {"http://localhost/cb?x=1", "http://localhost:5/cb?x=1", true}, {"http://localhost/cb", "http://localhost:99999999/cb", false},
		{"https://h.example/cb", "https://h.example:443/cb", false}, {"https://h.example/cb", "https://h.example/cb", true}, {"https://h.example/cb", "https://H.example/cb", false},
		{"cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp:1/oauth/callback", false},
	} {
		if got := matches(c.registered, c.presented); got != c.want {
			t.Errorf("%s for %s: %t", c.presented, c.registered, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		registered := rapid.SampledFrom([]string{"http://localhost:3118/callback", "http://127.0.0.1/cb?a=b", "https://h.example/cb", "cursor://anysphere.cursor-mcp/oauth/callback"}).Draw(t, "registered")
		at := rapid.IntRange(0, len(registered)-1).Draw(t, "at")
		other := rapid.Byte().Draw(t, "byte")
		presented := registered[:at] + string([]byte{other}) + registered[at+1:]
		if presented == registered || !matches(registered, presented) {
			return
		}
		// Only another digit of the port may pass, or what the parser takes for no port at all.
		a, _ := loopback(registered)
		b, _ := loopback(presented)
		if !strings.HasPrefix(registered, "http://") || a != b {
			t.Fatalf("%q passes for %q", presented, registered)
		}
		var port string
		if _, err := fmt.Sscanf(strings.TrimPrefix(registered, "http://localhost:"), "%4s", &port); err != nil || at < len("http://localhost:") || at >= len("http://localhost:3118") {
			t.Fatalf("%q passes for %q: not the port", presented, registered)
		}
	})
}

func TestResponsesKeepTheQueryOfARedirectURI(t *testing.T) {
	t.Parallel()
	s := &Service{Config: Config{PublicURL: "https://carnet.example"}}
	got := s.response("https://h.example/cb?x=1", "a b&c", map[string][]string{"code": {"abc"}})
	if got != "https://h.example/cb?x=1&code=abc&iss=https%3A%2F%2Fcarnet.example&state=a+b%26c" {
		t.Error(got)
	}
	if got := s.response("http://localhost", "", map[string][]string{"error": {"x"}}); got != "http://localhost?error=x&iss=https%3A%2F%2Fcarnet.example" {
		t.Error(got)
	}
}

// E4: which resources are ours.
func TestE4ResourcesThatAreOurs(t *testing.T) {
	t.Parallel()
	s := &Service{Config: Config{PublicURL: "https://carnet.example"}}
	for _, r := range [][]string{nil, {"https://carnet.example/mcp"}, {"https://carnet.example/mcp/"}, {"https://CARNET.example/mcp"}, {"HTTPS://carnet.example"}, {"https://carnet.example/"}, {"https://carnet.example/mcp", "https://carnet.example"}} {
		if err := s.canonical(r); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
	for _, r := range [][]string{{""}, {"https://evil.example/mcp"}, {"https://carnet.example/MCP"}, {"https://carnet.example/api"}, {"http://carnet.example/mcp"}, {"https://carnet.example/mcp", "https://evil.example"}, {"https://carnet.example.evil/mcp"}, {"carnet.example/mcp"}} {
		if err := s.canonical(r); !is(err, InvalidTarget) {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1:248:1893:25c8:1946": true, "127.0.0.1": false, "10.1.2.3": false, "192.168.1.1": false, "172.16.0.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "::1": false, "fe80::1": false, "fd00::1": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false,
	} {
		if got := public(addr(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text).Unmap() }
