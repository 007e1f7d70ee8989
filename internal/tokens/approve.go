package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/tokens/rows"
	"carnet/token"
)

// Approval is a token that a person granted to a client, and that the client is to fetch.
type Approval struct {
	UserID, SessionID string
	OrganizationID    string
	Name              string
	Scopes            access.Scopes
	Projects          []string // ids; nil: not restricted
	ExpiresAt         time.Time
	Client            Client
	ClientID          string
	Replaces          bool // the person's live agents of the same client in the organization end
}

// Approve checks a draft for an agent as [Service.Create] does, a fresh sign-in included, and makes nothing. The room of
// clients calls it in the transaction in which it keeps what was granted.
func (s *Service) Approve(ctx context.Context, tx *sql.Tx, caller access.Caller, draft Draft) (Approval, error) {
	if err := s.stillSignedIn(ctx, tx, caller); err != nil {
		return Approval{}, err
	}
	g, err := s.check(ctx, tx, caller, draft, strict)
	if err != nil {
		return Approval{}, err
	}
	if err := s.sensitive(caller); err != nil {
		return Approval{}, err
	}
	return Approval{
		UserID: caller.UserID, SessionID: caller.CredentialID, OrganizationID: g.standing.OrganizationID, Name: g.name, Scopes: g.scopes,
		Projects: g.projects.IDs(), ExpiresAt: *g.expiresAt, Client: g.client,
	}, nil
}

// Redeem makes the token that was approved, when everything that was checked then still holds: the session, the person, the
// membership, the role, the policy, the projects. Afterwards it is a token like one from the settings page.
func (s *Service) Redeem(ctx context.Context, tx *sql.Tx, a Approval) (Issued, error) {
	if err := s.DB.Hold(ctx, tx, "creation:"+a.UserID); err != nil {
		return Issued{}, err
	}
	caller := access.Caller{Kind: access.SessionCaller, UserID: a.UserID, CredentialID: a.SessionID}
	if err := s.stillSignedIn(ctx, tx, caller); err != nil {
		return Issued{}, err
	}
	slug, err := rows.New(tx).OrganizationSlug(ctx, a.OrganizationID)
	if errors.Is(err, sql.ErrNoRows) {
		return Issued{}, problem.Absent()
	}
	if err != nil {
		return Issued{}, fmt.Errorf("look at the organization: %w", err)
	}
	if err := s.holdPolicy(ctx, tx, access.Agent.String(), slug); err != nil {
		return Issued{}, err
	}
	g, err := s.check(ctx, tx, caller, Draft{
		Name: a.Name, Organization: slug, Scopes: a.Scopes.Names(), Projects: a.Projects, ExpiresAt: &a.ExpiresAt, Purpose: access.Agent.String(), Client: a.Client,
	}, strict)
	if err != nil {
		return Issued{}, err
	}
	if !g.standing.EmailVerifiedAt.Valid || g.standing.SuspendedAt.Valid {
		return Issued{}, problem.New(problem.EmailUnverified, "The account cannot create tokens now.")
	}
	if err := s.underQuota(ctx, tx, a.UserID); err != nil {
		return Issued{}, err
	}
	if a.Replaces {
		if err := s.endFormer(ctx, tx, caller, a); err != nil {
			return Issued{}, err
		}
	}
	g.clientID = a.ClientID
	value, t, err := s.insert(ctx, tx, caller, g)
	return Issued{Token: t, Value: &value, Owner: a.UserID}, err
}

// endFormer revokes the live agents of the same client that a person has in the organization.
func (s *Service) endFormer(ctx context.Context, tx *sql.Tx, caller access.Caller, a Approval) error {
	former, err := rows.New(tx).AgentsOfClient(ctx, rows.AgentsOfClientParams{OrganizationID: a.OrganizationID, UserID: a.UserID, ClientID: a.ClientID})
	if err != nil {
		return fmt.Errorf("find former agents: %w", err)
	}
	for _, id := range former {
		t, err := s.own(ctx, tx, caller, id)
		if err != nil {
			return err
		}
		if _, err := s.revoke(ctx, tx, caller, t); err != nil {
			return err
		}
	}
	return nil
}

// reusedReason is what a token says whose code came a second time.
const reusedReason = "its sign-in code was used twice"

// RevokeReused ends a token because the code that it was fetched with came again. It needs no caller: whoever has the code
// is not its person.
func (s *Service) RevokeReused(ctx context.Context, tx *sql.Tx, organizationID, tokenID string) error {
	n, err := rows.New(tx).RevokeToken(ctx, rows.RevokeTokenParams{
		RevokedAt: sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}, RevokeReason: reusedReason, OrganizationID: organizationID, ID: tokenID,
	})
	if err != nil || n == 0 {
		return err
	}
	return s.Audit.Record(ctx, tx, access.Caller{}, audit.Event{Organization: organizationID, Action: "token.revoked", Resource: tokenID, Detail: map[string]any{"reason": reusedReason}})
}

// RevokeOfClient ends the token that a value belongs to, for the client that fetched it (RFC 7009). A value that belongs to
// no token, or to one that has ended, is no error; a token that another client fetched, or nobody, is not_found.
func (s *Service) RevokeOfClient(ctx context.Context, text, clientID string) error {
	value, err := token.Parse(text)
	if err != nil {
		return nil //nolint:nilerr // there is nothing to revoke (RFC 7009 section 2.2)
	}
	digest := value.Digest()
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		found, err := rows.New(tx).AgentOfValue(ctx, rows.AgentOfValueParams{LookupID: value.Lookup().String(), Digest: digest[:]})
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find a token: %w", err)
		}
		if found.ClientID != clientID {
			return problem.Absent()
		}
		if err := s.DB.Hold(ctx, tx, found.ID); err != nil {
			return err
		}
		caller := access.Caller{Kind: access.TokenCaller, UserID: found.UserID, CredentialID: found.ID, Organization: found.OrganizationID, Purpose: access.Agent}
		t, err := s.own(ctx, tx, caller, found.ID)
		if err != nil {
			return err
		}
		_, err = s.revokeBecause(ctx, tx, caller, t, signedOutReason)
		return err
	})
}

// signedOutReason is what a token says that its client gave back.
const signedOutReason = "its program signed out"
