package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"
)

type apiCommand struct {
	server
	Method         string   `arg:"" help:"GET, POST, PATCH, PUT or DELETE."`
	Path           string   `arg:"" help:"What to call, below /api/v1: /tasks, or \"/tasks?status=done\"."`
	Data           string   `xor:"body" placeholder:"@FILE" help:"Send this file as the body; - for standard input."`
	Field          []string `xor:"body" sep:"none" short:"f" placeholder:"K=V" help:"Send a field: name=text, or name:=JSON for numbers, lists and null. Repeat for more. For GET and DELETE it goes into the query."`
	Organization   string   `env:"CARNET_ORGANIZATION" placeholder:"SLUG" help:"Where to act. Needed with a session on the work API; a token has its own."`
	IfMatch        string   `placeholder:"ETAG" help:"Change only this version: the ETag of an earlier answer."`
	IdempotencyKey string   `placeholder:"KEY" help:"Makes repeating the call safe: the same key does the same thing once."`
}

// Help is the long help of the command.
func (apiCommand) Help() string {
	return "Uses the token in CARNET_TOKEN, else your session, and says on standard error which. The body of the answer goes to " +
		"standard output, a refusal's too; the exit code tells them apart.\n\n" +
		"Example: carnet api POST /projects/prj_01h…/tasks --field title='Write the report' --field priority=high"
}

// Run makes the call and prints the answer.
func (a apiCommand) Run(ctx context.Context, t *Terminal) error {
	in, err := a.call(t)
	if err != nil {
		return err
	}
	c, from, err := a.withAny(t)
	if err != nil {
		return err
	}
	t.note("Using %s.", from.words)
	response, err := c.send(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode < 300 {
		return t.pass(response.Body, c.server)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return unreachable(c.server, err)
	}
	refusal := refused(response, text)
	if from.token {
		explainAbsence(ctx, c, refusal)
	}
	return errors.Join(t.pass(strings.NewReader(string(text)), c.server), refusal)
}

// call makes a request of the arguments.
func (a apiCommand) call(t *Terminal) (call, error) {
	in := call{
		method: strings.ToUpper(a.Method), path: strings.TrimPrefix(a.Path, apiBase),
		organization: a.Organization, ifMatch: a.IfMatch, key: a.IdempotencyKey,
	}
	// The credential goes to the server that was chosen and nowhere else, so a path must be nothing but a path.
	u, err := url.Parse(in.path)
	if err != nil || !strings.HasPrefix(in.path, "/") || strings.HasPrefix(in.path, "//") || u.Fragment != "" {
		return call{}, Usage("The path must begin with one slash and lie below /api/v1, such as /tasks.")
	}
	switch {
	case a.Data != "":
		in.body, err = t.readData(a.Data)
	case len(a.Field) > 0 && (in.method == http.MethodGet || in.method == http.MethodDelete || in.method == http.MethodHead):
		in.query, err = queryOf(a.Field)
	case len(a.Field) > 0:
		in.body, err = bodyOf(a.Field)
	}
	return in, err
}

// readData reads a body from @file, or from standard input for "-". It goes out byte by byte as it is: whether it is
// good is for the server to say.
func (t *Terminal) readData(source string) (any, error) {
	var text []byte
	var err error
	name, isFile := strings.CutPrefix(source, "@")
	switch {
	case source == "-" || source == "@-":
		text, err = io.ReadAll(t.In)
	case isFile:
		text, err = os.ReadFile(name)
	default:
		return nil, Usage("--data takes @FILE or -; for single fields there is --field.")
	}
	if err != nil {
		return nil, &Failure{Exit: ExitUsage, Message: "The body cannot be read", cause: err}
	}
	return verbatim(text), nil
}

// field splits name=text or name:=JSON. Of the two signs, the one that comes first counts.
func field(text string) (name, value string, isJSON bool, err error) {
	name, value, ok := strings.Cut(text, "=")
	if name, isJSON = strings.CutSuffix(name, ":"); !ok || name == "" {
		return "", "", false, Usage("A field is name=text or name:=JSON.")
	}
	return name, value, isJSON, nil
}

func queryOf(fields []string) (url.Values, error) {
	query := url.Values{}
	for _, text := range fields {
		name, value, _, err := field(text)
		if err != nil {
			return nil, err
		}
		query.Add(name, value)
	}
	return query, nil
}

func bodyOf(fields []string) (map[string]any, error) {
	body := map[string]any{}
	for _, text := range fields {
		name, value, isJSON, err := field(text)
		if err != nil {
			return nil, err
		}
		if _, twice := body[name]; twice {
			return nil, Usage("The field %s is given twice. A list is written as %s:='[…]'.", name, name)
		}
		body[name] = value
		if isJSON {
			if !json.Valid([]byte(value)) {
				return nil, Usage("What follows %s:= is not JSON.", name)
			}
			body[name] = json.RawMessage(value)
		}
	}
	return body, nil
}

// pass prints the body of an answer: on a screen indented and escaped, elsewhere byte by byte as it came.
func (t *Terminal) pass(body io.Reader, server string) error {
	if !t.Screen {
		if _, err := io.Copy(t.Out, body); err != nil {
			return fmt.Errorf("pass the answer of %s on: %w", server, err)
		}
		return nil
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return unreachable(server, err)
	}
	if len(text) == 0 {
		return nil
	}
	if json.Valid(text) && utf8.Valid(text) {
		return t.printJSON(json.RawMessage(text))
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	for i, line := range lines {
		lines[i] = printable(strings.TrimRight(line, "\r"))
	}
	return t.print(strings.Join(lines, "\n") + "\n")
}
