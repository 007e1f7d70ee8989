// Package allowance bounds how often something may be done in a while: tries from an address, writes of an agent. What is
// used up is kept in the store, so that it holds over all nodes.
//
// It is the generic cell rate algorithm: of each source it is remembered when it will have all of its allowance again.
// Each use puts that off by the time that one use takes to grow back, and there is no room when it lies a whole period
// ahead.
package allowance

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"carnet/internal/allowance/rows"
	"carnet/internal/db"
)

// Allowance is how often a source may do something in a period.
type Allowance struct {
	Source string // such as "tries:192.0.2.7"
	Most   int    // uses in a period, at least 1
	Period time.Duration
}

func (a Allowance) each() time.Duration { return a.Period / time.Duration(a.Most) }

// latest is when the source must have all of its allowance again, as things are, to use some now.
func (a Allowance) latest(now time.Time, uses int) int64 {
	return db.Micros(now.Add(a.Period - time.Duration(uses)*a.each()))
}

// Left reports whether there is room for some uses. It writes nothing.
func (a Allowance) Left(ctx context.Context, q db.Queryer, now time.Time, uses int) (bool, error) {
	free, err := rows.New(q).FreeAgain(ctx, a.Source)
	if errors.Is(err, sql.ErrNoRows) {
		free, err = 0, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at what a source has used up: %w", err)
	}
	return uses <= a.Most && free <= a.latest(now, uses), nil
}

// Take uses the allowance some times, in the transaction of what it is for, and reports whether there was room for all of
// them. Otherwise it uses nothing.
func (a Allowance) Take(ctx context.Context, tx *sql.Tx, now time.Time, uses int) (bool, error) {
	if uses > a.Most {
		return false, nil
	}
	n, err := rows.New(tx).Take(ctx, rows.TakeParams{
		Bucket: a.Source, Now: db.Micros(now), Cost: (time.Duration(uses) * a.each()).Microseconds(), Latest: a.latest(now, uses),
	})
	if err != nil {
		return false, fmt.Errorf("note what a source uses up: %w", err)
	}
	return n > 0, nil
}

// Wait returns after how many seconds there may be room for another use.
func (a Allowance) Wait() int { return int(a.each()/time.Second) + 1 }

// Clean forgets, in small batches, the sources that have all of their allowance.
func Clean(ctx context.Context, d *db.DB, now time.Time) error {
	return d.DeleteInBatches(ctx, `DELETE FROM rate_limits WHERE bucket IN (SELECT bucket FROM rate_limits WHERE free_again < $1 LIMIT $2)`, db.Micros(now))
}

// Use uses an allowance once, in a transaction of its own, and reports whether there was room. A use that is refused only
// reads.
func Use(ctx context.Context, d *db.DB, a Allowance, now time.Time) (room bool, err error) {
	room, err = a.Left(ctx, d.Read(), now, 1)
	if err != nil || !room {
		return false, err
	}
	err = d.Write(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		room, err = a.Take(ctx, tx, now, 1)
		return err
	})
	return room, err
}
