package transfer

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/internal/problem"
)

// Decision is what the operator decides about the tokens of a backup.
type Decision string

// The decisions.
const (
	Undecided Decision = ""       // tokens rest where nobody can tell which of them were revoked since
	Trust     Decision = "trust"  // they work as the backup has them
	RevokeAll Decision = "revoke" // none of them ever works again
)

// Restored says what a restore did.
type Restored struct {
	From string `json:"from"`
	// Merged is whether what ended since the backup was taken over from the store that was replaced; Why says why not.
	Merged bool   `json:"merged"`
	Why    string `json:"why,omitempty"`
	// Changes is what was taken over or made void, by kind. Kinds without any are left out.
	Changes []Count `json:"changes"`
	// Kept is where the store that was replaced is; empty if there was none.
	Kept   string      `json:"kept,omitempty"`
	Users  int64       `json:"users"`
	Tokens TokenStates `json:"tokens"`
	// Ownerless are the slugs of organizations that the merge left without an owner.
	Ownerless []string `json:"ownerless"`
	System    string   `json:"system"`
}

// Count is how many of a kind.
type Count struct {
	What  string `json:"what"`
	Count int64  `json:"count"`
}

// TokenStates is how many tokens of a store are in which state.
type TokenStates struct {
	Working int64 `json:"working"`
	Resting int64 `json:"resting"` // until the operator decides
	Ended   int64 `json:"ended"`   // revoked or expired
}

// Restore puts a backup in the place of the embedded store of a data folder, which no server may use meanwhile. The backup
// is checked first; whatever is wrong with it or the folder is refused, and nothing is changed. A kill at any moment leaves
// the old store or the restored one.
//
// No token that was revoked comes back to life in silence. Where the store that is replaced can be read and is of the same
// installation, everything by which anybody's authority shrank since the backup is taken over from it. Where not, sessions
// and codes are void, and tokens rest unless the operator has decided about them. Nobody gains anything by a restore.
func Restore(ctx context.Context, dir, from string, decision Decision, now time.Time) (Restored, error) {
	if err := mayRestore(dir, from); err != nil {
		return Restored{}, err
	}
	folder, err := db.Claim(dir)
	if errors.Is(err, db.ErrInUse) {
		return Restored{}, refusal("A server runs on %s. Stop it first: a store cannot be replaced under it.", dir)
	}
	if err != nil {
		return Restored{}, err
	}
	r := restoring{dir: dir, from: from, built: filepath.Join(dir, db.RestoringName), decision: decision, now: now}
	defer r.sweep()
	done, err := r.build(ctx)
	if err == nil {
		done.Kept, err = folder.Replace(r.built, now)
	}
	return done, errors.Join(err, folder.Release())
}

func mayRestore(dir, from string) error {
	info, err := os.Stat(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return problem.Newf(problem.NotFound, "There is no file %s.", from)
	case err != nil:
		return fmt.Errorf("look at the backup: %w", err)
	case !info.Mode().IsRegular():
		return refusal("%s is no file. Name the backup's file; in a copy of a data folder, that is %s.", from, db.FileName)
	}
	if store, err := os.Stat(filepath.Join(dir, db.FileName)); err == nil && os.SameFile(store, info) {
		return refusal("%s is the store itself, not a backup of it.", from)
	}
	return nil
}

// restoring is a restore that is under way.
type restoring struct {
	dir, from, built string
	decision         Decision
	now              time.Time
}

// sweep removes what is left of a restore that did not come to its end.
func (r restoring) sweep() {
	left, _ := filepath.Glob(filepath.Join(r.dir, db.RestoringName) + "*")
	for _, path := range left {
		_ = os.Remove(path) // whoever takes the folder next tries again
	}
}

// build makes the restored store, complete but for its place.
func (r restoring) build(ctx context.Context) (Restored, error) {
	if err := r.copyBackup(); err != nil {
		return Restored{}, err
	}
	// Nothing is lost if this file is torn: it counts from its sync on, which is ours.
	pool, err := openFile(r.built, "rw", "journal_mode(DELETE)", "synchronous(OFF)", "foreign_keys(1)", "cache_size(-65536)")
	if err != nil {
		return Restored{}, err
	}
	defer func() { _ = pool.Close() }()
	backup, err := inspect(ctx, pool)
	if err != nil {
		return Restored{}, refusal("%s cannot be restored, because %s. Nothing was changed.", r.from, err)
	}
	_, latest, err := db.Upgrade(ctx, pool)
	if errors.Is(err, db.ErrNewer) {
		return Restored{}, refusal("%s cannot be restored: %s. Nothing was changed.", r.from, err)
	}
	if err != nil {
		return Restored{}, err
	}
	done := Restored{From: r.from, Changes: []Count{}, Ownerless: []string{}}
	old, err := r.readOld(ctx, backup, latest)
	if err != nil {
		done.Why = err.Error()
	}
	if err := r.change(ctx, pool, old, &done); err != nil {
		return Restored{}, err
	}
	return done, pool.Close()
}

// copyBackup copies the backup into the folder. A file that was copied from under a server has its log beside it, which is
// part of it.
func (r restoring) copyBackup() error {
	if err := wholeLog(r.from + "-wal"); err != nil {
		return refusal("%s cannot be restored, because %s. Nothing was changed.", r.from, err)
	}
	for _, suffix := range []string{"", "-wal"} {
		err := copyFile(r.from+suffix, r.built+suffix)
		if suffix != "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("copy the backup into the folder: %w", err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// change makes of the backup what the restored store is to be, in one transaction.
func (r restoring) change(ctx context.Context, pool *sql.DB, old *oldStore, done *Restored) error {
	if old != nil {
		if _, err := pool.ExecContext(ctx, `ATTACH $1 AS old`, old.uri()); err != nil {
			return fmt.Errorf("open the store that is replaced: %w", err)
		}
	}
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin the restore: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	m := merger{tx: tx, now: db.Micros(r.now), done: done}
	if old != nil {
		done.Merged = true
		before := m.ownerless(ctx)
		m.merge(ctx)
		done.Ownerless = append(done.Ownerless, slices.DeleteFunc(m.ownerless(ctx), func(slug string) bool {
			_, was := slices.BinarySearch(before, slug)
			return was
		})...)
	} else {
		m.void(ctx, r.decision)
	}
	m.decide(ctx, r.decision)
	m.newHistory(ctx, old)
	m.look(ctx)
	m.record(ctx, r.decision)
	if m.err != nil {
		return m.err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("finish the restore: %w", err)
	}
	return nil
}

// merger changes the restored store. It remembers its first error and does nothing after it.
type merger struct {
	tx   *sql.Tx
	now  int64
	done *Restored
	err  error
}

// exec runs a statement, in which $1 is the time of the restore, and returns how many rows it changed.
func (m *merger) exec(ctx context.Context, what, statement string) int64 {
	if m.err != nil {
		return 0
	}
	var args []any
	if strings.Contains(statement, "$1") {
		args = append(args, m.now)
	}
	result, err := m.tx.ExecContext(ctx, statement, args...)
	if err != nil {
		m.err = fmt.Errorf("%s: %w", what, err)
		return 0
	}
	n, err := result.RowsAffected()
	m.err = err
	return n
}

func (m *merger) count(what string, n int64) {
	if n > 0 {
		m.done.Changes = append(m.done.Changes, Count{What: what, Count: n})
	}
}

// forgetGrants ends what people granted to clients that have not fetched it: they may have since, and it may have been
// revoked.
func (m *merger) forgetGrants(ctx context.Context) {
	// Nobody needs to be told: a code lives for a minute.
	m.exec(ctx, "use codes of clients up", `UPDATE authorization_codes SET used_at = $1 WHERE used_at IS NULL`)
	m.exec(ctx, "end requests of clients", `UPDATE consent_requests SET decided_at = $1 WHERE decided_at IS NULL`)
}

// void ends what could have ended since the backup without anybody knowing.
func (m *merger) void(ctx context.Context, decision Decision) {
	m.count("sessions ended", m.exec(ctx, "end sessions", `UPDATE sessions SET ended_at = $1 WHERE ended_at IS NULL AND expires_at > $1`))
	m.count("mailed codes used up", m.exec(ctx, "use codes up", `UPDATE account_codes SET used_at = $1 WHERE used_at IS NULL`))
	m.forgetGrants(ctx)
	if decision == Undecided {
		m.count("tokens rest", m.exec(ctx, "let tokens rest", `UPDATE tokens SET resting_since = $1
			WHERE resting_since IS NULL AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)`))
	}
}

func (m *merger) decide(ctx context.Context, decision Decision) {
	switch decision {
	case Trust:
		m.count("tokens trusted that rested in the backup", m.exec(ctx, "trust tokens", `UPDATE tokens SET resting_since = NULL WHERE resting_since IS NOT NULL`))
	case RevokeAll:
		m.count("tokens revoked by your order", m.exec(ctx, "revoke tokens", `UPDATE tokens SET revoked_at = $1, revoked_by = '', revoke_reason = 'all were revoked when a backup was restored'
			WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)`))
	case Undecided:
	}
}

// newHistory makes sure that whoever knows the old store sees another one.
func (m *merger) newHistory(ctx context.Context, old *oldStore) {
	if m.err != nil {
		return
	}
	least := int64(0)
	if old != nil {
		least = old.epoch
	}
	system := db.NewSystemID()
	m.done.System = fmt.Sprintf("%x", system)
	_, err := m.tx.ExecContext(ctx, `INSERT INTO instance (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, db.SystemName, system)
	if err == nil {
		_, err = m.tx.ExecContext(ctx, `UPDATE epoch SET value = max(value, $1) + 1, prior = mark, mark = random(), moved = 0`, least)
	}
	if err == nil {
		_, err = m.tx.ExecContext(ctx, `DELETE FROM changes`) // of the other history
	}
	if err != nil {
		m.err = fmt.Errorf("begin a new history: %w", err)
	}
}

// look counts what the restored store holds.
func (m *merger) look(ctx context.Context) {
	if m.err != nil {
		return
	}
	t := &m.done.Tokens
	m.err = m.tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM users),
		count(*) FILTER (WHERE NOT over AND resting_since IS NULL), count(*) FILTER (WHERE NOT over AND resting_since IS NOT NULL), count(*) FILTER (WHERE over)
		FROM (SELECT resting_since, revoked_at IS NOT NULL OR coalesce(expires_at <= $1, false) AS over FROM tokens) seen`, m.now).
		Scan(&m.done.Users, &t.Working, &t.Resting, &t.Ended)
}

// ownerless returns the slugs of organizations without an owner who can act.
func (m *merger) ownerless(ctx context.Context) (slugs []string) {
	if m.err != nil {
		return nil
	}
	rows, err := m.tx.QueryContext(ctx, `SELECT slug FROM organizations o WHERE NOT EXISTS
		(SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.organization_id = o.id AND m.role = 'owner' AND u.suspended_at IS NULL) ORDER BY slug`)
	if err != nil {
		m.err = fmt.Errorf("look for organizations without an owner: %w", err)
		return nil
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var slug string
		if m.err = rows.Scan(&slug); m.err != nil {
			return nil
		}
		slugs = append(slugs, slug)
	}
	m.err = rows.Err()
	return slugs
}

// record leaves an event in the restored store's own record.
func (m *merger) record(ctx context.Context, decision Decision) {
	if m.err != nil {
		return
	}
	detail, err := json.Marshal(map[string]any{"merged": m.done.Merged, "decision": decision, "changes": m.done.Changes, "tokens": m.done.Tokens})
	if err == nil {
		_, err = m.tx.ExecContext(ctx, `INSERT INTO audit_events (organization_id, id, at, actor_id, credential_kind, credential_id, purpose, action,
			resource_id, project_id, outcome, reason, detail, request_id, method, route, address, client)
			VALUES ('', $1, $2, '', '', '', '', 'store.restored', '', '', 'done', '', $3, '', '', '', '', '')`, id.New(id.Event), m.now, string(detail))
	}
	if err != nil {
		m.err = fmt.Errorf("record the restore: %w", err)
	}
}
