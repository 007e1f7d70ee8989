package tokens_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/mail"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

// oversees is everything that admins can do with members' agents, on one of them.
var oversees = map[string]func(ctx context.Context, w *world, c access.Caller, tokenID string) error{
	"list": func(ctx context.Context, w *world, c access.Caller, _ string) error {
		_, err := w.tokens.Agents(ctx, c, "acme", tokens.AgentQuery{})
		return err
	},
	"list clients": func(ctx context.Context, w *world, c access.Caller, _ string) error {
		_, err := w.tokens.AgentClients(ctx, c, "acme")
		return err
	},
	"read": func(ctx context.Context, w *world, c access.Caller, tokenID string) error {
		_, _, err := w.tokens.Agent(ctx, c, "acme", tokenID)
		return err
	},
	"pause": func(ctx context.Context, w *world, c access.Caller, tokenID string) error {
		_, err := w.tokens.PauseAgent(ctx, c, "acme", tokenID, tokens.Removal{})
		return err
	},
	"resume": func(ctx context.Context, w *world, c access.Caller, tokenID string) error {
		_, err := w.tokens.ResumeAgent(ctx, c, "acme", tokenID)
		return err
	},
	"revoke": func(ctx context.Context, w *world, c access.Caller, tokenID string) error {
		_, err := w.tokens.RevokeAgent(ctx, c, "acme", tokenID, tokens.Removal{})
		return err
	},
	"revoke all": func(ctx context.Context, w *world, c access.Caller, _ string) error {
		_, err := w.tokens.RevokeAgents(ctx, c, "acme", tokens.AgentSelection{All: true})
		return err
	},
}

func TestAdminsOverseeAgentsAndNobodyElseDoes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.join("ada", "acme", "admin")
		w.join("mia", "acme", "manager")
		agent := w.agent("mel", "acme", "Scout", "Cursor").Token.ID
		olga := w.as("olga")
		byToken := access.Caller{Kind: access.TokenCaller, UserID: olga.UserID, Organization: olga.Memberships[0].Organization, OrganizationSlug: "acme", Role: access.Owner, Scopes: access.AllScopes()}
		for what, do := range oversees {
			for who, code := range map[string]problem.Code{
				"mia": problem.RoleInsufficient, "mel": problem.RoleInsufficient, "gus": problem.RoleInsufficient, "zoe": problem.NotFound,
			} {
				wantCode(t, who+" may "+what, do(t.Context(), w, w.as(who), agent), code)
			}
			wantCode(t, "a token may "+what, do(t.Context(), w, byToken, agent), problem.SignInRequired)
			wantCode(t, "nobody may "+what, do(t.Context(), w, access.Caller{}, agent), problem.CredentialMissing)
		}
		if got := w.verified(w.agent("mel", "acme", "Other", "").Value.Reveal()); got != "" || w.count(`SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL OR paused_at IS NOT NULL`) != 0 {
			t.Errorf("refusals did something: %s", got)
		}
		for _, what := range []string{"list", "list clients", "read", "pause", "resume", "revoke", "revoke all"} {
			for _, who := range []string{"olga", "ada"} {
				if what == "revoke" && who == "olga" {
					continue // once is enough: the next one finds it ended
				}
				wantCode(t, who+" may "+what, oversees[what](t.Context(), w, w.as(who), agent), "")
			}
		}
		// No fresh sign-in: who oversees must not be held up. But one that still holds.
		w.join("alan", "acme", "admin")
		alan := w.as("alan")
		w.pass(time.Hour)
		another := w.agent("mel", "acme", "Third", "").Token.ID
		for _, what := range []string{"pause", "resume", "revoke", "revoke all"} {
			wantCode(t, "an hour after their sign-in, to "+what, oversees[what](t.Context(), w, alan, another), "")
		}
		w.ok(w.account.SignOut(t.Context(), alan))
		for _, what := range []string{"pause", "resume", "revoke", "revoke all"} {
			wantCode(t, "signed out meanwhile, to "+what, oversees[what](t.Context(), w, alan, another), problem.SessionEnded)
		}
		// Whose role is lower by now, too.
		ada := w.as("ada")
		w.ok(w.org.Operators().SetRole(t.Context(), "acme", "ada@example.com", "manager"))
		for _, what := range []string{"pause", "resume", "revoke", "revoke all"} {
			wantCode(t, "demoted meanwhile, to "+what, oversees[what](t.Context(), w, ada, another), problem.RoleInsufficient)
		}
	})
}

// P11: personal tokens appear in oversight in no form, and neither do agents of another organization.
func TestOversightKnowsAgentsOfItsOrganizationAndNothingElse(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		olga := w.as("olga")
		personal, own := w.create(w.as("mel"), draft()), w.create(w.as("olga"), draft())
		foreign := w.agent("zoe", "zeta", "Foreign", "Devin")
		agent := w.agent("mel", "acme", "Scout", "Cursor")
		for name, id := range map[string]string{"a personal token": personal.Token.ID, "one's own personal token": own.Token.ID, "a foreign agent": foreign.Token.ID, "nothing": "tok_nothing"} {
			for _, what := range []string{"read", "pause", "resume", "revoke"} {
				wantCode(t, what+" "+name, oversees[what](t.Context(), w, olga, id), problem.NotFound)
			}
		}
		listed, err := w.tokens.Agents(t.Context(), olga, "acme", tokens.AgentQuery{})
		w.ok(err)
		if len(listed.Items) != 1 || listed.Items[0].ID != agent.Token.ID {
			t.Errorf("listed are %+v", listed.Items)
		}
		clients, err := w.tokens.AgentClients(t.Context(), olga, "acme")
		if err != nil || strings.Join(clients, " ") != "Cursor" {
			t.Errorf("clients %v, %v", clients, err)
		}
		// A personal token's client, of which there is none today, would be no way to it either.
		w.exec(`UPDATE tokens SET client_name = 'Cursor' WHERE purpose = 'personal'`)
		for name, which := range map[string]tokens.AgentSelection{
			"of a member": {Member: w.as("mel").UserID}, "of a client": {Client: "Cursor"}, "all": {All: true},
		} {
			if _, err := w.tokens.RevokeAgents(t.Context(), olga, "acme", which); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, x := range map[string]tokens.Issued{"a personal token": personal, "one's own": own, "a foreign agent": foreign} {
			if got := w.verified(x.Value.Reveal()); got != "" {
				t.Errorf("after all agents were revoked, %s gets %s", name, got)
			}
		}
		if got := w.verified(agent.Value.Reveal()); got != problem.TokenRevoked {
			t.Errorf("the agent gets %q", got)
		}
	})
}

func TestAgentsAreListedWithWhomTheyActForAndHowMuch(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		project := w.project("mel", "acme", "ONE", "organization")
		scout := w.create(w.as("mel"), tokens.Draft{
			Name: "Scout", Organization: "acme", Purpose: "agent", Scopes: []string{"tasks:read"}, Projects: []string{project}, Client: tokens.Client{Name: "Cursor"},
		})
		w.pass(time.Second)
		w.agent("gus", "acme", "Aide", "Codex")
		w.pass(time.Second)
		gone := w.agent("mel", "acme", "Gone", "Codex")
		w.pass(time.Second)
		halted := w.agent("olga", "acme", "Halted", "Cursor")
		mel, gus := w.as("mel").UserID, w.as("gus").UserID
		w.verified(scout.Value.Reveal())
		w.ok(w.tokens.FlushUses(t.Context(), true))
		// Some calls of this week, more of them than fit into few digits, and some of the time before.
		today := w.now().UTC()
		for ago, calls := range map[int]int64{1: 4_000_000_000, 6: 70_000, 7: 5} {
			w.exec(`INSERT INTO token_use_days (organization_id, token_id, day, calls) SELECT organization_id, id, $1, $2 FROM tokens WHERE id = $3`,
				today.AddDate(0, 0, -ago).Format(time.DateOnly), calls, scout.Token.ID)
		}
		_, err := w.tokens.RevokeAgent(t.Context(), w.as("olga"), "acme", gone.Token.ID, tokens.Removal{})
		w.ok(err)
		_, err = w.tokens.Pause(t.Context(), w.as("olga"), halted.Token.ID)
		w.ok(err)

		list := func(query tokens.AgentQuery) string {
			t.Helper()
			p, err := w.tokens.Agents(t.Context(), w.as("olga"), "acme", query)
			w.ok(err)
			var all []string
			for _, o := range p.Items {
				all = append(all, o.Name)
			}
			return strings.Join(all, " ")
		}
		for _, c := range []struct {
			query tokens.AgentQuery
			want  string
		}{
			{tokens.AgentQuery{}, "Halted Gone Aide Scout"},
			{tokens.AgentQuery{Request: page.Request{Sort: "name"}}, "Aide Gone Halted Scout"},
			{tokens.AgentQuery{Request: page.Request{Sort: "created_at"}}, "Scout Aide Gone Halted"},
			{tokens.AgentQuery{Request: page.Request{Sort: "expires_at"}}, "Scout Aide Gone Halted"},
			{tokens.AgentQuery{Request: page.Request{Sort: "-last_used_at"}}, "Scout Halted Gone Aide"},
			{tokens.AgentQuery{Member: []string{mel}}, "Gone Scout"},
			{tokens.AgentQuery{Member: []string{mel, gus}}, "Gone Aide Scout"},
			{tokens.AgentQuery{Member: []string{"usr_nobody"}}, ""},
			{tokens.AgentQuery{Client: []string{"Codex"}}, "Gone Aide"},
			{tokens.AgentQuery{Client: []string{"Codex"}, Member: []string{gus}}, "Aide"},
			{tokens.AgentQuery{Client: []string{"%", "code", ""}}, ""},
			{tokens.AgentQuery{Client: []string{"codex"}}, "Gone Aide"},
			{tokens.AgentQuery{State: []string{"live"}}, "Aide Scout"},
			{tokens.AgentQuery{State: []string{"revoked", "paused"}}, "Halted Gone"},
			{tokens.AgentQuery{State: []string{"live"}, Member: []string{mel}, Client: []string{"Cursor"}}, "Scout"},
		} {
			if got := list(c.query); got != c.want {
				t.Errorf("%+v lists %q, not %q", c.query, got, c.want)
			}
		}
		_, err = w.tokens.Agents(t.Context(), w.as("olga"), "acme", tokens.AgentQuery{State: []string{"dead"}})
		wantCode(t, "an unknown state", err, problem.ValidationFailed, "query.state")
		_, err = w.tokens.Agents(t.Context(), w.as("olga"), "acme", tokens.AgentQuery{Invalid: problem.Invalid("query.member", "bad")})
		wantCode(t, "what the door could not read", err, problem.ValidationFailed, "query.member")

		o, activity, err := w.tokens.Agent(t.Context(), w.as("olga"), "acme", scout.Token.ID)
		w.ok(err)
		owner := tokens.Owner{UserID: mel, Name: "mel", Email: "mel@example.com"}
		if o.Owner != owner || o.Calls7Days != 4_000_070_001 || len(o.Projects) != 1 || o.Projects[0] != project || o.Client.Name != "Cursor" || o.LastUsedAt == nil {
			t.Errorf("one agent is %+v", o)
		}
		if len(activity.CallsByDay) != 4 || len(activity.Values) != 1 || activity.Token.ID != scout.Token.ID {
			t.Errorf("what it did is %+v", activity)
		}
		p, err := w.tokens.Agents(t.Context(), w.as("olga"), "acme", tokens.AgentQuery{Member: []string{mel}, State: []string{"live"}})
		w.ok(err)
		if got := p.Items[0]; got.Owner != owner || got.Calls7Days != 4_000_070_001 || len(got.Projects) != 1 {
			t.Errorf("listed it is %+v", got)
		}
		// Agents of who left stay in sight.
		w.ok(w.org.Operators().RemoveMember(t.Context(), "acme", "mel@example.com"))
		if got := list(tokens.AgentQuery{State: []string{"inert"}}); got != "Scout" {
			t.Errorf("inert are %q", got)
		}
	})
}

func TestPagesOfAgentsBelongToTheirQuery(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range 5 {
			w.agent("mel", "acme", fmt.Sprint("Agent ", i), "Cursor")
		}
		w.join("ada", "acme", "admin")
		w.join("olga-too", "zeta", "admin")
		w.ok(w.org.Operators().AddMember(t.Context(), "zeta", "olga@example.com", "owner"))
		olga := w.as("olga")
		mel := w.as("mel").UserID
		for sort := range map[string]bool{"": true, "created_at": true, "name": true, "expires_at": true, "-last_used_at": true} {
			query := tokens.AgentQuery{Request: page.Request{Limit: 2, Sort: sort}, Client: []string{"Cursor"}}
			seen := map[string]bool{}
			first := ""
			for pages := 0; pages < 10; pages++ {
				p, err := w.tokens.Agents(t.Context(), olga, "acme", query)
				w.ok(err)
				for _, o := range p.Items {
					seen[o.ID] = true
				}
				if query.Cursor = p.NextCursor; query.Cursor == "" {
					break
				}
				if first == "" {
					first = query.Cursor
				}
			}
			if len(seen) != 5 {
				t.Errorf("by %q the pages show %d agents", sort, len(seen))
			}
			query.Cursor = first
			for what, ask := range map[string]func() error{
				"another admin":        func() error { _, err := w.tokens.Agents(t.Context(), w.as("ada"), "acme", query); return err },
				"another organization": func() error { _, err := w.tokens.Agents(t.Context(), olga, "zeta", query); return err },
				"other clients": func() error {
					q := query
					q.Client = []string{"Codex"}
					_, err := w.tokens.Agents(t.Context(), olga, "acme", q)
					return err
				},
				"other members": func() error {
					q := query
					q.Member = []string{mel}
					_, err := w.tokens.Agents(t.Context(), olga, "acme", q)
					return err
				},
				"other states": func() error {
					q := query
					q.State = []string{"live"}
					_, err := w.tokens.Agents(t.Context(), olga, "acme", q)
					return err
				},
				"one's own tokens": func() error {
					_, err := w.tokens.Tokens(t.Context(), olga, tokens.Query{Request: query.Request})
					return err
				},
			} {
				wantCode(t, "the cursor for "+what, ask(), problem.CursorInvalid)
			}
		}
	})
}

// P6, P13: an admin ends a member's agent at once, and the member learns who it was and why.
func TestRevokedAgentIsRefusedAndItsOwnerIsTold(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		agent, olga := w.agent("mel", "acme", "Scout", "Cursor"), w.as("olga")
		w.verified(agent.Value.Reveal())
		receipt, err := w.tokens.RevokeAgent(t.Context(), olga, "acme", agent.Token.ID, tokens.Removal{Reason: " It ran in circles. "})
		w.ok(err)
		if got := w.verified(agent.Value.Reveal()); got != problem.TokenRevoked {
			t.Errorf("it gets %q", got)
		}
		if receipt.Token.State != tokens.Revoked || receipt.Token.RevokeReason != "It ran in circles." || *receipt.Token.RevokedBy != olga.UserID || !receipt.RevokedAt.Equal(w.now()) {
			t.Errorf("the receipt is %+v", receipt)
		}
		w.told(t, "revoked", "mel", "Your agent was revoked in Acme", `"olga" (olga@example.com)`, `"Scout"`, agent.Token.Prefix, `"Cursor"`, `"It ran in circles."`, "https://carnet.example/settings/agents")
		seen, err := w.tokens.Token(t.Context(), w.as("mel"), agent.Token.ID)
		if err != nil || seen.State != tokens.Revoked || seen.RevokeReason != "It ran in circles." || *seen.RevokedBy != olga.UserID {
			t.Errorf("its owner sees %+v, %v", seen, err)
		}
		events := w.count(`SELECT count(*) FROM audit_events WHERE action = 'token.revoked' AND actor_id = $1 AND resource_id = $2 AND detail LIKE '%"overseen":true%'`, olga.UserID, agent.Token.ID)
		if events != 1 {
			t.Errorf("%d events are on record", events)
		}
		// Once more: nothing happens, and the first moment counts.
		w.pass(time.Minute)
		again, err := w.tokens.RevokeAgent(t.Context(), w.as("olga"), "acme", agent.Token.ID, tokens.Removal{Reason: "another"})
		if err != nil || !again.RevokedAt.Equal(receipt.RevokedAt) || again.Token.RevokeReason != "It ran in circles." {
			t.Errorf("again: %+v, %v", again, err)
		}
		if mails := w.mailbox.take(); len(mails) != 0 || w.count(`SELECT count(*) FROM audit_events WHERE action = 'token.revoked'`) != 1 {
			t.Errorf("again: %d mails", len(mails))
		}
		// One that its owner ended, too.
		other := w.agent("mel", "acme", "Other", "")
		_, err = w.tokens.Revoke(t.Context(), w.as("mel"), other.Token.ID)
		w.ok(err)
		again, err = w.tokens.RevokeAgent(t.Context(), w.as("olga"), "acme", other.Token.ID, tokens.Removal{Reason: "late"})
		if err != nil || *again.Token.RevokedBy == olga.UserID || again.Token.RevokeReason != "" || len(w.mailbox.take()) != 0 {
			t.Errorf("ended by its owner: %+v, %v", again, err)
		}
	})
}

// told fails the test unless exactly one mail came, to that person and with those words.
func (w *world) told(t *testing.T, what, name, subject string, words ...string) {
	t.Helper()
	mails := w.mailbox.take()
	if len(mails) != 1 {
		t.Errorf("%s: %d mails came: %+v", what, len(mails), mails)
		return
	}
	m := mails[0]
	if m.To != name+"@example.com" || m.Subject != subject {
		t.Errorf("%s: %q came to %s", what, m.Subject, m.To)
	}
	for _, word := range words {
		if !strings.Contains(m.Text, word) {
			t.Errorf("%s: the mail lacks %s:\n%s", what, word, m.Text)
		}
	}
}

func TestReasonsAreCheckedAndNobodyIsMailedAboutThemselves(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		agent, own := w.agent("mel", "acme", "Scout", "").Token.ID, w.agent("olga", "acme", "Own", "").Token.ID
		for name, why := range map[string]struct {
			removal  tokens.Removal
			location string
		}{
			"300 and one more":             {tokens.Removal{Reason: strings.Repeat("é", 301)}, "body.reason"},
			"lines":                        {tokens.Removal{Reason: "a\nb"}, "body.reason"},
			"blanks":                       {tokens.Removal{Reason: "   "}, "body.reason"},
			"what the door could not read": {tokens.Removal{Invalid: problem.Invalid("body", "bad")}, "body"},
		} {
			_, err := w.tokens.RevokeAgent(t.Context(), w.as("olga"), "acme", agent, why.removal)
			wantCode(t, "revoke, "+name, err, problem.ValidationFailed, why.location)
			_, err = w.tokens.PauseAgent(t.Context(), w.as("olga"), "acme", agent, why.removal)
			wantCode(t, "pause, "+name, err, problem.ValidationFailed, why.location)
			_, err = w.tokens.RevokeAgents(t.Context(), w.as("olga"), "acme", tokens.AgentSelection{All: true, Removal: why.removal})
			wantCode(t, "revoke all, "+name, err, problem.ValidationFailed, why.location)
			// Who may not do it learns nothing about the body.
			_, err = w.tokens.RevokeAgent(t.Context(), w.as("mel"), "acme", agent, why.removal)
			wantCode(t, "by a member, "+name, err, problem.RoleInsufficient)
		}
		if n := w.count(`SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL OR paused_at IS NOT NULL`); n != 0 || len(w.mailbox.take()) != 0 {
			t.Errorf("refusals did something to %d agents", n)
		}
		_, err := w.tokens.PauseAgent(t.Context(), w.as("olga"), "acme", own, tokens.Removal{Reason: strings.Repeat("é", 300)})
		w.ok(err)
		_, err = w.tokens.RevokeAgent(t.Context(), w.as("olga"), "acme", own, tokens.Removal{})
		w.ok(err)
		if mails := w.mailbox.take(); len(mails) != 0 {
			t.Errorf("about one's own agent came %+v", mails)
		}
		// Without a reason the mail gives none.
		_, err = w.tokens.RevokeAgent(t.Context(), w.as("olga"), "acme", agent, tokens.Removal{})
		w.ok(err)
		if mails := w.mailbox.take(); len(mails) != 1 || strings.Contains(mails[0].Text, "Why:") {
			t.Errorf("without a reason came %+v", mails)
		}
	})
}

func TestAgentsAreRevokedTogether(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var cursor, codex, guests []tokens.Issued
		for i := range 2 {
			cursor = append(cursor, w.agent("mel", "acme", fmt.Sprint("Cursor ", i), "Cursor"))
		}
		codex = append(codex, w.agent("mel", "acme", "Codex", "Codex"), w.agent("olga", "acme", "Own", "Codex"))
		guests = append(guests, w.agent("gus", "acme", "Guest's", "Cursor"))
		soon := w.now().Add(time.Minute)
		expired := w.create(w.as("gus"), tokens.Draft{Name: "Expired", Organization: "acme", Purpose: "agent", Scopes: []string{"tasks:read"}, ExpiresAt: &soon})
		w.pass(time.Minute)
		revoke := func(which tokens.AgentSelection) int {
			t.Helper()
			removed, err := w.tokens.RevokeAgents(t.Context(), w.as("olga"), "acme", which)
			w.ok(err)
			if !removed.RevokedAt.Equal(w.now()) {
				t.Errorf("it was done at %v", removed.RevokedAt)
			}
			return removed.Revoked
		}
		states := func(want problem.Code, list ...tokens.Issued) {
			t.Helper()
			for _, x := range list {
				if got := w.verified(x.Value.Reveal()); got != want {
					t.Errorf("%s gets %q, not %q", x.Token.Name, got, want)
				}
			}
		}
		_, err := w.tokens.RevokeAgents(t.Context(), w.as("olga"), "acme", tokens.AgentSelection{})
		wantCode(t, "without a selection", err, problem.RequestMalformed)
		_, err = w.tokens.RevokeAgents(t.Context(), w.as("mel"), "acme", tokens.AgentSelection{})
		wantCode(t, "without a selection, by a member", err, problem.RoleInsufficient)
		for _, which := range []tokens.AgentSelection{{All: true, Member: w.as("mel").UserID}, {All: true, Client: "Codex"}} {
			_, err = w.tokens.RevokeAgents(t.Context(), w.as("olga"), "acme", which)
			wantCode(t, "all, and some of them", err, problem.RequestMalformed)
		}
		states("", append(append(cursor, codex...), guests...)...)

		mel := w.as("mel").UserID
		if n := revoke(tokens.AgentSelection{Member: mel, Client: "Cursor", Removal: tokens.Removal{Reason: "Tidying up."}}); n != 2 {
			t.Errorf("of a member and a client: %d", n)
		}
		states(problem.TokenRevoked, cursor...)
		states("", append(codex, guests...)...)
		w.told(t, "two together", "mel", "2 of your agents were revoked in Acme", `"Cursor 0"`, `"Cursor 1"`, `"Tidying up."`)
		if n := revoke(tokens.AgentSelection{Member: mel, Client: "Cursor"}); n != 0 || len(w.mailbox.take()) != 0 {
			t.Errorf("again: %d", n)
		}
		if n := revoke(tokens.AgentSelection{Client: "Codex"}); n != 2 {
			t.Errorf("of a client: %d", n)
		}
		w.told(t, "one of the two is one's own", "mel", "Your agent was revoked in Acme", `"Codex"`)
		states("", guests...)
		if n := revoke(tokens.AgentSelection{Member: w.as("gus").UserID}); n != 1 {
			t.Errorf("of a member: %d", n)
		}
		states(problem.TokenRevoked, guests...)
		states(problem.TokenExpired, expired) // it had ended: it stays as it was
		w.mailbox.take()

		// More than one transaction ends, and each owner gets one mail all the same.
		w.many(t, "mel", 230)
		w.many(t, "gus", 3)
		if n := revoke(tokens.AgentSelection{All: true}); n != 233 {
			t.Errorf("all: %d", n)
		}
		if n := w.count(`SELECT count(*) FROM tokens WHERE name = 'one of many' AND revoked_at IS NULL`); n != 0 {
			t.Errorf("%d of many are left", n)
		}
		for _, m := range byPerson(w.mailbox.take()) {
			if m.To == "mel@example.com" && (m.Subject != "230 of your agents were revoked in Acme" || !strings.Contains(m.Text, "and 210 more") || strings.Count(m.Text, "carnet_agt_") != 20) {
				t.Errorf("mel is told %q:\n%s", m.Subject, m.Text)
			}
		}
	})
}

// byPerson returns the mails in the order of their addresses, and nothing unless it is one for mel and one for gus.
func byPerson(mails []mail.Message) []mail.Message {
	if len(mails) != 2 || mails[0].To == mails[1].To {
		return []mail.Message{{To: "mel@example.com", Subject: fmt.Sprintf("%d mails", len(mails))}}
	}
	return mails
}

// many writes agents of a person past the feature.
func (w *world) many(t *testing.T, owner string, n int) {
	t.Helper()
	user := w.as(owner).UserID
	err := w.db.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for i := range n {
			id := fmt.Sprintf("tok_many_%s_%03d", owner, i)
			_, err := tx.ExecContext(ctx, `INSERT INTO tokens (organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id, created_at, created_from, created_via)
				SELECT id, $1, $2, 'agent', 'one of many', 'one of many', 4, 0, 'carnet_agt_', $1, $3, '', '' FROM organizations WHERE slug = 'acme'`, id, user, db.Micros(w.now()))
			if err != nil {
				return err
			}
		}
		return nil
	})
	w.ok(err)
}

// A client that adds to its name where it is set up is still that client, however it is spelled, and no other name is taken
// for it.
func TestAClientIsChosenWithItsFamily(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		family := []string{
			"Claude Code", "Claude Code (Büro 🏢)", "Claude Code (carnet)", "Claude Code(x)", "claude code", "CLAUDE CODE (y)", "Claude  Code (x)", "Claude\u00a0Code", "Claude Code（carnet）", "Ｃlaude Code", "Claude\u200b Code", "Claude Code (x",
		}
		for _, client := range append([]string{"Claude Code 2", "Claude", "ClaudeCode", "(odd)", " (odd)", ""}, family...) {
			w.exec(`UPDATE tokens SET client_name = $1 WHERE id = $2`, client, w.agent("mel", "acme", "of "+client+".", "").Token.ID)
		}
		names, err := w.tokens.AgentClients(t.Context(), w.as("olga"), "acme")
		w.ok(err)
		for _, name := range []string{"Claude Code", "Claude  Code", "CLAUDE CODE", "Claude Code (carnet)", "Claude Code（carnet）", "(odd)", "Claude Code (x"} {
			if !slices.Contains(names, name) {
				t.Errorf("%q is missing of the clients %q", name, names)
			}
		}
		if slices.Contains(names, "") || !slices.IsSorted(names) {
			t.Errorf("clients %q", names)
		}
		for _, c := range []struct {
			client string
			want   []string
		}{
			{"Claude Code", family},
			{"claude\u00ad CODE", family},
			{"Claude Code (Büro 🏢)", []string{"Claude Code (Büro 🏢)"}},
			{"claude code (Carnet)", []string{"Claude Code (carnet)"}},
			{"Claude Code(carnet)", []string{"Claude Code（carnet）"}},
			{"Claude", []string{"Claude"}},
			{"(odd)", []string{"(odd)", " (odd)"}},
			{"Claude Cod_", nil},
			{"\u200b", nil},
			{"", []string{""}},
		} {
			listed, err := w.tokens.Agents(t.Context(), w.as("olga"), "acme", tokens.AgentQuery{Request: page.Request{Limit: 100}, Client: []string{c.client}})
			w.ok(err)
			var got, want []string
			for _, o := range listed.Items {
				got = append(got, o.Client.Name)
			}
			want = append(want, c.want...)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%q lists %q", c.client, got)
			}
			if c.client == "" { // no client is every client where agents are revoked
				continue
			}
			n, err := w.tokens.CountAgents(t.Context(), w.as("olga"), "acme", tokens.AgentSelection{Client: c.client})
			if w.ok(err); int(n) != len(c.want) {
				t.Errorf("%q counts %d", c.client, n)
			}
		}
		removed, err := w.tokens.RevokeAgents(t.Context(), w.as("olga"), "acme", tokens.AgentSelection{Client: "Claude Code"})
		if w.ok(err); removed.Revoked != len(family) {
			t.Errorf("%d are revoked", removed.Revoked)
		}
		for name, family := range map[string]string{
			"Claude Code (carnet)": "Claude Code", "Claude Code(x)": "Claude Code", "Claude Code（carnet）": "Claude Code", "Claude Code (a) (b)": "Claude Code",
			" (odd)": " (odd)", "(odd)": "(odd)", "Open (": "Open", "Open (x": "Open", "Closed )": "Closed )", "": "",
			"Cursor(b) and Claude Code (x)": "Cursor(b) and Claude Code", "Cursor (old) Robot": "Cursor (old) Robot", "A ((b))": "A",
		} {
			if got := tokens.Family(name); got != family {
				t.Errorf("%q is of %q", name, got)
			}
		}
	})
}

// Whoever paused or revoked an agent is told when its owner connects another one of the same client, and the owner can be told
// before. What was resumed, what its owner halted themselves, and other clients are no reason.
func TestWhoHaltedAnAgentIsToldThatAnotherIsConnected(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		halted := func(client string) string {
			t.Helper()
			h, err := w.tokens.Halted(t.Context(), w.as("mel"), "acme", client)
			w.ok(err)
			if h == nil {
				return ""
			}
			return fmt.Sprint(h.Revoked, " ", h.By, " ", h.Reason)
		}
		first := w.agent("mel", "acme", "first", "Claude Code")
		own := w.agent("mel", "acme", "own", "Zed")
		_, err := w.tokens.Pause(t.Context(), w.as("mel"), own.Token.ID)
		w.ok(err)
		_, err = w.tokens.PauseAgent(t.Context(), w.as("olga"), "acme", first.Token.ID, tokens.Removal{Reason: "Too curious."})
		w.ok(err)
		w.mailbox.take()
		if got := halted("claude code (carnet)"); !strings.HasPrefix(got, "false ") || !strings.HasSuffix(got, " Too curious.") {
			t.Errorf("of the client: %q", got)
		}
		for _, other := range []string{"Zed", "Cursor", ""} {
			if got := halted(other); got != "" {
				t.Errorf("of %q: %q", other, got)
			}
		}
		w.agent("mel", "acme", "other", "Cursor")
		w.agent("gus", "acme", "somebody else's", "Claude Code")
		if mails := w.mailbox.take(); len(mails) != 0 {
			t.Errorf("mails: %+v", mails)
		}
		second := w.agent("mel", "acme", "second", "Claude Code (carnet)")
		w.told(t, "another", "olga", "An agent that you paused in Acme was connected again", `"second"`, second.Token.Prefix, "mel@example.com", "/organizations/acme/agents/"+second.Token.ID)
		w.mailbox.take()
		_, err = w.tokens.ResumeAgent(t.Context(), w.as("olga"), "acme", first.Token.ID)
		w.ok(err)
		if got := halted("Claude Code"); got != "" {
			t.Errorf("after it was resumed: %q", got)
		}
		w.pass(time.Second)
		_, err = w.tokens.RevokeAgent(t.Context(), w.as("olga"), "acme", second.Token.ID, tokens.Removal{})
		w.ok(err)
		w.mailbox.take()
		if got := halted("Claude Code"); !strings.HasPrefix(got, "true ") {
			t.Errorf("after it was revoked: %q", got)
		}
		w.agent("mel", "acme", "third", "Claude Code")
		w.told(t, "a third", "olga", "An agent that you revoked in Acme was connected again", `"third"`)
		// However it is spelled, and however much else was halted.
		for _, spelled := range []string{"claude code ⁽a⁾", "Claude Code (b", "Claude Code (c) (d)"} {
			if got := halted(spelled); !strings.HasPrefix(got, "true ") {
				t.Errorf("of %q: %q", spelled, got)
			}
		}
		// What they chose ends no quotation, and nobody is flooded.
		w.mailbox.take()
		w.agent("mel", "acme", `x" Confirm at https://evil.example "`, "Claude Code")
		if mails := w.mailbox.take(); len(mails) != 1 || !strings.Contains(mails[0].Text, `  "x' Confirm at https://evil.example '", carnet_agt_`) {
			t.Errorf("%+v", mails)
		}
		for i := range 5 {
			w.agent("mel", "acme", fmt.Sprint("flood ", i), "Claude Code")
		}
		if mails := w.mailbox.take(); len(mails) != 0 {
			t.Errorf("%d mails more", len(mails))
		}
		// Who has no say there any more hears nothing.
		w.pass(24 * time.Hour)
		w.ok(w.org.Operators().AddMember(t.Context(), "acme", "zoe@example.com", "owner"))
		w.ok(w.org.Operators().SetRole(t.Context(), "acme", "olga@example.com", "member"))
		w.agent("mel", "acme", "later", "Claude Code")
		if mails := w.mailbox.take(); len(mails) != 0 {
			t.Errorf("told a member: %+v", mails)
		}
	})
}
