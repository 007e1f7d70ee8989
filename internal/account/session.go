package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/account/rows"
	"carnet/internal/allowance"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/problem"
)

// SessionIdle is how long a session lives without use. Verification holds sessions to it as well.
const SessionIdle = 14 * 24 * time.Hour

// Session is a session as its person sees it. It never holds the value.
type Session struct {
	ID             string      `json:"id"`
	Kind           SessionKind `json:"kind"`
	CreatedAt      time.Time   `json:"created_at"`
	CreatedFrom    string      `json:"created_from"`
	ExpiresAt      time.Time   `json:"expires_at"`
	LastUsedAt     *time.Time  `json:"last_used_at"`
	LastUsedIP     *string     `json:"last_used_ip"`
	LastUsedClient *string     `json:"last_used_client"`
	Current        bool        `json:"current"` // the one that asks
}

// sessionsShown caps the list: nobody looks further.
const sessionsShown = 200

// Sessions lists the caller's live sessions, the latest first.
func (s *Service) Sessions(ctx context.Context, caller access.Caller) ([]Session, error) {
	if err := problem.RequireMay(&caller, access.AccountManage); err != nil {
		return nil, err
	}
	now := s.Now()
	found, err := s.DB.Read().QueryContext(ctx, `
		SELECT s.id, s.kind, s.created_at, s.created_from, s.expires_at, s.client, l.last_used_at, l.address, l.client
		FROM sessions s LEFT JOIN session_use l ON l.session_id = s.id
		WHERE s.user_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2
		ORDER BY s.created_at DESC, s.id DESC LIMIT $3`, caller.UserID, db.Micros(now), sessionsShown)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	defer func() { _ = found.Close() }()
	list := []Session{}
	for found.Next() {
		var one Session
		var created, expires int64
		var firstClient string
		var used sql.NullInt64
		var address, client sql.NullString
		if err := found.Scan(&one.ID, &one.Kind, &created, &one.CreatedFrom, &expires, &firstClient, &used, &address, &client); err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		one.CreatedAt, one.ExpiresAt, one.Current = db.Time(created), db.Time(expires), one.ID == caller.CredentialID
		if use, ok := s.Uses.Last(lastuse.Key{ID: one.ID}); ok && use.At > used.Int64 {
			used = sql.NullInt64{Int64: use.At, Valid: true}
			address.String, client.String = use.Origin.AddressText(), use.Origin.Client
		}
		if !used.Valid {
			used = sql.NullInt64{Int64: created, Valid: true}
			address.String, client.String = one.CreatedFrom, firstClient
		}
		if now.Sub(db.Time(used.Int64)) >= SessionIdle {
			continue // it cannot be used any more
		}
		one.LastUsedAt, one.LastUsedIP, one.LastUsedClient = db.NullTime(used), &address.String, &client.String
		list = append(list, one)
	}
	return list, found.Err()
}

// SignOut ends the caller's own session.
func (s *Service) SignOut(ctx context.Context, caller access.Caller) error {
	err := s.EndSession(ctx, caller, caller.CredentialID)
	if problem.Is(err, problem.NotFound) || problem.Is(err, problem.SessionEnded) {
		return nil // it ended a moment ago: done all the same
	}
	return err
}

// EndSession ends one of the caller's sessions, from the next request on. Others' sessions are absent.
func (s *Service) EndSession(ctx context.Context, caller access.Caller, sessionID string) error {
	return s.change(ctx, caller, func(ctx context.Context, tx *sql.Tx) error {
		n, err := rows.New(tx).EndSession(ctx, rows.EndSessionParams{EndedAt: s.nowOrNull(), ID: sessionID, UserID: caller.UserID})
		if err != nil {
			return fmt.Errorf("end a session: %w", err)
		}
		if n == 0 {
			return problem.Absent()
		}
		return s.record(ctx, tx, caller, "session.ended", sessionID, nil)
	})
}

// EndOtherSessions ends all of the caller's sessions but the one that asks, and returns how many there were.
func (s *Service) EndOtherSessions(ctx context.Context, caller access.Caller) (n int64, err error) {
	err = s.change(ctx, caller, func(ctx context.Context, tx *sql.Tx) (err error) {
		n, err = rows.New(tx).EndOtherSessions(ctx, rows.EndOtherSessionsParams{EndedAt: s.nowOrNull(), UserID: caller.UserID, ID: caller.CredentialID})
		if err != nil {
			return fmt.Errorf("end the other sessions: %w", err)
		}
		return s.record(ctx, tx, caller, "session.others_ended", caller.UserID, map[string]any{"sessions_ended": n})
	})
	return n, err
}

// useBatch is how many sessions' uses one transaction writes.
const useBatch = 500

// FlushUses writes the uses of sessions that verification collected and that are due.
func (s *Service) FlushUses(ctx context.Context, everything bool) error {
	return s.Uses.Flush(ctx, s.Now(), everything, useBatch, func(ctx context.Context, uses []lastuse.Use) error {
		return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			var last [][]any
			for _, u := range uses {
				last = append(last, []any{u.Key.ID, u.At, u.Origin.AddressText(), u.Origin.Client})
			}
			// Forward only: a late batch never takes back what a later one wrote.
			err := db.Insert(ctx, tx, "session_use (session_id, last_used_at, address, client)", `ON CONFLICT (session_id) DO UPDATE
				SET last_used_at = excluded.last_used_at, address = excluded.address, client = excluded.client WHERE excluded.last_used_at > session_use.last_used_at`, last)
			if err != nil {
				return fmt.Errorf("write the last uses of sessions: %w", err)
			}
			return nil
		})
	})
}

// Retention of what is over.
const (
	sessionRetention = 30 * 24 * time.Hour
	codeRetention    = 7 * 24 * time.Hour
	deviceRetention  = 180 * 24 * time.Hour
)

// Clean deletes, in small batches, sessions and codes that ended long ago, failures that count no more, and devices that
// were not seen for half a year.
func (s *Service) Clean(ctx context.Context, now time.Time) error {
	ago := func(d time.Duration) int64 { return db.Micros(now.Add(-d)) }
	return errors.Join(
		s.DB.DeleteInBatches(ctx, `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 LIMIT $2)`, ago(sessionRetention)),
		s.DB.DeleteInBatches(ctx, `DELETE FROM session_use WHERE session_id IN
			(SELECT l.session_id FROM session_use l LEFT JOIN sessions s ON s.id = l.session_id WHERE s.id IS NULL AND l.last_used_at < $1 LIMIT $2)`, ago(sessionRetention)),
		s.DB.DeleteInBatches(ctx, `DELETE FROM account_codes WHERE digest IN (SELECT digest FROM account_codes WHERE expires_at < $1 LIMIT $2)`, ago(codeRetention)),
		s.DB.DeleteInBatches(ctx, `DELETE FROM signin_failures WHERE (account, source) IN
			(SELECT account, source FROM signin_failures WHERE last_failed_at < $1 LIMIT $2)`, ago(failuresExpire)),
		s.DB.DeleteInBatches(ctx, `DELETE FROM known_devices WHERE (user_id, digest) IN
			(SELECT user_id, digest FROM known_devices WHERE last_used_at < $1 LIMIT $2)`, ago(deviceRetention)),
		allowance.Clean(ctx, s.DB, now),
	)
}
