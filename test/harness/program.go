package harness

import (
	"context"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Program is another program that a suite runs beside the server, such as a proxy or a pooler. Where the tests run as
// root it runs as the user that PostgreSQL's package brings, because such programs refuse to run as root. It ends with
// the process that started it, however that ends, and so does a PostgreSQL server that it started with data in its folder.
type Program struct {
	Log     *Output // what it printed
	tb      testing.TB
	cmd     *exec.Cmd
	done    chan struct{}
	unwatch func()
}

// watch has a shell run a script when this process ends, however that happens, unless unwatch was called before.
func watch(script string, args ...string) (unwatch func(), err error) {
	// It reads until the other end of the pipe is closed.
	shell := exec.CommandContext(context.Background(), "sh", append([]string{"-c", "read -r _ && exit\n" + script}, args...)...)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := shell.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := shell.Start(); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() {
		_, _ = io.WriteString(pipe, "\n")
		_ = shell.Wait()
	}), nil
}

// Folder returns a folder that belongs to the user whom programs run as, and is removed at the end of the test.
func Folder(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "carnet-program-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	Give(tb, dir)
	return dir
}

// Give makes the user whom programs run as the owner of a file.
func Give(tb testing.TB, path string) {
	tb.Helper()
	if c := unprivileged(tb); c != nil {
		if err := os.Chown(path, int(c.Uid), int(c.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
}

// File writes a file for programs into a folder and returns its path.
func File(tb testing.TB, dir, name, content string) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	Give(tb, path)
	return path
}

// unprivileged returns who runs programs, nil where that is whoever runs the tests.
func unprivileged(tb testing.TB) *syscall.Credential {
	tb.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		tb.Fatalf("find a user to run programs as: %v", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		tb.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		tb.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// MCPClients returns where the released MCP clients are installed, as a folder of modules and as a path for programs.
func MCPClients(tb testing.TB) (modules, path string) {
	tb.Helper()
	root, err := Root()
	if err != nil {
		tb.Fatal(err)
	}
	modules = filepath.Join(root, ".tools", "clients", "node_modules")
	architecture := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	node := filepath.Join(modules, "node-linux-"+architecture, "bin")
	if _, err := os.Stat(filepath.Join(node, "node")); err != nil {
		tb.Fatalf("%v: scripts/tools installs the clients", err)
	}
	return modules, strings.Join([]string{node, filepath.Join(modules, ".bin"), "/usr/local/bin", "/usr/bin", "/bin"}, ":")
}

// Run starts a program, with a folder that is removed when the tests are killed. At the end of the test it is asked to
// stop.
func Run(tb testing.TB, dir string, command ...string) *Program {
	tb.Helper()
	p := &Program{Log: &Output{}, tb: tb}
	p.cmd = exec.CommandContext(context.Background(), command[0], command[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.Log, p.Log
	p.cmd.Dir = dir
	p.cmd.Env = append(cleanEnvironment(), "LC_ALL=C", "TZ=UTC")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: unprivileged(tb)}
	p.cmd.WaitDelay = time.Second // what it started may outlive it, and hold its output open
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v. scripts/tools installs it", command[0], err)
	}
	done := make(chan struct{})
	p.done = done
	go func() {
		_ = p.cmd.Wait()
		close(done)
	}()
	unwatch, err := watch(`kill -TERM "-$1"; sleep 1; kill -KILL "-$1"
		for f in "$0"/*/postmaster.pid; do [ ! -e "$f" ] || kill -INT "$(head -n 1 "$f")"; done; sleep 1; rm -rf "$0"`, dir, strconv.Itoa(p.cmd.Process.Pid))
	if err != nil {
		tb.Fatalf("watch over %s: %v", command[0], err)
	}
	p.unwatch = unwatch
	tb.Cleanup(p.Stop)
	return p
}

// PID returns the process id, which is the id of its process group, too.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Ended reports whether it has ended.
func (p *Program) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Kill ends its whole process group at once.
func (p *Program) Kill() { p.end(syscall.SIGKILL) }

// Stop asks its process group to end, and waits. It is safe to call twice.
func (p *Program) Stop() { p.end(syscall.SIGTERM) }

func (p *Program) end(sig syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.PID(), sig)
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
			<-p.done
		}
	}
	p.unwatch() // by now its number may belong to another process
}

// WaitFor waits until a condition holds, and fails with what the program printed when it does not.
func (p *Program) WaitFor(what string, holds func() bool) {
	p.tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case <-p.done:
			p.tb.Fatalf("%s ended\n%s", p.cmd.Path, p.Log)
		default:
		}
		if holds() {
			return
		}
	}
	p.tb.Fatalf("%s: no %s after 20 s\n%s", p.cmd.Path, what, p.Log)
}

// Documented returns the block of code in a page of docs that begins with a line, so that what is tested is what is
// documented. Each replacement must find what it replaces.
func Documented(tb testing.TB, page, firstLine string, replacements ...string) string {
	tb.Helper()
	root, err := Root()
	if err != nil {
		tb.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+firstLine+"\n")
	block, _, ends := strings.Cut(rest, "\n```")
	if !found || !ends {
		tb.Fatalf("%s has no block of code that begins with %s", page, firstLine)
	}
	for i := 0; i+1 < len(replacements); i += 2 {
		if !strings.Contains(block, replacements[i]) {
			tb.Fatalf("%s: the block %s has no %s any more", page, firstLine, replacements[i])
		}
		block = strings.ReplaceAll(block, replacements[i], replacements[i+1])
	}
	return block + "\n"
}
