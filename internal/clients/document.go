package clients

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"carnet/internal/clients/rows"
	"carnet/internal/db"
)

// Limits of fetching a document.
const (
	documentLimit   = 64 << 10
	documentTimeout = 5 * time.Second
	shortestFresh   = 5 * time.Minute
	longestFresh    = 24 * time.Hour
	// retryAfter is how long it takes until a document is asked for again that could not be fetched, or that refuses.
	retryAfter = time.Minute
)

// document is what a client says about itself at its id
// (https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/ section 4).
type document struct {
	ClientID     string   `json:"client_id"`
	Name         string   `json:"client_name"`
	RedirectURIs []string `json:"redirect_uris"`
	AuthMethod   string   `json:"token_endpoint_auth_method"`
}

// pinned are documents of well-known clients, for when theirs cannot be fetched: some sit behind a protection against
// bots that turns servers away (https://github.com/anthropics/claude-ai-mcp/issues/650). As observed in 2026-11.
var pinned = map[string]document{
	"https://claude.ai/oauth/claude-code-client-metadata": {
		Name: "Claude Code", AuthMethod: authNone, RedirectURIs: []string{"http://localhost/callback", "http://127.0.0.1/callback"},
	},
	"https://chatgpt.com/oauth/codex/client.json": {
		Name: "Codex", AuthMethod: authNone, RedirectURIs: []string{"http://127.0.0.1/callback", "http://localhost/callback"},
	},
}

// described returns the client that the document at its id describes: a copy that is fresh, the document, or, when it cannot
// be fetched, the last copy, or a pinned one.
func (s *Service) described(ctx context.Context, clientID string) (Client, error) {
	u, err := s.documentURL(clientID)
	if err != nil {
		return Client{}, err
	}
	kept, err := copyOf(ctx, s.DB.Read(), clientID)
	if err != nil {
		return Client{}, err
	}
	if kept != nil && db.Micros(s.Now()) < kept.FreshUntil {
		return readDocument(clientID, u, []byte(kept.Document))
	}
	if !s.failed.lately(clientID, s.Now()) {
		text, fresh, err := s.fetch(ctx, clientID)
		if err == nil {
			return s.take(ctx, clientID, u, text, fresh)
		}
		s.Log.Warn("a client's document could not be fetched", "client", u.Host, "error", err)
		if ctx.Err() == nil { // whoever hangs up must not make the document fail for others
			s.failed.note(clientID, s.Now())
		}
	}
	return lastWord(clientID, u, kept)
}

// remembered is described without fetching anything: the last copy, however old, or a pinned one.
func (s *Service) remembered(ctx context.Context, q db.Queryer, clientID string) (Client, error) {
	u, err := s.documentURL(clientID)
	if err != nil {
		return Client{}, err
	}
	kept, err := copyOf(ctx, q, clientID)
	if err != nil {
		return Client{}, err
	}
	return lastWord(clientID, u, kept)
}

// copyOf returns the last copy of a document, nil when there is none.
func copyOf(ctx context.Context, q db.Queryer, clientID string) (*rows.DocumentRow, error) {
	kept, err := rows.New(q).Document(ctx, clientID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, fmt.Errorf("read a client's document: %w", err)
	}
	return &kept, nil
}

// lastWord returns the client of what there is here: the last copy, or a pinned one.
func lastWord(clientID string, u *url.URL, kept *rows.DocumentRow) (Client, error) {
	if kept != nil {
		return readDocument(clientID, u, []byte(kept.Document))
	}
	if d, ok := pinned[clientID]; ok {
		d.ClientID = clientID
		return d.client(u)
	}
	return Client{}, refuse(InvalidClient, "What the client says about itself could not be read at "+u.Host+". It may be out of reach of this server, or be no client's document.")
}

// take keeps a document that was fetched, and returns the client that it describes. One that refuses is kept, too: it is the
// latest word, and no older copy may let in whom it does not describe.
func (s *Service) take(ctx context.Context, clientID string, u *url.URL, text []byte, fresh time.Duration) (Client, error) {
	client, refusal := readDocument(clientID, u, text)
	if refusal != nil {
		fresh = retryAfter
	}
	now := s.Now()
	err := s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return rows.New(tx).KeepDocument(ctx, rows.KeepDocumentParams{Url: clientID, Document: string(text), FetchedAt: db.Micros(now), FreshUntil: db.Micros(now.Add(fresh))})
	})
	return client, cmp.Or(err, refusal)
}

// failures are the documents that could not be fetched a moment ago: the several look-ups of one consent need not each wait.
type failures struct {
	mu    sync.Mutex
	until map[string]time.Time // by client id; guarded by mu
}

// mostFailures bounds what is remembered, with ids that anybody can choose.
const mostFailures = 1000

func (f *failures) lately(clientID string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.until[clientID])
}

// note remembers a failure. Rather than grow without end it forgets the others, which costs them a fetch.
func (f *failures) note(clientID string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.until == nil || len(f.until) >= mostFailures {
		f.until = map[string]time.Time{}
	}
	f.until[clientID] = now.Add(retryAfter)
}

// documentURL returns the address that is a client's id, where clients may have one.
func (s *Service) documentURL(clientID string) (*url.URL, error) {
	if !s.Documents {
		return nil, refuse(InvalidClient, "Clients cannot name themselves by an address here. Register at "+s.PublicURL+"/oauth/register.")
	}
	return documentURL(clientID)
}

// documentURL checks the address of a document: https, a host that people can read, a port where a web server may be, a path,
// no query that would hide one, no user, no fragment.
func documentURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || len(address) > redirectLimit || u.Scheme != "https" || u.User != nil || u.Fragment != "" || strings.Contains(address, "#") ||
		u.Path == "" || u.Path == "/" || strings.Contains(u.Path, "/../") || strings.Contains(u.Path, "/./") {
		return nil, refuse(InvalidClient, "A client's address must be https, with a path, without user and fragment.")
	}
	if !plainHost.MatchString(strings.ToLower(u.Host)) {
		return nil, refuse(InvalidClient, "A client's address must have a host in plain letters, an international one as xn--.")
	}
	// What listens below is no web server: nobody may have this server knock there.
	if port, err := strconv.Atoi(cmp.Or(u.Port(), "443")); err != nil || port != 443 && port < 1024 || port > 65535 {
		return nil, refuse(InvalidClient, "A client's address must have the port 443, or one above 1023.")
	}
	return u, nil
}

func readDocument(clientID string, u *url.URL, text []byte) (Client, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return Client{}, refuse(InvalidClient, "What the client says about itself at "+u.Host+" is no JSON document.")
	}
	if d.ClientID != clientID {
		return Client{}, refuse(InvalidClient, "The document at "+u.Host+" describes another client.")
	}
	return d.client(u)
}

func (d document) client(u *url.URL) (Client, error) {
	if d.AuthMethod != "" && d.AuthMethod != authNone {
		return Client{}, refuse(InvalidClient, "A client that describes itself by a document has no secret to share: its token_endpoint_auth_method must be none.")
	}
	c := Client{ID: d.ClientID, Name: nameOf(d.Name), Host: u.Host, AuthMethod: authNone}
	for _, uri := range d.RedirectURIs {
		if registrable(uri) && len(c.RedirectURIs) < mostRedirects {
			c.RedirectURIs = append(c.RedirectURIs, uri)
		}
	}
	if len(c.RedirectURIs) == 0 {
		return Client{}, refuse(InvalidClient, "The document at "+u.Host+" has no redirect_uris that can be used.")
	}
	return c, nil
}

// newFetcher returns an HTTP client that reaches public addresses only, whatever a name resolves to when it is dialled, and
// follows one redirect to the same kind of address.
func (s *Service) newFetcher() *http.Client {
	dialer := &net.Dialer{Timeout: documentTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !s.MayFetch(at.Addr().Unmap()) {
			return errors.New("the address is not public")
		}
		return nil
	}}
	return &http.Client{
		Timeout:   documentTimeout,
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: documentTimeout, DisableKeepAlives: true, MaxResponseHeaderBytes: documentLimit},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 1 {
				return errors.New("redirects more than once")
			}
			_, err := documentURL(r.URL.String())
			return err
		},
	}
}

// public reports whether an address belongs to the public internet.
func public(a netip.Addr) bool {
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, reserved := range reservedRanges {
		if reserved.Contains(a) {
			return false
		}
	}
	return true
}

// reservedRanges are what net/netip does not count as private, and is not public either (IANA special-purpose registries).
var reservedRanges = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"),
}

// fetch reads the document at an address, and how long it is fresh. A page that stands where a document should, such as a
// protection against bots puts there, is no document.
func (s *Service) fetch(ctx context.Context, address string) (text []byte, fresh time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("ask for a document: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "carnet (client id metadata)")
	answer, err := s.fetcher.Do(r)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch a document: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("fetch a document: status %d", answer.StatusCode)
	}
	text, err = io.ReadAll(io.LimitReader(answer.Body, documentLimit+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read a document: %w", err)
	}
	if len(text) > documentLimit {
		return nil, 0, errors.New("the document is too large")
	}
	var d document
	if !utf8.Valid(text) || json.Unmarshal(text, &d) != nil || d.ClientID == "" {
		return nil, 0, errors.New("what is there describes no client")
	}
	return text, freshness(answer.Header.Get("Cache-Control")), nil
}

// freshness returns how long a document may be kept, within bounds (RFC 9111 section 5.2.2.1).
func freshness(cacheControl string) time.Duration {
	fresh := time.Hour
	for _, directive := range strings.Split(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(strings.ToLower(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return shortestFresh
		case "max-age":
			if seconds, err := strconv.Atoi(strings.Trim(value, `"`)); err == nil {
				fresh = time.Duration(min(seconds, int(longestFresh/time.Second))) * time.Second
			}
		}
	}
	return min(max(fresh, shortestFresh), longestFresh)
}
