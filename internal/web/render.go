package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

//go:embed templates
var templateFiles embed.FS

// frame is what the layout needs, around what a page's own template needs (Data).
type frame struct {
	Title        string
	Section      string // which link of the navigation is current
	Path         string // where the person is, for forms that come back here
	Theme        string // "light", "dark", or "" for the system's
	Viewer       *viewer
	Organization *place // the one that the page is about, or else the first of the viewer's
	Flash        string
	Data         any
}

// viewer is the person who is signed in.
type viewer struct {
	ID, Name, Email string
	Verified        bool
	Organizations   []place
}

// place is an organization and what somebody is in it.
type place struct {
	Slug, Name, Role, Plan string
	Administers            bool // whether they see what admins of it see
}

// renderer holds the parsed templates: one set for each page, each with the layout.
type renderer struct {
	pages map[string]*template.Template
	now   func() time.Time
}

// newRenderer parses every page under templates/pages together with the files beside that folder.
func newRenderer(files *assets, now func() time.Time) (*renderer, error) {
	r := &renderer{pages: map[string]*template.Template{}, now: now}
	functions := r.functions(files)
	shared, err := template.New("").Funcs(functions).ParseFS(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse the shared templates: %w", err)
	}
	names, err := fs.Glob(templateFiles, "templates/pages/*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		set, err := shared.Clone()
		if err == nil {
			set, err = set.ParseFS(templateFiles, name)
		}
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		r.pages[strings.TrimSuffix(path.Base(name), ".html")] = set
	}
	return r, nil
}

// uncompressed are pages that hold a secret beside what people typed: how well they compress could tell something about
// it to whoever watches the line (BREACH, Gluck, Harris and Prado 2013).
var uncompressed = map[string]bool{"token-value": true}

// render writes a page, compressed where the browser takes it. It is drawn into memory first, so that a template that
// fails leaves nothing half sent.
func (r *renderer) render(w http.ResponseWriter, request *http.Request, status int, name string, p frame) error {
	set, ok := r.pages[name]
	if !ok {
		return fmt.Errorf("no page %q", name)
	}
	var body bytes.Buffer
	if err := set.ExecuteTemplate(&body, "layout", p); err != nil {
		return fmt.Errorf("draw page %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store") // every page shows what one person may see
	h.Set("Vary", "Accept-Encoding")
	content := body.Bytes()
	if !uncompressed[name] && acceptsGzip(request) {
		h.Set("Content-Encoding", "gzip")
		content = squeeze(content)
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	_, _ = w.Write(content) // the browser went away: nothing to do about it
	return nil
}

// squeezers are kept, because each holds a megabyte.
var squeezers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func squeeze(content []byte) []byte {
	var packed bytes.Buffer
	z, _ := squeezers.Get().(*gzip.Writer)
	defer squeezers.Put(z)
	z.Reset(&packed)
	_, _ = z.Write(content) // into memory: cannot fail
	_ = z.Close()
	return packed.Bytes()
}

func (r *renderer) functions(files *assets) template.FuncMap {
	return template.FuncMap{
		"asset":    files.url,
		"icon":     icon,
		"ago":      func(t any) (template.HTML, error) { return r.timeTag(t, r.relative) },
		"when":     func(t any) (template.HTML, error) { return r.timeTag(t, exact) },
		"day":      func(t any) (template.HTML, error) { return r.timeTag(t, calendarDay) },
		"plural":   plural,
		"initials": initials,
		"field":    field,
		"choose":   choose,
		"join":     strings.Join,
		"words":    words,
		"status":   func(s string) string { return titles[s] },
		"lower":    strings.ToLower,
		"now":      func() string { return r.now().UTC().Format(time.RFC3339) },
		"as":       withArticle,
	}
}

// timeTag draws a moment for people and programs: text in words, the exact moment in the attribute and on hover. The
// script times.js keeps the relative ones true and shows the hover text in the reader's own zone.
func (r *renderer) timeTag(value any, words func(time.Time) string) (template.HTML, error) {
	var t time.Time
	switch v := value.(type) {
	case time.Time:
		t = v
	case *time.Time:
		if v == nil {
			return "", errors.New("no time to show")
		}
		t = *v
	default:
		return "", fmt.Errorf("%T is no time", value)
	}
	t = t.UTC()
	text := words(t)
	kind := ""
	if text == r.relative(t) {
		kind = " data-relative"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s"%s>%s</time>`, //nolint:gosec // no input of people in it
		t.Format(time.RFC3339), exact(t), kind, text)), nil
}

// relative says how far away a moment is, in one unit. times.js says it in the same words.
func (r *renderer) relative(t time.Time) string {
	distance := r.now().Sub(t)
	ahead := distance < 0
	distance = distance.Abs()
	if distance < 45*time.Second {
		if ahead {
			return "in a moment"
		}
		return "just now"
	}
	text := span(distance)
	if ahead {
		return "in " + text
	}
	return text + " ago"
}

// span says how long a duration is, in one unit.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	for _, u := range []struct {
		size  time.Duration
		limit time.Duration
		name  string
	}{
		{time.Minute, 59*time.Minute + 30*time.Second, "minute"},
		{time.Hour, 36 * time.Hour, "hour"},
		{day, 60 * day, "day"},
		{30 * day, 730 * day, "month"},
	} {
		if d < u.limit {
			return plural(max(1, int((d+u.size/2)/u.size)), u.name)
		}
	}
	return plural(int((d+365*day/2)/(365*day)), "year")
}

func exact(t time.Time) string       { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }
func calendarDay(t time.Time) string { return t.UTC().Format("2 Jan 2006") }

// plural counts things: "1 token", "2 tokens", "3 people".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + plurals(noun)
}

func plurals(noun string) string {
	switch {
	case noun == "person":
		return "people"
	case strings.HasSuffix(noun, "ss"):
		return noun + "es"
	default:
		return noun + "s"
	}
}

// words joins as people do: "a, b and c".
func words(items []string) string {
	switch len(items) {
	case 0:
		return ""
	case 1:
		return items[0]
	default:
		return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
	}
}

// withArticle says what somebody is: "a member", "an owner".
func withArticle(role string) string {
	if role != "" && strings.ContainsRune("aeiou", rune(role[0])) {
		return "an " + role
	}
	return "a " + role
}

// initials returns one or two letters that stand for a name.
func initials(name string) string {
	var letters []rune
	parts := strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\'' })
	for i, part := range parts {
		if i == 0 || i == len(parts)-1 {
			first, _ := utf8.DecodeRuneInString(part)
			letters = append(letters, unicode.ToUpper(first))
		}
	}
	if len(letters) == 0 {
		return "?"
	}
	return string(letters)
}

// titles are the words for what the API names by code.
var titles = map[string]string{
	"todo": "To do", "in_progress": "In progress", "review": "In review", "blocked": "Blocked", "done": "Done",
	"low": "Low", "medium": "Medium", "high": "High", "critical": "Critical",
	"planning": "Planning", "active": "Active", "on_hold": "On hold", "completed": "Completed", "cancelled": "Cancelled",
	"owner": "Owner", "admin": "Admin", "manager": "Manager", "member": "Member", "guest": "Guest",
	"lead": "Lead", "contributor": "Contributor", "viewer": "Viewer",
	"organization": "Everyone in the organization", "private": "Private",
	"free": "Free", "team": "Team", "enterprise": "Enterprise",
}

// field makes an input of a form: field .Form "email" "E-mail address" "type=email" "required" …
func field(f form, name, label string, settings ...string) (input, error) {
	i := input{Name: name, ID: "f-" + name, Label: label, Type: "text", Value: f.Value(name), Error: f.Error(name)}
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		switch key {
		case "type":
			i.Type = value
		case "help":
			i.Help = value
		case "autocomplete":
			i.Autocomplete = value
		case "placeholder":
			i.Placeholder = value
		case "mode":
			i.Mode = value
		case "required":
			i.Required = true
		case "optional":
			i.Optional = true
		case "focus":
			i.Focus = true
		case "mono":
			i.Mono = true
		case "rows", "limit":
			n, err := strconv.Atoi(value)
			if err != nil {
				return input{}, err
			}
			if key == "rows" {
				i.Rows = n
			} else {
				i.Limit = n
			}
		default:
			return input{}, fmt.Errorf("input %s: no setting %q", name, key)
		}
	}
	if i.Type == "password" {
		i.Value = "" // never sent back, whatever happened
	}
	if f.Wrong() && i.Error == "" {
		i.Focus = false // the first input that is wrong gets it
	}
	return i, nil
}

// choose makes a select of a form.
func choose(f form, name, label string, options []option, settings ...string) (input, error) {
	i, err := field(f, name, label, settings...)
	if err != nil {
		return input{}, err
	}
	for _, o := range options {
		if _, typed := f.Values[name]; typed {
			o.Chosen = f.Has(name, o.Value)
		}
		i.Options = append(i.Options, o)
	}
	return i, nil
}
