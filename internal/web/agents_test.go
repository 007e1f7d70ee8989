package web_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"carnet/internal/account"
)

var (
	agentValue = regexp.MustCompile(`carnet_agt_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}`)
	agentPath  = regexp.MustCompile(`/settings/agents/(tok_[0-9a-z]+)`)
)

// member makes a verified person who is in an organization, signed in.
func (w *town) member(name, slug, role string) *browser {
	w.t.Helper()
	email := name + "@example.com"
	if _, err := w.Account.CreateUser(w.t.Context(), account.NewUser{Email: email, Name: name, Password: password, Verified: true}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.Org.Operators().AddMember(w.t.Context(), slug, email, role); err != nil {
		w.t.Fatal(err)
	}
	return w.signIn(email)
}

// connect makes an agent by its form and returns its id and value.
func (b *browser) connect(client string, pairs ...string) (id, value string) {
	b.town.t.Helper()
	b.get("/settings/agents/connect?client=" + client).is(http.StatusOK)
	b.post("/settings/agents/connect", append(b.hidden(), pairs...)...)
	b.is(http.StatusCreated, "It is not shown again", "Waiting for the first call")
	return b.found(agentPath), agentValue.FindString(b.body)
}

func TestAgentIsConnectedWithoutScripts(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	inside, outside := b.project("acme", "WEB", "Website"), b.project("acme", "OPS", "Operations")
	b.get("/settings/agents").is(http.StatusOK, "No agents yet", "Claude Code", "ChatGPT")

	// The address fills the form in by way of the tiles, and grants nothing.
	b.get("/settings/agents/connect?scopes=tasks:write&organization=acme").is(http.StatusOK, "client=zed&amp;organization=acme&amp;scopes=tasks%3Awrite")
	b.get("/settings/agents/connect?client=claude-code").is(http.StatusOK, "claude mcp login carnet", w.url+"/mcp", "Nothing yet. Choose at least one scope")
	b.get("/settings/agents/connect?client=claude-code&scopes=tasks:write&projects="+inside).is(http.StatusOK, "read and change tasks in one project only: Website")
	b.get("/settings/agents/connect?client=cursor").is(http.StatusOK, "cursor://anysphere.cursor-deeplink/mcp/install?name=carnet&amp;config=")
	const unreachable = "That cloud cannot reach this server now: its address, "
	b.get("/settings/agents/connect?client=chatgpt").is(http.StatusOK, "takes no tokens", unreachable+w.url).lacks("What it may do")
	b.get("/settings/agents/connect?client=claude").is(http.StatusOK, unreachable+w.url)
	b.get("/settings/agents/connect?client=zed").is(http.StatusOK).lacks(unreachable)
	b.get("/settings/agents/connect?client=claude-code")
	b.post("/settings/agents/connect", append(b.hidden(), "organization", "acme", "expiry", "90")...).is(http.StatusUnprocessableEntity, "Must name at least one scope")
	form := append(b.hidden(), "organization", "acme", "expiry", "90", "scope.tasks", "write", "reach", "chosen", "projects", inside)
	b.post("/settings/agents/connect/preview", form...).is(http.StatusOK, "in one project only: Website")
	b.get("/settings/agents").is(http.StatusOK, "No agents yet")
	b.post("/settings/agents/connect", form...).is(http.StatusCreated, "claude mcp add --transport http --scope user carnet "+w.url+"/mcp", "Waiting for the first call")
	id, value := b.found(agentPath), agentValue.FindString(b.body)
	if b.packed {
		t.Error("the page with the value is compressed")
	}
	if strings.Count(b.body, value) < 2 {
		t.Error("the command does not hold the value")
	}

	b.get("/settings/agents/"+id+"/connection").is(http.StatusOK, "Waiting for the first call", "Look again")
	if status, _ := w.call(http.MethodGet, "/projects/"+inside, value, ""); status != http.StatusForbidden {
		t.Errorf("without the scope: %d", status)
	}
	if status, _ := w.call(http.MethodGet, "/projects/"+outside+"/tasks", value, ""); status != http.StatusNotFound {
		t.Errorf("outside: %d", status)
	}
	b.get("/settings/agents/"+id+"/connection").is(http.StatusOK, "Connected.", "Go-http-client").lacks("Waiting")
	b.get("/settings/agents/"+id).is(http.StatusOK, "Claude Code", "2 calls in 60 days", "Website", "Edit grant").lacks(value)
	b.get("/settings/agents").is(http.StatusOK, "Claude Code", "2 calls in 7 days", "Change tasks")
	b.get("/").is(http.StatusOK, "Live agents", "/settings/agents/"+id)

	b.get("/settings/agents/"+id+"/revoke").is(http.StatusOK, "Revoke “Claude Code”?")
	b.post("/settings/agents/"+id+"/revoke").is(http.StatusOK, "“Claude Code” is revoked", "Back to your agents")
	if status, _ := w.call(http.MethodGet, "/me", value, ""); status != http.StatusUnauthorized {
		t.Errorf("after the receipt: %d", status)
	}
	b.get("/settings/agents?show=ended").is(http.StatusOK, "Revoked")
}

// Each of the two lists has its own kind, and an id that belongs on the other leads there.
func TestTokensAndAgentsHaveTheirOwnPages(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	script, _ := b.token("name", "A script", "organization", "acme", "scope.tasks", "read", "expiry", "30")
	agent, _ := b.connect("zed", "organization", "acme", "scope.tasks", "read", "expiry", "30", "name", "An agent")
	b.get("/settings/developer").is(http.StatusOK, "A script").lacks("An agent")
	b.get("/settings/agents").is(http.StatusOK, "An agent").lacks("A script")
	for path, want := range map[string]string{
		"/settings/developer/" + agent:             "/settings/agents/" + agent,
		"/settings/developer/" + agent + "/narrow": "/settings/agents/" + agent,
		"/settings/developer/" + agent + "/revoke": "/settings/agents/" + agent,
		"/settings/agents/" + script:               "/settings/developer/" + script,
		"/settings/agents/" + script + "/grant":    "/settings/developer/" + script,
		"/settings/agents/" + script + "/rotate":   "/settings/developer/" + script,
	} {
		if b.get(path).is(http.StatusOK); b.path != want {
			t.Errorf("%s leads to %s, want %s", path, b.path, want)
		}
	}
}

func TestAgentIsPausedRotatedAndGivenAnotherGrant(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	project := b.project("acme", "WEB", "Website")
	id, value := b.connect("codex", "organization", "acme", "scope.tasks", "read", "reach", "chosen", "projects", project, "expiry", "30")
	page := "/settings/agents/" + id
	says := func(want int) {
		t.Helper()
		if status, _ := w.call(http.MethodGet, "/me", value, ""); status != want {
			t.Errorf("the agent answers %d, want %d", status, want)
		}
	}
	b.post(page+"/pause").is(http.StatusOK, "The agent is paused", "Paused by you.", "Resume")
	says(http.StatusForbidden)
	b.post(page+"/resume").is(http.StatusOK, "The agent is resumed", "<strong>Paused</strong>", "<strong>Resumed</strong>", "by you").lacks("Paused by", "What it changed lately")
	says(http.StatusOK)

	b.get(page+"/rotate").is(http.StatusOK, "Rotate “Codex”?")
	b.post(page+"/rotate", append(b.hidden(), "grace_seconds", "0")...).is(http.StatusCreated, "The new value of", "bearer_token_env_var").lacks("mcp remove")
	says(http.StatusUnauthorized)
	value = agentValue.FindString(b.body)

	// A name and less need no password again, more does.
	w.execute("UPDATE sessions SET authenticated_at = authenticated_at - 3600000000")
	b.get(page+"/grant").is(http.StatusOK, "Grant of “Codex”", "Only these")
	b.post(page+"/grant", append(b.hidden(), "name", "Night shift", "scope.tasks", "read", "reach", "chosen", "projects", project)...).is(http.StatusOK, "Night shift", "The agent&#39;s grant is changed", "<strong>Renamed</strong>", "What agents may do in ACME")
	b.get(page + "/grant")
	b.post(page+"/grant", append(b.hidden(), "name", "Night shift", "scope.tasks", "write", "scope.comments", "write", "reach", "all")...).is(http.StatusForbidden, "Letting an agent do more", "Change the grant")
	b.post(page+"/grant", append(b.hidden(), "reauthenticate_password", password)...).is(http.StatusOK, "Change tasks", "All your projects", "<strong>Given more</strong>", "by you; with tasks:write, comments:write; all projects")
	b.get(page + "/grant")
	b.post(page+"/grant", append(b.hidden(), "name", "Night shift", "scope.tasks", "write", "scope.comments", "write", "reach", "chosen")...).is(http.StatusUnprocessableEntity, "Choose at least one project, or all that you can see.", `aria-describedby="projects-error"`)
	b.post(page+"/grant", append(b.hidden(), "name", "Night shift", "reach", "all")...).is(http.StatusUnprocessableEntity, "Choose at least one scope.", `aria-describedby="scopes-error"`)
	if status, _ := w.call(http.MethodPost, "/projects/"+project+"/tasks", value, `{"title":"Written at night"}`); status != http.StatusCreated {
		t.Errorf("after widening: %d", status)
	}

	// What it made says so.
	b.get("/organizations/acme/projects/"+project).is(http.StatusOK, "Written at night", "Night shift", "for maya")
	task := b.found(taskPath)
	w.call(http.MethodPost, "/tasks/"+task+"/comments", value, `{"body":"Half done"}`)
	w.call(http.MethodPatch, "/tasks/"+task, value, `{"status":"done","due_on":"2030-01-01"}`)
	b.get("/organizations/acme/projects/"+project+"/tasks/"+task).is(http.StatusOK, page, "for maya</p>", "Half done", "for maya</span>")
	// What it changed is on its page, as far as whoever looks may see it.
	link := `href="/organizations/acme/projects/` + project + "/tasks/" + task + `"`
	b.get(page).is(http.StatusOK, "What it changed lately", "<strong>Made WEB-1</strong>", "<strong>Commented on WEB-1</strong>", "<strong>Changed status, due date of WEB-1</strong>", link, "Written at night")
	b.get("/organizations/acme/agents/"+id).is(http.StatusOK, "What it changed lately", "<strong>Made WEB-1</strong>", link)
	defer func() {
		b.post("/organizations/acme/projects/"+project+"/tasks/"+task+"/delete", b.hidden()...)
		b.get(page).is(http.StatusOK, "<strong>Made WEB-1</strong>", "In the recycle bin", `href="/organizations/acme/projects/`+project+`?deleted=true"`).lacks(link)
		w.execute(`DELETE FROM comments`)
		w.execute(`DELETE FROM tasks`)
		b.get(page).is(http.StatusOK, "<strong>Made what you do not see, or what is gone</strong>").lacks("Written at night")
	}()
	w.member("ben", "acme", "member").get("/organizations/acme/projects/"+project+"/tasks/"+task).is(http.StatusOK, "Night shift", "for maya</p>").lacks(page)
}

// A form that names projects, or says of how many it is in a word that we do not know, never means all of them.
func TestAFormThatNamesProjectsNeverMeansAll(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	inside := b.project("acme", "WEB", "Website")
	for _, odd := range [][]string{nil, {"reach", ""}, {"reach", "some"}} {
		b.get("/settings/agents/connect?client=zed")
		b.post("/settings/agents/connect", append(append(b.hidden(), "organization", "acme", "expiry", "30", "scope.tasks", "read", "projects", inside), odd...)...).is(http.StatusCreated, "Website")
		b.get("/settings/agents/"+b.found(agentPath)).is(http.StatusOK, "Website")
	}
	b.get("/settings/agents/connect?client=zed")
	b.post("/settings/agents/connect", append(b.hidden(), "organization", "acme", "expiry", "30", "scope.tasks", "read", "reach", "some")...).is(http.StatusUnprocessableEntity, "projects-error")

	// The same where a grant is changed.
	id, _ := b.connect("zed", "organization", "acme", "expiry", "30", "scope.tasks", "read", "reach", "all")
	page := "/settings/agents/" + id
	b.get(page).is(http.StatusOK).lacks("Website")
	b.get(page + "/grant")
	b.post(page+"/grant", append(b.hidden(), "name", "Zed", "scope.tasks", "read", "projects", inside)...).is(http.StatusOK, "Website")
}

// Claude Code refuses to add a server that it has: with a new value it forgets the old one first.
func TestARotatedValueReplacesTheOldOneInClaudeCode(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	b := w.owner("maya", "acme")
	const forget, add = "claude mcp remove --scope user carnet", "claude mcp add --transport http --scope user carnet "
	b.get("/settings/agents/connect?client=claude-code")
	b.post("/settings/agents/connect", append(b.hidden(), "organization", "acme", "expiry", "30", "scope.tasks", "read")...).is(http.StatusCreated, add).lacks(forget)
	page := "/settings/agents/" + b.found(agentPath)
	b.get(page + "/rotate")
	b.post(page+"/rotate", append(b.hidden(), "grace_seconds", "3600")...).is(http.StatusCreated, forget+"\n"+add)
}

func TestAdminsOverseeAgentsAndOwnersSeeWhoAndWhy(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya := w.owner("maya", "acme")
	ben, kim := w.member("ben", "acme", "member"), w.member("kim", "acme", "member")
	maya.project("acme", "WEB", "Website")
	id, value := ben.connect("claude-code", "organization", "acme", "scope.tasks", "read", "reach", "all", "expiry", "30", "name", "Ben's laptop")
	kim.connect("zed", "organization", "acme", "scope.tasks", "read", "reach", "all", "expiry", "30")
	_, _ = ben.token("name", "Ben's script", "organization", "acme", "scope.tasks", "read", "expiry", "30")
	w.call(http.MethodGet, "/me", value, "")
	all, one := "/organizations/acme/agents", "/organizations/acme/agents/"+id

	for _, path := range []string{all, one, all + "/revoke", one + "/revoke", one + "/pause"} {
		ben.get(path).is(http.StatusForbidden, "Your role does not permit this")
	}
	ben.get("/").lacks(`href="` + all + `"`)
	ben.post(one + "/revoke").is(http.StatusForbidden)

	maya.get("/").is(http.StatusOK, `href="`+all+`"`)
	maya.get(all).is(http.StatusOK, "Ben&#39;s laptop", "Zed", "Revoke all agents of ACME").lacks("Ben&#39;s script")
	maya.get(all+"?client=Zed").is(http.StatusOK, "Revoke all agents of ACME in Zed").lacks("Ben&#39;s laptop")
	maya.get(one).is(http.StatusOK, "acts for ben", "1 call in 60 days", "Go-http-client", "Revoke all agents in Claude Code")

	maya.get(one+"/pause").is(http.StatusOK, "of ben?")
	maya.post(one+"/pause", "reason", strings.Repeat("x", 301)).is(http.StatusUnprocessableEntity, "f-reason-error")
	maya.post(one+"/pause", "reason", "It runs in circles").is(http.StatusOK, "Paused by you.", "It runs in circles")
	ben.get("/settings/agents/"+id).is(http.StatusOK, "Paused by maya.", "It runs in circles", "an admin of ACME resumes it").lacks(">Resume<")
	ben.post("/settings/agents/"+id+"/resume").is(http.StatusForbidden, "Your role does not permit this")
	maya.get(all+"?show=paused").is(http.StatusOK, "Ben&#39;s laptop").lacks(">Zed</a>")
	ben.get("/settings/agents/connect?client=claude-code").is(http.StatusOK, "maya paused an agent of yours in this program", "“It runs in circles”", "they get a mail")
	ben.get("/settings/agents/connect?client=zed").lacks("an agent of yours in this program")
	_, authorize := w.registered("Claude Code (carnet)", callback, "tasks:read")
	ben.get(authorize).is(http.StatusOK, "maya paused an agent of yours in this program", "“It runs in circles”")
	maya.post(one+"/resume").is(http.StatusOK, "The agent is resumed", "by you: “It runs in circles”", "<strong>Resumed</strong>")
	ben.get("/settings/agents/"+id).is(http.StatusOK, "<strong>Paused</strong>", "by maya: “It runs in circles”", "<strong>Resumed</strong>", "by maya<")

	maya.get(one + "/revoke").is(http.StatusOK)
	maya.post(one+"/revoke", "reason", "Too curious").is(http.StatusOK, "is revoked", "Acted for", "<dt>Why</dt><dd>Too curious</dd>", "Back to the agents")
	if status, _ := w.call(http.MethodGet, "/me", value, ""); status != http.StatusUnauthorized {
		t.Errorf("after the receipt: %d", status)
	}
	ben.get("/settings/agents/"+id).is(http.StatusOK, "Revoked by maya.", "Too curious", "by maya: “Too curious”")
	maya.get(one).is(http.StatusOK, "Revoked by you.")
}

func TestManyAgentsAreRevokedTogether(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya := w.owner("maya", "acme")
	ben, kim := w.member("ben", "acme", "member"), w.member("kim", "acme", "member")
	for _, client := range []string{"claude-code", "cursor"} {
		ben.connect(client, "organization", "acme", "scope.tasks", "read", "reach", "all", "expiry", "30")
		kim.connect(client, "organization", "acme", "scope.tasks", "read", "reach", "all", "expiry", "30")
	}
	all := "/organizations/acme/agents"
	maya.get(all)
	user := maya.found(regexp.MustCompile(`value="(usr_[0-9a-z]+)">ben`))
	maya.get(all+"/revoke?member="+user).is(http.StatusOK, "Revoke all agents of ben?", "This ends 2 agents")
	maya.post(all+"/revoke", append(maya.hidden(), "reason", "Ben moves on")...).is(http.StatusOK, "2 agents revoked", "all agents of ben")
	maya.get(all+"/revoke?member="+user).is(http.StatusOK, "There are none that work").lacks("Revoke 0")
	maya.get(all+"/revoke?client=Cursor").is(http.StatusOK, "Revoke all agents of ACME in Cursor?", "This ends 1 agent, for good")
	maya.post(all+"/revoke", maya.hidden()...).is(http.StatusOK, "1 agent revoked")
	maya.get(all+"/revoke").is(http.StatusOK, "Revoke all agents of ACME?", "This ends 1 agent, for good")
	maya.post(all+"/revoke", maya.hidden()...).is(http.StatusOK, "1 agent revoked")
	ben.get("/settings/agents?show=ended").is(http.StatusOK, "Claude Code", "Cursor")
}

func TestPolicyIsReadByMembersAndChangedByAdmins(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	maya := w.owner("maya", "acme")
	ben := w.member("ben", "acme", "member")
	policy := "/organizations/acme/agents/policy"
	id, _ := ben.connect("claude-code", "organization", "acme", "scope.tasks", "write", "scope.comments", "read", "reach", "all", "expiry", "30")
	mine, stopped := "/settings/agents/"+id, "(stopped by the organization)"
	ben.get(mine).is(http.StatusOK).lacks(stopped, "Crossed out")
	maya.get(policy).is(http.StatusOK, "Save the policy", `value="1000"`, "Operations that destroy").lacks(`name="destructive" value="tasks:delete" checked`)
	ben.get(policy).is(http.StatusOK, "Nothing", "1000 in an hour each").lacks("Save the policy")
	ben.post(policy, "enabled", "no").is(http.StatusForbidden, "Your role does not permit this")

	maya.post(policy, "enabled", "yes", "scope.tasks", "write", "max_lifetime_days", "soon", "writes_per_hour", "0").is(http.StatusUnprocessableEntity, "Must be a whole number", "Must be 1 to 1000000", `value="soon"`, `value="0"`)
	maya.post(policy, "enabled", "yes", "scope.tasks", "write", "max_lifetime_days", "20", "writes_per_hour", "0").is(http.StatusUnprocessableEntity, "Must be 1 to 1000000")
	// What ends or stops agents is asked about once, and what is changed meanwhile is asked about anew.
	maya.post(policy, "enabled", "yes", "scope.tasks", "write", "max_lifetime_days", "20").is(http.StatusOK, "This brings the end of 1 agent nearer, for good.", "Nothing is saved yet", `value="20"`)
	maya.post(policy, append(maya.hidden(), "enabled", "no", "scope.tasks", "write", "max_lifetime_days", "20")...).is(http.StatusOK, "nearer, for good and stops 1 agent until agents are turned on again", "Nothing is saved yet")
	w.execute("UPDATE tokens SET created_at = created_at - 86400000000 * 25")
	maya.post(policy, "enabled", "yes", "scope.tasks", "write", "max_lifetime_days", "20").is(http.StatusOK, "This ends 1 agent now, for good.", "Nothing is saved yet")
	w.execute("UPDATE tokens SET created_at = created_at + 86400000000 * 25")
	ben.get(mine).lacks("Crossed out")
	maya.post(policy, "enabled", "yes", "scope.tasks", "write", "max_lifetime_days", "20").is(http.StatusOK, "Nothing is saved yet")
	confirmed := maya.hidden()
	ben.connect("cursor", "organization", "acme", "scope.tasks", "read", "reach", "all", "expiry", "30")
	maya.post(policy, append(confirmed, "enabled", "yes", "scope.tasks", "write", "max_lifetime_days", "20")...).is(http.StatusOK, "brings the end of 2 agents nearer", "Nothing is saved yet")
	confirmed = maya.hidden()
	maya.post(policy, "enabled", "yes").is(http.StatusOK, "This leaves agents nothing that they may do.", "Nothing is saved yet")
	w.execute("UPDATE sessions SET authenticated_at = authenticated_at - 3600000000")
	maya.post(policy, append(confirmed, "enabled", "yes", "scope.tasks", "write", "destructive", "tasks:delete", "max_lifetime_days", "20", "writes_per_hour", "")...).is(http.StatusForbidden, "Enter your password again", "Save the policy")
	maya.post(policy, append(maya.hidden(), "reauthenticate_password", password)...).is(http.StatusOK, "The policy is saved", `name="destructive" value="tasks:delete" checked`)
	maya.get(policy).is(http.StatusOK, `name="scope.tasks" value="write" aria-label="Tasks: write" checked`, `name="scope.projects" value="none" aria-label="Projects: none" checked`, `name="writes_per_hour" type="text" value=""`)

	ben = w.signIn("ben@example.com")
	maya.post(policy, "enabled", "yes", "scope.tasks", "read", "scope.comments", "write", "destructive", "tasks:delete", "max_lifetime_days", "20", "writes_per_hour", "").is(http.StatusOK, "The policy is saved")
	ben.get("/settings/agents/connect?client=zed&scopes=projects:read,tasks:write,comments:write").is(http.StatusOK, "scopes=tasks%3Aread%2Ccomments%3Awrite", `<span class="mono">projects:read</span>`)
	if got := ben.ticked(); got != "tasks:read comments:write" {
		t.Errorf("where little is allowed an address ticks %q", got)
	}
	maya.post(policy, "enabled", "yes", "scope.tasks", "write", "destructive", "tasks:delete", "max_lifetime_days", "20", "writes_per_hour", "").is(http.StatusOK, "The policy is saved")
	ben.get("/settings/agents/connect?client=zed&scopes=projects:read").is(http.StatusOK, "The organization does not allow agents this", "allows agents 20 days at most", `value="20" checked`)
	ben.post("/settings/agents/connect", append(ben.hidden(), "organization", "acme", "scope.projects", "read", "expiry", "20")...).is(http.StatusUnprocessableEntity, "does not allow projects:read")
	ben.post("/settings/agents/connect", append(ben.hidden(), "organization", "acme", "scope.tasks", "read", "expiry", "custom", "expires_at", "2099-01-01T00:00")...).is(http.StatusUnprocessableEntity)

	// What is held and not allowed is crossed out wherever it is shown, and may stay.
	for _, page := range []struct {
		by         *browser
		path, says string
	}{{ben, mine, "Crossed out: ACME"}, {ben, "/settings/agents", `href="` + policy + `"`}, {maya, "/organizations/acme/agents", "May"}, {maya, "/organizations/acme/agents/" + id, "Crossed out: ACME"}} {
		page.by.get(page.path).is(http.StatusOK, page.says, stopped, `chip-stopped" title="comments:read"`).lacks(`chip-stopped" title="tasks:write"`)
	}
	ben.get(mine+"/grant").is(http.StatusOK, "What it has may stay, and is refused.", `href="`+policy+`"`)
	ben.post(mine+"/grant", append(ben.hidden(), "name", "Mine", "scope.tasks", "write", "scope.comments", "read", "reach", "all")...).is(http.StatusOK, "Mine", stopped)

	maya.post(policy, "enabled", "no", "scope.tasks", "write").is(http.StatusOK, "This stops 2 agents", "Nothing is saved yet")
	maya.post(policy, append(maya.hidden(), "enabled", "no", "scope.tasks", "write")...).is(http.StatusOK, "The policy is saved")
	ben.get(mine).is(http.StatusOK, "Agents are turned off in ACME, so it is refused until an admin turns them on")
	ben.get("/settings/agents/connect?client=zed").is(http.StatusOK, "Agents are turned off in ACME")
	ben.post("/settings/agents/connect", append(ben.hidden(), "organization", "acme", "scope.tasks", "read", "expiry", "20")...).is(http.StatusUnprocessableEntity, "Agents are turned off in this organization")
}
