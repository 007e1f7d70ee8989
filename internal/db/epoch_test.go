package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"carnet/internal/db"
	"carnet/internal/storetest"
)

// watched is what a grant is built from, table by table: the columns that count, and what a change of the row in the
// house invalidates. Everything that is not here must move nothing.
var watched = map[string]struct {
	columns        string
	change         db.Change
	insert, delete bool
}{
	"users":           {"name email email_verified_at suspended_at", db.Change{Kind: db.UserChanged, Key: "usr_1"}, false, true},
	"sessions":        {"user_id lookup_id digest authenticated_at expires_at ended_at", db.Change{Kind: db.SessionChanged, Key: "ses_1"}, false, true},
	"organizations":   {"slug name plan agents_off agent_scopes agent_destructive agent_max_days agent_write_rate", db.Change{Kind: db.OrganizationChanged, Key: "org_1"}, false, true},
	"memberships":     {"organization_id user_id role", db.Change{Kind: db.UserChanged, Key: "usr_1"}, true, true},
	"projects":        {"organization_id key name visibility deleted_at", db.Change{Kind: db.OrganizationChanged, Key: "org_1"}, true, true},
	"project_members": {"organization_id project_id user_id role", db.Change{Kind: db.UserChanged, Key: "usr_1"}, true, true},
	"tokens": {"organization_id user_id purpose name scopes restricted kind_prefix lookup_id expires_at revoked_at paused_at resting_since",
		db.Change{Kind: db.TokenChanged, Key: "tok_1"}, false, true},
	"token_projects": {"organization_id token_id project_id", db.Change{Kind: db.TokenChanged, Key: "tok_1"}, true, true},
	"credentials":    {"lookup_id digest organization_id token_id valid_until", db.Change{Kind: db.TokenChanged, Key: "tok_1"}, false, true},
}

// fresh waits until subscribers know what was committed.
func fresh(t *testing.T, d *db.DB) {
	t.Helper()
	if err := d.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// moves runs a statement with foreign keys put off and undoes it, and returns what it would invalidate.
func moves(t *testing.T, d *db.DB, statement string) (moved bool, changes []db.Change) {
	t.Helper()
	before := epochOf(t, d)
	// On SQLite triggers run with the statement; on PostgreSQL with the commit, unless they are asked to run now. Foreign
	// keys are triggers there as well, which a superuser can turn off, and with them ours. So they go.
	first, last := `PRAGMA defer_foreign_keys = 1`, `SELECT 1`
	if d.Engine() == "postgres" {
		first = `DO $$ DECLARE r record; BEGIN
			FOR r IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint WHERE contype = 'f' LOOP
				EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', r.owner, r.conname);
			END LOOP; END $$`
		last = `SET CONSTRAINTS ALL IMMEDIATE`
	}
	err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, s := range []string{first, spell(d, statement), last} {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		after := number(t, tx, `SELECT value FROM epoch`)
		moved = after != before
		changes = changesAt(t, tx, after)
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Fatal(err)
	}
	if epochOf(t, d) != before {
		t.Fatal("what was undone moved the epoch")
	}
	return moved, changes
}

func changesAt(t *testing.T, q db.Queryer, epoch int64) (changes []db.Change) {
	t.Helper()
	rows, err := q.QueryContext(t.Context(), `SELECT kind, key FROM changes WHERE epoch = $1`, epoch)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var c db.Change
		if err := rows.Scan(&c.Kind, &c.Key); err != nil {
			t.Fatal(err)
		}
		changes = append(changes, c)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return changes
}

type column struct{ table, name, kind string }

func columns(t *testing.T, d *db.DB) (list []column) {
	t.Helper()
	query := `SELECT m.name, c.name, c.type FROM sqlite_schema m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE 'goose%' ORDER BY m.name, c.cid`
	if d.Engine() == "postgres" {
		query = `SELECT table_name, column_name, upper(data_type) FROM information_schema.columns
			WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%' ORDER BY table_name, ordinal_position`
	}
	rows, err := d.Read().QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.table, &c.name, &c.kind); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestEveryColumnThatDecidesMovesTheEpochAndNoOther updates every column of every table by raw SQL.
func TestEveryColumnThatDecidesMovesTheEpochAndNoOther(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		write(t, d, house...)
		all := columns(t, d)
		if len(all) < 100 {
			t.Fatalf("only %d columns were found", len(all))
		}
		for table, w := range watched {
			for _, name := range strings.Fields(w.columns) {
				if !slices.ContainsFunc(all, func(c column) bool { return c.table == table && c.name == name }) {
					t.Errorf("there is no column %s.%s", table, name)
				}
			}
		}
		for _, c := range all {
			if c.table == "epoch" || c.table == "changes" {
				continue
			}
			value := map[string]string{"TEXT": `coalesce(%s, '') || 'x'`, "INTEGER": `coalesce(%s, 0) + 1`, "BLOB": `x'01'`,
				"BIGINT": `coalesce(%s, 0) + 1`, "BYTEA": `'\x01'`}[c.kind]
			if strings.Contains(value, "%s") {
				value = fmt.Sprintf(value, c.name)
			}
			where := ""
			if c.table == "users" {
				where = " WHERE id = 'usr_1'"
			}
			moved, changes := moves(t, d, "UPDATE "+c.table+" SET "+c.name+" = "+value+where)
			w := watched[c.table]
			if want := slices.Contains(strings.Fields(w.columns), c.name); moved != want {
				t.Errorf("a change of %s.%s moves the epoch: %t", c.table, c.name, moved)
			} else if want && !slices.Contains(changes, w.change) {
				t.Errorf("a change of %s.%s tells %v, not %v", c.table, c.name, changes, w.change)
			}
		}
	})
}

func TestRowsThatComeAndGoMoveTheEpochWhereTheyDecide(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		for _, statement := range house {
			table := strings.Fields(statement)[2]
			w := watched[table]
			moved, changes := moves(t, d, statement)
			if moved != w.insert || moved && !slices.Contains(changes, w.change) {
				t.Errorf("a new row of %s moves the epoch: %t, %v", table, moved, changes)
			}
		}
		write(t, d, house...)
		for _, statement := range house {
			table := strings.Fields(statement)[2]
			w := watched[table]
			moved, changes := moves(t, d, "DELETE FROM "+table)
			if moved != w.delete || moved && !slices.Contains(changes, w.change) {
				t.Errorf("a deleted row of %s moves the epoch: %t, %v", table, moved, changes)
			}
		}
	})
}

// A row that changes hands concerns both: whoever had it, and whoever has it now.
func TestRowsThatChangeHandsTellBoth(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		write(t, d, house...)
		for statement, want := range map[string][]db.Change{
			`UPDATE memberships SET user_id = 'usr_2'`:      {{Kind: db.UserChanged, Key: "usr_1"}, {Kind: db.UserChanged, Key: "usr_2"}},
			`UPDATE project_members SET user_id = 'usr_2'`:  {{Kind: db.UserChanged, Key: "usr_1"}, {Kind: db.UserChanged, Key: "usr_2"}},
			`UPDATE projects SET organization_id = 'org_2'`: {{Kind: db.OrganizationChanged, Key: "org_1"}, {Kind: db.OrganizationChanged, Key: "org_2"}},
			`UPDATE token_projects SET token_id = 'tok_2'`:  {{Kind: db.TokenChanged, Key: "tok_1"}, {Kind: db.TokenChanged, Key: "tok_2"}},
			`UPDATE credentials SET token_id = 'tok_2'`:     {{Kind: db.TokenChanged, Key: "tok_1"}, {Kind: db.TokenChanged, Key: "tok_2"}},
		} {
			_, changes := moves(t, d, statement)
			for _, c := range want {
				if !slices.Contains(changes, c) {
					t.Errorf("%s tells %v", statement, changes)
				}
			}
		}
	})
}

func TestTransactionMovesTheEpochOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		write(t, d, house...)
		fresh(t, d)
		l := &listener{}
		d.Subscribe(l)
		before := epochOf(t, d)
		if len(l.epochs) != 1 || l.epochs[0] != before {
			t.Errorf("a new subscriber was told %v, the epoch is %d", l.epochs, before)
		}
		write(t, d,
			`UPDATE users SET suspended_at = 5`,
			`UPDATE organizations SET plan = 'team'`,
			`UPDATE organizations SET name = 'B'`,
			`UPDATE tokens SET revoked_at = 5`,
			`UPDATE sessions SET ended_at = 5`,
		)
		fresh(t, d)
		if after := epochOf(t, d); after != before+1 {
			t.Errorf("five changes moved the epoch from %d to %d", before, after)
		}
		for _, c := range []db.Change{{Kind: db.UserChanged, Key: "usr_1"}, {Kind: db.UserChanged, Key: "usr_2"}, {Kind: db.OrganizationChanged, Key: "org_1"}, {Kind: db.TokenChanged, Key: "tok_1"}, {Kind: db.SessionChanged, Key: "ses_1"}} {
			if l.at(c) != before+1 {
				t.Errorf("%v was told at %d", c, l.at(c))
			}
		}
		write(t, d, `UPDATE users SET password_hash = 'other'`, `UPDATE token_use SET last_used_at = 9`)
		fresh(t, d)
		if len(l.epochs) != 2 {
			t.Errorf("ordinary work was told: %v", l.epochs)
		}
		if err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, _ = tx.ExecContext(ctx, `UPDATE tokens SET revoked_at = 6`)
			return errUndo
		}); !errors.Is(err, errUndo) || len(l.epochs) != 2 || epochOf(t, d) != before+1 {
			t.Errorf("a transaction that was undone was told, error %v", err)
		}
		write(t, d, `UPDATE tokens SET revoked_at = 7`)
		fresh(t, d)
		if len(l.epochs) != 3 || l.epochs[2] != before+2 {
			t.Errorf("told %v", l.epochs)
		}
		if moved := number(t, d.Read(), `SELECT moved FROM epoch`); moved != 0 {
			t.Error("the transaction's move stayed open")
		}
	})
}

// TestSubscribersKnowBeforeTheWriterReturns is what makes revocation immediate on one node.
func TestSubscribersKnowBeforeTheWriterReturns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		write(t, d, house...)
		first, second := &listener{}, &listener{}
		d.Subscribe(first)
		d.Subscribe(second)
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				for range 25 {
					var epoch int64
					err := d.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
						if _, err := tx.ExecContext(ctx, `UPDATE tokens SET revoked_at = coalesce(revoked_at, 0) + 1`); err != nil {
							return err
						}
						if d.Engine() == "postgres" {
							if _, err := tx.ExecContext(ctx, `SET CONSTRAINTS ALL IMMEDIATE`); err != nil {
								return err
							}
						}
						return tx.QueryRowContext(ctx, `SELECT value FROM epoch`).Scan(&epoch)
					})
					if err == nil {
						err = d.Fresh(t.Context())
					}
					revoked := db.Change{Kind: db.TokenChanged, Key: "tok_1"}
					if err != nil || first.at(revoked) < epoch || second.at(revoked) < epoch {
						t.Errorf("the writer of epoch %d returned before its subscribers knew, error %v", epoch, err)
					}
				}
			})
		}
		writers.Wait()
		for _, l := range []*listener{first, second} {
			for i := 1; i < len(l.epochs); i++ {
				// A node of several hears of many moves at once.
				if step := l.epochs[i] - l.epochs[i-1]; step < 1 || step > 1 && d.Engine() == "sqlite" {
					t.Fatalf("after %d a subscriber was told %d", l.epochs[i-1], l.epochs[i])
				}
			}
			if last := l.epochs[len(l.epochs)-1]; last != l.epochs[0]+200 && last != l.epochs[0]+201 || l.drops != 0 {
				t.Errorf("a subscriber was told of %d to %d and to drop all %d times", l.epochs[0], last, l.drops)
			}
		}
	})
}

// A program that wrote past Write leaves its move open. The next start must not take it for its own.
func TestMoveLeftOpenByAnotherProgramIsClosed(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	rawly(t, dir, `UPDATE users SET suspended_at = 3`)
	d := open(t, dir, nil)
	l := &listener{}
	d.Subscribe(l)
	before := epochOf(t, d)
	write(t, d, `UPDATE tokens SET revoked_at = 4`)
	if got := epochOf(t, d); got != before+1 {
		t.Errorf("the next change moved the epoch from %d to %d", before, got)
	}
}
