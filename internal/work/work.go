// Package work is the tracker that Carnet protects out of the box: projects, the tasks in them, and the comments on
// those.
//
// It is where the promise about projects is kept. Nothing is read but through [access.Filter]: the sources of all
// queries (see source.go) are made from one, so that what a caller does not see cannot be found, counted, searched,
// sorted by or named in an error. What a caller sees but may not do is refused by [access.Decide], asked inside the
// transaction that would do it.
//
// Deleting is soft. What was deleted lies in the recycle bin for [Retention] and can be restored; a deleted project
// takes its tasks and comments out of sight with it.
package work

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/allowance"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/idempotency"
	"carnet/internal/page"
	"carnet/internal/problem"
)

// Retention is how long what was deleted can be restored.
const Retention = 30 * 24 * time.Hour

// Config is what the service needs.
type Config struct {
	DB          *db.DB
	Audit       *audit.Service
	Idempotency *idempotency.Store
	Cursors     *page.Cursors
	Now         func() time.Time
}

// Service is the room's one door. Its methods refuse in the order of the contract: scope, absence, role, body, version.
// Every write takes the request's Idempotency-Key.
type Service struct{ Config }

// New returns the service.
func New(c Config) *Service { return &Service{c} }

// Precondition is what a change without a body can carry.
type Precondition struct {
	IfMatch *int64 // the version that the sender saw; nil: any
	Invalid error  // what the door could not read
}

// check refuses what could not be read, then a version that is not the one seen.
func (p Precondition) check(version int64) error {
	if p.Invalid != nil {
		return p.Invalid
	}
	return sameVersion(p.IfMatch, version)
}

func sameVersion(seen *int64, version int64) error {
	if seen != nil && *seen != version {
		return stale()
	}
	return nil
}

func stale() error {
	return problem.New(problem.VersionStale, "It was changed since you read it. Read it again, and send your change with the new version.")
}

// written turns the number of rows that an update of one version changed into an error: none means that somebody else
// was faster, which only an engine with several writers lets happen.
func written(rows int64, err error, doing string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if rows == 0 {
		return stale()
	}
	return nil
}

// do runs a write: authorize, then change, once for each idempotency key. found is what authorize found.
func do[F, T any](
	ctx context.Context, s *Service, caller access.Caller,
	authorize func(ctx context.Context, tx *sql.Tx) (F, error),
	change func(ctx context.Context, tx *sql.Tx, found F) (T, error),
) (T, error) {
	return doUnless(ctx, s, caller, authorize, func(F) bool { return false }, change)
}

// doUnless is do for deletions, which find what was deleted already, too: it may be by the same request, whose answer is
// kept. What is gone otherwise is absent, whatever else could be said of the request.
func doUnless[F, T any](
	ctx context.Context, s *Service, caller access.Caller,
	authorize func(ctx context.Context, tx *sql.Tx) (F, error),
	gone func(found F) bool,
	change func(ctx context.Context, tx *sql.Tx, found F) (T, error),
) (T, error) {
	var found F
	result, _, err := idempotency.Do(ctx, s.Idempotency, caller,
		func(ctx context.Context, tx *sql.Tx) (err error) {
			found, err = authorize(ctx, tx)
			return err
		},
		func(ctx context.Context, tx *sql.Tx) (T, error) {
			var none T
			if gone(found) {
				return none, problem.Absent()
			}
			if err := s.spend(ctx, tx, caller, 1); err != nil {
				return none, err
			}
			return change(ctx, tx, found)
		})
	return result, err
}

// spend counts writes of an agent, and refuses with rate_limited those beyond what its organization lets agents make. A
// write that is refused counts for nothing.
func (s *Service) spend(ctx context.Context, tx *sql.Tx, caller access.Caller, writes int) error {
	if caller.Kind != access.TokenCaller || caller.Purpose != access.Agent || caller.WriteRate == 0 || writes == 0 {
		return nil
	}
	writing := allowance.Allowance{Source: "writes:" + caller.CredentialID, Most: caller.WriteRate, Period: time.Hour}
	room, err := writing.Take(ctx, tx, s.Now(), writes)
	if err != nil || room {
		return err
	}
	e := problem.Newf(problem.RateLimited, "Your organization's agent policy lets each agent make %d writes in an hour, and this one has made them. Wait, and check that it is not running in circles.", caller.WriteRate)
	e.RetryAfter, e.Limit = writing.Wait(), caller.WriteRate
	return e
}

// agentOf returns the name of the agent that is calling, nil when none is.
func agentOf(caller access.Caller) *string {
	if caller.Kind != access.TokenCaller || caller.Purpose != access.Agent {
		return nil
	}
	return named(caller.TokenName)
}

func named(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// nothing is the result of a deletion.
type nothing struct{}

func (s *Service) record(ctx context.Context, tx *sql.Tx, caller access.Caller, action, project, resource string, detail map[string]any) error {
	return s.Audit.Record(ctx, tx, caller, audit.Event{
		Organization: caller.Organization, Action: action, Resource: resource, Project: project, Detail: detail,
	})
}
