// Command testreport reads what `go test -json` writes and shows what people want to see of it: a line for each package,
// everything that a failed test said, and the counts at the end. It fails when a test failed, when none ran, and when a
// test that runs once for each engine of the store has not passed on one of them.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is a line of `go test -json`, see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// report gathers the events of a run.
type report struct {
	out                     io.Writer
	said                    map[string][]string // by package and test, until it has passed
	passed, failed, skipped int
	broken                  bool // a package failed, perhaps outside of any test
	failures, skips         []string
	engines                 map[string][]string // those that a test passed on, by package and test
}

func newReport(out io.Writer) *report {
	return &report{out: out, said: map[string][]string{}, engines: map[string][]string{}}
}

func main() {
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	if !r.finish() {
		os.Exit(1)
	}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				r.note(e)
			} else {
				fmt.Fprintf(r.out, "%s", line)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the events: %w", err)
		}
	}
}

func (r *report) note(e event) {
	key := e.Package + e.ImportPath + "\x00" + e.Test
	switch e.Action {
	case "output", "build-output":
		r.said[key] = append(r.said[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.notePackage(e, key)
		} else {
			r.noteTest(e, key)
		}
		delete(r.said, key)
	}
}

func (r *report) noteTest(e event, key string) {
	switch e.Action {
	case "pass":
		r.passed++
		if test, engine := cutLast(e.Test); engine == "sqlite" || engine == "postgres" {
			r.engines[e.Package+" "+test] = append(r.engines[e.Package+" "+test], engine)
		}
	case "skip":
		r.skipped++
		r.skips = append(r.skips, e.Package+" "+e.Test)
	case "fail":
		r.failed++
		r.failures = append(r.failures, e.Package+" "+e.Test)
		r.repeat(key)
	}
}

// cutLast splits the last name off the path of a subtest.
func cutLast(test string) (parent, last string) {
	i := strings.LastIndexByte(test, '/')
	return test[:max(i, 0)], test[i+1:]
}

func (r *report) notePackage(e event, key string) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.out, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
	case "fail":
		r.broken = true
		for open := range r.said { // tests that never ended: a panic, or a time limit
			if strings.HasPrefix(open, e.Package+"\x00") && open != key {
				r.repeat(open)
			}
		}
		if e.FailedBuild != "" {
			r.repeat(e.FailedBuild + "\x00")
		}
		r.repeat(key)
		fmt.Fprintf(r.out, "FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
	}
}

// longest is how much of a line is shown, in bytes. A name or an answer that is longer buries what failed.
const longest = 2000

// repeat prints what a test or package said, without the lines that only mark its course.
func (r *report) repeat(key string) {
	for _, line := range r.said[key] {
		if marks(line) {
			continue
		}
		if len(line) > longest {
			line = strings.ToValidUTF8(line[:longest], "") + "…\n"
		}
		fmt.Fprint(r.out, line)
	}
}

func marks(line string) bool {
	return strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "FAIL") || line == "PASS\n" ||
		strings.HasPrefix(strings.TrimLeft(line, " "), "--- PASS")
}

// finish prints the counts and reports whether all is well.
func (r *report) finish() bool {
	slices.Sort(r.skips)
	slices.Sort(r.failures)
	for _, failure := range r.failures {
		fmt.Fprintf(r.out, "fail  %s\n", failure)
	}
	for _, skip := range r.skips {
		fmt.Fprintf(r.out, "skip  %s\n", skip)
	}
	onBoth := true
	for test, engines := range r.engines {
		if len(engines) != 2 {
			onBoth = false
			fmt.Fprintf(r.out, "fail  %s: passed on %s only\n", test, strings.Join(engines, ", "))
		}
	}
	if len(r.engines) > 0 {
		fmt.Fprintf(r.out, "on both engines of the store: %d tests\n", len(r.engines))
	}
	fmt.Fprintf(r.out, "tests: %d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return r.failed == 0 && !r.broken && r.passed > 0 && onBoth
}
