package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/access"
	"carnet/internal/problem"
)

func TestOnlyLocalPathsAreFollowed(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/": "/", "/a/b?c=d#e": "/a/b?c=d#e", "/?next=//x": "/?next=//x",
		"": "/", "a": "/", "//h": "/", "///h": "/", `/\h`: "/", `/a\b`: "/", "/\t/h": "/", "/\n": "/", "/ /h": "/", "http://h/": "/", "javascript:alert(1)": "/",
		"/%zz": "/", "/\x00": "/", "/%2f/h": "/", "/\u00a0/h": "/",
	} {
		if got := localPath(path); got != want {
			t.Errorf("localPath(%q) = %q, want %q", path, got, want)
		}
	}
}

func FuzzLocalPathStaysHere(f *testing.F) {
	for _, seed := range []string{"/", "//h", `/\h`, "/%2f%2fh", "/a?b"} {
		f.Add(seed)
	}
	here, err := url.Parse("https://here.example/page")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := localPath(path)
		to, err := here.Parse(got)
		if err != nil || to.Host != here.Host || to.Scheme != here.Scheme {
			t.Errorf("localPath(%q) = %q leads to %v", path, got, to)
		}
		if strings.ContainsAny(got, "\\\r\n\t") || strings.HasPrefix(got, "//") {
			t.Errorf("localPath(%q) = %q, which browsers may read otherwise", path, got)
		}
	})
}

func TestTimesAreToldInOneUnit(t *testing.T) {
	t.Parallel()
	r := &renderer{now: func() time.Time { return sampleNow }}
	for offset, want := range map[time.Duration]string{
		0: "just now", -44 * time.Second: "just now", 10 * time.Second: "in a moment", -45 * time.Second: "1 minute ago", -50 * time.Minute: "50 minutes ago",
		-60 * time.Minute: "1 hour ago", -26 * time.Hour: "26 hours ago", -40 * time.Hour: "2 days ago", -59 * aDay: "59 days ago", -90 * aDay: "3 months ago",
		-800 * aDay: "2 years ago", 7 * aDay: "in 7 days", 90 * time.Minute: "in 2 hours",
	} {
		if got := r.relative(sampleNow.Add(offset)); got != want {
			t.Errorf("%v: %q, want %q", offset, got, want)
		}
	}
}

func TestWhatIsWorthALookStandsOut(t *testing.T) {
	t.Parallel()
	ref := func(d time.Duration) *time.Time { at := sampleNow.Add(d); return &at }
	for name, c := range map[string]struct {
		token tokenView
		want  []string
	}{
		"new and unused":         {tokenView{State: "live", CreatedAt: before(29 * aDay)}, nil},
		"never used":             {tokenView{State: "live", CreatedAt: before(30 * aDay)}, []string{"Never used in 30 days"}},
		"used lately":            {tokenView{State: "live", CreatedAt: before(300 * aDay), LastUsedAt: ref(-time.Hour)}, nil},
		"dead":                   {tokenView{State: "live", CreatedAt: before(300 * aDay), LastUsedAt: ref(-31 * aDay)}, []string{"Unused for 31 days"}},
		"expires in a week":      {tokenView{State: "live", CreatedAt: before(aDay), ExpiresAt: ref(7 * aDay)}, nil},
		"expires sooner":         {tokenView{State: "live", CreatedAt: before(aDay), ExpiresAt: ref(3 * aDay)}, []string{"Expires in 3 days"}},
		"both":                   {tokenView{State: "inert", CreatedAt: before(50 * aDay), ExpiresAt: ref(aDay)}, []string{"Expires in 24 hours", "Never used in 50 days"}},
		"revoked":                {tokenView{State: "revoked", CreatedAt: before(90 * aDay), ExpiresAt: ref(aDay)}, nil},
		"expired and never used": {tokenView{State: "expired", CreatedAt: before(90 * aDay), ExpiresAt: ref(-aDay)}, nil},
	} {
		c.token.now = sampleNow
		var got []string
		for _, m := range c.token.Marks() {
			got = append(got, m.Text)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Every scope of the catalogue has its place in the picker, and what the role lacks is shown, explained and not to be chosen.
func TestScopePickerShowsTheWholeCatalogue(t *testing.T) {
	t.Parallel()
	for _, role := range access.Roles() {
		rows := scopeRows(access.AllScopes(), offering{role: role, limit: access.AllScopes()})
		offered := 0
		for _, row := range rows {
			if row.Title == "" || row.Text == "" {
				t.Errorf("%s has no words", row.Resource)
			}
			chosen := 0
			for _, level := range row.Levels {
				if level.Chosen {
					chosen++
				}
				if level.Chosen && (level.Disabled || !level.Offered) {
					t.Errorf("%s as %s: %s is chosen and cannot be", row.Resource, role, level.Value)
				}
				if level.Disabled && row.Reason == "" {
					t.Errorf("%s as %s: no reason", row.Resource, role)
				}
				if level.Offered && level.Value != "none" {
					offered++
					scope, ok := access.ParseScope(row.Resource + ":" + level.Value)
					if !ok || scope.CoveredBy(role) == level.Disabled {
						t.Errorf("%s:%s as %s: disabled is %v", row.Resource, level.Value, role, level.Disabled)
					}
				}
			}
			if chosen != 1 {
				t.Errorf("%s as %s: %d levels are chosen", row.Resource, role, chosen)
			}
		}
		if offered != access.AllScopes().Len() {
			t.Errorf("%s: %d scopes are offered", role, offered)
		}
	}
}

func TestPrefilledFormsMeanWhatTheAddressSays(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                                     "name=&organization=",
		"scopes=tasks:read,tasks:write,x,%00":  "name=&organization=&scope.tasks=write",
		"scopes=tasks:write&scopes=tasks:read": "name=&organization=&scope.tasks=write",
		"expires_in_days=90&name=A":            "expiry=90&name=A&organization=",
		"expires_in_days=5":                    "expires_at=2027-03-17T14%3A05&expiry=custom&name=&organization=",
		"expires_in_days=-1":                   "name=&organization=",
		"expires_in_days=99999999":             "name=&organization=",
		"projects=a,b&projects=c":              "name=&organization=&projects=a&projects=b&projects=c&reach=chosen",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := prefilled(values, sampleNow).Encode(); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestRefusalsStandBesideTheirInputs(t *testing.T) {
	t.Parallel()
	f := newForm(nil)
	e := problem.InvalidFields(problem.Field{Location: "body.scopes[2]", Message: "is no scope"}, problem.Field{Location: "body.expires_in_days", Message: "must lie ahead"})
	if err := refused(&f, e, tokenInputs); err != nil {
		t.Fatal(err)
	}
	if f.Error("scopes") != "Is no scope." || f.Error("expires_at") != "Must lie ahead." || !f.Wrong() {
		t.Errorf("%+v", f.Errors)
	}
	if err := refused(&f, problem.Absent(), nil); err == nil {
		t.Error("an absence was filed as a mistake in the form")
	}
}

func TestPasswordsAreNeverSentBack(t *testing.T) {
	t.Parallel()
	kept := withoutSecrets(url.Values{"name": {"a"}, "password": {"b"}, "current": {"c"}, "new": {"d"}, againInput: {"e"}, "username": {"f"}})
	if len(kept) != 1 || kept.Get("name") != "a" {
		t.Errorf("kept %v", kept)
	}
	i, err := field(form{Values: url.Values{"x": {"secret"}}}, "x", "X", "type=password")
	if err != nil || i.Value != "" {
		t.Errorf("a password input shows %q, %v", i.Value, err)
	}
}

// The address after a change names words that exist.
func TestEveryChangeHasAWord(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	done := regexp.MustCompile(`(?:leave\([^\n]*, "([a-z-]+)"\)|done=([a-z-]+))`)
	n := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range done.FindAllStringSubmatch(string(content), -1) {
			n++
			if word := match[1] + match[2]; flashes[word] == "" {
				t.Errorf("%s says %q, which has no words", file, word)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d changes were found", n)
	}
}

func TestStaticFilesAreKeptForEverUnderTheirDigest(t *testing.T) {
	t.Parallel()
	files, err := newAssets()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /static/{digest}/{path...}", files.serve)
	address, err := files.url("app.css")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path, encoding string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	w := ask(address, "br, gzip;q=0.8")
	if w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := ask(address, "gzip;q=0"); w.Header().Get("Content-Encoding") != "" || w.Body.Len() != len(files.files["app.css"].plain) {
		t.Errorf("gzip was refused, and sent: %v", w.Header())
	}
	if w := ask("/static/0000000000000000/app.css", ""); w.Code != 200 || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("another version's address: %d %v", w.Code, w.Header())
	}
	for _, path := range []string{"/static/x/../web.go", "/static/x/nothing.css", "/static/x/"} {
		if w := ask(path, ""); w.Code == 200 {
			t.Errorf("%s answers 200", path)
		}
	}
	if _, err := files.url("nothing.css"); err == nil {
		t.Error("there is an address for a file that is not there")
	}
}

func TestDevicesHaveNamesThatPeopleUse(t *testing.T) {
	t.Parallel()
	for client, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0":                                                    "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0": "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Version/19.1 Mobile/15E148 Safari/604.1":       "Safari on iPhone",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/140.0 Safari/537.36":                             "Chrome on macOS",
		"curl/8.5.0": "A program", "": "A program",
	} {
		if got := deviceName(client); got != want {
			t.Errorf("%q is %q, want %q", client, got, want)
		}
	}
}

func TestCallsAreDrawnInProportion(t *testing.T) {
	t.Parallel()
	c := newCallChart(map[string]int{"2027-03-12": 100, "2027-03-11": 50, "2026-01-01": 7}, sampleNow, 30)
	last := c.Days[len(c.Days)-1]
	if c.Total != 150 || c.Most != 100 || len(c.Days) != 30 || last.Height != "120.0" || c.Days[28].Height != "60.0" || len(c.Table) != 2 || c.Table[0].Calls != 100 {
		t.Errorf("%+v", c)
	}
	if empty := newCallChart(nil, sampleNow, 30); empty.Total != 0 || len(empty.Days) != 30 {
		t.Errorf("%+v", empty)
	}
}
