package cli

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet/internal/problem"
	"carnet/token"
)

func TestEveryHelpPrintsTheExitCodes(t *testing.T) {
	t.Parallel()
	commands := [][]string{
		{}, {"login"}, {"logout"}, {"whoami"}, {"api"}, {"version"}, {"token"}, {"token", "create"}, {"token", "list"}, {"token", "show"},
		{"token", "narrow"}, {"token", "rotate"}, {"token", "revoke"}, {"token", "identify"},
	}
	for _, command := range commands {
		got := newPerson(t).run(append(command, "--help")...)
		got.expect(t, ExitDone)
		if !strings.Contains(got.out, "4    sign-in needed") || got.errors != "" {
			t.Errorf("carnet %s --help: stdout %q, stderr %q", strings.Join(command, " "), got.out, got.errors)
		}
	}
}

func TestExitCodeSaysWhatKindOfAnswerItWas(t *testing.T) {
	t.Parallel()
	for code, want := range map[problem.Code]int{
		problem.RequestMalformed: ExitRefused, problem.OrganizationRequired: ExitRefused, problem.CredentialMissing: ExitSignIn,
		problem.TokenInvalid: ExitSignIn, problem.TokenRevoked: ExitSignIn, problem.TokenExpired: ExitSignIn, problem.SessionEnded: ExitSignIn,
		problem.SignInRequired: ExitSignIn, problem.ReauthenticationNeeded: ExitSignIn, problem.TokenInert: ExitRefused,
		problem.ScopeMissing: ExitRefused, problem.RoleInsufficient: ExitRefused, problem.NotFound: ExitNotFound, problem.Conflict: ExitRefused,
		problem.VersionStale: ExitRefused, problem.TooLarge: ExitRefused, problem.ValidationFailed: ExitRefused,
		problem.RateLimited: ExitFailed, problem.VerificationUnavailable: ExitFailed, problem.Internal: ExitFailed,
	} {
		f, p := newFake(t), newPerson(t)
		p.env[tokenVariable] = token.Mint(token.Personal).Reveal()
		f.on("GET /tasks", refuse(code, "Told by the server."))
		p.run("api", "GET", "/tasks", "--url", f.URL).expect(t, want, "Told by the server. ("+string(code)+")")
		if got := ExitCode(problem.New(code, "in this process")); got != want {
			t.Errorf("%s from a feature: exit code %d, want %d", code, got, want)
		}
	}
	if got := ExitCode(errors.New("anything else")); got != ExitFailed {
		t.Errorf("another error: exit code %d", got)
	}
}

func TestWrongUsageIsTwo(t *testing.T) {
	t.Parallel()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	for _, args := range [][]string{
		{}, {"nonsense"}, {"token"}, {"token", "show"}, {"token", "show", "Reporting"}, {"token", "create", "--scope", "tasks:read"},
		{"token", "create", "--name", "n"}, {"token", "create", "--name", "n", "--scope", "s", "--no-expiry", "--expires-in-days", "3"},
		{"token", "create", "--name", "n", "--scope", "s", "--no-expiry", "--purpose", "agent"},
		{"token", "create", "--name", "n", "--scope", "s", "--expires-at", "tomorrow"},
		{"token", "create", "--name", "n", "--scope", "s", "--expires-in-days", "-3"},
		{"token", "narrow", "tok_1"}, {"token", "rotate", "tok_1", "--grace", "25h"}, {"token", "list", "--state", "dead"},
		{"api", "GET"}, {"api", "GET", "tasks"}, {"api", "GET", "//elsewhere.example/tasks"}, {"api", "GET", "https://elsewhere.example/"},
		{"api", "POST", "/tasks", "--data", "literal"}, {"api", "POST", "/tasks", "--data", "@/does/not/exist"},
		{"api", "POST", "/tasks", "--field", "nonsense"}, {"api", "POST", "/tasks", "--field", "n:=nonsense"},
		{"api", "POST", "/tasks", "--field", "a=1", "--field", "a=2"}, {"api", "POST", "/tasks", "--field", "a=1", "--data", "-"},
		{"whoami", "--url", "ftp://example.com"}, {"whoami", "--url", "https://ada:secret@example.com"}, {"login", "--url", f.URL},
	} {
		got := p.run(args...)
		got.expect(t, ExitUsage)
		if got.out != "" || got.errors == "" || strings.Contains(got.errors, "secret@") {
			t.Errorf("%q: stdout %q, stderr %q", args, got.out, got.errors)
		}
	}
	if len(f.requests("POST /tokens"))+len(f.requests("PATCH /tokens/tok_1")) != 0 {
		t.Error("a wrong command line reached the server")
	}
}

func TestSecretInTheArgumentsIsRefusedAndNotRepeated(t *testing.T) {
	t.Parallel()
	value := token.Mint(token.Personal).Reveal()
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	for _, args := range [][]string{
		{"token", "show", value}, {"token", "identify", value}, {"api", "GET", "/tasks?token=" + value}, {"nonsense", value}, {"login", "--email=" + value},
		{"api", "POST", "/tokens/identify", "--field", "value=" + value},
	} {
		got := p.run(append(args, "--url", f.URL)...)
		got.expect(t, ExitUsage, "Revoke it")
		if strings.Contains(got.out+got.errors, value) {
			t.Errorf("%q: the value was repeated", args[:1])
		}
	}
	if len(f.seen) != 0 {
		t.Errorf("the server was asked: %v", f.seen)
	}
}

func TestWhatTheServerSaysCannotDriveTheTerminal(t *testing.T) {
	t.Parallel()
	const attack = "\x1b]0;owned\x07\u009b31m\u202eevil\u2028\r\nforged"
	f, p := newFake(t), newPerson(t)
	p.signedIn(f)
	p.screen = true
	p.env[tokenVariable] = token.Mint(token.Personal).Reveal()
	object := map[string]any{"id": "tok_1", "name": attack, "organization": attack, "scopes": []string{attack}, "state": attack, "projects": nil}
	f.on("GET /tokens", answer{status: 200, body: map[string]any{"items": []any{object}}})
	f.on("GET /tokens/tok_1", answer{status: 200, body: object})
	f.on("GET /tokens/tok_1/activity", answer{status: 200, body: map[string]any{"calls_by_day": []any{map[string]any{"day": attack}}}})
	f.on("GET /text", answer{status: 200, body: attack, header: map[string]string{"Content-Type": "text/plain"}})
	f.on("GET /json", answer{status: 200, body: object})
	f.on("GET /me", answer{status: 200, body: map[string]any{"user": map[string]any{"name": attack}, "token": object}})
	f.on("GET /bad", refuse(problem.Conflict, attack))
	for _, args := range [][]string{
		{"token", "list"}, {"token", "list", "--json"}, {"token", "show", "tok_1"}, {"token", "show", "tok_1", "--json"}, {"api", "GET", "/text"},
		{"api", "GET", "/json"}, {"api", "GET", "/bad"}, {"whoami"}, {"whoami", "--json"},
	} {
		got := p.run(append(args, "--url", f.URL)...)
		forged := strings.Contains(got.out+got.errors, "\nforged") && args[len(args)-1] != "/text" // a plain text has lines of its own
		if strings.ContainsAny(got.out+got.errors, "\x1b\x07\u009b\u202e\u2028\r") || forged {
			t.Errorf("%q lets control characters through: %q %q", args, got.out, got.errors)
		}
		if !strings.Contains(got.out+got.errors, `\u001b]0;owned`) {
			t.Errorf("%q does not show them either: %q %q", args, got.out, got.errors)
		}
	}
}

func TestSessionIsKeptForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "carnet")
	s := store{dir}
	kept := session{Server: "https://carnet.example.com", Email: "ada@example.com", Value: "v1", ExpiresAt: now}
	if err := s.save(kept); err != nil {
		t.Fatal(err)
	}
	other := session{Server: "https://carnet.example.com/tenant", Value: "v2"}
	if err := s.save(other); err != nil {
		t.Fatal(err)
	}
	modes := func() {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			want := os.FileMode(0o600)
			if entry.IsDir() {
				want = 0o700
			}
			if err == nil && info.Mode().Perm() != want {
				t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
			}
			if strings.Contains(path, ".new-") {
				t.Errorf("%s was left behind", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	modes()
	if err := os.Chmod(s.path(kept.Server), 0o644); err != nil {
		t.Fatal(err)
	}
	got, ok, err := s.load(kept.Server)
	if err != nil || !ok || got != kept {
		t.Fatalf("load = %+v, %v, %v", got, ok, err)
	}
	modes()
	if err := s.forget(kept.Server); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := s.load(kept.Server); ok {
		t.Error("the session is still there")
	}
	if got, ok, _ := s.load(other.Server); !ok || got.Value != "v2" {
		t.Error("forgetting one session took another with it")
	}
	if err := os.WriteFile(s.path(other.Server), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.load(other.Server); err == nil {
		t.Error("a damaged file was accepted")
	}
}

func TestServerURLHasOneForm(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://Carnet.Example.com/": "https://carnet.example.com", "https://example.com:443": "https://example.com",
		"http://example.com:80/a/": "http://example.com/a", " http://127.0.0.1:8080 ": "http://127.0.0.1:8080", "http://[::1]:80": "http://[::1]",
		"example.com": "", "": "", "https://": "", "file:///etc": "", "https://u:p@example.com": "", "https://example.com?x": "", "mailto:x@example.com": "",
	} {
		got, err := parseServer(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("parseServer(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]bool{
		"https://example.com": false, "http://localhost:1": false, "http://127.0.0.9": false, "http://[::1]": false, "http://10.0.0.1": true, "http://example.com": true,
	} {
		if got := inTheOpen(text); got != want {
			t.Errorf("inTheOpen(%q) = %v", text, got)
		}
	}
}

func TestTimesReadAsPeopleSayThem(t *testing.T) {
	t.Parallel()
	for distance, want := range map[time.Duration]string{
		0: "in less than a minute", time.Second: "in less than a minute", -time.Second: "just now", 90 * time.Second: "in 1 minute",
		-2 * time.Hour: "2 hours ago", 36 * time.Hour: "in 1 day", 400 * 24 * time.Hour: "in 1 year", -90 * 24 * time.Hour: "90 days ago",
	} {
		if got := relative(now.Add(distance), now); got != want {
			t.Errorf("relative(%v) = %q, want %q", distance, got, want)
		}
	}
}

func TestColoursOnlyWhereTheyAreWanted(t *testing.T) {
	t.Parallel()
	plain, coloured := &Terminal{}, &Terminal{Colour: true}
	if got := plain.state("live"); got != "live" {
		t.Errorf("without colours: %q", got)
	}
	if got := coloured.state("revoked"); got != "\x1b[31mrevoked\x1b[0m" {
		t.Errorf("with colours: %q", got)
	}
}

func TestErrorsNeverCarryCredentials(t *testing.T) {
	t.Parallel()
	value := token.Mint(token.Session).Reveal()
	p := newPerson(t)
	p.env[tokenVariable] = value
	p.transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("proxy said: Bearer " + value) })
	got := p.run("api", "GET", "/tasks", "--url", "http://127.0.0.1:1")
	got.expect(t, ExitFailed, "proxy said: Bearer carnet_ses_")
	if strings.Contains(got.errors, value) {
		t.Error("the value is in the error")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
