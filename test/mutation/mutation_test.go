// Package mutation_test shows that the property test of the rules can fail: each kept mutation takes a check, a filter or
// a bump out of a copy of the code, and the property test must notice.
package mutation_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"carnet/test/harness"
)

// mutation replaces one text, which stands in the file exactly once, by another.
type mutation struct{ name, file, old, new string }

// checks is how many scenarios a mutant must survive to count as unnoticed.
const checks = 3000

func TestEveryMutationIsCaught(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	if len(mutations) < 30 {
		t.Fatalf("only %d mutations are kept", len(mutations))
	}
	kept := mutations
	if os.Getenv("CARNET_SOAK") == "" {
		// One in eight, others each day: all of them take fifteen minutes on two cores.
		kept = nil
		for i := time.Now().YearDay() % 8; i < len(mutations); i += 8 {
			kept = append(kept, mutations[i])
		}
	}
	// Not more at a time than there are cores: each is a build and a busy run.
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, m := range kept {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			run(t, root, m)
		})
	}
}

// Those that are not run today fit the code all the same.
func TestEveryMutationFitsTheCode(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations {
		if _, err := m.mutated(root); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// mutated returns the file with the mutation.
func (m mutation) mutated(root string) ([]byte, error) {
	source, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(source, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("the text to mutate stands %d times in %s: adapt the mutation to the code", n, m.file)
	}
	return bytes.Replace(source, []byte(m.old), []byte(m.new), 1), nil
}

func run(t *testing.T, root string, m mutation) {
	dir := t.TempDir()
	mutated, err := m.mutated(root)
	if err != nil {
		t.Fatal(err)
	}
	overlay := harness.Overlay(t, map[string][]byte{m.file: mutated})

	program := filepath.Join(dir, "property.test")
	build := exec.Command("go", "test", "-overlay", overlay, "-c", "-ldflags", "-s -w", "-o", program, "./test/property")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	test := exec.CommandContext(ctx, program, fmt.Sprintf("-test.run=^%s$", "TestNoRequestDoesMoreOrLessThanItsRoleScopesAndProjectsAllow"))
	test.Dir = filepath.Join(root, "test", "property")
	test.Env = append(os.Environ(), fmt.Sprintf("CARNET_PROPERTY_CHECKS=%d", checks), "CARNET_PROPERTY_QUIET=1")
	out, err := test.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		t.Error("the property test did not finish on the mutant")
	case err == nil:
		t.Errorf("nobody noticed: %s", m.name)
	case !strings.Contains(string(out), "--- FAIL"):
		t.Errorf("the mutant ended in another way than by a failed test:\n%s", out)
	}
}
