package bench_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/internal/pgtest"
	"carnet/test/bench"
	"carnet/test/harness"
)

// Three nodes over a database that syncs to disk. A token that all of them know is revoked on one, and the moment that
// has returned, each must refuse it.
func TestARevocationHoldsOnThreeNodesUnderLoadWhenItHasReturned(t *testing.T) {
	server, err := pgtest.New(counting...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	d, busy := addDatabase(t, server, "carnet", bench.Seed{Tokens: 1_000, Keep: 300})
	for i, w := range []way{d.near, d.far} {
		slug := []string{"near", "far"}[i]
		nodes := make([]*harness.Server, 3)
		for i := range nodes {
			nodes[i] = harness.Start(t, harness.On(w.url), harness.Args("--no-access-log", "--token-limit", "1000000", "--sign-in-limit", "1000"))
		}
		r := newRevoker(t, nodes, slug)
		for _, load := range loads {
			r.measure(t, w, load, busy)
		}
		for _, node := range nodes {
			node.Stop()
		}
	}
}

// pace is how much other requests there are meanwhile: connections to each node, each of which begins a request so often.
type pace struct {
	connections int
	every       time.Duration
}

var loads = []pace{{}, {connections: 5, every: 10 * time.Millisecond}, {connections: 5}}

// settling is how long others ask before the first revocation: nodes open connections meanwhile, and see their tokens.
const settling = 2 * time.Second

func (p pace) String() string {
	switch {
	case p.connections == 0:
		return "no other load"
	case p.every == 0:
		return fmt.Sprintf("while %d connections to each ask for /me as fast as they can", p.connections)
	default:
		return fmt.Sprintf("while %d connections to each ask for /me %s times a second in all", p.connections, count(3*float64(p.connections)/p.every.Seconds()))
	}
}

type revoker struct {
	nodes    []*harness.Server
	sessions []*harness.Client // of one person, on each node
	slug     string
}

func newRevoker(t *testing.T, nodes []*harness.Server, slug string) *revoker {
	t.Helper()
	r := &revoker{nodes: nodes, slug: slug}
	email := slug + "@example.com"
	nodes[0].CreateUser(email, "Maya Lindqvist")
	nodes[0].CreateOrganization(slug, "Northwind "+slug, email, "team")
	for _, node := range nodes {
		r.sessions = append(r.sessions, node.SignIn(email))
	}
	return r
}

func (r *revoker) measure(t *testing.T, w way, load pace, busy []string) {
	t.Helper()
	n := of(6, 500)
	type made struct{ id, value string }
	doomed := make([]made, n)
	for i := range doomed {
		doomed[i].id, doomed[i].value = r.sessions[0].CreateToken(r.slug, []string{"tasks:read"}, nil)
	}
	stop := make(chan struct{})
	done := make(chan error, len(r.nodes))
	asked := make([]int, len(r.nodes))
	began := time.Now()
	for i, node := range r.nodes {
		go func() { done <- drive(strings.TrimPrefix(node.URL, "http://"), load, busy, &asked[i], stop) }()
	}
	if load.connections > 0 {
		time.Sleep(of(settling/10, settling))
	}
	var times []time.Duration
	accepted := 0
	for i, token := range doomed {
		session := r.sessions[i%len(r.sessions)]
		holders := make([]*harness.Client, len(r.sessions))
		for j, s := range r.sessions {
			holders[j] = s.With(token.value)
			holders[j].Do("GET", "/me", nil).Want(http.StatusOK)
		}
		start := time.Now()
		session.Do("DELETE", "/tokens/"+token.id, nil).Want(http.StatusOK)
		times = append(times, time.Since(start))
		for j := range holders {
			// The node that revoked comes last.
			if answer := holders[(i+1+j)%len(holders)].Do("GET", "/me", nil); answer.Status == http.StatusOK {
				accepted++
			} else {
				answer.WantCode(http.StatusUnauthorized, "token_revoked")
			}
		}
	}
	close(stop)
	for range r.nodes {
		if err := <-done; err != nil {
			t.Errorf("the others: %v", err)
		}
	}
	total := 0
	for _, n := range asked {
		total += n
	}
	if accepted > 0 {
		t.Errorf("%d times a token was accepted after its revocation had returned", accepted)
	}
	slices.Sort(times)
	result := bench.Result{Times: times}
	figure := fmt.Sprintf("p50 %s, p99 %s; %d of %d accepted afterwards", short(result.At(.5)), short(result.At(.99)), accepted, n*len(r.nodes))
	if load.connections > 0 {
		figure += fmt.Sprintf("; %s others/s answered", count(float64(total)/time.Since(began).Seconds()))
	}
	what := fmt.Sprintf("%s revocations on 3 nodes, database %s, synced to disk, %s", count(n), w.name, load)
	if w.name == "loopback" && load.connections > 0 {
		note(what, "p99 ≤ 20 ms, none accepted", figure, result.At(.99) <= 20*time.Millisecond, accepted == 0)
	} else {
		note(what, "none accepted", figure, accepted == 0)
	}
}

// drive asks a node for /me until stop is closed, and counts the answers.
func drive(address string, load pace, busy []string, asked *int, stop <-chan struct{}) error {
	if load.connections == 0 {
		<-stop
		return nil
	}
	for {
		l := bench.Load{Address: address, Connections: load.connections, For: 500 * time.Millisecond, Every: load.every, Want: http.StatusOK,
			Request: func(i int) []byte { return bench.Get(address, "/api/v1/me", busy[i%len(busy)]) }}
		r, err := l.Run()
		if err != nil {
			return err
		}
		*asked += len(r.Times)
		select {
		case <-stop:
			return nil
		default:
		}
	}
}
