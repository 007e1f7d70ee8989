package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Client speaks to the API with one credential.
type Client struct {
	tb           testing.TB
	URL          string
	Credential   string
	Organization string // sent as Carnet-Organization, when not empty
	HTTP         *http.Client
}

// Anonymous returns a client without a credential.
func (s *Server) Anonymous() *Client {
	return &Client{tb: s.tb, URL: s.URL, HTTP: &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 128},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// With returns a client with the credential.
func (c *Client) With(credential string) *Client {
	with := *c
	with.Credential = credential
	return &with
}

// In returns a client that names an organization.
func (c *Client) In(slug string) *Client {
	in := *c
	in.Organization = slug
	return &in
}

// Through returns a client that asks another node.
func (c *Client) Through(url string) *Client {
	through := *c
	through.URL = url
	return &through
}

// SignIn returns a client with a fresh session of the person.
func (s *Server) SignIn(email string) *Client {
	s.tb.Helper()
	c := s.Anonymous()
	answer := c.Do("POST", "/auth/sign-in", map[string]any{"email": email, "password": Password, "as": "bearer"})
	answer.Want(http.StatusOK)
	value, _ := answer.At("session", "value").(string)
	if value == "" {
		s.tb.Fatalf("sign-in of %s gave no value: %s", email, answer.Body)
	}
	return c.With(value)
}

// Answer is what the server said.
type Answer struct {
	tb     testing.TB
	what   string
	Status int
	Header http.Header
	Body   []byte
}

// besideTheAPI are beginnings of paths that are not below the API's.
var besideTheAPI = []string{"//", "/openapi.json", "/readyz", "/mcp", "/oauth/", "/.well-known/"}

// Do sends a request to the API and returns the answer. A body that is no string or bytes is sent as JSON.
func (c *Client) Do(method, path string, body any, headers ...string) *Answer {
	c.tb.Helper()
	answer, err := c.Try(method, path, body, headers...)
	if err != nil {
		c.tb.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

// Try is Do for servers that may be gone.
func (c *Client) Try(method, path string, body any, headers ...string) (*Answer, error) {
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(b)
	case []byte:
		content = bytes.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	url := c.URL + path
	if !slices.ContainsFunc(besideTheAPI, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
		url = c.URL + "/api/v1" + path
	}
	request, err := http.NewRequestWithContext(context.Background(), method, url, content)
	if err != nil {
		return nil, err
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.Credential != "" {
		request.Header.Set("Authorization", "Bearer "+c.Credential)
	}
	if c.Organization != "" {
		request.Header.Set("Carnet-Organization", c.Organization)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := c.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	return &Answer{tb: c.tb, what: method + " " + path, Status: answer.StatusCode, Header: answer.Header, Body: read}, nil
}

// Want expects a status, and returns the answer.
func (a *Answer) Want(status int) *Answer {
	a.tb.Helper()
	if a.Status != status {
		a.tb.Fatalf("%s: status %d, want %d\n%s", a.what, a.Status, status, a.Body)
	}
	return a
}

// WantCode expects a refusal.
func (a *Answer) WantCode(status int, code string) *Answer {
	a.tb.Helper()
	if a.Status != status || a.Code() != code {
		a.tb.Fatalf("%s: %d %s, want %d %s\n%s", a.what, a.Status, a.Code(), status, code, a.Body)
	}
	return a
}

// Code returns the problem's code, "" when the answer is none.
func (a *Answer) Code() string {
	code, _ := a.At("code").(string)
	return code
}

// At returns the value at a path in the JSON answer, nil when there is none.
func (a *Answer) At(path ...any) any {
	var value any
	if err := json.Unmarshal(a.Body, &value); err != nil {
		return nil
	}
	for _, step := range path {
		switch s := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			value = object[s]
		case int:
			array, _ := value.([]any)
			if s >= len(array) {
				return nil
			}
			value = array[s]
		}
	}
	return value
}

// Text is At for text.
func (a *Answer) Text(path ...any) string {
	a.tb.Helper()
	text, ok := a.At(path...).(string)
	if !ok {
		a.tb.Fatalf("%s: no text at %v in %s", a.what, path, a.Body)
	}
	return text
}

// Into decodes the answer.
func (a *Answer) Into(value any) {
	a.tb.Helper()
	if err := json.Unmarshal(a.Body, value); err != nil {
		a.tb.Fatalf("%s: %v in %s", a.what, err, a.Body)
	}
}

// CreateToken makes a token with a session and returns its id and value.
func (c *Client) CreateToken(organization string, scopes, projects []string) (id, value string) {
	c.tb.Helper()
	body := map[string]any{"name": "Test token", "organization": organization, "scopes": scopes}
	if projects != nil {
		body["projects"] = projects
	}
	answer := c.Do("POST", "/tokens", body).Want(http.StatusCreated)
	return answer.Text("token", "id"), answer.Text("value")
}

// CreateProject makes a project with a session and returns its id.
func (c *Client) CreateProject(key, name, visibility string) string {
	c.tb.Helper()
	return c.Do("POST", "/projects", map[string]any{"key": key, "name": name, "visibility": visibility}).Want(http.StatusCreated).Text("id")
}

// CreateTask makes a task and returns its id.
func (c *Client) CreateTask(project, title string) string {
	c.tb.Helper()
	return c.Do("POST", "/projects/"+project+"/tasks", map[string]any{"title": title}).Want(http.StatusCreated).Text("id")
}
