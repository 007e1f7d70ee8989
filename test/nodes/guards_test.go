package nodes_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"carnet/internal/org"
	"carnet/test/harness"
)

// Each of these shows what one guard of the caches is for, in the plainest way; test/guards takes each guard out of the
// program and sees its test fail. They take turns on one cluster.
func TestP6EachGuardHoldsBackWhatItShould(t *testing.T) {
	c := newCluster(t, 2)
	c.createUser(owner)
	if _, err := c.operator.Org.Operators().CreateOrganization(t.Context(), org.Founding{Slug: organization, Name: "Acme", OwnerEmail: owner}); err != nil {
		t.Fatal(err)
	}
	s := &stage{cluster: c, session: c.nodes[0].SignIn(owner)}
	t.Run("trigger: a change past the features is heard of", s.changePastTheFeatures)
	t.Run("drop on doubt: a node that missed changes forgets everything", s.missedChanges)
	t.Run("drop on doubt: a node that meets another history forgets everything", s.anotherHistory)
	t.Run("read began after arrival: a read that is under way is of no use", s.readUnderWay)
	t.Run("fill guard: what was read before a revocation is not kept after it", s.lateFill)
	t.Run("primary only: a standby that stays behind is not asked", s.standbyBehind)
}

// stage is where these tests take place: two nodes, and the session of a person with tokens.
type stage struct {
	*cluster
	session *harness.Client
}

// token makes a token through the first node.
func (s *stage) token(t *testing.T) (id, value string) {
	t.Helper()
	return s.session.CreateToken(organization, []string{"tasks:read"}, nil)
}

// asked asks a node with a token.
func asked(n *node, value string) *harness.Client { return n.base.With(value) }

// warm has a node answer from its cache.
func warm(t *testing.T, n *node, value string) {
	t.Helper()
	for range 3 {
		asked(n, value).Do("GET", "/me", nil).Want(http.StatusOK)
	}
}

// refused fails the test if the node lets a revoked token in. It may say that it cannot tell, but not for ever.
func refused(t *testing.T, n *node, value, why string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		answer := asked(n, value).Do("GET", "/me", nil)
		switch {
		case answer.Status == http.StatusOK:
			t.Fatalf("a revoked token was let in: %s", why)
		case answer.Code() == "token_revoked":
			return
		}
	}
	t.Fatal("the node does not recover")
}

func (s *stage) changePastTheFeatures(t *testing.T) {
	id, value := s.token(t)
	for _, n := range s.nodes {
		warm(t, n, value)
	}
	if err := s.sql(fmt.Sprintf("UPDATE tokens SET revoked_at = 1 WHERE id = '%s'", id)); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.nodes {
		refused(t, n, value, "the node did not hear of a change by raw SQL")
	}
}

func (s *stage) missedChanges(t *testing.T) {
	id, value := s.token(t)
	n := s.nodes[1]
	warm(t, n, value)
	for _, l := range n.links {
		l.sever()
	}
	s.session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
	// The revocation is not on record any more when the node comes back.
	if err := s.sql("DELETE FROM changes"); err != nil {
		t.Fatal(err)
	}
	n.mend()
	refused(t, n, value, "the record of changes had a hole")
}

func (s *stage) anotherHistory(t *testing.T) {
	id, value := s.token(t)
	n := s.nodes[1]
	warm(t, n, value)
	for _, l := range n.links {
		l.sever()
	}
	// What a failover to a standby that lost the last commits looks like, or a restored backup: it counts the same, but it
	// is another history, in which the token was revoked.
	err := s.sql("SET session_replication_role = replica",
		fmt.Sprintf("UPDATE tokens SET revoked_at = 1 WHERE id = '%s'", id),
		"UPDATE epoch SET mark = mark + 1", "UPDATE changes SET mark = mark + 1")
	if err != nil {
		t.Fatal(err)
	}
	n.mend()
	refused(t, n, value, "the history of the database was another one")
}

// readUnderWay revokes through one node while the other one's reads of the epoch take their time. A read that began
// before the revocation, and lands after it, must not serve a request that came after it.
func (s *stage) readUnderWay(t *testing.T) {
	n := s.nodes[1]
	for range 12 {
		id, value := s.token(t)
		warm(t, n, value)
		for _, l := range n.links {
			l.lateness.Store(int64(60 * time.Millisecond))
		}
		stop := make(chan struct{})
		var busy sync.WaitGroup
		for range 4 { // there is a read under way at any time
			busy.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = asked(n, value).Try("GET", "/me", nil)
					}
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		s.session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
		var late sync.WaitGroup
		for range 6 {
			late.Go(func() {
				if answer, err := asked(n, value).Try("GET", "/me", nil); err == nil && answer.Status == http.StatusOK {
					t.Error("a revoked token was let in: on a read that was under way when it was presented")
				}
			})
		}
		late.Wait()
		close(stop)
		busy.Wait()
		n.mend()
		if t.Failed() {
			return
		}
	}
}

// lateFill revokes a token while another node looks it up for the first time, over connections of which some are later
// than others.
func (s *stage) lateFill(t *testing.T) {
	n := s.nodes[1]
	_, other := s.token(t) // keeps the node hearing of changes
	for range 40 {
		id, value := s.token(t)
		for _, l := range n.links {
			l.lateness.Store(int64(30 * time.Millisecond))
		}
		var fills sync.WaitGroup
		for range 6 {
			fills.Go(func() {
				_, _ = asked(n, other).Try("GET", "/me", nil)
				_, _ = asked(n, value).Try("GET", "/me", nil)
				_, _ = asked(n, other).Try("GET", "/me", nil)
			})
		}
		time.Sleep(between(10, 70))
		s.session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
		fills.Wait()
		n.mend()
		refused(t, n, value, "what was read before the revocation was kept after it")
		if t.Failed() {
			return
		}
	}
}

// standbyBehind stops the standby's replay. The second node asks it first.
func (s *stage) standbyBehind(t *testing.T) {
	id, value := s.token(t)
	n := s.nodes[1]
	// A node that starts now may choose its server anew.
	n.restart()
	warm(t, n, value)
	if err := s.onStandby("SELECT pg_wal_replay_pause()"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.onStandby("SELECT pg_wal_replay_resume()") }()
	s.session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
	refused(t, n, value, "a standby that stayed behind was asked")
}
