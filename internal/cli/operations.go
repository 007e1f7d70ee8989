package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
)

// operation is one method and path of the API, as its OpenAPI document describes it.
type operation struct {
	method   string
	template []string // the path's segments below /api/v1, such as "tasks", "{id}"

	scopes  []string // the least that lets a token through
	session bool     // no token may call it
}

// String returns the operation as people write it: "GET /tasks/{id}".
func (o operation) String() string { return o.method + " /" + strings.Join(o.template, "/") }

// readOperations fetches the server's own description of its API, so that the scopes that a call needs are the ones of
// that server's version.
func (c *client) readOperations(ctx context.Context) ([]operation, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+"/openapi.json", nil)
	if err != nil {
		return nil, Usage("That server's URL cannot be used.")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, unreachable(c.server, err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return nil, unreachable(c.server, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, refused(response, text)
	}
	operations, err := parseOperations(text)
	if err != nil {
		return nil, &Failure{Exit: ExitFailed, Message: "The description of the API at " + c.server + "/openapi.json cannot be read", cause: err}
	}
	return operations, nil
}

// parseOperations reads an OpenAPI 3.1 document. The extension x-carnet-scopes lists the scopes any one of which lets a
// token through, least first; where an operation lacks it, its security requirements say the same. One whose
// requirements name only sessions and cookies is closed to tokens.
func parseOperations(text []byte) ([]operation, error) {
	type requirements []map[string][]string
	var document struct {
		Security requirements                          `json:"security"`
		Paths    map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	var operations []operation
	for path, item := range document.Paths {
		for method, raw := range item {
			method = strings.ToUpper(method)
			if !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"}, method) {
				continue // a path's own parameters, summary and the like
			}
			described := struct {
				Scopes   *[]string    `json:"x-carnet-scopes"`
				Security requirements `json:"security"`
			}{Security: document.Security}
			if err := json.Unmarshal(raw, &described); err != nil {
				return nil, err
			}
			op := operation{method: method, template: segments(path)}
			op.scopes, op.session = tokenScopes(described.Security)
			if described.Scopes != nil {
				op.scopes = (*described.Scopes)[:min(1, len(*described.Scopes))]
			}
			operations = append(operations, op)
		}
	}
	slices.SortFunc(operations, func(a, b operation) int { return strings.Compare(a.String(), b.String()) })
	return operations, nil
}

// tokenScopes returns the scopes of the first requirement that a token can meet; session is true when there are
// requirements and none is for tokens.
func tokenScopes(requirements []map[string][]string) (scopes []string, session bool) {
	for _, requirement := range requirements {
		forTokens := true
		var needed []string
		for scheme, scopes := range requirement {
			if scheme == "session" || scheme == "cookie" {
				forTokens = false
			}
			needed = append(needed, scopes...)
		}
		if forTokens {
			return needed, false
		}
	}
	return nil, len(requirements) > 0
}

func segments(path string) []string {
	path, _, _ = strings.Cut(path, "?")
	path = strings.TrimPrefix(path, apiBase)
	return strings.Split(strings.Trim(path, "/"), "/")
}

// leastScopes returns the fewest scopes with which a token can make all the calls, each written as "GET /tasks".
func leastScopes(operations []operation, calls []string) ([]string, error) {
	var scopes []string
	for _, text := range calls {
		op, err := findOperation(operations, text)
		if err != nil {
			return nil, err
		}
		if op.session {
			return nil, Usage("No token can call %s: it needs a person's sign-in.", op)
		}
		scopes = append(scopes, op.scopes...)
	}
	return reduce(scopes), nil
}

// reduce sorts scopes and drops repeats and every read that the write of the same resource includes.
func reduce(scopes []string) []string {
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool {
		resource, isRead := strings.CutSuffix(scope, ":read")
		return isRead && slices.Contains(scopes, resource+":write")
	})
}

// findOperation returns the operation that a call such as "GET /tasks/tsk_01" reaches. A path that is spelled out wins
// over one with parameters.
func findOperation(operations []operation, text string) (operation, error) {
	method, path, two := strings.Cut(strings.TrimSpace(text), " ")
	path = strings.TrimSpace(path)
	if !two || !strings.HasPrefix(path, "/") {
		return operation{}, Usage(`A call is a method and a path, such as --for "GET /tasks".`)
	}
	method = strings.ToUpper(method)
	wanted := segments(path)
	var best *operation
	fewest := len(wanted) + 1
	var near []string
	for i, op := range operations {
		if op.template[0] == wanted[0] && !op.session {
			near = append(near, op.String())
		}
		if parameters, ok := match(op.template, wanted); ok && op.method == method && parameters < fewest {
			best, fewest = &operations[i], parameters
		}
	}
	if best != nil {
		return *best, nil
	}
	failure := &Failure{Exit: ExitUsage, Message: "The server's API has no call " + method + " /" + strings.Join(wanted, "/") + "."}
	if len(near) > 0 {
		failure.Hints = append([]string{"It has:"}, near...)
	}
	return operation{}, failure
}

// match reports whether a path fits a template, and how many parameters it took.
func match(template, path []string) (parameters int, ok bool) {
	if len(template) != len(path) {
		return 0, false
	}
	for i, segment := range template {
		switch {
		case strings.HasPrefix(segment, "{"):
			parameters++
		case segment != path[i]:
			return 0, false
		}
	}
	return parameters, true
}
