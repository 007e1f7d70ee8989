package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"carnet/internal/db"
)

// table is one table of the store, as its schema describes it: a table that a migration adds is copied and compared
// without anybody's thinking of it.
type table struct {
	name    string
	columns []string
	key     []string // the primary key, in its order
	rows    int64
}

// where leaves out what the engines do not share.
func (t table) where(engine string) string {
	if t.name == "instance" && engine == "postgres" {
		return " WHERE name <> 'oldest_schema'" // for rolling upgrades, which an embedded store does not know
	}
	return ""
}

// query reads all rows in the order of the key, which is the same on both engines: both compare text by its bytes.
func (t table) query(engine string) string {
	return "SELECT " + strings.Join(t.columns, ", ") + " FROM " + t.name + t.where(engine) + " ORDER BY " + strings.Join(t.key, ", ")
}

// nameOf returns the key of a row as people may read it.
func (t table) nameOf(values []any) string {
	var parts []string
	for _, k := range t.key {
		switch v := values[slices.Index(t.columns, k)].(type) {
		case []byte:
			parts = append(parts, hex.EncodeToString(v))
		default:
			parts = append(parts, strings.ToValidUTF8(fmt.Sprint(v), "\ufffd"))
		}
	}
	return strings.Join(parts, "/")
}

// tablesOf reads the tables of an embedded store, each after those that it refers to.
func tablesOf(ctx context.Context, source db.Queryer) ([]table, error) {
	names, err := texts(ctx, source, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return ownByEngine[name] })
	refers := map[string][]string{}
	for _, name := range names {
		if refers[name], err = texts(ctx, source, `SELECT DISTINCT "table" FROM pragma_foreign_key_list($1)`, name); err != nil {
			return nil, err
		}
	}
	var list []table
	placed := map[string]bool{}
	for len(list) < len(names) {
		before := len(list)
		for _, name := range names {
			ready := !placed[name] && !slices.ContainsFunc(refers[name], func(other string) bool { return !placed[other] })
			if !ready {
				continue
			}
			t, err := tableOf(ctx, source, name)
			if err != nil {
				return nil, err
			}
			placed[name] = true
			list = append(list, t)
		}
		if len(list) == before {
			return nil, errors.New("the tables refer to each other in a circle")
		}
	}
	return list, nil
}

func tableOf(ctx context.Context, source db.Queryer, name string) (t table, err error) {
	t.name = name
	if t.columns, err = texts(ctx, source, `SELECT name FROM pragma_table_info($1) ORDER BY cid`, name); err != nil {
		return t, err
	}
	t.key, err = texts(ctx, source, `SELECT name FROM pragma_table_info($1) WHERE pk > 0 ORDER BY pk`, name)
	if err == nil && len(t.key) == 0 {
		err = fmt.Errorf("the table %s has no key to compare it by", name)
	}
	return t, err
}

func texts(ctx context.Context, q db.Queryer, query string, args ...any) (list []string, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("read the schema: %w", err)
		}
		list = append(list, text)
	}
	return list, rows.Err()
}

// digest is the SHA-256 over all rows of a table in the order of its key. Each value is written as a byte that says what it
// is (0 nothing, 1 a number, 2 text, 3 bytes), a number then as 8 bytes, and text and bytes as their length in 8 bytes and
// themselves, so that no two different tables are written alike.
type digest struct {
	sum  hash.Hash
	rows int64
	head [9]byte
}

func newDigest() *digest { return &digest{sum: sha256.New()} }

func (d *digest) add(values []any) error {
	d.rows++
	for _, value := range values {
		switch v := value.(type) {
		case nil:
			_, _ = d.sum.Write([]byte{0})
		case int64:
			d.begin(1, uint64(v))
		case string:
			d.begin(2, uint64(len(v)))
			_, _ = d.sum.Write([]byte(v))
		case []byte:
			d.begin(3, uint64(len(v)))
			_, _ = d.sum.Write(v)
		default:
			return fmt.Errorf("a value of a kind that no store has: %T", value)
		}
	}
	return nil
}

func (d *digest) begin(kind byte, n uint64) {
	d.head[0] = kind
	binary.BigEndian.PutUint64(d.head[1:], n)
	_, _ = d.sum.Write(d.head[:])
}

func (d *digest) String() string { return hex.EncodeToString(d.sum.Sum(nil)) }

// compare reads every table back from both sides. Both are streams: no table is ever held in memory.
func (c *copying) compare(ctx context.Context) (done Copied, err error) {
	for i, t := range c.tables {
		c.progress("comparing "+t.name, int64(i), int64(len(c.tables)))
		ours, err := c.readSource(ctx, t)
		if err != nil {
			return done, err
		}
		theirs, err := c.readTarget(ctx, t)
		if err != nil {
			return done, err
		}
		if ours.rows != theirs.rows || ours.String() != theirs.String() {
			return done, fmt.Errorf("the copy of %s differs: %d rows with SHA-256 %s became %d rows with %s. Nothing was kept", t.name, ours.rows, ours, theirs.rows, theirs)
		}
		done.Rows += ours.rows
		done.Tables = append(done.Tables, CopiedTable{Name: t.name, Rows: ours.rows, SHA256: ours.String()})
	}
	return done, nil
}

func (c *copying) readSource(ctx context.Context, t table) (*digest, error) {
	rows, err := c.source.QueryContext(ctx, t.query("sqlite"))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.name, err)
	}
	defer func() { _ = rows.Close() }()
	d, values := newDigest(), make([]any, len(t.columns))
	for rows.Next() {
		if err := scan(rows, values); err != nil {
			return nil, fmt.Errorf("read %s: %w", t.name, err)
		}
		if err := d.add(values); err != nil {
			return nil, fmt.Errorf("read %s: %w", t.name, err)
		}
	}
	return d, rows.Err()
}

func (c *copying) readTarget(ctx context.Context, t table) (*digest, error) {
	rows, err := c.tx.Query(ctx, t.query("postgres"))
	if err != nil {
		return nil, fmt.Errorf("read the copy of %s: %w", t.name, err)
	}
	defer rows.Close()
	d := newDigest()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, fmt.Errorf("read the copy of %s: %w", t.name, err)
		}
		if err := d.add(values); err != nil {
			return nil, fmt.Errorf("read the copy of %s: %w", t.name, err)
		}
	}
	return d, rows.Err()
}
