package problem

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// Document is the RFC 9457 form of an error.
type Document struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	Code      Code    `json:"code"`
	RequestID string  `json:"request_id"`
	Errors    []Field `json:"errors,omitempty"`
}

// Describe returns the document for err. Errors that are not an [Error] are described as Internal, without their text.
func Describe(err error, requestID string) Document {
	e := domain(err)
	return Document{
		Type:      "about:blank",
		Title:     http.StatusText(e.Code.Status()),
		Status:    e.Code.Status(),
		Detail:    e.Detail,
		Code:      e.Code,
		RequestID: requestID,
		Errors:    e.Fields,
	}
}

// Write answers a request with err's problem document and the headers that belong to its code: WWW-Authenticate
// (RFC 6750 section 3), Carnet-Accepted-Scopes, Retry-After and RateLimit-*.
func Write(w http.ResponseWriter, requestID string, err error) {
	e := domain(err)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	switch e.Code {
	case CredentialMissing:
		h.Set("WWW-Authenticate", `Bearer realm="carnet"`)
	case TokenInvalid, TokenRevoked, TokenExpired, SessionEnded:
		h.Set("WWW-Authenticate", `Bearer realm="carnet", error="invalid_token"`)
	case ScopeMissing:
		// The least scope that would do: clients that step up ask for exactly this.
		h.Set("WWW-Authenticate", `Bearer realm="carnet", error="insufficient_scope", scope="`+first(e.AcceptedScopes)+`"`)
		h.Set("Carnet-Accepted-Scopes", strings.Join(e.AcceptedScopes, " "))
	}
	wait := e.RetryAfter
	if wait == 0 && (e.Code == Overloaded || e.Code == VerificationUnavailable) {
		wait = 1
	}
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(wait))
	}
	if e.Code == RateLimited {
		h.Set("RateLimit-Limit", strconv.Itoa(e.Limit))
		h.Set("RateLimit-Remaining", "0")
		h.Set("RateLimit-Reset", strconv.Itoa(e.RetryAfter))
	}
	w.WriteHeader(e.Code.Status())
	body, _ := json.Marshal(Describe(err, requestID)) // strings and numbers only: cannot fail
	_, _ = w.Write(append(body, '\n'))
}

func domain(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New(Internal, "Something went wrong on our side. Nothing was changed unless you can see that it was. Try again, and give the request id to whoever runs this server if it persists.")
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}
