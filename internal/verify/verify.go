// Package verify is the hot path: it turns the value that a request presents into a [Grant], which says who is calling
// and the most that they may do, from what is stored at this moment.
//
// Verified grants are cached, and the cache is exact rather than fresh: it subscribes to the store's changes
// ([db.Subscriber]), which reach it before the writer that caused them returns. So when a revoke call has returned, no
// verification that starts afterwards finds the old grant. Three guards keep it so:
//
//   - A fill reads its rows and the epoch in one snapshot, and is thrown away when the cache has meanwhile moved past
//     that epoch. A fill that raced with a revocation can therefore answer the request that started before it, and
//     nobody after.
//   - A grant that a change touched is marked dead before it leaves the cache, so that no reader that still holds it
//     believes it.
//   - "Unknown" is never cached, and on any doubt the whole cache is dropped.
//
// Expiry is not an event: it is compared with the clock at the moment of answering.
package verify

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/problem"
	"carnet/internal/verify/rows"
	"carnet/token"
)

// SessionIdle is how long a session lives without use.
const SessionIdle = 14 * 24 * time.Hour

// Config is what the service needs.
type Config struct {
	DB  *db.DB
	Now func() time.Time
	// TokenUses, SessionUses and LateUses collect uses: of live tokens, of live sessions, and of values that a rotation
	// replaced, after their grace.
	TokenUses, SessionUses, LateUses *lastuse.Tracker
	// CacheSize is how many grants are kept; 0 means a default that fits the memory bar of docs/performance.md.
	CacheSize int
}

// Service verifies credentials. It is safe for concurrent use.
type Service struct {
	db    *db.DB
	now   func() time.Time
	cache *cache
	// shared says that others write to the store, too.
	shared bool
	uses   struct{ tokens, sessions, late *lastuse.Tracker }
	stats  Stats

	preparing sync.Mutex
	queries   *rows.Queries

	beforePut func()        // tests: runs between the reading of a grant and its keeping
	uncached  *rows.Queries // measurements: see [Service.Uncached]
}

// Stats counts what verification does, for metrics.
type Stats struct {
	Hits, Misses, Discarded, Drops atomic.Int64
}

const defaultCacheSize = 50_000

// New returns the service and subscribes its cache to the store.
func New(c Config) *Service {
	if c.CacheSize == 0 {
		c.CacheSize = defaultCacheSize
	}
	s := &Service{db: c.DB, now: c.Now, shared: c.DB.Shared()}
	s.uses.tokens, s.uses.sessions, s.uses.late = c.TokenUses, c.SessionUses, c.LateUses
	s.cache = newCache(c.CacheSize, &s.stats)
	c.DB.Subscribe(s.cache)
	return s
}

// Stats returns the service's counters.
func (s *Service) Stats() *Stats { return &s.stats }

// Grant is what a presented value stands for. It is shared between requests and never changed.
type Grant struct {
	// Caller is who is calling. A session's caller has no organization yet: see [access.Caller.In].
	Caller access.Caller
	// Prefix identifies the value and may be shown.
	Prefix string
	// Scopes and Expires are the values of the headers Carnet-Scopes and Carnet-Token-Expires; empty for sessions, and
	// Expires for tokens without an expiry.
	Scopes, Expires string

	digest     token.Digest
	ended      error // why the holder of the right value is refused for good; nil when it did not end
	resting    error // why it is refused as things are now, after expiry was looked at; nil when it is not
	expiresAt  int64 // 0: never
	validUntil int64 // the end of a rotation's grace for a replaced value; 0: current value
	idleLimit  int64 // sessions: the longest pause between uses; 0: none
	lastUsed   int64 // sessions: the last use on record when the grant was read
	use        *lastuse.Entry
	late       *lastuse.Entry
	subjects   []db.Change // what its truth depends on
	dead       atomic.Bool
}

// Overtaken reports whether something that the grant depends on has changed, or may have, since it was read.
func (g *Grant) Overtaken() bool { return g.dead.Load() }

// Subjects implements [request.Standing].
func (g *Grant) Subjects() []string {
	names := make([]string, len(g.subjects))
	for i, s := range g.subjects {
		names[i] = string(s.Kind) + ":" + s.Key
	}
	return names
}

var (
	errInvalid        = problem.New(problem.TokenInvalid, "The credential is not valid. Check that it was copied whole; if it was never valid here, create a new one.")
	errSessionExpired = problem.New(problem.SessionEnded, "The session has expired. Sign in again.")
	errMissing        = problem.New(problem.CredentialMissing, "Send a credential: Authorization: Bearer, followed by a token.")
)

// Invalid is the refusal for whatever is no valid credential: malformed, unknown and wrong values alike.
func Invalid() error { return errInvalid }

// Missing is the refusal for a request that presents no credential.
func Missing() error { return errMissing }

type key struct {
	lookup  token.LookupID
	session bool
}

// Verify returns the grant that text stands for, and records its use with the given origin. It refuses with
// token_invalid what is malformed, unknown or wrong, and tells only the holder of the right value more: token_revoked,
// token_expired, session_ended, token_inert or token_paused. When the store cannot be asked it returns
// verification_unavailable, never a verdict. On the cached path it does not allocate.
func (s *Service) Verify(ctx context.Context, text string, from lastuse.Origin) (*Grant, error) {
	kind, lookup, ok := token.Glance(text)
	if !ok {
		return nil, errInvalid
	}
	digest := token.DigestOf(text)
	k := key{lookup: lookup, session: kind == token.Session}
	if s.shared {
		if _, err := token.Parse(text); err != nil {
			return nil, errInvalid
		}
		if s.uncached != nil {
			return s.lookUp(ctx, k, digest, from)
		}
		// Whoever is about to believe the cache must know first what others did.
		if err := s.db.Fresh(context.Background()); err != nil { // a client who hangs up is told so later
			return nil, unavailable(err)
		}
	}
	// A wrong secret under a cached lookup id takes the same way as an unknown one, so that their cost tells nothing.
	if g, ok := s.cache.get(k); ok && digest.Equal(g.digest[:]) {
		s.stats.Hits.Add(1)
		return s.answer(g, from)
	}
	// The digest of a cached grant proves more than the checksum, which therefore waits until here.
	if _, err := token.Parse(text); err != nil {
		return nil, errInvalid
	}
	s.stats.Misses.Add(1)
	g, err := s.read(ctx, k, digest)
	if err != nil {
		return nil, err
	}
	return s.answer(g, from)
}

// answer applies what only the clock decides, and records the use.
func (s *Service) answer(g *Grant, from lastuse.Origin) (*Grant, error) {
	now := s.now().UnixMicro()
	if g.validUntil != 0 && now >= g.validUntil {
		g.late.Record(now, from)
		return nil, g.replaced()
	}
	if g.ended != nil {
		return nil, g.ended
	}
	if g.expiresAt != 0 && now >= g.expiresAt {
		return nil, g.expired()
	}
	if g.resting != nil {
		return nil, g.resting
	}
	if g.idleLimit != 0 && now-max(g.lastUsed, g.use.At()) >= g.idleLimit {
		return nil, g.expired()
	}
	g.use.Record(now, from)
	return g, nil
}

// expired is the answer once the credential's time is over.
func (g *Grant) expired() error {
	if g.Caller.Kind == access.SessionCaller {
		return errSessionExpired
	}
	return problem.Newf(problem.TokenExpired, "The token expired at %s. Create a new one.", g.Expires)
}

// replaced is the answer once a rotation's grace is over.
func (g *Grant) replaced() error {
	return problem.Newf(problem.TokenRevoked, "This value was replaced by a rotation and stopped working at %s. Use the token's new value.", stamp(g.validUntil))
}

// unavailable is the answer when the store cannot be asked: no verdict at all.
func unavailable(err error) error {
	e := &problem.Error{
		Code: problem.VerificationUnavailable, RetryAfter: 1,
		Detail: "The credential cannot be verified right now. This says nothing about whether it is valid. Try again in a moment.",
	}
	return e.Because(fmt.Errorf("verify: %w", err))
}
