package cli

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lifetime is the flags that say when a token ends.
type lifetime struct {
	ExpiresInDays int    `xor:"expiry" placeholder:"DAYS" help:"Let it expire after so many days."`
	ExpiresAt     string `xor:"expiry" placeholder:"TIME" help:"Let it expire at a moment: RFC 3339, or a date for its first second in UTC."`
}

// moment returns the chosen moment, nil for none.
func (l lifetime) moment(now time.Time) (*time.Time, error) {
	switch {
	case l.ExpiresInDays < 0:
		return nil, Usage("--expires-in-days must be at least 1.")
	case l.ExpiresInDays > 0:
		at := now.UTC().Truncate(time.Second).AddDate(0, 0, l.ExpiresInDays)
		return &at, nil
	case l.ExpiresAt == "":
		return nil, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, l.ExpiresAt); err == nil {
			at = at.UTC()
			return &at, nil
		}
	}
	return nil, Usage("--expires-at must be like 2027-01-31T18:00:00Z or 2027-01-31.")
}

type tokenCreate struct {
	server
	Name         string   `required:"" help:"What it is for, so that you know it later: \"Reporting script\"."`
	Organization string   `env:"CARNET_ORGANIZATION" placeholder:"SLUG" help:"The organization that it acts in. Not needed when you have one only."`
	Scope        []string `sep:"," placeholder:"SCOPE" help:"What it may do, such as tasks:read. Repeat for more."`
	For          []string `sep:"none" placeholder:"CALL" help:"A call that it must be able to make, such as \"GET /tasks\": adds the least scopes for it. Repeat for more."`
	Project      []string `sep:"," placeholder:"PROJECT" help:"Limit it to this project, by id or key. Repeat for more."`
	lifetime
	NoExpiry bool   `xor:"expiry" help:"Let it never expire: it ends only when it is revoked."`
	Purpose  string `enum:"personal,agent" default:"personal" help:"personal for scripts and CI, agent for MCP clients and the like."`
	Preview  bool   `help:"Say what the token would be able to do, and create nothing."`
	issuing
}

// issuing is the flags of the two commands that answer with a value.
type issuing struct {
	IdempotencyKey string `placeholder:"KEY" help:"Makes repeating the command safe: the same key does the same thing once. The value comes only the first time."`
	JSON           bool   `help:"Print one JSON document, with the value in it."`
}

// Help is the long help of the command.
func (tokenCreate) Help() string {
	return "Example: carnet token create --name 'Reporting script' --for 'GET /tasks' --project WEB --expires-in-days 30 > token.txt\n\n" +
		"Without an expiry a personal token lasts until it is revoked, and an agent's for 90 days."
}

// Run creates a token.
func (n tokenCreate) Run(ctx context.Context, t *Terminal) error {
	c, _, err := n.withSession(t)
	if err != nil {
		return err
	}
	body, err := n.draft(ctx, t, c)
	if err != nil {
		return err
	}
	if n.Preview {
		return preview(ctx, t, c, body, n.JSON)
	}
	return n.issue(ctx, t, c, "/tokens", body, "created")
}

// draft returns the body of the request.
func (n tokenCreate) draft(ctx context.Context, t *Terminal, c *client) (map[string]any, error) {
	if n.NoExpiry && n.Purpose == "agent" {
		return nil, Usage("An agent's token always expires. Choose --expires-in-days or --expires-at; without, it lasts 90 days.")
	}
	at, err := n.moment(t.Now())
	if err != nil {
		return nil, err
	}
	scopes, err := n.scopes(ctx, t, c)
	if err != nil {
		return nil, err
	}
	slug := n.Organization
	if slug == "" {
		if slug, err = onlyOrganization(ctx, c); err != nil {
			return nil, err
		}
	}
	body := map[string]any{"name": n.Name, "organization": slug, "scopes": scopes, "purpose": n.Purpose}
	if len(n.Project) > 0 {
		if body["projects"], err = projectIDs(ctx, c, slug, n.Project); err != nil {
			return nil, err
		}
	}
	switch {
	case n.ExpiresInDays > 0:
		body["expires_in_days"] = n.ExpiresInDays // the server's clock counts, not ours
	case at != nil:
		body["expires_at"] = at
	}
	return body, nil
}

// scopes returns those that were named and those that the calls need.
func (n tokenCreate) scopes(ctx context.Context, t *Terminal, c *client) ([]string, error) {
	scopes := slices.Clone(n.Scope)
	if len(n.For) > 0 {
		operations, err := c.readOperations(ctx)
		if err != nil {
			return nil, err
		}
		needed, err := leastScopes(operations, n.For)
		if err != nil {
			return nil, err
		}
		t.note("Least scopes for %s: %s.", strings.Join(n.For, ", "), listed(needed))
		scopes = reduce(append(scopes, needed...))
	}
	switch {
	case len(scopes) > 0:
		return scopes, nil
	case len(n.For) > 0:
		return nil, Usage("Any token can make these calls, but a token has at least one scope. Name one with --scope.")
	default:
		return nil, Usage("What may it do? Name scopes with --scope, or the calls that it makes with --for.")
	}
}

// onlyOrganization returns the slug of the person's organization when there is just one.
func onlyOrganization(ctx context.Context, c *client) (string, error) {
	organizations, err := listOf[organization](ctx, c, call{method: http.MethodGet, path: "/organizations"})
	if err != nil {
		return "", err
	}
	if len(organizations) == 1 {
		return organizations[0].Slug, nil
	}
	slugs := make([]string, len(organizations))
	for i, o := range organizations {
		slugs[i] = o.Slug
	}
	return "", &Failure{Exit: ExitUsage, Message: "In which organization? Give --organization.", Hints: []string{"Yours: " + listed(slugs) + "."}}
}

// projectIDs returns the ids of projects that are named by id or by key.
func projectIDs(ctx context.Context, c *client, slug string, names []string) ([]string, error) {
	var keys map[string]string
	ids := make([]string, len(names))
	for i, name := range names {
		if strings.HasPrefix(name, "prj_") {
			ids[i] = name
			continue
		}
		if keys == nil {
			projects, err := listOf[project](ctx, c, call{method: http.MethodGet, path: "/projects", organization: slug})
			if err != nil {
				return nil, err
			}
			keys = map[string]string{}
			for _, p := range projects {
				keys[p.Key] = p.ID
			}
		}
		id, ok := keys[strings.ToUpper(name)]
		if !ok {
			return nil, &Failure{Exit: ExitNotFound, Message: "There is no project " + name + " that you can see in " + slug + "."}
		}
		ids[i] = id
	}
	return ids, nil
}

// preview prints what a token made from the draft would be able to do.
func preview(ctx context.Context, t *Terminal, c *client, draft map[string]any, asJSON bool) error {
	var answer rawJSON[struct {
		Sentence   string   `json:"sentence"`
		NotCovered []string `json:"not_covered"`
	}]
	if err := c.do(ctx, call{method: http.MethodPost, path: "/tokens/preview", body: draft}, &answer); err != nil {
		return err
	}
	if asJSON {
		return t.printJSON(answer.text)
	}
	if len(answer.value.NotCovered) > 0 {
		t.note("Your role does not cover: %s. Creating it would be refused.", listed(answer.value.NotCovered))
	}
	return t.print(printable(answer.value.Sentence) + "\n")
}

// issue makes the call that answers with a new value, and prints the value alone on standard output. The call carries
// an idempotency key, so that it can be repeated when its answer is lost; the value is then lost, too, since it exists
// nowhere else.
func (i issuing) issue(ctx context.Context, t *Terminal, c *client, path string, body any, done string) error {
	key := i.IdempotencyKey
	if key == "" {
		key = rand.Text()
	}
	var answer rawJSON[struct {
		Token tokenObject `json:"token"`
		Value *string     `json:"value"`
	}]
	if err := c.do(ctx, call{method: http.MethodPost, path: path, key: key, body: body}, &answer); err != nil {
		return err
	}
	o := answer.value.Token
	if answer.value.Value == nil {
		return &Failure{
			Exit:    ExitFailed,
			Message: "The token “" + o.Name + "” was " + done + " before, but its value was shown only in the first answer, and is stored nowhere.",
			Hints:   []string{"Give it a new one: carnet token rotate " + o.ID},
		}
	}
	if i.JSON {
		return t.printJSON(answer.text)
	}
	if _, err := t.Err.Write([]byte(describe(ctx, t, c, o))); err != nil {
		return err
	}
	t.note("The value follows, and will not be shown again.")
	return t.print(printable(*answer.value.Value) + "\n")
}

type tokenRotate struct {
	server
	named
	Grace time.Duration `default:"0s" placeholder:"TIME" help:"How long the old value keeps working, up to 24h; by default it ends at once."`
	issuing
}

// Run gives a token a new value.
func (r tokenRotate) Run(ctx context.Context, t *Terminal) error {
	if r.Grace < 0 || r.Grace > 24*time.Hour || r.Grace%time.Second != 0 {
		return Usage("--grace must be whole seconds, from 0s to 24h.")
	}
	c, _, err := r.withSession(t)
	if err != nil {
		return err
	}
	id, err := r.id(ctx, c)
	if err != nil {
		return err
	}
	body := map[string]any{"grace_seconds": int(r.Grace / time.Second)}
	return r.issue(ctx, t, c, tokenPath(id)+"/rotate", body, "rotated")
}

type tokenNarrow struct {
	server
	named
	Name    string   `help:"Its new name."`
	Scope   []string `sep:"," placeholder:"SCOPE" help:"The scopes that it keeps; x:read in place of x:write is fine. Repeat for more."`
	Project []string `sep:"," placeholder:"PROJECT" help:"The projects that it keeps, by id or key. Repeat for more."`
	lifetime
	JSON bool `help:"Print one JSON document."`
}

// Run takes something away from a token.
func (n tokenNarrow) Run(ctx context.Context, t *Terminal) error {
	at, err := n.moment(t.Now())
	if err != nil {
		return err
	}
	if n.Name == "" && len(n.Scope) == 0 && len(n.Project) == 0 && at == nil {
		return Usage("What should change? Give --scope, --project, --expires-at, --expires-in-days or --name.")
	}
	c, _, err := n.withSession(t)
	if err != nil {
		return err
	}
	before, err := n.load(ctx, c)
	if err != nil {
		return err
	}
	changes := map[string]any{}
	if n.Name != "" {
		changes["name"] = n.Name
	}
	if len(n.Scope) > 0 {
		changes["scopes"] = n.Scope
	}
	if at != nil {
		changes["expires_at"] = at
	}
	if len(n.Project) > 0 {
		if changes["projects"], err = projectIDs(ctx, c, before.value.Organization, n.Project); err != nil {
			return err
		}
	}
	var after rawJSON[tokenObject]
	if err := c.do(ctx, call{method: http.MethodPatch, path: tokenPath(before.value.ID), key: rand.Text(), body: changes}, &after); err != nil {
		return err
	}
	if n.JSON {
		return t.printJSON(after.text)
	}
	return t.print(describe(ctx, t, c, after.value))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func count(n int64) string { return strconv.FormatInt(n, 10) }
