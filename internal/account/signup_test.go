package account_test

import (
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/problem"
)

func TestSignUp(t *testing.T) {
	promises{
		{"sign up is verified by its link", signUpIsVerifiedByItsLink},
		{"owner of an address wins over who signed up first", ownerOfAnAddressWinsOverWhoSignedUpFirst},
		{"own link holds although somebody signed up afterwards", ownLinkHoldsAlthoughSomebodySignedUpAfterwards},
		{"known address answers alike and tells its owner by mail", knownAddressAnswersAlikeAndTellsItsOwnerByMail},
		{"sign up refuses what it should", signUpRefusesWhatItShould},
		{"mails to one address keep a minute between them", mailsToOneAddressKeepAMinuteBetweenThem},
		{"lookalike address does not verify somebody elses", lookalikeAddressDoesNotVerifySomebodyElses},
		{"sign up within the minute changes nothing", signUpWithinTheMinuteChangesNothing},
		{"mail of a sign up quotes the name", mailOfASignUpQuotesTheName},
	}.hold(t)
}

func signUpIsVerifiedByItsLink(t *testing.T, w *world) {
	code := w.signUp(" Ada@Example.com ", "Ada Lovelace", password)
	mails := w.mailbox.all()
	if len(mails) != 1 || mails[0].To != "Ada@Example.com" || code == "" || !strings.Contains(mails[0].Text, `"Ada Lovelace"`) {
		t.Fatalf("sign-up mailed %+v", mails)
	}
	made, caller := w.signIn("ada@example.COM", password)
	if made.User.EmailVerified || caller.EmailVerified {
		t.Error("the address is verified before its link was opened")
	}
	want(t, "opening the link", w.open(code), "")
	u, err := w.account.Account(t.Context(), w.caller(made))
	w.ok(err)
	if u.Email != "Ada@Example.com" || u.Name != "Ada Lovelace" || !u.EmailVerified || !u.CreatedAt.Equal(w.now()) || u.ID != made.User.ID {
		t.Errorf("the account is %+v", u)
	}
	if !w.caller(made).EmailVerified {
		t.Error("a session that began before does not know that the address is verified")
	}
	if found, err := w.account.AnyUser(t.Context()); err != nil || !found {
		t.Errorf("there is no user: %v", err)
	}
}

// Pre-hijacking: whoever signs up with somebody else's address first gains nothing by it.
func ownerOfAnAddressWinsOverWhoSignedUpFirst(t *testing.T, w *world) {
	theirs := w.signUp("victim@example.com", "Mallory", wrong)
	before, _ := w.signIn("victim@example.com", wrong)
	w.pass(time.Hour)
	own := w.signUp("VICTIM@example.com", "Victoria", password)
	if own == "" || own == theirs {
		t.Fatalf("the owner's own sign-up mailed the code %q", own)
	}
	// Until a link is opened nothing changed hands.
	_, err := w.try("192.0.2.1", "victim@example.com", password, "")
	want(t, "the owner before they opened their link", err, problem.CredentialsWrong)
	w.ok(w.open(own))

	made, _ := w.signIn("victim@example.com", password)
	if made.User.Name != "Victoria" || !made.User.EmailVerified {
		t.Errorf("the account is %+v", made.User)
	}
	_, err = w.try("192.0.2.1", "victim@example.com", wrong, "")
	want(t, "the first one's password", err, problem.CredentialsWrong)
	if got := w.held(before); got != problem.SessionEnded {
		t.Errorf("the first one's session gets %q", got)
	}
	want(t, "the first one's link", w.open(theirs), problem.CodeInvalid)
	made, _ = w.signIn("victim@example.com", password)
	if made.User.Name != "Victoria" {
		t.Errorf("the account is %+v", made.User)
	}
	if n := w.count(`SELECT count(*) FROM users`); n != 1 {
		t.Errorf("there are %d accounts", n)
	}
}

// The other order: somebody signs up again with an address whose owner has a link already.
func ownLinkHoldsAlthoughSomebodySignedUpAfterwards(t *testing.T, w *world) {
	own := w.signUp("victim@example.com", "Victoria", password)
	made, _ := w.signIn("victim@example.com", password)
	w.pass(time.Hour)
	theirs := w.signUp("victim@example.com", "Mallory", wrong)
	_, err := w.try("192.0.2.1", "victim@example.com", wrong, "")
	want(t, "the other one before anything was verified", err, problem.CredentialsWrong)
	w.ok(w.open(own))
	if got := w.held(made); got != "" {
		t.Errorf("the owner's session gets %s, although their password is still the same", got)
	}
	want(t, "the other one's link", w.open(theirs), problem.CodeInvalid)
	_, err = w.try("192.0.2.1", "victim@example.com", wrong, "")
	want(t, "the other one's password", err, problem.CredentialsWrong)
	made, _ = w.signIn("victim@example.com", password)
	if made.User.Name != "Victoria" {
		t.Errorf("the account is %+v", made.User)
	}
}

func knownAddressAnswersAlikeAndTellsItsOwnerByMail(t *testing.T, w *world) {
	u := w.user("ada")
	hashes := w.account.HashesForTest()
	code := w.signUp("ADA@example.com", "Mallory", wrong)
	if n := w.account.HashesForTest() - hashes; n != 1 {
		t.Errorf("a sign-up with a known address costs %d hashes", n)
	}
	mails := w.mailbox.all()
	if code != "" || len(mails) != 1 || mails[0].To != "ada@example.com" || !strings.Contains(mails[0].Text, "You have an account already") || strings.Contains(mails[0].Text, "Mallory") {
		t.Errorf("the owner was mailed %+v", mails)
	}
	made, _ := w.signIn("ada@example.com", password)
	if made.User != u {
		t.Errorf("the account is %+v, was %+v", made.User, u)
	}
	_, err := w.try("192.0.2.1", "ada@example.com", wrong, "")
	want(t, "the password of who tried", err, problem.CredentialsWrong)

	hashes = w.account.HashesForTest()
	w.signUp("nobody@example.com", "Nobody", wrong)
	if n := w.account.HashesForTest() - hashes; n != 1 {
		t.Errorf("a sign-up with a new address costs %d hashes", n)
	}
	w.exec(`UPDATE users SET suspended_at = 1`)
	w.pass(time.Hour)
	for _, email := range []string{"ada@example.com", "nobody@example.com"} { // verified, and not
		if code := w.signUp(email, "Mallory", wrong); code != "" {
			t.Error("a suspended account can be signed up for again")
		}
	}
}

func signUpRefusesWhatItShould(t *testing.T, w *world) {
	long := strings.Repeat("x", 64) + "@" + strings.Repeat("d.", 93) + "de" // 253 bytes
	cases := map[string]struct {
		change func(*account.NewUser)
		fields []string
	}{
		"as it is":                        {func(*account.NewUser) {}, nil},
		"no address":                      {func(u *account.NewUser) { u.Email = "" }, []string{"body.email"}},
		"no at":                           {func(u *account.NewUser) { u.Email = "ada.example.com" }, []string{"body.email"}},
		"two ats":                         {func(u *account.NewUser) { u.Email = "a@b@example.com" }, []string{"body.email"}},
		"no local part":                   {func(u *account.NewUser) { u.Email = "@example.com" }, []string{"body.email"}},
		"no domain":                       {func(u *account.NewUser) { u.Email = "ada@" }, []string{"body.email"}},
		"a display name":                  {func(u *account.NewUser) { u.Email = "Ada <ada@example.com>" }, []string{"body.email"}},
		"angle brackets":                  {func(u *account.NewUser) { u.Email = "<ada@example.com>" }, []string{"body.email"}},
		"a comment":                       {func(u *account.NewUser) { u.Email = "ada(x)@example.com" }, []string{"body.email"}},
		"a quoted part":                   {func(u *account.NewUser) { u.Email = `"a b"@example.com` }, []string{"body.email"}},
		"an address literal":              {func(u *account.NewUser) { u.Email = "ada@[192.0.2.1]" }, []string{"body.email"}},
		"two addresses":                   {func(u *account.NewUser) { u.Email = "ada@example.com,eve@example.com" }, []string{"body.email"}},
		"a blank inside":                  {func(u *account.NewUser) { u.Email = "ada @example.com" }, []string{"body.email"}},
		"a line break and a header":       {func(u *account.NewUser) { u.Email = "ada@example.com\r\nBcc: eve@example.com" }, []string{"body.email"}},
		"a NUL":                           {func(u *account.NewUser) { u.Email = "ada\x00@example.com" }, []string{"body.email"}},
		"a plus":                          {func(u *account.NewUser) { u.Email = "ada+carnet@example.com" }, nil},
		"253 bytes":                       {func(u *account.NewUser) { u.Email = long }, nil},
		"255 bytes":                       {func(u *account.NewUser) { u.Email = "xy" + long }, []string{"body.email"}},
		"no name":                         {func(u *account.NewUser) { u.Name = " \t " }, []string{"body.name"}},
		"a name of 100":                   {func(u *account.NewUser) { u.Name = strings.Repeat("é", 100) }, nil},
		"a name of 101":                   {func(u *account.NewUser) { u.Name = strings.Repeat("é", 101) }, []string{"body.name"}},
		"a name with a line break":        {func(u *account.NewUser) { u.Name = "Ada\nBcc: eve@example.com" }, []string{"body.name"}},
		"a name that turns the text":      {func(u *account.NewUser) { u.Name = "Ada \u202egro.live" }, []string{"body.name"}},
		"a short password":                {func(u *account.NewUser) { u.Password = "too short" }, []string{"body.password"}},
		"nothing":                         {func(u *account.NewUser) { *u = account.NewUser{} }, []string{"body.email", "body.name", "body.password"}},
		"what the door could not read":    {func(u *account.NewUser) { u.Invalid = problem.Invalid("body", "bad") }, []string{"body"}},
		"a claim that it is verified yet": {func(u *account.NewUser) { u.Email, u.Verified = "eve@example.com", true }, nil},
	}
	for name, c := range cases {
		in := account.NewUser{Email: "ada@example.com", Name: "Ada", Password: password}
		c.change(&in)
		code := problem.ValidationFailed
		if c.fields == nil {
			code = ""
		}
		err := w.account.SignUp(t.Context(), in)
		want(t, name, err, code, c.fields...)
		if err != nil && (strings.Contains(err.Error(), "eve@") || strings.Contains(err.Error(), "too short")) {
			t.Errorf("%s: the error repeats what was sent: %v", name, err)
		}
	}
	if n := w.count(`SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL`); n != 0 {
		t.Error("a sign-up said itself that its address is verified")
	}
}

// Nobody can fill somebody's mailbox.
func mailsToOneAddressKeepAMinuteBetweenThem(t *testing.T, w *world) {
	w.user("ada")
	for what, email := range map[string]string{"a new address": "new@example.com", "a known address": "ada@example.com"} {
		mails := func() int {
			w.signUp(email, "Somebody", wrong)
			return len(w.mailbox.all())
		}
		if n := mails(); n != 1 {
			t.Errorf("%s: the first sign-up mailed %d", what, n)
		}
		w.pass(time.Minute - time.Microsecond)
		if n := mails(); n != 0 {
			t.Errorf("%s: a sign-up within the minute mailed %d", what, n)
		}
		w.pass(time.Microsecond)
		if n := mails(); n != 1 {
			t.Errorf("%s: a sign-up after a minute mailed %d", what, n)
		}
	}
}

func TestSignUpsFromOneAddressAreLimited(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		signUp := func(address string) error {
			return w.account.SignUp(w.from(address), account.NewUser{}) // invalid: costs neither hash nor mail
		}
		for range 3 {
			want(t, "within the limit", signUp("192.0.2.1"), problem.ValidationFailed)
		}
		if n := waits(t, "beyond the limit", signUp("192.0.2.1")); n < 20 || n > 21 {
			t.Errorf("it asks to wait %d seconds", n)
		}
		want(t, "from another address", signUp("192.0.2.2"), problem.ValidationFailed)
		want(t, "from nowhere", signUp(""), problem.ValidationFailed)
		for range 3 {
			want(t, "from an IPv6 address", signUp("2001:db8::1"), problem.ValidationFailed)
		}
		want(t, "from another of the same customer", signUp("2001:db8::2"), problem.RateLimited)
		want(t, "from another customer's", signUp("2001:db8:0:1::1"), problem.ValidationFailed)
		// The limit is one for everything that costs a hash or a mail.
		_, err := w.try("192.0.2.1", "ada@example.com", password, "")
		want(t, "a sign-in from there", err, problem.RateLimited)
		want(t, "a link from there", w.account.VerifyEmail(w.from("192.0.2.1"), "x", nil), problem.RateLimited)
		c := access.Caller{Kind: access.SessionCaller}
		want(t, "a fresh sign-in from there", w.account.Reauthenticate(w.from("192.0.2.1"), c, password, nil), problem.RateLimited)
		want(t, "a password change from there", w.account.ChangePassword(w.from("192.0.2.1"), c, account.PasswordChange{}), problem.RateLimited)
		w.pass(20 * time.Second)
		want(t, "a while later", signUp("192.0.2.1"), problem.ValidationFailed)
		want(t, "and again", signUp("192.0.2.1"), problem.RateLimited)
	}, func(c *account.Config) { c.SignInsPerMinute = 3 })
}

// Letters that fold to others (a long s to s, a ligature to its letters) make another mailbox that
// would count as the same account: a link that went to one must never verify the other.
func lookalikeAddressDoesNotVerifySomebodyElses(t *testing.T, w *world) {
	for _, lookalike := range []string{"\u017fam@example.com", "a\ufb01@example.com", "stra\u00dfe@example.com", "\u0130da@example.com"} {
		err := w.account.SignUp(t.Context(), account.NewUser{Email: lookalike, Name: "Mallory", Password: wrong})
		if err == nil {
			mails := w.mailbox.all()
			t.Errorf("the link for %q went to %q, and the account's key is %q", lookalike, mails[len(mails)-1].To, w.text(`SELECT email_key FROM users ORDER BY id DESC LIMIT 1`))
		}
	}
	for _, ordinary := range []string{"Élodie@example.com", "JÖRG@münchen.example", "ИВАН@example.com", "δοκιμή@example.com"} {
		want(t, "an ordinary address", w.account.SignUp(t.Context(), account.NewUser{Email: ordinary, Name: "A person", Password: wrong}), "")
	}
	// One text in two encodings is one address, and mail goes to the usual one.
	if code := w.signUp("e\u0301va@example.com", "Éva", password); code == "" {
		t.Fatal("no link was mailed")
	}
	if to := w.mailbox.all()[0].To; to != "\u00e9va@example.com" {
		t.Errorf("the link went to %+q", to)
	}
	_, err := w.try("", "\u00c9VA@example.com", password, "")
	want(t, "the same address with capital letters", err, "")
}

// Within the minute that mails to one address keep between them, a sign-up comes to nothing: it gives its sender nothing.
func signUpWithinTheMinuteChangesNothing(t *testing.T, w *world) {
	code := w.signUp("ada@example.com", "Ada", password)
	if again := w.signUp("ada@example.com", "Mallory", wrong); again != "" {
		t.Error("a second link was mailed")
	}
	if n := w.count(`SELECT count(*) FROM account_codes`); n != 1 {
		t.Errorf("there are %d codes", n)
	}
	w.ok(w.open(code))
	_, err := w.try("", "ada@example.com", wrong, "")
	want(t, "the second password", err, problem.CredentialsWrong)
	if made, _ := w.signIn("ada@example.com", password); made.User.Name != "Ada" {
		t.Errorf("the account is %+v", made.User)
	}
}

// What strangers type stands in the mail as text: it starts no line of its own, and no link of theirs is a line.
func mailOfASignUpQuotesTheName(t *testing.T, w *world) {
	name := `Ada", open https://evil.example/ or else "`
	w.signUp("ada@example.com", name, password)
	mails := w.mailbox.all()
	if len(mails) != 1 {
		t.Fatalf("it mailed %+v", mails)
	}
	m := mails[0]
	if !strings.Contains(m.Text, `as "Ada\", open https://evil.example/ or else \"", on 14 March 2026 at 09:26 UTC.`) || strings.Contains(m.Subject, "Ada") {
		t.Errorf("the mail is %q: %q", m.Subject, m.Text)
	}
	for _, line := range strings.Split(m.Text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "http") && !strings.HasPrefix(strings.TrimSpace(line), "https://carnet.example/verify-email?code=") {
			t.Errorf("a line is %q", line)
		}
	}
}
