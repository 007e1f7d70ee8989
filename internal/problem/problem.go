// Package problem is the one place where errors take the form that the outside sees.
//
// Features return an [Error]: a stable code for programs, a sentence for people, and a cause that stays inside. Doors
// hand whatever error they get to [Write], which answers with an RFC 9457 problem document; an error of any other type
// becomes a plain 500 that says nothing about the inside.
package problem

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Code is the stable name of what went wrong. The public contract lists them.
type Code string

// The codes of the contract.
const (
	RequestMalformed        Code = "request_malformed"
	CursorInvalid           Code = "cursor_invalid"
	OrganizationRequired    Code = "organization_required"
	CredentialMissing       Code = "credential_missing"
	TokenInvalid            Code = "token_invalid"
	TokenRevoked            Code = "token_revoked"
	TokenExpired            Code = "token_expired"
	SessionEnded            Code = "session_ended"
	TokenInert              Code = "token_inert"
	TokenPaused             Code = "token_paused"
	SignInRequired          Code = "signin_required"
	ReauthenticationNeeded  Code = "reauthentication_required"
	ScopeMissing            Code = "scope_missing"
	ProjectRestricted       Code = "project_restricted"
	RoleInsufficient        Code = "role_insufficient"
	EmailUnverified         Code = "email_unverified"
	PolicyDenied            Code = "policy_denied"
	NotFound                Code = "not_found"
	MethodNotAllowed        Code = "method_not_allowed"
	Conflict                Code = "conflict"
	IdempotencyConflict     Code = "idempotency_conflict"
	VersionStale            Code = "version_stale"
	TooLarge                Code = "too_large"
	MediaType               Code = "media_type"
	ValidationFailed        Code = "validation_failed"
	WideningRefused         Code = "widening_refused"
	RateLimited             Code = "rate_limited"
	VerificationUnavailable Code = "verification_unavailable"
	Overloaded              Code = "overloaded"
	CredentialsWrong        Code = "credentials_wrong" // sign-in with a wrong e-mail address or password
	CodeInvalid             Code = "code_invalid"      // a mailed code that is unknown, used or too old
	CrossOrigin             Code = "cross_origin"      // a browser sent an unsafe request from another site
	Internal                Code = "internal"
)

var statuses = map[Code]int{
	RequestMalformed:        http.StatusBadRequest,
	CursorInvalid:           http.StatusBadRequest,
	OrganizationRequired:    http.StatusBadRequest,
	CredentialMissing:       http.StatusUnauthorized,
	TokenInvalid:            http.StatusUnauthorized,
	TokenRevoked:            http.StatusUnauthorized,
	TokenExpired:            http.StatusUnauthorized,
	SessionEnded:            http.StatusUnauthorized,
	CredentialsWrong:        http.StatusUnauthorized,
	TokenInert:              http.StatusForbidden,
	TokenPaused:             http.StatusForbidden,
	SignInRequired:          http.StatusForbidden,
	ReauthenticationNeeded:  http.StatusForbidden,
	ScopeMissing:            http.StatusForbidden,
	ProjectRestricted:       http.StatusForbidden,
	RoleInsufficient:        http.StatusForbidden,
	EmailUnverified:         http.StatusForbidden,
	PolicyDenied:            http.StatusForbidden,
	CrossOrigin:             http.StatusForbidden,
	NotFound:                http.StatusNotFound,
	MethodNotAllowed:        http.StatusMethodNotAllowed,
	Conflict:                http.StatusConflict,
	IdempotencyConflict:     http.StatusConflict,
	VersionStale:            http.StatusPreconditionFailed,
	TooLarge:                http.StatusRequestEntityTooLarge,
	MediaType:               http.StatusUnsupportedMediaType,
	ValidationFailed:        http.StatusUnprocessableEntity,
	WideningRefused:         http.StatusUnprocessableEntity,
	CodeInvalid:             http.StatusUnprocessableEntity,
	RateLimited:             http.StatusTooManyRequests,
	VerificationUnavailable: http.StatusServiceUnavailable,
	Overloaded:              http.StatusServiceUnavailable,
	Internal:                http.StatusInternalServerError,
}

// Status returns the HTTP status that goes with the code.
func (c Code) Status() int {
	if status, ok := statuses[c]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// Codes returns every code, for documents and tests.
func Codes() []Code {
	codes := make([]Code, 0, len(statuses))
	for code := range statuses {
		codes = append(codes, code)
	}
	return codes
}

// Field is one thing wrong with what the caller sent. Message never repeats what was sent.
type Field struct {
	Location string `json:"location"` // such as "body.name" or "query.limit"
	Message  string `json:"message"`
}

// Error is the domain error of every feature.
type Error struct {
	Code   Code
	Detail string  // for people: what happened and what to do next; never repeats what the caller sent
	Fields []Field // for ValidationFailed

	// What some codes carry besides.
	AcceptedScopes []string // ScopeMissing: any one of these would do
	RetryAfter     int      // RateLimited, Overloaded, VerificationUnavailable: seconds
	Limit          int      // RateLimited: the size of the quota

	cause error
}

// New returns an error with a code and a sentence for people.
func New(code Code, detail string) *Error { return &Error{Code: code, Detail: detail} }

// Newf is New with formatting. Never format what the caller sent into it.
func Newf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Error returns the code, the detail and the cause, for logs.
func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Detail
	for _, f := range e.Fields {
		text += "; " + f.Location + ": " + f.Message
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Words returns what happened in one sentence or two, for where there is no room for a list of fields.
func (e *Error) Words() string {
	if len(e.Fields) == 0 {
		return e.Detail
	}
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Location[strings.LastIndexByte(f.Location, '.')+1:] + " " + f.Message
	}
	return strings.Join(parts, "; ") + "."
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Because returns a copy of e with a cause, which is logged and never shown.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Is reports whether err is, or wraps, an Error with the code.
func Is(err error, code Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// CodeOf returns the code of err, and Internal for errors that are not an Error.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// Absent is the answer for what does not exist and for what lies outside what the caller sees: the same, to the letter.
func Absent() *Error {
	return New(NotFound, "There is nothing here that you can see. Check the id, and the organization and projects of your credential.")
}

// Both returns what is wrong by two checks of the same input as one error, so that all of it is told at once: the fields of
// both where both are about fields, else the first that there is.
func Both(first, second error) error {
	var a, b *Error
	if errors.As(first, &a) && errors.As(second, &b) && a.Code == ValidationFailed && b.Code == ValidationFailed {
		return InvalidFields(slices.Concat(a.Fields, b.Fields)...)
	}
	if first != nil {
		return first
	}
	return second
}

// AbsentAt is Absent, and says which part of a request named it, where there are several.
func AbsentAt(location string) *Error {
	e := Absent()
	e.Fields = []Field{{Location: location, Message: "names nothing that you can see"}}
	return e
}

// Invalid returns a ValidationFailed error about one field.
func Invalid(location, message string) *Error {
	return InvalidFields(Field{Location: location, Message: message})
}

// InvalidFields returns a ValidationFailed error about several fields.
func InvalidFields(fields ...Field) *Error {
	return &Error{Code: ValidationFailed, Detail: "Some of what was sent does not hold. See errors for each.", Fields: fields}
}
