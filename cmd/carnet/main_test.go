package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"carnet": main})
}

// TestScripts runs the command line where no server is needed. The scripts are sessions that one can read.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", Setup: home, Cmds: commands(), RequireExplicitExec: true, RequireUniqueNames: true,
	})
}

// home gives a script an empty home folder of its own.
func home(env *testscript.Env) error {
	folder := env.WorkDir + "/home"
	env.Setenv("HOME", folder)
	env.Setenv("XDG_CONFIG_HOME", folder+"/.config")
	return os.Mkdir(folder, 0o700)
}

// commands are what scripts can do besides the usual.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": exits,
		"load":  load,
	}
}

// exits CODE COMMAND [ARGUMENT…] runs a command that must end with the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// load VARIABLE FILE [PATTERN] sets a variable of the environment to what a file holds, or to what the pattern's first
// group matches in it.
func load(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: load VARIABLE FILE [PATTERN]")
	}
	pattern := `(?s)^\s*(.*?)\s*$`
	if len(args) == 3 {
		pattern = args[2]
	}
	ts.Setenv(args[0], group(ts, pattern, ts.ReadFile(args[1])))
}
