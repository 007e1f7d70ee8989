// Package failover_test kills the primary database server under load, again and again, and looks on the other side of each
// failover for everything that was acknowledged, and for revoked tokens that live again.
package failover_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/test/harness"
)

const (
	owner        = "maya@example.com"
	organization = "northwind"
)

// cluster is PostgreSQL servers of which one is the primary.
type cluster interface {
	// URL returns how nodes reach the primary, whichever it is.
	URL() string
	// Kill ends the primary at once, and all that belongs to it. Another takes its place, by itself or here.
	Kill(t *testing.T)
	// Heal brings back what was killed, and returns when what is committed is on two servers again.
	Heal(t *testing.T)
}

// probe asks one node about a token, over and over.
type probe struct {
	client *harness.Client
	want   int
	over   *atomic.Bool
}

// tally of what probes were answered.
type tally struct {
	mu       sync.Mutex
	statuses map[int]int
	slowest  time.Duration
	wrong    []string
}

func (p probe) run(to *tally) {
	for !p.over.Load() {
		begun := time.Now()
		answer, err := p.client.Try(http.MethodGet, "/me", nil)
		took := time.Since(begun)
		to.mu.Lock()
		switch {
		case err != nil:
			to.wrong = append(to.wrong, err.Error())
		case answer.Status != p.want && answer.Status != http.StatusServiceUnavailable:
			to.wrong = append(to.wrong, fmt.Sprintf("status %d, want %d or 503: %s", answer.Status, p.want, answer.Body))
		default:
			to.statuses[answer.Status]++
			to.slowest = max(to.slowest, took)
		}
		to.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

// survive kills the primary in each round while clients work on three nodes.
func survive(t *testing.T, c cluster, rounds int) {
	t.Helper()
	var nodes []*harness.Server
	for range 3 {
		nodes = append(nodes, harness.Start(t, harness.On(c.URL()), harness.Args("--no-access-log", "--log-level", "warn", "--token-limit", "1000000",
			"--sign-in-limit", "100000", "--database-patience", "1s")))
	}
	nodes[0].CreateUser(owner, "Maya Lindqvist")
	nodes[0].CreateOrganization(organization, "Northwind Studio", owner, "enterprise")
	var sessions []*harness.Client
	session := nodes[0].SignIn(owner).In(organization)
	for _, node := range nodes {
		s := *session
		s.URL = node.URL
		sessions = append(sessions, &s)
	}
	project := session.CreateProject("APP", "The app", "organization")
	_, live := session.CreateToken(organization, []string{"tasks:read"}, nil)
	id, dead := session.CreateToken(organization, []string{"tasks:read"}, nil)
	for _, s := range sessions { // every cache has seen it alive
		s.With(dead).In("").Do("GET", "/me", nil).Want(http.StatusOK)
	}
	session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)

	var total harness.Tally
	var recoveries []time.Duration
	seen := &tally{statuses: map[int]int{}}
	var revoked []string
	for round := range rounds {
		w := &harness.Witness{Sessions: sessions, Organization: organization, Project: project, Round: round, Refusal: http.StatusServiceUnavailable}
		over := &atomic.Bool{}
		var probing sync.WaitGroup
		for _, s := range sessions {
			probing.Go(func() { probe{s.With(live).In(""), http.StatusOK, over}.run(seen) })
			probing.Go(func() { probe{s.With(dead).In(""), http.StatusUnauthorized, over}.run(seen) })
		}
		w.Work()
		time.Sleep(time.Duration(200+rand.IntN(800)) * time.Millisecond)
		begun := time.Now()
		c.Kill(t)
		promoted := time.Since(begun)
		recovered(t, sessions, live, begun.Add(90*time.Second))
		recoveries = append(recoveries, time.Since(begun))
		w.Stop()
		over.Store(true)
		probing.Wait()
		w.Check(t, sessions[rand.IntN(len(sessions))])
		revoked = append(revoked, w.Revoked()...)
		for _, s := range sessions {
			for _, value := range w.Revoked() {
				s.With(value).In("").Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")
			}
		}
		total.Add(w)
		if t.Failed() {
			t.Fatalf("round %d of %d", round+1, rounds)
		}
		checked := time.Since(begun)
		c.Heal(t)
		t.Logf("round %d: Kill returned after %v, verified after %v, checked after %v, healed after %v", round, promoted, recoveries[round], checked, time.Since(begun))
	}
	for i, value := range revoked { // and none of them came back in a later round
		sessions[i%len(sessions)].With(value).In("").Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")
	}
	slices.Sort(recoveries)
	t.Logf("%d primaries killed; acknowledged and found: %s", rounds, &total)
	t.Logf("every node verified again after %v (half of them), %v (slowest), from the kill", recoveries[len(recoveries)/2].Round(time.Millisecond), recoveries[len(recoveries)-1].Round(time.Millisecond))
	t.Logf("verifications during that: %v by status, none wrong; the slowest took %v", seen.statuses, seen.slowest.Round(time.Millisecond))
	for i, wrong := range seen.wrong {
		if i < 10 {
			t.Error(wrong)
		}
	}
	if total.Created == 0 || total.Revoked == 0 || total.Tasks == 0 || total.UnderWay == 0 {
		t.Error("the kills came too early to show anything")
	}
	if seen.statuses[http.StatusServiceUnavailable] == 0 {
		t.Error("no verification fell into the time without a primary")
	}
}

// recovered waits until every node verifies again, and can write.
func recovered(t *testing.T, sessions []*harness.Client, live string, deadline time.Time) {
	t.Helper()
	for _, s := range sessions {
		for {
			answer, err := s.With(live).In("").Try(http.MethodGet, "/me", nil)
			if err == nil && answer.Status == http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("a node does not verify: %v %+v", err, answer)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}
