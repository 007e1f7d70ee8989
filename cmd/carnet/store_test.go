package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet/internal/storetest"
	"carnet/test/harness"
)

// acme fills a server with people, projects and tokens of every kind, through its API.
type acme struct {
	ada, bob              *harness.Client // sessions
	project, task         string
	plain, limited, ended string // values of tokens
	plainID, limitedID    string
}

func fill(t *testing.T, s *harness.Server) acme {
	t.Helper()
	s.CreateUser("ada@example.com", "Ada Lovelace")
	s.CreateUser("bob@example.com", "Bob")
	s.CreateOrganization("acme", "Acme", "ada@example.com", "team")
	s.AddMember("acme", "bob@example.com", "member")
	a := acme{ada: s.SignIn("ada@example.com").In("acme"), bob: s.SignIn("bob@example.com").In("acme")}
	a.project = a.ada.CreateProject("WEB", "Website ☃", "organization")
	a.task = a.ada.CreateTask(a.project, "Write “it” down\u00a0💩")
	a.ada.Do("POST", "/tasks/"+a.task+"/comments", map[string]any{"body": "one\ntwo"}).Want(http.StatusCreated)
	a.plainID, a.plain = a.bob.CreateToken("acme", []string{"tasks:write"}, nil)
	a.limitedID, a.limited = a.ada.CreateToken("acme", []string{"tasks:read", "projects:read"}, []string{a.project})
	var endedID string
	endedID, a.ended = a.ada.CreateToken("acme", []string{"tasks:read"}, nil)
	a.ada.Do("DELETE", "/tokens/"+endedID, nil).Want(http.StatusOK)
	return a
}

// seen is what people and tokens get to see of it all, as one text.
func (a acme) seen(t *testing.T, s *harness.Server) string {
	t.Helper()
	var all []string
	for _, c := range []*harness.Client{a.ada, a.bob} {
		c := s.Anonymous().With(c.Credential).In("acme")
		for _, path := range []string{"/account", "/tokens", "/organizations", "/projects", "/tasks/" + a.task, "/tasks/" + a.task + "/comments"} {
			all = append(all, string(c.Do("GET", path, nil).Want(http.StatusOK).Body))
		}
	}
	for _, value := range []string{a.plain, a.limited} {
		all = append(all, string(s.Anonymous().With(value).Do("GET", "/me", nil).Want(http.StatusOK).Body))
	}
	s.Anonymous().With(a.ended).Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")
	return strings.Join(all, "\n")
}

// carnet runs the program and expects an exit code.
func carnet(t *testing.T, want int, env []string, args ...string) (stdout, stderr string) {
	t.Helper()
	out, errs, code := harness.Command(t, env, "", args...)
	if code != want {
		t.Fatalf("carnet %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
	}
	return out, errs
}

func TestTokensSessionsAndIDsAreTheSameAfterACopyToPostgreSQL(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Embedded())
	a := fill(t, s)
	before := a.seen(t, s)
	url := storetest.Database(t)

	_, errs := carnet(t, 3, nil, "store", "copy", "--from", s.Dir, "--to", url)
	if !strings.Contains(errs, "A server runs on") {
		t.Errorf("while the server runs, it says %s", errs)
	}
	s.Stop()
	out, errs := carnet(t, 0, []string{"CARNET_DATABASE=" + url}, "store", "copy", "--from", s.Dir, "--json")
	var told struct {
		Rows   int64
		Tables []struct {
			Name, SHA256 string
			Rows         int64
		}
	}
	if err := json.Unmarshal([]byte(out), &told); err != nil || told.Rows == 0 || len(told.Tables) < 20 || errs != "" {
		t.Errorf("told %v: %s%s", err, out, errs)
	}
	node := harness.Start(t, harness.On(url))
	if after := a.seen(t, node); stripUses(after) != stripUses(before) {
		t.Errorf("before the copy\n%s\nafter it\n%s", before, after)
	}
	a.ada = node.Anonymous().With(a.ada.Credential)
	a.ada.Do("DELETE", "/tokens/"+a.limitedID, nil).Want(http.StatusOK)
	node.Anonymous().With(a.limited).Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")

	_, errs = carnet(t, 3, nil, "store", "copy", "--from", s.Dir, "--to", url)
	if !strings.Contains(errs, "not empty") {
		t.Errorf("the second time, it says %s", errs)
	}

	// A server that was not told of the database does not serve what was copied, and operators do not change it.
	for _, args := range [][]string{{"serve", "--data", s.Dir, "--listen", "127.0.0.1:0"}, {"admin", "--data", s.Dir, "revoke-all-tokens"}} {
		if _, errs := carnet(t, 3, nil, args...); !strings.Contains(errs, "was copied to a database") || !strings.Contains(errs, "carnet.db.moved") {
			t.Errorf("carnet %s on the folder says %s", args[0], errs)
		}
	}
	if err := os.Remove(filepath.Join(s.Dir, "carnet.db.moved")); err != nil {
		t.Fatal(err)
	}
	carnet(t, 0, nil, "admin", "--data", s.Dir, "trust-tokens")
	carnet(t, 3, nil, "store", "copy", "--from", s.Dir, "--to", "")
}

// What an operator says of a store that is not there does not make one.
func TestOperatorsNeverChangeAStoreThatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "typo")
	for _, args := range [][]string{{"revoke-all-tokens"}, {"trust-tokens"}, {"suspend-user", "--email", "ada@example.com"}, {"set-plan", "--org", "acme", "--plan", "team"}} {
		_, errs := carnet(t, 5, nil, append([]string{"admin", "--data", dir}, args...)...)
		if !strings.Contains(errs, "There is no store in "+dir) || !strings.Contains(errs, "CARNET_DATABASE") {
			t.Errorf("%s says %s", args[0], errs)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
	_, errs := carnet(t, 2, []string{"CARNET_DATABSE=postgres://127.0.0.1/carnet"}, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if !strings.Contains(errs, "CARNET_DATABSE") {
		t.Errorf("with a misspelt variable, serve says %s", errs)
	}
}

func TestABackupIntoAClosedFolderSaysWhose(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Embedded())
	_, errs := carnet(t, 3, nil, "backup", "--data", s.Dir, "--to", "/sys/carnet.db")
	if !strings.Contains(errs, "/sys cannot be written to by user") {
		t.Errorf("it says %s", errs)
	}
}

func TestABackupReplacesNothingThatIsNoBackup(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Embedded())
	to := filepath.Join(t.TempDir(), "backup.db")
	if err := os.WriteFile(to+".partial", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs := carnet(t, 3, nil, "backup", "--data", s.Dir, "--to", to); !strings.Contains(errs, "no unfinished backup") {
		t.Errorf("it says %s", errs)
	}
	if kept, err := os.ReadFile(to + ".partial"); err != nil || string(kept) != "precious" {
		t.Errorf("the file now holds %q, %v", kept, err)
	}
	for name, args := range map[string][]string{
		"an address": {"create-user", "--email", "q\xff@example.com", "--name", "Quinn"},
		"a name":     {"create-user", "--email", "q@example.com", "--name", "\xff\xfe"},
	} {
		if _, errs, code := harness.Command(t, nil, harness.Password+"\n", append([]string{"admin", "--data", s.Dir}, args...)...); code != 2 || !strings.Contains(errs, "UTF-8") {
			t.Errorf("%s that is no UTF-8: exit %d: %s", name, code, errs)
		}
	}
}

func TestAnInterruptedDemonstrationSaysSo(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Embedded(), harness.Args("--demo"))
	made := func() {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !strings.Contains(s.Out.String(), "Try it:"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it was not made within a minute:\n%s%s", s.Out, s.Log)
			}
		}
		s.Stop()
	}
	made()
	s.Run() // whole: it starts again
	made()
	s.SQL(`DELETE FROM instance WHERE name = 'demo-done'`)
	s.Launch()
	if code := s.Wait(time.Minute); code != 3 || !strings.Contains(s.Log.String(), "interrupted while it was made") {
		t.Errorf("exit %d: %s", code, s.Log)
	}
}

// stripUses leaves out when something was last used, which looking at it changes.
func stripUses(text string) string {
	return strings.Join(slices.DeleteFunc(strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("{},\n", r) }), func(field string) bool {
		return strings.Contains(field, `"last_used_`)
	}), "\n")
}

func TestWhatWasRevokedAfterTheBackupStaysRevokedAfterTheRestore(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Embedded())
	a := fill(t, s)
	backup := filepath.Join(t.TempDir(), "backup.db")
	out, _ := carnet(t, 0, nil, "backup", "--data", s.Dir, "--to", backup)
	if !strings.Contains(out, "Wrote "+backup) || !strings.Contains(out, "2 accounts, 3 tokens") {
		t.Errorf("it says %s", out)
	}
	a.ada.Do("DELETE", "/tokens/"+a.limitedID, nil).Want(http.StatusOK)
	_, later := a.ada.CreateToken("acme", []string{"tasks:read"}, nil)
	gone := a.ada.CreateTask(a.project, "After the backup")
	ended := s.SignIn("ada@example.com")
	a.bob.Do("POST", "/auth/sign-out", nil).Want(http.StatusNoContent)

	_, errs := carnet(t, 3, nil, "restore", "--data", s.Dir, "--from", backup)
	if !strings.Contains(errs, "A server runs on") {
		t.Errorf("while the server runs, it says %s", errs)
	}
	s.Kill() // what it acknowledged is in its log alone
	out, _ = carnet(t, 0, nil, "restore", "--data", s.Dir, "--from", backup)
	for _, line := range []string{"1  tokens revoked\n", "1  sessions ended\n", "Tokens now: 1 work, 0 rest, 2 ended.", "carnet.db.replaced-"} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
	s.Run()
	for value, code := range map[string]string{a.limited: "token_revoked", a.ended: "token_revoked", later: "token_invalid", ended.Credential: "token_invalid", a.bob.Credential: "session_ended"} {
		s.Anonymous().With(value).Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, code)
	}
	s.Anonymous().With(a.plain).Do("GET", "/me", nil).Want(http.StatusOK)
	a.ada.Do("GET", "/tasks/"+a.task, nil).Want(http.StatusOK)
	a.ada.Do("GET", "/tasks/"+gone, nil).Want(http.StatusNotFound)
}

func TestRestoreOnANewMachineLetsTokensRestUntilAnOperatorDecides(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Embedded())
	a := fill(t, s)
	s.Stop()
	backup := filepath.Join(t.TempDir(), "backup.db")
	carnet(t, 0, nil, "backup", "--data", s.Dir, "--to", backup)
	if err := os.RemoveAll(s.Dir); err != nil {
		t.Fatal(err)
	}
	out, _ := carnet(t, 0, nil, "restore", "--data", s.Dir, "--from", backup)
	for _, line := range []string{"there was no store in the folder", "Tokens now: 0 work, 2 rest, 1 ended.", "carnet admin trust-tokens", "carnet admin revoke-all-tokens"} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
	s.Run()
	a.ada.Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "session_ended")
	plain := s.Anonymous().With(a.plain)
	plain.Do("GET", "/me", nil).WantCode(http.StatusForbidden, "token_inert")
	if told := s.Operate("", "trust-tokens"); !strings.Contains(told, "Trusted 2 tokens in "+s.Dir+".") {
		t.Errorf("it says %s", told)
	}
	plain.Do("GET", "/me", nil).Want(http.StatusOK)
	s.Anonymous().With(a.ended).Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")
	if told := s.Operate("", "revoke-all-tokens", "--org", "acme"); !strings.Contains(told, "Revoked 2 tokens of acme in "+s.Dir) {
		t.Errorf("it says %s", told)
	}
	plain.Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")
	if _, errs, code := s.TryOperate("revoke-all-tokens", "--org", "nope"); code != 5 || !strings.Contains(errs, "no organization") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestOperatorsDecideAboutTokensOnPostgreSQLToo(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.On(storetest.Database(t)))
	a := fill(t, s)
	plain := s.Anonymous().With(a.plain)
	s.SQL(`UPDATE tokens SET resting_since = 1`)
	plain.Do("GET", "/me", nil).WantCode(http.StatusForbidden, "token_inert")
	if told := s.Operate("", "trust-tokens"); !strings.Contains(told, "Trusted 3 tokens in the database carnet_") {
		t.Errorf("it says %s", told)
	}
	plain.Do("GET", "/me", nil).Want(http.StatusOK)
	s.Operate("", "revoke-all-tokens")
	plain.Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")

	to := filepath.Join(t.TempDir(), "backup")
	for _, args := range [][]string{{"backup", "--to", to}, {"restore", "--from", to}} {
		_, errs := carnet(t, 3, []string{"CARNET_DATABASE=" + s.Database}, args...)
		if !strings.Contains(errs, "pg_dump") || !strings.Contains(errs, "base backups") {
			t.Errorf("carnet %s says %s", args[0], errs)
		}
	}
}
