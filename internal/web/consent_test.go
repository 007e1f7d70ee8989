package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"carnet/internal/clients"
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
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {r.ID}, "redirect_uri": {redirect}, "state": {"xyz"}, "scope": {scope},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "resource": {w.url + "/mcp"},
	}
	return r.ID, "/oauth/authorize?" + query.Encode()
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

// enter signs in on the page that asks for it, and goes on to where the person was.
func (b *browser) enter(email string) {
	b.town.t.Helper()
	u, err := url.Parse(b.path)
	if err != nil || u.Path != "/sign-in" {
		b.town.t.Fatalf("%s asks for no sign-in", b.path)
	}
	b.post("/sign-in", append(b.hidden(), "email", email, "password", password, "next", u.Query().Get("next"))...)
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
	b.get(authorize).is(http.StatusOK, "Sign in", "“Claude &lt;b&gt;Code&lt;/b&gt;” asks to work for you")
	b.enter("maya@example.com")
	b.is(http.StatusOK, "Let Claude &lt;b&gt;Code&lt;/b&gt; act for you?", "Unverified", "127.0.0.1:3118", "maya@example.com", "Use another account", "Acts as you in ACME", "read and change tasks", "It expires on")
	here := b.path
	for _, header := range []string{"Content-Security-Policy", "X-Frame-Options", "Referrer-Policy"} {
		if b.header.Get(header) == "" {
			t.Errorf("E10: no %s", header)
		}
	}
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
	b.is(http.StatusOK, "is let in", "Go on to")
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
	b.get(authorize).is(http.StatusOK, "Let Cursor act for you?", "cursor://anysphere.cursor-mcp")
	here := b.path
	b.post("/sign-out", "next", here)
	b.is(http.StatusOK, "Sign in")
	b.enter("kim@example.com")
	b.is(http.StatusOK, "Let Cursor act for you?", "kim@example.com", "OTHER").lacks("ACME")
	b.post(here+"/deny", b.hidden()...)
	b.is(http.StatusOK, "Nothing was granted", `href="cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied`)
	if said := b.back(); said.Get("error") != "access_denied" || said.Get("state") != "xyz" || said.Get("iss") != w.url || said.Has("code") {
		t.Errorf("E12: the client is told %v", said)
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
	for _, change := range [][2]string{{"client_id", "cli_00000000000000000000000000"}, {"redirect_uri", "https://evil.example/cb"}, {"client_id", ""}} {
		u, _ := url.Parse(authorize)
		q := u.Query()
		q.Set(change[0], change[1])
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
