// Package balancer_test restarts nodes behind a real nginx, one after the other, under load at a constant rate, and wants
// nobody to notice.
package balancer_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"carnet/internal/storetest"
	"carnet/test/harness"
)

const (
	organization = "northwind"
	// What is documented for nginx goes together with what is documented for the nodes.
	drainDelay = "2s"
)

// startNodes runs nodes over one database, with a person for each.
func startNodes(t *testing.T, n int) []*harness.Server {
	t.Helper()
	database := storetest.Database(t)
	var nodes []*harness.Server
	for range n {
		nodes = append(nodes, harness.Start(t, harness.On(database), harness.Args("--no-access-log", "--drain-delay", drainDelay,
			"--trusted-proxy", "127.0.0.1/32", "--public-url", "https://carnet.example.com", "--sign-in-limit", "1000")))
	}
	nodes[0].CreateUser(person(0), "Person 0")
	nodes[0].CreateOrganization(organization, "Northwind Studio", person(0), "team")
	for i := 1; i < n; i++ {
		nodes[0].CreateUser(person(i), fmt.Sprintf("Person %d", i))
		nodes[0].AddMember(organization, person(i), "member")
	}
	return nodes
}

func person(i int) string { return fmt.Sprintf("person%d@example.com", i) }

// startNginx runs nginx with the documented configuration in front of the nodes, and returns its address.
func startNginx(t *testing.T, nodes []*harness.Server) string {
	t.Helper()
	dir := harness.Folder(t)
	address := harness.FreeAddress(t)
	certificate, key := pair(t)
	site := harness.Documented(t, "docs/operations.md", "# /etc/nginx/conf.d/carnet.conf",
		"10.0.0.11:8080", strings.TrimPrefix(nodes[0].URL, "http://"),
		"10.0.0.12:8080", strings.TrimPrefix(nodes[1].URL, "http://"),
		"10.0.0.13:8080", strings.TrimPrefix(nodes[2].URL, "http://"),
		"listen 443 ssl", "listen "+address+" ssl",
		"/etc/ssl/carnet.example.com.pem", harness.File(t, dir, "certificate", certificate),
		"/etc/ssl/carnet.example.com.key", harness.File(t, dir, "key", key))
	config := harness.File(t, dir, "nginx.conf", `
daemon off;
worker_processes 2;
pid `+dir+`/pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path `+dir+`/body;
    proxy_temp_path `+dir+`/proxy;
    fastcgi_temp_path `+dir+`/fastcgi;
    uwsgi_temp_path `+dir+`/uwsgi;
    scgi_temp_path `+dir+`/scgi;
`+site+`}
`)
	nginx := harness.Run(t, dir, "/usr/sbin/nginx", "-e", "stderr", "-p", dir, "-c", config)
	nginx.WaitFor("answer", func() bool {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("nginx said:\n%s", nginx.Log)
		}
	})
	return address
}

// pair returns the certificate that net/http/httptest brings, which is good for loopback addresses, and its key.
func pair(t *testing.T) (certificate, key string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// attack is one kind of request at a constant rate, and what is right as an answer.
type attack struct {
	name  string
	rate  int // in a second
	next  vegeta.Targeter
	check func(r *vegeta.Result) error
	sum   vegeta.Metrics
}

// run attacks for a while and looks at every answer.
func (a *attack) run(duration time.Duration, failed func(error)) {
	attacker := vegeta.NewAttacker(vegeta.TLSConfig(&tls.Config{InsecureSkipVerify: true}), vegeta.Timeout(10*time.Second), vegeta.Workers(16), vegeta.MaxWorkers(32))
	for r := range attacker.Attack(a.next, vegeta.Rate{Freq: a.rate, Per: time.Second}, duration, a.name) {
		a.sum.Add(r)
		if err := a.check(r); err != nil {
			failed(fmt.Errorf("%s at %s: %w", a.name, r.Timestamp.Format("15:04:05.000"), err))
		}
	}
	a.sum.Close()
}

// get asks the same with the same token, over and over.
func get(url, value string) vegeta.Targeter {
	return vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: url, Header: http.Header{"Authorization": {"Bearer " + value}}})
}

// expect wants a status and a text in the body.
func expect(status uint16, part string) func(*vegeta.Result) error {
	return func(r *vegeta.Result) error {
		if r.Error != "" && r.Code == 0 || r.Code != status || !bytes.Contains(r.Body, []byte(part)) {
			return fmt.Errorf("status %d, %s: %s", r.Code, r.Error, r.Body)
		}
		return nil
	}
}

// create makes tasks that are numbered, each under a key of its own.
func create(url, value string) vegeta.Targeter {
	var mu sync.Mutex
	n := 0
	return func(target *vegeta.Target) error {
		mu.Lock()
		defer mu.Unlock()
		n++
		target.Method, target.URL = http.MethodPost, url
		target.Header = http.Header{
			"Authorization": {"Bearer " + value}, "Content-Type": {"application/json"}, "Idempotency-Key": {fmt.Sprintf("task %d", n)},
		}
		target.Body = fmt.Appendf(nil, `{"title":"Task %d"}`, n)
		return nil
	}
}

// crowd is clients behind nginx who go on whatever happens to the nodes.
type crowd struct {
	nodes    []*harness.Server
	base     string // of the API, by way of nginx
	session  *harness.Client
	project  string
	attacks  []*attack
	mu       sync.Mutex
	failures []error // guarded by mu
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{nodes: startNodes(t, 3)}
	c.base = "https://" + startNginx(t, c.nodes) + "/api/v1"
	c.session = c.nodes[0].SignIn(person(0)).In(organization)
	c.project = c.session.CreateProject("APP", "The app", "organization")
	for i := range c.nodes {
		_, value := c.nodes[i].SignIn(person(i)).CreateToken(organization, []string{"tasks:write"}, nil)
		c.attacks = append(c.attacks, &attack{name: "live " + person(i), rate: 30, next: get(c.base+"/me", value), check: expect(http.StatusOK, person(i))})
		if i == 0 {
			c.attacks = append(c.attacks, &attack{name: "writes", rate: 15, next: create(c.base+"/projects/"+c.project+"/tasks", value), check: expect(http.StatusCreated, `"title":"Task `)})
		}
	}
	id, value := c.session.CreateToken(organization, []string{"tasks:read"}, nil)
	for _, node := range c.nodes { // every cache has seen it alive
		node.Anonymous().With(value).Do("GET", "/me", nil).Want(http.StatusOK)
	}
	c.session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
	c.attacks = append(c.attacks, &attack{name: "revoked", rate: 30, next: get(c.base+"/me", value), check: expect(http.StatusUnauthorized, `"token_revoked"`)},
		// nginx tries no POST a second time, so that these show every connection that a node drops.
		&attack{name: "revoked, writing", rate: 30, next: create(c.base+"/projects/"+c.project+"/tasks", value), check: expect(http.StatusUnauthorized, `"token_revoked"`)})
	return c
}

// goOn lets the crowd ask for as long as it is told, while roll does something to the nodes until over is closed. It
// returns once both are done, and wants every answer to be right and every write to have happened once.
func (c *crowd) goOn(t *testing.T, duration time.Duration, roll func(over <-chan struct{})) {
	t.Helper()
	var running sync.WaitGroup
	over := make(chan struct{})
	for _, a := range c.attacks {
		running.Go(func() {
			a.run(duration, func(err error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.failures = append(c.failures, err)
			})
		})
	}
	go func() { running.Wait(); close(over) }()
	roll(over)
	<-over
	for i, err := range c.failures {
		if i == 20 {
			t.Errorf("and %d more", len(c.failures)-i)
			break
		}
		t.Error(err)
	}
	requests := uint64(0)
	for _, a := range c.attacks {
		requests += a.sum.Requests
		t.Logf("%s: %d requests at %.1f/s; p50 %v, p99 %v, slowest %v", a.name, a.sum.Requests, a.sum.Rate, a.sum.Latencies.P50, a.sum.Latencies.P99, a.sum.Latencies.Max)
	}
	t.Logf("%d requests: %d failed or were wrong", requests, len(c.failures))
	eachOnce(t, c.session, c.project, c.attacks)
}

// restart stops a node and starts it again, once it is gone.
func restart(t *testing.T, node *harness.Server) {
	t.Helper()
	stopped := time.Now()
	node.Stop()
	if code := node.Wait(time.Second); code != 0 {
		t.Errorf("a node ended with exit code %d:\n%s", code, node.Log)
	}
	gone := time.Now()
	node.Run()
	t.Logf("asked to stop at %s, gone after %v, ready after another %v", stopped.Format("15:04:05.000"), gone.Sub(stopped), time.Since(gone))
}

// Every node is restarted in turn behind nginx while clients go on: no request fails, no answer is wrong, and each write
// happens once.
func TestNobodyNoticesARollingRestart(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	restarts := 0
	c.goOn(t, time.Duration(harness.Rounds(20, 600))*time.Second, func(over <-chan struct{}) {
		for {
			for _, node := range c.nodes {
				select {
				case <-over:
					return
				case <-time.After(time.Second):
				}
				restart(t, node)
				restarts++
			}
		}
	})
	t.Logf("%d restarts", restarts)
	if restarts < 3 {
		t.Errorf("only %d restarts", restarts)
	}
	// With nobody left to ask, clients are told in the form that they know, every time.
	for _, node := range c.nodes {
		node.Stop()
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for range 10 {
		answer, err := client.Get(c.base + "/me")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusServiceUnavailable || !json.Valid(body) || !bytes.Contains(body, []byte(`"verification_unavailable"`)) ||
			answer.Header.Get("Content-Type") != "application/problem+json" || answer.Header.Get("Retry-After") == "" {
			t.Errorf("without nodes, nginx answers %d %v: %s", answer.StatusCode, answer.Header, body)
		}
	}
}

// nextMigration is what a version after this one could bring. It takes longer than any statement of a request may.
const nextMigration = `-- +goose Up
SELECT pg_sleep(6);
ALTER TABLE tokens ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN estimate BIGINT;

-- +goose Down
ALTER TABLE tasks DROP COLUMN estimate;
ALTER TABLE tokens DROP COLUMN note;
`

// nextVersion builds the program with one migration more.
func nextVersion(t *testing.T) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	const folder = "internal/db/migrations/postgres"
	known, err := os.ReadDir(filepath.Join(root, folder))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "carnet")
	overlay := harness.Overlay(t, map[string][]byte{fmt.Sprintf("%s/%05d_next.sql", folder, len(known)+1): []byte(nextMigration)})
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", program, "./cmd/carnet")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the next version: %v\n%s", err, out)
	}
	return program
}

// The nodes are replaced, one after the other, by those of a version that brings the schema on, while clients go on.
// Until the last one is replaced, both versions serve; one of the version before may even be started again.
func TestNobodyNoticesARollingUpgrade(t *testing.T) {
	t.Parallel()
	next := nextVersion(t)
	c := newCrowd(t)
	c.goOn(t, 25*time.Second, func(<-chan struct{}) {
		time.Sleep(time.Second)
		c.nodes[0].Use(next)
		restart(t, c.nodes[0])
		restart(t, c.nodes[1]) // of the version before, as after a crash
		// A token lives and ends on nodes of both versions.
		id, value := c.nodes[2].SignIn(person(2)).CreateToken(organization, []string{"tasks:read"}, nil)
		for _, node := range c.nodes {
			node.Anonymous().With(value).Do("GET", "/me", nil).Want(http.StatusOK)
		}
		c.nodes[0].SignIn(person(2)).Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
		for _, node := range c.nodes {
			node.Anonymous().With(value).Do("GET", "/me", nil).WantCode(http.StatusUnauthorized, "token_revoked")
		}
		for _, node := range c.nodes[1:] {
			node.Use(next)
			restart(t, node)
		}
	})
}

// eachOnce looks for every task that was made.
func eachOnce(t *testing.T, session *harness.Client, project string, attacks []*attack) {
	t.Helper()
	want := attacks[slices.IndexFunc(attacks, func(a *attack) bool { return a.name == "writes" })].sum.Requests
	times := map[string]int{}
	for cursor := ""; ; {
		path := "/projects/" + project + "/tasks?limit=100"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		page := session.Do("GET", path, nil).Want(http.StatusOK)
		items, _ := page.At("items").([]any)
		for i := range items {
			times[page.Text("items", i, "title")]++
		}
		if cursor, _ = page.At("next_cursor").(string); cursor == "" {
			break
		}
	}
	for n := range want {
		if title := fmt.Sprintf("Task %d", n+1); times[title] != 1 {
			t.Errorf("%q is there %d times", title, times[title])
		}
	}
	if len(times) != int(want) {
		t.Errorf("%d tasks were asked for, %d are there", want, len(times))
	}
}
