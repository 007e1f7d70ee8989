package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// maxFlights is how many reads of the epoch are under way at once. With two that take turns, whoever arrives waits for
	// half a round trip on average before their own read begins.
	maxFlights = 2
	// mostChanges is how many changes a node catches up with one by one. Beyond, forgetting everything is cheaper.
	mostChanges = 10_000
)

// flights lets many requests share few reads. A request joins a read that has not begun yet, never one that is under
// way: what that one saw may be older than the request.
type flights struct {
	look func(ctx context.Context) error

	mu       sync.Mutex
	boarding *flight // not begun: who arrives now joins it; nil: nobody waits
	flying   int
	landing  sync.WaitGroup
}

type flight struct {
	aboard int // guarded by flights.mu until it begins
	landed chan struct{}
	err    error // set before landed is closed
}

// join returns what a read that began after the call found.
func (f *flights) join(ctx context.Context) error {
	f.mu.Lock()
	mine := f.boarding
	if mine == nil {
		mine = &flight{landed: make(chan struct{})}
		f.boarding = mine
		if f.flying < maxFlights {
			f.flying++
			f.landing.Go(f.fly)
		}
	}
	mine.aboard++
	f.mu.Unlock()
	select {
	case <-mine.landed:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly reads for one flight after the other, until nobody waits.
func (f *flights) fly() {
	for current := f.depart(); current != nil; current = f.depart() {
		current.err = f.look(context.Background())
		close(current.landed)
		if errors.Is(current.err, errSilent) {
			f.ground(current.err)
			return
		}
	}
}

// mostYields bounds how often a flight lets others run before it begins: microseconds in all, unless the processors are
// busy.
const mostYields = 4

// depart returns the flight that begins now, nil when nobody waits for one. Whoever is ready to run may be about to ask,
// too, most of all those who were answered a moment ago, together. So it lets them run for as long as more come aboard:
// otherwise the first of such a crowd would fly alone, and all the others wait for two round trips.
func (f *flights) depart() *flight {
	for before, yields := -1, 0; yields < mostYields; yields++ {
		aboard := f.aboard()
		if aboard == before {
			break
		}
		before = aboard
		runtime.Gosched()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	current := f.boarding
	f.boarding = nil
	if current == nil {
		f.flying--
	}
	return current
}

// aboard returns how many wait for the next flight.
func (f *flights) aboard() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.boarding == nil {
		return 0
	}
	return f.boarding.aboard
}

// ground ends one who flies. Whoever boarded while the database was silent would wait for as long again to learn the same.
func (f *flights) ground(err error) {
	f.mu.Lock()
	left := f.boarding
	f.boarding = nil
	f.flying--
	f.mu.Unlock()
	if left != nil {
		left.err = err
		close(left.landed)
	}
}

// wait returns when no read is under way.
func (f *flights) wait() { f.landing.Wait() }

// fresh implements [DB.Fresh].
func (p *postgres) fresh(ctx context.Context) error {
	if err := p.db.Err(); err != nil {
		return err
	}
	p.db.stats.Waits.Add(1)
	return p.flights.join(ctx)
}

// errSilent says that the database did not answer anybody for a while: the node may be cut off.
var errSilent = errors.New("the database does not answer")

// attempt implements [DB.Attempt].
func (p *postgres) attempt(ctx context.Context) (context.Context, context.CancelFunc) {
	return p.limit(ctx, true)
}

// limit returns a context that ends when the database was silent for as long as its patience lasts, whoever asked it; one
// that is slow, but answers, has ten times as long. With provoke, signs of life are asked for meanwhile, because whoever
// waits may be the only one who does.
func (p *postgres) limit(ctx context.Context, provoke bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{cancel: cancel}
	begun, first := time.Now(), p.wait
	if provoke {
		first /= 4
	}
	w.start(first, func() (again time.Duration) {
		waited := time.Since(begun)
		quiet := min(waited, p.silence())
		if quiet >= p.wait || waited >= longestAttempt*p.wait {
			cancel(errSilent)
			return 0
		}
		if provoke {
			go func() { _ = p.flights.join(ctx) }()
			return p.wait / 4
		}
		return p.wait - quiet
	})
	return ctx, w.stop
}

// watchdog looks at something from time to time until it is stopped.
type watchdog struct {
	cancel context.CancelCauseFunc
	mu     sync.Mutex // guards what follows
	timer  *time.Timer
	over   bool
}

// start has look called after a while, and again after as long as it says; 0 ends it.
func (w *watchdog) start(after time.Duration, look func() (again time.Duration)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(after, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.over {
			return
		}
		if again := look(); again > 0 {
			w.timer.Reset(again)
		}
	})
}

func (w *watchdog) stop() {
	w.mu.Lock()
	w.over = true
	w.timer.Stop()
	w.mu.Unlock()
	w.cancel(nil)
}

// alive notes that the database answered.
func (p *postgres) alive() { p.heard.Store(int64(time.Since(p.started))) }

// silence returns how long ago the database last answered.
func (p *postgres) silence() time.Duration {
	return time.Since(p.started) - time.Duration(p.heard.Load())
}

// look reads the epoch once, and tells the subscribers what has changed.
func (p *postgres) look(ctx context.Context) error {
	ctx, done := p.limit(ctx, false)
	defer done()
	begun := time.Now()
	known := *p.applied.Load()
	seen, err := readEpoch(ctx, patient{p.watcher})
	if err == nil {
		p.alive()
		p.db.stats.reads.Add(1)
		p.db.stats.ReadSeconds.Observe(time.Since(begun).Seconds())
		err = p.observe(ctx, known, seen)
	}
	if err != nil {
		p.db.stats.Failures.Add(1)
	}
	if errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}

// readEpoch reads the epoch from the primary. A standby may be behind, and says so.
func readEpoch(ctx context.Context, q Queryer) (e Epoch, err error) {
	err = q.QueryRowContext(ctx, `SELECT value, mark FROM epoch WHERE id = 1 AND NOT pg_is_in_recovery()`).Scan(&e.Value, &e.Mark)
	if errors.Is(err, sql.ErrNoRows) {
		return e, errStandby
	}
	if err != nil {
		return e, fmt.Errorf("read the epoch: %w", err)
	}
	return e, nil
}

// observe brings the subscribers up to an epoch that was seen by a read which began when they knew of known. When it
// returns nil, they know at least that epoch.
func (p *postgres) observe(ctx context.Context, known, seen Epoch) error {
	if *p.applied.Load() == seen {
		p.db.stats.saw(seen)
		return nil
	}
	p.applying.Lock()
	defer p.applying.Unlock()
	applied := *p.applied.Load()
	switch {
	case applied == seen:
	case seen.Value < known.Value, seen.Value == applied.Value:
		p.drop(seen, "the history of the database is not the one that was known")
	case seen.Value < applied.Value:
		// An older read that lands late: another has overtaken it.
	default:
		if err := p.catchUp(ctx, applied, seen); err != nil {
			return err
		}
	}
	p.db.stats.saw(*p.applied.Load())
	return nil
}

// catchUp reads what changed between applied and seen, and what came after, and tells the subscribers. Any doubt about its
// being all makes them forget everything. The caller holds applying.
func (p *postgres) catchUp(ctx context.Context, applied, seen Epoch) error {
	rows, err := patient{p.watcher}.QueryContext(ctx, `SELECT epoch, mark, kind, key FROM changes WHERE epoch >= $1 ORDER BY epoch LIMIT $2`, applied.Value, mostChanges+1)
	if err != nil {
		return fmt.Errorf("read the changes: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var changes []Change
	var at Epoch
	read, whole := 0, true
	for rows.Next() {
		var e Epoch
		var c Change
		if err := rows.Scan(&e.Value, &e.Mark, &c.Kind, &c.Key); err != nil {
			return fmt.Errorf("read the changes: %w", err)
		}
		if read++; read == 1 {
			whole = e == applied // the history goes through where we are
		} else if e != at {
			whole = whole && e.Value == at.Value+1 // and has no hole
		}
		if at = e; e.Value > applied.Value {
			changes = append(changes, c)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the changes: %w", err)
	}
	reaches := at.Value > seen.Value || at == seen
	if !whole || !reaches || read > mostChanges {
		p.drop(seen, "the changes since the last look are not all on record")
		return nil
	}
	for _, s := range p.db.subscribers {
		s.Apply(at, changes)
	}
	p.applied.Store(&at)
	return nil
}

// drop makes the subscribers forget everything. The caller holds applying.
func (p *postgres) drop(epoch Epoch, why string) {
	// Rare and never routine: a failover that lost something, a restored database, or two primaries.
	p.db.log.Warn("forgot everything that was cached", "because", why, "epoch", epoch.Value)
	p.db.stats.Drops.Add(1)
	for _, s := range p.db.subscribers {
		s.Drop(epoch)
	}
	p.applied.Store(&epoch)
}
