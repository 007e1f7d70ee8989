package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Overlay writes what a build with -overlay takes in the place of files, or beside them, and returns the list that it is
// given. The contents are by the path of each file in the repository.
func Overlay(tb testing.TB, contents map[string][]byte) string {
	tb.Helper()
	root, err := Root()
	if err != nil {
		tb.Fatal(err)
	}
	dir, replace := tb.TempDir(), map[string]string{}
	for file, content := range contents {
		path := filepath.Join(dir, strconv.Itoa(len(replace))+filepath.Ext(file))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			tb.Fatal(err)
		}
		replace[filepath.Join(root, file)] = path
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		tb.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, encoded, 0o600); err != nil {
		tb.Fatal(err)
	}
	return list
}
