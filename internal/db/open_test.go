package db_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"carnet/internal/db"
)

// The tests that need another process run this test program again, with one of these as its task.
const (
	taskVariable = "CARNET_TEST_TASK"
	dirVariable  = "CARNET_TEST_DIR"
)

func TestMain(m *testing.M) {
	if task := tasks[os.Getenv(taskVariable)]; task != nil {
		if err := task(os.Getenv(dirVariable)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var tasks = map[string]func(dir string) error{
	// hold opens the store, says so and keeps it until its input ends.
	"hold": func(dir string) error {
		d, err := openQuietly(dir, nil)
		if err != nil {
			return err
		}
		fmt.Println("open")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return d.Close()
	},
	"open": func(dir string) error {
		d, err := openQuietly(dir, nil)
		if err != nil {
			return err
		}
		return d.Close()
	},
	"fail at commit": func(dir string) error { return failing(dir, 9_000) },
	// More than the memory that a transaction may use, so that it is written before its commit.
	"fail before commit": func(dir string) error { return failing(dir, 40<<20) },
}

func openQuietly(dir string, fatal func(error)) (*db.DB, error) {
	return db.Open(context.Background(), db.Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Fatal: fatal})
}

// failing lets the disk refuse to be written in the middle of work, by the limit on the size of files that the
// operating system keeps for this process, and looks at what the store does then.
func failing(dir string, size int) error {
	signal.Ignore(syscall.SIGXFSZ)
	fatal := make(chan error, 10)
	d, err := openQuietly(dir, func(err error) { fatal <- err })
	if err != nil {
		return err
	}
	l := &listener{}
	d.Subscribe(l)
	ctx := context.Background()
	if err := try(ctx, d, house...); err != nil {
		return err
	}
	limit := syscall.Rlimit{Cur: 512 << 10, Max: 512 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	acknowledged := 0
	for {
		err = try(ctx, d, fmt.Sprintf(`INSERT INTO audit_events SELECT 'o', hex(randomblob(8)), 1, '', '', '', '', '', '', '', '', '', hex(zeroblob(%d)), '', '', '', '', '' FROM organizations`, size))
		if err != nil {
			break
		}
		if acknowledged++; acknowledged > 1000 {
			return errors.New("the limit does not limit")
		}
	}
	cause := <-fatal
	switch {
	case d.Err() == nil, d.Ready(ctx) == nil:
		return fmt.Errorf("the store goes on after: %w", err)
	case !strings.Contains(err.Error(), "overloaded"), !strings.Contains(cause.Error(), "storage failed"):
		return fmt.Errorf("the writer got %w, the process was told %w", err, cause)
	case try(ctx, d, `UPDATE users SET suspended_at = 1`) == nil:
		return errors.New("a write was acknowledged after the disk failed")
	case l.dropped() == 0:
		return errors.New("subscribers believe what they cached")
	case len(fatal) != 0:
		return errors.New("the process was told twice to stop")
	}
	fmt.Println("acknowledged", acknowledged)
	return nil
}

func task(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), taskVariable+"="+name, dirVariable+"="+dir)
	return cmd
}

func TestSecondOpenOfTheSameFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, nil)
	_, err := openQuietly(dir, nil)
	if !errors.Is(err, db.ErrInUse) {
		t.Fatalf("a second store in the same process: %v", err)
	}
	says(t, err.Error(), dir, "--data")
	output, err := task(t, "open", dir).Output()
	if err == nil {
		t.Fatal("another process opened the store")
	}
	says(t, string(output), db.ErrInUse.Error(), dir)
	write(t, d, house...) // and the first is none the worse for it
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if output, err := task(t, "open", dir).Output(); err != nil {
		t.Fatalf("another process, after the first closed: %v, %s", err, output)
	}
}

func TestFolderIsFreeWhenItsProcessIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := task(t, "hold", dir)
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = input.Close() }()
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "open\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	if _, err := openQuietly(dir, nil); !errors.Is(err, db.ErrInUse) {
		t.Errorf("while another process holds the folder: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	write(t, open(t, dir, nil), house...)
}

func TestFailedWriteStopsTheStoreForGood(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"fail at commit", "fail before commit"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			failedWrite(t, moment)
		})
	}
}

func failedWrite(t *testing.T, moment string) {
	t.Helper()
	dir := t.TempDir()
	output, err := task(t, moment, dir).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	var acknowledged int64
	if _, err := fmt.Sscanf(string(output), "acknowledged %d", &acknowledged); err != nil {
		t.Fatalf("the process said %s", output)
	}
	d := open(t, dir, nil)
	if got := number(t, d.Read(), `SELECT count(*) FROM audit_events`); got != acknowledged {
		t.Errorf("%d writes were acknowledged, %d are there", acknowledged, got)
	}
	if got := number(t, d.Read(), `SELECT count(*) FROM users WHERE suspended_at IS NOT NULL`); got != 0 {
		t.Error("what was refused is there")
	}
}

func TestNewStoreIsClosedToOtherUsers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "for us")
	write(t, open(t, dir, nil), house...)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v", info.Mode())
	}
}

func TestFolderThatIsOpenToOthersIsClosed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	open(t, dir, nil)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v", info.Mode())
	}
}

func TestWhatIsNoFolderOrNoFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, refused(t, filepath.Join(dir, "file")), filepath.Join(dir, "file"))
	says(t, refused(t, filepath.Join(dir, "file", "below")), "--data")
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(filepath.Join(data, db.FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	says(t, refused(t, data), db.FileName, "not a regular file")
	linked := filepath.Join(dir, "linked")
	if err := errors.Join(os.Mkdir(linked, 0o700), os.Symlink("/etc/passwd", filepath.Join(linked, db.FileName))); err != nil {
		t.Fatal(err)
	}
	says(t, refused(t, linked), "not a regular file")
}

const nobody = 65534

func TestFolderAndFileOfAnotherUserAreRefused(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	dir := filled(t)
	if err := os.Chown(file(dir), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	says(t, refused(t, dir), "belongs to user 65534", "chown")
	if err := errors.Join(os.Chown(file(dir), 0, 0), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	says(t, refused(t, dir), "belongs to user 65534", "chown")
	if err := os.Chown(dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	if n := number(t, open(t, dir, nil).Read(), `SELECT count(*) FROM users`); n != 2 {
		t.Errorf("after it was given back, the store has %d users", n)
	}
}

// TestReadOnlyFolderIsRefused runs as a user who may not write the folder: root may write everything.
func TestReadOnlyFolderIsRefused(t *testing.T) {
	t.Parallel()
	base, err := os.MkdirTemp("", "carnet-readonly-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	dir := filepath.Join(base, "data")
	if err := errors.Join(os.Chmod(base, 0o755), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	cmd := task(t, "open", dir)
	if os.Geteuid() == 0 {
		program := filepath.Join(base, "program")
		if err := errors.Join(os.WriteFile(program, content(t, cmd.Path), 0o755), os.Chmod(program, 0o755), os.Chown(dir, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Dir = program, base
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	again := *cmd
	if output, err := cmd.Output(); err != nil {
		t.Fatalf("the user cannot open the store at all: %v, %s", err, output)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	// What was there can be opened for writing; what must be made beside it cannot.
	if err := os.Remove(filepath.Join(dir, "lock")); !errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
		t.Fatal(err)
	}
	again.Stdout = nil
	output, err := again.Output()
	if err == nil {
		t.Fatal("a folder that cannot be written was opened")
	}
	says(t, string(output), dir, "write")
}
