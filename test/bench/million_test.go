package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"carnet/internal/db"
	"carnet/internal/lastuse"
	"carnet/test/bench"
	"carnet/test/harness"
)

// large is a server over a store with very many tokens.
type large struct {
	t      *testing.T
	s      *harness.Server
	values []string // some of them, in random order
	taken  int
}

// fresh returns n values that were not used yet.
func (l *large) fresh(n int) []string {
	l.t.Helper()
	if l.taken+n > len(l.values) {
		l.t.Fatalf("%d values were kept, and %d are taken already", len(l.values), l.taken)
	}
	l.taken += n
	return l.values[l.taken-n : l.taken]
}

func (l *large) address() string { return strings.TrimPrefix(l.s.URL, "http://") }

const owner = "owner@example.com"

func TestManyTokensAreCreatedVerifiedListedAndRevoked(t *testing.T) {
	dir := t.TempDir()
	for _, command := range [][]string{
		{"create-user", "--email", owner, "--name", "Olivia Owner", "--verified"},
		{"create-org", "--slug", "acme", "--name", "Acme", "--owner", owner, "--plan", "team"},
	} {
		if _, errs, code := harness.Command(t, nil, harness.Password+"\n", append([]string{"admin", "--data", dir}, command...)...); code != 0 {
			t.Fatalf("%v: %s", command, errs)
		}
	}
	seed := bench.Seed{Dir: dir, Tokens: of(20_000, 1_000_000), Heavy: of(500, 10_000), Keep: of(5_000, 300_000)}
	began := time.Now()
	values, err := seed.Fill(t.Context())
	if err != nil {
		t.Fatalf("fill the store: %v", err)
	}
	rand.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	info, err := os.Stat(filepath.Join(dir, db.FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tokens written in %s, %d MB", seed.Tokens, short(time.Since(began)), info.Size()>>20)
	note("tokens in the store; size of its file", "", fmt.Sprintf("%s; %d MB", count(seed.Tokens), info.Size()>>20))

	s := harness.Start(t, harness.Dir(dir), harness.Args("--no-access-log", "--token-limit", "1000000", "--sign-in-limit", "1000"))
	l := &large{t: t, s: s, values: values}
	t.Run("start", l.start)
	t.Run("cold", l.cold)
	t.Run("memory", l.memory)
	t.Run("list", l.list)
	t.Run("create", l.create)
	t.Run("revoke", l.revoke)
	s.Stop()
	t.Run("in process", l.inProcess)
}

// start measures the time from the start of the process to the first yes of /readyz.
func (l *large) start(t *testing.T) {
	var warm, cold []time.Duration
	for i := range of(2, 10) {
		l.s.Stop()
		if i%2 == 1 {
			forgetFile(t, filepath.Join(l.s.Dir, db.FileName))
		}
		began := time.Now()
		l.s.Launch()
		for time.Since(began) < 20*time.Second {
			if answer, err := http.Get(l.s.URL + "/readyz"); err == nil {
				_ = answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					break
				}
			}
			time.Sleep(time.Millisecond)
		}
		took := time.Since(began)
		l.s.WaitReady()
		if i%2 == 1 {
			cold = append(cold, took)
		} else {
			warm = append(warm, took)
		}
	}
	note("start to ready, file in the system's memory", "≤ 1 s", short(median(warm)), median(warm) <= time.Second)
	note("start to ready, file on disk only", "≤ 1 s", short(median(cold)), median(cold) <= time.Second)
}

// forgetFile makes the system forget what it holds of a file in memory, as far as it heeds the advice.
func forgetFile(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// A token that asks for the list of tokens is verified and then refused, since only a session may: nothing but the
// verification happens.
const verifiedOnly = "/api/v1/tokens"

// cold measures the first request of tokens that the server has not seen.
func (l *large) cold(t *testing.T) {
	bar := 2 * time.Millisecond
	measure := func(what, path string, connections, n, want int, barred bool) {
		values := l.fresh(n)
		load := bench.Load{Address: l.address(), Connections: connections, Requests: n, Want: want,
			Request: func(i int) []byte { return bench.Get(l.address(), path, values[i]) }}
		r, err := load.Run()
		if err != nil {
			t.Fatal(err)
		}
		figure := fmt.Sprintf("p50 %s, p99 %s, %s/s", short(r.At(.5)), short(r.At(.99)), count(r.Rate()))
		if barred {
			note(what, "p99 ≤ 2 ms", figure, r.At(.99) <= bar)
		} else {
			note(what, "", figure)
		}
	}
	n := of(300, 10_000)
	forgetFile(t, filepath.Join(l.s.Dir, db.FileName))
	measure("first verification of a token over HTTP, 1 connection, file on disk only", verifiedOnly, 1, n, http.StatusForbidden, true)
	measure("… file in the system's memory", verifiedOnly, 1, n, http.StatusForbidden, true)
	measure("… GET /me, which reads more", "/api/v1/me", 1, n, http.StatusOK, false)
	measure("… verification, 16 connections at once", verifiedOnly, 16, n, http.StatusForbidden, false)
}

// memory measures what the process holds after very many different tokens were verified.
func (l *large) memory(t *testing.T) {
	l.s.Stop()
	l.s.Run()
	idle, err := bench.Memory(l.s.PID(), "VmRSS")
	if err != nil {
		t.Fatal(err)
	}
	values := l.fresh(of(2_000, 200_000))
	load := bench.Load{Address: l.address(), Connections: 16, Requests: len(values), Want: http.StatusForbidden,
		Request: func(i int) []byte { return bench.Get(l.address(), verifiedOnly, values[i]) }}
	r, err := load.Run()
	if err != nil {
		t.Fatal(err)
	}
	after, err := bench.Memory(l.s.PID(), "VmRSS")
	if err != nil {
		t.Fatal(err)
	}
	peak, err := bench.Memory(l.s.PID(), "VmHWM")
	if err != nil {
		t.Fatal(err)
	}
	const mega = 1 << 20
	note("memory of the process after its start", "≤ 256 MB", fmt.Sprintf("%d MB", idle/mega), idle <= 256*mega)
	note(fmt.Sprintf("… after %s different tokens", count(len(values))), "≤ 256 MB", fmt.Sprintf("%d MB, at its peak %d MB", after/mega, peak/mega), peak <= 256*mega)
	note("… which were verified at", "", count(r.Rate())+"/s")
}

// list measures pages of a list that is long.
func (l *large) list(t *testing.T) {
	session := l.s.SignIn(owner)
	for _, sort := range []string{"-created_at", "name", "-last_used_at"} {
		path := "/api/v1/tokens?limit=100&sort=" + sort
		request := bench.Get(l.address(), path, session.Credential)
		load := bench.Load{Address: l.address(), Connections: 1, Requests: of(3, 100), Want: http.StatusOK, Request: func(int) []byte { return request }}
		r, err := load.Run()
		if err != nil {
			t.Fatal(err)
		}
		note(fmt.Sprintf("page of 100 of one user's %s tokens, by %s", count(of(500, 10_000)), strings.TrimPrefix(sort, "-")), "",
			fmt.Sprintf("p50 %s, p99 %s", short(r.At(.5)), short(r.At(.99))))
	}
}

// create measures creations through the API. Each client is a person of their own.
func (l *large) create(t *testing.T) {
	sessions := make([]string, 16)
	for i := range sessions {
		email := fmt.Sprintf("creator-%d@example.com", i)
		l.s.CreateUser(email, fmt.Sprintf("Creator %d", i))
		l.s.AddMember("acme", email, "member")
		sessions[i] = l.s.SignIn(email).Credential
	}
	const body = `{"name":"Created under load","organization":"acme","scopes":["tasks:read"],"expires_in_days":30}`
	for _, clients := range []int{1, 16} {
		var mu sync.Mutex
		var created []string
		load := bench.Load{Address: l.address(), Connections: clients, For: of(300*time.Millisecond, 10*time.Second), Want: http.StatusCreated,
			Request: func(i int) []byte {
				return fmt.Appendf(nil, "POST /api/v1/tokens HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
					l.address(), sessions[i%clients], len(body), body)
			},
			Check: func(_ int, answer []byte) error {
				var issued struct{ Value string }
				if err := json.Unmarshal(answer, &issued); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				created = append(created, issued.Value)
				return nil
			}}
		r, err := load.Run()
		if err != nil {
			t.Fatal(err)
		}
		note(fmt.Sprintf("creations through the API, %d at once", clients), "", fmt.Sprintf("%s/s, p50 %s, p99 %s", count(r.Rate()), short(r.At(.5)), short(r.At(.99))))
		again := bench.Load{Address: l.address(), Connections: 4, Requests: min(len(created), 1000), Want: http.StatusOK,
			Request: func(i int) []byte { return bench.Get(l.address(), "/api/v1/me", created[i]) }}
		if _, err := again.Run(); err != nil {
			t.Errorf("a token that was just created: %v", err)
		}
	}
}

// revoke measures how long a revocation takes while others work, and that it holds when it returned.
func (l *large) revoke(t *testing.T) {
	session := l.s.SignIn(owner)
	n := of(10, 1000)
	type made struct{ id, value string }
	var doomed []made
	for range n {
		id, value := session.CreateToken("acme", []string{"tasks:read"}, nil)
		doomed = append(doomed, made{id, value})
	}
	busy := l.fresh(of(50, 1000))
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			load := bench.Load{Address: l.address(), Connections: 14, For: 200 * time.Millisecond, Want: http.StatusOK,
				Request: func(i int) []byte { return bench.Get(l.address(), "/api/v1/me", busy[i%len(busy)]) }}
			if _, err := load.Run(); err != nil {
				done <- err
				return
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	var times []time.Duration
	for _, d := range doomed {
		token := session.With(d.value)
		token.Do("GET", "/me", nil).Want(http.StatusOK)
		began := time.Now()
		session.Do("DELETE", "/tokens/"+d.id, nil).Want(http.StatusOK)
		times = append(times, time.Since(began))
		token.Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")
	}
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("the others: %v", err)
	}
	slices.Sort(times)
	r := bench.Result{Times: times}
	note("revocation while 14 connections ask for /me", "", fmt.Sprintf("p50 %s, p99 %s", short(r.At(.5)), short(r.At(.99))))
}

// inProcess measures verification without HTTP around it, on the same store.
func (l *large) inProcess(t *testing.T) {
	service, closeStore := openVerify(t, l.s.Dir)
	defer closeStore()
	times := make([]time.Duration, 0, of(300, 20_000))
	for _, value := range l.fresh(cap(times)) {
		began := time.Now()
		if _, err := service.Verify(context.Background(), value, lastuse.Origin{}); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	r := bench.Result{Times: times}
	note("first verification of a token in process", "p99 ≤ 2 ms", fmt.Sprintf("p50 %s, p99 %s", short(r.At(.5)), short(r.At(.99))), r.At(.99) <= 2*time.Millisecond)
	hot(t, service, l.fresh(1000))
}
