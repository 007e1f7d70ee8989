package web

import (
	"net/http"
	"net/url"
	"strings"

	"carnet/internal/account"
	"carnet/internal/optional"
)

func (d *Door) settingsRoutes() map[string]handler {
	return map[string]handler{
		"GET /settings":                               func(v *visit) error { return v.leave("/settings/profile", "") },
		"GET /settings/profile":                       d.showProfile,
		"POST /settings/profile":                      d.saveProfile,
		"POST /settings/profile/verification":         d.sendVerification,
		"GET /settings/security":                      d.showSecurity,
		"POST /settings/security/password":            d.changePassword,
		"POST /settings/security/sessions/{id}/end":   d.endSession,
		"POST /settings/security/sessions/end-others": d.endOtherSessions,
	}
}

func (d *Door) showProfile(v *visit) error {
	return v.show(http.StatusOK, "profile", "Profile", "profile", profilePage{Form: newForm(url.Values{"name": {v.viewer.Name}})})
}

// saveProfile changes how others see the person.
func (d *Door) saveProfile(v *visit) error {
	_, err := d.Account.UpdateAccount(v.ctx(), v.caller, account.Changes{Name: optional.Of(v.posted("name"))})
	if err == nil {
		return v.leave("/settings/profile", "profile")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.again("profile", "Profile", "profile", profilePage{Form: f})
}

// sendVerification mails the link again.
func (d *Door) sendVerification(v *visit) error {
	err := d.Account.ResendVerification(v.ctx(), v.caller)
	if err == nil {
		return v.leave("/settings/profile", "verification-sent")
	}
	f := newForm(url.Values{"name": {v.viewer.Name}})
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.again("profile", "Profile", "profile", profilePage{Form: f})
}

func (d *Door) showSecurity(v *visit) error { return v.security(newForm(nil), http.StatusOK) }

func (v *visit) security(f form, status int) error {
	sessions, err := v.sessions()
	if err != nil {
		return err
	}
	return v.show(status, "security", "Security", "security", securityPage{Form: f, Sessions: sessions})
}

// sessions are where the person is signed in, this session first.
func (v *visit) sessions() ([]sessionView, error) {
	list, err := v.d.Account.Sessions(v.ctx(), v.caller)
	if err != nil {
		return nil, err
	}
	var views []sessionView
	for _, s := range list {
		client := deref(s.LastUsedClient)
		view := sessionView{
			ID: s.ID, Label: deviceName(client), Client: client, CreatedAt: s.CreatedAt, CreatedFrom: s.CreatedFrom,
			LastUsedAt: s.LastUsedAt, LastUsedIP: deref(s.LastUsedIP), Current: s.Current,
		}
		if s.Kind == account.Bearer {
			view.Label = "Command line"
		}
		if s.Current {
			views = append([]sessionView{view}, views...)
		} else {
			views = append(views, view)
		}
	}
	return views, nil
}

// deviceName recognises the usual browsers and systems in a User-Agent, as far as people would name them.
func deviceName(client string) string {
	first := func(pairs ...[2]string) string {
		for _, p := range pairs {
			if strings.Contains(client, p[0]) {
				return p[1]
			}
		}
		return ""
	}
	// Order matters: most browsers name others too.
	browser := first([2]string{"Edg", "Edge"}, [2]string{"OPR/", "Opera"}, [2]string{"Firefox/", "Firefox"}, [2]string{"FxiOS", "Firefox"},
		[2]string{"CriOS", "Chrome"}, [2]string{"Chrome/", "Chrome"}, [2]string{"Safari/", "Safari"})
	system := first([2]string{"iPhone", "iPhone"}, [2]string{"iPad", "iPad"}, [2]string{"Android", "Android"}, [2]string{"Windows", "Windows"},
		[2]string{"Mac OS X", "macOS"}, [2]string{"CrOS", "ChromeOS"}, [2]string{"Linux", "Linux"})
	switch {
	case browser == "" && system == "":
		return "A program"
	case browser == "":
		return "A program on " + system
	case system == "":
		return browser
	default:
		return browser + " on " + system
	}
}

// changePassword sets a new password; other sessions end, tokens go on.
func (d *Door) changePassword(v *visit) error {
	err := d.Account.ChangePassword(v.ctx(), v.caller, account.PasswordChange{Current: v.posted("current"), New: v.posted("new")})
	if err == nil {
		return v.leave("/settings/security", "password")
	}
	f := v.typed()
	if err := refused(&f, err, nil); err != nil {
		return err
	}
	return v.security(f, http.StatusUnprocessableEntity)
}

// endSession ends one session.
func (d *Door) endSession(v *visit) error {
	if err := d.Account.EndSession(v.ctx(), v.caller, v.r.PathValue("id")); err != nil {
		return err
	}
	return v.leave("/settings/security", "session-ended")
}

// endOtherSessions ends all but the one that asks.
func (d *Door) endOtherSessions(v *visit) error {
	if _, err := d.Account.EndOtherSessions(v.ctx(), v.caller); err != nil {
		return err
	}
	return v.leave("/settings/security", "sessions-ended")
}
