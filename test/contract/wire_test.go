package contract_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// raw sends bytes on a connection of their own and returns what comes back, answer by answer, until the server closes
// the connection or has answered often enough. With hangUp, the client has nothing more to say and shows it.
func (w *world) raw(t *testing.T, sent string, most int, hangUp bool) (answers []*http.Response, bodies []string) {
	t.Helper()
	connection, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	go func() {
		_, _ = io.WriteString(connection, sent) // the server may have refused before it read all
		if half, ok := connection.(*net.TCPConn); ok && hangUp {
			_ = half.CloseWrite()
		}
	}()
	reader := bufio.NewReader(connection)
	for len(answers) < most {
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the server does not end the connection after %.100q", sent)
			}
			break
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		answer.Body = io.NopCloser(bytes.NewReader(body))
		answers, bodies = append(answers, answer), append(bodies, string(body))
	}
	return answers, bodies
}

// wire: whatever bytes arrive, they are one request or none, and the server stays.
func (w *world) wire(t *testing.T) {
	bearer := "Authorization: Bearer " + w.owner.credential + "\r\nCarnet-Organization: " + ours + "\r\n"
	host := "Host: x\r\n"
	tasks := "/api/v1/projects/" + w.project + "/tasks"
	body := `{"title":"` + mark + `"}`
	get := "GET /api/v1/tasks HTTP/1.1\r\n" + host
	post := "POST " + tasks + " HTTP/1.1\r\n" + host + bearer + "Content-Type: application/json\r\n"
	last := "Connection: close\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	chunked := "Transfer-Encoding: chunked\r\n"

	before := w.state(t)
	for _, c := range []struct {
		name, sent string
		statuses   []int // any of them; those of answers that come before a request is understood
		code       string
	}{
		{"two lengths", post + length + "Content-Length: 1\r\n\r\n" + body, []int{400}, ""},
		{"two lengths in one", post + "Content-Length: 3, 4\r\n\r\n" + body, []int{400}, ""},
		{"a length below nothing", post + "Content-Length: -1\r\n\r\n" + body, []int{400}, ""},
		{"a length with a sign", post + "Content-Length: +3\r\n\r\n" + body, []int{400}, ""},
		{"a length in words", post + "Content-Length: " + mark + "\r\n\r\n" + body, []int{400}, ""},
		{"a length beyond all", post + "Content-Length: 99999999999999999999\r\n\r\n" + body, []int{400}, ""},
		{"a length that is not reached", post + "Content-Length: 4000\r\n\r\n" + body, []int{400}, "request_malformed"},
		{"a length beyond the limit", post + "Content-Length: 4000000\r\n\r\n" + strings.Repeat(" ", 1<<20+1), []int{413}, "too_large"},
		{"an unknown encoding of the transfer", post + "Transfer-Encoding: " + mark + "\r\n\r\n" + body, []int{400, 501}, ""},
		{"two encodings of the transfer", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", []int{400, 501}, ""},
		{"chunked twice", post + chunked + chunked + "\r\n0\r\n\r\n", []int{400, 501}, ""},
		{"a chunk without a size", post + chunked + "\r\n" + mark + "\r\n" + body + "\r\n0\r\n\r\n", []int{400}, "request_malformed"},
		{"a chunk that is larger than it says", post + chunked + "\r\n2\r\n" + body + "\r\n0\r\n\r\n", []int{400}, "request_malformed"},
		{"chunks that do not end", post + chunked + "\r\n4\r\n" + body[:4] + "\r\n", []int{400}, "request_malformed"},
		{"a size beyond all", post + chunked + "\r\nffffffffffffffffff\r\n" + body, []int{400}, "request_malformed"},
		{"length and chunks, and the length is right", post + length + chunked + "\r\n" + body, []int{400}, ""},
		{"a header in another's next line", get + "X-Other: a\r\n Authorization: Bearer " + w.owner.credential + "\r\n\r\n", []int{400, 401}, ""},
		{"a blank in front of the first header", "GET /api/v1/tasks HTTP/1.1\r\n " + host + bearer + "\r\n", []int{400}, ""},
		{"a blank before the colon", get + "Authorization : Bearer " + w.owner.credential + "\r\n\r\n", []int{400}, ""},
		{"a header without a colon", get + mark + "\r\n\r\n", []int{400}, ""},
		{"a header without a name", get + ": " + mark + "\r\n\r\n", []int{400}, ""},
		{"NUL in a header", get + "Authorization: Bearer \x00" + mark + "\r\n\r\n", []int{400}, ""},
		{"a lone carriage return in a header", get + "X-Other: a\rAuthorization: Bearer " + w.owner.credential + "\r\n\r\n", []int{400, 401}, ""},
		{"no host", "GET /api/v1/tasks HTTP/1.1\r\n" + bearer + "\r\n", []int{400}, ""},
		{"two hosts", get + host + bearer + "\r\n", []int{400}, ""},
		{"an odd host", "GET /api/v1/tasks HTTP/1.1\r\nHost: " + mark + "/<>\r\n\r\n", []int{400}, ""},
		{"no version", "GET /api/v1/tasks\r\n\r\n", []int{400}, ""},
		{"version 0.9", "GET /api/v1/tasks HTTP/0.9\r\n\r\n", []int{400, 505}, ""},
		{"version 3", "GET /api/v1/tasks HTTP/3.0\r\n" + host + "\r\n", []int{400, 505}, ""},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{400, 404, 405, 505}, ""},
		{"a greeting of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + mark, []int{400}, ""},
		{"rubbish", strings.Repeat(mark, 100) + "\r\n\r\n", []int{400}, ""},
		{"nothing", "", nil, ""},
		{"empty lines", "\r\n\r\n\r\n", []int{400}, ""},
		{"a blank in the path", "GET /api/v1/tasks /x HTTP/1.1\r\n" + host + "\r\n", []int{400}, ""},
		{"a method that is no word", "G(T /api/v1/tasks HTTP/1.1\r\n" + host + "\r\n", []int{400}, ""},
		{"a header of 40,000 bytes", get + "X-Other: " + strings.Repeat("a", 40_000) + "\r\n\r\n", []int{431}, ""},
		{"a credential of 40,000 bytes", get + "Authorization: Bearer " + strings.Repeat("a", 40_000) + "\r\n\r\n", []int{431}, ""},
		{"4,000 headers", get + strings.Repeat("X-O: aaaa\r\n", 4_000) + "\r\n", []int{431}, ""},
		{"a path of 40,000 bytes", "GET /api/v1/tasks/" + strings.Repeat("a", 40_000) + " HTTP/1.1\r\n" + host + "\r\n", []int{414, 431}, ""},
		{"an expectation that nobody knows", post + "Expect: " + mark + "\r\n" + length + "\r\n" + body, []int{417}, ""},
		{"CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", []int{405}, "method_not_allowed"},
		{"everything", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", []int{200, 400, 404, 405}, ""},
		{"a header that is cut", get + "Authorization: Bear", []int{400}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			answers, bodies := w.raw(t, c.sent, 4, true)
			if len(c.statuses) == 0 && len(answers) == 0 {
				return
			}
			if len(answers) == 0 || len(answers) > 2 {
				t.Fatalf("%d answers", len(answers))
			}
			a := answers[0]
			if !slices.Contains(c.statuses, a.StatusCode) {
				t.Errorf("%d, want %v\n%s", a.StatusCode, c.statuses, bodies[0])
			}
			for i, b := range bodies {
				if strings.Contains(b, mark) || strings.Contains(fmt.Sprint(answers[i].Header), mark) {
					t.Errorf("it repeats what was sent: %s", b)
				}
				if answers[i].StatusCode < 400 && c.name != "everything" {
					t.Errorf("%d: %s", answers[i].StatusCode, b)
				}
			}
			if method, _, _ := strings.Cut(c.sent, " "); a.Header.Get("X-Request-Id") != "" && method != "PRI" { // it has reached the handlers, and is examined like any other
				method, path, _ := strings.Cut(c.sent, " ")
				path, _, _ = strings.Cut(path, " ")
				if got := w.examine(t, method, path, a); c.code != "" && got.code() != c.code {
					t.Errorf("%s, want %s", got.code(), c.code)
				}
			} else if c.code != "" {
				t.Errorf("the answer is not ours: %s", bodies[0])
			}
		})
	}
	if after := w.state(t); after != before {
		t.Errorf("broken requests have changed something:\n%s", difference(before, after))
	}

	t.Run("length and chunks are one request", func(t *testing.T) {
		// Whoever stands in front may take the length for right and the rest for the next request: it must not be one here.
		hidden := "0\r\n\r\nDELETE " + "/api/v1/tasks/" + w.task + " HTTP/1.1\r\n" + host + bearer + "\r\n"
		answers, bodies := w.raw(t, post+fmt.Sprintf("Content-Length: %d\r\n", len(hidden))+chunked+"\r\n"+hidden, 4, false)
		for i, a := range answers {
			if a.StatusCode < 400 {
				t.Errorf("%d: %s", a.StatusCode, bodies[i])
			}
		}
		w.get(t, w.owner, "/tasks/"+w.task)
	})
	t.Run("many in one go are answered in their order", func(t *testing.T) {
		one := "GET /api/v1/tasks/%s HTTP/1.1\r\n" + host + bearer + "\r\n"
		var sent strings.Builder
		for i := range 20 {
			id := w.task
			if i%2 == 1 {
				id = w.theirTask
			}
			fmt.Fprintf(&sent, one, id)
		}
		sent.WriteString(get + last + "\r\n")
		answers, bodies := w.raw(t, sent.String(), 21, false)
		if len(answers) != 21 {
			t.Fatalf("%d answers", len(answers))
		}
		ids := map[string]bool{}
		for i, a := range answers {
			ids[a.Header.Get("X-Request-Id")] = true
			if want := []int{200, 404}[i%2]; a.StatusCode != want && i < 20 {
				t.Errorf("answer %d is %d: %s", i, a.StatusCode, bodies[i])
			}
		}
		if len(ids) != 21 {
			t.Errorf("21 answers have %d ids", len(ids))
		}
	})
	t.Run("who asks is told by the request, not by the connection", func(t *testing.T) {
		answers, _ := w.raw(t, get+bearer+"\r\n"+get+last+"\r\n", 3, false)
		if len(answers) != 2 || answers[0].StatusCode != http.StatusOK || answers[1].StatusCode != http.StatusUnauthorized {
			t.Errorf("the answers are %v", answers)
		}
	})
	t.Run("a whole address is a path", func(t *testing.T) {
		answers, _ := w.raw(t, "GET http://evil.example/api/v1/tasks HTTP/1.1\r\n"+host+bearer+last+"\r\n", 2, false)
		if len(answers) != 1 || answers[0].StatusCode != http.StatusOK {
			t.Errorf("the answers are %v", answers)
		}
	})
	t.Run("bodies that nobody reads", func(t *testing.T) {
		answers, _ := w.raw(t, get+bearer+"Content-Length: 5\r\n\r\nhello"+get+bearer+last+"\r\n", 3, false)
		if len(answers) != 2 || answers[0].StatusCode != http.StatusOK || answers[1].StatusCode != http.StatusOK {
			t.Errorf("the answers are %v", answers)
		}
	})
	t.Run("whoever hangs up is not our fault", func(t *testing.T) {
		for range 20 {
			answers, bodies := w.raw(t, strings.Repeat(get+bearer+"\r\n", 5), 6, true)
			for i, a := range answers {
				if a.StatusCode >= 500 {
					t.Errorf("%d: %s", a.StatusCode, bodies[i])
				}
			}
		}
	})
	w.get(t, w.owner, "/me")
}
