package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"carnet/internal/problem"
)

const (
	apiBase = "/api/v1"

	// answerLimit bounds what is read of an answer that is decoded: a page of 200 items stays far below.
	answerLimit = 32 << 20

	// A request that may be repeated is sent up to attempts times when no answer comes.
	attempts = 3
)

// client talks to one server with one credential.
type client struct {
	server     string // normalized, see parseServer
	credential string // bearer value; "" for none
	http       *http.Client
	version    string
	pause      time.Duration // before a repetition

	// reauthenticate proves again that the person is there. It is nil when nobody can be asked.
	reauthenticate func(context.Context) error
}

func newClient(t *Terminal, server string) *client {
	return &client{
		server: server,
		http: &http.Client{
			Transport: t.HTTP,
			Timeout:   time.Minute,
			// A redirect would take the credential, or the password, to a place that nobody named.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		version: t.Version,
		pause:   300 * time.Millisecond,
	}
}

// parseServer returns a server's URL in the one form under which its session is kept.
func parseServer(text string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		return "", Usage("The server's URL must look like https://carnet.example.com.")
	case u.User != nil:
		return "", Usage("The server's URL must not contain a user name or password. Sign in with carnet login.")
	case u.RawQuery != "" || u.Fragment != "":
		return "", Usage("The server's URL must end before any ? or #.")
	}
	host := strings.ToLower(u.Host)
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/"), nil
}

// inTheOpen reports whether what is sent to the server can be read on the way.
func inTheOpen(server string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Scheme == "https" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// call is one request to the API.
type call struct {
	method       string
	path         string // below /api/v1, escaped
	query        url.Values
	organization string // slug, for the Carnet-Organization header; "" sends none
	key          string // Idempotency-Key; "" sends none
	ifMatch      string
	body         any // encoded as JSON; verbatim goes out as it is; nil sends none
}

// repeatable reports whether sending the call twice does what sending it once does.
func (c call) repeatable() bool {
	return c.key != "" || c.method == http.MethodGet || c.method == http.MethodHead || c.method == http.MethodPut || c.method == http.MethodDelete
}

// do makes the call and decodes the answer into out, which may be nil. Refusals are returned as a *refusal. When the
// server wants a fresh sign-in and the person can be asked, they are, and the call is made again.
func (c *client) do(ctx context.Context, in call, out any) error {
	response, err := c.send(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return unreachable(c.server, err)
	}
	if response.StatusCode >= 300 {
		return refused(response, text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return &Failure{Exit: ExitFailed, Message: "What answers at " + c.server + " does not seem to be a Carnet server", cause: err}
	}
	return nil
}

// send makes the call and returns whatever answer comes, refusals included, after asking for a fresh sign-in where that
// is what was missing. The caller closes the body.
func (c *client) send(ctx context.Context, in call) (*http.Response, error) {
	response, err := c.deliver(ctx, in)
	if err != nil || c.reauthenticate == nil || response.StatusCode != http.StatusForbidden {
		return response, err
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	_ = response.Body.Close()
	if err != nil {
		return nil, unreachable(c.server, err)
	}
	if _, needed := isRefusal(refused(response, text), problem.ReauthenticationNeeded); needed {
		if err := c.reauthenticate(ctx); err != nil {
			return nil, err
		}
		return c.deliver(ctx, in)
	}
	response.Body = io.NopCloser(bytes.NewReader(text))
	return response, nil
}

// deliver sends the call until an answer comes. One that must not be repeated is sent once.
func (c *client) deliver(ctx context.Context, in call) (*http.Response, error) {
	body, err := encode(in.body)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		request, err := c.request(ctx, in, body)
		if err != nil {
			return nil, err
		}
		response, err := c.http.Do(request)
		if err == nil {
			return response, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !in.repeatable() || attempt == attempts {
			return nil, unreachable(c.server, err)
		}
		select {
		case <-time.After(c.pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// verbatim is a body that goes out as it is.
type verbatim []byte

func encode(body any) ([]byte, error) {
	if text, ok := body.(verbatim); ok || body == nil {
		return text, nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return text, nil
}

func (c *client) request(ctx context.Context, in call, body []byte) (*http.Request, error) {
	address := c.server + apiBase + in.path
	if len(in.query) > 0 {
		separator := "?"
		if strings.Contains(in.path, "?") {
			separator = "&"
		}
		address += separator + in.query.Encode()
	}
	var reader io.Reader
	if in.body != nil {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, in.method, address, reader)
	if err != nil {
		return nil, Usage("That method or path cannot be sent.")
	}
	set := func(name, value string) {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	set("Accept", "application/json, application/problem+json")
	set("User-Agent", "carnet-cli/"+c.version)
	set("Carnet-Organization", in.organization)
	set("Idempotency-Key", in.key)
	set("If-Match", in.ifMatch)
	if in.body != nil {
		set("Content-Type", "application/json")
	}
	if c.credential != "" {
		set("Authorization", "Bearer "+c.credential)
	}
	return request, nil
}

// unreachable reports that no answer came. The address that net/http puts into its errors is left out: a query may say
// more than a log should keep.
func unreachable(server string, err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return &Failure{
		Exit: ExitFailed, Message: "No answer from " + server, cause: err,
		Hints: []string{"Is the server running, and is that its address? It is taken from --url, CARNET_URL or the last sign-in."},
	}
}

// refused makes an error of an answer that is not a success.
func refused(response *http.Response, text []byte) error {
	r := &refusal{Status: response.StatusCode, Accepted: response.Header.Get("Carnet-Accepted-Scopes")}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind == "application/problem+json" {
		_ = json.Unmarshal(text, &r.Document) // a document that does not decode says nothing, and the status still does
	}
	switch {
	case r.Status < 400:
		r.Hints = []string{"It points elsewhere. Give its final address with --url or CARNET_URL: credentials do not follow redirects."}
	case r.Document.Code == "":
		r.Hints = []string{"That is not an answer of Carnet itself: check the URL, and any proxy in front of it."}
	case r.Document.Code == problem.OrganizationRequired:
		r.Hints = []string{"Name one with --organization or CARNET_ORGANIZATION. carnet whoami lists yours."}
	case r.Document.Code == problem.SessionEnded:
		r.Hints = []string{"Sign in again with carnet login."}
	case r.Document.Code == problem.SignInRequired:
		r.Hints = []string{"A token cannot do this. Unset CARNET_TOKEN and sign in with carnet login."}
	case r.Document.Code == problem.ReauthenticationNeeded:
		r.Hints = []string{"Sign in again with carnet login, then repeat this within 15 minutes."}
	}
	if after := response.Header.Get("Retry-After"); after != "" {
		r.Hints = append(r.Hints, "Try again in "+after+" seconds.")
	}
	return r
}

// list reads all pages of a list.
func (c *client) list(ctx context.Context, in call) ([]json.RawMessage, error) {
	items := []json.RawMessage{}
	query := url.Values{}
	for name, values := range in.query {
		query[name] = values
	}
	query.Set("limit", "200")
	in.query = query
	for {
		var page struct {
			Items      []json.RawMessage `json:"items"`
			NextCursor *string           `json:"next_cursor"`
		}
		if err := c.do(ctx, in, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if page.NextCursor == nil || *page.NextCursor == "" {
			return items, nil
		}
		in.query.Set("cursor", *page.NextCursor)
	}
}

// listOf reads all pages of a list and decodes the items.
func listOf[T any](ctx context.Context, c *client, in call) ([]T, error) {
	items, err := c.list(ctx, in)
	if err != nil {
		return nil, err
	}
	decoded := make([]T, len(items))
	for i, item := range items {
		if err := json.Unmarshal(item, &decoded[i]); err != nil {
			return nil, &Failure{Exit: ExitFailed, Message: "What answers at " + c.server + " does not seem to be a Carnet server", cause: err}
		}
	}
	return decoded, nil
}
