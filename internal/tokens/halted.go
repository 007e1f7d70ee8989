package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/mail"
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
	return s.halted(ctx, standing.OrganizationID, caller.UserID, client, "")
}

// halted leaves out one agent, which is the one that was just made.
func (s *Service) halted(ctx context.Context, organizationID, userID, client, except string) (*Halt, error) {
	q := rows.New(s.DB.Read())
	found, err := q.HaltedAgents(ctx, rows.HaltedAgentsParams{OrganizationID: organizationID, UserID: userID})
	if err != nil {
		return nil, fmt.Errorf("look for agents that were halted: %w", err)
	}
	var last *Halt
	for _, f := range found {
		if f.ID == except || text.Likeness(Family(f.ClientName)) != text.Likeness(Family(client)) {
			continue
		}
		h := Halt{At: db.Time(f.PausedAt.Int64), Reason: f.PauseReason, byID: f.PausedBy}
		if f.RevokedBy != "" && f.RevokedBy != userID {
			h = Halt{Revoked: true, At: db.Time(f.RevokedAt.Int64), Reason: f.RevokeReason, byID: f.RevokedBy}
		}
		if last == nil || h.At.After(last.At) {
			last = &h
		}
	}
	if last == nil {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	person, err := q.Person(ctx, last.byID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read who halted an agent: %w", err)
	}
	last.By, last.byEmail = person.Name, person.Email
	return last, nil
}

// TellReturned mails whoever halted an agent that its owner connected another of the same client. It is called when that
// exists.
func (s *Service) TellReturned(ctx context.Context, t Token, ownerID string) {
	if t.purpose != access.Agent {
		return
	}
	halt, err := s.halted(ctx, t.organizationID, ownerID, t.Client.Name, t.ID)
	if err != nil {
		s.Log.Warn("whoever halted an agent could not be told of another", "error", err)
		return
	}
	owner, err := rows.New(s.DB.Read()).Person(ctx, ownerID)
	if halt == nil || halt.byEmail == "" || err != nil {
		return
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
}
