package tokens_test

import (
	"log/slog"
	"testing"

	"carnet/internal/mail"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

// Pages tell how many agents a revocation would end, how busy agents were, and who halted one and why.
func TestPagesLearnHowManyHowBusyWhoAndWhy(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		sender, err := mail.NewSender("", t.TempDir(), slog.New(slog.DiscardHandler))
		w.ok(err)
		t.Cleanup(func() { w.ok(sender.Close()) })
		w.tokens.Org, w.tokens.Mail = w.org, sender
		ctx, mel, olga := t.Context(), w.as("mel"), w.as("olga")
		agent := func(client string) tokens.Issued {
			d := draft()
			d.Purpose, d.Client = "agent", tokens.Client{Name: client}
			return w.create(mel, d)
		}
		busy := agent("Cursor")
		agent("Zed")
		w.create(mel, draft())
		for want, which := range map[int64]tokens.AgentSelection{2: {All: true}, 1: {Client: "Zed"}, 0: {Member: olga.UserID}} {
			n, err := w.tokens.CountAgents(ctx, olga, "acme", which)
			w.ok(err)
			if n != want {
				t.Errorf("%+v are %d, want %d", which, n, want)
			}
		}
		_, err = w.tokens.CountAgents(ctx, mel, "acme", tokens.AgentSelection{All: true})
		wantCode(t, "a member counts", err, problem.RoleInsufficient)

		for range 3 {
			w.verified(busy.Value.Reveal())
		}
		w.ok(w.tokens.FlushUses(ctx, true))
		calls, err := w.tokens.Calls7Days(ctx, mel)
		w.ok(err)
		if len(calls) != 1 || calls[busy.Token.ID] != 3 {
			t.Errorf("the calls are %v", calls)
		}

		_, err = w.tokens.PauseAgent(ctx, olga, "acme", busy.Token.ID, tokens.Removal{Reason: "Runs in circles"})
		w.ok(err)
		a, err := w.tokens.Activity(ctx, mel, busy.Token.ID)
		w.ok(err)
		if a.NameOf(*a.Token.PausedBy) != "olga" || a.Token.PauseReason != "Runs in circles" {
			t.Errorf("paused by %q: %q", a.NameOf(*a.Token.PausedBy), a.Token.PauseReason)
		}
		o, err := w.tokens.ResumeAgent(ctx, olga, "acme", busy.Token.ID)
		w.ok(err)
		if o.PausedBy != nil || o.PauseReason != "" {
			t.Errorf("after it was resumed: %v %q", o.PausedBy, o.PauseReason)
		}
	})
}
