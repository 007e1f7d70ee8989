// Package tokens is the life of access tokens: created by a signed-in person, listed, narrowed, rotated, revoked.
//
// A token acts as its user, in one organization, with the role that the user holds there at each moment, narrowed by
// its scopes and, where its owner chose, by a set of projects. Its value is shown once, at creation or rotation, and
// exists nowhere afterwards but as a digest. Personal tokens are their owner's alone: no method of this room lets
// anybody else see or change one. Agents' tokens are overseen: admins of their organization see, pause and revoke them.
//
// Everything here but [Service.Me] needs a real sign-in: tokens cannot create, change or even list tokens.
package tokens

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carnet/access"
	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/idempotency"
	"carnet/internal/lastuse"
	"carnet/internal/mail"
	"carnet/internal/org"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/text"
	"carnet/internal/work"
)

// Limits of what a token can be.
const (
	NameLimit        = 100 // characters
	ProjectLimit     = 500 // projects that one token can be limited to
	ExpiryLimitYears = 10
	AgentExpiry      = 90 * 24 * time.Hour // what an agent's token gets when no expiry is given
	GraceLimit       = 24 * time.Hour      // how long a replaced value may live on
	FilterLimit      = 100                 // values that one filter of a list can have
)

// Freshness tells whether a session's person proved recently enough who they are. It is answered by the account room.
type Freshness interface {
	// Fresh returns reauthentication_required when the caller's sign-in is too old for a sensitive change.
	Fresh(caller access.Caller) error
}

// Postman takes mails to deliver, and returns at once.
type Postman interface{ Post(m mail.Message) }

// Config is what the service needs.
type Config struct {
	DB          *db.DB
	Audit       *audit.Service
	Account     Freshness
	Work        *work.Service
	Org         *org.Service
	Mail        Postman
	PublicURL   string // without a slash at its end; links in mails begin with it
	Idempotency *idempotency.Store
	Cursors     *page.Cursors
	Now         func() time.Time
	Log         *slog.Logger
	// Uses and LateUses are filled by verification; [Service.FlushUses] writes what they collect.
	Uses, LateUses *lastuse.Tracker
	// CreationsPerHour is how many tokens a user may create in an hour; 0 means 600.
	CreationsPerHour int
}

// Service is the room's one door.
type Service struct {
	Config
	// RevocationSeconds has how long each revocation took, from the request's arrival until it held everywhere.
	RevocationSeconds prometheus.Histogram
}

// New returns the service.
func New(c Config) *Service {
	if c.CreationsPerHour == 0 {
		c.CreationsPerHour = 600
	}
	return &Service{Config: c, RevocationSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "carnet_revocation_seconds", Help: "Time from a request to revoke a token until the revocation held everywhere.",
		Buckets: []float64{.001, .0025, .005, .01, .02, .05, .1, .25, .5, 1, 2.5},
	})}
}

// State says whether a token works, and if not why. Where several hold, the first of this order shows: revoked,
// expired, inert, paused.
type State string

// The states.
const (
	Live    State = "live"
	Expired State = "expired"
	Revoked State = "revoked"
	Inert   State = "inert"  // its user has no role in the organization now, or is suspended; agents are off there; or the store was restored and nobody trusts it yet
	Paused  State = "paused" // an agent that was halted without being revoked
)

// Token is a token as its owner sees it. It never holds the value.
type Token struct {
	ID             string     `json:"id"`
	Name           string     `json:"name"`
	Purpose        string     `json:"purpose"`
	Prefix         string     `json:"prefix"`
	Organization   string     `json:"organization"` // slug
	Role           *string    `json:"role"`         // that its user holds there now; null: none
	Scopes         []string   `json:"scopes"`
	Projects       []string   `json:"projects"` // ids; null: not restricted
	CreatedAt      time.Time  `json:"created_at"`
	CreatedFrom    string     `json:"created_from"`
	ExpiresAt      *time.Time `json:"expires_at"`
	LastUsedAt     *time.Time `json:"last_used_at"`
	LastUsedIP     *string    `json:"last_used_ip"`
	LastUsedClient *string    `json:"last_used_client"`
	State          State      `json:"state"`
	RevokedAt      *time.Time `json:"revoked_at"`
	RevokedBy      *string    `json:"revoked_by"`
	RevokeReason   string     `json:"revoke_reason"` // what whoever revoked it said; mostly nothing
	PausedBy       *string    `json:"paused_by"`     // of a paused one
	PauseReason    string     `json:"pause_reason"`  // what whoever paused it said; mostly nothing
	Client         *Client    `json:"client"`        // of agents

	organizationID   string
	organizationName string
	scopes           access.Scopes
	restricted       bool
	paused           bool
	purpose          access.Purpose
}

// Client is the program that an agent's token was made for.
type Client struct {
	Name string `json:"name"` // as it calls itself, or its user calls it
	Host string `json:"host"` // that its sign-in came back to; empty for a token that was pasted
}

// checked returns the client as it is stored: its name without what shows nothing, as that of one that registers.
func (c Client) checked() (Client, *problem.Field) {
	if c.Name == "" {
		return c, nil
	}
	name, field := text.Line("body.client", c.Name, NameLimit)
	if field == nil {
		name, field = text.Line("body.client", text.Label(name, NameLimit), NameLimit)
	}
	c.Name = name
	return c, field
}

// OrganizationName returns the name of the token's organization, for pages.
func (t Token) OrganizationName() string { return t.organizationName }

// tokenColumns and tokenTables read a token with everything that its state depends on, as it is now.
const (
	tokenColumns = `t.organization_id, t.id, t.purpose, t.name, t.scopes, t.restricted, t.kind_prefix, t.lookup_id, t.created_at,
		t.created_from, t.expires_at, t.revoked_at, t.revoked_by, t.paused_at, t.paused_by, t.pause_reason, t.resting_since, t.revoke_reason, t.client_name, t.client_host,
		o.slug, o.name, o.agents_off, m.role, u.suspended_at, l.last_used_at, l.address, l.client`
	tokenTables = ` FROM tokens t
		JOIN organizations o ON o.id = t.organization_id
		JOIN users u ON u.id = t.user_id
		LEFT JOIN memberships m ON m.organization_id = t.organization_id AND m.user_id = t.user_id
		LEFT JOIN token_use l ON l.organization_id = t.organization_id AND l.token_id = t.id`
)

type scanner interface{ Scan(...any) error }

func (s *Service) scan(row scanner) (Token, error) {
	var t Token
	var purpose, prefix, lookup, clientName, clientHost, revokedBy, pausedBy string
	var scopes, restricted, created, off int64
	var expires, revoked, paused, resting, suspended, used sql.NullInt64
	var role, address, client sql.NullString
	err := row.Scan(&t.organizationID, &t.ID, &purpose, &t.Name, &scopes, &restricted, &prefix, &lookup, &created,
		&t.CreatedFrom, &expires, &revoked, &revokedBy, &paused, &pausedBy, &t.PauseReason, &resting, &t.RevokeReason, &clientName, &clientHost,
		&t.Organization, &t.organizationName, &off, &role, &suspended, &used, &address, &client)
	if err != nil {
		return Token{}, err
	}
	t.purpose, _ = access.ParsePurpose(purpose)
	t.scopes = access.ScopesFromBits(scopes)
	t.restricted = restricted != 0
	t.paused = paused.Valid
	t.Purpose, t.Scopes, t.Prefix = purpose, t.scopes.Names(), prefix+lookup
	t.CreatedAt, t.ExpiresAt, t.RevokedAt = db.Time(created), db.NullTime(expires), db.NullTime(revoked)
	if role.Valid {
		t.Role = &role.String
	}
	if revokedBy != "" {
		t.RevokedBy = &revokedBy
	}
	if t.paused && pausedBy != "" {
		t.PausedBy = &pausedBy
	}
	if t.purpose == access.Agent {
		t.Client = &Client{Name: clientName, Host: clientHost}
	}
	s.lastUse(&t, used, address.String, client.String)
	t.State = stateOf(t, paused.Valid, resting.Valid || suspended.Valid || off != 0 && t.purpose == access.Agent, s.Now())
	return t, nil
}

// lastUse takes the later of what is on record and what is still in memory.
func (s *Service) lastUse(t *Token, at sql.NullInt64, address, client string) {
	if use, ok := s.Uses.Last(lastuse.Key{Organization: t.organizationID, ID: t.ID}); ok && use.At > at.Int64 {
		at = sql.NullInt64{Int64: use.At, Valid: true}
		address, client = use.Origin.AddressText(), use.Origin.Client
	}
	if at.Valid {
		t.LastUsedAt, t.LastUsedIP, t.LastUsedClient = db.NullTime(at), &address, &client
	}
}

func stateOf(t Token, paused, resting bool, now time.Time) State {
	switch {
	case t.RevokedAt != nil:
		return Revoked
	case t.ExpiresAt != nil && !now.Before(*t.ExpiresAt):
		return Expired
	case t.Role == nil || resting:
		return Inert
	case paused:
		return Paused
	default:
		return Live
	}
}

// Token returns one of the caller's own tokens, whatever its state. Anybody else's is absent.
func (s *Service) Token(ctx context.Context, caller access.Caller, id string) (Token, error) {
	if err := problem.RequireMay(&caller, access.TokensManage); err != nil {
		return Token{}, err
	}
	return s.own(ctx, s.DB.Read(), caller, id)
}
