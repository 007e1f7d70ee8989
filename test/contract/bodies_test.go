package contract_test

import (
	"io"
	"slices"
	"strings"
	"testing"
)

const (
	megabyte = 1 << 20
	// deep is how many levels of JSON are one too many for any reader with a limit.
	deep = 10_001
)

// writes are the routes with a body, each with a body that would do, were the case's own mistake not in it.
func (w *world) writes() []attempt {
	return []attempt{
		{name: "create project", as: w.owner, method: "POST", path: "/projects", body: `"key":"NEW","name":"New"`},
		{name: "change project", as: w.owner, method: "PATCH", path: "/projects/" + w.project, body: `"name":"New"`},
		{name: "share project", as: w.owner, method: "PUT", path: "/projects/" + w.project + "/members/" + w.memberID, body: `"role":"viewer"`},
		{name: "create task", as: who{credential: w.token}, method: "POST", path: "/projects/" + w.project + "/tasks", body: `"title":"New"`},
		{name: "change task", as: who{credential: w.token}, method: "PATCH", path: "/tasks/" + w.task, body: `"title":"New"`},
		{name: "create comment", as: who{credential: w.token}, method: "POST", path: "/tasks/" + w.task + "/comments", body: `"body":"New"`},
		{name: "change comment", as: w.owner, method: "PATCH", path: "/comments/" + w.comment, body: `"body":"New"`},
		{name: "create token", as: w.owner, method: "POST", path: "/tokens", body: `"name":"New","organization":"northwind","scopes":["tasks:read"]`},
		{name: "preview token", as: w.owner, method: "POST", path: "/tokens/preview", body: `"name":"New","organization":"northwind","scopes":["tasks:read"]`},
		{name: "change token", as: w.owner, method: "PATCH", path: "/tokens/" + w.tokenID, body: `"name":"New"`},
		{name: "rotate token", as: w.owner, method: "POST", path: "/tokens/" + w.tokenID + "/rotate", body: `"grace_seconds":60`},
		{name: "identify token", as: w.owner, method: "POST", path: "/tokens/identify", body: `"prefix":"carnet_pat_000000000000"`},
		{name: "change account", as: w.owner, method: "PATCH", path: "/account", body: `"name":"New"`},
		{name: "change password", as: w.owner, method: "POST", path: "/account/password", body: `"current":"quiet harbor lantern 47","new":"seventeen silent submarines"`},
		{name: "reauthenticate", as: w.owner, method: "POST", path: "/auth/reauthenticate", body: `"password":"quiet harbor lantern 47"`},
		{name: "create organization", as: w.owner, method: "POST", path: "/organizations", body: `"slug":"eastwind","name":"New"`},
		{name: "change organization", as: w.owner, method: "PATCH", path: "/organizations/" + ours, body: `"name":"New"`},
		{name: "add member", as: w.owner, method: "POST", path: "/organizations/" + ours + "/members", body: `"email":"noor@example.com","role":"member"`},
		{name: "change member", as: w.owner, method: "PATCH", path: "/organizations/" + ours + "/members/" + w.memberID, body: `"role":"manager"`},
		{name: "change agent policy", as: w.owner, method: "PATCH", path: "/organizations/" + ours + "/agent-policy", body: `"scopes":["tasks:read"]`},
		{name: "revoke agents", as: w.owner, method: "DELETE", path: "/organizations/" + ours + "/agents?all=true", body: `"reason":"New"`},
		{name: "revoke agent", as: w.owner, method: "DELETE", path: "/organizations/" + ours + "/agents/" + w.agentID, body: `"reason":"New"`},
		{name: "pause agent", as: w.owner, method: "POST", path: "/organizations/" + ours + "/agents/" + w.agentID + "/pause", body: `"reason":"New"`},
		{name: "sign up", as: w.nobody, method: "POST", path: "/auth/sign-up", body: `"email":"new@example.com","name":"New","password":"seventeen silent submarines"`},
		{name: "sign in", as: w.nobody, method: "POST", path: "/auth/sign-in", body: `"email":"maya@example.com","password":"quiet harbor lantern 47"`},
		{name: "verify address", as: w.nobody, method: "POST", path: "/auth/verify-email", body: `"code":"abc"`},
	}
}

// bodies: on every route that has one, a body that is no JSON object of known fields is refused before anything is done.
func (w *world) bodies(t *testing.T) {
	for _, route := range w.writes() {
		var attempts []attempt
		fields, _ := route.body.(string)
		name, _, _ := strings.Cut(strings.TrimPrefix(fields, `"`), `"`)
		for _, c := range []struct {
			name    string
			body    any
			headers []string
			status  int
			code    string
			fields  []string
		}{
			{"no body", "", nil, 400, "request_malformed", nil},
			{"blanks", " \n", nil, 400, "request_malformed", nil},
			{"cut", "{" + fields, nil, 400, "request_malformed", nil},
			{"rubbish behind", "{" + fields + "}" + mark, nil, 400, "request_malformed", nil},
			{"two objects", "{" + fields + "}{" + fields + "}", nil, 400, "request_malformed", nil},
			{"a comma too many", "{" + fields + ",}", nil, 400, "request_malformed", nil},
			{"a comment", "{" + fields + "/* " + mark + " */}", nil, 400, "request_malformed", nil},
			{"single quotes", "{'" + mark + "':1}", nil, 400, "request_malformed", nil},
			{"a form", "name=" + mark, nil, 400, "request_malformed", nil},
			{"a byte order mark", "\ufeff{" + fields + "}", nil, 400, "request_malformed", nil},
			{"a name twice", "{" + fields + "," + fields + "}", nil, 400, "request_malformed", nil},
			{"a name twice, once escaped", "{" + fields + `,"\u00` + hex(name[0]) + name[1:] + `":"` + mark + `"}`, nil, 400, "request_malformed", nil},
			{"no UTF-8", "{" + fields + `,"x":"` + mark + "\xff\"}", nil, 400, "request_malformed", nil},
			{"UTF-16", "\xff\xfe{\x00}\x00", nil, 400, "request_malformed", nil},
			{"a control character in clear", "{" + fields + `,"x":"` + mark + "\x00\"}", nil, 400, "request_malformed", nil},
			{"too deep", strings.Repeat("[", deep) + strings.Repeat("]", deep), nil, 400, "request_malformed", nil},
			{"too deep in objects", strings.Repeat(`{"a":`, deep) + "1" + strings.Repeat("}", deep), nil, 400, "request_malformed", nil},
			{"deep in an unknown field", "{" + fields + `,"` + mark + `":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}", nil, 422, "validation_failed", []string{"body"}},
			{"null", "null", nil, 422, "validation_failed", []string{"body"}},
			{"an array", "[{" + fields + "}]", nil, 422, "validation_failed", []string{"body"}},
			{"a string", `"` + mark + `"`, nil, 422, "validation_failed", []string{"body"}},
			{"a number", "47", nil, 422, "validation_failed", []string{"body"}},
			{"an unknown field", "{" + fields + `,"` + mark + `":1}`, nil, 422, "validation_failed", []string{"body"}},
			{"an unknown field with dots", "{" + fields + `,"` + mark + `.` + mark + `.x":1}`, nil, 422, "validation_failed", []string{"body"}},
			{"an unknown field with a bracket", "{" + fields + `,"` + mark + `[0].` + mark + `":1}`, nil, 422, "validation_failed", []string{"body"}},
			{"an unknown field without a name", "{" + fields + `,"":1}`, nil, 422, "validation_failed", []string{"body"}},
			{"a field that stands on no page", "{" + fields + `,"id":"` + mark + `","user_id":"x","version":1}`, nil, 422, "validation_failed", nil},
			{"__proto__", "{" + fields + `,"__proto__":{"role":"owner"}}`, nil, 422, "validation_failed", []string{"body"}},
			{"a name in capitals", "{" + strings.Replace(fields, name, strings.ToUpper(name), 1) + "}", nil, 422, "validation_failed", nil},
			{"a name in capitals besides", "{" + fields + `,"` + strings.ToUpper(name) + `":"` + mark + `"}`, nil, 422, "validation_failed", []string{"body"}},
			{"a name with a blank", "{" + fields + `,"` + name + ` ":"` + mark + `"}`, nil, 422, "validation_failed", []string{"body"}},
			{"null in a field", `{"` + name + `":null}`, nil, 422, "validation_failed", nil},
			{"an object in a field", `{"` + name + `":{"` + mark + `":1}}`, nil, 422, "validation_failed", nil},
			{"an array in a field", `{"` + name + `":["` + mark + `"]}`, nil, 422, "validation_failed", nil},
			{"a truth in a field", `{"` + name + `":true}`, nil, 422, "validation_failed", nil},
			{"1e400 in a field", `{"` + name + `":1e400}`, nil, 422, "validation_failed", nil},
			{"another media type", "{" + fields + "}", []string{"Content-Type", "text/plain"}, 415, "media_type", nil},
			{"the media type of a form", "{" + fields + "}", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "media_type", nil},
			{"the media type of an upload", "{" + fields + "}", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "media_type", nil},
			{"a media type that ends in +json", "{" + fields + "}", []string{"Content-Type", "application/merge-patch+json"}, 415, "media_type", nil},
			{"a media type that is none", "{" + fields + "}", []string{"Content-Type", mark}, 415, "media_type", nil},
			{"another charset", "{" + fields + "}", []string{"Content-Type", "application/json; charset=iso-8859-1"}, 415, "media_type", nil},
			{"a charset twice", "{" + fields + "}", []string{"Content-Type", "application/json; charset=utf-8; charset=utf-16"}, 415, "media_type", nil},
			{"two media types", "{" + fields + "}", []string{"Content-Type", "application/json", "Content-Type", "text/plain"}, 415, "media_type", nil},
			{"packed", "\x1f\x8b\x08\x00", []string{"Content-Encoding", "gzip"}, 400, "request_malformed", nil},
			{"a byte above 1 MiB", "{" + fields + "}" + strings.Repeat(" ", megabyte-len(fields)-1), nil, 413, "too_large", nil},
			{"above 1 MiB in chunks", io.MultiReader(strings.NewReader(strings.Repeat(" ", megabyte)), strings.NewReader("{"+fields+"}")), nil, 413, "too_large", nil},
		} {
			if c.name == "no body" && slices.Contains([]string{"rotate token", "revoke agents", "revoke agent", "pause agent"}, route.name) {
				continue // its body may be absent
			}
			attempts = append(attempts, attempt{
				name: route.name + ": " + c.name, as: route.as, method: route.method, path: route.path,
				body: c.body, headers: c.headers, status: c.status, code: c.code, fields: c.fields,
			})
		}
		w.refuse(t, attempts)
	}

	t.Run("what holds", func(t *testing.T) {
		body := `{"title":"A task that may be"}`
		for name, c := range map[string]struct {
			body    any
			headers []string
		}{
			"charset":              {body, []string{"Content-Type", "application/json; charset=utf-8"}},
			"charset in capitals":  {body, []string{"Content-Type", `Application/JSON;charset="UTF-8"`}},
			"no media type":        {body, []string{"Content-Type", without}},
			"chunks":               {io.MultiReader(strings.NewReader(body[:9]), strings.NewReader(body[9:])), nil},
			"1 MiB to the byte":    {body + strings.Repeat(" ", megabyte-len(body)), nil},
			"blanks around it":     {"\r\n\t " + body + "\n", nil},
			"escapes in the names": {`{"\u0074itle":"A task that may be"}`, nil},
			"a pair of surrogates": {`{"title":"\ud83d\ude80"}`, nil},
		} {
			t.Run(name, func(t *testing.T) {
				id := w.send(t, w.owner, "POST", "/projects/"+w.project+"/tasks", c.body, c.headers...).want(t, 201).text(t, "id")
				w.send(t, w.owner, "DELETE", "/tasks/"+id, nil).want(t, 204)
			})
		}
	})
}

func hex(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}
