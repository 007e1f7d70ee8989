// Package incidents_test makes what went wrong elsewhere happen here, against the ordinary program: each test carries the
// published ids of the incidents that it repeats. What other suites show better is listed in [elsewhere].
package incidents_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/test/harness"
)

// elsewhere says which test repeats an incident that this package leaves to another. The test below it looks whether
// they are there.
var elsewhere = map[string]string{
	"CVE-2026-46554, CVE-2026-68481, CVE-2026-8922: revoked tokens live on in a cache":                    "test/revocation TestP6RevocationHoldsForEveryClientWhenItReturns",
	"GO-2026-4849, GO-2025-3731, GO-2025-4137, CVE-2026-1609, GO-2024-3137 to 3139: disabled users go on": "test/revocation TestP2P6RunningScriptLosesWhatItsUserLoses",
	"GO-2026-5321, 5334, 6031, 6036, 6050, 6065; GO-2026-5243, 6045, 6053, 6059: routes without a gate":   "test/property TestNoRequestDoesMoreOrLessThanItsRoleScopesAndProjectsAllow",
	"GO-2024-3113, GO-2025-4049, 4052, GO-2022-1154, GO-2026-5039: secrets in logs and errors":            "test/secrets TestSecretsAreNowhere",
	"fsyncgate: acknowledged after a failed sync":                                                         "test/durability TestFailedSyncStopsTheServerAndNothingIsAcknowledgedAfterIt",
}

func TestWhatIsTestedElsewhereIs(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	for incident, where := range elsewhere {
		folder, name, _ := strings.Cut(where, " ")
		files, _ := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
		if !slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(text), "func "+name+"(")
		}) {
			t.Errorf("%s: there is no %s", incident, where)
		}
	}
}

const (
	owner        = "maya@example.com"
	organization = "northwind"
)

var allScopes = []string{"projects:write", "tasks:write", "comments:write", "members:read"}

// town is a server with an organization in which most of what there is exists once.
type town struct {
	*harness.Server
	session                        *harness.Client // the owner's
	project, hidden, task, comment string
	token, value                   string
}

func start(t *testing.T, options ...harness.Option) *town {
	t.Helper()
	options = append(options, harness.Args("--no-access-log", "--token-limit", "1000000", "--sign-in-limit", "100000"))
	s := harness.Start(t, options...)
	s.CreateUser(owner, "Maya Lindqvist")
	s.CreateOrganization(organization, "Northwind Studio", owner, "team")
	w := &town{Server: s, session: s.SignIn(owner).In(organization)}
	w.project = w.session.CreateProject("APP", "The app", "organization")
	w.hidden = w.session.CreateProject("HID", "hidden-marker project", "private")
	w.task = w.session.CreateTask(w.project, "A task")
	w.comment = w.session.Do("POST", "/tasks/"+w.task+"/comments", map[string]any{"body": "comment-marker"}).Want(http.StatusCreated).Text("id")
	w.session.CreateTask(w.hidden, "hidden-marker task")
	w.token, w.value = w.session.CreateToken(organization, allScopes, nil)
	return w
}

// person makes a user with a role, and returns their session.
func (w *town) person(email, role string) *harness.Client {
	w.CreateUser(email, "Somebody "+strings.Split(email, "@")[0])
	w.AddMember(organization, email, role)
	return w.SignIn(email).In(organization)
}

// createAgent makes an agent's token with a session, with every scope.
func createAgent(session *harness.Client) (id, value string) {
	answer := session.Do("POST", "/tokens", map[string]any{"name": "Scout", "organization": organization, "scopes": allScopes, "purpose": "agent"}).Want(http.StatusCreated)
	return answer.Text("token", "id"), answer.Text("value")
}

type operation struct{ method, path, id string }

// operations reads the published routes, with ids of things that exist in their paths.
func (w *town) operations(t *testing.T) (all []operation) {
	t.Helper()
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	w.Anonymous().Do("GET", "/openapi.json", nil).Want(http.StatusOK).Into(&document)
	user := w.session.Do("GET", "/me", nil).Want(http.StatusOK).Text("user", "id")
	agent, _ := createAgent(w.session)
	for path, methods := range document.Paths {
		filled := strings.NewReplacer("{slug}", organization, "{user_id}", user, "{token_id}", agent, "/projects/{id}", "/projects/"+w.project,
			"/tasks/{id}", "/tasks/"+w.task, "/comments/{id}", "/comments/"+w.comment, "/tokens/{id}", "/tokens/"+w.token,
			"/sessions/{id}", "/sessions/ses_00000000000000000000000000").Replace(path)
		if strings.Contains(filled, "{") {
			t.Fatalf("the route %s has a parameter that this test does not know", path)
		}
		for method, o := range methods {
			all = append(all, operation{strings.ToUpper(method), filled, o.OperationID})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	if len(all) < 40 {
		t.Fatalf("the document lists %d routes only", len(all))
	}
	return all
}

// GO-2026-6034 (Gitea: a token minted any scope) and CVE-2026-73804 (a write scope added a key without scopes): no
// token, whatever its scopes and its role, makes or widens a credential, or touches what only a signed-in person may.
func TestNoTokenMakesOrWidensACredential(t *testing.T) {
	t.Parallel()
	w := start(t)
	member := w.person("member@example.com", "member")
	_, lesser := member.CreateToken(organization, []string{"tasks:read"}, nil)
	agent, agentValue := createAgent(member)
	agents := "/organizations/" + organization + "/agents"
	ways := []struct {
		method, path string
		body         map[string]any
	}{
		{"POST", "/tokens", map[string]any{"name": "More", "organization": organization, "scopes": allScopes}},
		{"POST", "/tokens/preview", map[string]any{"organization": organization, "scopes": allScopes}},
		{"PATCH", "/tokens/" + w.token, map[string]any{"scopes": allScopes}},
		{"POST", "/tokens/" + w.token + "/rotate", map[string]any{}},
		{"GET", "/tokens", nil},
		{"POST", "/account/password", map[string]any{"current": harness.Password, "new": "another long password 1"}},
		{"POST", "/auth/reauthenticate", map[string]any{"password": harness.Password}},
		{"GET", "/account/sessions", nil},
		{"POST", "/organizations", map[string]any{"slug": "mine", "name": "Mine"}},
		{"POST", "/organizations/" + organization + "/members", map[string]any{"email": "member@example.com", "role": "owner"}},
		{"PATCH", "/organizations/" + organization + "/agent-policy", map[string]any{"destructive": []string{"projects:delete"}, "writes_per_hour": nil}},
		{"GET", "/organizations/" + organization + "/agent-policy", nil},
		{"GET", agents, nil},
		{"DELETE", agents + "?all=true", nil},
		{"DELETE", agents + "/" + agent, nil},
		{"POST", agents + "/" + agent + "/resume", nil},
		{"POST", "/tokens/" + agent + "/resume", nil},
		{"PATCH", "/tokens/" + agent, map[string]any{"expires_at": nil}},
	}
	for _, value := range []string{w.value, lesser, agentValue} {
		for _, way := range ways {
			w.Anonymous().With(value).Do(way.method, way.path, way.body).WantCode(http.StatusForbidden, "signin_required")
		}
	}
	if n := len(w.session.Do("GET", "/tokens", nil).At("items").([]any)); n != 1 {
		t.Errorf("the owner has %d tokens afterwards, want 1", n)
	}
}

// GO-2026-5299 (Gitea: scopes dropped under Basic) and GitLab #50319 (any token opened the web pages): a token counts
// as a bearer token of the API and nowhere else, on every published route and every page.
func TestTokenInAnotherPlaceIsRefusedAtEveryPattern(t *testing.T) {
	t.Parallel()
	w := start(t)
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	places := map[string]struct{ header, value, query string }{
		"Basic, as password":   {"Authorization", basic("maya", w.value), ""},
		"Basic, as user":       {"Authorization", basic(w.value, ""), ""},
		"scheme Token":         {"Authorization", "Token " + w.value, ""},
		"without a scheme":     {"Authorization", w.value, ""},
		"query access_token":   {"", "", "access_token=" + w.value},
		"query private_token":  {"", "", "private_token=" + w.value},
		"session cookie":       {"Cookie", "carnet_session=" + w.value, ""},
		"X-Api-Key":            {"X-Api-Key", w.value, ""},
		"Private-Token":        {"Private-Token", w.value, ""},
		"Proxy-Authorization":  {"Proxy-Authorization", "Bearer " + w.value, ""},
		"X-Forwarded-User":     {"X-Forwarded-User", owner, ""},
		"form of the old days": {"X-Auth-Token", w.value, ""},
	}
	open := map[string]bool{"signUp": true, "verifyEmail": true, "resendVerification": true, "signIn": true, "listScopes": true}
	tried := 0
	for _, o := range w.operations(t) {
		if open[o.id] {
			continue
		}
		for place, x := range places {
			path := o.path
			if x.query != "" {
				path += "?" + x.query
			}
			var headers []string
			if x.header != "" {
				headers = []string{x.header, x.value}
			}
			if answer := w.Anonymous().Do(o.method, path, nil, headers...); answer.Status != http.StatusUnauthorized {
				t.Errorf("%s %s with the token in %s: status %d", o.method, o.path, place, answer.Status)
			}
			tried++
		}
	}
	for _, page := range []string{"/", "/settings/developer", "/settings/security", "/organizations/" + organization, "/organizations/" + organization + "/projects"} {
		for _, header := range [][2]string{{"Authorization", "Bearer " + w.value}, {"Authorization", basic("maya", w.value)}, {"Cookie", "carnet_session=" + w.value}} {
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+page, http.NoBody)
			request.Header.Set(header[0], header[1])
			answer, err := w.Anonymous().HTTP.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			tried++
			toSignIn := answer.StatusCode == http.StatusSeeOther && strings.HasPrefix(answer.Header.Get("Location"), "/sign-in")
			if !toSignIn && answer.StatusCode != http.StatusUnauthorized && answer.StatusCode != http.StatusForbidden {
				t.Errorf("the page %s with a token in %s: %d %s", page, header[0], answer.StatusCode, answer.Header.Get("Location"))
			}
		}
	}
	t.Logf("%d attempts", tried)
}

// CVE-2026-91983 (Vikunja: expand= gave comments without the scope), GO-2026-5650 (a destructive sibling), CVE-2024-4006
// and GitLab #583961 (other ways to the same data): no parameter of any route shows a kind of thing that the token's
// scopes do not cover.
func TestNoParameterShowsWhatTheScopesDoNotCover(t *testing.T) {
	t.Parallel()
	w := start(t)
	_, value := w.session.CreateToken(organization, []string{"tasks:read"}, nil)
	_, projectsOnly := w.session.CreateToken(organization, []string{"projects:read"}, nil)
	extras := []string{"", "expand=comments", "include=comments", "embed=comments", "fields=comments", "with=comments,members", "q=marker", "$expand=comments", "q=comment"}
	for _, o := range w.operations(t) {
		if o.method != http.MethodGet {
			continue
		}
		for _, extra := range extras {
			for name, credential := range map[string]string{"tasks:read": value, "projects:read": projectsOnly} {
				body := string(w.Anonymous().With(credential).Do("GET", o.path+"?"+extra, nil).Body)
				if strings.Contains(body, "comment-marker") {
					t.Errorf("GET %s?%s shows a comment to %s", o.path, extra, name)
				}
				if name == "projects:read" && strings.Contains(body, "A task") {
					t.Errorf("GET %s?%s shows a task to %s", o.path, extra, name)
				}
			}
		}
	}
	// The destructive sibling: writing is not deleting someone else's, reading is not writing.
	reader := w.Anonymous().With(value)
	reader.Do("DELETE", "/tasks/"+w.task, nil).WantCode(http.StatusForbidden, "scope_missing")
	reader.Do("POST", "/tasks/"+w.task+"/restore", nil).WantCode(http.StatusForbidden, "scope_missing")
}

// GO-2026-5243, 6045, 6053, 6059 (Gitea) and CVE-2026-92764 (OpenCVE): a token restricted to one project lists, counts,
// searches and pages as if nothing else existed, also with a cursor that its owner got without the restriction.
func TestRestrictedTokenSeesNothingElseOfItsOwner(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.CreateOrganization("secondhand", "second-marker organization", owner, "team")
	second := w.session.In("secondhand")
	other := second.CreateProject("SEC", "second-marker project", "organization")
	second.CreateTask(other, "second-marker task")
	for i := range 5 {
		w.session.CreateTask(w.hidden, fmt.Sprintf("hidden-marker task %d", i))
	}
	_, value := w.session.CreateToken(organization, allScopes, []string{w.project})
	script := w.Anonymous().With(value)
	for _, o := range w.operations(t) {
		if o.method != http.MethodGet {
			continue
		}
		for _, query := range []string{"", "?limit=1", "?q=marker", "?count=true&limit=1", "?include_deleted=true", "?deleted=true"} {
			answer := script.Do("GET", o.path+query, nil)
			if text := string(answer.Body); strings.Contains(text, "hidden-marker") || strings.Contains(text, "second-marker") {
				t.Errorf("GET %s%s shows what the token is not for:\n%s", o.path, query, text)
			}
		}
	}
	cursor := w.session.Do("GET", "/tasks?limit=1", nil).Want(http.StatusOK).Text("next_cursor")
	answer := script.Do("GET", "/tasks?limit=100&cursor="+url.QueryEscape(cursor), nil)
	if strings.Contains(string(answer.Body), "hidden-marker") {
		t.Errorf("its owner's cursor takes the token further: %s", answer.Body)
	}
	for _, path := range []string{"/projects/" + w.hidden, "/projects/" + other, "/projects/" + w.hidden + "/tasks"} {
		script.Do("GET", path, nil).WantCode(http.StatusNotFound, "not_found")
	}
	script.In("secondhand").Do("GET", "/projects", nil).WantCode(http.StatusNotFound, "not_found")
}

// GO-2026-4573 (Zitadel: a token cut to 80 characters was valid): every cut, every changed character, every change of
// case, and whatever stands around it, is refused.
func TestNoOtherTextIsTheToken(t *testing.T) {
	t.Parallel()
	w := start(t)
	anonymous := w.Anonymous()
	anonymous.With(w.value).Do("GET", "/me", nil).Want(http.StatusOK)
	wrong := map[string]bool{}
	for i := range len(w.value) {
		wrong[w.value[:i]], wrong[w.value[i+1:]] = true, true
		wrong[w.value[:i]+w.value[i+1:]] = true
		for bit := range 7 {
			wrong[w.value[:i]+string(w.value[i]^1<<bit)+w.value[i+1:]] = true
		}
		wrong[w.value[:i]+w.value[i:i+1]+w.value[i:]] = true
	}
	wrong[strings.ToUpper(w.value)], wrong[strings.ToLower(w.value)] = true, true
	for _, around := range []string{"x", "0", ".", ",", ";", "=", "\"", "'", "%20", "%00", "\u00e9"} {
		wrong[w.value+around], wrong[around+w.value] = true, true
	}
	wrong[w.value+" "+w.value], wrong[w.value+","+w.value] = true, true
	delete(wrong, w.value)
	tried := 0
	for text := range wrong {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.TrimSpace(text) == w.value {
			continue // not a header's value, or the same one
		}
		if status := anonymous.With(text).Do("GET", "/me", nil).Status; status != http.StatusUnauthorized {
			t.Errorf("%q of %q: status %d", text, w.value, status)
		}
		tried++
	}
	t.Logf("%d texts, all refused", tried)
}

// GO-2026-6067 and 6071 (Gitea: ids and titles of others told apart): what is outside of the caller's world answers
// exactly as what does not exist, on every route with an id, by body, headers and time.
func TestWhatIsOutsideIsAbsent(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.CreateUser("stranger@example.com", "Sam Stranger")
	w.CreateOrganization("elsewhere", "Elsewhere", "stranger@example.com", "team")
	stranger := w.SignIn("stranger@example.com").In("elsewhere")
	task := stranger.CreateProject("OUT", "Outside", "organization")
	task = stranger.CreateTask(task, "An outside task")
	id := regexp.MustCompile(`"request_id":"[^"]*"`)
	plain := func(a *harness.Answer) string {
		h := a.Header.Clone()
		h.Del("X-Request-Id")
		h.Del("Date")
		return fmt.Sprint(a.Status, h) + id.ReplaceAllString(string(a.Body), "")
	}
	script := w.Anonymous().With(w.value)
	madeUp := task[:len(task)-4] + "zzzz"
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		var body any
		if method == "PATCH" {
			body = map[string]any{"title": "x"}
		}
		foreign, absent := script.Do(method, "/tasks/"+task, body, "If-Match", "*"), script.Do(method, "/tasks/"+madeUp, body, "If-Match", "*")
		foreign.WantCode(http.StatusNotFound, "not_found")
		if plain(foreign) != plain(absent) {
			t.Errorf("%s tells a foreign id from one that does not exist:\n%s\n%s", method, plain(foreign), plain(absent))
		}
	}
	outside := map[string]any{"name": "x", "organization": organization, "scopes": []string{"tasks:read"}}
	outside["projects"] = []string{stranger.Do("GET", "/projects", nil).Text("items", 0, "id")}
	foreign := w.session.Do("POST", "/tokens", outside).WantCode(http.StatusUnprocessableEntity, "validation_failed")
	outside["projects"] = []string{w.project[:len(w.project)-4] + "zzzz"}
	if absent := w.session.Do("POST", "/tokens", outside); plain(foreign) != plain(absent) {
		t.Errorf("a token's projects tell whether they exist elsewhere:\n%s\n%s", plain(foreign), plain(absent))
	}

	// In turns, so that what else the machine does weighs on both alike.
	var there, nowhere []time.Duration
	for range 400 {
		for _, x := range []struct {
			path  string
			times *[]time.Duration
		}{{"/tasks/" + task, &there}, {"/tasks/" + madeUp, &nowhere}} {
			began := time.Now()
			script.Do("GET", x.path, nil).Want(http.StatusNotFound)
			*x.times = append(*x.times, time.Since(began))
		}
	}
	slices.Sort(there)
	slices.Sort(nowhere)
	a, b := there[len(there)/2], nowhere[len(nowhere)/2]
	t.Logf("a foreign id takes %s, one that does not exist %s (medians of %d)", a, b, len(there))
	if ratio := float64(a) / float64(b); ratio < 0.7 || ratio > 1.4 {
		t.Errorf("a foreign id takes %.2f times as long as one that does not exist", ratio)
	}
}

// CVE-2024-4006 and CVE-2026-92874: another client is not another gate. The command line gets the same decisions.
func TestCommandLineGetsTheSameDecisions(t *testing.T) {
	t.Parallel()
	w := start(t)
	_, value := w.session.CreateToken(organization, []string{"tasks:read"}, []string{w.project})
	script := w.Anonymous().With(value)
	for _, call := range [][2]string{
		{"GET", "/tasks/" + w.task}, {"GET", "/projects/" + w.hidden}, {"DELETE", "/tasks/" + w.task}, {"GET", "/tokens"}, {"GET", "/tasks/" + w.task + "/comments"},
	} {
		direct := script.Do(call[0], call[1], nil)
		out, errs, code := harness.Command(t, []string{"CARNET_URL=" + w.URL, "CARNET_TOKEN=" + value, "HOME=" + t.TempDir()}, "", "api", call[0], call[1])
		if (code == 0) != (direct.Status < 300) {
			t.Errorf("%v: the API says %d, the command line exits with %d: %s%s", call, direct.Status, code, out, errs)
		}
		if said := direct.Code(); said != "" && !strings.Contains(out+errs, said) {
			t.Errorf("%v: the command line does not pass %q on: %s%s", call, said, out, errs)
		}
	}
}
