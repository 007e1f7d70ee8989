package tokens

import (
	"context"
	"fmt"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/tokens/rows"
)

// Me is who is calling and what they may do right now.
type Me struct {
	User         Person          `json:"user"`
	Organization OrganizationRef `json:"organization"`
	Role         string          `json:"role"`
	Token        *Token          `json:"token"` // null for a session
	Permissions  Permissions     `json:"permissions"`
}

// Person is a user as they are shown to themselves.
type Person struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// OrganizationRef names an organization.
type OrganizationRef struct {
	Slug string `json:"slug"`
	Name string `json:"name"`
}

// Permissions are what somebody may do: to the organization, and in each project that they see.
type Permissions struct {
	Organization  []string             `json:"organization"`
	Projects      []ProjectPermissions `json:"projects"` // at most 50
	ProjectsTotal int                  `json:"projects_total"`
}

// ProjectPermissions are what somebody may do in one project.
type ProjectPermissions struct {
	ID          string   `json:"id"`
	Key         string   `json:"key"`
	Name        string   `json:"name"`
	Role        string   `json:"role"`
	Permissions []string `json:"permissions"`
}

// projectsShown caps the projects of [Permissions].
const projectsShown = 50

// Me answers who the caller is and what holds for them at this moment. Any token may ask, whatever its scopes. When the
// token is not what it was when the caller was identified, the error is [db.ErrOvertaken]: the answer would mix two moments.
func (s *Service) Me(ctx context.Context, caller access.Caller) (Me, error) {
	if caller.Kind == access.Anonymous {
		return Me{}, problem.From(access.NeedCredential, 0)
	}
	q := rows.New(s.DB.Read())
	person, err := q.Person(ctx, caller.UserID)
	if err != nil {
		return Me{}, fmt.Errorf("read the caller: %w", err)
	}
	organization, err := q.OrganizationName(ctx, caller.Organization)
	if err != nil {
		return Me{}, fmt.Errorf("read the caller's organization: %w", err)
	}
	me := Me{
		User:         Person{ID: person.ID, Name: person.Name, Email: person.Email},
		Organization: OrganizationRef{Slug: caller.OrganizationSlug, Name: organization},
		Role:         caller.Role.String(),
	}
	if caller.Kind == access.TokenCaller {
		t, err := s.own(ctx, s.DB.Read(), caller, caller.CredentialID)
		if err != nil {
			return Me{}, err
		}
		if !t.stillGrants(caller) {
			return Me{}, db.ErrOvertaken
		}
		me.Token = &t
	}
	me.Permissions, err = s.permissions(ctx, caller)
	return me, err
}

// stillGrants reports whether the token, as it was just read, gives the caller what they were identified with.
func (t Token) stillGrants(caller access.Caller) bool {
	projects := access.ProjectSet{}
	if t.restricted {
		projects = access.Only(t.Projects...)
	}
	return t.State == Live && t.Role != nil && *t.Role == caller.Role.String() && t.scopes == caller.Scopes &&
		projects.Within(caller.Projects) && caller.Projects.Within(projects)
}

// permissions works out what the caller may do, by asking the rules about each project that they see.
func (s *Service) permissions(ctx context.Context, caller access.Caller) (Permissions, error) {
	seen, total, err := s.Work.ProjectGrants(ctx, caller, projectsShown)
	if err != nil {
		return Permissions{}, fmt.Errorf("read the caller's projects: %w", err)
	}
	p := Permissions{
		Organization: coverable(caller.OrganizationPermissions()), ProjectsTotal: total,
		Projects: make([]ProjectPermissions, 0, len(seen)),
	}
	for _, project := range seen {
		r := access.Resource{Organization: caller.Organization, Project: project.ID, Visibility: project.Visibility, Given: project.Given}
		p.Projects = append(p.Projects, ProjectPermissions{
			ID: project.ID, Key: project.Key, Name: project.Name,
			Role:        access.EffectiveProjectRole(caller.Role, project.Visibility, project.Given).String(),
			Permissions: coverable(caller.ProjectPermissions(r)),
		})
	}
	return p, nil
}

// coverable leaves out what only a real sign-in can do: it is no part of what a token could ever hold, and the same for
// everybody's own session.
func coverable(held access.Permissions) []string {
	names := []string{}
	for _, p := range access.AllPermissions() {
		if held.Has(p) && !p.Interactive() {
			names = append(names, p.String())
		}
	}
	return names
}

// Preview is what a drafted token would be able to do.
type Preview struct {
	Permissions Permissions `json:"permissions"`
	Sentence    string      `json:"sentence"`
	NotCovered  []string    `json:"not_covered"` // scopes that the caller's role, or for agents the policy, does not cover
	ExpiresAt   *time.Time  `json:"expires_at"`
}

// Preview answers what a token made from the draft would be able to do at this moment, without making it. Scopes that
// the role does not cover are reported rather than refused, and what is not filled in yet is tolerated.
func (s *Service) Preview(ctx context.Context, caller access.Caller, draft Draft) (Preview, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return Preview{}, err
	}
	if draft.Invalid != nil {
		return Preview{}, draft.Invalid
	}
	g, err := s.check(ctx, s.DB.Read(), caller, draft, lenient)
	if err != nil {
		return Preview{}, err
	}
	plan, _ := access.ParsePlan(g.standing.Plan)
	would := access.Caller{
		Kind: access.TokenCaller, UserID: caller.UserID, EmailVerified: caller.EmailVerified,
		Organization: g.standing.OrganizationID, OrganizationSlug: g.standing.Slug, Plan: plan, Role: g.role,
		Purpose: g.purpose, Scopes: g.scopes, Projects: g.projects,
	}
	if g.purpose == access.Agent {
		would.Withheld = g.policy.Withholds()
	}
	p := Preview{NotCovered: []string{}, ExpiresAt: g.expiresAt}
	if p.Permissions, err = s.permissions(ctx, would); err != nil {
		return Preview{}, err
	}
	for _, scope := range g.scopes.List() {
		if !g.covers(scope) {
			p.NotCovered = append(p.NotCovered, scope.String())
		}
	}
	p.Sentence = sentence(g, would, p.Permissions)
	return p, nil
}

// sentence says in words what a token would be: as whom, where, what, in which projects, how long.
func sentence(g grant, would access.Caller, p Permissions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Acts as you in %s, where you are %s.", g.standing.Name, withArticle(g.role.String()))
	reads, writes := abilities(g)
	switch {
	case len(reads)+len(writes) == 0:
		b.WriteString(" It can only say who it is.")
	case len(writes) == 0:
		b.WriteString(" It can read " + enumerate(reads) + where(would, p) + ". It cannot change anything.")
	case len(reads) == 0:
		b.WriteString(" It can read and change " + enumerate(writes) + where(would, p) + ".")
	default:
		b.WriteString(" It can read " + enumerate(reads) + ", and read and change " + enumerate(writes) + where(would, p) + ".")
	}
	if g.expiresAt == nil {
		b.WriteString(" It never expires; only revoking it ends it.")
	} else {
		fmt.Fprintf(&b, " It expires on %s.", g.expiresAt.UTC().Format("2 January 2006 at 15:04:05 UTC"))
	}
	return b.String()
}

// abilities names the resources that the scopes let through, and role and agent policy cover: those only read, and those
// changed.
func abilities(g grant) (reads, writes []string) {
	words := map[string]string{"audit": "the audit log", "members": "the list of members"}
	written := map[string]bool{}
	for _, entry := range access.Catalogue() {
		if entry.Write && g.scopes.Has(entry.Scope) && g.covers(entry.Scope) {
			written[entry.Resource] = true
			writes = append(writes, entry.Resource)
		}
	}
	for _, entry := range access.Catalogue() {
		if entry.Write || written[entry.Resource] || !g.scopes.Has(entry.Scope) || !g.covers(entry.Scope) {
			continue
		}
		word, special := words[entry.Resource]
		if !special {
			word = entry.Resource
		}
		reads = append(reads, word)
	}
	return reads, writes
}

// where says in which projects.
func where(would access.Caller, p Permissions) string {
	if !would.Projects.Restricted() {
		return " in every project that you see, now and later"
	}
	var names []string
	for i, project := range p.Projects {
		if i == 5 {
			names = append(names, fmt.Sprintf("%d more", p.ProjectsTotal-5))
			break
		}
		names = append(names, project.Name)
	}
	if p.ProjectsTotal == 1 {
		return " in one project only: " + enumerate(names)
	}
	return fmt.Sprintf(" in %d projects only: %s", p.ProjectsTotal, enumerate(names))
}

func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func withArticle(role string) string {
	if role != "" && strings.ContainsRune("aeiou", rune(role[0])) {
		return "an " + role
	}
	return "a " + role
}
