package cli

import (
	"context"
	"net/http"
	"strings"

	"carnet/internal/problem"
)

// tokenVariable is where a token comes from.
const tokenVariable = "CARNET_TOKEN"

// server is the flag that names the server, for every command that talks to one.
type server struct {
	URL string `name:"url" env:"CARNET_URL" placeholder:"URL" help:"The server's address; by default the one that you signed in to last."`
}

// resolve returns the server to talk to.
func (s server) resolve(t *Terminal) (string, error) {
	if s.URL != "" {
		return parseServer(s.URL)
	}
	if last := (store{t.ConfigDir}).lastServer(); last != "" {
		return parseServer(last)
	}
	return "", &Failure{
		Exit: ExitUsage, Message: "Which server?",
		Hints: []string{"Sign in to one with carnet login, or name it with --url or CARNET_URL."},
	}
}

// origin says which credential a client uses, for people.
type origin struct {
	token bool   // the token from the environment; else the session
	words string // such as "the session of ada@example.com"
}

// withAny returns a client with the token from the environment or else the session at the server.
func (s server) withAny(t *Terminal) (*client, origin, error) {
	server, err := s.resolve(t)
	if err != nil {
		return nil, origin{}, err
	}
	value, err := tokenFromEnvironment(t)
	if err != nil {
		return nil, origin{}, err
	}
	if value == "" {
		c, kept, err := s.withSession(t)
		return c, origin{words: "the session of " + kept.Email}, err
	}
	c := newClient(t, server)
	c.credential = value
	words := "the token in " + tokenVariable
	if prefix, isOne := prefixOf(value); isOne {
		words += " (" + prefix + ")"
	}
	return c, origin{token: true, words: words}, nil
}

// tokenFromEnvironment returns the token in the environment, "" when there is none. Whether it is a good one is for the
// server to say; what no header can carry is not sent.
func tokenFromEnvironment(t *Terminal) (string, error) {
	value := strings.TrimSpace(t.Getenv(tokenVariable))
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &Failure{Exit: ExitSignIn, Message: "What " + tokenVariable + " holds is not a token. Was it copied whole, and nothing else?"}
	}
	return value, nil
}

// withSession returns a client with the session at the server. It never uses a token: what it is for needs a sign-in.
func (s server) withSession(t *Terminal) (*client, session, error) {
	server, err := s.resolve(t)
	if err != nil {
		return nil, session{}, err
	}
	kept, ok, err := store{t.ConfigDir}.load(server)
	if err != nil {
		return nil, session{}, err
	}
	if !ok {
		failure := &Failure{Exit: ExitSignIn, Message: "You are not signed in to " + server + ".", Hints: []string{"Sign in with carnet login."}}
		if t.Getenv(tokenVariable) != "" {
			failure.Hints = append(failure.Hints, "The token in "+tokenVariable+" is of no use here: this needs a person's sign-in.")
		}
		return nil, session{}, failure
	}
	c := newClient(t, server)
	c.credential = kept.Value
	if t.Interactive {
		c.reauthenticate = func(ctx context.Context) error { return reauthenticate(ctx, t, c, kept.Email) }
	}
	return c, kept, nil
}

// reauthenticate asks for the password again, three times at most.
func reauthenticate(ctx context.Context, t *Terminal, c *client, email string) error {
	t.note("This needs a fresh sign-in of %s.", email)
	for tries := 3; ; tries-- {
		password, err := t.askSecret(ctx, "Password")
		if err != nil {
			return err
		}
		body := map[string]string{"password": password}
		// Delivered rather than done: a refusal here must not ask for a sign-in in its turn.
		again := *c
		again.reauthenticate = nil
		err = again.do(ctx, call{method: http.MethodPost, path: "/auth/reauthenticate", body: body}, nil)
		if wrong, is := isRefusal(err, problem.CredentialsWrong); is && tries > 1 {
			t.note("%s", wrong.Document.Detail)
			continue
		}
		return err
	}
}
