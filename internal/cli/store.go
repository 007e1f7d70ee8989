package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// session is a signed-in session as it is kept on this machine.
type session struct {
	Server    string    `json:"server"`
	Email     string    `json:"email"`
	ID        string    `json:"session_id"`
	ExpiresAt time.Time `json:"expires_at"`
	Value     string    `json:"value"`
}

// store keeps sessions in the person's config folder: one file per server, so that signing in at one never disturbs
// another, and the name of the server that was signed in to last. The folder is 0700 and every file 0600; a file is
// replaced whole or not at all.
type store struct{ dir string }

func (s store) path(server string) string {
	return filepath.Join(s.dir, "sessions", url.PathEscape(server)+".json")
}

// load returns the session at the server; ok is false when there is none.
func (s store) load(server string) (kept session, ok bool, err error) {
	if s.dir == "" {
		return session{}, false, nil
	}
	path := s.path(server)
	if err := tighten(path); err != nil {
		return session{}, false, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return session{}, false, nil
	}
	if err != nil {
		return session{}, false, fmt.Errorf("read the session: %w", err)
	}
	if err := json.Unmarshal(text, &kept); err != nil || kept.Server != server || kept.Value == "" {
		return session{}, false, &Failure{Exit: ExitFailed, Message: "The session file " + path + " is damaged. Delete it and sign in again."}
	}
	return kept, true, nil
}

// tighten takes the rights of others to a session file away, should a copy or a backup have brought some.
func tighten(path string) error {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 {
		return nil //nolint:nilerr // what cannot be seen is reported by the reading that follows
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("the session file can be read by other users, and that cannot be changed: %w", err)
	}
	return nil
}

// save keeps the session and remembers its server as the last one.
func (s store) save(kept session) error {
	if s.dir == "" {
		return &Failure{Exit: ExitFailed, Message: "There is no config folder to keep the session in. Set HOME or XDG_CONFIG_HOME."}
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the session: %w", err)
	}
	if err := replace(s.path(kept.Server), append(text, '\n')); err != nil {
		return fmt.Errorf("keep the session: %w", err)
	}
	if err := replace(filepath.Join(s.dir, "server"), []byte(kept.Server+"\n")); err != nil {
		return fmt.Errorf("remember the server: %w", err)
	}
	return nil
}

// forget removes the session at the server, if any.
func (s store) forget(server string) error {
	if err := os.Remove(s.path(server)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the session: %w", err)
	}
	return nil
}

// device returns what the server told this machine to show at its next sign-in, "" when nothing. It proves nothing, and
// outlives the session, so that a stranger's wrong guesses do not slow the owner's next sign-in from here.
func (s store) device(server string) string {
	if s.dir == "" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "devices", url.PathEscape(server)))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (s store) keepDevice(server, device string) error {
	return replace(filepath.Join(s.dir, "devices", url.PathEscape(server)), []byte(device+"\n"))
}

// lastServer returns the server that was signed in to last, "" when none was.
func (s store) lastServer() string {
	if s.dir == "" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "server"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// replace writes a file that is only ever seen whole. CreateTemp gives it mode 0600 from the start, so that the secret
// is never readable by others, not even for a moment.
func replace(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs its search bit
		return fmt.Errorf("close the folder to others: %w", err)
	}
	file, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	if _, err := file.Write(content); err != nil {
		return fmt.Errorf("write %s: %w", file.Name(), err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", file.Name(), err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("close %s: %w", file.Name(), err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("put the file in place: %w", err)
	}
	return nil
}
