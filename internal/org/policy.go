package org

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/optional"
	"carnet/internal/org/rows"
	"carnet/internal/problem"
)

// Limits of what a policy can say.
const (
	AgentDaysLimit      = 3660 // what any token may live
	AgentWriteRateLimit = 1_000_000
)

// Agents are the tokens that a policy binds. The tokens room keeps them.
type Agents interface {
	// ShortenIn ends the organization's agents when they have lived for so long, where they would live longer.
	ShortenIn(ctx context.Context, tx *sql.Tx, organizationID string, life time.Duration) error
}

// AgentPolicy is what an organization lets agents do, whatever their users' roles and their own scopes.
type AgentPolicy struct {
	Enabled         bool     `json:"enabled"`
	Scopes          []string `json:"scopes"`            // that agents may use
	Destructive     []string `json:"destructive"`       // the permissions to destroy that agents may exercise; none by default
	MaxLifetimeDays *int     `json:"max_lifetime_days"` // null: as long as any token
	WritesPerHour   *int     `json:"writes_per_hour"`   // of each agent; null: any number
}

// Rules returns the policy as the rules of access know it.
func (p AgentPolicy) Rules() access.AgentPolicy {
	rules := access.AgentPolicy{Off: !p.Enabled, Scopes: access.KnownScopes(p.Scopes...)}
	for _, name := range p.Destructive {
		if permission, ok := access.ParseDestructive(name); ok {
			rules.Destructive |= access.PermissionSet(permission)
		}
	}
	return rules
}

// PolicyChange is what to change of a policy. What is not set stays as it is.
type PolicyChange struct {
	Enabled         optional.Value[bool]
	Scopes          optional.Value[[]string]
	Destructive     optional.Value[[]string]
	MaxLifetimeDays optional.Value[int] // null: as long as any token
	WritesPerHour   optional.Value[int] // null: any number
	Invalid         error               // what the door could not read
}

// AgentPolicy returns the organization's agent policy. Its members may ask; to others the organization is absent.
func (s *Service) AgentPolicy(ctx context.Context, caller access.Caller, slug string) (AgentPolicy, error) {
	caller, err := In(caller, slug, access.OrganizationRead)
	if err != nil {
		return AgentPolicy{}, err
	}
	return PolicyIn(ctx, s.DB.Read(), caller.Organization)
}

// PolicyIn returns the agent policy of an organization, as it stands in q. Other rooms ask it in their own transaction.
func PolicyIn(ctx context.Context, q db.Queryer, organizationID string) (AgentPolicy, error) {
	row, err := rows.New(q).AgentPolicy(ctx, organizationID)
	if errors.Is(err, sql.ErrNoRows) {
		return AgentPolicy{}, problem.Absent()
	}
	if err != nil {
		return AgentPolicy{}, fmt.Errorf("read the agent policy: %w", err)
	}
	return AgentPolicy{
		Enabled: row.AgentsOff == 0, Scopes: access.ScopesFromBits(row.AgentScopes).Names(),
		Destructive:     destructive(strings.Fields(row.AgentDestructive)),
		MaxLifetimeDays: number(row.AgentMaxDays), WritesPerHour: number(row.AgentWriteRate),
	}, nil
}

// destructive keeps the names that this version knows, in their order and without repeats.
func destructive(names []string) []string {
	var set access.Permissions
	for _, name := range names {
		if p, ok := access.ParseDestructive(name); ok {
			set |= access.PermissionSet(p)
		}
	}
	return set.Names()
}

func number(n sql.NullInt64) *int {
	if !n.Valid {
		return nil
	}
	value := int(n.Int64)
	return &value
}

func nullable(n *int) sql.NullInt64 {
	if n == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: int64(*n), Valid: true}
}

// SetAgentPolicy changes the organization's agent policy. Admins and owners may, after a fresh sign-in. It holds for the
// next call of every agent: a shorter lifetime is written into the tokens that there are, and does not grow back with a
// longer one.
func (s *Service) SetAgentPolicy(ctx context.Context, caller access.Caller, slug string, change PolicyChange) (AgentPolicy, error) {
	var after AgentPolicy
	err := s.change(ctx, caller, slug, access.OrganizationAdminister, func(ctx context.Context, tx *sql.Tx, caller access.Caller) error {
		before, err := PolicyIn(ctx, tx, caller.Organization)
		if err != nil {
			return err
		}
		after, err = change.Apply(before)
		if err = problem.Both(change.Invalid, err); err != nil {
			return err
		}
		if err := s.Accounts.Fresh(caller); err != nil {
			return err
		}
		return s.storePolicy(ctx, tx, caller, before, after)
	})
	return after, err
}

// Apply returns the policy with what was sent, or what is wrong with that.
func (c PolicyChange) Apply(p AgentPolicy) (AgentPolicy, error) {
	var wrong []problem.Field
	complain := func(location, message string) {
		wrong = append(wrong, problem.Field{Location: location, Message: message})
	}
	if c.Enabled.Set {
		p.Enabled = c.Enabled.V
	}
	if c.Scopes.Set {
		var set access.Scopes
		for i, name := range c.Scopes.V {
			scope, ok := access.ParseScope(name)
			if !ok {
				complain(fmt.Sprintf("body.scopes[%d]", i), "is no scope; GET /api/v1/scopes lists them")
			}
			set |= access.ScopeSet(scope)
		}
		p.Scopes = set.Names()
	}
	if c.Destructive.Set {
		for i, name := range c.Destructive.V {
			if _, ok := access.ParseDestructive(name); !ok {
				complain(fmt.Sprintf("body.destructive[%d]", i), "must be one of "+strings.Join(access.PermissionSet(access.Destructive()...).Names(), ", "))
			}
		}
		p.Destructive = destructive(c.Destructive.V)
	}
	bounded := func(location string, v optional.Value[int], most int, into **int) {
		switch {
		case !v.Set:
		case v.Null:
			*into = nil
		case v.V < 1 || v.V > most:
			complain(location, fmt.Sprintf("must be 1 to %d; without a value there is no limit", most))
		default:
			*into = &v.V
		}
	}
	bounded("body.max_lifetime_days", c.MaxLifetimeDays, AgentDaysLimit, &p.MaxLifetimeDays)
	bounded("body.writes_per_hour", c.WritesPerHour, AgentWriteRateLimit, &p.WritesPerHour)
	if len(wrong) > 0 {
		return AgentPolicy{}, problem.InvalidFields(wrong...)
	}
	return p, nil
}

func (s *Service) storePolicy(ctx context.Context, tx *sql.Tx, caller access.Caller, before, after AgentPolicy) error {
	rules := after.Rules()
	scopes := rules.Scopes.Bits()
	if rules.Scopes == access.AllScopes() {
		scopes = -1 // and those that later versions bring
	}
	off := int64(0)
	if rules.Off {
		off = 1
	}
	err := rows.New(tx).SetAgentPolicy(ctx, rows.SetAgentPolicyParams{
		AgentsOff: off, AgentScopes: scopes, AgentDestructive: strings.Join(after.Destructive, " "),
		AgentMaxDays: nullable(after.MaxLifetimeDays), AgentWriteRate: nullable(after.WritesPerHour), ID: caller.Organization,
	})
	if err != nil {
		return fmt.Errorf("store the agent policy: %w", err)
	}
	if days := after.MaxLifetimeDays; days != nil {
		if err := s.Agents.ShortenIn(ctx, tx, caller.Organization, time.Duration(*days)*24*time.Hour); err != nil {
			return err
		}
	}
	return s.record(ctx, tx, caller, caller.Organization, "organization.agent_policy_changed", caller.Organization, map[string]any{"before": before, "after": after})
}
