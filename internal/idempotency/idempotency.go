// Package idempotency lets a sender repeat a write without fear: the same request under the same Idempotency-Key is
// carried out once and answered the same way every time.
//
// What was answered is kept in the transaction of the change itself, so that neither exists without the other, for a
// day. Authorization is never kept: a repeated request is decided anew, and a sender that may no longer do something is
// refused however often it was allowed before.
package idempotency

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"carnet/access"
	"carnet/internal/allowance"
	"carnet/internal/db"
	"carnet/internal/idempotency/rows"
	"carnet/internal/problem"
	"carnet/internal/request"
)

// Retention is how long an answer is kept.
const Retention = 24 * time.Hour

const keyLimit = 255 // characters

// Store keeps answers. It is safe for concurrent use.
type Store struct {
	db  *db.DB
	now func() time.Time
}

// New returns the store. now is the clock.
func New(d *db.DB, now func() time.Time) *Store { return &Store{db: d, now: now} }

// Do runs change in a write transaction, after authorize, and keeps its result under the request's Idempotency-Key
// ([request.From]) when it has one. When the key was used before with the same body, change is not run and the kept
// result (or refusal) comes back with replayed true; with another body the answer is idempotency_conflict.
//
// authorize runs every time, in the same transaction, and its refusal is never kept. Of the refusals of change, those
// are kept that would be the same the next time: not the ones about who is calling (401, 403, 404), not 429, nothing of 500
// and above, none that is very long, and not more than 300 in an hour for a person. Whatever change returns with an error is
// undone.
//
// T is kept as JSON: it must come back whole from [json.Unmarshal], and must not hold what may not be stored, such as a
// token's value.
func Do[T any](
	ctx context.Context, s *Store, caller access.Caller,
	authorize func(ctx context.Context, tx *sql.Tx) error,
	change func(ctx context.Context, tx *sql.Tx) (T, error),
) (result T, replayed bool, err error) {
	var refusal error
	err = s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := authorize(ctx, tx); err != nil {
			return err
		}
		info := request.From(ctx)
		if info.IdempotencyKey == "" || caller.CredentialID == "" {
			result, err = change(ctx, tx)
			return err
		}
		if !valid(info.IdempotencyKey) {
			return problem.Invalid("header.Idempotency-Key", "must be 1 to 255 printable ASCII characters")
		}
		e := entry{q: rows.New(tx), caller: caller.CredentialID, info: info, now: s.now()}
		kept, err := e.claim(ctx)
		if err != nil {
			return err
		}
		if kept != nil {
			replayed = true
			result, refusal, err = read[T](kept)
			return err
		}
		result, refusal, err = attempt(ctx, tx, change)
		if err != nil {
			return err
		}
		if refusal != nil {
			room := len(refusal.Error()) <= longestRefusal
			if room {
				if room, err = refusals(caller).Take(ctx, tx, s.now(), 1); err != nil {
					return err
				}
			}
			if !room { // nothing was done, so that nothing is lost when it is decided anew
				return e.release(ctx)
			}
		}
		return e.keep(ctx, result, refusal)
	})
	if err == nil {
		err = refusal
	}
	if err != nil {
		var none T
		return none, replayed, err
	}
	return result, replayed, nil
}

// longestRefusal is how long a refusal that is kept can be, in bytes.
const longestRefusal = 2000

// refusals bounds how many refusals are kept for a person, with all their credentials: they cost their sender nothing else.
func refusals(caller access.Caller) allowance.Allowance {
	return allowance.Allowance{Source: "refusals:" + caller.UserID, Most: 300, Period: time.Hour}
}

// attempt runs change so that it can be undone alone. A refusal that is to be kept comes back as such, and everything
// that change did before it is undone; any other error ends the whole transaction.
func attempt[T any](ctx context.Context, tx *sql.Tx, change func(ctx context.Context, tx *sql.Tx) (T, error)) (result T, refusal, err error) {
	var none T
	if _, err := tx.ExecContext(ctx, "SAVEPOINT attempt"); err != nil {
		return none, nil, fmt.Errorf("begin a change: %w", err)
	}
	result, err = change(ctx, tx)
	if err != nil {
		if !lasting(err) {
			return none, nil, err
		}
		refusal, result = err, none
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT attempt"); err != nil {
			return none, nil, fmt.Errorf("undo a change: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT attempt"); err != nil {
		return none, nil, fmt.Errorf("end a change: %w", err)
	}
	return result, refusal, nil
}

// lasting reports whether an error is a refusal that belongs to the request itself, and so to its key.
func lasting(err error) bool {
	var refusal *problem.Error
	if !errors.As(err, &refusal) {
		return false
	}
	switch status := refusal.Code.Status(); status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
		return false
	default:
		return status >= 400 && status < 500
	}
}

func valid(key string) bool {
	if len(key) > keyLimit {
		return false
	}
	for i := range len(key) {
		if key[i] < 0x20 || key[i] > 0x7e {
			return false
		}
	}
	return true
}

// outcome is what is stored: the result of a change, or why it was refused.
type outcome struct {
	Result  json.RawMessage `json:"result,omitempty"`
	Refusal *refused        `json:"refusal,omitempty"`
}

type refused struct {
	Code   problem.Code    `json:"code"`
	Detail string          `json:"detail"`
	Fields []problem.Field `json:"fields,omitempty"`
}

// entry is one use of a key.
type entry struct {
	q      *rows.Queries
	caller string
	info   *request.Info
	now    time.Time
}

// claim takes the key for this request and returns nil, or returns what was kept under it.
func (e entry) claim(ctx context.Context) (kept []byte, err error) {
	err = e.q.Forget(ctx, rows.ForgetParams{
		Caller: e.caller, Target: e.info.Target, Key: e.info.IdempotencyKey, CreatedAt: db.Micros(e.now.Add(-Retention)),
	})
	if err != nil {
		return nil, fmt.Errorf("forget an old idempotency key: %w", err)
	}
	claimed, err := e.q.Claim(ctx, rows.ClaimParams{
		Caller: e.caller, Target: e.info.Target, Key: e.info.IdempotencyKey,
		Fingerprint: e.info.Fingerprint[:], CreatedAt: db.Micros(e.now),
	})
	if err != nil {
		return nil, fmt.Errorf("claim an idempotency key: %w", err)
	}
	if claimed == 1 {
		return nil, nil
	}
	found, err := e.q.Kept(ctx, rows.KeptParams{Caller: e.caller, Target: e.info.Target, Key: e.info.IdempotencyKey})
	if err != nil {
		return nil, fmt.Errorf("read an idempotency key: %w", err)
	}
	if !bytes.Equal(found.Fingerprint, e.info.Fingerprint[:]) {
		return nil, problem.New(problem.IdempotencyConflict,
			"This Idempotency-Key was used before with another body. Send the same body again, or use a new key for a new request.")
	}
	return []byte(found.Outcome), nil
}

// release gives the key that this request claimed back.
func (e entry) release(ctx context.Context) error {
	if err := e.q.Release(ctx, rows.ReleaseParams{Caller: e.caller, Target: e.info.Target, Key: e.info.IdempotencyKey}); err != nil {
		return fmt.Errorf("release an idempotency key: %w", err)
	}
	return nil
}

// keep stores the outcome of the request that claimed the key.
func (e entry) keep(ctx context.Context, result any, refusal error) error {
	var o outcome
	var refusing *problem.Error
	if errors.As(refusal, &refusing) {
		o.Refusal = &refused{Code: refusing.Code, Detail: refusing.Detail, Fields: refusing.Fields}
	} else {
		text, err := json.Marshal(result)
		if err != nil {
			return fmt.Errorf("keep the outcome of a request: %w", err)
		}
		o.Result = text
	}
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("keep the outcome of a request: %w", err)
	}
	err = e.q.Keep(ctx, rows.KeepParams{Outcome: string(text), Caller: e.caller, Target: e.info.Target, Key: e.info.IdempotencyKey})
	if err != nil {
		return fmt.Errorf("keep the outcome of a request: %w", err)
	}
	return nil
}

// read returns what a stored outcome says.
func read[T any](stored []byte) (result T, refusal, err error) {
	var o outcome
	if err := json.Unmarshal(stored, &o); err != nil {
		return result, nil, fmt.Errorf("read the outcome of a request: %w", err)
	}
	if o.Refusal != nil {
		return result, &problem.Error{Code: o.Refusal.Code, Detail: o.Refusal.Detail, Fields: o.Refusal.Fields}, nil
	}
	if err := json.Unmarshal(o.Result, &result); err != nil {
		return result, nil, fmt.Errorf("read the outcome of a request: %w", err)
	}
	return result, nil, nil
}

// Clean deletes what was kept longer than [Retention], in small batches.
func (s *Store) Clean(ctx context.Context, now time.Time) error {
	return s.db.DeleteInBatches(ctx, `DELETE FROM idempotency_keys WHERE (caller, target, key) IN
		(SELECT caller, target, key FROM idempotency_keys WHERE created_at <= $1 LIMIT $2)`, db.Micros(now.Add(-Retention)))
}
