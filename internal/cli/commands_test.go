package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet/internal/problem"
	"carnet/token"
)

func signInAnswer(value string, secondFactor bool) answer {
	return answer{status: 200, body: map[string]any{
		"user":                   map[string]any{"name": "Ada", "email": "ada@example.com"},
		"session":                map[string]any{"id": "ses_1", "expires_at": now.AddDate(0, 0, 30), "value": value},
		"second_factor_required": secondFactor,
	}}
}

func TestLoginKeepsASessionAndLogoutEndsIt(t *testing.T) {
	t.Parallel()
	const password = "correct horse battery staple"
	f, p := newFake(t), newPerson(t)
	first, second := token.Mint(token.Session).Reveal(), token.Mint(token.Session).Reveal()
	f.on("POST /auth/sign-in", signInAnswer(first, false), signInAnswer(second, false))
	f.on("POST /auth/sign-out", answer{status: 204})
	p.stdin = password + "\r\n"
	got := p.run("login", "--url", f.URL+"/", "--email", "ADA@example.com")
	got.expect(t, ExitDone, "Signed in to "+f.URL+" as ada@example.com")
	if got.out != "" || strings.Contains(got.errors, password) || strings.Contains(got.errors, first) {
		t.Errorf("login said too much: %q %q", got.out, got.errors)
	}
	sent := f.requests("POST /auth/sign-in")[0]
	if sent.field(t, "password") != password || sent.field(t, "as") != "bearer" || sent.header.Get("Authorization") != "" {
		t.Errorf("sign-in sent %s", sent.body)
	}

	p.run("login", "--url", f.URL, "--email", "ada@example.com").expect(t, ExitDone)
	if ended := f.requests("POST /auth/sign-out"); len(ended) != 1 || ended[0].header.Get("Authorization") != "Bearer "+first {
		t.Errorf("the session before was not ended: %v", ended)
	}

	p.run("logout").expect(t, ExitDone, "Signed out")
	if ended := f.requests("POST /auth/sign-out"); len(ended) != 2 || ended[1].header.Get("Authorization") != "Bearer "+second {
		t.Errorf("logout did not end the session: %v", ended)
	}
	p.run("logout").expect(t, ExitDone, "You are not signed in")
	p.run("whoami").expect(t, ExitSignIn, "carnet login")
	p.run("token", "list").expect(t, ExitSignIn, "carnet login")
}

func TestLoginAtATerminalAsksWithoutEcho(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	f.on("POST /auth/sign-in", signInAnswer(token.Mint(token.Session).Reveal(), true))
	f.on("POST /auth/second-factor", answer{status: 200, body: map[string]any{}})
	p.stdin = f.URL + "\nada@example.com\n"
	p.secrets = []string{"the password", " 123456 "}
	p.run("login").expect(t, ExitDone, "Server [http://127.0.0.1:8080]: ", "E-mail: ", "Password: ")
	if code := f.requests("POST /auth/second-factor")[0].field(t, "code"); code != "123456" {
		t.Errorf("second factor sent %v", code)
	}
}

func TestFailedLoginKeepsNothing(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	f.on("POST /auth/sign-in", refuse(problem.CredentialsWrong, "E-mail or password is wrong."))
	p.stdin = "wrong\n"
	p.run("login", "--url", f.URL, "--email", "a@b.c").expect(t, ExitSignIn, "E-mail or password is wrong.")
	if entries, _ := os.ReadDir(p.dir); len(entries) != 0 {
		t.Errorf("something was kept: %v", entries)
	}
	p.stdin = ""
	p.run("login", "--url", f.URL, "--email", "a@b.c").expect(t, ExitUsage, "Nothing came on standard input")
}

func TestLogoutForgetsEvenWhenTheServerIsGone(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	f.Close()
	p.run("logout").expect(t, ExitFailed, "the server could not be told", "No answer from")
	p.run("whoami").expect(t, ExitSignIn)
}

const describedAPI = `{"servers": [{"url": "/api/v1"}], "paths": {
	"/me": {"get": {"x-carnet-scopes": [], "security": [{"token": []}, {"session": []}]}},
	"/api/v1/tasks": {"parameters": [], "get": {"x-carnet-scopes": ["tasks:read"]}},
	"/api/v1/tasks/counts": {"get": {"x-carnet-scopes": ["counts:read"]}},
	"/api/v1/tasks/{id}": {"get": {"x-carnet-scopes": ["tasks:read", "tasks:write"]}, "patch": {"x-carnet-scopes": ["tasks:write"]}},
	"/api/v1/tasks/{id}/comments": {"post": {"security": [{"session": []}, {"token": ["comments:write"]}, {"token": ["never:reached"]}]}},
	"/api/v1/members": {"get": {"x-carnet-scopes": ["members:read"]}},
	"/api/v1/tokens": {"get": {"x-carnet-scopes": [], "security": [{"session": []}, {"cookie": []}]}},
	"/api/v1/auth/sign-in": {"post": {"security": [{}]}}}}`

func TestForPicksTheLeastScopes(t *testing.T) {
	t.Parallel()
	operations, err := parseOperations([]byte(describedAPI))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		calls []string
		want  string // "!" for wrong usage
	}{
		{[]string{"GET /tasks"}, "tasks:read"},
		{[]string{"get /api/v1/tasks/?status=done"}, "tasks:read"},
		{[]string{"GET /tasks/tsk_1"}, "tasks:read"}, // read or write would do: the lesser one
		{[]string{"GET /tasks/counts"}, "counts:read"},
		{[]string{"PATCH /tasks/counts"}, "tasks:write"}, // only the template takes PATCH
		{[]string{"GET /tasks", "PATCH /tasks/{id}"}, "tasks:write"},
		{[]string{"POST /tasks/tsk_1/comments", "GET /members", "GET /members"}, "comments:write members:read"},
		{[]string{"GET /me"}, ""},
		{[]string{"POST /auth/sign-in"}, ""},
		{[]string{"GET /tokens"}, "!"},
		{[]string{"GET /tasks", "DELETE /tasks"}, "!"},
		{[]string{"GET /nowhere"}, "!"},
		{[]string{"/tasks"}, "!"},
		{[]string{"GET"}, "!"},
		{[]string{"GET /"}, "!"},
	} {
		got, err := leastScopes(operations, test.calls)
		if test.want == "!" {
			if ExitCode(err) != ExitUsage {
				t.Errorf("%q: %v, %v; want wrong usage", test.calls, got, err)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%q: %v, %v; want %q", test.calls, got, err, test.want)
		}
	}
}

func TestCreatePrintsTheValueAlone(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	session := p.signedIn(f)
	value := token.Mint(token.Personal).Reveal()
	f.on("GET /openapi.json", answer{status: 200, body: describedAPI})
	f.on("GET /organizations", answer{status: 200, body: `{"items": [{"slug": "acme"}], "next_cursor": null}`})
	f.on("GET /projects", answer{status: 200, body: `{"items": [{"id": "prj_1", "key": "OPS"}], "next_cursor": "more"}`},
		answer{status: 200, body: `{"items": [{"id": "prj_2", "key": "WEB"}], "next_cursor": null}`})
	f.on("POST /tokens", answer{status: 201, body: map[string]any{"token": map[string]any{"id": "tok_1", "name": "Script", "state": "live"}, "value": value}})
	got := p.run("token", "create", "--name", "Script", "--for", "GET /tasks", "--project", "web", "--project", "prj_9", "--expires-in-days", "30")
	got.expect(t, ExitDone, "Least scopes for GET /tasks: tasks:read.", "Script")
	if got.out != value+"\n" || strings.Contains(got.errors, value) {
		t.Errorf("stdout %q, stderr %q", got.out, got.errors)
	}
	sent := f.requests("POST /tokens")[0]
	want := `{"expires_in_days":30,"name":"Script","organization":"acme","projects":["prj_2","prj_9"],"purpose":"personal","scopes":["tasks:read"]}`
	if sent.body != want || sent.header.Get("Idempotency-Key") == "" || sent.header.Get("Authorization") != "Bearer "+session {
		t.Errorf("sent %s\nwant %s\nwith %v", sent.body, want, sent.header)
	}
	if org := f.requests("GET /projects")[0].header.Get("Carnet-Organization"); org != "acme" {
		t.Errorf("projects of %q were asked for", org)
	}

	asJSON := p.run("token", "create", "--name", "Script", "--scope", "tasks:read", "--organization", "acme", "--json")
	var document struct{ Value string }
	if err := json.Unmarshal([]byte(asJSON.out), &document); err != nil || document.Value != value {
		t.Errorf("--json printed %q: %v", asJSON.out, err)
	}
	p.run("token", "create", "--name", "S", "--scope", "x:y", "--project", "NONE", "--organization", "acme").expect(t, ExitNotFound)
	f.on("GET /organizations", answer{status: 200, body: `{"items": [{"slug": "acme"}, {"slug": "globex"}]}`})
	p.run("token", "create", "--name", "S", "--scope", "x:y").expect(t, ExitUsage, "acme, globex")
	f.on("POST /tokens/preview", answer{status: 200, body: `{"sentence": "Acts as you.", "not_covered": ["audit:read"]}`})
	if previewed := p.run("token", "create", "--name", "S", "--scope", "audit:read", "--organization", "acme", "--preview"); previewed.out != "Acts as you.\n" {
		t.Errorf("--preview printed %q", previewed.out)
	}
}

func TestLostAnswerIsAskedForAgainUnderTheSameKey(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	f.on("POST /tokens", answer{hangUp: true}, answer{status: 201, body: `{"token": {"id": "tok_1", "name": "Script"}, "value": null}`})
	got := p.run("token", "create", "--name", "Script", "--scope", "tasks:read", "--organization", "acme", "--idempotency-key", "mine")
	got.expect(t, ExitFailed, "carnet token rotate tok_1")
	sent := f.requests("POST /tokens")
	if len(sent) != 2 || sent[0].header.Get("Idempotency-Key") != "mine" || sent[1].header.Get("Idempotency-Key") != "mine" || sent[0].body != sent[1].body {
		t.Errorf("sent %v", sent)
	}
	if got.out != "" {
		t.Errorf("printed %q", got.out)
	}
}

func TestCallThatIsNotRepeatableIsSentOnce(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	f.on("POST /tasks", answer{hangUp: true})
	p.run("api", "POST", "/tasks", "--field", "title=x").expect(t, ExitFailed, "No answer from")
	if n := len(f.requests("POST /tasks")); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

func TestSensitiveChangeAsksForThePasswordAgain(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	stale := refuse(problem.ReauthenticationNeeded, "Sign in again to do this.")
	rotated := answer{status: 200, body: `{"token": {"id": "tok_1"}, "value": "carnet_new"}`}
	f.on("POST /tokens/tok_1/rotate", stale, rotated)
	f.on("POST /auth/reauthenticate", refuse(problem.CredentialsWrong, "That password is wrong."), answer{status: 204})
	p.secrets = []string{"mistyped", "right"}
	got := p.run("token", "rotate", "tok_1", "--grace", "1h")
	got.expect(t, ExitDone, "fresh sign-in of ada@example.com", "That password is wrong.")
	if got.out != "carnet_new\n" {
		t.Errorf("printed %q", got.out)
	}
	sent := f.requests("POST /tokens/tok_1/rotate")
	if len(sent) != 2 || sent[0].header.Get("Idempotency-Key") != sent[1].header.Get("Idempotency-Key") || sent[1].body != `{"grace_seconds":3600}` {
		t.Errorf("sent %v", sent)
	}

	// Nobody to ask: a script gets the exit code instead.
	f.on("POST /tokens/tok_1/rotate", stale)
	p.secrets = nil
	p.run("token", "rotate", "tok_1").expect(t, ExitSignIn, "carnet login")
	if n := len(f.requests("POST /auth/reauthenticate")); n != 2 {
		t.Errorf("reauthenticated %d times", n)
	}

	// A server that is never content is not asked for ever.
	f.on("POST /auth/reauthenticate", stale)
	p.secrets = []string{"right", "again", "and again"}
	p.run("token", "rotate", "tok_1").expect(t, ExitSignIn)
	if len(p.secrets) != 2 {
		t.Errorf("the password was asked for %d times", 3-len(p.secrets))
	}
}

func TestRevokeAsksOnceAndShowsTheReceipt(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	f.on("GET /tokens/tok_1", answer{status: 200, body: `{"id": "tok_1", "name": "Script", "prefix": "carnet_pat_abcdefghijkl", "organization": "acme"}`})
	f.on("DELETE /tokens/tok_1", answer{status: 200, body: `{"token": {"id": "tok_1", "name": "Script"}, "revoked_at": "2026-11-24T12:00:00.123456Z", "took_ms": 2.25}`})
	p.secrets, p.stdin = []string{}, "n\n"
	p.run("token", "revoke", "tok_1").expect(t, ExitFailed, "last used never", "Nothing was revoked.")
	if len(f.requests("DELETE /tokens/tok_1")) != 0 {
		t.Fatal("it was revoked against the answer")
	}
	p.stdin = "yes\n"
	p.run("token", "revoke", "tok_1").expect(t, ExitDone, "2026-11-24T12:00:00.123456Z", "2.25 ms")
	p.secrets = nil
	p.run("token", "revoke", "tok_1").expect(t, ExitDone)
	f.on("POST /tokens/identify", answer{status: 200, body: `{"id": "tok_1"}`})
	p.run("token", "revoke", "carnet_pat_abcdefghijkl", "--yes").expect(t, ExitDone)
	p.run("token", "revoke", "tok_2").expect(t, ExitNotFound)
}

func TestIdentifyReadsStandardInputOnly(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	v := token.Mint(token.Personal)
	f.on("POST /tokens/identify", answer{status: 200, body: `{"id": "tok_1", "name": "Script", "state": "live"}`})
	for _, stdin := range []string{v.Reveal() + "\n", "  " + v.Reveal(), v.Prefix() + "\n"} {
		p.stdin = stdin
		got := p.run("token", "identify")
		got.expect(t, ExitDone, "carnet token revoke tok_1")
		if strings.Contains(got.out+got.errors, v.Reveal()) {
			t.Error("the value was repeated")
		}
	}
	sent := f.requests("POST /tokens/identify")
	if sent[0].field(t, "value") != v.Reveal() || sent[1].field(t, "value") != v.Reveal() || sent[2].field(t, "prefix") != v.Prefix() {
		t.Errorf("sent %v", sent)
	}
	for _, stdin := range []string{"", "not a token\n", v.Reveal()[:40], strings.Repeat("x", 2*maxLine)} {
		p.stdin = stdin
		p.run("token", "identify").expect(t, ExitUsage)
	}
	if n := len(f.requests("POST /tokens/identify")); n != 3 {
		t.Errorf("what is no token was sent: %d requests", n)
	}
}

func TestNarrowSendsOnlyWhatChanges(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	object := `{"id": "tok_1", "name": "Script", "organization": "acme", "projects": ["prj_1", "prj_2"], "scopes": ["tasks:read"]}`
	f.on("GET /tokens/tok_1", answer{status: 200, body: object})
	f.on("PATCH /tokens/tok_1", answer{status: 200, body: object})
	f.on("GET /projects", answer{status: 200, body: `{"items": [{"id": "prj_1", "key": "OPS"}]}`})
	got := p.run("token", "narrow", "tok_1", "--scope", "tasks:read", "--expires-in-days", "2", "--project", "ops")
	got.expect(t, ExitDone)
	if !strings.Contains(got.out, "OPS, prj_2") {
		t.Errorf("the projects are not named: %s", got.out)
	}
	want := `{"expires_at":"2026-11-26T12:00:00Z","projects":["prj_1"],"scopes":["tasks:read"]}`
	if sent := f.requests("PATCH /tokens/tok_1")[0]; sent.body != want {
		t.Errorf("sent %s, want %s", sent.body, want)
	}
	f.on("PATCH /tokens/tok_1", refuse(problem.WideningRefused, "A token can only be narrowed."))
	p.run("token", "narrow", "tok_1", "--name", "New").expect(t, ExitRefused, "A token can only be narrowed. (widening_refused)")
}

func TestAPIUsesTheTokenBeforeTheSessionAndSaysSo(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	session, v := p.signedIn(f), token.Mint(token.Personal)
	f.on("GET /tasks", answer{status: 200, body: `{"items":[]}`})
	got := p.run("api", "get", "/api/v1/tasks", "--organization", "acme", "-f", "status=done", "-f", "status=review")
	got.expect(t, ExitDone, "Using the session of ada@example.com.")
	p.env[tokenVariable] = v.Reveal() + "\n"
	p.run("api", "GET", "/tasks").expect(t, ExitDone, "Using the token in CARNET_TOKEN ("+v.Prefix()+").")
	sent := f.requests("GET /tasks")
	if sent[0].header.Get("Authorization") != "Bearer "+session || sent[0].query != "status=done&status=review" || sent[0].header.Get("Carnet-Organization") != "acme" {
		t.Errorf("with the session: %+v", sent[0])
	}
	if sent[1].header.Get("Authorization") != "Bearer "+v.Reveal() {
		t.Errorf("with the token: %+v", sent[1])
	}
	if got.out != `{"items":[]}` {
		t.Errorf("printed %q", got.out)
	}
	p.env[tokenVariable] = "two words"
	p.run("api", "GET", "/tasks").expect(t, ExitSignIn, "is not a token")
}

func TestAPISendsBodies(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	f.on("POST /tasks", answer{status: 201, body: `{}`})
	p.run("api", "POST", "/tasks", "--field", "title=a=b:=c, d", "--field", "labels:=[1, null]").expect(t, ExitDone)
	file := filepath.Join(t.TempDir(), "body.json")
	const body = "{\"title\":  \"spaces stay\"}\n"
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("api", "POST", "/tasks", "--data", "@"+file, "--if-match", `"3"`, "--idempotency-key", "k").expect(t, ExitDone)
	p.stdin = body
	p.run("api", "POST", "/tasks", "--data", "-").expect(t, ExitDone)
	sent := f.requests("POST /tasks")
	if want := `{"labels":[1,null],"title":"a=b:=c, d"}`; sent[0].body != want {
		t.Errorf("fields became %s, want %s", sent[0].body, want)
	}
	if sent[1].body != body || sent[2].body != body || sent[1].header.Get("If-Match") != `"3"` || sent[1].header.Get("Idempotency-Key") != "k" {
		t.Errorf("sent %+v", sent[1:])
	}
}

func TestAbsenceNamesWhatTheTokenIsLimitedTo(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.env[tokenVariable] = token.Mint(token.Personal).Reveal()
	f.on("GET /me", answer{status: 200, body: `{"user": {"name": "Ada"}, "organization": {"slug": "acme"}, "token": {"projects": ["prj_1", "prj_2"]},
		"permissions": {"projects": [{"id": "prj_1", "key": "WEB"}]}}`})
	got := p.run("api", "GET", "/tasks/tsk_1", "--url", f.URL)
	got.expect(t, ExitNotFound, "(not_found)", "in the organization acme, limited to the projects WEB, prj_2.")
	if !strings.Contains(got.out, `"code":"not_found"`) {
		t.Errorf("the body is missing: %q", got.out)
	}
}

func TestRefusalShowsEverythingThatHelps(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	scope := refuse(problem.ScopeMissing, "The token lacks a scope.")
	scope.header["Carnet-Accepted-Scopes"] = "tasks:read tasks:write"
	f.on("GET /scope", scope)
	f.on("GET /fields", answer{status: 422, header: scope.header, body: problem.Document{Code: problem.ValidationFailed, Detail: "Some of it does not hold.",
		Errors: []problem.Field{{Location: "body.name", Message: "must not be empty"}}}})
	slow := refuse(problem.RateLimited, "Too many.")
	slow.header["Retry-After"] = "7"
	f.on("GET /slow", slow)
	f.on("GET /broken", refuse(problem.Internal, "Our side."))
	f.on("GET /proxy", answer{status: 502, body: "<html>bad gateway</html>", header: map[string]string{"Content-Type": "text/html"}})
	f.on("GET /moved", answer{status: 308, header: map[string]string{"Location": "https://elsewhere.example/"}})
	p.run("api", "GET", "/scope").expect(t, ExitRefused, "Any of these scopes would do: tasks:read tasks:write")
	p.run("api", "GET", "/fields").expect(t, ExitRefused, "body.name: must not be empty")
	p.run("api", "GET", "/slow").expect(t, ExitFailed, "Try again in 7 seconds.")
	p.run("api", "GET", "/broken").expect(t, ExitFailed, "Request id: req_1")
	p.run("api", "GET", "/proxy").expect(t, ExitFailed, "the server answered 502 Bad Gateway")
	p.run("api", "GET", "/moved").expect(t, ExitFailed, "credentials do not follow redirects")
	f.on("GET /account", answer{status: 200, body: "<html>"})
	p.run("whoami").expect(t, ExitFailed, "does not seem to be a Carnet server")
}

func TestWhoami(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	f.on("GET /account", answer{status: 200, body: `{"name": "Ada", "email": "ada@example.com"}`})
	f.on("GET /organizations", answer{status: 200, body: `{"items": [{"slug": "acme", "name": "Acme", "role": "owner", "plan": "team"}]}`})
	got := p.run("whoami")
	got.expect(t, ExitDone, "with the session of ada@example.com")
	if !strings.Contains(got.out, "acme          Acme  owner      team") {
		t.Errorf("printed\n%s", got.out)
	}
	v := token.Mint(token.Personal)
	p.env[tokenVariable] = v.Reveal()
	f.on("GET /me", answer{status: 200, body: `{"user": {"name": "Ada", "email": "ada@example.com"}, "organization": {"slug": "acme", "name": "Acme"}, "role": "owner",
		"token": {"name": "Script", "scopes": ["tasks:read"], "projects": null, "expires_at": "2026-12-01T00:00:00Z"},
		"permissions": {"organization": [], "projects": [{"id": "prj_1", "key": "WEB", "name": "Site", "role": "lead", "permissions": ["tasks:read"]}], "projects_total": 3}}`})
	got = p.run("whoami")
	got.expect(t, ExitDone, v.Prefix(), "And 2 more projects.")
	for _, part := range []string{"Acts as       Ada <ada@example.com>", "2026-12-01 00:00 UTC (in 6 days)", "all that its user sees", "WEB      Site  lead  tasks:read"} {
		if !strings.Contains(got.out, part) {
			t.Errorf("lacks %q:\n%s", part, got.out)
		}
	}
	var document map[string]any
	if err := json.Unmarshal([]byte(p.run("whoami", "--json").out), &document); err != nil || document["role"] != "owner" {
		t.Errorf("--json: %v, %v", document, err)
	}
	if first := f.requests("GET /me")[0]; first.header.Get("User-Agent") != "carnet-cli/test" || first.header.Get("Cookie") != "" {
		t.Errorf("headers %v", first.header)
	}
}
