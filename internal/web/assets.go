package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed static
var staticFiles embed.FS

// assets serves the static files from memory, compressed once at start.
//
// Their URLs carry one digest over all of them, so that a browser may keep them for ever and asks anew as soon as any of
// them changes. One digest for all rather than one for each, because style sheets and modules name each other by
// relative path, which then needs no rewriting.
type assets struct {
	base  string // "/static/<digest>/"
	files map[string]asset
}

type asset struct {
	kind       string
	plain      []byte
	compressed []byte // nil where it would not be smaller
}

// icoPath is where browsers look for an icon when a page names none, such as for the raw API documents.
const icoPath = "/favicon.ico"

func newAssets() (*assets, error) {
	a := &assets{files: map[string]asset{}}
	digest := sha256.New()
	err := fs.WalkDir(staticFiles, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := staticFiles.ReadFile(name)
		if err != nil {
			return err
		}
		// Length first: otherwise bytes could move from one file to the next without the digest noticing.
		fmt.Fprintf(digest, "%s %d\n", name, len(content))
		digest.Write(content)
		a.files[strings.TrimPrefix(name, "static/")] = newAsset(name, content)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the static files: %w", err)
	}
	a.base = "/static/" + hex.EncodeToString(digest.Sum(nil))[:16] + "/"
	return a, nil
}

func newAsset(name string, content []byte) asset {
	f := asset{kind: contentType(name), plain: content}
	var compressed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&compressed, gzip.BestCompression) // the level is valid: cannot fail
	_, _ = w.Write(content)                                        // into memory: cannot fail
	_ = w.Close()
	if compressed.Len() < len(content)*9/10 {
		f.compressed = compressed.Bytes()
	}
	return f
}

// contentType does not ask the machine, whose table of types may lack some or differ.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	case ".md", "":
		return "text/plain; charset=utf-8"
	default:
		return mime.TypeByExtension(path.Ext(name))
	}
}

// url returns where a file is served.
func (a *assets) url(name string) (string, error) {
	if _, ok := a.files[name]; !ok {
		return "", fmt.Errorf("no static file %q", name)
	}
	return a.base + name, nil
}

// serve answers GET /static/{digest}/{path...}. A digest of another version gets today's file, but may not be kept:
// during a roll-out, a page from the old version may ask the new one.
func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[r.PathValue("path")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	lifetime := "public, max-age=31536000, immutable"
	if "/static/"+r.PathValue("digest")+"/" != a.base {
		lifetime = "no-cache"
	}
	f.write(w, r, lifetime)
}

func (f asset) write(w http.ResponseWriter, r *http.Request, lifetime string) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", lifetime)
	h.Set("X-Content-Type-Options", "nosniff")
	body := f.plain
	if f.compressed != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			body = f.compressed
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the browser went away: nothing to do about it
	}
}

// acceptsGzip reads Accept-Encoding as far as browsers use it.
func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, parameters, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return strings.ReplaceAll(parameters, " ", "") != "q=0"
		}
	}
	return false
}
