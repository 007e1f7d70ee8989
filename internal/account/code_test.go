package account_test

import (
	"bytes"
	"context"
	"database/sql"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/account"
	"carnet/internal/problem"
)

func TestCodes(t *testing.T) {
	promises{
		{"one of many uses of a link wins", oneOfManyUsesOfALinkWins},
		{"one of two links decides", oneOfTwoLinksDecides},
		{"link holds for exactly a day", linkHoldsForExactlyADay},
		{"code serves its own purpose only", codeServesItsOwnPurposeOnly},
		{"unknown code is refused", unknownCodeIsRefused},
		{"new code voids the former ones of its kind", newCodeVoidsTheFormerOnesOfItsKind},
		{"code is used up with what it is used for", codeIsUsedUpWithWhatItIsUsedFor},
		{"only digests of codes are kept", onlyDigestsOfCodesAreKept},
		{"verification is mailed again", verificationIsMailedAgain},
		{"link mailed again by who signed up first does not oust the owners", linkMailedAgainByWhoSignedUpFirstDoesNotOustTheOwners},
	}.hold(t)
}

// issue makes a code that is none of sign-up's.
func (w *world) issue(purpose, userID string, life time.Duration) (code string) {
	w.t.Helper()
	w.ok(w.write(func(ctx context.Context, tx *sql.Tx) (err error) {
		code, err = w.account.IssueCode(ctx, tx, purpose, userID, life)
		return err
	}))
	return code
}

// consume uses a code up and returns whose it was.
func (w *world) consume(purpose, code string) (userID string, err error) {
	err = w.write(func(ctx context.Context, tx *sql.Tx) (err error) {
		userID, err = w.account.ConsumeCode(ctx, tx, purpose, code)
		return err
	})
	return userID, err
}

func oneOfManyUsesOfALinkWins(t *testing.T, w *world) {
	code := w.signUp("ada@example.com", "Ada", password)
	var won, refused atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for range 64 {
		all.Go(func() {
			<-start
			switch err := w.open(code); {
			case err == nil:
				won.Add(1)
			case problem.Is(err, problem.CodeInvalid):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
	if won.Load() != 1 || refused.Load() != 63 {
		t.Errorf("%d uses won and %d were refused", won.Load(), refused.Load())
	}
	if n := w.count(`SELECT count(*) FROM audit_events WHERE action = 'account.email_verified'`); n != 1 {
		t.Errorf("the address was verified %d times", n)
	}
}

// Two different links of one account, opened at the same moment: one of them decides, whole.
func oneOfTwoLinksDecides(t *testing.T, w *world) {
	codes := []string{w.signUp("ada@example.com", "Ada one", password)}
	w.pass(time.Minute)
	codes = append(codes, w.signUp("ada@example.com", "Ada two", another))
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, code := range codes {
		both.Go(func() { errs[i] = w.open(code) })
	}
	both.Wait()
	winner := 0
	if errs[0] != nil {
		winner = 1
	}
	want(t, "the first link", errs[winner], "")
	want(t, "the second link", errs[1-winner], problem.CodeInvalid)
	made, _ := w.signIn("ada@example.com", []string{password, another}[winner])
	if want := []string{"Ada one", "Ada two"}[winner]; made.User.Name != want {
		t.Errorf("the account's name is %q, not %q", made.User.Name, want)
	}
}

func linkHoldsForExactlyADay(t *testing.T, w *world) {
	early, late := w.signUp("early@example.com", "Early", password), w.signUp("late@example.com", "Late", password)
	w.pass(24*time.Hour - time.Microsecond)
	want(t, "checking a microsecond before the end", w.account.CheckCode(t.Context(), "verify_email", late), "")
	want(t, "a microsecond before the end", w.open(early), "")
	w.pass(time.Microsecond)
	want(t, "checking at the end", w.account.CheckCode(t.Context(), "verify_email", late), problem.CodeInvalid)
	want(t, "at the end", w.open(late), problem.CodeInvalid)
	if made, _ := w.signIn("late@example.com", password); made.User.EmailVerified {
		t.Error("a link that was too old verified the address")
	}
	code := w.signUp("late@example.com", "Late", password)
	want(t, "a new link", w.open(code), "")
}

func codeServesItsOwnPurposeOnly(t *testing.T, w *world) {
	verify := w.signUp("ada@example.com", "Ada", password)
	userID := w.text(`SELECT id FROM users`)
	other := w.issue("recover", userID, time.Hour)
	notice := w.issue("sign_up_notice", userID, time.Hour)
	for what, code := range map[string]string{"a code to recover": other, "the note of a notice": notice} {
		want(t, what+" as a link", w.open(code), problem.CodeInvalid)
	}
	_, err := w.consume("recover", verify)
	want(t, "a link as a code to recover", err, problem.CodeInvalid)
	want(t, "checking it as such", w.account.CheckCode(t.Context(), "recover", verify), problem.CodeInvalid)
	if got, err := w.consume("recover", other); err != nil || got != userID {
		t.Errorf("the code to recover is %q's: %v", got, err)
	}
	_, err = w.consume("recover", other)
	want(t, "a second use", err, problem.CodeInvalid)
	want(t, "the link after all that", w.open(verify), "")
}

func unknownCodeIsRefused(t *testing.T, w *world) {
	code := w.signUp("ada@example.com", "Ada", password)
	flipped := []byte(code)
	flipped[0] ^= 'A' ^ 'B'
	for what, wrong := range map[string]string{
		"nothing": "", "made up": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "with another letter": string(flipped), "with one more": code + "A", "with one less": code[1:],
		"in small letters": strings.ToLower(code), "very long": strings.Repeat(code, 10_000), "the digest": string(account.CodeDigestForTest(code)),
	} {
		want(t, what, w.open(wrong), problem.CodeInvalid)
	}
	want(t, "what the door could not read", w.account.VerifyEmail(t.Context(), code, problem.Invalid("body", "bad")), problem.ValidationFailed)
	want(t, "the code itself", w.open(code), "")
}

func newCodeVoidsTheFormerOnesOfItsKind(t *testing.T, w *world) {
	first := w.issue("recover", "usr_a", time.Hour)
	others := w.issue("recover", "usr_b", time.Hour)
	kinds := w.issue("setup", "usr_a", time.Hour)
	second := w.issue("recover", "usr_a", time.Hour)
	_, err := w.consume("recover", first)
	want(t, "the former one", err, problem.CodeInvalid)
	for code, purpose := range map[string]string{others: "recover", kinds: "setup", second: "recover"} {
		_, err := w.consume(purpose, code)
		want(t, "one that has nothing to do with it", err, "")
	}
}

// A code that is used in a transaction that fails is not used.
func codeIsUsedUpWithWhatItIsUsedFor(t *testing.T, w *world) {
	code := w.issue("setup", "", time.Hour)
	err := w.write(func(ctx context.Context, tx *sql.Tx) error {
		if _, err := w.account.ConsumeCode(ctx, tx, "setup", code); err != nil {
			return err
		}
		return problem.Invalid("body.slug", "is taken")
	})
	want(t, "the transaction", err, problem.ValidationFailed)
	_, err = w.consume("setup", code)
	want(t, "the code afterwards", err, "")
}

func onlyDigestsOfCodesAreKept(t *testing.T, w *world) {
	first := w.signUp("ada@example.com", "Ada", password)
	w.pass(time.Hour)
	second := w.signUp("ada@example.com", "Ada", another)
	_, caller := w.signIn("ada@example.com", password)
	w.pass(time.Hour)
	w.mailbox.empty()
	w.ok(w.account.ResendVerification(t.Context(), caller))
	third := w.mailbox.code()
	w.ok(w.open(second))
	w.keepsNothingOf(map[string]string{"the first code": first, "the second code": second, "the third code": third, "a password": password, "the other password": another})
	found, err := w.db.Read().QueryContext(t.Context(), `SELECT digest FROM account_codes`)
	w.ok(err)
	defer func() { _ = found.Close() }()
	n := 0
	for ; found.Next(); n++ {
		var digest []byte
		w.ok(found.Scan(&digest))
		known := false
		for _, code := range []string{first, second, third} {
			known = known || bytes.Equal(digest, account.CodeDigestForTest(code))
		}
		if !known {
			t.Errorf("%x is no digest of a code", digest)
		}
	}
	w.ok(found.Err())
	if n != 3 {
		t.Errorf("%d digests are kept", n)
	}
}

func verificationIsMailedAgain(t *testing.T, w *world) {
	first := w.signUp("ada@example.com", "Ada", password)
	_, caller := w.signIn("ada@example.com", password)
	w.mailbox.empty()
	if n := waits(t, "within the minute", w.account.ResendVerification(t.Context(), caller)); n != 60 {
		t.Errorf("it asks to wait %d seconds", n)
	}
	w.pass(time.Minute)
	want(t, "after a minute", w.account.ResendVerification(t.Context(), caller), "")
	mails := w.mailbox.all()
	if len(mails) != 1 || mails[0].To != "ada@example.com" {
		t.Fatalf("it mailed %+v", mails)
	}
	want(t, "the new link", w.open(w.mailbox.code()), "")
	want(t, "the former link", w.open(first), problem.CodeInvalid)
	made, caller := w.signIn("ada@example.com", password)
	if !made.User.EmailVerified || made.User.Name != "Ada" {
		t.Errorf("the account is %+v", made.User)
	}
	w.pass(time.Hour)
	want(t, "for a verified address", w.account.ResendVerification(t.Context(), caller), problem.Conflict)
}

// Whoever signed up first has a session, and can have the link mailed again. Its owner's own link still wins.
func linkMailedAgainByWhoSignedUpFirstDoesNotOustTheOwners(t *testing.T, w *world) {
	w.signUp("victim@example.com", "Mallory", wrong)
	_, mallory := w.signIn("victim@example.com", wrong)
	w.pass(time.Minute)
	own := w.signUp("victim@example.com", "Victoria", password)
	w.pass(time.Minute)
	w.ok(w.account.ResendVerification(t.Context(), mallory))
	again := w.mailbox.code()
	want(t, "the owner's link", w.open(own), "")
	want(t, "the link that was mailed again", w.open(again), problem.CodeInvalid)
	made, _ := w.signIn("victim@example.com", password)
	if made.User.Name != "Victoria" {
		t.Errorf("the account is %+v", made.User)
	}
	want(t, "a rename by who signed up first", rename(w, mallory, "Mallory"), problem.SessionEnded)
}
