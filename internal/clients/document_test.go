package clients

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carnet/internal/db"
	"carnet/internal/problem"
	"carnet/internal/request"
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
		}
		for name, serve := range bad {
			h.late += time.Minute
			h.answer(serve)
			if c, err := h.service.client(t.Context(), d.Read(), id); !is(err, InvalidClient) {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
		}
		h.late += time.Minute
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
		h.late += time.Minute
		hops = 1
		c, err := h.service.client(t.Context(), d.Read(), id)
		if err != nil || c.Name != "Good" || !strings.HasPrefix(c.Host, "127.0.0.1:") || len(c.RedirectURIs) != 1 || c.AuthMethod != "none" {
			t.Fatalf("one redirect: %+v, %v", c, err)
		}
		before := h.asked.Load()
		if _, err := h.service.client(t.Context(), d.Read(), id); err != nil || h.asked.Load() != before {
			t.Errorf("a fresh copy is not used: %v", err)
		}
		h.late += 11 * time.Minute
		h.answer(bad["not found"])
		if c, err := h.service.client(t.Context(), d.Read(), id); err != nil || c.Name != "Good" || h.asked.Load() == before {
			t.Errorf("the last good copy is not used: %+v, %v", c, err)
		}
		for _, id := range []string{"https://h.example", "https://h.example/", "https://u@h.example/c", "https://h.example/c#f", "https://h.example/a/../c", "https://" + strings.Repeat("a", 3000), "https:///c"} {
			if _, err := h.service.client(t.Context(), d.Read(), id); !is(err, InvalidClient) {
				t.Errorf("%.60s: %v", id, err)
			}
		}
	})
}

// D7: a client's address is one that people can read where it is shown, and where a web server may be.
func TestD7AClientsAddressIsPlain(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"https://h.example/c": true, "https://H.example:443/c": true, "https://h.example:1024/c": true, "https://h.example:65535/c?x=1": true, "https://xn--bcher-kva.example/c": true, "https://[2001:db8::1]:8443/c": true,
		"https://h.example:442/c": false, "https://h.example:22/c": false, "https://h.example:1023/c": false, "https://h.example:0/c": false, "https://h.example:65536/c": false, "https://h.example:/c": false,
		"https://bücher.example/c": false, "https://h.example\u202e/c": false, "https://%E2%80%AEh.example/c": false, "https://h%C3%A9.example/c": false, "https://clаude.ai/c": false, "https://h_.example/c": false,
	} {
		u, err := documentURL(address)
		if (err == nil) != want || err != nil && !is(err, InvalidClient) {
			t.Errorf("%q: %v, %v", address, u, err)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r > 0x7e }) {
			t.Errorf("%q is repeated: %v", address, err)
		}
	}
}

// D7: a client that fetches or ends a token makes this server fetch nothing: its last copy serves, however old, or what is
// known of it.
func TestD7NothingIsFetchedForATokenOrItsEnd(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHost(t, d, anywhere)
		id := h.URL + "/client.json"
		h.answer(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"client_id":"` + id + `","redirect_uris":["http://localhost/cb"]}`))
		})
		ask := map[string]func(id string) error{
			"exchange": func(id string) error {
				_, err := h.service.Exchange(t.Context(), Exchange{Credentials: Credentials{ID: id}, GrantType: "authorization_code", Code: "x", Verifier: strings.Repeat("v", 43)})
				return err
			},
			"revoke": func(id string) error {
				_, err := h.service.authenticate(t.Context(), d.Read(), Credentials{ID: id})
				return err
			},
		}
		for what, do := range ask {
			if err := do(id); !is(err, InvalidClient) {
				t.Errorf("%s before anybody began: %v", what, err)
			}
		}
		if n := h.asked.Load(); n != 0 {
			t.Errorf("it was asked %d times", n)
		}
		if _, err := h.service.client(t.Context(), d.Read(), id); err != nil {
			t.Fatal(err)
		}
		h.late += 60 * 24 * time.Hour
		for _, id := range []string{id, "https://chatgpt.com/oauth/codex/client.json"} {
			if err := ask["exchange"](id); !is(err, InvalidGrant) {
				t.Errorf("%s: the client is not known: %v", id, err)
			}
			if err := ask["revoke"](id); err != nil {
				t.Errorf("%s: the client is not known: %v", id, err)
			}
		}
		if n := h.asked.Load(); n != 1 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

// D7: a redirect leads to public addresses and https alone, although somebody would answer elsewhere.
func TestD7ARedirectIsCheckedLikeTheAddressItself(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		var inner atomic.Bool
		h := newHost(t, d, func(netip.Addr) bool { return !inner.Load() })
		id := h.URL + "/client.json"
		document := []byte(`{"client_id":"` + id + `","redirect_uris":["http://localhost/cb"]}`)
		var asked atomic.Int64
		good := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); _, _ = w.Write(document) })
		plain, secure := httptest.NewServer(good), httptest.NewTLSServer(good)
		t.Cleanup(plain.Close)
		t.Cleanup(secure.Close)
		for _, c := range []struct {
			name, to string
			inner    bool
			want     int64
		}{
			{"plain http", plain.URL + "/client.json", false, 0}, {"no path", secure.URL + "/", false, 0}, {"a user", strings.Replace(secure.URL, "//", "//u@", 1) + "/client.json", false, 0},
			{"an inner address", secure.URL + "/client.json", true, 0}, {"a port of another service", "https://127.0.0.1:465/client.json", false, 0}, {"none of these", secure.URL + "/client.json", false, 1},
		} {
			h.late += time.Minute
			inner.Store(false)
			h.answer(func(w http.ResponseWriter, r *http.Request) {
				inner.Store(c.inner)
				http.Redirect(w, r, c.to, http.StatusFound)
			})
			_, err := h.service.client(t.Context(), d.Read(), id)
			if n := asked.Load(); n != c.want || (err == nil) != (c.want > 0) || err != nil && !is(err, InvalidClient) {
				t.Errorf("%s: asked %d times, %v", c.name, n, err)
			}
		}
	})
}

// D7: a server that does not answer, or not to the end, is given up.
func TestD7AServerThatIsSilentIsGivenUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHost(t, d, anywhere)
		if limit := h.service.fetcher.Timeout; limit <= 0 || limit > 5*time.Second {
			t.Errorf("it is waited for %v", limit)
		}
		h.service.fetcher.Timeout = 50 * time.Millisecond
		for name, begin := range map[string]func(w http.ResponseWriter){
			"silent": func(http.ResponseWriter) {},
			"half":   func(w http.ResponseWriter) { _, _ = w.Write([]byte("{")); _ = http.NewResponseController(w).Flush() },
		} {
			h.answer(func(w http.ResponseWriter, r *http.Request) { begin(w); <-r.Context().Done() })
			if _, err := h.service.client(t.Context(), d.Read(), h.URL+"/"+name); !is(err, InvalidClient) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := h.asked.Load(); n != 2 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

// D7: what is no document is as good as none, and the last copy serves; what a document says counts, also when it refuses.
func TestD7TheLatestWordOfADocumentCounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHost(t, d, anywhere)
		id := h.URL + "/client.json"
		says := func(text string) func(http.ResponseWriter, *http.Request) {
			return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
		}
		described := func(redirect string) func(http.ResponseWriter, *http.Request) {
			return says(`{"client_id":"` + id + `","redirect_uris":["` + redirect + `"]}`)
		}
		gone := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
		const first, second = "http://localhost/first", "http://localhost/second"
		for _, c := range []struct {
			name  string
			serve func(http.ResponseWriter, *http.Request)
			want  string // redirect URI of the client; none: it is refused
		}{
			{"nothing yet", says("<html>"), ""}, {"a document", described(first), first},
			{"a page", says("<html>"), first}, {"a list", says("[]"), first}, {"nobody's", says("{}"), first}, {"no text", says(`{"client_id":"` + id + "\xff\"}"), first}, {"gone", gone, first},
			{"another redirect URI", described(second), second}, {"gone again", gone, second},
			{"another client", says(`{"client_id":"https://other.example/c","redirect_uris":["` + second + `"]}`), ""}, {"gone after that", gone, ""}, {"a page after that", says("<html>"), ""},
			{"back", described(first), first}, {"no redirect URI that may be used", described("javascript:alert(1)"), ""}, {"gone at last", gone, ""},
		} {
			h.late += 25 * time.Hour // no copy is fresh
			h.answer(c.serve)
			got, err := h.service.client(t.Context(), d.Read(), id)
			if c.want == "" && !is(err, InvalidClient) || c.want != "" && (err != nil || got.RedirectURIs[0] != c.want) {
				t.Errorf("%s: %+v, %v", c.name, got, err)
			}
		}
	})
}

// D7: who asks for a document again that cannot be fetched does not wait again, for a minute; who hangs up decides nothing.
func TestD7AFailureIsRememberedForAMinute(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHost(t, d, anywhere)
		id := h.URL + "/client.json"
		look := func(ctx context.Context, what string, asked int64, works bool) {
			t.Helper()
			before := h.asked.Load()
			_, err := h.service.client(ctx, d.Read(), id)
			if got := h.asked.Load() - before; got != asked || (err == nil) != works {
				t.Errorf("%s: asked %d times, %v", what, got, err)
			}
		}
		impatient, hangUp := context.WithCancel(t.Context())
		h.answer(func(_ http.ResponseWriter, r *http.Request) { hangUp(); <-r.Context().Done() })
		look(impatient, "somebody hangs up", 1, false)
		h.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
		look(t.Context(), "it fails", 1, false)
		look(t.Context(), "again", 0, false)
		h.answer(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"client_id":"` + id + `","redirect_uris":["http://localhost/cb"]}`))
		})
		look(t.Context(), "it would work again", 0, false)
		h.late += time.Minute
		look(t.Context(), "a minute later", 1, true)
		h.late += 2 * time.Hour
		h.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
		look(t.Context(), "it fails when there is a copy", 1, true)
		look(t.Context(), "again with a copy", 0, true)
		for i := range 3 * mostFailures {
			h.service.failed.note(strconv.Itoa(i), h.service.Now())
		}
		if n := len(h.service.failed.until); n > mostFailures {
			t.Errorf("%d failures are remembered", n)
		}
	})
}

// D7: nobody has to be signed in to make this server fetch a document, so that whoever has begun too often makes it fetch
// nothing.
func TestD7WhoBeginsTooOftenHasNothingFetched(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHost(t, d, anywhere)
		noon := time.Now()
		h.service.Now = func() time.Time { return noon }
		h.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
		begin := func(address, clientID string) error {
			ctx := request.With(t.Context(), &request.Info{Address: netip.MustParseAddr(address)})
			_, err := h.service.Begin(ctx, url.Values{"client_id": {clientID}}, "the cookie of a browser")
			return err
		}
		for i := range beginsPerMinute {
			if err := begin("203.0.113.7", "nobody"); !problem.Is(err, problem.RequestMalformed) {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		if err := begin("203.0.113.7", h.URL+"/c"); !problem.Is(err, problem.RateLimited) || h.asked.Load() != 0 {
			t.Errorf("one too many: %v, asked %d times", err, h.asked.Load())
		}
		if err := begin("203.0.113.8", h.URL+"/c"); !problem.Is(err, problem.RequestMalformed) || h.asked.Load() != 1 {
			t.Errorf("from elsewhere: %v, asked %d times", err, h.asked.Load())
		}
	})
}

// D7: whatever a name resolves to, nothing but public addresses is reached.
func TestD7NothingInsideIsReached(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHost(t, d, nil)
		h.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
		for _, id := range []string{h.URL + "/c.json", strings.Replace(h.URL, "127.0.0.1", "localhost", 1) + "/c.json", "https://[::1]:1024/c.json", "https://0.0.0.0:1024/c", "https://169.254.169.254/latest"} {
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
