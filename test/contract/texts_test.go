package contract_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// field is a field that people write text into.
type field struct {
	name         string
	as           who
	method, path string
	body         string // with %s for the text's JSON
	location     string
	limit        int
	block        bool // may have many lines
	kept         []any
	undo         func(t *testing.T, a *answer)
}

func (w *world) fields() []field {
	deleteTask := func(t *testing.T, a *answer) {
		w.send(t, w.owner, "DELETE", "/tasks/"+a.text(t, "id"), nil).want(t, 204)
	}
	deleteProject := func(t *testing.T, a *answer) {
		w.send(t, w.owner, "DELETE", "/projects/"+a.text(t, "id"), nil).want(t, 204)
	}
	deleteComment := func(t *testing.T, a *answer) {
		w.send(t, w.owner, "DELETE", "/comments/"+a.text(t, "id"), nil).want(t, 204)
	}
	revoke := func(t *testing.T, a *answer) {
		w.send(t, w.owner, "DELETE", "/tokens/"+a.text(t, "token", "id"), nil).want(t, 200)
	}
	tasks := "/projects/" + w.project + "/tasks"
	return []field{
		{"title of a new task", w.owner, "POST", tasks, `{"title":%s}`, "body.title", 200, false, []any{"title"}, deleteTask},
		{"title of a task", w.owner, "PATCH", "/tasks/" + w.task, `{"title":%s}`, "body.title", 200, false, []any{"title"}, nil},
		{"description of a new task", w.owner, "POST", tasks, `{"title":"x","description":%s}`, "body.description", 20_000, true, []any{"description"}, deleteTask},
		{"description of a task", w.owner, "PATCH", "/tasks/" + w.task, `{"description":%s}`, "body.description", 20_000, true, []any{"description"}, nil},
		{"name of a new project", w.owner, "POST", "/projects", `{"key":"$KEY","name":%s}`, "body.name", 100, false, []any{"name"}, deleteProject},
		{"name of a project", w.owner, "PATCH", "/projects/" + w.project, `{"name":%s}`, "body.name", 100, false, []any{"name"}, nil},
		{"description of a project", w.owner, "PATCH", "/projects/" + w.project, `{"description":%s}`, "body.description", 20_000, true, []any{"description"}, nil},
		{"a new comment", w.owner, "POST", "/tasks/" + w.task + "/comments", `{"body":%s}`, "body.body", 20_000, true, []any{"body"}, deleteComment},
		{"a comment", w.owner, "PATCH", "/comments/" + w.comment, `{"body":%s}`, "body.body", 20_000, true, []any{"body"}, nil},
		{"name of a new token", w.owner, "POST", "/tokens", `{"name":%s,"organization":"northwind","scopes":["tasks:read"]}`, "body.name", 100, false, []any{"token", "name"}, revoke},
		{"name of a token", w.owner, "PATCH", "/tokens/" + w.tokenID, `{"name":%s}`, "body.name", 100, false, []any{"name"}, nil},
		{"name of an account", w.owner, "PATCH", "/account", `{"name":%s}`, "body.name", 100, false, []any{"name"}, nil},
		{"name of an organization", w.owner, "PATCH", "/organizations/" + ours, `{"name":%s}`, "body.name", 100, false, []any{"name"}, nil},
	}
}

// texts: what people write is kept within bounds that are counted in characters, and holds nothing that deceives readers.
func (w *world) texts(t *testing.T) {
	key := 0
	for _, f := range w.fields() {
		body := func(jsonText string) string {
			key++
			return fmt.Sprintf(strings.Replace(f.body, "$KEY", fmt.Sprintf("K%d", key), 1), jsonText)
		}
		bad := map[string]string{
			"NUL":                      `"` + mark + `\u0000"`,
			"escape":                   `"\u001b[31m` + mark + `"`,
			"DEL":                      `"` + mark + `\u007f"`,
			"next line":                `"` + mark + `\u0085x"`,
			"right-to-left override":   `"` + mark + `\u202egnp.exe"`,
			"isolate":                  `"\u2066` + mark + `\u2069"`,
			"byte order mark":          `"\ufeff` + mark + `"`,
			"no character":             `"` + mark + `\uffff"`,
			"one too many":             text(strings.Repeat("x", f.limit+1)),
			"one wide one too many":    text(strings.Repeat("🚀", f.limit+1)),
			"ten times too many":       text(strings.Repeat("é", f.limit*10)),
			"one too many with accent": text(strings.Repeat("x", f.limit) + "\u0301"),
		}
		if !f.block {
			bad["line break"] = `"` + mark + `\nx"`
			bad["carriage return"] = `"` + mark + `\rx"`
			bad["tab"] = `"` + mark + `\tx"`
		}
		if !f.block || f.location == "body.body" {
			bad["nothing"] = `""`
			bad["blanks"] = `"  \u00a0 "`
		}
		var attempts []attempt
		for name, value := range bad {
			c := attempt{name: f.name + ": " + name, as: f.as, method: f.method, path: f.path, body: body(value), status: 422, code: "validation_failed", fields: []string{f.location}}
			if strings.HasSuffix(name, "too many") {
				c.says = fmt.Sprintf("at most %d characters", f.limit)
			}
			attempts = append(attempts, c)
		}
		for name, value := range map[string]string{
			"high surrogate": `"` + mark + `\ud83d"`, "low surrogate": `"\ude80` + mark + `"`, "surrogates in the wrong order": `"\ude80\ud83d"`,
			"a byte that is no UTF-8": "\"" + mark + "\xff\"", "overlong UTF-8": "\"" + mark + "\xc0\xaf\"", "a surrogate in UTF-8": "\"\xed\xa0\x80" + mark + "\"",
			"an escape that is none": `"` + mark + `\x00"`,
		} {
			attempts = append(attempts, attempt{name: f.name + ": " + name, as: f.as, method: f.method, path: f.path, body: body(value), status: 400, code: "request_malformed"})
		}
		w.refuse(t, attempts)

		good := map[string][2]string{
			"as long as may be":                  {strings.Repeat("x", f.limit), strings.Repeat("x", f.limit)},
			"as long as may be in wide ones":     {strings.Repeat("🚀", f.limit), strings.Repeat("🚀", f.limit)},
			"as long as may be when composed":    {strings.Repeat("e\u0301", f.limit), strings.Repeat("é", f.limit)},
			"a family":                           {"👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"},
			"what looks like code":               {`<script>alert('x')</script> {{.}} %s '; DROP TABLE users; --`, `<script>alert('x')</script> {{.}} %s '; DROP TABLE users; --`},
			"what looks like an escape":          {`\u0000 \n \"`, `\u0000 \n \"`},
			"right to left":                      {"שלום עולם", "שלום עולם"},
			"one character that is four letters": {"ﷺ", "ﷺ"},
		}
		if !f.block {
			good["blanks around it"] = [2]string{" \t x \n", "x"}
		} else {
			good["lines"] = [2]string{"a\r\n\tb\rc", "a\n\tb\nc"}
		}
		for name, c := range good {
			t.Run(f.name+": "+name, func(t *testing.T) {
				a := w.send(t, f.as, f.method, f.path, body(text(c[0])))
				if got, _ := a.at(f.kept...).(string); a.status >= 300 || got != c[1] {
					t.Errorf("%s: %.100q became %.100q: %d %.500s", a.what, c[0], got, a.status, a.body)
					return
				}
				if f.undo != nil {
					f.undo(t, a)
				}
			})
		}
	}
}

// text returns a text as JSON.
func text(s string) string {
	encoded, _ := json.Marshal(s)
	return string(encoded)
}
