// Package revocation_test shows on the ordinary program that what takes authority away holds when its call has returned:
// for revocation under many clients at once, and for every other way in which a running script loses what it had.
package revocation_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/test/harness"
)

const (
	owner        = "maya@example.com"
	organization = "northwind"
	clients      = 64
)

func start(t *testing.T) (*harness.Server, *harness.Client) {
	t.Helper()
	s := harness.Start(t, harness.Args("--no-access-log", "--token-limit", "1000000", "--sign-in-limit", "100000"))
	s.CreateUser(owner, "Maya Lindqvist")
	s.CreateOrganization(organization, "Northwind Studio", owner, "team")
	return s, s.SignIn(owner).In(organization)
}

// script is one client that uses a token over and over, on a connection that it keeps.
type script struct {
	http    *http.Client
	request *http.Request
}

func newScript(t *testing.T, url, path, value string) *script {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url+"/api/v1"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+value)
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &script{http: &http.Client{Transport: transport, Timeout: 20 * time.Second}, request: request}
}

func (s *script) status() (int, error) {
	answer, err := s.http.Do(s.request)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode, err
}

// P6, and incidents CVE-2026-46554, CVE-2026-68481 and CVE-2026-8922: 64 clients use a token while it is revoked. Every
// request that begins after the revocation has returned is refused.
func TestP6RevocationHoldsForEveryClientWhenItReturns(t *testing.T) {
	t.Parallel()
	s, session := start(t)
	project := session.CreateProject("APP", "The app", "organization")
	task := session.CreateTask(project, "A task to read")

	// Connections stay, tokens change: the clients are made once.
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	paths := []string{"/me", "/tasks/" + task, "/projects/" + project + "/tasks"}

	var asked, before, slowest atomic.Int64
	n := harness.Rounds(60, 1000)
	for round := range n {
		id, value := session.CreateToken(organization, []string{"tasks:read"}, nil)
		var returned atomic.Bool
		var warm, done sync.WaitGroup
		warm.Add(clients)
		for c := range clients {
			done.Go(func() {
				counted := false
				ready := func() {
					if !counted {
						counted = true
						warm.Done()
					}
				}
				defer ready()
				refused := 0
				for refused < 3 {
					began := returned.Load() // before the request leaves
					request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.URL+"/api/v1"+paths[(c+refused)%len(paths)], http.NoBody)
					if err != nil {
						t.Error(err)
						return
					}
					request.Header.Set("Authorization", "Bearer "+value)
					answer, err := client.Do(request)
					if err != nil {
						t.Errorf("round %d: %v", round, err)
						return
					}
					_, _ = io.Copy(io.Discard, answer.Body)
					_ = answer.Body.Close()
					asked.Add(1)
					switch {
					case answer.StatusCode == http.StatusOK && !began:
						before.Add(1)
						ready()
					case answer.StatusCode == http.StatusUnauthorized && began:
						refused++
					case answer.StatusCode == http.StatusUnauthorized: // while the revocation was under way
					default:
						t.Errorf("round %d: status %d for a request that began when the revocation had returned: %t", round, answer.StatusCode, began)
						return
					}
				}
			})
		}
		warm.Wait() // every client has been let in, so the token is in the cache
		began := time.Now()
		answer := session.Do("DELETE", "/tokens/"+id, nil)
		returned.Store(true)
		took := time.Since(began)
		answer.Want(http.StatusOK)
		for last := slowest.Load(); int64(took) > last && !slowest.CompareAndSwap(last, int64(took)); last = slowest.Load() {
		}
		done.Wait()
		if t.Failed() {
			return
		}
	}
	t.Logf("%d rounds, %d clients, %d requests, of which %d were let in before the revocations; slowest revocation %s",
		n, clients, asked.Load(), before.Load(), time.Duration(slowest.Load()).Round(time.Millisecond))
}

// P6 for writes: what was verified before the revocation and waits for its turn to write does not write after it. When
// the revocation has returned, nothing more is written with the token; the same goes for all else that takes writing away
// from it, by the API and by the tools of agents.
func TestP6NothingIsWrittenAfterTheRevocationReturned(t *testing.T) {
	t.Parallel()
	s, session := start(t)
	project := session.CreateProject("APP", "The app", "organization")
	count := func() int {
		return int(session.Do("GET", "/tasks/counts", nil).Want(http.StatusOK).At("total").(float64))
	}
	// write returns whether a task was made; whatever else than a refusal fails the test.
	byAPI := func(script *harness.Client, title string) bool {
		answer := script.Do("POST", "/projects/"+project+"/tasks", map[string]any{"title": title})
		if answer.Status != http.StatusUnauthorized && answer.Status != http.StatusForbidden {
			answer.Want(http.StatusCreated)
		}
		return answer.Status == http.StatusCreated
	}
	byTool := func(agent *harness.Client, title string) bool {
		call := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_tasks","arguments":{"project":"APP","tasks":[{"title":%q}]}}}`, title)
		answer := agent.Do("POST", "/mcp", call, "Accept", "application/json, text/event-stream")
		if answer.Status != http.StatusUnauthorized && answer.Status != http.StatusForbidden {
			answer.Want(http.StatusOK)
		}
		return answer.Status == http.StatusOK && !strings.Contains(string(answer.Body), `"isError":true`)
	}
	do := func(method, path string, body any) func(id string) {
		return func(id string) {
			session.Do(method, strings.ReplaceAll(path, "TOKEN", id), body).Want(http.StatusOK)
		}
	}
	const policy = "/organizations/" + organization + "/agent-policy"
	reading := map[string]any{"scopes": []string{"tasks:read"}}
	for _, c := range []struct {
		name, purpose string
		write         func(*harness.Client, string) bool
		take, give    func(id string)
	}{
		{"the token is revoked", "personal", byAPI, do("DELETE", "/tokens/TOKEN", nil), nil},
		{"the token is narrowed", "personal", byAPI, do("PATCH", "/tokens/TOKEN", reading), nil},
		{"the agent is revoked", "agent", byTool, do("DELETE", "/organizations/"+organization+"/agents/TOKEN", nil), nil},
		{"the agent is paused", "agent", byTool, do("POST", "/organizations/"+organization+"/agents/TOKEN/pause", nil), nil},
		{"agents may only read", "agent", byTool, do("PATCH", policy, reading), do("PATCH", policy, map[string]any{"scopes": []string{"tasks:write"}})},
		{"agents are turned off", "agent", byTool, do("PATCH", policy, map[string]any{"enabled": false}), do("PATCH", policy, map[string]any{"enabled": true})},
	} {
		t.Run(c.name, func(t *testing.T) {
			var written atomic.Int64
			for round := range harness.Rounds(5, 100) {
				issued := session.Do("POST", "/tokens", map[string]any{"name": "Script", "organization": organization, "scopes": []string{"tasks:write"}, "purpose": c.purpose}).Want(http.StatusCreated)
				id, script := issued.Text("token", "id"), s.Anonymous().With(issued.Text("value"))
				var writers sync.WaitGroup
				for w := range 16 {
					writers.Go(func() {
						for n := 0; c.write(script, fmt.Sprintf("Round %d, writer %d, task %d", round, w, n)); n++ {
							written.Add(1)
						}
					})
				}
				time.Sleep(20 * time.Millisecond)
				c.take(id)
				before := count()
				writers.Wait()
				if after := count(); after != before {
					t.Fatalf("round %d: %d tasks were written after the answer", round, after-before)
				}
				if c.give != nil {
					c.give(id)
				}
			}
			if written.Load() == 0 {
				t.Error("nothing was ever written")
			}
		})
	}
}

// P2 and P6, and incidents GO-2026-4849, GO-2025-3731, GO-2025-4137, CVE-2026-1609 and GO-2024-3137 to 3139: whatever
// shrinks what a user may do shrinks it for their running scripts, whose tokens are in the cache, with the next request.
func TestP2P6RunningScriptLosesWhatItsUserLoses(t *testing.T) {
	t.Parallel()
	s, session := start(t)
	open := session.CreateProject("OPEN", "Open to all", "organization")
	private := session.CreateProject("PRIV", "Private", "private")
	openTask, privateTask := session.CreateTask(open, "An open task"), session.CreateTask(private, "A private task")

	type world struct {
		email    string
		me       *harness.Client // the user's session
		read     *script         // reads a task of the private project
		readOpen *script         // reads a task of the open project
		write    func() int      // changes the open task, or a guest's only one
		id       string          // of the token
		userID   string
	}
	number := 0
	// The role "agent" is a member's, whose token is for an agent.
	person := func(t *testing.T, role string) *world {
		purpose := "personal"
		if role == "agent" {
			role, purpose = "member", "agent"
		}
		number++
		w := &world{email: fmt.Sprintf("person-%d@example.com", number)}
		s.CreateUser(w.email, fmt.Sprintf("Person %d", number))
		s.AddMember(organization, w.email, role)
		w.me = s.SignIn(w.email).In(organization)
		w.userID = w.me.Do("GET", "/me", nil).Want(http.StatusOK).Text("user", "id")
		session.Do("PUT", "/projects/"+private+"/members/"+w.userID, map[string]any{"role": "contributor"}).Want(http.StatusOK)
		issued := w.me.Do("POST", "/tokens", map[string]any{"name": "Script", "organization": organization, "scopes": []string{"tasks:write", "projects:read"}, "purpose": purpose}).Want(http.StatusCreated)
		value := issued.Text("value")
		w.id = issued.Text("token", "id")
		w.read, w.readOpen = newScript(t, s.URL, "/tasks/"+privateTask, value), newScript(t, s.URL, "/tasks/"+openTask, value)
		token, edited := s.Anonymous().With(value), openTask
		if role == "guest" {
			edited = privateTask // they see no other
		}
		w.write = func() int {
			return token.Do("PATCH", "/tasks/"+edited, map[string]any{"priority": "high"}, "If-Match", "*").Status
		}
		return w
	}
	operate := func(args ...string) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) {
			filled := slices.Clone(args)
			for i := range filled {
				filled[i] = strings.ReplaceAll(filled[i], "EMAIL", w.email)
			}
			s.Operate("", filled...)
		}
	}
	call := func(method, path string, body any, want int) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) {
			session.Do(method, strings.NewReplacer("USER", w.userID, "PRIVATE", private, "OPEN", open, "TOKEN", w.id).Replace(path), body, "If-Match", "*").Want(want)
		}
	}
	own := func(method, path string, body any, want int) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) {
			w.me.Do(method, strings.ReplaceAll(path, "TOKEN", w.id), body).Want(want)
		}
	}
	const ok, gone, forbidden, refused = http.StatusOK, http.StatusNotFound, http.StatusForbidden, http.StatusUnauthorized
	const agents, policy = "/organizations/" + organization + "/agents", "/organizations/" + organization + "/agent-policy"
	tests := []struct {
		name                string
		role                string
		change              func(*testing.T, *world)
		private, open, edit int // statuses afterwards
		undo                func(*testing.T, *world)
	}{
		{"demoted to guest through the API", "member", call("PATCH", "/organizations/"+organization+"/members/USER", map[string]any{"role": "guest"}, ok), ok, gone, gone, call("PATCH", "/organizations/"+organization+"/members/USER", map[string]any{"role": "member"}, ok)},
		{"demoted to guest by the operator", "member", operate("set-role", "--org", organization, "--email", "EMAIL", "--role", "guest"), ok, gone, gone, operate("set-role", "--org", organization, "--email", "EMAIL", "--role", "member")},
		{"removed from the organization through the API", "member", call("DELETE", "/organizations/"+organization+"/members/USER", nil, http.StatusNoContent), forbidden, forbidden, forbidden, nil},
		{"removed from the organization by the operator", "member", operate("remove-member", "--org", organization, "--email", "EMAIL"), forbidden, forbidden, forbidden, nil},
		{"suspended", "member", operate("suspend-user", "--email", "EMAIL"), forbidden, forbidden, forbidden, operate("restore-user", "--email", "EMAIL")},
		{"the project is no longer shared with them", "member", call("DELETE", "/projects/PRIVATE/members/USER", nil, http.StatusNoContent), gone, ok, ok, nil},
		{"viewer instead of contributor of the project they share", "guest", call("PUT", "/projects/PRIVATE/members/USER", map[string]any{"role": "viewer"}, ok), ok, gone, forbidden, nil},
		{"the token is narrowed to reading", "member", own("PATCH", "/tokens/TOKEN", map[string]any{"scopes": []string{"tasks:read"}}, ok), ok, ok, forbidden, nil},
		{"the token is narrowed to the open project", "member", own("PATCH", "/tokens/TOKEN", map[string]any{"projects": []string{open}}, ok), gone, ok, ok, nil},
		{"the token is revoked", "member", own("DELETE", "/tokens/TOKEN", nil, ok), refused, refused, refused, nil},
		{"agents are turned off", "agent", call("PATCH", policy, map[string]any{"enabled": false}, ok), forbidden, forbidden, forbidden, call("PATCH", policy, map[string]any{"enabled": true}, ok)},
		{"agents are turned off, and it is none", "member", call("PATCH", policy, map[string]any{"enabled": false}, ok), ok, ok, ok, call("PATCH", policy, map[string]any{"enabled": true}, ok)},
		{"agents may only read", "agent", call("PATCH", policy, map[string]any{"scopes": []string{"tasks:read"}}, ok), ok, ok, forbidden, call("PATCH", policy, map[string]any{"scopes": []string{"tasks:write", "projects:read"}}, ok)},
		{"an admin pauses the agent", "agent", call("POST", agents+"/TOKEN/pause", nil, ok), forbidden, forbidden, forbidden, call("POST", agents+"/TOKEN/resume", nil, ok)},
		{"its owner pauses the agent", "agent", own("POST", "/tokens/TOKEN/pause", nil, ok), forbidden, forbidden, forbidden, own("POST", "/tokens/TOKEN/resume", nil, ok)},
		{"an admin revokes the agent", "agent", call("DELETE", agents+"/TOKEN", nil, ok), refused, refused, refused, nil},
		{"an admin revokes all agents of its owner", "agent", call("DELETE", agents+"?member=USER", nil, ok), refused, refused, refused, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := person(t, test.role)
			look := func(when string, private, open, edit int) {
				t.Helper()
				for range 3 {
					a, err1 := w.read.status()
					b, err2 := w.readOpen.status()
					c := w.write()
					if err1 != nil || err2 != nil {
						t.Fatal(err1, err2)
					}
					if a != private || b != open || c != edit {
						t.Fatalf("%s: the private task %d, the open one %d, changing it %d; want %d, %d, %d", when, a, b, c, private, open, edit)
					}
				}
			}
			openBefore := ok
			if test.role == "guest" {
				openBefore = gone
			}
			look("before", ok, openBefore, ok)
			test.change(t, w)
			look("after", test.private, test.open, test.edit)
			if test.undo != nil {
				test.undo(t, w)
				look("after it was undone", ok, openBefore, ok)
			}
		})
	}

	// One that concerns everybody comes last.
	t.Run("the open project becomes private", func(t *testing.T) {
		w := person(t, "member")
		if status, err := w.readOpen.status(); err != nil || status != ok {
			t.Fatal(status, err)
		}
		call("PATCH", "/projects/OPEN", map[string]any{"visibility": "private"}, ok)(t, w)
		if status, err := w.readOpen.status(); err != nil || status != gone {
			t.Errorf("a task of a project that became private: %d %v", status, err)
		}
	})
	t.Run("the project is deleted", func(t *testing.T) {
		w := person(t, "member")
		if status, err := w.read.status(); err != nil || status != ok {
			t.Fatal(status, err)
		}
		call("DELETE", "/projects/PRIVATE", nil, http.StatusNoContent)(t, w)
		if status, err := w.read.status(); err != nil || status != gone {
			t.Errorf("a task of a deleted project: %d %v", status, err)
		}
	})
}
