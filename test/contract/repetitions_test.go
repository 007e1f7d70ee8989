package contract_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// versions: If-Match lets a change through only on the version that it was made from.
func (w *world) versions(t *testing.T) {
	task := w.made(t, w.owner, "/projects/"+w.project+"/tasks", map[string]any{"title": "Of a version"})
	project := w.made(t, w.owner, "/projects", map[string]any{"key": "VERS", "name": "Of a version"})
	targets := []string{"/tasks/" + task, "/projects/" + project}
	for _, path := range targets {
		change := map[string]any{"description": "Second"}
		first := w.get(t, w.owner, path)
		if tag := first.header.Get("Etag"); tag != `"1"` || first.at("version") != float64(1) {
			t.Errorf("%s has the tag %s and the version %v", path, tag, first.at("version"))
		}
		changed := w.send(t, w.owner, "PATCH", path, change, "If-Match", `"1"`).want(t, 200)
		if tag := changed.header.Get("Etag"); tag != `"2"` || changed.at("version") != float64(2) {
			t.Errorf("%s has the tag %s and the version %v", path, tag, changed.at("version"))
		}
		var attempts []attempt
		for _, tag := range []string{
			`"1"`, `"3"`, `"0"`, `"-2"`, `W/"2"`, `2`, `""`, `"`, `"2`, `2"`, `"2.0"`, `"+2x"`, `"0x2"`, `" 2"`, `"99999999999999999999"`, mark, `"` + mark + `"`, `"1", "3"`, `"2" "2"`, `**`, `"*"`,
			`Tue, 24 Nov 2026 00:00:00 GMT`,
		} {
			for _, method := range []string{"PATCH", "DELETE"} {
				c := attempt{name: fmt.Sprintf("%s %s with %q", method, path[1:5], tag), as: w.owner, method: method, path: path, headers: []string{"If-Match", tag}, status: 412, code: "version_stale"}
				if method == "PATCH" {
					c.body = map[string]any{"description": mark}
				}
				attempts = append(attempts, c)
			}
		}
		w.refuse(t, attempts)
		for _, tag := range []string{`"2"`, ` "2" `, `*`} {
			a := w.send(t, w.owner, "PATCH", path, change, "If-Match", tag).want(t, 200)
			if a.at("version") != float64(2) {
				t.Errorf("a change to what is makes version %v", a.at("version"))
			}
		}

		// Of many who change the same version at once, one is let through.
		var made sync.Map
		var done sync.WaitGroup
		for i := range 8 {
			done.Go(func() {
				a := w.send(t, w.owner, "PATCH", path, map[string]any{"description": fmt.Sprint("At once ", i)}, "If-Match", `"2"`)
				if a.status != 200 && a.code() != "version_stale" {
					t.Errorf("%s: %d %s", a.what, a.status, a.body)
				}
				if a.status == 200 {
					made.Store(i, true)
				}
			})
		}
		done.Wait()
		if n := count(&made); n != 1 {
			t.Errorf("%d of 8 changes of the same version were let through", n)
		}
		w.send(t, w.owner, "DELETE", path, nil, "If-Match", `"3"`).want(t, 204)
	}
}

func count(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

// repetitions: a request that is sent again under its Idempotency-Key is done once.
func (w *world) repetitions(t *testing.T) {
	tasks := "/projects/" + w.project + "/tasks"
	const key = "Idempotency-Key"
	title := func(s string) string { return `{"title":"` + s + `"}` }
	with := func(as who, method, path string, body any, value string) *answer {
		t.Helper()
		return w.send(t, as, method, path, body, key, value)
	}
	first := with(w.owner, "POST", tasks, title("Once"), "one").want(t, 201)
	again := with(w.owner, "POST", tasks, title("Once"), "one").want(t, 201)
	if string(first.body) != string(again.body) || first.header.Get("Etag") != again.header.Get("Etag") {
		t.Errorf("the same key with the same body answers\n%s\nand then\n%s", first.body, again.body)
	}
	var attempts []attempt
	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
		code    string
	}{
		"another body":           {title(mark), []string{key, "one"}, 409, "idempotency_conflict"},
		"the same in other bits": {title("Once") + " ", []string{key, "one"}, 409, "idempotency_conflict"},
		"a body that is no JSON": {"{", []string{key, "one"}, 409, "idempotency_conflict"},
		"no body":                {"", []string{key, "one"}, 409, "idempotency_conflict"},
		"a version":              {title("Once"), []string{key, "one", "If-Match", `"1"`}, 409, "idempotency_conflict"},
		"an empty key":           {title("Once"), []string{key, ""}, 422, "validation_failed"},
		"a key too long":         {title("Once"), []string{key, strings.Repeat("k", 256)}, 422, "validation_failed"},
		"a key beyond ASCII":     {title("Once"), []string{key, "clé"}, 422, "validation_failed"},
		"a key with a tab":       {title("Once"), []string{key, "a\tb"}, 422, "validation_failed"},
		"two keys":               {title("Once"), []string{key, "one", key, "two"}, 422, "validation_failed"},
		"the same key twice":     {title("Once"), []string{key, "one", key, "one"}, 422, "validation_failed"},
	} {
		attempts = append(attempts, attempt{name: name, as: w.owner, method: "POST", path: tasks, body: c.body, headers: c.headers, status: c.status, code: c.code})
	}
	w.refuse(t, attempts)

	t.Run("as long as may be", func(t *testing.T) {
		long := strings.Repeat("k", 255)
		a, b := with(w.owner, "POST", tasks, title("Long"), long).want(t, 201), with(w.owner, "POST", tasks, title("Long"), long).want(t, 201)
		if a.text(t, "id") != b.text(t, "id") {
			t.Error("it was done twice")
		}
	})
	t.Run("others are others", func(t *testing.T) {
		was := map[string]string{first.text(t, "id"): "the first"}
		for name, a := range map[string]*answer{
			"another person":                       with(w.member, "POST", tasks, title("Once"), "one").want(t, 201),
			"a token of the same person":           with(who{credential: w.token}, "POST", tasks, title("Once"), "one").want(t, 201),
			"another session of the same person":   with(w.signIn(t, maya, ours), "POST", tasks, title("Once"), "one").want(t, 201),
			"another project":                      with(w.owner, "POST", "/projects/"+w.private+"/tasks", title("Once"), "one").want(t, 201),
			"the same key in another case":         with(w.owner, "POST", tasks, title("Once"), "ONE").want(t, 201),
			"another person in their organization": with(w.stranger, "POST", "/projects/"+w.theirProject+"/tasks", title("Once"), "one").want(t, 201),
		} {
			made := a.text(t, "id")
			if other := was[made]; other != "" {
				t.Errorf("%s gets the answer of %s", name, other)
			}
			was[made] = name
		}
	})
	t.Run("one's other organization", func(t *testing.T) {
		w.send(t, w.owner, "POST", "/organizations", `{"slug":"mine-too","name":"Mine too"}`).want(t, 201)
		body := `{"key":"BOTH","name":"In both"}`
		a := with(w.owner, "POST", "/projects", body, "both").want(t, 201)
		b := with(who{w.owner.credential, "mine-too"}, "POST", "/projects", body, "both")
		if b.want(t, 201).text(t, "id") == a.text(t, "id") {
			t.Errorf("what was made in one organization is the answer in the other: %s", b.body)
		}
	})
	t.Run("what was refused stays refused", func(t *testing.T) {
		taken := `{"key":"APP","name":"Taken"}`
		a, b := with(w.owner, "POST", "/projects", taken, "taken"), with(w.owner, "POST", "/projects", taken, "taken")
		if a.code() != "conflict" || b.code() != "conflict" || a.status != b.status {
			t.Errorf("a key that is taken gets %d %s, then %d %s", a.status, a.code(), b.status, b.code())
		}
		if c := with(w.owner, "POST", "/projects", `{"key":"FREE","name":"Free"}`, "taken"); c.code() != "idempotency_conflict" {
			t.Errorf("another body after a refusal gets %d %s", c.status, c.code())
		}
	})
	t.Run("deleting", func(t *testing.T) {
		path := "/tasks/" + first.text(t, "id")
		with(w.owner, "DELETE", path, nil, "gone").want(t, 204)
		with(w.owner, "DELETE", path, nil, "gone").want(t, 204)
		with(w.owner, "DELETE", path, nil, "gone too").want(t, 404)
	})
	t.Run("a token's value is told once", func(t *testing.T) {
		a, b := with(w.owner, "POST", "/tokens", draft(nil), "token").want(t, 201), with(w.owner, "POST", "/tokens", draft(nil), "token").want(t, 201)
		made, value := a.text(t, "token", "id"), a.text(t, "value")
		if b.text(t, "token", "id") != made || b.at("value") != nil || strings.Contains(string(b.body), value[23:]) {
			t.Errorf("repeated, it answers %s", b.body)
		}
		if c := with(w.owner, "POST", "/tokens", draft(map[string]any{"name": "Other"}), "token"); c.code() != "idempotency_conflict" {
			t.Errorf("another body gets %d %s", c.status, c.code())
		}
		turned := with(w.owner, "POST", "/tokens/"+made+"/rotate", nil, "turn").want(t, 200).text(t, "value")
		if again := with(w.owner, "POST", "/tokens/"+made+"/rotate", nil, "turn").want(t, 200); again.at("value") != nil {
			t.Errorf("a repeated rotation answers %s", again.body)
		}
		w.send(t, who{credential: turned}, "GET", "/tasks", nil).want(t, 200)
		r, s := with(w.owner, "DELETE", "/tokens/"+made, nil, "end").want(t, 200), with(w.owner, "DELETE", "/tokens/"+made, nil, "end").want(t, 200)
		if r.text(t, "revoked_at") != s.text(t, "revoked_at") {
			t.Error("a repeated revocation moves its moment")
		}
	})
	t.Run("many at once", func(t *testing.T) {
		for _, c := range []struct {
			path string
			body any
			at   []any
		}{
			{tasks, title("Of many"), []any{"id"}},
			{"/projects", `{"key":"MANY","name":"Of many"}`, []any{"id"}},
			{"/tasks/" + w.task + "/comments", `{"body":"Of many"}`, []any{"id"}},
			{"/tokens", draft(map[string]any{"name": "Of many"}), []any{"token", "id"}},
		} {
			var made, values sync.Map
			var done sync.WaitGroup
			for range 16 {
				done.Go(func() {
					a := w.send(t, w.owner, http.MethodPost, c.path, c.body, key, "many")
					text, ok := a.at(c.at...).(string)
					if a.status != 201 || !ok {
						t.Errorf("%s: %d %s", a.what, a.status, a.body)
						return
					}
					made.Store(text, true)
					if value, ok := a.at("value").(string); ok {
						values.Store(value, true)
					}
				})
			}
			done.Wait()
			if count(&made) != 1 || count(&values) > 1 || c.path == "/tokens" && count(&values) != 1 {
				t.Errorf("%s: 16 repetitions made %d things and told %d values", c.path, count(&made), count(&values))
			}
		}
		listed := w.get(t, w.owner, "/tokens?limit=200")
		if n := strings.Count(string(listed.body), `"Of many"`); n != 1 {
			t.Errorf("there are %d tokens", n)
		}
	})
}
