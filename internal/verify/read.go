package verify

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	// A read takes less time than it takes to watch over a caller who may hang up.
	ctx = context.WithoutCancel(ctx)
	prepared, err := s.prepared(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	var g *Grant
	var epoch int64
	err = s.db.Snapshot(ctx, func(tx *sql.Tx, at int64) (err error) {
		epoch = at
		q := prepared.WithTx(tx)
		if k.session {
			g, err = s.readSession(ctx, q, k, digest)
		} else {
			g, err = s.readToken(ctx, q, k, digest)
		}
		return err
	})
	switch {
	case errors.Is(err, errInvalid):
		return nil, errInvalid
	case err != nil:
		return nil, unavailable(err)
	}
	if s.beforePut != nil {
		s.beforePut()
	}
	s.cache.put(k, g, epoch)
	return g, nil
}

// prepared returns the room's queries, which every connection parses once: parsing takes longer than answering. They
// are prepared outside of any transaction, because preparing needs a connection, too.
func (s *Service) prepared(ctx context.Context) (*rows.Queries, error) {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if s.queries == nil {
		q, err := rows.Prepare(ctx, s.db.Read())
		if err != nil {
			return nil, fmt.Errorf("prepare the queries: %w", err)
		}
		s.queries = q
	}
	return s.queries, nil
}

// readToken finds the credential first and compares it before anything else is read, so that an unknown and a wrong
// value cost the same.
func (s *Service) readToken(ctx context.Context, q *rows.Queries, k key, digest token.Digest) (*Grant, error) {
	credential, err := q.Credential(ctx, k.lookup.String())
	if err := settle(err, digest, credential.Digest); err != nil {
		return nil, err
	}
	row, err := q.TokenGrant(ctx, rows.TokenGrantParams{OrganizationID: credential.OrganizationID, ID: credential.TokenID})
	if err != nil {
		return nil, fmt.Errorf("read token %s: %w", credential.TokenID, err)
	}
	g := &Grant{Caller: tokenCaller(row), Prefix: row.KindPrefix + k.lookup.String(), digest: digest}
	if row.Restricted != 0 {
		ids, err := q.TokenProjects(ctx, rows.TokenProjectsParams{OrganizationID: row.OrganizationID, TokenID: row.ID})
		if err != nil {
			return nil, fmt.Errorf("read the projects of token %s: %w", row.ID, err)
		}
		g.Caller.Projects = access.Only(ids...)
	}
	g.Scopes = g.Caller.Scopes.String()
	g.judgeToken(row, credential)
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
	return g, nil
}

func tokenCaller(row rows.TokenGrantRow) access.Caller {
	role, _ := access.ParseRole(row.Role.String) // none, or one that this version does not know: no role
	plan, _ := access.ParsePlan(row.Plan)
	purpose, _ := access.ParsePurpose(row.Purpose)
	return access.Caller{
		Kind: access.TokenCaller, UserID: row.UserID, CredentialID: row.ID, EmailVerified: row.EmailVerifiedAt.Valid,
		Organization: row.OrganizationID, OrganizationSlug: row.Slug, Plan: plan, Role: role,
		Purpose: purpose, Scopes: access.ScopesFromBits(row.Scopes),
	}
}

// judgeToken works out how the token would be refused. State: revoked before expired before inert before paused.
func (g *Grant) judgeToken(row rows.TokenGrantRow, credential rows.CredentialRow) {
	if credential.ValidUntil.Valid {
		g.validUntil = credential.ValidUntil.Int64
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
	case row.PausedAt.Valid:
		g.resting = problem.New(problem.TokenPaused, "The token is paused. Its owner or an organization admin can resume it.")
	}
}

func (s *Service) readSession(ctx context.Context, q *rows.Queries, k key, digest token.Digest) (*Grant, error) {
	row, err := q.SessionGrant(ctx, k.lookup.String())
	if err := settle(err, digest, row.Digest); err != nil {
		return nil, err
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
	memberships, err := q.Memberships(ctx, row.UserID)
	if err != nil {
		return nil, fmt.Errorf("read the memberships of %s: %w", row.UserID, err)
	}
	for _, m := range memberships {
		role, _ := access.ParseRole(m.Role)
		plan, _ := access.ParsePlan(m.Plan)
		g.Caller.Memberships = append(g.Caller.Memberships, access.Membership{
			Organization: m.OrganizationID, Slug: m.Slug, Name: m.Name, Plan: plan, Role: role,
		})
		g.subjects = append(g.subjects, db.Change{Kind: db.OrganizationChanged, Key: m.OrganizationID})
	}
	return g, nil
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
