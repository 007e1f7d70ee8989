package lastuse_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/lastuse"
)

var (
	key   = lastuse.Key{Organization: "org_1", ID: "tok_1"}
	here  = lastuse.Origin{Address: netip.MustParseAddr("192.0.2.1"), Client: "curl/8"}
	there = lastuse.Origin{Address: netip.MustParseAddr("2001:db8::1"), Client: "ci"}
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// table is what a feature keeps of the uses that it is handed.
type table struct {
	mu      sync.Mutex
	latest  map[lastuse.Key]lastuse.Use
	calls   map[string]int64
	batches []int
	fail    func() error
}

func (s *table) write(_ context.Context, uses []lastuse.Use) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return err
		}
	}
	if s.latest == nil {
		s.latest, s.calls = map[lastuse.Key]lastuse.Use{}, map[string]int64{}
	}
	s.batches = append(s.batches, len(uses))
	for _, u := range uses {
		s.latest[u.Key] = u
		for day, n := range u.Calls {
			s.calls[u.Key.ID+" "+day] += n
		}
	}
	return nil
}

func (s *table) total() (n int64) {
	for _, calls := range s.calls {
		n += calls
	}
	return n
}

func flush(t *testing.T, tracker *lastuse.Tracker, s *table, now time.Time, everything bool) {
	t.Helper()
	if err := tracker.Flush(t.Context(), now, everything, 100, s.write); err != nil {
		t.Fatal(err)
	}
}

func TestUseIsKnownAtOnceAndWrittenLater(t *testing.T) {
	t.Parallel()
	tracker, s := lastuse.New(), &table{}
	e := tracker.Entry(key)
	if _, ok := tracker.Last(key); ok || e.At() != 0 {
		t.Error("an unused credential has a use")
	}
	e.Record(noon.UnixMicro(), here)
	e.Record(noon.Add(time.Second).UnixMicro(), there)
	last, ok := tracker.Last(key)
	if !ok || last.At != noon.Add(time.Second).UnixMicro() || last.Origin != there || last.Key != key || e.At() != last.At {
		t.Errorf("the latest use is %+v, %t", last, ok)
	}
	if tracker.Entry(key) != e {
		t.Error("a credential with unwritten uses has two entries")
	}
	flush(t, tracker, s, noon.Add(2*time.Second), false)
	got := s.latest[key]
	if got.At != last.At || got.Origin != there || !maps.Equal(s.calls, map[string]int64{"tok_1 2026-03-01": 2}) {
		t.Errorf("written: %+v, %v", got, s.calls)
	}
	if _, ok := tracker.Last(key); ok {
		t.Error("what is written is still in memory")
	}
}

func TestLatestUseNeverGoesBack(t *testing.T) {
	t.Parallel()
	tracker := lastuse.New()
	e := tracker.Entry(key)
	e.Record(noon.UnixMicro(), here)
	e.Record(noon.Add(-time.Hour).UnixMicro(), here)
	if e.At() != noon.UnixMicro() {
		t.Error("a late report took the latest use back")
	}
}

func TestSameCredentialIsWrittenOnceAMinuteAtMost(t *testing.T) {
	t.Parallel()
	tracker, s := lastuse.New(), &table{}
	e := tracker.Entry(key)
	// In use every second for five minutes, looked at every five seconds.
	for second := range 300 {
		now := noon.Add(time.Duration(second) * time.Second)
		e.Record(now.UnixMicro(), here)
		if second%5 == 0 {
			flush(t, tracker, s, now, false)
		}
	}
	if len(s.batches) != 5 {
		t.Errorf("written %d times in five minutes", len(s.batches))
	}
	flush(t, tracker, s, noon.Add(300*time.Second), true)
	if len(s.batches) != 6 || s.total() != 300 {
		t.Errorf("at the end %d batches with %d of 300 calls", len(s.batches), s.total())
	}
}

func TestBatchesAreNoLargerThanAsked(t *testing.T) {
	t.Parallel()
	tracker, s := lastuse.New(), &table{}
	for i := range 25 {
		tracker.Entry(lastuse.Key{ID: fmt.Sprint(i)}).Record(noon.UnixMicro(), here)
	}
	if err := tracker.Flush(t.Context(), noon, false, 10, s.write); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(s.batches) != "[10 10 5]" || len(s.latest) != 25 {
		t.Errorf("batches of %v, %d credentials", s.batches, len(s.latest))
	}
	if err := tracker.Flush(t.Context(), noon.Add(time.Hour), true, 10, s.write); err != nil || len(s.batches) != 3 {
		t.Errorf("nothing to write was written: %v, %v", s.batches, err)
	}
}

func TestNothingIsLostWhenAWriteFails(t *testing.T) {
	t.Parallel()
	tracker, s := lastuse.New(), &table{}
	broken := errors.New("disk full")
	writes := 0
	s.fail = func() error {
		if writes++; writes == 2 {
			return broken
		}
		return nil
	}
	for i := range 30 {
		tracker.Entry(lastuse.Key{ID: fmt.Sprint(i)}).Record(noon.UnixMicro(), here)
	}
	if err := tracker.Flush(t.Context(), noon, false, 10, s.write); !errors.Is(err, broken) {
		t.Fatalf("the failure was hidden: %v", err)
	}
	if len(s.latest) != 10 {
		t.Fatalf("%d were written before the failure", len(s.latest))
	}
	// Uses go on meanwhile, of what was written, what failed and what was not tried.
	for i := range 30 {
		id := lastuse.Key{ID: fmt.Sprint(i)}
		if _, known := tracker.Last(id); known == (s.latest[id].At != 0) {
			t.Errorf("credential %d is in memory: %t", i, known)
		}
		tracker.Entry(id).Record(noon.Add(time.Second).UnixMicro(), there)
	}
	s.batches = nil
	flush(t, tracker, s, noon.Add(2*time.Minute), false)
	if fmt.Sprint(s.batches) != "[30]" {
		t.Errorf("30 credentials were handed over in batches of %v", s.batches)
	}
	if s.total() != 60 || len(s.latest) != 30 {
		t.Errorf("%d of 60 calls by %d of 30 credentials are written", s.total(), len(s.latest))
	}
	for k, u := range s.latest {
		if u.At != noon.Add(time.Second).UnixMicro() || u.Origin != there {
			t.Errorf("%s was last used %+v", k.ID, u)
		}
	}
	flush(t, tracker, s, noon.Add(time.Hour), true)
	if s.total() != 60 {
		t.Errorf("%d calls after another flush: something was counted twice", s.total())
	}
}

func TestWritingFailsForAsLongAsItFails(t *testing.T) {
	t.Parallel()
	tracker, s := lastuse.New(), &table{}
	failing := true
	s.fail = func() error {
		if failing {
			return errors.New("still full")
		}
		return nil
	}
	e := tracker.Entry(key)
	for i := range 10 {
		e.Record(noon.Add(time.Duration(i)*time.Second).UnixMicro(), here)
		if err := tracker.Flush(t.Context(), noon.Add(time.Duration(i)*time.Hour), true, 10, s.write); err == nil {
			t.Fatal("the failure was hidden")
		}
	}
	failing = false
	flush(t, tracker, s, noon.Add(11*time.Hour), true)
	if s.total() != 10 || s.latest[key].At != noon.Add(9*time.Second).UnixMicro() {
		t.Errorf("%d of 10 calls, last at %d", s.total(), s.latest[key].At)
	}
}

// TestNoUseIsLostUnderLoad records from many goroutines, through handles that a cache would hold, while flushes run and
// some of them fail.
func TestNoUseIsLostUnderLoad(t *testing.T) {
	t.Parallel()
	const users, rounds, credentials = 8, 2000, 5
	tracker, s := lastuse.New(), &table{}
	var tick atomic.Int64
	s.fail = func() error {
		if tick.Add(1)%3 == 0 {
			return errors.New("now and then")
		}
		return nil
	}
	handles := make([]*lastuse.Entry, credentials)
	for i := range handles {
		handles[i] = tracker.Entry(lastuse.Key{Organization: "o", ID: fmt.Sprint(i)})
	}
	var recording, flushing sync.WaitGroup
	done := make(chan struct{})
	flushing.Go(func() {
		now := noon
		for {
			select {
			case <-done:
				return
			default:
				now = now.Add(time.Second)
				_ = tracker.Flush(t.Context(), now, now.Second()%2 == 0, 2, s.write)
			}
		}
	})
	for u := range users {
		recording.Go(func() {
			for i := range rounds {
				origin := here
				if i%7 == 0 {
					origin = there
				}
				handles[(u+i)%credentials].Record(noon.Add(time.Duration(i)*time.Microsecond).UnixMicro(), origin)
				_, _ = tracker.Last(lastuse.Key{Organization: "o", ID: fmt.Sprint(i % credentials)})
			}
		})
	}
	recording.Wait()
	close(done)
	flushing.Wait()
	s.fail = nil
	flush(t, tracker, s, noon.Add(time.Hour), true)
	if s.total() != users*rounds {
		t.Errorf("%d of %d calls are written", s.total(), users*rounds)
	}
	for k, u := range s.latest {
		if u.At < noon.Add((rounds-credentials)*time.Microsecond).UnixMicro() {
			t.Errorf("%s was last used at %d", k.ID, u.At-noon.UnixMicro())
		}
	}
}

func TestRecordingDoesNotAllocate(t *testing.T) {
	tracker := lastuse.New()
	e := tracker.Entry(key)
	e.Record(noon.UnixMicro(), here)
	at := noon.UnixMicro()
	if n := testing.AllocsPerRun(1000, func() { at++; e.Record(at, here) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	e := lastuse.New().Entry(key)
	at := noon.UnixMicro()
	b.ReportAllocs()
	for b.Loop() {
		at++
		e.Record(at, here)
	}
}
