package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet/test/bench"
	"carnet/test/harness"
)

// bareVariable names the file with the answer that this test binary, started once more, serves with a bare handler.
const bareVariable = "CARNET_BENCH_BARE"

// bareAnswer is what the bare handler writes.
type bareAnswer struct {
	Listen string
	Header http.Header
	Body   []byte
}

// serveBare is the yardstick: net/http and one handler that writes an answer known beforehand.
func serveBare(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	var a bareAnswer
	if err := json.Unmarshal(text, &a); err != nil {
		panic(err)
	}
	panic(http.ListenAndServe(a.Listen, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, values := range a.Header {
			h[name] = values
		}
		_, _ = w.Write(a.Body)
	})))
}

// startBare runs the bare handler in a process of its own and returns its address and process id.
func startBare(t *testing.T, name string, header http.Header, body []byte) (address string, pid int) {
	t.Helper()
	a := bareAnswer{Listen: harness.FreeAddress(t), Header: header, Body: body}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), bareVariable+"="+file)
	if _, err := cmd.StdinPipe(); err != nil { // open for as long as this process runs
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", a.Listen); err == nil {
			_ = conn.Close()
			return a.Listen, cmd.Process.Pid
		}
	}
	t.Fatalf("the bare handler %s does not listen", name)
	return "", 0
}

// contestant is one of the servers that are measured in turns.
type contestant struct {
	name    string
	address string
	pid     int
	path    string
	value   string
	rate    []float64
	p50     []time.Duration
	p99     []time.Duration
	cost    []time.Duration // processor time for each answer
}

func (c *contestant) round(t *testing.T, length time.Duration, check func(int, []byte) error) {
	t.Helper()
	request := bench.Get(c.address, c.path, c.value)
	before, err := bench.ProcessorTime(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	load := bench.Load{Address: c.address, Connections: 16, For: length, Request: func(int) []byte { return request }, Want: 200, Check: check}
	r, err := load.Run()
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	after, err := bench.ProcessorTime(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	c.rate, c.p50, c.p99 = append(c.rate, r.Rate()), append(c.p50, r.At(.5)), append(c.p99, r.At(.99))
	c.cost = append(c.cost, (after-before)/time.Duration(max(len(r.Times), 1)))
}

// ratios returns the medians of what a and b are to each other in each round: rounds are close in time, so that what
// else the machine does weighs on both alike.
func ratios(a, b *contestant) (rate, p99, cost float64) {
	var rates, p99s, costs []float64
	for i := range a.rate {
		rates = append(rates, a.rate[i]/b.rate[i])
		p99s = append(p99s, float64(a.p99[i])/float64(b.p99[i]))
		costs = append(costs, float64(a.cost[i])/float64(max(b.cost[i], 1)))
	}
	return median(rates), median(p99s), median(costs)
}

func TestEveryAnswerOfMeUnderLoadIsTheCallersOwn(t *testing.T) {
	s := harness.Start(t, harness.Args("--no-access-log"))
	s.CreateUser("maya@example.com", "Maya Lindqvist")
	s.CreateOrganization("northwind", "Northwind Studio", "maya@example.com", "team")
	maya := s.SignIn("maya@example.com")
	for _, key := range []string{"APP", "OPS", "WEB", "HQ"} {
		maya.In("northwind").CreateProject(key, "The project "+key, "organization")
	}
	_, value := maya.CreateToken("northwind", []string{"projects:read", "tasks:write", "comments:read"}, nil)
	answer := s.Anonymous().With(value).Do("GET", "/me", nil).Want(http.StatusOK)

	header := answer.Header.Clone()
	header.Del("Date") // net/http's own
	bareFull, fullPID := startBare(t, "same bytes", header, answer.Body)
	bareBody, bodyPID := startBare(t, "same body", http.Header{"Content-Type": header["Content-Type"], "Content-Length": header["Content-Length"]}, answer.Body)

	address := strings.TrimPrefix(s.URL, "http://")
	carnet := &contestant{name: "GET /api/v1/me", address: address, pid: s.PID(), path: "/api/v1/me", value: value}
	same := &contestant{name: "bare handler, same bytes", address: bareFull, pid: fullPID, path: "/api/v1/me", value: value}
	body := &contestant{name: "bare handler, same body, no other headers", address: bareBody, pid: bodyPID, path: "/api/v1/me", value: value}

	who := []byte(fmt.Sprintf("{\"user\":{\"id\":%q", answer.Text("user", "id")))
	length := of(100*time.Millisecond, 2*time.Second)
	for range of(1, 15) {
		carnet.round(t, length, func(_ int, a []byte) error {
			if !bytes.HasPrefix(a, who) {
				return fmt.Errorf("this is somebody else: %.100s", a)
			}
			return nil
		})
		same.round(t, length, nil)
		body.round(t, length, nil)
	}
	for _, c := range []*contestant{carnet, same, body} {
		note(c.name, "", fmt.Sprintf("%s/s, p50 %s, p99 %s, %s of processor each", count(median(c.rate)), short(median(c.p50)), short(median(c.p99)), short(median(c.cost))))
	}
	rate, p99, cost := ratios(carnet, same)
	note("… to the bare handler, same bytes: requests/s", "≥ 0.7", fmt.Sprintf("%.2f", rate), rate >= .7)
	note("… p99", "≤ 1.5", fmt.Sprintf("%.2f", p99), p99 <= 1.5)
	note("… processor time", "", fmt.Sprintf("%.2f", cost))
	rate, p99, cost = ratios(carnet, body)
	note("… to the bare handler, same body: requests/s; p99; processor time", "", fmt.Sprintf("%.2f; %.2f; %.2f", rate, p99, cost))
}
