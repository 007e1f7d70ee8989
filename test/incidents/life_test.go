package incidents_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite" // writes into the file of a stopped server

	"carnet/test/harness"
)

// GO-2026-5708 (Grafana: minted seconds after the permission had ended) and keycloak #51312 (a refresh races a
// revocation): whatever is created or rotated while its user loses the right, no value survives the call that took it.
func TestNothingMintedInARaceSurvives(t *testing.T) {
	t.Parallel()
	w := start(t)
	values := func(answers []*harness.Answer) (all []string) {
		for _, a := range answers {
			if a != nil && a.Status < 300 {
				all = append(all, a.Text("value"))
			}
		}
		return all
	}
	race := func(mint func(i int) *harness.Answer, end func()) []string {
		answers := make([]*harness.Answer, 8)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = mint(i) })
		}
		all.Go(func() {
			time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
			end()
		})
		all.Wait()
		return values(answers)
	}
	anonymous := w.Anonymous()
	minted := 0
	for range harness.Rounds(15, 300) {
		id, value := w.session.CreateToken(organization, []string{"tasks:read"}, nil)
		got := race(func(int) *harness.Answer {
			return w.session.Do("POST", "/tokens/"+id+"/rotate", map[string]any{"grace_seconds": 3600})
		}, func() { w.session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK) })
		minted += len(got)
		for _, v := range append(got, value) {
			anonymous.With(v).Do("GET", "/me", nil).Want(http.StatusUnauthorized)
		}
	}
	if minted == 0 {
		t.Error("no rotation ever came before its revocation")
	}
	minted = 0
	for round := range harness.Rounds(6, 60) {
		email := fmt.Sprintf("racer-%d@example.com", round)
		racer := w.person(email, "member")
		ended := []func(){
			func() { w.Operate("", "suspend-user", "--email", email) },
			func() { w.Operate("", "remove-member", "--org", organization, "--email", email) },
		}[round%2]
		got := race(func(i int) *harness.Answer {
			time.Sleep(time.Duration(i*rand.IntN(8)) * time.Millisecond)
			return racer.Do("POST", "/tokens", map[string]any{"name": "Raced", "organization": organization, "scopes": []string{"tasks:read"}})
		}, ended)
		minted += len(got)
		for _, v := range got {
			anonymous.With(v).Do("GET", "/me", nil).WantCode(http.StatusForbidden, "token_inert")
		}
		if late := racer.Do("POST", "/tokens", map[string]any{"name": "Late", "organization": organization, "scopes": []string{"tasks:read"}}); late.Status < 400 {
			t.Errorf("a token was created after its user had lost the right: %d", late.Status)
		}
	}
	if minted == 0 {
		t.Error("no creation ever came before its user lost the right")
	}
}

// GO-2026-4849, GO-2025-3731, GO-2025-4137 and CVE-2026-95754: a suspended person is out at every door with the next
// request. GO-2026-6056 and 6078 (Gitea: signing in another way re-enabled): and stays out whatever they try.
func TestSuspendedPersonIsOutAtEveryDoorAndStaysOut(t *testing.T) {
	t.Parallel()
	w := start(t)
	const email = "gone@example.com"
	session := w.person(email, "admin")
	_, value := session.CreateToken(organization, allScopes, nil)
	cookie := w.cookie(t, email)
	home := t.TempDir()
	env := []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home, "CARNET_URL=" + w.URL}
	if out, errs, code := harness.Command(t, env, harness.Password+"\n", "login", "--email", email); code != 0 {
		t.Fatal(out, errs)
	}
	in := func(want bool) {
		t.Helper()
		for door, inside := range map[string]bool{
			"session":      session.Do("GET", "/account", nil).Status == http.StatusOK,
			"token":        w.Anonymous().With(value).Do("GET", "/me", nil).Status == http.StatusOK,
			"page":         w.page(t, cookie, "/settings/developer") == http.StatusOK,
			"command line": func() bool { _, _, code := harness.Command(t, env, "", "whoami"); return code == 0 }(),
		} {
			if inside != want {
				t.Errorf("by %s: inside is %t, want %t", door, inside, want)
			}
		}
	}
	in(true)
	w.Operate("", "suspend-user", "--email", email)
	in(false)
	anonymous := w.Anonymous()
	credentials := map[string]any{"email": email, "password": harness.Password, "as": "bearer"}
	tries := map[string]func(){
		"signing in": func() {
			if a := anonymous.Do("POST", "/auth/sign-in", credentials); a.Status < 400 {
				t.Errorf("a suspended person signs in: %s", a.Body)
			}
		},
		"signing up again": func() {
			anonymous.Do("POST", "/auth/sign-up", map[string]any{"email": email, "name": "Back Again", "password": "another quite long password"})
		},
		"another verification": func() { anonymous.Do("POST", "/auth/resend-verification", map[string]any{"email": email}) },
	}
	for _, try := range tries {
		try()
		in(false)
	}
	for _, mail := range w.Mails() {
		for _, match := range regexp.MustCompile(`[?]code=([0-9A-Za-z_-]+)`).FindAllStringSubmatch(mail, -1) {
			anonymous.Do("POST", "/auth/verify-email", map[string]any{"code": match[1]})
		}
	}
	in(false)
	tries["signing in"]()
	w.Operate("", "restore-user", "--email", email)
	if status := w.Anonymous().With(value).Do("GET", "/me", nil).Status; status != http.StatusOK {
		t.Errorf("the token after the restoration: %d", status)
	}
}

// GO-2021-0109 (fosite: the storage failed and the revocation was "done"): each statement of a revocation is made to
// fail in turn. The call says so, and the token, which still works, is told to its owner as live.
func TestRevocationThatFailsSaysSo(t *testing.T) {
	t.Parallel()
	w := start(t)
	for name, event := range map[string]string{
		"the token's row":   `UPDATE OF revoked_at ON tokens`,
		"the epoch":         `UPDATE ON epoch`,
		"the change's note": `INSERT ON changes`,
		"the audit row":     `INSERT ON audit_events`,
	} {
		id, value := w.session.CreateToken(organization, []string{"tasks:read"}, nil)
		script := w.Anonymous().With(value)
		script.Do("GET", "/me", nil).Want(http.StatusOK)
		mend := w.broken(event)
		answer := w.session.Do("DELETE", "/tokens/"+id, nil)
		if answer.Status < 500 {
			t.Errorf("%s could not be written, and the revocation says %d", name, answer.Status)
		}
		script.Do("GET", "/me", nil).Want(http.StatusOK)
		if state := w.session.Do("GET", "/tokens/"+id, nil).Want(http.StatusOK).Text("state"); state != "live" {
			t.Errorf("%s: the token is %q after a revocation that failed", name, state)
		}
		mend()
		w.session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
		script.Do("GET", "/me", nil).Want(http.StatusUnauthorized)
	}
}

// broken makes a kind of statement fail below the running server, until it is mended.
func (w *town) broken(event string) (mend func()) {
	if w.Database == "" {
		w.SQL(`CREATE TRIGGER broken BEFORE ` + event + ` BEGIN SELECT RAISE(ABORT, 'broken'); END`)
		return func() { w.SQL(`DROP TRIGGER broken`) }
	}
	w.SQL(`CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$`,
		`CREATE TRIGGER broken BEFORE `+event+` FOR EACH ROW EXECUTE FUNCTION broken()`)
	_, table, _ := strings.Cut(event, " ON ")
	return func() { w.SQL(`DROP TRIGGER broken ON ` + table) }
}

// GO-2026-6033, 4365 (Gitea) and GO-2024-3006 (Argo CD): what began before the access ended does not outlive it. A
// request whose body is still on its way is decided when the body is there.
func TestSlowRequestDoesNotOutliveItsToken(t *testing.T) {
	t.Parallel()
	w := start(t)
	id, value := w.session.CreateToken(organization, []string{"tasks:write"}, nil)
	w.Anonymous().With(value).Do("GET", "/me", nil).Want(http.StatusOK)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := `{"title":"Written by a revoked token"}`
	_, err = fmt.Fprintf(conn, "POST /api/v1/projects/%s/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		w.project, value, len(body), body[:10])
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the server has begun to read
	w.session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
	if _, err := conn.Write([]byte(body[10:])); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 401")) {
		t.Errorf("%v %s", err, answer)
	}
	if found := w.session.Do("GET", "/projects/"+w.project+"/tasks", nil); bytes.Contains(found.Body, []byte("revoked token")) {
		t.Error("the task was written")
	}
}

// CVE-2022-24812 (Grafana: one cache key for all keys), GO-2026-4799, 5239, 6204 (colliding cache and coalescing keys),
// the Asana incident of 2025 (tenants mixed), GO-2026-5779 (users mixed) and GO-2025-3849 (database/sql: a cancelled
// query returned another query's row): many users of two organizations ask at once, cold and warm, and hang up at
// random; every answer is the asker's own.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.CreateOrganization("elsewhere", "Elsewhere", owner, "team")
	type identity struct{ value, token, organization string }
	var all []identity
	for _, slug := range []string{organization, "elsewhere"} {
		for range harness.Rounds(60, 500) {
			answer := w.session.Do("POST", "/tokens", map[string]any{"name": "Own", "organization": slug, "scopes": []string{"projects:read"}}).Want(http.StatusCreated)
			all = append(all, identity{value: answer.Text("value"), token: answer.Text("token", "id"), organization: slug})
		}
	}
	other := w.person("other@example.com", "member")
	for range harness.Rounds(60, 500) {
		id, value := other.CreateToken(organization, []string{"projects:read"}, nil)
		all = append(all, identity{value: value, token: id, organization: organization})
	}
	var answers, cancelled atomic.Int64
	var workers sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for range 32 {
		workers.Go(func() {
			for range harness.Rounds(100, 2000) {
				who := all[rand.IntN(len(all))]
				ctx, cancel := context.WithCancel(context.Background())
				if rand.IntN(3) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(1500))*time.Microsecond, cancel)
				}
				request, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/api/v1/me", http.NoBody)
				request.Header.Set("Authorization", "Bearer "+who.value)
				answer, err := client.Do(request)
				if err != nil {
					cancelled.Add(1)
					cancel()
					continue
				}
				body, err := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				cancel()
				if err != nil {
					cancelled.Add(1)
					continue
				}
				answers.Add(1)
				if answer.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(who.token)) || !bytes.Contains(body, []byte(`"slug":"`+who.organization+`"`)) {
					t.Errorf("%d for the token %s of %s: %s", answer.StatusCode, who.token, who.organization, body)
					return
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d answers, each the asker's own; %d requests were given up", answers.Load(), cancelled.Load())
	if cancelled.Load() == 0 {
		t.Error("nobody ever hung up")
	}
}

// GO-2026-4805 (Vikunja), 6057 (Gitea), GO-2025-3841 (Vault), CVE-2026-107276 (MISP), GO-2026-5160 (Omni): 64 use the
// same one-time code at once; it works for one.
func TestOneTimeCodesWorkOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Anonymous().Do("POST", "/auth/sign-up", map[string]any{"email": "once@example.com", "name": "Once Only", "password": harness.Password}).Want(http.StatusAccepted)
	code := w.MailedCode("once@example.com", "verify-email")
	if won := atOnce(func() bool {
		return w.Anonymous().Do("POST", "/auth/verify-email", map[string]any{"code": code}).Status < 300
	}); won != 1 {
		t.Errorf("the code of the mail worked %d times", won)
	}

	empty := harness.Start(t)
	link := empty.SetupCode()
	number := atomic.Int64{}
	if won := atOnce(func() bool {
		n := number.Add(1)
		form := url.Values{"code": {link}, "email": {fmt.Sprintf("owner-%d@example.com", n)}, "name": {"First Owner"}, "password": {harness.Password},
			"organization": {"Northwind"}, "slug": {fmt.Sprintf("northwind-%d", n)}}
		request, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, empty.URL+"/setup", strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := empty.Anonymous().HTTP.Do(request)
		if err != nil {
			t.Error(err)
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusSeeOther
	}); won != 1 {
		t.Errorf("the set-up link worked %d times", won)
	}
}

// atOnce calls f 64 times at the same time and returns how often it said yes.
func atOnce(f func() bool) (won int64) {
	var count atomic.Int64
	var all sync.WaitGroup
	gun := make(chan struct{})
	for range 64 {
		all.Go(func() {
			<-gun
			if f() {
				count.Add(1)
			}
		})
	}
	close(gun)
	all.Wait()
	return count.Load()
}

// GO-2025-4084, 3721 (Zitadel) and 3770 (chi): links in mails come from the public URL, never from what a request says
// about itself.
func TestLinksComeFromThePublicURLOnly(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Anonymous().Do("POST", "/auth/sign-up", map[string]any{"email": "link@example.com", "name": "Link Follower", "password": harness.Password},
		"X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example;proto=https", "X-Forwarded-Proto", "https", "X-Original-Host", "evil.example").Want(http.StatusAccepted)
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/api/v1/auth/sign-up", strings.NewReader(`{"email":"link2@example.com","name":"Link Two","password":"`+harness.Password+`"}`))
	request.Host = "evil.example"
	request.Header.Set("Content-Type", "application/json")
	if answer, err := w.Anonymous().HTTP.Do(request); err == nil {
		_ = answer.Body.Close()
	}
	w.MailedCode("link@example.com", "verify-email")
	w.Stop() // everything that was posted is written
	for _, mail := range w.Mails() {
		if strings.Contains(mail, "evil") {
			t.Errorf("a mail has a link to where the request said it came from:\n%s", mail)
		}
	}
}

// Expiry is exact (GO-2024-2514, GO-2022-0623 Vault): the token works until its time and not after, warm in the cache.
func TestExpiryIsExactAlsoInTheCache(t *testing.T) {
	t.Parallel()
	w := start(t)
	expires := time.Now().Add(2500 * time.Millisecond).UTC()
	value := w.session.Do("POST", "/tokens", map[string]any{
		"name": "Short", "organization": organization, "scopes": []string{"tasks:read"}, "expires_at": expires.Format(time.RFC3339Nano),
	}).Want(http.StatusCreated).Text("value")
	script := w.Anonymous().With(value)
	good := 0
	for {
		before := time.Now()
		answer := script.Do("GET", "/me", nil)
		after := time.Now()
		switch {
		case answer.Status == http.StatusOK && before.After(expires):
			t.Fatalf("the token works %s after its end", before.Sub(expires))
		case answer.Status == http.StatusUnauthorized && after.Before(expires):
			t.Fatalf("the token ended %s before its time: %s", expires.Sub(after), answer.Body)
		case answer.Status == http.StatusOK:
			good++
			continue
		}
		answer.WantCode(http.StatusUnauthorized, "token_expired")
		break
	}
	if good < 10 {
		t.Errorf("the token worked %d times only before its end", good)
	}
}

// cookie signs in the way a browser does and returns the session's cookie.
func (w *town) cookie(t *testing.T, email string) *http.Cookie {
	t.Helper()
	form := url.Values{"email": {email}, "password": {harness.Password}}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/sign-in", strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := w.Anonymous().HTTP.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	for _, c := range answer.Cookies() {
		if c.Name == "carnet_session" {
			return c
		}
	}
	t.Fatalf("the sign-in of %s gave no cookie: %d", email, answer.StatusCode)
	return nil
}

// page asks for a page with a cookie and returns the status.
func (w *town) page(t *testing.T, cookie *http.Cookie, path string) int {
	t.Helper()
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+path, http.NoBody)
	request.AddCookie(cookie)
	answer, err := w.Anonymous().HTTP.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}
