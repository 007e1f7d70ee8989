// Package server is the house's front door: one http.Server in front of every other door. It gives each request an id,
// bounds it, sets the headers that protect whoever reads the answer, finds out who is calling, and stops gracefully.
// It decides nothing.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"carnet/internal/id"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/text"
)

// BodyLimit is the largest request body that any route reads, in bytes.
const BodyLimit = 1 << 20

// Limits of the transport. They bound what a slow or hostile client can hold.
const (
	headerLimit       = 32 << 10
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 120 * time.Second
	clientLimit       = 200 // characters kept of a User-Agent
)

// Config is what the server needs.
type Config struct {
	// Mux has every door's routes registered.
	Mux *http.ServeMux
	// PublicURL is where browsers reach this server; it decides what counts as the same origin and whether HTTPS is on.
	PublicURL *url.URL
	// TrustedProxies are the ranges whose forwarded headers are believed. From elsewhere they are ignored.
	TrustedProxies []netip.Prefix
	Log            *slog.Logger
	// AccessLog turns a line for each request on.
	AccessLog bool
	// Ready returns nil while the process can serve; /readyz asks it.
	Ready func(context.Context) error
	// Open are patterns of routes that pages of other sites may call, because nothing there looks at a cookie.
	Open []string
	// Observe, if not nil, is told of every answer.
	Observe func(route string, status int, took time.Duration)
}

// Server is the front door. It implements http.Handler.
type Server struct {
	Config
	handler  http.Handler
	https    bool
	draining atomic.Bool
	awaiting sync.Map // while draining: connections that wait for an answer
}

// New returns the server.
func New(c Config) (*Server, error) {
	s := &Server{Config: c, https: c.PublicURL.Scheme == "https"}
	guard := http.NewCrossOriginProtection()
	if err := guard.AddTrustedOrigin(c.PublicURL.Scheme + "://" + c.PublicURL.Host); err != nil {
		return nil, err
	}
	for _, pattern := range c.Open {
		guard.AddInsecureBypassPattern(pattern)
	}
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, request.From(r.Context()).ID, problem.New(problem.CrossOrigin, "A page of another site sent this request. Send it from this server's own pages or from a program."))
	}))
	s.handler = guard.Handler(http.HandlerFunc(s.route))
	if c.Ready != nil {
		registerHealth(c.Mux, func(ctx context.Context) error {
			if s.draining.Load() {
				return errDraining
			}
			return c.Ready(ctx)
		})
	}
	return s, nil
}

// Listen opens the address for [Server.Serve].
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	// Several paths are for clients that roam. Such sockets take no filter, which an orderly stop needs.
	config.SetMultipathTCP(false)
	return config.Listen(ctx, "tcp", address)
}

// HTTPServer returns the http.Server with its limits set, to be given a listener.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler: s, MaxHeaderBytes: headerLimit,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorLog:  slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		ConnState: s.note,
	}
}

var errDraining = errors.New("asked to stop")

// Serve answers requests on the listener until ctx ends. Then it says that it is not ready, and goes on for as long as
// notice says, asking with each answer that the connection be closed: whoever balances load turns elsewhere meanwhile.
// At the end it takes in the connections that have been made, and lets requests under way finish for up to grace.
func (s *Server) Serve(ctx context.Context, listener net.Listener, notice, grace time.Duration) error {
	server := s.HTTPServer()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	select {
	case err := <-failed:
		return err
	case <-time.After(notice):
	}
	if notice > 0 {
		s.takeLast(listener)
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		return errors.Join(fmt.Errorf("requests under way did not end within %v and were cut off: %w", grace, err), server.Close())
	}
	return nil
}

// note keeps track, while the server drains, of who waits for an answer.
func (s *Server) note(conn net.Conn, state http.ConnState) {
	if !s.draining.Load() {
		return
	}
	switch state {
	case http.StateNew, http.StateActive:
		s.awaiting.Store(conn, nil)
	default:
		s.awaiting.Delete(conn)
	}
}

// lastAnswers bounds how long a stop waits for what is quickly answered; what takes longer, it waits for afterwards.
const lastAnswers = time.Second

// takeLast lets nobody else in and answers those who are. It comes before [http.Server.Shutdown], because that resets
// connections which wait to be accepted, and leaves requests unanswered that it has not read: a balancer must not send
// those to another node when they write.
func (s *Server) takeLast(listener net.Listener) {
	if err := closeDoor(listener); err != nil {
		s.Log.Warn("connections that just come in may be cut off", "error", err)
	}
	for deadline := time.Now().Add(lastAnswers); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		waits := false
		s.awaiting.Range(func(any, any) bool { waits = true; return false })
		if !waits {
			return
		}
	}
}

// ServeHTTP takes a request in: id, protective headers, limits, record.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	info := &request.Info{
		ID: id.New(id.Request), Method: r.Method,
		Address: clientAddress(r, s.TrustedProxies), Client: text.Label(r.UserAgent(), clientLimit),
	}
	h := w.Header()
	h["X-Request-Id"] = []string{info.ID}
	s.protect(h)
	answer := &answer{ResponseWriter: w}
	defer func() { s.finish(recover(), answer, r, info, began) }()
	if s.draining.Load() {
		h.Set("Connection", "close")
	}
	if len(r.TransferEncoding) > 0 {
		// It may have had a Content-Length too, which net/http drops without a word. Whoever stands in front and went by that
		// one is of another mind about where the next request begins, so there is none (RFC 9112 section 6.1).
		h.Set("Connection", "close")
	}
	r.Body = http.MaxBytesReader(answer, r.Body, BodyLimit)
	r = r.WithContext(request.With(r.Context(), info))
	s.handler.ServeHTTP(answer, r)
}

// The headers that every answer carries, errors too (ASVS 5.0 3.4). They are shared, so nobody may change the slices.
var (
	contentSecurity = []string{"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
		"connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}
	noSniff        = []string{"nosniff"}
	noReferrer     = []string{"no-referrer"}
	noFrames       = []string{"DENY"}
	sameOrigin     = []string{"same-origin"}
	strictly       = []string{"max-age=63072000; includeSubDomains"}
	permissionsOff = []string{"camera=(), geolocation=(), microphone=(), payment=(), usb=()"}
)

func (s *Server) protect(h http.Header) {
	h["Content-Security-Policy"] = contentSecurity
	h["X-Content-Type-Options"] = noSniff
	h["Referrer-Policy"] = noReferrer
	h["X-Frame-Options"] = noFrames
	h["Cross-Origin-Opener-Policy"] = sameOrigin
	h["Cross-Origin-Resource-Policy"] = sameOrigin
	h["Permissions-Policy"] = permissionsOff
	if s.https {
		h["Strict-Transport-Security"] = strictly
	}
}

// route finds the door. What no door knows is answered in the contract's form under /api, and left to the pages else.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	info := request.From(r.Context())
	if r.Method == http.MethodTrace || r.Method == http.MethodConnect {
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE")
		problem.Write(w, info.ID, problem.New(problem.MethodNotAllowed, "This method is not served."))
		return
	}
	if misspelt(r.URL.EscapedPath()) {
		info.Route = "/api/"
		w.Header().Set("Cache-Control", "no-store")
		problem.Write(w, info.ID, problem.New(problem.NotFound, "There is no such route. GET /openapi.json lists them all."))
		return
	}
	s.Mux.ServeHTTP(w, r)
}

// misspelt reports whether a path leads to the API by way of empty or dotted segments. The mux would send programs on to
// another path, with a page for people; and a script that filled in an empty id should learn of it.
func misspelt(p string) bool {
	clean := path.Clean("/" + p)
	return strings.HasPrefix(clean+"/", "/api/") && clean != strings.TrimSuffix(p, "/")
}

// finish records the answer, and turns a panic of a door into a plain 500.
func (s *Server) finish(cause any, a *answer, r *http.Request, info *request.Info, began time.Time) {
	if cause != nil {
		if cause == http.ErrAbortHandler { //nolint:errorlint // the documented sentinel, compared as net/http does
			panic(cause)
		}
		s.Log.Error("a door panicked", "request", info.ID, "route", info.Route, "panic", safe(cause), "stack", string(debug.Stack()))
		if a.status == 0 {
			problem.Write(a, info.ID, errors.New("panic"))
		}
	}
	took := time.Since(began)
	if info.Route == "" {
		info.Route = r.Pattern
	}
	if s.Observe != nil {
		s.Observe(info.Route, a.code(), took)
	}
	if s.AccessLog {
		s.Log.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("id", info.ID), slog.String("method", info.Method), slog.String("route", info.Route),
			slog.Int("status", a.code()), slog.Float64("took_ms", float64(took.Microseconds())/1000), slog.String("user", info.UserID),
			slog.String("credential", info.Credential), slog.String("address", info.AddressText()), slog.String("client", info.Client))
	}
}

// safe describes a panic without its text, which may hold what a caller sent: runtime errors are ours, the rest is named
// by type only.
func safe(cause any) string {
	if err, ok := cause.(interface{ RuntimeError() }); ok {
		if e, ok := err.(error); ok {
			return e.Error()
		}
	}
	return "of another type"
}

// answer remembers the status that a door wrote.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status and passes it on.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write notes the implied status and passes the bytes on.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}

// clientAddress returns where a request came from. Only a trusted proxy is believed about somebody else: the last
// address in X-Forwarded-For that is not a trusted proxy's is the client's.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a Unix socket, or a test's recorder
	}
	address := peer.Addr().Unmap().WithZone("")
	if !within(address, trusted) {
		return address
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return address // an unreadable hop ends what can be believed
		}
		address = hop.Unmap().WithZone("")
		if !within(address, trusted) {
			return address
		}
	}
	return address
}

func within(address netip.Addr, ranges []netip.Prefix) bool {
	for _, p := range ranges {
		if p.Contains(address) {
			return true
		}
	}
	return false
}
