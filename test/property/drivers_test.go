package property_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"

	"pgregory.net/rapid"

	"carnet/internal/id"
)

// drivers make a request of each published route and judge it. A route without one fails the test.
var drivers = map[string]func(*attempt){}

func init() {
	drivers["getMe"] = me
	work()
	tokens()
	organizations()
	agents()
	accounts()
}

// nowhere is an id that belongs to nothing.
func nowhere(prefix string) string { return id.New(prefix) }

func (p *attempt) drawProject() (*project, string) {
	x := rapid.SampledFrom(p.w.projects).Draw(p.t, "project")
	if rapid.IntRange(0, 9).Draw(p.t, "no such") == 0 {
		return nil, nowhere(id.Project)
	}
	return x, x.id
}

func (p *attempt) drawTask() (*task, string) {
	x := rapid.SampledFrom(p.w.tasks).Draw(p.t, "task")
	if rapid.IntRange(0, 9).Draw(p.t, "no such") == 0 {
		return nil, nowhere(id.Task)
	}
	return x, x.id
}

// me checks that the answer says exactly what holds now.
func me(p *attempt) {
	o, v := p.w.gate(p.c, "", false)
	r := p.send("", "")
	if !p.expect(r, v) {
		return
	}
	var got struct {
		User struct {
			ID string `json:"id"`
		} `json:"user"`
		Organization struct {
			Slug string `json:"slug"`
		} `json:"organization"`
		Role        string `json:"role"`
		Permissions struct {
			Organization []string `json:"organization"`
			Projects     []struct {
				ID          string   `json:"id"`
				Role        string   `json:"role"`
				Permissions []string `json:"permissions"`
			} `json:"projects"`
			Total int `json:"projects_total"`
		} `json:"permissions"`
	}
	if err := json.Unmarshal(r.Body.Bytes(), &got); err != nil {
		p.t.Fatalf("read /me: %v\n%s", err, r.Body)
	}
	if got.User.ID != p.c.user().id || got.Organization.Slug != o.slug || got.Role != o.roles[p.c.user()] {
		p.t.Fatalf("/me says %+v\n%s", got, p.describe())
	}
	p.sameSet("organization permissions", got.Permissions.Organization, p.c.organizationPermissions(o))
	want := p.w.visibleProjects(p.c, o, false)
	var listed []string
	for _, x := range got.Permissions.Projects {
		listed = append(listed, x.ID)
		project := p.w.project(x.ID)
		if project == nil || x.Role != effective(project, p.c.user()) {
			p.t.Fatalf("/me gives the role %q in %s\n%s", x.Role, x.ID, p.describe())
		}
		p.sameSet("permissions in a project", x.Permissions, p.c.permissions(project))
	}
	p.sameSet("projects of /me", listed, want)
	if got.Permissions.Total != len(want) {
		p.t.Fatalf("/me counts %d projects, the model %d", got.Permissions.Total, len(want))
	}
}

func (w *world) project(id string) *project {
	for _, p := range w.projects {
		if p.id == id {
			return p
		}
	}
	return nil
}

func (p *attempt) sameSet(what string, got, want []string) {
	p.t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Fatalf("%s: %v, the model says %v\n%s", what, got, want, p.describe())
	}
}

func work() {
	list := func(permission, field string, want func(*attempt, *organization) []string) func(*attempt) {
		return func(p *attempt) {
			o, v := p.w.gate(p.c, permission, false)
			if v != allowed {
				p.expect(p.send("", ""), v)
				return
			}
			p.sameIDs(field, fmt.Sprintf("limit=%d", rapid.IntRange(1, 7).Draw(p.t, "limit")), want(p, o))
		}
	}
	drivers["listProjects"] = list("projects:read", "id", func(p *attempt, o *organization) []string { return p.w.visibleProjects(p.c, o, false) })
	drivers["listTasks"] = list("tasks:read", "id", func(p *attempt, o *organization) []string { return p.w.visibleTasks(p.c, o) })
	drivers["listMembers"] = list("members:read", "user_id", func(p *attempt, o *organization) []string { return p.w.visibleMembers(p.c, o) })
	drivers["countTasks"] = func(p *attempt) {
		o, v := p.w.gate(p.c, "tasks:read", false)
		r := p.send("", "")
		if !p.expect(r, v) {
			return
		}
		if got, want := total(r.Body.Bytes()), len(p.w.visibleTasks(p.c, o)); got != want {
			p.t.Fatalf("counts add up to %d tasks, the model sees %d\n%s\n%s", got, want, p.describe(), r.Body)
		}
	}
	drivers["createProject"] = func(p *attempt) {
		o, v := p.w.gate(p.c, "projects:create", false)
		if v == allowed {
			switch {
			case p.c.token != nil && p.c.token.projects != nil:
				v = verdict{http.StatusForbidden, "project_restricted"}
			case o.roles[p.c.user()] == "guest":
				v = verdict{http.StatusForbidden, "role_insufficient"}
			}
		}
		visibility := rapid.SampledFrom([]string{"private", "organization"}).Draw(p.t, "visibility")
		key := fmt.Sprintf("N%d", len(p.w.projects))
		r := p.send("", fmt.Sprintf(`{"key": %q, "name": "new", "visibility": %q}`, key, visibility))
		if p.expectWrite(r, v) {
			p.w.projects = append(p.w.projects, &project{
				id: idOf(p, r.Body.Bytes()), key: key, org: o, visibility: visibility, roles: map[*user]string{p.c.user(): "lead"},
			})
		}
	}
	onProject("getProject", "projects:read", "viewer", "", nil)
	onProject("changeProject", "projects:write", "lead", `{"status": "on_hold"}`, nil)
	onProject("deleteProject", "projects:delete", "lead", "", func(x *project) { x.deleted = true })
	onProject("createTask", "tasks:write", "contributor", "", nil)
	drivers["createTask"] = func(p *attempt) {
		x, xid := p.drawProject()
		v := p.projectVerdict(x, "tasks:write", "contributor")
		title := "new"
		if x != nil {
			title = x.marker()
		}
		r := p.send("", fmt.Sprintf(`{"title": %q}`, title), xid)
		if p.expectWrite(r, v) {
			p.w.tasks = append(p.w.tasks, &task{id: idOf(p, r.Body.Bytes()), project: x})
		}
	}
	drivers["listProjectTasks"] = func(p *attempt) {
		x, xid := p.drawProject()
		v := p.projectVerdict(x, "tasks:read", "viewer")
		if v != allowed {
			p.expect(p.send("", "", xid), v)
			return
		}
		var want []string
		for _, t := range p.w.tasks {
			if t.project == x && !t.deleted {
				want = append(want, t.id)
			}
		}
		p.sameIDs("id", "limit=3", want, xid)
	}
	drivers["restoreProject"] = func(p *attempt) {
		x, xid := p.drawProject()
		o, v := p.w.gate(p.c, "projects:write", false)
		if v == allowed {
			v = p.c.inProject(o, x, x != nil && !x.deleted, "lead")
		}
		if x != nil && !x.deleted {
			return // whether restoring what is there is an error or nothing is no matter of authority
		}
		if p.expectWrite(p.send("", "", xid), v) {
			x.deleted = false
		}
	}
	onTask("getTask", "tasks:read", "viewer", "", nil)
	onTask("changeTask", "tasks:write", "contributor", `{"status": "done"}`, nil)
	onTask("deleteTask", "tasks:delete", "contributor", "", func(x *task) { x.deleted = true })
	drivers["restoreTask"] = func(p *attempt) {
		x, xid := p.drawTask()
		if x != nil && !x.deleted {
			return
		}
		if p.expectWrite(p.send("", "", xid), p.taskVerdict(x, "tasks:write", "contributor", true)) {
			x.deleted = false
		}
	}
	comments()
	sharing()
}

func (p *attempt) projectVerdict(x *project, permission, least string) verdict {
	o, v := p.w.gate(p.c, permission, false)
	if v == allowed {
		v = p.c.inProject(o, x, x != nil && x.deleted, least)
	}
	return v
}

func (p *attempt) taskVerdict(x *task, permission, least string, deleted bool) verdict {
	o, v := p.w.gate(p.c, permission, false)
	if v != allowed {
		return v
	}
	if x == nil {
		return verdict{http.StatusNotFound, "not_found"}
	}
	return p.c.inProject(o, x.project, x.project.deleted || x.deleted != deleted, least)
}

// through compares the answer with the verdict, of a read or of a write.
func (p *attempt) through(r *httptest.ResponseRecorder, v verdict) bool {
	p.t.Helper()
	if p.o.method == http.MethodGet {
		return p.expect(r, v)
	}
	return p.expectWrite(r, v)
}

func onProject(operation, permission, least, body string, effect func(*project)) {
	drivers[operation] = func(p *attempt) {
		x, xid := p.drawProject()
		r, v := p.send("", body, xid), p.projectVerdict(x, permission, least)
		if p.through(r, v) && effect != nil {
			effect(x)
		}
	}
}

func onTask(operation, permission, least, body string, effect func(*task)) {
	drivers[operation] = func(p *attempt) {
		x, xid := p.drawTask()
		r, v := p.send("", body, xid), p.taskVerdict(x, permission, least, false)
		if p.through(r, v) && effect != nil {
			effect(x)
		}
	}
}

func comments() {
	drivers["listComments"] = func(p *attempt) {
		x, xid := p.drawTask()
		v := p.taskVerdict(x, "comments:read", "viewer", false)
		if v != allowed {
			p.expect(p.send("", "", xid), v)
			return
		}
		var want []string
		for _, c := range p.w.comments {
			if c.task == x && !c.deleted {
				want = append(want, c.id)
			}
		}
		p.sameIDs("id", "limit=2", want, xid)
	}
	drivers["createComment"] = func(p *attempt) {
		x, xid := p.drawTask()
		v := p.taskVerdict(x, "comments:write", "contributor", false)
		text := "new"
		if x != nil {
			text = x.project.marker()
		}
		r := p.send("", fmt.Sprintf(`{"body": %q}`, text), xid)
		if p.expectWrite(r, v) {
			p.w.comments = append(p.w.comments, &comment{id: idOf(p, r.Body.Bytes()), task: x, author: p.c.user()})
		}
	}
	drivers["changeComment"] = func(p *attempt) {
		c := rapid.SampledFrom(p.w.comments).Draw(p.t, "comment")
		o, v := p.w.gate(p.c, "comments:write", false)
		if v == allowed {
			v = p.c.inProject(o, c.task.project, c.task.project.deleted || c.task.deleted || c.deleted, "contributor")
		}
		if v == allowed && c.author != p.c.user() {
			v = verdict{http.StatusForbidden, "role_insufficient"}
		}
		p.expectWrite(p.send("", `{"body": "changed"}`, c.id), v)
	}
	drivers["deleteComment"] = func(p *attempt) {
		c := rapid.SampledFrom(p.w.comments).Draw(p.t, "comment")
		// Whose it is decides what it takes, and shows only to who sees it.
		o, v := p.w.gate(p.c, "comments:delete", false)
		if v == (verdict{http.StatusForbidden, "policy_denied"}) && p.c.credential() == allowed {
			o, v = p.w.gate(p.c, "comments:moderate", false)
		}
		needed, least := "comments:moderate", "lead"
		if c.author == p.c.user() {
			needed, least = "comments:delete", "contributor"
		}
		if v == allowed {
			v = p.c.inProject(o, c.task.project, c.task.project.deleted || c.task.deleted || c.deleted, "viewer")
		}
		if v == allowed && !p.c.let(needed) {
			v = verdict{http.StatusForbidden, "policy_denied"}
		}
		if v == allowed {
			v = p.c.inProject(o, c.task.project, false, least)
		}
		if p.expectWrite(p.send("", "", c.id), v) {
			c.deleted = true
		}
	}
}

// sharing is for people who lead a project.
func sharing() {
	sessionVerdict := func(p *attempt, x *project) verdict {
		o, v := p.w.gate(p.c, "", true)
		if v == allowed {
			v = p.c.inProject(o, x, x != nil && x.deleted, "lead")
		}
		return v
	}
	drivers["listProjectMembers"] = func(p *attempt) {
		x, xid := p.drawProject()
		p.expect(p.send("", "", xid), sessionVerdict(p, x))
	}
	drivers["putProjectMember"] = func(p *attempt) {
		x, xid := p.drawProject()
		u := rapid.SampledFrom(p.w.users).Draw(p.t, "user")
		v := sessionVerdict(p, x)
		if v == allowed && x.org.roles[u] == "" {
			v = verdict{http.StatusUnprocessableEntity, "validation_failed"}
		}
		role := rapid.SampledFrom(projectRoles).Draw(p.t, "project role")
		if p.expect(p.send("", fmt.Sprintf(`{"role": %q}`, role), xid, u.id), v) {
			x.roles[u] = role
		}
	}
	drivers["removeProjectMember"] = func(p *attempt) {
		x, xid := p.drawProject()
		u := rapid.SampledFrom(p.w.users).Draw(p.t, "user")
		v := sessionVerdict(p, x)
		if v == allowed && (x.roles[u] == "" || x.org.roles[u] == "") {
			return // what there is nothing to remove of is no matter of authority
		}
		if p.expect(p.send("", "", xid, u.id), v) {
			delete(x.roles, u)
		}
	}
}

// personal judges a route that needs a person and no organization.
func (p *attempt) personal() verdict {
	if v := p.c.credential(); v != allowed {
		return v
	}
	if p.c.token != nil {
		return verdict{http.StatusForbidden, "signin_required"}
	}
	return allowed
}

func tokens() {
	simple := func(operation, body string) {
		drivers[operation] = func(p *attempt) { p.expect(p.send("", body), p.personal()) }
	}
	simple("listScopes", "")
	drivers["listTokens"] = func(p *attempt) {
		v := p.personal()
		if v != allowed {
			p.expect(p.send("", ""), v)
			return
		}
		var want []string
		for _, x := range p.w.tokens {
			if x.user == p.c.user() {
				want = append(want, x.id)
			}
		}
		p.sameIDs("id", "limit=2&sort=created_at", want)
	}
	own := func(operation, body string, verdictOf func(p *attempt, x *tokenOf) verdict, effect func(*tokenOf), says ...func(*attempt, []byte, *tokenOf)) {
		drivers[operation] = func(p *attempt) {
			x := rapid.SampledFrom(p.w.tokens).Draw(p.t, "token in the path")
			v := p.personal()
			if v == allowed && x.user != p.c.user() {
				v = verdict{http.StatusNotFound, "not_found"} // P11: nobody else's, whatever their role
			}
			if v == allowed {
				v = verdictOf(p, x)
			}
			r := p.send("", body, x.id)
			if p.expect(r, v) && effect != nil {
				effect(x)
				for _, compare := range says {
					compare(p, r.Body.Bytes(), x)
				}
			}
		}
	}
	fine := func(*attempt, *tokenOf) verdict { return allowed }
	lives := func(_ *attempt, x *tokenOf) verdict {
		if x.state == "revoked" || x.state == "expired" {
			return verdict{http.StatusConflict, "conflict"}
		}
		return allowed
	}
	own("getToken", "", fine, nil)
	own("getTokenActivity", "", fine, nil)
	own("revokeToken", "", fine, func(x *tokenOf) { x.state = "revoked" })
	own("changeToken", `{"name": "renamed"}`, lives, nil)
	paused := func(p *attempt, x *tokenOf) verdict {
		switch {
		case !x.agent:
			return verdict{http.StatusConflict, "conflict"}
		case p.o.id == "resumeToken" && x.paused && x.pausedBy != x.user:
			return verdict{http.StatusForbidden, "role_insufficient"}
		default:
			return lives(p, x)
		}
	}
	own("pauseToken", "", paused, func(x *tokenOf) {
		if !x.paused {
			x.paused, x.pausedBy = true, x.user
		}
	}, (*attempt).samePause)
	own("resumeToken", "", paused, func(x *tokenOf) { x.paused = false }, (*attempt).samePause)
	drivers["rotateToken"] = func(p *attempt) {
		x := rapid.SampledFrom(p.w.tokens).Draw(p.t, "token in the path")
		v := p.personal()
		if v == allowed && x.user != p.c.user() {
			v = verdict{http.StatusNotFound, "not_found"}
		}
		if v == allowed {
			v = lives(p, x)
		}
		r := p.send("", "", x.id)
		if p.expect(r, v) {
			var got struct {
				Value string `json:"value"`
			}
			_ = json.Unmarshal(r.Body.Bytes(), &got)
			x.value = got.Value
		}
	}
	drivers["identifyToken"] = func(p *attempt) {
		x := rapid.SampledFrom(p.w.tokens).Draw(p.t, "token to identify")
		v := p.personal()
		if v == allowed && x.user != p.c.user() {
			v = verdict{http.StatusNotFound, "not_found"}
		}
		p.expect(p.send("", fmt.Sprintf(`{"value": %q}`, x.value)), v)
	}
	drivers["createToken"] = func(p *attempt) { draft(p, true) }
	drivers["previewToken"] = func(p *attempt) { draft(p, false) }
}

// draft drives creation and preview: only within what the person sees and their role covers.
func draft(p *attempt, create bool) {
	o := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization of the token")
	u := p.c.user()
	v := p.personal()
	if v == allowed && o.roles[u] == "" {
		v = verdict{http.StatusNotFound, "not_found"}
	}
	var scopes []string
	for _, s := range scopeNames {
		if rapid.IntRange(0, 3).Draw(p.t, "asks "+s) == 0 {
			scopes = append(scopes, s)
		}
	}
	if len(scopes) == 0 {
		scopes = []string{"projects:read"}
	}
	agent := rapid.Bool().Draw(p.t, "for an agent")
	if v == allowed && create && agent && o.policy.off {
		v = verdict{http.StatusForbidden, "policy_denied"}
	}
	beyond := func(scope string) bool { return !cover(o.policy.scopes, scope) }
	if v == allowed && create && agent && slices.ContainsFunc(scopes, beyond) {
		v = verdict{http.StatusUnprocessableEntity, "validation_failed"}
	}
	if v == allowed && create && slices.Contains(scopes, "audit:read") && o.roles[u] != "owner" && o.roles[u] != "admin" {
		v = verdict{http.StatusUnprocessableEntity, "validation_failed"}
	}
	body := map[string]any{"name": "drawn", "organization": o.slug, "scopes": scopes}
	if agent {
		body["purpose"] = "agent"
	}
	var chosen []*project
	if rapid.Bool().Draw(p.t, "limits") {
		ids := []string{}
		for range rapid.IntRange(1, 2).Draw(p.t, "how many") {
			x := rapid.SampledFrom(p.w.projects).Draw(p.t, "project of the token")
			if slices.Contains(chosen, x) {
				continue
			}
			chosen, ids = append(chosen, x), append(ids, x.id)
			if v == allowed && (x.deleted || x.org != o || effective(x, u) == "") {
				v = verdict{http.StatusUnprocessableEntity, "validation_failed"}
			}
		}
		body["projects"] = ids
	}
	encoded, _ := json.Marshal(body)
	r := p.send("", string(encoded))
	if !p.expect(r, v) || !create {
		return
	}
	var got struct {
		Token struct {
			ID string `json:"id"`
		} `json:"token"`
		Value string `json:"value"`
	}
	if err := json.Unmarshal(r.Body.Bytes(), &got); err != nil || got.Value == "" {
		p.t.Fatalf("created token: %v\n%s", err, r.Body)
	}
	p.w.tokens = append(p.w.tokens, &tokenOf{id: got.Token.ID, value: got.Value, user: u, org: o, scopes: scopes, projects: chosen, state: "live", agent: agent})
}

// inside judges a route about an organization that needs one of the roles there, or any.
func inside(p *attempt, o *organization, least ...string) verdict {
	v := p.personal()
	switch role := o.roles[p.c.user()]; {
	case v != allowed:
		return v
	case role == "":
		return verdict{http.StatusNotFound, "not_found"}
	case len(least) > 0 && !slices.Contains(least, role):
		return verdict{http.StatusForbidden, "role_insufficient"}
	}
	return allowed
}

func organizations() {
	drivers["listOrganizations"] = func(p *attempt) {
		v := p.personal()
		if v != allowed {
			p.expect(p.send("", ""), v)
			return
		}
		var want []string
		for _, o := range p.w.orgs {
			if o.roles[p.c.user()] != "" {
				want = append(want, o.slug)
			}
		}
		p.sameIDs("slug", "limit=1", want)
	}
	drivers["getOrganization"] = func(p *attempt) {
		o := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization")
		p.expect(p.send("", "", o.slug), inside(p, o))
	}
	drivers["changeOrganization"] = func(p *attempt) {
		o := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization")
		p.expect(p.send("", `{"name": "Renamed"}`, o.slug), inside(p, o, "owner", "admin"))
	}
	drivers["createOrganization"] = func(p *attempt) {
		if v := p.personal(); v != allowed {
			p.expect(p.send("", `{"slug": "fresh", "name": "Fresh"}`), v)
		}
	}
	drivers["listOrganizationMembers"] = func(p *attempt) {
		o := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization")
		v := inside(p, o)
		if v != allowed {
			p.expect(p.send("", "", o.slug), v)
			return
		}
		p.sameIDs("user_id", "limit=2", p.w.visibleMembers(p.c, o), o.slug)
	}
	drivers["addOrganizationMember"] = func(p *attempt) {
		o := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization")
		v := inside(p, o, "owner", "admin")
		if v == allowed {
			v = verdict{http.StatusUnprocessableEntity, "validation_failed"} // nobody has this address
		}
		p.expect(p.send("", `{"email": "nobody@example.com", "role": "guest"}`, o.slug), v)
	}
	drivers["changeOrganizationMember"] = changeMember
	drivers["removeOrganizationMember"] = removeMember
}

func owners(o *organization) (n int) {
	for u, role := range o.roles {
		if role == "owner" && !u.suspended {
			n++
		}
	}
	return n
}

func changeMember(p *attempt) {
	o, u := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization"), rapid.SampledFrom(p.w.users).Draw(p.t, "member")
	role := rapid.SampledFrom(roles).Draw(p.t, "new role")
	v := inside(p, o, "owner", "admin")
	owning := role == "owner" || o.roles[u] == "owner"
	switch {
	case v != allowed:
	case o.roles[u] == "":
		v = verdict{http.StatusNotFound, "not_found"}
	case owning && o.roles[p.c.user()] != "owner":
		v = verdict{http.StatusForbidden, "role_insufficient"}
	case o.roles[u] == "owner" && role != "owner" && owners(o) <= 1:
		return // the last owner: refused as a conflict, which has tests of its own
	}
	if p.expect(p.send("", fmt.Sprintf(`{"role": %q}`, role), o.slug, u.id), v) {
		o.roles[u] = role
	}
}

func removeMember(p *attempt) {
	o, u := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization"), rapid.SampledFrom(p.w.users).Draw(p.t, "member")
	self := p.c.session != nil && u == p.c.user()
	var v verdict
	if self {
		v = inside(p, o)
	} else {
		v = inside(p, o, "owner", "admin")
	}
	switch {
	case v != allowed:
	case o.roles[u] == "":
		v = verdict{http.StatusNotFound, "not_found"}
	case o.roles[u] == "owner" && !self && o.roles[p.c.user()] != "owner":
		v = verdict{http.StatusForbidden, "role_insufficient"}
	case o.roles[u] == "owner" && owners(o) <= 1:
		return
	}
	if p.expect(p.send("", "", o.slug, u.id), v) {
		delete(o.roles, u)
		for _, x := range p.w.projects {
			if x.org == o {
				delete(x.roles, u)
			}
		}
	}
}

func accounts() {
	// Routes without a credential decide nothing by one; what they do has tests of its own.
	for _, operation := range []string{"signUp", "verifyEmail", "signIn"} {
		drivers[operation] = func(p *attempt) {
			if r := p.send("", `{}`); r.Code != http.StatusUnprocessableEntity {
				p.t.Fatalf("%s with an empty body: %d\n%s", p.o.path, r.Code, r.Body)
			}
		}
	}
	person := func(operation, body string) {
		drivers[operation] = func(p *attempt) {
			if v := p.personal(); v != allowed {
				p.expect(p.send("", body), v)
			}
		}
	}
	person("resendVerification", "")
	person("reauthenticate", `{"password": "x"}`)
	person("signOut", "")
	person("changePassword", `{"current": "x", "new": "y"}`)
	person("endOtherSessions", "")
	drivers["getAccount"] = func(p *attempt) { p.expect(p.send("", ""), p.personal()) }
	drivers["changeAccount"] = func(p *attempt) { p.expect(p.send("", `{"name": "Renamed"}`), p.personal()) }
	drivers["listSessions"] = func(p *attempt) {
		v := p.personal()
		if v != allowed {
			p.expect(p.send("", ""), v)
			return
		}
		var want []string
		for _, s := range p.w.sessions {
			if s.user == p.c.user() && !s.ended {
				want = append(want, s.id)
			}
		}
		p.sameIDs("id", "", want)
	}
	drivers["endSession"] = func(p *attempt) {
		s := rapid.SampledFrom(p.w.sessions).Draw(p.t, "session in the path")
		v := p.personal()
		if v == allowed && (s.user != p.c.user() || s.ended) {
			v = verdict{http.StatusNotFound, "not_found"}
		}
		if p.expect(p.send("", "", s.id), v) {
			s.ended = true
		}
	}
}

// idOf returns the id of what was created.
func idOf(p *attempt, body []byte) string {
	var got struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &got); err != nil || got.ID == "" {
		p.t.Fatalf("created thing has no id: %v\n%s", err, body)
	}
	return got.ID
}

// total adds up the counts of tasks by status.
func total(body []byte) (n int) {
	var got struct {
		ByStatus map[string]int `json:"by_status"`
	}
	_ = json.Unmarshal(body, &got)
	for _, count := range got.ByStatus {
		n += count
	}
	return n
}
