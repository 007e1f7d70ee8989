package failover_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"carnet/internal/pgtest"
	"carnet/test/harness"
)

// patroni is three PostgreSQL servers that agree by etcd on who is the primary, with the documented configuration.
type patroni struct {
	members []*member
	killed  *member
}

type member struct {
	name, dir, config string
	port, api         string
	process           *harness.Program
}

const memberBlock = "# /etc/patroni/config.yml, owned by postgres, mode 0600"

// documented is the configuration of docs/operations.md with what differs here.
func (m *member) documented(t *testing.T, etcd, bin string) string {
	t.Helper()
	return harness.Documented(t, "docs/operations.md", memberBlock,
		"name: db1", "name: "+m.name,
		"hosts: [10.0.0.21:2379, 10.0.0.22:2379, 10.0.0.23:2379]", "hosts: ["+etcd+"]",
		"10.0.0.21:8008", m.api, "10.0.0.21:5432", "127.0.0.1:"+m.port,
		"/var/lib/postgresql/15/main", filepath.Join(m.dir, "data"), "/usr/lib/postgresql/15/bin", bin,
		"10.0.0.0/24", "127.0.0.1/32", "hostssl", "host",
		// The servers of the test have no TLS, and a watchdog would restart the machine.
		"        ssl: \"on\"\n        ssl_cert_file: /etc/postgresql/carnet.pem\n        ssl_key_file: /etc/postgresql/carnet.key\n", "",
		"watchdog:\n  mode: required\n  device: /dev/watchdog\n", "",
		"ttl: 20", "ttl: 10", "loop_wait: 2", "loop_wait: 1", // a test has less time
	) + "  pgpass: " + filepath.Join(m.dir, "pgpass") + "\n"
}

// The long test runs what is documented. This one notices, in the short run too, when the page and the test part ways.
func TestTheLongTestFindsTheDocumentedConfiguration(t *testing.T) {
	t.Parallel()
	m := &member{name: "db2", dir: t.TempDir(), api: "127.0.0.1:1", port: "2"}
	if config := m.documented(t, "127.0.0.1:3", "/bin"); !strings.Contains(config, "name: db2") || strings.Contains(config, "10.0.0.") {
		t.Errorf("the configuration is\n%s", config)
	}
}

func newPatroni(t *testing.T) *patroni {
	t.Helper()
	for _, program := range []string{"/usr/bin/etcd", "/usr/bin/patroni"} {
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("%s is missing: scripts/tools soak installs it", program)
		}
	}
	dir := harness.Folder(t)
	clients, peers := harness.FreeAddress(t), harness.FreeAddress(t)
	etcd := harness.Run(t, dir, "/usr/bin/etcd", "--name", "etcd1", "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://"+clients, "--advertise-client-urls", "http://"+clients,
		"--listen-peer-urls", "http://"+peers, "--initial-advertise-peer-urls", "http://"+peers, "--initial-cluster", "etcd1=http://"+peers)
	etcd.WaitFor("port", func() bool { return listens(clients) })
	bin, err := pgtest.Programs()
	if err != nil {
		t.Fatal(err)
	}
	p := &patroni{}
	for i := range 3 {
		m := &member{name: fmt.Sprintf("db%d", i+1), dir: harness.Folder(t), port: portOf(t), api: harness.FreeAddress(t)}
		m.config = harness.File(t, m.dir, "config.yml", m.documented(t, clients, bin))
		p.members = append(p.members, m)
		m.start(t)
		t.Cleanup(func() { m.process.Stop(); m.killPostgres() })
		if i == 0 {
			p.wait(t, "a primary", func(roles map[string]int) bool { return roles["leader"] == 1 })
		}
	}
	p.healthy(t)
	leader := p.leader(t)
	for _, statement := range []string{"CREATE ROLE carnet LOGIN PASSWORD 'carnet'", "CREATE DATABASE carnet OWNER carnet"} {
		psql := exec.CommandContext(t.Context(), "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", statement,
			"postgres://postgres:superuser-password@127.0.0.1:"+leader.port+"/postgres?sslmode=disable")
		if out, err := psql.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", statement, err, out)
		}
	}
	return p
}

func portOf(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(harness.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func listens(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

func (m *member) start(t *testing.T) {
	t.Helper()
	m.process = harness.Run(t, m.dir, "/usr/bin/patroni", m.config)
}

// killPostgres ends every process of the member's server at once. They are no children of ours, and sessions of their own.
func (m *member) killPostgres() {
	text, err := os.ReadFile(filepath.Join(m.dir, "data", "postmaster.pid"))
	if err != nil {
		return
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil || pid < 2 {
		return
	}
	if command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || !strings.Contains(string(command), m.dir) {
		return // it has ended, and the number may be another's
	}
	_ = syscall.Kill(pid, syscall.SIGSTOP) // so that it starts no further ones meanwhile
	_ = exec.Command("pkill", "-9", "-P", line).Run()
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func (p *patroni) URL() string {
	var hosts []string
	for _, m := range p.members {
		hosts = append(hosts, "127.0.0.1:"+m.port)
	}
	return "postgres://carnet:carnet@" + strings.Join(hosts, ",") + "/carnet?sslmode=disable"
}

// Kill kills the primary's PostgreSQL and its Patroni. The others find out when its key in etcd runs out.
func (p *patroni) Kill(t *testing.T) {
	t.Helper()
	p.killed = p.leader(t)
	p.killed.process.Kill()
	p.killed.killPostgres()
}

// Heal starts the killed member again.
func (p *patroni) Heal(t *testing.T) {
	t.Helper()
	p.killed.start(t)
	p.healthy(t)
}

// healthy waits until one leads and two follow, one of them synchronously.
func (p *patroni) healthy(t *testing.T) {
	t.Helper()
	p.wait(t, "three members that run", func(roles map[string]int) bool {
		return roles["leader"] == 1 && roles["sync_standby"] == 1 && roles["replica"] == 1
	})
}

func (p *patroni) wait(t *testing.T, what string, holds func(roles map[string]int) bool) {
	t.Helper()
	var roles map[string]int
	for deadline := time.Now().Add(120 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		roles = map[string]int{}
		for _, role := range p.roles() {
			roles[role]++
		}
		if holds(roles) {
			return
		}
	}
	for _, m := range p.members {
		t.Logf("%s: %s", m.name, m.process.Log)
	}
	t.Fatalf("no %s: %v", what, roles)
}

// roles returns the roles of members that run, by name, as any member tells them.
func (p *patroni) roles() map[string]string {
	for _, m := range p.members {
		if m == p.killed && m.process.Ended() {
			continue
		}
		answer, err := (&http.Client{Timeout: 2 * time.Second}).Get("http://" + m.api + "/cluster")
		if err != nil {
			continue
		}
		var cluster struct {
			Members []struct{ Name, Role, State string }
		}
		err = json.NewDecoder(answer.Body).Decode(&cluster)
		_ = answer.Body.Close()
		if err != nil {
			continue
		}
		roles := map[string]string{}
		for _, member := range cluster.Members {
			if member.State == "running" || member.State == "streaming" {
				roles[member.Name] = member.Role
			}
		}
		return roles
	}
	return nil
}

func (p *patroni) leader(t *testing.T) *member {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		roles := p.roles()
		for _, m := range p.members {
			if roles[m.name] == "leader" {
				return m
			}
		}
	}
	t.Fatal("nobody leads")
	return nil
}

// The same with nobody who promotes: Patroni and etcd decide who is the primary, and bring the killed one back.
func TestWhatWasAcknowledgedSurvivesPatronisFailovers(t *testing.T) {
	if os.Getenv("CARNET_SOAK") == "" {
		t.Skip("a leader's key lives for ten seconds at least: CARNET_SOAK=1 runs it")
	}
	survive(t, newPatroni(t), patroniRounds())
}

// patroniRounds returns how many primaries are killed; CARNET_ROUNDS asks for less.
func patroniRounds() int {
	if n, err := strconv.Atoi(os.Getenv("CARNET_ROUNDS")); err == nil {
		return n
	}
	return 30
}
