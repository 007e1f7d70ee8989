// Package api is the REST door: the routes of the public contract under /api/v1, and the OpenAPI 3.1 document that
// describes them. It parses what comes in, calls one method of one feature with the caller, and renders what comes
// back. It decides nothing.
//
// Every route is one entry of one table (see [operation]): the router, the document at /openapi.json and the tests that
// drive every published route read the same entries, so none of them can leave a route out.
package api

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"carnet/internal/account"
	"carnet/internal/org"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/tokens"
	"carnet/internal/verify"
	"carnet/internal/work"
)

// prefix is where the contract's routes live.
const prefix = "/api/v1"

// Config is what the door needs.
type Config struct {
	Account *account.Service
	Org     *org.Service
	Work    *work.Service
	Tokens  *tokens.Service
	// Identify says who is calling.
	Identify func(*http.Request) (*verify.Grant, error)
	Log      *slog.Logger
	// Explain makes a refusal of what a store that cannot be reached makes of reads.
	Explain func(error) error
	// Version is this build's, for the document.
	Version string
	// CookieName is that of the session cookie, and Secure whether browsers reach the server by HTTPS.
	CookieName string
	Secure     bool
}

// API is the door.
type API struct {
	Config
	registry   huma.Registry
	operations []*operation
	document   []byte
	selves     *selves
}

// New returns the door, with its document ready.
func New(c Config) *API {
	a := &API{Config: c, registry: newRegistry(), selves: newSelves()}
	a.operations = slices.Concat(a.workOperations(), a.commentOperations(), a.tokenOperations(), a.accountOperations(), a.organizationOperations(), a.agentOperations())
	a.document = a.describe()
	return a
}

// Register adds the routes to mux.
func (a *API) Register(mux *http.ServeMux) {
	for _, op := range a.operations {
		mux.HandleFunc(op.method+" "+prefix+op.path, a.handler(op))
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Content-Type"] = jsonType
		h.Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(a.document)
	})
	mux.HandleFunc("/api/", a.unknown)
}

// Document returns the OpenAPI document.
func (a *API) Document() []byte { return a.document }

// unknown answers for what is no route: 405 where another method would be one, else 404.
func (a *API) unknown(w http.ResponseWriter, r *http.Request) {
	info := request.From(r.Context())
	info.Route = "/api/"
	allowed := a.methods(r.URL.EscapedPath()) // as it was routed: an escaped slash divides nothing
	if len(allowed) == 0 {
		problem.Write(w, info.ID, problem.New(problem.NotFound, "There is no such route. GET /openapi.json lists them all."))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	problem.Write(w, info.ID, problem.New(problem.MethodNotAllowed, "This route does not serve that method. The header Allow lists those that it does."))
}

// methods returns the methods under which the path is a route.
func (a *API) methods(path string) []string {
	var allowed []string
	for _, op := range a.operations {
		if matches(prefix+op.path, path) && !slices.Contains(allowed, op.method) {
			allowed = append(allowed, op.method)
		}
	}
	slices.Sort(allowed)
	return allowed
}

// matches reports whether a pattern such as /tasks/{id} stands for the path.
func matches(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && (!strings.HasPrefix(want[i], "{") || got[i] == "") {
			return false
		}
	}
	return true
}

// refuse answers with an error. What is wrong on our side is logged here, once.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, info *request.Info, err error) {
	err = a.Explain(err)
	switch code := problem.CodeOf(err); code {
	case problem.Internal:
		if r.Context().Err() != nil { // whoever asked has hung up, and what was being read for them was given up
			a.Log.Debug("a client hung up", "request", info.ID, "route", info.Route, "error", err)
			err = problem.New(problem.RequestMalformed, "The connection was closed before the answer was ready. Keep it open until then.").Because(err)
			break
		}
		a.Log.Error("a request failed", "request", info.ID, "route", info.Route, "error", err)
	case problem.Overloaded, problem.VerificationUnavailable:
		a.Log.Warn("a request was turned away", "request", info.ID, "route", info.Route, "error", err)
	}
	problem.Write(w, info.ID, err)
}
