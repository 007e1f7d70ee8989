//go:build shots

package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

func TestShots(t *testing.T) {
	r, files := testRenderer(t)
	all := samples()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /static/{digest}/{path...}", files.serve)
	mux.HandleFunc("/x/{name}", func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		s := all[q.PathValue("name")]
		if err := r.render(w, httptest.NewRequest("GET", "/", nil), 200, s.template, s.frame); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	only := os.Getenv("ONLY")
	modes := strings.Split(os.Getenv("MODES"), ",") // e.g. wl,wd,nl,nd
	axe, _ := os.ReadFile("/tmp/carnet/tools/axe.min.js")
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.UserDataDir(t.TempDir()))
	ac, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	defer cancel()
	ctx, cancel2 := chromedp.NewContext(ac)
	defer cancel2()
	var names []string
	for n := range all {
		if only == "" || strings.Contains(","+only+",", ","+n+",") {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	for _, mode := range modes {
		width, height := int64(1280), int64(900)
		if mode[0] == 'n' {
			width, height = 390, 844
		}
		scheme := "light"
		if mode[1] == 'd' {
			scheme = "dark"
		}
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
			t.Fatal(err)
		}
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height)); err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/x/"+n), chromedp.Sleep(120*time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if os.Getenv("CLS") != "" {
				cls, _ := chromedp.Run(ctx, chromedp.Evaluate[float64](`new Promise(done=>{let s=0;new PerformanceObserver(l=>{for(const e of l.getEntries())s+=e.value}).observe({type:"layout-shift",buffered:true});setTimeout(()=>done(s),60)})`, chromedp.EvalAwaitPromise))
				fonts, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`[...document.fonts].map(f=>f.family+":"+f.status).join(" ")`))
				if cls > 0.001 {
					t.Errorf("%s %s: layout shift %f %s", n, mode, cls, fonts)
				}
			}
			shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			_ = os.WriteFile(fmt.Sprintf("/tmp/carnet/shots/%s-%s.png", n, mode), shot, 0o644)
			over, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.documentElement.scrollWidth > innerWidth ? "overflow "+document.documentElement.scrollWidth : ""`))
			if over != "" {
				t.Errorf("%s %s: %s", n, mode, over)
			}
			if os.Getenv("AXE") != "" {
				_, err := chromedp.Run(ctx, chromedp.Evaluate[string](string(axe)+`;"ok"`))
				if err != nil {
					t.Fatal(err)
				}
				found, err := chromedp.Run(ctx, chromedp.Evaluate[string](`axe.run(document,{resultTypes:["violations"]}).then(r=>r.violations.map(v=>v.id+" ("+v.impact+"): "+v.nodes.slice(0,4).map(n=>n.target.join(" ")+" | "+(n.any[0]?.message||n.failureSummary)).join("\n      ")).join("\n   "))`, chromedp.EvalAwaitPromise))
				if err != nil {
					t.Fatal(err)
				}
				if found != "" {
					t.Errorf("%s %s:\n   %s", n, mode, found)
				}
			}
		}
	}
}
