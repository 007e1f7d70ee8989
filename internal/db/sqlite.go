package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// FileName is the name of the embedded store in the data folder.
const FileName = "carnet.db"

// oldestSQLite is the first release without the WAL-reset race, which can corrupt a store that two connections use.
const oldestSQLite = "3.51.3"

// checkpointEvery is how many writes may pass before what the log holds is carried over into the file.
const checkpointEvery = 200

// ErrInUse is wrapped by the error of [Open] when another process holds the data folder.
var ErrInUse = errors.New("the data folder is in use by another Carnet process")

// Open opens the embedded store in options.Dir, made new if there is none, and brings its schema up to date. It
// refuses, with an error that says what to do, a folder that another process holds, that belongs to another user or
// that cannot be written, and a file that is no intact store of this version or an earlier one.
func Open(ctx context.Context, options Options) (*DB, error) {
	if err := prepareFolder(options.Dir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(options.Dir)
	if err != nil {
		return nil, err
	}
	d := &DB{
		dir: options.Dir, lock: lock, log: options.Log, fatal: options.Fatal,
		turn: make(chan struct{}, 1), checkpoints: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if err := d.open(ctx); err != nil {
		_ = d.Close()
		return nil, err
	}
	d.background.Go(d.checkpointer)
	return d, nil
}

func (d *DB) open(ctx context.Context) (err error) {
	path := filepath.Join(d.dir, FileName)
	if err := prepareFile(path); err != nil {
		return err
	}
	if d.write, err = sql.Open("sqlite", dsn(path, "immediate", 8<<20)); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	d.write.SetMaxOpenConns(1)
	if d.read, err = sql.Open("sqlite", dsn(path, "deferred", 4<<20)+"&_pragma=query_only(1)"); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	d.read.SetMaxOpenConns(readers())
	d.read.SetMaxIdleConns(readers())
	if err := checkEngine(ctx, d.write, path); err != nil {
		return err
	}
	if err := d.migrate(ctx, path); err != nil {
		return err
	}
	// A program that wrote past Write may have left its move of the epoch open: close it before the first use.
	if _, err := d.write.ExecContext(ctx, `UPDATE epoch SET moved = 0 WHERE moved = 1`); err != nil {
		return fmt.Errorf("prepare %s: %w", path, err)
	}
	if err := d.write.QueryRowContext(ctx, `SELECT value FROM epoch WHERE id = 1`).Scan(&d.epoch); err != nil {
		return fmt.Errorf("read the epoch of %s: %w", path, err)
	}
	return nil
}

// readers is how many connections read at the same time: more than cores serve nobody, and each has its own cache.
func readers() int { return max(4, runtime.GOMAXPROCS(0)) }

func dsn(path, lock string, cache int) string {
	q := url.Values{}
	q.Set("_txlock", lock)
	for _, pragma := range []string{
		"busy_timeout(5000)",
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(1)",
		// Checkpoints are ours to run: SQLite's own drop the error of a failed sync.
		"wal_autocheckpoint(0)",
		"journal_size_limit(16777216)",
		"cache_size(-" + strconv.Itoa(cache>>10) + ")",
		"trusted_schema(0)",
	} {
		q.Add("_pragma", pragma)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// checkEngine reads back what the driver made of our settings: a misspelled one is silently ignored.
func checkEngine(ctx context.Context, pool *sql.DB, path string) error {
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "wal_autocheckpoint": "0"} {
		var got string
		if err := pool.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil {
			return explainOpen(path, err)
		}
		if got != want {
			return fmt.Errorf("open %s: the engine runs with %s=%s instead of %s", path, pragma, got, want)
		}
	}
	var version string
	if err := pool.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return explainOpen(path, err)
	}
	if olderThan(version, oldestSQLite) {
		return fmt.Errorf("this build carries SQLite %s, which can corrupt its file; %s is the oldest that is safe", version, oldestSQLite)
	}
	return checkFile(ctx, pool, path)
}

// quickCheckLimit bounds the check at start to files that it reads in well under a second.
const quickCheckLimit = 32 << 20

func checkFile(ctx context.Context, pool *sql.DB, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if info.Size() > quickCheckLimit {
		return nil
	}
	var verdict string
	if err := pool.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return explainOpen(path, err)
	}
	if verdict != "ok" {
		return fmt.Errorf("%s is damaged (%s). Nothing was changed. Put a backup in its place, or ask SQLite's .recover for what can be saved", path, verdict)
	}
	return nil
}

func explainOpen(path string, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "not a database"), strings.Contains(text, "malformed"):
		return fmt.Errorf("%s is damaged or no Carnet store. Nothing was changed. Put a backup in its place: %w", path, err)
	case strings.Contains(text, "readonly"), strings.Contains(text, "unable to open"):
		return fmt.Errorf("%s cannot be written by this user. Check who owns the folder, and that its disk is not mounted read-only: %w", path, err)
	default:
		return fmt.Errorf("open %s: %w", path, err)
	}
}

func olderThan(version, limit string) bool {
	a, b := strings.Split(version, "."), strings.Split(limit, ".")
	for i := range min(len(a), len(b)) {
		x, _ := strconv.Atoi(a[i])
		y, _ := strconv.Atoi(b[i])
		if x != y {
			return x < y
		}
	}
	return len(a) < len(b)
}

func prepareFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder %s: %w. Give --data a folder that this user can write", dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the data folder %s: %w", dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("the data folder %s is not a folder", dir)
	}
	if err := ownedByUs(dir, info); err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		// It holds password hashes and everybody's data: nobody else on this machine has business in it.
		if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs its execute bit
			return fmt.Errorf("close the data folder %s to other users: %w", dir, err)
		}
	}
	return nil
}

func prepareFile(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("make %s: %w. Check that this user can write the folder and that the disk has room", path, err)
		}
		return file.Close()
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	return ownedByUs(path, info)
}

func ownedByUs(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, but this process runs as user %d. Run it as the owner, or change the owner with chown", path, stat.Uid, os.Geteuid())
	}
	return nil
}

// lockFolder takes the folder for this process. The lock ends with the process, however that ends.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w. Check that this user can write the folder and that the disk has room", path, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("%w: %s. Stop that one first, or give this one another --data", ErrInUse, dir)
	}
	return file, nil
}

// afterWrite asks for a checkpoint now and then. The caller holds the turn.
func (d *DB) afterWrite() {
	d.writes++
	if d.writes%checkpointEvery == 0 {
		select {
		case d.checkpoints <- struct{}{}:
		default:
		}
	}
}

// checkpointer carries the write-ahead log over into the file, outside anybody's request. It owns its goroutine until
// Close. A failed sync stops the store like any other.
func (d *DB) checkpointer() {
	for {
		select {
		case <-d.done:
			return
		case <-d.checkpoints:
		}
		if err := d.checkpoint("PASSIVE"); err != nil {
			d.log.Error("checkpoint failed", "error", err)
		}
	}
}

func (d *DB) checkpoint(mode string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if err := d.Err(); err != nil {
		return err
	}
	var busy, logged, moved int
	err := d.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &logged, &moved)
	return d.seen(err)
}

// Close ends the background work, carries the log over and closes the store. It is safe to call twice.
func (d *DB) Close() error {
	var err error
	d.closing.Do(func() {
		close(d.done)
		d.background.Wait()
		if d.write != nil && d.Err() == nil && d.epoch > 0 {
			err = d.checkpoint("TRUNCATE")
		}
		for _, pool := range []*sql.DB{d.read, d.write} {
			if pool != nil {
				err = errors.Join(err, pool.Close())
			}
		}
		err = errors.Join(err, d.lock.Close())
	})
	return err
}

// Dir returns the data folder.
func (d *DB) Dir() string { return d.dir }
