package nodes_test

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// link is the way from a node to a database server, and can be bad: cut, silent, or late on half of its connections, so
// that an answer on one overtakes a question on another.
type link struct {
	tb       testing.TB
	listener net.Listener
	target   atomic.Pointer[string]
	silent   atomic.Bool  // nothing passes and nothing is refused
	lateness atomic.Int64 // of late connections, the most, in nanoseconds

	mu    sync.Mutex // guards what follows
	cut   bool
	open  map[net.Conn]struct{}
	ended bool
	dice  []*atomic.Bool // of all connections so far, whether they are late
}

func newLink(tb testing.TB, target string) *link {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	l := &link{tb: tb, listener: listener, open: map[net.Conn]struct{}{}}
	l.target.Store(&target)
	go l.accept()
	tb.Cleanup(l.close)
	return l
}

func (l *link) port() string {
	_, port, _ := net.SplitHostPort(l.listener.Addr().String())
	return port
}

func (l *link) accept() {
	for {
		node, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.carry(node)
	}
}

// keep notes an open connection, and reports false for one that must not be.
func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.ended {
		_ = c.Close()
		return false
	}
	l.open[c] = struct{}{}
	return true
}

func (l *link) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
	_ = c.Close()
}

func (l *link) carry(node net.Conn) {
	if !l.keep(node) {
		return
	}
	defer l.drop(node)
	server, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", *l.target.Load())
	if err != nil || !l.keep(server) {
		return
	}
	defer l.drop(server)
	done := make(chan struct{}, 2)
	late := &atomic.Bool{}
	l.roll(late)
	pass := func(to, from net.Conn) {
		defer func() { done <- struct{}{} }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				l.delay(late.Load())
				if _, err := to.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go pass(server, node)
	go pass(node, server)
	<-done
}

// roll decides whether a connection is one of the late ones, and remembers to decide anew.
func (l *link) roll(late *atomic.Bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	late.Store(rand.IntN(2) == 0)
	l.dice = append(l.dice, late)
}

// beLate makes half of the connections late, other ones each time.
func (l *link) beLate(most time.Duration) {
	l.mu.Lock()
	for _, late := range l.dice {
		late.Store(rand.IntN(2) == 0)
	}
	l.mu.Unlock()
	l.lateness.Store(int64(most))
}

// delay holds a packet up for as long as the link is silent, and on a late connection by its lateness.
func (l *link) delay(late bool) {
	for l.silent.Load() {
		time.Sleep(time.Millisecond)
	}
	if most := l.lateness.Load(); most > 0 && late {
		time.Sleep(time.Duration(most/2 + rand.Int64N(most/2)))
	}
}

// sever cuts every connection and refuses new ones, until the link is mended.
func (l *link) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.open {
		_ = c.Close()
	}
}

func (l *link) mend() {
	l.mu.Lock()
	l.cut = false
	l.mu.Unlock()
	l.silent.Store(false)
	l.lateness.Store(0)
}

func (l *link) close() {
	l.silent.Store(false)
	l.mu.Lock()
	l.ended = true
	for c := range l.open {
		_ = c.Close()
	}
	l.mu.Unlock()
	_ = l.listener.Close()
}

func addressOf(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
