// Package secrets_test lets secrets go through every door of the ordinary program, by the right way and by wrong ones,
// and then looks for them in everything that the program leaves behind.
package secrets_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"carnet/internal/storetest"
	"carnet/test/harness"
	"carnet/token"
)

const (
	owner        = "maya@example.com"
	organization = "northwind"
)

// sinks is everything that somebody other than the one who asked may read later.
type sinks map[string][]byte

// secret is something that no sink may hold.
type secret struct{ what, text string }

// found returns where the secret stands, in clear or in a form that anybody can undo.
func (s sinks) found(x secret) (places []string) {
	forms := map[string]string{
		"": x.text, ", escaped": url.QueryEscape(x.text), ", in base64": base64.StdEncoding.EncodeToString([]byte(x.text)),
		", in base64 for URLs": base64.RawURLEncoding.EncodeToString([]byte(x.text)), ", in hex": fmt.Sprintf("%x", x.text),
	}
	for sink, content := range s {
		for how, form := range forms {
			if bytes.Contains(content, []byte(form)) {
				places = append(places, sink+how)
			}
		}
	}
	return places
}

// secretPart is what of a credential's value proves something: without the prefix, which may be shown.
func secretPart(value string) string {
	return value[token.PrefixLength+1 : len(value)-token.ChecksumLength]
}

// P13, and incidents GO-2024-3113, GO-2025-4049, 4052, GO-2022-1154, GO-2026-5039, GO-2025-3934, GO-2026-4619 and 5388:
// whatever is sent, and wherever it is sent to by mistake, no token value, password or session secret stands in the
// database, in the log at debug level, in an error, in a metric or in a mail.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Metrics(), harness.Args("--log-level", "debug", "--log-format", "json", "--sign-in-limit", "100000"))
	var secrets []secret
	keep := func(what, text string) string {
		secrets = append(secrets, secret{what, text})
		return text
	}
	keep("the password of the tests", harness.Password)
	all := sinks{}
	errors := 0
	refused := func(a *harness.Answer) *harness.Answer {
		if a.Status >= 400 {
			errors++
			all[fmt.Sprintf("the error %d (%d)", errors, a.Status)] = append(fmt.Append(nil, a.Header), a.Body...)
		}
		return a
	}

	// Set up by the link of the first start, and sign up by the link of a mail.
	link := s.SetupCode()
	keep("the code of the set-up link", link)
	browser := s.Anonymous()
	form := url.Values{"code": {link}, "email": {owner}, "name": {"Maya Lindqvist"}, "password": {harness.Password}, "organization": {"Northwind Studio"}, "slug": {organization}}
	page(t, browser, "POST", "/setup", form)
	const password = "nineteen purple umbrellas dance"
	keep("the password of a sign-up", password)
	refused(browser.Do("POST", "/auth/sign-up", map[string]any{"email": "noor@example.com", "name": "Noor Haddad", "password": password})).Want(http.StatusAccepted)
	code := s.MailedCode("noor@example.com", "verify-email")
	secrets = append(secrets, secret{"the code of the mailed link", code})
	refused(browser.Do("POST", "/auth/verify-email", map[string]any{"code": code}))
	refused(browser.Do("POST", "/auth/verify-email", map[string]any{"code": code})) // used up

	// Sessions: by the API, as a cookie, with wrong passwords.
	session := s.SignIn(owner).In(organization)
	keep("the session", secretPart(session.Credential))
	cookie := page(t, browser, "POST", "/sign-in", url.Values{"email": {owner}, "password": {harness.Password}})
	if match := regexp.MustCompile(`carnet_session=([^;]+)`).FindStringSubmatch(cookie.Get("Set-Cookie")); match != nil {
		keep("the session of the cookie", secretPart(match[1]))
	} else {
		t.Errorf("no cookie after the sign-in: %v", cookie)
	}
	wrong := keep("a wrong password", "wrong password number 4711")
	refused(browser.Do("POST", "/auth/sign-in", map[string]any{"email": owner, "password": wrong}))
	refused(browser.Do("POST", "/auth/sign-in", map[string]any{"email": owner, "password": wrong, "as": "no such way"}))
	refused(browser.Do("POST", "/auth/sign-in", `{"email": "maya@example.com", "password": "`+keep("a password in broken JSON", "broken brackets 1234567")+`"`))
	refused(browser.Do("POST", "/auth/sign-in", map[string]any{keep("a password as a field's name", "field of dreams 7654321"): "x"}))
	refused(browser.Do("POST", "/auth/sign-up", map[string]any{"email": "not an address", "name": "X", "password": keep("a refused new password", "short but sweet")}))
	refused(session.Do("POST", "/account/password", map[string]any{"current": wrong, "new": "x"}))
	refused(session.Do("POST", "/account/password", map[string]any{"current": harness.Password, "new": keep("the new password", "seventeen silent submarines")})).Want(http.StatusNoContent)
	refused(session.Do("POST", "/auth/reauthenticate", map[string]any{"password": "seventeen silent submarines"}))

	// Tokens: created, rotated, identified, revoked; shown in wrong places.
	id, value := session.CreateToken(organization, []string{"tasks:write", "projects:write"}, nil)
	keep("the token", secretPart(value))
	rotated := session.Do("POST", "/tokens/"+id+"/rotate", map[string]any{"grace_seconds": 60}).Want(http.StatusOK).Text("value")
	keep("the rotated token", secretPart(rotated))
	script := session.With(rotated).In("")
	project := script.CreateProject("APP", "The app", "organization")
	script.CreateTask(project, "A task")
	refused(session.Do("POST", "/tokens/identify", map[string]any{"value": rotated}))
	refused(session.Do("POST", "/tokens/identify", map[string]any{"prefix": rotated}))
	refused(session.With(value).In("").Do("GET", "/me", nil)) // within the grace
	misplaced(t, s, session, rotated, project, refused)
	refused(session.Do("DELETE", "/tokens/"+id, nil)).Want(http.StatusOK)
	refused(session.With(rotated).In("").Do("GET", "/me", nil)).WantCode(http.StatusUnauthorized, "token_revoked")
	refused(session.With(rotated[:60]).In("").Do("GET", "/me", nil))
	refused(session.With(rotated+"x").In("").Do("GET", "/me", nil))
	agents(t, s, session, all, keep, refused)
	commandLine(t, s, all, keep)
	connections(t, s, all, keep, refused)

	metrics := get(t, "http://"+s.Admin+"/metrics")
	s.Stop()
	all["the log"] = []byte(s.Log.String())
	all["the metrics"] = metrics
	collect(t, s.Dir, all)
	store := "carnet.db"
	if s.Database != "" {
		store = "dump"
		dump, err := storetest.Dump(s.Database)
		if err != nil {
			t.Fatal(err)
		}
		all[store] = dump
	}
	for _, x := range secrets {
		for _, place := range all.found(x) {
			if x.what == "the code of the mailed link" && strings.HasPrefix(place, "outbox/") {
				continue // that is what the mail is for
			}
			t.Errorf("%s stands in %s", x.what, place)
		}
	}

	// The search finds what is there: what may be shown is.
	for what, x := range map[string]secret{
		store: {"the token's prefix", value[token.KindLength:token.PrefixLength]}, "the log": {"a route", "POST /api/v1/tokens"},
		"the metrics": {"a route", "/api/v1/tokens"},
	} {
		if !bytes.Contains(all[what], []byte(x.text)) {
			t.Errorf("the search would miss what is in %s: %s is not", what, x.what)
		}
	}
	if errors < 25 {
		t.Errorf("only %d errors were looked at", errors)
	}
	if len(all.found(secret{"", owner})) == 0 {
		t.Error("the search does not even find an address")
	}
	t.Logf("%d secrets looked for in %d places: %d errors, the log of %d bytes, the metrics, %d files", len(secrets), len(all), errors, len(all["the log"]), len(all)-errors-2)
}

// agents lets an admin oversee a member's agents: nothing that they see or that is mailed tells a value.
func agents(t *testing.T, s *harness.Server, admin *harness.Client, all sinks, keep func(what, text string) string, refused func(*harness.Answer) *harness.Answer) {
	t.Helper()
	s.CreateUser("agent-owner@example.com", "Ines Moreau")
	s.AddMember(organization, "agent-owner@example.com", "member")
	member := s.SignIn("agent-owner@example.com").In(organization)
	keep("the session of an agent's owner", secretPart(member.Credential))
	created := member.Do("POST", "/tokens", map[string]any{"name": "Scout", "organization": organization, "scopes": []string{"tasks:write"}, "purpose": "agent", "client": "Cursor"}).Want(http.StatusCreated)
	id, value := created.Text("token", "id"), created.Text("value")
	keep("the agent's token", secretPart(value))
	_, personal := member.CreateToken(organization, []string{"tasks:read"}, nil)
	keep("a personal token beside it", secretPart(personal))
	s.Anonymous().With(value).Do("GET", "/me", nil).Want(http.StatusOK)
	overseen := "/organizations/" + organization + "/agents"
	for what, answer := range map[string]*harness.Answer{
		"the list of agents": admin.Do("GET", overseen, nil), "an agent": admin.Do("GET", overseen+"/"+id, nil), "what an agent did": admin.Do("GET", overseen+"/"+id+"/activity", nil),
		"the agent policy": admin.Do("GET", "/organizations/"+organization+"/agent-policy", nil),
	} {
		all[what] = answer.Want(http.StatusOK).Body
	}
	if bytes.Contains(all["the list of agents"], []byte(personal[:token.PrefixLength])) {
		t.Error("the list of agents shows a personal token's prefix")
	}
	all["a pause"] = admin.Do("POST", overseen+"/"+id+"/pause", map[string]any{"reason": "A look at it."}).Want(http.StatusOK).Body
	refused(s.Anonymous().With(value).Do("GET", "/me", nil)).WantCode(http.StatusForbidden, "token_paused")
	refused(admin.Do("DELETE", overseen+"?client="+value, nil))
	refused(admin.Do("DELETE", overseen+"/"+value, nil))
	refused(admin.Do("PATCH", "/organizations/"+organization+"/agent-policy", map[string]any{"scopes": []string{value}}))
	all["a revocation"] = admin.Do("DELETE", overseen+"?all=true", nil).Want(http.StatusOK).Body
	refused(s.Anonymous().With(value).Do("GET", "/me", nil)).WantCode(http.StatusUnauthorized, "token_revoked")
}

// connections lets MCP clients sign a person in, the right way and wrong ones (B13 of the checklist): no code, verifier,
// client's secret or value stands anywhere, and none in an address that is not the client's own.
func connections(t *testing.T, s *harness.Server, all sinks, keep func(what, text string) string, refused func(*harness.Answer) *harness.Answer) {
	t.Helper()
	s.CreateUser("connector@example.com", "Liv Berg")
	s.AddMember(organization, "connector@example.com", "member")
	const callback = "http://127.0.0.1:3118/callback"
	anonymous := s.Anonymous()
	post := func(path string, form url.Values, headers ...string) *harness.Answer {
		t.Helper()
		return refused(anonymous.Do("POST", path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...))
	}
	register := func(method string) (id, secret string) {
		t.Helper()
		made := anonymous.Do("POST", "/oauth/register", map[string]any{"client_name": "Bridge", "redirect_uris": []string{callback}, "token_endpoint_auth_method": method}).Want(http.StatusCreated)
		if method == "none" {
			return made.Text("client_id"), ""
		}
		return made.Text("client_id"), keep("a client's secret", made.Text("client_secret"))
	}
	const verifier = "a-verifier-of-a-client-that-waits-for-its-code-0123456789"
	keep("a verifier", verifier)
	sum := sha256.Sum256([]byte(verifier))

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	visit := func(answer *http.Response, err error) (*http.Response, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, string(text)
	}
	visit(browser.PostForm(s.URL+"/sign-in", url.Values{"email": {"connector@example.com"}, "password": {harness.Password}}))
	consent := func(client string) (code string) {
		t.Helper()
		asked, _ := visit(browser.Get(s.URL + "/oauth/authorize?" + url.Values{
			"response_type": {"code"}, "client_id": {client}, "redirect_uri": {callback}, "state": {"xyz"}, "scope": {"tasks:read"},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "resource": {s.URL + "/mcp"},
		}.Encode()))
		keep("what leads to a request", path.Base(asked.Request.URL.Path))
		for _, c := range jar.Cookies(asked.Request.URL) {
			if strings.Contains(c.Name, "consent") {
				keep("what binds requests to a browser", c.Value)
			}
		}
		let, text := visit(browser.PostForm(asked.Request.URL.String(), url.Values{"organization": {organization}, "scope.tasks": {"read"}, "expiry": {"30"}}))
		back, err := url.Parse(strings.TrimPrefix(let.Header.Get("Refresh"), "0;url="))
		if err != nil || back.Query().Get("code") == "" {
			t.Fatalf("no code: %d %v\n%s", let.StatusCode, let.Header, text)
		}
		return keep("a code", back.Query().Get("code"))
	}
	exchange := func(client, secret, code, verifier string) *harness.Answer {
		form := url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
		if secret != "" {
			form.Set("client_secret", secret)
		}
		return post("/oauth/token", form)
	}
	for _, method := range []string{"none", "client_secret_post"} {
		client, secret := register(method)
		if secret != "" {
			exchange(client, keep("a wrong secret of a client", "no-such-secret-of-a-client-4711"), consent(client), verifier).Want(http.StatusUnauthorized)
		}
		exchange(client, secret, consent(client), keep("a wrong verifier", "another-verifier-of-a-client-that-guesses-0123456789")).Want(http.StatusBadRequest)
		code := consent(client)
		value := exchange(client, secret, code, verifier).Want(http.StatusOK).Text("access_token")
		keep("a connection's token", secretPart(value))
		call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`
		agent := anonymous.With(value)
		accept := []string{"Accept", "application/json, text/event-stream"}
		all["what a tool says to a client of kind "+method] = agent.Do("POST", "/mcp", call, accept...).Want(http.StatusOK).Body
		all["what a tool says of a value"] = agent.Do("POST", "/mcp", strings.Replace(call, `"arguments":{}`, `"arguments":{"`+value+`":1}`, 1), accept...).Want(http.StatusOK).Body
		refused(agent.Do("POST", "/mcp?access_token="+value, "{"+value, accept...))
		refused(anonymous.With(value[:len(value)-1]+"x").Do("POST", "/mcp", call, accept...)).Want(http.StatusUnauthorized)
		post("/oauth/token?code="+code+"&access_token="+value, url.Values{"grant_type": {value}, "client_id": {code}})
		refused(anonymous.Do("GET", "/oauth/authorize?client_id="+value+"&redirect_uri="+code, nil)).Want(http.StatusBadRequest)
		refused(anonymous.Do("POST", "/oauth/register", map[string]any{"client_name": "x", "redirect_uris": []string{"http://127.0.0.1/" + value, value}})).Want(http.StatusBadRequest)
		exchange(client, secret, code, verifier).Want(http.StatusBadRequest) // used again: its token ends
		refused(agent.Do("POST", "/mcp", call, accept...)).Want(http.StatusUnauthorized)
		revoke := url.Values{"token": {value}, "client_id": {client}}
		if secret != "" {
			revoke.Set("client_secret", secret)
		}
		post("/oauth/revoke", revoke).Want(http.StatusOK)
	}
}

// misplaced sends a live token to where no token belongs.
func misplaced(t *testing.T, s *harness.Server, session *harness.Client, value, project string, refused func(*harness.Answer) *harness.Answer) {
	t.Helper()
	anonymous := s.Anonymous()
	refused(anonymous.Do("GET", "/me?access_token="+value, nil)).Want(http.StatusUnauthorized)
	refused(anonymous.Do("GET", "/me?token="+value+"&private_token="+value, nil)).Want(http.StatusUnauthorized)
	refused(anonymous.Do("GET", "/tasks/"+value, nil)).Want(http.StatusUnauthorized)
	refused(anonymous.Do("GET", "/"+value, nil)).Want(http.StatusNotFound)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("maya:"+value))
	refused(anonymous.Do("GET", "/me", nil, "Authorization", basic)).Want(http.StatusUnauthorized)
	basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(value+":"))
	refused(anonymous.Do("GET", "/me", nil, "Authorization", basic)).Want(http.StatusUnauthorized)
	for _, header := range []string{"X-Api-Key", "Private-Token", "X-Auth-Token", "Proxy-Authorization", "Carnet-Organization", "Idempotency-Key", "If-Match", "X-Request-Id", "User-Agent", "Referer", "X-Forwarded-For"} {
		refused(anonymous.Do("GET", "/me", nil, header, value)).Want(http.StatusUnauthorized)
	}
	refused(anonymous.Do("GET", "/me", nil, "Cookie", "carnet_session="+value))
	refused(session.With(value).In(value).Do("GET", "/projects", nil))
	refused(session.Do("GET", "/projects?sort="+value, nil))
	refused(session.Do("GET", "/projects?cursor="+value, nil))
	refused(session.Do("GET", "/projects?"+value+"=1", nil))
	refused(session.Do("GET", "/projects/"+value, nil))
	refused(session.Do("DELETE", "/tokens/"+value, nil))
	refused(session.Do("POST", "/tokens", map[string]any{"name": "x", "organization": organization, "scopes": []string{value}}))
	refused(session.Do("POST", "/tokens", map[string]any{"name": "x", "organization": organization, "scopes": []string{"tasks:read"}, "projects": []string{value}}))
	refused(session.Do("POST", "/tokens", map[string]any{value: "x"}))
	refused(session.Do("POST", "/tokens", value))
	refused(session.Do("POST", "/projects/"+project+"/tasks", map[string]any{"title": 7, "priority": value}, "Content-Type", "application/json"))
	refused(session.Do("POST", "/projects/"+project+"/tasks", value, "Content-Type", value))
	for _, path := range []string{"/" + value, "/sign-in?token=" + value, "/settings/developer/" + value, "/verify-email?code=" + value} {
		page(t, anonymous, "GET", path, nil)
	}
	page(t, anonymous, "POST", "/sign-in", url.Values{"email": {value}, "password": {value}})
}

// commandLine signs in and uses a token with the program's own client.
func commandLine(t *testing.T, s *harness.Server, all sinks, keep func(what, text string) string) {
	t.Helper()
	s.CreateUser("cli@example.com", "Cleo Ivory")
	s.AddMember(organization, "cli@example.com", "member")
	home := t.TempDir()
	env := []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home, "CARNET_URL=" + s.URL}
	run := func(stdin string, args ...string) (string, string) {
		out, errs, code := harness.Command(t, env, stdin, args...)
		if code != 0 {
			t.Fatalf("carnet %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
		}
		return out, errs
	}
	out, errs := run(harness.Password+"\n", "login", "--email", "cli@example.com")
	all["what login prints"] = []byte(out + errs)
	out, errs = run("", "whoami")
	all["what whoami prints"] = []byte(out + errs)
	out, errs = run("", "token", "create", "--name", "From the command line", "--organization", organization, "--scope", "tasks:read", "--json")
	match := regexp.MustCompile(token.Pattern).FindString(out)
	if match == "" {
		t.Fatalf("token create prints no value: %s", out)
	}
	keep("the token of the command line", secretPart(match))
	all["what token create says beside the answer"] = []byte(errs)
	out, errs = run("", "token", "list")
	all["what token list prints"] = []byte(out + errs)
	env = append(env, "CARNET_TOKEN="+match)
	out, errs = run("", "api", "GET", "/me")
	all["what api prints"] = []byte(out + errs)
	_, errs, _ = harness.Command(t, env, "", "api", "GET", "/no/such/"+match)
	all["what api prints on an error"] = []byte(errs)
}

// page sends a request to a page, the way a browser does, and returns the answer's headers.
func page(t *testing.T, c *harness.Client, method, path string, form url.Values) http.Header {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := c.HTTP.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.Header
}

func get(t *testing.T, address string) []byte {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// collect adds every file of the data folder.
func collect(t *testing.T, dir string, all sinks) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		if filepath.Ext(path) == ".eml" {
			text = append(text, bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("=\r\n"), nil), []byte("=3D"), []byte("="))...)
		}
		all[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
