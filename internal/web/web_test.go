package web_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"carnet/internal/account"
	"carnet/internal/house"
	"carnet/internal/org"
)

const password = "paper lanterns over the canal"

// town is a whole server with real pages in front of a real store.
type town struct {
	*house.House
	t   *testing.T
	url string
}

func newTown(t *testing.T) *town {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	address := "http://" + server.Listener.Addr().String()
	h, err := house.Build(t.Context(), house.Plan{
		Data: t.TempDir(), PublicURL: address, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Errorf("the store stopped: %v", err) },
		Limits: house.Limits{SignInsPerMinute: 1000},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	public, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	front, _, err := h.Doors(house.Front{PublicURL: public, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = front
	server.Start()
	t.Cleanup(server.Close)
	return &town{House: h, t: t, url: address}
}

// owner makes a verified person with an organization, signed in.
func (w *town) owner(name, slug string) *browser {
	w.t.Helper()
	email := name + "@example.com"
	if _, err := w.Account.CreateUser(w.t.Context(), account.NewUser{Email: email, Name: name, Password: password, Verified: true}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.Org.Operators().CreateOrganization(w.t.Context(), org.Founding{Slug: slug, Name: strings.ToUpper(slug), OwnerEmail: email, Plan: "team"}); err != nil {
		w.t.Fatal(err)
	}
	return w.signIn(email)
}

func (w *town) signIn(email string) *browser {
	w.t.Helper()
	b := w.browser()
	b.post("/sign-in", "email", email, "password", password)
	b.is(http.StatusOK, "What is connected to your account")
	return b
}

// execute changes the store past the features.
func (w *town) execute(statement string, arguments ...any) {
	w.t.Helper()
	err := w.DB.Write(w.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, arguments...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// call uses a token at the API.
func (w *town) call(method, path, value, body string) (status int, answer map[string]any) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+value)
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	_ = json.NewDecoder(a.Body).Decode(&answer)
	return a.StatusCode, answer
}

// browser is a browser without scripts: it follows redirects and keeps cookies.
type browser struct {
	town   *town
	client *http.Client
	status int
	path   string // where it ended up, with the query
	header http.Header
	body   string
}

func (w *town) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{town: w, client: &http.Client{Jar: jar}}
}

func (b *browser) get(path string) *browser {
	b.town.t.Helper()
	r, err := http.NewRequestWithContext(b.town.t.Context(), http.MethodGet, b.town.url+path, nil)
	if err != nil {
		b.town.t.Fatal(err)
	}
	return b.send(r)
}

// post sends a form of names and values.
func (b *browser) post(path string, pairs ...string) *browser {
	b.town.t.Helper()
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(b.town.t.Context(), http.MethodPost, b.town.url+path, strings.NewReader(values.Encode()))
	if err != nil {
		b.town.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(r)
}

func (b *browser) send(r *http.Request) *browser {
	b.town.t.Helper()
	a, err := b.client.Do(r)
	if err != nil {
		b.town.t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		b.town.t.Fatal(err)
	}
	b.status, b.path, b.header, b.body = a.StatusCode, a.Request.URL.RequestURI(), a.Header, string(body)
	return b
}

// is checks the last answer: its status, and texts that stand in it.
func (b *browser) is(status int, texts ...string) *browser {
	b.town.t.Helper()
	if b.status != status {
		b.town.t.Fatalf("%s answered %d, want %d:\n%s", b.path, b.status, status, b.body)
	}
	for _, text := range texts {
		if !strings.Contains(b.body, text) {
			b.town.t.Fatalf("%s does not say %q:\n%s", b.path, text, b.body)
		}
	}
	return b
}

func (b *browser) lacks(text string) {
	b.town.t.Helper()
	if strings.Contains(b.body, text) {
		b.town.t.Fatalf("%s says %q:\n%s", b.path, text, b.body)
	}
}

var (
	hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)
	shownValue  = regexp.MustCompile(`carnet_pat_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}`)
	tokenPath   = regexp.MustCompile(`/settings/developer/(tok_[0-9a-z]+)`)
	projectPath = regexp.MustCompile(`/organizations/[a-z]+/projects/(prj_[0-9a-z]+)`)
	taskPath    = regexp.MustCompile(`/tasks/(tsk_[0-9a-z]+)`)
)

// found returns the first group of the pattern's first match.
func (b *browser) found(pattern *regexp.Regexp) string {
	b.town.t.Helper()
	match := pattern.FindStringSubmatch(b.path + b.body)
	if match == nil {
		b.town.t.Fatalf("%s has nothing like %s:\n%s", b.path, pattern, b.body)
	}
	return match[len(match)-1]
}

// hidden returns the hidden inputs of the page as names and values.
func (b *browser) hidden() []string {
	var pairs []string
	for _, match := range hiddenInput.FindAllStringSubmatch(b.body, -1) {
		if match[1] != "next" { // of the footer's form
			pairs = append(pairs, match[1], strings.ReplaceAll(match[2], "&amp;", "&"))
		}
	}
	return pairs
}

// project makes a project by its form and returns its id.
func (b *browser) project(slug, key, name string) string {
	b.town.t.Helper()
	b.get("/organizations/" + slug + "/projects/new").is(http.StatusOK)
	b.post("/organizations/"+slug+"/projects/new", append(b.hidden(), "name", name, "key", key, "status", "active", "visibility", "organization")...)
	b.is(http.StatusOK, "The project is created", name)
	return b.found(projectPath)
}

// token makes a token by its form and returns its id and value.
func (b *browser) token(pairs ...string) (id, value string) {
	b.town.t.Helper()
	b.get("/settings/developer/new").is(http.StatusOK)
	b.post("/settings/developer/new", append(b.hidden(), pairs...)...)
	b.is(http.StatusCreated, "It is not shown again", "I have stored it")
	return b.found(tokenPath), shownValue.FindString(b.body)
}

func TestTheMainJobIsDoneWithoutScripts(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	link, _, err := w.Org.SetupLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	b.get(strings.TrimPrefix(link, w.url)).is(http.StatusOK, "You become the owner")
	code := b.hidden()
	b.post("/setup", append(code, "name", "Maya", "email", "maya@example.com", "password", "short", "organization", "Acme", "slug", "acme")...)
	b.is(http.StatusUnprocessableEntity, `value="maya@example.com"`, "at least 15 characters").lacks("short")
	b.post("/setup", append(code, "name", "Maya", "email", "maya@example.com", "password", password, "organization", "Acme", "slug", "acme")...)
	b.is(http.StatusOK, "Nothing is connected yet", "Acme")
	w.browser().get(strings.TrimPrefix(link, w.url)).is(http.StatusNotFound, "no longer works")

	inside, outside := b.project("acme", "WEB", "Website"), b.project("acme", "OPS", "Operations")

	// The address fills the form in, and grants nothing.
	b.get("/settings/developer/new?name=Reports&organization=acme&scopes=projects:read,tasks:read&expires_in_days=7&projects=" + inside)
	b.is(http.StatusOK, `value="Reports"`, "It can read projects and tasks in one project only: Website", "It cannot change anything")
	b.get("/settings/developer").is(http.StatusOK, "No tokens yet")

	b.get("/settings/developer/new")
	form := append(b.hidden(), "name", "Reports", "organization", "acme", "scope.projects", "read", "scope.tasks", "read",
		"reach", "chosen", "projects", inside, "expiry", "7")
	b.post("/settings/developer/new/preview", form...).is(http.StatusOK, "in one project only: Website")
	b.get("/settings/developer").is(http.StatusOK, "No tokens yet")
	b.post("/settings/developer/new", form...).is(http.StatusCreated, "It is not shown again")
	id, value := b.found(tokenPath), shownValue.FindString(b.body)
	if got := b.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("the page with the value is Cache-Control: %q", got)
	}
	if b.header.Get("Content-Encoding") != "" {
		t.Error("the page with the value is compressed")
	}

	// Sent twice, the form makes one token, and its value is not shown again.
	b.post("/settings/developer/new", form...).is(http.StatusOK, "The value was shown before")
	b.lacks(value)
	if again := b.found(tokenPath); again != id {
		t.Errorf("the form sent twice made %s and %s", id, again)
	}

	if status, _ := w.call(http.MethodGet, "/projects/"+inside, value, ""); status != http.StatusOK {
		t.Errorf("inside: %d", status)
	}
	if status, _ := w.call(http.MethodGet, "/projects/"+outside, value, ""); status != http.StatusNotFound {
		t.Errorf("outside: %d", status)
	}
	if status, _ := w.call(http.MethodPost, "/projects/"+inside+"/tasks", value, `{"title":"x"}`); status != http.StatusForbidden {
		t.Errorf("write: %d", status)
	}
	b.get("/settings/developer/"+id).is(http.StatusOK, "Reports", "Last used", "3 calls in 60 days", "Read tasks", "Website")

	b.get("/settings/developer/"+id+"/revoke").is(http.StatusOK, "Revoke “Reports”?", "Go-http-client")
	b.post("/settings/developer/"+id+"/revoke").is(http.StatusOK, "“Reports” is revoked", " ms", "On every node")
	if status, answer := w.call(http.MethodGet, "/me", value, ""); status != http.StatusUnauthorized || answer["code"] != "token_revoked" {
		t.Errorf("after the receipt: %d %v", status, answer["code"])
	}
	b.get("/settings/developer").is(http.StatusOK, "No tokens in use")
	b.get("/settings/developer?show=ended").is(http.StatusOK, "Reports", "Revoked")
}

func TestSignUpSaysTheSameForKnownAddressesAndVerifiesByAButton(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.owner("maya", "acme")
	b := w.browser()
	b.post("/sign-up", "name", "Maya", "email", "maya@example.com", "password", "another good long password")
	known := b.is(http.StatusOK, "Check your mail").body
	b.post("/sign-up", "name", "Ben", "email", "ben@example.com", "password", "another good long password").is(http.StatusOK)
	if b.path != "/check-mail" || b.body != known && len(b.body) != len(known) {
		t.Errorf("known and unknown addresses are told apart")
	}
	b.get("/verify-email?code=wrong").is(http.StatusOK, "Confirm my address") // GET looks at nothing
	b.post("/verify-email", "code", "wrong").is(http.StatusUnprocessableEntity, "no longer works")

	b.post("/sign-in", "email", "ben@example.com", "password", "another good long password").is(http.StatusOK, "Confirm your e-mail address")
	b.get("/settings/developer/new").is(http.StatusOK, "You are in no organization")
}

func TestSignInReturnsToLocalPathsOnly(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.owner("maya", "acme")
	for next, want := range map[string]string{
		"/settings/security":      "/settings/security",
		"/settings/developer?x=1": "/settings/developer?x=1",
		"//evil.example":          "/",
		`/\evil.example`:          "/",
		"https://evil.example/":   "/",
		"/\t/evil.example":        "/",
		"evil.example":            "/",
		"":                        "/",
	} {
		b := w.browser()
		b.post("/sign-in", "email", "maya@example.com", "password", password, "next", next).is(http.StatusOK)
		if b.path != want {
			t.Errorf("next %q led to %q, want %q", next, b.path, want)
		}
	}
	b := w.browser()
	b.get("/settings/security").is(http.StatusOK, "Sign in", `name="next" value="/settings/security"`)
	b.get("/sign-in?next=//evil.example").is(http.StatusOK).lacks("evil")
	b.post("/sign-in", "email", "maya@example.com", "password", "not the password").is(http.StatusUnauthorized, "is wrong", `value="maya@example.com"`)
	b.lacks("not the password")
}

func TestStaleSignInAsksForThePasswordAndLosesNothing(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	w.execute("UPDATE sessions SET authenticated_at = authenticated_at - 3600000000")
	b.get("/settings/developer/new")
	b.post("/settings/developer/new", append(b.hidden(), "name", "Nightly & daily", "organization", "acme", "scope.tasks", "read", "reach", "all", "expiry", "none")...)
	b.is(http.StatusForbidden, "Enter your password again", "Create the token", `name="name" value="Nightly &amp; daily"`)
	kept := b.hidden()
	b.post("/settings/developer/new", append(kept, "reauthenticate_password", "not the password")...)
	b.is(http.StatusForbidden, "This is not your password", `name="scope.tasks" value="read"`).lacks("not the password")
	b.post("/settings/developer/new", append(kept, "reauthenticate_password", password)...)
	b.is(http.StatusCreated, "Nightly &amp; daily", "It is not shown again").lacks(password)
	b.get("/settings/developer").is(http.StatusOK, "Nightly &amp; daily")
	b.token("name", "Second", "organization", "acme", "scope.tasks", "read", "expiry", "30") // the sign-in is fresh again
}

func TestTokensOpenNoPages(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	_, value := w.owner("maya", "acme").token("name", "All", "organization", "acme", "scope.projects", "write", "scope.tasks", "write", "expiry", "30")
	for _, path := range []string{"/", "/settings/developer", "/settings/security", "/organizations/acme/projects"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+value)
		w.browser().send(r).is(http.StatusForbidden, "needs a person who is signed in")
	}
}

func TestWhatIsOutsideIsAbsent(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya, ben := w.owner("maya", "acme"), w.owner("ben", "globex")
	project := maya.project("acme", "WEB", "Website")
	id, _ := maya.token("name", "Hers", "organization", "acme", "scope.tasks", "read", "expiry", "30")
	for _, path := range []string{
		"/organizations/acme/projects", "/organizations/acme/members", "/organizations/acme/projects/" + project,
		"/organizations/globex/projects/" + project, "/settings/developer/" + id, "/settings/developer/" + id + "/revoke", "/nowhere",
	} {
		ben.get(path).is(http.StatusNotFound, "There is nothing here")
	}
	ben.post("/settings/developer/" + id + "/revoke").is(http.StatusNotFound)
	ben.post("/settings/developer/new", "name", "x", "organization", "acme", "scope.tasks", "read", "expiry", "30")
	ben.is(http.StatusUnprocessableEntity, "Choose one of your organizations")
}

func TestRotationKeepsTheGrantAndNarrowingHolds(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	project := b.project("acme", "WEB", "Website")
	id, old := b.token("name", "Pipeline", "organization", "acme", "scope.tasks", "write", "expiry", "90")

	b.get("/settings/developer/"+id+"/rotate").is(http.StatusOK, "Rotate “Pipeline”?")
	b.post("/settings/developer/"+id+"/rotate", append(b.hidden(), "grace_seconds", "3600")...).is(http.StatusCreated, "The new value of", "works until")
	fresh := shownValue.FindString(b.body)
	for _, value := range []string{old, fresh} {
		if status, _ := w.call(http.MethodGet, "/me", value, ""); status != http.StatusOK {
			t.Errorf("within the grace: %d", status)
		}
	}
	b.get("/settings/developer/" + id + "/rotate")
	b.post("/settings/developer/"+id+"/rotate", append(b.hidden(), "grace_seconds", "99999")...).is(http.StatusUnprocessableEntity, "Choose one of these")

	b.get("/settings/developer/"+id+"/narrow").is(http.StatusOK, "Narrow “Pipeline”")
	b.post("/settings/developer/"+id+"/narrow", append(b.hidden(), "name", "Pipeline", "scope.tasks", "read", "scope.members", "read", "reach", "all")...)
	b.is(http.StatusUnprocessableEntity, "can only be narrowed")
	b.post("/settings/developer/"+id+"/narrow", append(b.hidden(), "name", "Pipeline", "scope.tasks", "read", "reach", "chosen", "projects", project)...)
	b.is(http.StatusOK, "The token is changed", "Read tasks", "Website")
	if status, _ := w.call(http.MethodPost, "/projects/"+project+"/tasks", fresh, `{"title":"x"}`); status != http.StatusForbidden {
		t.Errorf("after narrowing: %d", status)
	}
}

func TestPagesShowWhatATokenDid(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	project := b.project("acme", "WEB", "Website")
	_, value := b.token("name", "Importer", "organization", "acme", "scope.tasks", "write", "scope.comments", "write", "expiry", "30")
	_, made := w.call(http.MethodPost, "/projects/"+project+"/tasks", value, `{"title":"Made by a <script>","priority":"critical"}`)
	task, _ := made["id"].(string)
	w.call(http.MethodPost, "/tasks/"+task+"/comments", value, `{"body":"Said by a program"}`)

	base := "/organizations/acme/projects/" + project
	b.get(base).is(http.StatusOK, "WEB-1", "Made by a &lt;script&gt;", "Importer", "Critical")
	b.get(base+"?q=script&status=todo&assignee=me").is(http.StatusOK, "No task fits")
	b.get(base+"/tasks/"+task).is(http.StatusOK, "Importer", "Said by a program")
}

func TestTasksCommentsAndProjectsAreKeptByForms(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	base := "/organizations/acme/projects/" + b.project("acme", "WEB", "Website")
	b.get(base + "/tasks/new").is(http.StatusOK)
	b.post(base+"/tasks/new", append(b.hidden(), "title", "", "status", "todo", "priority", "high")...).is(http.StatusUnprocessableEntity, "f-title-error")
	b.post(base+"/tasks/new", append(b.hidden(), "title", "Write it", "description", "one\r\ntwo", "status", "todo", "priority", "high", "due_on", "2031-02-03")...)
	b.is(http.StatusOK, "The task is created", "Write it", "3 Feb 2031")
	task := base + "/tasks/" + b.found(taskPath)
	form := append(b.get(task+"/edit").hidden(), "status", "done", "priority", "low")
	b.post(task+"/edit", append(form, "title", "Written")...).is(http.StatusOK, "The task is saved", "Written")
	// The same page, still open elsewhere: the second to save is told, and may insist.
	b.post(task+"/edit", append(form[2:], "title", "Overwritten")...).is(http.StatusUnprocessableEntity, "Somebody else changed this", `value="Overwritten"`)
	b.post(task+"/edit", append(b.hidden(), "title", "Overwritten", "status", "done", "priority", "low")...).is(http.StatusOK, "Overwritten")

	b.post(task+"/comments", append(b.hidden(), "body", "  ")...).is(http.StatusUnprocessableEntity, "f-body-error")
	b.post(task+"/comments", append(b.hidden(), "body", "Good")...).is(http.StatusOK, "The comment is added", "Good")
	comment := task + "/comments/" + b.found(regexp.MustCompile(`(cmt_[0-9a-z]+)`))
	b.get(comment+"/edit").is(http.StatusOK, "Good")
	b.post(comment+"/edit", append(b.hidden(), "body", "Better")...).is(http.StatusOK, "Better", "edited")
	b.get(comment+"/delete").is(http.StatusOK, "Delete this comment?")
	b.post(comment+"/delete").is(http.StatusOK, "The comment is deleted").lacks("Better")

	b.get(task + "/delete").is(http.StatusOK)
	b.post(task+"/delete").is(http.StatusOK, "in the recycle bin")
	b.get(base+"?deleted=true").is(http.StatusOK, "Overwritten", "Restore")
	b.post(task+"/restore").is(http.StatusOK, "The task is back", "Overwritten")
	b.get(base+"/edit").is(http.StatusOK, `value="Website"`)
	b.post(base+"/edit", append(b.hidden(), "name", "Site", "key", "web", "status", "on_hold", "visibility", "private")...).is(http.StatusOK, "The project is saved", "On hold", "Private")
	b.get(base+"/delete").is(http.StatusOK, "Delete “Site”?")
	b.post(base+"/delete").is(http.StatusOK, "No projects that you can see")
	b.get("/organizations/acme/projects?deleted=true").is(http.StatusOK, "Site", "Restore")
	b.post(base+"/restore").is(http.StatusOK, "The project is back")
}

func TestRolesAndSharingAreLive(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya, ben := w.owner("maya", "acme"), w.owner("ben", "globex")
	if err := w.Org.Operators().AddMember(t.Context(), "acme", "ben@example.com", "guest"); err != nil {
		t.Fatal(err)
	}
	project := "/organizations/acme/projects/" + maya.project("acme", "WEB", "Website")
	ben.get(project).is(http.StatusNotFound)
	maya.get(project+"/members").is(http.StatusOK, "ben@example.com")
	user := maya.found(regexp.MustCompile(`value="(usr_[0-9a-z]+)">ben`))
	maya.post(project+"/members", "user", user, "role", "viewer").is(http.StatusOK, "The project is shared")
	ben.get(project).is(http.StatusOK).lacks("New task")
	maya.get(project+"/members/"+user+"/remove").is(http.StatusOK, "with ben?")
	maya.post(project+"/members/"+user+"/remove").is(http.StatusOK, "no longer shared")
	ben.get(project).is(http.StatusNotFound)

	members := "/organizations/acme/members"
	maya.post(members+"/"+user, "role", "manager").is(http.StatusOK, "The role is changed")
	ben.get(project).is(http.StatusOK, "New task")
	ben.get(members).is(http.StatusOK, "Leave").lacks("Change<span")
	ben.post(members+"/"+user, "role", "owner").is(http.StatusForbidden, "Your role does not permit this")
	maya.post(members, "email", "stranger@example.com", "role", "member").is(http.StatusUnprocessableEntity, "stranger@example.com")
	maya.get(members+"/"+user+"/remove").is(http.StatusOK, "Remove ben from ACME?")
	maya.post(members+"/"+user+"/remove").is(http.StatusOK, "The member is removed")
	ben.get(project).is(http.StatusNotFound)

	self := maya.found(regexp.MustCompile(`/members/(usr_[0-9a-z]+)/remove`))
	maya.post(members+"/"+self+"/remove").is(http.StatusConflict, "Leave ACME?")
}

func TestSessionsEndAndTokensGoOn(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	_, value := b.token("name", "Script", "organization", "acme", "scope.tasks", "read", "expiry", "none")
	second, third := w.signIn("maya@example.com"), w.signIn("maya@example.com")
	b.get("/settings/security").is(http.StatusOK, "This one", "End all others")
	b.post("/settings/security/sessions/end-others").is(http.StatusOK, "All your other sessions are ended")
	second.get("/settings/security").is(http.StatusOK, "Sign in")
	third.get("/").is(http.StatusOK, "Sign in")

	b.post("/settings/security/password", "current", "not the password", "new", "an entirely new password").is(http.StatusUnprocessableEntity, "Is not your current password")
	b.lacks("an entirely new password")
	b.post("/settings/security/password", "current", password, "new", "an entirely new password").is(http.StatusOK, "Your password is changed")
	b.post("/sign-out").is(http.StatusOK, "You are signed out")
	b.get("/settings/developer").is(http.StatusOK, "Sign in")
	if status, _ := w.call(http.MethodGet, "/me", value, ""); status != http.StatusOK {
		t.Errorf("the token answers %d", status)
	}
	b.post("/sign-out").is(http.StatusOK) // once more, signed out already
}

func TestProfileAndThemeAreKept(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	b.post("/settings/profile", "name", "").is(http.StatusUnprocessableEntity, "f-name-error")
	b.post("/settings/profile", "name", "Maya Lindqvist").is(http.StatusOK, "Your profile is saved", "Maya Lindqvist")
	b.post("/theme", "theme", "dark", "next", "/settings/profile").is(http.StatusOK, `data-theme="dark"`)
	if b.path != "/settings/profile" {
		t.Errorf("the theme's form led to %s", b.path)
	}
	b.get("/docs/api").is(http.StatusOK, `data-theme="dark"`)
	b.post("/theme", "theme", "system", "next", "//evil.example").is(http.StatusOK).lacks("data-theme=\"dark\"")
}

func TestReferenceShowsEveryOperation(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.browser()
	b.get("/openapi.json").is(http.StatusOK)
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	if err := json.Unmarshal([]byte(b.body), &document); err != nil {
		t.Fatal(err)
	}
	b.get("/docs/api").is(http.StatusOK)
	n := 0
	for path, operations := range document.Paths {
		for _, o := range operations {
			n++
			if !strings.Contains(b.body, `id="`+o.OperationID+`"`) || !strings.Contains(b.body, "/api/v1"+path) {
				t.Errorf("%s %s is missing", o.OperationID, path)
			}
		}
	}
	if n == 0 {
		t.Fatal("no operations")
	}
}

func TestGetChangesNothing(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	id, value := b.token("name", "Script", "organization", "acme", "scope.tasks", "read", "expiry", "30")
	for _, path := range []string{
		"/settings/developer/" + id + "/revoke", "/settings/developer/" + id + "/rotate?grace_seconds=0", "/settings/developer/" + id + "/narrow",
		"/sign-out", "/settings/security/sessions/end-others", "/settings/developer/new?name=x&scopes=tasks:read", "/theme?theme=dark",
	} {
		b.get(path)
	}
	b.get("/settings/developer").is(http.StatusOK, "Script")
	if status, _ := w.call(http.MethodGet, "/me", value, ""); status != http.StatusOK {
		t.Errorf("the token answers %d", status)
	}
}
