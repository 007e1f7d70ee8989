package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/internal/clients"
)

var (
	offeredDays = regexp.MustCompile(`name="expiry" value="([^"]*)"( checked)?`)
	tickedScope = regexp.MustCompile(`name="scope\.([a-z]+)" value="([a-z]+)" aria-label="[^"]*" checked`)
)

const (
	verifier = "a-verifier-that-is-long-enough-to-be-one-0123456789"
	callback = "http://127.0.0.1:3118/callback"
)

// client registers a program the way programs do, and returns its id and the address that it would open.
func (w *town) registered(name, redirect, scope string) (id, authorize string) {
	w.t.Helper()
	body, _ := json.Marshal(map[string]any{"client_name": name, "redirect_uris": []string{redirect}, "grant_types": []string{"authorization_code", "refresh_token"}})
	answer, err := http.Post(w.url+"/oauth/register", "application/json", strings.NewReader(string(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var r clients.Registered
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil || answer.StatusCode != http.StatusCreated {
		w.t.Fatalf("registered with %d, %v", answer.StatusCode, err)
	}
	return r.ID, requestOf(r.ID, redirect, scope) + "&" + url.Values{"resource": {w.url + "/mcp"}}.Encode()
}

// requestOf is the address that a program opens.
func requestOf(id, redirect, scope string) string {
	sum := sha256.Sum256([]byte(verifier))
	return "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {id}, "redirect_uri": {redirect}, "state": {"xyz"}, "scope": {scope},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode()
}

// fetch gives a code in and returns the status and the answer.
func (w *town) fetch(form url.Values) (int, map[string]any) {
	w.t.Helper()
	answer, err := http.PostForm(w.url+"/oauth/token", form)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		w.t.Fatal(err)
	}
	if answer.Header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("F1: the answer may be kept: %v", answer.Header)
	}
	return answer.StatusCode, body
}

// fetched gives the code in that the browser leads back with, and returns the value of the token.
func (w *town) fetched(id string, b *browser) (value string) {
	w.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {id}, "code": {b.back().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	status, got := w.fetch(form)
	value, _ = got["access_token"].(string)
	if status != http.StatusOK || value == "" {
		w.t.Fatalf("fetched %d %v", status, got)
	}
	return value
}

// isGuarded checks that the page is shown in no frame, and that nobody learns its address (RFC 9700 sections 4.2 and 4.16).
func (b *browser) isGuarded() {
	b.town.t.Helper()
	directives := strings.Split(b.header.Get("Content-Security-Policy"), "; ")
	if !slices.Contains(directives, "frame-ancestors 'none'") || b.header.Get("X-Frame-Options") != "DENY" || b.header.Get("Referrer-Policy") != "no-referrer" {
		b.town.t.Errorf("E10: %s is not guarded: %v", b.path, b.header)
	}
}

// enter signs in on the page that asks for it, and goes on to where the person was.
func (b *browser) enter(email string) {
	b.town.t.Helper()
	u, err := url.Parse(b.path)
	if err != nil || u.Path != "/sign-in" {
		b.town.t.Fatalf("%s asks for no sign-in", b.path)
	}
	b.post("/sign-in", append(b.hidden(), "email", email, "password", password, "next", u.Query().Get("next"))...)
}

// ticked returns the scopes that are ticked on the page.
func (b *browser) ticked() string {
	var ticked []string
	for _, match := range tickedScope.FindAllStringSubmatch(b.body, -1) {
		if match[2] != "none" {
			ticked = append(ticked, match[1]+":"+match[2])
		}
	}
	return strings.Join(ticked, " ")
}

// back is where the page leads to.
func (b *browser) back() url.Values {
	b.town.t.Helper()
	to, found := strings.CutPrefix(b.header.Get("Refresh"), "0;url=")
	u, err := url.Parse(to)
	if !found || err != nil || !strings.Contains(b.body, "Go on to") {
		b.town.t.Fatalf("it leads nowhere: %v\n%s", b.header, b.body)
	}
	return u.Query()
}

// E6 to E13: without scripts, signed out at first, through sign-in and consent to a token that works.
func TestConsentWithoutScripts(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.owner("maya", "acme").project("acme", "WEB", "Website")
	id, authorize := w.registered("Claude <b>Code</b>", callback, "tasks:write projects:read offline_access")
	b := w.browser()
	b.get(authorize).is(http.StatusOK, "Sign in", `A program that calls itself <bdi class="called">Claude &lt;b&gt;Code&lt;/b&gt;</bdi> <span class="chip chip-warning">`, "Unverified", `asks to work for you, and leads back to <span class="mono">127.0.0.1:3118</span>. Sign in to decide about that.`)
	b.enter("maya@example.com")
	b.is(http.StatusOK, "Let <bdi>Claude &lt;b&gt;Code&lt;/b&gt;</bdi> act for you?", "<dt>Program</dt><dd><bdi>Claude &lt;b&gt;Code&lt;/b&gt;</bdi>", "Unverified", "127.0.0.1:3118", "maya@example.com", "Use another account", "Acts as you in ACME", "read and change tasks", "It expires on")
	here := b.path
	b.isGuarded()
	if !strings.Contains(b.body, `name="scope.tasks" value="write" aria-label="Tasks: write" checked`) || strings.Contains(b.body, `name="scope.comments" value="write" aria-label="Comments: write" checked`) {
		t.Error("E8: what is ticked is not what was asked for")
	}
	// Another browser cannot look at the request, nor answer it.
	other := w.signIn("maya@example.com")
	other.get(here).is(http.StatusNotFound)
	other.post(here, "organization", "acme", "scope.tasks", "read", "expiry", "30").is(http.StatusNotFound)
	b.post(here, append(b.hidden(), "organization", "acme", "expiry", "30")...)
	b.is(http.StatusUnprocessableEntity, "Must name at least one scope")
	b.post(here+"/preview", append(b.hidden(), "organization", "acme", "scope.tasks", "read", "expiry", "7")...)
	b.is(http.StatusOK, "It can read tasks in every project", "It cannot change anything")
	b.post(here, append(b.hidden(), "organization", "nowhere", "scope.tasks", "read", "expiry", "7")...)
	b.is(http.StatusUnprocessableEntity, "Choose one of your organizations")
	b.post(here, append(b.hidden(), "organization", "acme", "scope.tasks", "read", "expiry", "7", "name", "Laptop")...)
	b.is(http.StatusOK, "is let in", "Go on to").isGuarded()
	said := b.back()
	if said.Get("state") != "xyz" || said.Get("iss") != w.url || said.Get("code") == "" {
		t.Fatalf("E13: the client is told %v", said)
	}
	b.get(here).is(http.StatusNotFound, "This request is over")
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {id}, "code": {said.Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	status, got := w.fetch(form)
	if status != http.StatusOK || got["token_type"] != "Bearer" || got["scope"] != "tasks:read" || got["refresh_token"] != nil {
		t.Fatalf("fetched %d %v", status, got)
	}
	value, _ := got["access_token"].(string)
	if status, me := w.call("GET", "/me", value, ""); status != http.StatusOK || me["role"] != "owner" {
		t.Errorf("the token: %d %v", status, me)
	}
	b.get("/settings/agents").is(http.StatusOK, "Laptop", "Claude")
	if status, got := w.fetch(form); status != http.StatusBadRequest || got["error"] != "invalid_grant" {
		t.Errorf("again: %d %v", status, got)
	}
	if status, _ := w.call("GET", "/me", value, ""); status != http.StatusUnauthorized {
		t.Errorf("F3: the token after its code was used twice: %d", status)
	}
}

// E12, and a person who is somebody else.
func TestConsentIsDeniedAndAccountsAreSwitched(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.owner("maya", "acme")
	w.owner("kim", "other")
	_, authorize := w.registered("Cursor", "cursor://anysphere.cursor-mcp/oauth/callback", "tasks:read")
	b := w.signIn("maya@example.com")
	b.get(authorize).is(http.StatusOK, "Let <bdi>Cursor</bdi> act for you?", "cursor://anysphere.cursor-mcp")
	here := b.path
	b.post("/sign-out", "next", here)
	b.is(http.StatusOK, "Sign in")
	b.enter("kim@example.com")
	b.is(http.StatusOK, "Let <bdi>Cursor</bdi> act for you?", "kim@example.com", "OTHER").lacks("ACME")
	b.post(here+"/deny", b.hidden()...)
	b.is(http.StatusOK, "Nothing was granted", `href="cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied`)
	if said := b.back(); said.Get("error") != "access_denied" || said.Get("state") != "xyz" || said.Get("iss") != w.url || said.Has("code") {
		t.Errorf("E12: the client is told %v", said)
	}
	b.get(here).is(http.StatusNotFound, "This request is over")
	b.post(here, "organization", "other", "scope.tasks", "read", "expiry", "30").is(http.StatusNotFound, "This request is over")
	b.get("/settings/agents").is(http.StatusOK, "No agents yet")
}

// E10: a page of another site can neither approve nor deny for somebody who is signed in.
func TestE10AnotherSiteDecidesNothing(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.owner("maya", "acme")
	_, authorize := w.registered("Cursor", callback, "tasks:read")
	b := w.signIn("maya@example.com")
	b.get(authorize).is(http.StatusOK)
	here, form := b.path, url.Values{"organization": {"acme"}, "scope.tasks": {"read"}, "expiry": {"30"}}
	for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		for _, path := range []string{here, here + "/deny"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(header[0], header[1])
			if b.send(r); b.status != http.StatusForbidden || !strings.Contains(b.body, "cross_origin") {
				t.Errorf("%v to %s: %d %s", header, path, b.status, b.body)
			}
		}
	}
	b.get(here).is(http.StatusOK, "Let <bdi>Cursor</bdi> act for you?") // nothing was decided
	cookies := 0
	fresh := w.browser()
	fresh.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, cookie := range fresh.get(authorize).header["Set-Cookie"] {
		cookies++
		if !strings.Contains(cookie, "; HttpOnly") || !strings.Contains(cookie, "; SameSite=Lax") {
			t.Errorf("the cookie of a request is %s", cookie)
		}
	}
	if cookies != 1 {
		t.Errorf("%d cookies are set", cookies)
	}
}

// S4, F3: what the person chooses on the page is what the token reaches.
func TestConsentForSomeProjectsReachesNoOthers(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya := w.owner("maya", "acme")
	inside, outside := maya.project("acme", "WEB", "Website"), maya.project("acme", "OPS", "Operations")
	id, authorize := w.registered("Cursor", callback, "projects:read")
	maya.get(authorize).is(http.StatusOK)
	here, form := maya.path, append(maya.hidden(), "organization", "acme", "scope.projects", "read", "reach", "chosen", "expiry", "30")
	maya.post(here, form...).is(http.StatusUnprocessableEntity, "projects-error")
	for _, odd := range [][]string{{"reach", "some"}, {"reach", "some", "projects", outside}, {"projects", outside}} { // never all
		maya.post(here+"/preview", append(append(maya.hidden(), "organization", "acme", "scope.projects", "read", "expiry", "30"), odd...)...)
		maya.is(http.StatusOK, `name="reach" value="chosen" checked`).lacks(`name="reach" value="all" checked`, "in every project")
	}
	maya.post(here, append(form, "projects", inside)...).is(http.StatusOK, "is let in")
	value := w.fetched(id, maya)
	if status, _ := w.call("GET", "/projects/"+inside, value, ""); status != http.StatusOK {
		t.Errorf("inside: %d", status)
	}
	if status, _ := w.call("GET", "/projects/"+outside, value, ""); status != http.StatusNotFound {
		t.Errorf("outside: %d", status)
	}
	maya.get("/settings/agents/"+maya.get("/settings/agents").found(agentPath)).is(http.StatusOK, "Website").lacks("Operations")
}

// E7: the page says where a document that describes the client is, and whether it leads back to this device; it proposes as
// long a life as there can be, and says when agents are turned off.
func TestE7ThePageSaysWhoAsksAndForHowLong(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya := w.owner("maya", "acme")
	w.Clients.Documents = true
	const id, site = "https://agents.example/client.json", "https://agents.example/cb"
	w.execute(`INSERT INTO client_documents (url, document, fetched_at, fresh_until) VALUES ($1, $2, 0, $3)`,
		id, `{"client_id":"`+id+`","client_name":"Robot","redirect_uris":["`+callback+`","`+site+`"]}`, time.Now().Add(time.Hour).UnixMicro())
	const here, anybody, unverified = "It runs on this device", "Anybody can register", "Unverified"
	w.browser().get(requestOf(id, site, "tasks:read")).is(http.StatusOK, `<bdi class="called">Robot</bdi> <span class="chip chip-quiet">described by agents.example</span>`, "asks to work for you", `<span class="mono">agents.example</span>`).lacks(unverified)
	maya.get(requestOf(id, callback, "tasks:read")).is(http.StatusOK, "Let <bdi>Robot</bdi> act for you?", "described by agents.example", "127.0.0.1:3118</dd>", here).lacks(anybody, unverified)
	maya.get(requestOf(id, site, "tasks:read")).is(http.StatusOK, "described by agents.example", "agents.example</dd>").lacks(here, anybody, unverified)
	_, local := w.registered("Robot", callback, "tasks:read")
	maya.get(local).is(http.StatusOK, here, anybody, unverified).lacks("described by")
	_, away := w.registered("Robot", "https://evil.example/cb", "tasks:read")
	maya.get(away).is(http.StatusOK, "evil.example</dd>", anybody, unverified).lacks(here, "described by")

	// Ninety days are proposed, or what the organization allows at most.
	days := func(b *browser) (list string) {
		for _, match := range offeredDays.FindAllStringSubmatch(b.body, -1) {
			list += match[1] + match[2] + ";"
		}
		return list
	}
	if got := days(maya); got != "7;30;60;90 checked;" {
		t.Errorf("on offer: %s", got)
	}
	policy := "/organizations/acme/agents/policy"
	maya.post(policy, "enabled", "yes", "scope.tasks", "write", "max_lifetime_days", "45", "writes_per_hour", "").is(http.StatusOK, "The policy is saved")
	if got := days(maya.get(local).is(http.StatusOK, "ACME allows agents 45 days at most")); got != "7;30;45 checked;" {
		t.Errorf("on offer under the policy: %s", got)
	}
	maya.post(maya.path, append(maya.hidden(), "organization", "acme", "scope.tasks", "read", "expiry", "46")...).is(http.StatusUnprocessableEntity, "at most 45 days")

	maya.get(local).lacks("Agents are turned off")
	maya.post(policy, "enabled", "no", "scope.tasks", "write").is(http.StatusOK, "The policy is saved")
	maya.get(local).is(http.StatusOK, "Agents are turned off in ACME", `type="submit" disabled>Let it in`)
	maya.post(maya.path, append(maya.hidden(), "organization", "acme", "scope.tasks", "read", "expiry", "30")...).is(http.StatusUnprocessableEntity, "Agents are turned off in this organization")
}

// E8: what was asked for is proposed as far as it can be granted: reading where writing cannot be, and writing only when it
// was asked for.
func TestE8OnlyWhatWasAskedForAndCanBeGrantedIsProposed(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya := w.owner("maya", "acme")
	ben := w.member("ben", "acme", "member")
	everything := "projects:write tasks:write comments:write members:read audit:read"
	for _, c := range []struct {
		name, asked string
		policy      []string
		by          *browser
		want        string
	}{
		{"nothing", "", nil, maya, ""},
		{"what there is not", "tasks tasks:delete *", nil, maya, ""},
		{"reading", "tasks:read comments:read", nil, maya, "tasks:read comments:read"},
		{"some writing", "tasks:write comments:read", nil, maya, "tasks:write comments:read"},
		{"everything, as its owner", everything, nil, maya, "projects:write tasks:write comments:write members:read audit:read"},
		{"everything, as a member", everything, nil, ben, "projects:write tasks:write comments:write members:read"},
		{"everything, where little is allowed", everything, []string{"scope.tasks", "read", "scope.comments", "write"}, maya, "tasks:read comments:write"},
		{"reading, where more is allowed", "tasks:read comments:read", []string{"scope.tasks", "read", "scope.comments", "write"}, maya, "tasks:read comments:read"},
	} {
		if c.policy != nil {
			maya.post("/organizations/acme/agents/policy", append(c.policy, "enabled", "yes", "writes_per_hour", "")...).is(http.StatusOK, "The policy is saved")
		}
		_, authorize := w.registered("Cursor", callback, c.asked)
		c.by.get(authorize).is(http.StatusOK)
		if got := c.by.ticked(); got != c.want {
			t.Errorf("%s: %q is proposed", c.name, got)
		}
	}
}

// A name that reads like a sentence of ours is cut, and said to be a name.
func TestALongNameIsNoSentenceOnTheSignInPage(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	_, authorize := w.registered("Your session has ended. Carnet asks you to enter your password again, for your safety", "https://evil.example/cb", "tasks:read")
	b := w.browser().get(authorize).is(http.StatusOK, `calls itself <bdi class="called">Your session has ended. Carnet asks you to enter your passw…</bdi> `, "Unverified", `leads back to <span class="mono">evil.example</span>`)
	_, next, _ := strings.Cut(b.path, "next=")
	next, _ = url.QueryUnescape(next)
	b.post("/sign-in", append(b.hidden(), "email", "nobody@example.com", "password", "wrong", "next", next)...).is(http.StatusUnauthorized, "enter your passw…</bdi>")
}

// E8: less than a client asked for is one click away, without scripts too, and as much of it as can be granted.
func TestE8APresetIsOneClickAway(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya := w.owner("maya", "acme")
	_, authorize := w.registered("Cursor", callback, "projects:write tasks:write comments:write members:read audit:read")
	preset := func(label, settings string) {
		t.Helper()
		link := regexp.MustCompile(`href="([^"]*)" data-preset="([^"]*)">` + label + "<").FindStringSubmatch(maya.body)
		if link == nil || !strings.Contains(link[2], settings) {
			t.Fatalf("%s is offered as %q", label, link)
		}
		maya.get(html.UnescapeString(link[1])).is(http.StatusOK, "Let <bdi>Cursor</bdi> act for you?")
	}
	maya.get(authorize).is(http.StatusOK)
	here := maya.path
	preset("Reads only", url.QueryEscape("projects:read,tasks:read,comments:read"))
	if got := maya.ticked(); got != "projects:read tasks:read comments:read" {
		t.Errorf("reading is %q", got)
	}
	preset("Works on tasks", url.QueryEscape("projects:read,tasks:write,comments:write"))
	if got := maya.ticked(); got != "projects:read tasks:write comments:write" {
		t.Errorf("work on tasks is %q", got)
	}
	maya.post("/organizations/acme/agents/policy", "enabled", "yes", "scope.tasks", "read", "scope.comments", "write", "writes_per_hour", "").is(http.StatusOK, "The policy is saved")
	maya.get(here)
	preset("Works on tasks", url.QueryEscape("tasks:read,comments:write"))
	if got := maya.ticked(); got != "tasks:read comments:write" {
		t.Errorf("work on tasks, where little is allowed, is %q", got)
	}
	maya.get(here + "?scopes=projects:write,tasks:write,*&organization=nowhere").is(http.StatusOK)
	if got := maya.ticked(); got != "tasks:read" {
		t.Errorf("an address ticks %q", got)
	}
	maya.post(here, append(maya.hidden(), "organization", "acme", "scope.tasks", "read", "expiry", "30")...).is(http.StatusOK, "is let in")
}

// G1, G7: a client that ends its token is let in nowhere from the next call on.
func TestG7ATokenThatItsClientEndsIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya := w.owner("maya", "acme")
	id, authorize := w.registered("Cursor", callback, "tasks:read")
	maya.get(authorize)
	maya.post(maya.path, append(maya.hidden(), "organization", "acme", "scope.tasks", "read", "expiry", "30")...).is(http.StatusOK, "is let in")
	value := w.fetched(id, maya)
	whoami := func() *http.Response {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/mcp", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {"Bearer " + value}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer
	}
	if answer := whoami(); answer.StatusCode != http.StatusOK {
		t.Fatalf("before: %d", answer.StatusCode)
	}
	answer, err := http.PostForm(w.url+"/oauth/revoke", url.Values{"token": {value}, "client_id": {id}})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the revocation: %d", answer.StatusCode)
	}
	if answer := whoami(); answer.StatusCode != http.StatusUnauthorized || !strings.Contains(answer.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("after: %d %v", answer.StatusCode, answer.Header)
	}
}

// A sign-in that is old is asked for again, and nothing that was chosen is lost.
func TestConsentAsksForThePasswordAgain(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.owner("maya", "acme")
	_, authorize := w.registered("Cursor", callback, "tasks:read")
	b := w.signIn("maya@example.com")
	b.get(authorize)
	here, chosen := b.path, append(b.hidden(), "organization", "acme", "scope.tasks", "read", "expiry", "30", "name", "Laptop")
	w.execute(`UPDATE sessions SET authenticated_at = 1`)
	b.post(here, chosen...).is(http.StatusForbidden, "Enter your password again", "Letting a program act for you")
	b.post(here, append(b.hidden(), "reauthenticate_password", password)...)
	b.is(http.StatusOK, "is let in")
}

// E1, D8: what is wrong with who asks is said on a page, and leads nowhere.
func TestBadAuthorizationRequestsAreToldToThePerson(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	_, authorize := w.registered("Cursor", callback, "tasks:read")
	for _, change := range [][2]string{{"client_id", "cli_00000000000000000000000000"}, {"redirect_uri", "https://evil.example/cb"}, {"client_id", ""}, {"twice", "client_id"}, {"twice", "redirect_uri"}} {
		u, _ := url.Parse(authorize)
		q := u.Query()
		if change[0] == "twice" {
			q.Add(change[1], q.Get(change[1]))
		} else {
			q.Set(change[0], change[1])
		}
		b := w.browser().get("/oauth/authorize?" + q.Encode())
		b.is(http.StatusBadRequest, "The program that sent you here").lacks("evil.example")
		if b.header.Get("Location") != "" || b.header.Get("Refresh") != "" {
			t.Errorf("%v: it leads on", change)
		}
	}
	// RFC 9700 section 4.11.2: a program of this machine is told at once; a site that anybody can have registered is not
	// gone to unless the person says so.
	worse := func(authorize string) *browser {
		return w.browser().get(strings.Replace(authorize, "S256", "plain", 1))
	}
	if b := worse(authorize); !strings.HasPrefix(b.header.Get("Location"), callback+"?error=invalid_request") {
		t.Errorf("a program is told %v", b.header)
	}
	_, authorize = w.registered("Your bank", "https://evil.example/cb", "tasks:read")
	b := worse(authorize).is(http.StatusBadRequest, "Your bank sent you here with a request that cannot be carried out", "code_challenge", `href="https://evil.example/cb?error=invalid_request`, "evil.example</span>")
	if b.header.Get("Location") != "" || b.header.Get("Refresh") != "" {
		t.Errorf("a site is gone to: %v", b.header)
	}
	w.browser().get("/oauth/consent/made-up").is(http.StatusOK, "Sign in")
}

// Nobody has to be signed in to begin a request, so that an address begins so many and no more.
func TestAnAddressBeginsSoManyRequestsAndNoMore(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	_, authorize := w.registered("Cursor", callback, "tasks:read")
	b := w.browser()
	begun := 0
	for b.get(authorize).status == http.StatusOK && begun < 500 {
		begun++
	}
	b.is(http.StatusTooManyRequests, "Too many programs ask to be let in")
	if begun < 120 || begun > 400 { // some come back while the test runs
		t.Errorf("%d requests were begun", begun)
	}
	if b.header.Get("Retry-After") == "" {
		t.Error("it is not said how long to wait")
	}
}
