package account

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"carnet/internal/account/rows"
	"carnet/internal/allowance"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/request"
)

// The guard slows guessing without locking anybody out. Failures are counted for each account and each source of tries:
// a known device, or else the network that the tries come from. After ten free tries the source waits 30 seconds before
// the next, then twice as long each time, up to an hour; a success forgets. A stranger who guesses at somebody's account
// therefore slows only themselves: its owner signs in from a known device, or from another network, as if nothing were.
//
// A guesser with many networks is met by a second count over all sources without a known device, with more room: after
// 100 failures in a row, tries from unknown places wait as well (NIST SP 800-63B-4 section 3.2.2).
const (
	freeTries      = 10
	freeTriesInAll = 100
	firstWait      = 30 * time.Second
	longestWait    = time.Hour
	longestWaitAll = 5 * time.Minute
	failuresExpire = 24 * time.Hour // how long failures are remembered
	everywhere     = "everywhere"
)

// sourceOf names where tries come from.
func sourceOf(ctx context.Context, device string) string {
	if device != "" {
		return "device:" + hex.EncodeToString(deviceDigest(device)[:16])
	}
	return "network:" + network(request.From(ctx).Address)
}

// network returns the network that an address belongs to: whoever has one address of it can have the others.
func network(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown"
	}
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return "unknown"
	}
	return p.String()
}

// counters returns the counts that a try from the source belongs to, each with its free tries and longest wait.
func counters(source string) []counter {
	own := counter{source: source, free: freeTries, longest: longestWait}
	if len(source) > 8 && source[:8] == "network:" {
		return []counter{own, {source: everywhere, free: freeTriesInAll, longest: longestWaitAll}}
	}
	return []counter{own}
}

type counter struct {
	source  string
	free    int64
	longest time.Duration
}

// mayTry refuses with rate_limited while the source has to wait for the account.
func (s *Service) mayTry(ctx context.Context, q db.Queryer, account, source string) error {
	now := s.Now()
	for _, c := range counters(source) {
		row, err := rows.New(q).Failures(ctx, rows.FailuresParams{Account: account, Source: c.source})
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at former failures: %w", err)
		}
		if wait := db.Time(row.BlockedUntil).Sub(now); wait > 0 {
			seconds := int((wait + time.Second - 1) / time.Second)
			return &problem.Error{Code: problem.RateLimited, RetryAfter: seconds, Limit: int(c.free), Detail: fmt.Sprintf("Too many wrong passwords from here. Wait %s, then try again.", wait.Round(time.Second))}
		}
	}
	return nil
}

// failed counts a failure. It refuses with rate_limited when others made the source wait while this password was being
// checked: tries at once are as many as tries in a row.
func (s *Service) failed(ctx context.Context, account, source string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.DB.Hold(ctx, tx, "failures:"+account); err != nil {
			return err
		}
		if err := s.mayTry(ctx, tx, account, source); err != nil {
			return err
		}
		q, now := rows.New(tx), s.Now()
		blocked := false
		for _, c := range counters(source) {
			row, err := q.Failures(ctx, rows.FailuresParams{Account: account, Source: c.source})
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("look at former failures: %w", err)
			}
			if now.Sub(db.Time(row.LastFailedAt)) > failuresExpire {
				row.Failures = 0
			}
			failures := row.Failures + 1
			until := now
			if failures >= c.free {
				until = now.Add(waitAfter(failures-c.free, c.longest))
				blocked = true
			}
			err = q.RecordFailure(ctx, rows.RecordFailureParams{
				Account: account, Source: c.source, Failures: failures, LastFailedAt: db.Micros(now), BlockedUntil: db.Micros(until),
			})
			if err != nil {
				return fmt.Errorf("count a failure: %w", err)
			}
		}
		if !blocked {
			return nil
		}
		return s.Audit.Record(ctx, tx, actor(""), audit.Event{Action: "session.refused", Outcome: audit.Denied, Reason: "guessing"})
	})
}

// waitAfter is how long to wait after so many failures beyond the free ones.
func waitAfter(beyond int64, longest time.Duration) time.Duration {
	if beyond > 20 {
		return longest
	}
	return min(firstWait<<beyond, longest)
}

// succeeded forgets the failures of the source, and those over all sources: who knows the password is the owner. It
// refuses like failed, so that nobody finds the right password among many that they try at once.
func (s *Service) succeeded(ctx context.Context, account, source string) error {
	if err := s.mayTry(ctx, s.DB.Read(), account, source); err != nil {
		return err
	}
	sources := []string{source, everywhere}
	known := false
	for _, from := range sources {
		_, err := rows.New(s.DB.Read()).Failures(ctx, rows.FailuresParams{Account: account, Source: from})
		known = known || err == nil
	}
	if !known {
		return nil // nothing to forget: no write at an ordinary sign-in
	}
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.DB.Hold(ctx, tx, "failures:"+account); err != nil {
			return err
		}
		for _, from := range sources {
			if err := rows.New(tx).ForgetFailures(ctx, rows.ForgetFailuresParams{Account: account, Source: from}); err != nil {
				return fmt.Errorf("forget failures: %w", err)
			}
		}
		return nil
	})
}

// allow lets through as many tries from the request's address as it may make: anything that costs a password hash or a
// mail. It refuses the rest with rate_limited. The count is the store's, so that it holds over all nodes; a refused try
// only reads. Work that no request asked for is not limited.
func (s *Service) allow(ctx context.Context) error {
	address := request.From(ctx).Address
	if !address.IsValid() {
		return nil
	}
	tries := allowance.Allowance{Source: "tries:" + address.String(), Most: s.SignInsPerMinute, Period: time.Minute}
	if address.Is6() {
		tries.Source = "tries:" + network(address) // one customer has them all
	}
	room, err := allowance.Use(ctx, s.DB, tries, s.Now())
	if err != nil {
		return fmt.Errorf("count a try: %w", err)
	}
	if room {
		return nil
	}
	return &problem.Error{Code: problem.RateLimited, RetryAfter: tries.Wait(), Limit: s.SignInsPerMinute, Detail: "Too many tries from your address. Wait a moment, then try again."}
}
