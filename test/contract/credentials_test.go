package contract_test

import (
	"encoding/base64"
	"hash/crc32"
	"strings"
	"testing"

	"carnet/token"
)

// credentials: what does not hold is 401, told apart only as far as the contract says, and before everything else.
func (w *world) credentials(t *testing.T) {
	unknown := token.Mint(token.Personal)
	agent, session := token.Mint(token.Agent), token.Mint(token.Session)
	// The lookup id of a real token with another secret, and a checksum that fits.
	grafted := checksummed(w.token[:token.PrefixLength+1] + unknown.Reveal()[token.PrefixLength+1:])
	flipped := w.token[:len(w.token)-1] + other(w.token[len(w.token)-1])
	basic := base64.StdEncoding.EncodeToString([]byte("maya:" + w.token))

	if _, err := token.Parse(grafted); err != nil {
		t.Fatal(err)
	}

	type presented struct {
		name    string
		headers []string
		query   string
		code    string
	}
	bearer := func(value string) []string { return []string{"Authorization", value} }
	var attempts []attempt
	for _, p := range []presented{
		{"none", nil, "", "credential_missing"},
		{"empty header", bearer(""), "", "credential_missing"},
		{"basic", bearer("Basic " + basic), "", "credential_missing"},
		{"digest", bearer(`Digest username="maya", response="` + w.token + `"`), "", "credential_missing"},
		{"token scheme", bearer("token " + w.token), "", "credential_missing"},
		{"no scheme", bearer(w.token), "", "credential_missing"},
		{"scheme that only begins like Bearer", bearer("Bearers " + w.token), "", "credential_missing"},
		{"in the query as access_token", nil, "?access_token=" + w.token, "credential_missing"},
		{"in the query as token", nil, "?token=" + w.token, "credential_missing"},
		{"in an API key header", []string{"X-Api-Key", w.token}, "", "credential_missing"},
		{"token in the session's cookie", []string{"Cookie", "carnet_session=" + w.token}, "", "credential_missing"},
		{"rubbish in the session's cookie", []string{"Cookie", "carnet_session=" + mark}, "", "credential_missing"},
		{"unknown session in the cookie", []string{"Cookie", "carnet_session=" + session.Reveal()}, "", "token_invalid"},
		{"two sessions in cookies", []string{"Cookie", "carnet_session=" + w.owner.credential + "; carnet_session=" + w.member.credential}, "", "token_invalid"},
		{"only the scheme", bearer("Bearer"), "", "token_invalid"},
		{"the scheme and a space", bearer("Bearer "), "", "token_invalid"},
		{"malformed", bearer("Bearer " + mark), "", "token_invalid"},
		{"a JWT", bearer("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYXlhIn0."), "", "token_invalid"},
		{"another product's", bearer("Bearer ghp_" + strings.Repeat("a", 36)), "", "token_invalid"},
		{"unknown", bearer("Bearer " + unknown.Reveal()), "", "token_invalid"},
		{"unknown agent's", bearer("Bearer " + agent.Reveal()), "", "token_invalid"},
		{"unknown session", bearer("Bearer " + session.Reveal()), "", "token_invalid"},
		{"wrong secret", bearer("Bearer " + grafted), "", "token_invalid"},
		{"wrong checksum", bearer("Bearer " + flipped), "", "token_invalid"},
		{"cut by one", bearer("Bearer " + w.token[:len(w.token)-1]), "", "token_invalid"},
		{"only its prefix", bearer("Bearer " + w.token[:token.PrefixLength]), "", "token_invalid"},
		{"longer by one", bearer("Bearer " + w.token + "a"), "", "token_invalid"},
		{"another kind's name in front", bearer("Bearer carnet_agt_" + w.token[token.KindLength:]), "", "token_invalid"},
		{"in capitals", bearer("Bearer " + strings.ToUpper(w.token)), "", "token_invalid"},
		{"in quotes", bearer(`Bearer "` + w.token + `"`), "", "token_invalid"},
		{"two values", bearer("Bearer " + w.token + " " + w.token), "", "token_invalid"},
		{"two values with a comma", bearer("Bearer " + w.token + ", Bearer " + w.token), "", "token_invalid"},
		{"two headers", []string{"Authorization", "Bearer " + w.token, "Authorization", "Bearer " + w.token}, "", "token_invalid"},
		{"two headers of which one is Basic", []string{"Authorization", "Basic " + basic, "Authorization", "Bearer " + w.token}, "", "token_invalid"},
		{"a bearer that does not hold beside a cookie that does", []string{"Authorization", "Bearer " + unknown.Reveal(), "Cookie", "carnet_session=" + w.owner.credential}, "", "token_invalid"},
		{"very long", bearer("Bearer " + strings.Repeat("a", 20_000)), "", "token_invalid"},
		{"letters beyond ASCII", bearer("Bearer " + w.token[:20] + "é" + w.token[21:]), "", "token_invalid"},
	} {
		for _, at := range [][2]string{{"GET", "/tasks"}, {"POST", "/tokens"}} {
			attempts = append(attempts, attempt{
				name: at[0] + " with " + p.name, as: who{"", ours}, method: at[0], path: at[1] + p.query, headers: p.headers, status: 401, code: p.code,
			})
		}
	}
	w.refuse(t, attempts)

	t.Run("what holds", func(t *testing.T) {
		for name, headers := range map[string][]string{
			"lower case":              {"Authorization", "bearer " + w.token},
			"capitals":                {"Authorization", "BEARER " + w.token},
			"more spaces":             {"Authorization", "Bearer   " + w.token},
			"spaces behind":           {"Authorization", "Bearer " + w.token + "  "},
			"session as bearer":       {"Authorization", "Bearer " + w.owner.credential},
			"session in the cookie":   {"Cookie", "carnet_session=" + w.owner.credential},
			"bearer wins over cookie": {"Authorization", "Bearer " + w.token, "Cookie", "carnet_session=" + session.Reveal()},
		} {
			t.Run(name, func(t *testing.T) { w.send(t, who{"", ours}, "GET", "/tasks", nil, headers...).want(t, 200) })
		}
	})

	t.Run("unknown and wrong are told alike", func(t *testing.T) {
		want := w.send(t, who{credential: unknown.Reveal()}, "GET", "/tasks", nil)
		for name, value := range map[string]string{"malformed": mark, "wrong secret": grafted, "wrong checksum": flipped, "unknown session": session.Reveal()} {
			same(t, name, want, w.send(t, who{credential: value}, "GET", "/tasks", nil))
		}
	})
}

// order: of several things that are wrong, the one is told that comes first in the contract, so that nobody learns of the
// later ones what is not theirs to know.
func (w *world) order(t *testing.T) {
	const absent = "/tasks/tsk_00000000000000000000000000"
	bad := `{"title": ` // no JSON
	unknown := who{token.Mint(token.Personal).Reveal(), ours}
	reader, writer := who{credential: w.reading}, who{credential: w.token}
	stale := []string{"If-Match", `"99"`}
	w.refuse(t, []attempt{
		{name: "credential before all else", as: unknown, method: "PATCH", path: absent, body: bad, headers: stale, status: 401, code: "token_invalid"},
		{name: "credential before the media type", as: w.nobody, method: "PATCH", path: absent, body: bad, headers: []string{"Content-Type", "text/plain"}, status: 401, code: "credential_missing"},
		{name: "credential before the organization", as: who{organization: theirs}, method: "GET", path: "/tasks", status: 401, code: "credential_missing"},
		{name: "kind before the body", as: writer, method: "POST", path: "/tokens", body: bad, status: 403, code: "signin_required"},
		{name: "kind before absence", as: writer, method: "DELETE", path: "/tokens/tok_00000000000000000000000000", status: 403, code: "signin_required"},
		{name: "kind before the absent organization", as: writer, method: "GET", path: "/organizations/" + theirs, status: 403, code: "signin_required"},
		{name: "kind before the query", as: writer, method: "GET", path: "/tokens?limit=0", status: 403, code: "signin_required"},
		{name: "kind, whatever the scopes, for sharing", as: who{credential: w.scoped}, method: "PUT", path: "/projects/" + w.project + "/members/" + w.memberID, body: bad, status: 403, code: "signin_required"},
		{name: "scope before absence", as: reader, method: "PATCH", path: absent, body: bad, headers: stale, status: 403, code: "scope_missing", says: "tasks:write"},
		{name: "scope before another organization", as: reader, method: "PATCH", path: "/tasks/" + w.theirTask, body: bad, status: 403, code: "scope_missing"},
		{name: "scope before the organization's header", as: who{w.reading, theirs}, method: "GET", path: "/projects", status: 403, code: "scope_missing", says: "projects:read"},
		{name: "scope before the query", as: reader, method: "GET", path: "/members?limit=0", status: 403, code: "scope_missing", says: "members:read"},
		{name: "another organization before the query", as: who{w.reading, theirs}, method: "GET", path: "/tasks?limit=0", status: 404, code: "not_found"},
		{name: "made-up organization before the body", as: who{w.token, mark}, method: "POST", path: "/projects/" + w.project + "/tasks", body: bad, status: 404, code: "not_found"},
		{name: "session in another organization before the body", as: who{w.owner.credential, theirs}, method: "POST", path: "/projects/" + w.project + "/tasks", body: bad, status: 404, code: "not_found"},
		{name: "the organization's header before the body", as: w.owner.without(), method: "POST", path: "/projects", body: bad, status: 400, code: "organization_required"},
		{name: "an empty organization is none", as: w.owner.without(), method: "GET", path: "/projects", headers: []string{"Carnet-Organization", ""}, status: 400, code: "organization_required"},
		{name: "two organizations", as: w.owner, method: "GET", path: "/projects", headers: []string{"Carnet-Organization", ours, "Carnet-Organization", ours}, status: 400, code: "request_malformed"},
		{name: "absence before the body", as: writer, method: "PATCH", path: absent, body: bad, headers: stale, status: 404, code: "not_found"},
		{name: "absence before the media type", as: writer, method: "PATCH", path: absent, body: bad, headers: []string{"Content-Type", "text/plain"}, status: 404, code: "not_found"},
		{name: "absence before the size", as: writer, method: "PATCH", path: absent, body: strings.Repeat(" ", 1<<20+1), status: 404, code: "not_found"},
		{name: "absence before the query", as: w.owner, method: "GET", path: "/organizations/" + theirs + "/members?limit=0", status: 404, code: "not_found"},
		{name: "an absent project before the query", as: writer, method: "GET", path: "/projects/" + w.theirProject + "/tasks?limit=0", status: 404, code: "not_found"},
		{name: "an absent task before the query of its comments", as: w.owner, method: "GET", path: "/tasks/" + w.theirTask + "/comments?limit=0", status: 404, code: "not_found"},
		{name: "a private project before the body", as: w.member, method: "PATCH", path: "/projects/" + w.private, body: bad, status: 404, code: "not_found"},
		{name: "absence before the idempotency key", as: writer, method: "PATCH", path: absent, body: `{"title":"x"}`, headers: []string{"Idempotency-Key", strings.Repeat("k", 300)}, status: 404, code: "not_found"},
		{name: "role before the body", as: w.member, method: "PATCH", path: "/projects/" + w.project, body: bad, headers: stale, status: 403, code: "role_insufficient", says: "projects:write"},
		{name: "role before the version", as: w.member, method: "DELETE", path: "/projects/" + w.project, headers: stale, status: 403, code: "role_insufficient"},
		{name: "role of a guest before the body", as: w.guest, method: "POST", path: "/projects", body: bad, status: 403, code: "role_insufficient", says: "projects:create"},
		{name: "role in the organization before the body", as: w.member, method: "PATCH", path: "/organizations/" + ours, body: bad, status: 403, code: "role_insufficient"},
		{name: "an unrestricted token before the body", as: who{credential: w.scoped}, method: "POST", path: "/projects", body: bad, status: 403, code: "project_restricted"},
		{name: "verified address before the body", as: w.unverified, method: "POST", path: "/tokens", body: bad, status: 403, code: "email_unverified"},
		{name: "body before the version", as: writer, method: "PATCH", path: "/tasks/" + w.task, body: bad, headers: stale, status: 400, code: "request_malformed"},
		{name: "validation before the version", as: writer, method: "PATCH", path: "/tasks/" + w.task, body: `{"title":""}`, headers: stale, status: 422, code: "validation_failed"},
		{name: "version at last", as: writer, method: "PATCH", path: "/tasks/" + w.task, body: `{"title":"x"}`, headers: stale, status: 412, code: "version_stale"},
	})
}

// other returns a letter that is not c.
func other(c byte) string {
	if c == 'a' {
		return "b"
	}
	return "a"
}

// checksummed returns a value with the checksum that fits what is in front of it, as a scanner of secrets computes it.
func checksummed(value string) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	value = value[:token.ValueLength-token.ChecksumLength]
	sum, out := crc32.ChecksumIEEE([]byte(value)), make([]byte, token.ChecksumLength)
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = alphabet[sum%62]
		sum /= 62
	}
	return value + string(out)
}

// same checks that two answers differ in nothing but the request.
func same(t *testing.T, name string, a, b *answer) {
	t.Helper()
	bodyOf := func(x *answer) string {
		return strings.ReplaceAll(string(x.body), x.header.Get("X-Request-Id"), "")
	}
	if a.status != b.status || bodyOf(a) != bodyOf(b) {
		t.Errorf("%s: %s is answered unlike %s:\n%d %s\n%d %s", name, b.what, a.what, b.status, b.body, a.status, a.body)
	}
	for header := range a.header {
		if header != "X-Request-Id" && header != "Date" && a.header.Get(header) != b.header.Get(header) {
			t.Errorf("%s: %s: %s is %q for one and %q for the other", name, a.what, header, a.header.Get(header), b.header.Get(header))
		}
	}
	if len(a.header) != len(b.header) {
		t.Errorf("%s: %s: the headers are %v and %v", name, a.what, a.header, b.header)
	}
}
