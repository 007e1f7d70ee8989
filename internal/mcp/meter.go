package mcp

import (
	"sync"
	"time"
)

// meter bounds how often each token calls, on this node: a guard against agents that run in circles, which need not be
// exact over all nodes and must cost nothing. It is the generic cell rate algorithm, with a burst of a minute's calls.
type meter struct {
	every time.Duration // one call
	now   func() time.Time

	mu      sync.Mutex // guards what follows
	free    map[string]time.Time
	cleaned time.Time
}

func newMeter(perMinute int, now func() time.Time) *meter {
	return &meter{every: time.Minute / time.Duration(perMinute), now: now, free: map[string]time.Time{}}
}

// wait counts a call, and returns 0; or after how many seconds there is room for another one.
func (m *meter) wait(credential string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.clean(now)
	free := m.free[credential]
	if free.Before(now) {
		free = now
	}
	free = free.Add(m.every)
	if over := free.Sub(now) - time.Minute; over > 0 {
		return int(over/time.Second) + 1
	}
	m.free[credential] = free
	return 0
}

// clean forgets, once a minute, the tokens that have all of their calls again.
func (m *meter) clean(now time.Time) {
	if now.Sub(m.cleaned) < time.Minute {
		return
	}
	m.cleaned = now
	for credential, free := range m.free {
		if free.Before(now) {
			delete(m.free, credential)
		}
	}
}
