package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Delay stands between two ends of TCP connections and hands on what each says after a while, as distance does: in order,
// as much at once as comes, each piece as late as the one before. Its processor time is the price of pretending, so it
// should run in a process of its own.
type Delay struct {
	Target string        // where connections go
	Each   time.Duration // on the way there, and again on the way back
}

// Serve forwards what the listener accepts until that fails.
func (d Delay) Serve(listener net.Listener) error {
	for {
		near, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", d.Target)
		if err != nil {
			_ = near.Close()
			continue
		}
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				_ = d.forward(way[0], way[1])
				_ = near.Close()
				_ = far.Close()
			}()
		}
	}
}

// piece is what one read returned, and when it may go on.
type piece struct {
	content []byte
	due     time.Time
}

// underWay is how many pieces are on the way at most: far more than any of our connections has.
const underWay = 4096

func (d Delay) forward(from, to net.Conn) error {
	pieces := make(chan piece, underWay)
	written := make(chan error, 1)
	go func() {
		err := write(to, pieces)
		_ = from.Close() // ends the reading
		for range pieces {
			continue // until the reading has ended, too
		}
		written <- err
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			pieces <- piece{content: append([]byte(nil), buffer[:n]...), due: time.Now().Add(d.Each)}
		}
		if err != nil {
			close(pieces)
			return errors.Join(err, <-written)
		}
	}
}

func write(to net.Conn, pieces <-chan piece) error {
	alarm, err := newAlarm()
	if err != nil {
		return err
	}
	defer alarm.close()
	for p := range pieces {
		if err := alarm.wait(time.Until(p.due)); err != nil {
			return err
		}
		if _, err := to.Write(p.content); err != nil {
			return fmt.Errorf("hand on: %w", err)
		}
	}
	return nil
}

// alarm wakes its goroutine to some ten microseconds. The runtime's own timers are late by up to a millisecond when
// nothing else happens, which is as long as what is to be measured.
type alarm struct {
	fd   int
	file *os.File
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "alarm")}, nil
}

func (a *alarm) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	if err := unix.TimerfdSettime(a.fd, 0, &at, nil); err != nil {
		return fmt.Errorf("set a timer: %w", err)
	}
	var rang [8]byte
	if _, err := a.file.Read(rang[:]); err != nil || binary.NativeEndian.Uint64(rang[:]) == 0 {
		return fmt.Errorf("wait for a timer: %w", err)
	}
	return nil
}

func (a *alarm) close() { _ = a.file.Close() }
