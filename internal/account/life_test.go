package account_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/idempotency"
	"carnet/internal/lastuse"
	"carnet/internal/org"
	"carnet/internal/page"
	"carnet/internal/problem"
	"carnet/internal/tokens"
	"carnet/internal/work"
)

// Each change of an account is on record with who made it, and neither the record nor anything else that is kept holds a
// password, a code, a device or a session.
func TestLifeOfAnAccountIsOnRecordWithoutItsSecrets(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		secrets := map[string]string{"the first password": wrong, "the password": password, "the new password": another}
		keep := func(what string, made account.SignedIn) {
			value := made.Value.Reveal()
			secrets["the secret of "+what], secrets["the device of "+what] = value[len(value)-38:], made.Device
		}
		secrets["the first code"] = w.signUp("ada@example.com", "Somebody", wrong)
		w.pass(time.Minute)
		secrets["the second code"] = w.signUp("ada@example.com", "Ada", password)
		first, who := w.signIn("ada@example.com", wrong)
		keep("the first session", first)
		w.pass(time.Minute)
		w.mailbox.empty()
		w.ok(w.account.ResendVerification(t.Context(), who))
		secrets["the third code"] = w.mailbox.code()
		w.ok(w.open(secrets["the second code"]))
		w.pass(time.Minute)
		w.signUp("ada@example.com", "Mallory", another) // tells the owner; changes nothing
		made, err := w.account.SignIn(w.from("2001:db8::7"), account.SignIn{Email: "ada@example.com", Password: password, Kind: account.Bearer})
		w.ok(err)
		keep("the second session", made)
		caller := w.caller(made)
		w.ok(rename(w, caller, "Ada Lovelace"))
		w.ok(w.account.Reauthenticate(t.Context(), caller, password, nil))
		w.ok(w.account.ChangePassword(t.Context(), caller, account.PasswordChange{Current: password, New: another}))
		_, err = w.account.EndOtherSessions(t.Context(), caller)
		w.ok(err)
		secrets["a guess"] = "four wet cats on a roof"
		for range 10 {
			_, err := w.try("192.0.2.1", "ada@example.com", secrets["a guess"], "")
			want(t, "a guess", err, problem.CredentialsWrong)
		}
		w.ok(w.account.SignOut(t.Context(), caller))
		w.ok(w.write(suspend(w, caller.UserID)))
		w.ok(w.write(restore(w, caller.UserID)))

		ada := " done " + caller.UserID + " "
		if got, want := w.actions(), []string{
			"account.created" + ada + caller.UserID,
			"account.signed_up_again" + ada + caller.UserID,
			"session.created" + ada + first.SessionID,
			"account.verification_resent" + ada + caller.UserID,
			"account.email_verified" + ada + caller.UserID,
			"session.created" + ada + made.SessionID,
			"account.renamed" + ada + caller.UserID,
			"session.reauthenticated" + ada + made.SessionID,
			"account.password_changed" + ada + caller.UserID,
			"session.others_ended" + ada + caller.UserID,
			"session.refused denied",
			"session.ended" + ada + made.SessionID,
			"account.suspended done  " + caller.UserID,
			"account.restored done  " + caller.UserID,
		}; !slices.Equal(got, want) {
			t.Errorf("recorded is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		w.keepsNothingOf(secrets)
		if n := w.count(`SELECT count(*) FROM audit_events WHERE action LIKE 'account.%' AND (detail LIKE '%Ada%' OR detail LIKE '%Mallory%')`); n != 0 {
			t.Error("the record repeats what people typed")
		}
		if got := w.text(`SELECT credential_kind || ' ' || credential_id FROM audit_events WHERE action = 'account.renamed'`); got != "session "+made.SessionID {
			t.Errorf("the rename is recorded of %q", got)
		}
	})
}

// A change that does not come about leaves no record, and one that cannot be recorded does not come about.
func TestChangeAndItsRecordStandOrFallTogether(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		u := w.user("ada")
		made, caller := w.signIn(u.Email, password)
		code := w.signUp("eve@example.com", "Eve", password)
		w.exec(`ALTER TABLE audit_events RENAME TO elsewhere`)
		calls := changes(w, caller.CredentialID)
		delete(calls, "resend")
		calls["sign in"] = func(access.Caller) error { _, err := w.try("", u.Email, password, ""); return err }
		calls["sign up"] = func(access.Caller) error {
			return w.account.SignUp(t.Context(), account.NewUser{Email: "new@example.com", Name: "New", Password: password})
		}
		calls["verify"] = func(access.Caller) error { return w.open(code) }
		calls["suspend"] = func(access.Caller) error { return w.write(suspend(w, u.ID)) }
		before := w.text(everything)
		w.mailbox.empty()
		for what, call := range calls {
			if err := call(caller); err == nil || problem.CodeOf(err) != problem.Internal {
				t.Errorf("%s without a record: %v", what, err)
			}
		}
		if after := w.text(everything); after != before {
			t.Errorf("without a record it became %s, was %s", after, before)
		}
		if n := len(w.mailbox.all()); n != 0 {
			t.Errorf("%d mails were sent", n)
		}
		if got := w.held(made); got != "" {
			t.Errorf("the session gets %s", got)
		}
	})
}

const everything = `SELECT (SELECT count(*) FROM users) || ' users, ' || (SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL) || ' verified, ' ||
	(SELECT count(*) FROM users WHERE suspended_at IS NOT NULL) || ' suspended, ' || (SELECT count(*) FROM sessions WHERE ended_at IS NULL) || ' sessions, ' ||
	(SELECT count(*) FROM account_codes WHERE used_at IS NULL) || ' codes, ' || (SELECT max(name || password_hash) FROM users)`

// P8: what ends sessions ends no token.
func TestNoTokenIsTouchedByWhatEndsSessions(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		u := w.user("ada")
		cursors, keys := page.New([]byte("test")), idempotency.New(w.db, w.now)
		orgs := org.New(org.Config{DB: w.db, Audit: w.account.Audit, Accounts: w.account, Cursors: cursors, Now: w.now, Log: w.account.Log})
		projects := work.New(work.Config{DB: w.db, Audit: w.account.Audit, Idempotency: keys, Cursors: cursors, Now: w.now})
		issuing := tokens.New(tokens.Config{
			DB: w.db, Audit: w.account.Audit, Account: w.account, Work: projects, Idempotency: keys, Cursors: cursors, Now: w.now, Log: w.account.Log,
			Uses: lastuse.New(), LateUses: lastuse.New(),
		})
		_, err := orgs.Operators().CreateOrganization(t.Context(), org.Founding{Slug: "acme", Name: "Acme", OwnerEmail: u.Email})
		w.ok(err)
		_, caller := w.signIn(u.Email, password)
		issued, err := issuing.Create(t.Context(), caller, tokens.Draft{Name: "Build", Organization: "acme", Scopes: []string{"tasks:read"}})
		w.ok(err)
		before := w.text(`SELECT coalesce(revoked_at, 0) || ' ' || coalesce(expires_at, 0) || ' ' || scopes FROM tokens`)
		for _, step := range []struct {
			what string
			do   func() error
		}{
			{"a password change", func() error {
				return w.account.ChangePassword(t.Context(), caller, account.PasswordChange{Current: password, New: another})
			}},
			{"ending other sessions", func() error { _, err := w.account.EndOtherSessions(t.Context(), caller); return err }},
			{"signing out", func() error { return w.account.SignOut(t.Context(), caller) }},
		} {
			want(t, step.what, step.do(), "")
			if _, err := w.verify.Verify(t.Context(), issued.Value.Reveal(), lastuse.Origin{}); err != nil {
				t.Errorf("after %s the token gets %v", step.what, err)
			}
		}
		if after := w.text(`SELECT coalesce(revoked_at, 0) || ' ' || coalesce(expires_at, 0) || ' ' || scopes FROM tokens`); after != before {
			t.Errorf("the token became %q, was %q", after, before)
		}
	})
}
