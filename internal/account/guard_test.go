package account_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"carnet/internal/account"
	"carnet/internal/problem"
)

func TestGuessing(t *testing.T) {
	promises{
		{"guessing from one place is slowed more and more", guessingFromOnePlaceIsSlowedMoreAndMore},
		{"stranger cannot lock an owner out", strangerCannotLockAnOwnerOut},
		{"guessing from many places is slowed for at most five minutes", guessingFromManyPlacesIsSlowedForAtMostFiveMinutes},
		{"failures are forgotten after a day", failuresAreForgottenAfterADay},
		{"places are networks", placesAreNetworks},
		{"device counts apart where it is known", deviceCountsApartWhereItIsKnown},
		{"unknown address and wrong password are alike", unknownAddressAndWrongPasswordAreAlike},
		{"guesses at one address count together however it is written", guessesAtOneAddressCountTogetherHoweverItIsWritten},
		{"refused guessing is on record", refusedGuessingIsOnRecord},
		{"guesses at once are no way around the wait", guessesAtOnceAreNoWayAroundTheWait},
	}.hold(t)
}

// guess tries a wrong password n times from the address.
func (w *world) guess(n int, address, email, device string) {
	w.t.Helper()
	for i := range n {
		_, err := w.try(address, email, wrong, device)
		want(w.t, fmt.Sprintf("guess %d", i+1), err, problem.CredentialsWrong)
	}
}

// Ten tries are free; then a place waits 30 seconds, and twice as long after each further failure, up to an hour.
func guessingFromOnePlaceIsSlowedMoreAndMore(t *testing.T, w *world) {
	u := w.user("ada")
	w.guess(9, "192.0.2.1", u.Email, "")
	_, err := w.try("192.0.2.1", u.Email, wrong, "")
	want(t, "the tenth guess", err, problem.CredentialsWrong)
	for i, seconds := range []int{30, 60, 120, 240, 480, 960, 1920, 3600, 3600} {
		what := fmt.Sprintf("wait %d", i+1)
		_, err := w.try("192.0.2.1", u.Email, password, "")
		if n := waits(t, what+", even with the right password", err); n != seconds {
			t.Errorf("%s is of %d seconds, not %d", what, n, seconds)
		}
		w.pass(time.Duration(seconds)*time.Second - time.Microsecond)
		_, err = w.try("192.0.2.77", u.Email, password, "")
		if n := waits(t, what+", a microsecond before its end, from the same network", err); n != 1 {
			t.Errorf("%s: at its end it asks to wait %d seconds", what, n)
		}
		w.pass(time.Microsecond)
		_, err = w.try("192.0.2.1", u.Email, wrong, "")
		want(t, what+" is over", err, problem.CredentialsWrong)
	}
	// Another account is another matter.
	w.user("eve")
	_, err = w.try("192.0.2.1", "eve@example.com", password, "")
	want(t, "another account from there", err, "")
	w.pass(time.Hour)
	_, err = w.try("192.0.2.1", u.Email, password, "")
	want(t, "the right password after the wait", err, "")
	if n := w.count(`SELECT count(*) FROM signin_failures`); n != 0 {
		t.Errorf("after a success %d counts are left", n)
	}
	w.guess(10, "192.0.2.1", u.Email, "")
}

// A stranger who guesses at somebody's account slows nobody but themselves.
func strangerCannotLockAnOwnerOut(t *testing.T, w *world) {
	u := w.user("ada")
	first, err := w.try("198.51.100.1", u.Email, password, "")
	w.ok(err)
	w.guess(10, "192.0.2.1", u.Email, "")
	_, err = w.try("192.0.2.1", u.Email, password, "")
	want(t, "the stranger's network", err, problem.RateLimited)
	_, err = w.try("198.51.100.1", u.Email, password, "")
	want(t, "the owner's network", err, "")
	again, err := w.try("192.0.2.1", u.Email, password, first.Device)
	want(t, "the owner's device in the stranger's network", err, "")
	if again.Device != first.Device {
		t.Error("a known device got another name")
	}

	// The stranger has many networks: unknown places wait, but not for long, and known devices not at all.
	for i := range 10 {
		w.guess(9, fmt.Sprintf("203.0.%d.1", i), u.Email, "")
	}
	w.guess(9, "203.0.10.1", u.Email, "") // 99 in all
	_, err = w.try("203.0.11.1", u.Email, wrong, "")
	want(t, "the hundredth guess", err, problem.CredentialsWrong)
	_, err = w.try("203.0.12.1", u.Email, password, "")
	if n := waits(t, "a fresh network after a hundred guesses", err); n != 30 {
		t.Errorf("it asks to wait %d seconds", n)
	}
	_, err = w.try("203.0.12.1", u.Email, password, first.Device)
	want(t, "the owner's device", err, "")
	_, err = w.try("203.0.12.1", u.Email, password, "")
	want(t, "a fresh network, now that the owner has come", err, "")
}

func guessingFromManyPlacesIsSlowedForAtMostFiveMinutes(t *testing.T, w *world) {
	u := w.user("ada")
	w.guess(1, "203.0.0.1", u.Email, "")
	w.exec(`UPDATE signin_failures SET failures = 99 WHERE source = 'everywhere'`)
	w.guess(1, "203.0.1.1", u.Email, "")
	for i, seconds := range []int{30, 60, 120, 240, 300, 300} {
		address := fmt.Sprintf("203.1.%d.1", i)
		_, err := w.try(address, u.Email, password, "")
		if n := waits(t, "a fresh network", err); n != seconds {
			t.Errorf("wait %d is of %d seconds, not %d", i+1, n, seconds)
		}
		w.pass(time.Duration(seconds)*time.Second - time.Microsecond)
		_, err = w.try(address, u.Email, password, "")
		waits(t, "a microsecond before the end", err)
		w.pass(time.Microsecond)
		w.guess(1, address, u.Email, "")
	}
}

// A day without a failure ends the counting.
func failuresAreForgottenAfterADay(t *testing.T, w *world) {
	u := w.user("ada")
	w.guess(9, "192.0.2.1", u.Email, "")
	w.pass(24*time.Hour + time.Microsecond)
	w.guess(9, "192.0.2.1", u.Email, "")
	_, err := w.try("192.0.2.1", u.Email, password, "")
	want(t, "after nine failures on each of two days", err, "")

	w.guess(9, "192.0.2.1", u.Email, "")
	w.pass(24 * time.Hour)
	w.guess(1, "192.0.2.1", u.Email, "")
	_, err = w.try("192.0.2.1", u.Email, password, "")
	want(t, "after ten failures within a day of each other", err, problem.RateLimited)
}

// Whoever has one address of a network can have the others: of IPv4 a /24, of IPv6 a /64.
func placesAreNetworks(t *testing.T, w *world) {
	for name, c := range map[string]struct{ guesses, same, other string }{
		"ivy":  {"192.0.2.1", "192.0.2.254", "192.0.3.1"},
		"six":  {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"},
		"zero": {"", "", "192.0.2.1"},
	} {
		u := w.user(name)
		w.guess(10, c.guesses, u.Email, "")
		_, err := w.try(c.same, u.Email, password, "")
		want(t, name+" from the same network", err, problem.RateLimited)
		_, err = w.try(c.other, u.Email, password, "")
		want(t, name+" from another one", err, "")
	}
}

// A device is known to the accounts that signed in from it, and to no other.
func deviceCountsApartWhereItIsKnown(t *testing.T, w *world) {
	ada, eve := w.user("ada"), w.user("eve")
	made, err := w.try("198.51.100.1", ada.Email, password, "")
	w.ok(err)
	// Guesses from a known device slow that device alone.
	w.guess(10, "198.51.100.1", ada.Email, made.Device)
	_, err = w.try("198.51.100.1", ada.Email, password, made.Device)
	want(t, "the device", err, problem.RateLimited)
	_, err = w.try("198.51.100.1", ada.Email, password, "")
	want(t, "its network", err, "")
	// Made-up devices and those of other accounts are strangers, so that they open no way around.
	for i, device := range []string{made.Device, "made up", strings.Repeat("x", 1000), "made up too", "", "\x00", "device", "A", "B", "C"} {
		_, err := w.try("192.0.2.1", eve.Email, wrong, device)
		want(t, fmt.Sprintf("guess %d", i+1), err, problem.CredentialsWrong)
	}
	for _, device := range []string{made.Device, "made up", "new", ""} {
		_, err = w.try("192.0.2.1", eve.Email, password, device)
		want(t, "a device that the account does not know", err, problem.RateLimited)
	}
	w.keepsNothingOf(map[string]string{"a device": made.Device})
}

// Nobody learns from sign-in whether an address has an account: same answer, same work, same waits.
func unknownAddressAndWrongPasswordAreAlike(t *testing.T, w *world) {
	w.user("ada")
	gone := w.user("gone")
	w.ok(w.write(suspend(w, gone.ID)))
	w.signUp("unverified@example.com", "Una", password)
	var answers []string
	for _, c := range []struct{ email, password string }{
		{"ada@example.com", wrong}, {"nobody@example.com", wrong}, {"gone@example.com", wrong}, {"gone@example.com", password},
		{"unverified@example.com", wrong}, {"not an address", wrong}, {"", ""}, {"ada@example.com", ""}, {"nobody@example.com", strings.Repeat("x", 5000)}, {"ada@example.com", strings.Repeat("x", 5000)},
	} {
		hashes, counts := w.account.HashesForTest(), w.count(`SELECT coalesce(sum(failures), 0) FROM signin_failures`)
		_, err := w.try("192.0.2.1", c.email, c.password, "")
		want(t, c.email, err, problem.CredentialsWrong)
		answers = append(answers, err.Error())
		if n := w.account.HashesForTest() - hashes; n != 1 {
			t.Errorf("%s costs %d hashes", c.email, n)
		}
		if n := w.count(`SELECT coalesce(sum(failures), 0) FROM signin_failures`) - counts; n != 2 {
			t.Errorf("%s counts as %d failures", c.email, n)
		}
	}
	for _, answer := range answers {
		if answer != answers[0] {
			t.Errorf("the answers differ: %q and %q", answers[0], answer)
		}
	}
	// Waiting tells nothing either.
	var waiting []int
	for _, email := range []string{"someone@example.com", "ada@example.com"} {
		w.exec(`DELETE FROM signin_failures`)
		w.guess(10, "192.0.2.1", email, "")
		hashes := w.account.HashesForTest()
		_, err := w.try("192.0.2.1", email, wrong, "")
		waiting = append(waiting, waits(t, email, err))
		if n := w.account.HashesForTest() - hashes; n != 0 {
			t.Errorf("%s costs %d hashes while it has to wait", email, n)
		}
	}
	if waiting[0] != waiting[1] {
		t.Errorf("the waits differ: %v", waiting)
	}
	// The counts are kept under digests: what strangers type is no business of ours.
	w.guess(1, "192.0.2.1", "stranger@elsewhere.test", "")
	w.keepsNothingOf(map[string]string{"an address without an account": "stranger@elsewhere", "its name": "elsewhere.test"})
}

// An account is one account, however its address is written.
func guessesAtOneAddressCountTogetherHoweverItIsWritten(t *testing.T, w *world) {
	w.user("ada")
	for _, email := range []string{"ada@example.com", "ADA@example.com", " ada@example.com", "Ada@Example.Com ", "aDa@example.com"} {
		w.guess(2, "192.0.2.1", email, "")
	}
	_, err := w.try("192.0.2.1", "adA@example.com", password, "")
	want(t, "the eleventh", err, problem.RateLimited)
}

func refusedGuessingIsOnRecord(t *testing.T, w *world) {
	u := w.user("ada")
	w.recorded("nine guesses", func() { w.guess(9, "192.0.2.1", u.Email, "") })
	w.recorded("the tenth", func() { w.guess(1, "192.0.2.1", u.Email, "") }, "session.refused denied")
	address := w.text(`SELECT address FROM audit_events WHERE action = 'session.refused'`)
	if netip.MustParseAddr(address) != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("it is recorded from %s", address)
	}
}

func TestSignInsFromOneAddressAreLimited(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.user("ada")
		for i := range 30 {
			_, err := w.try("192.0.2.1", fmt.Sprintf("nobody%d@example.com", i), wrong, "")
			want(t, "a try", err, problem.CredentialsWrong)
		}
		_, err := w.try("192.0.2.1", "ada@example.com", password, "")
		if n := waits(t, "the next", err); n != 3 {
			t.Errorf("it asks to wait %d seconds", n)
		}
		w.pass(2 * time.Second)
		_, err = w.try("192.0.2.1", "ada@example.com", password, "")
		want(t, "two seconds later", err, "")
		_, err = w.try("192.0.2.1", "ada@example.com", password, "")
		want(t, "right after that", err, problem.RateLimited)
	}, func(c *account.Config) { c.SignInsPerMinute = 0 })
}

// Tries at once are as many as tries in a row: who sends a hundred together learns no more than who sends one.
func guessesAtOnceAreNoWayAroundTheWait(t *testing.T, w *world) {
	u := w.user("ada")
	w.guess(9, "192.0.2.1", u.Email, "")
	burst := func(password string, n int, meanwhile func()) (errs []error) {
		running, _, _ := w.account.TurnsForTest()
		var leave []func()
		for range running {
			l, err := w.account.OccupyForTest(t.Context())
			w.ok(err)
			leave = append(leave, l)
		}
		results := make(chan error)
		for range n {
			go func() {
				_, err := w.try("192.0.2.1", u.Email, password, "")
				results <- err
			}()
		}
		w.waiting(running + n)
		meanwhile()
		for _, l := range leave {
			l()
		}
		for range n {
			errs = append(errs, <-results)
		}
		return errs
	}
	told := 0
	for _, err := range burst(wrong, 8, func() {}) {
		if problem.Is(err, problem.CredentialsWrong) {
			told++
		} else if n := waits(t, "a guess too many", err); n != 30 {
			t.Errorf("it asks to wait %d seconds", n)
		}
	}
	if told != 1 {
		t.Errorf("of the tries at once, %d were told that they are wrong", told)
	}
	w.pass(30 * time.Second)
	block := func() { w.exec(`UPDATE signin_failures SET blocked_until = $1`, w.now().Add(time.Minute).UnixMicro()) }
	err := burst(password, 1, block)[0]
	if n := waits(t, "the right password, after others failed meanwhile", err); n != 60 {
		t.Errorf("it asks to wait %d seconds", n)
	}
}
