// Package lastuse remembers when, from where and how often credentials were used, without a write on the path of a
// request. Uses are collected in memory; every few seconds the owner of the table takes what is due and writes it in
// one batch. A crash loses what was not written yet: at most the last minute of a value that is coarse by design.
package lastuse

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Interval is how often, at most, the same credential's use is written.
const Interval = time.Minute

// Key names a credential.
type Key struct {
	Organization string // empty for sessions
	ID           string
}

// Origin is where a use came from.
type Origin struct {
	Address netip.Addr
	Client  string
}

// AddressText returns the address as text, "" when unknown.
func (o Origin) AddressText() string {
	if !o.Address.IsValid() {
		return ""
	}
	return o.Address.String()
}

// Use is the latest use of a credential and the number of uses by day since it was last handed over.
type Use struct {
	Key    Key
	At     int64 // Unix microseconds
	Origin Origin
	Calls  map[string]int64 // by day, YYYY-MM-DD in UTC; nil in answers of [Tracker.Last]
}

// Entry is the memory of one credential's uses. A cache holds on to it, so that recording finds it without a look-up.
type Entry struct {
	tracker *Tracker
	key     Key
	at      atomic.Int64
	calls   atomic.Int64
	origin  atomic.Pointer[Origin]
	queued  atomic.Bool
	written int64 // when it was last handed over, Unix microseconds; guarded by Tracker.flushing
}

// Tracker holds the entries of one kind of credential.
type Tracker struct {
	mu       sync.Mutex // guards entries and queue
	entries  map[Key]*Entry
	queue    []*Entry
	flushing sync.Mutex // one flush at a time
}

// New returns an empty tracker.
func New() *Tracker { return &Tracker{entries: map[Key]*Entry{}} }

// Entry returns the entry for key, the same one for as long as it has uses that are not written.
func (t *Tracker) Entry(key Key) *Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.entries[key]; ok {
		return e
	}
	return &Entry{tracker: t, key: key}
}

// Record notes a use at that time (Unix microseconds). It does not allocate while the origin stays the same.
func (e *Entry) Record(at int64, from Origin) {
	if last := e.origin.Load(); last == nil || *last != from {
		fresh := from
		e.origin.Store(&fresh)
	}
	for last := e.at.Load(); at > last && !e.at.CompareAndSwap(last, at); last = e.at.Load() {
	}
	e.calls.Add(1)
	if !e.queued.Load() && e.queued.CompareAndSwap(false, true) {
		e.tracker.enqueue(e)
	}
}

// At returns the time of the latest use that the entry knows, in Unix microseconds, 0 when it knows none.
func (e *Entry) At() int64 { return e.at.Load() }

func (t *Tracker) enqueue(e *Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries[e.key] = e
	t.queue = append(t.queue, e)
}

// Last returns the latest use of the credential that is not yet written, if there is one.
func (t *Tracker) Last(key Key) (Use, bool) {
	t.mu.Lock()
	e, ok := t.entries[key]
	t.mu.Unlock()
	if !ok || e.at.Load() == 0 {
		return Use{}, false
	}
	return e.use(), true
}

func (e *Entry) use() Use {
	u := Use{Key: e.key, At: e.at.Load()}
	if from := e.origin.Load(); from != nil {
		u.Origin = *from
	}
	return u
}

// Flush hands what is due to write, in batches of at most size: credentials not written within the last [Interval], or
// all when everything is true. What write fails to store is kept and handed over again.
func (t *Tracker) Flush(ctx context.Context, now time.Time, everything bool, size int, write func(context.Context, []Use) error) error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	queue := t.queue
	t.queue = nil
	t.mu.Unlock()

	var due, later []*Entry
	for _, e := range queue {
		if everything || now.UnixMicro()-e.written >= Interval.Microseconds() {
			due = append(due, e)
		} else {
			later = append(later, e)
		}
	}
	// In one order on all nodes, or two would wait for each other's rows.
	slices.SortFunc(due, func(a, b *Entry) int {
		return cmp.Or(strings.Compare(a.key.Organization, b.key.Organization), strings.Compare(a.key.ID, b.key.ID))
	})
	var failed error
	for len(due) > 0 {
		part := due[:min(size, len(due))]
		due = due[len(part):]
		if err := t.flush(ctx, now, part, write); err != nil {
			failed = err
			later = append(later, part...)
			later = append(later, due...)
			break
		}
	}
	t.mu.Lock()
	t.queue = append(t.queue, later...)
	t.mu.Unlock()
	return failed
}

func (t *Tracker) flush(ctx context.Context, now time.Time, part []*Entry, write func(context.Context, []Use) error) error {
	uses := make([]Use, len(part))
	counts := make([]int64, len(part))
	day := now.UTC().Format(time.DateOnly)
	for i, e := range part {
		// Unqueued first: a use from here on queues the entry again.
		e.queued.Store(false)
		counts[i] = e.calls.Swap(0)
		uses[i] = e.use()
		uses[i].Calls = map[string]int64{day: counts[i]}
	}
	if err := write(ctx, uses); err != nil {
		for i, e := range part {
			e.calls.Add(counts[i])
			e.queued.Store(true)
		}
		return err
	}
	for _, e := range part {
		e.written = now.UnixMicro()
	}
	t.forget(part)
	return nil
}

// forget drops the entries that have nothing left to write, so that the memory holds only what was just in use. The
// cache's handle to such an entry stays good: its next use brings it back.
func (t *Tracker) forget(part []*Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range part {
		if !e.queued.Load() && t.entries[e.key] == e {
			delete(t.entries, e.key)
		}
	}
}
