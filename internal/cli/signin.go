package cli

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

const localServer = "http://127.0.0.1:8080"

type loginCommand struct {
	server
	Email string `env:"CARNET_EMAIL" placeholder:"ADDRESS" help:"Your e-mail address; asked for when it is missing."`
}

// Help is the long help of the command.
func (loginCommand) Help() string {
	return "The password is asked for without echo. Where standard input is not a terminal, its first line is the password. " +
		"The session is kept in your config folder, readable by you alone."
}

// Run signs the person in and keeps the session. An older session at the same server is ended: nothing would use it.
func (l loginCommand) Run(ctx context.Context, t *Terminal) error {
	server, email, password, err := l.gather(ctx, t)
	if err != nil {
		return err
	}
	c := newClient(t, server)
	var answer struct {
		User struct {
			Name  string `json:"name"`
			Email string `json:"email"`
		} `json:"user"`
		Session struct {
			ID        string    `json:"id"`
			ExpiresAt time.Time `json:"expires_at"`
			Value     string    `json:"value"`
		} `json:"session"`
		SecondFactorRequired bool   `json:"second_factor_required"`
		Device               string `json:"device"`
	}
	sessions := store{t.ConfigDir}
	body := map[string]string{"email": email, "password": password, "as": "bearer"}
	if device := sessions.device(server); device != "" {
		body["device"] = device
	}
	if err := c.do(ctx, call{method: http.MethodPost, path: "/auth/sign-in", body: body}, &answer); err != nil {
		return err
	}
	if answer.Session.Value == "" {
		return &Failure{Exit: ExitFailed, Message: "What answers at " + server + " does not seem to be a Carnet server: it gave no session."}
	}
	c.credential = answer.Session.Value
	if answer.SecondFactorRequired {
		if err := secondFactor(ctx, t, c); err != nil {
			return err
		}
	}
	kept := session{Server: server, Email: email, ID: answer.Session.ID, ExpiresAt: answer.Session.ExpiresAt, Value: answer.Session.Value}
	if answer.User.Email != "" {
		kept.Email = answer.User.Email
	}
	before, had, err := sessions.load(server)
	if err := sessions.save(kept); err != nil {
		_ = signOut(ctx, c) // nobody can use a session that could not be kept
		return err
	}
	if answer.Device != "" {
		_ = sessions.keepDevice(server, answer.Device) // without it, strangers' wrong guesses slow this machine, too
	}
	if had && err == nil {
		c.credential = before.Value
		_ = signOut(ctx, c) // it may have ended long ago
	}
	t.note("Signed in to %s as %s until %s.", server, kept.Email, moment(kept.ExpiresAt, t.Now()))
	return nil
}

// gather collects where to sign in, as whom, and the password.
func (l loginCommand) gather(ctx context.Context, t *Terminal) (server, email, password string, err error) {
	server, email = l.URL, l.Email
	if server == "" && t.Interactive {
		fallback := (store{t.ConfigDir}).lastServer()
		if fallback == "" {
			fallback = localServer
		}
		if server, err = t.ask("Server", fallback); err != nil {
			return "", "", "", err
		}
		l.URL = server
	}
	if server, err = l.resolve(t); err != nil {
		return "", "", "", err
	}
	if inTheOpen(server) {
		t.note("Warning: %s is not encrypted. Your password can be read on the way.", server)
	}
	if email == "" && t.Interactive {
		if email, err = t.ask("E-mail", ""); err != nil {
			return "", "", "", err
		}
	}
	if email == "" {
		return "", "", "", Usage("Whose sign-in? Give --email or CARNET_EMAIL.")
	}
	if t.Interactive {
		password, err = t.askSecret(ctx, "Password")
	} else {
		password, err = t.line()
	}
	if err == nil && password == "" {
		err = Usage("The password is empty.")
	}
	return server, email, password, err
}

func secondFactor(ctx context.Context, t *Terminal, c *client) error {
	if !t.Interactive {
		_ = signOut(ctx, c)
		return &Failure{Exit: ExitSignIn, Message: "This account has a second factor: sign in from a terminal."}
	}
	code, err := t.askSecret(ctx, "Code from your second factor")
	if err != nil {
		return err
	}
	body := map[string]string{"code": strings.TrimSpace(code)}
	return c.do(ctx, call{method: http.MethodPost, path: "/auth/second-factor", body: body}, nil)
}

type logoutCommand struct {
	server
}

// Run ends the session at the server and forgets it. It forgets it also when the server cannot be told, and says so.
func (l logoutCommand) Run(ctx context.Context, t *Terminal) error {
	server, err := l.resolve(t)
	if err != nil {
		return err
	}
	sessions := store{t.ConfigDir}
	kept, ok, err := sessions.load(server)
	if err != nil {
		return err
	}
	if !ok {
		t.note("You are not signed in to %s.", server)
		return nil
	}
	c := newClient(t, server)
	c.credential = kept.Value
	ending := signOut(ctx, c)
	if err := sessions.forget(server); err != nil {
		return errors.Join(err, ending)
	}
	if ending != nil {
		t.note("The session was forgotten here, but the server could not be told: it lasts there until %s, or until you end it on the pages.",
			moment(kept.ExpiresAt, t.Now()))
		return ending
	}
	t.note("Signed out of %s. Your tokens keep working.", server)
	return nil
}

// signOut ends the client's session at the server. One that is over already is fine.
func signOut(ctx context.Context, c *client) error {
	err := c.do(ctx, call{method: http.MethodPost, path: "/auth/sign-out"}, nil)
	var answer *refusal
	if errors.As(err, &answer) && answer.Status == http.StatusUnauthorized {
		return nil
	}
	return err
}

type whoamiCommand struct {
	server
	JSON bool `help:"Print one JSON document."`
}

// Run shows who is calling: for a token what it may do, for a session the person and their organizations.
func (w whoamiCommand) Run(ctx context.Context, t *Terminal) error {
	c, from, err := w.withAny(t)
	if err != nil {
		return err
	}
	if from.token {
		return w.token(ctx, t, c, from)
	}
	var account map[string]any
	if err := c.do(ctx, call{method: http.MethodGet, path: "/account"}, &account); err != nil {
		return err
	}
	organizations, err := listOf[organization](ctx, c, call{method: http.MethodGet, path: "/organizations"})
	if err != nil {
		return err
	}
	if w.JSON {
		return t.printJSON(map[string]any{"server": c.server, "credential": "session", "account": account, "organizations": organizations})
	}
	t.note("At %s with %s.", c.server, from.words)
	if user, nested := account["user"].(map[string]any); nested {
		account = user
	}
	name, _ := account["name"].(string)
	email, _ := account["email"].(string)
	if err := t.details([][2]string{{"Name", name}, {"E-mail", email}}); err != nil {
		return err
	}
	rows := make([][]string, len(organizations))
	for i, o := range organizations {
		rows[i] = []string{o.Slug, o.Name, o.Role, o.Plan}
	}
	if len(rows) == 0 {
		return t.print("You belong to no organization.\n")
	}
	return t.table([]string{"ORGANIZATION", "NAME", "YOUR ROLE", "PLAN"}, rows)
}

type organization struct {
	Slug string `json:"slug"`
	Name string `json:"name"`
	Role string `json:"role"`
	Plan string `json:"plan"`
}

// me is the answer of GET /me to a token.
type me struct {
	User struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	} `json:"user"`
	Organization organization `json:"organization"`
	Role         string       `json:"role"`
	Token        tokenObject  `json:"token"`
	Permissions  struct {
		Organization []string `json:"organization"`
		Projects     []struct {
			ID          string   `json:"id"`
			Key         string   `json:"key"`
			Name        string   `json:"name"`
			Role        string   `json:"role"`
			Permissions []string `json:"permissions"`
		} `json:"projects"`
		ProjectsTotal int `json:"projects_total"`
	} `json:"permissions"`
}

// projectNames returns the keys of the projects that the token is limited to; one that the token sees no more appears
// by its id.
func (m me) projectNames() []string {
	keys := map[string]string{}
	for _, p := range m.Permissions.Projects {
		keys[p.ID] = p.Key
	}
	return namesOf(m.Token.Projects, keys)
}

func (w whoamiCommand) token(ctx context.Context, t *Terminal, c *client, from origin) error {
	var raw rawJSON[me]
	if err := c.do(ctx, call{method: http.MethodGet, path: "/me"}, &raw); err != nil {
		return err
	}
	if w.JSON {
		return t.printJSON(raw.text)
	}
	t.note("At %s with %s.", c.server, from.words)
	m := raw.value
	if err := t.details([][2]string{
		{"Acts as", m.User.Name + " <" + m.User.Email + ">"},
		{"Organization", m.Organization.Slug + " (" + m.Organization.Name + ")"},
		{"Role there", m.Role},
		{"Token", m.Token.Name},
		{"Scopes", listed(m.Token.Scopes)},
		{"Projects", restriction(m.Token.Projects, m.projectNames())},
		{"Expires", expiry(m.Token.ExpiresAt, t.Now())},
		{"May there", listed(m.Permissions.Organization)},
	}); err != nil {
		return err
	}
	rows := make([][]string, len(m.Permissions.Projects))
	for i, p := range m.Permissions.Projects {
		rows[i] = []string{p.Key, p.Name, p.Role, listed(p.Permissions)}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := t.table([]string{"PROJECT", "NAME", "ROLE", "MAY"}, rows); err != nil {
		return err
	}
	if more := m.Permissions.ProjectsTotal - len(rows); more > 0 {
		t.note("And %d more projects.", more)
	}
	return nil
}

// explainAbsence adds to a 404 what the token is limited to: the commonest reason for one is that the token cannot see
// what its person can.
func explainAbsence(ctx context.Context, c *client, err error) {
	var answer *refusal
	if !errors.As(err, &answer) || answer.Status != http.StatusNotFound {
		return
	}
	var m me
	if c.do(ctx, call{method: http.MethodGet, path: "/me"}, &m) != nil || m.Organization.Slug == "" {
		return
	}
	limits := "This token acts in the organization " + m.Organization.Slug
	if m.Token.Projects == nil {
		limits += ", in every project that " + m.User.Name + " sees there."
	} else {
		limits += ", limited to the projects " + listed(m.projectNames()) + "."
	}
	answer.Hints = append(answer.Hints, limits+" What lies outside looks absent.")
}
