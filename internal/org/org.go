// Package org is the organizations: what they are called, what they pay for, who belongs to them and as what.
//
// A person may found organizations, see those that they belong to, and, where they administer one, decide who else
// belongs to it. Only owners appoint and dismiss owners, and an organization always keeps an owner who can act: the
// last one cannot leave, be demoted, removed or suspended, however many try at the same time.
//
// Everything here needs a person's real sign-in, but for [Service.Directory], which tokens with members:read may use.
// The methods without a caller are for operators, who sit at the machine itself; the record names no actor for those.
//
// Whoever stops being a member keeps their tokens, which rest from the next request on: verification reads the
// membership as it is. Their places in projects go with the membership, by the schema.
package org

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/org/rows"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/text"
)

// Limits of what an organization can be.
const (
	NameLimit = 100 // characters
	// OwnedLimit is how many organizations one person can own before they may found no more: the place of every
	// membership is looked at with every request of a session.
	OwnedLimit = 50
)

// Config is what the service needs.
type Config struct {
	DB       *db.DB
	Audit    *audit.Service
	Accounts Accounts
	Agents   Agents // set once the tokens room, which comes later, is there
	Cursors  *page.Cursors
	Now      func() time.Time
	Log      *slog.Logger
	// PublicURL is where people reach the server, without a slash at the end. The set-up link begins with it.
	PublicURL string
}

// Service is the room's one door.
type Service struct{ Config }

// New returns the service.
func New(c Config) *Service { return &Service{c} }

// Organization is an organization as one of its members sees it.
type Organization struct {
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	Plan      string    `json:"plan"`
	Role      string    `json:"role"` // the caller's; empty in what operators get
	CreatedAt time.Time `json:"created_at"`
}

var organizationSorts = page.Sorts{
	"slug":       {Column: "o.slug"},
	"created_at": {Column: "o.created_at"},
}

// Organizations lists the organizations that the caller belongs to. Any signed-in person may ask.
func (s *Service) Organizations(ctx context.Context, caller access.Caller, request page.Request) (page.Page[Organization], error) {
	if err := problem.RequireMay(&caller, access.OrganizationRead); err != nil {
		return page.Page[Organization]{}, err
	}
	args := &db.Args{}
	return page.List(ctx, s.DB.Read(), page.Listing[Organization]{
		Cursors: s.Cursors, Binding: page.Binding(caller, "organizations"), Request: request,
		Sorts: organizationSorts, Default: "slug", ID: "o.id",
		Select: `SELECT o.slug, o.name, o.plan, m.role, o.created_at
			FROM memberships m JOIN organizations o ON o.id = m.organization_id`,
		Where: "m.user_id = " + args.Add(caller.UserID), Args: args,
		Scan: func(r page.Row) (o Organization, err error) {
			var created int64
			err = r.Scan(&o.Slug, &o.Name, &o.Plan, &o.Role, &created)
			o.CreatedAt = db.Time(created)
			return o, err
		},
	})
}

// Organization returns one organization. Its members may ask; to others it is absent.
func (s *Service) Organization(ctx context.Context, caller access.Caller, slug string) (Organization, error) {
	caller, err := In(caller, slug, access.OrganizationRead)
	if err != nil {
		return Organization{}, err
	}
	row, err := rows.New(s.DB.Read()).Standing(ctx, rows.StandingParams{Slug: slug, UserID: caller.UserID})
	if errors.Is(err, sql.ErrNoRows) {
		return Organization{}, problem.Absent()
	}
	if err != nil {
		return Organization{}, fmt.Errorf("read the organization: %w", err)
	}
	return organizationOf(row), nil
}

// Changes are the fields of an organization to change; nil leaves one as it is.
type Changes struct {
	Name    *string
	Invalid error // what the door could not read
}

// Update changes an organization's name. Admins and owners may; for other members it is role_insufficient, for
// everybody else the organization is absent.
func (s *Service) Update(ctx context.Context, caller access.Caller, slug string, changes Changes) (Organization, error) {
	var updated Organization
	err := s.change(ctx, caller, slug, access.OrganizationAdminister, func(ctx context.Context, tx *sql.Tx, caller access.Caller) error {
		if changes.Invalid != nil {
			return changes.Invalid
		}
		q := rows.New(tx)
		if changes.Name != nil {
			name, wrong := text.Line("body.name", *changes.Name, NameLimit)
			if wrong != nil {
				return problem.InvalidFields(*wrong)
			}
			if err := q.SetName(ctx, rows.SetNameParams{Name: name, ID: caller.Organization}); err != nil {
				return fmt.Errorf("rename the organization: %w", err)
			}
			if err := s.record(ctx, tx, caller, caller.Organization, "organization.updated", caller.Organization, map[string]any{"fields": []string{"name"}}); err != nil {
				return err
			}
		}
		row, err := q.Standing(ctx, rows.StandingParams{Slug: slug, UserID: caller.UserID})
		if err != nil {
			return fmt.Errorf("read the organization: %w", err)
		}
		updated = organizationOf(row)
		return nil
	})
	return updated, err
}

// Inside is what other rooms' reads of an organization are decided on, see [In].
func (*Service) Inside(caller access.Caller, slug string, p access.Permission) (access.Caller, error) {
	return In(caller, slug, p)
}

// In decides on the organization that slug names, as verification saw the caller: what reads are decided on.
func In(caller access.Caller, slug string, p access.Permission) (access.Caller, error) {
	if err := problem.RequireMay(&caller, p); err != nil {
		return access.Caller{}, err
	}
	caller, ok := caller.In(slug)
	if !ok {
		return access.Caller{}, problem.Absent()
	}
	return caller, problem.Require(&caller, p, access.Resource{Organization: caller.Organization})
}

// change runs fn in a write transaction in which the caller was found to hold p in the organization that slug names,
// now: session, membership and role are read in the same transaction, so that no write outlives what permitted it.
func (s *Service) change(ctx context.Context, caller access.Caller, slug string, p access.Permission, fn func(context.Context, *sql.Tx, access.Caller) error) error {
	if err := problem.RequireMay(&caller, p); err != nil {
		return err
	}
	return s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.Hold(ctx, tx, slug); err != nil {
			return err
		}
		acting, err := s.Acting(ctx, tx, caller, slug, p)
		if err != nil {
			return err
		}
		return fn(ctx, tx, acting)
	})
}

// Acting returns the caller as they may act in the organization that slug names, when they hold p there, as it stands in
// the transaction.
func (s *Service) Acting(ctx context.Context, tx *sql.Tx, caller access.Caller, slug string, p access.Permission) (access.Caller, error) {
	if err := live(ctx, tx, caller); err != nil {
		return access.Caller{}, err
	}
	row, err := rows.New(tx).Standing(ctx, rows.StandingParams{Slug: slug, UserID: caller.UserID})
	if errors.Is(err, sql.ErrNoRows) {
		return access.Caller{}, problem.Absent()
	}
	if err != nil {
		return access.Caller{}, fmt.Errorf("read the caller's place in the organization: %w", err)
	}
	caller.Organization, caller.OrganizationSlug = row.OrganizationID, row.Slug
	caller.Plan, _ = access.ParsePlan(row.Plan)
	caller.Role, _ = access.ParseRole(row.Role)
	return caller, problem.Require(&caller, p, access.Resource{Organization: caller.Organization})
}

// Hold keeps others from changing the same organizations until the transaction ends: what it finds, such as another owner or
// what agents may do, is still there when it commits.
func (s *Service) Hold(ctx context.Context, tx *sql.Tx, slugs ...string) error {
	keys := make([]string, len(slugs))
	for i, slug := range slugs {
		keys[i] = "organization:" + slug
	}
	return s.DB.Hold(ctx, tx, keys...)
}

// live refuses a session that ended between its verification and this transaction.
func live(ctx context.Context, tx *sql.Tx, caller access.Caller) error {
	n, err := rows.New(tx).SessionLive(ctx, rows.SessionLiveParams{ID: caller.CredentialID, UserID: caller.UserID})
	if err != nil {
		return fmt.Errorf("read the session: %w", err)
	}
	if n == 0 {
		return problem.New(problem.SessionEnded, "The session was ended. Sign in again.")
	}
	return nil
}

func (s *Service) record(ctx context.Context, tx *sql.Tx, caller access.Caller, organizationID, action, resource string, detail map[string]any) error {
	if caller.UserID == "" {
		if detail == nil {
			detail = map[string]any{}
		}
		detail["operator"] = true
	}
	return s.Audit.Record(ctx, tx, caller, audit.Event{Organization: organizationID, Action: action, Resource: resource, Detail: detail})
}

func organizationOf(row rows.StandingRow) Organization {
	return Organization{Slug: row.Slug, Name: row.Name, Plan: row.Plan, Role: row.Role, CreatedAt: db.Time(row.CreatedAt)}
}
