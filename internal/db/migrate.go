package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema up to date. Before it touches a store that has a schema, it keeps a copy of the file.
func (d *DB) migrate(ctx context.Context, path string) error {
	folder, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return fmt.Errorf("find the migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, d.write, folder)
	if err != nil {
		return fmt.Errorf("prepare the migrations: %w", err)
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
		if err := d.keepCopy(ctx, path, current); err != nil {
			return err
		}
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bring the schema of %s from version %d to %d: %w", path, current, target, err)
	}
	d.log.Info("schema is up to date", "from", current, "to", target)
	return nil
}

// keepCopy writes the whole store as it is into a file beside it, unless an earlier, interrupted migration did.
func (d *DB) keepCopy(ctx context.Context, path string, version int64) error {
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
	if _, err := d.write.ExecContext(ctx, `VACUUM INTO $1`, partial); err != nil {
		return fmt.Errorf("keep a copy of %s before its schema moves: %w", path, err)
	}
	if err := os.Chmod(partial, 0o600); err != nil {
		return fmt.Errorf("close %s to other users: %w", partial, err)
	}
	if err := os.Rename(partial, copyPath); err != nil {
		return fmt.Errorf("keep a copy of %s: %w", path, err)
	}
	d.log.Info("kept a copy of the store before its schema moves", "file", copyPath)
	return nil
}
