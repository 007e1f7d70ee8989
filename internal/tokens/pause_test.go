package tokens_test

import (
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

// pausing is what a person does to an agent, and how it is found then.
type pausing struct {
	who, what string
	code      problem.Code
	pausedBy  string // "" where it is not paused
	mail      bool   // its owner, mel, is told
	recorded  bool
}

func TestOwnersPauseTheirAgentsAndAdminsAnybodys(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.join("ada", "acme", "admin")
		agent := w.agent("mel", "acme", "Scout", "Cursor")
		id, value := agent.Token.ID, agent.Value.Reveal()
		users := map[string]string{}
		for _, name := range []string{"mel", "ada", "olga"} {
			users[name] = w.as(name).UserID
		}
		w.verified(value)
		for i, step := range []pausing{
			{"mel", "resume", "", "", false, false}, // what is not paused goes on
			{"ada", "resume agent", "", "", false, false},
			{"mel", "pause", "", "mel", false, true},
			{"mel", "pause", "", "mel", false, false},
			{"mel", "resume", "", "", false, true},
			{"ada", "pause agent", "", "ada", true, true},
			{"ada", "pause agent", "", "ada", false, false},
			{"mel", "resume", problem.RoleInsufficient, "ada", false, false},
			{"mel", "pause", "", "ada", false, false}, // which must not make it theirs to resume
			{"mel", "resume", problem.RoleInsufficient, "ada", false, false},
			{"olga", "resume agent", "", "", false, true}, // whoever paused it
			{"mel", "pause", "", "mel", false, true},
			{"ada", "pause agent", "", "ada", true, true}, // an admin's takes the place of the owner's own
			{"mel", "resume", problem.RoleInsufficient, "ada", false, false},
			{"olga", "pause agent", "", "olga", false, true}, // another admin: halted it is already
			{"ada", "resume agent", "", "", false, true},
			{"mel", "pause", "", "mel", false, true},
			{"ada", "resume agent", "", "", false, true},
			{"gus", "pause", problem.NotFound, "", false, false}, // somebody else's
			{"olga", "pause", problem.NotFound, "", false, false},
			{"mel", "pause agent", problem.RoleInsufficient, "", false, false},
			{"zoe", "pause agent", problem.NotFound, "", false, false},
		} {
			before := w.count(`SELECT count(*) FROM audit_events WHERE action IN ('token.paused', 'token.resumed')`)
			wantCode(t, step.who+" may "+step.what, w.pausing(t, step.who, step.what, id), step.code)
			got, err := w.tokens.Token(t.Context(), w.as("mel"), id)
			w.ok(err)
			by, state, code := "nobody", tokens.Live, problem.Code("")
			if step.pausedBy != "" {
				by, state, code = users[step.pausedBy], tokens.Paused, problem.TokenPaused
			}
			if (got.PausedBy == nil) != (step.pausedBy == "") || got.PausedBy != nil && *got.PausedBy != by || got.State != state {
				t.Errorf("step %d, %s %s: it is %s, by %v, and not by %s", i, step.who, step.what, got.State, got.PausedBy, by)
			}
			if got := w.verified(value); got != code {
				t.Errorf("step %d, %s %s: the next call gets %q, not %q", i, step.who, step.what, got, code)
			}
			if recorded := w.count(`SELECT count(*) FROM audit_events WHERE action IN ('token.paused', 'token.resumed')`) - before; (recorded == 1) != step.recorded || recorded > 1 {
				t.Errorf("step %d, %s %s: %d events are on record", i, step.who, step.what, recorded)
			}
			if step.mail {
				w.told(t, step.what, "mel", "Your agent was paused in Acme", `"`+step.who+`"`, `"Scout"`, `"too fast"`)
			} else if mails := w.mailbox.take(); len(mails) != 0 {
				t.Errorf("step %d, %s %s: mails %+v", i, step.who, step.what, mails)
			}
		}
	})
}

func (w *world) pausing(t *testing.T, who, what, id string) (err error) {
	t.Helper()
	switch c := w.as(who); what {
	case "pause":
		_, err = w.tokens.Pause(t.Context(), c, id)
	case "resume":
		_, err = w.tokens.Resume(t.Context(), c, id)
	case "pause agent":
		_, err = w.tokens.PauseAgent(t.Context(), c, "acme", id, tokens.Removal{Reason: "too fast"})
	case "resume agent":
		_, err = w.tokens.ResumeAgent(t.Context(), c, "acme", id)
	}
	return err
}

func TestOnlyAgentsThatLiveArePausedAndResumed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		personal, revoked := w.create(w.as("mel"), draft()).Token.ID, w.agent("mel", "acme", "Revoked", "").Token.ID
		soon := w.now().Add(time.Minute)
		expired := w.create(w.as("mel"), tokens.Draft{Name: "Expired", Organization: "acme", Purpose: "agent", Scopes: []string{"tasks:read"}, ExpiresAt: &soon}).Token.ID
		_, err := w.tokens.Revoke(t.Context(), w.as("mel"), revoked)
		w.ok(err)
		w.pass(time.Minute)
		for _, what := range []string{"pause", "resume"} {
			for name, id := range map[string]string{"a personal token": personal, "a revoked agent": revoked, "an expired agent": expired} {
				wantCode(t, what+" "+name, w.pausing(t, "mel", what, id), problem.Conflict)
			}
			for name, id := range map[string]string{"a revoked agent": revoked, "an expired agent": expired} {
				wantCode(t, what+" agent, "+name, w.pausing(t, "olga", what+" agent", id), problem.Conflict)
			}
			wantCode(t, what+" agent, a personal token", w.pausing(t, "olga", what+" agent", personal), problem.NotFound)
		}
		if n := w.count(`SELECT count(*) FROM tokens WHERE paused_at IS NOT NULL`); n != 0 || len(w.mailbox.take()) != 0 {
			t.Errorf("%d are paused", n)
		}
		// Pausing needs a person whose session holds, and not a fresh sign-in.
		agent := w.agent("mel", "acme", "Scout", "").Token.ID
		mel := w.as("mel")
		byToken := access.Caller{Kind: access.TokenCaller, UserID: mel.UserID, Role: access.Owner, Scopes: access.AllScopes()}
		_, err = w.tokens.Pause(t.Context(), byToken, agent)
		wantCode(t, "a token pauses", err, problem.SignInRequired)
		_, err = w.tokens.Resume(t.Context(), access.Caller{}, agent)
		wantCode(t, "nobody resumes", err, problem.CredentialMissing)
		w.pass(time.Hour)
		_, err = w.tokens.Pause(t.Context(), mel, agent)
		wantCode(t, "an hour after the sign-in", err, "")
		w.ok(w.account.SignOut(t.Context(), mel))
		_, err = w.tokens.Resume(t.Context(), mel, agent)
		wantCode(t, "signed out meanwhile", err, problem.SessionEnded)
	})
}

// A paused agent ends like any other, and what ended stays ended.
func TestPausedAgentIsRevokedLikeAnyOther(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		agent := w.agent("mel", "acme", "Scout", "")
		w.ok(w.pausing(t, "olga", "pause agent", agent.Token.ID))
		removed, err := w.tokens.RevokeAgents(t.Context(), w.as("olga"), "acme", tokens.AgentSelection{All: true})
		if err != nil || removed.Revoked != 1 {
			t.Errorf("revoked %d, %v", removed.Revoked, err)
		}
		if got := w.verified(agent.Value.Reveal()); got != problem.TokenRevoked {
			t.Errorf("it gets %q", got)
		}
		wantCode(t, "resume what ended", w.pausing(t, "olga", "resume agent", agent.Token.ID), problem.Conflict)
	})
}
