package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"carnet/internal/problem"
)

// SocketName is the socket's name in the data folder.
const SocketName = "admin.sock"

// Limits of the socket's requests.
const (
	requestLimit = 64 << 10
	readTimeout  = 10 * time.Second
	callTimeout  = 60 * time.Second
)

// long are the commands that take as long as the store is large.
var long = map[string]bool{"backup": true, "trust-tokens": true, "revoke-all-tokens": true}

// ErrNoServer is returned by [Call] when no server listens in the folder.
var ErrNoServer = errors.New("no server runs on this data folder")

// Listen opens the socket in the data folder, which the caller must hold. A socket that a killed server left behind is
// replaced.
func Listen(dir string) (net.Listener, error) {
	path, done, err := short(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old %s: %w", SocketName, err)
	}
	// Closed to others from the first moment on, whatever the umask.
	before := syscall.Umask(0o177)
	listener, err := net.Listen("unix", path) //nolint:noctx // listening on a local socket does not wait
	syscall.Umask(before)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", filepath.Join(dir, SocketName), err)
	}
	return listener, nil
}

// Serve carries out the commands that arrive at the listener until ctx ends.
func Serve(ctx context.Context, listener net.Listener, o Operator, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /command", func(w http.ResponseWriter, r *http.Request) {
		var request Request
		var out any
		err := json.NewDecoder(io.LimitReader(r.Body, requestLimit)).Decode(&request)
		if err != nil {
			err = problem.New(problem.RequestMalformed, "The command cannot be read.").Because(err)
		} else {
			out, err = o.Do(r.Context(), request)
		}
		if err != nil {
			if problem.CodeOf(err) == problem.Internal {
				log.Error("an operator's command failed", "command", request.Command, "error", err)
			}
			problem.Write(w, "", err)
			return
		}
		log.Info("an operator's command was carried out", "command", request.Command)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // a caller that is gone learns the outcome by asking
	})
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout,
		// A command that takes long, such as a backup, ends with the server and holds up nothing.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		return server.Shutdown(stop)
	}
}

// Call has the server that runs on the folder carry a command out, and returns its answer as JSON. It returns
// [ErrNoServer] when there is none, and the server's refusal as a [problem.Error].
func Call(ctx context.Context, dir string, r Request) (json.RawMessage, error) {
	path, done, err := short(dir)
	if err != nil {
		return nil, ErrNoServer
	}
	defer done()
	limit := callTimeout
	if long[r.Command] {
		limit = 0
	}
	client := &http.Client{Timeout: limit, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	defer client.CloseIdleConnections()
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the command: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://carnet/command", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("write the command: %w", err)
	}
	answer, err := client.Do(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNoServer
	}
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	out, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if answer.StatusCode == http.StatusOK {
		return bytes.TrimSpace(out), nil
	}
	var document problem.Document
	if err := json.Unmarshal(out, &document); err != nil || document.Code == "" {
		return nil, fmt.Errorf("the server answered %d", answer.StatusCode)
	}
	return nil, &problem.Error{Code: document.Code, Detail: document.Detail, Fields: document.Errors}
}

// socketPathLimit is how long the path of a Unix socket may be on Linux, less its final NUL.
const socketPathLimit = 107

// short returns a path to the folder's socket that fits a socket address: for a folder with a long name, one by way of
// an open file. done must be called once the path is no longer needed.
func short(dir string) (path string, done func(), err error) {
	path = filepath.Join(dir, SocketName)
	if len(path) <= socketPathLimit {
		return path, func() {}, nil
	}
	folder, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("open the data folder: %w", err)
	}
	return "/proc/self/fd/" + strconv.Itoa(int(folder.Fd())) + "/" + SocketName, func() { _ = folder.Close() }, nil
}
