// Package account is who people are to Carnet: sign-up, e-mail verification, sign-in, sessions, passwords.
//
// A session is a credential like a token: a value that only its holder has, and a digest here. Sessions end by sign-out,
// by being ended in the list, by a password change elsewhere, by suspension, after 14 days without use and 30 days in
// all. Tokens know nothing of sessions and outlive them.
//
// Nobody learns from an answer of this room, or from how long it takes, whether an address has an account: sign-up says
// the same for known and unknown addresses, sign-in the same for a wrong address and a wrong password, at the cost of
// one password hash each.
package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"carnet/access"
	"carnet/internal/account/rows"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/mail"
	"carnet/internal/optional"
	"carnet/internal/problem"
	"carnet/internal/text"
)

// Lifetimes and limits.
const (
	SessionLife      = 30 * 24 * time.Hour // from sign-in, whatever happens
	FreshFor         = 15 * time.Minute    // how long a sign-in serves for sensitive changes
	VerificationLife = 24 * time.Hour
	NameLimit        = 100
	// mailPause is how long an address waits between mails of the same kind, so that nobody can fill a mailbox.
	mailPause = time.Minute
)

// Postman sends mails without making anybody wait.
type Postman interface {
	Post(mail.Message)
	Close() error
}

// Config is what the service needs.
type Config struct {
	DB    *db.DB
	Audit *audit.Service
	Mail  Postman
	Now   func() time.Time
	Log   *slog.Logger
	// PublicURL is where people reach the server, without a slash at the end. Links in mails begin with it, and with
	// nothing that a request says.
	PublicURL string
	// Uses is filled by verification; [Service.FlushUses] writes what it collects.
	Uses *lastuse.Tracker
	// SignInsPerMinute limits sign-in tries per address; 0 means 30.
	SignInsPerMinute int
	// PasswordCost is how hard password hashes are; the zero value means [DefaultCost]. Tests make them easier.
	PasswordCost Cost
}

// Service is the room's one door.
type Service struct {
	Config
	hashes *hasher
}

// New returns the service. The caller closes it.
func New(c Config) *Service {
	if c.SignInsPerMinute == 0 {
		c.SignInsPerMinute = 30
	}
	if c.PasswordCost == (Cost{}) {
		c.PasswordCost = DefaultCost
	}
	return &Service{Config: c, hashes: newHasher(c.PasswordCost)}
}

// Close sends the mails that wait.
func (s *Service) Close() error { return s.Mail.Close() }

// User is a person with an account, as they are shown to themselves.
type User struct {
	ID            string    `json:"id"`
	Email         string    `json:"email"`
	Name          string    `json:"name"`
	EmailVerified bool      `json:"email_verified"`
	CreatedAt     time.Time `json:"created_at"`
}

// Account returns the caller's own account.
func (s *Service) Account(ctx context.Context, caller access.Caller) (User, error) {
	if err := problem.RequireMay(&caller, access.AccountManage); err != nil {
		return User{}, err
	}
	return s.byID(ctx, s.DB.Read(), caller.UserID)
}

// Changes are the fields of an account to change.
type Changes struct {
	Name    optional.Value[string]
	Invalid error // what the door could not read
}

// UpdateAccount changes the caller's own account.
func (s *Service) UpdateAccount(ctx context.Context, caller access.Caller, changes Changes) (User, error) {
	var updated User
	err := s.change(ctx, caller, func(ctx context.Context, tx *sql.Tx) error {
		if changes.Invalid != nil {
			return changes.Invalid
		}
		if changes.Name.Set {
			name, wrong := text.Line("body.name", changes.Name.V, NameLimit)
			if wrong != nil {
				return problem.InvalidFields(*wrong)
			}
			if err := rows.New(tx).SetName(ctx, rows.SetNameParams{Name: name, ID: caller.UserID}); err != nil {
				return fmt.Errorf("store the name: %w", err)
			}
			if err := s.record(ctx, tx, caller, "account.renamed", caller.UserID, nil); err != nil {
				return err
			}
		}
		var err error
		updated, err = s.byID(ctx, tx, caller.UserID)
		return err
	})
	return updated, err
}

// Fresh returns reauthentication_required when the caller's person last proved who they are too long ago for a
// sensitive change. A token is never fresh.
func (s *Service) Fresh(caller access.Caller) error {
	if caller.Kind != access.SessionCaller {
		return problem.From(access.NeedSignIn, access.AccountManage)
	}
	if s.Now().UnixMicro()-caller.AuthenticatedAt >= FreshFor.Microseconds() {
		return problem.New(problem.ReauthenticationNeeded, "This is a sensitive change and your sign-in is older than 15 minutes. Give your password again, then repeat it.")
	}
	return nil
}

// ByEmail returns the account with the address; ok is false when there is none. It is for operators and other rooms.
func (s *Service) ByEmail(ctx context.Context, email string) (u User, ok bool, err error) {
	row, err := rows.New(s.DB.Read()).UserByEmail(ctx, emailKey(email))
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, false, nil
	}
	if err != nil {
		return User{}, false, fmt.Errorf("find an account: %w", err)
	}
	return userOf(rows.UserByIDRow(row)), true, nil
}

// AnyUser reports whether anybody has an account.
func (s *Service) AnyUser(ctx context.Context) (bool, error) {
	n, err := rows.New(s.DB.Read()).AnyUser(ctx)
	return n > 0, err
}

func (s *Service) byID(ctx context.Context, q db.Queryer, id string) (User, error) {
	row, err := rows.New(q).UserByID(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, problem.Absent()
	}
	if err != nil {
		return User{}, fmt.Errorf("read an account: %w", err)
	}
	return userOf(row), nil
}

func userOf(row rows.UserByIDRow) User {
	return User{ID: row.ID, Email: row.Email, Name: row.Name, EmailVerified: row.EmailVerifiedAt.Valid, CreatedAt: db.Time(row.CreatedAt)}
}

// change runs fn for a signed-in person whose session still lives in that very transaction.
func (s *Service) change(ctx context.Context, caller access.Caller, fn func(context.Context, *sql.Tx) error) error {
	if err := problem.RequireMay(&caller, access.AccountManage); err != nil {
		return err
	}
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.holdUser(ctx, tx, caller.UserID); err != nil {
			return err
		}
		live, err := rows.New(tx).LiveSession(ctx, rows.LiveSessionParams{ID: caller.CredentialID, UserID: caller.UserID})
		if err != nil {
			return fmt.Errorf("look at the session: %w", err)
		}
		if live == 0 {
			return ended()
		}
		return fn(ctx, tx)
	})
}

// holdUser keeps others from changing the same account until the transaction ends: no session is made beside a change of
// the password that would have ended it.
func (s *Service) holdUser(ctx context.Context, tx *sql.Tx, userID string) error {
	return s.DB.Hold(ctx, tx, "account:"+userID)
}

func ended() error { return problem.New(problem.SessionEnded, "The session was ended. Sign in again.") }

func (s *Service) record(ctx context.Context, tx *sql.Tx, caller access.Caller, action, resource string, detail map[string]any) error {
	return s.Audit.Record(ctx, tx, caller, audit.Event{Action: action, Resource: resource, Detail: detail})
}

// actor is a person who acts before any session says so.
func actor(userID string) access.Caller { return access.Caller{UserID: userID} }
