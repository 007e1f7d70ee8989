package org

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"time"

	"carnet/access"
	"carnet/internal/org/rows"
	"carnet/internal/problem"
)

// SetupLife is how long a set-up link works.
const SetupLife = time.Hour

// setupPurpose is the purpose of the codes in set-up links, which belong to no user: there is none yet.
const setupPurpose = "setup"

// Accounts is what this room needs of the account room.
type Accounts interface {
	// Fresh returns reauthentication_required when the caller's sign-in is too old for a sensitive change.
	Fresh(caller access.Caller) error
	// SuspendIn and RestoreIn close and open an account, and record it. They change nothing that is so already.
	SuspendIn(ctx context.Context, tx *sql.Tx, userID string) error
	RestoreIn(ctx context.Context, tx *sql.Tx, userID string) error
	// IssueCode makes a single-use code and voids the former ones of that purpose and user. CheckCode and ConsumeCode
	// answer code_invalid for one that is unknown, used or too old.
	IssueCode(ctx context.Context, tx *sql.Tx, purpose, userID string, life time.Duration) (string, error)
	CheckCode(ctx context.Context, purpose, code string) error
	ConsumeCode(ctx context.Context, tx *sql.Tx, purpose, code string) (userID string, err error)
	// PrepareUser checks what an account is to be made with and hashes its password, which is slow and therefore done
	// outside any transaction. What it returns makes the account.
	PrepareUser(ctx context.Context, email, name, password string, verified bool) (create func(context.Context, *sql.Tx) (userID string, err error), err error)
}

// SetupLink returns a link that lets whoever reads the server's output create the first user, who owns the first
// organization. It works once, for an hour, and until there is a user; links made before do not work any more. ok is
// false when there is a user already.
func (s *Service) SetupLink(ctx context.Context) (link string, ok bool, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.DB.Hold(ctx, tx, setupPurpose); err != nil {
			return err
		}
		users, err := rows.New(tx).Users(ctx)
		if err != nil {
			return fmt.Errorf("count the users: %w", err)
		}
		if link, ok = "", false; users > 0 {
			return nil
		}
		code, err := s.Accounts.IssueCode(ctx, tx, setupPurpose, "", SetupLife)
		if err != nil {
			return fmt.Errorf("make a set-up link: %w", err)
		}
		link, ok = s.PublicURL+"/setup?code="+url.QueryEscape(code), true
		return nil
	})
	if err != nil {
		return "", false, err
	}
	return link, ok, nil
}

// Setup is what the first user and the first organization are made with.
type Setup struct {
	Code                   string
	Name, Email, Password  string
	OrganizationName, Slug string
	Invalid                error // what the door could not read
}

// CheckSetUp answers code_invalid unless the code would still serve for [Service.SetUp]. It uses nothing up.
func (s *Service) CheckSetUp(ctx context.Context, code string) error {
	return s.Accounts.CheckCode(ctx, setupPurpose, code)
}

// SetUp makes the first user and, owned by it, the first organization: both or neither. Whoever holds the code may,
// once. Their e-mail address counts as verified, because they read the server's own output. It answers code_invalid
// for a code that is unknown, used or too old, or when there is a user already, and validation_failed, which does not
// use the code up.
func (s *Service) SetUp(ctx context.Context, input Setup) (userID string, err error) {
	// Before anything else: a stranger without the code makes us hash nothing and learns nothing about what we accept.
	if err := s.Accounts.CheckCode(ctx, setupPurpose, input.Code); err != nil {
		return "", err
	}
	if input.Invalid != nil {
		return "", input.Invalid
	}
	name, err := checkNew(input.Slug, input.OrganizationName, "body.slug", "body.organization_name")
	if err != nil {
		return "", err
	}
	create, err := s.Accounts.PrepareUser(ctx, input.Email, input.Name, input.Password, true)
	if err != nil {
		return "", err
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.DB.Hold(ctx, tx, setupPurpose); err != nil {
			return err
		}
		if _, err := s.Accounts.ConsumeCode(ctx, tx, setupPurpose, input.Code); err != nil {
			return err
		}
		users, err := rows.New(tx).Users(ctx)
		if err != nil {
			return fmt.Errorf("count the users: %w", err)
		}
		if users > 0 {
			return problem.New(problem.CodeInvalid, "This server is set up already. Sign in, or sign up and ask an administrator to add you.")
		}
		if userID, err = create(ctx, tx); err != nil {
			return err
		}
		_, err = s.insert(ctx, tx, access.Caller{UserID: userID}, input.Slug, name, access.Free, userID)
		return err
	})
	if err != nil {
		return "", err
	}
	return userID, nil
}
