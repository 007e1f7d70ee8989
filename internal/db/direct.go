package db

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrNewer is wrapped by the error of [Upgrade] when a newer Carnet wrote the store.
var ErrNewer = errors.New("it was written by a newer Carnet")

// Upgrade brings the schema of an embedded store up to date that is opened by pool, past [Open]: for whoever works on a
// copy that nobody else has. It returns the versions before and after.
func Upgrade(ctx context.Context, pool *sql.DB) (from, to int64, err error) {
	provider, err := schemaOfSQLite(pool)
	if err != nil {
		return 0, 0, err
	}
	if from, to, err = provider.GetVersions(ctx); err != nil {
		return 0, 0, fmt.Errorf("read the schema version: %w", err)
	}
	if from > to {
		return from, to, fmt.Errorf("%w (schema %d; this one knows %d). Run the newer version", ErrNewer, from, to)
	}
	if _, err := provider.Up(ctx); err != nil {
		return from, to, fmt.Errorf("bring the schema from version %d to %d: %w", from, to, err)
	}
	return from, to, nil
}

// ConnectPostgres returns one connection to the primary of the database that the URL names, past [Open]: for work that
// takes one long transaction.
func ConnectPostgres(ctx context.Context, url string) (*pgx.Conn, error) {
	config, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, explainPostgres(config, err)
	}
	return conn, nil
}

// DatabaseName returns how to speak of the database that the URL names: without its password.
func DatabaseName(url string) (string, error) {
	config, err := parseURL(url)
	if err != nil {
		return "", err
	}
	hosts := []string{config.Host}
	for _, other := range config.Fallbacks {
		if !slices.Contains(hosts, other.Host) { // each is there once for every way to encrypt
			hosts = append(hosts, other.Host)
		}
	}
	return config.Database + " on " + strings.Join(hosts, ", "), nil
}

// SystemName is the name in the table instance of the store's system id: 16 random bytes, made at first use. A store that
// is restored from a backup gets another, because its history is another.
const SystemName = "system"

// SystemID returns the store's system id.
func (d *DB) SystemID(ctx context.Context) ([]byte, error) {
	return d.instanceValue(ctx, SystemName, NewSystemID())
}

// NewSystemID returns a system id that no store has.
func NewSystemID() []byte {
	fresh := make([]byte, 16)
	_, _ = rand.Read(fresh) // never fails
	return fresh
}
