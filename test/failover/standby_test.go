package failover_test

import (
	"fmt"
	"testing"
	"time"

	"carnet/internal/pgtest"
	"carnet/test/harness"
)

// pair is a primary with a synchronous standby, whom an operator promotes by hand.
type pair struct {
	primary, standby *pgtest.Server
	url              string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	// A process that is killed loses nothing that it handed to the system; only a power cut would. So the disk may be lazy.
	const lazy = "fsync=off"
	primary, err := pgtest.New(lazy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = primary.Close() })
	if err := primary.CreateDatabase("carnet", ""); err != nil {
		t.Fatal(err)
	}
	standby, err := primary.Standby("standby", lazy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = standby.Close() })
	p := &pair{primary: primary, standby: standby}
	p.url = fmt.Sprintf("postgres://carnet@127.0.0.1:%d,127.0.0.1:%d/carnet?sslmode=disable", primary.Port, standby.Port)
	p.wait(t)
	return p
}

func (p *pair) URL() string { return p.url }

// Kill kills the primary and has the standby promoted a moment later.
func (p *pair) Kill(t *testing.T) {
	t.Helper()
	p.primary.Kill()
	time.Sleep(300 * time.Millisecond)
	if err := p.standby.Promote(); err != nil {
		t.Fatal(err)
	}
	p.primary, p.standby = p.standby, p.primary
}

// Heal makes the killed server the standby of the new primary.
func (p *pair) Heal(t *testing.T) {
	t.Helper()
	if err := p.standby.Follow(p.primary, "standby"); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
}

// wait has commits wait for the standby from now on.
func (p *pair) wait(t *testing.T) {
	t.Helper()
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()"} {
		if err := p.primary.Do("postgres", statement); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		state, err := p.primary.Ask("postgres", "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'standby' AND sync_state = 'sync' AND state = 'streaming'")
		if err == nil && state == "1" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the standby does not follow: %s %v\n%s", state, err, p.standby.Log())
		}
	}
}

// The crash rounds again, on PostgreSQL: the primary is killed and its synchronous standby promoted. What was acknowledged
// is there, what was revoked stays revoked, and in between nobody is told anything wrong.
func TestWhatWasAcknowledgedSurvivesAFailover(t *testing.T) {
	t.Parallel()
	survive(t, newPair(t), harness.Rounds(5, 100))
}
