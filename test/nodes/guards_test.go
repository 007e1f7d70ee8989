package nodes_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"carnet/test/harness"
	"carnet/token"
)

// Each of these shows what one guard of the caches is for, in the plainest way; test/guards takes each guard out of the
// program and sees its test fail. They take turns on one cluster.
func TestP6EachGuardHoldsBackWhatItShould(t *testing.T) {
	c := newCluster(t, 2)
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
	body := map[string]any{"name": "A token", "organization": organization, "scopes": []string{"tasks:read"}}
	answer := until(t, "make a token", func() (*harness.Answer, bool) {
		answer, err := s.session.Try("POST", "/tokens", body)
		return answer, err == nil && answer.Status == http.StatusCreated
	})
	return answer.Text("token", "id"), answer.Text("value")
}

// revoke revokes a token through the first node.
func (s *stage) revoke(t *testing.T, id string) {
	t.Helper()
	until(t, "revoke a token", func() (*harness.Answer, bool) {
		answer, err := s.session.Try("DELETE", "/tokens/"+id, nil)
		return answer, err == nil && answer.Status == http.StatusOK
	})
}

// until repeats a call that a busy machine may turn away.
func until(t *testing.T, what string, call func() (*harness.Answer, bool)) *harness.Answer {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if answer, done := call(); done {
			return answer
		}
	}
	t.Fatalf("it was not possible to %s", what)
	return nil
}

// asked asks a node with a token.
func asked(n *node, value string) *harness.Client { return n.base.With(value) }

// warm has a node answer from its cache.
func warm(t *testing.T, n *node, value string) {
	t.Helper()
	for range 3 {
		until(t, "use a token", func() (*harness.Answer, bool) {
			answer, err := asked(n, value).Try("GET", "/me", nil)
			return answer, err == nil && answer.Status == http.StatusOK
		})
	}
}

// refused fails the test if the node lets a revoked token in. It may say that it cannot tell, but not for ever.
func refused(t *testing.T, n *node, value, why string) {
	t.Helper()
	until(t, "be refused", func() (*harness.Answer, bool) {
		answer, err := asked(n, value).Try("GET", "/me", nil)
		if err == nil && answer.Status == http.StatusOK {
			t.Fatalf("a revoked token was let in: %s", why)
		}
		return answer, err == nil && answer.Code() == "token_revoked"
	})
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
	s.revoke(t, id)
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

// late makes half of a node's connections late, other ones each time, and keeps it asking for a token until undone.
func (n *node) late(lateness time.Duration, value string) (undo func()) {
	for _, l := range n.links {
		l.beLate(lateness)
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 4 {
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
	return func() {
		close(stop)
		busy.Wait()
		n.mend()
	}
}

// readUnderWay revokes through one node while some of the other one's reads of the epoch take their time. A read that
// began before the revocation, and lands after it, must not serve a request that came after it.
func (s *stage) readUnderWay(t *testing.T) {
	n := s.nodes[1]
	for range 12 {
		id, value := s.token(t)
		warm(t, n, value)
		undo := n.late(60*time.Millisecond, value)
		time.Sleep(between(50, 150))
		s.revoke(t, id)
		var late sync.WaitGroup
		for range 6 {
			late.Go(func() {
				if answer, err := asked(n, value).Try("GET", "/me", nil); err == nil && answer.Status == http.StatusOK {
					t.Error("a revoked token was let in: on a read that was under way when it was presented")
				}
			})
		}
		late.Wait()
		undo()
		if t.Failed() {
			return
		}
	}
}

// lateFill revokes a token while another node looks it up for the first time, and hears of the revocation before the
// answer to that arrives.
func (s *stage) lateFill(t *testing.T) {
	n := s.nodes[1]
	_, other := s.token(t) // keeps the node hearing of changes
	for range 15 {
		id, value := s.token(t)
		ask := func(times int, value func() string) *sync.WaitGroup {
			var all sync.WaitGroup
			for range 6 {
				all.Go(func() {
					for range times {
						_, _ = asked(n, value()).Try("GET", "/me", nil)
					}
				})
			}
			return &all
		}
		// Made-up tokens are looked up every time: they open the connections.
		ask(3, func() string { return token.Mint(token.Personal).Reveal() }).Wait()
		undo := n.late(120*time.Millisecond, other)
		fills := ask(1, func() string { return value })
		time.Sleep(between(70, 190)) // between the reading, a late question later, and the arrival of a late answer
		s.revoke(t, id)
		fills.Wait()
		undo()
		refused(t, n, value, "what was read before the revocation was kept after it")
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
	s.revoke(t, id)
	refused(t, n, value, "a standby that stayed behind was asked")
}
