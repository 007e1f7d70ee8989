package access_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"carnet/access"
)

var update = flag.Bool("update", false, "write docs/roles.md anew")

const rolesHeader = `# Who may do what

This page is generated from the code that decides (` + "`go test ./access -run RoleTables -update`" + `), so it cannot be wrong about it.

What a token may do is what its user's role permits at this moment, cut down to the token's scopes and, where it is
limited to projects, to those projects. What is marked "no token can" needs a person who is signed in.

`

func TestRoleTablesInTheDocumentsAreThoseOfTheCode(t *testing.T) {
	const path = "../docs/roles.md"
	want := rolesHeader + access.RoleTables()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says: run go test ./access -run RoleTables -update", path)
	}
}

func TestRoleTablesSayWhatEveryPermissionMeans(t *testing.T) {
	t.Parallel()
	tables := access.RoleTables()
	for _, p := range access.AllPermissions() {
		_, after, found := strings.Cut(tables, "`"+p.String()+"`: ")
		if !found || strings.HasPrefix(after, " ") || strings.HasPrefix(after, "(") {
			t.Errorf("the tables do not say what %s means", p)
		}
	}
	for _, e := range access.Catalogue() {
		if !strings.Contains(tables, "| `"+e.Name+"` | "+e.Description) {
			t.Errorf("the tables lack the scope %s", e.Name)
		}
	}
}
