package mcp_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/house"
	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/storetest"
	"carnet/internal/tokens"
	"carnet/internal/work"
)

const password = "paper lanterns over the canal"

// town is a whole server over one of the engines, with an owner and a member in an organization.
type town struct {
	*house.House
	t     *testing.T
	url   string
	owner access.Caller
}

// each runs a test over both engines.
func each(t *testing.T, test func(t *testing.T, w *town)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, newTown(t, house.Plan{Data: t.TempDir()}, nil)) })
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newTown(t, house.Plan{Data: t.TempDir(), Database: storetest.Database(t)}, nil))
	})
}

func newTown(t *testing.T, plan house.Plan, change func(*house.Front)) *town {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	w := &town{t: t, url: "http://" + server.Listener.Addr().String()}
	plan.PublicURL, plan.Log, plan.Limits = w.url, slog.New(slog.DiscardHandler), house.Limits{SignInsPerMinute: 1000}
	plan.Patience = 10 * time.Second // the machine may be busy with other tests
	plan.Fatal = func(err error) { t.Errorf("the store stopped: %v", err) }
	var err error
	if w.House, err = house.Build(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	public, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	front := house.Front{PublicURL: public, Version: "test", OAuth: true}
	if change != nil {
		change(&front)
	}
	doors, _, err := w.Doors(front)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = doors
	server.Start()
	t.Cleanup(server.Close)
	w.owner = w.person("maya")
	if _, err := w.Org.Operators().CreateOrganization(t.Context(), org.Founding{Slug: "acme", Name: "Acme", OwnerEmail: "maya@example.com", Plan: "team"}); err != nil {
		t.Fatal(err)
	}
	w.owner = w.signIn("maya@example.com")
	return w
}

// person makes a verified user and signs them in.
func (w *town) person(name string) access.Caller {
	w.t.Helper()
	_, err := w.Account.CreateUser(w.t.Context(), account.NewUser{Email: name + "@example.com", Name: name, Password: password, Verified: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signIn(name + "@example.com")
}

func (w *town) signIn(email string) access.Caller {
	w.t.Helper()
	made, err := w.Account.SignIn(w.t.Context(), account.SignIn{Email: email, Password: password, Kind: account.Bearer})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.caller(made.Value.Reveal())
}

// caller is who a value stands for.
func (w *town) caller(value string) access.Caller {
	w.t.Helper()
	grant, err := w.Verify.Verify(w.t.Context(), value, origin)
	if err != nil {
		w.t.Fatal(err)
	}
	return grant.Caller
}

// in is a session acting in the organization.
func (w *town) in(c access.Caller) access.Caller {
	w.t.Helper()
	inside, ok := c.In("acme")
	if !ok {
		w.t.Fatal("no member of acme")
	}
	return inside
}

// agent makes an agent's token; projects nil: not restricted.
func (w *town) agent(c access.Caller, projects []string, scopes ...string) (id, value string) {
	w.t.Helper()
	made, err := w.Tokens.Create(w.t.Context(), c, tokens.Draft{Name: "helper", Organization: "acme", Scopes: scopes, Projects: projects, Purpose: "agent"})
	if err != nil {
		w.t.Fatal(err)
	}
	return made.Token.ID, made.Value.Reveal()
}

var everything = []string{"projects:write", "tasks:write", "comments:write", "members:read"}

func (w *town) project(key, name string) work.Project {
	w.t.Helper()
	p, err := w.Work.CreateProject(w.t.Context(), w.in(w.owner), work.NewProject{ProjectFields: work.ProjectFields{Key: optional.Of(key), Name: optional.Of(name), Description: optional.Of(name)}})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *town) task(project, title string) work.Task {
	w.t.Helper()
	t, err := w.Work.CreateTask(w.t.Context(), w.in(w.owner), project, work.NewTask{TaskFields: work.TaskFields{Title: optional.Of(title), Description: optional.Of(title)}})
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

func (w *town) comment(task, body string) work.Comment {
	w.t.Helper()
	c, err := w.Work.CreateComment(w.t.Context(), w.in(w.owner), task, work.CommentText{Body: optional.Of(body)})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// reply is an answer of /mcp.
type reply struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

// outside is what clients send with. The server's own requests, if it made any, would take the ordinary transport.
var outside = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}

// send sends a request as it is. Headers come in pairs; one that is empty is taken away.
func (w *town) send(method, path, value, body string, headers ...string) reply {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if value != "" {
		r.Header.Set("Authorization", "Bearer "+value)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			r.Host = headers[i+1]
		case headers[i+1] == "":
			r.Header.Del(headers[i])
		default:
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	answer, err := outside.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{w.t, answer.StatusCode, answer.Header, string(text)}
}

func (w *town) rpc(value, method string, params any, headers ...string) reply {
	w.t.Helper()
	text, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.send(http.MethodPost, "/mcp", value, string(text), headers...)
}

// result is what a tool said.
type result struct {
	reply
	failed bool
	words  string
	data   json.RawMessage
}

// call calls a tool.
func (w *town) call(value, tool, arguments string, headers ...string) result {
	w.t.Helper()
	r := w.rpc(value, "tools/call", map[string]any{"name": tool, "arguments": json.RawMessage(arguments)}, headers...)
	if r.status != http.StatusOK {
		return result{reply: r, failed: true}
	}
	var message struct {
		Result struct {
			Content []struct{ Type, Text string }
			Data    json.RawMessage `json:"structuredContent"`
			IsError bool            `json:"isError"`
		}
		Error *struct{ Message string }
	}
	if err := json.Unmarshal([]byte(r.body), &message); err != nil || message.Error != nil || len(message.Result.Content) == 0 {
		w.t.Fatalf("%s: %v\n%s", tool, err, r.body)
	}
	out := result{reply: r, failed: message.Result.IsError, words: message.Result.Content[0].Text, data: message.Result.Data}
	if !out.failed {
		var compact bytes.Buffer
		if err := json.Compact(&compact, out.data); err != nil {
			w.t.Fatal(err)
		}
		if copied := message.Result.Content[1].Text; copied != compact.String() {
			w.t.Errorf("%s: the text is no copy of the data:\n%s\n%s", tool, copied, compact.String())
		}
	}
	return out
}

// ok expects that a call did what it was to do, and reads its data.
func (r result) ok(into any) {
	r.t.Helper()
	if r.failed {
		r.t.Fatalf("status %d, %s\n%s", r.status, r.words, r.body)
	}
	if into != nil {
		if err := json.Unmarshal(r.data, into); err != nil {
			r.t.Fatal(err)
		}
	}
}

// refused expects a refusal that says some words.
func (r result) refused(words ...string) {
	r.t.Helper()
	if !r.failed || r.status != http.StatusOK {
		r.t.Fatalf("status %d, not refused\n%s", r.status, r.body)
	}
	for _, w := range words {
		if !strings.Contains(r.words, w) {
			r.t.Errorf("%q is not said: %s", w, r.words)
		}
	}
}

// tools are the names of the tools that a token is shown.
func (w *town) tools(value string) (names []string) {
	w.t.Helper()
	for _, t := range w.listed(value) {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

type described struct {
	Name, Title, Description string
	InputSchema              map[string]any
	OutputSchema             map[string]any
	Annotations              map[string]any
}

func (w *town) listed(value string) []described {
	w.t.Helper()
	r := w.rpc(value, "tools/list", nil)
	var message struct {
		Result struct{ Tools []described }
	}
	if err := json.Unmarshal([]byte(r.body), &message); err != nil || r.status != http.StatusOK {
		w.t.Fatalf("status %d, %v\n%s", r.status, err, r.body)
	}
	return message.Result.Tools
}

// execute changes the store past the features.
// today is the day, as tools write it.
func (w *town) today() string { return time.Now().UTC().Format(time.DateOnly) }

func (w *town) execute(statement string, args ...any) {
	w.t.Helper()
	err := w.DB.Write(w.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
