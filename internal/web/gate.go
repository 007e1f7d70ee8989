package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"carnet/internal/account"
	"carnet/internal/org"
	"carnet/internal/problem"
)

// openRoutes are the pages that nobody needs to be signed in for.
func (d *Door) openRoutes() map[string]handler {
	return map[string]handler{
		"GET /sign-up":       d.askSignUp,
		"POST /sign-up":      d.signUp,
		"GET /check-mail":    d.checkMail,
		"GET /verify-email":  d.askVerify,
		"POST /verify-email": d.verifyEmail,
		"GET /sign-in":       d.askSignIn,
		"POST /sign-in":      d.signIn,
		"POST /sign-out":     d.signOut,
		"GET /setup":         d.askSetUp,
		"POST /setup":        d.setUp,
		"POST /theme":        d.chooseTheme,
		"GET /docs/api":      d.showReference,
	}
}

func (d *Door) askSignUp(v *visit) error {
	if v.viewer != nil {
		return v.leave("/", "")
	}
	return v.show(http.StatusOK, "sign-up", "Create your account", "", gatePage{Form: newForm(nil)})
}

// signUp makes an account. What the person sees next does not depend on whether the address had one.
func (d *Door) signUp(v *visit) error {
	err := d.Account.SignUp(v.ctx(), account.NewUser{Name: v.posted("name"), Email: v.posted("email"), Password: v.posted("password")})
	if err == nil {
		return v.leave("/check-mail", "")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.again("sign-up", "Create your account", "", gatePage{Form: f})
}

func (d *Door) checkMail(v *visit) error {
	return v.show(http.StatusOK, "check-mail", "Check your mail", "", nil)
}

// askVerify only shows a button: programs that open the links in mails must not use them up.
func (d *Door) askVerify(v *visit) error {
	return v.show(http.StatusOK, "verify-email", "Confirm your e-mail address", "", gatePage{Form: newForm(nil), Code: v.r.URL.Query().Get("code")})
}

// verifyEmail uses the code of the link up.
func (d *Door) verifyEmail(v *visit) error {
	err := d.Account.VerifyEmail(v.ctx(), v.posted("code"), nil)
	if err == nil {
		if v.viewer != nil {
			return v.leave("/", "verified")
		}
		return v.leave("/sign-in", "verified")
	}
	f := newForm(nil)
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	if !problem.Is(err, problem.CodeInvalid) {
		f.Failure += " The link still works."
	}
	return v.again("verify-email", "Confirm your e-mail address", "", gatePage{Form: f})
}

func (d *Door) askSignIn(v *visit) error {
	next := localPath(v.r.URL.Query().Get("next"))
	if v.viewer != nil {
		return v.leave(next, "")
	}
	anybody, err := d.Account.AnyUser(v.ctx())
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "sign-in", "Sign in", "", gatePage{Form: newForm(nil), Next: shownNext(next), Empty: !anybody, Asks: v.asks(next)})
}

// nameShown is how many characters of a program's name stand in a sentence of ours, so that no name is one itself.
const nameShown = 60

// asks returns the program whose request the person goes on to, nil when it is something else.
func (v *visit) asks(next string) *asking {
	request, found := strings.CutPrefix(next, consent+"/")
	if !found {
		return nil
	}
	asked, err := v.d.Clients.Asked(v.ctx(), request, v.browserOf())
	if err != nil { // the page itself tells them
		return nil
	}
	name := []rune(asked.Client.Name)
	if len(name) > nameShown {
		name = append(name[:nameShown-1], '…')
	}
	return &asking{Name: string(name), DescribedBy: asked.Client.Host, LeadsTo: asked.RedirectHost}
}

// shownNext leaves out the way that everybody goes.
func shownNext(next string) string {
	if next == "/" {
		return ""
	}
	return next
}

// signIn starts a session and goes on to where the person was.
func (d *Door) signIn(v *visit) error {
	next := localPath(v.posted("next"))
	err := v.startSession(v.posted("email"), v.posted("password"))
	if err == nil {
		return v.leave(next, "")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.show(problem.CodeOf(err).Status(), "sign-in", "Sign in", "", gatePage{Form: f, Next: shownNext(next), Asks: v.asks(next)})
}

// deviceCookie is the name of the cookie by which a browser shows that it signed in before. It proves nothing.
const (
	deviceCookie     = "carnet_device"
	deviceCookieLife = 180 * 24 * time.Hour
)

// startSession signs somebody in and gives the browser the session's cookie. A session that the browser had before ends:
// it would live on with nobody holding it.
func (v *visit) startSession(email, password string) error {
	in := account.SignIn{Email: email, Password: password, Kind: account.Cookie}
	if cookie, err := v.r.Cookie(deviceCookie); err == nil {
		in.Device = cookie.Value
	}
	made, err := v.d.Account.SignIn(v.ctx(), in)
	if err != nil {
		return err
	}
	if v.viewer != nil {
		if err := v.d.Account.SignOut(v.ctx(), v.caller); err != nil {
			v.d.Log.Warn("a replaced session could not be ended", "request", v.info.ID, "error", err)
		}
	}
	http.SetCookie(v.w, v.d.sessionCookie(made.Value.Reveal(), int(account.SessionLife/time.Second)))
	http.SetCookie(v.w, v.d.cookie(deviceCookie, made.Device, int(deviceCookieLife/time.Second)))
	return nil
}

// sessionCookie returns the cookie that carries a session; a negative age takes it away.
func (d *Door) sessionCookie(value string, age int) *http.Cookie {
	return d.cookie(d.CookieName, value, age)
}

// cookie returns a cookie of ours. It is Secure wherever browsers use HTTPS; over plain HTTP, on loopback, they would
// drop one that is.
func (d *Door) cookie(name, value string, age int) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, Secure: d.HTTPS, HttpOnly: true, SameSite: http.SameSiteLaxMode} //nolint:gosec // see above
}

// signOut ends the session. Somebody whose session ended before is signed out as well.
func (d *Door) signOut(v *visit) error {
	if v.viewer != nil {
		if err := d.Account.SignOut(v.ctx(), v.caller); err != nil {
			return err
		}
	}
	http.SetCookie(v.w, d.sessionCookie("", -1))
	if next := localPath(v.posted("next")); next != "/" {
		return v.leave("/sign-in?"+url.Values{"next": {next}}.Encode(), "")
	}
	return v.leave("/sign-in", "signed-out")
}

func (d *Door) askSetUp(v *visit) error {
	code := v.r.URL.Query().Get("code")
	if err := d.Org.CheckSetUp(v.ctx(), code); problem.Is(err, problem.CodeInvalid) {
		return v.show(http.StatusNotFound, "setup", "Set up", "", gatePage{Dead: true})
	} else if err != nil {
		return err
	}
	return v.show(http.StatusOK, "setup", "Set up", "", gatePage{Form: newForm(nil), Code: code})
}

// setUp makes the first owner with the first organization, and signs them in.
func (d *Door) setUp(v *visit) error {
	_, err := d.Org.SetUp(v.ctx(), org.Setup{
		Code: v.posted("code"), Name: v.posted("name"), Email: v.posted("email"), Password: v.posted("password"),
		OrganizationName: v.posted("organization"), Slug: v.posted("slug"),
	})
	if problem.Is(err, problem.CodeInvalid) {
		return v.show(http.StatusNotFound, "setup", "Set up", "", gatePage{Dead: true})
	}
	if err != nil {
		f := v.typed()
		if err := refused(&f, err, map[string]string{"organization_name": "organization"}); err != nil {
			return err
		}
		return v.again("setup", "Set up", "", gatePage{Form: f, Code: v.posted("code")})
	}
	if err := v.startSession(v.posted("email"), v.posted("password")); err != nil {
		return v.leave("/sign-in", "organization") // made all the same: they can sign in
	}
	return v.leave("/", "organization")
}

// themeCookie keeps the theme that the person chose; without it the system's holds.
const themeCookie = "carnet_theme"

func themeOf(r *http.Request) string {
	if cookie, err := r.Cookie(themeCookie); err == nil && (cookie.Value == "light" || cookie.Value == "dark") {
		return cookie.Value
	}
	return ""
}

// chooseTheme keeps the choice and comes back.
func (d *Door) chooseTheme(v *visit) error {
	theme, age := v.posted("theme"), int((365*24*time.Hour)/time.Second)
	if theme != "light" && theme != "dark" {
		theme, age = "", -1
	}
	http.SetCookie(v.w, d.cookie(themeCookie, theme, age))
	return v.leave(localPath(v.posted("next")), "")
}

// showReference is the API's reference, for everybody.
func (d *Door) showReference(v *visit) error {
	return v.show(http.StatusOK, "reference", "API reference", "docs", d.reference)
}
