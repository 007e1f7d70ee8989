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
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"carnet/internal/request"
)

// FileName is the name of the embedded store in the data folder.
const FileName = "carnet.db"

// oldestSQLite is the first release without the WAL-reset race, which can corrupt a store that two connections use.
const oldestSQLite = "3.51.3"

// checkpointEvery is how many writes may pass before what the log holds is carried over into the file.
const checkpointEvery = 200

// ErrInUse is wrapped by the error of [Open] when another process holds the data folder.
var ErrInUse = errors.New("the data folder is in use by another Carnet process")

// sqlite is the store inside the process.
type sqlite struct {
	db     *DB
	folder *Folder
	reader *sql.DB
	writer *sql.DB // one connection: SQLite has one writer

	turn   chan struct{} // the right to write; holding it guards what follows, and the order in which subscribers hear
	epoch  Epoch
	writes int

	checkpoints chan struct{}
	done        chan struct{}
	background  sync.WaitGroup
	closing     sync.Once
}

// openSQLite opens the embedded store in the data folder. It refuses a folder that another process holds, that belongs
// to another user or that cannot be written, and a file that is no intact store of this version or an earlier one.
func openSQLite(ctx context.Context, d *DB, moved bool) (*sqlite, error) {
	folder, err := Claim(d.dir)
	if err != nil {
		return nil, err
	}
	if !moved {
		if err := movedTo(d.dir); err != nil {
			return nil, errors.Join(err, folder.Release())
		}
	}
	s := &sqlite{db: d, folder: folder, turn: make(chan struct{}, 1), checkpoints: make(chan struct{}, 1), done: make(chan struct{})}
	if err := s.open(ctx); err != nil {
		_ = s.close()
		return nil, err
	}
	s.background.Go(s.checkpointer)
	return s, nil
}

func (s *sqlite) open(ctx context.Context) (err error) {
	path := filepath.Join(s.db.dir, FileName)
	if err := prepareFile(path); err != nil {
		return err
	}
	if s.writer, err = sql.Open("sqlite", dsn(path, "immediate", 8<<20)); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = sql.Open("sqlite", dsn(path, "deferred", 4<<20)+"&_pragma=query_only(1)"); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	s.reader.SetMaxOpenConns(readers())
	s.reader.SetMaxIdleConns(readers())
	if err := checkEngine(ctx, s.writer, path); err != nil {
		return err
	}
	if err := s.migrate(ctx, path); err != nil {
		return err
	}
	// A program that wrote past Write may have left its move of the epoch open: close it before the first use.
	if _, err := s.writer.ExecContext(ctx, `UPDATE epoch SET moved = 0 WHERE moved = 1`); err != nil {
		return fmt.Errorf("prepare %s: %w", path, err)
	}
	if err := s.writer.QueryRowContext(ctx, `SELECT value, mark FROM epoch WHERE id = 1`).Scan(&s.epoch.Value, &s.epoch.Mark); err != nil {
		return fmt.Errorf("read the epoch of %s: %w", path, err)
	}
	return nil
}

func (*sqlite) name() string                { return "sqlite" }
func (s *sqlite) read() Queryer             { return s.reader }
func (s *sqlite) lookups() Queryer          { return s.reader }
func (*sqlite) prepares() bool              { return true }
func (*sqlite) fresh(context.Context) error { return nil }

func (*sqlite) attempt(ctx context.Context) (context.Context, context.CancelFunc) {
	return ctx, func() {}
}

func (*sqlite) hold(context.Context, *sql.Tx, []string) error { return nil }

func (s *sqlite) subscribe(subscriber Subscriber) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.db.subscribers = append(s.db.subscribers, subscriber)
	subscriber.Apply(s.epoch, nil)
}

func (s *sqlite) write(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the turn to write: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	if err := s.db.Err(); err != nil {
		return err
	}
	// Whoever took authority from the caller before had this turn, and told the caches before they let go of it.
	asker := request.From(ctx)
	if asker.Standing != nil && asker.Standing.Overtaken() {
		return ErrOvertaken
	}
	ctx = context.WithoutCancel(ctx)

	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a write: %w", s.seen(err))
	}
	// After a commit this does nothing. Without it a panic in fn would keep the only connection for ever.
	defer func() { _ = tx.Rollback() }()
	if err := fn(ctx, tx); err != nil {
		return s.seen(err)
	}
	moved, epoch, changes, err := moved(ctx, tx)
	if err != nil {
		return s.seen(err)
	}
	if err := tx.Commit(); err != nil {
		return s.commitFailed(err)
	}
	if moved {
		s.epoch = epoch
		for _, subscriber := range s.db.subscribers {
			subscriber.Apply(epoch, changes)
		}
	}
	s.afterWrite()
	// What the request did itself does not overtake it.
	asker.Standing = nil
	return nil
}

// moved closes the transaction's move of the epoch, if it made one, and returns what it invalidates.
func moved(ctx context.Context, tx *sql.Tx) (moved bool, epoch Epoch, changes []Change, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE epoch SET moved = 0 WHERE moved = 1 RETURNING value, mark`).Scan(&epoch.Value, &epoch.Mark)
	if errors.Is(err, sql.ErrNoRows) {
		return false, epoch, nil, nil
	}
	if err != nil {
		return false, epoch, nil, fmt.Errorf("close the epoch: %w", err)
	}
	rows, err := tx.QueryContext(ctx, `SELECT kind, key FROM changes WHERE epoch = $1`, epoch.Value)
	if err != nil {
		return false, epoch, nil, fmt.Errorf("read the changes: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var c Change
		if err := rows.Scan(&c.Kind, &c.Key); err != nil {
			return false, epoch, nil, fmt.Errorf("read the changes: %w", err)
		}
		changes = append(changes, c)
	}
	return true, epoch, changes, rows.Err()
}

func (s *sqlite) ready(ctx context.Context) error {
	if err := s.db.Err(); err != nil {
		return err
	}
	var one int
	return s.seen(s.reader.QueryRowContext(ctx, `SELECT 1 FROM epoch`).Scan(&one))
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
	// A process that has just ended, or a program that it was about to start, may hold the lock for a moment longer.
	for wait := time.Millisecond; ; wait *= 2 {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if wait > lockPatience {
			_ = file.Close()
			return nil, fmt.Errorf("%w: %s. Stop that one first, or give this one another --data", ErrInUse, dir)
		}
		time.Sleep(wait)
	}
}

// lockPatience is about half as long as a folder that is in use is asked for again.
const lockPatience = 128 * time.Millisecond

// afterWrite asks for a checkpoint now and then. The caller holds the turn.
func (s *sqlite) afterWrite() {
	s.writes++
	if s.writes%checkpointEvery == 0 {
		select {
		case s.checkpoints <- struct{}{}:
		default:
		}
	}
}

// checkpointer carries the write-ahead log over into the file, outside anybody's request. It owns its goroutine until
// close. A failed sync stops the store like any other.
func (s *sqlite) checkpointer() {
	for {
		select {
		case <-s.done:
			return
		case <-s.checkpoints:
		}
		if err := s.checkpoint("PASSIVE"); err != nil {
			s.db.log.Error("checkpoint failed", "error", err)
		}
	}
}

func (s *sqlite) checkpoint(mode string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if err := s.db.Err(); err != nil {
		return err
	}
	var busy, logged, moved int
	err := s.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &logged, &moved)
	return s.seen(err)
}

// close ends the background work, carries the log over and closes the store.
func (s *sqlite) close() error {
	var err error
	s.closing.Do(func() {
		close(s.done)
		s.background.Wait()
		if s.writer != nil && s.db.Err() == nil && s.epoch.Value > 0 {
			err = s.checkpoint("TRUNCATE")
		}
		for _, pool := range []*sql.DB{s.reader, s.writer} {
			if pool != nil {
				err = errors.Join(err, pool.Close())
			}
		}
		err = errors.Join(err, s.folder.Release())
	})
	return err
}
