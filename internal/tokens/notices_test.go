package tokens_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"carnet/internal/optional"
	"carnet/internal/org"
	"carnet/internal/tokens"
)

// announced returns how many mails two nodes send that announce at once, and fails the test when one comes twice.
func (w *world) announced(t *testing.T) int {
	t.Helper()
	// Another node over the same store, which shares nothing else with the first one.
	other := tokens.New(tokens.Config{
		DB: w.db, Audit: w.tokens.Audit, Now: w.now, Log: w.tokens.Log, Mail: w.mailbox, PublicURL: "https://carnet.example", Org: w.org,
	})
	var nodes sync.WaitGroup
	for _, node := range []*tokens.Service{w.tokens, other} {
		nodes.Go(func() {
			if err := node.AnnounceEnds(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	nodes.Wait()
	return len(w.mailbox.mails)
}

func TestEndOfAnAgentIsAnnouncedAWeekAndADayBeforeOnceEach(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		agent := func(owner, name string, life int) tokens.Issued {
			return w.create(w.as(owner), tokens.Draft{
				Name: name, Organization: "acme", Purpose: "agent", Scopes: []string{"tasks:read"}, ExpiresInDays: days(life), Client: tokens.Client{Name: "Cursor"},
			})
		}
		scout := agent("mel", "Scout", 30)
		d := draft()
		d.ExpiresInDays = days(30)
		w.create(w.as("mel"), d) // personal tokens are not announced
		revoked := agent("mel", "Revoked", 30)
		_, err := w.tokens.Revoke(t.Context(), w.as("mel"), revoked.Token.ID)
		w.ok(err)
		agent("gus", "Of a suspended account", 30)
		w.exec(`UPDATE users SET suspended_at = 1 WHERE email = 'gus@example.com'`)
		ends := *scout.Token.ExpiresAt
		for _, c := range []struct {
			before time.Duration
			mails  int
		}{
			{7*day + time.Microsecond, 0}, {7 * day, 1}, {7 * day, 0}, {2 * day, 0}, {day, 1}, {day, 0}, {time.Second, 0}, {0, 0}, {-time.Second, 0},
		} {
			w.pass(ends.Add(-c.before).Sub(w.now()))
			if n := w.announced(t); n != c.mails {
				t.Errorf("%s before its end %d mails came, not %d", c.before, n, c.mails)
			} else if n == 1 {
				w.told(t, "its end", "mel", "Your agent in Acme stops working soon", `"Scout"`, `"Cursor"`, ends.Format("2 January 2006 at 15:04 UTC"), "https://carnet.example/settings/agents")
			}
			w.mailbox.take()
		}
	})
}

func TestAgentOfAShortLifeIsAnnouncedOnceAndALaterEndAnew(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		issued := w.create(w.as("mel"), tokens.Draft{Name: "Brief", Organization: "acme", Purpose: "agent", Scopes: []string{"tasks:read"}, ExpiresInDays: days(1)})
		step := func(what string, want int) {
			t.Helper()
			if n := w.announced(t); n != want {
				t.Errorf("%s: %d mails came, not %d", what, n, want)
			}
			w.mailbox.take()
		}
		ends := func(d time.Duration) {
			t.Helper()
			_, err := w.tokens.Change(t.Context(), w.as("mel"), issued.Token.ID, tokens.Change{ExpiresAt: optional.Of(w.now().Add(d))})
			w.ok(err)
		}
		step("an end within a day", 1)
		ends(20 * time.Hour)
		step("an earlier end", 0)
		ends(20 * day)
		step("an end far away", 0)
		for _, never := range []bool{true, false} {
			change := tokens.Change{ExpiresAt: optional.Null[time.Time]()}
			if !never {
				change.ExpiresAt = optional.Of(w.now().Add(20 * time.Hour))
			}
			_, err := w.tokens.Change(t.Context(), w.as("mel"), issued.Token.ID, change)
			w.ok(err)
		}
		step("never, and then an end within a day", 1)
		ends(20 * day)
		w.pass(13 * day)
		step("which comes near", 1)
		_, err := w.tokens.Change(t.Context(), w.as("mel"), issued.Token.ID, tokens.Change{Name: optional.Of("Renamed")})
		w.ok(err)
		step("renamed", 0)
		w.pass(6 * day)
		step("which comes nearer", 1)
		// An end that the organization moves nearer is announced like any other.
		another := w.agent("mel", "acme", "Another", "")
		step("an end in 90 days", 0)
		w.policy(org.PolicyChange{MaxLifetimeDays: optional.Of(5)})
		step("one moved to 5 days, one ended", 2)
		if _, err := w.tokens.Revoke(t.Context(), w.as("mel"), another.Token.ID); err != nil {
			t.Fatal(err)
		}
		// One that ends with it is told of afterwards, and only if nobody was told before that it would end today.
		w.policy(org.PolicyChange{MaxLifetimeDays: optional.Null[int]()})
		w.agent("mel", "acme", "Old", "Cursor")
		w.pass(20 * day)
		step("nothing ends", 0)
		w.policy(org.PolicyChange{MaxLifetimeDays: optional.Of(5)})
		if n := w.announced(t); n != 1 {
			t.Errorf("ended by the organization: %d mails", n)
		}
		w.told(t, "its end", "mel", "Your agent in Acme has ended", `"Old"`, `"Cursor"`, w.now().Format("2 January 2006 at 15:04 UTC"), "lets agents live for less time", "carnet_agt_")
		w.mailbox.take()
		step("told once", 0)
	})
}

// However many agents somebody has that end, the others are told as well, and nobody gets a mail for each.
func TestManyEndsAreToldInFewMailsAndHoldUpNobodyElse(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.many(t, "mel", 129)
		w.exec(`UPDATE tokens SET expires_at = $1`, w.now().Add(3*day).UnixMicro())
		w.create(w.as("gus"), tokens.Draft{Name: "Last", Organization: "acme", Purpose: "agent", Scopes: []string{"tasks:read"}, ExpiresInDays: days(4)})
		w.ok(w.tokens.AnnounceEnds(t.Context()))
		mails := w.mailbox.take()
		if len(mails) != 3 { // what is looked up at once goes into one
			t.Errorf("%d mails: %+v", len(mails), mails)
		}
		for _, m := range mails {
			if gus := m.To == "gus@example.com"; gus != strings.Contains(m.Text, `"Last"`) || !gus && (!strings.Contains(m.Subject, "of your agents in Acme stop working soon") || !strings.Contains(m.Text, " more\n") || strings.Count(m.Text, "carnet_agt_") != 20) {
				t.Errorf("%+v", m)
			}
		}
		w.ok(w.tokens.AnnounceEnds(t.Context()))
		if n := len(w.mailbox.take()); n != 0 {
			t.Errorf("told again: %d", n)
		}
		if n := w.count(`SELECT count(*) FROM tokens WHERE end_announced = 7`); n != 130 {
			t.Errorf("%d are noted", n)
		}
	})
}
