package problem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"carnet/access"
	"carnet/internal/problem"
)

// contract is the table of the public contract, and below it what the contract is silent about.
var contract = map[problem.Code]int{
	"request_malformed": 400, "cursor_invalid": 400, "organization_required": 400,
	"credential_missing": 401, "token_invalid": 401, "token_revoked": 401, "token_expired": 401, "session_ended": 401,
	"token_inert": 403, "token_paused": 403, "signin_required": 403, "reauthentication_required": 403, "scope_missing": 403,
	"project_restricted": 403, "role_insufficient": 403, "email_unverified": 403, "policy_denied": 403,
	"not_found": 404, "conflict": 409, "idempotency_conflict": 409, "version_stale": 412, "too_large": 413, "media_type": 415,
	"validation_failed": 422, "widening_refused": 422, "rate_limited": 429, "verification_unavailable": 503, "overloaded": 503,

	"method_not_allowed": 405, "credentials_wrong": 401, "code_invalid": 422, "cross_origin": 403, "internal": 500,
}

func TestEveryCodeHasTheStatusOfTheContract(t *testing.T) {
	t.Parallel()
	for code, status := range contract {
		if code.Status() != status {
			t.Errorf("%s is %d, not %d", code, code.Status(), status)
		}
		if http.StatusText(status) == "" {
			t.Errorf("%s has no title", code)
		}
	}
	codes := problem.Codes()
	if len(codes) != len(contract) {
		t.Errorf("there are %d codes, the contract has %d", len(codes), len(contract))
	}
	for _, code := range codes {
		if _, ok := contract[code]; !ok {
			t.Errorf("%s is in no contract", code)
		}
	}
	if problem.Code("made_up").Status() != http.StatusInternalServerError {
		t.Error("an unknown code is not our fault")
	}
}

// TestEveryDeclaredCodeIsListed reads the source, so that a constant without a status cannot be forgotten.
func TestEveryDeclaredCodeIsListed(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`Code\s+= "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(declared) < 30 {
		t.Fatalf("only %d codes were found", len(declared))
	}
	for _, d := range declared {
		if !slices.Contains(problem.Codes(), problem.Code(d[1])) {
			t.Errorf("%s has no status", d[1])
		}
	}
}

func answer(err error) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	problem.Write(w, "req_1", err)
	return w
}

func TestAnswerIsAProblemDocument(t *testing.T) {
	t.Parallel()
	for _, code := range problem.Codes() {
		w := answer(fmt.Errorf("while testing: %w", problem.New(code, "What to do next.")))
		if w.Code != code.Status() || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s answers %d with %v", code, w.Code, w.Header())
		}
		var document map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"type": "about:blank", "title": http.StatusText(w.Code), "status": float64(w.Code), "code": string(code),
			"detail": "What to do next.", "request_id": "req_1",
		}
		for name, value := range want {
			if document[name] != value {
				t.Errorf("%s: %s is %v, not %v", code, name, document[name], value)
			}
		}
		if len(document) != len(want) {
			t.Errorf("%s says more: %v", code, document)
		}
	}
}

func TestHeadersThatBelongToCodes(t *testing.T) {
	t.Parallel()
	member := access.Caller{Kind: access.TokenCaller, Organization: "o", Role: access.Member}
	scope := problem.RequireMay(&member, access.TasksRead)
	limited := &problem.Error{Code: problem.RateLimited, RetryAfter: 7, Limit: 600}
	full := &problem.Error{Code: problem.Overloaded, RetryAfter: 30}
	for name, c := range map[string]struct {
		err  error
		want map[string]string
	}{
		"missing": {problem.New(problem.CredentialMissing, ""), map[string]string{"WWW-Authenticate": `Bearer realm="carnet"`}},
		"invalid": {problem.New(problem.TokenInvalid, ""), map[string]string{"WWW-Authenticate": `Bearer realm="carnet", error="invalid_token"`}},
		"revoked": {problem.New(problem.TokenRevoked, ""), map[string]string{"WWW-Authenticate": `Bearer realm="carnet", error="invalid_token"`}},
		"expired": {problem.New(problem.TokenExpired, ""), map[string]string{"WWW-Authenticate": `Bearer realm="carnet", error="invalid_token"`}},
		"ended":   {problem.New(problem.SessionEnded, ""), map[string]string{"WWW-Authenticate": `Bearer realm="carnet", error="invalid_token"`}},
		"scope": {scope, map[string]string{
			"WWW-Authenticate":       `Bearer realm="carnet", error="insufficient_scope", scope="tasks:read"`,
			"Carnet-Accepted-Scopes": "tasks:read tasks:write",
		}},
		"limited": {limited, map[string]string{"Retry-After": "7", "RateLimit-Limit": "600", "RateLimit-Remaining": "0", "RateLimit-Reset": "7"}},
		"full":    {full, map[string]string{"Retry-After": "30"}},
		"role":    {problem.New(problem.RoleInsufficient, ""), nil},
		"absent":  {problem.Absent(), nil},
	} {
		headers := answer(c.err).Header()
		for _, header := range []string{"WWW-Authenticate", "Carnet-Accepted-Scopes", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} {
			if got := headers.Get(header); got != c.want[header] {
				t.Errorf("%s: %s is %q, not %q", name, header, got, c.want[header])
			}
		}
	}
}

func TestInsideStaysInside(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.0.0.7: password hunter2")
	for _, err := range []error{
		secret,
		fmt.Errorf("read: %w", secret),
		problem.New(problem.Overloaded, "Try again.").Because(secret),
		fmt.Errorf("outer hunter2: %w", problem.Absent().Because(secret)),
	} {
		if body := answer(err).Body.String(); strings.Contains(body, "hunter2") || strings.Contains(body, "10.0.0.7") {
			t.Errorf("the answer tells: %s", body)
		}
	}
	if w := answer(secret); w.Code != 500 || !strings.Contains(w.Body.String(), `"code":"internal"`) {
		t.Errorf("an error from inside answers %d: %s", w.Code, w.Body)
	}
	logged := problem.Absent().Because(secret)
	if !strings.Contains(logged.Error(), "hunter2") || !errors.Is(logged, secret) {
		t.Error("the log loses the cause")
	}
	if original := problem.Absent(); original.Because(secret) == original || original.Unwrap() != nil {
		t.Error("a cause changes the error that it is given to")
	}
}

// What lies outside is the same as what does not exist, to the letter.
func TestOutsideAndAbsentAnswerTheSame(t *testing.T) {
	t.Parallel()
	token := access.Caller{Kind: access.TokenCaller, Organization: "o", Role: access.Owner, Scopes: access.AllScopes(), Projects: access.Only("p")}
	want := answer(problem.Absent())
	for _, r := range []access.Resource{{}, {Organization: "other", Project: "p"}, {Organization: "o", Project: "q"}, {Organization: "o"}} {
		got := answer(problem.Require(&token, access.TasksRead, r))
		if got.Code != want.Code || got.Body.String() != want.Body.String() || fmt.Sprint(got.Header()) != fmt.Sprint(want.Header()) {
			t.Errorf("%+v answers %d %s", r, got.Code, got.Body)
		}
	}
}

func TestRefusalsSayWhichGateClosed(t *testing.T) {
	t.Parallel()
	for decision, want := range map[access.Decision]problem.Code{
		access.NeedCredential:   problem.CredentialMissing,
		access.NeedSignIn:       problem.SignInRequired,
		access.NeedScope:        problem.ScopeMissing,
		access.Absent:           problem.NotFound,
		access.NeedUnrestricted: problem.ProjectRestricted,
		access.NeedRole:         problem.RoleInsufficient,
		access.Decision(0):      problem.NotFound,
		access.Decision(99):     problem.NotFound,
	} {
		for _, p := range access.AllPermissions() {
			err := problem.From(decision, p)
			var e *problem.Error
			if !errors.As(err, &e) || e.Code != want || e.Detail == "" {
				t.Errorf("decision %d on %s is %v, not %s", decision, p, err, want)
				continue
			}
			if decision == access.NeedRole && !strings.Contains(e.Detail, p.String()) {
				t.Errorf("the refusal does not name %s: %s", p, e.Detail)
			}
			if decision == access.NeedScope && len(e.AcceptedScopes) != len(access.Accepting(p)) {
				t.Errorf("the scopes for %s are %v", p, e.AcceptedScopes)
			}
		}
	}
	if err := problem.From(access.Allowed, access.TasksRead); err != nil {
		t.Errorf("allowed is refused: %v", err)
	}
}

func TestFieldsAreListed(t *testing.T) {
	t.Parallel()
	err := problem.InvalidFields(problem.Field{Location: "body.name", Message: "must not be empty"}, problem.Field{Location: "query.limit", Message: "must be from 1 to 200"})
	var document problem.Document
	if e := json.Unmarshal(answer(err).Body.Bytes(), &document); e != nil {
		t.Fatal(e)
	}
	if document.Status != 422 || document.Code != problem.ValidationFailed || !slices.Equal(document.Errors, err.Fields) {
		t.Errorf("the document is %+v", document)
	}
	if !problem.Is(fmt.Errorf("x: %w", err), problem.ValidationFailed) || problem.CodeOf(fmt.Errorf("x: %w", err)) != problem.ValidationFailed {
		t.Error("a wrapped error is not recognized")
	}
	if problem.Is(errors.New("x"), problem.Internal) || problem.CodeOf(errors.New("x")) != problem.Internal {
		t.Error("a foreign error is taken for one of ours, or not for internal")
	}
	if text := err.Error(); !strings.Contains(text, "body.name: must not be empty") || !strings.HasPrefix(text, "validation_failed: ") {
		t.Errorf("the log says %s", text)
	}
	if e := problem.Newf(problem.Conflict, "There are %d.", 3); e.Detail != "There are "+strconv.Itoa(3)+"." {
		t.Errorf("formatted: %s", e.Detail)
	}
}
