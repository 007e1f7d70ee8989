package db_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// asSQLite writes a PostgreSQL statement as it reads for SQLite. What is left must be the same, to the letter.
var asSQLite = strings.NewReplacer(` COLLATE "C"`, "", "BIGINT", "INTEGER", "BYTEA", "BLOB")

var (
	comments = regexp.MustCompile(`--[^\n]*`)
	space    = regexp.MustCompile(`\s+`)
	options  = regexp.MustCompile(`\) (STRICT|WITHOUT ROWID)(, WITHOUT ROWID)?$`)
)

func statements(t *testing.T, path string) (list []string) {
	t.Helper()
	text := comments.ReplaceAllString(string(content(t, path)), "")
	for statement := range strings.SplitSeq(text, ";") {
		statement = strings.TrimSpace(space.ReplaceAllString(asSQLite.Replace(statement), " "))
		statement = options.ReplaceAllString(statement, ")")
		if statement != "" {
			list = append(list, statement)
		}
	}
	return list
}

func TestBothEnginesHaveTheSameTables(t *testing.T) {
	t.Parallel()
	const name = "00001_foundation.sql"
	sqlite, postgres := statements(t, "migrations/sqlite/"+name), statements(t, "migrations/postgres/"+name)
	if len(sqlite) < 20 {
		t.Fatalf("only %d statements were found", len(sqlite))
	}
	for i := range max(len(sqlite), len(postgres)) {
		switch {
		case i >= len(sqlite):
			t.Fatalf("only PostgreSQL has: %s", postgres[i])
		case i >= len(postgres):
			t.Fatalf("only SQLite has: %s", sqlite[i])
		case sqlite[i] != postgres[i]:
			t.Fatalf("SQLite has\n%s\nPostgreSQL has\n%s", sqlite[i], postgres[i])
		}
	}
}

// PostgreSQL compares text by language unless told otherwise; the engines must agree about every order.
func TestEveryTextOfPostgreSQLIsOrderedByBytes(t *testing.T) {
	t.Parallel()
	for line := range strings.SplitSeq(comments.ReplaceAllString(string(content(t, "migrations/postgres/00001_foundation.sql")), ""), "\n") {
		if regexp.MustCompile(`^\s+\w+\s+TEXT`).MatchString(line) && !strings.Contains(line, `TEXT COLLATE "C"`) {
			t.Errorf("a text column without COLLATE \"C\": %s", strings.TrimSpace(line))
		}
	}
}

func TestMigrationsOfBothEnginesHaveTheSameNames(t *testing.T) {
	t.Parallel()
	names := func(engine string) (list []string) {
		entries, err := os.ReadDir("migrations/" + engine)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	sqlite, postgres := names("sqlite"), names("postgres")
	// PostgreSQL is not served yet: what it has must be what SQLite has, up to some number.
	if len(postgres) == 0 || len(postgres) > len(sqlite) {
		t.Fatalf("SQLite has %v, PostgreSQL %v", sqlite, postgres)
	}
	for i, name := range postgres {
		if sqlite[i] != name {
			t.Errorf("migration %d is %s and %s", i+1, sqlite[i], name)
		}
	}
}

// The C library that SQLite was translated with must be exactly the one that it was built against: another one can
// corrupt memory (modernc.org/sqlite's own advice; seen in usememos/memos #4745).
func TestLibcIsTheOneThatSQLiteDemands(t *testing.T) {
	t.Parallel()
	demanded := required(t, content(t, modFile(t, "modernc.org/sqlite")), "modernc.org/libc")
	chosen := required(t, content(t, "../../go.mod"), "modernc.org/libc")
	if demanded == "" || chosen != demanded {
		t.Errorf("go.mod has modernc.org/libc %q, SQLite demands %q", chosen, demanded)
	}
	for _, line := range strings.Split(string(content(t, "../../go.mod")), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "replace") {
			t.Errorf("go.mod replaces a module: %s", line)
		}
	}
}

func modFile(t *testing.T, module string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.GoMod}}", module)
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return filepath.Clean(strings.TrimSpace(string(output)))
}

func required(t *testing.T, mod []byte, module string) string {
	t.Helper()
	for line := range strings.SplitSeq(string(mod), "\n") {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module {
			return fields[1]
		}
	}
	return ""
}
