package browser_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func (b *tab) clipboard() string {
	b.t.Helper()
	return get(b, chromedp.Evaluate[string](`navigator.clipboard.readText()`, chromedp.EvalAwaitPromise))
}

// keys types.
func (b *tab) keys(text string) {
	b.t.Helper()
	b.eval(`window.before = true`)
	b.do(chromedp.KeyEvent(strings.ReplaceAll(text, "→", kb.ArrowRight)))
}

// focus presses Tab until the element has the focus, and checks at every stop that one sees where one is.
func (b *tab) focus(selector string) {
	b.t.Helper()
	for range 200 {
		if b.eval(fmt.Sprintf("document.activeElement?.matches(%q)", selector)) == "true" {
			return
		}
		b.do(chromedp.KeyEvent(kb.Tab))
		seen := ""
		for deadline := time.Now().Add(time.Second); seen != "true" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			seen = b.eval(focusSeen) // it may take a moment to be drawn
		}
		if seen != "true" {
			b.t.Errorf("the focus cannot be seen on %s", seen)
		}
	}
	b.t.Fatalf("Tab never reaches %s", selector)
}

// focusSeen is true when the element with the focus, or what it is drawn by, has an outline or a ring.
const focusSeen = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body) return true;
	if (!e.matches(":focus")) return true; // it is on a part that the browser draws, such as the button of a date
	const ring = (x) => { const s = getComputedStyle(x); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== "none"; };
	return [e, e.parentElement, e.closest("label")].some((x) => x && ring(x)) || e.outerHTML.slice(0, 200);
})()`
