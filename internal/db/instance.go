package db

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
)

// InstanceKey returns this installation's own random key of that name, 32 bytes, made at first use and the same ever
// after. It authenticates things that the server hands out and takes back, such as page cursors.
func (d *DB) InstanceKey(ctx context.Context, name string) ([]byte, error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	return d.instanceValue(ctx, name, fresh)
}

// instanceValue returns what is kept under the name, which is fresh from its first use on.
func (d *DB) instanceValue(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	var key []byte
	err := d.Read().QueryRowContext(ctx, `SELECT value FROM instance WHERE name = $1`, name).Scan(&key)
	if err == nil {
		return key, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read the instance key %s: %w", name, d.engine.seen(err))
	}
	err = d.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO instance (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, fresh); err != nil {
			return fmt.Errorf("make the instance key %s: %w", name, err)
		}
		return tx.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = $1`, name).Scan(&key)
	})
	return key, err
}

// Note keeps a word about the store, and Noted tells whether it was kept.
func (d *DB) Note(ctx context.Context, name string) error {
	_, err := d.instanceValue(ctx, name, []byte("yes"))
	return err
}

// Noted reports whether [DB.Note] has kept the word.
func (d *DB) Noted(ctx context.Context, name string) (bool, error) {
	var noted bool
	if err := d.Read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM instance WHERE name = $1)`, name).Scan(&noted); err != nil {
		return false, fmt.Errorf("read the note %s: %w", name, d.engine.seen(err))
	}
	return noted, nil
}
