package browser_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"carnet/test/harness"
)

var agentID = regexp.MustCompile(`tok_[0-9a-z]+`)

// An agent from the choice of its client to its first call, which the page with the value notices by itself, to the admin
// who ends it, of which its owner sees who and why.
func TestAgentFromConnectionToRevocationByAnAdmin(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log"))
	s.CreateUser("ada@example.com", "Ada Admin")
	s.CreateOrganization("northwind", "Northwind", "ada@example.com", "team")
	s.SignIn("ada@example.com").In("northwind").CreateProject("WEB", "Website", "organization")
	b := open(t, s.URL)
	newcomer(b, s, "maya@example.com", "Maya Lindqvist")
	s.AddMember("northwind", "maya@example.com", "member")

	b.visit("/settings/agents")
	b.says("No agents yet")
	b.shot("agents-empty")
	b.eval(`(window.before = true, [...document.querySelectorAll(".tile")].find((e) => e.innerText.includes("Claude Code")).click())`)
	b.next()
	b.says("claude mcp login carnet")
	b.do(chromedp.Click(`//main//a[normalize-space()="Works on tasks"]`))
	b.summarizes("read projects, and read and change tasks and comments")
	b.fill("name", "Claude Code on my laptop")
	b.press("Connect")
	b.says("Waiting for the first call")
	shown := value.FindString(b.text())
	if !strings.Contains(b.text(), `--header "Authorization: Bearer `+shown+`"`) {
		t.Errorf("no command holds the value:\n%s", b.text())
	}
	if links := b.eval(`[...document.links].map((l) => l.href).join(" ") + location.href`); strings.Contains(links, shown) {
		t.Errorf("an address holds the value: %s", links)
	}
	id := agentID.FindString(b.eval(`document.querySelector(".receipt").dataset.replace`))
	if code, body := status(t, fmt.Sprintf("curl -A 'claude-code/2.1.330 (cli)' -H 'Authorization: Bearer %s' %s/api/v1/me", shown, s.URL)); code != "200" {
		t.Fatalf("the first call: %s %s", code, body)
	}
	b.says("Connected.") // without anybody's doing
	b.says("claude-code/2.1.330")
	if b.eval("document.querySelector('#connection').getAttribute('role')") != "status" {
		t.Error("nobody who listens is told")
	}
	b.press("I have stored it")
	b.says("1 call in 60 days")
	b.press("Pause")
	b.says("Paused by you.")
	b.press("Resume")

	a := open(t, s.URL)
	a.signIn("ada@example.com")
	a.visit("/organizations/northwind/agents")
	a.says("Maya Lindqvist")
	a.press("Claude Code on my laptop")
	a.says("acts for Maya Lindqvist")
	a.press("Revoke")
	a.fill("reason", "We no longer let agents into the website.")
	a.press("Revoke the agent")
	a.says("“Claude Code on my laptop” is revoked")
	a.quiet()
	if code, body := status(t, fmt.Sprintf("curl -H 'Authorization: Bearer %s' %s/api/v1/me", shown, s.URL)); code != "401" || !strings.Contains(body, "token_revoked") {
		t.Errorf("after the receipt: %s %s", code, body)
	}

	axe := readAxe(t)
	b.visit("/settings/agents/" + id)
	b.says("Revoked by Ada Admin.")
	b.says("We no longer let agents into the website.")
	b.sound(page{path: "/settings/agents/" + id}, axe, "agent-revoked-by-admin")
	b.sound(page{path: "/organizations/northwind/agents/policy"}, axe, "policy-read-only")
	b.says("Admins and owners of Northwind can change it.")
	b.quiet()
}

// Without scripts, the person looks again themselves.
func TestAgentWithoutScripts(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log"))
	s.CreateUser("noor@example.com", "Noor Haddad")
	s.CreateOrganization("plain", "Plain Pages", "noor@example.com", "team")
	b := open(t, s.URL)
	b.withoutScripts()
	b.signIn("noor@example.com")
	b.visit("/settings/agents/connect?client=zed")
	b.choose("scope.tasks", "read")
	b.press("Preview")
	b.says("It can read tasks")
	b.press("Connect")
	shown := value.FindString(b.text())
	b.press("Look again")
	b.says("Waiting for the first call")
	if code, body := status(t, fmt.Sprintf("curl -H 'Authorization: Bearer %s' %s/api/v1/me", shown, s.URL)); code != "200" {
		t.Fatalf("the first call: %s %s", code, body)
	}
	b.press("Look again")
	b.says("Connected.")
}
