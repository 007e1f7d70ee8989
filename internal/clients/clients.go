// Package clients is the half of OAuth 2.1 that remembers: which clients there are, what they ask a person for, what the
// person granted, and the code that a client fetches its token with. The doors read requests and draw the consent page;
// the tokens room makes the token, with the same checks as one that is made on the settings page.
//
// It is narrow on purpose: one grant (authorization code), PKCE with S256 always, opaque access tokens that are agents'
// tokens like any other, and no refresh tokens, so that revoking one ends what the client can do. The rules are those of
// RFC 6749, 7636, 8252, 8707, 9207 and 9700, and of the Model Context Protocol (revision 2026-07-28) where it says more.
//
// A client is known by what it registered (RFC 7591), or by the document at the address that is its id (client id
// metadata documents). Neither says who runs it: the consent page shows the host that the person is sent back to.
package clients

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"carnet/internal/audit"
	"carnet/internal/db"
	"carnet/internal/org"
	"carnet/internal/tokens"
)

// Config is what the service needs.
type Config struct {
	DB     *db.DB
	Audit  *audit.Service
	Org    *org.Service
	Tokens *tokens.Service
	Now    func() time.Time
	Log    *slog.Logger
	// PublicURL is where clients and browsers reach the server, without a slash at its end. It is the issuer.
	PublicURL string
	// Documents lets clients describe themselves by a document at their id, which this server then fetches.
	Documents bool
	// MayFetch says from which addresses documents are fetched; nil: from public ones.
	MayFetch func(netip.Addr) bool
	// NewClientsPerHour is how many clients may register in an hour that were not known, from wherever; 0 means 2000.
	NewClientsPerHour int
}

// Service is the room's one door.
type Service struct {
	Config
	fetcher *http.Client
	failed  failures
}

// New returns the service.
func New(c Config) *Service {
	if c.MayFetch == nil {
		c.MayFetch = public
	}
	if c.NewClientsPerHour == 0 {
		c.NewClientsPerHour = 2000
	}
	s := &Service{Config: c}
	s.fetcher = s.newFetcher()
	return s
}

// Issuer is the name of this authorization server (RFC 8414 section 2).
func (s *Service) Issuer() string { return s.PublicURL }

// Resource is what tokens are for (RFC 8707).
func (s *Service) Resource() string { return s.PublicURL + "/mcp" }

// Error is a refusal in the words of RFC 6749 section 5.2, RFC 7591 section 3.2.2 and RFC 8707 section 2.
type Error struct {
	Code        string // such as invalid_request
	Description string // for people; never repeats what was sent
	RetryAfter  int    // seconds, for slow_down
}

// Error returns the code and the description.
func (e *Error) Error() string { return e.Code + ": " + e.Description }

// The codes of refusals.
const (
	InvalidRequest          = "invalid_request"
	InvalidClient           = "invalid_client"
	InvalidGrant            = "invalid_grant"
	InvalidTarget           = "invalid_target"
	InvalidRedirectURI      = "invalid_redirect_uri"
	InvalidClientMetadata   = "invalid_client_metadata"
	UnauthorizedClient      = "unauthorized_client"
	UnsupportedGrantType    = "unsupported_grant_type"
	UnsupportedResponseType = "unsupported_response_type"
	AccessDenied            = "access_denied"
	TooManyRequests         = "slow_down"
)

func refuse(code, description string) error { return &Error{Code: code, Description: description} }

// is reports whether an error is a refusal with the code.
func is(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// How long things wait.
const (
	requestLife = 10 * time.Minute
	codeLife    = time.Minute
	// unusedLife is how long a client stays that registered and never got a token.
	unusedLife = 24 * time.Hour
	// idleLife is how long one stays that got none for a while and whose tokens have all ended.
	idleLife = 90 * 24 * time.Hour
	// spentLife is how long a code is remembered, so that its reuse is noticed.
	spentLife = 24 * time.Hour
)

// secret returns a new random text of at least 128 bits.
func secret() string { return rand.Text() }

func digestOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// canonical returns the resource that a client means (RFC 8707 section 2): ours, with a slash at its end, in capitals, or
// by its origin alone, as some clients keep it. Anything else is invalid_target.
func (s *Service) canonical(resources []string) error {
	for _, r := range resources {
		name := strings.TrimSuffix(r, "/")
		if scheme, rest, found := strings.Cut(name, "://"); found {
			host, path, slash := strings.Cut(rest, "/")
			name = strings.ToLower(scheme) + "://" + strings.ToLower(host)
			if slash {
				name += "/" + path
			}
		}
		if name != s.Resource() && name != s.PublicURL {
			return refuse(InvalidTarget, "There is no such resource here. Leave it out, or name "+s.Resource()+".")
		}
	}
	return nil
}

// Clean deletes what is over, in small batches: requests and codes, and clients that nobody uses.
func (s *Service) Clean(ctx context.Context, now time.Time) error {
	ago := func(d time.Duration) int64 { return db.Micros(now.Add(-d)) }
	return errors.Join(
		s.DB.DeleteInBatches(ctx, `DELETE FROM consent_requests WHERE digest IN (SELECT digest FROM consent_requests WHERE expires_at < $1 LIMIT $2)`, ago(0)),
		s.DB.DeleteInBatches(ctx, `DELETE FROM authorization_codes WHERE digest IN (SELECT digest FROM authorization_codes WHERE expires_at < $1 LIMIT $2)`, ago(spentLife)),
		s.DB.DeleteInBatches(ctx, `DELETE FROM client_documents WHERE url IN (SELECT url FROM client_documents WHERE fetched_at < $1 LIMIT $2)`, ago(idleLife+longestFresh)), // as long as tokens that began with a fresh copy
		s.DB.DeleteInBatches(ctx, `DELETE FROM clients WHERE id IN (SELECT id FROM clients WHERE last_used_at IS NULL AND created_at < $1 LIMIT $2)`, ago(unusedLife)),
		// One whose token lives stays, or its client could not even revoke it.
		s.DB.DeleteInBatches(ctx, `DELETE FROM clients WHERE id IN (SELECT c.id FROM clients c WHERE c.last_used_at < $1
			AND NOT EXISTS (SELECT 1 FROM tokens t WHERE t.client_id = c.id AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > c.last_used_at)) LIMIT $2)`, ago(idleLife)),
	)
}
