package web

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func sampleReference() reference {
	content, err := os.ReadFile("testdata/openapi.json")
	if err != nil {
		panic(err)
	}
	r, err := newReference(content, "https://carnet.example")
	if err != nil {
		panic(err)
	}
	return r
}

func testRenderer(t testing.TB) (*renderer, *assets) {
	t.Helper()
	files, err := newAssets()
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRenderer(files, func() time.Time { return sampleNow })
	if err != nil {
		t.Fatal(err)
	}
	return r, files
}

// Inline styles, scripts and handlers would be dead under the content security policy, and an id that stands twice
// breaks what points to it.
var (
	inlineStyle   = regexp.MustCompile(`(?i)<style|<[^>]*\sstyle\s*=`)
	inlineHandler = regexp.MustCompile(`(?i)<[^>]*\son[a-z]+\s*=`)
	inlineScript  = regexp.MustCompile(`(?i)<script(?:[^>]*)>[^<]`)
	anyID         = regexp.MustCompile(`<[^>]*\sid="([^"]*)"`)
	heading       = regexp.MustCompile(`<h1[ >]`)
	mainLandmark  = regexp.MustCompile(`<main[ >]`)
	pointer       = regexp.MustCompile(`(?:aria-describedby|aria-labelledby|for|href="#|data-copy)="?([^"#>]+)"`)
)

func TestEveryPageIsSoundAndFitsThePolicy(t *testing.T) {
	t.Parallel()
	r, _ := testRenderer(t)
	for name, s := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			if err := r.render(w, httptest.NewRequest(http.MethodGet, "/", nil), 200, s.template, s.frame); err != nil {
				t.Fatal(err)
			}
			body := w.Body.String()
			for what, pattern := range map[string]*regexp.Regexp{"an inline style": inlineStyle, "an inline handler": inlineHandler, "an inline script": inlineScript} {
				if found := pattern.FindString(body); found != "" {
					t.Errorf("holds %s: %s", what, found)
				}
			}
			if n := len(heading.FindAllString(body, -1)); n != 1 {
				t.Errorf("has %d h1", n)
			}
			if n := len(mainLandmark.FindAllString(body, -1)); n != 1 {
				t.Errorf("has %d main", n)
			}
			ids := map[string]bool{}
			for _, match := range anyID.FindAllStringSubmatch(body, -1) {
				if ids[match[1]] {
					t.Errorf("id %q stands twice", match[1])
				}
				ids[match[1]] = true
			}
			for _, match := range pointer.FindAllStringSubmatch(body, -1) {
				for _, id := range strings.Fields(match[1]) {
					if !ids[id] {
						t.Errorf("something points to id %q, which is not there", id)
					}
				}
			}
		})
	}
}

func TestEveryTemplateHasASample(t *testing.T) {
	t.Parallel()
	r, _ := testRenderer(t)
	drawn := map[string]bool{}
	for _, s := range samples() {
		drawn[s.template] = true
	}
	for name := range r.pages {
		if !drawn[name] {
			t.Errorf("page %s has no sample", name)
		}
	}
}

// The bar of the design: at most 150 KB over the wire for a whole page, with an empty cache.
func TestAWholePageIsSmallOverTheWire(t *testing.T) {
	t.Parallel()
	r, files := testRenderer(t)
	shared := 0
	for name, f := range files.files {
		if strings.HasSuffix(name, ".md") || strings.HasSuffix(name, "LICENSE") || strings.Contains(name, "latin-ext") {
			continue // no page asks for them; Latin Extended only where a name needs it
		}
		if f.compressed != nil {
			shared += len(f.compressed)
		} else {
			shared += len(f.plain)
		}
	}
	for name, s := range samples() {
		w := httptest.NewRecorder()
		if err := r.render(w, httptest.NewRequest(http.MethodGet, "/", nil), 200, s.template, s.frame); err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(w.Body.Bytes())
		_ = z.Close()
		if total := shared + packed.Len(); total > 150<<10 {
			t.Errorf("%s weighs %d bytes, of which %d are its own", name, total, packed.Len())
		}
	}
	t.Logf("what pages share weighs %d bytes", shared)
}
