package verify

import (
	"iter"
	"sync"

	"github.com/maypok86/otter/v2"

	"carnet/internal/db"
)

// cache holds verified grants and knows which of them a change touches.
type cache struct {
	grants *otter.Cache[key, *Grant]
	stats  *Stats

	mu    sync.Mutex // guards what follows, and that no fill slips in between a look at epoch and a store
	epoch db.Epoch
	index map[db.Change]*dependents
}

func newCache(size int, stats *Stats) *cache {
	c := &cache{stats: stats, index: map[db.Change]*dependents{}}
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
func (c *cache) put(k key, g *Grant, epoch db.Epoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		c.stats.Discarded.Add(1)
		g.dead.Store(true)
		return
	}
	if old, ok := c.grants.GetIfPresent(k); ok {
		old.dead.Store(true)
		c.unindex(k, old)
	}
	for _, subject := range g.subjects {
		d := c.index[subject]
		if d == nil {
			d = &dependents{}
			c.index[subject] = d
		}
		d.add(k, g)
	}
	c.grants.Set(k, g)
}

// now returns the epoch up to which the cache has heard.
func (c *cache) now() db.Epoch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// Apply forgets what the changes touch. The store calls it before the writer returns.
func (c *cache) Apply(epoch db.Epoch, changes []db.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch = epoch
	for _, change := range changes {
		for k, g := range c.index[change].all() {
			g.dead.Store(true)
			c.unindex(k, g)
			c.grants.Invalidate(k)
		}
	}
}

// Drop forgets everything. The grants are marked dead one by one rather than by clearing the cache, whose clearing may
// overtake a store that is under way.
func (c *cache) Drop(epoch db.Epoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch = epoch
	c.stats.Drops.Add(1)
	for _, d := range c.index {
		for k, g := range d.all() {
			g.dead.Store(true)
			c.grants.Invalidate(k)
		}
	}
	clear(c.index)
}

// left cleans up after a grant that the cache let go of, for whatever reason. The cache calls it a little later, from
// a goroutine of its own. No change reaches the grant from here on, so whoever still works with it is told.
func (c *cache) left(e otter.DeletionEvent[key, *Grant]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.Value.dead.Store(true)
	c.unindex(e.Key, e.Value)
}

func (c *cache) unindex(k key, g *Grant) {
	for _, subject := range g.subjects {
		if d := c.index[subject]; d != nil && d.remove(k, g) {
			delete(c.index, subject)
		}
	}
}

// dependents are the grants whose truth depends on one subject. Most subjects, being tokens, have one, for which a map
// would take more memory than the grant.
type dependents struct {
	key  key
	only *Grant // nil: none, or more than one
	more map[key]*Grant
}

func (d *dependents) add(k key, g *Grant) {
	switch {
	case d.more != nil:
		d.more[k] = g
	case d.only == nil || d.key == k:
		d.key, d.only = k, g
	default:
		d.more = map[key]*Grant{d.key: d.only, k: g}
		d.only = nil
	}
}

// remove takes g out if it is there, and reports whether nothing is left.
func (d *dependents) remove(k key, g *Grant) (empty bool) {
	switch {
	case d.more != nil:
		if d.more[k] == g {
			delete(d.more, k)
		}
		return len(d.more) == 0
	case d.key == k && d.only == g:
		d.only = nil
	}
	return d.only == nil
}

// all goes through the grants. What it is at may be removed meanwhile.
func (d *dependents) all() iter.Seq2[key, *Grant] {
	return func(yield func(key, *Grant) bool) {
		switch {
		case d == nil:
		case d.more != nil:
			for k, g := range d.more {
				if !yield(k, g) {
					return
				}
			}
		case d.only != nil:
			yield(d.key, d.only)
		}
	}
}
