// Package storetest gives tests a real, empty store, on each engine that there is.
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/db"
	"carnet/internal/pgtest"
)

// connections is how many connections a store of a test opens at most. Many tests share one server.
const connections = 16

// Open returns an empty embedded store that is closed at the end of the test.
func Open(tb testing.TB) *db.DB {
	tb.Helper()
	return open(tb, db.Options{Dir: tb.TempDir()})
}

// OpenPostgres returns an empty store on PostgreSQL that is closed at the end of the test.
func OpenPostgres(tb testing.TB) *db.DB {
	tb.Helper()
	return OpenURL(tb, Database(tb))
}

// OpenURL opens the store that the URL names, and closes it at the end of the test.
func OpenURL(tb testing.TB, url string) *db.DB {
	tb.Helper()
	return open(tb, db.Options{Dir: tb.TempDir(), URL: url})
}

// Content returns everything that a store keeps, by the name of the place that it is kept in: the files of an embedded
// store, a dump of a database.
func Content(tb testing.TB, d *db.DB) map[string][]byte {
	tb.Helper()
	content := map[string][]byte{}
	if d.Engine() == "postgres" {
		var name string
		if err := d.Read().QueryRowContext(context.Background(), `SELECT current_database()`).Scan(&name); err != nil {
			tb.Fatalf("ask for the database's name: %v", err)
		}
		var err error
		if content["dump"], err = Dump("/" + name); err != nil {
			tb.Fatal(err)
		}
	}
	err := filepath.WalkDir(d.Dir(), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		read, err := os.ReadFile(path) //nolint:gosec // a test's own folder
		content[filepath.Base(path)] = read
		return err
	})
	if err != nil {
		tb.Fatalf("read the files of the store: %v", err)
	}
	return content
}

func open(tb testing.TB, options db.Options) *db.DB {
	tb.Helper()
	options.Log, options.Connections = slog.New(slog.DiscardHandler), connections
	options.Patience = 20 * time.Second // a machine that runs many tests at once is slow, not cut off
	options.Fatal = func(err error) { tb.Errorf("the store stopped: %v", err) }
	d, err := db.Open(context.Background(), options)
	if err != nil {
		tb.Fatalf("open a store: %v", err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	return d
}

var (
	databases atomic.Int64
	// template is a database with the schema and nothing in it: copying it is faster than making one.
	template = sync.OnceValue(func() error {
		server, err := pgtest.Shared()
		if err != nil {
			return err
		}
		if err := server.CreateDatabase("carnet_template", ""); err != nil {
			return err
		}
		d, err := db.Open(context.Background(), db.Options{URL: server.URL("carnet_template"), Connections: connections, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		return d.Close()
	})
)

// Database returns the URL of a database of its own for the test, with the schema and nothing in it.
func Database(tb testing.TB) string {
	tb.Helper()
	if err := template(); err != nil {
		tb.Fatalf("prepare PostgreSQL: %v", err)
	}
	server, err := pgtest.Shared()
	if err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	name := fmt.Sprintf("carnet_%d", databases.Add(1))
	if err := server.CreateDatabase(name, "carnet_template"); err != nil {
		tb.Fatalf("make a database: %v", err)
	}
	tb.Cleanup(func() { _ = server.Do("postgres", "DROP DATABASE "+name+" WITH (FORCE)") })
	return server.URL(name)
}

// Dump returns all that the database of the URL holds, as text.
func Dump(url string) ([]byte, error) {
	server, err := pgtest.Shared()
	if err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(url[strings.LastIndexByte(url, '/')+1:], "?")
	return server.Dump(name)
}

// Each runs a test once for every engine, in parallel, each time on an empty store.
func Each(t *testing.T, test func(t *testing.T, d *db.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, Open(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, OpenPostgres(t))
	})
}
