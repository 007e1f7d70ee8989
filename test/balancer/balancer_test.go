// Package balancer_test restarts nodes behind a real nginx, one after the other, under load at a constant rate, and wants
// nobody to notice.
package balancer_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
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

// Every node is restarted in turn behind nginx while clients go on: no request fails, no answer is wrong, and each write
// happens once.
func TestNobodyNoticesARollingRestart(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3)
	address := startNginx(t, nodes)
	base := "https://" + address + "/api/v1"

	session := nodes[0].SignIn(person(0)).In(organization)
	project := session.CreateProject("APP", "The app", "organization")
	var attacks []*attack
	for i := range nodes {
		_, value := nodes[i].SignIn(person(i)).CreateToken(organization, []string{"tasks:write"}, nil)
		attacks = append(attacks, &attack{name: "live " + person(i), rate: 30, next: get(base+"/me", value), check: expect(http.StatusOK, person(i))})
		if i == 0 {
			attacks = append(attacks, &attack{name: "writes", rate: 15, next: create(base+"/projects/"+project+"/tasks", value), check: expect(http.StatusCreated, `"title":"Task `)})
		}
	}
	id, value := session.CreateToken(organization, []string{"tasks:read"}, nil)
	for _, node := range nodes { // every cache has seen it alive
		node.Anonymous().With(value).Do("GET", "/me", nil).Want(http.StatusOK)
	}
	session.Do("DELETE", "/tokens/"+id, nil).Want(http.StatusOK)
	attacks = append(attacks, &attack{name: "revoked", rate: 30, next: get(base+"/me", value), check: expect(http.StatusUnauthorized, `"token_revoked"`)},
		// nginx tries no POST a second time, so that these show every connection that a node drops.
		&attack{name: "revoked, writing", rate: 30, next: create(base+"/projects/"+project+"/tasks", value), check: expect(http.StatusUnauthorized, `"token_revoked"`)})

	duration := time.Duration(harness.Rounds(20, 600)) * time.Second
	var running sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	over := make(chan struct{})
	for _, a := range attacks {
		running.Go(func() {
			a.run(duration, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
			})
		})
	}
	go func() { running.Wait(); close(over) }()

	restarts := 0
rolling:
	for {
		for _, node := range nodes {
			select {
			case <-over:
				break rolling
			case <-time.After(time.Second):
			}
			stopped := time.Now()
			node.Stop()
			if code := node.Wait(time.Second); code != 0 {
				t.Errorf("a node ended with exit code %d:\n%s", code, node.Log)
			}
			gone := time.Now()
			node.Run()
			restarts++
			t.Logf("restart %d: asked to stop at %s, gone after %v, ready after another %v", restarts, stopped.Format("15:04:05.000"), gone.Sub(stopped), time.Since(gone))
		}
	}
	for i, err := range failures {
		if i == 20 {
			t.Errorf("and %d more", len(failures)-i)
			break
		}
		t.Error(err)
	}
	requests := uint64(0)
	for _, a := range attacks {
		requests += a.sum.Requests
		t.Logf("%s: %d requests at %.1f/s; p50 %v, p99 %v, slowest %v", a.name, a.sum.Requests, a.sum.Rate, a.sum.Latencies.P50, a.sum.Latencies.P99, a.sum.Latencies.Max)
	}
	t.Logf("%d requests through %d restarts: %d failed or were wrong", requests, restarts, len(failures))
	if restarts < 3 {
		t.Errorf("only %d restarts", restarts)
	}
	eachOnce(t, session, project, attacks)
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
