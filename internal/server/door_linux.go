package server

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// newcomers is a filter that keeps the first packet of a connection (SYN without ACK) and lets all others pass. Whoever
// sent it sends it again a second later, and is refused by then.
var newcomers = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13}, // the byte with the flags of TCP (RFC 9293, section 3.1)
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x02, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
}

const (
	handshake = 100 * time.Millisecond // for connections that are begun: a round trip to whoever balances load
	lastCalls = 2 * time.Second        // at most, on a machine that is too busy to accept
)

// closeDoor has no more connections begun on a listener, and returns when those that were are accepted. The system makes
// connections before a program accepts them, and closing the listener resets those that wait by then.
func closeDoor(listener net.Listener) error {
	socket, ok := listener.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(newcomers)), Filter: &newcomers[0]})
	})
	if failed != nil || err != nil {
		return errors.Join(failed, err)
	}
	time.Sleep(handshake)
	for deadline := time.Now().Add(lastCalls); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var info *unix.TCPInfo
		failed := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) })
		if failed != nil || err != nil {
			return errors.Join(failed, err)
		}
		if info.Unacked == 0 { // on a listener: how many wait to be accepted
			return nil
		}
	}
	return nil
}
