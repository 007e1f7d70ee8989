package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"carnet/access"
	"carnet/internal/account/rows"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/mail"
	"carnet/internal/problem"
	"carnet/internal/text"
)

// NewUser is what an account is made with.
type NewUser struct {
	Email, Name, Password string
	Verified              bool  // operators alone may say so
	Invalid               error // what the door could not read
}

// SignUp makes an account and mails a link that verifies its address. It answers the same, at the same cost, whether or
// not the address has an account. The owner of one that is verified is told by mail that somebody tried.
//
// An account that nobody verified belongs to nobody yet. Signing up for its address again does not touch it; the link in
// the mail carries the new name and password instead, and the link that is opened decides which ones hold. So whoever
// signs up with somebody else's address first gains nothing once its owner opens the link of their own sign-up
// ("pre-hijacking", Sudhodanan and Paverd, USENIX Security 2022).
func (s *Service) SignUp(ctx context.Context, in NewUser) error {
	if err := s.allow(ctx); err != nil {
		return err
	}
	if in.Invalid != nil {
		return in.Invalid
	}
	checked, err := s.prepare(ctx, in)
	if err != nil {
		return err
	}
	var message mail.Message
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		message, err = s.signUp(ctx, tx, checked)
		return err
	})
	if err != nil {
		return fmt.Errorf("sign up: %w", err)
	}
	if message.To != "" {
		s.Mail.Post(message)
	}
	return nil
}

func (s *Service) signUp(ctx context.Context, tx *sql.Tx, in checkedUser) (mail.Message, error) {
	if err := s.holdAddress(ctx, tx, in.email); err != nil {
		return mail.Message{}, err
	}
	q := rows.New(tx)
	found, err := q.UserByEmail(ctx, emailKey(in.email))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		userID, err := s.insert(ctx, tx, in, false)
		if err != nil {
			return mail.Message{}, err
		}
		return s.verification(ctx, tx, userID, in)
	case err != nil:
		return mail.Message{}, fmt.Errorf("find an account: %w", err)
	case found.EmailVerifiedAt.Valid || found.SuspendedAt.Valid:
		if pause, err := s.mailedLately(ctx, tx, "sign_up_notice", found.ID); err != nil || pause {
			return mail.Message{}, err
		}
		// The code is a note of when the notice went out; nobody is told it.
		if _, err := s.IssueCode(ctx, tx, "sign_up_notice", found.ID, mailPause); err != nil {
			return mail.Message{}, err
		}
		return mail.Message{To: found.Email, Subject: "You have a Carnet account already", Text: "Somebody, perhaps you, tried to sign up with this address.\n\n" +
			"You have an account already: sign in at " + s.PublicURL + "/sign-in\n\nIf it was not you, there is nothing to do: nothing was changed.\n"}, nil
	}
	if lately, err := s.mailedLately(ctx, tx, verifyPurpose, found.ID); err != nil || lately {
		return mail.Message{}, err
	}
	if err := s.record(ctx, tx, actor(found.ID), "account.signed_up_again", found.ID, nil); err != nil {
		return mail.Message{}, err
	}
	return s.verification(ctx, tx, found.ID, in)
}

// verification issues a code for a sign-up and writes the mail that carries its link.
func (s *Service) verification(ctx context.Context, tx *sql.Tx, userID string, in checkedUser) (mail.Message, error) {
	code, err := s.issue(ctx, tx, verifyPurpose, userID, VerificationLife, in)
	if err != nil {
		return mail.Message{}, err
	}
	return mail.Message{To: in.email, Subject: "Verify your e-mail address for Carnet", Text: fmt.Sprintf(
		"Somebody signed up for Carnet with this address, as %q, on %s.\n\nIf it was you, open this link within 24 hours and press the button there:\n\n  %s\n\n"+
			"If it was not you, do not open it: without the link, nobody can use your address.\n",
		in.name, s.Now().UTC().Format("2 January 2006 at 15:04 UTC"), s.PublicURL+"/verify-email?code="+code)}, nil
}

// holdAddress keeps others from making an account with the address until the transaction ends.
func (s *Service) holdAddress(ctx context.Context, tx *sql.Tx, email string) error {
	return s.DB.Hold(ctx, tx, "address:"+emailKey(email))
}

// mailedLately reports whether a mail of the kind went to the user a moment ago.
func (s *Service) mailedLately(ctx context.Context, tx *sql.Tx, purpose, userID string) (bool, error) {
	last, err := rows.New(tx).LastCode(ctx, rows.LastCodeParams{Purpose: purpose, UserID: userID})
	if err != nil {
		return false, fmt.Errorf("look at the last mail: %w", err)
	}
	at, _ := last.(int64)
	return db.Micros(s.Now())-at < mailPause.Microseconds(), nil
}

// VerifyEmail uses up the code of a verification link. Anybody who has the link may. It refuses with code_invalid.
func (s *Service) VerifyEmail(ctx context.Context, code string, invalid error) error {
	if err := s.allow(ctx); err != nil {
		return err
	}
	if invalid != nil {
		return invalid
	}
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		used, err := s.consume(ctx, tx, verifyPurpose, code)
		if err != nil {
			return err
		}
		return s.verify(ctx, tx, used)
	})
}

// verify makes the account the one that the opened link stands for, and voids every other link.
func (s *Service) verify(ctx context.Context, tx *sql.Tx, used rows.UseCodeRow) error {
	q := rows.New(tx)
	verified, err := q.VerifyUser(ctx, rows.VerifyUserParams{EmailVerifiedAt: s.nowOrNull(), ID: used.UserID})
	if err != nil {
		return fmt.Errorf("verify an address: %w", err)
	}
	if verified == 0 {
		return codeInvalid() // another link did it before
	}
	if err := q.VoidCodes(ctx, rows.VoidCodesParams{UsedAt: s.nowOrNull(), Purpose: verifyPurpose, UserID: used.UserID}); err != nil {
		return fmt.Errorf("void the other links: %w", err)
	}
	if used.PasswordHash != "" {
		before, err := q.UserByID(ctx, used.UserID)
		if err != nil {
			return fmt.Errorf("read an account: %w", err)
		}
		if before.PasswordHash != used.PasswordHash {
			err := q.SetNameAndPassword(ctx, rows.SetNameAndPasswordParams{Name: used.Name, PasswordHash: used.PasswordHash, ID: used.UserID})
			if err != nil {
				return fmt.Errorf("set the account as the link says: %w", err)
			}
			// Whoever signed in with the other password has no part in the account.
			if _, err := q.EndOtherSessions(ctx, rows.EndOtherSessionsParams{EndedAt: s.nowOrNull(), UserID: used.UserID}); err != nil {
				return fmt.Errorf("end the account's sessions: %w", err)
			}
		}
	}
	return s.record(ctx, tx, actor(used.UserID), "account.email_verified", used.UserID, nil)
}

// ResendVerification mails the caller a new verification link. The former ones hold until one of them is opened: the
// caller may be somebody who signed up with an address that is not theirs, and must not void its owner's. An address that
// is verified is a conflict, and one that was mailed a moment ago rate_limited.
func (s *Service) ResendVerification(ctx context.Context, caller access.Caller) error {
	var message mail.Message
	err := s.change(ctx, caller, func(ctx context.Context, tx *sql.Tx) error {
		u, err := s.byID(ctx, tx, caller.UserID)
		if err != nil {
			return err
		}
		if u.EmailVerified {
			return problem.New(problem.Conflict, "Your e-mail address is verified already.")
		}
		if lately, err := s.mailedLately(ctx, tx, verifyPurpose, u.ID); err != nil || lately {
			if lately {
				return &problem.Error{Code: problem.RateLimited, RetryAfter: int(mailPause.Seconds()), Limit: 1, Detail: "A link was mailed to you less than a minute ago. Look into your mailbox, also among the junk."}
			}
			return err
		}
		if message, err = s.verification(ctx, tx, u.ID, checkedUser{email: u.Email, name: u.Name}); err != nil {
			return err
		}
		return s.record(ctx, tx, caller, "account.verification_resent", u.ID, nil)
	})
	if err != nil {
		return err
	}
	s.Mail.Post(message)
	return nil
}

// checkedUser is what an account is made with, checked and hashed.
type checkedUser struct{ email, name, hash string }

// prepare checks what an account is to be made with, and hashes the password: slow, and therefore outside of any
// transaction.
func (s *Service) prepare(ctx context.Context, in NewUser) (checkedUser, error) {
	var wrong []problem.Field
	var c checkedUser
	email, field := checkEmail("body.email", in.Email)
	if field != nil {
		wrong = append(wrong, *field)
	}
	name, field := text.Line("body.name", in.Name, NameLimit)
	if field != nil {
		wrong = append(wrong, *field)
	}
	if field := checkPassword("body.password", in.Password, contextOf(email, name)...); field != nil {
		wrong = append(wrong, *field)
	}
	if len(wrong) > 0 {
		return c, problem.InvalidFields(wrong...)
	}
	hash, err := s.hashes.hash(ctx, in.Password)
	return checkedUser{email: email, name: name, hash: hash}, err
}

// PrepareUser checks what an account is to be made with and hashes its password, which is slow and therefore done
// outside any transaction. What it returns makes the account; an address that has one is a conflict.
func (s *Service) PrepareUser(ctx context.Context, email, name, password string, verified bool) (create func(context.Context, *sql.Tx) (userID string, err error), err error) {
	checked, err := s.prepare(ctx, NewUser{Email: email, Name: name, Password: password})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx *sql.Tx) (string, error) {
		if err := s.holdAddress(ctx, tx, checked.email); err != nil {
			return "", err
		}
		if _, err := rows.New(tx).UserByEmail(ctx, emailKey(checked.email)); err == nil {
			return "", problem.New(problem.Conflict, "There is an account with this e-mail address already.")
		} else if !errors.Is(err, sql.ErrNoRows) {
			return "", fmt.Errorf("find an account: %w", err)
		}
		return s.insert(ctx, tx, checked, verified)
	}, nil
}

// CreateUser makes an account for operators. An address that has one is a conflict.
func (s *Service) CreateUser(ctx context.Context, in NewUser) (User, error) {
	create, err := s.PrepareUser(ctx, in.Email, in.Name, in.Password, in.Verified)
	if err != nil {
		return User{}, err
	}
	var created User
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		userID, err := create(ctx, tx)
		if err != nil {
			return err
		}
		created, err = s.byID(ctx, tx, userID)
		return err
	})
	return created, err
}

func (s *Service) insert(ctx context.Context, tx *sql.Tx, in checkedUser, verified bool) (string, error) {
	userID := id.New(id.User)
	var at sql.NullInt64
	if verified {
		at = s.nowOrNull()
	}
	err := rows.New(tx).InsertUser(ctx, rows.InsertUserParams{
		ID: userID, Email: in.email, EmailKey: emailKey(in.email), Name: in.name, PasswordHash: in.hash, EmailVerifiedAt: at, CreatedAt: db.Micros(s.Now()),
	})
	if err != nil {
		return "", fmt.Errorf("store an account: %w", err)
	}
	return userID, s.record(ctx, tx, actor(userID), "account.created", userID, map[string]any{"verified": verified})
}

func (s *Service) nowOrNull() sql.NullInt64 {
	return sql.NullInt64{Int64: db.Micros(s.Now()), Valid: true}
}

// SuspendIn closes an account: its sessions end for good, its tokens rest. One that is closed stays as it is.
func (s *Service) SuspendIn(ctx context.Context, tx *sql.Tx, userID string) error {
	if err := s.holdUser(ctx, tx, userID); err != nil {
		return err
	}
	q := rows.New(tx)
	changed, err := q.SuspendUser(ctx, rows.SuspendUserParams{SuspendedAt: s.nowOrNull(), ID: userID})
	if err != nil || changed == 0 {
		return err
	}
	if _, err := q.EndOtherSessions(ctx, rows.EndOtherSessionsParams{EndedAt: s.nowOrNull(), UserID: userID}); err != nil {
		return fmt.Errorf("end the sessions of a suspended account: %w", err)
	}
	return s.record(ctx, tx, access.Caller{}, "account.suspended", userID, nil)
}

// RestoreIn opens a suspended account again. Its sessions stay ended; its tokens work again.
func (s *Service) RestoreIn(ctx context.Context, tx *sql.Tx, userID string) error {
	changed, err := rows.New(tx).RestoreUser(ctx, userID)
	if err != nil || changed == 0 {
		return err
	}
	return s.record(ctx, tx, access.Caller{}, "account.restored", userID, nil)
}
