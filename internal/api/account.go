package api

import (
	"net/http"
	"time"

	"carnet/access"
	"carnet/internal/account"
	"carnet/internal/optional"
)

type signUp struct {
	Email    string `json:"email" maxLength:"320"`
	Password string `json:"password" maxLength:"1024" doc:"At least 15 characters."`
	Name     string `json:"name" doc:"1 to 100 characters."`
}

type verifyEmail struct {
	Code string `json:"code" maxLength:"200" doc:"From the link in the mail."`
}

type signIn struct {
	Email    string `json:"email" maxLength:"320"`
	Password string `json:"password"`
	As       string `json:"as,omitempty" enum:"cookie,bearer" doc:"cookie when absent: the session comes as a cookie. bearer: its value comes in the answer."`
	Device   string `json:"device,omitempty" maxLength:"200" doc:"The device of a former answer, so that failed tries from here count apart from strangers'."`
}

type signedIn struct {
	User                 account.User `json:"user"`
	Session              newSession   `json:"session"`
	SecondFactorRequired bool         `json:"second_factor_required"`
	Device               string       `json:"device,omitempty" doc:"To be sent with the next sign-in. With bearer only."`
}

type newSession struct {
	ID        string    `json:"id"`
	ExpiresAt time.Time `json:"expires_at"`
	Value     *string   `json:"value,omitempty" doc:"With bearer only; shown in this answer and never again."`
}

type reauthentication struct {
	Password string `json:"password"`
}

type accountChange struct {
	Name optional.Value[string] `json:"name,omitzero" required:"false" doc:"1 to 100 characters."`
}

type passwordChange struct {
	Current string `json:"current"`
	New     string `json:"new" doc:"At least 15 characters."`
}

// deviceCookie is the name of the cookie by which a browser shows that it signed in before. It proves nothing.
const deviceCookie = "carnet_device"

func (a *API) accountOperations() []*operation {
	manage := access.AccountManage
	return []*operation{
		{
			method: http.MethodPost, path: "/auth/sign-up", id: "signUp", tag: "Account", summary: "Create an account; a link is mailed to verify the address",
			description: "The answer is the same for addresses that have an account.",
			audience:    anyone, body: signUp{}, status: http.StatusAccepted,
			serve: func(c *call) error {
				var in signUp
				invalid := c.body(&in)
				return replyDone(c, a.Account.SignUp(c.ctx, account.NewUser{Email: in.Email, Password: in.Password, Name: in.Name, Invalid: invalid}))
			},
		},
		{
			method: http.MethodPost, path: "/auth/verify-email", id: "verifyEmail", tag: "Account", summary: "Verify an address with the code of a mailed link",
			audience: anyone, body: verifyEmail{}, status: http.StatusNoContent,
			serve: func(c *call) error {
				var in verifyEmail
				invalid := c.body(&in)
				return replyDone(c, a.Account.VerifyEmail(c.ctx, in.Code, invalid))
			},
		},
		{
			method: http.MethodPost, path: "/auth/resend-verification", id: "resendVerification", tag: "Account", summary: "Mail the verification link again",
			audience: person, permission: manage, status: http.StatusAccepted,
			serve: func(c *call) error { return replyDone(c, a.Account.ResendVerification(c.ctx, c.caller)) },
		},
		{
			method: http.MethodPost, path: "/auth/sign-in", id: "signIn", tag: "Account", summary: "Sign in",
			audience: anyone, body: signIn{}, status: http.StatusOK, answer: signedIn{}, serve: a.signIn,
			refusals: map[int]string{http.StatusUnauthorized: "A wrong address or password"},
		},
		{
			method: http.MethodPost, path: "/auth/reauthenticate", id: "reauthenticate", tag: "Account", summary: "Prove who you are anew, for sensitive changes",
			audience: person, permission: manage, body: reauthentication{}, status: http.StatusNoContent,
			serve: func(c *call) error {
				var in reauthentication
				invalid := c.body(&in)
				return replyDone(c, a.Account.Reauthenticate(c.ctx, c.caller, in.Password, invalid))
			},
		},
		{
			method: http.MethodPost, path: "/auth/sign-out", id: "signOut", tag: "Account", summary: "End this session; tokens go on",
			audience: person, permission: manage, status: http.StatusNoContent,
			serve: func(c *call) error {
				if err := a.Account.SignOut(c.ctx, c.caller); err != nil {
					return err
				}
				http.SetCookie(c.w, a.sessionCookie("", -1))
				return c.done()
			},
		},
		{
			method: http.MethodGet, path: "/account", id: "getAccount", tag: "Account", summary: "Your account",
			audience: person, permission: manage, status: http.StatusOK, answer: account.User{},
			serve: func(c *call) error {
				u, err := a.Account.Account(c.ctx, c.caller)
				return replyOne(c, u, err)
			},
		},
		{
			method: http.MethodPatch, path: "/account", id: "changeAccount", tag: "Account", summary: "Change your account",
			audience: person, permission: manage, body: accountChange{}, status: http.StatusOK, answer: account.User{},
			serve: func(c *call) error {
				var in accountChange
				invalid := c.body(&in)
				u, err := a.Account.UpdateAccount(c.ctx, c.caller, account.Changes{Name: in.Name, Invalid: invalid})
				return replyOne(c, u, err)
			},
		},
		{
			method: http.MethodPost, path: "/account/password", id: "changePassword", tag: "Account", summary: "Change your password; ends your other sessions and no token",
			audience: person, permission: manage, body: passwordChange{}, status: http.StatusNoContent,
			serve: func(c *call) error {
				var in passwordChange
				invalid := c.body(&in)
				return replyDone(c, a.Account.ChangePassword(c.ctx, c.caller, account.PasswordChange{Current: in.Current, New: in.New, Invalid: invalid}))
			},
		},
		{
			method: http.MethodGet, path: "/account/sessions", id: "listSessions", tag: "Account", summary: "Your live sessions, latest first",
			audience: person, permission: manage, status: http.StatusOK, answer: list[account.Session]{},
			serve: func(c *call) error {
				sessions, err := a.Account.Sessions(c.ctx, c.caller)
				return replyOne(c, list[account.Session]{Items: sessions}, err)
			},
		},
		{
			method: http.MethodDelete, path: "/account/sessions/{id}", id: "endSession", tag: "Account", summary: "End one of your sessions",
			audience: person, permission: manage, status: http.StatusNoContent,
			serve: func(c *call) error { return replyDone(c, a.Account.EndSession(c.ctx, c.caller, c.id("id"))) },
		},
		{
			method: http.MethodDelete, path: "/account/sessions", id: "endOtherSessions", tag: "Account", summary: "End all your sessions but this one",
			audience: person, permission: manage, status: http.StatusNoContent,
			serve: func(c *call) error {
				_, err := a.Account.EndOtherSessions(c.ctx, c.caller)
				return replyDone(c, err)
			},
		},
	}
}

// signIn answers with the session as a cookie or as a value, as was asked.
func (a *API) signIn(c *call) error {
	var in signIn
	invalid := c.body(&in)
	kind := account.Cookie
	if in.As == string(account.Bearer) {
		kind = account.Bearer
	}
	if kind == account.Cookie && in.Device == "" {
		if cookie, err := c.r.Cookie(deviceCookie); err == nil {
			in.Device = cookie.Value
		}
	}
	made, err := a.Account.SignIn(c.ctx, account.SignIn{Email: in.Email, Password: in.Password, Kind: kind, Device: in.Device, Invalid: invalid})
	if err != nil {
		return err
	}
	answer := signedIn{User: made.User, Session: newSession{ID: made.SessionID, ExpiresAt: made.ExpiresAt}}
	if kind == account.Bearer {
		text := made.Value.Reveal()
		answer.Session.Value, answer.Device = &text, made.Device
		return c.reply(answer)
	}
	http.SetCookie(c.w, a.sessionCookie(made.Value.Reveal(), int(account.SessionLife/time.Second)))
	http.SetCookie(c.w, &http.Cookie{ //nolint:gosec // Secure wherever browsers come by HTTPS
		Name: deviceCookie, Value: made.Device, Path: "/", MaxAge: int(deviceCookieLife / time.Second), Secure: a.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return c.reply(answer)
}

const deviceCookieLife = 180 * 24 * time.Hour

// sessionCookie returns the cookie that carries a session; a negative age takes it away.
func (a *API) sessionCookie(value string, age int) *http.Cookie {
	//nolint:gosec // Secure wherever browsers come by HTTPS
	return &http.Cookie{Name: a.CookieName, Value: value, Path: "/", MaxAge: age, Secure: a.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}
