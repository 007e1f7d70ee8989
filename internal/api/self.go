package api

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/maypok86/otter/v2"

	"carnet/access"
	"carnet/internal/verify"
)

// selves keeps rendered answers of GET /me. A grant that verification returns is exact and never changed: whatever could
// alter what /me says of it (role, projects, scopes, names) makes verification return another one. So an answer that
// was rendered for a grant holds for as long as that same grant comes back, but for the token's last use, which is
// coarse: an answer is used for as long as its last use is.
type selves struct {
	answers *otter.Cache[*verify.Grant, *self]
}

type self struct {
	body  []byte
	until int64 // Unix nanoseconds
}

const (
	selvesKept = 4096
	selfHolds  = 5 * time.Second
)

func newSelves() *selves {
	return &selves{answers: otter.Must(&otter.Options[*verify.Grant, *self]{MaximumSize: selvesKept})}
}

// me answers GET /me.
func (a *API) me(c *call) error {
	// Only a token's grant says where it acts; what a session's answer says depends on the organization that it names.
	if c.caller.Kind != access.TokenCaller {
		me, err := a.Tokens.Me(c.ctx, c.caller)
		return replyOne(c, me, err)
	}
	now := time.Now().UnixNano()
	if kept, ok := a.selves.answers.GetIfPresent(c.grant); ok && now < kept.until {
		c.send(kept.body)
		return nil
	}
	me, err := a.Tokens.Me(c.ctx, c.caller)
	if err != nil {
		return err
	}
	body, err := json.Marshal(me, replyOptions)
	if err != nil {
		return err
	}
	body = append(body, '\n')
	a.selves.answers.Set(c.grant, &self{body: body, until: now + int64(selfHolds)})
	c.send(body)
	return nil
}
