package durability_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"carnet/internal/db"
	"carnet/test/harness"
)

// asNobody runs a command as a user without rights.
var asNobody = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"}

// open returns a folder that other users can reach.
func open(t *testing.T) string {
	t.Helper()
	top, err := os.MkdirTemp("/tmp", "carnet-folder-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	mode(t, top, 0o755)
	return filepath.Join(top, "data")
}

// reachable returns a program that other users can run, too. Another process copies it: a file that this one has open to
// write to is inherited, for a moment, by whatever another test starts just then, and would be too busy to be run
// (https://github.com/golang/go/issues/22315).
func reachable(t *testing.T) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(open(t)), "carnet")
	if out, err := exec.CommandContext(t.Context(), "cp", harness.Binary(t), path).CombinedOutput(); err != nil {
		t.Fatalf("copy the program: %v\n%s", err, out)
	}
	mode(t, path, 0o755)
	return path
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	// The server that holds it writes nothing meanwhile; its lock and its socket stay behind.
	for _, name := range []string{db.FileName, db.FileName + "-wal"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func damage(t *testing.T, dir string) {
	t.Helper()
	_ = os.Remove(filepath.Join(dir, db.FileName+"-wal"))
	file, err := os.OpenFile(filepath.Join(dir, db.FileName), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteAt(bytes.Repeat([]byte{0xA5}, 512), 0); err != nil {
		t.Fatal(err)
	}
}

func hand(t *testing.T, path string, user int) {
	t.Helper()
	err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(p, user, user)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, path string, m fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, m); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, []byte("not a folder"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// snapshot describes every file below path: its mode, its size and what is in it.
func snapshot(t *testing.T, path string) string {
	t.Helper()
	var out bytes.Buffer
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(p) == "lock" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(p)
		fmt.Fprintf(&out, "%s %s %x\n", p, info.Mode(), sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// execute runs a command that should end by itself, and returns what it said and its exit code.
func execute(t *testing.T, command []string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("run %v: %v\n%s", command, err, text)
	}
	return string(text), cmd.ProcessState.ExitCode()
}
