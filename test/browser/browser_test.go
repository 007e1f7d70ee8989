// Package browser_test uses the ordinary program the way people do: with a browser, with a browser without scripts, and
// without a mouse.
package browser_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"carnet/test/harness"
)

// tab is a tab of a browser, with cookies of its own.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp's handle of the tab
	url string

	mu       sync.Mutex
	problems []string         // what the page complained of
	foreign  []string         // requests to other hosts
	bytes    map[string]int64 // received since the last visit, by kind of resource
	kinds    map[network.RequestID]string
}

var chromium struct {
	once sync.Once
	ctx  context.Context //nolint:containedctx // one browser for all tests
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if chromium.ctx != nil {
		_ = chromedp.Cancel(chromium.ctx)
	}
	os.Exit(code)
}

func start() (context.Context, error) {
	chromium.once.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.Flag("disable-background-networking", true), chromedp.Flag("hide-scrollbars", false), chromedp.WSURLReadTimeout(60*time.Second))
		if os.Geteuid() == 0 {
			options = append(options, chromedp.NoSandbox) // it refuses to run as root otherwise
		}
		allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, _ := chromedp.NewContext(allocator)
		chromium.ctx, chromium.err = ctx, chromedp.Do(ctx)
	})
	return chromium.ctx, chromium.err
}

// open returns a new tab that shows nothing yet.
func open(t *testing.T, url string) *tab {
	t.Helper()
	parent, err := start()
	if err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	b := &tab{t: t, url: url, bytes: map[string]int64{}, kinds: map[network.RequestID]string{}}
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b.ctx = ctx
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	command(b, network.Enable, network.EnableParams{})
	command(b, runtime.Enable, cdp.Empty{})
	b.do(chromedp.EmulateViewport(1280, 900))
	return b
}

// hear notes what a page should not do.
func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, fmt.Sprintf("%s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			b.problems = append(b.problems, fmt.Sprint("console: ", e.Type))
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.url) && !strings.HasPrefix(e.Request.URL, "data:") {
			b.foreign = append(b.foreign, e.Request.URL)
		}
		b.kinds[e.RequestID] = e.Type.String()
	case *network.EventLoadingFinished:
		b.bytes[b.kinds[e.RequestID]] += int64(e.EncodedDataLength)
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	get(b, chromedp.Steps(actions...))
}

// get does something in the tab and returns what came of it.
func get[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	b.must(err)
	return result
}

// command sends a command of the protocol to the tab.
func command[P, R any](b *tab, c cdp.Command[P, R], parameters P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	result, err := chromedp.Call(ctx, c, parameters)
	b.must(err)
	return result
}

func (b *tab) must(err error) {
	b.t.Helper()
	if err == nil {
		return
	}
	where, _ := chromedp.Run(b.ctx, chromedp.Location())
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	b.t.Fatalf("at %s: %v\n%s", where, err, text)
}

// visit opens a page of the server.
func (b *tab) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url+path), chromedp.WaitReady(chromedp.CSS("body")))
}

// fill writes into the input of that name.
func (b *tab) fill(name, text string) {
	b.t.Helper()
	input := chromedp.CSS(fmt.Sprintf(`[name=%q]:not([type=hidden])`, name))
	b.do(chromedp.Clear(input), chromedp.SendKeys(input, text))
}

// choose ticks a radio button or checkbox.
func (b *tab) choose(name, value string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`input[name=%q][value=%q]`, name, value))))
}

// press presses the button, or follows the link, that says the text, and waits for the next page.
func (b *tab) press(text string) {
	b.t.Helper()
	path := fmt.Sprintf(`//main//button[normalize-space()=%[1]q and not(@aria-hidden)] | //main//a[normalize-space()=%[1]q]`, text)
	b.eval(`window.before = true`)
	b.do(chromedp.Click(path))
	b.next()
}

// next waits until another page has been loaded.
func (b *tab) next() {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		there, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`window.before !== true && document.readyState === "complete"`))
		if err == nil && there {
			return
		}
	}
	b.t.Fatalf("no other page came\n%s", b.text())
}

// signIn signs a person in.
func (b *tab) signIn(email string) {
	b.t.Helper()
	b.visit("/sign-in")
	b.fill("email", email)
	b.fill("password", harness.Password)
	b.press("Sign in")
}

// text returns what the page says.
func (b *tab) text() string {
	b.t.Helper()
	return get(b, chromedp.Evaluate[string](`document.querySelector("main")?.innerText ?? ""`))
}

// says waits until the page says the text.
func (b *tab) says(text string) {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(b.text(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the page does not say %q:\n%s", text, b.text())
		}
	}
}

// summarizes waits until the summary of a new token, which follows the choices, says the text.
func (b *tab) summarizes(text string) {
	b.t.Helper()
	summary := func() string { return b.eval(`document.querySelector("#summary").innerText`) }
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(summary(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the summary does not say %q:\n%s", text, summary())
		}
	}
}

// eval returns what an expression in the page is, as text.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	return get(b, chromedp.Evaluate[string]("String("+expression+")"))
}

// quiet checks that no page complained, and that nothing went to another host.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.t.Errorf("a page complains: %s", p)
	}
	for _, f := range b.foreign {
		b.t.Errorf("a page asks another host: %s", f)
	}
}

// withoutScripts turns scripts off in the pages of the tab; the test's own expressions still work.
func (b *tab) withoutScripts() {
	b.t.Helper()
	command(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// mayUseClipboard lets the tab's pages write to the clipboard, as a click does, and the test read it.
func (b *tab) mayUseClipboard() {
	b.t.Helper()
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		_, err := chromedp.CallBrowser(b.ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name, AllowWithoutSanitization: name == "clipboard-write"},
			Setting:    "granted", Origin: b.url, BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID,
		})
		b.must(err)
	}
}

// newcomer signs up, opens the mailed link and signs in, and ends on the overview.
func newcomer(b *tab, s *harness.Server, email, name string) {
	b.t.Helper()
	b.visit("/sign-up")
	b.fill("name", name)
	b.fill("email", email)
	b.fill("password", harness.Password)
	b.press("Create account")
	b.says("Check your mail")
	b.visit("/verify-email?code=" + s.MailedCode(email, "verify-email"))
	b.press("Confirm my address")
	if strings.Contains(b.eval("location.pathname"), "sign-in") {
		b.fill("email", email)
		b.fill("password", harness.Password)
		b.press("Sign in")
	}
	b.says("What is connected to your account")
	if !strings.Contains(b.eval("document.body.innerText"), name) {
		b.t.Errorf("the page does not say whose account it is")
	}
}

// shell runs a command that a page shows, and returns what it printed.
func shell(t *testing.T, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// status runs a command with curl and returns the HTTP status and the body.
func status(t *testing.T, command string) (code, body string) {
	t.Helper()
	out := strings.TrimSpace(shell(t, command+` --silent --show-error --write-out '\n%{http_code}'`))
	cut := strings.LastIndexByte(out, '\n')
	return out[cut+1:], out[:max(cut, 0)]
}

// shot writes a picture of the whole page into the folder that CARNET_SHOTS names, if it names one.
func (b *tab) shot(name string) {
	b.t.Helper()
	folder := os.Getenv("CARNET_SHOTS")
	if folder == "" {
		return
	}
	picture := get(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
