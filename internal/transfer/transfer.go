// Package transfer moves whole stores: it backs an embedded store up while a server uses it, restores one from a backup,
// and copies one to PostgreSQL.
//
// What it writes is complete or not there at all, and was read again before anybody is told that it is done. And a restore
// never brings a revoked token back to life in silence: what ended since the backup is taken over from the store that is
// replaced, and where that cannot be read, tokens rest until the operator decides.
package transfer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"carnet/internal/db"
	"carnet/internal/problem"
)

// refusal is what is not done as things are, and leaves everything as it was.
func refusal(format string, args ...any) error {
	return problem.Newf(problem.Conflict, format, args...)
}

// openFile opens one SQLite file, past the rules of a store that is served. All work is done on one connection, so that
// what is attached to it stays attached.
func openFile(path, mode string, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"mode": {strings.TrimSuffix(mode, "!")}}
	if strings.HasSuffix(mode, "!") {
		q.Set("immutable", "1") // nobody else has it, and nothing is made beside it
	}
	for _, pragma := range append([]string{"busy_timeout(5000)", "wal_autocheckpoint(0)", "trusted_schema(0)"}, pragmas...) {
		q.Add("_pragma", pragma)
	}
	pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	pool.SetMaxOpenConns(1)
	return pool, nil
}

// storeIn returns the path of the embedded store in a data folder. A folder without one is not found, and not made.
func storeIn(dir string) (string, error) {
	path := filepath.Join(dir, db.FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", problem.Newf(problem.NotFound, "There is no store in %s. Name the folder of the server.", dir)
	} else if err != nil {
		return "", fmt.Errorf("look for the store: %w", err)
	}
	return path, nil
}

// contents is what can be said of a store by looking at it.
type contents struct {
	schema       int64
	installation string // a secret that is made once and kept by every copy
	epoch        int64
	users        int64
	tokens       int64
}

// inspect reads the whole of a store that is open and returns what it is. Its errors say what is wrong with it, and begin
// so that they can follow "because".
func inspect(ctx context.Context, q db.Queryer) (c contents, err error) {
	var tables int
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('goose_db_version', 'instance', 'epoch', 'tokens', 'users')`).Scan(&tables)
	if err != nil {
		return c, fmt.Errorf("it is damaged or no store: %w", err)
	}
	if tables != 5 {
		return c, errors.New("it is no store of Carnet")
	}
	var verdict string
	if err := q.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return c, fmt.Errorf("it is damaged: %w", err)
	}
	if verdict != "ok" {
		return c, fmt.Errorf("it is damaged: %s", verdict)
	}
	err = q.QueryRowContext(ctx, `SELECT (SELECT max(version_id) FROM goose_db_version WHERE is_applied = 1),
		coalesce((SELECT hex(value) FROM instance WHERE name = 'cursors'), ''), (SELECT value FROM epoch WHERE id = 1),
		(SELECT count(*) FROM users), (SELECT count(*) FROM tokens)`).Scan(&c.schema, &c.installation, &c.epoch, &c.users, &c.tokens)
	if err != nil {
		return c, fmt.Errorf("it is damaged: %w", err)
	}
	return c, lonely(ctx, q)
}

// lonely looks for rows whose other half is missing, which no check of the file finds.
func lonely(ctx context.Context, q db.Queryer) error {
	rows, err := q.QueryContext(ctx, "SELECT DISTINCT \"table\" FROM pragma_foreign_key_check")
	if err != nil {
		return fmt.Errorf("it is damaged: %w", err)
	}
	defer func() { _ = rows.Close() }()
	if rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return fmt.Errorf("it is damaged: %w", err)
		}
		return fmt.Errorf("it is damaged: rows of %s belong to nothing", table)
	}
	return rows.Err()
}

func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open %s to sync it: %w", path, err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
