// Package pgtest runs real PostgreSQL servers for tests, from the binaries that the system has: one that the tests of a
// package share, and others that a test may stop, kill, copy to a standby and promote.
//
// A server ends with the process that started it, however that ends, and leaves nothing behind.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server is one PostgreSQL server with its data.
type Server struct {
	Port     int
	dir      string
	settings []string
	cmd      *exec.Cmd
	done     chan struct{}
	reaper   io.Closer
}

// bin returns the folder of the newest server that is installed.
var bin = sync.OnceValues(func() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed; scripts/tools installs it")
	}
	version := func(path string) int { n, _ := strconv.Atoi(strings.Split(path, "/")[4]); return n }
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	return filepath.Dir(found[0]), nil
})

// Programs returns the folder of the newest server's programs.
func Programs() (string, error) { return bin() }

// owner returns what makes a command run as the user that servers run as: they refuse to run as root.
func owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no change of user
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("find the user that servers run as: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

func command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	folder, err := bin()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(folder, name), args...)
	credential, err := owner()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Setpgid: true}
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.Dir = "/"
	return cmd, nil
}

func run(name string, args ...string) error {
	cmd, err := command(context.Background(), name, args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// quick are the settings of servers that need not survive a power cut.
var quick = []string{"fsync=off", "full_page_writes=off", "synchronous_commit=off"}

var common = []string{
	"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=400", "shared_buffers=64MB", "wal_level=replica",
	"max_wal_senders=8", "hot_standby=on", "log_min_messages=warning", "autovacuum_naptime=10s", "jit=off",
}

// New makes a server and starts it, with settings in the form name=value.
func New(settings ...string) (*Server, error) {
	s, err := prepare(settings)
	if err != nil {
		return nil, err
	}
	// The role carnet is what a node signs in as; it owns its databases and may do nothing beyond.
	if err := run("initdb", "-D", s.data(), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Do("postgres", "CREATE ROLE carnet LOGIN"); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prepare makes the folder of a server and has it removed, and the server killed, when this process ends.
func prepare(settings []string) (*Server, error) {
	dir, err := os.MkdirTemp("", "carnet-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, settings: settings, Port: freePort()}
	credential, err := owner()
	if err == nil && credential != nil {
		err = os.Chown(dir, int(credential.Uid), int(credential.Gid))
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	// It reads until the other end of the pipe is closed, which happens whatever becomes of this process.
	reaper := exec.CommandContext(context.Background(), "sh", "-c",
		`read -r _; p=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null) && kill -INT "$p" 2>/dev/null; sleep 0.2; rm -rf "$0"; sleep 1; rm -rf "$0"`, dir)
	reaper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := reaper.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := reaper.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() { _ = reaper.Wait() }()
	s.reaper = pipe
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func freePort() int {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer func() { _ = l.Close() }()
	if address, ok := l.Addr().(*net.TCPAddr); ok {
		return address.Port
	}
	return 0
}

// Start starts the server and waits until it accepts connections.
func (s *Server) Start() error {
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.Port)}
	for _, setting := range slices.Concat(common, s.settings) {
		args = append(args, "-c", setting)
	}
	cmd, err := command(context.Background(), "postgres", args...)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.cmd, s.done = cmd, make(chan struct{})
	go func(done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(s.done)
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.done:
			return fmt.Errorf("postgres ended at its start:\n%s", s.Log())
		default:
		}
		if s.Do("postgres", "SELECT 1") == nil {
			return nil
		}
	}
	return fmt.Errorf("postgres does not accept connections:\n%s", s.Log())
}

// Log returns what the server logged.
func (s *Server) Log() string {
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(log)
}

// Stop ends the server the orderly way: those who are connected are cut off, what was committed is written.
func (s *Server) Stop() { s.signal(syscall.SIGINT) }

// Kill ends every process of the server at once, as a power cut or kill -9 does.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	// Backends are sessions of their own.
	_ = exec.CommandContext(context.Background(), "pkill", "-9", "-P", strconv.Itoa(s.cmd.Process.Pid)).Run()
	s.signal(syscall.SIGKILL)
}

// Pause stops every process of the server in its tracks, and Resume lets them go on.
func (s *Server) Pause() { s.each(syscall.SIGSTOP) }

// Resume ends [Server.Pause].
func (s *Server) Resume() { s.each(syscall.SIGCONT) }

func (s *Server) each(sig syscall.Signal) {
	_ = syscall.Kill(s.cmd.Process.Pid, sig)
	_ = exec.CommandContext(context.Background(), "pkill", "-"+strconv.Itoa(int(sig)), "-P", strconv.Itoa(s.cmd.Process.Pid)).Run()
}

func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(s.cmd.Process.Pid, sig)
	<-s.done
}

// Close ends the server for good and removes its data.
func (s *Server) Close() error {
	if s.cmd != nil {
		s.Stop()
	}
	return errors.Join(s.reaper.Close(), os.RemoveAll(s.dir))
}

// URL returns how the role carnet reaches a database.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://carnet@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

// CreateDatabase makes a database that the role carnet owns, a copy of template unless that is empty.
func (s *Server) CreateDatabase(name, template string) error {
	statement := "CREATE DATABASE " + name + " OWNER carnet"
	if template != "" {
		statement += " TEMPLATE " + template
	}
	return s.Do("postgres", statement)
}

// Do runs statements as the server's superuser.
func (s *Server) Do(database string, statements ...string) error {
	_, err := s.Ask(database, strings.Join(statements, ";\n"))
	return err
}

// Ask runs one statement as the server's superuser and returns its rows, columns separated by |.
func (s *Server) Ask(database, statement string) (string, error) {
	cmd, err := command(context.Background(), "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-U", "postgres", "-d", database)
	if err != nil {
		return "", err
	}
	cmd.Stdin = strings.NewReader(statement)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("psql: %w\n%s", err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// Dump returns all that a database holds as text; bytes stand in it as they are where they can be printed.
func (s *Server) Dump(database string) ([]byte, error) {
	cmd, err := command(context.Background(), "pg_dump", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-U", "postgres", database)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, "PGOPTIONS=-c bytea_output=escape")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("pg_dump: %w", err)
	}
	return out, nil
}

// Standby copies the server into a standby that follows it under the name, and starts it.
func (s *Server) Standby(name string, settings ...string) (*Server, error) {
	standby, err := prepare(settings)
	if err != nil {
		return nil, err
	}
	if err := standby.Follow(s, name); err != nil {
		return nil, errors.Join(err, standby.Close())
	}
	return standby, nil
}

// Follow makes a server that does not run a standby of another, on the port that it has: its data are replaced by a copy.
func (s *Server) Follow(primary *Server, name string) error {
	if err := os.RemoveAll(s.data()); err != nil {
		return err
	}
	// It is named in the data and not on the command line, so that a standby which was promoted can be followed itself.
	err := run("pg_basebackup", "-d", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=%s", primary.Port, name),
		"-D", s.data(), "-X", "stream", "-c", "fast", "--no-sync", "--write-recovery-conf")
	if err != nil {
		return err
	}
	return s.Start()
}

// Promote makes a standby a primary, and returns when it is one.
func (s *Server) Promote() error { return s.Do("postgres", "SELECT pg_promote(true, 60)") }

// shared is the server of this process.
var shared = sync.OnceValues(func() (*Server, error) { return New(quick...) })

// Shared returns the server that all tests of this process share. It forgets what it holds when its machine crashes.
func Shared() (*Server, error) { return shared() }
