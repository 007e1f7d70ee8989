// Package pooler_test runs nodes through a real pgbouncer in transaction mode, where every transaction may find itself on
// another connection, and wants them to work and to leave nothing on the connections that they share.
package pooler_test

import (
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // a client of the pooler, beside the nodes

	"carnet/internal/pgtest"
	"carnet/test/harness"
)

const (
	owner        = "maya@example.com"
	organization = "northwind"
	password     = "a password for tests"
	poolSize     = 8                                // as documented
	changed      = "what the caller may do changed" // how a write is refused that a change overtook; it is begun anew
)

// world is two nodes that reach one database through a pooler.
type world struct {
	server *pgtest.Server
	pooler *harness.Program
	url    string
	nodes  []*harness.Server
}

func start(t *testing.T) *world {
	t.Helper()
	server, err := pgtest.New("fsync=off", "log_min_messages=info", "log_min_error_statement=info")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if err := server.CreateDatabase("carnet", ""); err != nil {
		t.Fatal(err)
	}
	dir := harness.Folder(t)
	address := harness.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	config := harness.Documented(t, "docs/operations.md", "; /etc/pgbouncer/pgbouncer.ini",
		"server_tls_sslmode = verify-full\nserver_tls_ca_file = /etc/carnet/ca.pem\n", "", // the server of the test has no TLS
		"host=10.0.0.21 port=5432", "host=127.0.0.1 port="+strconv.Itoa(server.Port),
		"listen_port = 6432", "listen_port = "+port,
		"/etc/pgbouncer/userlist.txt", harness.File(t, dir, "userlist.txt", `"carnet" "`+password+"\"\n"))
	pooler := harness.Run(t, dir, "/usr/sbin/pgbouncer", harness.File(t, dir, "pgbouncer.ini", config+"unix_socket_dir =\n"))
	pooler.WaitFor("connection", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	w := &world{server: server, pooler: pooler, url: "postgres://carnet:" + strings.ReplaceAll(password, " ", "%20") + "@" + address + "/carnet?sslmode=disable"}
	for range 2 {
		w.nodes = append(w.nodes, harness.Start(t, harness.On(w.url), harness.Args("--no-access-log", "--token-limit", "1000000", "--sign-in-limit", "1000")))
	}
	w.nodes[0].CreateUser(owner, "Maya Lindqvist")
	w.nodes[0].CreateOrganization(organization, "Northwind Studio", owner, "enterprise")
	return w
}

// From an empty database to a revocation on both nodes, all of it through the pooler, and 32 clients at once.
func TestNodesWorkThroughAPoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	w := start(t)
	t.Run("every step works on either node, and a revocation holds on the other", w.steps)
	t.Run("32 clients at once", w.load)
	w.leavesNothing(t)
	for name, log := range map[string]string{"pgbouncer": w.pooler.Log.String(), "PostgreSQL": w.server.Log()} {
		for line := range strings.Lines(log) {
			if strings.Contains(line, "prepared statement") || strings.Contains(line, "ERROR") && !strings.Contains(line, changed) || strings.Contains(line, "WARNING") {
				t.Errorf("%s says: %s", name, line)
			}
		}
	}
}

func (w *world) steps(*testing.T) {
	for i := range w.nodes {
		here, there := w.nodes[i], w.nodes[1-i]
		session := here.SignIn(owner).In(organization)
		project := session.CreateProject(fmt.Sprintf("STEP%d", i), "Steps", "organization")
		id, value := session.CreateToken(organization, []string{"tasks:write"}, nil)
		script, elsewhere := here.Anonymous().With(value), there.Anonymous().With(value)
		task := script.CreateTask(project, "A task")
		elsewhere.Do("GET", "/tasks/"+task, nil).Want(http.StatusOK)
		elsewhere.Do("GET", "/me", nil).Want(http.StatusOK) // its cache is warm
		session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
		elsewhere.Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")
		elsewhere.Do("POST", "/projects/"+project+"/tasks", map[string]any{"title": "Too late"}).WantCode(http.StatusUnauthorized, "token_revoked")
		script.Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")
	}
}

// load has many clients live the life of a token over and over, each request on the node that comes next.
func (w *world) load(t *testing.T) {
	const clients = 32
	var requests, lives atomic.Int64
	var running sync.WaitGroup
	session := w.nodes[0].SignIn(owner).In(organization)
	var projects []string
	for client := range clients {
		projects = append(projects, session.CreateProject(fmt.Sprintf("LOAD%d", client), "Load", "organization"))
	}
	for client, project := range projects {
		running.Go(func() {
			begun := time.Now()
			turn := client
			ask := func(as *harness.Client, method, path string, body any, want int) *harness.Answer {
				turn++
				c := *as
				c.URL = w.nodes[turn%len(w.nodes)].URL
				answer, err := c.Try(method, path, body)
				requests.Add(1)
				if err != nil || answer.Status != want {
					if err == nil {
						err = fmt.Errorf("status %d: %s", answer.Status, answer.Body)
					}
					t.Errorf("%s %s: %v", method, path, err)
					return nil
				}
				return answer
			}
			for round := 0; time.Since(begun) < time.Duration(harness.Rounds(5, 60))*time.Second; round++ {
				if client == 0 {
					// Who makes a project becomes one of its leads: what all these clients may do has changed, and those of
					// their writes that are under way are begun anew.
					ask(session, "POST", "/projects", map[string]any{"key": fmt.Sprintf("MADE%dX%d", client, round), "name": "Load", "visibility": "organization"}, http.StatusCreated)
				}
				made := ask(session, "POST", "/tokens", map[string]any{"name": "Load", "organization": organization, "scopes": []string{"tasks:write"}}, http.StatusCreated)
				if made == nil {
					return
				}
				script := session.With(made.Text("value")).In("")
				for n := range 3 {
					ask(script, "POST", "/projects/"+project+"/tasks", map[string]any{"title": fmt.Sprintf("Task %d", n)}, http.StatusCreated)
					ask(script, "GET", "/projects/"+project+"/tasks?limit=10", nil, http.StatusOK)
					ask(script, "GET", "/me", nil, http.StatusOK)
				}
				if ask(session, "DELETE", "/tokens/"+made.Text("token", "id"), nil, http.StatusOK) == nil {
					return
				}
				ask(script, "GET", "/me", nil, http.StatusUnauthorized)
				ask(script, "GET", "/me", nil, http.StatusUnauthorized)
				lives.Add(1)
			}
		})
	}
	running.Wait()
	t.Logf("%d requests of %d clients on %d connections; %d tokens lived from creation to revocation", requests.Load(), clients, poolSize, lives.Load())
}

// leavesNothing looks at every connection that the pooler has to the server, with the nodes at rest.
func (w *world) leavesNothing(t *testing.T) {
	t.Helper()
	for _, node := range w.nodes {
		node.Stop()
	}
	if locks, err := w.server.Ask("carnet", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"); err != nil || locks != "0" {
		t.Errorf("%s locks are still held, %v", locks, err)
	}
	if open, err := w.server.Ask("carnet", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'carnet' AND state <> 'idle'"); err != nil || open != "0" {
		t.Errorf("%s connections are not idle, %v", open, err)
	}
	pool, err := sql.Open("pgx", w.url+"&default_query_exec_mode=simple_protocol")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close() }()
	seen := map[int]bool{}
	for range poolSize { // transactions that stay open, so that each has a connection of its own
		tx, err := pool.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		var pid int
		var statement, lock, idle, moved string
		if err := tx.QueryRowContext(t.Context(), `SELECT pg_backend_pid(), current_setting('statement_timeout'), current_setting('lock_timeout'),
			current_setting('idle_in_transaction_session_timeout'), coalesce(current_setting('carnet.moved', true), '')`).Scan(&pid, &statement, &lock, &idle, &moved); err != nil {
			t.Fatal(err)
		}
		seen[pid] = true
		if statement != "0" || lock != "0" || idle != "0" || moved != "" {
			t.Errorf("a connection kept statement_timeout %s, lock_timeout %s, idle_in_transaction_session_timeout %s, carnet.moved %q", statement, lock, idle, moved)
		}
		var prepared int
		if err := tx.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_prepared_statements`).Scan(&prepared); err != nil || prepared != 0 {
			t.Errorf("a connection kept %d prepared statements, %v", prepared, err)
		}
	}
	if len(seen) != poolSize {
		t.Errorf("only %d connections of %d were looked at", len(seen), poolSize)
	}
}
