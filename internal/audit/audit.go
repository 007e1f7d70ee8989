// Package audit keeps the record of what happened: who did what to what, with which credential, from where, and how it
// ended.
//
// A change of state is recorded in its own transaction ([Service.Record]), so that the record and the change stand or
// fall together. Events hold ids and words, never values of credentials and never the text that people wrote.
package audit

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/audit/rows"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/request"
)

// Outcome says how what is recorded ended.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"    // a change of state was made
	Allowed Outcome = "allowed" // a request was let through
	Denied  Outcome = "denied"  // a request was refused; the event's reason says by which gate
)

// Event is one thing to record. Who did it and from where comes from the caller and the request.
type Event struct {
	Organization string  // id; empty for events of an account alone
	Action       string  // resource and verb, such as "token.created" or "member.role_changed"
	Resource     string  // id of what it was done to
	Project      string  // id of the project that it lies in, if any
	Outcome      Outcome // Done when empty
	Reason       string  // for Denied
	// Detail says more in ids, names of fields and words of the product, such as the old and the new role.
	Detail map[string]any
}

// Service records events.
type Service struct {
	now func() time.Time
}

// New returns the service. now is the clock.
func New(now func() time.Time) *Service { return &Service{now: now} }

// Record writes an event in the transaction of the change that it records. The caller may be the zero Caller, for what
// happens before anybody is signed in or what an operator does.
func (s *Service) Record(ctx context.Context, tx *sql.Tx, caller access.Caller, e Event) error {
	info := request.From(ctx)
	detail := []byte("{}")
	if len(e.Detail) > 0 {
		var err error
		if detail, err = json.Marshal(e.Detail); err != nil {
			return fmt.Errorf("record %s: %w", e.Action, err)
		}
	}
	if e.Outcome == "" {
		e.Outcome = Done
	}
	kind, purpose := "", ""
	switch caller.Kind {
	case access.SessionCaller:
		kind = "session"
	case access.TokenCaller:
		kind, purpose = "token", caller.Purpose.String()
	case access.Anonymous:
	}
	err := rows.New(tx).InsertEvent(ctx, rows.InsertEventParams{
		OrganizationID: e.Organization, ID: id.New(id.Event), At: db.Micros(s.now()),
		ActorID: caller.UserID, CredentialKind: kind, CredentialID: caller.CredentialID, Purpose: purpose,
		Action: e.Action, ResourceID: e.Resource, ProjectID: e.Project,
		Outcome: string(e.Outcome), Reason: e.Reason, Detail: string(detail),
		RequestID: info.ID, Method: info.Method, Route: info.Route, Address: info.AddressText(), Client: info.Client,
	})
	if err != nil {
		return fmt.Errorf("record %s: %w", e.Action, err)
	}
	return nil
}

// Past is an event as it is looked up.
type Past struct {
	At       time.Time
	Actor    string // user id
	Action   string
	Resource string
	Project  string
	Detail   map[string]any
}

// ByToken returns what was done with a token, the latest first, at most so many: changes of state that were made, and
// not what became of the token itself.
func (s *Service) ByToken(ctx context.Context, q db.Queryer, organizationID, tokenID string, limit int32) ([]Past, error) {
	found, err := rows.New(q).ByToken(ctx, rows.ByTokenParams{OrganizationID: organizationID, TokenID: tokenID, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("look up what a token did: %w", err)
	}
	list := make([]Past, len(found))
	for i, f := range found {
		if list[i], err = past(f); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// OfToken returns how a token was paused, resumed and changed, the latest first, at most so many.
func (s *Service) OfToken(ctx context.Context, q db.Queryer, organizationID, tokenID string, limit int32) ([]Past, error) {
	found, err := rows.New(q).OfToken(ctx, rows.OfTokenParams{OrganizationID: organizationID, TokenID: tokenID, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("look up what became of a token: %w", err)
	}
	list := make([]Past, len(found))
	for i, f := range found {
		if list[i], err = past(rows.ByTokenRow(f)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func past(r rows.ByTokenRow) (Past, error) {
	p := Past{At: db.Time(r.At), Actor: r.ActorID, Action: r.Action, Resource: r.ResourceID, Project: r.ProjectID}
	if err := json.Unmarshal([]byte(r.Detail), &p.Detail); err != nil {
		return Past{}, fmt.Errorf("read the detail of an event: %w", err)
	}
	return p, nil
}
