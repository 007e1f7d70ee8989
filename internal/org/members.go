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
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/text"
)

// Member is a user in an organization.
type Member struct {
	UserID    string `json:"user_id"`
	Name      string `json:"name"`
	Email     string `json:"email"`
	Role      string `json:"role"`
	Suspended bool   `json:"suspended"`
}

var memberSorts = page.Sorts{
	"created_at": {Column: "m.created_at"}, // when they joined
	"email":      {Column: "u.email_key"},
}

// Members lists the members of the organization that slug names. Its members may ask, guests for the people of their
// projects only; to others the organization is absent. No token may.
func (s *Service) Members(ctx context.Context, caller access.Caller, slug string, request page.Request) (page.Page[Member], error) {
	caller, err := In(caller, slug, access.OrganizationRead)
	if err != nil {
		return page.Page[Member]{}, err
	}
	return s.Directory(ctx, caller, request)
}

// Directory lists the members of the organization in which the caller acts. Its members may ask, and their tokens with
// members:read. Guests, and tokens that are limited to projects, see only the people who belong to the projects that
// they see.
func (s *Service) Directory(ctx context.Context, caller access.Caller, request page.Request) (page.Page[Member], error) {
	if err := problem.Require(&caller, access.MembersRead, access.Resource{Organization: caller.Organization}); err != nil {
		return page.Page[Member]{}, err
	}
	args := &db.Args{}
	where := "m.organization_id = " + args.Add(caller.Organization)
	filter := caller.Visible()
	if filter.Reach < access.ReachOwnAndOpen || filter.Projects.Restricted() {
		where += " AND EXISTS (SELECT 1 FROM project_members shared JOIN projects p ON p.organization_id = shared.organization_id AND p.id = shared.project_id" +
			" WHERE shared.organization_id = m.organization_id AND shared.user_id = m.user_id AND p.deleted_at IS NULL AND " + db.Visible(filter, "p", args) + ")"
	}
	return page.List(ctx, s.DB.Read(), page.Listing[Member]{
		Cursors: s.Cursors, Binding: page.Binding(caller, "members"), Request: request,
		Sorts: memberSorts, Default: "email", ID: "m.user_id",
		Select: `SELECT m.user_id, u.name, u.email, m.role, u.suspended_at FROM memberships m JOIN users u ON u.id = m.user_id`,
		Where:  where, Args: args,
		Scan: func(r page.Row) (m Member, err error) {
			var suspended sql.NullInt64
			err = r.Scan(&m.UserID, &m.Name, &m.Email, &m.Role, &suspended)
			m.Suspended = suspended.Valid
			return m, err
		},
	})
}

// NewMember says whom to add to an organization, and as what.
type NewMember struct {
	Email, Role string
	Invalid     error // what the door could not read
}

// AddMember adds a person to the organization by their e-mail address. Admins and owners may, owners alone as an owner
// and after a fresh sign-in. Somebody who is a member already is a conflict.
//
// It works for people whom the caller meets in another organization already, and answers validation_failed, the same
// to the letter, for an address without an account and for one of a stranger: whether an address has an account here
// is nobody's business, and nobody is drawn into an organization by people whom they never met.
func (s *Service) AddMember(ctx context.Context, caller access.Caller, slug string, input NewMember) (Member, error) {
	var added Member
	err := s.change(ctx, caller, slug, access.OrganizationAdminister, func(ctx context.Context, tx *sql.Tx, caller access.Caller) error {
		if input.Invalid != nil {
			return input.Invalid
		}
		role, err := roleOf(input.Role)
		if err != nil {
			return err
		}
		if role == access.Owner {
			if err := s.mayChangeOwners(caller); err != nil {
				return err
			}
		}
		user, err := rows.New(tx).Acquaintance(ctx, rows.AcquaintanceParams{EmailKey: emailKey(input.Email), Asking: caller.UserID})
		if errors.Is(err, sql.ErrNoRows) {
			return problem.Invalid("body.email", "must be the address of a person whom you meet in another organization already. Anybody else is added by an operator of this server")
		}
		if err != nil {
			return fmt.Errorf("find the person to add: %w", err)
		}
		added = Member{UserID: user.ID, Name: user.Name, Email: user.Email, Role: role.String(), Suspended: user.SuspendedAt.Valid}
		return s.add(ctx, tx, caller, caller.Organization, user.ID, role)
	})
	if err != nil {
		return Member{}, err
	}
	return added, nil
}

// RoleChange says what a member becomes.
type RoleChange struct {
	Role    string
	Invalid error // what the door could not read
}

// ChangeRole makes a member something else, from the next request on. Admins and owners may; owners alone, after a
// fresh sign-in, where it makes or unmakes an owner. The last owner cannot be demoted: conflict.
func (s *Service) ChangeRole(ctx context.Context, caller access.Caller, slug, userID string, input RoleChange) (Member, error) {
	var changed Member
	err := s.change(ctx, caller, slug, access.OrganizationAdminister, func(ctx context.Context, tx *sql.Tx, caller access.Caller) error {
		member, err := memberOf(ctx, tx, caller.Organization, userID)
		if err != nil {
			return err
		}
		if member.Role == access.Owner.String() {
			if err := problem.Require(&caller, access.OrganizationOwn, access.Resource{Organization: caller.Organization}); err != nil {
				return err
			}
		}
		if input.Invalid != nil {
			return input.Invalid
		}
		role, err := roleOf(input.Role)
		if err != nil {
			return err
		}
		if role.String() != member.Role && (role == access.Owner || member.Role == access.Owner.String()) {
			if err := s.mayChangeOwners(caller); err != nil {
				return err
			}
		}
		changed = member
		changed.Role = role.String()
		return s.setRole(ctx, tx, caller, caller.Organization, member, role)
	})
	if err != nil {
		return Member{}, err
	}
	return changed, nil
}

// RemoveMember takes a person out of the organization and its projects, from the next request on; their tokens there
// rest. Admins and owners may, owners alone and after a fresh sign-in where it is an owner; everybody may remove
// themselves, which is [Service.Leave]. The last owner cannot be removed: conflict.
func (s *Service) RemoveMember(ctx context.Context, caller access.Caller, slug, userID string) error {
	if userID == caller.UserID {
		return s.Leave(ctx, caller, slug)
	}
	return s.change(ctx, caller, slug, access.OrganizationAdminister, func(ctx context.Context, tx *sql.Tx, caller access.Caller) error {
		member, err := memberOf(ctx, tx, caller.Organization, userID)
		if err != nil {
			return err
		}
		if member.Role == access.Owner.String() {
			if err := s.mayChangeOwners(caller); err != nil {
				return err
			}
		}
		return s.remove(ctx, tx, caller, caller.Organization, member, "member.removed")
	})
}

// Leave takes the caller out of the organization and its projects. Every member may, owners after a fresh sign-in; the
// last owner cannot: conflict.
func (s *Service) Leave(ctx context.Context, caller access.Caller, slug string) error {
	return s.change(ctx, caller, slug, access.OrganizationRead, func(ctx context.Context, tx *sql.Tx, caller access.Caller) error {
		member, err := memberOf(ctx, tx, caller.Organization, caller.UserID)
		if err != nil {
			return err
		}
		if caller.Role == access.Owner {
			if err := s.mayChangeOwners(caller); err != nil {
				return err
			}
		}
		return s.remove(ctx, tx, caller, caller.Organization, member, "member.left")
	})
}

// mayChangeOwners lets owners through whose sign-in is fresh: who owns an organization is a sensitive change.
func (s *Service) mayChangeOwners(caller access.Caller) error {
	if err := problem.Require(&caller, access.OrganizationOwn, access.Resource{Organization: caller.Organization}); err != nil {
		return err
	}
	return s.Accounts.Fresh(caller)
}

func (s *Service) add(ctx context.Context, tx *sql.Tx, caller access.Caller, organizationID, userID string, role access.Role) error {
	made, err := rows.New(tx).InsertMember(ctx, rows.InsertMemberParams{
		OrganizationID: organizationID, UserID: userID, Role: role.String(), CreatedAt: db.Micros(s.Now()),
	})
	if err != nil {
		return fmt.Errorf("add the member: %w", err)
	}
	if made == 0 {
		return problem.New(problem.Conflict, "That person is a member already. Change their role instead.")
	}
	return s.record(ctx, tx, caller, organizationID, "member.added", userID, map[string]any{"role": role.String()})
}

func (s *Service) setRole(ctx context.Context, tx *sql.Tx, caller access.Caller, organizationID string, member Member, role access.Role) error {
	if role.String() == member.Role {
		return nil
	}
	if role != access.Owner {
		if err := keepAnOwner(ctx, tx, organizationID, member); err != nil {
			return err
		}
	}
	if err := rows.New(tx).SetRole(ctx, rows.SetRoleParams{Role: role.String(), OrganizationID: organizationID, UserID: member.UserID}); err != nil {
		return fmt.Errorf("change the role: %w", err)
	}
	detail := map[string]any{"from": member.Role, "to": role.String()}
	return s.record(ctx, tx, caller, organizationID, "member.role_changed", member.UserID, detail)
}

func (s *Service) remove(ctx context.Context, tx *sql.Tx, caller access.Caller, organizationID string, member Member, action string) error {
	if err := keepAnOwner(ctx, tx, organizationID, member); err != nil {
		return err
	}
	if err := rows.New(tx).DeleteMember(ctx, rows.DeleteMemberParams{OrganizationID: organizationID, UserID: member.UserID}); err != nil {
		return fmt.Errorf("remove the member: %w", err)
	}
	return s.record(ctx, tx, caller, organizationID, action, member.UserID, map[string]any{"role": member.Role})
}

// keepAnOwner refuses to let the last owner who can act go.
func keepAnOwner(ctx context.Context, tx *sql.Tx, organizationID string, going Member) error {
	if going.Role != access.Owner.String() {
		return nil
	}
	others, err := rows.New(tx).OtherOwners(ctx, rows.OtherOwnersParams{OrganizationID: organizationID, UserID: going.UserID})
	if err != nil {
		return fmt.Errorf("count the owners: %w", err)
	}
	if others == 0 {
		return problem.New(problem.Conflict, "This is the last owner, and an organization always has one. Make somebody else an owner first.")
	}
	return nil
}

func memberOf(ctx context.Context, tx *sql.Tx, organizationID, userID string) (Member, error) {
	row, err := rows.New(tx).MemberByID(ctx, rows.MemberByIDParams{OrganizationID: organizationID, UserID: userID})
	if errors.Is(err, sql.ErrNoRows) {
		return Member{}, problem.Absent()
	}
	if err != nil {
		return Member{}, fmt.Errorf("read the member: %w", err)
	}
	return Member{UserID: row.UserID, Name: row.Name, Email: row.Email, Role: row.Role, Suspended: row.SuspendedAt.Valid}, nil
}

func roleOf(name string) (access.Role, error) {
	role, ok := access.ParseRole(name)
	if !ok {
		return access.NoRole, problem.Invalid("body.role", "must be owner, admin, manager, member or guest")
	}
	return role, nil
}

// emailKey is the form in which addresses are compared.
func emailKey(email string) string { return text.Fold(strings.TrimSpace(email)) }
