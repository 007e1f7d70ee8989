package server

import (
	"context"
	"net/http"
	"strings"

	"carnet/internal/lastuse"
	"carnet/internal/problem"
	"carnet/internal/request"
	"carnet/internal/verify"
	"carnet/token"
)

// Verifier turns a presented value into a grant.
type Verifier interface {
	Verify(ctx context.Context, value string, from lastuse.Origin) (*verify.Grant, error)
}

// Identifier finds out who is calling. It is shared by the doors, which call it when they need to know.
type Identifier struct {
	verifier Verifier
	https    bool
}

// NewIdentifier returns an identifier. https says whether browsers reach this server by HTTPS.
func NewIdentifier(v Verifier, https bool) *Identifier { return &Identifier{verifier: v, https: https} }

// CookieName returns the name of the session cookie. Browsers refuse the __Host- prefix over plain HTTP, so there, on
// loopback, it is a plain name.
func (i *Identifier) CookieName() string {
	if i.https {
		return "__Host-carnet_session"
	}
	return "carnet_session"
}

// Identify returns who presents the request: by Authorization: Bearer, else by the session cookie. Tokens in other
// places are not looked for, and a cookie holds a session or nothing. It refuses with credential_missing a request that
// presents no credential, and with token_invalid one that presents two, or one that does not hold.
func (i *Identifier) Identify(r *http.Request) (*verify.Grant, error) {
	value, err := i.presented(r)
	if err != nil {
		return nil, err
	}
	info := request.From(r.Context())
	grant, err := i.verifier.Verify(r.Context(), value, lastuse.Origin{Address: info.Address, Client: info.Client})
	if err != nil {
		return nil, err
	}
	info.UserID, info.Credential, info.Standing = grant.Caller.UserID, grant.Prefix, grant
	return grant, nil
}

func (i *Identifier) presented(r *http.Request) (string, error) {
	headers := r.Header["Authorization"]
	switch len(headers) {
	case 0:
		return i.cookie(r)
	case 1:
	default:
		return "", problem.New(problem.TokenInvalid, "The request carries more than one Authorization header. Send exactly one.")
	}
	scheme, value, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", verify.Missing()
	}
	return strings.TrimLeft(value, " "), nil
}

func (i *Identifier) cookie(r *http.Request) (string, error) {
	cookies := r.CookiesNamed(i.CookieName())
	if len(cookies) == 0 {
		return "", verify.Missing()
	}
	if len(cookies) > 1 {
		return "", problem.New(problem.TokenInvalid, "The request carries more than one session cookie. Sign in again.")
	}
	if !strings.HasPrefix(cookies[0].Value, token.Session.Prefix()) {
		return "", verify.Missing()
	}
	return cookies[0].Value, nil
}
