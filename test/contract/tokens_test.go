package contract_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"carnet/internal/id"
)

// tokens: nobody makes a token that is more than they are, or that lives too long, or of what they do not see.
func (w *world) tokens(t *testing.T) {
	t.Run("create", w.createTokens)
	t.Run("change", w.changeTokens)
	t.Run("end", w.endTokens)
}

// draft returns the body of a new token with some fields set otherwise.
func draft(fields map[string]any) map[string]any {
	body := map[string]any{"name": "New", "organization": ours, "scopes": []string{"tasks:read"}}
	for name, value := range fields {
		if value == without {
			delete(body, name)
			continue
		}
		body[name] = value
	}
	return body
}

func (w *world) createTokens(t *testing.T) {
	now := time.Now()
	limit := now.AddDate(10, 0, 0)
	days := int(limit.Sub(now).Hours() / 24)
	deleted := w.made(t, w.owner, "/projects", map[string]any{"key": "GONE", "name": "Gone"})
	w.send(t, w.owner, "DELETE", "/projects/"+deleted, nil).want(t, 204)
	many := make([]string, 501)
	for i := range many {
		many[i] = id.New(id.Project)
	}
	scope := func(names ...string) map[string]any { return map[string]any{"scopes": names} }
	project := func(ids ...string) map[string]any { return map[string]any{"projects": ids} }
	at := func(value any) map[string]any { return map[string]any{"expires_at": value} }
	in := func(value any) map[string]any { return map[string]any{"expires_in_days": value} }

	var attempts []attempt
	for _, c := range []struct {
		name   string
		as     who
		fields map[string]any
		status int
		code   string
		where  []string
		says   string
	}{
		{"no name", w.owner, map[string]any{"name": without}, 422, "validation_failed", []string{"body.name"}, ""},
		{"no scopes", w.owner, map[string]any{"scopes": without}, 422, "validation_failed", []string{"body"}, "scopes"},
		{"empty scopes", w.owner, map[string]any{"scopes": []string{}}, 422, "validation_failed", []string{"body.scopes"}, "at least one"},
		{"scopes that are null", w.owner, map[string]any{"scopes": nil}, 422, "validation_failed", []string{"body.scopes"}, ""},
		{"scopes in one text", w.owner, map[string]any{"scopes": "tasks:read projects:read"}, 422, "validation_failed", []string{"body.scopes"}, ""},
		{"a scope that is null", w.owner, map[string]any{"scopes": []any{"tasks:read", nil}}, 422, "validation_failed", []string{"body.scopes[1]"}, ""},
		{"an unknown scope", w.owner, scope("tasks:read", mark), 422, "validation_failed", []string{"body.scopes[1]"}, ""},
		{"an unknown verb", w.owner, scope("tasks:admin"), 422, "validation_failed", []string{"body.scopes[0]"}, ""},
		{"a permission that is no scope", w.owner, scope("tokens:manage"), 422, "validation_failed", []string{"body.scopes[0]"}, ""},
		{"a star", w.owner, scope("*"), 422, "validation_failed", []string{"body.scopes[0]"}, ""},
		{"an empty scope", w.owner, scope(""), 422, "validation_failed", []string{"body.scopes[0]"}, ""},
		{"a scope in capitals", w.owner, scope("TASKS:READ"), 422, "validation_failed", []string{"body.scopes[0]"}, ""},
		{"a scope with a blank", w.owner, scope("tasks:read "), 422, "validation_failed", []string{"body.scopes[0]"}, ""},
		{"a scope that the role lacks", w.member, scope("tasks:read", "audit:read"), 422, "validation_failed", []string{"body.scopes"}, "audit:read"},
		{"a scope that a guest lacks", w.guest, scope("audit:read"), 422, "validation_failed", []string{"body.scopes"}, "audit:read"},
		{"too many scopes", w.owner, scope(strings.Split(strings.Repeat("tasks:read ", 50)+"tasks:read", " ")...), 422, "validation_failed", []string{"body.scopes"}, ""},

		{"no projects at all", w.owner, project([]string{}...), 422, "validation_failed", []string{"body.projects"}, ""},
		{"a project of another organization", w.owner, project(w.theirProject), 422, "validation_failed", []string{"body.projects"}, ""},
		{"a made-up project", w.owner, project(id.New(id.Project)), 422, "validation_failed", []string{"body.projects"}, ""},
		{"a project that is none", w.owner, project(mark), 422, "validation_failed", []string{"body.projects"}, ""},
		{"one's own project and another one", w.owner, project(w.project, w.theirProject), 422, "validation_failed", []string{"body.projects"}, ""},
		{"a private project of others", w.member, project(w.private), 422, "validation_failed", []string{"body.projects"}, ""},
		{"a project for a guest who is in none", w.guest, project(w.project), 422, "validation_failed", []string{"body.projects"}, ""},
		{"a deleted project", w.owner, project(deleted), 422, "validation_failed", []string{"body.projects"}, ""},
		{"an empty project", w.owner, project(""), 422, "validation_failed", []string{"body.projects"}, ""},
		{"a task for a project", w.owner, project(w.task), 422, "validation_failed", []string{"body.projects"}, ""},
		{"too many projects", w.owner, project(many...), 422, "validation_failed", []string{"body.projects"}, ""},
		{"a key for a project", w.owner, project("APP"), 422, "validation_failed", []string{"body.projects"}, ""},

		{"expiry in the past", w.owner, at(now.Add(-time.Second)), 422, "validation_failed", []string{"body.expires_at"}, "10 years"},
		{"expiry long ago", w.owner, at("0001-01-01T00:00:00Z"), 422, "validation_failed", []string{"body.expires_at"}, ""},
		{"expiry a minute too late", w.owner, at(limit.Add(time.Minute)), 422, "validation_failed", []string{"body.expires_at"}, "10 years"},
		{"expiry at the end of time", w.owner, at("9999-12-31T23:59:59Z"), 422, "validation_failed", []string{"body.expires_at"}, ""},
		{"expiry that is no time", w.owner, at(mark), 422, "validation_failed", []string{"body.expires_at"}, ""},
		{"expiry that is a word", w.owner, at("tomorrow"), 422, "validation_failed", []string{"body.expires_at"}, ""},
		{"expiry that is empty", w.owner, at(""), 422, "validation_failed", []string{"body.expires_at"}, ""},
		{"expiry that is a date", w.owner, at("2027-01-01"), 422, "validation_failed", []string{"body.expires_at"}, ""},
		{"expiry without a zone", w.owner, at("2027-01-01T00:00:00"), 422, "validation_failed", []string{"body.expires_at"}, ""},
		{"expiry on a day that there is not", w.owner, at("2027-02-30T00:00:00Z"), 422, "validation_failed", []string{"body.expires_at"}, ""},
		{"expiry in seconds", w.owner, at(now.Unix() + 3600), 422, "validation_failed", []string{"body.expires_at"}, ""},
		{"both expiries", w.owner, map[string]any{"expires_at": now.Add(time.Hour), "expires_in_days": 1}, 422, "validation_failed", []string{"body.expires_in_days"}, "not both"},
		{"no days", w.owner, in(0), 422, "validation_failed", []string{"body.expires_in_days"}, ""},
		{"days before today", w.owner, in(-1), 422, "validation_failed", []string{"body.expires_in_days"}, ""},
		{"a day too many", w.owner, in(days + 1), 422, "validation_failed", []string{"body.expires_in_days"}, ""},
		{"2^31 days", w.owner, in(1 << 31), 422, "validation_failed", []string{"body.expires_in_days"}, ""},
		{"2^63-1 days", w.owner, in(math.MaxInt64), 422, "validation_failed", nil, ""},
		{"2^63 days", w.owner, in(uint64(1 << 63)), 422, "validation_failed", nil, ""},
		{"half a day", w.owner, in(0.5), 422, "validation_failed", nil, ""},
		{"days in words", w.owner, in("30"), 422, "validation_failed", []string{"body.expires_in_days"}, ""},

		{"an unknown purpose", w.owner, map[string]any{"purpose": mark}, 422, "validation_failed", []string{"body.purpose"}, ""},
		{"a session for a purpose", w.owner, map[string]any{"purpose": "session"}, 422, "validation_failed", []string{"body.purpose"}, ""},
		{"a value of one's own", w.owner, map[string]any{"value": mark}, 422, "validation_failed", []string{"body"}, ""},
		{"a user of one's own", w.owner, map[string]any{"user_id": w.memberID}, 422, "validation_failed", []string{"body"}, ""},
		{"no organization", w.owner, map[string]any{"organization": without}, 422, "validation_failed", []string{"body"}, "organization"},
		{"another organization", w.owner, map[string]any{"organization": theirs}, 404, "not_found", nil, ""},
		{"a made-up organization", w.owner, map[string]any{"organization": mark}, 404, "not_found", nil, ""},
		{"an empty organization", w.owner, map[string]any{"organization": ""}, 404, "not_found", nil, ""},
		{"an organization in capitals", w.owner, map[string]any{"organization": "NORTHWIND"}, 404, "not_found", nil, ""},
		{"an address that is not verified", w.unverified, nil, 403, "email_unverified", nil, ""},
		{"several mistakes at once", w.owner, map[string]any{"name": " ", "scopes": []string{mark}, "expires_in_days": 0, "projects": []string{}}, 422, "validation_failed",
			[]string{"body.expires_in_days", "body.name", "body.projects", "body.scopes[0]"}, ""},
	} {
		attempts = append(attempts, attempt{name: c.name, as: c.as, method: "POST", path: "/tokens", body: draft(c.fields), status: c.status, code: c.code, fields: c.where, says: c.says})
	}
	w.refuse(t, attempts)

	t.Run("a project elsewhere is told like one that is not", func(t *testing.T) {
		want := w.send(t, w.owner, "POST", "/tokens", draft(project(id.New(id.Project))))
		for name, other := range map[string]string{"another organization's": w.theirProject, "deleted": deleted, "rubbish": mark, "a task": w.task} {
			same(t, name, want, w.send(t, w.owner, "POST", "/tokens", draft(project(other))))
		}
		same(t, "private", want, w.send(t, w.member, "POST", "/tokens", draft(project(w.private))))
	})
	t.Run("an organization elsewhere is told like one that is not", func(t *testing.T) {
		want := w.send(t, w.owner, "POST", "/tokens", draft(map[string]any{"organization": "westwind"}))
		same(t, "another's", want, w.send(t, w.owner, "POST", "/tokens", draft(map[string]any{"organization": theirs})))
	})

	t.Run("what holds", func(t *testing.T) {
		for name, c := range map[string]struct {
			fields map[string]any
			at     []any
			want   any
		}{
			"scopes twice":               {scope("tasks:read", "tasks:read"), []any{"token", "scopes"}, []any{"tasks:read"}},
			"projects twice":             {project(w.project, w.project), []any{"token", "projects"}, []any{w.project}},
			"projects that are null":     {map[string]any{"projects": nil}, []any{"token", "projects"}, nil},
			"expiries that are null":     {map[string]any{"expires_at": nil, "expires_in_days": nil}, []any{"token", "expires_at"}, nil},
			"ten years to the second":    {at(limit), []any{"token", "state"}, "live"},
			"ten years in days":          {in(days), []any{"token", "state"}, "live"},
			"a time elsewhere on earth":  {at("2035-06-01T12:00:00.5+02:00"), []any{"token", "expires_at"}, "2035-06-01T10:00:00.5Z"},
			"nanoseconds":                {at("2035-06-01T12:00:00.123456789Z"), []any{"token", "expires_at"}, "2035-06-01T12:00:00.123456Z"},
			"a name that others have":    {map[string]any{"name": "Script"}, []any{"token", "name"}, "Script"},
			"a scope that it would have": {scope("tasks:write", "tasks:read"), []any{"token", "state"}, "live"},
		} {
			t.Run(name, func(t *testing.T) {
				a := w.send(t, w.owner, "POST", "/tokens", draft(c.fields)).want(t, 201)
				if got := a.at(c.at...); fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("%v is %v, not %v", c.at, got, c.want)
				}
				w.send(t, w.owner, "DELETE", "/tokens/"+a.text(t, "token", "id"), nil).want(t, 200)
			})
		}
	})
}

func (w *world) changeTokens(t *testing.T) {
	soon, value := w.issue(t, w.owner, nil, "tasks:read")
	end := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Microsecond)
	w.send(t, w.owner, "PATCH", "/tokens/"+soon, map[string]any{"expires_at": end}).want(t, 200)
	second := w.made(t, w.owner, "/projects", map[string]any{"key": "TWO", "name": "Second"})

	var attempts []attempt
	for _, c := range []struct {
		name, id string
		fields   map[string]any
		status   int
		code     string
		where    []string
	}{
		{"more scopes", w.readingID, map[string]any{"scopes": []string{"tasks:read", "projects:read"}}, 422, "widening_refused", nil},
		{"other scopes", w.readingID, map[string]any{"scopes": []string{"projects:read"}}, 422, "widening_refused", nil},
		{"write in place of read", w.readingID, map[string]any{"scopes": []string{"tasks:write"}}, 422, "widening_refused", nil},
		{"all projects", w.scopedID, map[string]any{"projects": nil}, 422, "widening_refused", nil},
		{"more projects", w.scopedID, map[string]any{"projects": []string{w.project, second}}, 422, "widening_refused", nil},
		{"other projects", w.scopedID, map[string]any{"projects": []string{second}}, 422, "widening_refused", nil},
		{"a later end", soon, map[string]any{"expires_at": end.Add(time.Second)}, 422, "widening_refused", nil},
		{"no end", soon, map[string]any{"expires_at": nil}, 422, "widening_refused", nil},
		{"narrower and wider at once", w.scopedID, map[string]any{"scopes": []string{"tasks:read"}, "projects": nil}, 422, "widening_refused", nil},
		{"another name and wider", w.readingID, map[string]any{"name": mark, "scopes": []string{"tasks:write"}}, 422, "widening_refused", nil},
		{"an empty name", w.readingID, map[string]any{"name": ""}, 422, "validation_failed", []string{"body.name"}},
		{"a name of blanks", w.readingID, map[string]any{"name": "  "}, 422, "validation_failed", []string{"body.name"}},
		{"a name that is null", w.readingID, map[string]any{"name": nil}, 422, "validation_failed", []string{"body.name"}},
		{"no scopes", w.readingID, map[string]any{"scopes": []string{}}, 422, "validation_failed", []string{"body.scopes"}},
		{"scopes that are null", w.readingID, map[string]any{"scopes": nil}, 422, "validation_failed", []string{"body.scopes"}},
		{"an unknown scope", w.readingID, map[string]any{"scopes": []string{mark}}, 422, "validation_failed", []string{"body.scopes[0]"}},
		{"no projects", w.scopedID, map[string]any{"projects": []string{}}, 422, "validation_failed", []string{"body.projects"}},
		{"another organization's project", w.scopedID, map[string]any{"projects": []string{w.theirProject}}, 422, "validation_failed", []string{"body.projects"}},
		{"a made-up project", w.scopedID, map[string]any{"projects": []string{id.New(id.Project)}}, 422, "validation_failed", []string{"body.projects"}},
		{"another organization's project for all", w.readingID, map[string]any{"projects": []string{w.theirProject}}, 422, "validation_failed", []string{"body.projects"}},
		{"an end in the past", w.readingID, map[string]any{"expires_at": "2020-01-01T00:00:00Z"}, 422, "validation_failed", []string{"body.expires_at"}},
		{"an end too late", w.readingID, map[string]any{"expires_at": time.Now().AddDate(10, 0, 1)}, 422, "validation_failed", []string{"body.expires_at"}},
		{"an end that is no time", w.readingID, map[string]any{"expires_at": mark}, 422, "validation_failed", []string{"body.expires_at"}},
		{"days", w.readingID, map[string]any{"expires_in_days": 3}, 422, "validation_failed", []string{"body"}},
		{"another organization", w.readingID, map[string]any{"organization": theirs}, 422, "validation_failed", []string{"body"}},
		{"another purpose", w.readingID, map[string]any{"purpose": "agent"}, 422, "validation_failed", []string{"body"}},
		{"a state", w.readingID, map[string]any{"state": "live"}, 422, "validation_failed", []string{"body"}},
		{"another's token", w.theirTokenID, map[string]any{"name": "Mine"}, 404, "not_found", nil},
	} {
		attempts = append(attempts, attempt{name: c.name, as: w.owner, method: "PATCH", path: "/tokens/" + c.id, body: c.fields, status: c.status, code: c.code, fields: c.where})
	}
	for name, grace := range map[string]any{
		"below nothing": -1, "above a day": 86401, "2^63": uint64(1 << 63), "-2^63-1": "RAW-9223372036854775809", "half a second": 0.5,
		"in words": "60", "null": nil, "true": true, "a list": []int{60},
	} {
		body := any(map[string]any{"grace_seconds": grace})
		if raw, ok := grace.(string); ok && strings.HasPrefix(raw, "RAW") {
			body = `{"grace_seconds":` + raw[3:] + `}`
		}
		attempts = append(attempts, attempt{name: "a grace " + name, as: w.owner, method: "POST", path: "/tokens/" + w.tokenID + "/rotate", body: body, status: 422, code: "validation_failed"})
	}
	w.refuse(t, attempts)
	w.send(t, who{credential: value}, "GET", "/tasks", nil).want(t, 200)
	w.send(t, w.owner, "DELETE", "/tokens/"+soon, nil).want(t, 200)
}

func (w *world) endTokens(t *testing.T) {
	old, value := w.issue(t, w.owner, nil, "tasks:read")
	first := w.send(t, w.owner, "DELETE", "/tokens/"+old, nil).want(t, 200).text(t, "revoked_at")
	if again := w.send(t, w.owner, "DELETE", "/tokens/"+old, nil).want(t, 200).text(t, "revoked_at"); again != first {
		t.Errorf("revoking again moved the moment from %s to %s", first, again)
	}
	forged := checksummed(value[:len(value)-20] + strings.Repeat("A", 14) + "000000")
	w.refuse(t, []attempt{
		{name: "used", as: who{credential: value}, method: "GET", path: "/tasks", status: 401, code: "token_revoked"},
		{name: "used with another secret", as: who{credential: forged}, method: "GET", path: "/tasks", status: 401, code: "token_invalid"},
		{name: "renamed", as: w.owner, method: "PATCH", path: "/tokens/" + old, body: `{"name":"Back"}`, status: 409, code: "conflict"},
		{name: "brought back", as: w.owner, method: "POST", path: "/tokens/" + old + "/rotate", status: 409, code: "conflict"},
		{name: "revoked by another", as: w.member, method: "DELETE", path: "/tokens/" + w.tokenID, status: 404, code: "not_found"},
		{name: "revoked by itself", as: who{credential: w.token}, method: "DELETE", path: "/tokens/" + w.tokenID, status: 403, code: "signin_required"},
		{name: "identified by nothing", as: w.owner, method: "POST", path: "/tokens/identify", body: `{}`, status: 422, code: "validation_failed", fields: []string{"body.prefix", "body.value"}},
		{name: "identified by both", as: w.owner, method: "POST", path: "/tokens/identify", body: map[string]any{"value": value, "prefix": value[:23]}, status: 422, code: "validation_failed"},
		{name: "identified by rubbish", as: w.owner, method: "POST", path: "/tokens/identify", body: map[string]any{"value": mark}, status: 404, code: "not_found"},
		{name: "identified by a wrong secret", as: w.owner, method: "POST", path: "/tokens/identify", body: map[string]any{"value": forged}, status: 404, code: "not_found"},
		{name: "identified by another", as: w.member, method: "POST", path: "/tokens/identify", body: map[string]any{"value": value}, status: 404, code: "not_found"},
		{name: "identified by another's prefix", as: w.stranger, method: "POST", path: "/tokens/identify", body: map[string]any{"prefix": value[:23]}, status: 404, code: "not_found"},
		{name: "identified by a session", as: w.owner, method: "POST", path: "/tokens/identify", body: map[string]any{"value": w.owner.credential}, status: 404, code: "not_found"},
		{name: "identified by too much", as: w.owner, method: "POST", path: "/tokens/identify", body: map[string]any{"value": strings.Repeat("x", 2000)}, status: 422, code: "validation_failed"},
	})

	// A value that a rotation replaced without grace is over at once, and only its holder learns why.
	rotated, was := w.issue(t, w.owner, nil, "tasks:read")
	is := w.send(t, w.owner, "POST", "/tokens/"+rotated+"/rotate", nil).want(t, 200).text(t, "value")
	if a := w.send(t, who{credential: was}, "GET", "/tasks", nil); a.status != 401 || a.code() != "token_revoked" {
		t.Errorf("a replaced value gets %d %s", a.status, a.code())
	}
	w.send(t, who{credential: is}, "GET", "/tasks", nil).want(t, 200)
	w.send(t, w.owner, "DELETE", "/tokens/"+rotated, nil).want(t, 200)
}
