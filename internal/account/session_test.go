package account_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/lastuse"
	"carnet/internal/optional"
	"carnet/internal/problem"
)

func TestSessions(t *testing.T) {
	promises{
		{"sign in makes a session", signInMakesASession},
		{"session ends exactly thirty days after its sign in", sessionEndsExactlyThirtyDaysAfterItsSignIn},
		{"sign in is fresh for fifteen minutes", signInIsFreshForFifteenMinutes},
		{"sessions are listed to their owner", sessionsAreListedToTheirOwner},
		{"session is ended by its owner alone", sessionIsEndedByItsOwnerAlone},
		{"other sessions are ended together", otherSessionsAreEndedTogether},
		{"ended session changes nothing", endedSessionChangesNothing},
		{"token manages no account", tokenManagesNoAccount},
		{"account is renamed", accountIsRenamed},
	}.hold(t)
}

func signInMakesASession(t *testing.T, w *world) {
	u := w.user("ada")
	for kind, stored := range map[account.SessionKind]string{"": "cookie", account.Cookie: "cookie", account.Bearer: "bearer"} {
		made, err := w.account.SignIn(w.from("192.0.2.1"), account.SignIn{Email: u.Email, Password: password, Kind: kind})
		w.ok(err)
		value := made.Value.Reveal()
		if !strings.HasPrefix(value, "carnet_ses_") || !made.ExpiresAt.Equal(w.now().Add(account.SessionLife)) || made.User != u || made.Device == "" {
			t.Errorf("%q: signed in as %+v", kind, made)
		}
		c := w.caller(made)
		if c.Kind != access.SessionCaller || c.UserID != u.ID || c.CredentialID != made.SessionID || !c.EmailVerified || c.AuthenticatedAt != w.now().UnixMicro() || c.Organization != "" {
			t.Errorf("%q: the caller is %+v", kind, c)
		}
		if got := w.text(`SELECT kind || ' ' || created_from || ' ' || client FROM sessions WHERE id = $1`, made.SessionID); got != stored+" 192.0.2.1 Firefox" {
			t.Errorf("%q: stored is %q", kind, got)
		}
		w.keepsNothingOf(map[string]string{"the session's secret": value[len(value)-38:], "the password": password, "the device": made.Device})
	}
	before := w.count(`SELECT count(*) FROM sessions`)
	_, err := w.account.SignIn(t.Context(), account.SignIn{Email: u.Email, Password: password, Kind: "header"})
	want(t, "another kind", err, problem.ValidationFailed, "body.as")
	_, err = w.account.SignIn(t.Context(), account.SignIn{Email: u.Email, Password: password, Invalid: problem.Invalid("body", "bad")})
	want(t, "what the door could not read", err, problem.ValidationFailed, "body")
	_, err = w.try("", u.Email, wrong, "")
	want(t, "a wrong password", err, problem.CredentialsWrong)
	if n := w.count(`SELECT count(*) FROM sessions`); n != before {
		t.Error("a refused sign-in left a session")
	}
}

func sessionEndsExactlyThirtyDaysAfterItsSignIn(t *testing.T, w *world) {
	u := w.user("ada")
	made, _ := w.signIn(u.Email, password)
	for range 3 { // used often enough
		w.pass(9 * 24 * time.Hour)
		if got := w.held(made); got != "" {
			t.Fatalf("in use, it gets %s", got)
		}
	}
	caller := w.caller(made)
	w.ok(w.account.Reauthenticate(t.Context(), caller, password, nil)) // prolongs nothing
	w.at(made.ExpiresAt.Add(-time.Microsecond))
	if got := w.held(made); got != "" {
		t.Errorf("a microsecond before its end it gets %s", got)
	}
	if ids := w.sessions(caller); !slices.Contains(ids, made.SessionID) {
		t.Error("a microsecond before its end it is not in the list")
	}
	w.at(made.ExpiresAt)
	if got := w.held(made); got != problem.SessionEnded {
		t.Errorf("at its end it gets %q", got)
	}
	if ids := w.sessions(caller); len(ids) != 0 {
		t.Errorf("after its end the list is %q", ids)
	}
}

func TestSessionEndsExactlyFourteenDaysAfterItsLastUse(t *testing.T) {
	for name, flush := range map[string]bool{"in memory": false, "written": true} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				u := w.user("ada")
				used, _ := w.signIn(u.Email, password)
				idle, err := w.try("", u.Email, password, "") // never used
				w.ok(err)
				w.pass(account.SessionIdle - time.Microsecond)
				if got := w.held(used); got != "" {
					t.Fatalf("a microsecond before 14 days it gets %s", got)
				}
				if flush {
					w.ok(w.account.FlushUses(t.Context(), true))
				}
				caller := access.Caller{Kind: access.SessionCaller, UserID: u.ID, CredentialID: used.SessionID}
				if ids := w.sessions(caller); len(ids) != 2 {
					t.Errorf("a microsecond before 14 days the list is %q", ids)
				}
				w.pass(time.Microsecond)
				if got := w.held(idle); got != problem.SessionEnded {
					t.Errorf("at 14 days one that was never used gets %q", got)
				}
				if ids := w.sessions(caller); !slices.Equal(ids, []string{used.SessionID}) {
					t.Errorf("at 14 days the list is %q", ids)
				}
				w.pass(account.SessionIdle - time.Microsecond)
				if got := w.held(used); got != problem.SessionEnded {
					t.Errorf("14 days after its use it gets %q", got)
				}
				if ids := w.sessions(caller); len(ids) != 0 {
					t.Errorf("14 days after the last use the list is %q", ids)
				}
			})
		})
	}
}

// sessions lists the ids of the caller's sessions.
func (w *world) sessions(c access.Caller) (ids []string) {
	w.t.Helper()
	list, err := w.account.Sessions(w.t.Context(), c)
	w.ok(err)
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

func signInIsFreshForFifteenMinutes(t *testing.T, w *world) {
	u := w.user("ada")
	made, caller := w.signIn(u.Email, password)
	fresh := func() error { return w.account.Fresh(w.caller(made)) }
	w.pass(15*time.Minute - time.Microsecond)
	want(t, "just within 15 minutes", fresh(), "")
	w.pass(time.Microsecond)
	want(t, "after 15 minutes", fresh(), problem.ReauthenticationNeeded)
	want(t, "a wrong password", w.account.Reauthenticate(t.Context(), caller, wrong, nil), problem.CredentialsWrong)
	want(t, "what the door could not read", w.account.Reauthenticate(t.Context(), caller, password, problem.Invalid("body", "bad")), problem.ValidationFailed)
	want(t, "after all that", fresh(), problem.ReauthenticationNeeded)
	w.recorded("a fresh sign-in", func() {
		want(t, "the password", w.account.Reauthenticate(t.Context(), caller, password, nil), "")
	}, "session.reauthenticated done "+u.ID+" "+made.SessionID)
	want(t, "the session then", fresh(), "")
	w.pass(15 * time.Minute)
	want(t, "15 minutes later", fresh(), problem.ReauthenticationNeeded)
	want(t, "a token", w.account.Fresh(access.Caller{Kind: access.TokenCaller, UserID: u.ID, AuthenticatedAt: w.now().UnixMicro()}), problem.SignInRequired)
	want(t, "nobody", w.account.Fresh(access.Caller{}), problem.SignInRequired)
}

func sessionsAreListedToTheirOwner(t *testing.T, w *world) {
	ada, eve := w.user("ada"), w.user("eve")
	first, err := w.account.SignIn(w.from("192.0.2.1"), account.SignIn{Email: ada.Email, Password: password, Kind: account.Bearer})
	w.ok(err)
	w.pass(time.Hour)
	second, caller := w.signIn(ada.Email, password)
	ended, _ := w.signIn(ada.Email, password)
	w.ok(w.account.EndSession(t.Context(), caller, ended.SessionID))
	hers, _ := w.signIn(eve.Email, password)
	w.pass(time.Minute)
	used := w.now()
	_, err = w.verify.Verify(t.Context(), second.Value.Reveal(), lastuse.Origin{Client: "curl"})
	w.ok(err)
	w.pass(time.Minute)

	list, err := w.account.Sessions(t.Context(), caller)
	w.ok(err)
	if len(list) != 2 || list[0].ID != second.SessionID || list[1].ID != first.SessionID {
		t.Fatalf("the list is %+v", list)
	}
	now, then := list[0], list[1]
	if !now.Current || now.Kind != account.Cookie || !now.LastUsedAt.Equal(used) || *now.LastUsedClient != "curl" || !now.ExpiresAt.Equal(second.ExpiresAt) {
		t.Errorf("this session is %+v", now)
	}
	if then.Current || then.Kind != account.Bearer || !then.LastUsedAt.Equal(then.CreatedAt) || *then.LastUsedIP != "192.0.2.1" || *then.LastUsedClient != "Firefox" || then.CreatedFrom != "192.0.2.1" {
		t.Errorf("the other session is %+v", then)
	}
	if ids := w.sessions(w.caller(hers)); !slices.Equal(ids, []string{hers.SessionID}) {
		t.Errorf("somebody else's list is %q", ids)
	}
}

func sessionIsEndedByItsOwnerAlone(t *testing.T, w *world) {
	ada, eve := w.user("ada"), w.user("eve")
	here, caller := w.signIn(ada.Email, password)
	there, _ := w.signIn(ada.Email, password)
	_, stranger := w.signIn(eve.Email, password)

	theirs := w.account.EndSession(t.Context(), stranger, there.SessionID)
	none := w.account.EndSession(t.Context(), stranger, "ses_nothing")
	want(t, "somebody else's session", theirs, problem.NotFound)
	if theirs.Error() != none.Error() {
		t.Errorf("somebody else's session answers %q, none at all %q", theirs, none)
	}
	if got := w.held(there); got != "" {
		t.Errorf("somebody else's session gets %s", got)
	}
	w.recorded("ending one", func() { want(t, "ending one", w.account.EndSession(t.Context(), caller, there.SessionID), "") },
		"session.ended done "+ada.ID+" "+there.SessionID)
	if here, there := w.held(here), w.held(there); here != "" || there != problem.SessionEnded {
		t.Errorf("this session gets %q, the ended one %q", here, there)
	}
	w.recorded("ending it again", func() {
		want(t, "ending it again", w.account.EndSession(t.Context(), caller, there.SessionID), problem.NotFound)
	})

	old, _ := w.signIn(ada.Email, password)
	w.recorded("signing out", func() { want(t, "signing out", w.account.SignOut(t.Context(), caller), "") },
		"session.ended done "+ada.ID+" "+here.SessionID)
	if here, old := w.held(here), w.held(old); here != problem.SessionEnded || old != "" {
		t.Errorf("after signing out this session gets %q, another %q", here, old)
	}
	w.recorded("signing out again", func() { want(t, "signing out again", w.account.SignOut(t.Context(), caller), "") })
}

func otherSessionsAreEndedTogether(t *testing.T, w *world) {
	ada, eve := w.user("ada"), w.user("eve")
	here, caller := w.signIn(ada.Email, password)
	hers, _ := w.signIn(eve.Email, password)
	others := []account.SignedIn{}
	for range 3 {
		made, _ := w.signIn(ada.Email, password)
		others = append(others, made)
	}
	w.recorded("ending them", func() {
		if n, err := w.account.EndOtherSessions(t.Context(), caller); n != 3 || err != nil {
			t.Errorf("%d sessions ended: %v", n, err)
		}
	}, "session.others_ended done "+ada.ID+" "+ada.ID)
	for _, made := range others {
		if got := w.held(made); got != problem.SessionEnded {
			t.Errorf("another session gets %q", got)
		}
	}
	if here, hers := w.held(here), w.held(hers); here != "" || hers != "" {
		t.Errorf("this session gets %q, somebody else's %q", here, hers)
	}
}

// A session that ended while its request was under way changes nothing any more.
func endedSessionChangesNothing(t *testing.T, w *world) {
	u := w.user("ada")
	_, keeper := w.signIn(u.Email, password)
	made, caller := w.signIn(u.Email, password)
	w.ok(w.account.EndSession(t.Context(), keeper, made.SessionID))
	before := w.text(`SELECT name || ' ' || password_hash FROM users WHERE id = $1`, u.ID)
	w.recorded("trying", func() {
		for what, call := range changes(w, keeper.CredentialID) {
			want(t, what, call(caller), problem.SessionEnded)
		}
	})
	if after := w.text(`SELECT name || ' ' || password_hash FROM users WHERE id = $1`, u.ID); after != before {
		t.Error("the account was changed")
	}
	// Nor does a caller whose session is somebody else's.
	eve := w.user("eve")
	forged := keeper
	forged.UserID = eve.ID
	want(t, "a session of somebody else", rename(w, forged, "Mallory"), problem.SessionEnded)
}

// changes are all methods that change something for a signed-in person, but for signing out.
func changes(w *world, sessionID string) map[string]func(access.Caller) error {
	ctx := w.t.Context()
	return map[string]func(access.Caller) error{
		"rename":             func(c access.Caller) error { return rename(w, c, "Another Name") },
		"reauthenticate":     func(c access.Caller) error { return w.account.Reauthenticate(ctx, c, password, nil) },
		"end a session":      func(c access.Caller) error { return w.account.EndSession(ctx, c, sessionID) },
		"end other sessions": func(c access.Caller) error { _, err := w.account.EndOtherSessions(ctx, c); return err },
		"resend":             func(c access.Caller) error { return w.account.ResendVerification(ctx, c) },
		"change password": func(c access.Caller) error {
			return w.account.ChangePassword(ctx, c, account.PasswordChange{Current: password, New: another})
		},
	}
}

// P9: whatever its scopes, a token manages no account, and is told so before anything is looked at.
func tokenManagesNoAccount(t *testing.T, w *world) {
	u := w.user("ada")
	_, own := w.signIn(u.Email, password)
	calls := changes(w, own.CredentialID)
	calls["see"] = func(c access.Caller) error { _, err := w.account.Account(t.Context(), c); return err }
	calls["list sessions"] = func(c access.Caller) error { _, err := w.account.Sessions(t.Context(), c); return err }
	calls["sign out"] = func(c access.Caller) error { return w.account.SignOut(t.Context(), c) }
	calls["change nothing that can be read"] = func(c access.Caller) error {
		_, err := w.account.UpdateAccount(t.Context(), c, account.Changes{Invalid: problem.Invalid("body", "bad")})
		return err
	}
	hashes := w.account.HashesForTest()
	w.recorded("trying", func() {
		for what, call := range calls {
			for _, purpose := range []access.Purpose{access.Personal, access.Agent} {
				c := access.Caller{
					Kind: access.TokenCaller, UserID: u.ID, CredentialID: own.CredentialID, EmailVerified: true, Organization: "org_1", Role: access.Owner,
					Purpose: purpose, Scopes: access.AllScopes(), AuthenticatedAt: w.now().UnixMicro(),
				}
				want(t, what+" by a token", call(c), problem.SignInRequired)
			}
			want(t, what+" by nobody", call(access.Caller{UserID: u.ID, CredentialID: own.CredentialID}), problem.CredentialMissing)
		}
	})
	if n := w.account.HashesForTest() - hashes; n != 0 {
		t.Errorf("that cost %d hashes", n)
	}
	want(t, "the session", rename(w, own, "Ada"), "")
}

func accountIsRenamed(t *testing.T, w *world) {
	u := w.user("ada")
	_, caller := w.signIn(u.Email, password)
	update := func(c account.Changes) (account.User, error) { return w.account.UpdateAccount(t.Context(), caller, c) }
	w.recorded("a rename", func() {
		got, err := update(account.Changes{Name: optional.Of("  Ada Lovelace ")})
		if err != nil || got.Name != "Ada Lovelace" || got.Email != u.Email {
			t.Errorf("the account is %+v: %v", got, err)
		}
	}, "account.renamed done "+u.ID+" "+u.ID)
	w.recorded("no change", func() {
		got, err := update(account.Changes{})
		if err != nil || got.Name != "Ada Lovelace" {
			t.Errorf("the account is %+v: %v", got, err)
		}
	})
	for what, name := range map[string]optional.Value[string]{"nothing": optional.Of(" "), "null": optional.Null[string](), "101": optional.Of(strings.Repeat("x", 101)), "a line break": optional.Of("a\nb")} {
		_, err := update(account.Changes{Name: name})
		want(t, what, err, problem.ValidationFailed, "body.name")
	}
	_, err := update(account.Changes{Name: optional.Of("Eve"), Invalid: problem.Invalid("body", "bad")})
	want(t, "what the door could not read", err, problem.ValidationFailed, "body")
	if name := w.text(`SELECT name FROM users`); name != "Ada Lovelace" {
		t.Errorf("the name is %q", name)
	}
}
