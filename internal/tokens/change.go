package tokens

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/idempotency"
	"carnet/internal/optional"
	"carnet/internal/problem"
	"carnet/internal/text"
	"carnet/internal/tokens/rows"
)

// Change is what to change of a token. What is not set stays as it is.
type Change struct {
	Name      optional.Value[string]
	Scopes    optional.Value[[]string]
	Projects  optional.Value[[]string]  // null: not restricted
	ExpiresAt optional.Value[time.Time] // null: never
	Invalid   error                     // what the door could not read
}

// Change renames or narrows one of the caller's own tokens: fewer scopes, read instead of write, fewer projects, an
// earlier end. What would widen it is refused with widening_refused, except that an agent's grant may be widened by its
// owner, within their role and the organization's policy, after a fresh sign-in. A token that has ended is refused with
// conflict.
func (s *Service) Change(ctx context.Context, caller access.Caller, tokenID string, change Change) (Token, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return Token{}, err
	}
	changed, _, err := idempotency.Do(ctx, s.Idempotency, caller,
		func(ctx context.Context, tx *sql.Tx) error {
			if err := s.DB.Hold(ctx, tx, tokenID); err != nil {
				return err
			}
			if err := s.stillSignedIn(ctx, tx, caller); err != nil {
				return err
			}
			t, err := s.own(ctx, tx, caller, tokenID)
			if err != nil {
				return err
			}
			return s.holdPolicy(ctx, tx, t.Purpose, t.Organization)
		},
		func(ctx context.Context, tx *sql.Tx) (Token, error) {
			if change.Invalid != nil {
				return Token{}, change.Invalid
			}
			return s.change(ctx, tx, caller, tokenID, change)
		})
	if err != nil {
		return Token{}, fmt.Errorf("change a token: %w", err)
	}
	return changed, nil
}

func (s *Service) change(ctx context.Context, tx *sql.Tx, caller access.Caller, tokenID string, change Change) (Token, error) {
	before, err := s.own(ctx, tx, caller, tokenID)
	if err != nil {
		return Token{}, err
	}
	if err := notEnded(before); err != nil {
		return Token{}, err
	}
	after, widens, err := s.changed(ctx, tx, caller, before, change)
	if err != nil {
		return Token{}, err
	}
	if widens {
		if before.purpose != access.Agent {
			return Token{}, problem.New(problem.WideningRefused, "A token can only be narrowed: fewer scopes, read instead of write, fewer projects, an earlier end. Create a new token for more.")
		}
		if err := s.sensitive(caller); err != nil {
			return Token{}, err
		}
	}
	q := rows.New(tx)
	err = q.SetToken(ctx, rows.SetTokenParams{
		Name: after.name, NameKey: text.Fold(after.name), Scopes: after.scopes.Bits(), Restricted: flag(after.projects.Restricted()),
		ExpiresAt: db.NullMicros(after.expiresAt), OrganizationID: before.organizationID, ID: tokenID,
	})
	if err != nil {
		return Token{}, fmt.Errorf("store the change: %w", err)
	}
	if change.Projects.Set {
		if err := q.DeleteTokenProjects(ctx, rows.DeleteTokenProjectsParams{OrganizationID: before.organizationID, TokenID: tokenID}); err != nil {
			return Token{}, fmt.Errorf("store the change of projects: %w", err)
		}
		if err := insertProjects(ctx, q, before.organizationID, tokenID, after.projects); err != nil {
			return Token{}, err
		}
	}
	err = s.Audit.Record(ctx, tx, caller, audit.Event{
		Organization: before.organizationID, Action: "token.changed", Resource: tokenID,
		Detail: map[string]any{
			"widened": widens, "renamed": after.name != before.Name,
			"scopes_before": before.Scopes, "scopes": after.scopes.Names(),
			"projects_before": before.Projects, "projects": after.projects.IDs(),
			"expires_at_before": before.ExpiresAt, "expires_at": after.expiresAt,
		},
	})
	if err != nil {
		return Token{}, err
	}
	return s.own(ctx, tx, caller, tokenID)
}

// changed works out the token's new grant, and whether it goes beyond the old one in any way.
func (s *Service) changed(ctx context.Context, tx *sql.Tx, caller access.Caller, before Token, change Change) (after grant, widens bool, err error) {
	after = grant{now: s.Now(), name: before.Name, scopes: before.scopes, projects: before.projectSet(), expiresAt: before.ExpiresAt, purpose: before.purpose}
	after.standing.OrganizationID = before.organizationID
	if before.Role != nil {
		if after.standing, err = s.standing(ctx, tx, caller, before.Organization); err != nil {
			return after, false, err
		}
		after.role, _ = access.ParseRole(after.standing.Role)
	}
	// Former members are bound, too: the token works again when they come back.
	if err := s.bind(ctx, tx, &after, lenient); err != nil {
		return after, false, err
	}
	var wrong []problem.Field
	complain := func(f *problem.Field) {
		if f != nil {
			wrong = append(wrong, *f)
		}
	}
	var field *problem.Field
	if change.Name.Set {
		after.name, field = text.Line("body.name", change.Name.V, NameLimit)
		complain(field)
	}
	if change.Scopes.Set {
		how := strict
		if before.purpose != access.Agent && len(change.Scopes.V) > 0 {
			how = lenient // that it goes beyond what there was is what is wrong, whatever the role covers
		}
		// A scope that the token has stays, whatever role and policy let today.
		after.scopes, field = after.parseScopes(change.Scopes.V, how, before.scopes)
		complain(field)
		widens = field == nil && !after.scopes.Within(before.scopes)
	}
	if change.Projects.Set {
		after.projects, field, err = s.changedProjects(ctx, tx, caller, before, after, change.Projects)
		if err != nil {
			return after, false, err
		}
		complain(field)
		widens = widens || field == nil && !after.projects.Within(before.projectSet())
	}
	if change.ExpiresAt.Set {
		if after.expiresAt = nil; !change.ExpiresAt.Null {
			after.expiresAt, field = bounded(after.now, "body.expires_at", change.ExpiresAt.V)
			complain(field)
		}
		if later(after.expiresAt, before.ExpiresAt) {
			widens = true
			complain(after.tooLong("body.expires_at", after.expiresAt, before.CreatedAt))
		}
	}
	if widens && before.Role == nil && before.purpose == access.Agent && len(wrong) == 0 {
		return after, false, problem.New(problem.RoleInsufficient, "You have no role in the organization any more, so that nothing can be added. What the agent has can be narrowed.")
	}
	if len(wrong) > 0 {
		return after, false, problem.InvalidFields(wrong...)
	}
	return after, widens, nil
}

// changedProjects checks a new set of projects. Those that the token has already may stay, even if its user does not
// see them at the moment.
func (s *Service) changedProjects(ctx context.Context, tx *sql.Tx, caller access.Caller, before Token, after grant, asked optional.Value[[]string]) (access.ProjectSet, *problem.Field, error) {
	if asked.Null {
		return access.ProjectSet{}, nil, nil
	}
	if set := access.Only(asked.V...); before.restricted && len(asked.V) > 0 && set.Within(before.projectSet()) {
		return set, nil, nil
	}
	ids := asked.V
	if ids == nil {
		ids = []string{}
	}
	return s.projects(ctx, tx, caller, after, ids)
}

func (t Token) projectSet() access.ProjectSet {
	if !t.restricted {
		return access.ProjectSet{}
	}
	return access.Only(t.Projects...)
}

// later reports whether the end a comes after the end b, nil being never.
func later(a, b *time.Time) bool {
	switch {
	case b == nil:
		return false
	case a == nil:
		return true
	default:
		return a.After(*b)
	}
}

func notEnded(t Token) error {
	switch t.State {
	case Revoked:
		return problem.New(problem.Conflict, "The token was revoked and cannot be changed. Create a new one.")
	case Expired:
		return problem.New(problem.Conflict, "The token has expired and cannot be changed. Create a new one.")
	default:
		return nil
	}
}
