package durability_test

import (
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads the file of a stopped server

	"carnet/internal/db"
	"carnet/test/harness"
)

// intact lets the engine check the whole file of a stopped server.
func intact(t *testing.T, dir string) {
	t.Helper()
	pool, err := sql.Open("sqlite", "file:"+filepath.Join(dir, db.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close() }()
	for _, check := range []string{"PRAGMA integrity_check", "SELECT COALESCE((SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1), 'ok')"} {
		var verdict string
		if err := pool.QueryRowContext(t.Context(), check).Scan(&verdict); err != nil || verdict != "ok" {
			t.Errorf("%s: %s %v", check, verdict, err)
		}
	}
}

// faulty makes system calls of the server fail with an error from the n-th of each thread on.
func faulty(calls, failure string, n int, log string) harness.Option {
	return harness.Wrap("strace", "-f", "-qq", "-o", log, "-e", "trace="+calls, "-e", "signal=none",
		"-e", fmt.Sprintf("inject=%s:error=%s:when=%d+", calls, failure, n))
}

// A disk that fails to keep what it was given: fsyncgate. Nothing is acknowledged that was asked for after somebody had
// seen the failure, and the process stops soon and says why, whatever the load.
func TestFailedSyncStopsTheServerAndNothingIsAcknowledgedAfterIt(t *testing.T) {
	t.Parallel()
	healthy, session, project := start(t)
	healthy.Stop()
	for i := range harness.Rounds(2, 20) {
		log := filepath.Join(t.TempDir(), "strace")
		s := harness.Start(t, harness.Dir(healthy.Dir), harness.Args("--no-access-log", "--token-limit", "1000000"),
			faulty("fsync,fdatasync", "EIO", 12+3*i, log))
		ill := *session
		ill.URL = s.URL

		var mu sync.Mutex
		var kept, late []string
		var firstRefusal time.Time
		var workers sync.WaitGroup
		for worker := range 8 {
			workers.Go(func() {
				for n := 0; ; n++ {
					title := fmt.Sprintf("fault %d worker %d number %d", i, worker, n)
					// Order is told by what was seen before asking, not by clocks: an answer may be long on its way.
					mu.Lock()
					afterwards := !firstRefusal.IsZero()
					mu.Unlock()
					answer, err := ill.Try("POST", "/projects/"+project+"/tasks", map[string]any{"title": title})
					mu.Lock()
					if err == nil && answer.Status == http.StatusCreated {
						kept = append(kept, answer.Text("id"))
						if afterwards {
							late = append(late, title)
						}
					} else if firstRefusal.IsZero() {
						firstRefusal = time.Now()
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		code := s.Wait(30 * time.Second)
		ended := time.Now()
		workers.Wait()
		switch {
		case code != 1:
			t.Fatalf("exit code %d after a failed sync\n%s", code, s.Log)
		case ended.Sub(firstRefusal) > 5*time.Second: // milliseconds on a quiet machine; it is traced call by call here
			t.Errorf("the process went on for %s after the first refusal", ended.Sub(firstRefusal))
		case len(late) > 0:
			t.Errorf("acknowledged although asked for after the first refusal: %q", late)
		}
		if text := s.Log.String(); !strings.Contains(text, "storage failed, so this process stops") || strings.Count(text, "level=ERROR") != 1 {
			t.Errorf("the log does not say why, or more than once:\n%s", text)
		}

		again := harness.Start(t, harness.Dir(healthy.Dir))
		well := *session
		well.URL = again.URL
		for _, id := range kept {
			well.Do("GET", "/tasks/"+id, nil).Want(http.StatusOK)
		}
		t.Logf("%d acknowledged before the sync failed, all there; the process ended %s after the first refusal", len(kept), ended.Sub(firstRefusal).Round(time.Millisecond))
		again.Stop()
		intact(t, healthy.Dir)
	}
}

// A full disk refuses changes and says so; whoever only reads does not notice, and nothing is lost.
func TestFullDiskRefusesChangesAndServesReads(t *testing.T) {
	t.Parallel()
	healthy, session, project := start(t)
	task := session.CreateTask(project, "Before the disk was full")
	_, value := session.CreateToken(organization, []string{"tasks:read"}, nil)
	healthy.Stop()

	s := harness.Start(t, harness.Dir(healthy.Dir), faulty("pwrite64", "ENOSPC", 40, filepath.Join(t.TempDir(), "strace")))
	full := *session
	full.URL = s.URL
	var kept []string
	var refusal *harness.Answer
	for n := 0; refusal == nil && n < 2000; n++ {
		answer := full.Do("POST", "/projects/"+project+"/tasks", map[string]any{"title": fmt.Sprintf("Task %d", n)})
		if answer.Status == http.StatusCreated {
			kept = append(kept, answer.Text("id"))
		} else {
			refusal = answer
		}
	}
	if refusal == nil {
		t.Fatal("the disk never got full")
	}
	refusal.WantCode(http.StatusServiceUnavailable, "overloaded")
	if refusal.Header.Get("Retry-After") == "" || !strings.Contains(refusal.Text("detail"), "disk is full") {
		t.Errorf("the refusal does not say what is wrong: %s", refusal.Body)
	}
	script := full.With(value).In("")
	for range 20 {
		script.Do("GET", "/tasks/"+task, nil).Want(http.StatusOK)
	}
	// Nothing of a refused change is there. Calls fail thread by thread, so that some changes may still go through.
	expected := "Before the disk was full"
	for n := range 10 {
		title := fmt.Sprintf("Changed on a full disk, %d", n)
		if full.Do("PATCH", "/tasks/"+task, map[string]any{"title": title}, "If-Match", "*").Status == http.StatusOK {
			expected = title
		}
	}
	s.Kill()

	again := harness.Start(t, harness.Dir(healthy.Dir))
	well := *session
	well.URL = again.URL
	for _, id := range kept {
		well.Do("GET", "/tasks/"+id, nil).Want(http.StatusOK)
	}
	if title := well.Do("GET", "/tasks/"+task, nil).Want(http.StatusOK).Text("title"); title != expected {
		t.Errorf("the title is %q, want %q", title, expected)
	}
	again.Stop()
	intact(t, healthy.Dir)
}

// Asked to end, the server lets what it began finish, writes what it only remembers, and ends with success.
func TestAskedToEndTheServerFinishesWhatItBegan(t *testing.T) {
	t.Parallel()
	s, session, project := start(t)
	tokenID, value := session.CreateToken(organization, []string{"tasks:read"}, nil)
	session.With(value).In("").Do("GET", "/projects/"+project+"/tasks", nil).Want(http.StatusOK)

	// A request that has begun and takes its time.
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := `{"title":"Sent while the server ends"}`
	_, err = fmt.Fprintf(conn, "POST /api/v1/projects/%s/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nCarnet-Organization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		project, session.Credential, organization, len(body), body[:10])
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the server has to see the head before it is asked to end
	if err := syscall.Kill(s.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	refused := func() bool {
		_, err := s.Anonymous().Try("GET", "/readyz", nil)
		return err != nil
	}
	for deadline := time.Now().Add(5 * time.Second); !refused(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server takes new connections after it was asked to end")
		}
	}
	if _, err := conn.Write([]byte(body[10:])); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 201") {
		t.Errorf("the request under way: %v %s", err, answer[:n])
	}
	if code := s.Wait(10 * time.Second); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Log)
	}

	again := harness.Start(t, harness.Dir(s.Dir))
	well := *session
	well.URL = again.URL
	if found := well.Do("GET", "/projects/"+project+"/tasks", nil).Want(http.StatusOK); !strings.Contains(string(found.Body), "Sent while the server ends") {
		t.Errorf("what was answered with 201 is gone: %s", found.Body)
	}
	if well.Do("GET", "/tokens/"+tokenID, nil).Want(http.StatusOK).At("last_used_at") == nil {
		t.Error("the last use was forgotten at the end")
	}
}

// Whatever is wrong with the data folder is said in one line, with an exit code, and the folder is left as it was.
func TestFolderThatCannotServeIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	good, _, _ := start(t)
	for name, test := range map[string]struct {
		prepare func(t *testing.T, dir string) // makes a copy of a good folder bad
		wrap    []string
		says    string
	}{
		"in use":                {func(*testing.T, string) {}, nil, "in use by another Carnet"},
		"damaged":               {func(t *testing.T, dir string) { damage(t, dir) }, nil, "damaged"},
		"another user's":        {func(t *testing.T, dir string) { hand(t, dir, 65534) }, nil, "belongs to"},
		"read-only":             {func(t *testing.T, dir string) { hand(t, dir, 65534); mode(t, dir, 0o500) }, asNobody, "Check that this user can write the folder"},
		"a file":                {func(t *testing.T, dir string) { replace(t, dir) }, nil, "not a directory"},
		"of another user, file": {func(t *testing.T, dir string) { hand(t, filepath.Join(dir, db.FileName), 65534) }, nil, "belongs to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if os.Geteuid() != 0 && (strings.Contains(name, "user") || test.wrap != nil) {
				t.Skip("needs to be root, to act as somebody else")
			}
			dir := good.Dir
			if name != "in use" {
				dir = open(t)
				copyFolder(t, good.Dir, dir)
				test.prepare(t, dir)
			}
			before := ""
			if name != "in use" { // that one changes by its server
				before = snapshot(t, dir)
			}
			command := slices.Concat(test.wrap, []string{reachable(t), "serve", "--listen", "127.0.0.1:0", "--data", dir})
			out, code := execute(t, command)
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if !strings.Contains(out, test.says) || strings.Count(strings.TrimSpace(out), "\n") > 1 {
				t.Errorf("it says %q, without %q or in too many lines", out, test.says)
			}
			if name != "in use" && snapshot(t, dir) != before {
				t.Error("the folder was changed")
			}
		})
	}
}
