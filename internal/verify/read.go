package verify

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/problem"
	"carnet/internal/verify/rows"
	"carnet/token"
)

// read looks the value up in the store and keeps what it finds.
func (s *Service) read(ctx context.Context, k key, digest token.Digest) (*Grant, error) {
	ctx, done := s.db.Attempt(ctx)
	defer done()
	known := s.cache.now()
	q, err := s.prepared(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	var g *Grant
	var at db.Epoch
	if k.session {
		g, at, err = s.readSession(ctx, q, k, digest)
	} else {
		g, at, err = s.readToken(ctx, q, k, digest)
	}
	switch {
	case errors.Is(err, errInvalid):
		return nil, errInvalid
	case err != nil:
		return nil, unavailable(s.db.Explain(err))
	case at.Value < known.Value:
		// It was read after the cache had heard of a later epoch, so it is not from where writers write.
		return nil, unavailable(errBehind)
	}
	if s.beforePut != nil {
		s.beforePut()
	}
	s.cache.put(k, g, at)
	return g, nil
}

var errBehind = errors.New("the store answered with a state older than one that was known before")

// prepared returns the room's queries. Where the engine can, every connection parses them once: parsing takes longer
// than answering.
func (s *Service) prepared(ctx context.Context) (*rows.Queries, error) {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if s.queries != nil {
		return s.queries, nil
	}
	lookups, prepares := s.db.Lookups()
	if !prepares {
		s.queries = rows.New(lookups)
		return s.queries, nil
	}
	q, err := rows.Prepare(ctx, lookups)
	if err != nil {
		return nil, fmt.Errorf("prepare the queries: %w", err)
	}
	s.queries = q
	return q, nil
}

func (s *Service) readToken(ctx context.Context, q *rows.Queries, k key, digest token.Digest) (*Grant, db.Epoch, error) {
	row, err := q.TokenGrant(ctx, rows.TokenGrantParams{LookupID: k.lookup.String(), Digest: digest[:]})
	at := db.Epoch{Value: row.Epoch, Mark: row.Mark}
	if err := settle(err, digest, row.Digest); err != nil {
		return nil, at, err
	}
	g := &Grant{Caller: tokenCaller(row), Prefix: row.KindPrefix + k.lookup.String(), digest: digest}
	if row.Restricted != 0 {
		g.Caller.Projects = access.Only(strings.FieldsFunc(row.Projects, func(r rune) bool { return r == ',' })...)
	}
	g.Scopes = g.Caller.Scopes.String()
	g.judgeToken(row)
	use := lastuse.Key{Organization: row.OrganizationID, ID: row.ID}
	g.use = s.uses.tokens.Entry(use)
	if g.validUntil != 0 {
		// A late use is kept under the value that was used, not the token: the owner should see which one.
		g.late = s.uses.late.Entry(lastuse.Key{Organization: row.OrganizationID, ID: row.ID + "/" + k.lookup.String()})
	}
	g.subjects = []db.Change{
		{Kind: db.TokenChanged, Key: row.ID},
		{Kind: db.UserChanged, Key: row.UserID},
		{Kind: db.OrganizationChanged, Key: row.OrganizationID},
	}
	return g, at, nil
}

func tokenCaller(row rows.TokenGrantRow) access.Caller {
	role, _ := access.ParseRole(row.Role) // none, or one that this version does not know: no role
	plan, _ := access.ParsePlan(row.Plan)
	purpose, _ := access.ParsePurpose(row.Purpose)
	c := access.Caller{
		Kind: access.TokenCaller, UserID: row.UserID, CredentialID: row.ID, TokenName: row.Name, EmailVerified: row.EmailVerifiedAt.Valid,
		Organization: row.OrganizationID, OrganizationSlug: row.Slug, Plan: plan, Role: role,
		Purpose: purpose, Scopes: access.ScopesFromBits(row.Scopes),
	}
	if purpose == access.Agent {
		policy := access.AgentPolicy{Off: row.AgentsOff != 0, Scopes: access.ScopesFromBits(row.AgentScopes)}
		for _, name := range strings.Fields(row.AgentDestructive) {
			if p, ok := access.ParseDestructive(name); ok { // one that this version does not know is not allowed
				policy.Destructive |= access.PermissionSet(p)
			}
		}
		c.Withheld, c.WriteRate = policy.Withholds(), int(row.AgentWriteRate.Int64)
	}
	return c
}

// judgeToken works out how the token would be refused. State: revoked before expired before inert before paused.
func (g *Grant) judgeToken(row rows.TokenGrantRow) {
	if row.ValidUntil.Valid {
		g.validUntil = row.ValidUntil.Int64
	}
	if row.ExpiresAt.Valid {
		g.expiresAt = row.ExpiresAt.Int64
		g.Expires = stamp(g.expiresAt)
	}
	if row.RevokedAt.Valid {
		g.ended = problem.Newf(problem.TokenRevoked, "The token was revoked at %s. Create a new one.", stamp(row.RevokedAt.Int64))
	}
	switch {
	case row.SuspendedAt.Valid:
		g.resting = problem.New(problem.TokenInert, "The token rests: its user's account is suspended. It works again when the account is restored.")
	case g.Caller.Role == access.NoRole:
		g.resting = problem.New(problem.TokenInert, "The token rests: its user has no role in the organization now. It works again when they have one.")
	case row.RestingSince.Valid:
		g.resting = problem.New(problem.TokenInert, "The token rests: the server was restored from a backup that may not know of its revocation. It works again when an operator says so.")
	case row.AgentsOff != 0 && g.Caller.Purpose == access.Agent:
		g.resting = problem.New(problem.PolicyDenied, "Agents are turned off in this organization. The token works again when an admin turns them on.")
	case row.PausedAt.Valid:
		g.resting = problem.New(problem.TokenPaused, "The token is paused. Whoever paused it, or an admin of the organization, can resume it.")
	}
}

func (s *Service) readSession(ctx context.Context, q *rows.Queries, k key, digest token.Digest) (*Grant, db.Epoch, error) {
	found, err := q.SessionGrant(ctx, rows.SessionGrantParams{LookupID: k.lookup.String(), Digest: digest[:]})
	if len(found) == 0 {
		found = make([]rows.SessionGrantRow, 1)
		if err == nil {
			err = sql.ErrNoRows
		}
	}
	row := found[0]
	at := db.Epoch{Value: row.Epoch, Mark: row.Mark}
	if err := settle(err, digest, row.Digest); err != nil {
		return nil, at, err
	}
	g := &Grant{
		Caller: access.Caller{
			Kind: access.SessionCaller, UserID: row.UserID, CredentialID: row.ID, EmailVerified: row.EmailVerifiedAt.Valid,
			AuthenticatedAt: row.AuthenticatedAt,
		},
		Prefix: token.PrefixOf(token.Session, k.lookup.String()), digest: digest,
		expiresAt: row.ExpiresAt, idleLimit: SessionIdle.Microseconds(), lastUsed: max(row.CreatedAt, row.LastUsedAt.Int64),
		use: s.uses.sessions.Entry(lastuse.Key{ID: row.ID}),
	}
	if row.EndedAt.Valid || row.SuspendedAt.Valid {
		g.ended = problem.New(problem.SessionEnded, "The session was ended. Sign in again.")
	}
	g.subjects = []db.Change{{Kind: db.SessionChanged, Key: row.ID}, {Kind: db.UserChanged, Key: row.UserID}}
	for _, m := range found {
		if !m.OrganizationID.Valid {
			continue
		}
		role, _ := access.ParseRole(m.Role.String)
		plan, _ := access.ParsePlan(m.Plan.String)
		g.Caller.Memberships = append(g.Caller.Memberships, access.Membership{
			Organization: m.OrganizationID.String, Slug: m.Slug.String, Name: m.Name.String, Plan: plan, Role: role,
		})
		g.subjects = append(g.subjects, db.Change{Kind: db.OrganizationChanged, Key: m.OrganizationID.String})
	}
	return g, at, nil
}

// settle compares the stored digest with the presented one. Nothing stored is compared with nothing, at the same cost.
func settle(err error, presented token.Digest, stored []byte) error {
	if errors.Is(err, sql.ErrNoRows) {
		var nothing token.Digest
		_ = presented.Equal(nothing[:])
		return errInvalid
	}
	if err != nil {
		return fmt.Errorf("look a credential up: %w", err)
	}
	if !presented.Equal(stored) {
		return errInvalid
	}
	return nil
}

func stamp(micros int64) string { return db.Time(micros).Format(time.RFC3339Nano) }
