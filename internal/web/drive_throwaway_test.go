//go:build shots

package web

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

func TestDrive(t *testing.T) {
	base := os.Getenv("BASE")
	axe, _ := os.ReadFile("/tmp/carnet/tools/axe.min.js")
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.UserDataDir(t.TempDir()))
	ac, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	defer cancel()
	ctx, cancel2 := chromedp.NewContext(ac)
	defer cancel2()
	ctx, cancel3 := context.WithTimeout(ctx, 400*time.Second)
	defer cancel3()
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
	}
	js := func(code string) string {
		t.Helper()
		v, err := chromedp.Run(ctx, chromedp.Evaluate[string](code, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		return v
	}
	do(chromedp.Navigate("about:blank"))
	go func() {
		for m, err := range chromedp.Console(ctx) {
			if err != nil {
				return
			}
			t.Logf("CONSOLE %+v", m)
		}
	}()
	shot := func(name string) {
		t.Helper()
		do(chromedp.Sleep(150 * time.Millisecond))
		for _, mode := range strings.Split(os.Getenv("MODES"), ",") {
			width, height, scheme := int64(1280), int64(900), "light"
			if mode[0] == 'n' {
				width, height = 390, 844
			}
			if mode[1] == 'd' {
				scheme = "dark"
			}
			_, _ = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			do(chromedp.EmulateViewport(width, height), chromedp.Sleep(60*time.Millisecond))
			picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			_ = os.WriteFile(fmt.Sprintf("/tmp/carnet/shots/real-%s-%s.png", name, mode), picture, 0o644)
			if over := js(`document.documentElement.scrollWidth > innerWidth ? "overflow "+document.documentElement.scrollWidth : ""`); over != "" {
				t.Errorf("%s %s %s", name, mode, over)
			}
			if os.Getenv("AXE") != "" {
				js(string(axe) + `;"ok"`)
				if found := js(`axe.run(document,{resultTypes:["violations"]}).then(r=>r.violations.map(v=>v.id+" ("+v.impact+"): "+v.nodes.slice(0,4).map(n=>n.target.join(" ")+" | "+(n.any[0]?.message||n.failureSummary)).join("\n      ")).join("\n   "))`); found != "" {
					t.Errorf("%s %s:\n   %s", name, mode, found)
				}
			}
		}
	}
	goTo := func(path string) { t.Helper(); do(chromedp.Navigate(base + path)) }
	where := func() string { return js("location.pathname+location.search") }
	goTo("/settings/developer")
	if w := where(); w != "/sign-in?next=%2Fsettings%2Fdeveloper" {
		t.Fatal(w)
	}
	js(`document.getElementById("f-email").value="maya@northwind.example";document.getElementById("f-password").value="wrong wrong wrong wrong";document.querySelector("form.form").requestSubmit();""`)
	do(chromedp.Sleep(600 * time.Millisecond))
	shot("sign-in-wrong")
	js(`document.getElementById("f-password").value="paper lanterns over the canal";document.querySelector("form.form").requestSubmit();""`)
	do(chromedp.Sleep(900 * time.Millisecond))
	if w := where(); w != "/settings/developer" {
		shot("oops")
		t.Fatal(w)
	}
	shot("tokens")
	goTo("/")
	shot("home")
	goTo("/settings/developer/new?name=Nightly+export&scopes=tasks:read&expires_in_days=7")
	shot("new-prefilled")
	js(`document.querySelector("[name='scope.projects'][value=read]").click();""`)
	do(chromedp.Sleep(600 * time.Millisecond))
	js(`document.querySelector("[name=projects]").click();""`)
	do(chromedp.Sleep(600 * time.Millisecond))
	shot("new-filled")
	js(`document.querySelector("[data-preset]:nth-of-type(2)").click();""`)
	do(chromedp.Sleep(600 * time.Millisecond))
	t.Log("summary after preset:", js(`document.getElementById("summary").innerText`))
	js(`document.querySelector("#token-form .panel-foot button").click();""`)
	do(chromedp.Sleep(900 * time.Millisecond))
	t.Log("after create:", where())
	shot("value")
	value := js(`document.getElementById("value").textContent`)
	if !strings.HasPrefix(value, "carnet_pat_") {
		t.Fatal("no value")
	}
	js(`document.querySelector("[data-copy=value]").click();""`)
	do(chromedp.Sleep(300 * time.Millisecond))
	t.Log("spoken:", js(`document.getElementById("spoken").textContent`), js(`document.querySelector("[data-copy=value]").innerText`))
	do(chromedp.Reload(), chromedp.Sleep(300*time.Millisecond))
	if strings.Contains(js(`document.documentElement.outerHTML`), value) {
		t.Fatal("still there")
	}
	shot("token")
	tok := where()
	goTo(tok + "/narrow")
	shot("narrow")
	goTo(tok + "/rotate")
	shot("rotate")
	goTo(tok + "/revoke")
	shot("revoke")
	js(`document.querySelector("main form").requestSubmit();""`)
	do(chromedp.Sleep(500 * time.Millisecond))
	shot("revoked")
	for name, path := range map[string]string{"security": "/settings/security", "profile": "/settings/profile", "projects": "/organizations/northwind/projects", "members": "/organizations/northwind/members", "docs": "/docs/api", "ended": "/settings/developer?show=ended", "missing": "/nowhere", "bin": "/organizations/northwind/projects?deleted=true", "new-org": "/organizations/new"} {
		goTo(path)
		shot(name)
	}
	goTo("/organizations/northwind/projects")
	p := js(`document.querySelector(".card-link a").getAttribute("href")`)
	goTo(p)
	shot("project")
	task := js(`document.querySelector(".list .name a").getAttribute("href")`)
	goTo(task)
	shot("task")
	goTo(task + "/edit")
	shot("task-edit")
	goTo(p + "/members")
	shot("project-members")
	goTo(p + "/delete")
	shot("project-delete")
	goTo("/docs/api")
	js(`document.querySelectorAll("details.operation").forEach((d,i)=>{if(i<60&&i%9==4)d.open=true});""`)
	shot("docs-open")
}
