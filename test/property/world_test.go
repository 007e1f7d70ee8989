package property_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/token"
)

// The world of a scenario is written past the features and kept here in plain words, so that the model that judges the
// answers shares nothing with what it judges: no bit sets, no filters, no package of the rules.
type world struct {
	now       int64
	users     []*user
	orgs      []*organization
	projects  []*project
	tasks     []*task
	comments  []*comment
	tokens    []*tokenOf
	sessions  []*session
	nextPlace int
}

type user struct {
	id, email string
	suspended bool
}

type organization struct {
	id, slug string
	roles    map[*user]string
	policy   policy
}

// policy is what an organization lets agents do.
type policy struct {
	off                 bool
	scopes, destructive []string
	writes              int // that an agent makes in an hour; 0: any number
}

type project struct {
	id, key    string
	org        *organization
	visibility string
	deleted    bool
	roles      map[*user]string
	version    int64
}

type task struct {
	id      string
	project *project
	deleted bool
	version int64
}

type comment struct {
	id      string
	task    *task
	author  *user
	deleted bool
}

type tokenOf struct {
	id, value string
	user      *user
	org       *organization
	scopes    []string
	projects  []*project // nil: not restricted
	state     string     // live, revoked, expired
	agent     bool
	client    string
	paused    bool
	pausedBy  *user
	writes    int // that it made
}

type session struct {
	id, value string
	user      *user
	ended     bool
}

// What a failing scenario prints of the things that it drew: their ids, and never a credential.

func (u *user) GoString() string         { return u.id }
func (o *organization) GoString() string { return o.id }
func (p *project) GoString() string      { return p.id }
func (x *task) GoString() string         { return x.id }
func (c *comment) GoString() string      { return c.id }
func (x *tokenOf) GoString() string      { return x.id }
func (s *session) GoString() string      { return s.id }

var (
	roles        = []string{"owner", "admin", "manager", "member", "guest"}
	projectRoles = []string{"lead", "contributor", "viewer"}
	scopeBits    = map[string]int64{
		"projects:read": 1, "projects:write": 2, "tasks:read": 4, "tasks:write": 8,
		"comments:read": 16, "comments:write": 32, "members:read": 64, "audit:read": 128,
	}
	scopeNames = []string{"projects:read", "projects:write", "tasks:read", "tasks:write", "comments:read", "comments:write", "members:read", "audit:read"}
)

// marker is a text that is planted in everything that belongs to a project, so that it is found wherever it leaks.
func (p *project) marker() string { return "marker-" + strings.TrimPrefix(p.id, "prj_") }

// makeWorld draws a world and writes it.
func makeWorld(t *rapid.T, d *db.DB) *world {
	w := &world{now: time.Now().UnixMicro()}
	for range 4 {
		u := &user{id: id.New(id.User)}
		u.email = strings.TrimPrefix(u.id, "usr_") + "@example.com"
		w.users = append(w.users, u)
	}
	for range 2 {
		o := &organization{id: id.New(id.Organization), roles: map[*user]string{}}
		o.slug = "o" + strings.TrimPrefix(o.id, "org_")
		for _, u := range w.users {
			if rapid.IntRange(0, 3).Draw(t, "belongs") > 0 {
				o.roles[u] = rapid.SampledFrom(roles).Draw(t, "role")
			}
		}
		o.policy = drawPolicy(t)
		o.policy.writes = rapid.SampledFrom([]int{0, 1000, 1}).Draw(t, "writes of an agent")
		w.orgs = append(w.orgs, o)
	}
	for i := range 5 {
		w.drawProject(t, w.orgs[min(i/3, 1)], i)
	}
	for _, u := range w.users {
		s := &session{id: id.New(id.Session), value: token.Mint(token.Session).Reveal(), user: u}
		w.sessions = append(w.sessions, s)
	}
	for range 5 {
		w.drawToken(t)
	}
	if err := d.Write(context.Background(), w.write); err != nil {
		t.Fatalf("write the world: %v", err)
	}
	return w
}

func (w *world) drawProject(t *rapid.T, o *organization, i int) {
	p := &project{
		id: id.New(id.Project), key: fmt.Sprintf("K%d", i), org: o, version: 1, roles: map[*user]string{},
		visibility: rapid.SampledFrom([]string{"organization", "private"}).Draw(t, "visibility"),
		deleted:    rapid.IntRange(0, 5).Draw(t, "deleted") == 0,
	}
	for _, u := range w.users {
		if o.roles[u] != "" && rapid.IntRange(0, 2).Draw(t, "joined") == 0 {
			p.roles[u] = rapid.SampledFrom(projectRoles).Draw(t, "project role")
		}
	}
	w.projects = append(w.projects, p)
	for range 2 {
		x := &task{id: id.New(id.Task), project: p, version: 1, deleted: rapid.IntRange(0, 4).Draw(t, "task deleted") == 0}
		w.tasks = append(w.tasks, x)
		w.comments = append(w.comments, &comment{id: id.New(id.Comment), task: x, author: rapid.SampledFrom(w.users).Draw(t, "author")})
	}
}

// drawPolicy draws what agents may do, but for how often. Mostly they may work.
func drawPolicy(t *rapid.T) policy {
	return policy{
		off: rapid.IntRange(0, 7).Draw(t, "agents off") == 0, scopes: some(t, "lets", scopeNames), destructive: some(t, "lets destroy", destructive),
	}
}

// some draws some of the names, mostly the greater part.
func some(t *rapid.T, what string, names []string) []string {
	drawn := []string{}
	for _, name := range names {
		if rapid.IntRange(0, 2).Draw(t, what+" "+name) > 0 {
			drawn = append(drawn, name)
		}
	}
	return drawn
}

func bitsOf(scopes []string) (bits int64) {
	for _, s := range scopes {
		bits |= scopeBits[s]
	}
	return bits
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

var clients = []string{"", "Cursor", "Codex"}

func (w *world) drawToken(t *rapid.T) {
	x := &tokenOf{
		id: id.New(id.Token), value: token.Mint(token.Personal).Reveal(),
		user: rapid.SampledFrom(w.users).Draw(t, "token user"), org: rapid.SampledFrom(w.orgs).Draw(t, "token organization"),
		state: rapid.SampledFrom([]string{"live", "live", "live", "live", "live", "live", "live", "live", "revoked", "expired"}).Draw(t, "state"),
		agent: rapid.Bool().Draw(t, "agent"), paused: rapid.IntRange(0, 9).Draw(t, "paused") == 0, scopes: some(t, "has", scopeNames),
	}
	if x.agent {
		x.value, x.client = token.Mint(token.Agent).Reveal(), rapid.SampledFrom(clients).Draw(t, "client")
		if rapid.IntRange(0, 5).Draw(t, "wrote much") == 0 {
			x.writes = 1000
		}
	}
	if x.paused {
		x.pausedBy = rapid.SampledFrom(w.users).Draw(t, "paused by")
	}
	if rapid.Bool().Draw(t, "restricted") {
		x.projects = []*project{}
		for _, p := range w.projects {
			if p.org == x.org && rapid.Bool().Draw(t, "in token") {
				x.projects = append(x.projects, p)
			}
		}
	}
	w.tokens = append(w.tokens, x)
}

func (w *world) write(ctx context.Context, tx *sql.Tx) error {
	run := func(query string, args ...any) error {
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		return nil
	}
	for _, u := range w.users {
		if err := run(`INSERT INTO users (id, email, email_key, name, password_hash, email_verified_at, created_at) VALUES ($1, $2, $2, 'Somebody', '', 1, 1)`, u.id, u.email); err != nil {
			return err
		}
	}
	for _, o := range w.orgs {
		if err := run(`INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ($1, $2, 'Org', 'enterprise', 1)`, o.id, o.slug); err != nil {
			return err
		}
		query, args := o.setPolicy()
		if err := run(query, args...); err != nil {
			return err
		}
		for u, role := range o.roles {
			if err := run(`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, $3, 1)`, o.id, u.id, role); err != nil {
				return err
			}
		}
	}
	if err := w.writeWork(run); err != nil {
		return err
	}
	return w.writeCredentials(run)
}

// setPolicy returns the statement that stores the organization's policy.
func (o *organization) setPolicy() (query string, args []any) {
	var writes any
	if o.policy.writes > 0 {
		writes = o.policy.writes
	}
	return `UPDATE organizations SET agents_off = $1, agent_scopes = $2, agent_destructive = $3, agent_write_rate = $4 WHERE id = $5`,
		[]any{bit(o.policy.off), bitsOf(o.policy.scopes), strings.Join(o.policy.destructive, " "), writes, o.id}
}

func (w *world) writeWork(run func(string, ...any) error) error {
	for _, p := range w.projects {
		var deleted any
		if p.deleted {
			deleted = w.now
		}
		err := run(`INSERT INTO projects (organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version, deleted_at)
			VALUES ($1, $2, $3, $4, $4, $4, 'active', $5, $6, '', $7, $7, 1, $8)`, p.org.id, p.id, p.key, p.marker(), p.visibility, w.users[0].id, w.place(), deleted)
		if err != nil {
			return err
		}
		if err := run(`INSERT INTO project_counters (organization_id, project_id, last_number) VALUES ($1, $2, 2)`, p.org.id, p.id); err != nil {
			return err
		}
		for u, role := range p.roles {
			if err := run(`INSERT INTO project_members (organization_id, project_id, user_id, role, created_at) VALUES ($1, $2, $3, $4, 1)`, p.org.id, p.id, u.id, role); err != nil {
				return err
			}
		}
	}
	numbers := map[*project]int{}
	for _, x := range w.tasks {
		var deleted any
		if x.deleted {
			deleted = w.now
		}
		numbers[x.project]++
		err := run(`INSERT INTO tasks (organization_id, id, project_id, number, title, title_key, description, search_text, status, priority, created_by, created_via, created_at, updated_at, version, deleted_at)
			VALUES ($1, $2, $3, $4, $5, $5, $5, $5, 'todo', 1, $6, '', $7, $7, 1, $8)`,
			x.project.org.id, x.id, x.project.id, numbers[x.project], x.project.marker(), w.users[0].id, w.place(), deleted)
		if err != nil {
			return err
		}
	}
	for _, c := range w.comments {
		err := run(`INSERT INTO comments (organization_id, id, project_id, task_id, author_id, body, created_via, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, '', $7, $7)`,
			c.task.project.org.id, c.id, c.task.project.id, c.task.id, c.author.id, c.task.project.marker(), w.place())
		if err != nil {
			return err
		}
	}
	return nil
}

// place returns growing times, some of them equal, so that pages meet ties.
func (w *world) place() int64 {
	w.nextPlace++
	return w.now + int64(w.nextPlace/2)
}

func (w *world) writeCredentials(run func(string, ...any) error) error {
	for _, s := range w.sessions {
		v, err := token.Parse(s.value)
		if err != nil {
			return err
		}
		digest := v.Digest()
		err = run(`INSERT INTO sessions (id, user_id, lookup_id, digest, kind, created_at, authenticated_at, expires_at, created_from, client)
			VALUES ($1, $2, $3, $4, 'bearer', $5, $5, $6, '', '')`, s.id, s.user.id, v.Lookup().String(), digest[:], w.now, w.now+3600e6)
		if err != nil {
			return err
		}
	}
	for _, x := range w.tokens {
		if err := w.writeToken(run, x); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) writeToken(run func(string, ...any) error, x *tokenOf) error {
	v, err := token.Parse(x.value)
	if err != nil {
		return err
	}
	digest := v.Digest()
	var expires, revoked, paused any
	switch x.state {
	case "revoked":
		revoked = w.now - 1
	case "expired":
		expires = w.now - 1
	}
	pausedBy := ""
	if x.paused {
		paused, pausedBy = w.now-1, x.pausedBy.id
	}
	purpose := "personal"
	if x.agent {
		purpose = "agent"
	}
	err = run(`INSERT INTO tokens (organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id, created_at, created_from, created_via, expires_at, revoked_at, paused_at, paused_by, client_name)
		VALUES ($1, $2, $3, $4, 't', 't', $5, $6, $7, $8, $9, '', '', $10, $11, $12, $13, $14)`,
		x.org.id, x.id, x.user.id, purpose, bitsOf(x.scopes), bit(x.projects != nil), v.Kind().Prefix(), v.Lookup().String(), w.now-7200e6, expires, revoked, paused, pausedBy, x.client)
	if err != nil {
		return err
	}
	for _, p := range x.projects {
		if err := run(`INSERT INTO token_projects (organization_id, token_id, project_id) VALUES ($1, $2, $3)`, x.org.id, x.id, p.id); err != nil {
			return err
		}
	}
	if x.writes > 0 {
		if err := run(`INSERT INTO rate_limits (bucket, free_again) VALUES ($1, $2)`, "writes:"+x.id, w.now+3600e6); err != nil {
			return err
		}
	}
	return run(`INSERT INTO credentials (lookup_id, digest, organization_id, token_id, created_at) VALUES ($1, $2, $3, $4, 1)`, v.Lookup().String(), digest[:], x.org.id, x.id)
}

// change alters the world at random, past the features, the way that somebody else's request would a moment before.
// Mostly it is about the caller.
func (w *world) change(t *rapid.T, d *db.DB, c caller) {
	var query string
	var args []any
	o, u := rapid.SampledFrom(w.orgs).Draw(t, "organization to change"), rapid.SampledFrom(w.users).Draw(t, "user to change")
	p, x := rapid.SampledFrom(w.projects).Draw(t, "project to change"), rapid.SampledFrom(w.tokens).Draw(t, "token to change")
	if rapid.IntRange(0, 3).Draw(t, "somebody else's") > 0 {
		u = c.user()
		if c.token != nil {
			o, x = c.token.org, c.token
		}
	}
	switch rapid.SampledFrom([]string{"role", "remove", "visibility", "share", "unshare", "delete", "suspend", "restore", "revoke", "pause", "narrow", "widen", "end", "policy", "agents off"}).Draw(t, "change") {
	case "role":
		if o.roles[u] == "" {
			return
		}
		o.roles[u] = rapid.SampledFrom(roles).Draw(t, "new role")
		query, args = `UPDATE memberships SET role = $1 WHERE organization_id = $2 AND user_id = $3`, []any{o.roles[u], o.id, u.id}
	case "remove":
		delete(o.roles, u)
		query, args = `DELETE FROM memberships WHERE organization_id = $1 AND user_id = $2`, []any{o.id, u.id}
	case "visibility":
		p.visibility = map[string]string{"private": "organization", "organization": "private"}[p.visibility]
		query, args = `UPDATE projects SET visibility = $1 WHERE id = $2`, []any{p.visibility, p.id}
	case "share":
		if p.org.roles[u] == "" {
			return
		}
		p.roles[u] = rapid.SampledFrom(projectRoles).Draw(t, "new project role")
		query, args = `INSERT INTO project_members (organization_id, project_id, user_id, role, created_at) VALUES ($1, $2, $3, $4, 1)
			ON CONFLICT (organization_id, project_id, user_id) DO UPDATE SET role = excluded.role`, []any{p.org.id, p.id, u.id, p.roles[u]}
	case "unshare":
		delete(p.roles, u)
		query, args = `DELETE FROM project_members WHERE project_id = $1 AND user_id = $2`, []any{p.id, u.id}
	case "delete":
		p.deleted = true
		query, args = `UPDATE projects SET deleted_at = $1 WHERE id = $2`, []any{w.now, p.id}
	case "suspend":
		u.suspended = true
		query, args = `UPDATE users SET suspended_at = 1 WHERE id = $1`, []any{u.id}
	case "restore":
		u.suspended = false
		query, args = `UPDATE users SET suspended_at = NULL WHERE id = $1`, []any{u.id}
	case "revoke":
		x.state = "revoked"
		query, args = `UPDATE tokens SET revoked_at = 1 WHERE id = $1`, []any{x.id}
	case "pause":
		x.paused, x.pausedBy = true, u
		query, args = `UPDATE tokens SET paused_at = 1, paused_by = $1 WHERE id = $2`, []any{u.id, x.id}
	case "policy":
		writes := o.policy.writes
		o.policy = drawPolicy(t)
		o.policy.writes = writes
		query, args = o.setPolicy()
	case "agents off":
		o.policy.off = !o.policy.off
		query, args = o.setPolicy()
	case "end":
		e := rapid.SampledFrom(w.sessions).Draw(t, "session to end")
		if c.session != nil {
			e = c.session
		}
		e.ended = true
		query, args = `UPDATE sessions SET ended_at = 1 WHERE id = $1`, []any{e.id}
	case "narrow":
		x.scopes = slices.DeleteFunc(slices.Clone(x.scopes), func(s string) bool { return strings.HasPrefix(s, "tasks") })
		query, args = `UPDATE tokens SET scopes = $1 WHERE id = $2`, []any{bitsOf(x.scopes), x.id}
	default: // one more project in a token's set
		if x.projects == nil || p.org != x.org || slices.Contains(x.projects, p) {
			return
		}
		x.projects = append(x.projects, p)
		query, args = `INSERT INTO token_projects (organization_id, token_id, project_id) VALUES ($1, $2, $3)`, []any{x.org.id, x.id, p.id}
	}
	err := d.Write(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		t.Fatalf("change the world: %v", err)
	}
}
