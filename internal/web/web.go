// Package web is the door for people: server-rendered pages and forms over the same features as the API.
//
// Every page works without scripts; scripts only make some of them quicker. A page is drawn from a template and a small
// struct that holds exactly what it shows. Handlers parse a form, call one method of a feature with the caller, and show
// what came back; they decide nothing. GET never changes anything. Forms carry no anti-forgery token: the server refuses
// unsafe requests that a browser sends from another site, and the session cookie is SameSite=Lax.
package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"carnet/internal/account"
	"carnet/internal/clients"
	"carnet/internal/db"
	"carnet/internal/org"
	"carnet/internal/tokens"
	"carnet/internal/verify"
	"carnet/internal/work"
)

// Config is what the door needs.
type Config struct {
	Account *account.Service
	Org     *org.Service
	Work    *work.Service
	Tokens  *tokens.Service
	Clients *clients.Service
	OAuth   bool // clients may sign people in
	// Identify says who is calling.
	Identify func(*http.Request) (*verify.Grant, error)
	// CookieName is the session cookie's name, and HTTPS whether browsers reach this server by HTTPS: then cookies are
	// for HTTPS alone.
	CookieName string
	HTTPS      bool
	// PublicURL is where browsers and scripts reach this server, without a slash at its end.
	PublicURL string
	// OpenAPI returns the API's document, for the reference page.
	OpenAPI func() []byte
	Now     func() time.Time
	Log     *slog.Logger
	// Explain makes a refusal of what a store that cannot be reached makes of reads.
	Explain func(error) error
}

// Door serves the pages.
type Door struct {
	Config
	assets    *assets
	pages     *renderer
	reference reference
	mux       *http.ServeMux
}

// New returns the door. It fails only when what is built into the program is broken: a template, or the API's document.
func New(c Config) (*Door, error) {
	files, err := newAssets()
	if err != nil {
		return nil, err
	}
	pages, err := newRenderer(files, c.Now)
	if err != nil {
		return nil, err
	}
	d := &Door{Config: c, assets: files, pages: pages}
	if d.reference, err = newReference(c.OpenAPI(), c.PublicURL); err != nil {
		return nil, fmt.Errorf("draw the API reference: %w", err)
	}
	return d, nil
}

// Register adds the pages to mux. What no other door serves is answered with a friendly "not found".
func (d *Door) Register(mux *http.ServeMux) {
	d.mux = mux
	mux.HandleFunc("GET /static/{digest}/{path...}", d.assets.serve)
	mux.HandleFunc("GET "+icoPath, func(w http.ResponseWriter, r *http.Request) {
		d.assets.files["icon.svg"].write(w, r, "public, max-age=86400")
	})
	for pattern, serve := range d.openRoutes() {
		mux.HandleFunc(pattern, d.handler(serve, false))
	}
	if d.OAuth {
		mux.HandleFunc("GET /oauth/authorize", d.handler(d.authorize, false))
		for pattern, serve := range d.consentRoutes() {
			mux.HandleFunc(pattern, d.handler(serve, true))
		}
	}
	for _, routes := range []map[string]handler{d.homeRoutes(), d.settingsRoutes(), d.tokenRoutes(), d.agentRoutes(), d.oversightRoutes(), d.organizationRoutes(), d.projectRoutes(), d.taskRoutes()} {
		for pattern, serve := range routes {
			mux.HandleFunc(pattern, d.handler(serve, true))
		}
	}
	mux.HandleFunc("/", d.handler(func(*visit) error { return errNoPage }, false))
}

// handler answers one request of a person who may or may not be signed in.
type handler func(*visit) error

// handler wraps what all pages share: who is calling, the way to the sign-in for those who must, and what errors look
// like.
func (d *Door) handler(serve handler, signedIn bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := d.visit(w, r)
		err := v.answer(serve, signedIn)
		for again := 1; db.Overtaken(err, again); again++ {
			// Nothing has happened yet: once more, with what the person may do now.
			v = d.visit(w, r)
			err = v.answer(serve, signedIn)
		}
		if err != nil {
			v.fail(err)
		}
	}
}

func (v *visit) answer(serve handler, signedIn bool) error {
	if err := v.identify(signedIn); err != nil {
		return err
	}
	if err := v.parse(); err != nil {
		return err
	}
	if signedIn {
		if err := v.freshen(); err != nil {
			return err
		}
	}
	return serve(v)
}

// ctx is short for the request's context.
func (v *visit) ctx() context.Context { return v.r.Context() }
