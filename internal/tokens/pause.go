package tokens

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/tokens/rows"
)

// Pause halts one of the caller's own agents without revoking it: from the next request on it is refused, until
// [Service.Resume]. It asks for no fresh sign-in, and can be repeated.
func (s *Service) Pause(ctx context.Context, caller access.Caller, tokenID string) (Token, error) {
	return s.setOwnPause(ctx, caller, tokenID, true)
}

// Resume lets one of the caller's own agents go on that they paused themselves. What an admin paused, an admin resumes.
func (s *Service) Resume(ctx context.Context, caller access.Caller, tokenID string) (Token, error) {
	return s.setOwnPause(ctx, caller, tokenID, false)
}

func (s *Service) setOwnPause(ctx context.Context, caller access.Caller, tokenID string, paused bool) (after Token, err error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return Token{}, err
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.DB.Hold(ctx, tx, tokenID); err != nil {
			return err
		}
		if err := s.stillSignedIn(ctx, tx, caller); err != nil {
			return err
		}
		before, err := s.own(ctx, tx, caller, tokenID)
		if err != nil {
			return err
		}
		if before.purpose != access.Agent {
			return problem.New(problem.Conflict, "Only agents can be paused and resumed. Narrow or revoke this token instead.")
		}
		if !paused && before.paused && !before.pausedBy(caller.UserID) {
			return problem.New(problem.RoleInsufficient, "An admin of the organization paused this agent. An admin can resume it.")
		}
		if err := s.setPause(ctx, tx, caller, before, paused, false, ""); err != nil {
			return err
		}
		after, err = s.own(ctx, tx, caller, tokenID)
		return err
	})
	return after, err
}

// PauseAgent halts a member's agent without revoking it. Its owner is told by mail who it was and why, and cannot resume
// it.
func (s *Service) PauseAgent(ctx context.Context, caller access.Caller, slug, tokenID string, why Removal) (Overseen, error) {
	return s.setOverseenPause(ctx, caller, slug, tokenID, why, true)
}

// ResumeAgent lets a member's agent go on, whoever paused it.
func (s *Service) ResumeAgent(ctx context.Context, caller access.Caller, slug, tokenID string) (Overseen, error) {
	return s.setOverseenPause(ctx, caller, slug, tokenID, Removal{}, false)
}

func (s *Service) setOverseenPause(ctx context.Context, caller access.Caller, slug, tokenID string, why Removal, paused bool) (after Overseen, err error) {
	changed, reason := false, ""
	err = s.overseeing(ctx, caller, slug, tokenID, func(ctx context.Context, tx *sql.Tx, acting access.Caller, o Overseen) error {
		var err error
		if reason, err = why.checked(); err != nil {
			return err
		}
		// An admin's pause takes the place of the owner's own.
		changed = paused && (!o.paused || o.pausedBy(o.Owner.UserID))
		if err := s.setPause(ctx, tx, acting, o.Token, paused, true, reason); err != nil {
			return err
		}
		after, err = s.overseen(ctx, tx, acting.Organization, tokenID)
		return err
	})
	if err == nil && changed {
		s.tell(ctx, caller, after.Owner, pausedMail(after, reason))
	}
	return after, err
}

// setPause stores who halted an agent, or that nobody does. One that has ended is refused with conflict.
func (s *Service) setPause(ctx context.Context, tx *sql.Tx, caller access.Caller, t Token, paused, overseen bool, reason string) error {
	if err := notEnded(t); err != nil {
		return err
	}
	if paused == t.paused && (!paused || !overseen || t.pausedBy(caller.UserID)) {
		return nil
	}
	params, action := rows.SetPausedParams{OrganizationID: t.organizationID, ID: t.ID}, "token.resumed"
	if paused {
		params.PausedAt, params.PausedBy, params.PauseReason = sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}, caller.UserID, reason
		action = "token.paused"
	}
	if _, err := rows.New(tx).SetPaused(ctx, params); err != nil {
		return fmt.Errorf("store the pause: %w", err)
	}
	return s.Audit.Record(ctx, tx, caller, audit.Event{
		Organization: t.organizationID, Action: action, Resource: t.ID,
		Detail: map[string]any{"prefix": t.Prefix, "overseen": overseen, "reason": reason},
	})
}

// pausedBy reports whether it was that user who paused the agent.
func (t Token) pausedBy(userID string) bool { return t.PausedBy != nil && *t.PausedBy == userID }

// Shortening is what a shorter life does to the agents that there are.
type Shortening struct {
	Ended  int64 // now
	Sooner int64 // later than now
}

// CountShortened returns what [Service.ShortenIn] would do now, so that people can be told before they decide it. Admins and
// owners may ask.
func (s *Service) CountShortened(ctx context.Context, caller access.Caller, slug string, life time.Duration) (Shortening, error) {
	caller, err := s.Org.Inside(caller, slug, access.OrganizationAdminister)
	if err != nil {
		return Shortening{}, err
	}
	n, err := rows.New(s.DB.Read()).CountShortened(ctx, rows.CountShortenedParams{Life: life.Microseconds(), Now: db.Micros(s.Now()), OrganizationID: caller.Organization})
	if err != nil {
		return Shortening{}, fmt.Errorf("count the agents that a shorter life ends: %w", err)
	}
	return Shortening{Ended: n.Ended, Sooner: n.Shortened - n.Ended}, nil
}

// ShortenIn ends the organization's agents when they have lived for so long, where they would live longer; those that have
// already end now. The room of organizations calls it when their policy says so, and records that. [Service.AnnounceEnds]
// tells their owners.
func (s *Service) ShortenIn(ctx context.Context, tx *sql.Tx, organizationID string, life time.Duration) error {
	err := rows.New(tx).ShortenAgents(ctx, rows.ShortenAgentsParams{Life: life.Microseconds(), Now: db.Micros(s.Now()), OrganizationID: organizationID})
	if err != nil {
		return fmt.Errorf("shorten the lives of agents: %w", err)
	}
	return nil
}
