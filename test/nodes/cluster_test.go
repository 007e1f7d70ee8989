// Package nodes_test holds several nodes over one PostgreSQL to the promise that nobody accepts what was taken away once
// the call that took it has returned (P1, P6), while nodes stall, crash and lose their database, and the database
// restarts and fails over.
package nodes_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carnet/internal/account"
	"carnet/internal/house"
	"carnet/internal/pgtest"
	"carnet/test/harness"
)

const (
	database     = "carnet"
	owner        = "olga@example.com"
	organization = "acme"
)

// cluster is some nodes over a primary with a synchronous standby.
type cluster struct {
	t     *testing.T
	nodes []*node
	// operator is a house of its own over the same database, for what operators do. It is no node that anybody asks, and
	// its links are never bad.
	operator *house.House
	links    [2]*link

	mu               sync.Mutex // guards what follows; held while the servers change
	primary, standby *pgtest.Server
	failovers        int
}

// node is a process with its two ways to the database: over the first link to the server that was the primary at first,
// over the second one to the other.
type node struct {
	*harness.Server
	base  *harness.Client // without a credential
	links [2]*link
}

// Writes are not forced to disk: processes are killed here, not machines.
var settings = []string{"fsync=off", "full_page_writes=off", "synchronous_commit=on", "wal_receiver_timeout=2s", "wal_sender_timeout=2s", "tcp_user_timeout=2000"}

func newCluster(t *testing.T, size int) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var err error
	if c.primary, err = pgtest.New(settings...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.mu.Lock(); defer c.mu.Unlock(); _ = c.primary.Close() })
	if err := c.primary.CreateDatabase(database, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.standby != nil {
			_ = c.standby.Close()
		}
	})
	c.addStandby()
	for i, server := range []*pgtest.Server{c.primary, c.standby} {
		c.links[i] = newLink(t, addressOf(server.Port))
	}
	// The schema is the program's, not ours: test/guards has it made without one of its triggers.
	c.command(harness.Password+"\n", "create-user", "--email", owner, "--name", "Olga", "--verified")
	c.command("", "create-org", "--slug", organization, "--name", "Acme", "--owner", owner)
	c.operator = c.house()
	var both [2]string
	both[0], both[1] = addressOf(c.primary.Port), addressOf(c.standby.Port)
	for i := range size {
		c.nodes = append(c.nodes, c.startNode(both, i))
	}
	return c
}

// command runs an operator's command of the program under test.
func (c *cluster) command(stdin string, args ...string) {
	c.t.Helper()
	args = append([]string{"admin", "--data", c.t.TempDir(), "--database", c.primary.URL(database)}, args...)
	if out, errs, code := harness.Command(c.t, nil, stdin, args...); code != 0 {
		c.t.Fatalf("carnet %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
}

// addStandby gives the primary a standby that confirms every commit before it is answered.
func (c *cluster) addStandby() {
	var err error
	if c.standby, err = c.primary.Standby(fmt.Sprintf("standby%d", c.failovers), settings...); err != nil {
		c.t.Errorf("make a standby: %v", err)
		return
	}
	if err := c.primary.Do("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"); err != nil {
		c.t.Errorf("make the standby synchronous: %v", err)
	}
}

func (c *cluster) startNode(servers [2]string, i int) *node {
	n := &node{links: [2]*link{newLink(c.t, servers[0]), newLink(c.t, servers[1])}}
	hosts := []string{"127.0.0.1:" + n.links[0].port(), "127.0.0.1:" + n.links[1].port()}
	if i%2 == 1 {
		hosts[0], hosts[1] = hosts[1], hosts[0] // this one asks the standby first
	}
	url := fmt.Sprintf("postgres://carnet@%s/%s?sslmode=disable&connect_timeout=2", strings.Join(hosts, ","), database)
	n.Server = harness.Start(c.t, harness.On(url), harness.Metrics(),
		harness.Args("--no-access-log", "--database-patience", "200ms", "--sign-in-limit", "1000000", "--token-limit", "1000000", "--database-connections", "24"))
	n.base = n.Anonymous()
	return n
}

// house opens the store as one more node does.
func (c *cluster) house() *house.House {
	c.t.Helper()
	url := fmt.Sprintf("postgres://carnet@127.0.0.1:%s,127.0.0.1:%s/%s?sslmode=disable&connect_timeout=2", c.links[0].port(), c.links[1].port(), database)
	h, err := house.Build(context.Background(), house.Plan{
		Data: c.t.TempDir(), Database: url, Connections: 16, PublicURL: "http://localhost", Log: slog.New(slog.DiscardHandler),
		Fatal: func(err error) { c.t.Errorf("the operator's store stopped: %v", err) },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = h.Close(context.Background()) })
	return h
}

// createUser makes a verified account.
func (c *cluster) createUser(email string) {
	c.t.Helper()
	_, err := c.operator.Account.CreateUser(c.t.Context(), account.NewUser{Email: email, Name: "Somebody", Password: harness.Password, Verified: true})
	if err != nil {
		c.t.Fatal(err)
	}
}

// pause stops a node in its tracks for a while.
func (n *node) pause(d time.Duration) {
	pid := n.PID()
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	time.Sleep(d)
	_ = syscall.Kill(pid, syscall.SIGCONT)
}

// restart kills a node and starts it again.
func (n *node) restart() {
	n.Kill()
	n.Run()
}

func (n *node) mend() {
	for _, l := range n.links {
		l.mend()
	}
}

// restartDatabase stops the primary, cutting everybody off, and starts it again.
func (c *cluster) restartDatabase() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.primary.Stop()
	if err := c.primary.Start(); err != nil {
		c.t.Errorf("start the database again: %v", err)
	}
}

// failOver kills the primary and promotes the standby. Another standby takes its place.
func (c *cluster) failOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, slot := c.primary, c.failovers%2
	old.Kill()
	if err := c.standby.Do("postgres", "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"); err != nil {
		c.t.Errorf("prepare the standby: %v", err)
	}
	if err := c.standby.Promote(); err != nil {
		c.t.Errorf("promote the standby: %v", err)
		return
	}
	c.primary = c.standby
	c.failovers++
	c.addStandby()
	address := addressOf(c.standby.Port)
	c.links[slot].target.Store(&address)
	for _, n := range c.nodes {
		n.links[slot].target.Store(&address)
	}
	_ = old.Close()
}

// sql runs statements on the primary past all nodes.
func (c *cluster) sql(statements ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.primary.Do(database, statements...)
}
