package transfer_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/transfer"
)

func TestTheFixtureFillsEveryTable(t *testing.T) {
	t.Parallel()
	_, backup := full(t)
	for _, name := range strings.Split(read(t, backup, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'`), ", ") {
		if read(t, backup, `SELECT count(*) FROM `+name) == "0" {
			t.Errorf("no row in %s: add one, so that a copy and a restore are tested with it", name)
		}
	}
}

// Whatever ended, shrank or was taken away since the backup stays so. Whatever grew is gone with the restore.
func TestRestoreTakesOverEveryLossOfAuthority(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		since        string // what happened between the backup and the restore
		report       string // what the operator is told
		query, after string
	}{
		"token revoked": {
			`UPDATE tokens SET revoked_at = 77, revoked_by = 'usr_2', revoke_reason = 'leaked' WHERE id = 'tok_1'`,
			"1 tokens revoked", `SELECT revoked_at, revoked_by, revoke_reason FROM tokens WHERE id = 'tok_1'`, "77 usr_2 leaked",
		},
		"token gone": {
			`DELETE FROM credentials WHERE token_id = 'tok_1'; DELETE FROM tokens WHERE id = 'tok_1'`,
			"1 tokens revoked that the old store does not have, 1 values that the old store does not have",
			`SELECT revoked_at, revoke_reason FROM tokens WHERE id = 'tok_1'`, "5000 not in the store that a backup replaced",
		},
		"token that expires earlier": {
			`UPDATE tokens SET expires_at = 6000 WHERE id IN ('tok_1', 'tok_2')`,
			"2 tokens that expire earlier", `SELECT expires_at FROM tokens WHERE id < 'tok_3' ORDER BY id`, "6000, 6000",
		},
		"token that expires later": {
			`UPDATE tokens SET expires_at = NULL WHERE id = 'tok_2'`, "", `SELECT expires_at FROM tokens WHERE id = 'tok_2'`, "9000",
		},
		"token paused": {
			`UPDATE tokens SET paused_at = 77 WHERE id = 'tok_2'`, "1 tokens paused", `SELECT paused_at FROM tokens WHERE id = 'tok_2'`, "77",
		},
		"token that its owner paused, and then an admin": {
			`UPDATE tokens SET paused_by = 'usr_2' WHERE id = 'tok_3'`, "1 tokens paused", `SELECT paused_at, paused_by FROM tokens WHERE id = 'tok_3'`, "5 usr_2",
		},
		"token resumed": {
			`UPDATE tokens SET paused_at = NULL, paused_by = '' WHERE id = 'tok_3'`, "", `SELECT paused_at, paused_by FROM tokens WHERE id = 'tok_3'`, "5 usr_1",
		},
		"agents turned off": {
			`UPDATE organizations SET agents_off = 1`, "1 agent policies narrowed", `SELECT agents_off, agent_scopes FROM organizations`, "1 -1",
		},
		"agents kept from scopes": {
			`UPDATE organizations SET agent_scopes = 5`, "1 agent policies narrowed", `SELECT agent_scopes FROM organizations`, "5",
		},
		"agents kept from destroying, and let destroy something else": {
			`UPDATE organizations SET agent_destructive = 'projects:delete tasks:delete'`, "1 agent policies narrowed", `SELECT agent_destructive FROM organizations`, "tasks:delete",
		},
		"agents limited further": {
			`UPDATE organizations SET agent_max_days = 7, agent_write_rate = 10`, "1 agent policies narrowed", `SELECT agent_max_days, agent_write_rate FROM organizations`, "7 10",
		},
		"agents let do more": {
			`UPDATE organizations SET agent_max_days = NULL, agent_write_rate = NULL, agent_destructive = 'projects:delete tasks:delete comments:delete'`, "",
			`SELECT agent_max_days, agent_write_rate, agent_destructive FROM organizations`, "30 1000 tasks:delete comments:delete",
		},
		"token that rests": {
			`UPDATE tokens SET resting_since = 77 WHERE id = 'tok_2'`, "1 tokens rest as they did", `SELECT resting_since FROM tokens WHERE id = 'tok_2'`, "77",
		},
		"read instead of write":            {`UPDATE tokens SET scopes = 4 WHERE id = 'tok_1'`, "1 tokens with fewer scopes", `SELECT scopes FROM tokens WHERE id = 'tok_1'`, "4"},
		"other scopes":                     {`UPDATE tokens SET scopes = 1 WHERE id = 'tok_1'`, "1 tokens with fewer scopes", `SELECT scopes FROM tokens WHERE id = 'tok_1'`, "0"},
		"some scopes fewer, others more":   {`UPDATE tokens SET scopes = 5 WHERE id = 'tok_2'`, "", `SELECT scopes FROM tokens WHERE id = 'tok_2'`, "4"},
		"scopes widened":                   {`UPDATE tokens SET scopes = 12 WHERE id = 'tok_2'`, "", `SELECT scopes FROM tokens WHERE id = 'tok_2'`, "4"},
		"token limited to projects":        {`UPDATE tokens SET restricted = 1 WHERE id = 'tok_1'; INSERT INTO token_projects VALUES ('org_1', 'tok_1', 'prj_2')`, "1 tokens limited to projects", `SELECT restricted, (SELECT group_concat(project_id) FROM token_projects WHERE token_id = id) FROM tokens WHERE id = 'tok_1'`, "1 prj_2"},
		"project taken from a token":       {`DELETE FROM token_projects WHERE project_id = 'prj_2'`, "1 projects taken from tokens", `SELECT project_id FROM token_projects`, "prj_1"},
		"token no longer limited":          {`UPDATE tokens SET restricted = 0 WHERE id = 'tok_2'; DELETE FROM token_projects`, "", `SELECT restricted, (SELECT count(*) FROM token_projects) FROM tokens WHERE id = 'tok_2'`, "1 2"},
		"value replaced with a grace":      {`UPDATE credentials SET valid_until = 7000 WHERE lookup_id = 'l1'; INSERT INTO credentials VALUES ('l9', x'f9', 'org_1', 'tok_1', 2, NULL); UPDATE tokens SET lookup_id = 'l9', rotated_at = 2 WHERE id = 'tok_1'`, "1 values replaced", `SELECT lookup_id, valid_until FROM credentials WHERE token_id = 'tok_1'`, "l1 7000"},
		"grace cut short":                  {`UPDATE credentials SET valid_until = 10 WHERE lookup_id = 'l0'`, "1 values replaced", `SELECT valid_until FROM credentials WHERE lookup_id = 'l0'`, "10"},
		"value gone":                       {`DELETE FROM credentials WHERE lookup_id = 'l2'`, "1 values that the old store does not have", `SELECT valid_until FROM credentials WHERE lookup_id = 'l2'`, "5000"},
		"value of another secret":          {`UPDATE credentials SET digest = x'aa' WHERE lookup_id = 'l2'`, "1 values that the old store does not have", `SELECT valid_until FROM credentials WHERE lookup_id = 'l2'`, "5000"},
		"session ended":                    {`UPDATE sessions SET ended_at = 77 WHERE id = 'ses_1'`, "1 sessions ended", `SELECT id, ended_at FROM sessions ORDER BY id`, "ses_1 77, ses_2 NULL"},
		"session gone":                     {`DELETE FROM sessions WHERE id = 'ses_1'`, "1 sessions ended", `SELECT id, ended_at FROM sessions ORDER BY id`, "ses_1 5000, ses_2 NULL"},
		"session that expires earlier":     {`UPDATE sessions SET expires_at = 6000 WHERE id = 'ses_1'`, "1 sessions that expire earlier", `SELECT expires_at FROM sessions WHERE id = 'ses_1'`, "6000"},
		"code used":                        {`UPDATE account_codes SET used_at = 77 WHERE digest = x'c1'`, "1 mailed codes used up", `SELECT used_at FROM account_codes ORDER BY digest`, "77, 2"},
		"code gone":                        {`DELETE FROM account_codes`, "1 mailed codes used up", `SELECT used_at FROM account_codes ORDER BY digest`, "5000, 2"},
		"code that expires earlier":        {`UPDATE account_codes SET expires_at = 6000 WHERE digest = x'c1'`, "1 mailed codes that expire earlier", `SELECT expires_at FROM account_codes ORDER BY digest`, "6000, 9000"},
		"account suspended":                {`UPDATE users SET suspended_at = 77 WHERE id = 'usr_1'`, "1 accounts suspended", `SELECT id, suspended_at FROM users ORDER BY id`, "usr_1 77, usr_2 NULL"},
		"account restored":                 {`UPDATE users SET suspended_at = NULL`, "", `SELECT suspended_at FROM users WHERE id = 'usr_1'`, "NULL"},
		"address no longer verified":       {`UPDATE users SET email_verified_at = NULL`, "1 addresses no longer verified", `SELECT email_verified_at FROM users WHERE id = 'usr_1'`, "NULL"},
		"address verified":                 {`UPDATE users SET email_verified_at = 2 WHERE id = 'usr_2'`, "", `SELECT email_verified_at FROM users WHERE id = 'usr_2'`, "NULL"},
		"password changed, sessions ended": {`UPDATE users SET password_hash = 'new' WHERE id = 'usr_1'; UPDATE sessions SET ended_at = 77 WHERE id = 'ses_1'`, "1 passwords changed, 1 sessions ended", `SELECT password_hash FROM users ORDER BY id`, "new, hash-2"},
		"member removed":                   {`DELETE FROM memberships WHERE user_id = 'usr_2'`, "1 project members removed, 1 members removed", `SELECT user_id FROM memberships UNION ALL SELECT user_id FROM project_members`, "usr_1, usr_1"},
		"member added":                     {`INSERT INTO users (id, email, email_key, name, password_hash, created_at) VALUES ('usr_9', 'z', 'z', 'Z', 'h', 1); INSERT INTO memberships VALUES ('org_1', 'usr_9', 'owner', 1)`, "", `SELECT count(*) FROM memberships`, "2"},
		"role lowered":                     {`UPDATE memberships SET role = 'guest' WHERE user_id = 'usr_2'`, "1 roles lowered", `SELECT role FROM memberships WHERE user_id = 'usr_2'`, "guest"},
		"role raised":                      {`UPDATE memberships SET role = 'admin' WHERE user_id = 'usr_2'`, "", `SELECT role FROM memberships WHERE user_id = 'usr_2'`, "member"},
		"role of a newer version":          {`UPDATE memberships SET role = 'auditor' WHERE user_id = 'usr_2'`, "1 roles lowered", `SELECT role FROM memberships WHERE user_id = 'usr_2'`, "auditor"},
		"project member removed":           {`DELETE FROM project_members WHERE user_id = 'usr_2'`, "1 project members removed", `SELECT user_id FROM project_members`, "usr_1"},
		"project role lowered":             {`UPDATE project_members SET role = 'viewer'`, "2 project roles lowered", `SELECT DISTINCT role FROM project_members`, "viewer"},
		"project role raised":              {`UPDATE project_members SET role = 'lead'`, "", `SELECT role FROM project_members WHERE user_id = 'usr_2'`, "contributor"},
		"project made private":             {`UPDATE projects SET visibility = 'private'`, "1 projects made private", `SELECT DISTINCT visibility FROM projects`, "private"},
		"project opened":                   {`UPDATE projects SET visibility = 'organization'`, "", `SELECT visibility FROM projects ORDER BY id`, "organization, private"},
		"project deleted":                  {`UPDATE projects SET deleted_at = 77`, "", `SELECT DISTINCT deleted_at FROM projects`, "NULL"},
		"plan lowered":                     {`UPDATE organizations SET plan = 'free'`, "1 plans lowered", `SELECT plan FROM organizations`, "free"},
		"plan raised":                      {`UPDATE organizations SET plan = 'enterprise'`, "", `SELECT plan FROM organizations`, "team"},
		"nothing":                          {`UPDATE tasks SET title = 'x'`, "", `SELECT title FROM tasks ORDER BY id`, "T, U"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, backup := full(t)
			change(t, dir, strings.Split(c.since, "; ")...)
			done, err := transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment)
			if err != nil {
				t.Fatal(err)
			}
			if !done.Merged || done.Why != "" {
				t.Errorf("it was not merged: %s", done.Why)
			}
			if got := told(done); got != c.report {
				t.Errorf("the operator is told %q, want %q", got, c.report)
			}
			if got := read(t, file(dir), c.query); got != c.after {
				t.Errorf("%s\n  %s\nwant\n  %s", c.query, got, c.after)
			}
		})
	}
}

func told(done transfer.Restored) string {
	var parts []string
	for _, c := range done.Changes {
		parts = append(parts, itoa(c.Count)+" "+c.What)
	}
	return strings.Join(parts, ", ")
}

func TestAccountThatTheOldStoreDoesNotHaveIsSuspended(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	change(t, dir, `DELETE FROM sessions WHERE user_id = 'usr_2'`, `DELETE FROM token_projects`, `DELETE FROM credentials WHERE token_id = 'tok_2'`,
		`DELETE FROM tokens WHERE user_id = 'usr_2'`, `DELETE FROM memberships WHERE user_id = 'usr_2'`, `DELETE FROM users WHERE id = 'usr_2'`)
	if _, err := transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment); err != nil {
		t.Fatal(err)
	}
	if got := read(t, file(dir), `SELECT suspended_at FROM users ORDER BY id`); got != "NULL, 5000" {
		t.Errorf("the accounts are suspended at %s", got)
	}
}

func TestOrganizationThatIsLeftWithoutAnOwnerIsTold(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	onFile(t, backup, `INSERT INTO organizations (id, slug, name, plan, created_at) VALUES ('org_0', 'zero', 'Z', 'free', 1)`) // never had one
	change(t, dir, `UPDATE memberships SET role = 'admin' WHERE user_id = 'usr_1'`)
	done, err := transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment)
	if err != nil || !slices.Equal(done.Ownerless, []string{"acme"}) {
		t.Errorf("without an owner are %v, error %v", done.Ownerless, err)
	}
}

// Where nobody can tell what was revoked since the backup, nothing of it works by itself.
func TestWithoutAReadableOldStoreEverythingIsVoidOrRests(t *testing.T) {
	t.Parallel()
	const state = `SELECT (SELECT count(*) FROM sessions WHERE ended_at IS NULL), (SELECT count(*) FROM account_codes WHERE used_at IS NULL) + (SELECT count(*) FROM authorization_codes WHERE used_at IS NULL) + (SELECT count(*) FROM consent_requests WHERE decided_at IS NULL),
		(SELECT group_concat(id) FROM tokens WHERE resting_since IS NOT NULL), (SELECT group_concat(id) FROM tokens WHERE revoked_at = 5000)`
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		why    string
	}{
		"no store":  {func(t *testing.T, dir string) { must(t, os.Remove(file(dir))) }, "there was no store"},
		"no folder": {func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }, "there was no store"},
		"no database": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(file(dir), []byte("nonsense, and more of it"), 0o600))
		}, "damaged"},
		"an empty file": {func(t *testing.T, dir string) { must(t, os.WriteFile(file(dir), nil, 0o600)) }, "no store of Carnet"},
		"cut in half":   {func(t *testing.T, dir string) { must(t, os.Truncate(file(dir), int64(len(content(t, file(dir)))/2))) }, "damaged"},
		"a page of noise": {func(t *testing.T, dir string) {
			b := content(t, file(dir))
			for i := range 4096 {
				b[len(b)-4096*3+i] = byte(i * 7)
			}
			must(t, os.WriteFile(file(dir), b, 0o600))
		}, "damaged"},
		"of a newer version": {func(t *testing.T, dir string) {
			change(t, dir, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
		}, "newer"},
		"of another installation": {func(t *testing.T, dir string) {
			change(t, dir, `UPDATE instance SET value = x'aa' WHERE name = 'cursors'`)
		}, "another installation"},
		"a new store": {func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)); must(t, open(t, dir).Close()) }, "another installation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for decision, want := range map[transfer.Decision]string{
				transfer.Undecided: "0 0 tok_1,tok_2 NULL", transfer.Trust: "0 0 NULL NULL", transfer.RevokeAll: "0 0 NULL tok_1,tok_2",
			} {
				dir, backup := full(t)
				c.damage(t, dir)
				done, err := transfer.Restore(t.Context(), dir, backup, decision, moment)
				if err != nil {
					t.Fatal(err)
				}
				if done.Merged || !strings.Contains(done.Why, c.why) {
					t.Errorf("it was merged, or not for the reason: %q", done.Why)
				}
				if got := read(t, file(dir), state); got != want {
					t.Errorf("decision %q leaves %s, want %s", decision, got, want)
				}
			}
		})
	}
}

func TestDecisionHoldsAlsoWhereTheOldStoreWasRead(t *testing.T) {
	t.Parallel()
	for decision, want := range map[transfer.Decision]string{transfer.RevokeAll: "3, 5000, 5000", transfer.Trust: "77, NULL, 3"} {
		dir, backup := full(t)
		change(t, dir, `UPDATE tokens SET revoked_at = 77 WHERE id = 'tok_1'`, `UPDATE tokens SET resting_since = 78 WHERE id = 'tok_2'`)
		if decision == transfer.RevokeAll {
			change(t, dir, `UPDATE tokens SET revoked_at = NULL WHERE id = 'tok_1'`)
		}
		done, err := transfer.Restore(t.Context(), dir, backup, decision, moment)
		if err != nil {
			t.Fatal(err)
		}
		query := `SELECT revoked_at FROM tokens ORDER BY id`
		if decision == transfer.RevokeAll {
			query = `SELECT revoked_at FROM tokens ORDER BY revoked_at`
		}
		if got := read(t, file(dir), query); got != want {
			t.Errorf("after %q, tokens are revoked at %s, want %s", decision, got, want)
		}
		if done.Tokens.Resting != 0 {
			t.Errorf("after %q, %d tokens rest", decision, done.Tokens.Resting)
		}
	}
}

func TestRestoredStoreHasAHistoryAndAnIdOfItsOwn(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	for range 5 {
		change(t, dir, `UPDATE users SET name = name || 'x'`)
	}
	const history = `SELECT value, mark, hex((SELECT value FROM instance WHERE name = 'system')), (SELECT count(*) FROM changes) FROM epoch`
	before := strings.Fields(read(t, file(dir), history))
	done, err := transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment)
	if err != nil {
		t.Fatal(err)
	}
	after := strings.Fields(read(t, file(dir), history))
	if atoi(after[0]) <= atoi(before[0]) || after[1] == before[1] || after[2] == before[2] || !strings.EqualFold(after[2], done.System) || after[3] != "0" {
		t.Errorf("the history was %v and is %v; told %s", before, after, done.System)
	}
	if got := read(t, file(dir), `SELECT action FROM audit_events ORDER BY at DESC LIMIT 1`); got != "store.restored" {
		t.Errorf("the last event is %s", got)
	}
	change(t, dir, `UPDATE users SET suspended_at = 1`) // it can be used
}

// The old store may have been killed: what was acknowledged is in its log alone.
func TestRevocationInTheLogOfAKilledServerIsTakenOver(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	killed(t, dir, `UPDATE tokens SET revoked_at = 77 WHERE id = 'tok_1'`)
	done, err := transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment)
	if err != nil || !done.Merged {
		t.Fatalf("it was not merged (%s): %v", done.Why, err)
	}
	if got := read(t, file(dir), `SELECT revoked_at FROM tokens WHERE id = 'tok_1'`); got != "77" {
		t.Errorf("the token is revoked at %s", got)
	}
	if got := read(t, done.Kept, `SELECT revoked_at FROM tokens WHERE id = 'tok_1'`); got != "77" {
		t.Errorf("in the store that is kept, the token is revoked at %s", got)
	}
}

// A copy of a folder that was taken from under a server, or a snapshot, has part of the store in its log.
func TestLogBesideABackupIsPartOfIt(t *testing.T) {
	t.Parallel()
	dir, _ := full(t)
	from, _ := full(t)
	killed(t, from, `UPDATE tokens SET paused_at = 76 WHERE id = 'tok_1'`, `UPDATE tokens SET revoked_at = 77 WHERE id = 'tok_1'`)
	_, err := transfer.Restore(t.Context(), dir, file(from), transfer.Undecided, moment)
	must(t, err)
	if got := read(t, file(dir), `SELECT revoked_at FROM tokens WHERE id = 'tok_1'`); got != "77" {
		t.Errorf("the token is revoked at %s", got)
	}
	log := content(t, file(from)+"-wal")
	log[32+24+100] ^= 1
	must(t, os.WriteFile(file(from)+"-wal", log, 0o600))
	_, err = transfer.Restore(t.Context(), dir, file(from), transfer.Undecided, moment)
	says(t, err, "log is damaged", "Nothing was changed")
}

// A log that is damaged in its middle would be read up to there, and revocations after it would be passed over.
func TestDamagedLogIsNotTakenForAWholeOne(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte){
		"in the header":         func(b []byte) { b[13] ^= 1 },
		"in a frame's page":     func(b []byte) { b[32+24+100] ^= 1 },
		"in a frame's header":   func(b []byte) { b[32+2] ^= 1 },
		"in a frame's salt":     func(b []byte) { b[32+9] ^= 1 },
		"in a frame's checksum": func(b []byte) { b[32+17] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, backup := full(t)
			killed(t, dir, `UPDATE tokens SET paused_at = 76 WHERE id = 'tok_1'`, `UPDATE tokens SET revoked_at = 77 WHERE id = 'tok_1'`)
			log := content(t, file(dir)+"-wal")
			damage(log)
			must(t, os.WriteFile(file(dir)+"-wal", log, 0o600))
			done, err := transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment)
			if err != nil {
				t.Fatal(err)
			}
			if done.Merged || !strings.Contains(done.Why, "log is damaged") || done.Tokens.Working != 0 {
				t.Errorf("merged %t, because %q, %d tokens work", done.Merged, done.Why, done.Tokens.Working)
			}
			if !bytes.Equal(content(t, done.Kept+"-wal"), log) {
				t.Error("the log was not kept beside the old store")
			}
		})
	}
}

// killed leaves the folder as a process does that was killed after the statements, each a commit of its own.
func killed(t *testing.T, dir string, statements ...string) {
	t.Helper()
	d := open(t, dir)
	for _, s := range statements {
		must(t, run(t, d, s))
	}
	saved := map[string][]byte{"": content(t, file(dir)), "-wal": content(t, file(dir)+"-wal")}
	must(t, d.Close())
	for suffix, b := range saved {
		must(t, os.WriteFile(file(dir)+suffix, b, 0o600))
	}
	if binary.BigEndian.Uint32(saved["-wal"]) == 0 {
		t.Fatal("the log is empty")
	}
}

func TestOldStoreOfAnOlderSchemaIsUnderstood(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	change(t, dir, `UPDATE tokens SET revoked_at = 77 WHERE id = 'tok_1'`)
	older(t, file(dir))
	done, err := transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment)
	// It knew no agent policy: agents are let do what they are by default.
	if err != nil || told(done) != "1 tokens revoked, 1 agent policies narrowed" {
		t.Errorf("told %q (%s), error %v", told(done), done.Why, err)
	}
	if got := read(t, done.Kept, `SELECT max(version_id) FROM goose_db_version`); got != "2" {
		t.Errorf("the old store that is kept has schema %s", got)
	}
}

func TestBackupOfAnOlderSchemaIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	older(t, backup)
	before := content(t, backup)
	if _, err := transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment); err != nil {
		t.Fatal(err)
	}
	if got := read(t, file(dir), `SELECT max(version_id) FROM goose_db_version`); got == "2" {
		t.Error("the schema is the old one")
	}
	if !bytes.Equal(before, content(t, backup)) {
		t.Error("the backup itself was changed")
	}
}

func TestRefusedRestoreChangesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		backup func(t *testing.T, dir, backup string) string // returns the file to restore
		words  []string
	}{
		"no file":   {func(_ *testing.T, _, b string) string { return b + ".other" }, []string{"There is no file"}},
		"a folder":  {func(_ *testing.T, _, b string) string { return filepath.Dir(b) }, []string{"is no file", db.FileName}},
		"the store": {func(_ *testing.T, dir, _ string) string { return file(dir) }, []string{"the store itself"}},
		"nonsense":  {func(t *testing.T, _, b string) string { must(t, os.WriteFile(b, []byte("nonsense"), 0o600)); return b }, []string{"cannot be restored", "Nothing was changed"}},
		"empty":     {func(t *testing.T, _, b string) string { must(t, os.WriteFile(b, nil, 0o600)); return b }, []string{"no store of Carnet"}},
		"cut short": {func(t *testing.T, _, b string) string { must(t, os.Truncate(b, 100_000)); return b }, []string{"damaged"}},
		"another database": {func(t *testing.T, _, b string) string {
			must(t, os.Remove(b))
			onFile(t, b, `CREATE TABLE tokens (a)`)
			return b
		}, []string{"no store of Carnet"}},
		"rows without their other half": {func(t *testing.T, _, b string) string { onFile(t, b, `DELETE FROM users WHERE id = 'usr_1'`); return b }, []string{"belong to nothing"}},
		"of a newer version": {func(t *testing.T, _, b string) string {
			onFile(t, b, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
			return b
		}, []string{"newer Carnet", "999"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, backup := full(t)
			from := c.backup(t, dir, backup)
			before, listed := content(t, file(dir)), names(t, dir)
			_, err := transfer.Restore(t.Context(), dir, from, transfer.Undecided, moment)
			says(t, err, c.words...)
			if !problem.Is(err, problem.Conflict) && !problem.Is(err, problem.NotFound) {
				t.Errorf("it is no refusal: %v", err)
			}
			if !bytes.Equal(before, content(t, file(dir))) || !slices.Equal(listed, names(t, dir)) {
				t.Errorf("the folder was changed: %v became %v", listed, names(t, dir))
			}
		})
	}
}

func TestRestoreUnderAServerIsRefused(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	d := open(t, dir)
	_, err := transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment)
	says(t, err, "A server runs on", "Stop it first")
	if !problem.Is(err, problem.Conflict) {
		t.Errorf("it is no refusal: %v", err)
	}
	must(t, d.Close())
	_, err = transfer.Restore(t.Context(), dir, backup, transfer.Undecided, moment)
	must(t, err)
}

// An interrupted restore leaves one of the two; whoever takes the folder next finishes or forgets it.
func TestInterruptedReplacementIsFinishedByWhoeverComesNext(t *testing.T) {
	t.Parallel()
	const stamp = "20260101T000000.000Z"
	for name, c := range map[string]struct {
		moved []string // what was moved aside before the kill
		name  string   // of the new store
		want  string   // which store is there afterwards
	}{
		"while it was built":     {nil, db.FileName + ".restoring", "old"},
		"when it was complete":   {nil, db.FileName + ".restored-" + stamp, "new"},
		"when the old was moved": {[]string{""}, db.FileName + ".restored-" + stamp, "new"},
		"when the log was moved": {[]string{"", "-wal"}, db.FileName + ".restored-" + stamp, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, backup := full(t)
			onFile(t, backup, `UPDATE users SET name = 'new' WHERE id = 'usr_1'`)
			killed(t, dir, `UPDATE users SET name = 'old' WHERE id = 'usr_1'`)
			must(t, os.Rename(backup, filepath.Join(dir, c.name)))
			for _, suffix := range c.moved {
				must(t, os.Rename(file(dir)+suffix, file(dir)+".replaced-"+stamp+suffix))
			}
			d := open(t, dir)
			var got string
			must(t, d.Read().QueryRowContext(t.Context(), `SELECT name FROM users WHERE id = 'usr_1'`).Scan(&got))
			if got != c.want {
				t.Errorf("the store is the %s one", got)
			}
			must(t, d.Close())
			for _, left := range names(t, dir) {
				if strings.Contains(left, ".restor") {
					t.Errorf("%s is left", left)
				}
			}
			if c.want == "new" {
				if got := read(t, file(dir)+".replaced-"+stamp, `SELECT name FROM users WHERE id = 'usr_1'`); got != "old" {
					t.Errorf("the old store that is kept says %s", got)
				}
			}
		})
	}
}

func TestTwoStoresThatMayBothBeTheOldOneAreLeftAlone(t *testing.T) {
	t.Parallel()
	dir, backup := full(t)
	must(t, os.Link(file(dir), file(dir)+".replaced-x"))
	must(t, os.Rename(backup, file(dir)+".restored-x"))
	_, err := db.Claim(dir)
	says(t, err, "replaced-x", "Move one of them away")
	if errors.Is(err, db.ErrInUse) {
		t.Error("it claims that the folder is in use")
	}
}
