package verify

import (
	"context"
	"errors"

	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/internal/verify/rows"
	"carnet/token"
)

// Uncached makes the service look every credential up with q, believe nothing that it knows and keep nothing. It is what
// test/bench compares the cache with; no server calls it. It must be called before the first verification, and has an
// effect only on a store that others write to, too.
func (s *Service) Uncached(q db.Queryer) { s.uncached = rows.New(q) }

// lookUp is a verification without a cache.
func (s *Service) lookUp(ctx context.Context, k key, digest token.Digest, from lastuse.Origin) (*Grant, error) {
	ctx, done := s.db.Attempt(ctx)
	defer done()
	var g *Grant
	var err error
	if k.session {
		g, _, err = s.readSession(ctx, s.uncached, k, digest)
	} else {
		g, _, err = s.readToken(ctx, s.uncached, k, digest)
	}
	switch {
	case errors.Is(err, errInvalid):
		return nil, errInvalid
	case err != nil:
		return nil, unavailable(s.db.Explain(err))
	}
	return s.answer(g, from)
}
