package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/db"
	"carnet/internal/id"
	"carnet/token"
)

// Seed says what to fill a data folder or a database with.
type Seed struct {
	Dir string
	// Database is the URL of a PostgreSQL database to fill in place of a folder.
	Database string
	Tokens   int
	// Heavy is the number of tokens, among those, of the first user of the folder, if it has one. Databases have none.
	Heavy int
	// Keep is how many values to return, evenly spread over all tokens.
	Keep int
}

// Each user of the seed has so many tokens, and each organization so many users.
const (
	tokensPerUser        = 50
	usersPerOrganization = 10
)

// Fill writes users, organizations, projects and tokens straight into the store, past the features, which take a
// hundred times as long. What it writes is what they would have written: the schema is theirs, every value is minted,
// two thirds of the tokens expire, one in ten is limited to a project. No server may run on the folder or the database.
func (s Seed) Fill(ctx context.Context) (values []string, err error) {
	if s.Database != "" {
		return s.fillDatabase(ctx)
	}
	d, err := db.Open(ctx, db.Options{Dir: s.Dir, Log: slog.New(slog.DiscardHandler), Fatal: func(error) {}})
	if err != nil {
		return nil, err
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	path := filepath.Join(s.Dir, db.FileName)
	// A crash would ruin the file, and then it is made again.
	pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=synchronous(0)&_pragma=cache_size(-400000)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, pool.Close()) }()
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	w := &writer{ctx: ctx, tx: tx, now: time.Now()}
	if values, err = s.write(w); err != nil {
		return nil, err
	}
	// The triggers took note of every row, for caches that nobody has yet.
	if _, err := tx.ExecContext(ctx, `DELETE FROM changes`); err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	if _, err := pool.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return nil, err
	}
	return values, flush(path)
}

// flush waits until the file is on disk, so that what is measured next does not wait for it.
func flush(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

func (s Seed) write(w *writer) (values []string, err error) {
	every := max(s.Tokens/max(s.Keep, 1), 1)
	keep := func(n int, value string) {
		if n%every == 0 && len(values) < s.Keep {
			values = append(values, value)
		}
	}
	n := 0
	if s.Heavy > 0 {
		var user, organization string
		row := w.tx.QueryRowContext(w.ctx, `SELECT user_id, organization_id FROM memberships LIMIT 1`)
		if err := row.Scan(&user, &organization); err != nil {
			return nil, fmt.Errorf("find the first user: %w", err)
		}
		for ; n < s.Heavy && n < s.Tokens; n++ {
			keep(n, w.token(user, organization, "", n))
		}
	}
	var organization, project string
	for u := 0; n < s.Tokens; u++ {
		if u%usersPerOrganization == 0 {
			organization = w.organization(u / usersPerOrganization)
		}
		user := w.user(u, organization)
		if u%usersPerOrganization == 0 {
			project = w.project(organization, user)
		}
		for i := 0; i < tokensPerUser && n < s.Tokens; i++ {
			keep(n, w.token(user, organization, project, n))
			n++
		}
		if w.err != nil {
			break
		}
	}
	if w.err == nil {
		w.flush()
	}
	return values, w.err
}

// writer inserts rows, many with a statement, and remembers its first error.
type writer struct {
	ctx                 context.Context //nolint:containedctx // a writer lives as long as its one call
	tx                  *sql.Tx
	now                 time.Time
	err                 error
	tokens, credentials [][]any
	restrictions        [][]any
}

func (w *writer) exec(query string, args ...any) {
	if w.err == nil {
		_, w.err = w.tx.ExecContext(w.ctx, query, args...)
	}
}

func (w *writer) organization(n int) string {
	organization := id.New(id.Organization)
	w.exec(`INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ($1, $2, $3, 'team', $4)`,
		organization, fmt.Sprintf("seeded-%d", n), fmt.Sprintf("Seeded organization %d", n), db.Micros(w.now))
	return organization
}

func (w *writer) user(n int, organization string) string {
	user := id.New(id.User)
	email := fmt.Sprintf("seeded-%d@example.org", n)
	w.exec(`INSERT INTO users (id, email, email_key, name, password_hash, email_verified_at, created_at) VALUES ($1, $2, $2, $3, '', $4, $4)`,
		user, email, fmt.Sprintf("Seeded user %d", n), db.Micros(w.now))
	w.exec(`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, 'member', $3)`, organization, user, db.Micros(w.now))
	return user
}

func (w *writer) project(organization, user string) string {
	project := id.New(id.Project)
	w.exec(`INSERT INTO projects (organization_id, id, key, name, name_key, description, status, visibility, created_by, created_via, created_at, updated_at, version)
		VALUES ($1, $2, 'ONE', 'Project one', 'project one', '', 'active', 'organization', $3, '', $4, $4, 1)`, organization, project, user, db.Micros(w.now))
	return project
}

// rowsPerStatement stays below SQLite's limit of 32,766 parameters.
const rowsPerStatement = 500

func (w *writer) token(user, organization, project string, n int) string {
	rows := tokenRows(w.now, user, organization, project, n)
	w.tokens, w.credentials = append(w.tokens, rows.token), append(w.credentials, rows.credential)
	if rows.restriction != nil {
		w.restrictions = append(w.restrictions, rows.restriction)
	}
	if len(w.tokens) == rowsPerStatement {
		w.flush()
	}
	return rows.value
}

// rows are what the features would have written of one token.
type rows struct {
	value                          string
	token, credential, restriction []any
}

const (
	tokenColumns       = "organization_id, id, user_id, purpose, name, name_key, scopes, restricted, kind_prefix, lookup_id, created_at, created_from, created_via, expires_at"
	credentialColumns  = "lookup_id, digest, organization_id, token_id, created_at"
	restrictionColumns = "organization_id, token_id, project_id"
)

// tokenRows mints the n-th token.
func tokenRows(now time.Time, user, organization, project string, n int) (r rows) {
	value := token.Mint(token.Personal)
	digest := value.Digest()
	tokenID := id.New(id.Token)
	created := now.Add(-2*time.Hour - time.Duration(n)*time.Second) // outside of what counts for a quota
	var expires any
	restricted := 0
	if n%3 != 0 {
		expires = db.Micros(now.AddDate(0, 0, 30+n%60))
	}
	if project != "" && n%10 == 0 {
		restricted = 1
		r.restriction = []any{organization, tokenID, project}
	}
	name := fmt.Sprintf("seeded token %d", n)
	scopes := access.ScopeSet(access.ScopeProjectsRead, access.ScopeTasksWrite).Bits()
	r.token = []any{organization, tokenID, user, "personal", name, name, scopes, restricted, token.Personal.Prefix(), value.Lookup().String(), db.Micros(created), "192.0.2.1", "", expires}
	r.credential = []any{value.Lookup().String(), digest[:], organization, tokenID, db.Micros(created)}
	r.value = value.Reveal()
	return r
}

func (w *writer) flush() {
	w.insert("tokens ("+tokenColumns+")", w.tokens)
	w.insert("credentials ("+credentialColumns+")", w.credentials)
	w.insert("token_projects ("+restrictionColumns+")", w.restrictions)
	w.tokens, w.credentials, w.restrictions = w.tokens[:0], w.credentials[:0], w.restrictions[:0]
}

func (w *writer) insert(into string, rows [][]any) {
	if len(rows) == 0 {
		return
	}
	one := "(?" + strings.Repeat(",?", len(rows[0])-1) + ")"
	var args []any
	for _, row := range rows {
		args = append(args, row...)
	}
	w.exec("INSERT INTO "+into+" VALUES "+one+strings.Repeat(","+one, len(rows)-1), args...)
}
