package account_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/problem"
)

func TestPasswords(t *testing.T) {
	promises{
		{"password fits however its letters are encoded", passwordFitsHoweverItsLettersAreEncoded},
		{"every character of a long password counts", everyCharacterOfALongPasswordCounts},
		{"hash of a former cost still fits", hashOfAFormerCostStillFits},
		{"hash that cannot be read is nobodys fault and not printed", hashThatCannotBeReadIsNobodysFaultAndNotPrinted},
		{"hashes are bounded", hashesAreBounded},
		{"password change ends other sessions and keeps this one", passwordChangeEndsOtherSessionsAndKeepsThisOne},
		{"password change refuses what it should", passwordChangeRefusesWhatItShould},
		{"one of many password changes wins", oneOfManyPasswordChangesWins},
	}.hold(t)
}

func TestPasswordRules(t *testing.T) {
	t.Parallel()
	const (
		short, long, known, simple, own, encoding = "at least 15 characters", "at most 1024 bytes", "known passwords", "repeats or counts", "is made of your name", "UTF-8"
	)
	for password, says := range map[string]string{
		// Length counts code points after composition, whatever the bytes.
		"wqzjfhdkvpxbgr":                      short, // 14
		"wqzjfhdkvpxbgrm":                     "",    // 15
		"éüßøåñçžšłąęőțж":                     "",    // 15 code points, 30 bytes
		"éüßøåñçžšłąęőț":                      short,
		"e\u0301üßøåñçžšłąęőțж":               "",    // 16 typed, 15 composed
		"e\u0301üßøåñçžšłąęőț":                short, // 15 typed, 14 composed
		"日本語のとても長い合言葉です":                      short, // 14
		"日本語のとても長い合言葉ですよ":                     "",
		"🦔🦊🐢🦉🐝🦋🐌🐞🦀🐙🦑🐬🐳🦭🐧":                     "",
		"               ":                     simple, // blanks count as characters, and are all the same
		"wq zj fh dk vp xb":                   "",
		strings.Repeat("wqzjfhdk", 128):       "",
		strings.Repeat("wqzjfhdk", 128) + "x": long,
		strings.Repeat("wqzjfhd", 146) + "é":  "",   // 1024 bytes, 1023 characters
		strings.Repeat("wqzjfhd", 146) + "éx": long, // 1025 bytes, 1024 characters
		"wqzjfhdkvpxbgrm\xff":                 encoding,

		// Any composition.
		"onlysmallletterswillserve":  "",
		"ONLY CAPITALS WILL SERVE":   "",
		"8264019375628463":           "",
		"!?%&=+*#-_.:,;<>":           "",
		"tabs\tand\x01controls here": "",

		// Known ones, however they are written.
		"correcthorsebatterystaple":      known,
		"Correct Horse Battery Staple":   known,
		"CORRECT HORSE BATTERY STAPLE1!": known,
		"correct horse battery stapler":  "",
		"thisismypassword":               known,
		"mailcreated5240":                known,
		"This Is My Password 2024":       known,

		// Easy ones.
		"yyqyyqyyqyyqyyqyyqyy":    simple,
		"gkgkgkgkgkgkgkgkgkgk":    simple,
		"wqzjwqzjwqzjwqzj":        simple,
		"cdefghijklmnopqrstuvw":   simple,
		"76543210987654321098":    simple,
		"wqzjfwqzjfwqzjfwqzjf":    "", // a piece of five is repeated
		"abcdefgh wqzjkvpxbg":     "",
		"zyxwvutsrqponmlkjihgfed": simple,

		// Words of the account and the product.
		"carnet carnet carnet":       own,
		"passwordcarnet!":            own,
		"ada lovelace 1815":          own,
		"Lovelace.Lovelace":          own,
		"analytical-engine":          own, // the local part
		"ENGINE analytical 1":        own,
		"examplelovelace":            own,
		"lovelace and wqzjfhdk":      "", // enough remains
		"ada has a dog and it bites": "", // words of three letters do not count
	} {
		got := account.PasswordForTest(password, "analytical.engine@example.com", "Ada Lovelace")
		if says == "" && got != "" || !strings.Contains(got, says) {
			t.Errorf("%q: %q, want %q", password, got, says)
		}
	}
}

// Whatever people put together of at least 15 different enough characters is welcome, and is told apart from all else.
func TestLongUnrelatedPasswordsAreWelcome(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		runes := rapid.SliceOfNDistinct(rapid.RuneFrom([]rune("bdfhjlnprtvxzBDFHJLNPRTVXZ02468!?%&/()=")), 15, 39, func(x rune) string {
			return strings.ToLower(string(x))
		}).Draw(r, "password")
		if got := account.PasswordForTest(string(runes), "ada@example.com", "Ada"); got != "" && !strings.Contains(got, "repeats or counts") {
			r.Fatalf("%q: %s", string(runes), got)
		}
	})
}

// One text in two encodings of Unicode is one password (NFC); texts that only look alike are two (no NFKC).
func passwordFitsHoweverItsLettersAreEncoded(t *testing.T, w *world) {
	w.signUp("ada@example.com", "Ada", "ze\u0301bre \ufb01n au crépuscule")
	for what, c := range map[string]struct {
		password string
		code     problem.Code
	}{
		"as set":              {"ze\u0301bre \ufb01n au crépuscule", ""},
		"composed":            {"z\u00e9bre \ufb01n au crépuscule", ""},
		"decomposed":          {"ze\u0301bre \ufb01n au cre\u0301puscule", ""},
		"without a ligature":  {"z\u00e9bre fin au crépuscule", problem.CredentialsWrong},
		"without accents":     {"zebre \ufb01n au crepuscule", problem.CredentialsWrong},
		"with a capital":      {"Z\u00e9bre \ufb01n au crépuscule", problem.CredentialsWrong},
		"with a blank behind": {"z\u00e9bre \ufb01n au crépuscule ", problem.CredentialsWrong},
		"cut":                 {"z\u00e9bre \ufb01n au", problem.CredentialsWrong},
	} {
		_, err := w.try("", "ada@example.com", c.password, "")
		want(t, what, err, c.code)
	}
}

// Nothing is cut off: passwords that agree in their first 72 or 1000 bytes are told apart.
func everyCharacterOfALongPasswordCounts(t *testing.T, w *world) {
	long := strings.Repeat("wqzjfhdk", 127) + "abcdefgh"
	w.signUp("ada@example.com", "Ada", long)
	_, err := w.try("", "ada@example.com", long, "")
	want(t, "the password", err, "")
	_, err = w.try("", "ada@example.com", long[:1023]+"X", "")
	want(t, "another last character", err, problem.CredentialsWrong)
	_, err = w.try("", "ada@example.com", long+"X", "")
	want(t, "one that is too long", err, problem.CredentialsWrong)
}

func TestStoredPasswordIsArgon2idAtTheRecommendedCost(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.signUp("ada@example.com", "Ada", password)
		w.signUp("eve@example.com", "Eve", password)
		ada, eve := w.text(`SELECT password_hash FROM users WHERE email_key = 'ada@example.com'`), w.text(`SELECT password_hash FROM users WHERE email_key = 'eve@example.com'`)
		if !strings.HasPrefix(ada, "$argon2id$v=19$m=19456,t=2,p=1$") || len(strings.Split(ada, "$")[4]) != 22 || len(strings.Split(ada, "$")[5]) != 43 {
			t.Errorf("the hash is %s", ada)
		}
		if ada == eve || strings.Split(ada, "$")[4] == strings.Split(eve, "$")[4] {
			t.Error("two people with one password have one hash or one salt")
		}
		made, _ := w.signIn("ada@example.com", password)
		if made.User.Name != "Ada" {
			t.Errorf("it is %+v", made.User)
		}
	}, func(c *account.Config) { c.PasswordCost = account.Cost{} })
}

// The cost stands with each hash, so that raising it voids nobody's password.
func hashOfAFormerCostStillFits(t *testing.T, w *world) {
	w.signUp("ada@example.com", "Ada", password)
	harder := account.New(account.Config{
		DB: w.db, Audit: w.account.Audit, Mail: w.mailbox, Now: w.now, Log: w.account.Log, Uses: w.account.Uses, PasswordCost: account.Cost{Memory: 16, Passes: 2, Threads: 1},
	})
	_, err := harder.SignIn(t.Context(), account.SignIn{Email: "ada@example.com", Password: password})
	want(t, "after the cost was raised", err, "")
}

func hashThatCannotBeReadIsNobodysFaultAndNotPrinted(t *testing.T, w *world) {
	w.signUp("ada@example.com", "Ada", password)
	for _, stored := range []string{"$2y$10$abcdefghijklmnopqrstuv", "$argon2id$v=18$m=8,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=x$AAAA$AAAA", "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=8,t=1,p=1$!$!", "plain"} {
		w.exec(`UPDATE users SET password_hash = $1`, stored)
		_, err := w.try("", "ada@example.com", password, "")
		if err == nil || problem.CodeOf(err) != problem.Internal || strings.Contains(err.Error(), stored) {
			t.Errorf("%s: %v", stored, err)
		}
	}
}

// Hashing takes memory and time: no more run at a time than there are cores, few wait, and who gives up waiting leaves.
func hashesAreBounded(t *testing.T, w *world) {
	w.signUp("ada@example.com", "Ada", password)
	running, most, now := w.account.TurnsForTest()
	if running < 1 || most <= running || now != 0 {
		t.Fatalf("%d may run, %d may wait or run, %d do", running, most, now)
	}
	var leave []func()
	for range running {
		l, err := w.account.OccupyForTest(t.Context())
		w.ok(err)
		leave = append(leave, l)
	}
	// A sign-in waits for its turn, and stops waiting when its request is gone.
	hashes := w.account.HashesForTest()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	for range most - running {
		go func() {
			_, err := w.account.SignIn(ctx, account.SignIn{Email: "ada@example.com", Password: password})
			failed <- err
		}()
	}
	w.waiting(most)
	_, err := w.try("", "ada@example.com", password, "")
	if n := waits(t, "one more than may wait", err); n != 2 {
		t.Errorf("it asks to wait %d seconds", n)
	}
	err = w.account.SignUp(t.Context(), account.NewUser{Email: "eve@example.com", Name: "Eve", Password: password})
	waits(t, "a sign-up more than may wait", err)
	cancel()
	for range most - running {
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("a sign-in that was given up ends with %v", err)
		}
	}
	if _, _, now := w.account.TurnsForTest(); now != running {
		t.Errorf("%d run or wait, after all who waited left", now)
	}
	if n := w.account.HashesForTest() - hashes; n != 0 {
		t.Errorf("%d hashes were computed for nobody", n)
	}
	for _, l := range leave {
		l()
	}
	_, err = w.try("", "ada@example.com", password, "")
	want(t, "when there is room again", err, "")
	if n := w.count(`SELECT count(*) FROM signin_failures`); n != 0 {
		t.Error("giving up counts as a wrong password")
	}
}

func passwordChangeEndsOtherSessionsAndKeepsThisOne(t *testing.T, w *world) {
	u, eve := w.user("ada"), w.user("eve")
	here, caller := w.signIn(u.Email, password)
	there, _ := w.signIn(u.Email, password)
	hers, _ := w.signIn(eve.Email, password)
	w.pass(time.Hour) // whatever the age of the sign-in: the current password proves who asks
	w.recorded("the change", func() {
		w.ok(w.account.ChangePassword(t.Context(), caller, account.PasswordChange{Current: password, New: another}))
	}, "account.password_changed done "+u.ID+" "+u.ID)
	if here, there, hers := w.held(here), w.held(there), w.held(hers); here != "" || there != problem.SessionEnded || hers != "" {
		t.Errorf("this session gets %q, the other one %q, somebody else's %q", here, there, hers)
	}
	if err := w.account.Fresh(w.caller(here)); err != nil {
		t.Errorf("after a password change the sign-in is not fresh: %v", err)
	}
	_, err := w.try("", u.Email, password, "")
	want(t, "the former password", err, problem.CredentialsWrong)
	_, err = w.try("", u.Email, another, "")
	want(t, "the new password", err, "")
	_, err = w.try("", eve.Email, password, "")
	want(t, "somebody else's password", err, "")
}

func passwordChangeRefusesWhatItShould(t *testing.T, w *world) {
	u := w.user("ada")
	made, caller := w.signIn(u.Email, password)
	change := func(current, next string) error {
		return w.account.ChangePassword(t.Context(), caller, account.PasswordChange{Current: current, New: next})
	}
	want(t, "a wrong current password", change(wrong, another), problem.ValidationFailed, "body.current")
	want(t, "no current password", change("", another), problem.ValidationFailed, "body.current")
	want(t, "a short new one", change(password, "short"), problem.ValidationFailed, "body.new")
	want(t, "a known new one", change(password, "correct horse battery staple"), problem.ValidationFailed, "body.new")
	want(t, "one made of the address", change(password, "example example ada"), problem.ValidationFailed, "body.new")
	want(t, "what the door could not read", w.account.ChangePassword(t.Context(), caller, account.PasswordChange{Current: password, New: another, Invalid: problem.Invalid("body", "bad")}), problem.ValidationFailed, "body")
	if got := w.held(made); got != "" {
		t.Errorf("the session gets %s", got)
	}
	_, err := w.try("", u.Email, password, "")
	want(t, "the password", err, "")
	// Guessing at a forgotten screen is slowed like guessing at sign-in.
	for range 8 {
		want(t, "another wrong password", change(wrong, another), problem.ValidationFailed)
	}
	if n := waits(t, "one too many", change(password, another)); n != 30 {
		t.Errorf("it asks to wait %d seconds", n)
	}
	want(t, "a fresh sign-in instead", w.account.Reauthenticate(t.Context(), caller, password, nil), problem.RateLimited)
	_, err = w.try("192.0.2.9", u.Email, password, "")
	want(t, "a sign-in meanwhile", err, "")
	w.pass(30 * time.Second)
	want(t, "after the wait", change(password, another), "")
}

// Of several sessions that change the password at once, one does; it ends the others, whose changes come to nothing.
func oneOfManyPasswordChangesWins(t *testing.T, w *world) {
	u := w.user("ada")
	const many = 6
	var news [many]string
	var callers [many]access.Caller
	for i := range many {
		_, callers[i] = w.signIn(u.Email, password)
		news[i] = another + strings.Repeat("!", i)
	}
	var errs [many]error
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			errs[i] = w.account.ChangePassword(t.Context(), callers[i], account.PasswordChange{Current: password, New: news[i]})
		})
	}
	all.Wait()
	won := -1
	for i, err := range errs {
		if err == nil && won >= 0 {
			t.Errorf("changes %d and %d both succeeded", won, i)
		}
		if err == nil {
			won = i
		}
	}
	if won < 0 {
		t.Fatalf("no change succeeded: %v", errs)
	}
	_, err := w.try("192.0.2.9", u.Email, news[won], "")
	want(t, "the password of the change that succeeded", err, "")
	if n := w.count(`SELECT count(*) FROM audit_events WHERE action = 'account.password_changed'`); n != 1 {
		t.Errorf("%d changes are on record", n)
	}
}
