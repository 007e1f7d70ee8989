package web

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet/access"
	"carnet/internal/clients"
	"carnet/internal/problem"
	"carnet/internal/tokens"
)

const consent = "/oauth/consent"

// consentRoutes are the page where a person decides about what a client asks for.
func (d *Door) consentRoutes() map[string]handler {
	const one = consent + "/{request}"
	return map[string]handler{
		"GET " + one:               d.askConsent,
		"POST " + one:              d.approve,
		"GET " + one + "/preview":  func(v *visit) error { return v.leave(consent+"/"+v.r.PathValue("request"), "") },
		"POST " + one + "/preview": d.previewConsent,
		"POST " + one + "/deny":    d.deny,
	}
}

// consentCookie binds requests to the browser that they began in (RFC 9700 section 4.7).
const (
	consentCookie     = "carnet_consent"
	consentCookieLife = time.Hour
)

func (d *Door) consentCookieName() string {
	if d.HTTPS {
		return "__Host-" + consentCookie
	}
	return consentCookie
}

// browserOf returns what the browser shows that it began requests with, "" when it shows nothing.
func (v *visit) browserOf() string {
	cookie, err := v.r.Cookie(v.d.consentCookieName())
	if err != nil {
		return ""
	}
	return cookie.Value
}

// authorize takes a client's request in (RFC 6749 section 4.1.1) and leads the person to where they decide. It grants
// nothing and needs nobody to be signed in.
func (d *Door) authorize(v *visit) error {
	query, err := url.ParseQuery(v.r.URL.RawQuery)
	if err != nil {
		return problem.New(problem.RequestMalformed, "The address of this request cannot be read. Start again from the program that sent you here.")
	}
	browser := v.browserOf()
	if len(browser) < 26 {
		browser = rand.Text()
	}
	begun, err := d.Clients.Begin(v.ctx(), query, browser)
	if problem.Is(err, problem.RequestMalformed) {
		return v.refuseClient(consentedPage{Why: problem.Describe(err, "").Detail})
	}
	if err != nil {
		return err
	}
	http.SetCookie(v.w, d.cookie(d.consentCookieName(), browser, int(consentCookieLife/time.Second)))
	switch {
	case begun.Site:
		p := newConsentedPage(begun.Refused, begun.RedirectTo, false)
		p.Why = begun.Why
		return v.refuseClient(p)
	case begun.RedirectTo != "":
		return v.sendBack(begun.RedirectTo)
	}
	return v.leave(consent+"/"+begun.Handle, "")
}

// refuseClient tells the person why they are not asked.
func (v *visit) refuseClient(p consentedPage) error {
	v.w.Header().Set("Cache-Control", "no-store")
	return v.show(http.StatusBadRequest, "consented", "Nothing was granted", "agents", p)
}

// sendBack leads the browser to a program on the person's machine, at an address that it registered.
func (v *visit) sendBack(to string) error {
	h := v.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// askConsent shows who asks, as whom and for what. Nothing is ticked beyond what was asked for and can be granted.
func (d *Door) askConsent(v *visit) error {
	asked, err := d.Clients.Show(v.ctx(), v.caller, v.r.PathValue("request"), v.browserOf())
	if err != nil {
		return err
	}
	query := v.r.URL.Query()
	wanted := asked.Scopes
	if query.Has("scopes") { // of a preset
		wanted = access.KnownScopes(parted(query["scopes"])...)
	}
	values := url.Values{"organization": {query.Get("organization")}, "proposed": {"1"}}
	for _, scope := range wanted.List() {
		addScope(values, scope)
	}
	p, err := v.consentForm(newForm(values), asked)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "consent", "Let "+asked.Client.Name+" in?", "agents", p)
}

// previewConsent shows the form again with what it would grant. It grants nothing.
func (d *Door) previewConsent(v *visit) error {
	asked, err := d.Clients.Asked(v.ctx(), v.r.PathValue("request"), v.browserOf())
	if err != nil {
		return err
	}
	p, err := v.consentForm(v.typed(), asked)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "consent", "Let "+asked.Client.Name+" in?", "agents", p)
}

// approve grants what the form says, and leads back to the client. It answers with a page that goes on by itself, not with
// a redirect: browsers apply the rule for where forms may lead to all that a form's answer leads on to, also to programs of
// their own scheme (https://github.com/w3c/webappsec-csp/issues/8).
func (d *Door) approve(v *visit) error {
	request := v.r.PathValue("request")
	asked, err := d.Clients.Asked(v.ctx(), request, v.browserOf())
	if err != nil {
		return err
	}
	draft := v.draft(v.r.PostForm)
	decision := clients.Decision{
		Handle: request, Browser: v.browserOf(), Organization: draft.Organization, Name: strings.TrimSpace(draft.Name), Scopes: draft.Scopes, Projects: draft.Projects,
		Replace: v.posted("replace") == "yes", Invalid: draft.Invalid,
	}
	if draft.ExpiresInDays != nil {
		decision.Days = *draft.ExpiresInDays
	}
	to, err := d.Clients.Approve(v.ctx(), v.caller, decision)
	if err == nil {
		return v.goOn(asked, to, true)
	}
	f := v.typed()
	if problem.Is(err, problem.NotFound) {
		if _, gone := d.Clients.Asked(v.ctx(), request, v.browserOf()); gone != nil {
			return gone
		}
		f.Errors["organization"] = "Choose one of your organizations."
	} else if err := refused(&f, err, tokenInputs); err != nil {
		return err
	}
	p, err := v.consentForm(f, asked)
	if err != nil {
		return err
	}
	return v.again("consent", "Let "+asked.Client.Name+" in?", "agents", p)
}

// deny answers no, and leads back to the client.
func (d *Door) deny(v *visit) error {
	asked, err := d.Clients.Asked(v.ctx(), v.r.PathValue("request"), v.browserOf())
	if err != nil {
		return err
	}
	to, err := d.Clients.Deny(v.ctx(), v.caller, v.r.PathValue("request"), v.browserOf())
	if err != nil {
		return err
	}
	return v.goOn(asked, to, false)
}

// goOn shows how it ended, and leads on.
func (v *visit) goOn(asked clients.Asked, to string, granted bool) error {
	v.w.Header().Set("Refresh", "0;url="+to)
	v.w.Header().Set("Cache-Control", "no-store")
	title := "Nothing was granted"
	if granted {
		title = asked.Client.Name + " is let in"
	}
	return v.show(http.StatusOK, "consented", title, "agents", newConsentedPage(asked, to, granted))
}

// consentForm draws the form around what was typed, or around what the client proposes.
func (v *visit) consentForm(f form, asked clients.Asked) (consentPage, error) {
	request := v.r.PathValue("request")
	p := consentPage{
		Asked: asked, Here: consent + "/" + request,
		tokenForm: tokenForm{Base: consent + "/" + request, Button: "Let it in", Form: f, Unverified: !v.viewer.Verified},
	}
	if !v.offerOrganizations(&p.tokenForm, f) {
		return p, nil
	}
	policy, err := v.agentPolicy(p.Organization.Slug)
	if err != nil {
		return p, err
	}
	if p.agentTerms, err = v.terms(p.Organization.Slug, asked.Client.Name, policy); err != nil {
		return p, err
	}
	p.Blocked = p.Unverified || p.Off
	on := offeringOf(policy, p.role())
	if f.Value("proposed") != "" {
		propose(f.Values, on)
	}
	p.Presets = presetsOf(p.Here, url.Values{"organization": {p.Organization.Slug}}, agentGrants(on))
	days := agentDays(policy.MaxLifetimeDays)
	expiry := f.Value("expiry")
	if n, err := strconv.Atoi(expiry); err != nil || !slices.Contains(days, n) {
		expiry = strconv.Itoa(days[len(days)-1])
		f.Values.Set("expiry", expiry)
	}
	choices := lives(v.d.Now(), days, expiry)
	p.Expiry = choices[:len(choices)-1] // no moment of one's own: a client is told a number of seconds
	return p, v.offerGrant(&p.tokenForm, f, on, func(values url.Values) tokens.Draft {
		draft := v.draft(values)
		draft.Purpose = access.Agent.String()
		if strings.TrimSpace(draft.Name) == "" {
			draft.Name = asked.Client.Name
		}
		return draft
	})
}

// propose ticks reading where writing was asked for and cannot be granted. What cannot be granted at all stays, for the
// summary to name.
func propose(values url.Values, on offering) {
	for _, scope := range chosenScopes(values).List() {
		if near, ok := on.nearest(scope); ok {
			resource, level, _ := strings.Cut(near.String(), ":")
			values.Set("scope."+resource, level)
		}
	}
}
