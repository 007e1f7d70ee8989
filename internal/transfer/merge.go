package transfer

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"carnet/access"
)

// rule is one way in which authority can have shrunk since the backup. Its statement makes the restored store follow the
// old one, attached as old, and never the other way round: what grew since the backup is not taken over. $1 is now.
type rule struct {
	what string // what its rows are, for the report; empty: not told
	sql  string
}

// rules come in this order: members of projects before the memberships that they fall with.
var rules = []rule{
	{"accounts suspended", `
		UPDATE users SET suspended_at = o.suspended_at FROM old.users o
		WHERE o.id = users.id AND o.suspended_at IS NOT NULL AND users.suspended_at IS NULL`},
	{"accounts suspended that the old store does not have", `
		UPDATE users SET suspended_at = $1
		WHERE suspended_at IS NULL AND NOT EXISTS (SELECT 1 FROM old.users o WHERE o.id = users.id)`},
	{"addresses no longer verified", `
		UPDATE users SET email_verified_at = NULL FROM old.users o
		WHERE o.id = users.id AND o.email_verified_at IS NULL AND users.email_verified_at IS NOT NULL`},
	{"passwords changed", `
		UPDATE users SET password_hash = o.password_hash FROM old.users o
		WHERE o.id = users.id AND o.password_hash <> users.password_hash`},

	{"sessions ended", `
		UPDATE sessions SET ended_at = coalesce((SELECT o.ended_at FROM old.sessions o WHERE o.id = sessions.id), $1)
		WHERE ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM old.sessions o
			WHERE o.id = sessions.id AND o.user_id = sessions.user_id AND o.lookup_id = sessions.lookup_id AND o.digest = sessions.digest AND o.ended_at IS NULL)`},
	{"sessions that expire earlier", `
		UPDATE sessions SET expires_at = o.expires_at FROM old.sessions o
		WHERE o.id = sessions.id AND o.expires_at < sessions.expires_at AND sessions.ended_at IS NULL`},
	{"mailed codes used up", `
		UPDATE account_codes SET used_at = coalesce((SELECT o.used_at FROM old.account_codes o WHERE o.digest = account_codes.digest), $1)
		WHERE used_at IS NULL AND NOT EXISTS (SELECT 1 FROM old.account_codes o WHERE o.digest = account_codes.digest AND o.used_at IS NULL)`},
	{"mailed codes that expire earlier", `
		UPDATE account_codes SET expires_at = o.expires_at FROM old.account_codes o
		WHERE o.digest = account_codes.digest AND o.expires_at < account_codes.expires_at`},

	{"project members removed", `
		DELETE FROM project_members WHERE NOT EXISTS (SELECT 1 FROM old.project_members o
			WHERE o.organization_id = project_members.organization_id AND o.project_id = project_members.project_id AND o.user_id = project_members.user_id)`},
	{"project roles lowered", `
		UPDATE project_members SET role = o.role FROM old.project_members o
		WHERE o.organization_id = project_members.organization_id AND o.project_id = project_members.project_id AND o.user_id = project_members.user_id
			AND ` + ranks("o.role", projectRoles()) + ` < ` + ranks("project_members.role", projectRoles()) + ``},
	{"members removed", `
		DELETE FROM memberships WHERE NOT EXISTS (SELECT 1 FROM old.memberships o
			WHERE o.organization_id = memberships.organization_id AND o.user_id = memberships.user_id)`},
	{"roles lowered", `
		UPDATE memberships SET role = o.role FROM old.memberships o
		WHERE o.organization_id = memberships.organization_id AND o.user_id = memberships.user_id
			AND ` + ranks("o.role", roles()) + ` < ` + ranks("memberships.role", roles()) + ``},
	{"projects made private", `
		UPDATE projects SET visibility = o.visibility FROM old.projects o
		WHERE o.organization_id = projects.organization_id AND o.id = projects.id
			AND projects.visibility = 'organization' AND o.visibility <> 'organization'`},
	{"plans lowered", `
		UPDATE organizations SET plan = o.plan FROM old.organizations o
		WHERE o.id = organizations.id AND ` + ranks("o.plan", plans()) + ` < ` + ranks("organizations.plan", plans()) + ``},

	{"tokens revoked", `
		UPDATE tokens SET revoked_at = o.revoked_at, revoked_by = o.revoked_by, revoke_reason = o.revoke_reason FROM old.tokens o
		WHERE ` + sameToken + ` AND o.revoked_at IS NOT NULL AND tokens.revoked_at IS NULL`},
	{"tokens revoked that the old store does not have", `
		UPDATE tokens SET revoked_at = $1, revoked_by = '', revoke_reason = 'not in the store that a backup replaced'
		WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)
			AND NOT EXISTS (SELECT 1 FROM old.tokens o WHERE ` + sameToken + ` AND o.user_id = tokens.user_id)`},
	{"tokens that expire earlier", `
		UPDATE tokens SET expires_at = o.expires_at FROM old.tokens o
		WHERE ` + sameToken + ` AND (tokens.expires_at IS NULL OR o.expires_at < tokens.expires_at) AND o.expires_at IS NOT NULL`},
	{"tokens paused", `
		UPDATE tokens SET paused_at = o.paused_at, paused_by = o.paused_by, pause_reason = o.pause_reason FROM old.tokens o
		WHERE ` + sameToken + ` AND o.paused_at IS NOT NULL
			AND (tokens.paused_at IS NULL OR tokens.paused_by = tokens.user_id AND o.paused_by NOT IN ('', tokens.paused_by))`},
	{"tokens rest as they did", `
		UPDATE tokens SET resting_since = o.resting_since FROM old.tokens o
		WHERE ` + sameToken + ` AND o.resting_since IS NOT NULL AND tokens.resting_since IS NULL`},

	{"projects taken from tokens", `
		DELETE FROM token_projects WHERE EXISTS (SELECT 1 FROM old.tokens o WHERE o.organization_id = token_projects.organization_id AND o.id = token_projects.token_id AND o.restricted = 1)
			AND NOT EXISTS (SELECT 1 FROM old.token_projects o WHERE o.organization_id = token_projects.organization_id
				AND o.token_id = token_projects.token_id AND o.project_id = token_projects.project_id)`},
	{"", `
		INSERT INTO token_projects (organization_id, token_id, project_id)
		SELECT p.organization_id, p.token_id, p.project_id FROM old.token_projects p
		JOIN old.tokens o ON o.organization_id = p.organization_id AND o.id = p.token_id
		JOIN tokens ON ` + sameToken + `
		WHERE o.restricted = 1 AND tokens.restricted = 0 ON CONFLICT DO NOTHING`},
	{"tokens limited to projects", `
		UPDATE tokens SET restricted = 1 FROM old.tokens o
		WHERE ` + sameToken + ` AND o.restricted = 1 AND tokens.restricted = 0`},

	{"values replaced", `
		UPDATE credentials SET valid_until = o.valid_until FROM old.credentials o
		WHERE o.lookup_id = credentials.lookup_id AND o.valid_until IS NOT NULL AND (credentials.valid_until IS NULL OR o.valid_until < credentials.valid_until)`},
	{"values that the old store does not have", `
		UPDATE credentials SET valid_until = $1
		WHERE (valid_until IS NULL OR valid_until > $1) AND NOT EXISTS (SELECT 1 FROM old.credentials o
			WHERE o.lookup_id = credentials.lookup_id AND o.digest = credentials.digest AND o.organization_id = credentials.organization_id AND o.token_id = credentials.token_id)`},
}

const sameToken = `o.organization_id = tokens.organization_id AND o.id = tokens.id`

// merge takes over everything by which authority shrank since the backup.
func (m *merger) merge(ctx context.Context) {
	for _, r := range rules {
		n := m.exec(ctx, "take over "+r.what, r.sql)
		if r.what != "" {
			m.count(r.what, n)
		}
	}
	m.forgetGrants(ctx)
	m.narrowScopes(ctx)
	m.narrowPolicies(ctx)
}

// narrowScopes takes over the scopes of tokens that were narrowed. What one scope covers is the affair of access, so they
// are compared there and not as bits: tokens:read is within tokens:write.
func (m *merger) narrowScopes(ctx context.Context) {
	if m.err != nil {
		return
	}
	narrowed, err := m.narrowed(ctx)
	for _, t := range narrowed {
		if err == nil {
			_, err = m.tx.ExecContext(ctx, `UPDATE tokens SET scopes = $1 WHERE organization_id = $2 AND id = $3`, t.scopes.Bits(), t.organization, t.id)
		}
	}
	if err != nil {
		m.err = fmt.Errorf("take over scopes: %w", err)
		return
	}
	m.count("tokens with fewer scopes", int64(len(narrowed)))
}

type narrowedToken struct {
	organization, id string
	scopes           access.Scopes
}

// narrowed returns the tokens whose scopes are to change. They are few: people narrow tokens by hand.
func (m *merger) narrowed(ctx context.Context) (list []narrowedToken, err error) {
	rows, err := m.tx.QueryContext(ctx, `SELECT tokens.organization_id, tokens.id, tokens.scopes, o.scopes FROM tokens JOIN old.tokens o ON `+sameToken+` WHERE o.scopes <> tokens.scopes`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var t narrowedToken
		var backup, old int64
		if err := rows.Scan(&t.organization, &t.id, &backup, &old); err != nil {
			return nil, err
		}
		t.scopes = narrower(access.ScopesFromBits(backup), access.ScopesFromBits(old))
		if t.scopes.Bits() != backup {
			list = append(list, t)
		}
	}
	return list, rows.Err()
}

// policy is an organization's agent policy as it is stored.
type policy struct {
	off, scopes int64
	destructive string
	days, rate  sql.NullInt64
}

// narrowPolicies takes over what organizations no longer let agents do.
func (m *merger) narrowPolicies(ctx context.Context) {
	if m.err != nil {
		return
	}
	narrowed, err := m.narrowedPolicies(ctx)
	for organization, p := range narrowed {
		if err == nil {
			_, err = m.tx.ExecContext(ctx, `UPDATE organizations SET agents_off = $1, agent_scopes = $2, agent_destructive = $3, agent_max_days = $4, agent_write_rate = $5 WHERE id = $6`,
				p.off, p.scopes, p.destructive, p.days, p.rate, organization)
		}
	}
	if err != nil {
		m.err = fmt.Errorf("take over agent policies: %w", err)
		return
	}
	m.count("agent policies narrowed", int64(len(narrowed)))
}

// narrowedPolicies returns the policies that are to change, by organization.
func (m *merger) narrowedPolicies(ctx context.Context) (map[string]policy, error) {
	rows, err := m.tx.QueryContext(ctx, `
		SELECT n.id, n.agents_off, n.agent_scopes, n.agent_destructive, n.agent_max_days, n.agent_write_rate,
			o.agents_off, o.agent_scopes, o.agent_destructive, o.agent_max_days, o.agent_write_rate
		FROM organizations n JOIN old.organizations o ON o.id = n.id`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	list := map[string]policy{}
	for rows.Next() {
		var organization string
		var backup, old policy
		err := rows.Scan(&organization, &backup.off, &backup.scopes, &backup.destructive, &backup.days, &backup.rate,
			&old.off, &old.scopes, &old.destructive, &old.days, &old.rate)
		if err != nil {
			return nil, err
		}
		if p := backup.narrowedTo(old); p != backup {
			list[organization] = p
		}
	}
	return list, rows.Err()
}

// narrowedTo returns what both policies allow.
func (p policy) narrowedTo(old policy) policy {
	p.off = max(p.off, old.off)
	// Compared first: what says "all that there are" stays that way.
	if mine, theirs := access.ScopesFromBits(p.scopes), access.ScopesFromBits(old.scopes); !mine.Within(theirs) {
		p.scopes = narrower(mine, theirs).Bits()
	}
	allowed := strings.Fields(old.destructive)
	p.destructive = strings.Join(slices.DeleteFunc(strings.Fields(p.destructive), func(name string) bool { return !slices.Contains(allowed, name) }), " ")
	p.days, p.rate = least(p.days, old.days), least(p.rate, old.rate)
	return p
}

// least returns the lower of two limits, of which none is the highest.
func least(a, b sql.NullInt64) sql.NullInt64 {
	if !a.Valid || b.Valid && b.Int64 < a.Int64 {
		return b
	}
	return a
}

// narrower returns what both sets allow: the one that is within the other, or else what they share.
func narrower(backup, old access.Scopes) access.Scopes {
	switch {
	case backup.Within(old):
		return backup
	case old.Within(backup):
		return old
	default:
		return backup & old
	}
}

// ranks is an expression of SQL for how much a role or plan allows, by its name: its place in the list, least first. One
// that this version does not know allows nothing.
func ranks(column string, least []string) string {
	var b strings.Builder
	b.WriteString("(CASE " + column)
	for i, name := range least {
		fmt.Fprintf(&b, " WHEN '%s' THEN %d", name, i+1)
	}
	return b.String() + " ELSE 0 END)"
}

func roles() (least []string) {
	for _, r := range access.Roles() {
		least = append([]string{r.String()}, least...)
	}
	return least
}

func projectRoles() (least []string) {
	for _, r := range access.ProjectRoles() {
		least = append([]string{r.String()}, least...)
	}
	return least
}

func plans() []string {
	return []string{access.Free.String(), access.Team.String(), access.Enterprise.String()}
}
