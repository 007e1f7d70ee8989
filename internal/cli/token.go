package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"carnet/token"
)

// tokenCommands are the commands about tokens. All of them need a sign-in: tokens cannot manage tokens.
type tokenCommands struct {
	Create   tokenCreate   `cmd:"" help:"Create a token. Its value alone goes to standard output, this once."`
	List     tokenList     `cmd:"" help:"List your tokens in all organizations."`
	Show     tokenShow     `cmd:"" help:"Show a token: what it may do, where, until when, and its use."`
	Narrow   tokenNarrow   `cmd:"" help:"Take something away from a token: scopes, projects, time. Nothing can be added."`
	Rotate   tokenRotate   `cmd:"" help:"Give a token a new value. The value alone goes to standard output, this once."`
	Revoke   tokenRevoke   `cmd:"" help:"End a token. When the command returns, no request with it is accepted any more."`
	Identify tokenIdentify `cmd:"" help:"Find which of your tokens a value or prefix on standard input belongs to."`
}

// tokenObject is a token as the API describes it.
type tokenObject struct {
	ID             string     `json:"id"`
	Name           string     `json:"name"`
	Purpose        string     `json:"purpose"`
	Prefix         string     `json:"prefix"`
	Organization   string     `json:"organization"`
	Role           *string    `json:"role"`
	Scopes         []string   `json:"scopes"`
	Projects       []string   `json:"projects"` // nil: not restricted
	CreatedAt      time.Time  `json:"created_at"`
	CreatedFrom    string     `json:"created_from"`
	ExpiresAt      *time.Time `json:"expires_at"`
	LastUsedAt     *time.Time `json:"last_used_at"`
	LastUsedIP     *string    `json:"last_used_ip"`
	LastUsedClient *string    `json:"last_used_client"`
	State          string     `json:"state"`
	RevokedAt      *time.Time `json:"revoked_at"`
}

// named is the argument that names one of the person's tokens.
type named struct {
	Token string `arg:"" help:"The token's id (tok_…) or prefix (carnet_pat_…), never its value."`
}

// id returns the token's id. A prefix is looked up.
func (n named) id(ctx context.Context, c *client) (string, error) {
	if _, _, err := token.ParsePrefix(n.Token); err == nil {
		var found tokenObject
		err := c.do(ctx, call{method: http.MethodPost, path: "/tokens/identify", body: map[string]string{"prefix": n.Token}}, &found)
		return found.ID, err
	}
	if !strings.HasPrefix(n.Token, "tok_") {
		return "", Usage("A token is named by its id (tok_…) or its prefix (carnet_pat_… or carnet_agt_…). carnet token list shows both.")
	}
	return n.Token, nil
}

func tokenPath(id string) string { return "/tokens/" + url.PathEscape(id) }

// load reads the token that n names.
func (n named) load(ctx context.Context, c *client) (rawJSON[tokenObject], error) {
	var found rawJSON[tokenObject]
	id, err := n.id(ctx, c)
	if err != nil {
		return found, err
	}
	err = c.do(ctx, call{method: http.MethodGet, path: tokenPath(id)}, &found)
	return found, err
}

// prefixOf returns the prefix of a token's value; ok is false for other text.
func prefixOf(value string) (prefix string, ok bool) {
	parsed, err := token.Parse(value)
	if err != nil {
		return "", false
	}
	return parsed.Prefix(), true
}

type tokenList struct {
	server
	Organization string `env:"CARNET_ORGANIZATION" placeholder:"SLUG" help:"Only tokens of this organization."`
	Purpose      string `enum:"personal,agent," default:"" help:"Only tokens of this purpose: personal or agent."`
	State        string `enum:"live,expired,revoked,inert,paused," default:"" help:"Only tokens in this state: live, expired, revoked, inert or paused."`
	JSON         bool   `help:"Print one JSON document."`
}

// Run lists the person's tokens.
func (l tokenList) Run(ctx context.Context, t *Terminal) error {
	c, _, err := l.withSession(t)
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range map[string]string{"organization": l.Organization, "purpose": l.Purpose, "state": l.State} {
		if value != "" {
			query.Set(name, value)
		}
	}
	items, err := listOf[rawJSON[tokenObject]](ctx, c, call{method: http.MethodGet, path: "/tokens", query: query})
	if err != nil {
		return err
	}
	if l.JSON {
		texts := make([]json.RawMessage, len(items))
		for i, item := range items {
			texts[i] = item.text
		}
		return t.printJSON(map[string]any{"items": texts})
	}
	if len(items) == 0 {
		t.note("No tokens. Create one with carnet token create.")
		return nil
	}
	rows := make([][]string, len(items))
	for i, item := range items {
		o := item.value
		projects := "all"
		if o.Projects != nil {
			projects = plural(len(o.Projects), "project")
		}
		rows[i] = []string{
			o.Name, o.ID, o.Prefix, o.Organization, strings.Join(o.Scopes, " "), projects,
			relativeOr(o.ExpiresAt, t.Now(), "never"), relativeOr(o.LastUsedAt, t.Now(), "never"), o.State,
		}
	}
	return t.table([]string{"NAME", "ID", "PREFIX", "ORGANIZATION", "SCOPES", "PROJECTS", "EXPIRES", "LAST USED", "STATE"}, rows)
}

type tokenShow struct {
	server
	named
	JSON bool `help:"Print one JSON document."`
}

// Run shows one token.
func (s tokenShow) Run(ctx context.Context, t *Terminal) error {
	c, _, err := s.withSession(t)
	if err != nil {
		return err
	}
	found, err := s.load(ctx, c)
	if err != nil {
		return err
	}
	if s.JSON {
		return t.printJSON(found.text)
	}
	if err := t.print(describe(ctx, t, c, found.value)); err != nil {
		return err
	}
	return showActivity(ctx, t, c, found.value.ID)
}

// describe returns a token for people, with the keys of its projects where the person still sees them.
func describe(ctx context.Context, t *Terminal, c *client, o tokenObject) string {
	role := "none: you are not a member now"
	if o.Role != nil {
		role = *o.Role
	}
	used := "never"
	if o.LastUsedAt != nil {
		used = moment(*o.LastUsedAt, t.Now())
		if o.LastUsedIP != nil && *o.LastUsedIP != "" {
			used += " from " + *o.LastUsedIP
		}
		if o.LastUsedClient != nil && *o.LastUsedClient != "" {
			used += " by " + *o.LastUsedClient
		}
	}
	created := moment(o.CreatedAt, t.Now())
	if o.CreatedFrom != "" {
		created += " from " + o.CreatedFrom
	}
	revoked := ""
	if o.RevokedAt != nil {
		revoked = moment(*o.RevokedAt, t.Now())
	}
	return t.detailed([][2]string{
		{"Name", o.Name},
		{"Id", o.ID},
		{"Prefix", o.Prefix},
		{"Purpose", o.Purpose},
		{"Organization", o.Organization},
		{"Your role", role},
		{"Scopes", listed(o.Scopes)},
		{"Projects", restriction(o.Projects, projectNames(ctx, c, o))},
		{"Created", created},
		{"Expires", expiry(o.ExpiresAt, t.Now())},
		{"Last used", used},
		{"Revoked", revoked},
		{"State", o.State},
	})
}

// projectNames returns the keys of the token's projects. The ids do where the keys cannot be had: after leaving the
// organization, for example.
func projectNames(ctx context.Context, c *client, o tokenObject) []string {
	if len(o.Projects) == 0 {
		return nil
	}
	projects, _ := listOf[project](ctx, c, call{method: http.MethodGet, path: "/projects", organization: o.Organization})
	keys := map[string]string{}
	for _, p := range projects {
		keys[p.ID] = p.Key
	}
	return namesOf(o.Projects, keys)
}

type project struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

// showActivity prints how a token was used, by day, and what was refused because it came with a replaced value.
func showActivity(ctx context.Context, t *Terminal, c *client, id string) error {
	var activity struct {
		CallsByDay []struct {
			Day   string `json:"day"`
			Calls int64  `json:"calls"`
		} `json:"calls_by_day"`
		LateUses []struct {
			Prefix     string    `json:"prefix"`
			LastUsedAt time.Time `json:"last_used_at"`
			IP         string    `json:"last_used_ip"`
		} `json:"late_uses"`
	}
	if err := c.do(ctx, call{method: http.MethodGet, path: tokenPath(id) + "/activity"}, &activity); err != nil {
		return err
	}
	for _, late := range activity.LateUses {
		t.note("An old value (%s) was tried %s from %s, and refused.", late.Prefix, relative(late.LastUsedAt, t.Now()), late.IP)
	}
	if len(activity.CallsByDay) == 0 {
		return nil
	}
	rows := make([][]string, len(activity.CallsByDay))
	for i, day := range activity.CallsByDay {
		rows[i] = []string{day.Day, count(day.Calls)}
	}
	if err := t.print("\n"); err != nil {
		return err
	}
	return t.table([]string{"DAY", "CALLS"}, rows)
}

type tokenIdentify struct {
	server
	JSON bool `help:"Print one JSON document."`
}

// Help is the long help of the command.
func (tokenIdentify) Help() string {
	return "Reads one line from standard input, for example: carnet token identify < leaked.txt. Old prefixes of rotated tokens are " +
		"known, too. The value is sent to the server in the body of a request and stored nowhere."
}

// Run finds out which of the person's tokens a value or prefix belongs to.
func (i tokenIdentify) Run(ctx context.Context, t *Terminal) error {
	c, _, err := i.withSession(t)
	if err != nil {
		return err
	}
	var text string
	if t.Interactive {
		text, err = t.askSecret(ctx, "Value or prefix")
	} else {
		text, err = t.line()
	}
	if err != nil {
		return err
	}
	text = strings.TrimSpace(text)
	body := map[string]string{}
	if _, isValue := prefixOf(text); isValue {
		body["value"] = text
	} else if _, _, err := token.ParsePrefix(text); err == nil {
		body["prefix"] = text
	} else {
		return Usage("That is neither the value nor the prefix of a Carnet token. Was it copied whole, and nothing else?")
	}
	var found rawJSON[tokenObject]
	if err := c.do(ctx, call{method: http.MethodPost, path: "/tokens/identify", body: body}, &found); err != nil {
		return err
	}
	if i.JSON {
		return t.printJSON(found.text)
	}
	if found.value.State != "revoked" {
		t.note("It is yours. To end it: carnet token revoke %s", found.value.ID)
	}
	return t.print(describe(ctx, t, c, found.value))
}

type tokenRevoke struct {
	server
	named
	Yes  bool `short:"y" help:"Do not ask."`
	JSON bool `help:"Print one JSON document."`
}

// Run ends a token. A person at a terminal is asked once, and told what will stop.
func (r tokenRevoke) Run(ctx context.Context, t *Terminal) error {
	c, _, err := r.withSession(t)
	if err != nil {
		return err
	}
	id, err := r.id(ctx, c)
	if err != nil {
		return err
	}
	if t.Interactive && !r.Yes {
		if err := confirmRevocation(ctx, t, c, id); err != nil {
			return err
		}
	}
	var receipt rawJSON[struct {
		Token     tokenObject `json:"token"`
		RevokedAt time.Time   `json:"revoked_at"`
		TookMS    float64     `json:"took_ms"`
	}]
	if err := c.do(ctx, call{method: http.MethodDelete, path: tokenPath(id)}, &receipt); err != nil {
		return err
	}
	if r.JSON {
		return t.printJSON(receipt.text)
	}
	v := receipt.value
	t.note("Revoked “%s” (%s) at %s, in %.3g ms. It is refused everywhere from now on.",
		v.Token.Name, v.Token.Prefix, v.RevokedAt.UTC().Format(time.RFC3339Nano), v.TookMS)
	return nil
}

func confirmRevocation(ctx context.Context, t *Terminal, c *client, id string) error {
	var o tokenObject
	if err := c.do(ctx, call{method: http.MethodGet, path: tokenPath(id)}, &o); err != nil {
		return err
	}
	t.note("“%s” (%s) in %s, last used %s. What uses it will stop working, for good.",
		o.Name, o.Prefix, o.Organization, relativeOr(o.LastUsedAt, t.Now(), "never"))
	answer, err := t.ask("Revoke it? [y/N]", "")
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return &Failure{Exit: ExitFailed, Message: "Nothing was revoked."}
	}
	return nil
}
