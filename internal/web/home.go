package web

import (
	"net/http"
	"slices"
	"time"

	"carnet/internal/tokens"
)

func (d *Door) homeRoutes() map[string]handler {
	return map[string]handler{"GET /{$}": d.home}
}

// What the first screen shows of each kind; the rest is one link away.
const (
	cleanUpShown = 6
	usedShown    = 5
	recently     = 7 * 24 * time.Hour
)

// home is the first screen: what can act as the person, when it last did, and what could go.
func (d *Door) home(v *visit) error {
	every := func(tokenView) bool { return true }
	list, _, err := v.tokens(tokens.Query{State: inUse}, every)
	if err != nil {
		return err
	}
	sessions, err := v.sessions()
	if err != nil {
		return err
	}
	p := homePage{
		Total: len(list), Sessions: len(sessions), Example: d.example(),
		Tokens: kindTally{Label: "tokens", Base: developer}, Agents: kindTally{Label: "agents", Base: agents},
	}
	now := d.Now()
	for _, t := range list {
		kind := &p.Tokens
		if t.Agent {
			kind = &p.Agents
		}
		if t.State == string(tokens.Live) {
			kind.Live++
		} else {
			kind.Resting++
		}
		if t.Unused() {
			p.Unused++
		}
		if t.Expiring() {
			p.Expiring++
			if p.NextExpiry == nil || t.ExpiresAt.Before(*p.NextExpiry) {
				p.NextExpiry = t.ExpiresAt
			}
		}
		if t.LastUsedAt != nil {
			if now.Sub(*t.LastUsedAt) < recently {
				kind.Recent++
			}
			p.Used = append(p.Used, t)
		}
		if t.Unused() || t.Expiring() {
			p.CleanUp = append(p.CleanUp, t)
		}
	}
	slices.SortFunc(p.Used, func(a, b tokenView) int { return b.LastUsedAt.Compare(*a.LastUsedAt) })
	// What stops working by itself comes first, then what has been unused for longest.
	slices.SortFunc(p.CleanUp, func(a, b tokenView) int {
		if a.Expiring() != b.Expiring() {
			if a.Expiring() {
				return -1
			}
			return 1
		}
		if a.Expiring() {
			return a.ExpiresAt.Compare(*b.ExpiresAt)
		}
		return a.lastSign().Compare(b.lastSign())
	})
	p.Used = p.Used[:min(len(p.Used), usedShown)]
	p.CleanUp = p.CleanUp[:min(len(p.CleanUp), cleanUpShown)]
	return v.show(http.StatusOK, "home", "Overview", "home", p)
}
