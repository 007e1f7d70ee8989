package transfer_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/problem"
	"carnet/internal/transfer"
)

// The tests that kill a process run this test program again, with one of these as its task.
const (
	taskVariable = "CARNET_TEST_TASK"
	dirVariable  = "CARNET_TEST_DIR"
	fileVariable = "CARNET_TEST_FILE"
)

func TestMain(m *testing.M) {
	if task := tasks[os.Getenv(taskVariable)]; task != nil {
		fmt.Println("begun")
		if err := task(os.Getenv(dirVariable), os.Getenv(fileVariable)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var tasks = map[string]func(dir, file string) error{
	"back up": func(dir, file string) error {
		_, err := transfer.Backup(context.Background(), dir, file)
		return err
	},
	"restore": func(dir, file string) error {
		_, err := transfer.Restore(context.Background(), dir, file, transfer.Undecided, time.Now())
		return err
	},
}

// task runs a task in another process. It is killed after the delay unless it ends before.
func task(t *testing.T, name, dir, file string, delay time.Duration) (ended bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), taskVariable+"="+name, dirVariable+"="+dir, fileVariable+"="+file)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	reader := bufio.NewReader(out)
	if line, err := reader.ReadString('\n'); line != "begun\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	killer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	said, _ := io.ReadAll(reader)
	err = cmd.Wait()
	if err != nil && !strings.Contains(err.Error(), "killed") {
		t.Fatalf("%s: %v: %s", name, err, said)
	}
	return err == nil
}

// lasts returns how long a task takes that nobody kills, and a little more, so that a kill may come too late as well.
func lasts(t *testing.T, name, dir, file string) time.Duration {
	t.Helper()
	begun := time.Now()
	if !task(t, name, dir, file, time.Minute) {
		t.Fatalf("%s takes more than a minute", name)
	}
	return time.Since(begun) * 5 / 4
}

// large makes the store of a folder larger, so that moving it takes a while.
func large(t testing.TB, path string) {
	t.Helper()
	onFile(t, path, `PRAGMA synchronous = OFF`, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
		INSERT INTO audit_events (organization_id, id, at, actor_id, credential_kind, credential_id, purpose, action, resource_id, project_id, outcome, reason, detail, request_id, method, route, address, client)
		SELECT 'org_1', 'evt_x' || i, 1, '', '', '', '', hex(randomblob(50)), '', '', 'done', '', '{}', '', '', '', '', '' FROM n`)
}

func TestBackupHoldsAllOfTheStoreAsItIs(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	to := filepath.Join(t.TempDir(), "backup.db")
	written, err := transfer.Backup(t.Context(), dir, to)
	must(t, err)
	info, err := os.Stat(to)
	must(t, err)
	if info.Mode() != 0o600 || written.Bytes != info.Size() || written.File != to || written.Users != 2 || written.Tokens != 3 || written.Schema < 3 {
		t.Errorf("wrote %+v, the file has %d bytes and mode %v", written, info.Size(), info.Mode())
	}
	if got := names(t, filepath.Dir(to)); !slices.Equal(got, []string{"backup.db"}) {
		t.Errorf("beside it is %v", got)
	}
	for _, table := range []string{"users", "tokens", "credentials", "audit_events", "epoch", "changes"} {
		if a, b := read(t, file(dir), "SELECT * FROM "+table), read(t, to, "SELECT * FROM "+table); a != b {
			t.Errorf("%s is\n%s\nand in the backup\n%s", table, a, b)
		}
	}
}

func TestBackupWhileTheStoreIsUsedIsOfOneMomentAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	large(t, file(dir))
	d := open(t, dir)
	// Each write moves both rows; a backup in which they differ is of two moments.
	step := func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE users SET created_at = created_at + 1`)
		return err
	}
	var writes atomic.Int64
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := d.Write(t.Context(), step); err != nil {
				stopped <- err
				return
			}
			writes.Add(1)
		}
	}()
	during := int64(0)
	for i := range 5 {
		before := writes.Load()
		to := filepath.Join(t.TempDir(), "backup.db")
		_, err := transfer.Backup(t.Context(), dir, to)
		must(t, err)
		during += writes.Load() - before
		if got := strings.Split(read(t, to, `SELECT created_at FROM users`), ", "); got[0] != got[1] {
			t.Errorf("backup %d is of two moments: %v", i, got)
		}
	}
	close(stop)
	must(t, <-stopped)
	if during == 0 {
		t.Error("nobody could write during five backups")
	}
	must(t, d.Ready(t.Context()))
}

func TestBackupNeverReplacesAFile(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	before := content(t, backup)
	_, err := transfer.Backup(t.Context(), dir, backup)
	says(t, err, "exists already", "--to")
	if !problem.Is(err, problem.Conflict) || !bytes.Equal(before, content(t, backup)) {
		t.Errorf("it is no refusal, or the file was changed: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(filepath.Join(t.TempDir(), "nowhere"), link))
	_, err = transfer.Backup(t.Context(), dir, link)
	says(t, err, "exists already")
}

// A file that appears while the backup is written is not replaced either.
func TestBackupDoesNotTakeANameThatWasTakenMeanwhile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	to, partial := filepath.Join(folder, "backup"), filepath.Join(folder, "backup.partial")
	must(t, os.WriteFile(to, []byte("somebody's"), 0o600))
	must(t, os.WriteFile(partial, []byte("ours"), 0o600))
	says(t, transfer.Publish(partial, to), "exists already")
	if got := string(content(t, to)); got != "somebody's" {
		t.Errorf("the file is %s now", got)
	}
}

func TestBackupThatCannotBeMadeLeavesNothing(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	to := filepath.Join(t.TempDir(), "to")
	_, err := transfer.Backup(t.Context(), t.TempDir(), to)
	says(t, err, "There is no store")
	_, err = transfer.Backup(t.Context(), dir, filepath.Join(to, "backup"))
	says(t, err, "There is no folder")
	damaged := content(t, backup)
	for i := range 4096 * 8 {
		damaged[len(damaged)-1-i] = byte(i * 7)
	}
	must(t, os.WriteFile(file(dir), damaged, 0o600))
	if _, err := transfer.Backup(t.Context(), dir, to); err == nil {
		t.Error("a damaged store was backed up")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := transfer.Backup(canceled, dir, to); !errors.Is(err, context.Canceled) {
		t.Errorf("after it was canceled: %v", err)
	}
	if got := names(t, filepath.Dir(to)); len(got) != 0 {
		t.Errorf("left is %v", got)
	}
}

// VACUUM copies rows without looking at what the schema promises of them. What it wrote is therefore looked at.
func TestBackupOfAStoreWithBrokenRowsIsNotKept(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	onFile(t, file(dir), `DELETE FROM users WHERE id = 'usr_1'`)
	to := filepath.Join(t.TempDir(), "backup")
	_, err := transfer.Backup(t.Context(), dir, to)
	says(t, err, "does not read back", "belong to nothing")
	if got := names(t, filepath.Dir(to)); len(got) != 0 {
		t.Errorf("left is %v", got)
	}
}

func TestKilledBackupLeavesNoFileOfItsName(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	large(t, file(dir))
	folder := t.TempDir()
	to := filepath.Join(folder, "backup.db")
	kills, whole := 0, lasts(t, "back up", dir, to)
	must(t, os.Remove(to))
	for range rounds() {
		ended := task(t, "back up", dir, to, time.Duration(rand.Int64N(int64(whole))))
		if !ended {
			kills++
		}
		if _, err := os.Stat(to); err == nil {
			if got := read(t, to, `PRAGMA integrity_check`) + read(t, to, `SELECT count(*) FROM audit_events`); got != "ok6001" {
				t.Fatalf("a backup of the name is there, and is not whole: %s", got)
			}
			must(t, os.Remove(to))
		} else if ended {
			t.Fatal("it says that it is done, and there is no file")
		}
	}
	t.Logf("%d of %d were killed", kills, rounds())
	_, err := transfer.Backup(t.Context(), dir, to) // what they left is in nobody's way
	must(t, err)
	if got := names(t, folder); !slices.Equal(got, []string{"backup.db"}) {
		t.Errorf("left is %v", got)
	}
}

func rounds() int {
	if os.Getenv("CARNET_SOAK") != "" {
		return 500
	}
	return 6
}

func TestKilledRestoreLeavesTheOldStoreOrTheNew(t *testing.T) {
	t.Parallel()
	_, backup := full(t)
	large(t, backup)
	onFile(t, backup, `UPDATE users SET name = 'of the backup' WHERE id = 'usr_1'`)
	outcomes := map[string]int{}
	first, _ := full(t)
	whole := lasts(t, "restore", first, backup)
	for range rounds() {
		dir, _ := full(t)
		killed(t, dir, `UPDATE users SET name = 'old' WHERE id = 'usr_1'`, `UPDATE tokens SET revoked_at = 77 WHERE id = 'tok_1'`)
		ended := task(t, "restore", dir, backup, time.Duration(rand.Int64N(int64(whole))))
		d := open(t, dir)
		var name string
		var revoked sql.NullInt64
		must(t, d.Read().QueryRowContext(t.Context(), `SELECT name, (SELECT revoked_at FROM tokens WHERE id = 'tok_1') FROM users WHERE id = 'usr_1'`).Scan(&name, &revoked))
		if revoked.Int64 != 77 {
			t.Fatalf("the token that was revoked has revoked_at %v in the store %q", revoked, name)
		}
		if ended && name != "of the backup" {
			t.Fatal("it says that it is done, and the old store is there")
		}
		must(t, d.Close())
		if got := read(t, file(dir), `PRAGMA integrity_check`); got != "ok" {
			t.Fatalf("the store is damaged: %s", got)
		}
		outcomes[name]++
	}
	t.Log(outcomes)
}

func TestTwoBackupsToOneFileAreNotMixed(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	to := filepath.Join(t.TempDir(), "backup.db")
	results := make(chan error, 4)
	for range cap(results) {
		go func() {
			_, err := transfer.Backup(t.Context(), dir, to)
			results <- err
		}()
	}
	done := 0
	for range cap(results) {
		if err := <-results; err == nil {
			done++
		} else if !problem.Is(err, problem.Conflict) {
			t.Error(err)
		}
	}
	if got := read(t, to, `PRAGMA integrity_check`); done != 1 || got != "ok" {
		t.Errorf("%d of them were done, and the file is %s", done, got)
	}
}
