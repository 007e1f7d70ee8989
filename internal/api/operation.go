package api

import (
	"net/http"
	"reflect"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/verify"
)

// audience says whom an operation serves.
type audience int

const (
	anyone audience = iota // no credential is looked at
	person                 // a signed-in person
	worker                 // a token, or a person who names an organization
)

// operation is one route of the contract: everything that the router, the documents and the tests know of it.
type operation struct {
	method, path string // path below /api/v1
	id           string // operationId
	tag          string
	summary      string
	description  string

	audience   audience
	permission access.Permission // what it needs; meaningless for anyone
	anyScope   bool              // a token needs no particular scope

	query        []parameter
	body         any // a value of the type of the request body; nil: none
	bodyOptional bool
	status       int // of success
	answer       any // a value of the type of the answer; nil: no content
	listed       bool
	idempotent   bool           // takes Idempotency-Key
	conditional  bool           // takes If-Match
	tagged       bool           // answers with an ETag
	refusals     map[int]string // what it refuses with, besides what follows from the rest

	serve func(*call) error
}

// parameter is a query parameter.
type parameter struct {
	name        string
	description string
	repeated    bool
	sample      any // a value of its type
	enum        []string
}

// handler puts the steps that every operation shares in front of its own: who is calling, with what kind of credential,
// may it be worth looking, and in which organization. The order of refusals is the contract's.
func (a *API) handler(op *operation) http.HandlerFunc {
	pattern := op.method + " " + prefix + op.path
	schema := a.bodySchema(op)
	return func(w http.ResponseWriter, r *http.Request) {
		info := request.From(r.Context())
		info.Route = pattern
		w.Header()["Cache-Control"] = noStore
		c := &call{api: a, op: op, schema: schema, w: w, r: r, ctx: r.Context(), info: info}
		for again := 1; ; again++ {
			err := c.prepare()
			if err == nil {
				err = op.serve(c)
			}
			if err == nil {
				return
			}
			if !db.Overtaken(err, again) {
				a.refuse(w, r, info, err)
				return
			}
			// Nothing has happened yet, and nothing was said: all over again, with what the caller may do now.
			c = &call{api: a, op: op, schema: schema, w: w, r: r, ctx: r.Context(), info: info, raw: c.raw, rawErr: c.rawErr, rawRead: c.rawRead}
		}
	}
}

var noStore = []string{"no-store"}

// prepare finds out who is calling, up to the point where something would have to be looked up.
func (c *call) prepare() error {
	if c.op.audience == anyone {
		return nil
	}
	if c.op.body != nil {
		// The body first: a client may take its time to send it, and what was revoked meanwhile must not count. What is wrong
		// with it is reported where it is needed.
		_, _ = c.content()
	}
	grant, err := c.api.Identify(c.r)
	if err != nil {
		return err
	}
	c.grant, c.caller = grant, grant.Caller
	c.describeToken(grant)
	if !c.op.anyScope {
		if err := problem.RequireMay(&c.caller, c.op.permission); err != nil {
			return err
		}
	}
	if c.op.audience == worker {
		if err := c.enter(); err != nil {
			return err
		}
	}
	if c.op.idempotent {
		c.noteKey()
	}
	return nil
}

// describeToken tells a token's holder what it has, on every answer.
func (c *call) describeToken(g *verify.Grant) {
	if g.Caller.Kind != access.TokenCaller {
		return
	}
	h := c.w.Header()
	h["Carnet-Scopes"] = []string{g.Scopes}
	if g.Expires != "" {
		h["Carnet-Token-Expires"] = []string{g.Expires}
	}
}

// enter settles in which organization the caller acts. A token acts in its own; another one is absent to it.
func (c *call) enter() error {
	named := c.r.Header["Carnet-Organization"]
	if len(named) > 1 {
		return problem.New(problem.RequestMalformed, "The request carries more than one Carnet-Organization header. Send exactly one.")
	}
	if c.caller.Kind == access.TokenCaller {
		if len(named) == 1 && named[0] != c.caller.OrganizationSlug {
			return problem.Absent()
		}
		return nil
	}
	if len(named) == 0 || named[0] == "" {
		return problem.New(problem.OrganizationRequired, "Name the organization: send the header Carnet-Organization with its slug.")
	}
	inside, ok := c.caller.In(named[0])
	if !ok {
		return problem.Absent()
	}
	c.caller = inside
	return nil
}

// typeOf returns the type of a sample value.
func typeOf(sample any) reflect.Type { return reflect.TypeOf(sample) }
