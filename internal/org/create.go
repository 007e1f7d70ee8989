package org

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/org/rows"
	"carnet/internal/problem"
	"carnet/internal/text"
)

// NewOrganization is what an organization is founded with.
type NewOrganization struct {
	Slug, Name string
	Invalid    error // what the door could not read
}

// Create founds an organization on the free plan, with the caller as its owner. Any signed-in person with a verified
// e-mail address may; others get email_unverified. A slug that is taken is a conflict, and whoever owns too many
// organizations gets policy_denied.
func (s *Service) Create(ctx context.Context, caller access.Caller, input NewOrganization) (Organization, error) {
	if err := problem.RequireMay(&caller, access.AccountManage); err != nil {
		return Organization{}, err
	}
	var created Organization
	err := s.DB.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.DB.Hold(ctx, tx, "founder:"+caller.UserID); err != nil {
			return err
		}
		if err := mayFound(ctx, tx, caller); err != nil {
			return err
		}
		if input.Invalid != nil {
			return input.Invalid
		}
		name, err := checkNew(input.Slug, input.Name, "body.slug", "body.name")
		if err != nil {
			return err
		}
		created, err = s.insert(ctx, tx, caller, input.Slug, name, access.Free, caller.UserID)
		return err
	})
	if err != nil {
		return Organization{}, err
	}
	return created, nil
}

func mayFound(ctx context.Context, tx *sql.Tx, caller access.Caller) error {
	if err := live(ctx, tx, caller); err != nil {
		return err
	}
	q := rows.New(tx)
	verified, err := q.EmailVerified(ctx, caller.UserID)
	if err != nil {
		return fmt.Errorf("read the user: %w", err)
	}
	if verified == 0 {
		return problem.New(problem.EmailUnverified, "Confirm your e-mail address first: open the link that was mailed to you, or ask for a new one.")
	}
	owned, err := q.OwnedBy(ctx, caller.UserID)
	if err != nil {
		return fmt.Errorf("count the caller's organizations: %w", err)
	}
	if owned >= OwnedLimit {
		return problem.Newf(problem.PolicyDenied, "The limit of organizations per person forbids it: nobody founds another one who owns %d.", OwnedLimit)
	}
	return nil
}

// insert makes an organization with its first owner, and records it. A slug that is taken is a conflict.
func (s *Service) insert(ctx context.Context, tx *sql.Tx, caller access.Caller, slug, name string, plan access.Plan, owner string) (Organization, error) {
	q := rows.New(tx)
	organizationID, now := id.New(id.Organization), db.Micros(s.Now())
	made, err := q.InsertOrganization(ctx, rows.InsertOrganizationParams{ID: organizationID, Slug: slug, Name: name, Plan: plan.String(), CreatedAt: now})
	if err != nil {
		return Organization{}, fmt.Errorf("make the organization: %w", err)
	}
	if made == 0 {
		return Organization{}, problem.New(problem.Conflict, "There is an organization with that slug already. Choose another one.")
	}
	if _, err := q.InsertMember(ctx, rows.InsertMemberParams{OrganizationID: organizationID, UserID: owner, Role: access.Owner.String(), CreatedAt: now}); err != nil {
		return Organization{}, fmt.Errorf("make the first owner: %w", err)
	}
	detail := map[string]any{"slug": slug, "plan": plan.String(), "owner": owner}
	if err := s.record(ctx, tx, caller, organizationID, "organization.created", organizationID, detail); err != nil {
		return Organization{}, err
	}
	return Organization{Slug: slug, Name: name, Plan: plan.String(), Role: access.Owner.String(), CreatedAt: db.Time(now)}, nil
}

var slugForm = regexp.MustCompile(`^[a-z][a-z0-9-]{1,39}$`)

// reserved slugs could be taken for a part of the product where a slug stands in an address or a message.
var reserved = map[string]bool{
	"about": true, "access": true, "account": true, "admin": true, "administrator": true, "agents": true, "api": true,
	"app": true, "assets": true, "audit": true, "auth": true, "billing": true, "blog": true, "carnet": true, "console": true,
	"dashboard": true, "docs": true, "export": true, "health": true, "healthz": true, "help": true, "home": true,
	"index": true, "invitations": true, "invite": true, "login": true, "logout": true, "mail": true, "mcp": true, "me": true,
	"members": true, "metrics": true, "new": true, "none": true, "null": true, "oauth": true, "openapi": true,
	"organization": true, "organizations": true, "owner": true, "personal": true, "privacy": true, "projects": true,
	"public": true, "readyz": true, "root": true, "security": true, "self": true, "session": true, "sessions": true,
	"settings": true, "setup": true, "sign-in": true, "sign-out": true, "sign-up": true, "static": true, "status": true,
	"support": true, "system": true, "tasks": true, "terms": true, "tokens": true, "undefined": true, "user": true,
	"users": true, "verify": true, "well-known": true, "www": true,
}

// checkNew checks what an organization is to be called and returns the name as it is kept.
func checkNew(slug, name, slugLocation, nameLocation string) (string, error) {
	var fields []problem.Field
	switch {
	case !slugForm.MatchString(slug):
		fields = append(fields, problem.Field{Location: slugLocation, Message: "must be 2 to 40 characters, a to z, 0 to 9 and hyphens, a letter first"})
	case reserved[slug]:
		fields = append(fields, problem.Field{Location: slugLocation, Message: "is a word that the product keeps for itself"})
	}
	name, wrong := text.Line(nameLocation, name, NameLimit)
	if wrong != nil {
		fields = append(fields, *wrong)
	}
	if len(fields) > 0 {
		return "", problem.InvalidFields(fields...)
	}
	return name, nil
}
