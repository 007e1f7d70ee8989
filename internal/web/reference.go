package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// reference is the API's document, arranged for people. It is built once from the OpenAPI document, so that page and
// document cannot disagree.
type reference struct {
	Title, Version string
	Description    []string // paragraphs
	Groups         []referenceGroup
	Schemas        []referenceSchema
	Example        copyable
}

type referenceGroup struct {
	ID, Name, Description string
	Operations            []referenceOperation
}

type referenceOperation struct {
	ID, Method, Path, Summary, Description string
	Scopes                                 []string
	Session                                bool // no token can
	AnyToken                               bool // whatever its scopes
	Parameters                             []referenceField
	Body                                   []referenceField
	Responses                              []referenceResponse
}

type referenceField struct {
	Name, In, Type, Description string
	Required                    bool
}

type referenceResponse struct{ Status, Description, Type string }

type referenceSchema struct {
	Name, Description string
	Fields            []referenceField
}

// document is as much of OpenAPI 3.1 as the reference shows.
type document struct {
	Info struct {
		Title       string `json:"title"`
		Version     string `json:"version"`
		Description string `json:"description"`
	} `json:"info"`
	Servers    []struct{ URL string } `json:"servers"`
	Tags       []struct{ Name, Description string }
	Paths      ordered[map[string]json.RawMessage]
	Components struct {
		Schemas map[string]schema
	}
}

type documentOperation struct {
	OperationID string `json:"operationId"`
	Tags        []string
	Summary     string
	Description string
	Security    []map[string][]string
	Scopes      []string `json:"x-carnet-scopes"`
	Parameters  []struct {
		Name, In, Description string
		Required              bool
		Schema                schema
	}
	RequestBody struct {
		Content map[string]struct{ Schema schema }
	}
	Responses map[string]struct {
		Description string
		Content     map[string]struct{ Schema schema }
	}
}

// schema is as much of JSON Schema as the reference shows.
type schema struct {
	Ref         string `json:"$ref"`
	Type        any    // a name, or several
	Format      string
	Description string
	Enum        []any
	Items       *schema
	Properties  ordered[schema]
	Required    []string
	OneOf       []schema
	AnyOf       []schema
}

// ordered is a JSON object that remembers the order of its members, which the document's writer chose for readers.
type ordered[T any] []member[T]

type member[T any] struct {
	Name  string
	Value T
}

// UnmarshalJSON reads the members in their order.
func (o *ordered[T]) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value T
		if err := d.Decode(&value); err != nil {
			return err
		}
		*o = append(*o, member[T]{fmt.Sprint(name), value})
	}
	return nil
}

// methods are the methods that a path can have, in the order in which they are shown.
var methods = []string{"get", "post", "put", "patch", "delete"}

// newReference arranges an OpenAPI document. Operations come in the document's order, under their first tag.
func newReference(openAPI []byte, base string) (reference, error) {
	var d document
	if err := json.Unmarshal(openAPI, &d); err != nil {
		return reference{}, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	r := reference{
		Title: d.Info.Title, Version: d.Info.Version, Description: paragraphs(d.Info.Description),
		Example: copyable{ID: "first-call", Label: "A first call", Text: curl(base, "$CARNET_TOKEN")},
	}
	prefix := ""
	if len(d.Servers) > 0 {
		prefix = d.Servers[0].URL
	}
	groups := map[string]int{}
	group := func(name string) *referenceGroup {
		at, known := groups[name]
		if !known {
			at = len(r.Groups)
			groups[name] = at
			r.Groups = append(r.Groups, referenceGroup{ID: slug(name), Name: capital(name)})
		}
		return &r.Groups[at]
	}
	for _, tag := range d.Tags {
		group(tag.Name).Description = tag.Description
	}
	for _, path := range d.Paths {
		for _, method := range methods {
			raw, ok := path.Value[method]
			if !ok {
				continue
			}
			var o documentOperation
			if err := json.Unmarshal(raw, &o); err != nil {
				return reference{}, fmt.Errorf("read %s %s: %w", method, path.Name, err)
			}
			tag := "other"
			if len(o.Tags) > 0 {
				tag = o.Tags[0]
			}
			g := group(tag)
			g.Operations = append(g.Operations, d.operation(o, method, prefix+path.Name))
		}
	}
	r.Groups = slices.DeleteFunc(r.Groups, func(g referenceGroup) bool { return len(g.Operations) == 0 })
	// What tokens can call comes first: it is what most readers came for.
	slices.SortStableFunc(r.Groups, func(a, b referenceGroup) int { return cmp.Compare(a.forPeople(), b.forPeople()) })
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		s := d.Components.Schemas[name]
		if fields := d.fields(s); len(fields) > 0 {
			r.Schemas = append(r.Schemas, referenceSchema{Name: name, Description: s.Description, Fields: fields})
		}
	}
	return r, nil
}

// forPeople returns 1 for a group that no token has business with, else 0.
func (g referenceGroup) forPeople() int {
	if slices.ContainsFunc(g.Operations, func(o referenceOperation) bool { return o.AnyToken || len(o.Scopes) > 0 }) {
		return 0
	}
	return 1
}

func (d *document) operation(o documentOperation, method, path string) referenceOperation {
	op := referenceOperation{
		ID: cmp.Or(o.OperationID, slug(method+" "+path)), Method: strings.ToUpper(method), Path: path,
		Summary: o.Summary, Description: o.Description, Scopes: o.Scopes, Session: sessionOnly(o.Security),
		AnyToken: len(o.Scopes) == 0 && offers(o.Security, "token"),
	}
	for _, p := range o.Parameters {
		op.Parameters = append(op.Parameters, referenceField{Name: p.Name, In: p.In, Type: typeName(p.Schema), Description: p.Description, Required: p.Required})
	}
	if body, ok := o.RequestBody.Content["application/json"]; ok {
		op.Body = d.fields(body.Schema)
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		answer := o.Responses[status]
		text := referenceResponse{Status: status, Description: answer.Description}
		if content, ok := answer.Content["application/json"]; ok {
			text.Type = typeName(content.Schema)
		}
		op.Responses = append(op.Responses, text)
	}
	return op
}

// offers reports whether a way of presenting oneself is among those that serve.
func offers(security []map[string][]string, way string) bool {
	return slices.ContainsFunc(security, func(one map[string][]string) bool { _, ok := one[way]; return ok })
}

// sessionOnly reports whether every way of presenting oneself is a session.
func sessionOnly(security []map[string][]string) bool {
	for _, way := range security {
		if _, session := way["session"]; !session {
			return false
		}
	}
	return len(security) > 0
}

// fields returns the members of an object's schema.
func (d *document) fields(s schema) []referenceField {
	if s.Ref != "" {
		s = d.Components.Schemas[refName(s.Ref)]
	}
	var fields []referenceField
	for _, p := range s.Properties {
		fields = append(fields, referenceField{
			Name: p.Name, Type: typeName(p.Value), Description: p.Value.Description, Required: slices.Contains(s.Required, p.Name),
		})
	}
	return fields
}

func refName(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// typeName puts a schema's type into a few words.
func typeName(s schema) string {
	var text string
	switch {
	case s.Ref != "":
		return refName(s.Ref)
	case len(s.Enum) > 0:
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprint(v))
		}
		return strings.Join(values, " | ")
	case len(s.OneOf)+len(s.AnyOf) > 0:
		var names []string
		for _, alternative := range append(s.OneOf, s.AnyOf...) {
			names = append(names, typeName(alternative))
		}
		return strings.Join(names, " or ")
	}
	nullable := ""
	switch t := s.Type.(type) {
	case string:
		text = t
	case []any:
		for _, one := range t {
			if one == "null" {
				nullable = " or null"
			} else {
				text = fmt.Sprint(one)
			}
		}
	}
	switch {
	case text == "array" && s.Items != nil:
		text = "list of " + typeName(*s.Items)
	case s.Format != "":
		text = s.Format
	}
	return text + nullable
}

// slug makes an id for an address of a name.
func slug(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), "-")
}

func capital(name string) string {
	if name == "" {
		return ""
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// paragraphs parts a text at its empty lines and drops the marks of Markdown's code.
func paragraphs(text string) []string {
	var list []string
	for _, p := range strings.Split(strings.ReplaceAll(text, "`", ""), "\n\n") {
		if p = strings.Join(strings.Fields(p), " "); p != "" {
			list = append(list, p)
		}
	}
	return list
}
