package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"carnet/access"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/verify"
)

// call is one request on its way through an operation.
type call struct {
	api    *API
	op     *operation
	schema *huma.Schema
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context //nolint:containedctx // a call lives exactly as long as its request
	info   *request.Info
	grant  *verify.Grant
	caller access.Caller

	raw     []byte
	rawErr  error
	rawRead bool
	values  url.Values
	wrong   []problem.Field
	broken  error
}

// id returns a path parameter.
func (c *call) id(name string) string { return c.r.PathValue(name) }

// content returns the request's body, read once, at most 1 MiB.
func (c *call) content() ([]byte, error) {
	if !c.rawRead {
		c.rawRead = true
		c.raw, c.rawErr = io.ReadAll(c.r.Body)
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(c.rawErr, &tooLarge):
			c.rawErr = problem.New(problem.TooLarge, "The request body is larger than 1 MiB.")
		case c.rawErr != nil:
			c.rawErr = problem.New(problem.RequestMalformed, "The request body did not arrive whole.").Because(c.rawErr)
		}
	}
	return c.raw, c.rawErr
}

// noteKey lets features see the Idempotency-Key, bound to what it came with.
func (c *call) noteKey() {
	keys := c.r.Header["Idempotency-Key"]
	if len(keys) == 0 {
		return
	}
	body, _ := c.content() // what is wrong with it is reported where the body is needed
	// Two keys are no key that anybody could repeat: joined, they are refused as malformed.
	c.info.IdempotencyKey = strings.Join(keys, "\n")
	if c.info.IdempotencyKey == "" {
		c.info.IdempotencyKey = "\n" // refused as well: an unset variable must not lose its protection in silence
	}
	// A session acts in several organizations, on the same paths; a key that was used in one is unused in the other.
	c.info.Target = c.r.Method + " " + c.caller.Organization + c.r.URL.EscapedPath()
	digest := sha256.New()
	_, _ = io.WriteString(digest, strings.Join(c.r.Header["If-Match"], ",")+"\n")
	_, _ = digest.Write(body)
	digest.Sum(c.info.Fingerprint[:0])
}

// body reads the request's JSON into dst, checked against the operation's schema. The error goes into the feature's
// input, which reports it once it is known that the caller may see what is wrong.
func (c *call) body(dst any) error {
	raw, err := c.content()
	if err != nil {
		return err
	}
	if len(raw) == 0 && c.op.bodyOptional {
		return nil
	}
	if err := c.mediaType(); err != nil {
		return err
	}
	var value any
	switch err := json.Unmarshal(raw, &value); {
	case errors.Is(err, strconv.ErrRange): // 1e400 is JSON, but no number that we could hold
		return problem.Invalid("body", "has a number that is too large")
	case err != nil:
		return problem.New(problem.RequestMalformed, "The request body is not valid JSON: one object, valid UTF-8, no field twice.").Because(err)
	}
	if fields := c.api.check(c.schema, value); len(fields) > 0 {
		return problem.InvalidFields(fields...)
	}
	// The schema takes names in any case; these here are exact.
	switch err := json.Unmarshal(raw, dst, json.RejectUnknownMembers(true)); {
	case errors.Is(err, json.ErrUnknownName):
		return problem.InvalidFields(unknownField).Because(err)
	case err != nil:
		return problem.InvalidFields(problem.Field{Location: "body", Message: "has a value of a kind that does not fit its field"}).Because(err)
	}
	return nil
}

var unknownField = problem.Field{Location: "body", Message: "has a field that is not known here"}

func (c *call) mediaType() error {
	header := strings.Join(c.r.Header["Content-Type"], ",") // two of them are none
	if header == "" {
		return nil
	}
	kind, parameters, err := mime.ParseMediaType(header)
	charset := strings.ToLower(parameters["charset"])
	if err != nil || kind != "application/json" || charset != "" && charset != "utf-8" {
		return problem.New(problem.MediaType, "Send the body as JSON, with the header Content-Type: application/json.")
	}
	return nil
}

// checks are reused: they are the greater part of what a validation would allocate.
var checks = sync.Pool{New: func() any { return &check{path: huma.NewPathBuffer(make([]byte, 0, 128), 0)} }}

type check struct {
	path   *huma.PathBuffer
	result huma.ValidateResult
}

// check validates a JSON value against a schema. Names that the caller made up are not repeated.
func (a *API) check(schema *huma.Schema, value any) []problem.Field {
	k := checks.Get().(*check) //nolint:forcetypeassert // the pool holds nothing else
	defer func() {
		k.path.Reset()
		k.result.Reset()
		checks.Put(k)
	}()
	k.path.Push("body")
	huma.Validate(a.registry, schema, k.path, huma.ModeWriteToServer, value, &k.result)
	var fields []problem.Field
	for _, err := range k.result.Errors {
		field := problem.Field{Location: "body", Message: "is not what is expected here"}
		var detail *huma.ErrorDetail
		if errors.As(err, &detail) {
			field = problem.Field{Location: detail.Location, Message: detail.Message}
			if detail.Message == "unexpected property" {
				// Its location ends in the name that was made up, which may hold dots and so cannot be cut off.
				field = unknownField
			}
		}
		fields = append(fields, field)
	}
	return append(fields, a.nulls(schema, value, fields)...)
}

// nulls finds the fields that are null and must not be. huma takes null for absent wherever a field may be left out, and
// so would a script's mishap: a grace of null seconds is none at all.
func (a *API) nulls(schema *huma.Schema, value any, known []problem.Field) (fields []problem.Field) {
	if schema.Ref != "" {
		schema = a.registry.SchemaFromRef(schema.Ref)
	}
	object, _ := value.(map[string]any)
	for name, v := range object {
		property := schema.Properties[name]
		location := "body." + name
		said := func(f problem.Field) bool { return f.Location == location }
		if v == nil && property != nil && !property.Nullable && !slices.ContainsFunc(known, said) {
			fields = append(fields, problem.Field{Location: location, Message: "must not be null"})
		}
	}
	slices.SortFunc(fields, func(a, b problem.Field) int { return strings.Compare(a.Location, b.Location) })
	return fields
}

// query returns the values of a known query parameter. Unknown parameters are ignored: a token among them is nobody's
// business.
func (c *call) query(name string) []string {
	if c.values == nil {
		values, err := url.ParseQuery(c.r.URL.RawQuery)
		if err != nil {
			c.broken = problem.New(problem.RequestMalformed, "The query of the URL cannot be read. Check its percent-encoding.")
		}
		c.values = values
	}
	return c.values[name]
}

// one returns the value of a parameter that may be given once, "" when it is not.
func (c *call) one(name string) string {
	values := c.query(name)
	if len(values) > 1 {
		c.complain(name, "may be given only once")
	}
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func (c *call) complain(name, message string) {
	c.wrong = append(c.wrong, problem.Field{Location: "query." + name, Message: message})
}

// flag returns a parameter that is true or false.
func (c *call) flag(name string) bool {
	switch c.one(name) {
	case "":
		return false
	case "true":
		return true
	case "false":
		return false
	default:
		c.complain(name, "must be true or false")
		return false
	}
}

// moment returns a parameter that is an RFC 3339 time, nil when it is not given.
func (c *call) moment(name string) *time.Time {
	text := c.one(name)
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		c.complain(name, "must be a time such as 2026-01-31T12:00:00Z")
		return nil
	}
	return &t
}

// page returns the parameters that every list takes.
func (c *call) page() page.Request {
	p := page.Request{Cursor: c.one("cursor"), Sort: c.one("sort")}
	if text := c.one("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > page.MaxLimit {
			c.complain("limit", "must be a number from 1 to "+strconv.Itoa(page.MaxLimit))
		}
		p.Limit = n
	}
	return p
}

// invalid returns what was wrong with the query so far, nil when nothing was.
func (c *call) invalid() error {
	if c.broken != nil {
		return c.broken
	}
	if len(c.wrong) > 0 {
		return problem.InvalidFields(c.wrong...)
	}
	return nil
}

// ifMatch returns the version that If-Match asks for (RFC 9110 section 13.1.1), nil when it asks for none. What is no
// version of ours matches nothing.
func (c *call) ifMatch() *int64 {
	header := strings.TrimSpace(strings.Join(c.r.Header["If-Match"], ","))
	if header == "" || header == "*" {
		return nil
	}
	never := int64(-1)
	quoted, ok := strings.CutPrefix(header, `"`)
	if !ok {
		return &never
	}
	digits, ok := strings.CutSuffix(quoted, `"`)
	version, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || version < 1 {
		return &never
	}
	return &version
}

// etag answers with the version of what is sent.
func (c *call) etag(version int64) {
	c.w.Header()["Etag"] = []string{`"` + strconv.FormatInt(version, 10) + `"`}
}

// reply sends the operation's success.
func (c *call) reply(value any) error {
	body, err := json.Marshal(value, replyOptions)
	if err != nil {
		return err
	}
	c.send(append(body, '\n'))
	return nil
}

func (c *call) send(body []byte) {
	h := c.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.w.WriteHeader(c.op.status)
	_, _ = c.w.Write(body)
}

var jsonType = []string{"application/json"}

// done sends a success without content.
func (c *call) done() error {
	c.w.WriteHeader(c.op.status)
	return nil
}

// replyOptions keep list fields arrays even when they hold nothing.
var replyOptions = json.JoinOptions(json.FormatNilSliceAsNull(true), json.Deterministic(true))

// list is the answer of every list.
type list[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
}

// replyPage sends a page of a list.
func replyPage[T any](c *call, p page.Page[T], err error) error {
	if err != nil {
		return err
	}
	answer := list[T]{Items: p.Items}
	if answer.Items == nil {
		answer.Items = []T{}
	}
	if p.NextCursor != "" {
		answer.NextCursor = &p.NextCursor
	}
	return c.reply(answer)
}

// replyOne sends the result of a feature method.
func replyOne[T any](c *call, value T, err error) error {
	if err != nil {
		return err
	}
	return c.reply(value)
}

// replyDone sends the end of a feature method that returns nothing.
func replyDone(c *call, err error) error {
	if err != nil {
		return err
	}
	return c.done()
}
