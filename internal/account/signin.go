package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"carnet/access"
	"carnet/internal/account/rows"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/token"
)

// SessionKind says what carries a session.
type SessionKind string

// The kinds of session.
const (
	Cookie SessionKind = "cookie" // a browser
	Bearer SessionKind = "bearer" // a command line
)

// SignIn is a try to sign in.
type SignIn struct {
	Email, Password string
	Kind            SessionKind // Cookie when empty
	// Device is what a former sign-in gave to this browser or program, empty for none.
	Device  string
	Invalid error // what the door could not read
}

// SignedIn is a new session.
type SignedIn struct {
	User      User
	SessionID string
	ExpiresAt time.Time
	Value     token.Value // the session's credential, in this answer only
	// Device is for the browser or program to keep, so that its failures count apart from strangers'.
	Device string
}

// SignIn makes a session for who knows the password. A wrong address, a wrong password and a suspended account get the
// same credentials_wrong, at the same cost. Too many tries get rate_limited: from one address, or for one account from
// one place (see guard).
//
// It is the only place where sessions are made.
func (s *Service) SignIn(ctx context.Context, in SignIn) (SignedIn, error) {
	if err := s.allow(ctx); err != nil {
		return SignedIn{}, err
	}
	if in.Invalid != nil {
		return SignedIn{}, in.Invalid
	}
	if in.Kind == "" {
		in.Kind = Cookie
	}
	if in.Kind != Cookie && in.Kind != Bearer {
		return SignedIn{}, problem.Invalid("body.as", "must be cookie or bearer")
	}
	user, err := rows.New(s.DB.Read()).UserByEmail(ctx, emailKey(in.Email))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return SignedIn{}, fmt.Errorf("find an account: %w", err)
	}
	device, err := s.knownDevice(ctx, user.ID, in.Device)
	if err != nil {
		return SignedIn{}, err
	}
	if err := s.checked(ctx, in.Email, user.PasswordHash, in.Password, sourceOf(ctx, device), user.SuspendedAt.Valid); err != nil {
		return SignedIn{}, err
	}
	return s.makeSession(ctx, rows.UserByIDRow(user), in.Kind, device)
}

// checked verifies a password under the guard: it refuses while the guard asks to wait, and reports the outcome to it.
// An empty hash is that of nobody.
func (s *Service) checked(ctx context.Context, email, hash, password, source string, suspended bool) error {
	account := accountKey(email)
	if err := s.mayTry(ctx, s.DB.Read(), account, source); err != nil {
		return err
	}
	if len(password) > passwordMost {
		password = "" // fits nothing, and is not worth its hash's time
	}
	fits, err := s.hashes.fits(ctx, password, hash)
	if err != nil {
		return fmt.Errorf("check a password: %w", err)
	}
	if !fits || suspended {
		if err := s.failed(ctx, account, source); err != nil {
			return err
		}
		return problem.New(problem.CredentialsWrong, "The e-mail address or the password is wrong. Check both; passwords tell capital letters apart.")
	}
	return s.succeeded(ctx, account, source)
}

func (s *Service) makeSession(ctx context.Context, user rows.UserByIDRow, kind SessionKind, device string) (SignedIn, error) {
	value := token.Mint(token.Session)
	digest := value.Digest()
	now := s.Now()
	if device == "" {
		device = rand.Text()
	}
	info := request.From(ctx)
	made := SignedIn{User: userOf(user), SessionID: id.New(id.Session), ExpiresAt: now.Add(SessionLife).UTC().Truncate(time.Microsecond), Value: value, Device: device}
	err := s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.holdUser(ctx, tx, user.ID); err != nil {
			return err
		}
		q := rows.New(tx)
		// Looked at again: a suspension or another password while the password was being checked must win.
		current, err := q.UserByID(ctx, user.ID)
		if err != nil {
			return fmt.Errorf("read an account: %w", err)
		}
		if current.SuspendedAt.Valid || current.PasswordHash != user.PasswordHash {
			return problem.New(problem.CredentialsWrong, "The e-mail address or the password is wrong. Check both; passwords tell capital letters apart.")
		}
		err = q.InsertSession(ctx, rows.InsertSessionParams{
			ID: made.SessionID, UserID: user.ID, LookupID: value.Lookup().String(), Digest: digest[:], Kind: string(kind),
			CreatedAt: db.Micros(now), AuthenticatedAt: db.Micros(now), ExpiresAt: db.Micros(made.ExpiresAt),
			CreatedFrom: info.AddressText(), Client: info.Client,
		})
		if err != nil {
			return fmt.Errorf("store a session: %w", err)
		}
		if err := q.InsertDevice(ctx, rows.InsertDeviceParams{UserID: user.ID, Digest: deviceDigest(device), LastUsedAt: db.Micros(now)}); err != nil {
			return fmt.Errorf("remember the device: %w", err)
		}
		return s.record(ctx, tx, actor(user.ID), "session.created", made.SessionID, map[string]any{"kind": string(kind)})
	})
	if err != nil {
		return SignedIn{}, fmt.Errorf("sign in: %w", err)
	}
	return made, nil
}

// Reauthenticate proves anew who the caller is: their session serves for sensitive changes for another 15 minutes. Wrong
// guesses are slowed like those at sign-in.
func (s *Service) Reauthenticate(ctx context.Context, caller access.Caller, password string, invalid error) error {
	if err := problem.RequireMay(&caller, access.AccountManage); err != nil {
		return err
	}
	if err := s.allow(ctx); err != nil {
		return err
	}
	if invalid != nil {
		return invalid
	}
	if err := s.prove(ctx, caller, password); err != nil {
		return err
	}
	return s.change(ctx, caller, func(ctx context.Context, tx *sql.Tx) error {
		_, err := rows.New(tx).Authenticated(ctx, rows.AuthenticatedParams{AuthenticatedAt: db.Micros(s.Now()), ID: caller.CredentialID, UserID: caller.UserID})
		if err != nil {
			return fmt.Errorf("note a fresh sign-in: %w", err)
		}
		return s.record(ctx, tx, caller, "session.reauthenticated", caller.CredentialID, nil)
	})
}

// prove checks the password of a signed-in person. Their session counts as a place of its own.
func (s *Service) prove(ctx context.Context, caller access.Caller, password string) error {
	user, err := rows.New(s.DB.Read()).UserByID(ctx, caller.UserID)
	if err != nil {
		return fmt.Errorf("read an account: %w", err)
	}
	return s.checked(ctx, user.Email, user.PasswordHash, password, "session:"+caller.CredentialID, user.SuspendedAt.Valid)
}

// PasswordChange is a new password and the proof that its owner sets it.
type PasswordChange struct {
	Current, New string
	Invalid      error // what the door could not read
}

// ChangePassword sets a new password. The current one proves who asks, whatever the age of the sign-in. The person's
// other sessions end; their tokens go on.
func (s *Service) ChangePassword(ctx context.Context, caller access.Caller, in PasswordChange) error {
	if err := problem.RequireMay(&caller, access.AccountManage); err != nil {
		return err
	}
	if err := s.allow(ctx); err != nil {
		return err
	}
	if in.Invalid != nil {
		return in.Invalid
	}
	u, err := s.byID(ctx, s.DB.Read(), caller.UserID)
	if err != nil {
		return err
	}
	if wrong := checkPassword("body.new", in.New, contextOf(u.Email, u.Name)...); wrong != nil {
		return problem.InvalidFields(*wrong)
	}
	if err := s.prove(ctx, caller, in.Current); err != nil {
		if problem.Is(err, problem.CredentialsWrong) {
			// Not a 401: the session holds, what was sent does not.
			return problem.Invalid("body.current", "is not your current password")
		}
		return err
	}
	hash, err := s.hashes.hash(ctx, in.New)
	if err != nil {
		return err
	}
	return s.change(ctx, caller, func(ctx context.Context, tx *sql.Tx) error {
		q := rows.New(tx)
		if err := q.SetPassword(ctx, rows.SetPasswordParams{PasswordHash: hash, ID: caller.UserID}); err != nil {
			return fmt.Errorf("store the password: %w", err)
		}
		n, err := q.EndOtherSessions(ctx, rows.EndOtherSessionsParams{EndedAt: s.nowOrNull(), UserID: caller.UserID, ID: caller.CredentialID})
		if err != nil {
			return fmt.Errorf("end the other sessions: %w", err)
		}
		_, err = q.Authenticated(ctx, rows.AuthenticatedParams{AuthenticatedAt: db.Micros(s.Now()), ID: caller.CredentialID, UserID: caller.UserID})
		if err != nil {
			return fmt.Errorf("note a fresh sign-in: %w", err)
		}
		return s.record(ctx, tx, caller, "account.password_changed", caller.UserID, map[string]any{"sessions_ended": n})
	})
}

// accountKey names an account for the guard, whether it exists or not, without keeping addresses of strangers.
func accountKey(email string) string {
	sum := sha256.Sum256([]byte(emailKey(email)))
	return hex.EncodeToString(sum[:16])
}

func deviceDigest(device string) []byte {
	sum := sha256.Sum256([]byte("device:" + device))
	return sum[:]
}

// knownDevice returns the device if it signed in to the account before, "" otherwise.
func (s *Service) knownDevice(ctx context.Context, userID, device string) (string, error) {
	if device == "" || len(device) > codeLimit {
		return "", nil
	}
	n, err := rows.New(s.DB.Read()).KnownDevice(ctx, rows.KnownDeviceParams{UserID: userID, Digest: deviceDigest(device)})
	if err != nil {
		return "", fmt.Errorf("look a device up: %w", err)
	}
	if n == 0 {
		return "", nil
	}
	return device, nil
}
