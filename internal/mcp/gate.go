package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/text"
	"carnet/internal/verify"
)

// bodyLimit is the largest request that is read.
const bodyLimit = 1 << 20

// baseline is what a client that has no token should ask for first: enough to read, and nothing that changes anything.
const baseline = "projects:read tasks:read comments:read"

// serve takes a call in: host and origin, who is calling, what they call, and whether they may; then the protocol.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) {
	info := request.From(r.Context())
	info.Route = r.Method + " " + Path
	w.Header().Set("Cache-Control", "no-store")
	if !d.knownHost(r.Host) {
		refuse(w, http.StatusMisdirectedRequest, "invalid_request", "This host is not "+d.PublicURL.Host+". Use the address that the settings page shows, and have the proxy pass it on.")
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" && !d.knownOrigin(origin) {
		refuse(w, http.StatusForbidden, "invalid_request", "Pages of other sites cannot call this address.")
		return
	}
	if !presents(r) {
		d.challenge(w, "", "Connect first: sign in from the client, or send a token as Authorization: Bearer.")
		return
	}
	// The body first: a client may take its time to send it, and what was revoked meanwhile must not count.
	body, bodyErr := readBody(r)
	asked, readable := parse(body)
	if client := asked.client(); client != "" {
		info.Client = text.Label(client, clientLimit)
	}
	grant, ok := d.identify(w, r, info)
	if !ok {
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "invalid_request", "Only POST is served here.")
		return
	}
	if bodyErr != nil {
		refuseBody(w, bodyErr)
		return
	}
	if wait := d.calls.wait(grant.Caller.CredentialID); wait > 0 {
		h := w.Header()
		h.Set("Retry-After", strconv.Itoa(wait))
		h.Set("RateLimit-Limit", strconv.Itoa(d.CallsPerMinute))
		h.Set("RateLimit-Remaining", "0")
		h.Set("RateLimit-Reset", strconv.Itoa(wait))
		refuse(w, http.StatusTooManyRequests, "rate_limited", "This agent calls more than "+strconv.Itoa(d.CallsPerMinute)+" times a minute. Wait "+strconv.Itoa(wait)+" s, and check that it is not running in circles.")
		return
	}
	// One request at a time: each has its own limits, its own key to be repeated by, and its own look at who is calling.
	if raw := jsontext.Value(body); !readable && (!raw.IsValid() || raw.Kind() != '{') {
		refuse(w, http.StatusBadRequest, "invalid_request", "The body must be one JSON object: no batch, no field twice, valid UTF-8, nothing behind it.")
		return
	}
	if lacking := d.lacks(grant, &asked); lacking != 0 {
		if d.refusals.wait(grant.Caller.CredentialID) == 0 { // recorded once a minute, not as often as somebody likes
			if err := d.Tokens.RecordRefused(request.With(r.Context(), info), grant.Caller, asked.Params.Name, lacking.Names()); err != nil {
				d.Log.Warn("a refusal is not recorded", "request", info.ID, "error", err)
			}
		}
		d.stepUp(w, lacking, grant.Caller.Scopes|lacking)
		return
	}
	c := &call{door: d, caller: grant.Caller, info: info, again: func() (access.Caller, error) {
		grant, err := d.Identify(r)
		if err != nil {
			return access.Caller{}, err
		}
		return grant.Caller, nil
	}}
	if t := d.regular(r.Header, &asked); t != nil {
		d.answer(w, r, c, t, &asked)
		return
	}
	r = r.WithContext(with(r.Context(), c))
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	d.protocol.ServeHTTP(unkept{w}, r)
}

// unkept keeps answers from being kept, whatever the protocol says of that.
type unkept struct{ http.ResponseWriter }

// WriteHeader sends the header.
func (u unkept) WriteHeader(status int) {
	u.Header().Set("Cache-Control", "no-store")
	u.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (u unkept) Write(p []byte) (int, error) {
	u.Header().Set("Cache-Control", "no-store")
	return u.ResponseWriter.Write(p)
}

// Unwrap lets the protocol flush.
func (u unkept) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// clientLimit is how long the name of a client is at most, in characters.
const clientLimit = 200

// knownHost reports whether a request is for this server by its public name. Loopback names are no names that a page of
// another site could point here (DNS rebinding), and a proxy on the same machine may use them.
func (d *Door) knownHost(host string) bool {
	return strings.EqualFold(host, d.PublicURL.Host) || loopback(host)
}

// knownOrigin reports whether pages of an origin may call: ours, and where this server is on loopback itself, those of
// other programs on the same machine.
func (d *Door) knownOrigin(origin string) bool {
	if origin == d.PublicURL.Scheme+"://"+d.PublicURL.Host {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == "http" && loopback(u.Host) && loopback(d.PublicURL.Host)
}

func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && ip.IsLoopback()
}

// presents reports whether a request presents anything at all as a bearer token.
func presents(r *http.Request) bool {
	for _, header := range r.Header["Authorization"] {
		if scheme, value, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "Bearer") && strings.TrimSpace(value) != "" {
			return true
		}
	}
	return false
}

// identify finds out who is calling. Whatever does not hold, for whichever reason, is the same 401 to a client: it is what
// makes it ask its person to sign in again.
func (d *Door) identify(w http.ResponseWriter, r *http.Request, info *request.Info) (*verify.Grant, bool) {
	grant, err := d.Identify(r)
	if err == nil && grant.Caller.Kind != access.TokenCaller {
		err = problem.New(problem.TokenInvalid, "This is a session, not a token. Connect with a token, or sign in from the client.")
		info.Standing = nil
	}
	if err == nil {
		return grant, true
	}
	switch problem.CodeOf(err) {
	case problem.VerificationUnavailable, problem.Overloaded, problem.Internal:
		d.Log.Warn("an agent was turned away", "request", info.ID, "error", err)
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "temporarily_unavailable", problem.Describe(err, info.ID).Detail)
	default:
		d.challenge(w, "invalid_token", problem.Describe(err, info.ID).Detail)
	}
	return nil, false
}

// metadataURL returns where the metadata of the resource are (RFC 9728 section 3.1), for a public URL without a slash at
// its end.
func (d *Door) metadataURL() string {
	origin := d.PublicURL.Scheme + "://" + d.PublicURL.Host
	return origin + "/.well-known/oauth-protected-resource" + strings.TrimSuffix(d.PublicURL.Path, "/") + Path
}

// challenge answers 401 (RFC 6750 section 3.1). Without a credential there is no error to report.
func (d *Door) challenge(w http.ResponseWriter, code, description string) {
	var parts []string
	if code != "" {
		parts = append(parts, `error="`+code+`"`, `error_description="`+quotable(description)+`"`)
	} else {
		code = "unauthorized"
	}
	if d.OAuth {
		parts = append(parts, `resource_metadata="`+d.metadataURL()+`"`)
	}
	w.Header().Set("WWW-Authenticate", "Bearer "+strings.Join(append(parts, `scope="`+baseline+`"`), ", "))
	refuse(w, http.StatusUnauthorized, code, description)
}

// stepUp answers 403 with all the scopes that a token would need (RFC 6750 section 3.1): those that it has, too, because
// some clients ask for exactly what they are told.
func (d *Door) stepUp(w http.ResponseWriter, lacking, all access.Scopes) {
	scopes := all.String()
	description := "The token lacks " + lacking.String() + ", which this needs. Its owner can add it under Settings, Agents, or sign in again from the client."
	metadata := ""
	if d.OAuth {
		metadata = `, resource_metadata="` + d.metadataURL() + `"`
	}
	w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+scopes+`"`+metadata+`, error_description="`+description+`"`)
	w.Header().Set("Carnet-Accepted-Scopes", scopes)
	refuse(w, http.StatusForbidden, "insufficient_scope", description)
}

// quotable leaves out what a quoted string in a header cannot hold (RFC 6750 section 3).
func quotable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, text)
}

// refuse answers in the form of RFC 6749 section 5.2, which clients of this endpoint know and show to people.
func refuse(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Method != http.MethodPost || r.Body == nil {
		return nil, nil
	}
	return io.ReadAll(r.Body) // the server bounds it
}

func refuseBody(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		refuse(w, http.StatusRequestEntityTooLarge, "invalid_request", "The request body is larger than 1 MiB.")
		return
	}
	refuse(w, http.StatusBadRequest, "invalid_request", "The request body did not arrive whole.")
}

// client returns the name and version of the client, where a request says so, as people read them.
func (m *message) client() string {
	if name := m.Params.ClientInfo.String(); name != "" {
		return name
	}
	return m.Params.Meta.ClientInfo.String()
}

// implementation is what a client says of itself. It is odd when it says more, or nothing.
type implementation struct {
	Name, Version string
	odd           bool
}

// UnmarshalJSONFrom reads it.
func (i *implementation) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	var said struct {
		Name        string         `json:"name"`
		Title       string         `json:"title"`
		Version     string         `json:"version"`
		Description string         `json:"description"`
		WebsiteURL  string         `json:"websiteUrl"`
		Unknown     jsontext.Value `json:",embed"`
	}
	value, err := from.ReadValue()
	if err != nil {
		return err //nolint:wrapcheck // it is the decoder that reports it
	}
	if value.Kind() != '{' || jsonv2.Unmarshal(value, &said) != nil { // which changes nothing about what is called
		*i = implementation{odd: true}
		return nil
	}
	*i = implementation{Name: said.Name, Version: said.Version, odd: len(said.Unknown) > 0}
	return nil
}

// String returns name and version as people read them.
func (i implementation) String() string {
	name := i.Name
	if name == "" {
		return ""
	}
	if i.Version == "" {
		return name
	}
	return name + " " + i.Version
}

// lacks returns the scopes that the token lacks for the tool that is called. What the organization keeps from its agents is
// not asked for: no scope would open it.
func (d *Door) lacks(g *verify.Grant, m *message) (lacking access.Scopes) {
	t, ok := d.tools[m.Params.Name]
	if !ok || m.Method != "tools/call" {
		return 0
	}
	for _, p := range t.permissions {
		if !withheld(&g.Caller, p) && access.May(&g.Caller, p) == access.NeedScope {
			lacking |= access.ScopeSet(access.Accepting(p)[0])
		}
	}
	return lacking
}

// withheld reports whether the organization keeps something from its agents, of which the caller is one.
func withheld(c *access.Caller, p access.Permission) bool {
	return c.Purpose == access.Agent && c.Withheld.Has(p)
}

// retried reports whether what happened to a call is that its caller's authority changed meanwhile.
func retried(err error, again int) bool { return db.Overtaken(err, again) }
