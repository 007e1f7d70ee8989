package carnet_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"carnet/internal/house"
	"carnet/internal/problem"
	"carnet/test/harness"
)

// What the documents say about the program is read out of them here and held against the program itself: links, tests,
// commands and flags, environment variables, error codes, routes and metrics.

// documents returns the text of every Markdown file, by its path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && p != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || entry.Name() == "bin") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(p, ".md") {
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			found[filepath.ToSlash(p)] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d documents were found", len(found))
	}
	return found
}

var (
	linkForm    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingForm = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

func TestRelativeLinksInTheDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := documents(t)
	for name, text := range all {
		for _, match := range linkForm.FindAllStringSubmatch(text, -1) {
			link := match[1]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(link, "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, link)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(all[target]), anchor) {
				t.Errorf("%s links to %s, but %s has no such heading", name, link, target)
			}
		}
	}
}

// anchors returns the anchors that a document's headings get.
func anchors(text string) []string {
	var out []string
	for _, match := range headingForm.FindAllStringSubmatch(text, -1) {
		plain := notInAnchor.ReplaceAllString(strings.ToLower(match[1]), "")
		out = append(out, strings.ReplaceAll(plain, " ", "-"))
	}
	return out
}

var testForm = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]+)`")

func TestTestsNamedInTheDocumentsExist(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	for _, file := range sources(t) {
		if file.test {
			text, err := os.ReadFile(file.path)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	for name, text := range documents(t) {
		for _, match := range testForm.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(code.String(), "func "+match[1]+"(") {
				t.Errorf("%s names the test %s, which does not exist", name, match[1])
			}
		}
	}
}

var (
	// commandForm finds a call of the program: the words after carnet that name the command, and what follows.
	commandForm = regexp.MustCompile(`(?:^|[\s` + "`" + `(|&;])(?:bin/)?carnet ((?:(?:create|set|add|remove|suspend|restore|trust|revoke)-[a-z-]+ ?|(?:serve|backup|restore|store|copy|login|logout|whoami|token|api|admin|version|create|list|show|narrow|rotate|revoke|identify)\b ?)+)([^|` + "`" + `\n]*)`)
	flagForm    = regexp.MustCompile(`(?:^|\s|\[)(--[a-z][a-z-]*)`)
	aloneForm   = regexp.MustCompile("`(--[a-z][a-z-]*)[^`]*`")
	variable    = regexp.MustCompile(`\bCARNET_[A-Z_]+\b`)
)

// notCarnets are what the documents say of other programs, and variables that are the tests' own.
var notCarnets = []string{"CARNET_SOAK", "CARNET_BINARY", "CARNET_BENCH_CELL", "CARNET_BENCH_TOKENS"}

func TestCommandsFlagsAndVariablesInTheDocumentsExist(t *testing.T) {
	t.Parallel()
	var everything strings.Builder
	for _, command := range []string{
		"", "serve", "login", "logout", "whoami", "api", "version", "token create", "token list", "token show", "token narrow", "token rotate",
		"token revoke", "token identify", "admin create-user", "admin create-org", "admin add-member", "admin set-role", "admin remove-member",
		"admin suspend-user", "admin restore-user", "admin set-plan", "admin trust-tokens", "admin revoke-all-tokens",
		"backup", "restore", "store copy",
	} {
		everything.WriteString(helpOf(t, command))
	}
	for name, text := range documents(t) {
		// A command that goes on in the next line is one.
		text = strings.ReplaceAll(text, "\\\n", " ")
		for _, match := range commandForm.FindAllStringSubmatch(text, -1) {
			command := strings.TrimSpace(match[1])
			help := helpOf(t, command)
			if help == "" {
				t.Errorf("%s names the command carnet %s, which does not exist", name, command)
				continue
			}
			for _, flag := range flagForm.FindAllStringSubmatch(match[2], -1) {
				if !hasFlag(help, flag[1]) {
					t.Errorf("%s calls carnet %s with %s, which its help does not know", name, command, flag[1])
				}
			}
		}
		for _, flag := range aloneForm.FindAllStringSubmatch(text, -1) {
			if !hasFlag(everything.String(), flag[1]) {
				t.Errorf("%s names the flag %s, which no help knows", name, flag[1])
			}
		}
		for _, v := range variable.FindAllString(text, -1) {
			if !strings.Contains(everything.String(), v) && !slices.Contains(notCarnets, v) {
				t.Errorf("%s names the variable %s, which no help knows", name, v)
			}
		}
	}
}

// The operators' page has every flag and variable of the server.
func TestOperatorsPageListsEveryFlagOfServe(t *testing.T) {
	t.Parallel()
	page := documents(t)["docs/operators.md"]
	help := helpOf(t, "serve")
	for _, match := range regexp.MustCompile(`(?m)^ +(--[a-z\[\]-]+)`).FindAllStringSubmatch(help, -1) {
		flag := strings.Replace(match[1], "[no-]", "", 1)
		if !strings.Contains(page, "`"+flag) {
			t.Errorf("carnet serve has the flag %s, which docs/operators.md does not name", flag)
		}
	}
	for _, v := range variable.FindAllString(help, -1) {
		if !strings.Contains(page, "`"+v+"`") {
			t.Errorf("carnet serve reads %s, which docs/operators.md does not name", v)
		}
	}
}

func hasFlag(help, flag string) bool {
	word := strings.TrimPrefix(flag, "--")
	word = strings.TrimPrefix(word, "no-")
	return regexp.MustCompile(`--(?:\[no-\])?(?:no-)?` + regexp.QuoteMeta(word) + `\b(?:[^-]|$)`).MatchString(help)
}

var helps sync.Map

// helpOf returns what a command's --help prints, "" for what is no command.
func helpOf(t *testing.T, command string) string {
	t.Helper()
	if known, ok := helps.Load(command); ok {
		return known.(string) //nolint:forcetypeassert // the map holds nothing else
	}
	out, _, code := harness.Command(t, nil, "", append(strings.Fields(command), "--help")...)
	if code != 0 {
		out = ""
	}
	helps.Store(command, out)
	return out
}

var codeRow = regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `([a-z_]+)` \\|")

func TestAPIPageListsExactlyTheErrorCodes(t *testing.T) {
	t.Parallel()
	said := map[problem.Code]int{}
	for _, match := range codeRow.FindAllStringSubmatch(documents(t)["docs/api.md"], -1) {
		status, _ := strconv.Atoi(match[1])
		if _, twice := said[problem.Code(match[2])]; twice {
			t.Errorf("docs/api.md lists %s twice", match[2])
		}
		said[problem.Code(match[2])] = status
	}
	for _, code := range problem.Codes() {
		if said[code] != code.Status() {
			t.Errorf("docs/api.md lists %s with status %d, the program answers %d", code, said[code], code.Status())
		}
		delete(said, code)
	}
	for code := range said {
		t.Errorf("docs/api.md lists the code %s, which the program does not have", code)
	}
}

var (
	routeForm     = regexp.MustCompile("`(GET|POST|PUT|PATCH|DELETE) (/[^`? ]*)[^`]*`")
	parameterForm = regexp.MustCompile(`\{[a-z_ ]+\}`)
)

func TestAPIPageListsExactlyThePublishedRoutes(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for _, match := range routeForm.FindAllStringSubmatch(documents(t)["docs/api.md"], -1) {
		said[route(match[1], match[2])] = true
	}
	published := publishedRoutes(t)
	for r := range published {
		if !said[r] {
			t.Errorf("%s is published, but docs/api.md does not name it", r)
		}
	}
	for r := range said {
		if !published[r] {
			t.Errorf("docs/api.md names %s, which is not published", r)
		}
	}
}

// route is the form in which routes are compared: whatever their parameters are called.
func route(method, path string) string {
	return method + " " + parameterForm.ReplaceAllString(path, "{}")
}

func publishedRoutes(t *testing.T) map[string]bool {
	t.Helper()
	body := ask(t, "/openapi.json")
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatalf("read the document: %v", err)
	}
	routes := map[string]bool{}
	for path, methods := range document.Paths {
		for method := range methods {
			routes[route(strings.ToUpper(method), path)] = true
		}
	}
	if len(routes) < 40 {
		t.Fatalf("the document lists %d routes only", len(routes))
	}
	return routes
}

// ask asks a server in this process for a page that needs no credential.
func ask(t *testing.T, path string) string {
	t.Helper()
	public, err := url.Parse("http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	h, err := house.Build(context.Background(), house.Plan{
		Data: t.TempDir(), PublicURL: public.String(), Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(context.Background()) })
	front, metrics, err := h.Doors(house.Front{PublicURL: public})
	if err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = front
	if path == "/metrics" {
		metrics.Observe("GET /", http.StatusOK, 0)
		handler = metrics.Handler()
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("GET %s answers %d", path, recorder.Code)
	}
	return recorder.Body.String()
}

func TestOperatorsPageListsExactlyTheMetricsOfCarnet(t *testing.T) {
	t.Parallel()
	page := documents(t)["docs/operators.md"]
	said := regexp.MustCompile("`(carnet_[a-z_]+)`").FindAllStringSubmatch(page, -1)
	var there []string
	for _, match := range regexp.MustCompile(`(?m)^# HELP (carnet_[a-z_]+) `).FindAllStringSubmatch(ask(t, "/metrics"), -1) {
		there = append(there, match[1])
		if !strings.Contains(page, "`"+match[1]+"`") {
			t.Errorf("the metric %s is served, but docs/operators.md does not name it", match[1])
		}
	}
	for _, match := range said {
		name := match[1]
		if strings.HasPrefix(name, "carnet_pat_") || strings.HasPrefix(name, "carnet_ses_") || strings.HasPrefix(name, "carnet_agt_") {
			continue
		}
		if !slices.Contains(there, name) {
			t.Errorf("docs/operators.md names the metric %s, which is not served", name)
		}
	}
}
