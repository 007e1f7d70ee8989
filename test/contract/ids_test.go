package contract_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"carnet/internal/id"
)

// place is a parameter in a route's path, with what else the path must hold for the rest of it to be right.
type place struct {
	method, path string // {} stands for the id that is looked at
	prefix       string // of the ids that belong there; empty: a slug
	theirs       string // one that exists elsewhere
	personal     string // one that exists here, and is not to be seen there
	unlike       string // what the answer is when it is not not_found
}

func (w *world) places(t *testing.T) []place {
	kinds := map[string][2]string{
		"/projects": {id.Project, w.theirProject}, "/tasks": {id.Task, w.theirTask}, "/comments": {id.Comment, w.theirComment},
		"/tokens": {id.Token, w.theirTokenID}, "/account/sessions": {id.Session, w.theirSessionID}, "/organizations": {"", theirs},
	}
	var places []place
	for _, r := range w.document.routes {
		before, _, found := strings.Cut(r.path, "/{")
		if !found {
			continue
		}
		kind, ok := kinds[before]
		if !ok {
			t.Fatalf("the tests do not know the ids of %s", r.path)
		}
		path := strings.NewReplacer("{id}", "{}", "{slug}", "{}", "{user_id}", w.memberID, "{token_id}", w.agentID).Replace(r.path)
		places = append(places, place{method: r.method, path: path, prefix: kind[0], theirs: kind[1]})
		if strings.Contains(r.path, "{token_id}") {
			own := strings.NewReplacer("{slug}", ours, "{token_id}", "{}").Replace(r.path)
			places = append(places, place{method: r.method, path: own, prefix: id.Token, theirs: w.theirAgentID, personal: w.tokenID})
		}
		if strings.Contains(r.path, "{user_id}") {
			own := strings.NewReplacer("{id}", w.project, "{slug}", ours, "{user_id}", "{}").Replace(r.path)
			p := place{method: r.method, path: own, prefix: id.User, theirs: w.strangerID}
			if r.method == "PUT" {
				p.unlike = "validation_failed" // a project is shared with members, and this is who is none
			}
			places = append(places, p)
		}
	}
	if len(places) < 30 {
		t.Fatalf("only %d places for ids were found", len(places))
	}
	return places
}

// bodiless are POSTs that need no body.
var bodiless = regexp.MustCompile(`/(restore|rotate|pause|resume)$`)

// ids: whatever a caller does not see is absent, on every route and in the same words as what was never there.
func (w *world) ids(t *testing.T) {
	bodies := map[string]string{} // one that would do, by method and path without ids
	shape := func(method, path string) string {
		parts := strings.Split(path, "/")
		for i, p := range parts {
			if strings.Contains(p, "_") || p == ours || p == "{}" || p == theirs {
				parts[i] = "*"
			}
		}
		return method + strings.Join(parts, "/")
	}
	for _, route := range w.writes() {
		fields, _ := route.body.(string)
		bodies[shape(route.method, route.path)] = "{" + fields + "}"
	}
	before := w.state(t)
	for _, p := range w.places(t) {
		t.Run(p.method+" "+strings.ReplaceAll(p.path, "/", " "), func(t *testing.T) {
			var body any
			if text, ok := bodies[shape(p.method, p.path)]; ok {
				body = text
			} else if p.method == "PATCH" || p.method == "PUT" || p.method == "POST" && !bodiless.MatchString(p.path) {
				t.Fatalf("there is no body for %s %s", p.method, p.path)
			}
			code, status := "not_found", 404
			if p.unlike != "" {
				code, status = p.unlike, codes[p.unlike]
			}
			ask := func(value string) *answer {
				return w.send(t, w.owner, p.method, strings.Replace(p.path, "{}", value, 1), body)
			}
			madeUp := "tenwind"
			if p.prefix != "" {
				madeUp = id.New(p.prefix)
			}
			want := ask(madeUp)
			if want.status != status || want.code() != code {
				t.Fatalf("a made-up id is answered by %d %s: %s", want.status, want.code(), want.body)
			}
			for name, value := range map[string]string{
				"another organization's": p.theirs, "of another kind": id.New("evt"), "without a kind": madeUp[strings.IndexByte(madeUp, '_')+1:],
				"in capitals": strings.ToUpper(madeUp), "cut": madeUp[:len(madeUp)-1], "longer": madeUp + "0", "rubbish": mark,
				"very long": strings.Repeat("a", 8000), "a percent sign": "%25", "NUL": "%00", "no UTF-8": "%ff%fe", "a slash": "a%2fb", "dots": "%2e%2e",
				"a blank": "%20", "a line break": "%0d%0aSet-Cookie:%20a=b", "a quote": url.PathEscape(`' OR '1'='1`), "a star": "*", "a percent wildcard": url.PathEscape(madeUp[:5]) + "%25",
				"another's in escapes": escaped(p.theirs), "the organization's id": id.New(id.Organization),
			} {
				same(t, name, want, ask(value))
			}
			if p.personal != "" {
				same(t, "a personal token's", want, ask(p.personal))
			}
		})
	}
	if after := w.state(t); after != before {
		t.Errorf("ids that are not there have changed something:\n%s", difference(before, after))
	}

	t.Run("escaped ids are ids", func(t *testing.T) { w.get(t, w.owner, "/tasks/"+escaped(w.task)) })

	t.Run("who sees less", func(t *testing.T) {
		const blank = "prj_00000000000000000000000000"
		want := w.send(t, w.guest, "GET", "/projects/"+blank, nil).want(t, 404)
		same(t, "a project of an organization that a guest is in", want, w.send(t, w.guest, "GET", "/projects/"+w.project, nil))
		same(t, "a private project", want, w.send(t, w.member, "GET", "/projects/"+w.private, nil))
		scoped := who{credential: w.scoped}
		want = w.send(t, scoped, "GET", "/projects/"+blank, nil).want(t, 404)
		same(t, "another project of a token's owner", want, w.send(t, scoped, "GET", "/projects/"+w.private, nil))
		same(t, "another organization's project", want, w.send(t, scoped, "GET", "/projects/"+w.theirProject, nil))
		same(t, "for writing", want, w.send(t, scoped, "PATCH", "/projects/"+w.private, `{"name":"x"}`))
		same(t, "for deleting", want, w.send(t, scoped, "DELETE", "/projects/"+w.private, nil))
		same(t, "its restoring", want, w.send(t, scoped, "POST", "/projects/"+w.private+"/restore", nil))
		same(t, "its tasks", want, w.send(t, scoped, "GET", "/projects/"+w.private+"/tasks", nil))
		same(t, "a new task in it", want, w.send(t, scoped, "POST", "/projects/"+w.private+"/tasks", `{"title":"x"}`))
		task := w.made(t, w.owner, "/projects/"+w.private+"/tasks", map[string]any{"title": "Private"})
		same(t, "a task of it", want, w.send(t, scoped, "GET", "/tasks/"+task, nil))
		same(t, "another organization named", want, w.send(t, who{w.scoped, theirs}, "GET", "/projects/"+w.project, nil))
		same(t, "an organization made up", want, w.send(t, who{w.scoped, mark}, "GET", "/projects/"+w.project, nil))
	})

	t.Run("in bodies and filters", func(t *testing.T) {
		tasks := "/projects/" + w.project + "/tasks"
		assign := func(user string) *answer {
			return w.send(t, w.owner, "POST", tasks, map[string]any{"title": "x", "assignee_id": user}).want(t, 422)
		}
		want := assign(id.New(id.User))
		for name, user := range map[string]string{"a stranger": w.strangerID, "rubbish": mark, "nothing": "", "a task": w.task} {
			same(t, name, want, assign(user))
		}
		add := func(email string) *answer {
			return w.send(t, w.owner, "POST", "/organizations/"+ours+"/members", map[string]any{"email": email, "role": "member"}).want(t, 422)
		}
		want = add("nobody-" + mark + "@example.com")
		for name, email := range map[string]string{"a stranger": sam, "no address": mark, "nothing": "", "very long": strings.Repeat("a", 300) + "@example.com"} {
			same(t, name, want, add(email))
		}
		for _, filter := range []string{"project", "assignee"} {
			for _, value := range []string{w.theirProject, w.strangerID, id.New(id.Project), id.New(id.User), mark, "", "%00", "%ff"} {
				for _, path := range []string{"/tasks", "/tasks/counts"} {
					a := w.get(t, w.owner, path+"?"+filter+"="+value)
					if items, isList := a.at("items").([]any); isList && len(items) > 0 || !isList && a.at("total") != float64(0) {
						t.Errorf("%s finds something: %s", a.what, a.body)
					}
				}
			}
		}
	})
}

// escaped writes every byte of a text as a percent-escape.
func escaped(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteString("%" + hex(text[i]))
	}
	return b.String()
}
