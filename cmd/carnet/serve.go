package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"carnet/internal/admin"
	"carnet/internal/cli"
	"carnet/internal/demo"
	"carnet/internal/house"
	"carnet/internal/mail"
	"carnet/internal/server"
	"carnet/token"
)

// serveCommand runs the server.
type serveCommand struct {
	Listen       string   `default:"127.0.0.1:8080" env:"CARNET_LISTEN" help:"Address to listen on. TLS ends at a proxy in front."`
	Data         string   `default:"./carnet-data" env:"CARNET_DATA" help:"Folder of the embedded store. It is made when missing."`
	Database     string   `env:"CARNET_DATABASE" placeholder:"URL" help:"PostgreSQL database that nodes share, in place of the embedded store: postgres://carnet@host1,host2/carnet. Put a password into the variable, not here."`
	PublicURL    string   `name:"public-url" env:"CARNET_PUBLIC_URL" placeholder:"URL" help:"Where browsers reach this server; links in mails begin with it. Default: http:// and the listen address."`
	SMTPURL      string   `name:"smtp-url" env:"CARNET_SMTP_URL" placeholder:"URL" help:"Where mail goes, smtp:// or smtps://. Without it, mails are files in DIR/outbox."`
	TrustedProxy []string `env:"CARNET_TRUSTED_PROXY" placeholder:"CIDR" help:"Addresses of proxies whose forwarded headers are believed. Repeat it, or separate by commas."`
	AdminListen  string   `env:"CARNET_ADMIN_LISTEN" placeholder:"ADDR" help:"Address for /metrics. Off by default; keep it from the public."`
	OAuth        bool     `name:"oauth" default:"true" negatable:"" env:"CARNET_OAUTH" help:"Let MCP clients sign people in. It needs HTTPS, or loopback; agents with a pasted token work without."`
	ClientDocs   bool     `name:"client-documents" env:"CARNET_CLIENT_DOCUMENTS" help:"Let MCP clients describe themselves by a document at an https address, which this server then fetches. Turn it on where the server reaches the internet."`
	Demo         bool     `env:"CARNET_DEMO" help:"Fill an empty folder with a small organization, and print how to sign in and a token to try."`
	AccessLog    bool     `default:"true" negatable:"" env:"CARNET_ACCESS_LOG" help:"Log a line for each request."`
	LogLevel     string   `default:"info" enum:"debug,info,warn,error" env:"CARNET_LOG_LEVEL" help:"Least severe log lines to write (${enum})."`
	LogFormat    string   `default:"text" enum:"text,json" env:"CARNET_LOG_FORMAT" help:"Form of the log, on standard error (${enum})."`

	SignInLimit int           `default:"30" env:"CARNET_SIGNIN_LIMIT" help:"Sign-in tries per address and minute."`
	AgentLimit  int           `default:"600" env:"CARNET_AGENT_LIMIT" help:"Calls of /mcp that each token may make in a minute, on each node."`
	TokenLimit  int           `default:"600" env:"CARNET_TOKEN_LIMIT" help:"Tokens that a user may create per hour."`
	Connections int           `name:"database-connections" default:"32" env:"CARNET_DATABASE_CONNECTIONS" help:"Most connections that this node opens to the database."`
	Patience    time.Duration `name:"database-patience" default:"200ms" env:"CARNET_DATABASE_PATIENCE" help:"How long the database may be silent before verifications are answered 503."`
	DrainDelay  time.Duration `default:"0s" env:"CARNET_DRAIN_DELAY" help:"How long to go on serving, not ready, once asked to stop, so that a load balancer turns elsewhere first."`
	CacheSize   int           `default:"50000" env:"CARNET_CACHE_SIZE" help:"Verified credentials to keep in memory, at about 1.5 kB each."`
}

// Help is shown by serve --help.
func (serveCommand) Help() string {
	return "Runs the server on its data folder until it is interrupted; then it lets requests under way finish. On an empty folder it prints a one-time link to set up the owner and the first organization."
}

// drainTime is how long requests under way may take to finish once the server is asked to stop.
const drainTime = 20 * time.Second

// Run serves until ctx ends.
func (c *serveCommand) Run(ctx context.Context, t *cli.Terminal) error {
	log := newLog(t.Err, c.LogLevel, c.LogFormat)
	if err := checkVariables(os.Environ()); err != nil {
		return err
	}
	proxies, err := parseProxies(c.TrustedProxy)
	if err != nil {
		return err
	}
	if err := mail.CheckURL(c.SMTPURL); err != nil {
		return cli.Usage("--smtp-url: %s", err)
	}
	if c.CacheSize < 1 {
		return cli.Usage("--cache-size must be at least 1")
	}
	if c.AgentLimit < 1 {
		return cli.Usage("--agent-limit must be at least 1")
	}
	c.tuneMemory()
	address, err := c.tryAddress(ctx)
	if err != nil {
		return err
	}
	publicURL, err := c.publicURL(address)
	if err != nil {
		return err
	}
	if c.OAuth && !safe(publicURL) {
		return cli.Usage("--public-url must be https:// (or on loopback) for MCP clients to sign people in: their codes and tokens would be readable on the way. Give --no-oauth to go without that")
	}
	h, err := house.Build(ctx, house.Plan{
		Documents: c.ClientDocs,
		Data:      c.Data, Database: c.Database, Connections: c.Connections, Patience: c.Patience, PublicURL: publicURL.String(), SMTPURL: c.SMTPURL, Log: log,
		Limits: house.Limits{SignInsPerMinute: c.SignInLimit, TokensPerHour: c.TokenLimit}, CacheSize: c.CacheSize,
		Fatal: func(err error) {
			// Nothing may be acknowledged any more: no drain, no goodbye.
			log.Error(err.Error())
			os.Exit(cli.ExitFailed)
		},
	})
	if err != nil {
		return err
	}
	listener, err := listen(ctx, address.String())
	if err == nil {
		log.Info("serving", "listen", address.String(), "store", h.DB.Name(), "version", cli.Version(version))
		err = c.run(ctx, log, t.Out, h, listener, publicURL, proxies)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err = errors.Join(err, h.Close(closing)); err == nil {
		log.Info("stopped")
	}
	return err
}

// checkVariables refuses variables that begin like ours and are none: a misspelt CARNET_DATABASE would have a node serve
// from an empty folder.
func checkVariables(environment []string) error {
	known := variables(reflect.TypeFor[commandLine]())
	for _, e := range environment {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "CARNET_") && name != "CARNET_TOKEN" && !slices.Contains(known, name) {
			return cli.Usage("The variable %s is set, and Carnet knows none of that name. carnet serve --help lists them", name)
		}
	}
	return nil
}

// variables returns the names of the variables that a command line reads, from the tags of its fields.
func variables(commands reflect.Type) (names []string) {
	for i := range commands.NumField() {
		field := commands.Field(i)
		if name := field.Tag.Get("env"); name != "" {
			names = append(names, name)
		}
		if field.Type.Kind() == reflect.Struct {
			names = append(names, variables(field.Type)...)
		}
	}
	return names
}

// tryAddress returns the address to listen on, with the port that the system chose where none was asked for. Nobody is
// let in yet: a node may wait for its database, or for another that migrates it. A balancer takes a refused connection
// to another node at once; one that is taken and not answered would be a slow answer to it, or a failed one.
func (c *serveCommand) tryAddress(ctx context.Context) (net.Addr, error) {
	listener, err := listen(ctx, c.Listen)
	if err != nil {
		return nil, err
	}
	return listener.Addr(), listener.Close()
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := server.Listen(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w. Is another server running there? Give --listen another address", address, err)
	}
	return listener, nil
}

// What the Go runtime may hold: everything but the cache, and for each credential in it. The engine's page caches and
// the program itself come on top.
const (
	memoryBase       = 48 << 20
	memoryCredential = 1500
)

// tuneMemory spends memory that is free on fewer garbage collections, and collects more often where it becomes scarce.
// Go's own variables have the last word.
func (c *serveCommand) tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryBase + int64(c.CacheSize)*memoryCredential)
	}
}

// run opens the doors of a house and keeps them open until ctx ends.
func (c *serveCommand) run(ctx context.Context, log *slog.Logger, out io.Writer, h *house.House, listener net.Listener, publicURL *url.URL, proxies []netip.Prefix) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	front, metrics, err := h.Doors(house.Front{PublicURL: publicURL, TrustedProxies: proxies, AccessLog: c.AccessLog, AgentCalls: c.AgentLimit, OAuth: c.OAuth, Version: cli.Version(version)})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	stopping := context.AfterFunc(ctx, func() {
		log.Info("asked to stop: requests under way may finish", "after", c.DrainDelay.String(), "within", drainTime.String())
	})
	defer stopping()
	jobs := []func() error{
		func() error { return front.Serve(ctx, listener, c.DrainDelay, drainTime) },
		func() error { h.Tend(ctx); return nil },
	}
	if c.AdminListen != "" {
		inside, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.AdminListen)
		if err != nil {
			return errors.Join(fmt.Errorf("listen on %s for metrics: %w", c.AdminListen, err), listener.Close())
		}
		jobs = append(jobs, func() error { return serveInside(ctx, inside, metrics.Handler()) })
	}
	if c.Database == "" {
		// The folder is ours alone, so operators' commands come through us. A database takes theirs beside ours.
		socket, err := admin.Listen(c.Data)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		jobs = append(jobs, func() error {
			return admin.Serve(ctx, socket, admin.Operator{Account: h.Account, Org: h.Org, Tokens: h.Tokens, Store: h.DB}, log)
		})
	}
	var wg sync.WaitGroup
	failures := make(chan error, len(jobs)+1)
	for _, job := range jobs {
		wg.Go(func() {
			if err := job(); err != nil {
				failures <- err
				stop()
			}
		})
	}
	if err := c.greet(ctx, out, h, publicURL.String()); err != nil {
		failures <- err
		stop()
	}
	wg.Wait()
	close(failures)
	var all error
	for err := range failures {
		all = errors.Join(all, err)
	}
	return all
}

// greet tells whoever started the server where it is and what to do first.
func (c *serveCommand) greet(ctx context.Context, out io.Writer, h *house.House, publicURL string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "Carnet serves at %s\n", publicURL)
	if c.Demo {
		guide, err := demo.Prepare(ctx, demo.Config{Store: h.DB, Account: h.Account, Org: h.Org, Work: h.Work, Tokens: h.Tokens, Verify: h.Verify, PublicURL: publicURL})
		if err != nil {
			return fmt.Errorf("prepare the demo: %w", err)
		}
		text.WriteString(guide)
	} else {
		link, needed, err := h.Org.SetupLink(ctx)
		if err != nil {
			return fmt.Errorf("prepare the set-up link: %w", err)
		}
		if needed {
			fmt.Fprintf(&text, "\nNobody has an account yet. Open this link within an hour to create the owner and the first organization:\n\n  %s\n\n", link)
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// publicURL returns where browsers reach the server, checked.
func (c *serveCommand) publicURL(bound net.Addr) (*url.URL, error) {
	text := c.PublicURL
	if text == "" {
		host, port, err := net.SplitHostPort(bound.String())
		if err != nil {
			return nil, fmt.Errorf("read the listen address: %w", err)
		}
		if ip, err := netip.ParseAddr(host); err != nil || ip.IsUnspecified() {
			host = "localhost"
		}
		text = "http://" + net.JoinHostPort(host, port)
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return nil, cli.Usage("--public-url must be http:// or https:// and a host, such as https://carnet.example.com")
	}
	return u, nil
}

// safe reports whether what is sent to a URL cannot be read on the way (RFC 9700 section 2.6, RFC 8252 section 8.3).
func safe(u *url.URL) bool {
	if u.Scheme == "https" || u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

func parseProxies(texts []string) ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			address, err := netip.ParseAddr(text)
			if err != nil {
				return nil, cli.Usage("--trusted-proxy must be an address range such as 10.0.0.0/8")
			}
			p = netip.PrefixFrom(address, address.BitLen())
		}
		ranges = append(ranges, p.Masked())
	}
	return ranges, nil
}

// serveInside serves what is not for the public until ctx ends.
func serveInside(ctx context.Context, listener net.Listener, handler http.Handler) error {
	inside := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- inside.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return inside.Close()
	}
}

// newLog returns the process's log. Whatever looks like a credential is cut to its prefix on the way out: no message
// holds one on purpose, and none may by accident.
func newLog(out io.Writer, level, format string) *slog.Logger {
	var least slog.Level
	_ = least.UnmarshalText([]byte(level)) // the command line admits known levels only
	options := &slog.HandlerOptions{Level: least, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Value.Kind() {
		case slog.KindString:
			a.Value = slog.StringValue(token.Redact(a.Value.String()))
		case slog.KindAny:
			if err, ok := a.Value.Any().(error); ok {
				a.Value = slog.StringValue(token.Redact(err.Error()))
			}
		default:
		}
		return a
	}}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
