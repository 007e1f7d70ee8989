package browser_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"carnet/test/harness"
	"carnet/token"
)

var value = regexp.MustCompile(token.Pattern)

// The first token of a new person, from the sign-up to its revocation, in a browser and with the curl line that the page
// shows.
func TestFirstTokenFromSignUpToRevocation(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log"))
	b := open(t, s.URL)
	b.mayUseClipboard()
	newcomer(b, s, "maya@example.com", "Maya Lindqvist")
	b.visit("/organizations/new")
	b.fill("name", "Northwind Studio")
	b.fill("slug", "northwind")
	b.press("Create the organization")
	var projects []string
	for _, p := range [][2]string{{"WEB", "Website"}, {"OPS", "Operations"}} {
		b.visit("/organizations/northwind/projects/new")
		b.fill("key", p[0])
		b.fill("name", p[1])
		b.press("Create project")
		projects = append(projects, regexp.MustCompile(`prj_[0-9a-z]+`).FindString(b.eval("location.pathname")))
	}
	b.visit("/organizations/northwind/projects/" + projects[0] + "/tasks/new")
	b.fill("title", "Draw the new landing page")
	b.press("Create task")

	b.visit("/settings/developer")
	b.press("New token")
	b.fill("name", "Reporting script")
	b.choose("scope.tasks", "read")
	b.choose("reach", "chosen")
	b.choose("projects", projects[0])
	b.choose("expiry", "30")
	b.summarizes("Website")
	b.press("Create token")
	b.says("is ready")
	shown := value.FindString(b.text())
	if shown == "" {
		t.Fatalf("no value is shown:\n%s", b.text())
	}
	tokenPath := "/settings/developer/" + regexp.MustCompile(`tok_[0-9a-z]+`).FindString(b.eval(`document.querySelector(".receipt").dataset.replace`))
	copied := func(n int) (text string) {
		b.do(chromedp.Click(chromedp.CSS(fmt.Sprintf("main button.copy[data-copy=%q]", b.eval(fmt.Sprintf("document.querySelectorAll('main button.copy')[%d].dataset.copy", n))))))
		for range 50 {
			if text = b.clipboard(); text != "" {
				break
			}
		}
		get(b, chromedp.Evaluate[chromedp.Void](`navigator.clipboard.writeText("")`, chromedp.EvalAwaitPromise))
		return text
	}
	if got := copied(0); got != shown {
		t.Errorf("the copy button copies %q, want the value", got)
	}
	curl := copied(1)
	if !strings.HasPrefix(curl, "curl ") || !strings.Contains(curl, shown) {
		t.Fatalf("the second copy button copies %q, want a curl line", curl)
	}
	if code, body := status(t, curl); code != "200" {
		t.Errorf("the shown line: %s %s", code, body)
	}
	call := func(method, path, data string) (code, body string) {
		command := fmt.Sprintf("curl -X %s -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' %s/api/v1%s", method, shown, s.URL, path)
		if data != "" {
			command += " -d '" + data + "'"
		}
		return status(t, command)
	}
	if code, body := call("GET", "/projects/"+projects[0]+"/tasks", ""); code != "200" || !strings.Contains(body, "Draw the new landing page") {
		t.Errorf("the chosen project: %s %s", code, body)
	}
	if code, body := call("GET", "/projects/"+projects[1]+"/tasks", ""); code != "404" {
		t.Errorf("another project: %s %s", code, body)
	}
	if code, body := call("POST", "/projects/"+projects[0]+"/tasks", `{"title":"Written by a reader"}`); code != "403" || !strings.Contains(body, "scope_missing") {
		t.Errorf("a write: %s %s", code, body)
	}

	// Shown once: not after a reload, not on its page, not by the way back.
	b.eval(`(window.before = true, location.reload())`)
	b.next()
	for _, path := range []string{"", tokenPath, "/settings/developer"} {
		if path != "" {
			b.visit(path)
		}
		if strings.Contains(b.eval("document.documentElement.outerHTML"), shown) {
			t.Errorf("the value is shown again at %q", path)
		}
	}

	// Rotated: the old value stops at once, the new one works; then revoked.
	b.visit(tokenPath + "/rotate")
	b.says("Reporting script")
	b.press("Rotate the token")
	b.says("The new value of")
	old := shown
	shown = value.FindString(b.text())
	if shown == "" || shown == old {
		t.Fatalf("no new value is shown:\n%s", b.text())
	}
	if code, _ := call("GET", "/me", ""); code != "200" {
		t.Errorf("the new value: %s", code)
	}
	fresh := shown
	shown = old
	if code, _ := call("GET", "/me", ""); code != "401" {
		t.Errorf("the old value: %s", code)
	}
	shown = fresh
	b.visit(tokenPath)
	b.says("curl/") // last used by
	b.visit(tokenPath + "/revoke")
	b.says("Revoke “Reporting script”?")
	b.press("Revoke the token")
	if code, body := call("GET", "/me", ""); code != "401" || !strings.Contains(body, "token_revoked") {
		t.Errorf("after the revocation: %s %s", code, body)
	}
	b.quiet()
}

// Everything works without scripts.
func TestFirstTokenWithoutScripts(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log"))
	b := open(t, s.URL)
	b.withoutScripts()
	newcomer(b, s, "noor@example.com", "Noor Haddad")
	b.visit("/organizations/new")
	b.fill("name", "Plain Pages")
	b.fill("slug", "plain")
	b.press("Create the organization")
	b.visit("/organizations/plain/projects/new")
	b.fill("key", "WEB")
	b.fill("name", "Website")
	b.press("Create project")
	b.visit("/settings/developer/new")
	b.fill("name", "Without scripts")
	b.choose("scope.tasks", "write")
	b.press("Preview")
	b.says("Website")
	b.press("Create token")
	b.says("is ready")
	shown := value.FindString(b.text())
	if code, body := status(t, fmt.Sprintf("curl -H 'Authorization: Bearer %s' %s/api/v1/me", shown, s.URL)); code != "200" {
		t.Errorf("the value: %s %s", code, body)
	}
	b.press("I have stored it")
	b.press("Revoke")
	b.press("Revoke the token")
	if code, _ := status(t, fmt.Sprintf("curl -H 'Authorization: Bearer %s' %s/api/v1/me", shown, s.URL)); code != "401" {
		t.Errorf("after the revocation: %s", code)
	}
}

// Everything can be reached and done with the keyboard alone, and one sees where one is.
func TestTokenByKeyboardAlone(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log"))
	s.CreateUser("kim@example.com", "Kim Keys")
	s.CreateOrganization("keys", "Keys", "kim@example.com", "team")
	s.SignIn("kim@example.com").In("keys").CreateProject("WEB", "Website", "organization")
	b := open(t, s.URL)
	b.visit("/sign-in")
	b.focus(`[name=email]`)
	b.keys("kim@example.com")
	b.focus(`[name=password]`)
	b.keys(harness.Password + "\r")
	b.next()
	b.visit("/settings/developer/new")
	b.focus(`[name=name]:not([type=hidden])`)
	b.keys("By keyboard")
	b.focus(`[name="scope.tasks"]`)
	b.keys("→") // none to read
	b.focus(`[name=expiry]`)
	b.focus(`.panel-foot button`)
	b.keys("\r")
	b.next()
	b.says("is ready")
	if shown := value.FindString(b.text()); shown == "" {
		t.Errorf("no value: %s", b.text())
	}
	b.quiet()
}
