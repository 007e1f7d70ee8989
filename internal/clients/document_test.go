package clients

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/db"
	"carnet/internal/storetest"
)

// host serves a client's document over TLS, on loopback, which the service is told to reach here.
type host struct {
	*httptest.Server
	service *Service
	serve   atomic.Pointer[http.HandlerFunc]
	asked   atomic.Int64
	late    time.Duration
}

func newHost(t *testing.T, d *db.DB, from func(netip.Addr) bool) *host {
	t.Helper()
	h := &host{}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		(*h.serve.Load())(w, r)
	}))
	t.Cleanup(h.Close)
	h.service = New(Config{DB: d, Now: func() time.Time { return time.Now().Add(h.late) }, Log: slog.New(slog.DiscardHandler), PublicURL: "https://carnet.example", Documents: true, MayFetch: from})
	pool := x509.NewCertPool()
	pool.AddCert(h.Certificate())
	h.service.fetcher.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12} //nolint:forcetypeassert // made in New
	return h
}

func (h *host) answer(f func(w http.ResponseWriter, r *http.Request)) {
	handler := http.HandlerFunc(f)
	h.serve.Store(&handler)
}

func anywhere(netip.Addr) bool { return true }

// D7: a document is fetched within limits, kept for as long as it says, and must describe the client whose id leads to it.
func TestD7DocumentsAreFetchedWithinLimits(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHost(t, d, anywhere)
		id := h.URL + "/client.json"
		good := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			_ = json.NewEncoder(w).Encode(map[string]any{"client_id": id, "client_name": "Good", "redirect_uris": []string{"http://localhost/cb", "javascript:alert(1)"}, "extra": 1})
		}
		bad := map[string]func(w http.ResponseWriter, r *http.Request){
			"another client": func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"client_id":"https://other.example/c","redirect_uris":["http://localhost/cb"]}`))
			},
			"a secret": func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"client_id":"` + id + `","token_endpoint_auth_method":"client_secret_post","redirect_uris":["http://localhost/cb"]}`))
			},
			"no redirect URIs": func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"client_id":"` + id + `","redirect_uris":["http://evil.example/"]}`))
			},
			"no JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
			"not found": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
			"too large": func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(strings.Repeat(" ", documentLimit+1)))
			},
			"plain http": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://127.0.0.1:1/x", http.StatusFound)
			},
		}
		for name, serve := range bad {
			h.answer(serve)
			if c, err := h.service.client(t.Context(), d.Read(), id); !is(err, InvalidClient) {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
		}
		hops := 0
		h.answer(func(w http.ResponseWriter, r *http.Request) {
			if hops++; hops <= 2 {
				http.Redirect(w, r, h.URL+"/hop", http.StatusFound)
				return
			}
			good(w, r)
		})
		if _, err := h.service.client(t.Context(), d.Read(), id); !is(err, InvalidClient) {
			t.Errorf("two redirects: %v", err)
		}
		hops = 1
		c, err := h.service.client(t.Context(), d.Read(), id)
		if err != nil || c.Name != "Good" || !strings.HasPrefix(c.Host, "127.0.0.1:") || len(c.RedirectURIs) != 1 || c.AuthMethod != "none" {
			t.Fatalf("one redirect: %+v, %v", c, err)
		}
		before := h.asked.Load()
		if _, err := h.service.client(t.Context(), d.Read(), id); err != nil || h.asked.Load() != before {
			t.Errorf("a fresh copy is not used: %v", err)
		}
		h.late = 11 * time.Minute
		h.answer(bad["not found"])
		if c, err := h.service.client(t.Context(), d.Read(), id); err != nil || c.Name != "Good" || h.asked.Load() == before {
			t.Errorf("the last good copy is not used: %+v, %v", c, err)
		}
		for _, id := range []string{"https://h.example", "https://h.example/", "https://u@h.example/c", "https://h.example/c#f", "https://h.example/a/../c", "https://" + strings.Repeat("a", 3000)} {
			if _, err := h.service.client(t.Context(), d.Read(), id); !is(err, InvalidClient) {
				t.Errorf("%.60s: %v", id, err)
			}
		}
	})
}

// D7: whatever a name resolves to, nothing but public addresses is reached.
func TestD7NothingInsideIsReached(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHost(t, d, nil)
		h.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
		for _, id := range []string{h.URL + "/c.json", strings.Replace(h.URL, "127.0.0.1", "localhost", 1) + "/c.json", "https://[::1]:1/c.json", "https://0.0.0.0:1/c", "https://169.254.169.254/latest"} {
			if _, err := h.service.client(t.Context(), d.Read(), id); !is(err, InvalidClient) {
				t.Errorf("%s: %v", id, err)
			}
		}
		if n := h.asked.Load(); n != 0 {
			t.Errorf("an inner address was asked %d times", n)
		}
	})
}

func TestFreshnessIsBounded(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"": time.Hour, "max-age=600": 10 * time.Minute, "public, MAX-AGE=1": shortestFresh, "max-age=99999999": longestFresh, "no-store": shortestFresh, "max-age=x": time.Hour, "max-age=-5": shortestFresh,
	} {
		if got := freshness(header); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}
