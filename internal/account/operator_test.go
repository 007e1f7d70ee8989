package account_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/optional"
	"carnet/internal/problem"
)

func TestOperators(t *testing.T) {
	promises{
		{"suspended person is signed out and cannot sign in", suspendedPersonIsSignedOutAndCannotSignIn},
		{"operators make accounts", operatorsMakeAccounts},
		{"cleaning deletes what is over", cleaningDeletesWhatIsOver},
	}.hold(t)
}

// suspend returns what closes the account in a transaction.
func suspend(w *world, userID string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error { return w.account.SuspendIn(ctx, tx, userID) }
}

// restore returns what opens it again.
func restore(w *world, userID string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error { return w.account.RestoreIn(ctx, tx, userID) }
}

func rename(w *world, c access.Caller, name string) error {
	_, err := w.account.UpdateAccount(w.t.Context(), c, account.Changes{Name: optional.Of(name)})
	return err
}

func suspendedPersonIsSignedOutAndCannotSignIn(t *testing.T, w *world) {
	ada, eve := w.user("ada"), w.user("eve")
	made, caller := w.signIn(ada.Email, password)
	hers, _ := w.signIn(eve.Email, password)
	w.recorded("suspending", func() { w.ok(w.write(suspend(w, ada.ID))) }, "account.suspended done  "+ada.ID)
	w.recorded("suspending again", func() { w.ok(w.write(suspend(w, ada.ID))) })
	if his, hers := w.held(made), w.held(hers); his != problem.SessionEnded || hers != "" {
		t.Errorf("the suspended one's session gets %q, somebody else's %q", his, hers)
	}
	want(t, "a change that was under way", rename(w, caller, "Ada again"), problem.SessionEnded)
	_, err := w.try("", ada.Email, password, made.Device)
	want(t, "signing in", err, problem.CredentialsWrong)
	want(t, "signing out", w.account.SignOut(t.Context(), caller), "")

	w.recorded("restoring", func() { w.ok(w.write(restore(w, ada.ID))) }, "account.restored done  "+ada.ID)
	w.recorded("restoring again", func() { w.ok(w.write(restore(w, ada.ID))) })
	if got := w.held(made); got != problem.SessionEnded {
		t.Errorf("after the account is restored, the old session gets %q", got)
	}
	_, err = w.try("", ada.Email, password, "")
	want(t, "signing in again", err, "")
}

// A suspension, or another password, that comes while a password is being checked wins.
func TestSignInThatIsOvertakenMakesNoSession(t *testing.T) {
	for what, overtake := range map[string]func(w *world, u account.User){
		"by a suspension": func(w *world, u account.User) { w.ok(w.write(suspend(w, u.ID))) },
		"by a new password": func(w *world, u account.User) {
			w.exec(`UPDATE users SET password_hash = password_hash || 'x' WHERE id = $1`, u.ID)
		},
	} {
		t.Run(what, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				u := w.user("ada")
				running, _, _ := w.account.TurnsForTest()
				var leave []func()
				for range running {
					l, err := w.account.OccupyForTest(t.Context())
					w.ok(err)
					leave = append(leave, l)
				}
				result := make(chan error)
				go func() {
					_, err := w.try("", u.Email, password, "")
					result <- err
				}()
				w.waiting(running + 1)
				overtake(w, u)
				for _, l := range leave {
					l()
				}
				want(t, "the sign-in", <-result, problem.CredentialsWrong)
				if n := w.count(`SELECT count(*) FROM sessions`); n != 0 {
					t.Error("it left a session")
				}
			})
		})
	}
}

func operatorsMakeAccounts(t *testing.T, w *world) {
	create := func(email string, verified bool) (account.User, error) {
		return w.account.CreateUser(t.Context(), account.NewUser{Email: email, Name: "Ada", Password: password, Verified: verified})
	}
	if found, err := w.account.AnyUser(t.Context()); found || err != nil {
		t.Errorf("an empty store has users: %v", err)
	}
	var u account.User
	before := len(w.actions())
	u, err := create("ada@example.com", true)
	w.ok(err)
	if got := w.actions()[before:]; len(got) != 1 || got[0] != "account.created done "+u.ID+" "+u.ID {
		t.Errorf("it recorded %q", got)
	}
	_, err = create("ADA@example.com", true)
	want(t, "an address that has an account", err, problem.Conflict)
	other, err := create("eve@example.com", false)
	w.ok(err)
	if !u.EmailVerified || other.EmailVerified {
		t.Errorf("the accounts are %+v and %+v", u, other)
	}
	_, err = create("nowhere", true)
	want(t, "no address", err, problem.ValidationFailed, "body.email")
	got, ok, err := w.account.ByEmail(t.Context(), " aDa@example.com")
	if got != u || !ok || err != nil {
		t.Errorf("by e-mail it is %+v, %t: %v", got, ok, err)
	}
	if _, ok, err := w.account.ByEmail(t.Context(), "nobody@example.com"); ok || err != nil {
		t.Errorf("somebody is nobody: %v", err)
	}
	if found, err := w.account.AnyUser(t.Context()); !found || err != nil {
		t.Errorf("nobody is there: %v", err)
	}
	if n := len(w.mailbox.all()); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
	// A caller whose account is gone gets nothing that tells more.
	_, err = w.account.Account(t.Context(), access.Caller{Kind: access.SessionCaller, UserID: "usr_nobody"})
	want(t, "an account that does not exist", err, problem.NotFound)
}

// What is over is deleted when its time is over, and nothing else.
func cleaningDeletesWhatIsOver(t *testing.T, w *world) {
	u := w.user("ada")
	w.signIn(u.Email, password)
	w.ok(w.account.FlushUses(t.Context(), true))
	w.guess(1, "192.0.2.1", "nobody@example.com", "")
	w.issue("recover", u.ID, time.Hour)
	start := w.now()
	left := func(at time.Time) (list [5]int) {
		w.ok(w.account.Clean(t.Context(), at))
		for i, table := range []string{"sessions", "session_use", "account_codes", "signin_failures", "known_devices"} {
			list[i] = w.count("SELECT count(*) FROM " + table)
		}
		return list
	}
	const day = 24 * time.Hour
	for _, c := range []struct {
		after time.Duration
		want  [5]int
	}{
		{0, [5]int{1, 1, 1, 2, 1}},
		{day, [5]int{1, 1, 1, 2, 1}},
		{day + time.Microsecond, [5]int{1, 1, 1, 0, 1}},
		{7*day + time.Hour, [5]int{1, 1, 1, 0, 1}},
		{7*day + time.Hour + time.Microsecond, [5]int{1, 1, 0, 0, 1}},
		{60 * day, [5]int{1, 1, 0, 0, 1}},
		{60*day + time.Microsecond, [5]int{0, 0, 0, 0, 1}},
		{180 * day, [5]int{0, 0, 0, 0, 1}},
		{180*day + time.Microsecond, [5]int{}},
	} {
		if got := left(start.Add(c.after)); got != c.want {
			t.Errorf("after %s there are %v sessions, uses, codes, failures and devices, not %v", c.after, got, c.want)
		}
	}
	if n := w.count(`SELECT count(*) FROM users`); n != 1 {
		t.Error("an account was deleted")
	}
}
