// Package bench measures the ordinary program: how fast it answers, how much memory it takes, how it bears a million
// tokens. Its tests run small in `make test`, where they check answers and no times; `make bench` runs them at full size
// and prints one table, which docs/performance.md explains.
package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Load is a closed loop: each connection sends its next request when it has the answer to the one before. It speaks
// HTTP/1.1 by hand on kept-alive connections, because a client that costs as much as the server makes every two servers
// on the same machine look alike. A closed loop cannot see the queue that clients at a fixed pace would build up behind a
// stall: its highest quantiles are those of 16 patient clients.
type Load struct {
	Address     string
	Connections int
	For         time.Duration               // how long; 0: until Requests are sent
	Requests    int                         // how many at most; 0: no limit
	Every       time.Duration               // each connection begins a request at most once in so long; 0: at once
	Request     func(n int) []byte          // the n-th request, whole
	Check       func(n int, a []byte) error // looks at the n-th answer's body; nil: nothing to check
	Want        int                         // the status that every answer must have
}

// Result is what a load saw.
type Result struct {
	Took  time.Duration
	Times []time.Duration // of every answer, sorted
}

// Rate returns answers per second.
func (r Result) Rate() float64 { return float64(len(r.Times)) / r.Took.Seconds() }

// At returns the time within which the share q of the answers came.
func (r Result) At(q float64) time.Duration {
	if len(r.Times) == 0 {
		return 0
	}
	return r.Times[min(int(q*float64(len(r.Times))), len(r.Times)-1)]
}

// Run drives the load and waits for its end. It fails on the first answer that is not as wanted.
func (l Load) Run() (Result, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	times := make([][]time.Duration, l.Connections)
	failures := make([]error, l.Connections)
	began := time.Now()
	for i := range l.Connections {
		wg.Go(func() { times[i], failures[i] = l.connection(began, &next) })
	}
	wg.Wait()
	r := Result{Took: time.Since(began), Times: slices.Concat(times...)}
	slices.Sort(r.Times)
	return r, errors.Join(failures...)
}

func (l Load) connection(began time.Time, next *atomic.Int64) (times []time.Duration, err error) {
	conn, err := net.Dial("tcp", l.Address) //nolint:noctx // a test's own loopback connection
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReaderSize(conn, 16<<10)
	times = make([]time.Duration, 0, 1<<14)
	var body []byte
	for turn := began; ; turn = turn.Add(l.Every) {
		time.Sleep(time.Until(turn)) // who is late does not rest until they have caught up
		n := int(next.Add(1)) - 1
		sent := time.Now()
		if l.Requests > 0 && n >= l.Requests || l.For > 0 && sent.Sub(began) >= l.For {
			return times, nil
		}
		if _, err := conn.Write(l.Request(n)); err != nil {
			return times, fmt.Errorf("request %d: %w", n, err)
		}
		var status int
		status, body, err = readAnswer(answers, body)
		if err != nil {
			return times, fmt.Errorf("answer %d: %w", n, err)
		}
		times = append(times, time.Since(sent))
		if status != l.Want {
			return times, fmt.Errorf("answer %d: status %d, want %d: %.300s", n, status, l.Want, body)
		}
		if l.Check != nil {
			if err := l.Check(n, body); err != nil {
				return times, fmt.Errorf("answer %d: %w", n, err)
			}
		}
	}
}

var lengthHeader = []byte("Content-Length: ")

// readAnswer reads an answer that has a Content-Length, as all of ours have here, into buf.
func readAnswer(r *bufio.Reader, buf []byte) (status int, body []byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, buf, err
	}
	if len(line) < 12 {
		return 0, buf, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, buf, err
	}
	length := 0
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, buf, err
		}
		if len(line) <= 2 {
			break
		}
		if digits, ok := bytes.CutPrefix(line, lengthHeader); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(digits))); err != nil {
				return 0, buf, err
			}
		}
	}
	buf = slices.Grow(buf[:0], length)[:length]
	_, err = io.ReadFull(r, buf)
	return status, buf, err
}

// Get returns a GET request for path with the credential.
func Get(address, path, credential string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: bench/1\r\nAuthorization: Bearer " + credential + "\r\n\r\n")
}
