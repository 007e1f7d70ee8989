package org

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/org/rows"
	"carnet/internal/problem"
)

// The methods of this file are for operators, who sit at the machine and may do everything: they take no caller, name
// people by their exact e-mail address, and say plainly when there is no such account (not_found). What they change
// holds from the next request on, and is recorded without an actor.

// Founding is what an operator founds an organization with.
type Founding struct {
	Slug, Name, OwnerEmail string
	Plan                   string // empty: free
}

// CreateOrganization founds an organization for the person with that address. A slug that is taken is a conflict.
func (s *Service) CreateOrganization(ctx context.Context, input Founding) (Organization, error) {
	name, err := checkNew(input.Slug, input.Name, "slug", "name")
	if err != nil {
		return Organization{}, err
	}
	plan, err := planOf(input.Plan)
	if err != nil {
		return Organization{}, err
	}
	var created Organization
	err = s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		owner, err := userByEmail(ctx, tx, input.OwnerEmail)
		if err != nil {
			return err
		}
		_, created, err = s.insert(ctx, tx, access.Caller{}, input.Slug, name, plan, owner)
		return err
	})
	created.Role = ""
	return created, err
}

// AddMemberByEmail makes the person with that address a member. Somebody who is one already is a conflict.
func (s *Service) AddMemberByEmail(ctx context.Context, slug, email, role string) error {
	parsed, err := operatorRole(role)
	if err != nil {
		return err
	}
	return s.operate(ctx, slug, func(ctx context.Context, tx *sql.Tx, o rows.OrganizationBySlugRow) error {
		user, err := userByEmail(ctx, tx, email)
		if err != nil {
			return err
		}
		return s.add(ctx, tx, access.Caller{}, o.ID, user, parsed)
	})
}

// SetRoleByEmail makes the member with that address something else. The last owner stays one: conflict.
func (s *Service) SetRoleByEmail(ctx context.Context, slug, email, role string) error {
	parsed, err := operatorRole(role)
	if err != nil {
		return err
	}
	return s.operateOnMember(ctx, slug, email, func(ctx context.Context, tx *sql.Tx, organizationID string, member Member) error {
		return s.setRole(ctx, tx, access.Caller{}, organizationID, member, parsed)
	})
}

// RemoveMemberByEmail takes the member with that address out of the organization and its projects. The last owner stays:
// conflict.
func (s *Service) RemoveMemberByEmail(ctx context.Context, slug, email string) error {
	return s.operateOnMember(ctx, slug, email, func(ctx context.Context, tx *sql.Tx, organizationID string, member Member) error {
		return s.remove(ctx, tx, access.Caller{}, organizationID, member, "member.removed")
	})
}

// SetPlan changes what an organization pays for.
func (s *Service) SetPlan(ctx context.Context, slug, plan string) error {
	parsed, err := planOf(plan)
	if err != nil {
		return err
	}
	return s.operate(ctx, slug, func(ctx context.Context, tx *sql.Tx, o rows.OrganizationBySlugRow) error {
		if o.Plan == parsed.String() {
			return nil
		}
		if err := rows.New(tx).SetPlan(ctx, rows.SetPlanParams{Plan: parsed.String(), ID: o.ID}); err != nil {
			return fmt.Errorf("change the plan: %w", err)
		}
		detail := map[string]any{"from": o.Plan, "to": parsed.String()}
		return s.record(ctx, tx, access.Caller{}, o.ID, "organization.plan_changed", o.ID, detail)
	})
}

// SuspendUser closes the account with that address: its sessions end and its tokens rest. It is a conflict while some
// organization has no other owner who can act. Suspending a suspended account changes nothing.
func (s *Service) SuspendUser(ctx context.Context, email string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		user, err := userByEmail(ctx, tx, email)
		if err != nil {
			return err
		}
		slugs, err := s.LastOwnerOf(ctx, tx, user)
		if err != nil {
			return err
		}
		if len(slugs) > 0 {
			return problem.Newf(problem.Conflict, "This is the last owner of %s, and an organization always has one. Make somebody else an owner first.", strings.Join(slugs, ", "))
		}
		return s.Accounts.SuspendIn(ctx, tx, user)
	})
}

// RestoreUser opens a suspended account again. Restoring one that is open changes nothing.
func (s *Service) RestoreUser(ctx context.Context, email string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		user, err := userByEmail(ctx, tx, email)
		if err != nil {
			return err
		}
		return s.Accounts.RestoreIn(ctx, tx, user)
	})
}

// LastOwnerOf returns the slugs of the organizations in which the user is the only owner who can act, as it stands in
// the transaction. Whoever would keep that user from acting asks first.
func (s *Service) LastOwnerOf(ctx context.Context, tx *sql.Tx, userID string) ([]string, error) {
	slugs, err := rows.New(tx).LastOwnerOf(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("look for organizations without another owner: %w", err)
	}
	return slugs, nil
}

func (s *Service) operate(ctx context.Context, slug string, fn func(context.Context, *sql.Tx, rows.OrganizationBySlugRow) error) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		o, err := rows.New(tx).OrganizationBySlug(ctx, slug)
		if errors.Is(err, sql.ErrNoRows) {
			return problem.New(problem.NotFound, "There is no organization with that slug.")
		}
		if err != nil {
			return fmt.Errorf("read the organization: %w", err)
		}
		return fn(ctx, tx, o)
	})
}

func (s *Service) operateOnMember(ctx context.Context, slug, email string, fn func(ctx context.Context, tx *sql.Tx, organizationID string, member Member) error) error {
	return s.operate(ctx, slug, func(ctx context.Context, tx *sql.Tx, o rows.OrganizationBySlugRow) error {
		user, err := userByEmail(ctx, tx, email)
		if err != nil {
			return err
		}
		member, err := memberOf(ctx, tx, o.ID, user)
		if problem.Is(err, problem.NotFound) {
			return problem.New(problem.NotFound, "The person with that e-mail address is no member of the organization.")
		}
		if err != nil {
			return err
		}
		return fn(ctx, tx, o.ID, member)
	})
}

func userByEmail(ctx context.Context, q db.Queryer, email string) (string, error) {
	user, err := rows.New(q).UserByEmail(ctx, emailKey(email))
	if errors.Is(err, sql.ErrNoRows) {
		return "", problem.New(problem.NotFound, "There is no account with that e-mail address.")
	}
	if err != nil {
		return "", fmt.Errorf("find the account: %w", err)
	}
	return user, nil
}

func planOf(name string) (access.Plan, error) {
	if name == "" {
		return access.Free, nil
	}
	plan, ok := access.ParsePlan(name)
	if !ok {
		return access.Free, problem.Invalid("plan", "must be free, team or enterprise")
	}
	return plan, nil
}

func operatorRole(name string) (access.Role, error) {
	role, ok := access.ParseRole(name)
	if !ok {
		return access.NoRole, problem.Invalid("role", "must be owner, admin, manager, member or guest")
	}
	return role, nil
}
