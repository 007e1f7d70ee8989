package db

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema up to date. Before it touches a store that has a schema, it keeps a copy of the file.
func (s *sqlite) migrate(ctx context.Context, path string) error {
	provider, err := schemaOfSQLite(s.writer)
	if err != nil {
		return err
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return explainOpen(path, fmt.Errorf("read the schema version: %w", err))
	}
	switch {
	case current > target:
		return fmt.Errorf("%s was written by a newer Carnet (schema %d; this one knows %d). Nothing was changed. Run the newer version", path, current, target)
	case current == target:
		return nil
	case current > 0:
		if err := s.keepCopy(ctx, path, current); err != nil {
			return err
		}
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bring the schema of %s from version %d to %d: %w", path, current, target, err)
	}
	s.db.log.Info("schema is up to date", "from", current, "to", target)
	return nil
}

func schemaOfSQLite(pool *sql.DB) (*goose.Provider, error) {
	folder, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return nil, fmt.Errorf("find the migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, pool, folder)
	if err != nil {
		return nil, fmt.Errorf("prepare the migrations: %w", err)
	}
	return provider, nil
}

// keepCopy writes the whole store as it is into a file beside it, unless an earlier, interrupted migration did.
func (s *sqlite) keepCopy(ctx context.Context, path string, version int64) error {
	copyPath := fmt.Sprintf("%s.before-%d", path, version)
	if _, err := os.Stat(copyPath); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", copyPath, err)
	}
	partial := copyPath + ".partial"
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", partial, err)
	}
	if _, err := s.writer.ExecContext(ctx, `VACUUM INTO $1`, partial); err != nil {
		return fmt.Errorf("keep a copy of %s before its schema moves: %w", path, err)
	}
	if err := os.Chmod(partial, 0o600); err != nil {
		return fmt.Errorf("close %s to other users: %w", partial, err)
	}
	if err := os.Rename(partial, copyPath); err != nil {
		return fmt.Errorf("keep a copy of %s: %w", path, err)
	}
	s.db.log.Info("kept a copy of the store before its schema moves", "file", copyPath)
	return nil
}

// beginMigration begins a transaction that changes the schema. It may take as long as it takes, but while it waits for a
// table it keeps others waiting, who serve requests.
const beginMigration = "begin; set local statement_timeout = 0; set local lock_timeout = 3000; set local idle_in_transaction_session_timeout = 0; "

// migrate brings the schema up to date. One node does it while the others wait; they go on when it is done. The lock
// belongs to a transaction that stays open meanwhile, so that it holds through a pooler in transaction mode.
func (p *postgres) migrate(ctx context.Context, config *pgx.ConnConfig) error {
	folder, err := fs.Sub(migrations, "migrations/postgres")
	if err != nil {
		return fmt.Errorf("find the migrations: %w", err)
	}
	connector := newConnector(config, 2, true, 2*connectTimeout, beginMigration)
	defer connector.close()
	pool := sql.OpenDB(connector)
	defer func() { _ = pool.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, pool, folder)
	if err != nil {
		return fmt.Errorf("prepare the migrations: %w", err)
	}
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("take the lock of the schema: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{"SET LOCAL lock_timeout = 0", "SELECT pg_advisory_xact_lock(1667330670, 2)"} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("take the lock of the schema: %w", err)
		}
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	switch {
	case current > target:
		return p.mayServe(ctx, current, target)
	case current == target:
		return nil
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bring the schema from version %d to %d: %w", current, target, err)
	}
	p.db.log.Info("schema is up to date", "from", current, "to", target)
	return nil
}

// mayServe lets a program work on a schema that is newer than it knows, where that schema says that it may: the nodes of
// the version before go on, and start again, while an upgrade rolls over them.
func (p *postgres) mayServe(ctx context.Context, current, known int64) error {
	var oldest string
	if err := p.reader.QueryRowContext(ctx, `SELECT convert_from(value, 'UTF8') FROM instance WHERE name = 'oldest_schema'`).Scan(&oldest); err != nil {
		return fmt.Errorf("ask which programs the schema is for: %w", err)
	}
	if n, err := strconv.ParseInt(oldest, 10, 64); err == nil && n <= known {
		p.db.log.Info("the schema is newer than this program, and still good for it", "schema", current, "known", known)
		return nil
	}
	return fmt.Errorf("the database belongs to a newer Carnet (schema %d, for programs that know %s; this one knows %d). Nothing was changed. Run the newer version", current, oldest, known)
}
