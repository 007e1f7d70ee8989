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

// Operators is what operators may do, who sit at the machine itself: everything, without a caller. They name people by
// their exact e-mail address and are told plainly when there is no such account or organization (not_found). What they
// change holds from the next request on, and is recorded without an actor.
type Operators struct{ s *Service }

// Operators returns what operators may do. No door that serves requests from outside has business with it.
func (s *Service) Operators() Operators { return Operators{s} }

// Founding is what an operator founds an organization with.
type Founding struct {
	Slug, Name, OwnerEmail string
	Plan                   string // empty: free
}

// CreateOrganization founds an organization for the person with that address. A slug that is taken is a conflict.
func (o Operators) CreateOrganization(ctx context.Context, input Founding) (Organization, error) {
	name, err := checkNew(input.Slug, input.Name, "slug", "name")
	if err != nil {
		return Organization{}, err
	}
	plan := access.Free
	if input.Plan != "" {
		if plan, err = planOf(input.Plan); err != nil {
			return Organization{}, err
		}
	}
	var created Organization
	err = o.s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		owner, err := userByEmail(ctx, tx, input.OwnerEmail)
		if err != nil {
			return err
		}
		if owner.SuspendedAt.Valid {
			return problem.New(problem.Conflict, "That account is suspended, and an organization always has an owner who can act. Restore it first.")
		}
		created, err = o.s.insert(ctx, tx, access.Caller{}, input.Slug, name, plan, owner.ID)
		return err
	})
	created.Role = ""
	return created, err
}

// AddMember makes the person with that address a member. Somebody who is one already is a conflict.
func (o Operators) AddMember(ctx context.Context, slug, email, role string) error {
	parsed, err := operatorRole(role)
	if err != nil {
		return err
	}
	return o.s.operate(ctx, slug, func(ctx context.Context, tx *sql.Tx, found rows.OrganizationBySlugRow) error {
		user, err := userByEmail(ctx, tx, email)
		if err != nil {
			return err
		}
		return o.s.add(ctx, tx, access.Caller{}, found.ID, user.ID, parsed)
	})
}

// SetRole makes the member with that address something else. The last owner stays one: conflict.
func (o Operators) SetRole(ctx context.Context, slug, email, role string) error {
	parsed, err := operatorRole(role)
	if err != nil {
		return err
	}
	return o.s.operateOnMember(ctx, slug, email, func(ctx context.Context, tx *sql.Tx, organizationID string, member Member) error {
		return o.s.setRole(ctx, tx, access.Caller{}, organizationID, member, parsed)
	})
}

// RemoveMember takes the member with that address out of the organization and its projects. The last owner stays:
// conflict.
func (o Operators) RemoveMember(ctx context.Context, slug, email string) error {
	return o.s.operateOnMember(ctx, slug, email, func(ctx context.Context, tx *sql.Tx, organizationID string, member Member) error {
		return o.s.remove(ctx, tx, access.Caller{}, organizationID, member, "member.removed")
	})
}

// SetPlan changes what an organization pays for.
func (o Operators) SetPlan(ctx context.Context, slug, plan string) error {
	parsed, err := planOf(plan)
	if err != nil {
		return err
	}
	return o.s.operate(ctx, slug, func(ctx context.Context, tx *sql.Tx, found rows.OrganizationBySlugRow) error {
		if found.Plan == parsed.String() {
			return nil
		}
		if err := rows.New(tx).SetPlan(ctx, rows.SetPlanParams{Plan: parsed.String(), ID: found.ID}); err != nil {
			return fmt.Errorf("change the plan: %w", err)
		}
		detail := map[string]any{"from": found.Plan, "to": parsed.String()}
		return o.s.record(ctx, tx, access.Caller{}, found.ID, "organization.plan_changed", found.ID, detail)
	})
}

// SuspendUser closes the account with that address: its sessions end and its tokens rest. It is a conflict while some
// organization has no other owner who can act. Suspending a suspended account changes nothing.
func (o Operators) SuspendUser(ctx context.Context, email string) error {
	return o.s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		user, err := userByEmail(ctx, tx, email)
		if err != nil {
			return err
		}
		owned, err := rows.New(tx).OwnedSlugs(ctx, user.ID)
		if err != nil {
			return fmt.Errorf("look for organizations that the user owns: %w", err)
		}
		if err := o.s.Hold(ctx, tx, owned...); err != nil {
			return err
		}
		slugs, err := o.s.LastOwnerOf(ctx, tx, user.ID)
		if err != nil {
			return err
		}
		if len(slugs) > 0 {
			return problem.Newf(problem.Conflict, "This is the last owner of %s, and an organization always has one. Make somebody else an owner first.", strings.Join(slugs, ", "))
		}
		return o.s.Accounts.SuspendIn(ctx, tx, user.ID)
	})
}

// RestoreUser opens a suspended account again. Restoring one that is open changes nothing.
func (o Operators) RestoreUser(ctx context.Context, email string) error {
	return o.s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		user, err := userByEmail(ctx, tx, email)
		if err != nil {
			return err
		}
		return o.s.Accounts.RestoreIn(ctx, tx, user.ID)
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
		if err := s.Hold(ctx, tx, slug); err != nil {
			return err
		}
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
		member, err := memberOf(ctx, tx, o.ID, user.ID)
		if problem.Is(err, problem.NotFound) {
			return problem.New(problem.NotFound, "The person with that e-mail address is no member of the organization.")
		}
		if err != nil {
			return err
		}
		return fn(ctx, tx, o.ID, member)
	})
}

func userByEmail(ctx context.Context, q db.Queryer, email string) (rows.UserByEmailRow, error) {
	user, err := rows.New(q).UserByEmail(ctx, emailKey(email))
	if errors.Is(err, sql.ErrNoRows) {
		return user, problem.New(problem.NotFound, "There is no account with that e-mail address.")
	}
	if err != nil {
		return user, fmt.Errorf("find the account: %w", err)
	}
	return user, nil
}

func planOf(name string) (access.Plan, error) {
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
