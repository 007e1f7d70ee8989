package carnet_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The house has floors, and a room imports only what lies below it: doors know features, features know the ground. On
// the two upper floors, each room may know those before it in the list.
var (
	ground = []string{
		"access", "token", "internal/db", "internal/problem", "internal/request", "internal/id", "internal/text",
		"internal/mail", "internal/lastuse", "internal/page", "internal/idempotency", "internal/allowance", "internal/optional",
		"internal/transfer",
	}
	features = []string{"internal/audit", "internal/account", "internal/org", "internal/work", "internal/tokens", "internal/clients", "internal/verify"}
	doors    = []string{"internal/server", "internal/api", "internal/web", "internal/mcp", "internal/oauth", "internal/forward", "internal/admin", "internal/demo"}
	// outside is what runs on other people's machines and knows the server by its public contract, not its features.
	outside = []string{"internal/cli", "client"}
	// scaffold is imported by tests only.
	scaffold = []string{"internal/pgtest", "internal/storetest"}
)

// pure rooms are public: others import them, so they bring nothing of Carnet along.
var pure = []string{"access", "token"}

func TestRoomsImportOnlyWhatLiesBelowThem(t *testing.T) {
	t.Parallel()
	for _, file := range sources(t) {
		from := room(path.Dir(file.path))
		for _, imported := range file.imports {
			to := room(imported)
			if from == to {
				continue
			}
			if !mayImport(from, to, file.test) {
				t.Errorf("%s: %s must not import %s", file.path, from, to)
			}
		}
	}
}

func TestEveryRoomStandsOnAFloor(t *testing.T) {
	t.Parallel()
	known := slices.Concat(ground, features, doors, outside, scaffold)
	for _, file := range sources(t) {
		r := room(path.Dir(file.path))
		if !slices.Contains(known, r) && !top(r) {
			t.Errorf("%s: %s stands on no floor: give it one in this test", file.path, r)
		}
	}
}

func mayImport(from, to string, test bool) bool {
	switch {
	case test && !slices.Contains(pure, from):
		return true // a room's tests may look at it from above
	case slices.Contains(scaffold, from):
		return slices.Contains(ground, to) || before(scaffold, to, from)
	case slices.Contains(scaffold, to):
		return test || top(from)
	case top(from):
		return true
	case slices.Contains(pure, from):
		return false
	case slices.Contains(ground, from):
		return slices.Contains(ground, to)
	case slices.Contains(features, from):
		return slices.Contains(ground, to) || before(features, to, from)
	case slices.Contains(doors, from):
		return slices.Contains(ground, to) || slices.Contains(features, to) || before(doors, to, from)
	case slices.Contains(outside, from):
		return slices.Contains(ground, to)
	default:
		return false
	}
}

// before reports whether to stands before from in the list of a floor.
func before(floor []string, to, from string) bool {
	return slices.Contains(floor, to) && slices.Index(floor, to) < slices.Index(floor, from)
}

// top reports the rooms above all floors, which wire the house together or test it as a whole.
func top(r string) bool {
	return r == "." || r == "internal/house" || strings.HasPrefix(r, "cmd") || strings.HasPrefix(r, "test") || strings.HasPrefix(r, "internal/tools")
}

// room returns the room that a package belongs to: itself, or for generated rows the feature that has them.
func room(folder string) string { return strings.TrimSuffix(folder, "/rows") }

type source struct {
	path    string
	test    bool
	imports []string // of this module, without its name
}

func sources(t *testing.T) []source {
	t.Helper()
	var found []source
	err := filepath.WalkDir(".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && p != "." && (strings.HasPrefix(name, ".") || name == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		s := source{path: filepath.ToSlash(p), test: strings.HasSuffix(name, "_test.go")}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if own, ok := strings.CutPrefix(imported, "carnet/"); ok {
				s.imports = append(s.imports, own)
			}
		}
		found = append(found, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no source was found")
	}
	return found
}
