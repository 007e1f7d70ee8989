package db

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carnet/internal/problem"
)

// What stands in a data folder while its store is replaced by another, and after.
const (
	// RestoringName is the name of a store that is being built. Nobody opens it, and whoever takes the folder removes it.
	RestoringName = FileName + ".restoring"
	// restoredPrefix begins the name of a store that is complete and not yet in its place. That name is the moment of
	// decision: from its existence on, whoever takes the folder puts the store in its place.
	restoredPrefix = FileName + ".restored-"
	replacedPrefix = FileName + ".replaced-"
	// movedName is the name of a note that the store was copied elsewhere and is to be served from there.
	movedName = FileName + ".moved"
)

// MarkMoved notes in a data folder that its store was copied to a database, of that name: a server that is started on the
// folder after all, because it was not told of the database, refuses.
func MarkMoved(dir, to string, now time.Time) error {
	path := filepath.Join(dir, movedName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a former copy, or a link to somewhere
		return fmt.Errorf("note that the store has moved: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("note that the store has moved: %w", err)
	}
	_, err = file.WriteString(to + ", " + now.UTC().Format(time.DateTime) + " UTC\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("note that the store has moved: %w", err)
	}
	return syncPath(dir)
}

// movedTo returns an error when the store of a folder was copied elsewhere.
func movedTo(dir string) error {
	path := filepath.Join(dir, movedName)
	note, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whether the store has moved: %w", err)
	}
	return problem.Newf(problem.Conflict, "The store in %s was copied to a database (%s) and is served from there: two that are alive would soon differ. Name the database, with CARNET_DATABASE or --database; or remove %s to go back to the folder.",
		dir, strings.TrimSpace(string(note)), path)
}

// Folder is a data folder that this process holds without having opened the store in it. No other process of ours opens
// it meanwhile.
type Folder struct {
	dir  string
	lock *os.File
}

// Claim takes the data folder, which is made when it is missing. It fails with [ErrInUse] when another process holds it.
func Claim(dir string) (*Folder, error) {
	if err := prepareFolder(dir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{dir: dir, lock: lock}
	if err := f.settle(); err != nil {
		return nil, errors.Join(err, f.Release())
	}
	return f, nil
}

// Release gives the folder back.
func (f *Folder) Release() error { return f.lock.Close() }

// Replace puts the store at the path, a complete file in the folder, in the place of the one that is there, and keeps that
// one beside it. It returns where, "" if there was none. A kill at any moment leaves the one or the other: the change is
// decided by one rename, and what is left to do after it is done by whoever takes the folder next.
func (f *Folder) Replace(path string, now time.Time) (kept string, err error) {
	stamp := now.UTC().Format("20060102T150405.000Z")
	if err := syncPath(path); err != nil {
		return "", err
	}
	if err := os.Rename(path, filepath.Join(f.dir, restoredPrefix+stamp)); err != nil {
		return "", fmt.Errorf("name the new store: %w", err)
	}
	if err := syncPath(f.dir); err != nil {
		return "", err
	}
	if err := f.settle(); err != nil {
		return "", err
	}
	kept = filepath.Join(f.dir, replacedPrefix+stamp)
	if _, err := os.Lstat(kept); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return kept, nil
}

// settle finishes what a process that was killed left behind: a store that was being built goes, one that was complete
// takes its place.
func (f *Folder) settle() error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("look into %s: %w", f.dir, err)
	}
	for _, entry := range entries {
		stamp, complete := strings.CutPrefix(entry.Name(), restoredPrefix)
		switch {
		case complete:
			err = f.place(stamp)
		case strings.HasPrefix(entry.Name(), RestoringName):
			err = os.Remove(filepath.Join(f.dir, entry.Name()))
		}
		if err != nil {
			return fmt.Errorf("finish what an interrupted restore began: %w", err)
		}
	}
	return nil
}

// place moves the store aside with its log, and the complete one to where it was. The folder is synced in between: the
// log of the one must never be found beside the other, to which SQLite would apply it.
func (f *Folder) place(stamp string) error {
	path, kept := filepath.Join(f.dir, FileName), filepath.Join(f.dir, replacedPrefix+stamp)
	if exists(path) && exists(kept) {
		return fmt.Errorf("both %s and %s are there, and only one of them can be the store that was replaced. Move one of them away", path, kept)
	}
	for _, suffix := range []string{"", "-wal"} {
		if err := os.Rename(path+suffix, kept+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range []string{path + "-shm", filepath.Join(f.dir, movedName)} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syncPath(f.dir); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(f.dir, restoredPrefix+stamp), path); err != nil {
		return err
	}
	return syncPath(f.dir)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// syncPath makes what was written to a file, or the names in a folder, survive a power cut.
func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open %s to sync it: %w", path, err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
