package api

import (
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/page"
	"carnet/internal/problem"
)

// newRegistry returns the schemas' registry. What a change can leave out or set to null is described by its value.
func newRegistry() huma.Registry {
	r := huma.NewMapRegistry("#/components/schemas/", name)
	r.RegisterTypeAlias(reflect.TypeFor[optional.Value[string]](), reflect.TypeFor[string]())
	r.RegisterTypeAlias(reflect.TypeFor[optional.Value[[]string]](), reflect.TypeFor[[]string]())
	r.RegisterTypeAlias(reflect.TypeFor[optional.Value[time.Time]](), reflect.TypeFor[time.Time]())
	r.RegisterTypeAlias(reflect.TypeFor[optional.Value[int]](), reflect.TypeFor[int]())
	r.RegisterTypeAlias(reflect.TypeFor[optional.Value[bool]](), reflect.TypeFor[bool]())
	return r
}

// name gives a schema the name of its Go type, with a capital; lists are named after their items. The members of an
// organization and those of a project are two types, and named apart.
func name(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	text, path := t.Name(), t.PkgPath()
	suffix := ""
	if item, ok := strings.CutPrefix(text, "list["); ok {
		dot := strings.LastIndexByte(item, '.')
		path, text, suffix = item[:dot], strings.TrimSuffix(item[dot+1:], "]"), "List"
	}
	if text == "" {
		text = hint
	}
	if text == "Member" && strings.HasSuffix(path, "/org") {
		text = "OrganizationMember"
	}
	return strings.ToUpper(text[:1]) + text[1:] + suffix
}

// schemaOf returns the schema of a sample value.
func (a *API) schemaOf(sample any) *huma.Schema { return a.registry.Schema(typeOf(sample), true, "") }

// bodySchema returns the schema of an operation's request body, nil when it has none.
func (a *API) bodySchema(op *operation) *huma.Schema {
	if op.body == nil {
		return nil
	}
	return a.schemaOf(op.body)
}

const introduction = `Carnet's API: a work tracker, and the access tokens that protect it.

Send a token as ` + "`Authorization: Bearer carnet_pat_…`" + `. It acts as its user in its one organization, limited to its scopes and
projects. A signed-in session (` + "`carnet_ses_…`" + ` as bearer, or the web's cookie) names the organization in the header
` + "`Carnet-Organization`" + ` on the work routes.

Errors are RFC 9457 problem documents with a stable ` + "`code`" + `. What lies outside a credential's organization and projects does not
exist for it: 404.`

// describe renders the OpenAPI document.
func (a *API) describe() []byte {
	document := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: "Carnet", Version: a.Version, Description: introduction, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
		Servers: []*huma.Server{{URL: prefix}},
		Paths:   map[string]*huma.PathItem{},
		Components: &huma.Components{
			Schemas: a.registry,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token":   {Type: "http", Scheme: "bearer", BearerFormat: "carnet_pat_…, carnet_agt_…", Description: "A personal or agent token. Each operation names the scopes that it needs."},
				"session": {Type: "http", Scheme: "bearer", BearerFormat: "carnet_ses_…", Description: "A session after a real sign-in."},
			},
		},
	}
	for _, op := range a.operations {
		item := document.Paths[op.path]
		if item == nil {
			item = &huma.PathItem{}
			document.Paths[op.path] = item
		}
		described := a.describeOperation(op)
		switch op.method {
		case http.MethodGet:
			item.Get = described
		case http.MethodPost:
			item.Post = described
		case http.MethodPut:
			item.Put = described
		case http.MethodPatch:
			item.Patch = described
		case http.MethodDelete:
			item.Delete = described
		}
	}
	out, err := document.MarshalJSON()
	if err != nil {
		panic("api: the document cannot be rendered: " + err.Error()) // a mistake in the table, found at start
	}
	return append(out, '\n')
}

func (a *API) describeOperation(op *operation) *huma.Operation {
	o := &huma.Operation{
		OperationID: op.id, Tags: []string{op.tag}, Summary: op.summary, Description: op.description,
		Responses: map[string]*huma.Response{}, Extensions: map[string]any{},
	}
	a.describeAccess(op, o)
	for _, match := range pathParameter.FindAllStringSubmatch(op.path, -1) {
		o.Parameters = append(o.Parameters, &huma.Param{Name: match[1], In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
	}
	for _, p := range slices.Concat(op.query, op.listParameters()) {
		schema := a.schemaOf(p.sample)
		if len(p.enum) > 0 {
			schema = &huma.Schema{Type: "string"}
			for _, value := range p.enum {
				schema.Enum = append(schema.Enum, value)
			}
		}
		if p.repeated {
			schema = &huma.Schema{Type: "array", Items: schema}
		}
		explode := true
		o.Parameters = append(o.Parameters, &huma.Param{Name: p.name, In: "query", Description: p.description, Schema: schema, Explode: &explode})
	}
	if op.audience == worker {
		o.Parameters = append(o.Parameters, header("Carnet-Organization", "The organization's slug. Needed with a session; a token acts in its own."))
	}
	if op.idempotent {
		o.Parameters = append(o.Parameters, header("Idempotency-Key", "Makes the request safe to repeat for 24 hours: the same key with the same body gets the first answer again."))
	}
	if op.conditional {
		o.Parameters = append(o.Parameters, header("If-Match", "The ETag of the version that the change was made from."))
	}
	if op.body != nil {
		o.RequestBody = &huma.RequestBody{Required: !op.bodyOptional, Content: map[string]*huma.MediaType{"application/json": {Schema: a.bodySchema(op)}}}
	}
	a.describeAnswers(op, o)
	return o
}

var pathParameter = regexp.MustCompile(`\{([a-z_]+)\}`)

func header(name, description string) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: description, Schema: &huma.Schema{Type: "string"}}
}

func (op *operation) listParameters() []parameter {
	if !op.listed {
		return nil
	}
	return []parameter{
		{name: "limit", description: "How many items at most, 1 to " + strconv.Itoa(page.MaxLimit) + "; " + strconv.Itoa(page.DefaultLimit) + " when not given.", sample: 0},
		{name: "cursor", description: "Where to go on: the next_cursor of the page before.", sample: ""},
		{name: "sort", description: "A field to sort by, with - in front for the other direction.", sample: ""},
	}
}

// describeAccess says who may call: the scopes, any one of which lets a token through, or that no token can.
func (a *API) describeAccess(op *operation, o *huma.Operation) {
	switch op.audience {
	case anyone:
		o.Security = []map[string][]string{{}}
	case person:
		o.Security = []map[string][]string{{"session": {}}}
		o.Extensions["x-carnet-scopes"] = []string{}
		o.Extensions["x-carnet-permission"] = op.permission.String()
	case worker:
		scopes := []string{}
		if !op.anyScope {
			for _, s := range access.Accepting(op.permission) {
				scopes = append(scopes, s.String())
			}
			o.Extensions["x-carnet-permission"] = op.permission.String()
		}
		for _, s := range scopes {
			o.Security = append(o.Security, map[string][]string{"token": {s}})
		}
		if op.anyScope {
			o.Security = append(o.Security, map[string][]string{"token": {}})
		}
		o.Security = append(o.Security, map[string][]string{"session": {}})
		o.Extensions["x-carnet-scopes"] = scopes
	}
}

// describeAnswers lists the success and the refusals that the operation can give.
func (a *API) describeAnswers(op *operation, o *huma.Operation) {
	success := &huma.Response{Description: http.StatusText(op.status), Headers: map[string]*huma.Param{}}
	if op.answer != nil {
		success.Content = map[string]*huma.MediaType{"application/json": {Schema: a.schemaOf(op.answer)}}
	}
	if op.tagged {
		success.Headers["ETag"] = &huma.Param{Description: "The version, in quotes.", Schema: &huma.Schema{Type: "string"}}
	}
	o.Responses[strconv.Itoa(op.status)] = success
	refusals := map[int]string{http.StatusTooManyRequests: "Too many requests", http.StatusServiceUnavailable: "Cannot be answered right now"}
	if op.audience != anyone {
		refusals[http.StatusUnauthorized] = "No credential, or one that does not hold"
		refusals[http.StatusForbidden] = "The kind of credential, a scope or the role does not permit it"
		refusals[http.StatusNotFound] = "Absent, or outside what the credential sees"
	}
	if op.body != nil {
		refusals[http.StatusBadRequest] = "Malformed"
		refusals[http.StatusRequestEntityTooLarge] = "Larger than 1 MiB"
		refusals[http.StatusUnsupportedMediaType] = "Not JSON"
		refusals[http.StatusUnprocessableEntity] = "Something in it does not hold"
	}
	if op.listed || len(op.query) > 0 {
		refusals[http.StatusBadRequest] = "Malformed, or a cursor that does not belong here"
		refusals[http.StatusUnprocessableEntity] = "A parameter does not hold"
	}
	if op.audience == worker {
		refusals[http.StatusBadRequest] = "Malformed, a session that names no organization, or a cursor that does not belong here"
	}
	if op.idempotent {
		refusals[http.StatusUnprocessableEntity] = "Something in it does not hold"
	}
	if op.method != http.MethodGet {
		refusals[http.StatusConflict] = "In conflict with what is stored"
		if op.audience == anyone {
			refusals[http.StatusForbidden] = "Sent by a page of another site"
		}
	}
	maps.Copy(refusals, op.refusals)
	if op.conditional {
		refusals[http.StatusPreconditionFailed] = "Changed since the version of If-Match"
	}
	for _, status := range slices.Sorted(maps.Keys(refusals)) {
		o.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: refusals[status],
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: a.schemaOf(problem.Document{})}},
		}
	}
}
