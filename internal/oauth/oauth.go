// Package oauth is the door of the authorization server for programs: where it says what it is (RFC 8414, RFC 9728), takes
// clients in (RFC 7591), gives tokens for codes (RFC 6749) and ends them (RFC 7009). What people see of it, the consent page,
// is one of the pages; what it remembers is the room of clients.
//
// Nothing here looks at a cookie, so that pages of other sites may call it like any program.
package oauth

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"carnet/access"
	"carnet/internal/allowance"
	"carnet/internal/clients"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/request"
)

// Config is what the door needs.
type Config struct {
	Clients *clients.Service
	DB      *db.DB
	Limits  Limits
	Log     *slog.Logger
	// Explain makes a refusal of what a store that cannot be reached makes of reads.
	Explain func(error) error
}

// Limits are how often each address may do something. Zero means the default.
type Limits struct {
	RegistrationsPerHour   int
	TokenRequestsPerMinute int
}

// Door serves programs.
type Door struct {
	Config
	resource, server []byte // the two documents
}

// Paths of the endpoints.
const (
	TokenPath    = "/oauth/token"
	RegisterPath = "/oauth/register"
	RevokePath   = "/oauth/revoke"
	// AuthorizePath is one of the pages.
	AuthorizePath = "/oauth/authorize"
)

// Open are the routes that pages of other sites may call, as patterns.
func Open() []string {
	return []string{"POST " + TokenPath, "POST " + RegisterPath, "POST " + RevokePath}
}

// New returns the door.
func New(c Config) *Door {
	d := &Door{Config: c}
	if d.Limits.RegistrationsPerHour == 0 {
		d.Limits.RegistrationsPerHour = 200
	}
	if d.Limits.TokenRequestsPerMinute == 0 {
		d.Limits.TokenRequestsPerMinute = 300
	}
	issuer := c.Clients.Issuer()
	d.resource = document(protectedResource{
		Resource: c.Clients.Resource(), Servers: []string{issuer}, Scopes: access.AllScopes().Names(), Methods: []string{"header"},
		Name: "Carnet", Documentation: issuer + "/docs/api",
	})
	d.server = document(authorizationServer{
		Issuer: issuer, Authorize: issuer + AuthorizePath, Token: issuer + TokenPath, Register: issuer + RegisterPath, Revoke: issuer + RevokePath,
		Scopes: access.AllScopes().Names(), ResponseTypes: []string{"code"}, ResponseModes: []string{"query"}, GrantTypes: []string{"authorization_code"},
		Challenges: []string{"S256"}, TokenAuth: clients.AuthMethods(), RevokeAuth: clients.AuthMethods(), Issues: true, Documents: c.Clients.Documents,
		Resources: []string{c.Clients.Resource()},
	})
	return d
}

// protectedResource is RFC 9728 section 2.
type protectedResource struct {
	Resource      string   `json:"resource"`
	Servers       []string `json:"authorization_servers"`
	Scopes        []string `json:"scopes_supported"`
	Methods       []string `json:"bearer_methods_supported"`
	Name          string   `json:"resource_name"`
	Documentation string   `json:"resource_documentation"`
}

// authorizationServer is RFC 8414 section 2, RFC 9207 section 3 and the client id metadata documents.
type authorizationServer struct {
	Issuer        string   `json:"issuer"`
	Authorize     string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Register      string   `json:"registration_endpoint"`
	Revoke        string   `json:"revocation_endpoint"`
	Scopes        []string `json:"scopes_supported"`
	ResponseTypes []string `json:"response_types_supported"`
	ResponseModes []string `json:"response_modes_supported"`
	GrantTypes    []string `json:"grant_types_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	TokenAuth     []string `json:"token_endpoint_auth_methods_supported"`
	RevokeAuth    []string `json:"revocation_endpoint_auth_methods_supported"`
	Issues        bool     `json:"authorization_response_iss_parameter_supported"`
	Documents     bool     `json:"client_id_metadata_document_supported,omitempty"`
	Resources     []string `json:"protected_resources"`
}

func document(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("oauth: " + err.Error()) // texts only
	}
	return append(text, '\n')
}

// Register adds the door to mux. What else begins with /.well-known/ is not here: a page for people would be taken for a
// document.
func (d *Door) Register(mux *http.ServeMux) {
	for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"} {
		mux.HandleFunc("GET "+path, d.publish(d.resource))
	}
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", d.publish(d.server))
	RegisterNothing(mux)
	for path, serve := range map[string]http.HandlerFunc{TokenPath: d.token, RegisterPath: d.register, RevokePath: d.revoke} {
		mux.HandleFunc("POST "+path, d.endpoint(serve))
		mux.HandleFunc("OPTIONS "+path, preflight)
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", "POST, OPTIONS")
			answer(w, http.StatusMethodNotAllowed, failure{Code: clients.InvalidRequest, Description: "Only POST is served here."})
		})
	}
}

// RegisterNothing answers for the documents where clients cannot sign people in: there are none, and no page instead.
func RegisterNothing(mux *http.ServeMux) { mux.HandleFunc("/.well-known/", nothing) }

func nothing(w http.ResponseWriter, r *http.Request) {
	info := request.From(r.Context())
	info.Route = "/.well-known/"
	problem.Write(w, info.ID, problem.New(problem.NotFound, "There is no such document here."))
}

func (*Door) publish(text []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write(text)
	}
}

func (*Door) endpoint(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("Cache-Control", "no-store") // RFC 6749 section 5.1
		h.Set("Pragma", "no-cache")
		serve(w, r)
	}
}

func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, MCP-Protocol-Version")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// failure is RFC 6749 section 5.2.
type failure struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// refuse answers with what went wrong.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	info := request.From(r.Context())
	var e *clients.Error
	if errors.As(err, &e) {
		status := http.StatusBadRequest
		switch e.Code {
		case clients.InvalidClient:
			status = http.StatusUnauthorized
			if r.Header.Get("Authorization") != "" {
				w.Header().Set("WWW-Authenticate", `Basic realm="carnet"`)
			}
		case clients.TooManyRequests:
			status = http.StatusTooManyRequests
			w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfter))
		}
		answer(w, status, failure{e.Code, e.Description})
		return
	}
	err = d.Explain(err)
	p := problem.Describe(err, info.ID)
	code := "server_error"
	switch {
	case p.Status == http.StatusServiceUnavailable:
		code = "temporarily_unavailable"
		w.Header().Set("Retry-After", "1")
	case p.Status < 500:
		code = clients.InvalidRequest
	default:
		d.Log.Error("a client's request failed", "request", info.ID, "route", info.Route, "error", err)
	}
	answer(w, p.Status, failure{code, p.Detail})
}

// limit counts a request of an address, and refuses those beyond the allowance.
func (d *Door) limit(r *http.Request, a allowance.Allowance) error {
	room, err := allowance.Use(r.Context(), d.DB, a, d.Clients.Now())
	if err != nil || room {
		return err
	}
	return &clients.Error{Code: clients.TooManyRequests, Description: "Too many requests. Wait a moment, then try again.", RetryAfter: a.Wait()}
}

// form reads a request's form (RFC 6749 section 3.2): once each, in the body alone.
func form(r *http.Request) (url.Values, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, &clients.Error{Code: clients.InvalidRequest, Description: "Send a form, with the header Content-Type: application/x-www-form-urlencoded."}
	}
	text, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, formLimit))
	if err != nil {
		return nil, &clients.Error{Code: clients.InvalidRequest, Description: "The form did not arrive whole, or is too large."}
	}
	values, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, &clients.Error{Code: clients.InvalidRequest, Description: "The form cannot be read."}
	}
	for name, list := range values {
		if len(list) > 1 && name != "resource" {
			return nil, &clients.Error{Code: clients.InvalidRequest, Description: "A parameter is given more than once."}
		}
	}
	return values, nil
}

const formLimit = 64 << 10

// credentials reads how a client says who it is: in the header, or in the form, but not in both.
func credentials(r *http.Request, values url.Values) (clients.Credentials, error) {
	c := clients.Credentials{ID: values.Get("client_id"), Secret: values.Get("client_secret")}
	user, password, ok := r.BasicAuth()
	if !ok {
		return c, nil
	}
	// Both are encoded before they are joined (RFC 6749 section 2.3.1). Some clients leave that out, which is the same where
	// nothing needs it.
	id, idErr := url.QueryUnescape(user)
	secret, secretErr := url.QueryUnescape(password)
	if idErr != nil || secretErr != nil || c.Secret != "" || c.ID != "" && c.ID != id {
		return c, &clients.Error{Code: clients.InvalidRequest, Description: "Say who the client is in one way only."}
	}
	return clients.Credentials{ID: id, Secret: secret, Basic: true}, nil
}
