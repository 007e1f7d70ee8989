package tokens

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/idempotency"
	"carnet/internal/org"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/text"
	"carnet/internal/tokens/rows"
	"carnet/token"
)

// Draft describes a token to create or to preview.
type Draft struct {
	Name          string
	Organization  string // slug
	Scopes        []string
	Projects      []string // ids; nil: not restricted
	ExpiresAt     *time.Time
	ExpiresInDays *int
	Purpose       string // empty: personal
	Client        Client // that an agent's token is for
	Invalid       error  // what the door could not read
}

// Issued is a token together with its value, which is shown now and never again. Value is nil when the answer is a
// repeat under an idempotency key: the value existed only in the first answer.
type Issued struct {
	Token Token
	Value *token.Value
	Owner string // user id
}

// grant is a checked draft.
type grant struct {
	now       time.Time // when it was checked: creation and expiry count from the same moment
	name      string
	standing  rows.StandingRow
	role      access.Role
	purpose   access.Purpose
	policy    access.AgentPolicy // of agents
	mostDays  *int               // that an agent may live
	client    Client
	clientID  string
	scopes    access.Scopes
	projects  access.ProjectSet
	expiresAt *time.Time
}

// Create makes a token for the caller. It needs a real sign-in that is fresh, and a verified e-mail address. It refuses
// with not_found an organization that the caller has no role in, and with validation_failed scopes that do not exist or
// that the role does not cover, projects that the caller does not see, and expiries in the past or too far away.
func (s *Service) Create(ctx context.Context, caller access.Caller, draft Draft) (Issued, error) {
	if err := s.sensitive(caller); err != nil {
		return Issued{}, err
	}
	if draft.Invalid != nil {
		return Issued{}, draft.Invalid
	}
	var value *token.Value
	created, _, err := idempotency.Do(ctx, s.Idempotency, caller,
		func(ctx context.Context, tx *sql.Tx) error {
			value = nil // of a former try
			if err := s.DB.Hold(ctx, tx, "creation:"+caller.UserID); err != nil {
				return err
			}
			if err := s.holdPolicy(ctx, tx, draft.Purpose, draft.Organization); err != nil {
				return err
			}
			if err := s.stillSignedIn(ctx, tx, caller); err != nil {
				return err
			}
			_, err := s.standing(ctx, tx, caller, draft.Organization)
			return err
		},
		func(ctx context.Context, tx *sql.Tx) (Token, error) {
			g, err := s.check(ctx, tx, caller, draft, strict)
			if err != nil {
				return Token{}, err
			}
			if err := s.underQuota(ctx, tx, caller.UserID); err != nil {
				return Token{}, err
			}
			fresh, t, err := s.insert(ctx, tx, caller, g)
			value = &fresh
			return t, err
		})
	if err != nil {
		return Issued{}, fmt.Errorf("create a token: %w", err)
	}
	if value != nil { // and it is no repetition
		s.TellReturned(ctx, created, caller.UserID)
	}
	return Issued{Token: created, Value: value, Owner: caller.UserID}, nil
}

// holdPolicy keeps what an organization lets agents do as it is until an agent's grant is stored: a shorter life that comes
// meanwhile would not see it.
func (s *Service) holdPolicy(ctx context.Context, tx *sql.Tx, purpose, slug string) error {
	if purpose != access.Agent.String() {
		return nil
	}
	return s.Org.Hold(ctx, tx, slug)
}

// sensitive is what creating and rotating share: a person, verified, who proved who they are a moment ago.
func (s *Service) sensitive(caller access.Caller) error {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return err
	}
	if !caller.EmailVerified {
		return problem.New(problem.EmailUnverified, "Verify your e-mail address first: open the link in the mail that we sent you, or ask for a new one.")
	}
	return s.Account.Fresh(caller)
}

// stillSignedIn looks again inside the transaction: a session that was ended, or a user who was suspended, while the
// request was on its way must leave nothing behind that outlives them (GO-2026-5708).
func (s *Service) stillSignedIn(ctx context.Context, tx *sql.Tx, caller access.Caller) error {
	live, err := rows.New(tx).SessionLive(ctx, rows.SessionLiveParams{ID: caller.CredentialID, UserID: caller.UserID})
	if err != nil {
		return fmt.Errorf("look at the session: %w", err)
	}
	if live == 0 {
		return problem.New(problem.SessionEnded, "The session was ended. Sign in again.")
	}
	return nil
}

func (s *Service) standing(ctx context.Context, q db.Queryer, caller access.Caller, slug string) (rows.StandingRow, error) {
	row, err := rows.New(q).Standing(ctx, rows.StandingParams{Slug: slug, UserID: caller.UserID})
	if errors.Is(err, sql.ErrNoRows) {
		return row, problem.Absent()
	}
	if err != nil {
		return row, fmt.Errorf("look at the organization: %w", err)
	}
	return row, nil
}

// strictness says whether a check is for a token that will exist, or for a preview of one that is still being written.
type strictness bool

const (
	strict  strictness = true
	lenient strictness = false
)

// check validates the draft against what its user may do now. A lenient check tolerates what is not filled in yet and
// scopes that the role does not cover.
func (s *Service) check(ctx context.Context, q db.Queryer, caller access.Caller, draft Draft, how strictness) (grant, error) {
	standing, err := s.standing(ctx, q, caller, draft.Organization)
	if err != nil {
		return grant{}, err
	}
	g := grant{now: s.Now(), standing: standing}
	g.role, _ = access.ParseRole(standing.Role)
	var wrong []problem.Field
	complain := func(f *problem.Field) {
		if f != nil {
			wrong = append(wrong, *f)
		}
	}
	var field *problem.Field
	if g.name, field = text.Line("body.name", draft.Name, NameLimit); how == strict || draft.Name != "" {
		complain(field)
	}
	var known bool
	if g.purpose, known = access.ParsePurpose(draft.Purpose); !known && draft.Purpose != "" {
		complain(&problem.Field{Location: "body.purpose", Message: "must be personal or agent"})
	}
	if err := s.bind(ctx, q, &g, how); err != nil {
		return grant{}, err
	}
	g.client, field = draft.Client.checked()
	complain(field)
	if g.client.Name != "" && g.purpose != access.Agent {
		complain(&problem.Field{Location: "body.client", Message: "is for agents only"})
	}
	g.scopes, field = g.parseScopes(draft.Scopes, how, 0)
	complain(field)
	g.expiresAt, field = g.expiry(draft.ExpiresAt, draft.ExpiresInDays)
	complain(field)
	g.projects, field, err = s.projects(ctx, q, caller, g, draft.Projects)
	if err != nil {
		return grant{}, err
	}
	complain(field)
	if len(wrong) > 0 {
		return grant{}, problem.InvalidFields(wrong...)
	}
	return g, nil
}

// bind reads what the organization lets agents do, where the grant is for one.
func (s *Service) bind(ctx context.Context, q db.Queryer, g *grant, how strictness) error {
	if g.purpose != access.Agent {
		return nil
	}
	policy, err := org.PolicyIn(ctx, q, g.standing.OrganizationID)
	if err != nil {
		return fmt.Errorf("look at the agent policy: %w", err)
	}
	if !policy.Enabled && how == strict {
		return problem.New(problem.PolicyDenied, "Agents are turned off in this organization. One of its admins can turn them on, under Agents in the organization's pages.")
	}
	g.policy, g.mostDays = policy.Rules(), policy.MaxLifetimeDays
	return nil
}

// covers reports whether the grant's user can make anything of a scope, and its organization lets them.
func (g *grant) covers(scope access.Scope) bool {
	return scope.CoveredBy(g.role) && (g.purpose != access.Agent || !g.policy.Off && access.ScopeSet(scope).Within(g.policy.Scopes))
}

// parseScopes reads scope names. A strict reading refuses what the grant's user cannot give, but for the scopes that are
// held already. The message names scopes of the catalogue only: what was sent is never echoed.
func (g *grant) parseScopes(names []string, how strictness, held access.Scopes) (access.Scopes, *problem.Field) {
	if len(names) == 0 && how == strict {
		return 0, &problem.Field{Location: "body.scopes", Message: "must name at least one scope"}
	}
	var set access.Scopes
	var lacking, kept []string
	for i, name := range names {
		scope, ok := access.ParseScope(name)
		if !ok {
			return 0, &problem.Field{Location: fmt.Sprintf("body.scopes[%d]", i), Message: "is no scope; GET /api/v1/scopes lists them"}
		}
		switch {
		case access.ScopeSet(scope).Within(held):
		case !scope.CoveredBy(g.role):
			lacking = append(lacking, scope.String())
		case !g.covers(scope):
			kept = append(kept, scope.String())
		}
		set |= access.ScopeSet(scope)
	}
	if len(lacking) > 0 && how == strict && g.role == access.NoRole {
		return 0, &problem.Field{Location: "body.scopes", Message: "you have no role in the organization any more, so nothing can be added"}
	}
	if len(lacking) > 0 && how == strict {
		return 0, &problem.Field{Location: "body.scopes", Message: "your role as " + g.role.String() + " does not cover " + strings.Join(lacking, ", ")}
	}
	if len(kept) > 0 && how == strict {
		return 0, &problem.Field{Location: "body.scopes", Message: "your organization's agent policy does not allow " + strings.Join(kept, ", ")}
	}
	return set, nil
}

// expiry works out when the token ends, exactly, from what was asked. Nothing asked: never for personal tokens, 90 days
// for agents, or less where their organization says so.
func (g *grant) expiry(at *time.Time, days *int) (*time.Time, *problem.Field) {
	location := "body.expires_at"
	var end time.Time
	switch {
	case at != nil && days != nil:
		return nil, &problem.Field{Location: "body.expires_in_days", Message: "give either this or expires_at, not both"}
	case days != nil && (*days < 1 || *days > ExpiryLimitYears*366):
		return nil, tooFar("body.expires_in_days")
	case days != nil:
		location, end = "body.expires_in_days", g.now.Add(time.Duration(*days)*24*time.Hour)
	case at != nil:
		end = *at
	case g.purpose == access.Agent:
		end = g.now.Add(AgentExpiry)
		if most := g.latest(g.now); most != nil && end.After(*most) {
			end = *most
		}
	default:
		return nil, nil
	}
	exact, field := bounded(g.now, location, end)
	if field == nil {
		field = g.tooLong(location, exact, g.now)
	}
	return exact, field
}

// latest is when an agent that was created then must end; nil when its organization does not say.
func (g *grant) latest(created time.Time) *time.Time {
	if g.mostDays == nil {
		return nil
	}
	end := created.Add(time.Duration(*g.mostDays) * 24 * time.Hour).UTC().Truncate(time.Microsecond)
	return &end
}

// tooLong says what is wrong with an end that is later than the organization allows its agents.
func (g *grant) tooLong(location string, end *time.Time, created time.Time) *problem.Field {
	if most := g.latest(created); most != nil && later(end, most) {
		return &problem.Field{Location: location, Message: fmt.Sprintf("your organization's agent policy allows at most %d days from creation", *g.mostDays)}
	}
	return nil
}

func bounded(now time.Time, location string, end time.Time) (*time.Time, *problem.Field) {
	if !end.After(now) || end.After(now.AddDate(ExpiryLimitYears, 0, 0)) {
		return nil, tooFar(location)
	}
	end = end.UTC().Truncate(time.Microsecond)
	return &end, nil
}

func tooFar(location string) *problem.Field {
	return &problem.Field{Location: location, Message: "must lie in the future, at most 10 years from now"}
}

// projects checks that the caller sees every project asked for. The message does not tell which it was, nor whether it
// exists.
func (s *Service) projects(ctx context.Context, q db.Queryer, caller access.Caller, g grant, ids []string) (access.ProjectSet, *problem.Field, error) {
	if ids == nil {
		return access.ProjectSet{}, nil, nil
	}
	if len(ids) == 0 || len(ids) > ProjectLimit {
		return access.ProjectSet{}, &problem.Field{Location: "body.projects", Message: fmt.Sprintf("must name 1 to %d projects; without a list there is no restriction", ProjectLimit)}, nil
	}
	set := access.Only(ids...)
	found, err := s.Work.VisibleProjects(ctx, q, g.filter(caller), set.IDs())
	if err != nil {
		return access.ProjectSet{}, nil, fmt.Errorf("look the projects up: %w", err)
	}
	if len(found) != len(set.IDs()) {
		return access.ProjectSet{}, &problem.Field{Location: "body.projects", Message: "names a project that you do not see in this organization"}, nil
	}
	return set, nil, nil
}

// filter is what the caller's session sees in the grant's organization now.
func (g grant) filter(caller access.Caller) access.Filter {
	c := access.Caller{Kind: access.SessionCaller, UserID: caller.UserID, Organization: g.standing.OrganizationID, Role: g.role}
	return c.Visible()
}

// underQuota refuses what exceeds the hourly number of creations. It counts rows, so that it holds on every node.
func (s *Service) underQuota(ctx context.Context, tx *sql.Tx, userID string) error {
	since := db.Micros(s.Now().Add(-time.Hour))
	n, err := rows.New(tx).CreatedSince(ctx, rows.CreatedSinceParams{UserID: userID, CreatedAt: since})
	if err != nil {
		return fmt.Errorf("count recent tokens: %w", err)
	}
	if n < int64(s.CreationsPerHour) {
		return nil
	}
	oldest, err := rows.New(tx).OldestSince(ctx, rows.OldestSinceParams{UserID: userID, CreatedAt: since})
	if err != nil {
		return fmt.Errorf("find the oldest recent token: %w", err)
	}
	wait := int(db.Time(oldest).Add(time.Hour).Sub(s.Now())/time.Second) + 1
	e := problem.Newf(problem.RateLimited, "At most %d tokens can be created in an hour. Wait, or reuse a token.", s.CreationsPerHour)
	e.RetryAfter, e.Limit = wait, s.CreationsPerHour
	return e
}

// insert writes a checked grant and returns its new value.
func (s *Service) insert(ctx context.Context, tx *sql.Tx, caller access.Caller, g grant) (token.Value, Token, error) {
	kind := token.Personal
	if g.purpose == access.Agent {
		kind = token.Agent
	}
	value := token.Mint(kind)
	digest := value.Digest()
	tokenID := id.New(id.Token)
	now := db.Micros(g.now)
	organization := g.standing.OrganizationID
	q := rows.New(tx)
	err := q.InsertToken(ctx, rows.InsertTokenParams{
		OrganizationID: organization, ID: tokenID, UserID: caller.UserID, Purpose: g.purpose.String(),
		Name: g.name, NameKey: text.Fold(g.name), Scopes: g.scopes.Bits(), Restricted: flag(g.projects.Restricted()),
		KindPrefix: kind.Prefix(), LookupID: value.Lookup().String(), CreatedAt: now,
		CreatedFrom: request.From(ctx).AddressText(), CreatedVia: caller.CredentialID, ExpiresAt: db.NullMicros(g.expiresAt),
		ClientName: g.client.Name, ClientHost: g.client.Host, ClientID: g.clientID,
	})
	if err != nil {
		return token.Value{}, Token{}, fmt.Errorf("store the token: %w", err)
	}
	if err := insertProjects(ctx, q, organization, tokenID, g.projects); err != nil {
		return token.Value{}, Token{}, err
	}
	err = q.InsertCredential(ctx, rows.InsertCredentialParams{
		LookupID: value.Lookup().String(), Digest: digest[:], OrganizationID: organization, TokenID: tokenID, CreatedAt: now,
	})
	if err != nil {
		return token.Value{}, Token{}, fmt.Errorf("store the credential: %w", err)
	}
	err = s.Audit.Record(ctx, tx, caller, audit.Event{
		Organization: organization, Action: "token.created", Resource: tokenID,
		Detail: map[string]any{
			"prefix": value.Prefix(), "purpose": g.purpose.String(), "scopes": g.scopes.Names(), "projects": g.projects.IDs(), "expires_at": g.expiresAt,
			"client": g.client.Name, "client_host": g.client.Host,
		},
	})
	if err != nil {
		return token.Value{}, Token{}, err
	}
	t, err := s.own(ctx, tx, caller, tokenID)
	return value, t, err
}

func insertProjects(ctx context.Context, q *rows.Queries, organization, tokenID string, set access.ProjectSet) error {
	for _, project := range set.IDs() {
		err := q.InsertTokenProject(ctx, rows.InsertTokenProjectParams{OrganizationID: organization, TokenID: tokenID, ProjectID: project})
		if err != nil {
			return fmt.Errorf("store the token's projects: %w", err)
		}
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
