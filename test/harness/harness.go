// Package harness runs the ordinary program for tests, the way an operator does, and talks to it the way a client does.
package harness

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carnet/internal/storetest"
)

// Password is what the people of tests sign in with.
const Password = "quiet harbor lantern 47"

// Rounds returns how often a test does something: less in `make test` than in `make soak`.
func Rounds(short, long int) int {
	if os.Getenv("CARNET_SOAK") != "" {
		return long
	}
	return short
}

// Binary returns the path of the program under test: the one that CARNET_BINARY names, or one that is built now.
func Binary(tb testing.TB) string {
	tb.Helper()
	path, err := built()
	if err != nil {
		tb.Fatalf("build the program: %v", err)
	}
	return path
}

var built = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("CARNET_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "carnet-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "carnet")
	root, err := Root()
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(context.Background(), "go", "build", "-o", path, "./cmd/carnet")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// Root returns the repository's root.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}

// Server is a running program.
type Server struct {
	tb  testing.TB
	Dir string // its data folder
	// Database is the URL of the database that it shares with other nodes; empty: the embedded store.
	Database string
	URL      string
	Admin    string   // address of the metrics, when asked for
	args     []string // of serve
	wrap     []string // command in front of the program, such as strace
	program  string   // empty: the one under test

	cmd  *exec.Cmd
	Out  *Output // what it printed on standard output
	Log  *Output // what it logged
	done chan struct{}
	err  error
}

// Option changes how a server is started.
type Option func(*Server)

// Args adds arguments to serve.
func Args(args ...string) Option { return func(s *Server) { s.args = append(s.args, args...) } }

// Dir makes the server use a folder.
func Dir(dir string) Option { return func(s *Server) { s.Dir = dir } }

// On makes the server a node over a database.
func On(url string) Option { return func(s *Server) { s.Database = url } }

// embedded is what [On] says of a server that must have its store inside, whatever engine the suite runs on.
const embedded = "embedded"

// Embedded gives the server its store inside, whatever engine the suite runs on: for what is about files.
func Embedded() Option { return On(embedded) }

// Engine returns the engine that servers of this run have unless they say otherwise: sqlite or postgres. Suites run on
// one after the other.
func Engine() string {
	if engine := os.Getenv("CARNET_TEST_ENGINE"); engine != "" {
		return engine
	}
	return "sqlite"
}

// database gives the server a database of its own where the run is on PostgreSQL.
func (s *Server) database() {
	s.tb.Helper()
	switch {
	case s.Database == embedded:
		s.Database = ""
	case s.Database == "" && Engine() == "postgres":
		// As behind a pooler: the rooms' own tests have statements planned once.
		s.Database = storetest.Database(s.tb) + "&default_query_exec_mode=exec"
	}
	if s.Database != "" {
		s.args = append(s.args, "--database", s.Database)
		if !slices.Contains(s.args, "--database-patience") {
			// A machine that runs many suites at once is slow, not cut off.
			s.args = append(s.args, "--database-patience", "10s")
		}
	}
}

// Wrap runs the program by way of another command.
func Wrap(command ...string) Option { return func(s *Server) { s.wrap = command } }

// Metrics gives the server a metrics listener.
func Metrics() Option {
	return func(s *Server) {
		s.Admin = FreeAddress(s.tb)
		s.args = append(s.args, "--admin-listen", s.Admin)
	}
}

// Use has the server run another program, such as another version, from its next start on.
func (s *Server) Use(program string) { s.program = program }

// Start runs a server on a free port and waits until it is ready. It is stopped at the end of the test.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	s := &Server{tb: tb}
	for _, o := range options {
		o(s)
	}
	if s.Dir == "" {
		s.Dir = tb.TempDir()
	}
	address := FreeAddress(tb)
	s.URL = "http://" + address
	s.args = append([]string{"serve", "--listen", address, "--data", s.Dir}, s.args...)
	s.database()
	tb.Cleanup(s.Kill)
	s.Run()
	return s
}

// Run starts the server again after it stopped, and waits until it is ready.
func (s *Server) Run() {
	s.tb.Helper()
	s.Launch()
	s.WaitReady()
}

// Launch starts the process without waiting.
func (s *Server) Launch() {
	s.tb.Helper()
	program := s.program
	if program == "" {
		program = Binary(s.tb)
	}
	command := slices.Concat(s.wrap, []string{program}, s.args)
	s.cmd = exec.CommandContext(context.Background(), command[0], command[1:]...)
	s.Out, s.Log = &Output{}, &Output{}
	s.cmd.Stdout, s.cmd.Stderr = s.Out, s.Log
	s.cmd.Env = cleanEnvironment()
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatalf("start the server: %v", err)
	}
	done := make(chan struct{})
	s.done = done
	cmd := s.cmd
	unwatch, err := watch(`kill -KILL "-$0"`, strconv.Itoa(cmd.Process.Pid))
	if err != nil {
		s.tb.Fatalf("watch over the server: %v", err)
	}
	go func() {
		s.err = cmd.Wait()
		unwatch()
		close(done)
	}()
}

// WaitReady waits until /readyz says yes.
func (s *Server) WaitReady() {
	s.tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		select {
		case <-s.done:
			s.tb.Fatalf("the server ended at its start: %v\n%s%s", s.err, s.Out, s.Log)
		default:
		}
		if answer, err := s.Anonymous().Try(http.MethodGet, "/readyz", nil); err == nil && answer.Status == http.StatusOK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.tb.Fatalf("the server is not ready after 20 s\n%s%s", s.Out, s.Log)
}

// Kill ends the process at once, as kill -9 does. It is safe to call twice.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

// Stop asks the process to end, and waits.
func (s *Server) Stop() { s.signal(syscall.SIGTERM) }

func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, sig)
	<-s.done
}

// Wait waits until the process ends by itself and returns its exit code, -1 when it does not within the limit.
func (s *Server) Wait(limit time.Duration) int {
	select {
	case <-s.done:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		return -1
	}
}

// PID returns the process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Output collects what a process prints.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String returns all of it so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func cleanEnvironment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CARNET_") {
			env = append(env, e)
		}
	}
	return env
}

// FreeAddress returns a loopback address with a port that nobody listens on.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("find a free port: %v", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Command runs the program with arguments and standard input, and returns its output and exit code.
func Command(tb testing.TB, env []string, stdin string, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), Binary(tb), args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(cleanEnvironment(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatalf("run carnet %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// SetupCode waits for the link that a server prints while nobody has an account, and returns its code.
func (s *Server) SetupCode() string {
	s.tb.Helper()
	return s.wait("set-up link", func() string { return first(setupLink.FindStringSubmatch(s.Out.String())) })
}

// MailedCode waits for a mail to the address with a link to the page, and returns the code of the latest.
func (s *Server) MailedCode(to, page string) string {
	s.tb.Helper()
	return s.wait("mail to "+to, func() (code string) {
		for _, mail := range s.Mails() {
			if strings.Contains(mail, to) && strings.Contains(mail, "/"+page+"?code=") {
				code = first(mailedLink.FindStringSubmatch(mail))
			}
		}
		return code
	})
}

// Mails returns the mails that the server wrote so far, oldest first, with their lines as a reader sees them.
func (s *Server) Mails() (mails []string) {
	s.tb.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir, "outbox", "*.eml"))
	if err != nil {
		s.tb.Fatal(err)
	}
	for _, file := range files { // their names begin with the time
		text, err := os.ReadFile(file)
		if err != nil {
			s.tb.Fatal(err)
		}
		// Quoted-printable folds long lines and spells "=" out (RFC 2045, section 6.7).
		mails = append(mails, strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(string(text)))
	}
	return mails
}

var (
	setupLink  = regexp.MustCompile(`/setup\?code=(\S+)`)
	mailedLink = regexp.MustCompile(`\?code=([0-9A-Za-z_-]+)`)
)

func first(match []string) string {
	if match == nil {
		return ""
	}
	return match[1]
}

func (s *Server) wait(what string, look func() string) string {
	s.tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if found := look(); found != "" {
			return found
		}
	}
	s.tb.Fatalf("no %s after 10 s\n%s%s", what, s.Out, s.Log)
	return ""
}

// TryOperate runs an operator's command on the server's store and returns what it says and its exit code.
func (s *Server) TryOperate(args ...string) (stdout, stderr string, code int) {
	s.tb.Helper()
	return Command(s.tb, nil, "", append(s.operator(), args...)...)
}

// Operate runs an operator's command on the server's folder and expects it to succeed.
func (s *Server) Operate(stdin string, args ...string) string {
	s.tb.Helper()
	out, errs, code := Command(s.tb, nil, stdin, append(s.operator(), args...)...)
	if code != 0 {
		s.tb.Fatalf("carnet admin %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// SQL runs statements on the server's store past it, as no operator should.
func (s *Server) SQL(statements ...string) {
	s.tb.Helper()
	driver, name := "sqlite", "file:"+filepath.Join(s.Dir, "carnet.db")+"?_pragma=busy_timeout(5000)"
	if s.Database != "" {
		driver, name = "pgx", s.Database
	}
	pool, err := sql.Open(driver, name)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = pool.Close() }()
	for _, statement := range statements {
		if _, err := pool.ExecContext(context.Background(), statement); err != nil {
			s.tb.Fatalf("%s: %v", statement, err)
		}
	}
}

// operator begins an operator's command on the server's store.
func (s *Server) operator() []string {
	command := []string{"admin", "--data", s.Dir}
	if s.Database != "" {
		command = append(command, "--database", s.Database)
	}
	return command
}

// CreateUser makes a verified account.
func (s *Server) CreateUser(email, name string) {
	s.tb.Helper()
	s.Operate(Password+"\n", "create-user", "--email", email, "--name", name, "--verified")
}

// CreateOrganization makes an organization.
func (s *Server) CreateOrganization(slug, name, owner, plan string) {
	s.tb.Helper()
	s.Operate("", "create-org", "--slug", slug, "--name", name, "--owner", owner, "--plan", plan)
}

// AddMember makes somebody a member.
func (s *Server) AddMember(slug, email, role string) {
	s.tb.Helper()
	s.Operate("", "add-member", "--org", slug, "--email", email, "--role", role)
}
