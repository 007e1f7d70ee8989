package verify

import (
	"sync"

	"github.com/maypok86/otter/v2"

	"carnet/internal/db"
)

// cache holds verified grants and knows which of them a change touches.
type cache struct {
	grants *otter.Cache[key, *Grant]
	stats  *Stats

	mu    sync.Mutex // guards what follows, and that no fill slips in between a look at epoch and a store
	epoch int64
	index map[db.Change]map[key]*Grant
}

func newCache(size int, stats *Stats) *cache {
	c := &cache{stats: stats, index: map[db.Change]map[key]*Grant{}}
	c.grants = otter.Must(&otter.Options[key, *Grant]{MaximumSize: size, OnDeletion: c.left})
	return c
}

// get returns the grant for k if it is known and alive.
func (c *cache) get(k key) (*Grant, bool) {
	g, ok := c.grants.GetIfPresent(k)
	if !ok || g.dead.Load() {
		return nil, false
	}
	return g, true
}

// put keeps a grant that was read in a snapshot of the given epoch, unless the cache has moved past it: what the grant
// says may then be what a change just undid.
func (c *cache) put(k key, g *Grant, epoch int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		c.stats.Discarded.Add(1)
		return
	}
	if old, ok := c.grants.GetIfPresent(k); ok {
		c.unindex(k, old)
	}
	for _, subject := range g.subjects {
		members := c.index[subject]
		if members == nil {
			members = map[key]*Grant{}
			c.index[subject] = members
		}
		members[k] = g
	}
	c.grants.Set(k, g)
}

// Apply forgets what the changes touch. The store calls it before the writer returns.
func (c *cache) Apply(epoch int64, changes []db.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch = epoch
	for _, change := range changes {
		for k, g := range c.index[change] {
			g.dead.Store(true)
			c.unindex(k, g)
			c.grants.Invalidate(k)
		}
	}
}

// Drop forgets everything. The grants are marked dead one by one rather than by clearing the cache, whose clearing may
// overtake a store that is under way.
func (c *cache) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Drops.Add(1)
	for _, members := range c.index {
		for k, g := range members {
			g.dead.Store(true)
			c.grants.Invalidate(k)
		}
	}
	clear(c.index)
}

// left cleans up after a grant that the cache let go of, for whatever reason. The cache calls it a little later, from
// a goroutine of its own.
func (c *cache) left(e otter.DeletionEvent[key, *Grant]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unindex(e.Key, e.Value)
}

func (c *cache) unindex(k key, g *Grant) {
	for _, subject := range g.subjects {
		members := c.index[subject]
		if members[k] == g {
			delete(members, k)
			if len(members) == 0 {
				delete(c.index, subject)
			}
		}
	}
}
