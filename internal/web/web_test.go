package web_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

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
	if b.packed {
		t.Error("the page with the value is compressed")
	}
	if !b.get("/settings/developer").packed {
		t.Error("other pages are not")
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
	b.get("/sign-in?next=//evil.example").is(http.StatusOK).lacks(`value="//evil`)
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
	other := "/organizations/acme/projects/" + b.project("acme", "OPS", "Operations")
	b.get(strings.Replace(task, base, other, 1)).is(http.StatusNotFound)
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
	b.post(base+"/delete").is(http.StatusOK, "The project is in the recycle bin", "Operations").lacks(">Site<")
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
	b.get("/docs/api").is(http.StatusOK, `id="tokens">Tokens<`)
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
