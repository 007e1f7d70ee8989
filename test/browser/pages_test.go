package browser_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"carnet/test/harness"
)

// pageBytes is the most that a page may take on a first visit, without its fonts.
const pageBytes = 150_000

// Every page, light and dark, on a desk and on a telephone: nothing sticks out, one heading leads, nothing jumps, nothing
// complains, nothing is asked of another host, and the rules of axe-core for WCAG 2.2 AA hold.
func TestPagesAreSound(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Args("--no-access-log", "--demo", "--sign-in-limit", "1000"))
	demo := regexp.MustCompile(`(?s)with the password\s+(\S[^\n]+)\n.*?(\S+@\S+)`)
	for !demo.MatchString(s.Out.String()) { // printed right after the server is ready
		if code := s.Wait(5 * time.Millisecond); code >= 0 {
			t.Fatal(s.Out, s.Log)
		}
	}
	match := demo.FindStringSubmatch(s.Out.String())
	password, email := match[1], match[2]
	pages := list(t, s, email, password)
	axe := readAxe(t)
	looks := []struct {
		theme string
		width int64
	}{{"light", 1280}, {"dark", 390}, {"dark", 1280}, {"light", 390}}
	if os.Getenv("CARNET_SHOTS") == "" {
		looks = looks[:harness.Rounds(2, 4)] // both themes and both widths, not crossed
	}
	for _, look := range looks {
		t.Run(fmt.Sprintf("%s at %d", look.theme, look.width), func(t *testing.T) {
			b := open(t, s.URL)
			b.do(chromedp.EmulateViewport(look.width, 900))
			command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.theme}}})
			signedIn := false
			for _, p := range pages {
				if p.person && !signedIn {
					b.visit("/sign-in")
					b.fill("email", email)
					b.fill("password", password)
					b.press("Sign in")
					signedIn = true
				}
				b.sound(p, axe, fmt.Sprintf("%s-%s-%d", p.name, look.theme, look.width))
			}
			b.quiet()
		})
	}
}

// sound looks at one page.
func (b *tab) sound(p page, axe, name string) {
	b.t.Helper()
	b.mu.Lock()
	clear(b.bytes)
	b.mu.Unlock()
	b.visit(p.path)
	if p.do != nil {
		p.do(b)
	}
	b.eval(`document.fonts.ready.then(() => "")`)
	var seen struct {
		Title, Scheme  string
		Headings, Wide int
		Sticking       string
		Shift          float64
	}
	text := get(b, chromedp.Evaluate[string](look, chromedp.EvalAwaitPromise))
	if err := json.Unmarshal([]byte(text), &seen); err != nil {
		b.t.Fatal(err)
	}
	b.shot(name)
	var received int64
	b.mu.Lock()
	for kind, n := range b.bytes {
		if kind != "Font" {
			received += n
		}
	}
	b.mu.Unlock()
	switch {
	case seen.Headings != 1:
		b.t.Errorf("%s: %d headings of the first level", name, seen.Headings)
	case !strings.HasSuffix(seen.Title, "· Carnet") || len(seen.Title) < len("x · Carnet"):
		b.t.Errorf("%s: the title %q", name, seen.Title)
	case seen.Wide > 0:
		b.t.Errorf("%s: sticks out by %d pixels: %s", name, seen.Wide, seen.Sticking)
	case seen.Shift > 0.1:
		b.t.Errorf("%s: jumps by %.2f", name, seen.Shift)
	case received > pageBytes:
		b.t.Errorf("%s: %d bytes", name, received)
	}
	get(b, chromedp.Evaluate[chromedp.Void](axe))
	for line := range strings.Lines(get(b, chromedp.Evaluate[string](violations, chromedp.EvalAwaitPromise))) {
		b.t.Errorf("%s: %s", name, strings.TrimSpace(line))
	}
}

// look gathers what can be seen of a page's soundness.
const look = `new Promise((done) => {
	let shift = 0;
	new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) shift += e.value; }).observe({ type: "layout-shift", buffered: true });
	requestAnimationFrame(() => setTimeout(() => {
		const width = document.documentElement.clientWidth;
		const out = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > width + 1 && getComputedStyle(e).position !== "absolute");
		done(JSON.stringify({
			Title: document.title, Headings: document.querySelectorAll("h1").length, Wide: document.documentElement.scrollWidth - width,
			Sticking: out.slice(0, 3).map((e) => e.outerHTML.slice(0, 120)).join(" | "), Shift: shift,
		}));
	}, 50));
})`

// violations runs axe-core on the page: a line for each rule that does not hold.
const violations = `axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then((r) =>
	r.violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160).replaceAll("\n", " ")).join(" | ")).join("\n"))`

func readAxe(t *testing.T) string {
	t.Helper()
	file, err := os.Open("testdata/axe-4.14.1.min.js.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "; undefined"
}

// page is one page in one state.
type page struct {
	name, path string
	person     bool       // needs somebody signed in
	do         func(*tab) // brings the page into its state
}

// list names every page of the demo organization, with the states that look different.
func list(t *testing.T, s *harness.Server, email, password string) []page {
	t.Helper()
	answer := s.Anonymous().Do("POST", "/auth/sign-in", map[string]any{"email": email, "password": password, "as": "bearer"}).Want(http.StatusOK)
	session := s.Anonymous().With(answer.Text("session", "value"))
	slug := session.Do("GET", "/organizations", nil).Want(http.StatusOK).Text("items", 0, "slug")
	session = session.In(slug)
	project := session.Do("GET", "/projects?sort=name", nil).Want(http.StatusOK).Text("items", 0, "id")
	task := session.Do("GET", "/projects/"+project+"/tasks", nil).Want(http.StatusOK).Text("items", 0, "id")
	comment := session.Do("POST", "/tasks/"+task+"/comments", map[string]any{"body": "Looks good to me.\n\nOne more thing: `carnet_pat_` values must never be pasted here."}).Want(http.StatusCreated).Text("id")
	member := session.Do("GET", "/projects/"+project+"/members", nil).Want(http.StatusOK).Text("items", 0, "user_id")
	live, _ := session.CreateToken(slug, []string{"tasks:write", "projects:read"}, []string{project})
	dead, _ := session.CreateToken(slug, []string{"tasks:read"}, nil)
	session.Do("DELETE", "/tokens/"+dead, nil).Want(http.StatusOK)
	agent := func(name, client string) (id, value string) {
		answer := session.Do("POST", "/tokens", map[string]any{"name": name, "organization": slug, "purpose": "agent", "client": client, "scopes": []string{"projects:read", "tasks:write"}}).Want(http.StatusCreated)
		return answer.Text("token", "id"), answer.Text("value")
	}
	working, value := agent("Claude Code on my laptop", "Claude Code")
	s.Anonymous().With(value).Do("POST", "/projects/"+project+"/tasks", map[string]any{"title": "Sort the feedback of the beta"}).Want(http.StatusCreated)
	byAgent := s.Anonymous().With(value).Do("POST", "/projects/"+project+"/tasks", map[string]any{"title": "Draft the release notes"}).Want(http.StatusCreated).Text("id")
	fresh, _ := agent("Editor at home", "Cursor")
	bound := session.Do("POST", "/tokens", map[string]any{"name": "Curious", "organization": slug, "purpose": "agent", "scopes": []string{"tasks:write", "members:read"}}).Want(http.StatusCreated).Text("token", "id")
	session.Do("PATCH", "/organizations/"+slug+"/agent-policy", map[string]any{"scopes": []string{"projects:write", "tasks:write", "comments:write"}}).Want(http.StatusOK)
	halted, _ := agent("Night shift", "Other MCP client")
	session.Do("POST", "/organizations/"+slug+"/agents/"+halted+"/pause", map[string]any{"reason": "It closed tasks that nobody had looked at."}).Want(http.StatusOK)
	gone, _ := agent("Old machine", "Codex")
	session.Do("DELETE", "/organizations/"+slug+"/agents/"+gone, map[string]any{"reason": "The machine was sold."}).Want(http.StatusOK)
	org, developer, agents := "/organizations/"+slug, "/settings/developer", "/settings/agents"
	at := org + "/projects/" + project
	return []page{
		{name: "sign-up", path: "/sign-up"},
		{name: "sign-up-wrong", path: "/sign-up", do: func(b *tab) {
			b.fill("name", "Sam")
			b.fill("email", "sam@example.com")
			b.fill("password", "too short")
			b.press("Create account")
		}},
		{name: "check-mail", path: "/check-mail"},
		{name: "verify-email", path: "/verify-email?code=abc"},
		{name: "verify-email-dead", path: "/verify-email?code=abc", do: func(b *tab) { b.press("Confirm my address") }},
		{name: "sign-in", path: "/sign-in"},
		{name: "sign-in-wrong", path: "/sign-in", do: func(b *tab) {
			b.fill("email", "nobody@example.com")
			b.fill("password", "not the password at all")
			b.press("Sign in")
		}},
		{name: "setup-dead", path: "/setup?code=abc"},
		{name: "reference", path: "/docs/api"},
		{name: "not-found", path: "/no/such/page"},
		{name: "home", path: "/", person: true},
		{name: "organization-new", path: "/organizations/new", person: true},
		{name: "members", path: org + "/members", person: true},
		{name: "member-remove", path: org + "/members/" + member + "/remove", person: true},
		{name: "projects", path: org + "/projects", person: true},
		{name: "project-new", path: org + "/projects/new", person: true},
		{name: "project", path: at, person: true},
		{name: "project-filtered", path: at + "?status=done&q=zzz", person: true},
		{name: "project-edit", path: at + "/edit", person: true},
		{name: "project-delete", path: at + "/delete", person: true},
		{name: "project-members", path: at + "/members", person: true},
		{name: "task-new", path: at + "/tasks/new", person: true},
		{name: "task", path: at + "/tasks/" + task, person: true},
		{name: "task-edit", path: at + "/tasks/" + task + "/edit", person: true},
		{name: "task-delete", path: at + "/tasks/" + task + "/delete", person: true},
		{name: "comment-edit", path: at + "/tasks/" + task + "/comments/" + comment + "/edit", person: true},
		{name: "comment-delete", path: at + "/tasks/" + task + "/comments/" + comment + "/delete", person: true},
		{name: "profile", path: "/settings/profile", person: true},
		{name: "security", path: "/settings/security", person: true},
		{name: "tokens", path: developer, person: true},
		{name: "token-new", path: developer + "/new", person: true},
		{name: "token-new-chosen", path: developer + "/new", person: true, do: func(b *tab) {
			b.fill("name", "Reporting script")
			b.choose("scope.tasks", "read")
			b.choose("expiry", "none")
			b.says("would never expire")
			b.summarizes("Field app")
		}},
		{name: "token-new-wrong", path: developer + "/new", person: true, do: func(b *tab) {
			b.fill("name", "Nothing chosen")
			b.press("Create token")
		}},
		{name: "token-value", path: developer + "/new", person: true, do: func(b *tab) {
			b.fill("name", "Shown once")
			b.choose("scope.tasks", "read")
			b.press("Create token")
			b.says("is ready")
		}},
		{name: "token", path: developer + "/" + live, person: true},
		{name: "token-narrow", path: developer + "/" + live + "/narrow", person: true},
		{name: "token-rotate", path: developer + "/" + live + "/rotate", person: true},
		{name: "token-revoke", path: developer + "/" + live + "/revoke", person: true},
		{name: "token-revoked", path: developer + "/" + dead, person: true},
		{name: "agents", path: agents, person: true},
		{name: "agents-ended", path: agents + "?show=ended", person: true},
		{name: "agent-clients", path: agents + "/connect", person: true},
		{name: "agent-clients-unknown", path: agents + "/connect?client=nobody", person: true},
		{name: "agent-connect", path: agents + "/connect?client=cursor", person: true, do: func(b *tab) {
			b.choose("scope.tasks", "write")
			b.summarizes("read and change tasks")
		}},
		{name: "agent-connect-wrong", path: agents + "/connect?client=zed", person: true, do: func(b *tab) { b.press("Connect") }},
		{name: "agent-connect-sign-in", path: agents + "/connect?client=chatgpt", person: true},
		{name: "agent-value", path: agents + "/connect?client=claude-code&scopes=tasks:read&name=Shown+once", person: true, do: func(b *tab) {
			b.press("Connect")
			b.says("Waiting for the first call")
		}},
		{name: "agent", path: agents + "/" + working, person: true},
		{name: "agent-fresh", path: agents + "/" + fresh, person: true},
		{name: "agent-bound", path: agents + "/" + bound, person: true},
		{name: "agent-bound-grant", path: agents + "/" + bound + "/grant", person: true},
		{name: "agent-paused", path: agents + "/" + halted, person: true},
		{name: "agent-revoked", path: agents + "/" + gone, person: true},
		{name: "agent-grant", path: agents + "/" + working + "/grant", person: true},
		{name: "agent-rotate", path: agents + "/" + working + "/rotate", person: true},
		{name: "agent-revoke", path: agents + "/" + working + "/revoke", person: true},
		{name: "agent-waiting", path: agents + "/" + fresh + "/connection", person: true},
		{name: "agent-connected", path: agents + "/" + working + "/connection", person: true},
		{name: "task-by-agent", path: at + "/tasks/" + byAgent, person: true},
		{name: "oversight", path: org + "/agents", person: true},
		{name: "oversight-filtered", path: org + "/agents?client=Cursor", person: true},
		{name: "oversight-one", path: org + "/agents/" + working, person: true},
		{name: "oversight-halt", path: org + "/agents/" + working + "/revoke", person: true},
		{name: "oversight-many", path: org + "/agents/revoke?client=Cursor", person: true},
		{name: "policy", path: org + "/agents/policy", person: true},
		{name: "policy-wrong", path: org + "/agents/policy", person: true, do: func(b *tab) {
			b.fill("max_lifetime_days", "soon")
			b.press("Save the policy")
		}},
	}
}
