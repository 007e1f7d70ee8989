package contract_test

import (
	"strconv"
	"testing"

	"carnet/test/harness"
)

// limited checks a refusal that tells when to come back.
func limited(t *testing.T, a *answer, limit, longest int) {
	t.Helper()
	if a.status != 429 || a.code() != "rate_limited" {
		t.Errorf("%s: %d %s, want 429 rate_limited", a.what, a.status, a.body)
		return
	}
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > longest {
		t.Errorf("%s: wait %q seconds, want 1 to %d", a.what, a.header.Get("Retry-After"), longest)
	}
	for header, want := range map[string]string{"RateLimit-Limit": strconv.Itoa(limit), "RateLimit-Remaining": "0", "RateLimit-Reset": a.header.Get("Retry-After")} {
		if got := a.header.Get(header); got != want {
			t.Errorf("%s: %s is %q, not %q", a.what, header, got, want)
		}
	}
}

func (w *world) tryPassword(t *testing.T, email, password string) *answer {
	t.Helper()
	return w.send(t, w.nobody, "POST", "/auth/sign-in", map[string]any{"email": email, "password": password, "as": "bearer"})
}

// guessing: wrong passwords make their source wait, and say nothing about who has an account.
func (w *world) guessing(t *testing.T) {
	const stranger = "nobody@example.com"
	wrong := "not " + harness.Password + mark
	for range 10 {
		a, b := w.tryPassword(t, una, wrong), w.tryPassword(t, stranger, wrong)
		if a.status != 401 || a.code() != "credentials_wrong" {
			t.Fatalf("%s: %d %s", a.what, a.status, a.body)
		}
		same(t, "an address without an account", a, b)
	}
	a, b := w.tryPassword(t, una, harness.Password), w.tryPassword(t, stranger, harness.Password)
	limited(t, a, 10, 60)
	limited(t, b, 10, 60)
	w.signIn(t, maya, ours) // nobody else waits
	w.get(t, w.unverified, "/account")
}

// limits: on a server with small ones, those who come too often are told when to come back, and nothing else is slowed.
func (w *world) limits(t *testing.T) {
	s := harness.Start(t, harness.Args("--sign-in-limit", "4", "--token-limit", "2", "--no-access-log"))
	small := &world{server: s, http: w.http, document: w.document}
	s.CreateUser(maya, "Maya Lindqvist")
	s.CreateOrganization(ours, "Northwind Studio", maya, "team")
	owner := small.signIn(t, maya, ours)

	body := draft(nil)
	_, value := small.issue(t, owner, nil, "tasks:read")
	first := small.send(t, owner, "POST", "/tokens", body, "Idempotency-Key", "k").want(t, 201)
	limited(t, small.send(t, owner, "POST", "/tokens", body), 2, 3600)
	limited(t, small.send(t, owner, "POST", "/tokens", body, "Idempotency-Key", "l"), 2, 3600)
	limited(t, small.send(t, owner, "POST", "/tokens", body, "Idempotency-Key", "l"), 2, 3600) // it is not kept
	if again := small.send(t, owner, "POST", "/tokens", body, "Idempotency-Key", "k").want(t, 201); again.text(t, "token", "id") != first.text(t, "token", "id") {
		t.Errorf("a repetition made another token: %s", again.body)
	}
	if bad := small.send(t, owner, "POST", "/tokens", draft(map[string]any{"scopes": []string{mark}})); bad.status != 422 {
		t.Errorf("what is wrong with a body comes before the limit: %d", bad.status)
	}
	small.send(t, owner, "POST", "/tokens/preview", body).want(t, 200)
	if n := len(small.get(t, owner, "/tokens").at("items").([]any)); n != 2 {
		t.Errorf("there are %d tokens", n)
	}

	var last *answer
	for range 5 {
		last = small.tryPassword(t, maya, "wrong "+mark)
	}
	limited(t, last, 4, 60)
	limited(t, small.tryPassword(t, maya, harness.Password), 4, 60)
	limited(t, small.tryPassword(t, "nobody@example.com", "wrong"), 4, 60)
	limited(t, small.send(t, small.nobody, "POST", "/auth/sign-up", map[string]any{"email": "new@example.com", "name": "New", "password": harness.Password}), 4, 60)
	limited(t, small.send(t, small.nobody, "POST", "/auth/verify-email", map[string]any{"code": mark}), 4, 60)
	limited(t, small.send(t, owner, "POST", "/auth/reauthenticate", map[string]any{"password": harness.Password}), 4, 60)
	limited(t, small.send(t, owner, "POST", "/account/password", map[string]any{"current": harness.Password, "new": "seventeen silent submarines"}), 4, 60)
	// A header that anybody can write does not make another address.
	limited(t, small.send(t, small.nobody, "POST", "/auth/sign-in", map[string]any{"email": maya, "password": harness.Password}, "X-Forwarded-For", "203.0.113.9"), 4, 60)
	for range 50 {
		small.send(t, who{credential: value}, "GET", "/tasks", nil).want(t, 200)
	}
}
