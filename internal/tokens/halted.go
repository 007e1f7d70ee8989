package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/allowance"
	"carnet/internal/db"
	"carnet/internal/mail"
	"carnet/internal/problem"
	"carnet/internal/text"
	"carnet/internal/tokens/rows"
)

// Halt is that somebody paused or revoked an agent of somebody else. It halts the agent, and not its owner: they may connect
// another, which both of them should know.
type Halt struct {
	Revoked bool // rather than paused
	By      string
	At      time.Time
	Reason  string

	byID, byEmail string
}

// Halted returns how an admin last halted an agent of the caller in the organization that slug names and in a client of that
// family; nil when none did.
func (s *Service) Halted(ctx context.Context, caller access.Caller, slug, client string) (*Halt, error) {
	standing, err := s.standing(ctx, s.DB.Read(), caller, slug)
	if err != nil {
		return nil, err
	}
	return s.halted(ctx, standing.OrganizationID, caller.UserID, client)
}

// halted returns how an agent of a user in a client of that family was last halted.
func (s *Service) halted(ctx context.Context, organizationID, userID, client string) (*Halt, error) {
	q := s.DB.Read()
	named, err := clientsLike(ctx, q, organizationID, []string{Family(text.Likeness(client))})
	if err != nil {
		return nil, err
	}
	args := &db.Args{}
	const columns = "SELECT t.paused_at, t.paused_by, t.pause_reason, t.revoked_at, t.revoked_by, t.revoke_reason FROM tokens t WHERE "
	conditions := []string{
		"t.organization_id = " + args.Add(organizationID), "t.user_id = " + args.Add(userID), "t.purpose = 'agent'", ofClients(named, args),
		"((t.revoked_by <> '' AND t.revoked_by <> t.user_id) OR (t.paused_by <> '' AND t.paused_by <> t.user_id))",
	}
	var paused, revoked sql.NullInt64
	var pausedBy, revokedBy, pauseReason, revokeReason string
	query := columns + strings.Join(conditions, " AND ") + " ORDER BY COALESCE(t.revoked_at, t.paused_at) DESC LIMIT 1"
	err = q.QueryRowContext(ctx, query, args.Values()...).Scan(&paused, &pausedBy, &pauseReason, &revoked, &revokedBy, &revokeReason)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	if err != nil {
		return nil, fmt.Errorf("look for an agent that was halted: %w", err)
	}
	h := &Halt{At: db.Time(paused.Int64), Reason: pauseReason, byID: pausedBy}
	if revokedBy != "" && revokedBy != userID {
		h = &Halt{Revoked: true, At: db.Time(revoked.Int64), Reason: revokeReason, byID: revokedBy}
	}
	person, err := rows.New(q).Person(ctx, h.byID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read who halted an agent: %w", err)
	}
	h.By, h.byEmail = person.Name, person.Email
	return h, nil
}

// returnsTold is how often in a day somebody is told that the same person connects agents again.
const returnsTold = 3

// TellReturned mails whoever halted an agent that its owner connected another of the same client, while they have a say in
// that. It is called when that exists.
func (s *Service) TellReturned(ctx context.Context, t Token, ownerID string) {
	if t.purpose != access.Agent {
		return
	}
	if err := s.tellReturned(ctx, t, ownerID); err != nil {
		s.Log.Warn("whoever halted an agent could not be told of another", "error", err)
	}
}

func (s *Service) tellReturned(ctx context.Context, t Token, ownerID string) error {
	halt, err := s.halted(ctx, t.organizationID, ownerID, t.Client.Name)
	if err != nil || halt == nil || halt.byEmail == "" {
		return err
	}
	standing, err := s.standing(ctx, s.DB.Read(), access.Caller{UserID: halt.byID}, t.Organization)
	if problem.Is(err, problem.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	role, _ := access.ParseRole(standing.Role)
	if standing.SuspendedAt.Valid || !role.OrganizationPermissions().Has(access.OrganizationAdminister) {
		return nil
	}
	told := allowance.Allowance{Source: "returned:" + halt.byID + ":" + ownerID, Most: returnsTold, Period: 24 * time.Hour}
	if room, err := allowance.Use(ctx, s.DB, told, s.Now()); err != nil || !room {
		return err
	}
	owner, err := rows.New(s.DB.Read()).Person(ctx, ownerID)
	if err != nil {
		return fmt.Errorf("read whose agent it is: %w", err)
	}
	did := "paused"
	if halt.Revoked {
		did = "revoked"
	}
	s.Mail.Post(mail.Message{
		To: halt.byEmail, Subject: fmt.Sprintf("An agent that you %s in %s was connected again", did, t.organizationName),
		Text: fmt.Sprintf("You %s an agent of %s (%s) in %s on %s. They have connected another one of the same client:\n\n  %s, %s, for %s\n\nIt works. Look at it: %s/organizations/%s/agents/%s\n",
			did, quoted(owner.Name), owner.Email, quoted(t.organizationName), halt.At.Format("2 January 2006 at 15:04 UTC"), quoted(t.Name), t.Prefix, quoted(t.Client.Name), s.PublicURL, t.Organization, t.ID),
	})
	return nil
}
