// Package admin is the operators' door: commands for whoever owns the machine and its data folder.
//
// The folder belongs to one process at a time. While the server runs, a command reaches it through a Unix socket in the
// folder, so that what it changes holds for the next request like any other change; while it does not run, the command
// opens the store itself. Both ways end in the same [Operator]. Who may use the door is decided by the folder's mode:
// only its owner gets in.
package admin

import (
	"context"
	"encoding/json"
	"fmt"

	"carnet/internal/account"
	"carnet/internal/db"
	"carnet/internal/org"
	"carnet/internal/problem"
	"carnet/internal/tokens"
	"carnet/internal/transfer"
)

// Request is one command.
type Request struct {
	Command string          `json:"command"`
	Input   json.RawMessage `json:"input"`
}

// The inputs of the commands. The same types carry the answers, but for the password.
type (
	// User is the input of create-user, suspend-user and restore-user.
	User struct {
		ID       string `json:"id,omitempty"`
		Email    string `json:"email"`
		Name     string `json:"name,omitempty"`
		Password string `json:"password,omitempty"`
		Verified bool   `json:"verified,omitempty"`
	}
	// Organization is the input of create-org and set-plan.
	Organization struct {
		Slug  string `json:"slug"`
		Name  string `json:"name,omitempty"`
		Owner string `json:"owner,omitempty"`
		Plan  string `json:"plan,omitempty"`
	}
	// Membership is the input of add-member, set-role and remove-member.
	Membership struct {
		Organization string `json:"organization"`
		Email        string `json:"email"`
		Role         string `json:"role,omitempty"`
	}
	// Tokens is the input of trust-tokens and revoke-all-tokens.
	Tokens struct {
		Organization string `json:"organization,omitempty"` // slug; empty: all of them
		Count        int64  `json:"count"`
	}
	// Backup is the input of backup. The answer is [transfer.Written].
	Backup struct {
		To string `json:"to"` // an absolute path
	}
)

// Operator carries commands out.
type Operator struct {
	Account *account.Service
	Org     *org.Service
	Tokens  *tokens.Service
	Store   *db.DB
}

// Do carries a command out and returns what to tell about it.
func (o Operator) Do(ctx context.Context, r Request) (any, error) {
	operators := o.Org.Operators()
	switch r.Command {
	case "create-user":
		return do(r, func(in User) (any, error) {
			u, err := o.Account.CreateUser(ctx, account.NewUser{Email: in.Email, Name: in.Name, Password: in.Password, Verified: in.Verified})
			return User{ID: u.ID, Email: u.Email, Name: u.Name, Verified: in.Verified}, err
		})
	case "suspend-user":
		return do(r, func(in User) (any, error) { return User{Email: in.Email}, operators.SuspendUser(ctx, in.Email) })
	case "restore-user":
		return do(r, func(in User) (any, error) { return User{Email: in.Email}, operators.RestoreUser(ctx, in.Email) })
	case "create-org":
		return do(r, func(in Organization) (any, error) {
			created, err := operators.CreateOrganization(ctx, org.Founding{Slug: in.Slug, Name: in.Name, OwnerEmail: in.Owner, Plan: in.Plan})
			return Organization{Slug: created.Slug, Name: created.Name, Plan: created.Plan, Owner: in.Owner}, err
		})
	case "set-plan":
		return do(r, func(in Organization) (any, error) { return in, operators.SetPlan(ctx, in.Slug, in.Plan) })
	case "add-member":
		return do(r, func(in Membership) (any, error) {
			return in, operators.AddMember(ctx, in.Organization, in.Email, in.Role)
		})
	case "set-role":
		return do(r, func(in Membership) (any, error) {
			return in, operators.SetRole(ctx, in.Organization, in.Email, in.Role)
		})
	case "remove-member":
		return do(r, func(in Membership) (any, error) { return in, operators.RemoveMember(ctx, in.Organization, in.Email) })
	case "trust-tokens":
		return do(r, func(Tokens) (any, error) {
			n, err := o.Tokens.Operators().TrustAll(ctx)
			return Tokens{Count: n}, err
		})
	case "revoke-all-tokens":
		return do(r, func(in Tokens) (any, error) {
			n, err := o.Tokens.Operators().RevokeAll(ctx, in.Organization)
			return Tokens{Organization: in.Organization, Count: n}, err
		})
	case "backup":
		return do(r, func(in Backup) (any, error) { return o.backup(ctx, in.To) })
	default:
		return nil, problem.New(problem.NotFound, "There is no such command. The server may be of another version than this program.")
	}
}

func (o Operator) backup(ctx context.Context, to string) (transfer.Written, error) {
	if o.Store.Engine() == "postgres" {
		return transfer.Written{}, transfer.OnPostgres()
	}
	return transfer.Backup(ctx, o.Store.Dir(), to)
}

func do[T any](r Request, fn func(T) (any, error)) (any, error) {
	var in T
	if err := json.Unmarshal(r.Input, &in); err != nil {
		return nil, problem.New(problem.RequestMalformed, "The command cannot be read.").Because(err)
	}
	out, err := fn(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Command, err)
	}
	return out, nil
}
