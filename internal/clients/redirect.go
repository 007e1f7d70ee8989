package clients

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Limits of redirect URIs.
const (
	redirectLimit = 2000 // bytes
	mostRedirects = 20
)

// nativeRedirects are the callbacks of native programs that have a scheme of their own. Anybody on the machine could claim
// such a scheme, so that only these, to the letter, are known: the callback of Cursor
// (https://github.com/soflyy/agent-connector-for-wp/issues/111, seen 2026-11).
var nativeRedirects = []string{"cursor://anysphere.cursor-mcp/oauth/callback"}

// loopbackNames are how http is allowed: nothing leaves the machine. RFC 8252 section 7.3 has the addresses; the name is
// what clients use all the same.
var loopbackNames = []string{"127.0.0.1", "[::1]", "localhost"}

// plainHost is a host, with a port or without, that reads the same to people, browsers and us: names in ASCII, so that none
// looks like another or like a path (internationalized ones as xn--), or an address.
var plainHost = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\.?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?$`)

// registrable reports whether a client may register a redirect URI: https, http on loopback, or a native callback that is
// known. No fragment (RFC 6749 section 3.1.2), no user, no wildcard.
func registrable(uri string) bool {
	if slices.Contains(nativeRedirects, uri) {
		return true
	}
	if len(uri) > redirectLimit || strings.ContainsAny(uri, "#*\\ \t\r\n\"<>") || strings.ContainsFunc(uri, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return false
	}
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.Host == "" || u.Opaque != "" || u.Fragment != "" {
		return false
	}
	switch {
	case strings.HasPrefix(uri, "https://"):
		authority := uri[len("https://"):]
		if end := strings.IndexAny(authority, "/?"); end >= 0 {
			authority = authority[:end]
		}
		return plainHost.MatchString(strings.ToLower(authority))
	case strings.HasPrefix(uri, "http://"):
		_, ok := loopback(uri)
		return ok
	default:
		return false
	}
}

// matches reports whether a presented redirect URI is a registered one: the same to the letter (RFC 9700 section 2.1), but
// for the port of http on loopback, which native programs choose when they start (RFC 8252 section 7.3).
func matches(registered, presented string) bool {
	if registered == presented {
		return true
	}
	a, ok := loopback(registered)
	if !ok {
		return false
	}
	b, ok := loopback(presented)
	return ok && a == b
}

// loopback returns an http URI on loopback without its port; ok is false for any other.
func loopback(uri string) (withoutPort string, ok bool) {
	rest, ok := strings.CutPrefix(uri, "http://")
	if !ok {
		return "", false
	}
	for _, name := range loopbackNames {
		after, found := strings.CutPrefix(rest, name)
		if !found {
			continue
		}
		if port, found := strings.CutPrefix(after, ":"); found {
			digits := len(port) - len(strings.TrimLeft(port, "0123456789"))
			if digits < 1 || digits > 5 {
				return "", false
			}
			after = port[digits:]
		}
		if after != "" && after[0] != '/' && after[0] != '?' {
			return "", false
		}
		return "http://" + name + after, true
	}
	return "", false
}

// hostOf returns the host that a person is sent back to, as the consent page shows it: for a native callback its scheme.
func hostOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return u.Scheme + "://" + u.Host
	}
	return u.Host
}

// withParameters adds what an authorization response says to a redirect URI, whose own query stays (RFC 6749 section 3.1.2).
func withParameters(uri string, add url.Values) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	return uri + separator + add.Encode()
}
