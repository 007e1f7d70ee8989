package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScriptsWithAServer runs the command line against a real server on an empty folder of its own.
func TestScriptsWithAServer(t *testing.T) {
	t.Parallel()
	cmds := commands()
	cmds["server"] = serveForScript
	testscript.Run(t, testscript.Params{
		Dir: "testdata/server", Cmds: cmds, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CARNET_DATA", filepath.Join(env.WorkDir, "data"))
			return home(env)
		},
	})
}

// serveForScript starts a server for the rest of the script, waits until it is ready and sets CARNET_URL. What it
// prints goes to server.log.
func serveForScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: server")
	}
	address := freeAddress(ts)
	program, err := exec.LookPath("carnet")
	ts.Check(err)
	log, err := os.Create(ts.MkAbs("server.log"))
	ts.Check(err)
	server := exec.Command(program, "serve", "--listen", address)
	server.Dir = ts.MkAbs(".")
	server.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "CARNET_DATA=" + ts.Getenv("CARNET_DATA")}
	server.Stdout, server.Stderr = log, log
	ts.Check(server.Start())
	ended := make(chan struct{})
	go func() {
		_ = server.Wait()
		_ = log.Close()
		close(ended)
	}()
	ts.Defer(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	url := "http://" + address
	ts.Setenv("CARNET_URL", url)
	awaitReady(ts, url, ended)
}

func freeAddress(ts *testscript.TestScript) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func awaitReady(ts *testscript.TestScript, url string, ended <-chan struct{}) {
	deadline := time.After(20 * time.Second)
	for {
		response, err := http.Get(url + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ended:
			ts.Fatalf("the server stopped:\n%s", ts.ReadFile("server.log"))
		case <-deadline:
			ts.Fatalf("the server is not ready after 20 seconds:\n%s", ts.ReadFile("server.log"))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// group returns what the pattern's first group matches in the text.
func group(ts *testscript.TestScript, pattern, text string) string {
	expression, err := regexp.Compile(pattern)
	ts.Check(err)
	found := expression.FindStringSubmatch(text)
	if len(found) < 2 {
		ts.Fatalf("%s is not in:\n%s", pattern, text)
	}
	return found[1]
}
