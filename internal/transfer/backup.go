package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"carnet/internal/problem"
)

// Written says what a backup is.
type Written struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	Schema int64  `json:"schema"`
	Users  int64  `json:"users"`
	Tokens int64  `json:"tokens"`
}

// Backup writes the embedded store of a data folder into one file, as it is at one moment, and reads that file whole before
// it returns. A server may go on using the store: the backup is a reader like others, which holds up neither writers nor
// verification; the write-ahead log grows meanwhile by what is written. The schema stays as it is. A file that exists is
// never touched (conflict), and a backup that ends early leaves nothing.
func Backup(ctx context.Context, dir, to string) (Written, error) {
	source, err := storeIn(dir)
	if err != nil {
		return Written{}, err
	}
	if _, err := os.Lstat(to); err == nil {
		return Written{}, taken(to)
	}
	partial, err := reserve(to)
	if err != nil {
		return Written{}, err
	}
	defer func() { _ = partial.Close() }()
	defer func() { _ = os.Remove(partial.Name()) }() // while it is reserved
	if err := vacuum(ctx, source, partial); err != nil {
		return Written{}, err
	}
	if err := partial.Sync(); err != nil {
		return Written{}, fmt.Errorf("sync the backup: %w", err)
	}
	written, err := readBack(ctx, partial.Name())
	if err != nil {
		return Written{}, err
	}
	written.File = to
	return written, publish(partial.Name(), to)
}

func taken(to string) error {
	return refusal("%s exists already, and a backup never replaces a file. Give --to another name.", to)
}

// reserve makes the file that the backup is written into, beside the one that it will be: closed to others from the first
// moment on. One that a killed backup left is taken over, one that another backup writes is not.
func reserve(to string) (*os.File, error) {
	file, err := os.OpenFile(to+".partial", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.Newf(problem.NotFound, "There is no folder %s for the backup.", filepath.Dir(to))
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil, problem.Newf(problem.Conflict, "The folder %s cannot be written to by user %d, as whom the store is served (and ProtectSystem in a unit closes most folders). Give --to another.", filepath.Dir(to), os.Geteuid())
	}
	if err != nil {
		return nil, fmt.Errorf("make the backup's file: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(refusal("Another backup to %s is under way.", to), file.Close())
	}
	if !unfinished(file) {
		return nil, errors.Join(refusal("%s is there and no unfinished backup. Move it away, or give --to another name.", file.Name()), file.Close())
	}
	if err := errors.Join(file.Truncate(0), file.Chmod(0o600)); err != nil {
		return nil, errors.Join(fmt.Errorf("empty the backup's file: %w", err), file.Close())
	}
	return file, nil
}

// unfinished reports whether a file may be what a killed backup left: nothing yet, or the beginning of a store.
func unfinished(file *os.File) bool {
	const begins = "SQLite format 3\x00"
	head := make([]byte, len(begins))
	n, err := file.ReadAt(head, 0)
	return n == 0 && errors.Is(err, io.EOF) || string(head[:n]) == begins
}

// syncEvery is how often a backup that is being written is synced.
const syncEvery = 100 * time.Millisecond

// vacuum writes the store as it is into an empty file. It has a connection of its own: those for reads may write nothing
// at all, not even into another file.
//
// What it writes is synced as it goes. All at once at the end, it would hold up the syncs of the server's own writes on the
// same disk, for as long as the disk takes to write the whole store.
func vacuum(ctx context.Context, source string, into *os.File) error {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(syncEvery)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				_ = into.Sync() // the last sync tells
			}
		}
	}()
	defer func() {
		close(done)
		<-stopped
	}()
	pool, err := openFile(source, "rw")
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	if _, err := pool.ExecContext(ctx, `VACUUM INTO $1`, into.Name()); err != nil {
		return fmt.Errorf("write the store into %s: %w", into.Name(), err)
	}
	return nil
}

func readBack(ctx context.Context, path string) (Written, error) {
	pool, err := openFile(path, "ro!")
	if err != nil {
		return Written{}, err
	}
	defer func() { _ = pool.Close() }()
	c, err := inspect(ctx, pool)
	if err != nil {
		return Written{}, fmt.Errorf("the backup was written and does not read back, so it was removed: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return Written{}, fmt.Errorf("look at the backup: %w", err)
	}
	return Written{Bytes: info.Size(), Schema: c.schema, Users: c.users, Tokens: c.tokens}, nil
}

// publish gives the file its name, unless somebody else took it meanwhile.
func publish(partial, to string) error {
	err := os.Link(partial, to)
	if errors.Is(err, fs.ErrExist) {
		return taken(to)
	}
	if err != nil {
		// A file system without links, such as many network shares.
		if _, err := os.Lstat(to); err == nil {
			return taken(to)
		}
		if err := os.Rename(partial, to); err != nil {
			return fmt.Errorf("give the backup its name: %w", err)
		}
	}
	return syncFile(filepath.Dir(to))
}

// OnPostgres is the refusal for stores that PostgreSQL's own tools back up and restore.
func OnPostgres() error {
	return refusal("The store is a PostgreSQL database, which PostgreSQL's own tools back up and restore: pg_dump and pg_restore for one database, base backups with archived logs (pg_basebackup) for the whole server and any moment. See “Backup and restore” in docs/operators.md.")
}
