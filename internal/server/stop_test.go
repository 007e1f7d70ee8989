package server_test

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/server"
)

// A client whose connection was made gets an answer, at whatever moment the server stops.
func TestNoConnectionThatWasMadeIsCutOffByAnOrderlyStop(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("this system gives no means to stop new connections before the listener closes")
	}
	var answered atomic.Int64
	for range 10 {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		front, err := server.New(server.Config{Mux: mux, PublicURL: &url.URL{Scheme: "http", Host: "localhost"}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		listener, err := server.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for range 16 {
			clients.Go(func() {
				for {
					conn, err := net.DialTimeout("tcp", listener.Addr().String(), 200*time.Millisecond)
					if err != nil {
						return // a balancer goes elsewhere
					}
					if err := post(conn); err != nil {
						t.Errorf("a connection that was made was cut off: %v", err)
						return
					}
					answered.Add(1)
				}
			})
		}
		time.AfterFunc(50*time.Millisecond, stop)
		if err := front.Serve(ctx, listener, 10*time.Millisecond, 10*time.Second); err != nil {
			t.Error(err)
		}
		clients.Wait()
	}
	if answered.Load() == 0 {
		t.Error("nothing was answered")
	}
}

func post(conn net.Conn) error {
	_, err := conn.Write([]byte("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	return errors.Join(answer.Body.Close(), conn.Close())
}
