package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"carnet/access"
	"carnet/internal/optional"
	"carnet/internal/problem"
	"carnet/internal/request"
)

// call is one call of a tool on its way.
type call struct {
	door   *Door
	caller access.Caller
	info   *request.Info
	// arguments are those of the tool, as they came.
	arguments []byte
	again     func() (access.Caller, error) // who is calling, now
}

type callKey struct{}

func with(ctx context.Context, c *call) context.Context { return context.WithValue(ctx, callKey{}, c) }

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// tool is one thing that agents can do.
type tool struct {
	name, title, description string
	// permissions are all that a call needs. Who lacks one of them is not shown the tool.
	permissions []access.Permission
	effect      effect
	input       *jsonschema.Schema
	output      *jsonschema.Schema
	run         func(ctx context.Context, c *call, arguments []byte) (answer, error)
}

// effect is what calling a tool does. Annotations are made of it; a test holds them against what really happens.
type effect int

const (
	reads    effect = iota
	adds            // makes something new with each call
	addsOnce        // makes something of a name that only one can have: the same call again is refused
	changes         // the same call again changes nothing more
	destroys        // takes something away; the same call again finds nothing
)

// answer is what a tool has to say: data for programs, and the same in words.
type answer struct {
	data  any
	words string
}

// define makes a tool of a function whose arguments and results are structs. Their schemas are made of the structs: fields
// are described by the tag jsonschema, and optional when they may be omitted.
func define[In, Out any](t tool, run func(ctx context.Context, c *call, in In) (Out, string, error)) *tool {
	t.input, t.output = plain(schemaOf[In]()), plain(schemaOf[Out]())
	t.run = func(ctx context.Context, c *call, arguments []byte) (answer, error) {
		var in In
		if err := read(arguments, &in); err != nil {
			return answer{}, err
		}
		out, words, err := run(ctx, c, in)
		return answer{data: out, words: words}, err
	}
	return &t
}

// typeSchemas describe types of ours that reflection would describe by their fields.
var typeSchemas = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[optional.Value[string]](): {Type: "string"},
}

func schemaOf[T any]() *jsonschema.Schema {
	s, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: typeSchemas})
	if err != nil {
		panic(fmt.Sprintf("mcp: describe %v: %v", reflect.TypeFor[T](), err)) // a tool's type is wrong
	}
	return s
}

// plain leaves null out of a schema: lists of ours are never null, and what there is nothing to say of is left out. Some
// clients know no more than one type for each property.
func plain(s *jsonschema.Schema) *jsonschema.Schema {
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	for _, property := range s.Properties {
		plain(property)
	}
	if s.Items != nil {
		plain(s.Items)
	}
	return s
}

// oneOf limits an argument to some words.
func (t *tool) oneOf(argument string, words ...string) *tool {
	property := t.input.Properties[argument]
	for _, w := range words {
		property.Enum = append(property.Enum, w)
	}
	return t
}

// itemsOneOf limits a field of the objects in a list to some words.
func (t *tool) itemsOneOf(list, field string, words ...string) *tool {
	property := t.input.Properties[list].Items.Properties[field]
	for _, w := range words {
		property.Enum = append(property.Enum, w)
	}
	return t
}

// read reads the arguments of a call. What is wrong with them is told by the name of the argument.
func read(arguments []byte, into any) error {
	if len(bytes.TrimSpace(arguments)) == 0 {
		arguments = []byte("{}")
	}
	err := jsonv2.Unmarshal(arguments, into, jsonv2.RejectUnknownMembers(true), jsonv2.MatchCaseInsensitiveNames(false))
	var semantic *jsonv2.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jsonv2.ErrUnknownName) && errors.As(err, &semantic):
		return &unknownError{semantic.JSONPointer}
	case errors.As(err, &semantic) && semantic.JSONPointer != "":
		return problem.Invalid(placeOf(semantic.JSONPointer), "must be "+kindOf(semantic.GoType))
	default:
		return problem.Invalid("arguments", "must be one JSON object, valid UTF-8, no field twice")
	}
}

// kindOf says what kind of value a type takes.
func kindOf(t reflect.Type) string {
	switch {
	case t == nil:
		return "of another kind"
	case t == reflect.TypeFor[optional.Value[string]](), t.Kind() == reflect.String:
		return "a text"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Struct:
		return "an object"
	default:
		return "of another kind"
	}
}

// unknownError says where a field is that the tool does not take.
type unknownError struct{ at jsontext.Pointer }

func (*unknownError) Error() string { return "an argument that the tool does not take" }

// placeOf writes a pointer as people do: tasks[1].title.
func placeOf(p jsontext.Pointer) string {
	place := ""
	for part := range p.Tokens() {
		switch _, err := strconv.Atoi(part); {
		case err == nil:
			place += "[" + part + "]"
		case place == "":
			place = part
		default:
			place += "." + part
		}
	}
	return place
}

// unknown says which fields there are at the level of one that is not known, without saying that again.
func (t *tool) unknown(e *unknownError) error {
	at, schema := e.at.Parent(), t.input
	for part := range at.Tokens() {
		if inner, ok := schema.Properties[part]; ok {
			schema = inner
		} else if schema.Items != nil {
			schema = schema.Items
		}
	}
	place := placeOf(at)
	if place == "" {
		place = "arguments"
	}
	return problem.Invalid(place, "has a field that this tool does not know; it takes "+strings.Join(slices.Sorted(maps.Keys(schema.Properties)), ", "))
}

// described is the tool as clients list it. All four hints are set: what is left out, clients take for the worst.
func (t *tool) described() *sdk.Tool {
	no := false
	destructive := t.effect == destroys || t.effect == changes // what is overwritten is gone, too
	return &sdk.Tool{
		Name: t.name, Title: t.title, Description: t.description, InputSchema: t.input, OutputSchema: t.output,
		Annotations: &sdk.ToolAnnotations{
			Title: t.title, ReadOnlyHint: t.effect == reads, DestructiveHint: &destructive,
			IdempotentHint: t.effect != adds, OpenWorldHint: &no,
		},
	}
}

// usable reports whether the caller may call the tool at all.
func (t *tool) usable(c *access.Caller) bool {
	for _, p := range t.permissions {
		if access.May(c, p) != access.Allowed {
			return false
		}
		if p == access.ProjectsCreate && access.Decide(c, p, access.Resource{Organization: c.Organization}) != access.Allowed {
			return false
		}
	}
	return true
}

// handle answers a call of the tool that came through the protocol.
func (t *tool) handle(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	c := callOf(ctx)
	if c == nil {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "the call came by no door"}
	}
	return t.result(ctx, c, r.Params.Arguments), nil
}

// result carries the call out. What goes wrong is a result, too, so that a model can read it and do better.
func (t *tool) result(ctx context.Context, c *call, arguments []byte) *sdk.CallToolResult {
	a, err := t.try(ctx, c, arguments)
	var unknown *unknownError
	if errors.As(err, &unknown) {
		err = t.unknown(unknown)
	}
	if err != nil {
		return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: c.door.excuse(c, t, err)}}}
	}
	data, err := json.Marshal(a.data)
	if err != nil {
		c.door.Log.Error("a tool's answer cannot be written", "tool", t.name, "error", err)
		return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: "Something went wrong on our side."}}}
	}
	return &sdk.CallToolResult{
		StructuredContent: json.RawMessage(data),
		Content:           []sdk.Content{&sdk.TextContent{Text: a.words}, &sdk.TextContent{Text: string(data)}},
	}
}

func (t *tool) try(ctx context.Context, c *call, arguments []byte) (answer, error) {
	c.info.Route = "POST " + Path + " " + t.name
	c.arguments = arguments
	for again := 1; ; again++ {
		for _, p := range t.permissions {
			if withheld(&c.caller, p) {
				return answer{}, problem.From(access.NeedPolicy, p)
			}
			if err := problem.RequireMay(&c.caller, p); err != nil {
				return answer{}, err
			}
		}
		a, err := t.run(request.With(ctx, c.info), c, arguments)
		if !retried(err, again) {
			return a, err
		}
		// Nothing has happened yet: once more, with what the caller may do now.
		if c.caller, err = c.again(); err != nil {
			return answer{}, err
		}
	}
}

// excuse says what went wrong, and what to do about it.
func (d *Door) excuse(c *call, t *tool, err error) string {
	err = d.Explain(err)
	p := problem.Describe(err, c.info.ID)
	var refusal *problem.Error
	switch p.Code {
	case problem.Internal:
		d.Log.Error("a tool failed", "request", c.info.ID, "tool", t.name, "error", err)
	case problem.Overloaded, problem.VerificationUnavailable:
		d.Log.Warn("an agent was turned away", "request", c.info.ID, "tool", t.name, "error", err)
	case problem.PolicyDenied:
		p.Detail += " What it lets agents do: " + d.publicURL + "/organizations/" + c.caller.OrganizationSlug + "/agents/policy"
	case problem.NotFound:
		which := ""
		if errors.As(err, &refusal) && len(refusal.Fields) > 0 {
			which = ", under the name in " + argumentOf(refusal.Fields[0].Location)
		}
		return "There is nothing here that you can see" + which + ". It may not exist, or lie outside what you were given: the person whom you act for can change that under Settings, Agents (" + d.publicURL + "/settings/agents). Projects go by id or key, such as WEB, tasks by id or by key and number, such as WEB-12."
	}
	var b strings.Builder
	if errors.As(err, &refusal) && p.Code == problem.RateLimited && refusal.RetryAfter > 0 {
		p.Detail += fmt.Sprintf(" There is room again in %d s.", refusal.RetryAfter)
	}
	if p.Code == problem.IdempotencyConflict {
		p.Detail = "This idempotency_key was used before with other arguments, or what they name is something else by now. Nothing was done. Use a new key for a new write."
	}
	if p.Code == problem.ValidationFailed {
		p.Detail = "Nothing was done, because some arguments do not hold:"
	}
	b.WriteString(p.Detail)
	for _, f := range p.Errors {
		b.WriteString("\n" + argumentOf(f.Location) + ": " + f.Message)
	}
	return b.String()
}

// argumentOf says of which argument a field of the features is.
func argumentOf(location string) string {
	for _, prefix := range []string{"body.", "query.", "header."} {
		location = strings.TrimPrefix(location, prefix)
	}
	if location == "Idempotency-Key" {
		return "idempotency_key"
	}
	if before, found := strings.CutSuffix(location, "assignee_id"); found {
		return before + "assignee"
	}
	return location
}

// onlyOurs refuses what this server does not offer, and lists to each caller what they may call.
func (*Door) onlyOurs(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, r sdk.Request) (sdk.Result, error) {
		if strings.HasPrefix(method, "prompts/") || strings.HasPrefix(method, "resources/") || strings.HasPrefix(method, "completion/") || strings.HasPrefix(method, "logging/") {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: "this server offers tools only"}
		}
		result, err := next(ctx, method, r)
		listed, ok := result.(*sdk.ListToolsResult)
		if err != nil || !ok {
			return result, err
		}
		c := callOf(ctx)
		kept := listed.Tools[:0:0]
		for _, one := range listed.Tools {
			if t := c.door.tools[one.Name]; c != nil && t != nil && t.usable(&c.caller) {
				kept = append(kept, one)
			}
		}
		listed.Tools = kept
		return listed, nil
	}
}
