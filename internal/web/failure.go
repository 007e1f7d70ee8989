package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"carnet/internal/problem"
)

// errSignIn says that a page is for people who are signed in.
var errSignIn = errors.New("sign in first")

// errNoPage says that there is no such page at all.
var errNoPage = problem.New(problem.NotFound, "There is no page at this address. It may have been mistyped.")

// fail answers with what went wrong, in words for people, and a way on.
func (v *visit) fail(err error) {
	err = v.d.Explain(err)
	code := problem.CodeOf(err)
	if errors.Is(err, errSignIn) {
		v.toSignIn()
		return
	}
	var elsewhere *elsewhereError
	if errors.As(err, &elsewhere) && v.leave(elsewhere.path, "") == nil {
		return
	}
	var again *againError
	if errors.As(err, &again) {
		if err = v.askOnceMore(again); err == nil {
			return
		}
		code = problem.CodeOf(err)
	}
	switch code {
	case problem.CredentialMissing, problem.TokenInvalid, problem.SessionEnded:
		v.toSignIn()
		return
	case problem.ReauthenticationNeeded:
		if err = v.askAgain(newForm(nil)); err == nil {
			return
		}
		code = problem.CodeOf(err)
	case problem.Internal:
		v.d.Log.Error("a page failed", "request", v.info.ID, "route", v.info.Route, "error", err)
	case problem.VerificationUnavailable, problem.Overloaded:
		v.d.Log.Warn("a page was turned away", "request", v.info.ID, "route", v.info.Route, "error", err)
	}
	describe := problem.Describe(err, v.info.ID)
	p := errorPage{Status: code.Status(), Heading: headings[code], Text: describe.Detail, Href: "/", Link: "Back to the overview", RequestID: v.info.ID}
	if v.viewer == nil {
		p.Link = "Go to the start"
	}
	switch {
	case code == problem.NotFound && describe.Detail == problem.Absent().Detail:
		p.Text = "It does not exist, or it is not for you to see."
	case code.Status() == http.StatusServiceUnavailable, code == problem.RateLimited:
		p.Href, p.Link = v.here(), "Try again"
	}
	if p.Heading == "" {
		p.Heading = "That did not work"
	}
	var e *problem.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		v.w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
	if err := v.show(code.Status(), "error", p.Heading, "", p); err != nil {
		v.d.Log.Error("the error page failed", "request", v.info.ID, "error", err)
		http.Error(v.w, "Something went wrong on our side.", http.StatusInternalServerError)
	}
}

// headings say in a few words what happened.
var headings = map[problem.Code]string{
	problem.NotFound:                "There is nothing here",
	problem.SignInRequired:          "This needs a person who is signed in",
	problem.RoleInsufficient:        "Your role does not permit this",
	problem.EmailUnverified:         "Confirm your e-mail address first",
	problem.PolicyDenied:            "A policy forbids this",
	problem.Conflict:                "This cannot be done as things are",
	problem.IdempotencyConflict:     "This form was sent before",
	problem.VersionStale:            "Somebody else was quicker",
	problem.RateLimited:             "Too many tries",
	problem.TooLarge:                "That was too large",
	problem.RequestMalformed:        "That could not be read",
	problem.CursorInvalid:           "This page of the list is gone",
	problem.CodeInvalid:             "This link no longer works",
	problem.VerificationUnavailable: "One moment",
	problem.Overloaded:              "One moment",
	problem.Internal:                "Something went wrong",
}

// toSignIn sends the person to the sign-in, and back here afterwards.
func (v *visit) toSignIn() {
	target := "/sign-in"
	if next := v.here(); next != "/" {
		target += "?" + url.Values{"next": {next}}.Encode()
	}
	v.w.Header().Set("Cache-Control", "no-store")
	http.Redirect(v.w, v.r, target, http.StatusSeeOther)
}

// againError says that entering the password again did not work.
type againError struct{ cause error }

func (e *againError) Error() string { return "enter the password again: " + e.cause.Error() }
func (e *againError) Unwrap() error { return e.cause }

// askOnceMore says what was wrong with the password, and asks again.
func (v *visit) askOnceMore(e *againError) error {
	f := newForm(nil)
	if problem.Is(e.cause, problem.CredentialsWrong) {
		f.Errors[againInput] = "This is not your password."
		return v.askAgain(f)
	}
	if err := refused(&f, e.cause, nil); err != nil {
		return err
	}
	return v.askAgain(f)
}

// againWords say why the password is asked for again, and what entering it does.
func againWords(path string) (why, button string) {
	switch {
	case path == developer+"/new":
		return "Creating a token is a sensitive change.", "Create the token"
	case strings.HasPrefix(path, developer) && strings.HasSuffix(path, "/rotate"):
		return "Rotating a token is a sensitive change.", "Rotate the token"
	case path == agents+"/connect":
		return "Connecting an agent is a sensitive change.", "Connect the agent"
	case strings.HasPrefix(path, agents) && strings.HasSuffix(path, "/rotate"):
		return "Giving an agent a new token is a sensitive change.", "Rotate the token"
	case strings.HasPrefix(path, agents) && strings.HasSuffix(path, "/grant"):
		return "Letting an agent do more is a sensitive change.", "Change the grant"
	case strings.HasPrefix(path, consent):
		return "Letting a program act for you is a sensitive change.", "Let it in"
	case strings.HasSuffix(path, "/agents/policy"):
		return "What agents may do here is a sensitive change.", "Save the policy"
	default:
		return "This is a sensitive change.", "Go on"
	}
}

// askAgain asks for the password again. What was under way is carried along, so that entering it finishes the matter.
func (v *visit) askAgain(f form) error {
	why, button := againWords(v.r.URL.Path)
	p := againPage{Form: f, Why: why, Button: button, Action: v.r.URL.Path, Back: v.here(), Email: v.viewer.Email}
	carried := withoutSecrets(v.r.PostForm)
	names := make([]string, 0, len(carried))
	for name := range carried {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range carried[name] {
			p.Kept = append(p.Kept, kept{name, value})
		}
	}
	return v.show(http.StatusForbidden, "reauthenticate", "Enter your password again", "", p)
}
