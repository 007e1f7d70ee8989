// Package contract_test holds the ordinary program to its public contract where requests are bad or odd. One server
// answers all of it. Every answer, whatever a test asked for, is examined for what the contract says of all answers
// ([world.examine]), and every refusal must leave everything as it was ([world.state]).
package contract_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/test/harness"
)

const (
	maya = "maya@example.com" // owns northwind
	noor = "noor@example.com" // a member of northwind
	gus  = "gus@example.com"  // a guest of northwind, in no project
	sam  = "sam@example.com"  // owns southwind, and is a stranger to the others
	una  = "una@example.com"  // a member of northwind whose address is not verified

	ours   = "northwind"
	theirs = "southwind"

	// mark stands in whatever the tests make up. No refusal may hold it: what was sent is never echoed.
	mark = "Zq7Xw9"
)

// who presents a request: a credential, and the organization that it names.
type who struct{ credential, organization string }

func (w who) without() who { return who{credential: w.credential} }

// world is a server with people and things in it.
type world struct {
	server *harness.Server
	http   *http.Client

	nobody                 who
	owner, member, guest   who
	stranger, unverified   who
	ownerID, memberID      string
	strangerID             string
	project, task, comment string
	private                string // a project of the owner's alone
	token, reading         string // values: may write tasks; may read tasks
	tokenID, readingID     string
	scopedID               string
	scoped                 string // value: limited to the project
	agentID, agent         string // of the member; its value

	// Those of the stranger.
	theirProject, theirTask, theirComment, theirTokenID, theirAgentID, theirSessionID string

	document document
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := harness.Start(t, harness.Args("--sign-in-limit", "100000", "--token-limit", "100000", "--no-access-log"))
	w := &world{server: s, http: s.Anonymous().HTTP}
	w.http.Timeout = 0
	for _, p := range [][2]string{{maya, "Maya Lindqvist"}, {noor, "Noor Haddad"}, {gus, "Gus Ferreira"}, {sam, "Sam Okafor"}} {
		s.CreateUser(p[0], p[1])
	}
	s.CreateOrganization(ours, "Northwind Studio", maya, "team")
	s.CreateOrganization(theirs, "Southwind Works", sam, "enterprise")
	s.Operate(harness.Password+"\n", "create-user", "--email", una, "--name", "Una Weber")
	s.AddMember(ours, noor, "member")
	s.AddMember(ours, gus, "guest")
	s.AddMember(ours, una, "member")

	w.document = w.read(t)
	w.owner, w.member, w.guest = w.signIn(t, maya, ours), w.signIn(t, noor, ours), w.signIn(t, gus, ours)
	w.stranger, w.unverified = w.signIn(t, sam, theirs), w.signIn(t, una, ours)
	w.ownerID, w.memberID = w.get(t, w.owner, "/account").text(t, "id"), w.get(t, w.member, "/account").text(t, "id")
	w.strangerID = w.get(t, w.stranger, "/account").text(t, "id")

	w.project, w.task, w.comment = w.furnish(t, w.owner, "APP")
	w.theirProject, w.theirTask, w.theirComment = w.furnish(t, w.stranger, "SEA")
	w.private = w.made(t, w.owner, "/projects", map[string]any{"key": "PRIV", "name": "Private", "visibility": "private"})
	w.tokenID, w.token = w.issue(t, w.owner, nil, "tasks:write", "projects:read", "comments:write")
	w.readingID, w.reading = w.issue(t, w.owner, nil, "tasks:read")
	w.scopedID, w.scoped = w.issue(t, w.owner, []string{w.project}, "tasks:write", "projects:write")
	w.theirTokenID, _ = w.issue(t, w.stranger, nil, "tasks:write")
	w.agentID, w.agent = w.issueAgent(t, w.member)
	w.theirAgentID, _ = w.issueAgent(t, w.stranger)
	w.theirSessionID = w.get(t, w.stranger, "/account/sessions").text(t, "items", 0, "id")
	return w
}

func (w *world) signIn(t *testing.T, email, organization string) who {
	t.Helper()
	a := w.send(t, w.nobody, "POST", "/auth/sign-in", map[string]any{"email": email, "password": harness.Password, "as": "bearer"})
	return who{a.want(t, 200).text(t, "session", "value"), organization}
}

// furnish makes a project with a task and a comment.
func (w *world) furnish(t *testing.T, as who, key string) (project, task, comment string) {
	t.Helper()
	project = w.made(t, as, "/projects", map[string]any{"key": key, "name": "Project " + key})
	task = w.made(t, as, "/projects/"+project+"/tasks", map[string]any{"title": "Water the plants"})
	comment = w.made(t, as, "/tasks/"+task+"/comments", map[string]any{"body": "Twice a week."})
	return project, task, comment
}

// made creates something and returns its id.
func (w *world) made(t *testing.T, as who, path string, body any) string {
	t.Helper()
	return w.send(t, as, "POST", path, body).want(t, 201).text(t, "id")
}

func (w *world) issue(t *testing.T, as who, projects []string, scopes ...string) (id, value string) {
	t.Helper()
	body := map[string]any{"name": "Script", "organization": as.organization, "scopes": scopes}
	if projects != nil {
		body["projects"] = projects
	}
	a := w.send(t, as, "POST", "/tokens", body).want(t, 201)
	return a.text(t, "token", "id"), a.text(t, "value")
}

func (w *world) get(t *testing.T, as who, path string) *answer {
	t.Helper()
	return w.send(t, as, "GET", path, nil).want(t, 200)
}

func (w *world) issueAgent(t *testing.T, as who) (id, value string) {
	t.Helper()
	body := map[string]any{"name": "Scout", "organization": as.organization, "scopes": []string{"tasks:write"}, "purpose": "agent", "client": "Cursor"}
	a := w.send(t, as, "POST", "/tokens", body).want(t, 201)
	return a.text(t, "token", "id"), a.text(t, "value")
}

// answer is what the server said.
type answer struct {
	what   string
	status int
	header http.Header
	body   []byte
}

// without, as a header's value, leaves out a header that is sent otherwise.
const without = "\x00"

// send sends a request to the API. Text and bytes are the body as they are, everything else is sent as JSON. Headers come
// in pairs and take the place of those that are sent otherwise; one that is named twice is sent twice.
func (w *world) send(t *testing.T, as who, method, path string, body any, headers ...string) *answer {
	t.Helper()
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(b)
	case []byte:
		content = bytes.NewReader(b)
	case io.Reader:
		content = b
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(encoded)
	}
	if path != "/openapi.json" {
		path = "/api/v1" + path
	}
	r, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+path, content)
	if err != nil {
		t.Fatal(err)
	}
	if content != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if as.credential != "" {
		r.Header.Set("Authorization", "Bearer "+as.credential)
	}
	if as.organization != "" {
		r.Header.Set("Carnet-Organization", as.organization)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Del(headers[i])
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != without {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	for attempt := 0; ; attempt++ {
		response, err := w.http.Do(r)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		a := w.examine(t, method, path, response)
		if a.code() != "verification_unavailable" || (content != nil && r.GetBody == nil) || attempt == 10 {
			return a
		}
		time.Sleep(200 * time.Millisecond) // a busy machine: the contract says that nothing was done, and to ask again
		if r.GetBody != nil {
			if r.Body, err = r.GetBody(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (a *answer) want(t *testing.T, status int) *answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s: status %d, want %d\n%s", a.what, a.status, status, a.body)
	}
	return a
}

func (a *answer) code() string {
	var p problem
	_ = json.Unmarshal(a.body, &p)
	return p.Code
}

// at returns the value at a path in the JSON answer, nil when there is none.
func (a *answer) at(path ...any) any {
	var value any
	if err := json.Unmarshal(a.body, &value); err != nil {
		return nil
	}
	for _, step := range path {
		switch s := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			value = object[s]
		case int:
			array, _ := value.([]any)
			if s >= len(array) {
				return nil
			}
			value = array[s]
		}
	}
	return value
}

func (a *answer) text(t *testing.T, path ...any) string {
	t.Helper()
	text, ok := a.at(path...).(string)
	if !ok {
		t.Fatalf("%s: no text at %v in %s", a.what, path, a.body)
	}
	return text
}

// problem is the form of every refusal.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
	Errors    []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`
}

// codes are those of the contract, and of docs/api.md where the contract is silent.
var codes = map[string]int{
	"request_malformed": 400, "cursor_invalid": 400, "organization_required": 400,
	"credential_missing": 401, "token_invalid": 401, "token_revoked": 401, "token_expired": 401, "session_ended": 401, "credentials_wrong": 401,
	"token_inert": 403, "token_paused": 403, "signin_required": 403, "reauthentication_required": 403, "scope_missing": 403, "cross_origin": 403,
	"project_restricted": 403, "role_insufficient": 403, "email_unverified": 403, "policy_denied": 403,
	"not_found": 404, "method_not_allowed": 405, "conflict": 409, "idempotency_conflict": 409, "version_stale": 412,
	"too_large": 413, "media_type": 415, "validation_failed": 422, "widening_refused": 422, "code_invalid": 422, "rate_limited": 429,
}

// examine checks what holds for every answer of the API, and remembers its status for the document.
func (w *world) examine(t *testing.T, method, path string, r *http.Response) *answer {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	a := &answer{what: method + " " + path, status: r.StatusCode, header: r.Header, body: body}
	if len(a.what) > 200 {
		a.what = a.what[:200] + "…"
	}
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %d: %s\n%.1000s", a.what, a.status, fmt.Sprintf(format, args...), a.body)
	}
	for name, value := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := a.header.Values(name); len(got) != 1 || got[0] != value {
			wrong("%s is %q, not %q", name, got, value)
		}
	}
	if policy := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") {
		wrong("the content security policy is %q", policy)
	}
	id := a.header.Get("X-Request-Id")
	if !strings.HasPrefix(id, "req_") {
		wrong("the request id is %q", id)
	}
	if server := a.header.Get("Server"); server != "" {
		wrong("the server names itself")
	}
	if strings.HasPrefix(path, "/api/") {
		if control := a.header.Get("Cache-Control"); control != "no-store" {
			wrong("Cache-Control is %q", control)
		}
		w.document.saw(method, path, a.status)
	}
	if a.status >= 500 {
		wrong("our own fault")
	}
	if a.status >= 400 {
		w.examineProblem(method, a, wrong)
	}
	return a
}

func (w *world) examineProblem(method string, a *answer, wrong func(string, ...any)) {
	if kind := a.header.Get("Content-Type"); kind != "application/problem+json" {
		wrong("the media type is %q", kind)
	}
	if bytes.Contains(a.body, []byte(mark)) || strings.Contains(fmt.Sprint(a.header), mark) {
		wrong("it repeats what was sent")
	}
	if method == http.MethodHead {
		if len(a.body) > 0 {
			wrong("HEAD has a body")
		}
		return
	}
	var p problem
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		wrong("no problem document: %v", err)
		return
	}
	switch {
	case p.Type != "about:blank", p.Title != http.StatusText(a.status), p.Status != a.status:
		wrong("type, title or status are not those of RFC 9457")
	case p.Detail == "":
		wrong("no detail")
	case codes[p.Code] != a.status:
		wrong("the contract has no such code with this status")
	case p.RequestID != a.header.Get("X-Request-Id"):
		wrong("the request id is not that of the header")
	case (len(p.Errors) > 0) != (p.Code == "validation_failed"):
		wrong("errors belong to validation_failed and to nothing else")
	}
	for _, e := range p.Errors {
		place, _, _ := strings.Cut(e.Location, ".")
		if !slices.Contains([]string{"body", "query", "path", "header"}, place) {
			wrong("the location %q is nowhere", e.Location)
		}
		if e.Message == "" || foreign.MatchString(e.Message) {
			wrong("the message %q is not for people", e.Message)
		}
	}
	if foreign.MatchString(p.Detail) {
		wrong("the detail is not for people")
	}
	challenge := ""
	switch p.Code {
	case "credential_missing":
		challenge = `Bearer realm="carnet"`
	case "token_invalid", "token_revoked", "token_expired", "session_ended":
		challenge = `Bearer realm="carnet", error="invalid_token"`
	case "scope_missing":
		accepted := strings.Fields(a.header.Get("Carnet-Accepted-Scopes"))
		if len(accepted) == 0 {
			wrong("no accepted scopes")
			return
		}
		challenge = `Bearer realm="carnet", error="insufficient_scope", scope="` + accepted[0] + `"`
	}
	if got := strings.Join(a.header.Values("WWW-Authenticate"), ";"); got != challenge {
		wrong("WWW-Authenticate is %q, not %q", got, challenge)
	}
	if (a.header.Get("Retry-After") != "") != (p.Code == "rate_limited") {
		wrong("Retry-After belongs to 429")
	}
	if (a.header.Get("Allow") != "") != (p.Code == "method_not_allowed") {
		wrong("Allow belongs to 405")
	}
}

// attempt is a request that must be refused.
type attempt struct {
	name         string
	as           who
	method, path string
	body         any
	headers      []string
	status       int
	code         string
	fields       []string // locations of errors[], in any order
	says         string   // stands in the detail or in a message
}

// refuse makes attempts, one after the other, and checks that each is refused as it should and that none changed anything.
func (w *world) refuse(t *testing.T, attempts []attempt) {
	t.Helper()
	before := w.state(t)
	for _, c := range attempts {
		t.Run(c.name, func(t *testing.T) {
			a := w.send(t, c.as, c.method, c.path, c.body, c.headers...)
			c.check(t, a)
		})
	}
	if after := w.state(t); after != before {
		t.Errorf("what was refused has changed something:\n%s", difference(before, after))
	}
}

func (c attempt) check(t *testing.T, a *answer) {
	t.Helper()
	if a.status != c.status || a.code() != c.code {
		t.Errorf("%s: %d %s, want %d %s\n%.1000s", a.what, a.status, a.code(), c.status, c.code, a.body)
		return
	}
	var p problem
	_ = json.Unmarshal(a.body, &p)
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Location)
	}
	slices.Sort(fields)
	slices.Sort(c.fields)
	if c.fields != nil && !slices.Equal(fields, c.fields) {
		t.Errorf("%s: errors are about %q, not %q\n%.1000s", a.what, fields, c.fields, a.body)
	}
	if !bytes.Contains(a.body, []byte(c.says)) {
		t.Errorf("%s: %q is not said\n%.1000s", a.what, c.says, a.body)
	}
}

// state returns all that refusals must leave as it is, one thing a line.
func (w *world) state(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, as := range []who{w.owner, w.stranger} {
		project, task := w.project, w.task
		if as == w.stranger {
			project, task = w.theirProject, w.theirTask
		}
		for _, path := range []string{
			"/projects?limit=200", "/projects?deleted=true", "/tasks?limit=200", "/tasks?deleted=true", "/tasks/" + task + "/comments",
			"/projects/" + project + "/members", "/members", "/tokens?limit=200", "/account", "/account/sessions", "/organizations",
			"/organizations/" + as.organization + "/agent-policy", "/organizations/" + as.organization + "/agents?limit=200",
		} {
			var value any
			if err := json.Unmarshal(w.get(t, as, path).body, &value); err != nil {
				t.Fatal(err)
			}
			lines(&b, path, value)
		}
	}
	return b.String()
}

// lines writes a value, an item a line, without what mere use changes.
func lines(b *strings.Builder, path string, value any) {
	items := []any{value}
	if object, ok := value.(map[string]any); ok && object["items"] != nil {
		items, _ = object["items"].([]any)
	}
	for _, item := range items {
		if object, ok := item.(map[string]any); ok {
			for _, used := range []string{"last_used_at", "last_used_ip", "last_used_client", "calls_7_days"} {
				delete(object, used)
			}
		}
		text, _ := json.Marshal(item)
		fmt.Fprintf(b, "%s %s\n", path, text)
	}
}

// difference returns the lines that two states do not share.
func difference(before, after string) string {
	var b strings.Builder
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range was {
		if !slices.Contains(is, line) {
			fmt.Fprintf(&b, "- %.300s\n", line)
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			fmt.Fprintf(&b, "+ %.300s\n", line)
		}
	}
	return b.String()
}

func TestTheContractHoldsForBadAndOddRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Run("credentials", w.credentials)
	t.Run("order of refusals", w.order)
	t.Run("bodies", w.bodies)
	t.Run("texts", w.texts)
	t.Run("tokens", w.tokens)
	t.Run("agents", w.agents)
	t.Run("ids", w.ids)
	t.Run("lists", w.lists)
	t.Run("versions", w.versions)
	t.Run("repetitions", w.repetitions)
	t.Run("methods", w.methods)
	t.Run("paths", w.paths)
	t.Run("every route", w.everywhere)
	t.Run("wire", w.wire)
	t.Run("owners", w.owners)
	t.Run("guessing", w.guessing)
	t.Run("limits", w.limits)
	t.Run("document", w.documented)
	t.Run("log", func(t *testing.T) {
		for line := range strings.Lines(w.server.Log.String()) {
			if strings.Contains(line, "level=ERROR") || strings.Contains(line, "panic") || strings.Contains(line, mark) {
				t.Errorf("the log says %s", line)
			}
		}
	})
}
