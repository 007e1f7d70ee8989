// Package demo fills an empty server with a small organization that looks like work, and tells whoever started it how to
// look around: how to sign in, and a token with three calls to paste.
//
// It writes through the features, like any person would, so that everything it leaves behind is as real as what people
// leave.
package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/tokens"
	"carnet/internal/verify"
	"carnet/internal/work"
)

// What people of the demo sign in with. It is no secret: the demo prints it.
const (
	password     = "paper lanterns over the canal"
	organization = "northwind"
	tokenName    = "Demo token"
)

// Config is what the demo writes through.
type Config struct {
	Store     *db.DB
	Account   *account.Service
	Org       *org.Service
	Work      *work.Service
	Tokens    *tokens.Service
	Verify    *verify.Service
	PublicURL string
}

// Prepare fills an empty server, makes a new demo token in place of the one of the start before, and returns what to
// tell. A server that was not filled by a demo is left as it is.
func Prepare(ctx context.Context, c Config) (string, error) {
	filled, err := c.Account.AnyUser(ctx)
	if err != nil {
		return "", fmt.Errorf("look whether the store is empty: %w", err)
	}
	if !filled {
		if err := c.fill(ctx); err != nil {
			return "", fmt.Errorf("fill the store: %w", err)
		}
	}
	switch whole, err := c.whole(ctx); {
	case err != nil:
		return "", err
	case !whole:
		return "", problem.New(problem.Conflict, "The demonstration in this store was interrupted while it was made. Remove the data folder, or name another one with --data.")
	}
	owner, ok, err := c.Account.ByEmail(ctx, people[0].email)
	if err != nil {
		return "", err
	}
	if !ok {
		return "\nThis data folder holds other data than the demo's, so nothing was added. Start with another --data for the demo.\n\n", nil
	}
	value, err := c.renewToken(ctx, owner.Email)
	if err != nil {
		return "", fmt.Errorf("make the demo token: %w", err)
	}
	return c.guide(value), nil
}

// Notes in the store while it is filled, and once it is.
const (
	noteBegun = "demo-begun"
	noteDone  = "demo-done"
)

// whole reports whether the demonstration is there to its end.
func (c Config) whole(ctx context.Context) (bool, error) {
	begun, err := c.Store.Noted(ctx, noteBegun)
	if err != nil || !begun {
		return true, err // made by a version that kept no notes, or no demonstration
	}
	return c.Store.Noted(ctx, noteDone)
}

// signIn signs a person of the demo in, and returns them acting in the organization.
func (c Config) signIn(ctx context.Context, email string) (access.Caller, error) {
	made, err := c.Account.SignIn(ctx, account.SignIn{Email: email, Password: password, Kind: account.Bearer})
	if err != nil {
		return access.Caller{}, fmt.Errorf("sign %s in: %w", email, err)
	}
	grant, err := c.Verify.Verify(ctx, made.Value.Reveal(), lastuse.Origin{Client: "carnet demo"})
	if err != nil {
		return access.Caller{}, fmt.Errorf("use the session of %s: %w", email, err)
	}
	if inside, ok := grant.Caller.In(organization); ok {
		return inside, nil
	}
	return grant.Caller, nil
}

// renewToken revokes the demo tokens of former starts and makes a new one.
func (c Config) renewToken(ctx context.Context, email string) (string, error) {
	caller, err := c.signIn(ctx, email)
	if err != nil {
		return "", err
	}
	query := tokens.Query{Request: page.Request{Limit: page.MaxLimit}, State: []string{string(tokens.Live)}}
	for {
		listed, err := c.Tokens.Tokens(ctx, caller, query)
		if err != nil {
			return "", err
		}
		for _, t := range listed.Items {
			if t.Name != tokenName {
				continue
			}
			if _, err := c.Tokens.Revoke(ctx, caller, t.ID); err != nil {
				return "", err
			}
		}
		if query.Cursor = listed.NextCursor; query.Cursor == "" {
			break
		}
	}
	days := 30
	issued, err := c.Tokens.Create(ctx, caller, tokens.Draft{
		Name: tokenName, Organization: organization, ExpiresInDays: &days,
		Scopes: []string{"projects:read", "tasks:write", "comments:read"},
	})
	if err != nil {
		return "", err
	}
	return issued.Value.Reveal(), c.Account.SignOut(ctx, caller)
}

func (c Config) guide(value string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nSign in at %s/sign-in as any of these, with the password\n\n  %s\n\n", c.PublicURL, password)
	for _, p := range people {
		fmt.Fprintf(&b, "  %-26s %-16s %s\n", p.email, p.name, p.role)
	}
	fmt.Fprintf(&b, "\nA token of %s's, new at every start:\n\n  %s\n\nTry it:\n\n", people[0].name, value)
	fmt.Fprintf(&b, "curl -H 'Authorization: Bearer %s' %s/api/v1/me\n\n", value, c.PublicURL)
	fmt.Fprintf(&b, "curl -H 'Authorization: Bearer %s' '%s/api/v1/tasks?status=in_progress&sort=-priority'\n\n", value, c.PublicURL)
	fmt.Fprintf(&b, "curl -X DELETE -H 'Authorization: Bearer %s' %s/api/v1/projects/prj_any\n", value, c.PublicURL)
	b.WriteString("\nThe last one is refused: the token has no scope that lets it change projects.\n\nLet an agent work for you, here Claude Code; your browser asks you what it may do:\n\n")
	fmt.Fprintf(&b, "claude mcp add --transport http --scope user carnet %[1]s/mcp\nclaude mcp login carnet\n\nOther programs: %[1]s/settings/agents\n\n", c.PublicURL)
	return b.String()
}

// fill makes the people, the organization and its work.
func (c Config) fill(ctx context.Context) error {
	if err := c.Store.Note(ctx, noteBegun); err != nil {
		return err
	}
	ids := map[string]string{}
	for _, p := range people {
		u, err := c.Account.CreateUser(ctx, account.NewUser{Email: p.email, Name: p.name, Password: password, Verified: true})
		if err != nil {
			return fmt.Errorf("create %s: %w", p.email, err)
		}
		ids[p.email] = u.ID
	}
	operators := c.Org.Operators()
	_, err := operators.CreateOrganization(ctx, org.Founding{Slug: organization, Name: "Northwind Studio", OwnerEmail: people[0].email, Plan: "enterprise"})
	if err != nil {
		return fmt.Errorf("create the organization: %w", err)
	}
	callers := map[string]access.Caller{}
	for i, p := range people {
		if i > 0 {
			if err := operators.AddMember(ctx, organization, p.email, p.role); err != nil {
				return fmt.Errorf("add %s: %w", p.email, err)
			}
		}
		if callers[p.email], err = c.signIn(ctx, p.email); err != nil {
			return err
		}
	}
	for _, p := range projects {
		if err := c.fillProject(ctx, callers, ids, p); err != nil {
			return fmt.Errorf("fill %s: %w", p.key, err)
		}
	}
	if err := c.letAgentWork(ctx, callers[people[0].email]); err != nil {
		return fmt.Errorf("let an agent work: %w", err)
	}
	for email, caller := range callers {
		if err := c.Account.SignOut(ctx, caller); err != nil {
			return fmt.Errorf("sign %s out: %w", email, err)
		}
	}
	return c.Store.Note(ctx, noteDone)
}

// letAgentWork connects an agent for a person, which leaves a task and a comment of its own.
func (c Config) letAgentWork(ctx context.Context, person access.Caller) error {
	days := 90
	issued, err := c.Tokens.Create(ctx, person, tokens.Draft{
		Name: "Claude Code on my laptop", Organization: organization, ExpiresInDays: &days, Purpose: access.Agent.String(), Client: tokens.Client{Name: "Claude Code"},
		Scopes: []string{"projects:read", "tasks:write", "comments:write"},
	})
	if err != nil {
		return fmt.Errorf("connect it: %w", err)
	}
	grant, err := c.Verify.Verify(ctx, issued.Value.Reveal(), lastuse.Origin{Client: "claude-code"})
	if err != nil {
		return fmt.Errorf("use its token: %w", err)
	}
	id, err := c.Work.ProjectID(ctx, grant.Caller, agentProject)
	if err != nil {
		return fmt.Errorf("find %s: %w", agentProject, err)
	}
	made, err := c.Work.CreateTask(ctx, grant.Caller, id, work.NewTask{TaskFields: work.TaskFields{Title: optional.Of(agentTask), Description: optional.Of(agentText)}})
	if err != nil {
		return fmt.Errorf("make a task: %w", err)
	}
	if _, err := c.Work.CreateComment(ctx, grant.Caller, made.ID, work.CommentText{Body: optional.Of(agentComment)}); err != nil {
		return fmt.Errorf("comment on it: %w", err)
	}
	return nil
}

func (c Config) fillProject(ctx context.Context, callers map[string]access.Caller, ids map[string]string, p project) error {
	lead := callers[p.lead]
	made, err := c.Work.CreateProject(ctx, lead, work.NewProject{ProjectFields: work.ProjectFields{
		Key: optional.Of(p.key), Name: optional.Of(p.name), Description: optional.Of(p.description), Status: optional.Of(p.status), Visibility: optional.Of(p.visibility),
	}})
	if err != nil {
		return fmt.Errorf("create the project: %w", err)
	}
	for email, role := range p.members {
		if _, err := c.Work.PutProjectMember(ctx, lead, made.ID, ids[email], work.NewMember{Role: optional.Of(role)}); err != nil {
			return fmt.Errorf("share it with %s: %w", email, err)
		}
	}
	today := time.Now().UTC()
	for i, t := range p.tasks {
		author := callers[p.authors[i%len(p.authors)]]
		fields := work.TaskFields{
			Title: optional.Of(t.title), Description: optional.Of(t.description), Status: optional.Of(t.status), Priority: optional.Of(t.priority),
		}
		if t.assignee != "" {
			fields.AssigneeID = optional.Of(ids[t.assignee])
		}
		if t.dueIn != 0 {
			fields.DueOn = optional.Of(today.AddDate(0, 0, t.dueIn).Format(time.DateOnly))
		}
		task, err := c.Work.CreateTask(ctx, author, made.ID, work.NewTask{TaskFields: fields})
		if err != nil {
			return fmt.Errorf("create %q: %w", t.title, err)
		}
		for j, text := range t.comments {
			writer := callers[p.authors[(i+j+1)%len(p.authors)]]
			if _, err := c.Work.CreateComment(ctx, writer, task.ID, work.CommentText{Body: optional.Of(text)}); err != nil {
				return fmt.Errorf("comment on %q: %w", t.title, err)
			}
		}
	}
	return nil
}
