package nodes_test

import (
	"math/rand/v2"
	"time"
)

// fault is something that goes wrong for a while, and is right again when it returns.
type fault struct {
	name   string
	weight int
	happen func(r *run)
}

// faults are what the run goes through. The lateness differs from connection to connection, so that what a node reads of
// a grant may arrive after what it reads of the epoch: fills race revocations.
var faults = []fault{
	{"a node stalls", 4, func(r *run) { r.anyNode().pause(between(300, 2000)) }},
	{"a node is killed", 3, func(r *run) { r.anyNode().restart() }},
	{"a node's connections are cut", 4, func(r *run) {
		n := r.anyNode()
		for _, l := range n.links {
			l.sever()
		}
		time.Sleep(between(50, 1500))
		n.mend()
	}},
	{"a node hears nothing of the database", 4, func(r *run) {
		n := r.anyNode()
		for _, l := range n.links {
			l.silent.Store(true)
		}
		time.Sleep(between(300, 1500))
		n.mend()
	}},
	{"answers of the database come late and out of step", 8, func(r *run) {
		for _, n := range r.nodes[:1+rand.IntN(len(r.nodes))] {
			for _, l := range n.links {
				l.beLate(between(2, 60))
			}
		}
		time.Sleep(between(1000, 4000))
		for _, n := range r.nodes {
			n.mend()
		}
	}},
	{"the standby stops replaying", 3, func(r *run) {
		_ = r.onStandby("SELECT pg_wal_replay_pause()")
		time.Sleep(between(500, 2000))
		_ = r.onStandby("SELECT pg_wal_replay_resume()")
	}},
	{"the change log is cut off behind a node that stalls", 3, func(r *run) {
		n := r.anyNode()
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.pause(between(600, 1200))
		}()
		time.Sleep(between(300, 500))
		_ = r.sql("DELETE FROM changes WHERE epoch < (SELECT value FROM epoch)")
		<-done
	}},
	{"the database restarts", 1, func(r *run) { r.restartDatabase() }},
	{"the primary is killed and its standby promoted", 1, func(r *run) { r.failOver() }},
}

func between(least, most int) time.Duration {
	return time.Duration(least+rand.IntN(most-least)) * time.Millisecond
}

// breakThings has one fault after another happen, until it is told to stop: first each of them once.
func (r *run) breakThings(stop <-chan struct{}) {
	var dice []fault
	for _, f := range faults {
		for range f.weight {
			dice = append(dice, f)
		}
	}
	for i := 0; ; i++ {
		f := dice[rand.IntN(len(dice))]
		if i < len(faults) {
			f = faults[i]
		}
		f.happen(r)
		count(&r.faults, f.name)
		select {
		case <-stop:
			return
		case <-time.After(between(200, 1200)):
		}
	}
}

func (c *cluster) onStandby(statement string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.standby.Do("postgres", statement)
}
