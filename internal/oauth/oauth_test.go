package oauth_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"carnet/internal/house"
)

// town is a whole server.
type town struct {
	t      *testing.T
	url    string
	public string
}

func newTown(t *testing.T, public string, plan house.Plan, oauth bool) *town {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	w := &town{t: t, url: "http://" + server.Listener.Addr().String(), public: public}
	if public == "" {
		w.public = w.url
	}
	plan.Data, plan.PublicURL, plan.Log = t.TempDir(), w.public, slog.New(slog.DiscardHandler)
	plan.Fatal = func(err error) { t.Errorf("the store stopped: %v", err) }
	h, err := house.Build(t.Context(), plan)
	must(t, err)
	t.Cleanup(func() {
		if err := h.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(w.public)
	must(t, err)
	doors, _, err := h.Doors(house.Front{PublicURL: u, Version: "test", OAuth: oauth})
	must(t, err)
	server.Config.Handler = doors
	server.Start()
	t.Cleanup(server.Close)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type reply struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (w *town) send(method, path, kind, body string, headers ...string) reply {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	must(w.t, err)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	must(w.t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	must(w.t, err)
	out := reply{status: answer.StatusCode, header: answer.Header, text: string(text)}
	_ = json.Unmarshal(text, &out.body)
	return out
}

const (
	formKind = "application/x-www-form-urlencoded"
	jsonKind = "application/json"
)

// A1 to A4, A6, A7: the documents say what there is, whatever the request claims about where it came in.
func TestATheDocumentsSayWhatThereIs(t *testing.T) {
	t.Parallel()
	const public = "https://carnet.example"
	for _, documents := range []bool{false, true} {
		w := newTown(t, public, house.Plan{Documents: documents}, true)
		forged := []string{"Host", "evil.example", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http", "X-Forwarded-Port", "81", "Forwarded", "host=evil.example;proto=http"}
		var first string
		for _, path := range []string{"/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"} {
			for _, headers := range [][]string{nil, forged} {
				r := w.send("GET", path, "", "", headers...)
				if r.status != http.StatusOK || r.header.Get("Content-Type") != jsonKind || r.header.Get("Access-Control-Allow-Origin") != "*" ||
					r.body["resource"] != public+"/mcp" || !reflect.DeepEqual(r.body["authorization_servers"], []any{public}) || !reflect.DeepEqual(r.body["bearer_methods_supported"], []any{"header"}) ||
					strings.Contains(r.text, "offline_access") || !strings.Contains(r.text, "tasks:write") {
					t.Errorf("A1, A2, A7 %s: %d %v\n%s", path, r.status, r.header, r.text)
				}
				if first == "" {
					first = r.text
				}
				if r.text != first {
					t.Errorf("A2, A7 %s differs: %s", path, r.text)
				}
			}
		}
		r := w.send("GET", "/.well-known/oauth-authorization-server", "", "")
		if other := w.send("GET", "/.well-known/oauth-authorization-server", "", "", forged...); other.status != http.StatusOK || other.text != r.text {
			t.Errorf("A7: forged headers make it %d %s", other.status, other.text)
		}
		want := map[string]any{
			"issuer": public, "authorization_endpoint": public + "/oauth/authorize", "token_endpoint": public + "/oauth/token", "registration_endpoint": public + "/oauth/register",
			"revocation_endpoint": public + "/oauth/revoke", "authorization_response_iss_parameter_supported": true,
		}
		for name, value := range want {
			if r.body[name] != value {
				t.Errorf("A3: %s is %v", name, r.body[name])
			}
		}
		for name, value := range map[string][]any{
			"response_types_supported": {"code"}, "code_challenge_methods_supported": {"S256"}, "grant_types_supported": {"authorization_code"},
			"token_endpoint_auth_methods_supported": {"none", "client_secret_post", "client_secret_basic"},
		} {
			if !reflect.DeepEqual(r.body[name], value) {
				t.Errorf("A3: %s is %v", name, r.body[name])
			}
		}
		if got, ok := r.body["client_id_metadata_document_supported"]; ok != documents || ok && got != true {
			t.Errorf("A4: with documents %t it says %v", documents, got)
		}
		for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/", "/.well-known/oauth-protected-resource/api", "/.well-known/oauth-authorization-server/mcp", "/.well-known/jwks.json"} {
			if r := w.send("GET", path, "", "", "Accept", "text/html"); r.status != http.StatusNotFound || strings.Contains(r.header.Get("Content-Type"), "html") {
				t.Errorf("A6 %s: %d %s", path, r.status, r.header.Get("Content-Type"))
			}
		}
	}
}

// Turned off, there is nothing to discover, and nothing that pretends.
func TestWithoutOAuthNothingIsDiscovered(t *testing.T) {
	t.Parallel()
	w := newTown(t, "", house.Plan{}, false)
	for _, path := range []string{"/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server", "/oauth/authorize", "/oauth/token"} {
		if r := w.send("GET", path, "", ""); r.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	if r := w.send("POST", "/oauth/register", jsonKind, `{"redirect_uris":["http://127.0.0.1/cb"]}`); r.status == http.StatusCreated {
		t.Error("a client was taken in")
	}
	if r := w.send("POST", "/mcp", jsonKind, `{}`); r.status != http.StatusUnauthorized || strings.Contains(r.header.Get("WWW-Authenticate"), "resource_metadata") {
		t.Errorf("/mcp: %d %s", r.status, r.header.Get("WWW-Authenticate"))
	}
}

// D1, D2: the very bodies that clients send are taken in.
func TestD1WhatClientsSendIsTakenIn(t *testing.T) {
	t.Parallel()
	w := newTown(t, "", house.Plan{}, true)
	files, err := filepath.Glob("testdata/register/*.json")
	must(t, err)
	if len(files) < 6 {
		t.Fatalf("only %d clients", len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		var sent map[string]any
		must(t, json.Unmarshal(text, &sent))
		r := w.send("POST", "/oauth/register", jsonKind, string(text))
		if r.status != http.StatusCreated || r.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(r.body["client_id"].(string), "cli_") || r.body["client_id_issued_at"].(float64) < 1e9 ||
			!reflect.DeepEqual(r.body["redirect_uris"], sent["redirect_uris"]) || !reflect.DeepEqual(r.body["grant_types"], []any{"authorization_code"}) || r.body["client_secret"] != nil {
			t.Errorf("%s: %d %s", file, r.status, r.text)
		}
	}
	for name, c := range map[string]struct{ body, code string }{
		"no list":        {`{"redirect_uris":"http://127.0.0.1/cb"}`, "invalid_redirect_uri"},
		"none":           {`{}`, "invalid_redirect_uri"},
		"a script":       {`{"redirect_uris":["javascript:alert(1)"]}`, "invalid_redirect_uri"},
		"no JSON":        {`hello`, "invalid_client_metadata"},
		"a list":         {`[]`, "invalid_client_metadata"},
		"too large":      {`{"client_name":"` + strings.Repeat("x", 70_000) + `"}`, "invalid_client_metadata"},
		"unknown method": {`{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"private_key_jwt"}`, "invalid_client_metadata"},
	} {
		if r := w.send("POST", "/oauth/register", jsonKind, c.body); r.status != http.StatusBadRequest || r.body["error"] != c.code || r.body["error_description"] == "" {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	odd := `{"redirect_uris":["http://127.0.0.1/cb"],"client_name":5,"scope":["a"],"contacts":7,"jwks":{},"logo_uri":[]}`
	if r := w.send("POST", "/oauth/register", jsonKind, odd); r.status != http.StatusCreated {
		t.Errorf("D2: odd metadata: %d %s", r.status, r.text)
	}
}

// F1, D8: what the token endpoint refuses, in which words.
func TestF1TheTokenEndpointRefusesInTheWordsOfTheStandard(t *testing.T) {
	t.Parallel()
	w := newTown(t, "", house.Plan{}, true)
	client := w.send("POST", "/oauth/register", jsonKind, `{"redirect_uris":["http://127.0.0.1/cb"]}`).body["client_id"].(string)
	secret := w.send("POST", "/oauth/register", jsonKind, `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"client_secret_basic"}`)
	verifier := strings.Repeat("v", 43)
	full := "grant_type=authorization_code&code=x&code_verifier=" + verifier + "&client_id="
	for _, c := range []struct {
		name, kind, body string
		headers          []string
		status           int
		code             string
	}{
		{"JSON", jsonKind, `{"grant_type":"authorization_code"}`, nil, 400, "invalid_request"},
		{"no kind", "", full + client, nil, 400, "invalid_request"},
		{"empty", formKind, "", nil, 400, "invalid_request"},
		{"no client", formKind, full, nil, 400, "invalid_request"},
		{"twice", formKind, full + client + "&code=y", nil, 400, "invalid_request"},
		{"unknown grant", formKind, "grant_type=password&client_id=" + client, nil, 400, "unsupported_grant_type"},
		{"refresh", formKind, "grant_type=refresh_token&refresh_token=x&client_id=" + client, nil, 400, "unsupported_grant_type"},
		{"unknown client", formKind, full + "cli_00000000000000000000000000", nil, 401, "invalid_client"},
		{"made-up code", formKind, full + client, nil, 400, "invalid_grant"},
		{"in the query", formKind, "", nil, 400, "invalid_request"},
		{"a wrong secret", formKind, full, []string{"Authorization", "Basic " + basic(secret.body["client_id"].(string), "wrong")}, 401, "invalid_client"},
		{"the right secret", formKind, full, []string{"Authorization", "Basic " + basic(secret.body["client_id"].(string), secret.body["client_secret"].(string))}, 400, "invalid_grant"},
		{"two ways", formKind, full + "other&client_secret=x", []string{"Authorization", "Basic " + basic(secret.body["client_id"].(string), "y")}, 400, "invalid_request"},
		{"broken", formKind, "%zz", nil, 400, "invalid_request"},
		{"too large", formKind, "a=" + strings.Repeat("x", 70_000), nil, 400, "invalid_request"},
	} {
		path := "/oauth/token"
		if c.name == "in the query" {
			path += "?" + full + client
		}
		r := w.send("POST", path, c.kind, c.body, c.headers...)
		if r.status != c.status || r.body["error"] != c.code || r.header.Get("Cache-Control") != "no-store" || r.header.Get("Access-Control-Allow-Origin") != "*" || r.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %s %v", c.name, r.status, r.text, r.header)
		}
		if c.status == http.StatusUnauthorized && len(c.headers) > 0 && !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Basic") {
			t.Errorf("%s: no challenge (RFC 6749 section 5.2)", c.name)
		}
	}
	// Pages of other sites may call these: nothing there looks at a cookie.
	cross := []string{"Origin", "https://inspector.example", "Sec-Fetch-Site", "cross-site"}
	if r := w.send("POST", "/oauth/token", formKind, full+client, cross...); r.body["error"] != "invalid_grant" {
		t.Errorf("another site's page: %d %s", r.status, r.text)
	}
	if r := w.send("POST", "/api/v1/auth/sign-in", jsonKind, `{}`, cross...); r.status != http.StatusForbidden {
		t.Errorf("and elsewhere: %d", r.status)
	}
	if r := w.send("OPTIONS", "/oauth/token", "", "", "Origin", "https://inspector.example", "Access-Control-Request-Method", "POST"); r.status != http.StatusNoContent || r.header.Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("preflight: %d %v", r.status, r.header)
	}
	if r := w.send("GET", "/oauth/token", "", ""); r.status != http.StatusMethodNotAllowed || !strings.Contains(r.header.Get("Allow"), "POST") {
		t.Errorf("GET: %d", r.status)
	}
	for body, status := range map[string]int{"token=x&client_id=" + client: 200, "client_id=" + client: 400, "token=x": 400, "token=x&client_id=cli_00000000000000000000000000": 401} {
		if r := w.send("POST", "/oauth/revoke", formKind, body); r.status != status {
			t.Errorf("G7 revoke %s: %d %s", body, r.status, r.text)
		}
	}
}

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// D6: who registers or asks too often waits, in words that clients understand; the endpoints do not share their allowance.
func TestD6WhoAsksTooOftenWaits(t *testing.T) {
	t.Parallel()
	w := newTown(t, "", house.Plan{}, true)
	var r reply
	for range 2000 {
		if r = w.send("POST", "/oauth/token", formKind, "grant_type=authorization_code"); r.status != http.StatusBadRequest {
			break
		}
	}
	if r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" || r.body["error"] != "slow_down" || r.body["error_description"] == "" {
		t.Errorf("the token endpoint: %d %v %s", r.status, r.header, r.text)
	}
	if r := w.send("POST", "/oauth/register", jsonKind, `{"redirect_uris":["http://127.0.0.1/cb"]}`); r.status != http.StatusCreated {
		t.Errorf("registration: %d %s", r.status, r.text)
	}
	for range 210 {
		if r = w.send("POST", "/oauth/register", jsonKind, `{"redirect_uris":["http://127.0.0.1/cb"]}`); r.status != http.StatusCreated {
			break
		}
	}
	if r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" || r.body["error"] != "slow_down" {
		t.Errorf("registrations: %d %v %s", r.status, r.header, r.text)
	}
}
