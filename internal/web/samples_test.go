package web

import (
	"maps"
	"net/url"
	"time"

	"carnet/access"
)

// sampleNow is when the samples were taken.
var sampleNow = time.Date(2027, 3, 12, 14, 5, 30, 0, time.UTC)

func before(d time.Duration) time.Time     { return sampleNow.Add(-d) }
func beforeRef(d time.Duration) *time.Time { t := before(d); return &t }

const aDay = 24 * time.Hour

var sampleViewer = &viewer{
	ID: "usr_1", Name: "Mara Lindqvist", Email: "mara.lindqvist@northwind.example", Verified: true,
	Organizations: []place{{Slug: "northwind", Name: "Northwind Logistics", Role: "member", Plan: "enterprise"}, {Slug: "atelier", Name: "Atelier Łódź", Role: "owner", Plan: "free"}},
}

func samplePage(title, section, path string, data any) frame {
	return frame{Title: title, Section: section, Path: path, Viewer: sampleViewer, Organization: &sampleViewer.Organizations[0], Data: data}
}

func sampleTokens() []tokenView {
	base := func(t tokenView) tokenView {
		t.now = sampleNow
		if t.State == "" {
			t.State = "live"
		}
		if t.Organization == "" {
			t.Organization, t.OrganizationName, t.Role = "northwind", "Northwind Logistics", "member"
		}
		return t
	}
	inDays := func(n int) *time.Time { t := sampleNow.Add(time.Duration(n)*aDay + 3*time.Hour); return &t }
	return []tokenView{
		base(tokenView{ID: "tok_1", Name: "Weekly reporting", Prefix: "carnet_pat_4kQz81LmW0rT", Scopes: scopeViews([]string{"projects:read", "tasks:read"}), Restricted: true,
			Projects: []projectName{{"prj_1", "WEB", "Customer portal"}, {"prj_2", "OPS", "Warehouse rollout"}}, CreatedAt: before(80 * aDay), CreatedFrom: "203.0.113.24", ExpiresAt: inDays(4),
			LastUsedAt: beforeRef(23 * time.Minute), LastUsedIP: "198.51.100.7", LastUsedClient: "python-requests/2.32.3"}),
		base(tokenView{ID: "tok_2", Name: "Build pipeline (main)", Prefix: "carnet_pat_Qd7RbbX20aPs", Scopes: scopeViews([]string{"tasks:write", "comments:write"}),
			CreatedAt: before(12 * aDay), ExpiresAt: inDays(78), LastUsedAt: beforeRef(3 * time.Hour), LastUsedIP: "2001:db8:77::19", LastUsedClient: "carnet-cli/1.0 (linux; amd64) GitLab-Runner/17.4"}),
		base(tokenView{ID: "tok_3", Name: "Migration from the old tracker", Prefix: "carnet_pat_mN0v9YtUo2Lk", Scopes: scopeViews([]string{"projects:write", "tasks:write", "comments:write", "members:read"}),
			CreatedAt: before(160 * aDay), LastUsedAt: beforeRef(97 * aDay), LastUsedIP: "203.0.113.24", LastUsedClient: "curl/8.5.0"}),
		base(tokenView{ID: "tok_4", Name: "Dashboard on the office screen", Prefix: "carnet_pat_1xXe5RrGh8Zq", Scopes: scopeViews([]string{"tasks:read"}), CreatedAt: before(41 * aDay), ExpiresAt: inDays(49)}),
		base(tokenView{ID: "tok_5", Name: "Invoice export", Prefix: "carnet_pat_Zk3LpWq81CvB", State: "inert", Organization: "harbor", OrganizationName: "Harbor & Sons", Scopes: scopeViews([]string{"projects:read", "tasks:read"}), Restricted: true, Hidden: 1,
			CreatedAt: before(200 * aDay), ExpiresAt: inDays(165), LastUsedAt: beforeRef(9 * aDay), LastUsedIP: "192.0.2.44", LastUsedClient: "Go-http-client/2.0"}),
	}
}

func sampleEnded() []tokenView {
	list := sampleTokens()[:2]
	list[0].State, list[0].ExpiresAt = "expired", beforeRef(6*aDay)
	list[1].State, list[1].RevokedAt = "revoked", beforeRef(2*aDay)
	return list
}

func sampleExample() copyable {
	return copyable{ID: "example", Label: "Then call the API with it", Text: curl("https://carnet.example", "$CARNET_TOKEN")}
}

func sampleViews(current string) []viewLink {
	var views []viewLink
	for _, v := range [][2]string{{"", "In use"}, {"unused", "Unused"}, {"expiring", "Expiring"}, {"ended", "Ended"}} {
		views = append(views, viewLink{Label: v[1], Href: "/settings/developer?show=" + v[0], Current: v[0] == current})
	}
	return views
}

func sampleProjects() []projectChoice {
	var list []projectChoice
	for i, p := range [][2]string{{"WEB", "Customer portal"}, {"OPS", "Warehouse rollout"}, {"HR", "Hiring 2027"}, {"FLEET", "Fleet telemetry"}, {"BRAND", "Rebrand"}, {"AUDIT", "ISO 27001 audit"}, {"MOBILE", "Driver app"}, {"DATA", "Data warehouse"}, {"PAY", "Payment provider switch"}} {
		list = append(list, projectChoice{projectName: projectName{ID: "prj_" + p[0], Key: p[0], Name: p[1]}, Private: i == 2, Chosen: i < 2})
	}
	return list
}

func sampleTokenForm(chosen bool) tokenForm {
	f := newForm(url.Values{"name": {"Weekly reporting"}})
	t := tokenForm{
		Crumbs: []crumb{{"Developer", "/settings/developer"}, {"New token", ""}}, Form: f,
		Organizations: []option{{Value: "northwind", Label: "Northwind Logistics", Note: "You are a member", Chosen: true}, {Value: "atelier", Label: "Atelier Łódź", Note: "You are an owner"}},
		Organization:  sampleViewer.Organizations[0], Presets: presets("/settings/developer/new", "northwind"), Base: "/settings/developer/new", Button: "Create token",
		Scopes:   scopeRows(access.ScopeSet(access.ScopeProjectsRead, access.ScopeTasksRead), asMember),
		Projects: sampleProjects(), Chosen: chosen, ChosenCount: 2, Expiry: expiryChoices(sampleNow, "30"),
	}
	if chosen {
		t.Summary = &summary{
			Sentence: "Acts as you in Northwind Logistics, where you are a member. It can read projects and tasks in 2 projects only: Customer portal and Warehouse rollout. It cannot change anything. It expires on 11 April 2027 at 14:05:30 UTC.",
			Projects: []projectAbility{{"Customer portal", "contributor", "read projects and tasks"}, {"Warehouse rollout", "lead", "read projects and tasks"}}, ProjectsTotal: 2,
		}
	}
	return t
}

func sampleTasks() []taskView {
	token := &via{Label: "Build pipeline (main)", Href: "/settings/developer/tok_2", Token: true}
	foreign := &via{Label: "a token", Token: true}
	return []taskView{
		{ID: "tsk_1", Ref: "WEB-41", Title: "Checkout drops the second address line", Status: "in_progress", Priority: "high", Assignee: "Jonas Weber", Creator: "Mara Lindqvist", Due: "10 Mar 2027", Overdue: true, CreatedAt: before(5 * aDay), UpdatedAt: before(time.Hour)},
		{ID: "tsk_2", Ref: "WEB-40", Title: "Nightly build is red on the release branch", Status: "blocked", Priority: "critical", Assignee: "Mara Lindqvist", Creator: "Mara Lindqvist", Via: token, Due: "14 Mar 2027"},
		{ID: "tsk_6", Ref: "WEB-42", Title: "Write release notes for 2.4", Status: "todo", Priority: "low", Creator: "Mara Lindqvist", Via: &via{Label: "Claude Code on my laptop", Href: "/settings/agents/tok_a1", Token: true, Agent: true}},
		{ID: "tsk_3", Ref: "WEB-39", Title: "Translate the order confirmation into Polish", Status: "review", Priority: "medium", Assignee: "Agnieszka Wójcik", Creator: "Tom Okafor"},
		{ID: "tsk_4", Ref: "WEB-38", Title: "Move the status page to its own host", Status: "todo", Priority: "low", Creator: "Priya Raman", Via: foreign, Due: "2 Apr 2027"},
		{ID: "tsk_5", Ref: "WEB-37", Title: "Remove the old newsletter form", Status: "done", Priority: "low", Assignee: "Jonas Weber", Creator: "Jonas Weber"},
	}
}

func options(chosen string, pairs ...string) []option {
	var list []option
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, option{Value: pairs[i], Label: pairs[i+1], Chosen: pairs[i] == chosen})
	}
	return list
}

// sample is a page with believable data, and the name of its template.
type sample struct {
	template string
	frame    frame
}

// samples are all pages in their states.
func samples() map[string]sample {
	none := frame{Path: "/sign-in"}
	gate := func(title string, data any) frame { p := none; p.Title, p.Data = title, data; return p }
	wrong := newForm(url.Values{"name": {"Mara Lindqvist"}, "email": {"mara@northwind"}})
	wrong.Errors["email"] = "Must be an e-mail address."
	wrong.Errors["password"] = "Must have at least 15 characters."
	refused := newForm(url.Values{"email": {"mara.lindqvist@northwind.example"}})
	refused.Failure = "The e-mail address or the password is wrong."
	crumbs := []crumb{{"Developer", "/settings/developer"}, {"Weekly reporting", ""}}
	deeper := []crumb{{"Developer", "/settings/developer"}, {"Weekly reporting", "/settings/developer/tok_1"}, {"Revoke", ""}}
	t, agentList := sampleTokens(), sampleAgents()
	northwind := sampleViewer.Organizations[0]
	project := projectView{ID: "prj_1", Key: "WEB", Name: "Customer portal", Status: "active", Description: "Everything that customers see: shop, order status, returns."}
	base := "/organizations/northwind/projects/prj_1"
	work := []crumb{{"Projects", "/organizations/northwind/projects"}, {"Customer portal", base}, {"WEB-41", ""}}
	calls := map[string]int{}
	for i := range 38 {
		if i%7 < 5 {
			calls[before(time.Duration(i)*aDay).Format(time.DateOnly)] = 40 + (i*37)%90
		}
	}
	moment := sampleNow.Add(-80 * aDay)
	statuses := options("in_progress", "todo", "To do", "in_progress", "In progress", "review", "In review", "blocked", "Blocked", "done", "Done")
	people := options("", "", "Nobody", "usr_1", "Mara Lindqvist", "usr_2", "Jonas Weber")
	roles := options("member", "owner", "Owner", "admin", "Admin", "manager", "Manager", "member", "Member", "guest", "Guest")
	projectRoles := options("contributor", "lead", "Lead", "contributor", "Contributor", "viewer", "Viewer")
	task := sampleTasks()[0]
	task.Description = "The second line of the shipping address is lost between basket and confirmation.\n\nSeen in Firefox and Safari. The API returns it, so it is the form."
	wrongToken := sampleTokenForm(true)
	wrongToken.Form.Values.Set("name", "")
	wrongToken.Form.Errors = map[string]string{"name": "Must have 1 to 100 characters.", "scopes": "Must name at least one scope."}
	wrongToken.Scopes = scopeRows(0, asMember)
	wrongToken.Summary, wrongToken.NoExpiry, wrongToken.Expiry = nil, true, expiryChoices(sampleNow, "none")
	unverified := *sampleViewer
	unverified.Verified = false
	unverifiedHome := samplePage("Overview", "home", "/", homePage{Example: sampleExample(), Sessions: 1})
	unverifiedHome.Viewer = &unverified
	flashed := samplePage("Security", "security", "/settings/security", securityPage{Form: newForm(nil), Sessions: []sessionView{
		{ID: "ses_1", Label: "Firefox on Linux", Client: "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0", CreatedFrom: "203.0.113.24", LastUsedIP: "203.0.113.24", CreatedAt: before(2 * time.Hour), LastUsedAt: beforeRef(time.Second), Current: true},
		{ID: "ses_2", Label: "Safari on iPhone", Client: "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1", CreatedFrom: "198.51.100.7", LastUsedIP: "198.51.100.88", CreatedAt: before(9 * aDay), LastUsedAt: beforeRef(26 * time.Hour)},
		{ID: "ses_3", Label: "Command line", Client: "carnet-cli/1.0 (linux; amd64)", CreatedFrom: "203.0.113.24", CreatedAt: before(40 * time.Minute)},
	}})
	flashed.Flash = "Your password is changed, and your other sessions are ended. Your tokens go on working."

	all := map[string]sample{
		"sign-up":         {"sign-up", gate("Sign up", gatePage{Form: newForm(nil)})},
		"sign-up-wrong":   {"sign-up", gate("Sign up", gatePage{Form: wrong})},
		"check-mail":      {"check-mail", gate("Check your mail", nil)},
		"verify-email":    {"verify-email", gate("Confirm your e-mail address", gatePage{Form: newForm(nil), Code: "abc"})},
		"verify-dead":     {"verify-email", gate("Confirm your e-mail address", gatePage{Form: form{Failure: "It was used before, or is older than 24 hours."}})},
		"sign-in":         {"sign-in", gate("Sign in", gatePage{Form: newForm(nil), Next: "/settings/developer/new"})},
		"sign-in-asked":   {"sign-in", gate("Sign in", gatePage{Form: newForm(nil), Next: "/oauth/consent/x", Asks: &asking{Name: "Cursor", LeadsTo: "cursor://anysphere.cursor-mcp"}})},
		"sign-in-vouched": {"sign-in", gate("Sign in", gatePage{Form: newForm(nil), Next: "/oauth/consent/x", Asks: &asking{Name: "Claude Code", DescribedBy: "claude.ai", LeadsTo: "localhost:3118"}})},
		"sign-in-wrong":   {"sign-in", gate("Sign in", gatePage{Form: refused})},
		"reauthenticate":  {"reauthenticate", gate("Enter your password again", againPage{Form: newForm(nil), Why: "Creating a token is sensitive.", Action: "/settings/developer/new", Button: "Create the token", Back: "/settings/developer", Email: sampleViewer.Email, Kept: []kept{{"name", "Weekly reporting"}}})},
		"setup":           {"setup", gate("Set up", gatePage{Form: newForm(nil), Code: "abc"})},
		"setup-dead":      {"setup", gate("Set up", gatePage{Dead: true})},
		"home": {"home", samplePage("Overview", "home", "/", homePage{Total: 8, Tokens: kindTally{Label: "tokens", Base: developer, Live: 4, Resting: 1}, Agents: kindTally{Label: "agents", Base: agents, Live: 3, Recent: 2}, Unused: 2, Expiring: 1, Sessions: 3, NextExpiry: t[0].ExpiresAt,
			CleanUp: []tokenView{t[0], t[2], agentList[1]}, Used: []tokenView{agentList[0], t[0], t[1]}, Example: sampleExample()})},
		"home-empty": {"home", unverifiedHome},
		"tokens": {"tokens", samplePage("Personal access tokens", "developer", "/settings/developer", tokensPage{Base: developer, Section: "developer", Any: true, Views: sampleViews(""),
			Organizations: options("", "", "All organizations", "northwind", "Northwind Logistics", "atelier", "Atelier Łódź"), Caption: "Tokens in use", Tokens: t, Pager: pager{Next: "?cursor=x"}})},
		"tokens-ended":    {"tokens", samplePage("Personal access tokens", "developer", "/settings/developer", tokensPage{Base: developer, Section: "developer", Any: true, Views: sampleViews("ended"), Caption: "Ended tokens", Tokens: sampleEnded()})},
		"tokens-empty":    {"tokens", samplePage("Personal access tokens", "developer", "/settings/developer", tokensPage{Base: developer, Section: "developer", Example: sampleExample()})},
		"tokens-none":     {"tokens", samplePage("Personal access tokens", "developer", "/settings/developer", tokensPage{Base: developer, Section: "developer", Any: true, Views: sampleViews("unused"), EmptyTitle: "Nothing to clean up", EmptyText: "Every token in use was used in the last 30 days."})},
		"token-new":       {"token-new", samplePage("New token", "developer", "/settings/developer/new", sampleTokenForm(true))},
		"token-new-wrong": {"token-new", samplePage("New token", "developer", "/settings/developer/new", wrongToken)},
		"token-value": {"token-value", samplePage("Weekly reporting", "developer", "/settings/developer/tok_1", valuePage{Crumbs: crumbs, Token: t[0],
			Value:    copyable{ID: "value", Label: "The token", Text: "carnet_pat_4kQz81LmW0rT_Xh2K9vQbN4sLr8TzUcYw1PmDgJe6FaoR0iVqBx", Secret: true},
			Snippets: []copyable{{ID: "curl", Label: "Try it", Text: curl("https://carnet.example", "carnet_pat_4kQz81LmW0rT_Xh2K9vQbN4sLr8TzUcYw1PmDgJe6FaoR0iVqBx")}}})},
		"token": {"token", samplePage("Weekly reporting", "developer", "/settings/developer/tok_1", tokenPage{Crumbs: crumbs, Token: t[0], deeds: deeds{Calls: newCallChart(calls, sampleNow, callsShown),
			LateUses: []lateUse{{Prefix: "carnet_pat_9aaZ81LmW0rT", Uses: 14, LastUsedAt: before(4 * time.Hour), Address: "192.0.2.9", Client: "python-requests/2.31.0"}},
			Life:     []lifeEvent{{Title: "Created", At: &moment, Text: "from 203.0.113.24", Class: "good"}, {Title: "Rotated", At: beforeRef(20 * aDay), Text: "carnet_pat_9aaZ81LmW0rT was replaced"}, {Title: "Last used", At: t[0].LastUsedAt, Text: "from 198.51.100.7 with python-requests/2.32.3", Class: "good"}, {Title: "Expires", At: t[0].ExpiresAt, Class: "ahead"}}}})},
		"token-unused":      {"token", samplePage("Dashboard on the office screen", "developer", "/settings/developer/tok_4", tokenPage{Crumbs: crumbs, Token: t[3], AlreadyShown: true, Example: sampleExample(), deeds: deeds{Calls: newCallChart(nil, sampleNow, callsShown), Life: []lifeEvent{{Title: "Created", At: &t[3].CreatedAt, Class: "good"}, {Title: "Expires", At: t[3].ExpiresAt, Class: "ahead"}}}})},
		"token-narrow":      {"token-change", samplePage("Narrow", "developer", "/", changePage{Crumbs: deeper, Token: t[1], Action: "/x", Form: newForm(url.Values{"name": {t[1].Name}}), Organization: northwind, Scopes: scopeRows(access.ScopeSet(access.ScopeTasksWrite, access.ScopeCommentsWrite), offering{role: access.Owner, limit: access.ScopeSet(access.ScopeTasksWrite, access.ScopeCommentsWrite)}), Projects: sampleProjects(), ChosenCount: 2})},
		"token-rotate":      {"token-rotate", samplePage("Rotate", "developer", "/", rotatePage{Crumbs: deeper, Token: t[0], Form: newForm(nil), Graces: graces("0")})},
		"token-revoke":      {"token-revoke", samplePage("Revoke", "developer", "/", revokePage{Crumbs: deeper, Token: t[0]})},
		"token-revoked":     {"token-revoked", samplePage("Revoked", "developer", "/", receiptPage{Crumbs: deeper, Token: t[0], Href: t[0].Href(), Back: developer, BackLabel: "Back to your tokens", Moment: "12 Mar 2027, 14:05:30.123456 UTC", Took: "3.2 ms"})},
		"organization-form": {"organization-form", samplePage("New organization", "home", "/", gatePage{Form: newForm(nil)})},
		"profile":           {"profile", samplePage("Profile", "profile", "/settings/profile", profilePage{Form: newForm(url.Values{"name": {"Mara Lindqvist"}})})},
		"security":          {"security", flashed},
		"projects": {"projects", samplePage("Projects", "projects", "/organizations/northwind/projects", projectsPage{MayCreate: true, Projects: []projectCard{
			{projectView: project, Tasks: true, Open: 14}, {projectView: projectView{ID: "prj_2", Key: "OPS", Name: "Warehouse rollout", Status: "planning", Description: "Gdańsk first, then Rotterdam. Scanner fleet, staff training, cut-over plan and everything between."}, Tasks: true, Open: 1},
			{projectView: projectView{ID: "prj_3", Key: "HR", Name: "Hiring 2027", Status: "active", Private: true}, Tasks: true, Open: 7}, {projectView: projectView{ID: "prj_4", Key: "BRAND", Name: "Rebrand", Status: "on_hold", Description: "Waits for the board."}, Tasks: true}}})},
		"projects-empty":  {"projects", samplePage("Projects", "projects", "/", projectsPage{})},
		"project":         {"project", samplePage("Customer portal", "projects", base, projectPage{Crumbs: work[:2], Base: base, Project: project, MayLead: true, MayWrite: true, Any: true, Statuses: append(options("", "", "Any"), statuses...), Assignees: append(options("", "", "Anybody"), people[1:]...), Sorts: options("-updated_at", "-updated_at", "Changed last"), Tasks: sampleTasks(), Pager: pager{Next: "?cursor=x"}})},
		"project-empty":   {"project", samplePage("Customer portal", "projects", base, projectPage{Crumbs: work[:2], Base: base, Project: project, MayWrite: true, Example: sampleExample()})},
		"project-form":    {"project-form", samplePage("New project", "projects", base, workForm{Crumbs: work[:1], Form: newForm(nil), Action: base, Back: base, Statuses: options("active", "planning", "Planning", "active", "Active"), Visibilities: options("organization", "organization", "Everyone in the organization", "private", "Private")})},
		"project-members": {"project-members", samplePage("Members", "projects", base, projectMembersPage{Crumbs: work[:2], Base: base, Project: projectView{ID: "prj_3", Key: "HR", Name: "Hiring 2027", Private: true}, Form: newForm(nil), Candidates: people[1:], Roles: projectRoles, Members: []memberView{{ID: "usr_1", Name: "Mara Lindqvist", Email: sampleViewer.Email, Self: true, Roles: projectRoles}, {ID: "usr_3", Name: "Tom Okafor", Email: "tom@northwind.example", Roles: projectRoles}}})},
		"task": {"task", samplePage(task.Title, "projects", base, taskPage{Crumbs: work, Base: base, Project: project, Task: task, MayWrite: true, MayComment: true, Form: newForm(nil), Comments: []commentView{
			{ID: "cmt_1", Author: "Jonas Weber", Body: "I can reproduce it with the API alone, so the form is innocent after all.", CreatedAt: before(3 * aDay)},
			{ID: "cmt_3", Author: "Mara Lindqvist", Body: "The confirmation drops it too. I have opened WEB-42.", CreatedAt: before(2 * aDay), Via: &via{Label: "Claude Code on my laptop", Href: "/settings/agents/tok_a1", Token: true, Agent: true}},
			{ID: "cmt_2", Author: "Mara Lindqvist", Body: "Build 1841 contains the fix.\nDeploying to staging.", CreatedAt: before(50 * time.Minute), Edited: true, Via: &via{Label: "Build pipeline (main)", Href: "/settings/developer/tok_2", Token: true}, MayEdit: true, MayDelete: true}}})},
		"task-form":    {"task-form", samplePage("Edit task", "projects", base, workForm{Crumbs: work, Form: newForm(url.Values{"title": {task.Title}, "description": {task.Description}, "version": {"4"}}), Action: base, Back: base, Delete: base, Editing: true, Statuses: statuses, Priorities: options("medium", "low", "Low", "medium", "Medium", "high", "High"), Assignees: people})},
		"comment-form": {"comment-form", samplePage("Edit comment", "projects", base, workForm{Crumbs: work, Form: newForm(url.Values{"body": {"Build 1841 contains the fix."}}), Action: base, Back: base})},
		"confirm":      {"confirm", samplePage("Delete the project", "projects", base, confirmPage{Crumbs: work[:2], Heading: "Delete “Customer portal”?", Text: "Its 14 open tasks go with it. It stays in the recycle bin for 30 days.", Action: base, Button: "Delete the project", Back: base, BackLabel: "Keep it"})},
		"members": {"members", samplePage("Members", "members", "/organizations/northwind/members", membersPage{Form: newForm(nil), MayAdd: true, MayChange: true, Roles: roles, Members: []memberView{
			{ID: "usr_1", Name: "Mara Lindqvist", Email: sampleViewer.Email, Role: "owner", Self: true},
			{ID: "usr_2", Name: "Jonas Weber", Email: "jonas.weber@northwind.example", Role: "member", MayChange: true, MayRemove: true, Roles: roles},
			{ID: "usr_3", Name: "Agnieszka Wójcik", Email: "agnieszka@northwind.example", Role: "guest", Suspended: true, MayChange: true, MayRemove: true, Roles: roles}}})},
		"error":     {"error", samplePage("Not found", "", "/x", errorPage{404, "There is nothing here", "It does not exist, or it is not for you to see.", "/", "Back to the overview", "req_01j"})},
		"error-out": {"error", gate("Unavailable", errorPage{503, "One moment", "The server cannot check credentials right now. Nothing was changed. Try again in a few seconds.", "/", "Try again", "req_01j"})},
		"reference": {"reference", samplePage("API reference", "docs", "/docs/api", sampleReference())},
	}
	maps.Copy(all, agentSamples())
	return all
}
