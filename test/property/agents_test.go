package property_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"pgregory.net/rapid"
)

// agents drives what organizations let agents do, and how their admins oversee them.
func agents() {
	drivers["getAgentPolicy"] = func(p *attempt) {
		o := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization")
		if r := p.send("", "", o.slug); p.expect(r, inside(p, o)) {
			p.samePolicy(r.Body.Bytes(), o)
		}
	}
	drivers["changeAgentPolicy"] = func(p *attempt) {
		o := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization")
		drawn := drawPolicy(p.t)
		drawn.writes = o.policy.writes
		// Some fields are left out, and stay.
		body := map[string]any{}
		if rapid.Bool().Draw(p.t, "sends enabled") {
			body["enabled"] = !drawn.off
		} else {
			drawn.off = o.policy.off
		}
		if rapid.Bool().Draw(p.t, "sends scopes") {
			body["scopes"] = drawn.scopes
		} else {
			drawn.scopes = o.policy.scopes
		}
		if rapid.Bool().Draw(p.t, "sends destructive") {
			body["destructive"] = drawn.destructive
		} else {
			drawn.destructive = o.policy.destructive
		}
		if rapid.Bool().Draw(p.t, "sends days") {
			body["max_lifetime_days"] = 30 // longer than any token of the world lives
		}
		encoded, _ := json.Marshal(body)
		if r := p.send("", string(encoded), o.slug); p.expect(r, inside(p, o, "owner", "admin")) {
			o.policy = drawn
			p.samePolicy(r.Body.Bytes(), o)
		}
	}
	drivers["listAgents"] = listAgents
	drivers["revokeAgents"] = revokeAgents

	overseen := func(operation string, verdictOf func(x *tokenOf) verdict, effect func(*attempt, *tokenOf)) {
		drivers[operation] = func(p *attempt) {
			x := rapid.SampledFrom(p.w.tokens).Draw(p.t, "token in the path")
			o := x.org
			if rapid.IntRange(0, 5).Draw(p.t, "by another organization") == 0 {
				o = rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization")
			}
			v := inside(p, o, "owner", "admin")
			if v == allowed && (!x.agent || x.org != o) {
				v = verdict{http.StatusNotFound, "not_found"} // P11: personal tokens are their owners' alone
			}
			if v == allowed {
				v = verdictOf(x)
			}
			r := p.send("", "", o.slug, x.id)
			if p.expect(r, v) && effect != nil {
				effect(p, x)
				if p.o.method == http.MethodPost {
					p.samePause(r.Body.Bytes(), x)
				}
			}
		}
	}
	fine := func(*tokenOf) verdict { return allowed }
	lives := func(x *tokenOf) verdict {
		if x.state != "live" {
			return verdict{http.StatusConflict, "conflict"}
		}
		return allowed
	}
	overseen("getAgent", fine, nil)
	overseen("getAgentActivity", fine, nil)
	overseen("revokeAgent", fine, func(_ *attempt, x *tokenOf) { x.state = "revoked" })
	overseen("pauseAgent", lives, func(p *attempt, x *tokenOf) { x.paused, x.pausedBy = true, p.c.user() })
	overseen("resumeAgent", lives, func(_ *attempt, x *tokenOf) { x.paused = false })
}

// samePolicy compares what an answer says with the model.
func (p *attempt) samePolicy(body []byte, o *organization) {
	p.t.Helper()
	var got struct {
		Enabled     bool     `json:"enabled"`
		Scopes      []string `json:"scopes"`
		Destructive []string `json:"destructive"`
		Writes      int      `json:"writes_per_hour"` // null reads as 0
	}
	if err := json.Unmarshal(body, &got); err != nil {
		p.t.Fatalf("read the policy: %v\n%s", err, body)
	}
	if got.Enabled == o.policy.off || got.Writes != o.policy.writes {
		p.t.Fatalf("the policy is %s, the model says %+v", body, o.policy)
	}
	p.sameSet("scopes of agents", got.Scopes, o.policy.scopes)
	p.sameSet("what agents may destroy", got.Destructive, o.policy.destructive)
}

// samePause compares who an answer says has paused a token with the model.
func (p *attempt) samePause(body []byte, x *tokenOf) {
	p.t.Helper()
	want := ""
	if x.paused {
		want = x.pausedBy.id
	}
	var got struct {
		By string `json:"paused_by"` // null reads as nobody
	}
	if err := json.Unmarshal(body, &got); err != nil || got.By != want {
		p.t.Fatalf("%s: paused by %q, the model says %q, %v", p.o.path, got.By, want, err)
	}
}

// choose draws which agents are meant: a filter, and what it lets through.
func (p *attempt) choose() (query string, means func(*tokenOf) bool) {
	switch rapid.IntRange(0, 2).Draw(p.t, "which agents") {
	case 0:
		u := rapid.SampledFrom(p.w.users).Draw(p.t, "of member")
		return "member=" + u.id, func(x *tokenOf) bool { return x.user == u }
	case 1:
		client := rapid.SampledFrom(clients[1:]).Draw(p.t, "of client")
		return "client=" + url.QueryEscape(client), func(x *tokenOf) bool { return x.client == client }
	default:
		return "", func(*tokenOf) bool { return true }
	}
}

func listAgents(p *attempt) {
	o := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization")
	query, means := p.choose()
	states := some(p.t, "lists", []string{"live", "expired", "revoked", "inert", "paused"})
	for _, state := range states {
		query += "&state=" + state
	}
	if v := inside(p, o, "owner", "admin"); v != allowed {
		p.expect(p.send(query, "", o.slug), v)
		return
	}
	var want []string
	for _, x := range p.w.tokens {
		if x.agent && x.org == o && means(x) && (len(states) == 0 || slices.Contains(states, stateOf(x))) {
			want = append(want, x.id)
		}
	}
	p.sameIDs("id", "limit=2&sort=created_at&"+query, want, o.slug)
}

func revokeAgents(p *attempt) {
	o := rapid.SampledFrom(p.w.orgs).Draw(p.t, "organization")
	query, means := p.choose()
	v := inside(p, o, "owner", "admin")
	if query == "" {
		if query = "all=" + rapid.SampledFrom([]string{"true", "false"}).Draw(p.t, "all"); v == allowed && query == "all=false" {
			v = verdict{http.StatusBadRequest, "request_malformed"}
		}
	}
	r := p.send(query, "", o.slug)
	if !p.expect(r, v) {
		return
	}
	n := 0
	for _, x := range p.w.tokens {
		if x.agent && x.org == o && means(x) && x.state == "live" {
			x.state = "revoked"
			n++
		}
	}
	var got struct {
		Revoked int `json:"revoked"`
	}
	if err := json.Unmarshal(r.Body.Bytes(), &got); err != nil || got.Revoked != n {
		p.t.Fatalf("%s?%s: %s, the model revokes %s", p.o.path, query, r.Body, fmt.Sprint(n))
	}
}
